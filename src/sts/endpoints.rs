//! The STS endpoints of all configured Regions, and the choice of the one to call.

use std::sync::{Mutex, OnceLock, PoisonError};

use aws_sdk_sts::config::{Builder, Region};

use crate::metrics::Metrics;
use roletap_core::config::Sts;
use roletap_core::failure::{Class, IssueError};
use roletap_core::lifecycle::Jitter;
use roletap_core::regions::{FailoverEvent, HOME, Reachability, Regions};

/// The STS endpoints of the home Region and of the fallback Regions, in the order of failover.
#[derive(Debug)]
pub(super) struct Endpoints {
    home: RegionEndpoint,
    fallbacks: Vec<RegionEndpoint>,
    regions: Mutex<Regions>,
}

/// The STS endpoint of one Region.
#[derive(Debug)]
pub(super) struct RegionEndpoint {
    pub(super) region: String,
    /// The name of the endpoint in messages.
    pub(super) name: String,
    config: Builder,
    client: OnceLock<aws_sdk_sts::Client>,
}

impl RegionEndpoint {
    fn new(sts: &Sts, config: &Builder, region: &str) -> Self {
        let url = sts.endpoint_url(region);
        let mut config = config.clone();
        config.set_region(Some(Region::new(region.to_owned()))).set_endpoint_url(url.clone());
        Self {
            region: region.to_owned(),
            name: url.unwrap_or_else(|| format!("the STS endpoint of {region}")),
            config,
            client: OnceLock::new(),
        }
    }

    /// Returns the SDK's client, built at the first call. Building reads every certificate of the
    /// host, and a restarted daemon must serve before that.
    pub(super) fn client(&self) -> &aws_sdk_sts::Client {
        self.client.get_or_init(|| aws_sdk_sts::Client::from_conf(self.config.clone().build()))
    }
}

impl Endpoints {
    pub(super) fn new(sts: &Sts, config: &Builder) -> Self {
        let endpoint = |region: &String| RegionEndpoint::new(sts, config, region);
        Self {
            home: endpoint(&sts.region),
            fallbacks: sts.fallback_regions.iter().map(endpoint).collect(),
            regions: Mutex::new(Regions::new(sts.fallback_regions.len())),
        }
    }

    pub(super) fn home(&self) -> &RegionEndpoint {
        &self.home
    }

    pub(super) fn count(&self) -> usize {
        self.fallbacks.len() + 1
    }

    /// Returns the endpoint at a place in the list. The home Region is at [`HOME`].
    pub(super) fn get(&self, place: usize) -> &RegionEndpoint {
        let fallback = place.checked_sub(HOME + 1).and_then(|at| self.fallbacks.get(at));
        fallback.unwrap_or(&self.home)
    }

    /// Chooses the place of the endpoint for the next call.
    pub(super) fn choose(&self) -> usize {
        self.regions().choose(now(), draw())
    }

    /// Records the outcome of a call. Five network errors in a row move every role of the host to
    /// the next Region.
    pub(super) fn record(&self, place: usize, error: Option<&IssueError>, metrics: &Metrics) {
        let reachability = match error {
            Some(error) if error.class == Class::Network => Reachability::Unreachable,
            // No request was sent.
            Some(error) if error.status.is_none() => return,
            Some(_) | None => Reachability::Responded,
        };
        let name = |place: usize| self.get(place).region.as_str();
        let event = {
            let mut regions = self.regions();
            let event = regions.record(place, reachability, now(), draw());
            metrics.sts_asked_in(name(regions.active()));
            event
        };
        let reason = error.map_or("STS answered", |error| error.message.as_str());
        match event {
            None => {}
            Some(FailoverEvent::Moved { from, to }) => {
                let (from, to) = (name(from), name(to));
                tracing::warn!(
                    from,
                    to,
                    reason,
                    "STS does not answer in {from}: roletap now calls STS in {to}"
                );
            }
            Some(FailoverEvent::AllUnreachable) => {
                tracing::error!(
                    reason,
                    "STS answers in no Region: roletap calls each Region in turn"
                );
            }
            Some(FailoverEvent::FoundFallback(at)) => {
                let region = name(at);
                tracing::warn!(
                    region,
                    reason,
                    "STS answers in {region}: roletap now calls STS there"
                );
            }
            Some(FailoverEvent::ReturnedHome) => {
                let region = name(HOME);
                tracing::info!(
                    region,
                    reason,
                    "STS answers in {region} again: roletap calls its home Region again"
                );
            }
        }
    }

    fn regions(&self) -> std::sync::MutexGuard<'_, Regions> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> std::time::Instant {
    let now = tokio::time::Instant::now();
    now.into_std()
}

fn draw() -> Jitter {
    Jitter::new(fastrand::f64())
}
