//! The base identity: whose credentials sign our requests to STS. The only importer of `aws_config`.
//!
//! Held here and not in the SDK's cache, because that one loads in the request path, never notices that STS refused what
//! it holds, and never reads a profile file twice. The container provider is left out on purpose: with our own endpoint
//! in our environment the daemon would feed on itself.
//!
//! Invariants: one load at a time; a load is bounded by [`LOAD_TIMEOUT`]; a failed load keeps what is held until it ends.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_async::time::SharedTimeSource;
use aws_types::region::Region;
use tokio::sync::Mutex;

/// A load that takes longer has failed. IMDS alone may need four tries of a second each.
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Loaded again ahead of expiry by this much.
const EXPIRY_LEAD: Duration = Duration::from_secs(300);
/// Loaded again after this long at the latest, so that a rotated key file is seen.
const RELOAD_EVERY: Duration = Duration::from_secs(300);

/// One `[source.*]`.
pub struct Source {
    name: String,
    region: String,
    clock: SharedTimeSource,
    held: Mutex<Option<Held>>,
    /// STS refused what is held, or an operator asked: the next use loads anew.
    rebuild: AtomicBool,
    status: ArcSwapOption<Status>,
}

struct Held {
    credentials: Credentials,
    loaded_at: SystemTime,
}

/// What the last load came to, for metrics and `/roles`.
#[derive(Debug, Clone)]
pub struct Status {
    /// Whether usable credentials are held.
    pub up: bool,
    /// When they end, if they do.
    pub expires_at: Option<SystemTime>,
}

/// Why there is no base identity.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no base credentials: {reason}")]
pub struct SourceError {
    reason: String,
}

impl Source {
    /// The default source: environment, shared config and credentials files, web identity token, IMDS; in this order.
    pub fn default_chain(region: &str, clock: SharedTimeSource) -> Self {
        Self {
            name: "default".to_owned(),
            region: region.to_owned(),
            clock,
            held: Mutex::new(None),
            rebuild: AtomicBool::new(false),
            status: ArcSwapOption::empty(),
        }
    }

    /// As in `[source.NAME]`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the last load came to; `None` before the first.
    pub fn status(&self) -> Option<Status> {
        self.status.load().as_deref().cloned()
    }

    /// Makes the next use load anew, from files read anew.
    pub fn rebuild(&self) {
        self.rebuild.store(true, Ordering::Release);
    }

    /// The base credentials, loaded if they have to be.
    pub async fn credentials(&self) -> Result<Credentials, SourceError> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        let rebuild = self.rebuild.swap(false, Ordering::AcqRel);
        if let Some(held) = held.as_ref().filter(|held| !rebuild && held.is_fresh(now)) {
            return Ok(held.credentials.clone());
        }
        let loaded = match tokio::time::timeout(LOAD_TIMEOUT, self.load()).await {
            Ok(loaded) => loaded,
            Err(_) => Err(SourceError {
                reason: format!("no answer within {} s", LOAD_TIMEOUT.as_secs()),
            }),
        };
        let outcome = match loaded {
            Ok(credentials) => {
                *held = Some(Held {
                    credentials: credentials.clone(),
                    loaded_at: now,
                });
                Ok(credentials)
            }
            Err(error) => match held
                .as_ref()
                .filter(|held| !rebuild && !held.has_ended(now))
            {
                Some(held) => {
                    tracing::warn!(source = self.name, %error, "base credentials could not be loaded again; keeping those in hand");
                    Ok(held.credentials.clone())
                }
                None => Err(error),
            },
        };
        let expires_at = outcome.as_ref().ok().and_then(Credentials::expiry);
        self.status.store(Some(
            Status {
                up: outcome.is_ok(),
                expires_at,
            }
            .into(),
        ));
        outcome
    }

    async fn load(&self) -> Result<Credentials, SourceError> {
        let config = ProviderConfig::without_region()
            .with_region(Some(Region::new(self.region.clone())))
            .with_time_source(self.clock.clone());
        let chain = CredentialsProviderChain::first_try(
            "environment",
            EnvironmentVariableCredentialsProvider::new(),
        )
        .or_else(
            "profile",
            ProfileFileCredentialsProvider::builder()
                .configure(&config)
                .build(),
        )
        .or_else(
            "web identity",
            WebIdentityTokenCredentialsProvider::builder()
                .configure(&config)
                .build(),
        )
        .or_else(
            "instance metadata",
            ImdsCredentialsProvider::builder()
                .configure(&config)
                .build(),
        );
        chain
            .provide_credentials()
            .await
            .map_err(|error| SourceError {
                reason: chain_of(&error),
            })
    }
}

impl Held {
    fn is_fresh(&self, now: SystemTime) -> bool {
        // A clock that stepped back makes the age negative: load again rather than wait for it to pass.
        let young = now
            .duration_since(self.loaded_at)
            .is_ok_and(|age| age < RELOAD_EVERY);
        young
            && self
                .credentials
                .expiry()
                .is_none_or(|end| end > now + EXPIRY_LEAD)
    }

    fn has_ended(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_some_and(|end| end <= now)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The `Display`s of an error and its sources; never its `Debug`, which may hold secrets.
pub fn chain_of(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        if !parts.iter().any(|earlier| earlier.contains(&part)) {
            parts.push(part);
        }
        next = error.source();
    }
    parts.join(": ")
}
