//! The audit log: the credentials that each caller was given, and the callers that were refused.
//!
//! A line is one JSON object, or fields for journald. A result of a role is written at once when
//! the credentials that it names are new. Else it is written once a minute at most, with the number
//! of requests since the last line: a flood of bad tokens cannot flood the log. The access key id
//! joins a line with CloudTrail.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{header, request};
use serde::Serialize;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::journal::{Entry, Journal, Priority, SOCKET};
use crate::log::WAITING_LINES;
use crate::slots::{AuditedCounter, VendResult};
use roletap_core::config::AuditSink;
use roletap_core::credentials::{Credentials, rfc3339};
use roletap_core::role::RoleName;

/// Repeats are counted for this many seconds.
const REPEAT_SECONDS: u64 = 60;
/// Characters of a `User-Agent` that are kept: enough to tell clients apart.
const USER_AGENT_LIMIT: usize = 120;

/// A decision about a request, to be audited.
#[derive(Debug)]
pub(crate) struct AuditEvent<'a> {
    /// Counter of the answers of this role with this result; the request is counted already.
    pub counter: &'a AuditedCounter,
    pub role: Option<&'a RoleName>,
    pub result: VendResult,
    pub credentials: Option<&'a Credentials>,
    pub head: &'a request::Parts,
    pub peer: SocketAddr,
    pub now: SystemTime,
}

/// The audit log. Writing never waits: a line that finds no room is dropped.
#[derive(Clone)]
pub struct Audit {
    writer: Option<NonBlocking>,
    /// True if lines are fields for journald.
    fields: bool,
    reopen: Arc<AtomicBool>,
}

impl Audit {
    /// Opens the sink. The guard writes out what is left when it is dropped.
    pub fn open(sink: &AuditSink) -> io::Result<(Self, Option<WorkerGuard>)> {
        let reopen = Arc::new(AtomicBool::new(false));
        let open = |writer| {
            let (writer, guard) = NonBlockingBuilder::default()
                .thread_name("audit")
                .buffered_lines_limit(WAITING_LINES)
                .finish(writer);
            (Some(writer), Some(guard))
        };
        let (writer, guard) = match sink {
            AuditSink::Off => (None, None),
            AuditSink::Stderr => open(Sink::Stderr(io::stderr())),
            AuditSink::Journald => open(Sink::Journald(Journal::open(Path::new(SOCKET))?)),
            AuditSink::File(path) => {
                open(Sink::File { file: append(path)?, path: path.clone(), reopen: reopen.clone() })
            }
        };
        let audit = Self { writer, fields: *sink == AuditSink::Journald, reopen };
        Ok((audit, guard))
    }

    /// Makes an audit log that writes nothing.
    pub fn off() -> Self {
        Self { writer: None, fields: false, reopen: Arc::default() }
    }

    /// Reopens the file before the next line, after a rotation.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
    }

    /// Writes a line about a decision, if one is due. `caller` is asked for only then.
    pub(crate) fn record(&self, event: AuditEvent<'_>, caller: impl FnOnce() -> Option<String>) {
        let Some(writer) = &self.writer else { return };
        let expires_at = event.credentials.map(Credentials::expires_at);
        let Some(requests) = event.counter.worth_a_line(expires_at, event.now) else {
            return;
        };
        let user_agent = event.head.headers.get(header::USER_AGENT);
        let line = AuditLine {
            time: rfc3339(event.now),
            role: event.role.map(RoleName::as_str),
            audit: "vend",
            result: event.result.as_str(),
            access_key_id: event.credentials.map(Credentials::access_key_id),
            expires_at: expires_at.map(rfc3339),
            requests,
            peer: event.peer.to_string(),
            caller: caller(),
            user_agent: user_agent.map(|value| {
                let text = String::from_utf8_lossy(value.as_bytes());
                text.chars().take(USER_AGENT_LIMIT).collect()
            }),
        };
        let mut writer = writer.clone();
        let _ = if self.fields {
            writer.write_all(line.entry().as_bytes())
        } else {
            writer.write_all(line.json().as_bytes())
        };
    }
}

/// The fields of one line, in the order of their names.
#[derive(Serialize)]
struct AuditLine<'a> {
    access_key_id: Option<&'a str>,
    /// Tells audit lines from others.
    audit: &'static str,
    /// The user and unit that opened the connection, for roles with `allow_users` or `allow_units`.
    caller: Option<String>,
    expires_at: Option<String>,
    peer: String,
    #[serde(rename = "requests_since_last_line")]
    requests: u64,
    result: &'static str,
    role: Option<&'a str>,
    time: String,
    user_agent: Option<String>,
}

impl AuditLine<'_> {
    fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    fn entry(&self) -> Entry {
        let message = format!(
            "audit: {} {} to {}, {} since the last line",
            self.result,
            self.access_key_id.or(self.role).unwrap_or("-"),
            self.peer,
            self.requests
        );
        let requests = self.requests.to_string();
        let fields = [
            ("AUDIT", Some(self.audit)),
            ("ROLE", self.role),
            ("RESULT", Some(self.result)),
            ("ACCESS_KEY_ID", self.access_key_id),
            ("EXPIRES_AT", self.expires_at.as_deref()),
            ("REQUESTS_SINCE_LAST_LINE", Some(&requests)),
            ("PEER", Some(&self.peer)),
            ("CALLER", self.caller.as_deref()),
            ("USER_AGENT", self.user_agent.as_deref()),
        ];
        let entry = Entry::new(Priority::Info, &message);
        fields.into_iter().fold(entry, |entry, (name, value)| match value {
            Some(value) => entry.with(name, value),
            None => entry,
        })
    }
}

impl AuditedCounter {
    /// Returns the number of requests that a line written now stands for; `None` if no line is due.
    fn worth_a_line(&self, expires_at: Option<SystemTime>, now: SystemTime) -> Option<u64> {
        let seconds =
            |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (now, credentials) = (seconds(now), expires_at.map_or(0, seconds));
        let last = self.audited_at.load(Ordering::Relaxed);
        let same = self.audited_credentials.load(Ordering::Relaxed) == credentials;
        if last != 0 && same && now.abs_diff(last) < REPEAT_SECONDS {
            return None;
        }
        self.audited_at.store(now, Ordering::Relaxed);
        self.audited_credentials.store(credentials, Ordering::Relaxed);
        let count = self.count.load(Ordering::Relaxed);
        Some(count.saturating_sub(self.audited.swap(count, Ordering::Relaxed)))
    }
}

enum Sink {
    Stderr(io::Stderr),
    Journald(Journal),
    File { file: File, path: PathBuf, reopen: Arc<AtomicBool> },
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr(stderr) => stderr.write(line),
            Self::Journald(journal) => journal.write(line),
            Self::File { file, path, reopen } => {
                // The old file serves until the new one can be opened.
                if reopen.load(Ordering::Acquire)
                    && let Ok(anew) = append(path)
                {
                    *file = anew;
                    reopen.store(false, Ordering::Release);
                }
                file.write(line)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stderr(stderr) => stderr.flush(),
            Self::Journald(journal) => journal.flush(),
            Self::File { file, .. } => file.flush(),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("on", &self.writer.is_some()).finish_non_exhaustive()
    }
}
