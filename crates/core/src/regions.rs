//! The failover between STS Regions: calls go to the home Region until it stops answering. Pure.
//!
//! Only network errors cause a failover: after five in a row, over all roles, calls go to the next
//! Region. Any other outcome, such as a denial, shows that the Region answers. While a fallback
//! Region is active, one call per probe interval goes to the home Region. Its first answer brings
//! all roles back.
//!
//! Invariants:
//!
//! - Only an answer of the home Region makes it active again. No other answer changes the Region.
//! - The outcome of a call to an inactive Region changes nothing, except an answer of home.
//! - A list of one Region never changes.

use std::time::{Duration, Instant};

use crate::lifecycle::Jitter;

/// The place of the home Region in the list. The fallback Regions follow.
pub const HOME: usize = 0;
/// The number of network errors in a row that causes a failover.
const ERRORS_UNTIL_FAILOVER: u32 = 5;
const FIRST_PROBE: Duration = Duration::from_secs(5);
const LONGEST_PROBE: Duration = Duration::from_secs(300);

/// The result of one call: the Region answered, or it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// The Region answered, with credentials or with an error.
    Responded,
    /// The call failed with a network error.
    Unreachable,
}

/// A change that is logged. Regions are given as places in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailoverEvent {
    /// Region `from` does not answer, so calls now go to `to`.
    Moved {
        /// The Region that was active before.
        from: usize,
        /// The Region that is active now.
        to: usize,
    },
    /// No Region answers. They are called in turn, and the next event is an answer.
    AllUnreachable,
    /// This fallback Region answers, after none answered.
    FoundFallback(usize),
    /// The home Region answers again, and all calls return to it.
    ReturnedHome,
}

/// The active Region, and the time of the next probe of the home Region.
#[derive(Debug)]
pub struct Regions {
    count: usize,
    active: usize,
    /// Network errors in a row in the active Region.
    errors: u32,
    /// Failovers since the last answer.
    moves: usize,
    /// The time between the next probe and the one after it. It grows until home answers.
    interval: Duration,
    probe_at: Option<Instant>,
}

impl Regions {
    /// Begins in the home Region, with this number of fallback Regions.
    pub fn new(fallbacks: usize) -> Self {
        Self {
            count: fallbacks + 1,
            active: HOME,
            errors: 0,
            moves: 0,
            interval: FIRST_PROBE,
            probe_at: None,
        }
    }

    /// Returns the place of the Region that is called, except by probes.
    pub fn active(&self) -> usize {
        self.active
    }

    /// Chooses the Region of the next call. A call that is due as a probe goes to home.
    pub fn choose(&mut self, now: Instant, jitter: Jitter) -> usize {
        if self.active == HOME || self.probe_at.is_some_and(|at| now < at) {
            return self.active;
        }
        self.plan_probe(now, jitter);
        HOME
    }

    /// Records the outcome of a call to `region`. Returns a change that has to be logged.
    pub fn record(
        &mut self,
        region: usize,
        outcome: Reachability,
        now: Instant,
        jitter: Jitter,
    ) -> Option<FailoverEvent> {
        match outcome {
            Reachability::Responded if region == HOME => {
                let is_news = self.active != HOME || self.all_were_unreachable();
                *self = Self::new(self.count - 1);
                is_news.then_some(FailoverEvent::ReturnedHome)
            }
            Reachability::Responded if region == self.active => {
                let is_news = self.all_were_unreachable();
                (self.errors, self.moves) = (0, 0);
                is_news.then_some(FailoverEvent::FoundFallback(region))
            }
            Reachability::Unreachable if region == self.active => {
                self.errors = self.errors.saturating_add(1);
                if self.errors < ERRORS_UNTIL_FAILOVER || self.count == 1 {
                    return None;
                }
                self.move_on(now, jitter)
            }
            // A probe that failed, or a call that began before a failover.
            Reachability::Responded | Reachability::Unreachable => None,
        }
    }

    fn move_on(&mut self, now: Instant, jitter: Jitter) -> Option<FailoverEvent> {
        let from = self.active;
        self.active = (from + 1) % self.count;
        self.errors = 0;
        self.moves = self.moves.saturating_add(1);
        if from == HOME {
            self.plan_probe(now, jitter);
        }
        match self.moves.cmp(&self.count) {
            std::cmp::Ordering::Less => Some(FailoverEvent::Moved { from, to: self.active }),
            std::cmp::Ordering::Equal => Some(FailoverEvent::AllUnreachable),
            std::cmp::Ordering::Greater => None,
        }
    }

    fn all_were_unreachable(&self) -> bool {
        self.moves >= self.count
    }

