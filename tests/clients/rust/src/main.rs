//! The Rust SDK: the default credential chain. The story is told in `../story.py`; this is the same one.

use std::{env, error::Error, fmt::Debug, time::Instant};

use aws_config::BehaviorVersion;
use aws_sdk_s3::{error::DisplayErrorContext, primitives::ByteStream};
use serde_json::json;

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let path_style = aws_sdk_s3::config::Builder::from(&aws)
        .force_path_style(true)
        .build();
    let story = Story {
        s3: aws_sdk_s3::Client::from_conf(path_style),
        sts: aws_sdk_sts::Client::new(&aws),
        bucket: env::var("STORY_BUCKET")?,
        other_bucket: env::var("STORY_OTHER_BUCKET")?,
        prefix: env::var("STORY_PREFIX")?,
        principal: env::var("STORY_PRINCIPAL")?,
    };

    println!(
        "{}",
        json!({"version": format!("aws-sdk-s3 {}", aws_sdk_s3::meta::PKG_VERSION)})
    );
    check("identity", story.acts_as_the_role()).await;
    check("first", story.round_trip("first")).await;
    println!("{}", json!({"waiting": "step 2"}));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if line.trim() != "step 2" {
        return Err("the runner is gone".into());
    }
    check("refreshed", story.round_trip("refreshed")).await;
    check("isolated", story.refused_elsewhere()).await;
    Ok(())
}

async fn check(name: &str, action: impl Future<Output = Outcome>) {
    let start = Instant::now();
    let outcome = action.await;
    let detail = outcome.as_ref().err().map(ToString::to_string);
    println!(
        "{}",
        json!({"check": name, "ok": outcome.is_ok(), "detail": detail.unwrap_or_default(), "ms": start.elapsed().as_millis() as u64})
    );
}

struct Story {
    s3: aws_sdk_s3::Client,
    sts: aws_sdk_sts::Client,
    bucket: String,
    other_bucket: String,
    prefix: String,
    principal: String,
}

impl Story {
    async fn acts_as_the_role(&self) -> Outcome {
        let answer = self
            .sts
            .get_caller_identity()
            .send()
            .await
            .map_err(in_full)?;
        match answer.arn() {
            Some(arn) if arn == self.principal => Ok(()),
            other => Err(format!("acts as {other:?}, not as {}", self.principal).into()),
        }
    }

    async fn round_trip(&self, name: &str) -> Outcome {
        let key = format!("{}/{name}", self.prefix);
        let text = format!("{name} at {:?}", std::time::SystemTime::now());
        self.write(&self.bucket, &key, &text).await?;
        let answer = self
            .s3
            .get_object()
            .bucket(&self.bucket)
            .key(&key)
            .send()
            .await
            .map_err(in_full)?;
        let back = String::from_utf8(answer.body.collect().await?.to_vec())?;
        if back == text {
            Ok(())
        } else {
            Err(format!("wrote {text}, read {back}").into())
        }
    }

    async fn refused_elsewhere(&self) -> Outcome {
        let key = format!("{}/foreign", self.prefix);
        match self
            .write(&self.other_bucket, &key, "must not arrive")
            .await
        {
            Ok(()) => Err(format!("wrote to {}", self.other_bucket).into()),
            Err(error) if error.to_string().contains("AccessDenied") => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, bucket: &str, key: &str, text: &str) -> Outcome {
        let body = ByteStream::from(text.as_bytes().to_vec());
        self.s3
            .put_object()
            .bucket(bucket)
            .key(key)
            .body(body)
            .send()
            .await
            .map_err(in_full)?;
        Ok(())
    }
}

/// The SDK's own `Display` says no more than "service error".
fn in_full(error: impl Error + Debug) -> String {
    DisplayErrorContext(error).to_string()
}
