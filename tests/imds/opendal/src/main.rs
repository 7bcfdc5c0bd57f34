//! opendal as RisingWave's file sink has it: no layers, so nothing is tried twice. ../../clients/README.md has the protocol.

use std::{collections::HashMap, env, error::Error, io::BufRead, time::Instant};

use opendal::{Operator, services::S3};
use serde_json::json;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

// Two threads: while this one waits for a line, the other has to see that a connection was closed.
#[tokio::main(worker_threads = 1)]
async fn main() -> Outcome {
    let version = "opendal 0.55.0, reqsign 0.16.5"; // as pinned in Cargo.toml: neither tells its own
    println!("{}", json!({ "version": version }));
    let mut operators = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let start = Instant::now();
        let outcome = obey(&mut operators, &line).await;
        let ms = start.elapsed().as_millis() as u64;
        let answer = match outcome {
            Ok(()) => json!({"ok": true, "ms": ms}),
            Err(error) => json!({"ok": false, "ms": ms, "said": error.to_string()}),
        };
        println!("{answer}");
    }
    Ok(())
}

async fn obey(operators: &mut HashMap<String, Operator>, line: &str) -> Outcome {
    let prefix = env::var("STORY_PREFIX")?;
    if line == "foreign" {
        let other = operator(operators, env::var("STORY_OTHER_BUCKET")?)?;
        return Ok(write(&other, &format!("{prefix}/foreign"), "no").await?);
    }
    let name = line.trim_start_matches("put ");
    let ours = operator(operators, env::var("STORY_BUCKET")?)?;
    let key = format!("{prefix}/{name}");
    write(&ours, &key, name).await?;
    let back = String::from_utf8(ours.read(&key).await?.to_vec())?;
    if back == name {
        Ok(())
    } else {
        Err(format!("wrote {name}, read {back}").into())
    }
}

async fn write(operator: &Operator, key: &str, text: &str) -> opendal::Result<()> {
    operator.write(key, text.as_bytes().to_vec()).await?;
    Ok(())
}

/// Made at its first use, and kept.
fn operator(made: &mut HashMap<String, Operator>, bucket: String) -> Outcome<Operator> {
    if let Some(operator) = made.get(&bucket) {
        return Ok(operator.clone());
    }
    let builder = S3::default()
        .bucket(&bucket)
        .root("/")
        .endpoint(&env::var("STORY_ENDPOINT")?)
        .region(&env::var("AWS_REGION")?)
        // RisingWave's default: neither the environment nor profiles are looked at.
        .disable_config_load();
    let operator = Operator::new(builder)?.finish();
    made.insert(bucket, operator.clone());
    Ok(operator)
}
