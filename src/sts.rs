//! The client of STS, in the home Region or in a fallback Region. No other module imports
//! `aws_sdk_sts`.
//!
//! Every operation goes through `Client::call`: it calls, classifies, counts and records the
//! outcome for the failover. The SDK's own retries are off: one call is one request, one metric and
//! at most one classified error.

mod body_limit;
mod classify;
mod clock_skew;
mod endpoints;
mod web_identity_token;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials as BaseCredentials;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, IdentityCache};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::types::{Credentials as Granted, PolicyDescriptorType, Tag};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use tokio::time::Instant;

use crate::clock::{ServerTime, Skew};
use crate::metrics::Metrics;
use roletap_core::config::Sts;
use roletap_core::credentials::{Credentials, Grant, Secret, Unusable};
use roletap_core::failure::{Class, IssueError};
use roletap_core::role::{CallerIdentity, Role, TokenIdentity, WebIdentity};

use body_limit::BodyLimit;
use classify::{StsOperation, classify};
use clock_skew::{ClockSkewInterceptor, SKEW_LIMIT};
use endpoints::Endpoints;
pub use web_identity_token::{Claims, Token};

/// A client of STS in every configured Region.
#[derive(Debug)]
pub struct Client {
    endpoints: Endpoints,
    attempt_timeout: Duration,
    /// The time by the clock of STS, for comparison with an `Expiration`.
    server_time: SharedTimeSource,
    skew: Arc<Skew>,
    metrics: Arc<Metrics>,
}

