//! The host's budget of STS calls: whose turn it is, how fast, and when to pause. Pure; `sts_queue.rs` waits for it.
//!
//! All roles of a host share one queue, because they share one quota: STS counts 600 requests per second for the whole
//! calling account and region, and a throttled answer to one role says that every role should stay away. Hosts do not
//! know of each other. What they do alone has to add up to a fleet that fills the quota and hardly exceeds it:
//!
//! - *Slow start.* A host begins with one call in flight and widens that window by one with every windowful of good
//!   answers. A throttled answer narrows it to one, and there it stays while pauses are remembered.
//! - *A pause with a memory.* A throttled answer pauses the host, the next one for twice as long, and a good answer shortens
//!   the next pause by a twentieth. So pauses grow until few calls are throttled, however many hosts share the quota; a
//!   memory that one good answer wipes out would settle nowhere.
//! - *Who is not missed waits longer.* The same pause is eight times as long for a role whose workload has what it needs or
//!   does not exist: the quota goes to those who are missed on all hosts, and not on this one alone. Who was throttled
//!   itself goes after its equals, in case that is about this one role.
//! - *One probe for all.* When STS cannot be reached, roles that have found that out queue for one probe per host, which
//!   backs off to 30 s; its first good answer lets all go. A role whose own call has not failed is not held up, nor one
//!   that somebody asked to refresh now. What was under way when the outage was noticed makes it no longer.
//!
//! Invariants: never more than `max_in_flight` calls at once; never more than `max_requests_per_second`, with at most one
//! second's worth in a burst; while the host pauses, nothing passes but one call per 10 s for credentials that end within
//! two minutes; after a pause one call goes first, alone, and the rest follow when it has gone well; no pause is longer
//! than two minutes, nor a wait for the next probe longer than 30 s; a call that hangs holds up no other for more than a
//! second while fewer than `max_in_flight` hang.

use std::time::{Duration, Instant, SystemTime};

use crate::backoff::{Backoff, Jitter};
use crate::failure::{Class, IssueError};
use crate::lifecycle::RoleState;

mod pause;

use self::pause::Throttled;

/// How much one role needs its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The urgency, which decides before everything else.
    pub urgency: Urgency,
    /// When credentials in hand expire, which decides among equals; nothing in hand has expired already.
    pub expires_at: Option<SystemTime>,
    /// Its own last call was throttled: among equals it goes last, in case that is about this role alone.
    pub refused: bool,
    /// Its own last call did not reach STS.
    pub unreachable: bool,
    /// Somebody wants it now: it does not wait for the probe.
    pub hurried: bool,
}

/// The classes of need, most pressing first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Credentials in hand expire within two minutes: may pass a pause.
    Ending,
    /// Credentials in hand expire within five minutes.
    EndingSoon,
    /// A workload has asked, and there is nothing to give.
    AskedAndEmpty,
    /// A workload has asked before.
    Asked,
    /// Nobody has asked yet.
    Unasked,
}

/// The limits that `[sts]` sets for this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls in flight, at least 1.
    pub max_in_flight: usize,
    /// Calls per second, at least 1; also the burst.
    pub max_requests_per_second: u32,
}

/// The answer of [`Budget::turn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// This one of the waiting may call now.
    Of(usize),
    /// Nobody before this instant.
    NotBefore(Instant),
    /// Nobody until a call concludes or a new one waits.
    Nobody,
}

/// The state of STS that a concluded call shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// STS let it in, whatever came of it.
    Good,
    /// Throttled, and the wait that STS asked for, if it did.
    Throttled(Option<Duration>),
    /// The call did not reach STS.
    Unreachable,
    /// Nothing: the call was given up, or never made.
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
    /// The time at which the last turn was given.
    given_at: Instant,
    tokens: f64,
    refilled_at: Instant,
    throttled: Option<Throttled>,
    unreachable: Option<Unreachable>,
}

