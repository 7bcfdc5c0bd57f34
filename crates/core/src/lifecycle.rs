//! One role's life, as arithmetic: when is the next attempt due, and what may be vended.
//!
//! Two laws. *Store facts, derive phases*: what is stored changes only when an attempt concludes; fresh, stale and
//! expired are questions about `now`. *The core decides, the shell waits*: nothing here is async, reads a clock or draws
//! a random number.
//!
//! Invariants: a failed attempt never removes credentials that can be vended (except `on_denied = "drop"`); asking twice
//! gives the same answer, because jitter is drawn once and stored as a time; between the first failure and expiry there
//! is room for at least four more attempts; a wall clock that steps back costs an early attempt, never a late one.
//!
//! The first refresh after a start, a failure or a delay is drawn from one whole interval, and each later one from a
//! tenth of a session. What starts or recovers together would otherwise refresh together, for many hours: a tenth
//! blurs a wave only slowly. One whole interval makes it flat at once, for half a call per role.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
pub use crate::backoff::Jitter;
use crate::credentials::Credentials;
use crate::failure::{Class, IssueError};
use crate::role::{OnDenied, RefreshPolicy, Role};

/// The facts about one role. They change only when an attempt concludes.
#[derive(Debug, Clone, Default)]
pub enum RoleState {
    /// No attempt has concluded.
    #[default]
    Pending,
    /// Attempts have failed and nothing is in hand.
    Failing {
        /// The failures of all attempts so far.
        failures: Failures,
    },
    /// Credentials in hand. Whether they are fresh is a question about now.
    Issued {
        /// The credentials that are vended until they expire.
        credentials: Arc<Credentials>,
        /// When to issue again, drawn once.
        refresh_at: SystemTime,
        /// The attempts that have failed since.
        failures: Option<Failures>,
    },
}

/// Attempts that failed, since one last succeeded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failures {
    /// The error of the last attempt.
    pub error: Arc<IssueError>,
    /// How many have failed.
    pub count: u32,
    /// How many of them were of each class: troubles that take turns are each waited out as if they were alone.
    pub of_class: ByClass,
    /// When the first failed.
    pub since: SystemTime,
    /// When the next attempt is due.
    pub retry_at: SystemTime,
}

/// Numbers of failures, in the order of [`Class::ALL`].
pub type ByClass = [u32; Class::ALL.len()];

/// The meaning of a state at one instant, as readiness, metrics and replies show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Credentials were issued, and have expired.
    Expired,
    /// Nothing was ever issued, and an attempt has failed.
    Failed,
    /// Credentials in hand, and no need to refresh yet.
    Fresh,
    /// No attempt has concluded.
    Pending,
    /// Credentials in hand that should have been refreshed by now.
    Stale,
}

/// The share of the lifetime by which the refresh point is moved, either way.
const REFRESH_SPREAD: f64 = 0.05;
/// Under this, botocore, .NET, Java and s3fs fetch again on every request (research: refresh windows of clients).
const REFRESH_LEAD: Duration = Duration::from_secs(1_500);
/// With `min_remaining` a refresh begins this much earlier, or a sixtieth of the lifetime: waiting for a turn and an
/// attempt take time.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);
/// A retry is never sooner than this, whatever jitter says.
const RETRY_FLOOR: Duration = Duration::from_millis(100);
/// No schedule reaches further than this; one that seems to, was written before the clock stepped back.
const LONGEST_RETRY: Duration = Duration::from_secs(1_000);
/// How much a clock may be slewed before it counts as stepped back.
const STEP_TOLERANCE: Duration = Duration::from_secs(60);

impl RoleState {
    /// Returns when the next attempt is due; a time that is not after `now` means at once.
    pub fn next_attempt(&self, now: SystemTime) -> SystemTime {
        match self {
            Self::Pending => UNIX_EPOCH,
            Self::Failing { failures } | Self::Issued { failures: Some(failures), .. } => {
                failures.due(now)
            }
            Self::Issued { credentials, refresh_at, failures: None } => {
                let left = credentials.expires_at().duration_since(now).unwrap_or_default();
                if left > credentials.lifetime() + STEP_TOLERANCE { now } else { *refresh_at }
            }
        }
    }