    /// Spreads the probe by a fifth in both directions, so that hosts do not return together.
    fn plan_probe(&mut self, now: Instant, jitter: Jitter) {
        let spread = self.interval / 5;
        self.probe_at = Some(now + self.interval - spread + jitter.of(spread * 2));
        self.interval = (self.interval * 2).min(LONGEST_PROBE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: fn() -> Jitter = || Jitter::new(0.5);

    #[expect(clippy::disallowed_methods, reason = "any instant will do, only differences count")]
    fn start() -> Instant {
        Instant::now()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Records this number of network errors in a row in the active region.
    fn silence(regions: &mut Regions, times: u32, now: Instant) -> Vec<FailoverEvent> {
        (0..times)
            .filter_map(|_| {
                let region = regions.active();
                regions.record(region, Reachability::Unreachable, now, MIDDLE())
            })
            .collect()
    }

    #[test]
    fn the_fifth_network_error_in_a_row_moves_the_host() {
        let now = start();
        let mut regions = Regions::new(2);
        assert_eq!(silence(&mut regions, 4, now), []);
        assert_eq!(regions.choose(now, MIDDLE()), HOME);
        assert_eq!(silence(&mut regions, 1, now), [FailoverEvent::Moved { from: 0, to: 1 }]);
        assert_eq!(regions.choose(now, MIDDLE()), 1);
    }

    #[test]
    fn any_answer_begins_the_count_anew() {
        let now = start();
        let mut regions = Regions::new(1);
        for _ in 0..100 {
            assert_eq!(silence(&mut regions, 4, now), []);
            assert_eq!(regions.record(HOME, Reachability::Responded, now, MIDDLE()), None);
        }
        assert_eq!(regions.active(), HOME);
    }

    #[test]
    fn an_answer_of_a_fallback_begins_the_count_anew_too() {
        let now = start();
        let mut regions = Regions::new(1);
        silence(&mut regions, 5, now);
        for _ in 0..100 {
            assert_eq!(silence(&mut regions, 4, now), []);
            assert_eq!(regions.record(1, Reachability::Responded, now, MIDDLE()), None);
        }
        assert_eq!(regions.active(), 1);
    }

    #[test]
    fn errors_of_a_region_that_was_left_are_not_held_against_the_next() {
        let now = start();
        let mut regions = Regions::new(2);
        silence(&mut regions, 5, now);
        // Eight were in flight when home fell silent.
        for _ in 0..8 {
            assert_eq!(regions.record(HOME, Reachability::Unreachable, now, MIDDLE()), None);
        }
        assert_eq!(regions.active(), 1);
        silence(&mut regions, 5, now);
        assert_eq!(regions.record(1, Reachability::Responded, now, MIDDLE()), None);
        assert_eq!(regions.active(), 2, "a late answer of a fallback calls nobody back");
    }

    #[test]
    fn home_is_probed_after_5_s_then_at_doubled_intervals_up_to_5_min() {
        let mut now = start();
        let mut regions = Regions::new(1);
        silence(&mut regions, 5, now);
        for expected in [5, 10, 20, 40, 80, 160, 300, 300, 300] {
            let early = now + seconds(expected) - Duration::from_millis(1);
            assert_eq!(regions.choose(early, MIDDLE()), 1, "before {expected} s have passed");
            now += seconds(expected);
            assert_eq!(regions.choose(now, MIDDLE()), HOME, "after {expected} s");
            assert_eq!(regions.choose(now, MIDDLE()), 1, "one attempt, not all");
            regions.record(HOME, Reachability::Unreachable, now, MIDDLE());
            assert_eq!(regions.active(), 1);
        }
    }

    #[test]
    fn jitter_moves_a_probe_by_a_fifth_either_way() {
        for (jitter, millis) in [(0.0, 4000), (0.5, 5000), (1.0, 6000)] {
            let now = start();
            let mut regions = Regions::new(1);
            for _ in 0..5 {
                regions.record(HOME, Reachability::Unreachable, now, Jitter::new(jitter));
            }
            let due = now + Duration::from_millis(millis);
            assert_eq!(regions.choose(due - Duration::from_millis(1), MIDDLE()), 1, "{jitter}");
            assert_eq!(regions.choose(due, MIDDLE()), HOME, "{jitter}");
        }
    }

    #[test]
    fn the_first_answer_from_home_brings_everybody_back_and_forgets_the_outage() {
        let now = start();
        let mut regions = Regions::new(2);
        silence(&mut regions, 10, now);
        assert_eq!(regions.active(), 2);
        let later = now + seconds(60);
        assert_eq!(regions.choose(later, MIDDLE()), HOME);
        assert_eq!(
            regions.record(HOME, Reachability::Responded, later, MIDDLE()),
            Some(FailoverEvent::ReturnedHome)
        );
        assert_eq!(regions.active(), HOME);
        assert_eq!(regions.record(HOME, Reachability::Responded, later, MIDDLE()), None);
        silence(&mut regions, 5, later);
        assert_eq!(
            regions.choose(later + seconds(5), MIDDLE()),
            HOME,
            "the first probe is soon again"
        );
    }

    #[test]
    fn when_all_are_silent_they_are_asked_in_turn_and_it_is_told_once() {
        let now = start();
        let mut regions = Regions::new(1);
        assert_eq!(
            silence(&mut regions, 10, now),
            [FailoverEvent::Moved { from: 0, to: 1 }, FailoverEvent::AllUnreachable]
        );
        assert_eq!(silence(&mut regions, 1000, now), []);
        silence(&mut regions, 5, now);
        assert_eq!(regions.active(), 1);
        assert_eq!(
            regions.record(1, Reachability::Responded, now, MIDDLE()),
            Some(FailoverEvent::FoundFallback(1))
        );
        assert_eq!(regions.record(1, Reachability::Responded, now, MIDDLE()), None);
        assert_eq!(silence(&mut regions, 5, now), [FailoverEvent::Moved { from: 1, to: 0 }]);
    }

    #[test]
    fn home_that_answers_after_all_were_unreachable_is_told_too() {
        let now = start();
        let mut regions = Regions::new(1);
        silence(&mut regions, 10, now);
        assert_eq!(regions.active(), HOME);
        assert_eq!(
            regions.record(HOME, Reachability::Responded, now, MIDDLE()),
            Some(FailoverEvent::ReturnedHome)
        );
    }

    #[test]
    fn a_list_of_one_never_moves() {
        let mut now = start();
        let mut regions = Regions::new(0);
        for _ in 0..1000 {
            now += seconds(400);
            assert_eq!(silence(&mut regions, 1, now), []);
            assert_eq!(regions.choose(now, MIDDLE()), HOME);
        }
    }

    /// Random lives: several attempts under way, regions that come and go, time that passes.
    #[test]
    fn the_invariants_hold_in_random_lives() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let fallbacks = random.usize(0..4);
            let mut regions = Regions::new(fallbacks);
            let mut now = start();
            let mut under_way: Vec<usize> = Vec::new();
            let mut silent = vec![false; fallbacks + 1];
            let mut in_a_row = 0;
            for _ in 0..2000 {
                let context = format!("seed {seed}: {regions:?}");
                match random.u8(0..10) {
                    0 => now += Duration::from_millis(random.u64(0..120_000)),
                    1 => silent[random.usize(0..=fallbacks)] = random.bool(),
                    2..6 => {
                        let region = regions.choose(now, Jitter::new(random.f64()));
                        assert!(region == regions.active() || region == HOME, "{context}");
                        under_way.push(region);
                    }
                    _ if under_way.is_empty() => {}
                    _ => {
                        let region = under_way.swap_remove(random.usize(0..under_way.len()));
                        let sign = if silent[region] {
                            Reachability::Unreachable
                        } else {
                            Reachability::Responded
                        };
                        let before = regions.active();
                        let jitter = Jitter::new(random.f64());
                        let news = regions.record(region, sign, now, jitter);
                        let after = regions.active();
                        match sign {
                            Reachability::Unreachable if region == before => in_a_row += 1,
                            Reachability::Responded if region == before => in_a_row = 0,
                            Reachability::Unreachable | Reachability::Responded => {}
                        }
                        if before != after {
                            assert!(
                                sign == Reachability::Responded
                                    || in_a_row == ERRORS_UNTIL_FAILOVER,
                                "{context}"
                            );
                            in_a_row = 0;
                        }
                        match sign {
                            Reachability::Responded if region == HOME => {
                                assert_eq!(after, HOME, "{context}")
                            }
                            Reachability::Responded => assert_eq!(after, before, "{context}"),
                            Reachability::Unreachable if region != before => {
                                assert_eq!(after, before, "{context}");
                            }
                            Reachability::Unreachable => {
                                assert!(
                                    after == before || after == (before + 1) % (fallbacks + 1),
                                    "{context}"
                                );
                            }
                        }
                        assert!(
                            before == after || news.is_some() || regions.all_were_unreachable(),
                            "a move in silence: {context}"
                        );
                        assert_eq!(
                            before != HOME && after == HOME && sign == Reachability::Responded,
                            news == Some(FailoverEvent::ReturnedHome) && before != HOME,
                            "{context}"
                        );
                    }
                }
            }
            // Whatever has happened: once home answers, the longest interval later everybody is there.
            now += LONGEST_PROBE.mul_f64(1.2);
            let region = regions.choose(now, MIDDLE());
            assert_eq!(region, HOME, "seed {seed}: {regions:?}");
            regions.record(region, Reachability::Responded, now, MIDDLE());
            assert_eq!(regions.active(), HOME);
        }
    }
}
