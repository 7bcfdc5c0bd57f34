//! The time of STS, as well as this host can know it.
//!
//! An expiry is a time of the server's clock, so it is compared with the server's clock: the local wall, corrected by the
//! difference that the `Date` of the last grant showed. A host whose clock is off serves on, and says so in a gauge.
//! After the local clock is set, the correction is wrong until the next grant; refreshers look at the wall every nap,
//! and at once when a workload finds nothing unexpired, so that costs one nap at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};

/// `Date` has whole seconds and travels for a while: less than this is no difference.
const NOISE: Duration = Duration::from_secs(5);

/// How far the clock of STS is from ours.
#[derive(Debug)]
pub struct Skew {
    /// Server minus local, milliseconds, by the last answer; `MIN` before the first.
    millis: AtomicI64,
    /// The same by the last answer that granted something: only that one moves expiries, or a single refusal with a
    /// `Date` that is off would take away, or keep for too long, what the whole host has in hand.
    granted: AtomicI64,
}

impl Skew {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self { millis: AtomicI64::new(i64::MIN), granted: AtomicI64::new(i64::MIN) }
    }

    /// An answer that was sent at `server` arrived at `local`; whether it was a grant.
    pub fn measure(&self, server: SystemTime, local: SystemTime, granted: bool) {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let ahead = match server.duration_since(local) {
            Ok(ahead) => millis(ahead),
            Err(behind) => -millis(behind.duration()),
        };
        // On the average a `Date` was cut by half a second.
        let ahead = ahead.saturating_add(500);
        self.millis.store(ahead, Ordering::Relaxed);
        if granted {
            self.granted.store(ahead, Ordering::Relaxed);
        }
    }

    /// Server minus local, seconds; `None` before the first answer.
    pub fn seconds(&self) -> Option<f64> {
        let millis = self.millis.load(Ordering::Relaxed);
        (millis != i64::MIN).then_some(millis as f64 / 1e3)
    }

    /// By the last grant, milliseconds: what the next process has to know to read the expiries of this one.
    pub fn granted_millis(&self) -> Option<i64> {
        Some(self.granted.load(Ordering::Relaxed)).filter(|millis| *millis != i64::MIN)
    }

    /// Goes on from what an earlier process had measured.
    pub fn take_over(&self, granted_millis: i64) {
        self.millis.store(granted_millis, Ordering::Relaxed);
        self.granted.store(granted_millis, Ordering::Relaxed);
    }

    /// Returns true if the skew is more than `limit`, either way.
    pub fn is_over(&self, limit: Duration) -> bool {
        self.seconds().is_some_and(|seconds| seconds.abs() > limit.as_secs_f64())
    }
}

impl Default for Skew {
    fn default() -> Self {
        Self::new()
    }
}

/// A time source that tells the time of STS.
#[derive(Debug, Clone)]
pub struct ServerTime {
    local: SharedTimeSource,
    skew: Arc<Skew>,
}

impl ServerTime {
    /// `local`, corrected by `skew` as it is measured.
    pub fn shared(local: SharedTimeSource, skew: Arc<Skew>) -> SharedTimeSource {
        SharedTimeSource::new(Self { local, skew })
    }
}

impl TimeSource for ServerTime {
    fn now(&self) -> SystemTime {
        let local = self.local.now();
        let millis = self.skew.granted.load(Ordering::Relaxed);
        let apart = Duration::from_millis(millis.unsigned_abs());
        if millis == i64::MIN || apart < NOISE {
            return local;
        }
        let server = if millis < 0 { local.checked_sub(apart) } else { local.checked_add(apart) };
        server.unwrap_or(local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::at;

    fn told(server: u64, local: u64) -> SystemTime {
        let skew = Arc::new(Skew::new());
        skew.measure(at(server), at(local), true);
        // What comes after, and grants nothing, moves nothing.
        skew.measure(at(local + 7200), at(local), false);
        let local = SharedTimeSource::new(aws_smithy_async::time::StaticTimeSource::new(at(local)));
        ServerTime::shared(local, skew).now()
    }

    #[test]
    fn a_clock_that_is_off_is_corrected_either_way() {
        let half = Duration::from_millis(500);
        assert_eq!(told(1000, 400), at(1000) + half);
        assert_eq!(told(400, 1000), at(400) + half);
    }

    #[test]
    fn what_a_date_cannot_tell_is_left_alone() {
        assert_eq!(told(1003, 1000), at(1000));
        assert_eq!(told(997, 1000), at(1000));
    }
}
