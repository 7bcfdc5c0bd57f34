//! AssumeRole, through the SDK. With `sts::identity` the only importer of `aws_sdk_sts`, and the one place where its errors
//! become classes.
//!
//! The SDK's own retries are off: one call here is one request there, one metric and one classified error. The classes
//! come from what the protocol carries (the kind of failure, the code, the status), never from the text of a message;
//! text serves to explain.

mod classify;
mod date;
mod endpoints;
mod for_sources;
pub mod identity;
mod signer;
mod web_identity;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, IdentityCache};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::types::{PolicyDescriptorType, Tag};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::bounded::Bounded;
use super::explain::{self, Failure};
use super::{Class, IssueError, Issuer};
use crate::clock::{ServerTime, Skew};
use crate::config::Sts;
use crate::credentials::{Credentials, Grant, Secret, Unusable};
use crate::lifecycle::Jitter;
use crate::metrics::Metrics;
use crate::role::{Base, Role, RoleName, Source, TokenIdentity};
use crate::slots::{Slot, Slots};
use crate::source::{LOAD_TIMEOUT, SourceError, Sources, read_token};

use classify::Told;
use date::DateWitness;
use endpoints::{Endpoint, Endpoints};
pub use for_sources::ForSources;
use signer::Issued;
pub use signer::Signer;

/// Past this the signature is refused, or soon will be (the SDK corrects for skew from here on).
const SKEW_LIMIT: Duration = Duration::from_secs(240);
/// The header of every answer of STS.
const REQUEST_ID: &str = "x-amzn-requestid";
/// AWS's cap for a role that is assumed by a role.
const LONGEST_CHAINED: u32 = crate::role::SessionDuration::LONGEST_CHAINED;
/// Credentials that are younger than this are not issued anew because STS refused them.
const YOUNG: Duration = Duration::from_secs(60);
/// The first line of a message is for people; more of it may quote the request.
const MESSAGE_LIMIT: usize = 400;

/// Issues by calling STS, at home or in a region that stands in.
#[derive(Debug, Clone)]
pub struct StsIssuer {
    endpoints: Arc<Endpoints>,
    attempt_timeout: Duration,
    sources: Arc<Sources>,
    /// Where the roles are that others are chained to.
    slots: Arc<Slots>,
    /// Roles that were given less time than they ask for, so that each is told of once.
    clamped: Arc<Mutex<BTreeSet<RoleName>>>,
    issued: Arc<Issued>,
    /// Of STS: what an `Expiration` is about.
    server_time: SharedTimeSource,
    skew: Arc<Skew>,
    metrics: Arc<Metrics>,
}

impl StsIssuer {
    /// A client for `sts`, signing as `sources` and what is in hand in `slots`, reading the time from `clock`.
    /// From now on the sources turn to this STS, too.
    pub fn new(
        sts: &Sts,
        sources: Arc<Sources>,
        slots: Arc<Slots>,
        clock: SharedTimeSource,
        skew: Arc<Skew>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let config = configured(sts, clock.clone())
            .interceptor(DateWitness { skew: skew.clone(), clock: clock.clone() });
        let endpoints = Arc::new(Endpoints::new(sts, &config));
        metrics.sts_regions(sts.regions());
        sources.turn_to(Arc::new(ForSources {
            sts: sts.clone(),
            endpoints: endpoints.clone(),
            slots: slots.clone(),
            clock: clock.clone(),
            skew: skew.clone(),
            metrics: metrics.clone(),
        }));
        Self {
            endpoints,
            attempt_timeout: sts.attempt_timeout,
            sources,
            slots,
            clamped: Arc::default(),
            issued: Arc::default(),
            server_time: ServerTime::shared(clock, skew.clone()),
            skew,
            metrics,
        }
    }

    /// One call for a role, signed by this.
    pub async fn issue_signed_by(
        &self,
        role: &Role,
        signer: &Signer,
    ) -> Result<Credentials, IssueError> {
        if let Some(why) = signer.is_a_loop(role, &self.slots, &self.issued) {
            let failure = Failure { what: &why, ..Failure::default() };
            return Err(self.error(role, Class::Misconfigured, &failure));
        }
        let Some((chosen, endpoint)) = self.endpoints.choose() else {
            return Err(self.malformed(role, "there is no such region"));
        };
        let outcome = self.ask(endpoint, signer, role).await;
        let class = outcome.as_ref().err().map(|error| error.class);
        self.metrics.sts_request("AssumeRole", &endpoint.region, class);
        self.endpoints.heed(chosen, &outcome, &self.metrics);
        outcome
    }

    /// One call for a role, and before it one for each role it is chained to: for commands that run without a daemon.
    pub async fn issue_along(&self, role: &Role) -> Result<Credentials, IssueError> {
        let mut ancestors: Vec<&Role> = role.ancestors().map(AsRef::as_ref).collect();
        ancestors.reverse();
        let mut signer: Option<Signer> = None;
        for hop in ancestors {
            let issued = match &signer {
                None => self.issue(hop).await,
                Some(signer) => self.issue_signed_by(hop, signer).await,
            };
            signer = Some(Signer::of_issued(&issued?));
        }
        match &signer {
            None => self.issue(role).await,
            Some(signer) => self.issue_signed_by(role, signer).await,
        }
    }

