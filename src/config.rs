//! From text to [`Config`], collecting every problem on the way.
//!
//! The only way to own a [`Config`] is to have parsed it: whoever has one need not check it again. Parsing is pure;
//! what depends on the machine comes through [`Host`]. It asks nothing of AWS and never looks at whether a group, an
//! address or a role exists; only users are looked up, since a role is kept for them by number.

mod check;
mod diagnostics;
mod files;
mod forecast;
mod host;
mod keys;
mod lint;
mod load;
mod resolve;
mod toml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use check::{Check, refusal_json};
pub use diagnostics::{Problem, Report, Severity, redacted};
pub use files::ConfigFile;
pub use forecast::{Forecast, STS_QUOTA_PER_SECOND, mean_interval};
pub use host::{Directory, FixedHost, Host};
pub use load::Loaded;

use crate::role::{Role, RoleName, Source, SourceName};

/// A configuration without a problem. The only way to own one is to have parsed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: Log,
    /// `[imds.*]`, by name.
    pub imds: BTreeMap<ImdsName, Imds>,
    /// `[sts]`
    pub sts: Sts,
    /// `[source.*]`, by name, and the default one where it is not written.
    pub sources: BTreeMap<SourceName, Arc<Source>>,
    /// `[role.*]`, by name.
    pub roles: BTreeMap<RoleName, Arc<Role>>,
    _parsed: Parsed,
}

/// Nobody outside of this module can write one, so nobody can write a [`Config`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parsed;

/// The credentials endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where to listen; the first is what `roletap env` prints.
    pub listen: Vec<SocketAddr>,
    /// Where token files are written.
    pub token_dir: PathBuf,
    /// How long a request may wait for a pending role's first attempt, at most.
    pub pending_wait: Duration,
    /// Connections served at once; more wait in the backlog.
    pub max_connections: usize,
    /// How long shutdown waits for connections.
    pub shutdown_grace: Duration,
}

/// The admin endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where to listen; empty turns it off.
    pub listen: Vec<SocketAddr>,
}

/// An instance metadata service with one role, for clients that know neither our endpoint nor a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imds {
    /// The name in `[imds.NAME]`.
    pub name: ImdsName,
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Who opens what it listens on.
    pub socket: FrontSocket,
    /// The one role that it serves.
    pub role: RoleName,
    /// Whether a session token has to be shown.
    pub http_tokens: HttpTokens,
    /// How many hops an answer may make.
    pub hop_limit: u8,
    /// What clients are told that ask where they are; else they are told nothing.
    pub region: Option<String>,
}

/// The name of an `[imds.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImdsName(String);

/// Who opens the socket of a front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontSocket {
    /// Only systemd. An address that is meant for another network namespace must not be opened in ours.
    Systemd,
    /// We do, where systemd holds none.
    Whoever,
}

/// EC2's `HttpTokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpTokens {
    /// Version 1 is answered, too.
    Optional,
    /// Version 2 only.
    Required,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// The least level that is written.
    pub level: LogLevel,
    /// Where audit lines go.
    pub audit: AuditSink,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// Fields, sent to journald.
    Journald,
}

/// The least level that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Where audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSink {
    /// With the logs.
    Stderr,
    /// As fields to journald.
    Journald,
    /// Appended to this file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// How STS is reached and how hard it may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sts {
    /// Home: the region whose endpoint is used.
    pub region: String,
    /// Those that stand in when home does not answer, in order.
    pub fallback_regions: Vec<String>,
    /// Instead of the regional endpoints: tests, VPC endpoints. May hold `{region}`.
    endpoint_url: Option<String>,
    /// The FIPS endpoint.
    pub use_fips: bool,
    /// The dual-stack endpoint.
    pub use_dual_stack: bool,
    /// The host's rate, calls per second.
    pub max_requests_per_second: u32,
    /// The host's calls in flight.
    pub max_in_flight: usize,
    /// For the TCP and TLS handshakes.
    pub connect_timeout: Duration,
    /// For one attempt as a whole.
    pub attempt_timeout: Duration,
    /// Emulators only: sessions under 900 seconds.
    pub unsafe_short_sessions: bool,
    /// The accounts of our own company; every other is somebody else's. Empty: nothing is said about accounts.
    pub own_account_ids: Vec<String>,
}

impl Sts {
    /// Whether an account is somebody else's; `None` where nobody said which are ours.
    pub fn is_foreign(&self, account_id: &str) -> Option<bool> {
        let own = &self.own_account_ids;
        (!own.is_empty() && !account_id.is_empty())
            .then(|| !own.iter().any(|own| own == account_id))
    }

    /// Home, then those that stand in for it.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.region).chain(&self.fallback_regions).map(String::as_str)
    }

    /// The endpoint of one's own that stands for STS in this region.
    pub fn endpoint_url(&self, region: &str) -> Option<String> {
        let url = self.endpoint_url.as_deref()?;
        Some(url.replace(keys::region::PLACEHOLDER, region))
    }
}