#[derive(Debug, Clone, Copy)]
struct Unreachable {
    /// When that was last found out.
    at: Instant,
    in_a_row: u32,
    probe_at: Instant,
    /// The turn of the probe that is under way.
    probing: Option<Instant>,
}

/// How long a narrow window waits for an answer: a call that hangs must not hold up the others.
const HANGS_AFTER: Duration = Duration::from_secs(1);
const PROBE: Backoff = Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(30) };

impl Need {
    /// Of a role in this state, which a workload has asked for or not, and which somebody wants refreshed now or not.
    pub fn of(state: &RoleState, asked: bool, hurried: bool, now: SystemTime) -> Self {
        let held = state.vend(now).ok();
        let left = held.and_then(|held| held.expires_at().duration_since(now).ok());
        let urgency = match left {
            Some(left) if left <= Duration::from_secs(120) => Urgency::Ending,
            Some(left) if left <= Duration::from_secs(300) => Urgency::EndingSoon,
            Some(_) if asked => Urgency::Asked,
            None if asked => Urgency::AskedAndEmpty,
            Some(_) | None => Urgency::Unasked,
        };
        let class = state.failures().map(|failures| failures.error.class);
        Self {
            urgency,
            expires_at: held.map(|held| held.expires_at()),
            refused: class == Some(Class::Throttled),
            unreachable: class == Some(Class::Network),
            hurried,
        }
    }

    /// Has to wait for the one probe while STS cannot be reached. Not near the end: there each role tries for itself.
    fn waits_for_probe(&self) -> bool {
        self.unreachable && !self.hurried && self.urgency > Urgency::EndingSoon
    }
}

impl<T> From<&Result<T, IssueError>> for Answer {
    fn from(outcome: &Result<T, IssueError>) -> Self {
        let Err(error) = outcome else {
            return Self::Good;
        };
        match error.class {
            Class::Throttled => Self::Throttled(error.retry_after),
            Class::Network => Self::Unreachable,
            // Without a status nothing was sent: no base credentials, or a request that cannot be built.
            Class::Clock | Class::Denied | Class::Misconfigured | Class::Source => {
                error.status.map_or(Self::Unknown, |_| Self::Good)
            }
        }
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
            given_at: now,
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

    /// Gives the next turn among `waiting`, which stand in the order in which they came. A turn that is given is spent:
    /// the caller owes a [`Budget::conclude`].
    pub fn turn(&mut self, waiting: &[Need], now: Instant) -> Turn {
        if self.in_flight >= self.limits.max_in_flight {
            return Turn::Nobody;
        }
        // Ordered by need, the probe would be the same one for ever: it is the one who has waited longest.
        let probe = waiting.iter().position(Need::waits_for_probe);
        let ready_at = |position, need| self.ready_at(need, probe == Some(position), now);
        let first = waiting
            .iter()
            .enumerate()
            .filter(|(position, need)| ready_at(*position, need).is_some_and(|at| at <= now))
            .min_by_key(|(position, need)| {
                // Among those that nobody misses, who was throttled goes last, asked for or not.
                let missed = need.urgency.min(Urgency::Asked);
                (missed, need.refused, need.urgency, need.expires_at, *position)
            });
        let Some((position, need)) = first else {
            return waiting
                .iter()
                .enumerate()
                .filter_map(|(position, need)| ready_at(position, need))
                .min()
                .map_or(Turn::Nobody, Turn::NotBefore);
        };
        self.refill(now);
        if self.tokens < 1.0 {
            let rate = f64::from(self.limits.max_requests_per_second);
            // Rounded up: a wait of nothing would be no wait.
            let wait = Duration::from_secs_f64((1.0 - self.tokens) / rate);
            return Turn::NotBefore(now + wait + Duration::from_micros(1));
        }
        if let Some(throttled) = self.throttled.as_mut()
            && now < throttled.until
            && need.urgency == Urgency::Ending
        {
            throttled.last_exception = Some(now);
        } else if self.in_flight >= self.window && now < self.given_at + HANGS_AFTER {
            return Turn::NotBefore(self.given_at + HANGS_AFTER);
        }
        if let Some(throttled) = self.throttled.as_mut()
            && need.urgency > Urgency::AskedAndEmpty
        {
            throttled.others_since = None;
        }
        if let Some(unreachable) = self.unreachable.as_mut()
            && need.waits_for_probe()
        {
            // Until its answer says more.
            unreachable.probe_at = now + PROBE.cap;
            unreachable.probing = Some(now);
        }
        self.tokens -= 1.0;
        self.in_flight += 1;
        self.given_at = now;
        Turn::Of(position)
    }

    /// A call has concluded, which got its turn at `begun`. The role's own retry has to be drawn with the same `jitter`: then
    /// the role that failed last is the next probe, and a host with one role waits no longer than that role would.
    pub fn conclude(&mut self, answer: Answer, begun: Instant, now: Instant, jitter: Jitter) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match answer {
            Answer::Good => {
                self.unreachable = None;
                self.throttled =
                    self.throttled.and_then(|throttled| throttled.after_good_answer(now));
                if self.throttled.is_none() {
                    self.widen();
                }
            }
            Answer::Throttled(retry_after) => {
                self.unreachable = None;
                self.narrow();
                self.throttled = Some(Throttled::again(self.throttled, retry_after, now, jitter));
            }
            // Under way when that was found out: the same outage, noticed eight times.
            Answer::Unreachable if self.unreachable.is_some_and(|known| begun < known.at) => {}
            Answer::Unreachable => {
                self.narrow();
                let in_a_row =
                    self.unreachable.map_or(1, |before| before.in_a_row.saturating_add(1));
                self.unreachable = Some(Unreachable {
                    at: now,
                    in_a_row,
                    probe_at: now + PROBE.delay(in_a_row, jitter),
                    probing: None,
                });
            }
            Answer::Unknown => {
                // A probe that was never sent: the next may go at once.
                if let Some(unreachable) = &mut self.unreachable
                    && unreachable.probing == Some(begun)
                {
                    unreachable.probing = None;
                    unreachable.probe_at = now;
                }
            }
        }
    }

