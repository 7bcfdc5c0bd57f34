//! In which region STS is asked: at home, until home stops answering. Pure.
//!
//! Only silence moves us: after so many network errors in a row, over all roles of the host, the next region of home and
//! fallbacks is asked. Any other outcome, a denial too, says that the region answers. While away, one attempt per probe
//! interval goes home, and the first answer from there brings everybody back.
//!
//! Invariants: an answer never moves us away from where we are, except home; what a region that we have left still
//! says or does not say counts for nothing, unless home says it; a list of one never moves.

use std::time::{Duration, Instant};

use crate::lifecycle::Jitter;

/// The place of the home region in the list; the fallbacks follow.
pub const HOME: usize = 0;
/// Network errors in a row until the next region is asked.
const PATIENCE: u32 = 5;
const FIRST_PROBE: Duration = Duration::from_secs(5);
const LONGEST_PROBE: Duration = Duration::from_secs(300);

/// What one attempt says about the region it went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// An answer of whatever kind.
    Answer,
    /// A network error.
    Silence,
}

/// What is worth telling. Regions are places in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// `from` fell silent; from now on `to` is asked.
    Moved {
        /// Where we were.
        from: usize,
        /// Where we are.
        to: usize,
    },
    /// Every region has fallen silent. They are asked in turn, and nothing more is told until one answers.
    AllSilent,
    /// After a while in which all were silent, this fallback answers.
    Found(usize),
    /// Home answers again, and everybody returns to it.
    Home,
}

/// Where to ask.
#[derive(Debug)]
pub struct Regions {
    count: usize,
    active: usize,
    /// Network errors in a row where we are.
    errors: u32,
    /// Moves since something answered.
    moves: usize,
    /// How long to leave home alone after the next probe; until home answers it only grows.
    interval: Duration,
    probe_at: Option<Instant>,
}

impl Regions {
    /// At home, with so many fallbacks.
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

    /// The region that is asked, probes aside.
    pub fn active(&self) -> usize {
        self.active
    }

    /// Where this attempt goes: one that is due as a probe goes home.
    pub fn choose(&mut self, now: Instant, jitter: Jitter) -> usize {
        if self.active == HOME || self.probe_at.is_some_and(|at| now < at) {
            return self.active;
        }
        self.plan_probe(now, jitter);
        HOME
    }

    /// An attempt that went to `region` has ended.
    pub fn conclude(
        &mut self,
        region: usize,
        sign: Sign,
        now: Instant,
        jitter: Jitter,
    ) -> Option<News> {
        match sign {
            Sign::Answer if region == HOME => {
                let news = self.active != HOME || self.all_were_silent();
                *self = Self::new(self.count - 1);
                news.then_some(News::Home)
            }
            Sign::Answer if region == self.active => {
                let news = self.all_were_silent();
                (self.errors, self.moves) = (0, 0);
                news.then_some(News::Found(region))
            }
            Sign::Silence if region == self.active => {
                self.errors = self.errors.saturating_add(1);
                if self.errors < PATIENCE || self.count == 1 {
                    return None;
                }
                self.move_on(now, jitter)
            }
            // A probe that failed, or an attempt from before a move.
            Sign::Answer | Sign::Silence => None,
        }
    }

    fn move_on(&mut self, now: Instant, jitter: Jitter) -> Option<News> {
        let from = self.active;
        self.active = (from + 1) % self.count;
        self.errors = 0;
        self.moves = self.moves.saturating_add(1);
        if from == HOME {
            self.plan_probe(now, jitter);
        }
        match self.moves.cmp(&self.count) {
            std::cmp::Ordering::Less => Some(News::Moved { from, to: self.active }),
            std::cmp::Ordering::Equal => Some(News::AllSilent),
            std::cmp::Ordering::Greater => None,
        }
    }

    fn all_were_silent(&self) -> bool {
        self.moves >= self.count
    }

    /// A fifth either way keeps the hosts of a fleet from coming home in step.
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

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// So many network errors in a row where we are.
    fn silence(regions: &mut Regions, times: u32, now: Instant) -> Vec<News> {
        (0..times)
            .filter_map(|_| {
                let region = regions.active();
                regions.conclude(region, Sign::Silence, now, MIDDLE())
            })
            .collect()
    }

