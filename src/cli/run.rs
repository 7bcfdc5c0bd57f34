//! `roletap run`: everything that can fail at start fails here, before anything is issued.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use nix::errno::Errno;

use super::hardening::{ConnectionLimits, connection_limits, disable_core_dumps_and_ptrace};
use super::{ExitStatus, Failure, environment, in_color, load};
use crate::audit::Audit;
use crate::daemon::{Daemon, IMDS_CONNECTIONS, Prepared, PreparedEndpoints, PreparedImds};
use crate::fd_store::FdStore;
use crate::listeners::{self, BindPolicy, CannotOpen, HopLimit, Listeners};
use crate::server::imds::SessionKey;
use crate::signals;
use crate::systemd;
use crate::tokens::{self, TokenProblem, imds_key};
use roletap_core::config::{Config, FrontSocket, Imds, Loaded};
use roletap_core::snapshot::Snapshot;

/// The time for threads that still read a file at the end; one on a hung mount never finishes.
const READER_SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs the daemon until a signal ends it.
pub fn run(path: &Path) -> Result<(), Failure> {
    environment::reexec_sanitized()?;
    disable_core_dumps_and_ptrace();
    let mut handed =
        systemd::handed_over().map_err(Failure::when("cannot take what systemd hands over"))?;
    let loaded = load(path, "nothing was started")?;
    let config = &loaded.config;
    let events = signals::listen().map_err(Failure::when("cannot listen to signals"))?;
    let (audit, _audit_guard) = Audit::open(&config.log.audit)
        .map_err(Failure::when("cannot open the audit log (`log.audit`)"))?;
    let hint = "cannot reach journald (`log.format`): is it running? else use \"text\"";
    let _log_guard = crate::log::start(&config.log).map_err(Failure::when(hint))?;
    log_warnings(&loaded);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::when("cannot start the control thread"))?;
    let inside = runtime.enter();
    let clock = SharedTimeSource::new(SystemTimeSource::new());
    let (endpoints, admin) = open_endpoints(config, &mut handed)?;
    let (store, kept) = kept(&mut handed);
    let before = kept.as_ref().map(|kept| kept.tokens.clone()).unwrap_or_default();
    let tokens =
        tokens::prepare(config, &before, clock.now()).map_err(|problems| no_tokens(&problems))?;
    log_addresses(&endpoints, &admin);
    let path = path.to_owned();
    let prepared = Prepared { loaded, path, endpoints, admin, tokens, audit, clock, kept, store };
    let ended = runtime.block_on(async {
        let daemon = Daemon::start(prepared)
            .map_err(|error| Failure::new(ExitStatus::Failed, format!("cannot start: {error}")))?;
        daemon.run(events).await;
        Ok(())
    });
    drop(inside);
    runtime.shutdown_timeout(READER_SHUTDOWN_TIMEOUT);
    ended
}

fn log_warnings(loaded: &Loaded) {
    if let Some(names) = environment::removed_variables() {
        tracing::warn!(
            "removed {names} from the environment of roletap: the daemon must not fetch from itself"
        );
    }
    if !loaded.warnings.is_empty() {
        let report = loaded.warnings.render("", in_color(io::stderr()));
        tracing::warn!("{}", report.trim_end());
    }
}

/// Opens the sockets of all endpoints. They are registered with the runtime that this is called in.
fn open_endpoints(
    config: &Config,
    handed: &mut Vec<(String, OwnedFd)>,
) -> Result<(PreparedEndpoints, Listeners), Failure> {
    let mut open = |name: &str, key: &str, addresses: &[SocketAddr], hops, policy| {
        let inherited = listeners::named(name, handed);
        Listeners::open(key, addresses, inherited, hops, policy)
            .map_err(|error| cannot_open(name, key, error))
    };
    let (hops, policy) = (HopLimit::ByAddress, BindPolicy::BindIfMissing);
    let credentials = open("credentials", "server.listen", &config.server.listen, hops, policy)?;
    let admin = open("admin", "admin.listen", &config.admin.listen, hops, policy)?;
    let imds = open_imds(config, open)?;
    let (credentials_limit, each_front) = (config.server.max_connections, IMDS_CONNECTIONS);
    let asked = ConnectionLimits { credentials: credentials_limit, each_front };
    let room = connection_limits(asked, imds.len());
    let (max_connections, max_imds_connections) = (room.credentials, room.each_front);
    let endpoints = PreparedEndpoints { credentials, max_connections, imds, max_imds_connections };
    Ok((endpoints, admin))
}

fn log_addresses(endpoints: &PreparedEndpoints, admin: &Listeners) {
    let imds = endpoints.imds.iter().map(|endpoint| (&endpoint.listeners, "imds"));
    let all = [(&endpoints.credentials, "credentials"), (admin, "admin")].into_iter().chain(imds);
    for ((listener, inherited), purpose) in
        all.flat_map(|(listeners, purpose)| listeners.iter().map(move |found| (found, purpose)))
    {
        let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            address,
            held_by_systemd = inherited,
            "listening for {purpose}"
        );
    }
}

