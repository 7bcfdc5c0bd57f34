//! What systemd is told. Without `NOTIFY_SOCKET` all of it is silence.

use std::time::Duration;

use sd_notify::NotifyState;

/// Required roles have left pending, or the start has lasted long enough.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload has begun; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The process is going to end.
pub fn stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("draining connections"),
    ]);
}

/// What `systemctl status` shows.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Scheduling makes progress.
pub fn feed_watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// How long systemd waits for [`feed_watchdog`], if it does.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
