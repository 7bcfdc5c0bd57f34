//! The status that systemd is told, and its watchdog.

use std::time::Duration;

use tokio::time::Instant;

use crate::systemd;

/// Until roletap is ready, readiness is looked at this often.
const READINESS_INTERVAL: Duration = Duration::from_millis(20);
/// The status is sent this often, if the watchdog does not want to hear more often.
const STATUS_INTERVAL: Duration = Duration::from_secs(30);
/// Every refresher ticks at least every nap of 30 s. When none does for this long, scheduling is
/// stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// Sends the status at intervals, and feeds the watchdog while refreshers make progress.
pub(super) struct StatusReporter {
    has_watchdog: bool,
    interval: Duration,
    monitor: ProgressMonitor,
    sent_at: Option<Instant>,
    /// Moved only when it has come: events, however many, must not put it off.
    next: Option<Instant>,
}

impl StatusReporter {
    pub(super) fn new() -> Self {
        let watchdog = systemd::watchdog().map(|timeout| timeout / 3);
        Self {
            has_watchdog: watchdog.is_some(),
            interval: watchdog.unwrap_or(STATUS_INTERVAL).min(STATUS_INTERVAL),
            monitor: ProgressMonitor::new(),
            sent_at: None,
            next: Some(Instant::now()),
        }
    }

    /// Waits until [`StatusReporter::report`] is due. Cancel-safe.
    pub(super) async fn due(&self) {
        match self.next {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Sends the status if it is time for it. `ticks` counts those of all refreshers.
    pub(super) fn report(&mut self, ready: bool, ticks: u64, status: impl FnOnce() -> String) {
        if self.sent_at.is_none_or(|at| at.elapsed() >= self.interval) {
            self.sent_at = Some(Instant::now());
            if self.has_watchdog && self.monitor.advanced(ticks) {
                systemd::feed_watchdog();
            }
            systemd::status(&status());
        }
        let pause = if ready { self.interval } else { READINESS_INTERVAL };
        self.next = (!ready || systemd::is_there()).then(|| Instant::now() + pause);
    }
}

/// Notices when refreshers stop making progress.
struct ProgressMonitor {
    ticks: u64,
    since: Instant,
}

impl ProgressMonitor {
    fn new() -> Self {
        Self { ticks: 0, since: Instant::now() }
    }

    /// Returns true if `ticks` has changed within [`STUCK_AFTER`].
    fn advanced(&mut self, ticks: u64) -> bool {
        if ticks != self.ticks {
            *self = Self { ticks, since: Instant::now() };
        }
        self.since.elapsed() < STUCK_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_starves_when_scheduling_makes_no_progress() {
        let mut monitor = ProgressMonitor::new();
        for ticks in 1..10 {
            tokio::time::advance(STUCK_AFTER - Duration::from_secs(1)).await;
            assert!(monitor.advanced(ticks));
        }
        tokio::time::advance(STUCK_AFTER).await;
        assert!(!monitor.advanced(9));
        assert!(monitor.advanced(10), "what moves again is fed again");
    }
}
