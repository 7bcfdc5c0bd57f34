//! The daemon's configuration, and every way in which a reload changes it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// What a role says.
#[derive(Debug, Clone)]
pub(crate) struct RoleText {
    pub(crate) present: bool,
    pub(crate) identity: u64,
    pub(crate) seconds: u32,
    pub(crate) account_id: bool,
    pub(crate) drops: bool,
    pub(crate) required: bool,
}

/// What the file says.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) vend: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) home: PathBuf,
    pub(crate) endpoint: String,
    pub(crate) roles: Vec<RoleText>,
    pub(crate) pending_wait_ms: u32,
    pub(crate) attempt_timeout_ms: u32,
    pub(crate) max_in_flight: u32,
    pub(crate) max_connections: usize,
    /// How long sessions may be, seconds.
    pub(crate) sessions: RangeInclusive<u32>,
}

/// What STS may be asked per second.
pub(crate) const CALLS_PER_SECOND: u32 = 100;

impl Text {
    pub(crate) fn path(&self) -> PathBuf {
        self.home.join("roletap.toml")
    }

    pub(crate) fn audit_path(&self) -> PathBuf {
        self.home.join("audit.log")
    }

    pub(crate) fn token_path(&self, role: &str) -> PathBuf {
        self.home.join("tokens").join(role)
    }

    pub(crate) fn render(&self, arn: impl Fn(usize) -> String) -> String {
        let mut out = format!(
            r#"[server]
listen = ["{vend}"]
token_dir = "{home}/tokens"
pending_wait = "{wait}ms"
max_connections = {connections}
shutdown_grace = "3s"

[admin]
listen = ["{admin}"]

[log]
level = "info"
audit = "{audit}"

[sts]
region = "eu-central-1"
endpoint_url = "{endpoint}"
unsafe_short_sessions = true
connect_timeout = "500ms"
attempt_timeout = "{attempt}ms"
max_in_flight = {in_flight}
max_requests_per_second = {CALLS_PER_SECOND}
"#,
            vend = self.vend,
            home = self.home.display(),
            wait = self.pending_wait_ms,
            connections = self.max_connections,
            admin = self.admin,
            audit = self.audit_path().display(),
            endpoint = self.endpoint,
            attempt = self.attempt_timeout_ms,
            in_flight = self.max_in_flight,
        );
        for (number, role) in self.roles.iter().enumerate().filter(|(_, role)| role.present) {
            let _ = write!(
                out,
                r#"
[role.r{number:02}]
role_arn = "{arn}"
external_id = "ws-{identity}"
duration_seconds = {seconds}
account_id = {account_id}
on_denied = "{on_denied}"
required = {required}
"#,
                arn = arn(number),
                identity = role.identity,
                seconds = role.seconds,
                account_id = role.account_id,
                on_denied = if role.drops { "drop" } else { "keep" },
                required = role.required,
            );
        }
        out
    }
}

/// Whole or not at all.
pub(crate) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(beside, path)
}
