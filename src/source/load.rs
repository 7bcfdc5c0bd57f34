//! One load of a source, from files read anew. With its siblings the only importer of `aws_config`.
//!
//! The container provider is left out on purpose, in profiles too: with our own endpoint in our environment the daemon
//! would feed on itself.

use std::path::PathBuf;
use std::sync::Arc;
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

use super::{Outside, SourceError, Token, chain_of, files, process};
use crate::role::{CommandLine, Origin, RoleArn, SessionName, WebIdentity};

/// What a session of a token in the environment is called, if nobody says.
const DEFAULT_SESSION_NAME: &str = "roletap";
/// Keys of a profile that take precedence over its `credential_process`, or lead elsewhere first.
const BEFORE_PROCESS: [&str; 7] = [
    "role_arn",
    "credential_source",
    "web_identity_token_file",
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "login_session",
];

/// Where a source has nothing, or why what it has cannot be had.
enum Miss {
    /// It is not configured: a chain goes on.
    Absent(String),
    /// It is, but something is wrong: a chain ends here, or it would go on as somebody else.
    Failed(String),
}

/// Loads credentials, once.
pub(super) async fn load(
    origin: &Origin,
    clock: &SharedTimeSource,
    outside: &Arc<dyn Outside>,
) -> Result<Credentials, SourceError> {
    let config = ProviderConfig::without_region()
        .with_region(Some(Region::new(outside.region().to_owned())))
        .with_time_source(clock.clone());
    let loaded = match origin {
        Origin::Chain => return chain(&config, outside).await,
        Origin::Environment => environment().await,
        Origin::Profile { name, config_file, shared_credentials_file } => {
            let files = (config_file.as_ref(), shared_credentials_file.as_ref());
            profile(&config, Some(name), files).await
        }
        Origin::WebIdentity(identity) => return trade(identity, outside).await,
        Origin::InstanceMetadata { endpoint } => metadata(&config, endpoint.as_deref()).await,
        Origin::Process(command) => return process::run(command).await,
        Origin::KeyFiles { access_key_id, secret_access_key, session_token } => {
            return files::keys(access_key_id, secret_access_key, session_token.as_deref()).await;
        }
    };
    loaded.map_err(|miss| match miss {
        Miss::Absent(reason) | Miss::Failed(reason) => SourceError::new(reason),
    })
}

/// The same, unless they have ended already.
pub(super) fn unended(
    credentials: Credentials,
    now: SystemTime,
) -> Result<Credentials, SourceError> {
    match credentials.expiry().filter(|end| *end <= now) {
        None => Ok(credentials),
        Some(end) => {
            let end = jiff::Timestamp::try_from(end).map(|end| end.to_string());
            Err(SourceError::new(format!(
                "what it gives ended at {}: is what renews it well?",
                end.unwrap_or_default()
            )))
        }
    }
}

/// The first of the SDK's chain that has something, but for the container provider.
async fn chain(
    config: &ProviderConfig,
    outside: &Arc<dyn Outside>,
) -> Result<Credentials, SourceError> {
    let mut absent: Vec<String> = Vec::new();
    for link in ["environment", "profile", "web identity", "instance metadata"] {
        let loaded = match link {
            "environment" => environment().await,
            "profile" => profile(config, None, (None, None)).await,
            "web identity" => token_in_environment(outside).await,
            _ => metadata(config, None).await,
        };
        match loaded {
            Ok(credentials) => return Ok(credentials),
            Err(Miss::Absent(reason)) => absent.push(format!("{link}: {reason}")),
            Err(Miss::Failed(reason)) => {
                return Err(SourceError::new(format!("{link}: {reason}")));
            }
        }
    }
    Err(SourceError::new(absent.join("; ")))
}

async fn environment() -> Result<Credentials, Miss> {
    let provider = EnvironmentVariableCredentialsProvider::new();
    match provider.provide_credentials().await {
        Ok(credentials) => Ok(credentials),
        Err(CredentialsError::CredentialsNotLoaded(_)) => {
            Err(Miss::Absent("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set".to_owned()))
        }
        Err(error) => Err(Miss::Failed(chain_of(&error))),
    }
}