impl Client {
    /// Creates a client for the settings of `[sts]`. It reads the local time from `clock` and
    /// measures the skew of STS into `skew`.
    pub fn new(
        sts: &Sts,
        clock: SharedTimeSource,
        skew: Arc<Skew>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .use_fips(sts.use_fips)
            .use_dual_stack(sts.use_dual_stack)
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(sts.connect_timeout)
                    .operation_attempt_timeout(sts.attempt_timeout)
                    .operation_timeout(sts.attempt_timeout)
                    .build(),
            )
            .identity_cache(IdentityCache::no_cache())
            .time_source(clock.clone())
            .interceptor(BodyLimit)
            .interceptor(ClockSkewInterceptor { skew: skew.clone(), clock: clock.clone() });
        metrics.sts_regions(sts.regions());
        Arc::new(Self {
            endpoints: Endpoints::new(sts, &config),
            attempt_timeout: sts.attempt_timeout,
            server_time: ServerTime::shared(clock, skew.clone()),
            skew,
            metrics,
        })
    }

    /// Returns the name of the home Region.
    pub fn region(&self) -> &str {
        &self.endpoints.home().region
    }

    /// Returns the longest time of one call.
    pub fn attempt_timeout(&self) -> Duration {
        self.attempt_timeout
    }

    /// Returns the longest time of one call in every Region, one after the other.
    pub fn all_regions_timeout(&self) -> Duration {
        self.attempt_timeout * u32::try_from(self.endpoints.count()).unwrap_or(u32::MAX)
    }

    /// Returns the time by the clock of STS.
    pub fn now(&self) -> SystemTime {
        self.server_time.now()
    }

    /// Assumes `role` for `seconds`, signed with `base`.
    pub async fn assume_role(
        &self,
        role: &Role,
        base: BaseCredentials,
        seconds: u32,
    ) -> Result<Credentials, IssueError> {
        let request = &role.request;
        let tag = |(key, value): &(String, String)| Tag::builder().key(key).value(value).build();
        let tags = request.tags.iter().map(tag).collect::<Result<Vec<_>, _>>();
        let tags = tags.map_err(|error| unsendable(&error.to_string()))?;
        let external_id = request.external_id.as_ref().map(|id| id.as_str());
        self.call(
            self.endpoints.choose(),
            StsOperation::AssumeRole { external_id },
            |client| {
                client
                    .assume_role()
                    .role_arn(request.role_arn.as_str())
                    .role_session_name(request.session_name.as_str())
                    .duration_seconds(i32::try_from(seconds).unwrap_or(i32::MAX))
                    .set_external_id(external_id.map(str::to_owned))
                    .set_policy(request.policy.clone())
                    .set_policy_arns(policy_arns(role))
                    .set_tags(unless_empty(tags))
                    .set_transitive_tag_keys(unless_empty(request.transitive_tag_keys.clone()))
                    .set_source_identity(
                        request.source_identity.as_ref().map(|id| id.as_str().to_owned()),
                    )
                    .set_minimum_session_token_size(minimum_session_token_size(role))
                    .customize()
                    .config_override(aws_sdk_sts::Config::builder().credentials_provider(base))
                    .send()
            },
            |answer| self.examine(role, answer.credentials(), answer.session_token_utilization()),
        )
        .await
    }

    /// Assumes `role` with a web identity token. The request is not signed.
    pub async fn assume_role_with_web_identity(
        &self,
        role: &Role,
        identity: &TokenIdentity,
        token: &Token,
    ) -> Result<Credentials, IssueError> {
        if identity.provider_id.is_some() && token.claims().is_some() {
            return Err(unsendable(
                "`provider_id` is for OAuth 2.0 access tokens, but this token is a JSON Web Token. Remove `provider_id`",
            ));
        }
        let request = &role.request;
        self.call(
            self.endpoints.choose(),
            StsOperation::AssumeRoleWithWebIdentity(token),
            |client| {
                token
                    .request(client, &request.role_arn, &request.session_name)
                    .set_provider_id(identity.provider_id.clone())
                    .duration_seconds(i32::try_from(role.duration.as_secs()).unwrap_or(i32::MAX))
                    .set_policy(request.policy.clone())
                    .set_policy_arns(policy_arns(role))
                    .set_minimum_session_token_size(minimum_session_token_size(role))
                    .send()
            },
            |answer| self.examine(role, answer.credentials(), answer.session_token_utilization()),
        )
        .await
    }

    /// Exchanges a web identity token for the base credentials of a source.
    pub async fn exchange_token(
        &self,
        token: &Token,
        identity: &WebIdentity,
    ) -> Result<BaseCredentials, IssueError> {
        self.call(
            self.endpoints.choose(),
            StsOperation::AssumeRoleWithWebIdentity(token),
            |client| token.request(client, &identity.role_arn, &identity.session_name).send(),
            |answer| {
                // The SDK fills in what an answer left out.
                let granted = answer.credentials().filter(|granted| {
                    !granted.access_key_id().is_empty()
                        && !granted.secret_access_key().is_empty()
                        && !granted.session_token().is_empty()
                        && granted.expiration().secs() > 0
                });
                let granted =
                    granted.ok_or_else(|| (Class::Network, "it is incomplete".to_owned()))?;
                Ok(BaseCredentials::new(
                    granted.access_key_id(),
                    granted.secret_access_key(),
                    Some(granted.session_token().to_owned()),
                    SystemTime::try_from(*granted.expiration()).ok(),
                    "web identity",
                ))
            },
        )
        .await
    }

    /// Asks STS for the identity of `base`, in the active Region and then in the others until one
    /// answers. All Regions together take at most `within`.
    ///
    /// No policy can deny this call, but it counts against the quota. Some services that speak STS
    /// do not know it (Ceph answers 405), so nothing may depend on it.
    pub async fn get_caller_identity(
        &self,
        base: BaseCredentials,
        within: Duration,
    ) -> Result<CallerIdentity, IssueError> {
        let deadline = Instant::now() + within;
        let chosen = self.endpoints.choose();
        let others = (0..self.endpoints.count()).filter(|place| *place != chosen);
        let mut first = None;
        for place in std::iter::once(chosen).chain(others) {
            let base = base.clone();
            let send = |client: &aws_sdk_sts::Client| {
                let config = aws_sdk_sts::Config::builder().credentials_provider(base);
                let sent = client.get_caller_identity().customize().config_override(config).send();
                async move {
                    match tokio::time::timeout_at(deadline, sent).await {
                        Ok(sent) => sent,
                        Err(late) => Err(SdkError::timeout_error(late)),
                    }
                }
            };
            let outcome = self.call(place, StsOperation::GetCallerIdentity, send, |answer| {
                CallerIdentity::parse(answer.arn().unwrap_or_default())
                    .map_err(|refused| (Class::Misconfigured, format!("its ARN {}", refused.what)))
            });
            match outcome.await {
                Err(error) if error.status.is_none() && Instant::now() < deadline => {
                    // Where no Region answers, the error of the first one is the one to repair.
                    first.get_or_insert(error);
                }
                Err(error) if error.status.is_none() => return Err(first.unwrap_or(error)),
                outcome => return outcome,
            }
        }
        Err(first.unwrap_or_else(|| unsendable("no Region is configured")))
    }

    /// Calls STS in the Region at `place`, then classifies, counts and records the outcome.
    ///
    /// `read` takes the result from an answer. If the answer is unusable, `read` returns the class
    /// of the failure and the reason.
    async fn call<O, E, F, T>(
        &self,
        place: usize,
        operation: StsOperation<'_>,
        send: impl FnOnce(&aws_sdk_sts::Client) -> F,
        read: impl FnOnce(O) -> Result<T, (Class, String)>,
    ) -> Result<T, IssueError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<O, SdkError<E, HttpResponse>>>,
    {
        let endpoint = self.endpoints.get(place);
        let outcome = match send(endpoint.client()).await {
            Ok(answer) => read(answer).map_err(|(class, why)| IssueError {
                status: Some(200),
                ..IssueError::new(class, format!("unusable answer from {}: {why}", endpoint.name))
            }),
            Err(error) => {
                Err(classify(&error, endpoint, &operation, self.attempt_timeout, &self.skew))
            }
        };
        let outcome = outcome
            .map_err(|error| IssueError { region: Some(endpoint.region.as_str().into()), ..error });
        let class = outcome.as_ref().err().map(|error| error.class);
        self.metrics.sts_request(operation.name(), &endpoint.region, class);
        self.endpoints.record(place, outcome.as_ref().err(), &self.metrics);
        outcome
    }

    /// Takes the credentials that STS granted to `role`, or returns why they are unusable.
    fn examine(
        &self,
        role: &Role,
        granted: Option<&Granted>,
        utilization: Option<i32>,
    ) -> Result<Credentials, (Class, String)> {
        let credentials = granted.ok_or(Unusable::Missing("Credentials")).and_then(|granted| {
            let grant = Grant {
                access_key_id: granted.access_key_id().to_owned(),
                secret_access_key: Secret::new(granted.secret_access_key().to_owned()),
                session_token: Secret::new(granted.session_token().to_owned()),
                // The SDK puts 1970 where the answer had nothing.
                expires_at: SystemTime::try_from(*granted.expiration())
                    .ok()
                    .filter(|at| *at > UNIX_EPOCH),
                session_token_utilization: utilization.and_then(|percent| percent.try_into().ok()),
            };
            Credentials::new(&grant, role, self.now())
        });
        credentials.map_err(|unusable| {
            let class = match unusable {
                Unusable::DeadOnArrival(_) => Class::Clock,
                Unusable::TooLong(_) if self.skew.is_over(SKEW_LIMIT) => Class::Clock,
                Unusable::Missing(_)
                | Unusable::Malformed(_)
                | Unusable::TooLong(_)
                | Unusable::TooLarge(_) => Class::Network,
            };
            (class, unusable.to_string())
        })
    }
}

fn unsendable(why: &str) -> IssueError {
    IssueError::new(Class::Misconfigured, format!("the request could not be built: {why}"))
}

fn policy_arns(role: &Role) -> Option<Vec<PolicyDescriptorType>> {
    let arns = role.request.policy_arns.iter();
    unless_empty(arns.map(|arn| PolicyDescriptorType::builder().arn(arn).build()).collect())
}

fn minimum_session_token_size(role: &Role) -> Option<i32> {
    role.minimum_session_token_size.and_then(|bytes| i32::try_from(bytes).ok())
}

fn unless_empty<T>(all: Vec<T>) -> Option<Vec<T>> {
    (!all.is_empty()).then_some(all)
}
