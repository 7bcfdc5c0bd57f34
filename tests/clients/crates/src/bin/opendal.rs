//! opendal as its own documentation has it, without layers, so nothing is tried twice; reqsign's default chain.

use opendal::{Operator, services::S3};
use roletap_crates_clients::{Outcome, Store, live, told};

struct Operators {
    ours: Operator,
    other: Operator,
}

impl Operators {
    fn of(&self, bucket: &str) -> &Operator {
        if bucket == told("STORY_BUCKET") {
            &self.ours
        } else {
            &self.other
        }
    }
}

impl Store for Operators {
    async fn write(&self, bucket: &str, key: &str, text: &str) -> Outcome {
        let operator = self.of(bucket);
        operator.write(key, text.as_bytes().to_vec()).await?;
        Ok(())
    }

    async fn read(&self, bucket: &str, key: &str) -> Outcome<String> {
        let got = self.of(bucket).read(key).await?;
        Ok(String::from_utf8(got.to_vec())?)
    }
}

fn operator(bucket: &str) -> Outcome<Operator> {
    let builder = S3::default()
        .bucket(&told(bucket))
        .endpoint(&told("STORY_ENDPOINT"))
        .region(&told("AWS_REGION"));
    Ok(Operator::new(builder)?)
}

#[tokio::main(worker_threads = 1)]
async fn main() -> Outcome {
    live("opendal 0.59.5", async || {
        Ok(Operators {
            ours: operator("STORY_BUCKET")?,
            other: operator("STORY_OTHER_BUCKET")?,
        })
    })
    .await
}
