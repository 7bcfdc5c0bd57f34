//! What systemd is told, what it keeps for us, and what it hands over. Without `NOTIFY_SOCKET` and `LISTEN_FDS` all of it
//! is silence.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sd_notify::NotifyState;

/// How long systemd may take to have read everything that it was told.
const BARRIER_TIMEOUT: u16 = 2_000;

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

/// The process is going to end, after at most `patience`.
pub fn stopping(patience: Duration) {
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(u32::try_from(patience.as_micros()).unwrap_or(u32::MAX)),
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

/// Whether anything hears what is told.
pub fn is_there() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Whether it says that it keeps descriptors for us: from systemd 254 on, if `FileDescriptorStoreMax=` is set.
pub fn has_store() -> bool {
    std::env::var("FDSTORE").is_ok_and(|most| most.parse().is_ok_and(|most: u64| most > 0))
}

/// Has systemd keep a descriptor until this unit stops, beside others of that name.
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

/// Has it let go of all descriptors of that name.
pub fn forget(name: &str) {
    tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

/// Waits until systemd has read everything that it was told: it can no longer tell whose a message was once the process
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

/// What it hands over, by name: sockets that it holds open, descriptors that it has kept. To be asked once, first of all:
/// children do not inherit them from then on.
pub fn handed_over() -> io::Result<Vec<(String, OwnedFd)>> {
    // Looks whether they are open, and closes them to children.
    if sd_notify::listen_fds_with_names()?.len() == 0 {
        return Ok(Vec::new());
    }
    let all = sd_listen_fds::get().map_err(io::Error::other)?;
    let owned = |(name, descriptor): (Option<String>, sd_listen_fds::OwnedFd)| {
        (name.unwrap_or_default(), descriptor.into_std())
    };
    Ok(all.into_iter().map(owned).collect())
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
