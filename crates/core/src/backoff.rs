//! Exponential back-off with full jitter. Pure: the caller draws the random number.

use std::time::Duration;

/// Waits that double from `base` to `cap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure.
    pub base: Duration,
    /// The longest wait after any number of failures.
    pub cap: Duration,
}

/// A random number from 0 to 1, drawn by the caller.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter(f64);

impl Backoff {
    /// Returns the longest wait after the `n`th failure in a row, `n` from 1.
    pub fn ceiling(self, n: u32) -> Duration {
        self.base.saturating_mul(1 << n.saturating_sub(1).min(16)).min(self.cap)
    }

    /// Returns the wait after the `n`th failure in a row, `n` from 1: anything from zero to the ceiling.
    pub fn delay(self, n: u32, jitter: Jitter) -> Duration {
        jitter.of(self.ceiling(n))
    }
}

impl Jitter {
    /// The longest wait that jitter allows.
    pub const LATEST: Self = Self(1.0);

    /// Takes a number from 0 to 1; any other number is brought into that range.
    pub fn new(fraction: f64) -> Self {
        Self(if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.5 })
    }

    /// Returns this share of `ceiling`.
    pub fn of(self, ceiling: Duration) -> Duration {
        ceiling.mul_f64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let backoff = Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(30) };
        for (n, millis) in [
            (0, 250),
            (1, 250),
            (2, 500),
            (7, 16_000),
            (8, 30_000),
            (9, 30_000),
            (u32::MAX, 30_000),
        ] {
            assert_eq!(backoff.ceiling(n), Duration::from_millis(millis), "{n}");
            assert_eq!(backoff.delay(n, Jitter::LATEST), Duration::from_millis(millis), "{n}");
            assert_eq!(backoff.delay(n, Jitter::new(0.0)), Duration::ZERO, "{n}");
        }
    }
}
