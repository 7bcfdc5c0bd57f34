//! AssumeRole, through the SDK. With `sts::identity` the only importer of `aws_sdk_sts`, and the one place where its errors
//! become classes.
//!
//! The SDK's own retries are off: one call here is one request there, one metric and one classified error. The classes
//! come from what the protocol carries (the kind of failure, the code, the status), never from the text of a message;
//! text serves to explain.

pub mod identity;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials as BaseCredentials;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{
    BehaviorVersion, ConfigBag, IdentityCache, Intercept, Region, RuntimeComponents,
};
use aws_sdk_sts::error::SdkError;
use aws_sdk_sts::operation::assume_role::{AssumeRoleError, AssumeRoleOutput};
use aws_sdk_sts::types::{PolicyDescriptorType, Tag};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::bounded::Bounded;
use super::explain::{self, Failure};
use super::obstacle::Obstacle;
use super::regions::{HOME, News, Regions, Sign};
use super::{Class, IssueError, Issuer};
use crate::clock::{ServerTime, Skew};
use crate::config::Sts;
use crate::credentials::{Credentials, Grant, Secret, Unusable};
use crate::lifecycle::Jitter;
use crate::metrics::Metrics;
use crate::role::Role;
use crate::source::{Source, chain_of};

/// Past this the signature is refused, or soon will be (the SDK corrects for skew from here on).
const SKEW_LIMIT: Duration = Duration::from_secs(240);
/// The header of every answer of STS.
const REQUEST_ID: &str = "x-amzn-requestid";
/// The first line of a message is for people; more of it may quote the request.
const MESSAGE_LIMIT: usize = 400;

/// Issues by calling STS, at home or in a region that stands in.
#[derive(Debug, Clone)]
pub struct StsIssuer {
    /// Home, then the fallbacks.
    endpoints: Vec<Endpoint>,
    regions: Arc<Mutex<Regions>>,
    attempt_timeout: Duration,
    source: Arc<Source>,
    /// Of STS: what an `Expiration` is about.
    server_time: SharedTimeSource,
    skew: Arc<Skew>,
    metrics: Arc<Metrics>,
}

/// STS in one region.
#[derive(Debug, Clone)]
struct Endpoint {
    region: String,
    /// What messages call it.
    name: String,
    client: Client,
}

impl StsIssuer {
    /// A client for `sts`, signing as `source`, reading the time from `clock`.
    pub fn new(
        sts: &Sts,
        source: Arc<Source>,
        clock: SharedTimeSource,
        skew: Arc<Skew>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let config = configured(sts, clock.clone()).interceptor(DateWitness {
            skew: skew.clone(),
            clock: clock.clone(),
        });
        let endpoints: Vec<Endpoint> = sts
            .regions()
            .map(|region| {
                let url = sts.endpoint_url(region);
                let mut config = config.clone();
                config
                    .set_region(Some(Region::new(region.to_owned())))
                    .set_endpoint_url(url.clone());
                Endpoint {
                    region: region.to_owned(),
                    name: url.unwrap_or_else(|| format!("the STS endpoint of {region}")),
                    client: Client::from_conf(config.build()),
                }
            })
            .collect();
        metrics.sts_regions(sts.regions());
        Self {
            regions: Arc::new(Mutex::new(Regions::new(endpoints.len() - 1))),
            endpoints,
            attempt_timeout: sts.attempt_timeout,
            source,
            server_time: ServerTime::shared(clock, skew.clone()),
            skew,
            metrics,
        }
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        base: BaseCredentials,
        role: &Role,
    ) -> Result<Credentials, IssueError> {
        let request = &role.request;
        let tag = |(key, value): &(String, String)| Tag::builder().key(key).value(value).build();
        let tags = request.tags.iter().map(tag).collect::<Result<Vec<_>, _>>();
        let tags = tags.map_err(|error| self.malformed(role, &error.to_string()))?;
        let policies = request
            .policy_arns
            .iter()
            .map(|arn| PolicyDescriptorType::builder().arn(arn).build());
        let sent = endpoint
            .client
            .assume_role()
            .role_arn(request.role_arn.as_str())
            .role_session_name(request.session_name.as_str())
            .duration_seconds(i32::try_from(role.duration.as_secs()).unwrap_or(i32::MAX))
            .set_external_id(
                request
                    .external_id
                    .as_ref()
                    .map(|id| id.as_str().to_owned()),
            )
            .set_policy(request.policy.clone())
            .set_policy_arns(Some(policies.collect::<Vec<_>>()).filter(|arns| !arns.is_empty()))
            .set_tags(Some(tags).filter(|tags| !tags.is_empty()))
            .set_transitive_tag_keys(
                Some(request.transitive_tag_keys.clone()).filter(|keys| !keys.is_empty()),
            )
            .set_source_identity(
                request
                    .source_identity
                    .as_ref()
                    .map(|id| id.as_str().to_owned()),
            )
            .customize()
            .config_override(aws_sdk_sts::Config::builder().credentials_provider(base))
            .send()
            .await;
        match sent {
            Ok(answer) => self.examined(endpoint, role, &answer),
            Err(error) => Err(self.classified(endpoint, role, &error)),
        }
    }

