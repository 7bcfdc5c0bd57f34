//! One load of a source, which reads its files again. Only `source` imports `aws_config`.
//!
//! The container provider is left out on purpose, in profiles too. With roletap's own endpoint in
//! the environment, the daemon would sign with the credentials that it vends.

use std::path::PathBuf;
use std::time::SystemTime;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_smithy_async::time::SharedTimeSource;
use aws_types::os_shim_internal::{Env, Fs};
use aws_types::region::Region;

use super::error::SourceError;
use super::files::{self, read_token};
use super::process;
use crate::sts::Client;
use roletap_core::failure::error_chain;
use roletap_core::role::{CommandLine, Origin, RoleArn, SessionName, WebIdentity};

/// The session name for a web identity token, if AWS_ROLE_SESSION_NAME is not set.
const DEFAULT_SESSION_NAME: &str = "roletap";
/// Keys of a profile that take precedence over its `credential_process`.
const BEFORE_PROCESS: [&str; 7] = [
    "role_arn",
    "credential_source",
    "web_identity_token_file",
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "login_session",
];

/// The reason why one provider of the chain gives no credentials.
enum NotFound {
    /// The provider is not configured, so the chain goes on.
    Absent(String),
    /// The provider is configured but fails. The chain stops, or another identity would sign.
    Failed(String),
}

/// Loads the credentials of a source once, without a retry.
pub(super) async fn load(
    origin: &Origin,
    clock: &SharedTimeSource,
    sts: &Client,
) -> Result<Credentials, SourceError> {
    let config = ProviderConfig::without_region()
        .with_region(Some(Region::new(sts.region().to_owned())))
        .with_time_source(clock.clone());
    let loaded = match origin {
        Origin::Chain => return chain(&config, sts).await,
        Origin::Environment => environment().await,
        Origin::Profile { name, config_file, shared_credentials_file } => {
            let files = (config_file.as_ref(), shared_credentials_file.as_ref());
            profile(&config, Some(name), files).await
        }
        Origin::WebIdentity(identity) => return exchange(identity, sts).await,
        Origin::InstanceMetadata { endpoint } => metadata(&config, endpoint.as_deref()).await,
        Origin::Process(command) => return process::run(command).await,
        Origin::KeyFiles { access_key_id, secret_access_key, session_token } => {
            return files::keys(access_key_id, secret_access_key, session_token.as_deref()).await;
        }
    };
    loaded.map_err(|miss| match miss {
        NotFound::Absent(reason) | NotFound::Failed(reason) => SourceError::new(reason),
    })
}

/// Refuses credentials that have already expired.
pub(super) fn unexpired(
    credentials: Credentials,
    now: SystemTime,
) -> Result<Credentials, SourceError> {
    match credentials.expiry().filter(|at| *at <= now) {
        None => Ok(credentials),
        Some(at) => {
            let at = jiff::Timestamp::try_from(at).map(|at| at.to_string()).unwrap_or_default();
            let reason = format!("its credentials expired at {at}: has their renewal stopped?");
            Err(SourceError::new(reason))
        }
    }
}

/// Loads from the first provider of the SDK's chain that is configured, without the container
/// provider.
async fn chain(config: &ProviderConfig, sts: &Client) -> Result<Credentials, SourceError> {
    let mut absent: Vec<String> = Vec::new();
    for link in ["environment", "profile", "web identity", "instance metadata"] {
        let loaded = match link {
            "environment" => environment().await,
            "profile" => profile(config, None, (None, None)).await,
            "web identity" => token_in_environment(sts).await,
            _ => metadata(config, None).await,
        };
        match loaded {
            Ok(credentials) => return Ok(credentials),
            Err(NotFound::Absent(reason)) => absent.push(format!("{link}: {reason}")),
            Err(NotFound::Failed(reason)) => {
                return Err(SourceError::new(format!("{link}: {reason}")));
            }
        }
    }
    Err(SourceError::new(absent.join("; ")))
}

async fn environment() -> Result<Credentials, NotFound> {
    let provider = EnvironmentVariableCredentialsProvider::new();
    match provider.provide_credentials().await {
        Ok(credentials) => Ok(credentials),
        Err(CredentialsError::CredentialsNotLoaded(_)) => Err(NotFound::Absent(
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set".to_owned(),
        )),
        Err(error) => Err(NotFound::Failed(error_chain(&error))),
    }
}

async fn profile(
    config: &ProviderConfig,
    name: Option<&str>,
    (config_file, credentials_file): (Option<&PathBuf>, Option<&PathBuf>),
) -> Result<Credentials, NotFound> {
    files::can_be_read(config_file, credentials_file)
        .await
        .map_err(|error| NotFound::Failed(error.to_string()))?;
    let files = profile_files(config_file, credentials_file);
    if let Some(command) = command_of_profile(name, files.as_ref()).await? {
        return process::run(&command).await.map_err(|error| NotFound::Failed(error.to_string()));
    }
    let mut provider = ProfileFileCredentialsProvider::builder()
        .configure(config)
        .with_custom_provider("EcsContainer", NoContainerEndpoint);
    if let Some(name) = name {
        provider = provider.profile_name(name);
    }
    if let Some(files) = files {
        provider = provider.profile_files(files);
    }
    match provider.build().provide_credentials().await {
        Ok(credentials) => Ok(credentials),
        Err(error) => Err(not_found(&error)),
    }
}