    /// Tells whether this host stays away from STS at `now`, be it only for roles whose workloads have what they need.
    pub fn is_paused(&self, now: Instant) -> bool {
        self.throttled.is_some_and(|throttled| now < throttled.others_until)
    }

    /// When this one may come, as far as it is about STS; `None` is not before another one has.
    fn ready_at(&self, need: &Need, is_probe: bool, now: Instant) -> Option<Instant> {
        let paused =
            self.throttled.map_or(now, |throttled| throttled.pauses_until(need.urgency, now));
        match self.unreachable {
            Some(_) if need.waits_for_probe() && !is_probe => None,
            Some(unreachable) if is_probe => Some(paused.max(unreachable.probe_at)),
            Some(_) | None => Some(paused),
        }
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
        let earned = now.saturating_duration_since(self.refilled_at).as_secs_f64() * rate;
        self.tokens = (self.tokens + earned).min(rate);
        self.refilled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_in_flight: 4, max_requests_per_second: 10 };
    const LATER: Jitter = Jitter::LATEST;

    const GOOD: Answer = Answer::Good;
    const THROTTLED: Answer = Answer::Throttled(None);
    const ENDING: Need = need(Urgency::Ending);
    const ENDING_SOON: Need = need(Urgency::EndingSoon);
    const EMPTY: Need = need(Urgency::AskedAndEmpty);
    const ASKED: Need = need(Urgency::Asked);
    const UNASKED: Need = need(Urgency::Unasked);

    const fn need(urgency: Urgency) -> Need {
        Need { urgency, expires_at: None, refused: false, unreachable: false, hurried: false }
    }