    async fn issue_for_token(
        &self,
        role: &Role,
        identity: &TokenIdentity,
    ) -> Result<Credentials, IssueError> {
        let token = match read_token(&identity.token_file).await {
            Ok(token) => token,
            Err(error) => {
                let what = format!("no token to show: {error}");
                let failure = Failure { what: &what, ..Failure::default() };
                return Err(self.error(role, Class::Source, &failure));
            }
        };
        if identity.provider_id.is_some() && token.claims().is_some() {
            return Err(self.malformed(
                role,
                "`provider_id` is for the tokens of OAuth 2.0, and this one is a JSON web token: leave `provider_id` out",
            ));
        }
        let Some((chosen, endpoint)) = self.endpoints.choose() else {
            return Err(self.malformed(role, "there is no such region"));
        };
        let request = &role.request;
        let sent =
            web_identity::request(endpoint, &token, &request.role_arn, &request.session_name)
                .set_provider_id(identity.provider_id.clone())
                .duration_seconds(i32::try_from(role.duration.as_secs()).unwrap_or(i32::MAX))
                .set_policy(request.policy.clone())
                .set_policy_arns(policy_arns(role))
                .set_minimum_session_token_size(minimum_session_token_size(role))
                .send()
                .await;
        let outcome = match sent {
            Ok(answer) => {
                let utilization = answer.session_token_utilization();
                self.examined(endpoint, role, answer.credentials(), utilization)
            }
            Err(error) => {
                let told = self
                    .told(endpoint, &error, &web_identity::private(&token))
                    .about(&web_identity::described(&token));
                Err(self.classified(endpoint, role, &told))
            }
        };
        let class = outcome.as_ref().err().map(|error| error.class);
        self.metrics.sts_request(web_identity::OPERATION, &endpoint.region, class);
        self.endpoints.heed(chosen, &outcome, &self.metrics);
        outcome
    }

    /// What signs for this role now.
    pub async fn signer(&self, role: &Role) -> Result<Signer, SourceError> {
        match &role.request.base {
            Base::Source(source) => {
                let in_hand = match self.sources.in_hand(source) {
                    Some(in_hand) => Ok(in_hand),
                    None => self.sources.credentials(source).await,
                };
                let in_hand = in_hand.map_err(|error| from_source(source, &error))?;
                Ok(Signer::of_source(source.clone(), in_hand))
            }
            Base::Role(parent) => Signer::of_role(parent, &self.slots, self.server_time.now()),
            Base::Token(_) => Err(SourceError::new("nobody signs for a token")),
        }
    }

    fn unsigned(&self, role: &Role, error: &SourceError) -> IssueError {
        let what = error.to_string();
        let failure = Failure { what: &what, ..Failure::default() };
        self.error(role, Class::Source, &failure)
    }

    /// STS did not take what this role was signed with.
    fn refused(&self, role: &Role, signer: &Signer) {
        match (&role.request.base, signer.in_hand()) {
            (Base::Source(source), Some(in_hand)) => self.sources.refused(source, in_hand),
            (Base::Role(parent), _) => {
                let slot = self.slots.find(parent.name.as_str());
                // Young credentials are most likely not to blame, and two roles must not hurry each other for ever.
                let stale = |slot: &Arc<Slot>| {
                    let now = self.server_time.now();
                    let issued_at = slot.state().credentials().map(|held| held.issued_at());
                    issued_at
                        .and_then(|at| now.duration_since(at).ok())
                        .is_some_and(|age| age > YOUNG)
                };
                if let Some(slot) = slot.filter(stale) {
                    slot.hurry();
                }
            }
            (Base::Source(_) | Base::Token(_), _) => {}
        }
    }

