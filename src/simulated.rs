//! What simulated tests share: a wall clock that follows tokio's paused one, roles, and an issuer that follows a script.
//!
//! Never with real sockets: a paused runtime that only waits for one jumps to its next time-out.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use tokio::time::Instant;

use crate::issuer::Issuer;

use roletap_core::credentials::Credentials;
use roletap_core::failure::IssueError;
use roletap_core::role::Role;

pub(crate) use roletap_core::fixtures::*;

mod truth;
mod weeks;

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
