//! Fronts of `[imds.*]`, as seen from here: an address in another network namespace is not.

use std::net::SocketAddr;

use super::Finding;

/// One address of a front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front<'a> {
    /// The name in `[imds.NAME]`.
    pub name: &'a str,
    /// The role that it serves.
    pub role: &'a str,
    /// The address on which it listens.
    pub address: SocketAddr,
    /// Nobody else opens it.
    pub is_systemds: bool,
    /// The daemon answers at its admin endpoint.
    pub daemon_runs: bool,
    /// The result of a request to that address.
    pub seen: Seen,
}

/// The answer that a client of an IMDS endpoint would get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// No interface here has the address.
    NotHere,
    /// Nobody accepts connections, or nobody answers.
    Silent(String),
    /// Somebody answers, who is not this front.
    Stranger(String),
    /// The front names another role.
    OtherRole(String),
    /// It answers a request for the role's credentials.
    Answered {
        /// The HTTP status of the answer.
        status: u16,
        /// The error code that roletap puts into a refusal; empty if there is none.
        code: String,
    },
}

/// Reports on one IMDS endpoint.
pub fn finding(front: &Front<'_>) -> Finding {
    let Front { name, role, address, .. } = front;
    let at = format!("imds.{name} at {address}");
    let good = |what: String| Finding::good("front", what);
    let note = |what: String| Finding::note("front", what);
    let failed = |what: String| Finding::failed("front", what);
    match &front.seen {
        Seen::NotHere if front.daemon_runs || front.is_systemds => note(format!(
            "imds.{name} cannot be asked from here: no interface has {}, so its socket lies in another network namespace",
            address.ip()
        )),
        Seen::NotHere => failed(format!("imds.{name} is to listen at {address}, and no interface of this host has that address"))
            .means("unless systemd holds the socket, the daemon does not start, with all its roles")
            .change("add the address to loopback (`ip address add`), or have a socket unit listen in the sink's network namespace and set \
                 `socket = \"systemd\"` (docs/fronts.md)"),
        Seen::Silent(what) if front.daemon_runs => {
            Finding::warning("front", format!("nobody answers for {at} here: {what}"))
                .means("it lies in another network namespace, or nobody opens it; the log of the daemon's start names where it listens")
                .change(format!(
                    "if its clients are here: restart the daemon (a reload adds no front), and see that \
                     `FileDescriptorName=imds.{name}` of a socket unit is in this namespace"
                ))
        }
        Seen::Silent(_) => note(format!("nobody answers for {at}: the daemon does not run")),
        Seen::Stranger(what) => failed(format!("what answers at {address} is not imds.{name}: {what}"))
            .means("clients get what somebody else has for them: instance metadata of the host itself, or another program")
            .change("listen elsewhere, or in a network namespace of the sink (docs/fronts.md)"),
        Seen::OtherRole(other) => failed(format!("{at} serves the role `{other}`, not `{role}`"))
            .means("the configuration was changed after the daemon read it, or something else answers there: another daemon, or the \
                 metadata of the host itself")
            .change("reload it (`systemctl reload roletap`); if that does not help, see who listens there (`ss -ltnp`)"),
        Seen::Answered { status: 200, .. } => {
            good(format!("{at} answers with credentials of the role `{role}`"))
        }
        Seen::Answered { status: 403, code } if code == "CallerNotAllowed" => note(format!(
            "{at} is not for who asks here, by `allow_users` or `allow_units` of the role `{role}`: ask as the workload"
        )),
        Seen::Answered { status, code } => failed(format!("{at} answers HTTP {status} {code} for the role `{role}`"))
            .means("its clients get this too, and have no other way")
            .change("look at what the daemon says about the role, above"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Mark;

    #[test]
    fn a_front_that_is_elsewhere_is_no_failure_unless_we_would_have_to_open_it() {
        let silent = || Seen::Silent("refused".to_owned());
        for (seen, is_systemds, daemon_runs, mark) in [
            (Seen::NotHere, false, false, Mark::Failed),
            (Seen::NotHere, true, false, Mark::Note),
            (Seen::NotHere, false, true, Mark::Note),
            (silent(), false, true, Mark::Warning),
            (silent(), true, true, Mark::Warning),
            (silent(), false, false, Mark::Note),
        ] {
            let front = Front {
                name: "files",
                role: "orders",
                address: ([169, 254, 169, 254], 80).into(),
                is_systemds,
                daemon_runs,
                seen,
            };
            let found = finding(&front);
            assert_eq!(found.mark, mark, "{found:?}");
        }
    }
}