    /// Folds one concluded attempt in.
    #[must_use]
    pub fn after(
        self,
        outcome: Result<Credentials, IssueError>,
        terms: RefreshPolicy,
        now: SystemTime,
        jitter: Jitter,
    ) -> Self {
        let error = match outcome {
            Ok(credentials) => {
                let refresh_at = if self.was_on_time(now) {
                    refresh_point(&credentials, terms, jitter)
                } else {
                    first_refresh_point(&credentials, terms, jitter)
                };
                return Self::Issued {
                    credentials: Arc::new(credentials),
                    refresh_at,
                    failures: None,
                };
            }
            Err(error) => Arc::new(error),
        };
        let (held, failures) = match self {
            Self::Pending => (None, None),
            Self::Failing { failures } => (None, Some(failures)),
            Self::Issued { credentials, refresh_at, failures } => {
                (Some((credentials, refresh_at)), failures)
            }
        };
        let is_dropped = error.class == Class::Denied && terms.on_denied == OnDenied::Drop;
        let held = held.filter(|_| !is_dropped);
        let expires_at = held.as_ref().map(|(credentials, _)| credentials.expires_at());
        let failures = Failures::next(failures, error, expires_at, now, jitter);
        match held {
            None => Self::Failing { failures },
            Some((credentials, refresh_at)) => {
                Self::Issued { credentials, refresh_at, failures: Some(failures) }
            }
        }
    }

    /// Credentials that come at `now` come when they were planned to.
    fn was_on_time(&self, now: SystemTime) -> bool {
        match self {
            Self::Pending | Self::Failing { .. } => false,
            Self::Issued { credentials, refresh_at, failures } => {
                failures.is_none() && now <= *refresh_at + refresh_spread(credentials.lifetime())
            }
        }
    }

    /// Returns the phase at `now`.
    pub fn phase(&self, now: SystemTime) -> Phase {
        match self {
            Self::Pending => Phase::Pending,
            Self::Failing { .. } => Phase::Failed,
            Self::Issued { credentials, .. } if now >= credentials.expires_at() => Phase::Expired,
            Self::Issued { refresh_at, .. } if now >= *refresh_at => Phase::Stale,
            Self::Issued { .. } => Phase::Fresh,
        }
    }

    /// Returns unexpired credentials, or the phase that keeps a workload from having any.
    pub fn vend(&self, now: SystemTime) -> Result<&Arc<Credentials>, Phase> {
        match self {
            Self::Issued { credentials, .. } if now < credentials.expires_at() => Ok(credentials),
            Self::Pending | Self::Failing { .. } | Self::Issued { .. } => Err(self.phase(now)),
        }
    }

    /// Returns the failures since the last success.
    pub fn failures(&self) -> Option<&Failures> {
        match self {
            Self::Pending => None,
            Self::Failing { failures } => Some(failures),
            Self::Issued { failures, .. } => failures.as_ref(),
        }
    }

    /// Returns the last issued credentials, expired or not.
    pub fn credentials(&self) -> Option<&Arc<Credentials>> {
        match self {
            Self::Pending | Self::Failing { .. } => None,
            Self::Issued { credentials, .. } => Some(credentials),
        }
    }

    /// The same knowledge under other settings of the role. A greater `min_remaining` holds at once: the refresh is moved
    /// to where it would have been at the latest, and what is in hand is vended until then and while that fails.
    #[must_use]
    pub fn presented_for(mut self, role: &Role) -> Self {
        if let Self::Issued { credentials, refresh_at, .. } = &mut self {
            *refresh_at = (*refresh_at).min(latest_refresh_point(credentials, role.terms));
            *credentials = Arc::new(credentials.presented_for(role));
        }
        self
    }
}

