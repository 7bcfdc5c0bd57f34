//! The rate of calls to STS, from the refresh rule alone.
//!
//! A forecast of the steady state: no failures, no restarts, jitter averaged out. All hosts are taken to sign with
//! identities of one account, which is the account whose quota pays.

use std::time::Duration;

use super::Config;
use crate::lifecycle::refresh_lead;

/// AssumeRole calls per second that one account may sign in one region.
pub const STS_QUOTA_PER_SECOND: f64 = 600.0;

/// The calls of some hosts that all have the same configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// The number of hosts that have this configuration.
    pub hosts: u64,
    /// Calls of one host in an hour.
    pub calls_per_hour_per_host: f64,
    /// Calls of all hosts in a second.
    pub calls_per_second: f64,
    /// The part of the account's quota which that is; 1.0 is all of it.
    pub quota_share: f64,
}

impl Forecast {
    /// For `hosts` hosts with this configuration.
    pub fn new(config: &Config, hosts: u64) -> Self {
        let per_second: f64 = config
            .roles
            .values()
            .map(|role| mean_interval(role.duration.as_duration(), role.terms.min_remaining))
            .map(|interval| 1.0 / interval.as_secs_f64())
            .sum();
        let calls_per_second = per_second * hosts as f64;
        Self {
            hosts,
            calls_per_hour_per_host: per_second * 3600.0,
            calls_per_second,
            quota_share: calls_per_second / STS_QUOTA_PER_SECOND,
        }
    }
}

/// From issue to refresh, on the mean.
pub fn mean_interval(lifetime: Duration, min_remaining: Duration) -> Duration {
    lifetime - refresh_lead(lifetime, min_remaining)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_follow_the_refresh_rule() {
        for (lifetime, min_remaining, interval) in [
            (3600, 0, 1800),
            (43_200, 0, 21_600),
            (3000, 0, 1500),
            (2000, 0, 500),
            (1875, 0, 375),
            (900, 0, 180),
            (3600, 1500, 1800),
            (3600, 1800, 1560),
            (3600, 2700, 660),
            (43_200, 21_600, 19_380),
        ] {
            let seconds = Duration::from_secs;
            assert_eq!(
                mean_interval(seconds(lifetime), seconds(min_remaining)),
                seconds(interval),
                "{lifetime} {min_remaining}"
            );
        }
    }
}