    #[test]
    fn the_fifth_network_error_in_a_row_moves_the_host() {
        let now = start();
        let mut regions = Regions::new(2);
        assert_eq!(silence(&mut regions, 4, now), []);
        assert_eq!(regions.choose(now, MIDDLE()), HOME);
        assert_eq!(silence(&mut regions, 1, now), [News::Moved { from: 0, to: 1 }]);
        assert_eq!(regions.choose(now, MIDDLE()), 1);
    }

    #[test]
    fn any_answer_begins_the_count_anew() {
        let now = start();
        let mut regions = Regions::new(1);
        for _ in 0..100 {
            assert_eq!(silence(&mut regions, 4, now), []);
            assert_eq!(regions.conclude(HOME, Sign::Answer, now, MIDDLE()), None);
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
            assert_eq!(regions.conclude(1, Sign::Answer, now, MIDDLE()), None);
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
            assert_eq!(regions.conclude(HOME, Sign::Silence, now, MIDDLE()), None);
        }
        assert_eq!(regions.active(), 1);
        silence(&mut regions, 5, now);
        assert_eq!(regions.conclude(1, Sign::Answer, now, MIDDLE()), None);
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
            regions.conclude(HOME, Sign::Silence, now, MIDDLE());
            assert_eq!(regions.active(), 1);
        }
    }

    #[test]
    fn jitter_moves_a_probe_by_a_fifth_either_way() {
        for (jitter, millis) in [(0.0, 4000), (0.5, 5000), (1.0, 6000)] {
            let now = start();
            let mut regions = Regions::new(1);
            for _ in 0..5 {
                regions.conclude(HOME, Sign::Silence, now, Jitter::new(jitter));
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
        assert_eq!(regions.conclude(HOME, Sign::Answer, later, MIDDLE()), Some(News::Home));
        assert_eq!(regions.active(), HOME);
        assert_eq!(regions.conclude(HOME, Sign::Answer, later, MIDDLE()), None);
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
            [News::Moved { from: 0, to: 1 }, News::AllSilent]
        );
        assert_eq!(silence(&mut regions, 1000, now), []);
        silence(&mut regions, 5, now);
        assert_eq!(regions.active(), 1);
        assert_eq!(regions.conclude(1, Sign::Answer, now, MIDDLE()), Some(News::Found(1)));
        assert_eq!(regions.conclude(1, Sign::Answer, now, MIDDLE()), None);
        assert_eq!(silence(&mut regions, 5, now), [News::Moved { from: 1, to: 0 }]);
    }

    #[test]
    fn home_that_answers_after_all_were_silent_is_told_too() {
        let now = start();
        let mut regions = Regions::new(1);
        silence(&mut regions, 10, now);
        assert_eq!(regions.active(), HOME);
        assert_eq!(regions.conclude(HOME, Sign::Answer, now, MIDDLE()), Some(News::Home));
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
                        let sign = if silent[region] { Sign::Silence } else { Sign::Answer };
                        let before = regions.active();
                        let jitter = Jitter::new(random.f64());
                        let news = regions.conclude(region, sign, now, jitter);
                        let after = regions.active();
                        match sign {
                            Sign::Silence if region == before => in_a_row += 1,
                            Sign::Answer if region == before => in_a_row = 0,
                            Sign::Silence | Sign::Answer => {}
                        }
                        if before != after {
                            assert!(sign == Sign::Answer || in_a_row == PATIENCE, "{context}");
                            in_a_row = 0;
                        }
                        match sign {
                            Sign::Answer if region == HOME => assert_eq!(after, HOME, "{context}"),
                            Sign::Answer => assert_eq!(after, before, "{context}"),
                            Sign::Silence if region != before => {
                                assert_eq!(after, before, "{context}");
                            }
                            Sign::Silence => {
                                assert!(
                                    after == before || after == (before + 1) % (fallbacks + 1),
                                    "{context}"
                                );
                            }
                        }
                        assert!(
                            before == after || news.is_some() || regions.all_were_silent(),
                            "a move in silence: {context}"
                        );
                        assert_eq!(
                            before != HOME && after == HOME && sign == Sign::Answer,
                            news == Some(News::Home) && before != HOME,
                            "{context}"
                        );
                    }
                }
            }
            // Whatever has happened: once home answers, the longest interval later everybody is there.
            now += LONGEST_PROBE.mul_f64(1.2);
            let region = regions.choose(now, MIDDLE());
            assert_eq!(region, HOME, "seed {seed}: {regions:?}");
            regions.conclude(region, Sign::Answer, now, MIDDLE());
            assert_eq!(regions.active(), HOME);
        }
    }
}
