//! One role's refresher: wait, attempt, conclude; for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::SharedTimeSource;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::budget::queue::{Permit, Queue};
use crate::credentials::{Credentials, rfc3339};
use crate::failure::transport::TransportError;
use crate::failure::{Class, IssueError, explain};
use crate::issuer::Issuer;
use crate::lifecycle::{Jitter, RoleState};
use crate::metrics::Metrics;
use crate::role::Role;
use crate::slots::{Slot, Writer};

/// The longest nap. Expiry is wall time and sleeping is monotonic: a suspended host, a stepped clock and a restored
/// snapshot all cost one nap at most.
const NAP: Duration = Duration::from_secs(30);

/// By how much a wall clock may fall behind during a nap without having been set back.
const STEP_TOLERANCE: Duration = Duration::from_secs(10);

/// What all refreshers of a host share.
#[derive(Debug)]
pub struct RefreshContext<I> {
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
    /// RoleCounters every turn of every refresher: the watchdog is fed only while it moves.
    pub heartbeat: Arc<Heartbeat>,
}

/// A sign of life that only the loops themselves can give, and the beat to which they nap.
#[derive(Debug)]
pub struct Heartbeat {
    ticks: AtomicU64,
    began: Instant,
    changes: watch::Sender<()>,
}

/// Tells one listener that something has been published.
#[derive(Debug, Clone)]
pub struct Changes(watch::Receiver<()>);

impl Heartbeat {
    /// No turns yet; the beat begins.
    pub fn new() -> Self {
        Self { ticks: AtomicU64::new(0), began: Instant::now(), changes: watch::Sender::new(()) }
    }

    /// How many turns have been made.
    pub fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// The beat: how long ago it began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Something has been published.
    pub fn record_change(&self) {
        self.changes.send_replace(());
    }

    /// To hear of that.
    pub fn changes(&self) -> Changes {
        Changes(self.changes.subscribe())
    }

    fn record_tick(&self, slot: &Slot) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        slot.record_tick(self.now());
    }

    /// Until the beat: all naps end together, so that a thousand roles wake an idle host once and not a thousand times.
    fn nap(&self) -> Duration {
        let nap = NAP.as_millis();
        let into = self.began.elapsed().as_millis() % nap;
        Duration::from_millis(u64::try_from(nap - into).unwrap_or(1))
    }
}

impl Changes {
    /// Waits until something has been published since this was last asked. Cancel-safe.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Whoever published is gone.
            std::future::pending().await
        }
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps one slot's credentials fresh, for ever. Dropping the future at any point loses nothing that was published.
pub async fn refresh<I: Issuer>(mut writer: Writer, ctx: Arc<RefreshContext<I>>) {
    loop {
        wait_until_due(&mut writer, &ctx).await;
        let jitter = Jitter::new(fastrand::f64());
        let (outcome, started) = attempt_in_turn(&mut writer, &ctx, jitter).await;
        let class = outcome.as_ref().err().map(|error| error.class);
        ctx.metrics.attempt_concluded(&writer.slot().counts, class, started.elapsed());
        conclude(&mut writer, outcome, ctx.clock.now(), jitter);
        ctx.heartbeat.record_change();
    }
}

async fn wait_until_due<I>(writer: &mut Writer, ctx: &RefreshContext<I>) {
    loop {
        ctx.heartbeat.record_tick(writer.slot());
        let now = ctx.clock.now();
        let due = writer.slot().state().next_attempt(now);
        let slept_at = Instant::now();
        match due.duration_since(now) {
            Ok(wait) if !wait.is_zero() => {
                let _ = tokio::time::timeout(wait.min(ctx.heartbeat.nap()), writer.woken()).await;
            }
            _ => return,
        }
        // A clock that was set back makes every plan late, by as much: one attempt now makes new ones.
        let set_back = ctx.clock.now() + STEP_TOLERANCE < now + slept_at.elapsed();
        if set_back || writer.slot().refresh_requested() {
            return;
        }
    }
}

