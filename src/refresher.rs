//! The refresher of one role: wait, attempt, conclude, for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::SharedTimeSource;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::issuer::Issuer;
use crate::metrics::Metrics;
use crate::slots::{Slot, Writer};
use crate::sts_queue::{Permit, Queue};
use roletap_core::credentials::{Credentials, rfc3339};
use roletap_core::failure::transport::TransportError;
use roletap_core::failure::{Class, IssueError, explain};
use roletap_core::lifecycle::{Jitter, RoleState};
use roletap_core::role::Role;

/// The longest nap. Expiry is wall time and sleeping is monotonic, so a suspended host, a stepped
/// clock and a restored snapshot cost one nap at most.
const NAP: Duration = Duration::from_secs(30);

/// A wall clock that falls behind by more than this during a nap was set back.
const STEP_TOLERANCE: Duration = Duration::from_secs(10);

/// Shared by all refreshers of a host.
#[derive(Debug)]
pub struct RefreshContext<I> {
    /// The issuer of credentials.
    pub issuer: I,
    /// An attempt that takes longer fails, whatever the issuer promises.
    pub attempt_deadline: Duration,
    /// The queue to STS, with the budget of the host.
    pub queue: Queue,
    /// The clock of STS, by the measured skew.
    pub clock: SharedTimeSource,
    /// The metrics that count attempts.
    pub metrics: Arc<Metrics>,
    /// The heartbeat of all refreshers: the watchdog is fed only while it ticks.
    pub heartbeat: Arc<Heartbeat>,
}

/// Counts the ticks of all refreshers, and times their naps.
#[derive(Debug)]
pub struct Heartbeat {
    ticks: AtomicU64,
    began: Instant,
    changes: watch::Sender<()>,
}

/// A subscription to changes of what is published.
#[derive(Debug, Clone)]
pub struct ChangeListener(watch::Receiver<()>);

impl Heartbeat {
    /// Returns the number of ticks of all refreshers.
    pub fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// Returns the time on the heartbeat's clock.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Notifies all subscribers that something was published.
    pub fn record_change(&self) {
        self.changes.send_replace(());
    }

    /// Subscribes to changes.
    pub fn changes(&self) -> ChangeListener {
        ChangeListener(self.changes.subscribe())
    }

    fn record_tick(&self, slot: &Slot) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        slot.record_tick(self.now());
    }

    /// Returns the time until all refreshers wake together, so that a thousand roles wake an idle
    /// host once.
    fn nap(&self) -> Duration {
        let nap = NAP.as_millis();
        let into = self.began.elapsed().as_millis() % nap;
        Duration::from_millis(u64::try_from(nap - into).unwrap_or(1))
    }
}

impl ChangeListener {
    /// Waits for a change since the last call. Cancel-safe.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The heartbeat is gone.
            std::future::pending().await
        }
    }
}

/// Without ticks; its clock starts now.
impl Default for Heartbeat {
    fn default() -> Self {
        Self { ticks: AtomicU64::new(0), began: Instant::now(), changes: watch::Sender::new(()) }
    }
}

/// Keeps one slot's credentials fresh, for ever. Dropping the future loses nothing that was
/// published.
pub async fn refresh<I: Issuer>(mut writer: Writer, ctx: Arc<RefreshContext<I>>) {
    loop {
        wait_until_due(&mut writer, &ctx).await;
        let jitter = Jitter::new(fastrand::f64());
        let (outcome, started) = attempt_with_permit(&mut writer, &ctx, jitter).await;
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
        // A clock that was set back makes every plan late by as much; one attempt now makes new
        // plans.
        let set_back = ctx.clock.now() + STEP_TOLERANCE < now + slept_at.elapsed();
        if set_back || writer.slot().refresh_requested() {
            return;
        }
    }
}

/// Makes one attempt, and returns when it began. Waiting for a permit is not part of it.
async fn attempt_with_permit<I: Issuer>(
    writer: &mut Writer,
    ctx: &RefreshContext<I>,
    jitter: Jitter,
) -> (Result<Credentials, IssueError>, Instant) {
    let began = Instant::now();
    // On the heap: the futures are 6 kB, and a refresher naps nearly all its life.
    if let Err(error) = Box::pin(prepare(writer, ctx)).await {
        return (Err(error), began);
    }
    let permit = permit_for(writer, ctx).await;
    writer.take_refresh_request();
    ctx.heartbeat.record_tick(writer.slot());
    let began = Instant::now();
    let role = writer.slot().role.clone();
    let outcome = Box::pin(attempt(&role, ctx)).await;
    permit.conclude(&outcome, jitter);
    (outcome, began)
}

/// Prepares the base credentials. A refresh that is requested meanwhile is not forgotten: whoever
/// requests it knows of something new.
async fn prepare<I: Issuer>(
    writer: &mut Writer,
    ctx: &RefreshContext<I>,
) -> Result<(), IssueError> {
    let requested = writer.slot().refresh_requested();
    writer.take_refresh_request();
    let role = writer.slot().role.clone();
    let prepared = ctx.issuer.prepare(&role).await;
    ctx.heartbeat.record_tick(writer.slot());
    if requested && prepared.is_ok() {
        writer.slot().request_refresh();
    }
    prepared
}

/// Waits for a permit to call STS. A role that waits is not stuck, and may become urgent meanwhile.
async fn permit_for<I>(writer: &Writer, ctx: &RefreshContext<I>) -> Permit {
    let (slot, clock) = (writer.slot().clone(), ctx.clock.clone());
    let mut permit = std::pin::pin!(ctx.queue.permit(move || slot.need(clock.now())));
    loop {
        tokio::select! {
            permit = permit.as_mut() => return permit,
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
    log_change(&role, &before, &after, now);
    writer.publish(after);
}

/// Logs changes of state: an hour of failures is one error, and one line when it is over.
fn log_change(role: &Role, before: &RoleState, after: &RoleState, now: SystemTime) {
    let name = role.name.as_str();
    let Some(failures) = after.failures() else {
        let Some(credentials) = after.credentials() else { return };
        let access_key_id = credentials.access_key_id();
        let expires_at = rfc3339(credentials.expires_at());
        match before.failures() {
            None => tracing::info!(role = name, access_key_id, expires_at, "issued"),
            Some(failures) => tracing::info!(
                role = name,
                access_key_id,
                expires_at,
                failed_attempts = failures.count,
                failing_for_seconds =
                    now.duration_since(failures.since).unwrap_or_default().as_secs(),
                "issued again"
            ),
        }
        return;
    };
    let error = &failures.error;
    let (class, code) = (error.class.as_str(), error.code.as_deref().unwrap_or("-"));
    let is_known = before
        .failures()
        .is_some_and(|known| known.error.class == error.class && known.error.code == error.code);
    if is_known {
        let failed_attempts = failures.count;
        tracing::debug!(role = name, class, code, failed_attempts, "still failing: {error}");
        return;
    }
    let in_hand = after.vend(now).ok().map(|credentials| rfc3339(credentials.expires_at()));
    tracing::error!(
        role = name,
        class,
        code,
        request_id = error.request_id.as_deref().unwrap_or("-"),
        credentials_in_hand_until = in_hand.as_deref().unwrap_or("none"),
        next_attempt = rfc3339(failures.retry_at),
        advice = explain::advice(role, error).to_string(),
        "failed to assume the role: {error}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::{Wall, error, role};
    use crate::slots::Slot;
    use roletap_core::budget::Limits;

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
