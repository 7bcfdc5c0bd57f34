//! A provider of the SDK in a process of its own, whose whole input is its environment. A test is both: it starts itself
//! anew with other variables, and then says what the SDK has made of them.

use std::process::Command;

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use serde_json::{Value, json};

use super::harness::{finish, text};

/// Before what it says.
const SAYS: &str = "client: ";

/// What it finds: key, secret, session token, expiry (seconds since 1970), account. `test` is the whole name of the test
/// that plays it, and `set` its environment.
pub(crate) fn credentials_found_by(test: &str, set: &[(String, String)]) -> Value {
    let mut client = Command::new(std::env::current_exe().expect("ourselves"));
    client
        .args(["--exact", test, "--nocapture"])
        .env_clear()
        .envs(set.iter().map(|(name, value)| (name, value)));
    let finished = finish(&mut client);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let said = finished.stdout.lines().find_map(|line| line.strip_prefix(SAYS));
    serde_json::from_str(said.expect("a line")).expect("JSON")
}

/// The variables that `roletap env --format json` sets.
pub(crate) fn variables(settings: &Value) -> Vec<(String, String)> {
    let set = settings["set"].as_object().expect("variables");
    set.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// Plays it: says what this provider finds. It is made within, for it looks at the environment.
pub(crate) fn say<P: ProvideCredentials>(provider: impl Future<Output = P>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let found = runtime.block_on(async { provider.await.provide_credentials().await });
    println!("\n{SAYS}{}", parts(&found.expect("the SDK to be content")));
}

fn parts(credentials: &Credentials) -> Value {
    let expiry = credentials.expiry().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    json!([
        credentials.access_key_id(),
        credentials.secret_access_key(),
        credentials.session_token(),
        expiry.map(|at| at.as_secs()),
        credentials.account_id().map(|id| id.as_str()),
    ])
}
