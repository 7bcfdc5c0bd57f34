//! An STS that knows the truth: what it issued, and what it was made to do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use fastrand::Rng;
use tokio::time::Instant;

use super::{Wall, error};
use crate::clock::Skew;
use crate::issuer::Issuer;
use roletap_core::credentials::Credentials;
use roletap_core::failure::{Class, IssueError};
use roletap_core::role::Role;

const DAY: u64 = 86_400;

/// What STS does to a role's calls, and when.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    Answers(Class),
    Hangs,
}

/// The truth: what STS issued, and what it was made to do.
pub(super) struct Truth {
    pub(super) clock: Wall,
    pub(super) local: SharedTimeSource,
    pub(super) server_time: SharedTimeSource,
    pub(super) skew: Arc<Skew>,
    /// Seconds of simulated time, and whom: `None` is everybody.
    pub(super) faults: Vec<(u64, u64, Option<usize>, Fault)>,
    pub(super) serial: AtomicU64,
    /// Each call: when, in simulated time.
    pub(super) calls: Mutex<Vec<Instant>>,
    /// The last that was delivered for each request: its serial and its end.
    pub(super) delivered: Mutex<HashMap<(usize, u32), (u64, SystemTime)>>,
    /// The last answer that told the time.
    pub(super) told_at: Mutex<Instant>,
    pub(super) began: Instant,
}

impl Truth {
    fn fault(&self, number: usize) -> Option<Fault> {
        let now = self.began.elapsed().as_secs();
        let due = |(from, to, whom, _): &&(u64, u64, Option<usize>, Fault)| {
            (*from..*to).contains(&now) && whom.is_none_or(|whom| whom == number)
        };
        self.faults.iter().find(due).map(|(.., fault)| *fault)
    }

    pub(super) fn quiet_since(&self, number: usize) -> Duration {
        let now = self.began.elapsed().as_secs();
        let last = self
            .faults
            .iter()
            .filter(|(from, _, whom, _)| *from <= now && whom.is_none_or(|whom| whom == number));
        Duration::from_secs(now.saturating_sub(last.map(|(_, to, ..)| *to).max().unwrap_or(0)))
    }

    /// How long nobody has been throttled: one role's throttling is a pause of the whole host.
    pub(super) fn unthrottled_since(&self) -> Duration {
        let now = self.began.elapsed().as_secs();
        let last = self.faults.iter().filter(|(from, _, _, fault)| {
            *from <= now && matches!(fault, Fault::Answers(Class::Throttled))
        });
        Duration::from_secs(now.saturating_sub(last.map(|(_, to, ..)| *to).max().unwrap_or(0)))
    }
}

pub(super) struct Sts(pub(super) Arc<Truth>);

impl Issuer for Sts {
    async fn issue(&self, role: &Role) -> Result<Credentials, IssueError> {
        let truth = &self.0;
        truth.calls.lock().unwrap().push(Instant::now());
        match truth.fault(number_of(role.name.as_str())) {
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Answers(class)) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(error(class))
            }
            None => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                truth.skew.measure(truth.clock.now(), truth.local.now(), true);
                *truth.told_at.lock().unwrap() = Instant::now();
                let serial = truth.serial.fetch_add(1, Ordering::Relaxed);
                let end = truth.clock.now() + role.duration.as_duration();
                let grant = super::grant(serial, Some(end));
                let issued = Credentials::new(&grant, role, truth.server_time.now()).map_err(
                    |unusable| IssueError { message: unusable.to_string(), ..error(Class::Clock) },
                )?;
                truth
                    .delivered
                    .lock()
                    .unwrap()
                    .insert(identity(role), (serial, issued.expires_at()));
                Ok(issued)
            }
        }
    }
}

impl std::fmt::Debug for Sts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sts")
    }
}

pub(super) fn number_of(name: &str) -> usize {
    name.trim_start_matches("role-").parse().unwrap()
}

/// Which role, and which version of its request.
pub(super) fn identity(role: &Role) -> (usize, u32) {
    let version = role.request.session_name.as_str().trim_start_matches("version-").parse();
    (number_of(role.name.as_str()), version.unwrap_or(0))
}

pub(super) fn faults(
    random: &mut Rng,
    days: u64,
    roles: usize,
) -> Vec<(u64, u64, Option<usize>, Fault)> {
    let span = days * DAY;
    let mut faults = Vec::new();
    for _ in 0..days * 6 {
        let from = random.u64(..span);
        let length = [30, 600, 1_500, 3 * 3_600][random.usize(..4)];
        let whom = if random.u8(..4) == 0 { None } else { Some(random.usize(..roles)) };
        let fault = match random.u8(..7) {
            0 => Fault::Hangs,
            other => Fault::Answers(Class::ALL[usize::from(other - 1)]),
        };
        faults.push((from, from + random.u64(1..=length), whom, fault));
    }
    faults
}