/// Returns the `credential_process` of a profile, so that it runs here and is killed at its time
/// limit. A command behind a `source_profile` is refused, because the SDK would run it without one.
async fn command_of_profile(
    name: Option<&str>,
    files: Option<&EnvConfigFiles>,
) -> Result<Option<CommandLine>, NotFound> {
    let files = files.cloned().unwrap_or_default();
    let name = name.map(|name| name.to_owned().into());
    // The load itself reports what is wrong with a file.
    let Ok(profiles) = aws_config::profile::load(&Fs::real(), &Env::real(), &files, name).await
    else {
        return Ok(None);
    };
    let selected = profiles.selected_profile();
    let Some(profile) = profiles.get_profile(selected) else {
        return Ok(None);
    };
    let mut passed = vec![selected];
    let mut last = profile;
    while let Some(next) = last.get("source_profile").filter(|_| last.get("role_arn").is_some()) {
        let Some(behind) = profiles.get_profile(next) else {
            break;
        };
        let has = |key: &str| behind.get(key).is_some();
        let leads_on = has("role_arn") && has("source_profile") && !passed.contains(&next);
        // Static keys in a source profile take precedence.
        if has("credential_process") && !has("aws_access_key_id") && !leads_on {
            return Err(NotFound::Failed(format!(
                "the profile {next} has a `credential_process` and is used by a `source_profile`. The SDK would run that \
                 command without a time limit. Put the command into a [source.NAME] with `credential_process`. If a role comes \
                 between, make it a [role.NAME] and chain to it with `source = \"role.NAME\"`"
            )));
        }
        if passed.contains(&next) {
            break;
        }
        passed.push(next);
        last = behind;
    }
    let elsewhere = BEFORE_PROCESS.iter().any(|key| profile.get(key).is_some());
    let command = profile.get("credential_process").filter(|_| !elsewhere);
    Ok(command.and_then(|command| CommandLine::parse(command).ok()))
}

fn profile_files(
    config: Option<&PathBuf>,
    credentials: Option<&PathBuf>,
) -> Option<EnvConfigFiles> {
    if config.is_none() && credentials.is_none() {
        return None;
    }
    let files = EnvConfigFiles::builder();
    let files = match config {
        Some(path) => files.with_file(EnvConfigFileKind::Config, path),
        None => files.include_default_config_file(true),
    };
    let files = match credentials {
        Some(path) => files.with_file(EnvConfigFileKind::Credentials, path),
        None => files.include_default_credentials_file(true),
    };
    Some(files.build())
}

async fn metadata(
    config: &ProviderConfig,
    endpoint: Option<&str>,
) -> Result<Credentials, NotFound> {
    let mut provider = ImdsCredentialsProvider::builder().configure(config);
    if let Some(endpoint) = endpoint {
        let client = imds::Client::builder()
            .configure(config)
            .endpoint(endpoint)
            .map_err(|error| NotFound::Failed(error_chain(error.as_ref())))?;
        provider = provider.imds_client(client.build());
    }
    match provider.build().provide_credentials().await {
        Ok(credentials) => Ok(credentials),
        Err(error) => Err(not_found(&error)),
    }
}

/// Exchanges the web identity token that is named by three environment variables.
async fn token_in_environment(sts: &Client) -> Result<Credentials, NotFound> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(token_file) = variable("AWS_WEB_IDENTITY_TOKEN_FILE") else {
        let reason = "AWS_WEB_IDENTITY_TOKEN_FILE is not set".to_owned();
        return Err(NotFound::Absent(reason));
    };
    let refused = NotFound::Failed;
    let role_arn =
        variable("AWS_ROLE_ARN").ok_or_else(|| refused("AWS_ROLE_ARN is not set".to_owned()))?;
    let name = variable("AWS_ROLE_SESSION_NAME");
    let identity = WebIdentity {
        token_file: token_file.into(),
        role_arn: RoleArn::parse(&role_arn, true)
            .map_err(|error| refused(format!("AWS_ROLE_ARN {error}")))?,
        session_name: SessionName::parse(name.as_deref().unwrap_or(DEFAULT_SESSION_NAME))
            .map_err(|error| refused(format!("AWS_ROLE_SESSION_NAME {error}")))?,
    };
    exchange(&identity, sts).await.map_err(|error| refused(error.to_string()))
}

async fn exchange(identity: &WebIdentity, sts: &Client) -> Result<Credentials, SourceError> {
    let token = read_token(&identity.token_file).await?;
    let exchanged = sts.exchange_token(&token, identity).await;
    exchanged.map_err(|error| SourceError::new(error.message))
}

fn not_found(error: &CredentialsError) -> NotFound {
    let reason = described(error);
    if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
        NotFound::Absent(reason)
    } else {
        NotFound::Failed(reason)
    }
}

/// Describes an error of the SDK without text that may be secret. Errors about a missing feature of
/// the SDK get a text of roletap's own.
fn described(error: &CredentialsError) -> String {
    let said = error_chain(error);
    if said.contains("feature(s) enabled: sso") {
        return "the profile uses IAM Identity Center (SSO), which this build of roletap does not support. Build roletap with \
                `--features sso`, or use another profile"
            .to_owned();
    }
    if said.contains("feature(s) enabled: credentials-login") {
        return "the profile uses a login session of the AWS console, which expires within a day. Use another \
                profile"
            .to_owned();
    }
    // The standard error of a program may contain a secret.
    match said.split_once("Stderr:") {
        Some((before, _)) => format!(
            "{}: run it by hand as the daemon's user to see why",
            before.trim_end_matches(['.', ' '])
        ),
        None => said,
    }
}

/// Replaces the container provider, which could read roletap's own endpoint.
#[derive(Debug)]
struct NoContainerEndpoint;

impl ProvideCredentials for NoContainerEndpoint {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::invalid_configuration(
            "the profile has `credential_source = EcsContainer`, but roletap never reads a container endpoint, because it \
             may be its own. Use another source",
        )))
    }
}
