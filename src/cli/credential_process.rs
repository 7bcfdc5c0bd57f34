//! `roletap credential-process`

use std::path::Path;

use serde_json::Value;

use super::env::Settings;
use super::{ExitStatus, Failure, load, print, role};

/// Prints the document that `credential_process` in a shared config file wants
/// (AWS SDKs and Tools Reference, "Process credential provider").
pub fn credential_process(config: &Path, name: &str) -> Result<(), Failure> {
    let loaded = load(config, "no credentials were printed")?;
    let settings = Settings::of(&loaded.config, role(&loaded.config, name)?)?;
    let answer = settings.ask(&format!("no credentials of role {name}"))?;
    let given: Value = serde_json::from_slice(&answer.body).map_err(|_| {
        Failure::new(
            ExitStatus::Failed,
            "the daemon's answer is not JSON: is something else listening there?",
        )
    })?;
    let document = serde_json::json!({
        "Version": 1,
        "AccessKeyId": given["AccessKeyId"],
        "SecretAccessKey": given["SecretAccessKey"],
        "SessionToken": given["Token"],
        "Expiration": given["Expiration"],
    });
    print(&format!("{document}\n"))
}