    fn failed(need: Need) -> Need {
        Need { unreachable: true, ..need }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do, only differences count")]
    fn start() -> Instant {
        Instant::now()
    }

    /// With the window as wide as it gets.
    fn warm(now: Instant) -> Budget {
        let mut budget = Budget::new(LIMITS, now - seconds(60));
        for _ in 0..20 {
            let _ = budget.turn(&[ASKED], now - seconds(30));
            budget.conclude(GOOD, now - seconds(30), now - seconds(30), LATER);
        }
        budget
    }

    #[test]
    fn a_wait_for_a_share_of_a_token_is_never_none() {
        let mut now = start();
        let mut budget = Budget::new(LIMITS, now);
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..100_000 {
            match budget.turn(&[ASKED], now) {
                Turn::Of(_) => budget.conclude(GOOD, now, now, LATER),
                Turn::NotBefore(at) => {
                    assert!(at > now);
                    now = if random.bool() {
                        at
                    } else {
                        now + Duration::from_nanos(random.u64(1..99_999_999))
                    };
                }
                Turn::Nobody => panic!("nothing is in flight"),
            }
        }
    }

    #[test]
    fn the_most_pressing_goes_first_then_what_ends_first_then_who_came_first() {
        let now = start();
        let ends = |at| Need { expires_at: Some(crate::fixtures::at(at)), ..ASKED };
        for (waiting, first) in [
            (vec![UNASKED, ASKED, ENDING_SOON, EMPTY, ENDING_SOON], 2),
            (vec![UNASKED, ends(900), ends(800), ends(800)], 2),
            (vec![ends(800), UNASKED, ASKED], 2),
        ] {
            assert_eq!(Budget::new(LIMITS, now).turn(&waiting, now), Turn::Of(first));
        }
    }

    #[test]
    fn no_more_than_so_many_in_flight() {
        let now = start();
        let mut budget = warm(now);
        for _ in 0..4 {
            assert_eq!(budget.turn(&[ASKED], now), Turn::Of(0));
        }
        assert_eq!(budget.turn(&[ENDING], now), Turn::Nobody);
        budget.conclude(GOOD, now, now, LATER);
        assert_eq!(budget.turn(&[ASKED], now), Turn::Of(0));
    }

    #[test]
    fn no_more_than_so_many_a_second_after_one_burst() {
        let begin = start();
        let mut now = begin;
        let mut budget = Budget::new(LIMITS, now);
        let mut calls = 0;
        while now < begin + seconds(10) {
            match budget.turn(&[ASKED], now) {
                Turn::Of(_) => {
                    calls += 1;
                    budget.conclude(GOOD, now, now, LATER);
                }
                Turn::NotBefore(at) => now = at,
                Turn::Nobody => panic!("nothing is in flight"),
            }
        }
        assert!((109..=111).contains(&calls), "{calls}");
    }

    #[test]
    fn the_window_opens_by_one_with_every_windowful_of_good_answers() {
        let mut now = start();
        let mut budget = Budget::new(LIMITS, now);
        for window in [1, 2, 3, 4, 4] {
            for _ in 0..window {
                assert_eq!(budget.turn(&[ASKED], now), Turn::Of(0), "{window}");
            }
            let none = match window {
                4 => Turn::Nobody,
                _ => Turn::NotBefore(now + HANGS_AFTER),
            };
            assert_eq!(budget.turn(&[ASKED], now), none, "{window}");
            now += seconds(1);
            for _ in 0..window {
                budget.conclude(GOOD, now, now, LATER);
            }
        }
    }

    #[test]
    fn a_throttled_answer_pauses_the_whole_host_longer_each_time() {
        let begin = start();
        let mut now = begin;
        let mut budget = Budget::new(LIMITS, now);
        // Who is not missed waits eight times as long, and never more than two minutes.
        for (pause, others) in [(1, 8), (2, 17), (4, 35), (8, 71), (15, 120), (15, 120)] {
            assert_eq!(budget.turn(&[ENDING_SOON], now), Turn::Of(0));
            budget.conclude(THROTTLED, now, now, LATER);
            let (end, others) = (now + seconds(pause), begin + seconds(others));
            assert!(budget.is_paused(now));
            assert_eq!(budget.turn(&[ENDING_SOON], now), Turn::NotBefore(end));
            assert_eq!(budget.turn(&[EMPTY], now), Turn::NotBefore(end));
            assert_eq!(budget.turn(&[ASKED], now), Turn::NotBefore(others));
            assert_eq!(budget.turn(&[UNASKED], end), Turn::NotBefore(others));
            now = end;
        }
    }

    #[test]
    fn a_role_that_is_throttled_for_ever_keeps_no_other_waiting_for_ever() {
        for stuck in [ENDING, ENDING_SOON, EMPTY, ASKED, UNASKED] {
            let begin = start();
            let mut now = begin;
            let mut budget = Budget::new(LIMITS, now);
            let stuck = Need { refused: true, ..stuck };
            loop {
                assert!(now < begin + seconds(122), "{stuck:?}");
                match budget.turn(&[stuck, UNASKED], now) {
                    Turn::Of(0) => budget.conclude(THROTTLED, now, now, LATER),
                    Turn::Of(_) => break,
                    Turn::NotBefore(at) => now = at,
                    Turn::Nobody => panic!("nothing is in flight"),
                }
            }
        }
    }

    #[test]
    fn a_pause_is_remembered_until_enough_has_gone_well() {
        let pause = |good: usize, later: Duration| {
            let mut now = start();
            let mut budget = Budget::new(LIMITS, now);
            for _ in 0..10 {
                budget.conclude(THROTTLED, now, now, LATER);
                now += seconds(15);
            }
            now += later;
            for _ in 0..good {
                assert_eq!(budget.turn(&[EMPTY], now), Turn::Of(0));
                budget.conclude(GOOD, now, now, LATER);
                now += seconds(1);
            }
            budget.conclude(THROTTLED, now, now, LATER);
            match budget.turn(&[EMPTY], now) {
                Turn::NotBefore(at) => (at - now).as_secs(),
                turn @ (Turn::Of(_) | Turn::Nobody) => panic!("{turn:?}"),
            }
        };
        assert_eq!(pause(1, Duration::ZERO), 15);
        assert_eq!(pause(20, Duration::ZERO), 10);
        assert_eq!(pause(60, Duration::ZERO), 1);
        assert_eq!(pause(0, seconds(700)), 1);
    }

    #[test]
    fn all_that_are_throttled_at_once_are_one_event() {
        let now = start();
        let mut budget = warm(now);
        for _ in 0..4 {
            assert_eq!(budget.turn(&[EMPTY], now), Turn::Of(0));
        }
        for _ in 0..4 {
            budget.conclude(THROTTLED, now, now, LATER);
        }
        let end = now + seconds(1);
        assert_eq!(budget.turn(&[EMPTY], now), Turn::NotBefore(end));
    }

    #[test]
    fn a_wait_that_sts_asked_for_is_kept_by_all() {
        let now = start();
        let mut budget = Budget::new(LIMITS, now);
        assert_eq!(budget.turn(&[EMPTY], now), Turn::Of(0));
        budget.conclude(Answer::Throttled(Some(seconds(30))), now, now, LATER);
        for need in [ENDING_SOON, EMPTY, ASKED, UNASKED] {
            let end = now + seconds(30);
            assert_eq!(budget.turn(&[need], now), Turn::NotBefore(end));
        }
    }

    #[test]
    fn credentials_about_to_end_may_pass_a_pause_once_in_ten_seconds() {
        let now = start();
        let mut budget = Budget::new(LIMITS, now);
        assert_eq!(budget.turn(&[ASKED], now), Turn::Of(0));
        budget.conclude(Answer::Throttled(Some(seconds(60))), now, now, LATER);
        assert_eq!(budget.turn(&[ASKED, ENDING], now), Turn::Of(1));
        budget.conclude(THROTTLED, now, now, LATER);
        let again = now + seconds(10);
        assert_eq!(budget.turn(&[ENDING], now), Turn::NotBefore(again));
        assert_eq!(budget.turn(&[ENDING], again), Turn::Of(0));
    }

    #[test]
    fn after_a_pause_one_call_goes_first_and_alone() {
        let now = start();
        let mut budget = warm(now);
        assert_eq!(budget.turn(&[EMPTY], now), Turn::Of(0));
        budget.conclude(THROTTLED, now, now, LATER);
        let after = now + seconds(1);
        assert_eq!(budget.turn(&[EMPTY], after), Turn::Of(0));
        let hangs = Turn::NotBefore(after + HANGS_AFTER);
        assert_eq!(budget.turn(&[EMPTY], after), hangs);
        budget.conclude(GOOD, after, after, LATER);
        assert_eq!(budget.turn(&[EMPTY], after), Turn::Of(0));
    }

    #[test]
    fn who_could_not_reach_sts_waits_for_one_probe_and_all_go_when_it_succeeds() {
        let mut now = start();
        let mut budget = warm(now);
        let waiting = [failed(ASKED), failed(EMPTY)];
        assert_eq!(budget.turn(&[ASKED], now), Turn::Of(0));
        budget.conclude(Answer::Unreachable, now, now, LATER);
        now += Duration::from_millis(250);
        for wait in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            assert!(matches!(budget.turn(&waiting, now), Turn::Of(_)));
            // Nobody else while the probe is under way.
            assert!(matches!(budget.turn(&waiting, now), Turn::NotBefore(_)));
            budget.conclude(Answer::Unreachable, now, now, LATER);
            let next = now + Duration::from_millis(wait);
            assert_eq!(budget.turn(&waiting, now), Turn::NotBefore(next));
            now = next;
        }
        assert_eq!(budget.turn(&waiting, now), Turn::Of(0), "who came first");
        budget.conclude(GOOD, now, now, LATER);
        assert_eq!(budget.turn(&waiting, now), Turn::Of(1), "by need again");
        assert_eq!(budget.turn(&waiting[..1], now), Turn::Of(0));
    }

