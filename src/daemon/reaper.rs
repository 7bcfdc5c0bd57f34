//! The duty of PID 1: to reap orphaned processes that have ended.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// Code that starts a process waits for its end within far less.
const UNCLAIMED_AFTER: Duration = Duration::from_secs(5);

/// Returns true if this process is the first of a container.
pub(super) fn is_init() -> bool {
    std::process::id() == 1
}

/// Reaps zombies that nothing waits for, for ever. Without it, a `credential_process` that leaves
/// processes running would leave a zombie behind each time.
pub(super) async fn reap_zombies() {
    let mut seen = None;
    loop {
        tokio::time::sleep(UNCLAIMED_AFTER).await;
        let zombie = first_zombie();
        seen = match zombie {
            Some(pid) if seen == zombie => {
                let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
                first_zombie()
            }
            Some(_) | None => zombie,
        };
    }
}

/// Returns a child that has ended, without reaping it.
fn first_zombie() -> Option<Pid> {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        return match waitid(Id::All, look) {
            Ok(status) => status.pid().filter(|_| status != WaitStatus::StillAlive),
            Err(Errno::EINTR) => continue,
            Err(_) => None,
        };
    }
}
