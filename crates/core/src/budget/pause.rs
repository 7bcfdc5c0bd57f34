//! How long the host stays away from STS once that has throttled it, and what it remembers of it: pure.

use std::time::{Duration, Instant};

use super::Urgency;
use crate::backoff::Jitter;

const PAUSE_BASE: Duration = Duration::from_secs(1);
const PAUSE_CAP: Duration = Duration::from_secs(15);
/// How many times longer a role pauses that nobody misses.
const PATIENCE: u32 = 8;
/// The longest that it waits, however often others are throttled meanwhile.
const OTHERS_CAP: Duration = Duration::from_secs(120);
/// The longest wait that STS may ask for.
const ASKED_CAP: Duration = Duration::from_secs(120);
/// The share of the remembered pause that a good answer leaves.
const MEMORY_LEFT: f64 = 0.95;
/// A throttled answer this long ago says nothing about now.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
const EXCEPTION_EVERY: Duration = Duration::from_secs(10);

/// The memory of throttled answers of STS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throttled {
    /// The time of the last throttled answer.
    at: Instant,
    /// The longest length of the last pause, less what good answers have taken off since: the memory.
    ceiling: Duration,
    /// The end of the pause for roles that are missed.
    pub(super) until: Instant,
    /// The end of the pause for all other roles.
    pub(super) others_until: Instant,
    /// Since when they have waited for it.
    pub(super) others_since: Option<Instant>,
    /// When one last passed whose credentials were about to end.
    pub(super) last_exception: Option<Instant>,
}

impl Throttled {
    /// Once more, or for the first time; `retry_after` is what STS has asked for.
    pub(super) fn again(
        before: Option<Self>,
        retry_after: Option<Duration>,
        now: Instant,
        jitter: Jitter,
    ) -> Self {
        let asked_until = now + retry_after.unwrap_or_default().min(ASKED_CAP);
        let before = before.filter(|before| now < before.at + FORGOTTEN_AFTER);
        let ceiling = match before {
            // Others in flight when the pause began: one event, not eight.
            Some(before) if now < before.until => {
                return Self {
                    until: before.until.max(asked_until),
                    others_until: before.others_until.max(asked_until),
                    ..before
                };
            }
            Some(before) => (before.ceiling * 2).clamp(PAUSE_BASE, PAUSE_CAP),
            None => PAUSE_BASE,
        };
        // At least half: the memory settles on a length, and a pause drawn near zero would not keep to it.
        let pause = ceiling / 2 + jitter.of(ceiling / 2);
        // Or somebody who is missed and throttled for ever would keep the others waiting for ever.
        let others_since = before.and_then(|before| before.others_since).unwrap_or(now);
        let others_until = (now + pause * PATIENCE).min(others_since + OTHERS_CAP);
        Self {
            at: now,
            ceiling,
            until: asked_until.max(now + pause),
            others_until: asked_until.max(others_until),
            others_since: Some(others_since),
            last_exception: before.and_then(|before| before.last_exception),
        }
    }

    /// `None` when nothing is left to remember.
    pub(super) fn after_good_answer(self, now: Instant) -> Option<Self> {
        if now < self.until {
            // From before the pause: it says nothing about its end.
            return Some(self);
        }
        let ceiling = self.ceiling.mul_f64(MEMORY_LEFT);
        let remembered = ceiling >= PAUSE_BASE && now < self.at + FORGOTTEN_AFTER;
        (remembered || now < self.others_until).then_some(Self { ceiling, ..self })
    }

    /// How long the host stays away for such a role.
    pub(super) fn pauses_until(&self, urgency: Urgency, now: Instant) -> Instant {
        let exception = self.last_exception.map_or(now, |last| last + EXCEPTION_EVERY);
        match urgency {
            Urgency::Ending => exception.min(self.until),
            Urgency::EndingSoon | Urgency::AskedAndEmpty => self.until,
            Urgency::Asked | Urgency::Unasked => self.others_until,
        }
    }
}
