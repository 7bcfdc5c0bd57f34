//! One load of a source, from files read anew. With its siblings the only importer of `aws_config`.
//!
//! The container provider is left out on purpose, in profiles too: with roletap's own endpoint in
//! its environment the daemon would sign with what it vends itself.

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

/// The session name for a token in the environment, if the environment has none.
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

/// The reason why one link of a chain gives no credentials.
enum NotFound {
    /// It is not configured: a chain goes on.
    Absent(String),
    /// It is, but something is wrong: a chain ends here, or it would go on as somebody else.
    Failed(String),
}

/// Loads credentials, once.
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

/// Refuses credentials that have expired already.
pub(super) fn unexpired(
    credentials: Credentials,
    now: SystemTime,
) -> Result<Credentials, SourceError> {
    match credentials.expiry().filter(|at| *at <= now) {
        None => Ok(credentials),
        Some(at) => {
            let at = jiff::Timestamp::try_from(at).map(|at| at.to_string()).unwrap_or_default();
            let reason = format!("what it gives expired at {at}: has its renewal stopped?");
            Err(SourceError::new(reason))
        }
    }
}

/// The first of the SDK's chain that has something, but for the container provider.
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

/// The command of a profile that has nothing else: run here, where it is killed at its time limit.
/// The SDK would run one behind a `source_profile` without a limit, so that is refused.
async fn command_of_profile(
    name: Option<&str>,
    files: Option<&EnvConfigFiles>,
) -> Result<Option<CommandLine>, NotFound> {
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
            return Err(NotFound::Failed(format!(
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

/// The token of the environment, by the three variables that the SDK reads.
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

/// The words of the SDK, without what is not for logs; other words where the SDK speaks of its own
/// build.
fn described(error: &CredentialsError) -> String {
    let said = error_chain(error);
    if said.contains("feature(s) enabled: sso") {
        return "the profile is one of IAM Identity Center (SSO), which this build of roletap leaves out: build it with \
                `--features sso`, or name another profile"
            .to_owned();
    }
    if said.contains("feature(s) enabled: credentials-login") {
        return "the profile is a person's session of the AWS console, which expires within a day: name another \
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

/// Stands in for the container provider, which would ask roletap's own endpoint.
#[derive(Debug)]
struct NoContainerEndpoint;

impl ProvideCredentials for NoContainerEndpoint {
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