    fn examined(
        &self,
        endpoint: &Endpoint,
        role: &Role,
        answer: &AssumeRoleOutput,
    ) -> Result<Credentials, IssueError> {
        let granted = answer
            .credentials()
            .ok_or_else(|| self.unusable(endpoint, role, &Unusable::Missing("Credentials")))?;
        let grant = Grant {
            access_key_id: granted.access_key_id().to_owned(),
            secret_access_key: Secret::new(granted.secret_access_key().to_owned()),
            session_token: Secret::new(granted.session_token().to_owned()),
            // The SDK puts 1970 where the answer had nothing.
            expires_at: SystemTime::try_from(*granted.expiration())
                .ok()
                .filter(|at| *at > UNIX_EPOCH),
            session_token_utilization: answer
                .session_token_utilization()
                .and_then(|percent| percent.try_into().ok()),
        };
        Credentials::new(&grant, role, self.server_time.now())
            .map_err(|error| self.unusable(endpoint, role, &error))
    }

    fn unusable(&self, endpoint: &Endpoint, role: &Role, unusable: &Unusable) -> IssueError {
        let class = match unusable {
            Unusable::DeadOnArrival(_) => Class::Clock,
            Unusable::TooLong(_) if self.skew.is_over(SKEW_LIMIT) => Class::Clock,
            Unusable::Missing(_)
            | Unusable::Malformed(_)
            | Unusable::TooLong(_)
            | Unusable::TooLarge(_) => Class::Network,
        };
        let what = format!("unusable answer from {}: {unusable}", endpoint.name);
        self.error(
            role,
            class,
            &Failure {
                what: &what,
                status: Some(200),
                ..Failure::default()
            },
        )
    }

    fn malformed(&self, role: &Role, why: &str) -> IssueError {
        let what = format!("the request could not be built: {why}");
        self.error(
            role,
            Class::Misconfigured,
            &Failure {
                what: &what,
                ..Failure::default()
            },
        )
    }

