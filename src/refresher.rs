//! One role's refresher: wait, attempt, conclude; for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::SharedTimeSource;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::credentials::{Credentials, rfc3339};
use crate::issuer::explain::{self, Failure};
use crate::issuer::obstacle::Obstacle;
use crate::issuer::{Class, IssueError, Issuer};
use crate::lifecycle::{Jitter, RoleState};
use crate::metrics::Metrics;
use crate::role::Role;
use crate::slots::{Slot, Writer};
use crate::sts_queue::{Permit, Queue};

/// The longest nap. Expiry is wall time and sleeping is monotonic: a suspended host, a stepped clock and a restored
/// snapshot all cost one nap at most.
const NAP: Duration = Duration::from_secs(30);

/// By how much a wall clock may fall behind during a nap without having been set back.
const STEP_TOLERANCE: Duration = Duration::from_secs(10);

/// What all refreshers of a host share.
#[derive(Debug)]
pub struct Surroundings<I> {
    /// Who issues.
    pub issuer: I,
    /// An attempt that takes longer has failed, whatever the issuer promised.
    pub attempt_deadline: Duration,
    /// The host's budget.
    pub queue: Queue,
    /// The one clock.
    pub clock: SharedTimeSource,
    /// Where attempts are counted.
    pub metrics: Arc<Metrics>,
    /// Counts every turn of every refresher: the watchdog is fed only while it moves.
    pub progress: Arc<Progress>,
}

/// A sign of life that only the loops themselves can give, and the beat to which they nap.
#[derive(Debug)]
pub struct Progress {
    turns: AtomicU64,
    began: Instant,
    news: watch::Sender<()>,
}

/// Tells one listener that something has been published.
#[derive(Debug, Clone)]
pub struct News(watch::Receiver<()>);

impl Progress {
    /// No turns yet; the beat begins.
    pub fn new() -> Self {
        Self { turns: AtomicU64::new(0), began: Instant::now(), news: watch::Sender::new(()) }
    }

    /// How many turns have been made.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// The beat: how long ago it began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Something has been published.
    pub fn concluded(&self) {
        self.news.send_replace(());
    }

    /// To hear of that.
    pub fn news(&self) -> News {
        News(self.news.subscribe())
    }

    fn turn(&self, slot: &Slot) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        slot.turn(self.now());
    }

    /// Until the beat: all naps end together, so that a thousand roles wake an idle host once and not a thousand times.
    fn nap(&self) -> Duration {
        let nap = NAP.as_millis();
        let into = self.began.elapsed().as_millis() % nap;
        Duration::from_millis(u64::try_from(nap - into).unwrap_or(1))
    }
}