    /// AWS grants an hour at most to a role that is assumed by a role. Where only the run shows that, it is told once.
    fn seconds(&self, role: &Role, signer: &Signer) -> u32 {
        let asked = role.duration.as_secs();
        if asked <= LONGEST_CHAINED || !signer.is_role_session() {
            return asked;
        }
        let mut clamped = self.clamped.lock().unwrap_or_else(PoisonError::into_inner);
        if clamped.insert(role.name.clone()) {
            tracing::warn!(
                role = role.name.as_str(),
                duration_seconds = asked,
                "the base identity is itself an assumed role, so AWS grants {LONGEST_CHAINED} seconds at most: asking for those"
            );
        }
        LONGEST_CHAINED
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        signer: &Signer,
        role: &Role,
    ) -> Result<Credentials, IssueError> {
        let request = &role.request;
        let tag = |(key, value): &(String, String)| Tag::builder().key(key).value(value).build();
        let tags = request.tags.iter().map(tag).collect::<Result<Vec<_>, _>>();
        let tags = tags.map_err(|error| self.malformed(role, &error.to_string()))?;
        let seconds = self.seconds(role, signer);
        let sent = endpoint
            .client()
            .assume_role()
            .role_arn(request.role_arn.as_str())
            .role_session_name(request.session_name.as_str())
            .duration_seconds(i32::try_from(seconds).unwrap_or(i32::MAX))
            .set_external_id(request.external_id.as_ref().map(|id| id.as_str().to_owned()))
            .set_policy(request.policy.clone())
            .set_policy_arns(policy_arns(role))
            .set_tags(Some(tags).filter(|tags| !tags.is_empty()))
            .set_transitive_tag_keys(
                Some(request.transitive_tag_keys.clone()).filter(|keys| !keys.is_empty()),
            )
            .set_source_identity(request.source_identity.as_ref().map(|id| id.as_str().to_owned()))
            .set_minimum_session_token_size(minimum_session_token_size(role))
            .customize()
            .config_override(
                aws_sdk_sts::Config::builder().credentials_provider(signer.credentials()),
            )
            .send()
            .await;
        match sent {
            Ok(answer) => {
                let utilization = answer.session_token_utilization();
                self.examined(endpoint, role, answer.credentials(), utilization)
            }
            Err(error) => {
                let external_id = request.external_id.as_ref().map(|id| id.as_str());
                let told = self.told(endpoint, &error, external_id.as_slice());
                Err(self.classified(endpoint, role, &told))
            }
        }
    }

    fn examined(
        &self,
        endpoint: &Endpoint,
        role: &Role,
        granted: Option<&aws_sdk_sts::types::Credentials>,
        utilization: Option<i32>,
    ) -> Result<Credentials, IssueError> {
        let granted = granted
            .ok_or_else(|| self.unusable(endpoint, role, &Unusable::Missing("Credentials")))?;
        self.issued.remember(&role.name, granted.access_key_id());
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
        self.error(role, class, &Failure { what: &what, status: Some(200), ..Failure::default() })
    }

    fn malformed(&self, role: &Role, why: &str) -> IssueError {
        let what = format!("the request could not be built: {why}");
        self.error(role, Class::Misconfigured, &Failure { what: &what, ..Failure::default() })
    }

    fn told<E>(
        &self,
        endpoint: &Endpoint,
        error: &SdkError<E, HttpResponse>,
        private: &[&str],
    ) -> Told
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        Told::of(error, &endpoint.name, self.attempt_timeout, &self.skew, private)
    }

    fn classified(&self, endpoint: &Endpoint, role: &Role, told: &Told) -> IssueError {
        let failure = told.failure(&endpoint.region, self.skew.seconds());
        self.error(role, told.class, &failure)
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
    async fn prepare(&self, role: &Role) -> Result<(), IssueError> {
        let patience = LOAD_TIMEOUT + self.attempt_timeout;
        let prepared = match &role.request.base {
            Base::Source(source) => {
                let loaded = self.sources.credentials(source);
                let loaded = tokio::time::timeout(patience, loaded).await;
                let late = || SourceError::new(format!("nothing within {} s", patience.as_secs()));
                let loaded = loaded.unwrap_or_else(|_| Err(late()));
                loaded.map(|_| ()).map_err(|error| from_source(source, &error))
            }
            Base::Role(parent) => {
                if let Some(slot) = self.slots.find(parent.name.as_str()) {
                    let _ = tokio::time::timeout(patience, slot.left_pending()).await;
                }
                self.signer(role).await.map(|_| ())
            }
            // Read for the attempt itself, so that it is the newest.
            Base::Token(_) => Ok(()),
        };
        prepared.map_err(|error| self.unsigned(role, &error))
    }

    async fn issue(&self, role: &Role) -> Result<Credentials, IssueError> {
        if let Base::Token(identity) = &role.request.base {
            return self.issue_for_token(role, identity).await;
        }
        let signer = match self.signer(role).await {
            Ok(signer) => signer,
            Err(error) => return Err(self.unsigned(role, &error)),
        };
        let outcome = self.issue_signed_by(role, &signer).await;
        let class = outcome.as_ref().err().map(|error| error.class);
        if matches!(class, Some(Class::Source | Class::Clock)) {
            self.refused(role, &signer);
        }
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

fn now() -> std::time::Instant {
    let now = tokio::time::Instant::now();
    now.into_std()
}

fn draw() -> Jitter {
    Jitter::new(fastrand::f64())
}

fn from_source(source: &Source, error: &SourceError) -> SourceError {
    SourceError::new(format!(
        "no base credentials from the source {} ({}): {error}",
        source.name, source.origin
    ))
}

fn policy_arns(role: &Role) -> Option<Vec<PolicyDescriptorType>> {
    let arns = role.request.policy_arns.iter();
    let arns: Vec<_> = arns.map(|arn| PolicyDescriptorType::builder().arn(arn).build()).collect();
    Some(arns).filter(|arns| !arns.is_empty())
}

fn minimum_session_token_size(role: &Role) -> Option<i32> {
    role.minimum_session_token_size.and_then(|bytes| i32::try_from(bytes).ok())
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
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_LIMIT).collect()
}

fn first_line(text: &str) -> String {
    plain(text.lines().next().unwrap_or_default())
}
