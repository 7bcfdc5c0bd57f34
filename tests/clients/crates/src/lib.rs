//! The protocol of a client program, for those of this package; ../../README.md has it in words.

use std::{env, error::Error, io::BufRead, time::Instant};

use serde_json::json;

pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A client, made once, at the first line that needs it, and kept.
#[expect(async_fn_in_trait, reason = "nobody sends it anywhere")]
pub trait Store {
    async fn write(&self, bucket: &str, key: &str, text: &str) -> Outcome;
    async fn read(&self, bucket: &str, key: &str) -> Outcome<String>;
}

pub async fn live<S: Store>(version: &str, make: impl AsyncFn() -> Outcome<S>) -> Outcome {
    println!("{}", json!({ "version": version }));
    let mut made = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let start = Instant::now();
        let outcome = async {
            if made.is_none() {
                made = Some(make().await?);
            }
            obey(made.as_ref().expect("it was just made"), &line).await
        };
        let outcome = outcome.await;
        let ms = start.elapsed().as_millis() as u64;
        let answer = match outcome {
            Ok(()) => json!({"ok": true, "ms": ms}),
            Err(error) => json!({"ok": false, "ms": ms, "said": in_full(&*error)}),
        };
        println!("{answer}");
    }
    Ok(())
}

async fn obey(client: &impl Store, line: &str) -> Outcome {
    let prefix = told("STORY_PREFIX");
    if line == "foreign" {
        let key = format!("{prefix}/foreign");
        return client.write(&told("STORY_OTHER_BUCKET"), &key, "no").await;
    }
    let name = line.trim_start_matches("put ");
    let (bucket, key) = (told("STORY_BUCKET"), format!("{prefix}/{name}"));
    client.write(&bucket, &key, name).await?;
    let back = client.read(&bucket, &key).await?;
    if back == name {
        Ok(())
    } else {
        Err(format!("wrote {name}, read {back}").into())
    }
}

/// A variable that the runner sets.
pub fn told(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"))
}

/// What an error says, and what it says came before it, where that is something else.
fn in_full(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        source = error.source();
    }
    said
}