impl News {
    /// Waits until something has been published since this was last asked. Cancel-safe.
    pub async fn more(&mut self) {
        if self.0.changed().await.is_err() {
            // Whoever published is gone.
            std::future::pending().await
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps one slot's credentials fresh, for ever. Dropping the future at any point loses nothing that was published.
pub async fn refresh<I: Issuer>(mut writer: Writer, around: Arc<Surroundings<I>>) {
    loop {
        wait_until_due(&mut writer, &around).await;
        let jitter = Jitter::new(fastrand::f64());
        let (outcome, started) = attempt_in_turn(&mut writer, &around, jitter).await;
        let class = outcome.as_ref().err().map(|error| error.class);
        around.metrics.attempt_concluded(&writer.slot().counts, class, started.elapsed());
        conclude(&mut writer, outcome, around.clock.now(), jitter);
        around.progress.concluded();
    }
}

async fn wait_until_due<I>(writer: &mut Writer, around: &Surroundings<I>) {
    loop {
        around.progress.turn(writer.slot());
        let now = around.clock.now();
        let due = writer.slot().state().next_attempt(now);
        let slept_at = Instant::now();
        match due.duration_since(now) {
            Ok(wait) if !wait.is_zero() => {
                let _ =
                    tokio::time::timeout(wait.min(around.progress.nap()), writer.hurried()).await;
            }
            _ => return,
        }
        // A clock that was set back makes every plan late, by as much: one attempt now makes new ones.
        let set_back = around.clock.now() + STEP_TOLERANCE < now + slept_at.elapsed();
        if set_back || writer.is_hurried() {
            return;
        }
    }
}

/// One attempt, and since when it has been one: waiting for a turn is not part of it.
async fn attempt_in_turn<I: Issuer>(
    writer: &mut Writer,
    around: &Surroundings<I>,
    jitter: Jitter,
) -> (Result<Credentials, IssueError>, Instant) {
    let began = Instant::now();
    // Both on the heap: a refresher naps and queues nearly all its life, and what they hold are 6 kB.
    if let Err(error) = Box::pin(prepared(writer, around)).await {
        return (Err(error), began);
    }
    let permit = turn_of(writer, around).await;
    writer.take_hurry();
    around.progress.turn(writer.slot());
    let began = Instant::now();
    let role = writer.slot().role.clone();
    let outcome = Box::pin(attempt(&role, around)).await;
    permit.conclude(&outcome, jitter);
    (outcome, began)
}

/// Waits for what signs. Whoever hurries this role meanwhile knows of something new, so that is not forgotten.
async fn prepared<I: Issuer>(
    writer: &mut Writer,
    around: &Surroundings<I>,
) -> Result<(), IssueError> {
    let hurried = writer.is_hurried();
    writer.take_hurry();
    let role = writer.slot().role.clone();
    let prepared = around.issuer.prepare(&role).await;
    around.progress.turn(writer.slot());
    if hurried && prepared.is_ok() {
        writer.slot().hurry();
    }
    prepared
}

/// Waits for the right to call STS. A role that has to wait is not stuck, and may become urgent meanwhile.
async fn turn_of<I>(writer: &Writer, around: &Surroundings<I>) -> Permit {
    let (slot, clock) = (writer.slot().clone(), around.clock.clone());
    let mut turn = std::pin::pin!(around.queue.permit(move || slot.need(clock.now())));
    loop {
        tokio::select! {
            permit = turn.as_mut() => return permit,
            () = writer.hurried() => around.queue.look_again(),
            () = tokio::time::sleep(NAP) => {}
        }
        around.progress.turn(writer.slot());
    }
}

async fn attempt<I: Issuer>(
    role: &Role,
    around: &Surroundings<I>,
) -> Result<Credentials, IssueError> {
    match tokio::time::timeout(around.attempt_deadline, around.issuer.issue(role)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let what =
                format!("the attempt did not end within {} s", around.attempt_deadline.as_secs());
            let failure =
                Failure { what: &what, obstacle: Some(&Obstacle::NoAnswer), ..Failure::default() };
            Err(IssueError {
                class: Class::Network,
                code: None,
                status: None,
                request_id: None,
                advice: explain::advice(role, Class::Network, &failure),
                what,
                retry_after: None,
            })
        }
    }
}

fn conclude(
    writer: &mut Writer,
    outcome: Result<Credentials, IssueError>,
    now: SystemTime,
    jitter: Jitter,
) {
    let before = RoleState::clone(&writer.slot().state());
    let role = writer.slot().role.clone();
    let after = before.clone().after(outcome, role.terms, now, jitter);
    tell(&role, &before, &after, now);
    writer.publish(after);
}

/// Changes are logged, not states: an hour of failures is one error, and one line when it is over.
fn tell(role: &Role, before: &RoleState, after: &RoleState, now: SystemTime) {
    let role = role.name.as_str();
    match (before.failures(), after.failures()) {
        (None, None) => {
            if let Some(credentials) = after.credentials() {
                let expires_at = rfc3339(credentials.expires_at());
                tracing::info!(
                    role,
                    access_key_id = credentials.access_key_id(),
                    expires_at,
                    "issued"
                );
            }
        }
        (Some(failures), None) => {
            if let Some(credentials) = after.credentials() {
                let expires_at = rfc3339(credentials.expires_at());
                let failing_for = now.duration_since(failures.since).unwrap_or_default().as_secs();
                tracing::info!(
                    role,
                    access_key_id = credentials.access_key_id(),
                    expires_at,
                    failed_attempts = failures.count,
                    failing_for_seconds = failing_for,
                    "issued again"
                );
            }
        }
        (before, Some(failures)) => {
            let error = &failures.error;
            let (class, code) = (error.class.as_str(), error.code.as_deref().unwrap_or("-"));
            let news = before.is_none_or(|before| {
                before.error.class != error.class || before.error.code != error.code
            });
            let in_hand = after.vend(now).ok().map(|credentials| rfc3339(credentials.expires_at()));
            if news {
                tracing::error!(
                    role,
                    class,
                    code,
                    request_id = error.request_id.as_deref().unwrap_or("-"),
                    credentials_in_hand_until = in_hand.as_deref().unwrap_or("none"),
                    next_attempt = rfc3339(failures.retry_at),
                    advice = error.advice.to_string(),
                    "failed to assume the role: {error}"
                );
            } else {
                tracing::debug!(
                    role,
                    class,
                    code,
                    failed_attempts = failures.count,
                    "still failing: {error}"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Limits;
    use crate::simulated::{Wall, error, role};
    use crate::slots::Slot;

    /// Whose attempts hold a page of memory, as those of the SDK hold more.
    struct Large;

    impl Issuer for Large {
        async fn issue(&self, _: &Role) -> Result<Credentials, IssueError> {
            let page = [0_u8; 4096];
            tokio::task::yield_now().await;
            std::hint::black_box(&page);
            Err(error(Class::Network))
        }
    }

    #[tokio::test]
    async fn a_refresher_that_naps_holds_no_room_for_an_attempt() {
        let around = Surroundings {
            issuer: Large,
            attempt_deadline: Duration::from_secs(1),
            queue: Queue::new(Limits { max_in_flight: 1, max_requests_per_second: 1 }),
            clock: Wall::new().shared(),
            metrics: Arc::new(Metrics::new().unwrap()),
            progress: Arc::default(),
        };
        let role = role("orders", 3600);
        let (_, writer) = Slot::new(role, RoleState::Pending, Arc::default(), false);
        let bytes = size_of_val(&refresh(writer, Arc::new(around)));
        assert!(bytes < 1024, "{bytes}");
    }
}
