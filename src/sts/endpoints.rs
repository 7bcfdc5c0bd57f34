//! STS in each region that may be asked, and in which it is.

use std::sync::{Mutex, OnceLock, PoisonError};

use aws_sdk_sts::Client;
use aws_sdk_sts::config::{Builder, Region};

use super::{draw, now};
use crate::config::Sts;
use crate::failure::{Class, IssueError};
use crate::metrics::Metrics;
use crate::sts::regions::{HOME, News, Regions, Sign};

/// Home, then the fallbacks.
#[derive(Debug)]
pub(super) struct Endpoints {
    all: Vec<Endpoint>,
    regions: Mutex<Regions>,
}

/// STS in one region.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) region: String,
    /// What messages call it.
    pub(super) name: String,
    config: Builder,
    client: OnceLock<Client>,
}

impl Endpoint {
    /// Made when it is first needed: it reads every certificate of the host, and a daemon that has survived a restart has
    /// answers to give before.
    pub(super) fn client(&self) -> &Client {
        self.client.get_or_init(|| Client::from_conf(self.config.clone().build()))
    }
}

impl Endpoints {
    pub(super) fn new(sts: &Sts, config: &Builder) -> Self {
        let all: Vec<Endpoint> = sts
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
                    config,
                    client: OnceLock::new(),
                }
            })
            .collect();
        Self { regions: Mutex::new(Regions::new(all.len().saturating_sub(1))), all }
    }

    /// Whom to ask now, and the number to conclude with.
    pub(super) fn choose(&self) -> Option<(usize, &Endpoint)> {
        let chosen = self.regions().choose(now(), draw());
        Some((chosen, self.all.get(chosen)?))
    }

    /// Stays, or moves every role of the host to another region.
    pub(super) fn heed<T>(
        &self,
        chosen: usize,
        outcome: &Result<T, IssueError>,
        metrics: &Metrics,
    ) {
        let sign = match outcome {
            Err(error) if error.class == Class::Network => Sign::Silence,
            // Nothing was sent, or it came to nothing before it left.
            Err(error) if error.status.is_none() => return,
            Ok(_) | Err(_) => Sign::Answer,
        };
        let name = |place: usize| self.all.get(place).map_or("", |at| at.region.as_str());
        let news = {
            let mut regions = self.regions();
            let news = regions.conclude(chosen, sign, now(), draw());
            metrics.sts_asked_in(name(regions.active()));
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
            Some(News::AllSilent) => {
                tracing::error!(reason = said(), "STS answers in no region: asking in each in turn")
            }
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
}
