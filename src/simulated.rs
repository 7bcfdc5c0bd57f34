//! What simulated tests share: a wall clock that follows tokio's paused one, roles, and an issuer that follows a script.
//!
//! Never with real sockets: a paused runtime that only waits for one jumps to its next time-out.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use tokio::time::Instant;

use crate::config::{Config, ConfigFile, FixedHost};
use crate::credentials::{Credentials, Grant, Secret};
use crate::failure::{Class, IssueError};
use crate::issuer::Issuer;
use crate::role::{CallerPolicy, Role, UnitName, User};

mod truth;
mod weeks;

/// When every simulation begins: some time in 2026.
pub(crate) const DAWN: u64 = 1_790_000_000;

pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(DAWN + seconds)
}

/// A configuration of these `[role.*]` names, one account, `duration_seconds` each.
pub(crate) fn config(names: &[&str], duration_seconds: u32, more: &str) -> Config {
    let mut text = String::from("[sts]\nregion = \"eu-central-1\"\nunsafe_short_sessions = true\n");
    for name in names {
        text.push_str(&format!(
            "[role.{name}]\nrole_arn = \"arn:aws:iam::111122223333:role/{name}\"\nduration_seconds = {duration_seconds}\n{more}\n"
        ));
    }
    Config::parse(vec![ConfigFile::text("roletap.toml", text)], &FixedHost::default())
        .unwrap_or_else(|report| panic!("{}", report.render("", false)))
        .config
}

pub(crate) fn role(name: &str, duration_seconds: u32) -> Arc<Role> {
    config(&[name], duration_seconds, "").roles.into_values().next().unwrap()
}

/// Credentials that STS would issue at `now` for `lifetime`.
pub(crate) fn credentials(
    role: &Role,
    now: SystemTime,
    lifetime: Duration,
    serial: u64,
) -> Credentials {
    Credentials::new(&grant(serial, Some(now + lifetime)), role, now).unwrap()
}

pub(crate) fn grant(serial: u64, expires_at: Option<SystemTime>) -> Grant {
    Grant {
        access_key_id: format!("ASIA{serial:016}"),
        secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
        session_token: Secret::new("FwoGZXIvYXdzEJr//".repeat(50)),
        expires_at,
        session_token_utilization: Some(25),
    }
}

pub(crate) fn error(class: Class) -> IssueError {
    let answered = !matches!(class, Class::Network | Class::Source);
    IssueError { status: answered.then_some(403), ..IssueError::new(class, "as scripted") }
}

/// What lets in these users of these units; where there are none, nothing is demanded of them.
pub(crate) fn callers(users: &[u32], units: &[&str]) -> CallerPolicy {
    let user = |uid: &u32| User { name: uid.to_string(), uid: *uid };
    let unit = |name: &&str| UnitName::parse(name).unwrap();
    CallerPolicy {
        users: (!users.is_empty()).then(|| users.iter().map(user).collect()),
        units: (!units.is_empty()).then(|| units.iter().map(unit).collect()),
    }
}

/// A wall clock that moves with tokio's clock, and can be stepped.
#[derive(Debug, Clone)]
pub(crate) struct Wall {
    origin: Instant,
    step_seconds: Arc<AtomicI64>,
}

impl Wall {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), step_seconds: Arc::default() }
    }

    pub(crate) fn step(&self, seconds: i64) {
        self.step_seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn shared(&self) -> SharedTimeSource {
        SharedTimeSource::new(self.clone())
    }
}

impl TimeSource for Wall {
    fn now(&self) -> SystemTime {
        let step = self.step_seconds.load(Ordering::Relaxed);
        let wall = at(0) + self.origin.elapsed();
        let by = Duration::from_secs(step.unsigned_abs());
        if step < 0 { wall - by } else { wall + by }
    }
}

type Outcome = Result<Duration, IssueError>;
type Script = dyn Fn(&Role, u64) -> Outcome + Send + Sync;

/// Issues what a function of the role and the seconds since dawn says: a lifetime, or an error.
pub(crate) struct Scripted {
    clock: SharedTimeSource,
    serial: AtomicU64,
    script: Box<Script>,
    latency: Duration,
    /// Every call: whose, and when.
    pub(crate) calls: Mutex<Vec<(String, u64)>>,
}

impl Scripted {
    pub(crate) fn new(
        clock: SharedTimeSource,
        latency: Duration,
        script: impl Fn(&Role, u64) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        Self {
            clock,
            serial: AtomicU64::new(0),
            script: Box::new(script),
            latency,
            calls: Mutex::default(),
        }
    }
}

impl Issuer for Arc<Scripted> {
    async fn issue(&self, role: &Role) -> Result<Credentials, IssueError> {
        let since = self.clock.now().duration_since(at(0)).unwrap_or_default().as_secs();
        self.calls.lock().unwrap().push((role.name.to_string(), since));
        tokio::time::sleep(self.latency).await;
        let lifetime = (self.script)(role, since)?;
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        Ok(credentials(role, self.clock.now(), lifetime, serial))
    }
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}
