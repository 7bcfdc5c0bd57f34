//! The host's budget of STS calls: whose turn it is, how fast, and when to pause. Pure; [`queue`] waits for it.
//!
//! All roles of a host share one queue, because they share one quota: STS counts 600 requests per second for the whole
//! calling account and region, and a throttled answer to one role says that every role should stay away.
//!
//! Invariants: never more than `max_in_flight` calls at once; never more than `max_requests_per_second`, with at most one
//! second's worth in a burst; while the host pauses, nothing passes but one call per 10 s for credentials that end within
//! two minutes; after a pause one call goes first, alone, and the rest follow when it has gone well.

use std::time::{Duration, Instant};

use crate::lifecycle::Jitter;

pub mod queue;

/// How much one role needs its call, most pressing first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Credentials in hand end within two minutes: may pass a pause.
    Ending,
    /// Credentials in hand end within five minutes.
    EndingSoon,
    /// A workload has asked, and there is nothing to give.
    AskedAndEmpty,
    /// A workload has asked before.
    Asked,
    /// Nobody has asked yet.
    Unasked,
}

/// What `[sts]` allows this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls in flight, at least 1.
    pub max_in_flight: usize,
    /// Calls per second, at least 1; also the burst.
    pub max_requests_per_second: u32,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// This one of the waiting may call now.
    Of(usize),
    /// Nobody before this instant.
    NotBefore(Instant),
    /// Nobody until a call concludes or a new one waits.
    Nobody,
}

/// The state of the budget.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    in_flight: usize,
    tokens: f64,
    refilled_at: Instant,
    throttled: Option<Pause>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    /// Throttled answers in a row.
    in_a_row: u32,
    last_exception: Option<Instant>,
}

const PAUSE_BASE: Duration = Duration::from_secs(1);
const PAUSE_CAP: Duration = Duration::from_secs(120);
const EXCEPTION_EVERY: Duration = Duration::from_secs(10);

