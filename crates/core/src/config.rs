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

/// The place of the region in an `endpoint_url`.
const REGION_PLACEHOLDER: &str = "{region}";

/// A configuration without a problem. The only way to own one is to have parsed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The settings of `[server]`.
    pub server: Server,
    /// The settings of `[admin]`.
    pub admin: Admin,
    /// The settings of `[log]`.
    pub log: Log,
    /// Every `[imds.*]`, by its name.
    pub imds: BTreeMap<ImdsName, Imds>,
    /// The settings of `[sts]`.
    pub sts: Sts,
    /// Every `[source.*]`, by its name; `default` is there even if nobody wrote it.
    pub sources: BTreeMap<SourceName, Arc<Source>>,
    /// Every `[role.*]`, by its name.
    pub roles: BTreeMap<RoleName, Arc<Role>>,
    _parsed: Parsed,
}

/// Only this module can construct one, so only parsing yields a [`Config`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parsed;

/// The credentials endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The addresses to listen on; `roletap env` prints the first.
    pub listen: Vec<SocketAddr>,
    /// The directory that token files are written to.
    pub token_dir: PathBuf,
    /// The longest time that a request waits for a pending role's first attempt; at most 1 s.
    pub pending_wait: Duration,
    /// The most connections served at once, 1 to 65,536; more wait in the backlog.
    pub max_connections: usize,
    /// The longest time that shutdown waits for connections; at most 300 s.
    pub shutdown_grace: Duration,
}

/// The configuration of the admin endpoint: `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The addresses to listen on; an empty list turns the endpoint off.
    pub listen: Vec<SocketAddr>,
}

/// An instance metadata service with one role, for clients that support no container endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imds {
    /// The name in `[imds.NAME]`.
    pub name: ImdsName,
    /// The addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// The process that opens its sockets.
    pub socket: FrontSocket,
    /// The one role that it serves.
    pub role: RoleName,
    /// The versions of the protocol that it answers.
    pub http_tokens: HttpTokens,
    /// The hop limit of its answers, 1 to 64.
    pub hop_limit: u8,
    /// The region that clients are told; `None` tells them nothing.
    pub region: Option<String>,
}

/// The name of an `[imds.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImdsName(String);

/// The process that opens the sockets of an instance metadata endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontSocket {
    /// Only systemd: an address that is meant for another network namespace must not be opened in roletap's.
    Systemd,
    /// roletap opens it where systemd has not.
    Whoever,
}

/// The versions of the instance metadata protocol: EC2's `HttpTokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpTokens {
    /// Versions 1 and 2: a session token is optional.
    Optional,
    /// Version 2 only: a session token is required.
    Required,
}

/// The format, level and audit sink of logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The format of log lines.
    pub format: LogFormat,
    /// The least level that is written.
    pub level: LogLevel,
    /// The destination of audit lines.
    pub audit: AuditSink,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Plain text for people.
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

/// The destination of audit lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSink {
    /// Standard error, with the logs.
    Stderr,
    /// The native protocol of journald, with fields.
    Journald,
    /// The end of this file.
    File(PathBuf),
    /// No audit lines at all.
    Off,
}

/// The endpoints of STS, and the limits for calling it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sts {
    /// The home region, whose endpoint is used.
    pub region: String,
    /// The regions that stand in, in this order, while home does not answer.
    pub fallback_regions: Vec<String>,
    /// Replaces the regional endpoints; may hold `{region}`.
    endpoint_url: Option<String>,
    /// True to use FIPS endpoints.
    pub use_fips: bool,
    /// True to use dual-stack endpoints.
    pub use_dual_stack: bool,
    /// The most calls per second of this host, 1 to 600.
    pub max_requests_per_second: u32,
    /// The most calls in flight of this host, 1 to 256.
    pub max_in_flight: usize,
    /// The timeout of the TCP and TLS handshakes, 100 ms to 30 s.
    pub connect_timeout: Duration,
    /// The timeout of one attempt as a whole, 500 ms to 60 s.
    pub attempt_timeout: Duration,
    /// True to allow sessions under 900 s, which only emulators grant.
    pub unsafe_short_sessions: bool,
    /// The accounts of the operator's own organization. An empty list says nothing about any account.
    pub own_account_ids: Vec<String>,
}

impl Sts {
    /// True if an account is none of `own_account_ids`; `None` if that list is empty.
    pub fn is_foreign(&self, account_id: &str) -> Option<bool> {
        let own = &self.own_account_ids;
        (!own.is_empty() && !account_id.is_empty())
            .then(|| !own.iter().any(|own| own == account_id))
    }

    /// Iterates over home, then the regions that stand in for it.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.region).chain(&self.fallback_regions).map(String::as_str)
    }

    /// The configured endpoint that replaces STS in a region.
    pub fn endpoint_url(&self, region: &str) -> Option<String> {
        let url = self.endpoint_url.as_deref()?;
        Some(url.replace(REGION_PLACEHOLDER, region))
    }
}
