//! What the process asks of the kernel about itself before it does anything else.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that are no clients': the admin endpoint, STS, logs, token files, children's pipes.
const RESERVE: usize = 128;
/// And these for each front: its runtime and its socket.
const OF_A_FRONT: usize = 8;
/// Fewer connections at once are no service.
const LEAST: usize = 16;

/// Keeps memory out of core dumps and from other processes of this user. Best effort: a container may forbid it.
pub(super) fn disable_core_dumps_and_ptrace() {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = prctl::set_dumpable(false);
}

/// For how many connections at once there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionLimits {
    /// To the credentials endpoint.
    pub(super) credentials: usize,
    /// To each front of `[imds.*]`.
    pub(super) each_front: usize,
}

/// Makes room for this many connections to the credentials endpoint and to each of so many fronts, and says how much there
/// is.
pub(super) fn connection_limits(asked: ConnectionLimits, fronts: usize) -> ConnectionLimits {
    let reserve = RESERVE + fronts * OF_A_FRONT;
    let needed = asked.all(fronts) + reserve;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return asked;
    };
    let needed_here = needed as u64;
    if soft >= needed_here {
        return asked;
    }
    let wanted = needed_here.min(hard);
    let limit = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_or(soft, |()| wanted);
    let room = asked.within(limit, fronts, reserve);
    if room != asked {
        let ConnectionLimits { credentials, each_front } = room;
        let (asked_for, of_each) = (asked.credentials, asked.each_front);
        let of_fronts = match fronts {
            0 => String::new(),
            _ => format!(" and {each_front} to each front, not {of_each}"),
        };
        tracing::warn!(
            limit,
            needed,
            "only {limit} file descriptors are allowed, so at most {credentials} connections are served at once, not \
             {asked_for}{of_fronts}: set LimitNOFILE={needed} in the unit (`ulimit -Hn` elsewhere), or lower \
             `server.max_connections`"
        );
    }
    room
}

impl ConnectionLimits {
    fn all(self, fronts: usize) -> usize {
        self.credentials + fronts * self.each_front
    }

    /// As much as there is, in proportion to what was asked for; one for each door in any case.
    fn within(self, limit: u64, fronts: usize, reserve: usize) -> Self {
        let all = self.all(fronts);
        let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(reserve);
        let places = all.min(left.max(LEAST));
        let each_front = (places * self.each_front / all.max(1)).max(1);
        Self { credentials: places.saturating_sub(fronts * each_front).max(1), each_front }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(limit: u64, credentials: usize, fronts: usize) -> (usize, usize) {
        let asked = ConnectionLimits { credentials, each_front: 128 };
        let room = asked.within(limit, fronts, RESERVE);
        (room.credentials, room.each_front)
    }

    #[test]
    fn some_descriptors_are_never_for_clients() {
        assert_eq!(within(20_000, 1024, 0).0, 1024);
        assert_eq!(within(1024, 1024, 0).0, 896);
        assert_eq!(within(100, 1024, 0).0, 16);
        assert_eq!(within(100, 8, 0).0, 8);
        assert_eq!(within(u64::MAX, 65_536, 0).0, 65_536);
    }

    #[test]
    fn the_room_is_shared_in_proportion() {
        assert_eq!(within(20_000, 1024, 4), (1024, 128));
        assert_eq!(within(1024, 1024, 4), (600, 74));
        assert_eq!(within(256, 1024, 4), (88, 10));
        assert_eq!(within(0, 1024, 1), (15, 1));
        assert_eq!(within(0, 1024, 40), (1, 1));
        assert_eq!(within(0, 1, 40), (1, 1));
    }
}
