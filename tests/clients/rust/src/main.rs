//! The Rust SDK: the default credential chain. ../README.md has the protocol in words.

use std::{env, error::Error, fmt::Debug, io::BufRead, time::Instant};

use aws_config::BehaviorVersion;
use aws_sdk_s3::{Client, error::DisplayErrorContext, primitives::ByteStream};
use serde_json::json;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

// Two threads: while this one waits for a line, the other has to see that a connection was closed.
#[tokio::main(worker_threads = 1)]
async fn main() -> Outcome {
    println!(
        "{}",
        json!({"version": format!("aws-sdk-s3 {}", aws_sdk_s3::meta::PKG_VERSION)})
    );
    let mut client = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let start = Instant::now();
        if client.is_none() {
            client = Some(made().await);
        }
        let outcome = match &client {
            Some(client) => obey(client, &line).await,
            None => Ok(()),
        };
        let ms = start.elapsed().as_millis() as u64;
        let answer = match outcome {
            Ok(()) => json!({"ok": true, "ms": ms}),
            Err(error) => json!({"ok": false, "ms": ms, "said": error.to_string()}),
        };
        println!("{answer}");
    }
    Ok(())
}

async fn made() -> Client {
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let path_style = aws_sdk_s3::config::Builder::from(&aws)
        .force_path_style(true)
        .build();
    Client::from_conf(path_style)
}

async fn obey(client: &Client, line: &str) -> Outcome {
    let prefix = env::var("STORY_PREFIX")?;
    if line == "foreign" {
        let other = env::var("STORY_OTHER_BUCKET")?;
        return write(client, &other, &format!("{prefix}/foreign"), "no").await;
    }
    let name = line.trim_start_matches("put ");
    let (bucket, key) = (env::var("STORY_BUCKET")?, format!("{prefix}/{name}"));
    write(client, &bucket, &key, name).await?;
    let back = read(client, &bucket, &key).await?;
    if back == name {
        Ok(())
    } else {
        Err(format!("wrote {name}, read {back}").into())
    }
}

async fn write(client: &Client, bucket: &str, key: &str, text: &str) -> Outcome {
    let body = ByteStream::from(text.as_bytes().to_vec());
    let put = client.put_object().bucket(bucket).key(key).body(body);
    put.send().await.map_err(in_full)?;
    Ok(())
}

async fn read(client: &Client, bucket: &str, key: &str) -> Outcome<String> {
    let get = client.get_object().bucket(bucket).key(key);
    let answer = get.send().await.map_err(in_full)?;
    Ok(String::from_utf8(answer.body.collect().await?.to_vec())?)
}

/// The SDK's own `Display` says no more than "service error".
fn in_full(error: impl Error + Debug) -> String {
    DisplayErrorContext(error).to_string()
}
