//! The conversation with systemd: notifications, its descriptor store, and the sockets that it
//! hands over. Without `NOTIFY_SOCKET` and `LISTEN_FDS` nothing is said.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sd_notify::NotifyState;

/// Milliseconds that systemd may take to read its messages.
const BARRIER_TIMEOUT: u16 = 2_000;

/// Says that the service is ready, with this status.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that a reload has begun; [`ready`] says that it is over.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// Says that the process stops within `patience`.
pub fn stopping(patience: Duration) {
    notify(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(u32::try_from(patience.as_micros()).unwrap_or(u32::MAX)),
        NotifyState::Status("draining connections"),
    ]);
}

/// Sets the line that `systemctl status` shows.
pub fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// Resets the watchdog.
pub fn feed_watchdog() {
    notify(&[NotifyState::Watchdog]);
}

/// Returns the time that systemd waits for [`feed_watchdog`], if it does.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Returns true if systemd listens to notifications.
pub fn is_there() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Returns true if systemd says that it keeps descriptors: from 254 on, if
/// `FileDescriptorStoreMax=` is set.
pub fn has_store() -> bool {
    std::env::var("FDSTORE").is_ok_and(|most| most.parse().is_ok_and(|most: u64| most > 0))
}

/// Has systemd keep a descriptor until this unit stops, next to others of that name.
pub fn store(name: &str, descriptor: &OwnedFd) -> io::Result<()> {
    sd_notify::notify_with_fds(
        &[
            NotifyState::FdStore,
            NotifyState::FdName(name),
            // A memory file never hangs up.
            NotifyState::Custom("FDPOLL=0"),
        ],
        &[descriptor.as_fd()],
    )
}

/// Has systemd drop all descriptors of that name.
pub fn forget(name: &str) {
    notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

/// Waits until systemd has read its messages: it cannot tell whose a message was once the process
/// has ended.
pub fn wait_until_heard() {
    let heard = || -> io::Result<()> {
        let (ours, theirs) = io::pipe()?;
        sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()])?;
        drop(theirs);
        // The other end is closed when the message has been read.
        let mut closed = [PollFd::new(ours.as_fd(), PollFlags::empty())];
        poll(&mut closed, PollTimeout::from(BARRIER_TIMEOUT))?;
        Ok(())
    };
    if let Err(error) = heard() {
        tracing::debug!(%error, "systemd could not be waited for");
    }
}

/// Returns the sockets and stored descriptors that systemd hands over, by name. Has to be called
/// once, before anything is started: children do not inherit them from then on.
pub fn handed_over() -> io::Result<Vec<(String, OwnedFd)>> {
    // Checks that they are open, and closes them to children.
    if sd_notify::listen_fds_with_names()?.len() == 0 {
        return Ok(Vec::new());
    }
    let all = sd_listen_fds::get().map_err(io::Error::other)?;
    let owned = |(name, descriptor): (Option<String>, sd_listen_fds::OwnedFd)| {
        (name.unwrap_or_default(), descriptor.into_std())
    };
    Ok(all.into_iter().map(owned).collect())
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
