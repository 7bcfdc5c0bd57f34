//! Each hop from the source to the role, really tried once.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use tokio::time::Instant;

use crate::clock::Skew;
use crate::issuer::{Issuer, Signer, StsIssuer};
use crate::metrics::Metrics;
use crate::source::Sources;
use crate::sts::Client;
use roletap_core::config::Config;
use roletap_core::credentials::Credentials;
use roletap_core::doctor::roles::{Attempt, Granted, Variant};
use roletap_core::doctor::{Diagnosis, Finding, roles};
use roletap_core::failure::{Class, IssueError, explain};
use roletap_core::role::{Role, RoleName, SessionDuration, Source};

/// The configuration and counters for requests to STS.
pub(super) struct Asking<'c> {
    pub(super) config: &'c Config,
    pub(super) skew: Arc<Skew>,
    pub(super) metrics: Arc<Metrics>,
}

impl Asking<'_> {
    pub(super) async fn assume(self, wanted: &[&Role], probe: bool, report: &mut Diagnosis) {
        let clock = SharedTimeSource::new(SystemTimeSource::new());
        let sts = Client::new(&self.config.sts, clock.clone(), self.skew, self.metrics);
        let sources = Arc::new(Sources::new(clock.clone(), sts.clone(), Arc::new(|_| {})));
        let issuer = StsIssuer::new(sts.clone(), sources.clone(), Arc::default());
        let used: BTreeMap<_, _> = wanted
            .iter()
            .filter_map(|role| role.request.base.source())
            .map(|source| (source.name.clone(), source.clone()))
            .collect();
        sources.apply(used.values().cloned());
        let mut findings = Vec::new();
        let mut broken = Vec::new();
        for source in used.values() {
            let held = sources.credentials(source).await;
            let held = match held {
                Ok(held) => held,
                Err(error) => {
                    broken.push(source.name.clone());
                    let what = format!("no base credentials: {error}");
                    findings.extend(no_source(source, wanted, &what));
                    continue;
                }
            };
            let base = held.credentials.clone();
            findings.push(roles::has_source(source.name.as_str(), base.access_key_id()));
            let who = sts.get_caller_identity(base, sts.all_regions_timeout()).await;
            findings.push(roles::identity(
                source.name.as_str(),
                who.as_ref().map_err(ToString::to_string),
            ));
        }
        report.add("roletap's base identities", findings);
        let mut walk = Walk {
            issuer: &issuer,
            clock: &clock,
            region: &self.config.sts.region,
            issued: BTreeMap::new(),
        };
        for role in wanted {
            let source = role.request.base.source();
            if source.is_some_and(|source| broken.contains(&source.name)) {
                continue;
            }
            let title = format!("role `{}`, assumed once for real", role.name);
            report.add(title, walk.role(role, probe).await);
        }
    }
}

/// A source that gives nothing, explained by one of the roles that need it.
fn no_source(source: &Source, wanted: &[&Role], what: &str) -> Option<Finding> {
    let needs = |role: &Role| role.request.base.source().is_some_and(|of| of.name == source.name);
    let role = wanted.iter().find(|role| needs(role))?;
    let role = role.ancestors().last().map_or(*role, |first| first);
    let advice = explain::advice(role, &IssueError::new(Class::Source, what));
    Some(roles::no_source(source.name.as_str(), what, Box::new(advice)))
}

/// From the source to each role, every hop once.
struct Walk<'i> {
    issuer: &'i StsIssuer,
    clock: &'i SharedTimeSource,
    region: &'i str,
    /// Credentials issued so far, which sign for the roles that are chained to them.
    issued: BTreeMap<RoleName, Credentials>,
}

impl Walk<'_> {
    async fn role(&mut self, role: &Role, probe: bool) -> Vec<Finding> {
        let mut hops = vec![role];
        while let Some(parent) = hops.last().and_then(|role| role.request.base.parent()) {
            hops.push(parent);
        }
        let mut findings = Vec::new();
        while let Some(hop) = hops.pop() {
            if !hops.is_empty() && self.issued.contains_key(&hop.name) {
                continue;
            }
            let attempt = self.attempt(hop).await;
            findings.push(roles::attempt(hop, self.region, &attempt));
            let failed = attempt.outcome.is_err();
            if hops.is_empty() && probe {
                let mut tried = Vec::new();
                for variant in Variant::ALL {
                    if let Some(role) = variant.of(role).map(shortest) {
                        tried.push((variant, self.try_once(&role).await.0));
                    }
                }
                findings.extend(roles::probe(role, &attempt, &tried));
            }
            if failed && !hops.is_empty() {
                findings.push(Finding::note(
                    "assume",
                    format!("{} was not tried: nothing signs for it", role.request.role_arn),
                ));
                break;
            }
        }
        findings
    }

    async fn attempt(&mut self, role: &Role) -> Attempt {
        let (attempt, credentials) = self.try_once(role).await;
        if let Some(credentials) = credentials {
            self.issued.insert(role.name.clone(), credentials);
        }
        attempt
    }

    async fn try_once(&self, role: &Role) -> (Attempt, Option<Credentials>) {
        let began = Instant::now();
        let parent = role.request.base.parent();
        let outcome = match parent.and_then(|parent| self.issued.get(&parent.name)) {
            Some(parent) => {
                let signer = Signer::from_issued(parent);
                self.issuer.issue_signed_by(role, &signer).await
            }
            None => self.issuer.issue(role).await,
        };
        let took = began.elapsed();
        match outcome {
            Ok(credentials) => {
                let lifetime = credentials.expires_at().duration_since(self.clock.now());
                let granted = Granted {
                    access_key_id: credentials.access_key_id().to_owned(),
                    lifetime: lifetime.unwrap_or_default(),
                };
                let attempt = Attempt { outcome: Ok(granted), took };
                (attempt, Some(credentials))
            }
            Err(error) => {
                let attempt = Attempt { outcome: Err(error), took };
                (attempt, None)
            }
        }
    }
}

/// A probe's session is of no use to anybody: 900 seconds, or fewer where that is configured.
fn shortest(mut role: Role) -> Role {
    if let Ok(least) = SessionDuration::from_secs(900, false) {
        role.duration = role.duration.min(least);
    }
    role
}
