//! Consumers whose credentials have expired and who have not asked again. Pure.
//!
//! A client that stops asking goes on until its credentials expire, and fails from then on, while
//! every graph of roletap looks well. Only the vending endpoint can see it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::caller::Consumer;
use crate::role::CallerPolicy;

/// The consumers of one role, with the expiry of the credentials that each was given last, in
/// seconds since 1970. Zero stands for a consumer that was refused.
#[derive(Debug, Default)]
pub struct Consumers {
    /// The consumer of a role that lets in every caller: they cannot be told apart, and count as
    /// one. Needs no lock.
    anybody: AtomicU64,
    /// The consumers of a role with `allow_users` or `allow_units`; its configuration bounds their
    /// number.
    known: Mutex<BTreeMap<Consumer, u64>>,
}

impl Consumers {
    /// Notes that a consumer has asked, and the expiry of the credentials that it was given, if
    /// any.
    pub fn asked(&self, consumer: Consumer, given_until: Option<SystemTime>) {
        let until = given_until.map_or(0, seconds);
        if consumer.is_anybody() {
            if self.anybody.load(Ordering::Relaxed) != until {
                self.anybody.store(until, Ordering::Relaxed);
            }
        } else {
            self.known().insert(consumer, until);
        }
    }

    /// Returns the number of consumers whose credentials have expired at `now` and who have not
    /// asked since. Consumers that `callers` no longer lets in are forgotten.
    pub fn stale(&self, callers: &CallerPolicy, now: SystemTime) -> usize {
        let now = seconds(now);
        let is_stale = |until: u64| until != 0 && until <= now;
        if callers.is_empty() {
            return usize::from(is_stale(self.anybody.load(Ordering::Relaxed)));
        }
        let mut known = self.known();
        known.retain(|consumer, _| consumer.is_among(callers));
        known.values().filter(|until| is_stale(**until)).count()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Consumer, u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixtures::callers;
    use crate::role::UnitName;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn who_does_not_come_back_is_stale_from_the_end_of_what_it_has() {
        let consumers = Consumers::default();
        let all = callers(&[], &[]);
        assert_eq!(consumers.stale(&all, at(10)), 0, "nobody has ever asked");
        consumers.asked(Consumer::default(), Some(at(100)));
        assert_eq!(consumers.stale(&all, at(99)), 0);
        assert_eq!(consumers.stale(&all, at(100)), 1);
        consumers.asked(Consumer::default(), Some(at(200)));
        assert_eq!(consumers.stale(&all, at(100)), 0, "it has come back");
        consumers.asked(Consumer::default(), None);
        assert_eq!(consumers.stale(&all, at(300)), 0, "it knows");
    }

    #[test]
    fn those_that_can_be_told_apart_are_counted_apart() {
        let consumers = Consumers::default();
        let of = |user, unit: Option<&str>| Consumer {
            user,
            unit: unit.map(|unit| UnitName::parse(unit).unwrap()),
        };
        let sink = Some("sink.service");
        consumers.asked(of(Some(5), sink), Some(at(100)));
        consumers.asked(of(Some(6), sink), Some(at(100)));
        consumers.asked(of(Some(6), sink), Some(at(200)));
        let both = callers(&[5, 6], &["sink.service"]);
        assert_eq!(consumers.stale(&both, at(150)), 1);
        assert_eq!(consumers.stale(&both, at(200)), 2);
        let one = callers(&[6], &["sink.service"]);
        assert_eq!(consumers.stale(&one, at(200)), 1);
        assert_eq!(consumers.stale(&both, at(200)), 1, "forgotten for good");
        assert_eq!(consumers.stale(&callers(&[], &[]), at(200)), 0);
    }
}