    fn classified(
        &self,
        endpoint: &Endpoint,
        role: &Role,
        error: &SdkError<AssumeRoleError, HttpResponse>,
    ) -> IssueError {
        let answer = error.raw_response();
        let status = answer.map(|answer| answer.status().as_u16());
        let header = |name| answer.and_then(|answer| answer.headers().get(name));
        let body = answer
            .and_then(|answer| answer.body().bytes())
            .map(String::from_utf8_lossy)
            .unwrap_or_default();
        // The SDK finds codes only inside <ErrorResponse><Error>; Ceph and some proxies answer a bare <Error>.
        let metadata = error.as_service_error().map(AssumeRoleError::meta);
        let code = metadata
            .and_then(|meta| meta.code())
            .or_else(|| element(&body, "Code"))
            .map(plain);
        let message = metadata
            .and_then(|meta| meta.message())
            .or_else(|| element(&body, "Message"))
            .map(first_line);
        let endpoint = &endpoint.name;
        let obstacle = match error {
            SdkError::TimeoutError(_) => Some(Obstacle::NoAnswer),
            SdkError::DispatchFailure(_) if is_missing_credentials(error) => None,
            SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => Some(Obstacle::of(error)),
            SdkError::ConstructionFailure(_) | SdkError::ServiceError(_) | _ => None,
        };
        let (class, what) = match error {
            SdkError::ConstructionFailure(_) => (
                Class::Misconfigured,
                format!("the request could not be built: {}", chain_of(error)),
            ),
            SdkError::TimeoutError(_) => (
                Class::Network,
                format!(
                    "no answer from {endpoint} within {} s",
                    self.attempt_timeout.as_secs_f64()
                ),
            ),
            SdkError::DispatchFailure(_) if is_missing_credentials(error) => {
                (Class::Source, chain_of(error))
            }
            SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => (
                Class::Network,
                plain(
                    &obstacle
                        .as_ref()
                        .map(|obstacle| obstacle.what(endpoint))
                        .unwrap_or_default(),
                ),
            ),
            SdkError::ServiceError(_) => match (&code, status) {
                (Some(code), _) => (
                    self.class_of(code, status),
                    format!(
                        "{endpoint} answered {code}{}",
                        message
                            .as_deref()
                            .map(|m| format!(": {m}"))
                            .unwrap_or_default()
                    ),
                ),
                (None, status) => {
                    let status = status.unwrap_or_default();
                    (
                        class_of_status(status),
                        format!("{endpoint} answered HTTP {status}, and not as STS does"),
                    )
                }
            },
            _ => (Class::Network, chain_of(error)),
        };
        let retry_after = header("retry-after")
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs);
        let retry_after_ms = header("x-amz-retry-after")
            .and_then(|text| text.parse().ok())
            .map(Duration::from_millis);
        let request_id = header(REQUEST_ID).map(plain);
        let failure = Failure {
            what: &what,
            code: code.as_deref(),
            message: message.as_deref(),
            obstacle: obstacle.as_ref(),
            status,
            request_id: request_id.as_deref(),
            retry_after: retry_after_ms.or(retry_after),
            skew: self.skew.seconds(),
        };
        self.error(role, class, &failure)
    }

    fn class_of(&self, code: &str, status: Option<u16>) -> Class {
        match explain::class_of_code(code) {
            // Wrong key and wrong clock share this code; the measured skew tells them apart.
            Some(Class::Source)
                if code == "SignatureDoesNotMatch" && self.skew.is_over(SKEW_LIMIT) =>
            {
                Class::Clock
            }
            Some(class) => class,
            None => match status.unwrap_or_default() {
                429 => Class::Throttled,
                500.. => Class::Network,
                403 => Class::Denied,
                _ => Class::Misconfigured,
            },
        }
    }

    /// Stays, or moves every role of the host to another region.
    fn heed(&self, chosen: usize, outcome: &Result<Credentials, IssueError>) {
        let sign = match outcome {
            Err(error) if error.class == Class::Network => Sign::Silence,
            // Nothing was sent, or it came to nothing before it left.
            Err(error) if error.status.is_none() => return,
            Ok(_) | Err(_) => Sign::Answer,
        };
        let name = |place: usize| {
            self.endpoints
                .get(place)
                .map_or("", |at| at.region.as_str())
        };
        let news = {
            let mut regions = self.regions();
            let news = regions.conclude(chosen, sign, now(), draw());
            self.metrics.sts_asked_in(name(regions.active()));
            news
        };
        let said = || match outcome {
            Ok(_) => "it issued credentials",
            Err(error) => error.what.as_str(),
        };
        match news {
            None => {}
            Some(News::Moved { from, to }) => tracing::warn!(
                from = name(from),
                to = name(to),
                reason = said(),
                "STS does not answer in {}: asking in {}",
                name(from),
                name(to)
            ),
            Some(News::AllSilent) => tracing::error!(
                reason = said(),
                "STS answers in no region: asking in each in turn"
            ),
            Some(News::Found(at)) => tracing::warn!(
                region = name(at),
                reason = said(),
                "STS answers in {}: asking there",
                name(at)
            ),
            Some(News::Home) => tracing::info!(
                region = name(HOME),
                reason = said(),
                "STS answers in {} again: back home",
                name(HOME)
            ),
        }
    }

    fn regions(&self) -> std::sync::MutexGuard<'_, Regions> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, role: &Role, class: Class, failure: &Failure<'_>) -> IssueError {
        IssueError {
            class,
            code: failure.code.map(str::to_owned),
            status: failure.status,
            request_id: failure.request_id.map(str::to_owned),
            what: failure.what.to_owned(),
            advice: explain::advice(role, class, failure),
            retry_after: failure.retry_after,
        }
    }
}