    #[test]
    fn one_role_that_hangs_and_fails_delays_no_other() {
        let mut now = start();
        let mut budget = Budget::new(LIMITS, now);
        let waiting = [failed(EMPTY), UNASKED];
        for _ in 0..10 {
            assert_eq!(budget.turn(&waiting[..1], now), Turn::Of(0));
            // While it hangs:
            assert_eq!(budget.turn(&waiting[1..], now + seconds(1)), Turn::Of(0));
            budget.conclude(Answer::Unknown, now, now, LATER);
            now += seconds(16);
            budget.conclude(Answer::Unreachable, now, now, LATER);
            // While it waits for the next probe:
            assert_eq!(budget.turn(&waiting, now), Turn::Of(1));
            budget.conclude(Answer::Unknown, now, now, LATER);
            now += seconds(30);
        }
    }

    #[test]
    fn a_probe_is_not_held_up_by_the_pause_of_somebody_less_pressing() {
        let now = start();
        let mut budget = Budget::new(LIMITS, now);
        budget.conclude(Answer::Throttled(None), now, now, LATER);
        let now = now + seconds(1);
        budget.conclude(Answer::Unreachable, now, now, LATER);
        let probe = now + Duration::from_millis(250);
        let waiting = [UNASKED, failed(EMPTY)];
        assert_eq!(budget.turn(&waiting, now), Turn::NotBefore(probe));
        assert_eq!(budget.turn(&waiting, probe), Turn::Of(1));
    }