/// One attempt, and since when it has been one: waiting for a turn is not part of it.
async fn attempt_in_turn<I: Issuer>(
    writer: &mut Writer,
    ctx: &RefreshContext<I>,
    jitter: Jitter,
) -> (Result<Credentials, IssueError>, Instant) {
    let began = Instant::now();
    // Both on the heap: a refresher naps and queues nearly all its life, and what they hold are 6 kB.
    if let Err(error) = Box::pin(prepared(writer, ctx)).await {
        return (Err(error), began);
    }
    let permit = turn_of(writer, ctx).await;
    writer.take_refresh_request();
    ctx.heartbeat.record_tick(writer.slot());
    let began = Instant::now();
    let role = writer.slot().role.clone();
    let outcome = Box::pin(attempt(&role, ctx)).await;
    permit.conclude(&outcome, jitter);
    (outcome, began)
}

/// Waits for what signs. Whoever hurries this role meanwhile knows of something new, so that is not forgotten.
async fn prepared<I: Issuer>(
    writer: &mut Writer,
    ctx: &RefreshContext<I>,
) -> Result<(), IssueError> {
    let hurried = writer.slot().refresh_requested();
    writer.take_refresh_request();
    let role = writer.slot().role.clone();
    let prepared = ctx.issuer.prepare(&role).await;
    ctx.heartbeat.record_tick(writer.slot());
    if hurried && prepared.is_ok() {
        writer.slot().request_refresh();
    }
    prepared
}

/// Waits for the right to call STS. A role that has to wait is not stuck, and may become urgent meanwhile.
async fn turn_of<I>(writer: &Writer, ctx: &RefreshContext<I>) -> Permit {
    let (slot, clock) = (writer.slot().clone(), ctx.clock.clone());
    let mut turn = std::pin::pin!(ctx.queue.permit(move || slot.need(clock.now())));
    loop {
        tokio::select! {
            permit = turn.as_mut() => return permit,
            () = writer.woken() => ctx.queue.look_again(),
            () = tokio::time::sleep(NAP) => {}
        }
        ctx.heartbeat.record_tick(writer.slot());
    }
}

async fn attempt<I: Issuer>(
    role: &Role,
    ctx: &RefreshContext<I>,
) -> Result<Credentials, IssueError> {
    match tokio::time::timeout(ctx.attempt_deadline, ctx.issuer.issue(role)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let message =
                format!("the attempt did not end within {} s", ctx.attempt_deadline.as_secs());
            Err(IssueError {
                cause: Some(TransportError::ResponseTimeout),
                ..IssueError::new(Class::Network, message)
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
    let (settings, role) = (role, role.name.as_str());
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
            let is_new = before.is_none_or(|before| {
                before.error.class != error.class || before.error.code != error.code
            });
            let in_hand = after.vend(now).ok().map(|credentials| rfc3339(credentials.expires_at()));
            if is_new {
                tracing::error!(
                    role,
                    class,
                    code,
                    request_id = error.request_id.as_deref().unwrap_or("-"),
                    credentials_in_hand_until = in_hand.as_deref().unwrap_or("none"),
                    next_attempt = rfc3339(failures.retry_at),
                    advice = explain::advice(settings, error).to_string(),
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
        let ctx = RefreshContext {
            issuer: Large,
            attempt_deadline: Duration::from_secs(1),
            queue: Queue::new(Limits { max_in_flight: 1, max_requests_per_second: 1 }),
            clock: Wall::new().shared(),
            metrics: Arc::new(Metrics::new().unwrap()),
            heartbeat: Arc::default(),
        };
        let role = role("orders", 3600);
        let (_, writer) = Slot::new(role, RoleState::Pending, Arc::default(), false);
        let bytes = size_of_val(&refresh(writer, Arc::new(ctx)));
        assert!(bytes < 1024, "{bytes}");
    }
}
