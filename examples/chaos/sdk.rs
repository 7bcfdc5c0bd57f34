//! A real SDK client: a process that takes its credentials provider anew for every line that it is told to.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_credential_types::provider::ProvideCredentials;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Failed, World, pause};

/// The argument that makes the example a client.
pub(crate) const ARGUMENT: &str = "client";

/// The client's own life: a line in, a line out.
pub(crate) fn run() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for line in std::io::stdin().lines() {
        line?;
        let said = runtime.block_on(async {
            let provider = EcsCredentialsProvider::builder().build();
            match provider.provide_credentials().await {
                Ok(credentials) => json!({
                    "Code": "Success",
                    "AccessKeyId": credentials.access_key_id(),
                    "SecretAccessKey": credentials.secret_access_key(),
                    "Token": credentials.session_token(),
                    "Expiration": credentials
                        .expiry()
                        .and_then(|at| Timestamp::try_from(at).ok())
                        .map(|at| at.to_string()),
                }),
                Err(error) => json!({ "error": roletap_core::failure::error_chain(&error) }),
            }
        });
        let mut out = std::io::stdout().lock();
        writeln!(out, "{said}")?;
        out.flush()?;
    }
    Ok(())
}

/// Drives such a client for one role until the end.
pub(crate) fn drive(world: &Arc<World>, role: usize) -> Result<(), Failed> {
    let oracle = &world.oracle;
    let name = &oracle.roles[role].name;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ARGUMENT)
        .env_clear()
        .env(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!("http://{}/v1/credentials/{name}", world.vend),
        )
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", world.token_path(name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut orders = child.stdin.take().ok_or("no pipe")?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
    let mut failed_before = false;
    while !world.over() {
        if world.held() {
            pause(Duration::from_millis(20));
            continue;
        }
        pause(Duration::from_millis(20));
        let before = oracle.before(role);
        writeln!(orders, "go")?;
        let mut said: Value = serde_json::from_str(&lines.next().ok_or("the client ended")??)?;
        let mut after = oracle.after(role, &before);
        // An SDK does not show it, reads the token file anew, and makes new connections, which may have had to wait.
        after.account_id = None;
        after.steady &= !after.rotating && !oracle.flooded(&before);
        if said["error"].is_null() {
            failed_before = false;
            oracle.count("SDK client: credentials");
            said["RoleArn"] = oracle.roles[role].arn.clone().into();
            if let Err(problem) = world.examine_credentials(&after, &said) {
                oracle.violation(&format!("{problem}: an SDK client of {name}"));
            }
            continue;
        }
        oracle.count("SDK client: refused");
        // An SDK that ran out of its own timeouts on a busy machine tries again, and so does this one.
        match world.nothing_in_hand(&after) {
            Err(problem) if failed_before => {
                oracle.violation(&format!("{problem}: an SDK client of {name}: {}", said["error"]))
            }
            Err(_) => failed_before = true,
            Ok(()) => failed_before = false,
        }
    }
    drop(orders);
    child.wait()?;
    Ok(())
}