fn cannot_open(name: &str, key: &str, error: CannotOpen) -> Failure {
    match error {
        CannotOpen::Bind(address, error) => {
            let what_to_do = hint(address, &error);
            Failure::io(&error, format!("cannot listen on {address} (`{key}`): {what_to_do}"))
        }
        CannotOpen::NotHeld(address) => Failure::new(
            ExitStatus::Unavailable,
            format!(
                "systemd holds no socket for {address} (`{key}`), and `{name}.socket` says that only systemd may open it: start a socket \
                 unit with ListenStream={address}, FileDescriptorName={name} and Service=roletap.service, and then roletap by its \
                 unit (docs/fronts.md)"
            ),
        ),
    }
}

/// Returns what an operator does about an address that cannot be bound.
fn hint(address: SocketAddr, error: &io::Error) -> String {
    let ip = address.ip();
    let errno = error.raw_os_error().map(Errno::from_raw);
    if errno == Some(Errno::EADDRINUSE) {
        "is another roletap running there?".to_owned()
    } else if errno == Some(Errno::EACCES) && address.port() < 1024 {
        format!(
            "port {} is for root and who has CAP_NET_BIND_SERVICE: let a socket unit of systemd listen there, or use a port from \
             1024 on",
            address.port()
        )
    } else if matches!(errno, Some(Errno::EMFILE | Errno::ENFILE)) {
        "raise LimitNOFILE= of the unit (`ulimit -n` elsewhere)".to_owned()
    } else if errno != Some(Errno::EADDRNOTAVAIL) {
        "is it an address of this host?".to_owned()
    } else if ip.is_loopback() {
        format!("no interface has {ip}: bring up `lo`, or listen elsewhere")
    } else {
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        format!(
            "no interface of this host has {ip}: add it to loopback (`ip address add {ip}/{bits} dev lo`), or let a socket unit of \
             systemd listen where it is, in the network namespace of the sink (docs/fronts.md)"
        )
    }
}

/// Opens the endpoints of `[imds.*]`.
fn open_imds(
    config: &Config,
    mut open: impl FnMut(&str, &str, &[SocketAddr], HopLimit, BindPolicy) -> Result<Listeners, Failure>,
) -> Result<Vec<PreparedImds>, Failure> {
    if config.imds.is_empty() {
        return Ok(Vec::new());
    }
    let dir = &config.server.token_dir;
    let doing = format!("cannot use the key of session tokens, {}/.imds", dir.display());
    let key = imds_key(dir).map_err(Failure::when(doing))?;
    let one = |imds: &Imds| {
        let name = format!("imds.{}", imds.name);
        let key_of_listen = format!("{name}.listen");
        let hops = HopLimit::AtMost(imds.hop_limit);
        let policy = match imds.socket {
            FrontSocket::Systemd => BindPolicy::InheritedOnly,
            FrontSocket::Whoever => BindPolicy::BindIfMissing,
        };
        Ok(PreparedImds {
            listeners: open(&name, &key_of_listen, &imds.listen, hops, policy)?,
            session: SessionKey::of(&key, imds.name.as_str()),
            imds: imds.clone(),
        })
    };
    config.imds.values().map(one).collect()
}

/// Returns the state that the previous process left, and the place to leave it for the next. Closes
/// everything else that systemd handed over.
fn kept(handed: &mut Vec<(String, OwnedFd)>) -> (Option<FdStore>, Option<Snapshot>) {
    let (store, kept) = FdStore::open(handed);
    for (name, _) in handed.drain(..) {
        tracing::warn!(
            name,
            "systemd handed over `{name}`, which is neither `credentials`, `admin`, `imds.NAME` nor the state that roletap stores there; it is closed"
        );
    }
    if !systemd::is_there() {
        tracing::info!(
            "not started by systemd with Type=notify: after a restart every role is assumed anew"
        );
        return (None, None);
    }
    if kept.is_none() && !systemd::has_store() {
        tracing::info!(
            "systemd does not say that it keeps descriptors (it does from 254 on, where FileDescriptorStoreMax= is set): \
             if it keeps none, every role is assumed anew after a restart"
        );
    }
    (Some(store), kept)
}

fn no_tokens(problems: &[TokenProblem]) -> Failure {
    let status = match problems.iter().any(|problem| problem.not_permitted) {
        true => ExitStatus::NotPermitted,
        false => ExitStatus::Unavailable,
    };
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Failure::new(status, lines.join("\nerror: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_about_an_address_depends_on_what_is_wrong_with_it() {
        for (address, errno, part) in [
            ("127.0.0.1:80", Errno::EADDRINUSE, "another roletap"),
            ("127.0.0.1:80", Errno::EACCES, "CAP_NET_BIND_SERVICE"),
            (
                "169.254.169.254:80",
                Errno::EADDRNOTAVAIL,
                "`ip address add 169.254.169.254/32 dev lo`",
            ),
            (
                "[fd00:ec2::254]:80",
                Errno::EADDRNOTAVAIL,
                "`ip address add fd00:ec2::254/128 dev lo`",
            ),
            ("[::1]:80", Errno::EADDRNOTAVAIL, "bring up `lo`"),
            ("127.0.0.1:8080", Errno::EACCES, "an address of this host"),
            ("127.0.0.1:8080", Errno::EMFILE, "LimitNOFILE="),
        ] {
            let error = io::Error::from_raw_os_error(errno as i32);
            let hint = hint(address.parse().unwrap(), &error);
            assert!(hint.contains(part), "{address}, {errno}: {hint}");
        }
    }
}
