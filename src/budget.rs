//! The host's budget of STS calls: whose turn it is, how fast, and when to pause. Pure; [`queue`] waits for it.
//!
//! All roles of a host share one queue, because they share one quota: STS counts 600 requests per second for the whole
//! calling account and region, and a throttled answer to one role says that every role should stay away. Hosts do not
//! know of each other. What they do alone has to add up to a fleet that fills the quota and hardly exceeds it:
//!
//! - *Slow start.* A host begins with one call in flight and widens that window by one with every windowful of good
//!   answers; a throttled answer narrows it to one again.
//! - *A pause with a memory.* A throttled answer pauses the host, and the next one for twice as long; a good answer
//!   shortens the next pause by a tenth, and no more. So the pauses settle where about one call in eight is throttled,
//!   whether ten hosts share the quota or ten thousand: one doubling undoes seven tenths. A memory that one good answer
//!   wipes out settles nowhere.
//! - *Who is not asked for waits longer.* The same pause is four times as long for a role that nobody misses, so that the
//!   quota goes to those whose workloads wait, on all hosts, and not on this one alone.
//! - *One probe for all.* When STS cannot be reached, roles that have found that out queue for one probe per host, which
//!   backs off to 30 s; its first good answer lets all go. A role whose own call has not failed is not held up.
//!
//! Invariants: never more than `max_in_flight` calls at once; never more than `max_requests_per_second`, with at most one
//! second's worth in a burst; while the host pauses, nothing passes but one call per 10 s for credentials that end within
//! two minutes; after a pause one call goes first, alone, and the rest follow when it has gone well; no pause is longer
//! than two minutes, nor a wait for a probe longer than 30 s.

use std::time::{Duration, Instant, SystemTime};

use crate::credentials::Credentials;
use crate::issuer::{Class, IssueError};
use crate::lifecycle::{Jitter, RoleState};

pub mod queue;

/// How much one role needs its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// First of all.
    pub urgency: Urgency,
    /// When credentials in hand end, which decides among equals; nothing in hand has ended already.
    pub ends: Option<SystemTime>,
    /// Its own last call did not reach STS.
    pub unreachable: bool,
}

/// The classes of need, most pressing first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
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

/// What a concluded call says about STS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// STS let it in, whatever came of it.
    Good,
    /// Throttled, and how long STS asked us to stay away, if it did.
    Throttled(Option<Duration>),
    /// STS was not reached.
    Unreachable,
    /// Nothing: the call was given up.
    Unknown,
}

/// The state of the budget.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    in_flight: usize,
    /// How many may be in flight, at most `max_in_flight`.
    window: usize,
    /// Good answers since the window has changed.
    good: usize,
    tokens: f64,
    refilled_at: Instant,
    throttled: Option<Throttled>,
    unreachable: Option<Unreachable>,
}

#[derive(Debug, Clone, Copy)]
struct Throttled {
    /// The last time.
    at: Instant,
    /// The longest pause that the last one could come to, for somebody who is missed; the memory.
    ceiling: Duration,
    /// What was drawn for the last one.
    pause: Duration,
    /// What STS asked for.
    asked_until: Instant,
    last_exception: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Unreachable {
    in_a_row: u32,
    probe_at: Instant,
}

const PAUSE_BASE: Duration = Duration::from_secs(1);
const PAUSE_CAP: Duration = Duration::from_secs(120);
/// How many times longer a role pauses that nobody misses.
const PATIENCE: u32 = 4;
/// What a good answer leaves of the memory of pauses.
const MEMORY_LEFT: f64 = 0.9;
/// A throttled answer this long ago says nothing about now.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
const EXCEPTION_EVERY: Duration = Duration::from_secs(10);
const PROBE_BASE: Duration = Duration::from_millis(250);
const PROBE_CAP: Duration = Duration::from_secs(30);

impl Need {
    /// Of a role in this state, which a workload has asked for or not.
    pub fn of(state: &RoleState, asked: bool, now: SystemTime) -> Self {
        let held = state.vend(now).ok();
        let left = held.and_then(|held| held.expires_at().duration_since(now).ok());
        let urgency = match left {
            Some(left) if left <= Duration::from_secs(120) => Urgency::Ending,
            Some(left) if left <= Duration::from_secs(300) => Urgency::EndingSoon,
            Some(_) if asked => Urgency::Asked,
            None if asked => Urgency::AskedAndEmpty,
            Some(_) | None => Urgency::Unasked,
        };
        Self {
            urgency,
            ends: held.map(|held| held.expires_at()),
            unreachable: state
                .failures()
                .is_some_and(|failures| failures.error.class == Class::Network),
        }
    }