impl Failures {
    fn next(
        before: Option<Self>,
        error: Arc<IssueError>,
        expires_at: Option<SystemTime>,
        now: SystemTime,
        jitter: Jitter,
    ) -> Self {
        let (before, mut of_class, since) = match before {
            None => (0, ByClass::default(), now),
            Some(before) => (before.count, before.of_class, before.since),
        };
        let of_this_class = &mut of_class[error.class as usize];
        *of_this_class = of_this_class.saturating_add(1);
        let mut delay = retry_delay(error.class, *of_this_class, jitter)
            .max(error.retry_after.unwrap_or_default());
        if let Some(window) = expires_at.and_then(|end| end.duration_since(since).ok())
            && expires_at > Some(now)
        {
            // Five parts leave room for four attempts, however slow the class.
            delay = delay.min((window / 5).max(Duration::from_secs(1)));
        }
        Self {
            error,
            count: before.saturating_add(1),
            of_class,
            since,
            retry_at: now + delay.min(LONGEST_RETRY),
        }
    }

    fn due(&self, now: SystemTime) -> SystemTime {
        if self.retry_at > now + LONGEST_RETRY + STEP_TOLERANCE { now } else { self.retry_at }
    }
}

impl Phase {
    /// Every phase, in the order of their labels.
    pub const ALL: [Self; 5] =
        [Self::Expired, Self::Failed, Self::Fresh, Self::Pending, Self::Stale];

    /// As it stands in logs, metrics and `/roles`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Fresh => "fresh",
            Self::Pending => "pending",
            Self::Stale => "stale",
        }
    }
}

/// How much is left of a session of `lifetime` when it is refreshed, before jitter: `min(max(L/2, 1500 s), 0.8·L)`, or
/// as much more as `min_remaining` needs. What STS grants may be shorter than what was asked for; then as much of
/// `min_remaining` is kept as [`longest_remaining`] allows.
pub fn refresh_lead(lifetime: Duration, min_remaining: Duration) -> Duration {
    let usual = (lifetime / 2).max(REFRESH_LEAD).min(lifetime * 4 / 5);
    let margin = (lifetime / 60).min(LONGEST_MARGIN);
    let kept = min_remaining.min(longest_remaining(lifetime));
    usual.max(kept + refresh_spread(lifetime) + margin)
}

/// The most that can be left of a session of `lifetime` whenever it is vended. More would be refreshed without end.
pub fn longest_remaining(lifetime: Duration) -> Duration {
    lifetime * 3 / 4
}

fn refresh_point(credentials: &Credentials, terms: RefreshPolicy, jitter: Jitter) -> SystemTime {
    let spread = refresh_spread(credentials.lifetime());
    latest_refresh_point(credentials, terms) - spread * 2 + jitter.of(spread * 2)
}

fn latest_refresh_point(credentials: &Credentials, terms: RefreshPolicy) -> SystemTime {
    let lifetime = credentials.lifetime();
    credentials.expires_at() - refresh_lead(lifetime, terms.min_remaining)
        + refresh_spread(lifetime)
}

/// Draws the first refresh of a role that is late or starts now: anywhere in one whole interval, up to the latest usual
/// point. A whole fleet is probably in the same case; it is spread evenly again then, and stays so.
fn first_refresh_point(
    credentials: &Credentials,
    terms: RefreshPolicy,
    jitter: Jitter,
) -> SystemTime {
    let lifetime = credentials.lifetime();
    let interval = lifetime - refresh_lead(lifetime, terms.min_remaining);
    latest_refresh_point(credentials, terms) - interval + jitter.of(interval)
}

fn refresh_spread(lifetime: Duration) -> Duration {
    lifetime.mul_f64(REFRESH_SPREAD)
}