    #[test]
    fn all_that_were_under_way_when_sts_was_lost_are_one_outage() {
        let begun = start();
        let mut budget = warm(begun);
        for _ in 0..4 {
            assert_eq!(budget.turn(&[ASKED], begun), Turn::Of(0));
        }
        let mut now = begun;
        for _ in 0..4 {
            now += Duration::from_millis(1);
            budget.conclude(Answer::Unreachable, begun, now, LATER);
        }
        let first = begun + Duration::from_millis(251);
        assert_eq!(
            budget.turn(&[failed(ASKED)], now),
            Turn::NotBefore(first),
            "a quarter of a second after the first of them"
        );
        assert_eq!(budget.turn(&[failed(ASKED)], first), Turn::Of(0));
        budget.conclude(Answer::Unreachable, first, first, LATER);
        let second = first + Duration::from_millis(500);
        assert_eq!(budget.turn(&[failed(ASKED)], first), Turn::NotBefore(second));
    }

    #[test]
    fn a_probe_that_is_never_sent_holds_up_no_other() {
        let mut now = start();
        let mut budget = warm(now);
        budget.conclude(Answer::Unreachable, now, now, LATER);
        now += Duration::from_millis(250);
        let waiting = [failed(ASKED), failed(ASKED), failed(ASKED)];
        for _ in 0..8 {
            assert_eq!(budget.turn(&waiting, now), Turn::Of(0));
            budget.conclude(Answer::Unknown, now, now, LATER);
        }
    }