impl Issuer for StsIssuer {
    async fn issue(&self, role: &Role) -> Result<Credentials, IssueError> {
        let base = match self.source.credentials().await {
            Ok(base) => base,
            Err(error) => {
                self.source.rebuild();
                let what = error.to_string();
                let failure = Failure {
                    what: &what,
                    ..Failure::default()
                };
                return Err(self.error(role, Class::Source, &failure));
            }
        };
        let chosen = self.regions().choose(now(), draw());
        let Some(endpoint) = self.endpoints.get(chosen) else {
            return Err(self.malformed(role, "there is no such region"));
        };
        let outcome = self.ask(endpoint, base, role).await;
        let class = outcome.as_ref().err().map(|error| error.class);
        if matches!(class, Some(Class::Source | Class::Clock)) {
            self.source.rebuild();
        }
        self.metrics
            .sts_request("AssumeRole", &endpoint.region, class);
        self.heed(chosen, &outcome);
        outcome
    }
}

/// What every client of STS has in common; what it is told of region and endpoint comes on top.
fn configured(sts: &Sts, clock: SharedTimeSource) -> aws_sdk_sts::config::Builder {
    aws_sdk_sts::Config::builder()
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
        .time_source(clock)
        .interceptor(Bounded)
}

/// Reads the `Date` of every answer, of errors too.
#[derive(Debug)]
struct DateWitness {
    skew: Arc<Skew>,
    clock: SharedTimeSource,
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for DateWitness {
    fn name(&self) -> &'static str {
        "DateWitness"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_smithy_runtime_api::box_error::BoxError> {
        let headers = context.response().headers();
        // A captive portal has a date of its own; what STS answers bears a request id.
        if headers.get(REQUEST_ID).is_none() {
            return Ok(());
        }
        let date = headers
            .get("date")
            .and_then(|text| DateTime::from_str(text, Format::HttpDate).ok());
        if let Some(server) = date.and_then(|date| SystemTime::try_from(date).ok()) {
            let granted = context.response().status().is_success();
            self.skew.measure(server, self.clock.now(), granted);
        }
        Ok(())
    }
}

fn now() -> std::time::Instant {
    let now = tokio::time::Instant::now();
    now.into_std()
}

fn draw() -> Jitter {
    Jitter::new(fastrand::f64())
}

/// Where there was an answer but no code in it.
fn class_of_status(status: u16) -> Class {
    match status {
        429 => Class::Throttled,
        // STS has one path and one method: whatever answers so is not STS.
        404 | 405 => Class::Misconfigured,
        // A captive portal, a proxy, a broken body: it may pass.
        _ => Class::Network,
    }
}

fn is_missing_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<aws_credential_types::provider::error::CredentialsError>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// The text of the first `<name>` element, if the body is one that has it.
fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let after = body.split_once(&format!("<{name}>"))?.1;
    after
        .split_once(&format!("</{name}>"))
        .map(|(text, _)| text.trim())
        .filter(|text| !text.is_empty())
}

/// What an attacker may not use to forge a log line.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_LIMIT)
        .collect()
}

fn first_line(text: &str) -> String {
    plain(text.lines().next().unwrap_or_default())
}