async fn profile(
    config: &ProviderConfig,
    name: Option<&str>,
    (config_file, credentials_file): (Option<&PathBuf>, Option<&PathBuf>),
) -> Result<Credentials, Miss> {
    files::can_be_read(config_file, credentials_file)
        .await
        .map_err(|error| Miss::Failed(error.to_string()))?;
    let files = profile_files(config_file, credentials_file);
    if let Some(command) = command_of_profile(name, files.as_ref()).await? {
        return process::run(&command).await.map_err(|error| Miss::Failed(error.to_string()));
    }
    let mut provider = ProfileFileCredentialsProvider::builder()
        .configure(config)
        .with_custom_provider("EcsContainer", NeverOurselves);
    if let Some(name) = name {
        provider = provider.profile_name(name);
    }
    if let Some(files) = files {
        provider = provider.profile_files(files);
    }
    match provider.build().provide_credentials().await {
        Ok(credentials) => Ok(credentials),
        Err(error) => Err(missed(&error)),
    }
}

/// The command of a profile that has nothing else: run here, where it is killed when its time is over. The SDK would run
/// one behind a `source_profile` without an end, so that is refused.
async fn command_of_profile(
    name: Option<&str>,
    files: Option<&EnvConfigFiles>,
) -> Result<Option<CommandLine>, Miss> {
    let files = files.cloned().unwrap_or_default();
    let name = name.map(|name| name.to_owned().into());
    // What is wrong with a file is told by the load itself.
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
        // Keys in a profile behind another come before all else in it.
        if has("credential_process") && !has("aws_access_key_id") && !leads_on {
            return Err(Miss::Failed(format!(
                "the profile {next}, behind a `source_profile`, has a `credential_process`, which nothing would stop there: \
                 put the command into a [source.NAME] of its own, with `credential_process`, and where a role comes first, \
                 make that a [role.NAME] and chain to it with `source = \"role.NAME\"`"
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

async fn metadata(config: &ProviderConfig, endpoint: Option<&str>) -> Result<Credentials, Miss> {
    let mut provider = ImdsCredentialsProvider::builder().configure(config);
    if let Some(endpoint) = endpoint {
        let client = imds::Client::builder()
            .configure(config)
            .endpoint(endpoint)
            .map_err(|error| Miss::Failed(chain_of(error.as_ref())))?;
        provider = provider.imds_client(client.build());
    }
    match provider.build().provide_credentials().await {
        Ok(credentials) => Ok(credentials),
        Err(error) => Err(missed(&error)),
    }
}

/// As the SDK finds a token, in `AWS_WEB_IDENTITY_TOKEN_FILE` and its kin.
async fn token_in_environment(outside: &Arc<dyn Outside>) -> Result<Credentials, Miss> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(token_file) = variable("AWS_WEB_IDENTITY_TOKEN_FILE") else {
        let reason = "AWS_WEB_IDENTITY_TOKEN_FILE is not set".to_owned();
        return Err(Miss::Absent(reason));
    };
    let refused = |what: String| Miss::Failed(what);
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
    trade(&identity, outside).await.map_err(|error| refused(error.to_string()))
}

async fn trade(
    identity: &WebIdentity,
    outside: &Arc<dyn Outside>,
) -> Result<Credentials, SourceError> {
    let token = Token::read(&identity.token_file).await?;
    outside.trade(token, identity).await
}

fn missed(error: &CredentialsError) -> Miss {
    let reason = told(error);
    if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
        Miss::Absent(reason)
    } else {
        Miss::Failed(reason)
    }
}

/// What the SDK says, without what is not for logs, and in our words where it speaks of itself.
fn told(error: &CredentialsError) -> String {
    let said = chain_of(error);
    if said.contains("feature(s) enabled: sso") {
        return "the profile is one of IAM Identity Center (SSO), which this build of roletap leaves out: build it with \
                `--features sso`, or name another profile"
            .to_owned();
    }
    if said.contains("feature(s) enabled: credentials-login") {
        return "the profile is a person's session of the AWS console, which ends with the person's day: name another \
                profile"
            .to_owned();
    }
    // What a program writes to standard error may be a secret.
    match said.split_once("Stderr:") {
        Some((before, _)) => format!(
            "{}: run it by hand as the daemon's user to see why",
            before.trim_end_matches(['.', ' '])
        ),
        None => said,
    }
}

/// In place of the container provider, which would ask our own endpoint.
#[derive(Debug)]
struct NeverOurselves;

impl ProvideCredentials for NeverOurselves {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::invalid_configuration(
            "the profile says `credential_source = EcsContainer`, and roletap never asks a container endpoint: it might be \
             its own. Name another source",
        )))
    }
}