    #[test]
    fn who_is_wanted_now_waits_for_no_probe() {
        let now = start();
        let mut budget = warm(now);
        budget.conclude(Answer::Unreachable, now, now, LATER);
        let wanted = Need { hurried: true, ..failed(UNASKED) };
        assert_eq!(budget.turn(&[failed(EMPTY), wanted], now), Turn::Of(1));
    }

    #[test]
    fn credentials_that_end_soon_need_no_probe() {
        let now = start();
        let mut budget = Budget::new(LIMITS, now);
        budget.conclude(Answer::Unreachable, now, now, LATER);
        assert_eq!(budget.turn(&[failed(ENDING_SOON)], now), Turn::Of(0));
    }

    /// Random lives: whatever is answered in whatever order, the invariants in the head of this file hold.
    #[test]
    fn invariants_hold_in_random_lives() {
        let seed =
            std::env::var("ROLETAP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
        let mut random = fastrand::Rng::with_seed(seed);
        let needs = [ENDING, ENDING_SOON, EMPTY, ASKED, UNASKED];
        for life in 0..200 {
            let mut now = start();
            let mut budget = Budget::new(LIMITS, now);
            let mut in_flight: usize = 0;
            let mut calls: Vec<Instant> = Vec::new();
            for step in 0..500 {
                let told = format!("seed {seed}, life {life}, step {step}");
                let waiting: Vec<Need> = (0..random.usize(0..6))
                    .map(|_| Need {
                        refused: random.bool(),
                        unreachable: random.bool(),
                        ..needs[random.usize(..needs.len())]
                    })
                    .collect();
                match budget.turn(&waiting, now) {
                    Turn::Of(position) => {
                        assert!(position < waiting.len(), "{told}");
                        in_flight += 1;
                        calls.push(now);
                    }
                    Turn::NotBefore(at) => {
                        assert!(now < at && at <= now + seconds(120), "{told}: {:?}", at - now);
                        if random.bool() {
                            now = at;
                        }
                    }
                    Turn::Nobody => assert!(waiting.is_empty() || in_flight > 0, "{told}"),
                }
                assert!(in_flight <= LIMITS.max_in_flight, "{told}");
                let second = calls.iter().filter(|call| **call + seconds(1) > now).count();
                assert!(second <= 20, "{told}: {second} calls within a second");
                if in_flight > 0 && random.bool() {
                    in_flight -= 1;
                    let answer = match random.u8(..10) {
                        0..6 => GOOD,
                        6 => THROTTLED,
                        7 => Answer::Throttled(Some(seconds(random.u64(..1000)))),
                        8 => Answer::Unreachable,
                        _ => Answer::Unknown,
                    };
                    budget.conclude(answer, now, now, Jitter::new(random.f64()));
                }
                now += Duration::from_millis(random.u64(0..300));
            }
        }
    }
}