    /// Has to wait for the one probe while STS cannot be reached. Not near the end: there each role tries for itself.
    fn waits_for_probe(&self) -> bool {
        self.unreachable && self.urgency > Urgency::EndingSoon
    }
}

impl Urgency {
    /// A workload would notice.
    fn is_missed(self) -> bool {
        match self {
            Self::Ending | Self::EndingSoon | Self::AskedAndEmpty => true,
            Self::Asked | Self::Unasked => false,
        }
    }
}

impl From<&Result<Credentials, IssueError>> for Answer {
    fn from(outcome: &Result<Credentials, IssueError>) -> Self {
        let Err(error) = outcome else {
            return Self::Good;
        };
        match error.class {
            Class::Throttled => Self::Throttled(error.retry_after),
            Class::Network => Self::Unreachable,
            Class::Clock | Class::Denied | Class::Misconfigured | Class::Source => Self::Good,
        }
    }
}

/// Throttled or not: all that a caller may know who does not tell an unreachable STS from a good answer.
impl From<Option<Option<Duration>>> for Answer {
    fn from(throttled: Option<Option<Duration>>) -> Self {
        throttled.map_or(Self::Good, Self::Throttled)
    }
}

impl Budget {
    /// A budget that nobody has used yet.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            in_flight: 0,
            window: 1,
            good: 0,
            tokens: f64::from(limits.max_requests_per_second),
            refilled_at: now,
            throttled: None,
            unreachable: None,
        }
    }

    /// New limits, from a reload. Calls in flight and a pause go on.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
        self.window = self.window.min(limits.max_in_flight);
        self.tokens = self.tokens.min(f64::from(limits.max_requests_per_second));
    }

    /// Whose turn it is among `waiting`, which stand in the order in which they came. A turn that is given is spent:
    /// the caller owes a [`Budget::conclude`].
    pub fn turn(&mut self, waiting: &[Need], now: Instant) -> Turn {
        let Some(position) = self.first(waiting, now) else {
            return match self.unreachable {
                Some(unreachable) if !waiting.is_empty() => Turn::NotBefore(unreachable.probe_at),
                Some(_) | None => Turn::Nobody,
            };
        };
        let need = waiting[position];
        if self.in_flight >= self.limits.max_in_flight {
            return Turn::Nobody;
        }
        self.refill(now);
        if self.tokens < 1.0 {
            let rate = f64::from(self.limits.max_requests_per_second);
            return Turn::NotBefore(now + Duration::from_secs_f64((1.0 - self.tokens) / rate));
        }
        if let Some(throttled) = self.throttled.as_mut()
            && let end = throttled.pauses_until(need.urgency)
            && now < end
        {
            // Who comes after the first pauses as long as the first, or longer.
            let exception = throttled
                .last_exception
                .map_or(now, |last| last + EXCEPTION_EVERY);
            if need.urgency != Urgency::Ending {
                return Turn::NotBefore(end);
            } else if now < exception {
                return Turn::NotBefore(exception.min(end));
            }
            throttled.last_exception = Some(now);
        } else if self.in_flight >= self.window {
            return Turn::Nobody;
        }
        if let Some(unreachable) = self.unreachable.as_mut()
            && need.waits_for_probe()
        {
            // Until its answer says more.
            unreachable.probe_at = now + PROBE_CAP;
        }
        self.tokens -= 1.0;
        self.in_flight += 1;
        Turn::Of(position)
    }

    /// A call has concluded.
    pub fn conclude(&mut self, answer: impl Into<Answer>, now: Instant, jitter: Jitter) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match answer.into() {
            Answer::Good => {
                self.unreachable = None;
                self.widen();
                // One from before the pause says nothing about its end.
                self.throttled = self
                    .throttled
                    .filter(|throttled| now < throttled.at + FORGOTTEN_AFTER)
                    .map(|throttled| throttled.after_good_answer(now));
            }
            Answer::Throttled(retry_after) => {
                self.unreachable = None;
                self.narrow();
                let asked_until = now + retry_after.unwrap_or_default().min(PAUSE_CAP);
                self.throttled = Some(Throttled::again(self.throttled, asked_until, now, jitter));
            }
            Answer::Unreachable => {
                self.narrow();
                let in_a_row = self
                    .unreachable
                    .map_or(1, |before| before.in_a_row.saturating_add(1));
                let ceiling = PROBE_BASE
                    .saturating_mul(1 << in_a_row.min(8))
                    .min(PROBE_CAP);
                self.unreachable = Some(Unreachable {
                    in_a_row,
                    probe_at: now + jitter.of(ceiling),
                });
            }
            Answer::Unknown => {}
        }
    }

    /// Whether the host is staying away from STS at `now`, even for those who are missed.
    pub fn is_paused(&self, now: Instant) -> bool {
        self.throttled
            .is_some_and(|throttled| now < throttled.pauses_until(Urgency::Ending))
    }

    /// Who comes first among those who may come at all.
    fn first(&self, waiting: &[Need], now: Instant) -> Option<usize> {
        let probes = self
            .unreachable
            .map(|unreachable| now >= unreachable.probe_at);
        // The one who has waited longest is the probe: ordered by need, it would be the same one for ever.
        let probe = waiting.iter().position(Need::waits_for_probe);
        waiting
            .iter()
            .enumerate()
            .filter(|(position, need)| match probes {
                None => true,
                Some(may) => !need.waits_for_probe() || (may && Some(*position) == probe),
            })
            .min_by_key(|(position, need)| (need.urgency, need.ends, *position))
            .map(|(position, _)| position)
    }

    fn widen(&mut self) {
        self.good += 1;
        if self.good >= self.window {
            self.good = 0;
            self.window = (self.window + 1).min(self.limits.max_in_flight);
        }
    }

    fn narrow(&mut self) {
        self.good = 0;
        self.window = 1;
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

impl Throttled {
    fn again(before: Option<Self>, asked_until: Instant, now: Instant, jitter: Jitter) -> Self {
        let before = before.filter(|before| now < before.at + FORGOTTEN_AFTER);
        let ceiling = match before {
            // Others in flight when the pause began: one event, not eight.
            Some(before) if now < before.pauses_until(Urgency::Ending) => {
                return Self {
                    asked_until: before.asked_until.max(asked_until),
                    ..before
                };
            }
            Some(before) => (before.ceiling * 2).clamp(PAUSE_BASE, PAUSE_CAP),
            None => PAUSE_BASE,
        };
        Self {
            at: now,
            ceiling,
            // At least half: the memory has settled on this length, and one drawn near zero would not keep to it.
            pause: ceiling / 2 + jitter.of(ceiling / 2),
            asked_until,
            last_exception: before.and_then(|before| before.last_exception),
        }
    }

    fn after_good_answer(self, now: Instant) -> Self {
        if now < self.pauses_until(Urgency::Ending) {
            return self;
        }
        Self {
            ceiling: self.ceiling.mul_f64(MEMORY_LEFT),
            ..self
        }
    }

    fn pauses_until(&self, urgency: Urgency) -> Instant {
        let pause = if urgency.is_missed() {
            self.pause
        } else {
            (self.pause * PATIENCE).min(PAUSE_CAP.max(self.pause))
        };
        self.asked_until.max(self.at + pause)
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
