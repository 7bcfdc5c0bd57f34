//! What the process asks of the kernel about itself before it does anything else.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that are no clients': the admin endpoint, STS, logs, token files, children's pipes.
const RESERVE: usize = 128;
/// Fewer connections at once are no service.
const LEAST: usize = 16;

/// No core dumps, and no memory for other processes of our user to read. Best effort: a container may forbid it.
pub(super) fn close_to_onlookers() {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = prctl::set_dumpable(false);
}

/// Makes room for this many connections, and says for how many there is.
pub(super) fn room_for(max_connections: usize) -> usize {
    let needed = max_connections + RESERVE;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return max_connections;
    };
    let needed_here = needed as u64;
    if soft >= needed_here {
        return max_connections;
    }
    let wanted = needed_here.min(hard);
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        Err(_) => soft,
    };
    let room = places(limit, max_connections);
    if room < max_connections {
        tracing::warn!(
            limit,
            needed,
            "only {limit} file descriptors are allowed, so at most {room} connections are served at once, not \
             {max_connections}: set LimitNOFILE={needed} in the unit (`ulimit -Hn` elsewhere), or lower \
             `server.max_connections`"
        );
    }
    room
}

fn places(limit: u64, max_connections: usize) -> usize {
    let left = usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .saturating_sub(RESERVE);
    max_connections.min(left.max(LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_never_for_clients() {
        assert_eq!(places(20_000, 1024), 1024);
        assert_eq!(places(1024, 1024), 896);
        assert_eq!(places(100, 1024), 16);
        assert_eq!(places(100, 8), 8);
        assert_eq!(places(u64::MAX, 65_536), 65_536);
    }
}
