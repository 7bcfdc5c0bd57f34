//! What falls to PID 1: to reap_zombies the children of those that ended before them.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// Whoever started a process looks after it within far less.
const UNCLAIMED_AFTER: Duration = Duration::from_secs(5);

/// Whether this process is a container's first.
pub(super) fn is_init() -> bool {
    std::process::id() == 1
}

/// Buries what nobody looks after, for ever. A `credential_process` that leaves something running would else leave a dead
/// process behind each time.
pub(super) async fn reap_zombies() {
    let mut seen = None;
    loop {
        tokio::time::sleep(UNCLAIMED_AFTER).await;
        let dead = first_dead();
        seen = match dead {
            // Dead then and now: those that start processes here are not waiting for it.
            Some(pid) if seen == dead => {
                let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
                first_dead()
            }
            Some(_) | None => dead,
        };
    }
}

/// A child that has ended, left as it is.
fn first_dead() -> Option<Pid> {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        return match waitid(Id::All, look) {
            Ok(status) => status.pid().filter(|_| status != WaitStatus::StillAlive),
            Err(Errno::EINTR) => continue,
            Err(_) => None,
        };
    }
}
