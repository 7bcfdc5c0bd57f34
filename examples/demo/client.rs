//! The client half of the demo: an unmodified SDK program, which learns of roletap by environment variables alone.
//!
//! It is a process of its own, because that is what an application is: [`command`] starts this program once more,
//! [`run`] is what it then does.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use aws_config::BehaviorVersion;
use aws_credential_types::provider::ProvideCredentials;

/// The argument that makes the demo a client.
pub(crate) const ARGUMENT: &str = "client";

/// The process to start: nothing of our own AWS settings, the endpoint and its token, and where STS is.
pub(crate) fn command(
    credentials_url: &str,
    token_file: &Path,
    sts_url: &str,
) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ARGUMENT);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", credentials_url)
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_file)
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ENDPOINT_URL_STS", sts_url)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        // A developer's own profile would come first in the chain.
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("NO_PROXY", "127.0.0.1,localhost");
    Ok(command)
}

/// Asks the default chain for credentials and STS for the name that goes with them, and prints both in one line.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let line = runtime.block_on(async {
        let config = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
        let provider =
            config.credentials_provider().ok_or("the SDK found no credentials provider")?;
        let credentials = provider.provide_credentials().await?;
        let until = match credentials.expiry() {
            Some(expiry) => jiff::Timestamp::try_from(expiry)?.to_string(),
            None => "for ever".to_owned(),
        };
        let sts = aws_sdk_sts::Client::new(&config);
        let identity = sts.get_caller_identity().send().await?;
        let key = credentials.access_key_id();
        let arn = identity.arn().unwrap_or("nobody");
        Ok::<_, Box<dyn Error>>(format!("{key} until {until}: {arn}\n"))
    })?;
    io::stdout().write_all(line.as_bytes())?;
    Ok(())
}