/// The wait after the `n`th failure of one class since the last success, `n` from 1.
fn retry_delay(class: Class, n: u32, jitter: Jitter) -> Duration {
    let seconds = Duration::from_secs;
    let backoff = |base, cap| Backoff { base, cap };
    let backoff = match class {
        Class::Network => backoff(Duration::from_millis(250), seconds(30)),
        // The host pauses as a whole (`budget.rs`): this role only has to be back in the queue when that ends.
        Class::Throttled => backoff(seconds(1), seconds(1)),
        // The source has been rebuilt by now: one immediate retry shows whether that was all.
        Class::Source | Class::Clock if n == 1 => return Duration::ZERO,
        Class::Source | Class::Clock => backoff(Duration::from_millis(250), seconds(60)),
        Class::Denied => backoff(seconds(15), seconds(300)),
        // One probe per 15 minutes; a tenth either way keeps a fleet from marching in step.
        Class::Misconfigured => return seconds(810) + jitter.of(seconds(180)),
    };
    backoff.delay(n, jitter).max(RETRY_FLOOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, config, credentials, error, role};

    const KEEP: RefreshPolicy =
        RefreshPolicy { on_denied: OnDenied::Keep, min_remaining: Duration::ZERO };
    const DROP: RefreshPolicy = RefreshPolicy { on_denied: OnDenied::Drop, ..KEEP };

    fn middle() -> Jitter {
        Jitter::new(0.5)
    }

    fn issued(lifetime: u64) -> RoleState {
        let role = role("a", 3600);
        let credentials = credentials(&role, at(0), Duration::from_secs(lifetime), 1);
        // As if on time, not as if at start.
        RoleState::Issued {
            refresh_at: refresh_point(&credentials, KEEP, middle()),
            credentials: Arc::new(credentials),
            failures: None,
        }
    }

    /// Seconds from an issue at `now` to the next refresh.
    fn refresh_after(state: RoleState, now: u64, jitter: f64) -> u64 {
        let issued = credentials(&role("a", 3600), at(now), Duration::from_secs(3600), 1);
        state
            .after(Ok(issued), KEEP, at(now), Jitter::new(jitter))
            .next_attempt(at(now))
            .duration_since(at(now))
            .unwrap()
            .as_secs()
    }

    #[test]
    fn the_refresh_point_follows_the_granted_lifetime() {
        for (lifetime, refresh_after) in
            [(43_200, 21_600), (3600, 1800), (3000, 1500), (2000, 500), (900, 180), (10, 2)]
        {
            assert_eq!(issued(lifetime).next_attempt(at(0)), at(refresh_after), "{lifetime}");
        }
    }

    #[test]
    fn jitter_moves_the_refresh_point_by_a_twentieth_either_way() {
        let refresh_after = |jitter| refresh_after(issued(3600), 1800, jitter);
        assert_eq!(refresh_after(0.0), 1800 - 180);
        assert_eq!(refresh_after(1.0), 1800 + 180);
    }

    #[test]
    fn the_first_refresh_after_a_start_a_failure_or_a_delay_is_anywhere_in_one_interval() {
        let failed =
            |state: RoleState| state.after(Err(error(Class::Network)), KEEP, at(1790), middle());
        for (begins, state, now) in [
            ("pending", RoleState::Pending, 0),
            ("failing", failed(RoleState::Pending), 1800),
            ("failed once", failed(issued(3600)), 1800),
            ("late", issued(3600), 1981),
        ] {
            assert_eq!(refresh_after(state.clone(), now, 0.0), 180, "{begins}");
            assert_eq!(refresh_after(state, now, 1.0), 1980, "{begins}");
        }
    }

    #[test]
    fn what_is_vended_in_steady_state_has_twenty_minutes_left() {
        for lifetime in (3000..=43_200).step_by(100) {
            let role = role("a", 3600);
            let issued = credentials(&role, at(0), Duration::from_secs(lifetime), 1);
            let latest = RoleState::Pending
                .after(Ok(issued), KEEP, at(0), Jitter::new(1.0))
                .next_attempt(at(0));
            assert!(at(lifetime) - Duration::from_secs(1200) >= latest, "{lifetime}");
        }
    }

    fn remaining(seconds: u64) -> RefreshPolicy {
        RefreshPolicy { min_remaining: Duration::from_secs(seconds), ..KEEP }
    }

    #[test]
    fn what_is_vended_in_steady_state_has_min_remaining_left() {
        for (granted, wanted) in
            [(3600, 1800), (3600, 2700), (43_200, 32_400), (43_200, 3600), (900, 600)]
        {
            let role = role("a", 3600);
            for before in [RoleState::Pending, issued(3600)] {
                for jitter in [0.0, 0.5, 1.0] {
                    let issued = credentials(&role, at(0), Duration::from_secs(granted), 1);
                    let next = before
                        .clone()
                        .after(Ok(issued), remaining(wanted), at(0), Jitter::new(jitter))
                        .next_attempt(at(0));
                    let left = at(granted).duration_since(next).unwrap().as_secs();
                    assert!(left > wanted, "{left} s of {granted} for {wanted}");
                    assert!(next >= at(granted / 20), "too soon: {granted} for {wanted}");
                }
            }
        }
    }

    #[test]
    fn of_less_than_was_asked_for_three_quarters_are_kept() {
        let role = role("a", 3600);
        for granted in [60, 900, 1800] {
            let issued = credentials(&role, at(0), Duration::from_secs(granted), 1);
            let next = RoleState::Pending
                .after(Ok(issued), remaining(2700), at(0), Jitter::LATEST)
                .next_attempt(at(0));
            let left = at(granted).duration_since(next).unwrap().as_secs();
            assert!((granted * 3 / 4..granted * 4 / 5).contains(&left), "{left} s of {granted}");
        }
    }

    #[test]
    fn a_reload_that_asks_for_more_holds_at_once_and_loses_nothing() {
        let with = |more: &str| {
            let config = config(&["a"], 3600, more);
            config.roles.into_values().next().unwrap()
        };
        let more = with("min_remaining = \"40m\"");
        let before = issued(3600);
        assert_eq!(before.next_attempt(at(0)), at(1800));
        let after = before.clone().presented_for(&more);
        // 40 minutes and a minute for the way to STS.
        assert_eq!(after.next_attempt(at(0)), at(3600 - 2460));
        let again = after.clone().presented_for(&more);
        assert_eq!(again.next_attempt(at(0)), after.next_attempt(at(0)));
        let back = after.clone().presented_for(&with(""));
        assert_eq!(back.next_attempt(at(0)), after.next_attempt(at(0)));
        let same = before.clone().presented_for(&with("min_remaining = \"20m\""));
        assert_eq!(same.next_attempt(at(0)), before.next_attempt(at(0)));
        let failing = after.after(Err(error(Class::Denied)), more.terms, at(1200), middle());
        assert!(failing.vend(at(3599)).is_ok(), "vended to its end");
        let failing = failing.presented_for(&more);
        assert!(failing.vend(at(3599)).is_ok() && failing.failures().is_some());
    }

    #[test]
    fn a_failed_refresh_keeps_what_works_until_it_ends() {
        for class in Class::ALL {
            let state = issued(3600).after(Err(error(class)), KEEP, at(1800), middle());
            assert_eq!(state.phase(at(1800)), Phase::Stale);
            assert!(state.vend(at(3599)).is_ok(), "{class}");
            assert_eq!(state.vend(at(3600)).err(), Some(Phase::Expired), "{class}");
        }
    }

    #[test]
    fn a_denied_refresh_drops_credentials_only_where_the_operator_said_so() {
        let state = issued(3600).after(Err(error(Class::Denied)), DROP, at(1800), middle());
        assert_eq!(state.vend(at(1801)).err(), Some(Phase::Failed));
        let state = issued(3600).after(Err(error(Class::Network)), DROP, at(1800), middle());
        assert!(state.vend(at(1801)).is_ok());
    }

    #[test]
    fn at_least_four_attempts_fit_between_the_first_failure_and_expiry() {
        for class in Class::ALL {
            let mut state = issued(3600);
            let mut now = at(1800);
            let mut attempts = 0;
            while now < at(3600) {
                state = state.after(Err(error(class)), KEEP, now, Jitter::new(1.0));
                attempts += 1;
                now = state.next_attempt(now);
            }
            assert!(attempts > 4, "{class}: {attempts} attempts");
        }
    }

    #[test]
    fn a_missing_source_is_tried_again_at_once_and_then_with_patience() {
        let state = RoleState::Pending.after(Err(error(Class::Source)), KEEP, at(0), middle());
        assert_eq!(state.next_attempt(at(0)), at(0));
        let state = state.after(Err(error(Class::Source)), KEEP, at(0), middle());
        assert_eq!(state.next_attempt(at(0)), at(0) + Duration::from_millis(250));
    }

    #[test]
    fn troubles_that_take_turns_are_each_waited_out() {
        let mut state = RoleState::Pending;
        let mut now = at(0);
        let mut waits = Vec::new();
        for class in [Class::Source, Class::Network, Class::Clock].repeat(10) {
            state = state.after(Err(error(class)), KEEP, now, Jitter::LATEST);
            waits.push(state.next_attempt(now).duration_since(now).unwrap());
            now = state.next_attempt(now);
        }
        let seconds = Duration::from_secs;
        let (first, last) = (&waits[..3], &waits[27..]);
        assert_eq!(first, [Duration::ZERO, Duration::from_millis(250), Duration::ZERO]);
        assert_eq!(last, [seconds(60), seconds(30), seconds(60)]);
    }

    #[test]
    fn a_wait_that_sts_asked_for_is_kept() {
        let asked =
            IssueError { retry_after: Some(Duration::from_secs(77)), ..error(Class::Throttled) };
        let state = RoleState::Pending.after(Err(asked), KEEP, at(0), middle());
        assert_eq!(state.next_attempt(at(0)), at(77));
    }

    #[test]
    fn a_clock_that_steps_back_costs_an_early_attempt_not_a_late_one() {
        let state = issued(3600);
        let year_ago = at(0) - Duration::from_secs(365 * 86_400);
        assert_eq!(state.next_attempt(year_ago), year_ago);
        let failing = RoleState::Pending.after(Err(error(Class::Denied)), KEEP, at(0), middle());
        assert_eq!(failing.next_attempt(year_ago), year_ago);
    }

    /// Random lives: whatever happens in whatever order, the invariants in the head of this file hold.
    #[test]
    fn invariants_hold_in_random_lives() {
        let seed =
            std::env::var("ROLETAP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
        let mut random = fastrand::Rng::with_seed(seed);
        for life in 0..300 {
            let role = role("a", 3600);
            let mut state = RoleState::Pending;
            let mut now = at(0);
            let mut in_hand: Option<SystemTime> = None;
            for step in 0..200 {
                let told = format!("seed {seed}, life {life}, step {step}");
                let due = state.next_attempt(now);
                assert_eq!(due, state.next_attempt(now), "asking twice: {told}");
                assert!(
                    due <= now + Duration::from_secs(43_200),
                    "never later than the longest session: {told}"
                );
                if due > now && random.u8(..) < 200 {
                    now = due;
                } else {
                    now += Duration::from_millis(random.u64(0..60_000));
                }
                let outcome = if random.u8(..) < 100 {
                    let lifetime = Duration::from_secs(random.u64(5..43_200));
                    in_hand = Some(now + lifetime);
                    Ok(credentials(&role, now, lifetime, step))
                } else {
                    Err(error(Class::ALL[random.usize(..Class::ALL.len())]))
                };
                state = state.after(outcome, KEEP, now, Jitter::new(random.f64()));
                match (in_hand, state.vend(now)) {
                    (Some(end), Ok(vended)) => {
                        assert!(now < vended.expires_at(), "never a past expiry: {told}");
                        assert!(vended.expires_at() <= end, "{told}");
                    }
                    (Some(end), Err(_)) => {
                        assert!(
                            now + Duration::from_secs(1) >= end,
                            "what works was taken away: {told}"
                        );
                    }
                    (None, vended) => assert!(vended.is_err(), "{told}"),
                }
                let retry = state.failures().map(|failures| failures.retry_at);
                if let (Some(retry), Some(end)) = (retry, in_hand.filter(|end| *end > now)) {
                    assert!(retry <= end.max(now + LONGEST_RETRY), "{told}");
                }
            }
        }
    }
}