impl Budget {
    /// A budget that nobody has used yet.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            in_flight: 0,
            tokens: f64::from(limits.max_requests_per_second),
            refilled_at: now,
            throttled: None,
        }
    }

    /// New limits, from a reload. Calls in flight and a pause go on.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
        self.tokens = self.tokens.min(f64::from(limits.max_requests_per_second));
    }

    /// Whose turn it is among `waiting`, which stand in the order in which they came. A turn that is given is spent:
    /// the caller owes a [`Budget::conclude`].
    pub fn turn(&mut self, waiting: &[Need], now: Instant) -> Turn {
        let first = waiting
            .iter()
            .enumerate()
            .min_by_key(|(position, need)| (**need, *position));
        let Some((position, need)) = first else {
            return Turn::Nobody;
        };
        self.refill(now);
        if let Some(pause) = self.throttled.as_mut() {
            if now < pause.until {
                let exception = pause
                    .last_exception
                    .map_or(now, |last| last + EXCEPTION_EVERY);
                if *need != Need::Ending {
                    return Turn::NotBefore(pause.until);
                } else if now < exception {
                    return Turn::NotBefore(exception.min(pause.until));
                }
                pause.last_exception = Some(now);
                return self.spend(position);
            } else if self.in_flight > 0 {
                return Turn::Nobody;
            }
        }
        if self.in_flight >= self.limits.max_in_flight {
            return Turn::Nobody;
        }
        if self.tokens < 1.0 {
            let rate = f64::from(self.limits.max_requests_per_second);
            return Turn::NotBefore(now + Duration::from_secs_f64((1.0 - self.tokens) / rate));
        }
        self.spend(position)
    }

    /// A call has concluded; `throttled` carries the wait that STS asked for, if it did.
    pub fn conclude(&mut self, throttled: Option<Option<Duration>>, now: Instant, jitter: Jitter) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(retry_after) = throttled else {
            // Whatever else it was, STS let it in. A call from before the pause says nothing about its end.
            self.throttled = self.throttled.filter(|pause| now < pause.until);
            return;
        };
        let asked = now + retry_after.unwrap_or_default().min(PAUSE_CAP);
        self.throttled = Some(match self.throttled {
            // Others in flight when the pause began: one event, not eight.
            Some(pause) if now < pause.until => Pause {
                until: pause.until.max(asked),
                ..pause
            },
            before => {
                let in_a_row = before.map_or(1, |pause| pause.in_a_row.saturating_add(1));
                let ceiling = PAUSE_BASE
                    .saturating_mul(1 << (in_a_row - 1).min(10))
                    .min(PAUSE_CAP);
                let last_exception = before.and_then(|pause| pause.last_exception);
                Pause {
                    until: asked.max(now + jitter.of(ceiling)),
                    in_a_row,
                    last_exception,
                }
            }
        });
    }

    /// Whether the host is staying away from STS at `now`.
    pub fn is_paused(&self, now: Instant) -> bool {
        self.throttled.is_some_and(|pause| now < pause.until)
    }

    fn spend(&mut self, position: usize) -> Turn {
        self.tokens -= 1.0;
        self.in_flight += 1;
        Turn::Of(position)
    }

    fn refill(&mut self, now: Instant) {
        let rate = f64::from(self.limits.max_requests_per_second);
        let earned = now
            .saturating_duration_since(self.refilled_at)
            .as_secs_f64()
            * rate;
        self.tokens = (self.tokens + earned).min(rate);
        self.refilled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_in_flight: 4,
        max_requests_per_second: 10,
    };
    const LATER: Jitter = Jitter::LATEST;

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn the_most_pressing_goes_first_and_among_equals_the_one_who_came_first() {
        let now = start();
        let mut budget = Budget::new(LIMITS, now);
        let waiting = [
            Need::Unasked,
            Need::Asked,
            Need::EndingSoon,
            Need::AskedAndEmpty,
            Need::EndingSoon,
        ];
        assert_eq!(budget.turn(&waiting, now), Turn::Of(2));
    }

    #[test]
    fn no_more_than_so_many_in_flight() {
        let now = start();
        let mut budget = Budget::new(LIMITS, now);
        for _ in 0..4 {
            assert_eq!(budget.turn(&[Need::Asked], now), Turn::Of(0));
        }
        assert_eq!(budget.turn(&[Need::Ending], now), Turn::Nobody);
        budget.conclude(None, now, LATER);
        assert_eq!(budget.turn(&[Need::Asked], now), Turn::Of(0));
    }

    #[test]
    fn no_more_than_so_many_a_second_after_one_burst() {
        let begin = start();
        let mut now = begin;
        let mut budget = Budget::new(LIMITS, now);
        let mut calls = 0;
        while now < begin + Duration::from_secs(10) {
            match budget.turn(&[Need::Asked], now) {
                Turn::Of(_) => {
                    calls += 1;
                    budget.conclude(None, now, LATER);
                }
                Turn::NotBefore(at) => now = at,
                Turn::Nobody => panic!("nothing is in flight"),
            }
        }
        assert!((109..=111).contains(&calls), "{calls}");
    }

    #[test]
    fn a_throttled_answer_pauses_the_whole_host_longer_each_time() {
        let mut now = start();
        let mut budget = Budget::new(LIMITS, now);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 120, 120] {
            assert_eq!(budget.turn(&[Need::Asked], now), Turn::Of(0));
            budget.conclude(Some(None), now, LATER);
            let end = now + Duration::from_secs(seconds);
            assert!(budget.is_paused(now));
            assert_eq!(budget.turn(&[Need::EndingSoon], now), Turn::NotBefore(end));
            now = end;
        }
    }

    #[test]
    fn eight_throttled_at_once_are_one_event() {
        let now = start();
        let mut budget = Budget::new(LIMITS, now);
        for _ in 0..4 {
            assert_eq!(budget.turn(&[Need::Asked], now), Turn::Of(0));
        }
        for _ in 0..4 {
            budget.conclude(Some(None), now, LATER);
        }
        assert_eq!(
            budget.turn(&[Need::Asked], now),
            Turn::NotBefore(now + Duration::from_secs(1))
        );
    }

    #[test]
    fn a_wait_that_sts_asked_for_is_kept() {
        let now = start();
        let mut budget = Budget::new(LIMITS, now);
        assert_eq!(budget.turn(&[Need::Asked], now), Turn::Of(0));
        budget.conclude(Some(Some(Duration::from_secs(30))), now, LATER);
        assert_eq!(
            budget.turn(&[Need::Asked], now),
            Turn::NotBefore(now + Duration::from_secs(30))
        );
    }

    #[test]
    fn credentials_about_to_end_may_pass_a_pause_once_in_ten_seconds() {
        let now = start();
        let mut budget = Budget::new(LIMITS, now);
        assert_eq!(budget.turn(&[Need::Asked], now), Turn::Of(0));
        budget.conclude(Some(Some(Duration::from_secs(60))), now, LATER);
        assert_eq!(budget.turn(&[Need::Asked, Need::Ending], now), Turn::Of(1));
        budget.conclude(Some(None), now, LATER);
        assert_eq!(
            budget.turn(&[Need::Ending], now),
            Turn::NotBefore(now + Duration::from_secs(10))
        );
    }

    #[test]
    fn after_a_pause_one_call_goes_first_and_alone() {
        let now = start();
        let mut budget = Budget::new(LIMITS, now);
        assert_eq!(budget.turn(&[Need::Asked], now), Turn::Of(0));
        budget.conclude(Some(None), now, LATER);
        let after = now + Duration::from_secs(1);
        assert_eq!(budget.turn(&[Need::Asked], after), Turn::Of(0));
        assert_eq!(budget.turn(&[Need::Asked], after), Turn::Nobody);
        budget.conclude(None, after, LATER);
        assert_eq!(budget.turn(&[Need::Asked], after), Turn::Of(0));
        assert_eq!(budget.turn(&[Need::Asked], after), Turn::Of(0));
    }
}
