//! `GET /v1/credentials/{role}`: who asks, for what, and what is in hand. Synchronous, from memory.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::SharedTimeSource;
use http::{Method, Request, request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::guard::direct;
use super::reply::{self, Refusal, Reply};
use super::{Answering, Connection, Endpoint};
use crate::audit::Audit;
use crate::caller::kernel::Kernel;
use crate::caller::{self, Description};
use crate::credentials::Credentials;
use crate::lifecycle::{Phase, RoleState};
use crate::metrics::Metrics;
use crate::slots::{Counts, Slot, Slots, VendResult};
use crate::tokens::Digest;

/// Where credentials are.
pub const PATH: &str = "/v1/credentials/";

/// The credentials endpoint.
#[derive(Debug)]
pub struct Vend {
    slots: Arc<Slots>,
    clock: SharedTimeSource,
    metrics: Arc<Metrics>,
    audit: Audit,
    kernel: Arc<Kernel>,
    hosts: Vec<IpAddr>,
    /// Milliseconds; a reload may change it.
    pending_wait: AtomicU64,
    /// Requests that wait must not take the places of those that can be answered.
    may_wait: Arc<Semaphore>,
}

/// What is said about a request, and of which role.
struct Verdict {
    /// `None` where the request was not authorised for a role.
    slot: Option<Arc<Slot>>,
    result: VendResult,
    reply: Reply,
    credentials: Option<Arc<Credentials>>,
}

impl Vend {
    /// Answers for `slots`; requests must name one of `listen`, a loopback name or address, or an address that SDKs
    /// know as a container endpoint. At most `waiters` requests wait, each `pending_wait` at most.
    #[expect(clippy::too_many_arguments, reason = "it stands between that many")]
    pub fn new(
        slots: Arc<Slots>,
        clock: SharedTimeSource,
        metrics: Arc<Metrics>,
        audit: Audit,
        kernel: Arc<Kernel>,
        listen: &[SocketAddr],
        pending_wait: Duration,
        waiters: usize,
    ) -> Self {
        let hosts = listen.iter().map(SocketAddr::ip).collect();
        let vend = Self {
            slots,
            clock,
            metrics,
            audit,
            kernel,
            hosts,
            pending_wait: AtomicU64::new(0),
            may_wait: Arc::new(Semaphore::new(waiters)),
        };
        vend.set_pending_wait(pending_wait);
        vend
    }

    /// How long a request may wait for a pending role, from now on.
    pub fn set_pending_wait(&self, wait: Duration) {
        self.pending_wait.store(
            u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// The answer, now.
    fn answer(&self, head: &request::Parts, connection: &Connection, now: SystemTime) -> Verdict {
        let refused = |result, refusal| Verdict {
            slot: None,
            result,
            reply: reply::refusal(&refusal),
            credentials: None,
        };
        let Some(token) = direct(head, &self.hosts) else {
            return refused(VendResult::Forbidden, Refusal::Forbidden);
        };
        let Some(name) = head.uri.path().strip_prefix(PATH) else {
            return refused(VendResult::NotServed, Refusal::NotFound);
        };
        if head.method != Method::GET && head.method != Method::HEAD {
            return refused(VendResult::NotServed, Refusal::MethodNotAllowed);
        }
        let table = self.slots.load();
        let key = token.and_then(|token| table.keys.get(&Digest::of(token)));
        let slot = match key.filter(|key| key.previous_until.is_none_or(|until| now < until)) {
            Some(key) if key.slot.role.name.as_str() == name => {
                if key.previous_until.is_some() {
                    key.slot.counts.previous_token_used();
                }
                &key.slot
            }
            known => match table.slots.get(name) {
                Some(slot) if slot.needs_no_token() => slot,
                _ if known.is_some() => {
                    return refused(VendResult::RoleNotFound, Refusal::RoleNotFound);
                }
                _ => return refused(VendResult::Unauthorized, Refusal::Unauthorized),
            },
        };
        if let Err(caller) = self.admit(slot, connection) {
            let role = slot.role.name.clone();
            return Verdict {
                slot: Some(slot.clone()),
                result: VendResult::CallerNotAllowed,
                reply: reply::refusal(&Refusal::CallerNotAllowed { role, caller }),
                credentials: None,
            };
        }
        slot.ask();
        let (result, reply, credentials) = of_state(slot, now);
        Verdict {
            slot: Some(slot.clone()),
            result,
            reply,
            credentials,
        }
    }

    /// Whether the role is for whoever opened this connection.
    fn admit(&self, slot: &Slot, connection: &Connection) -> Result<(), Description> {
        let callers = &slot.role.callers;
        if callers.demand_nothing() {
            return Ok(());
        }
        let seen = connection.caller(|client, server| self.kernel.caller(client, server));
        caller::admit(callers, seen, |group| self.kernel.unit_of(group))
    }

    fn conclude(
        &self,
        verdict: Verdict,
        head: &request::Parts,
        connection: &Connection,
        started: Instant,
        now: SystemTime,
    ) -> Reply {
        let unknown = self.metrics.unknown_role();
        let counts: &Counts = verdict.slot.as_ref().map_or(unknown, |slot| &slot.counts);
        let role = verdict.slot.as_ref().map(|slot| &slot.role.name);
        self.metrics
            .answered(counts, verdict.result, started.elapsed());
        let credentials = verdict
            .credentials
            .as_deref()
            .map(|held| (held.access_key_id(), held.expires_at()));
        self.audit.decided(
            counts.tally(verdict.result),
            role,
            verdict.result,
            credentials,
            head,
            connection.peer,
            || self.describe(connection),
            now,
        );
        verdict.reply
    }

    /// Who is calling, where somebody has wanted to know.
    fn describe(&self, connection: &Connection) -> Option<String> {
        let caller = connection.known_caller()?;
        let group = caller.ok().and_then(|caller| caller.group);
        let unit = group.and_then(|group| self.kernel.unit_of(group));
        Some(Description::of(caller, unit).to_string())
    }
}

/// Handed out as an `Arc` so that a request may outlive the accept loop that took it.
impl Endpoint for Arc<Vend> {
    fn respond<B>(&self, request: Request<B>, connection: &Arc<Connection>) -> Answering {
        let started = Instant::now();
        let (head, _) = request.into_parts();
        let now = self.clock.now();
        let verdict = self.answer(&head, connection, now);
        let waiting = (verdict.result == VendResult::Pending)
            .then(|| self.may_wait.clone().try_acquire_owned().ok())
            .flatten()
            .zip(verdict.slot.clone());
        match waiting {
            None => Answering::Now(Some(
                self.conclude(verdict, &head, connection, started, now),
            )),
            Some((permit, slot)) => {
                Answering::Later(
                    self.clone()
                        .wait(slot, permit, head, connection.clone(), started),
                )
            }
        }
    }
}

impl Vend {
    fn wait(
        self: Arc<Self>,
        slot: Arc<Slot>,
        permit: OwnedSemaphorePermit,
        head: request::Parts,
        connection: Arc<Connection>,
        started: Instant,
    ) -> Pin<Box<dyn Future<Output = Reply> + Send>> {
        Box::pin(async move {
            let patience = Duration::from_millis(self.pending_wait.load(Ordering::Relaxed));
            let _ = tokio::time::timeout(patience, slot.left_pending()).await;
            drop(permit);
            // The world may have changed: ask anew, under the table that is now in force.
            let now = self.clock.now();
            let verdict = self.answer(&head, &connection, now);
            self.conclude(verdict, &head, &connection, started, now)
        })
    }
}

/// What a role's state means to a caller who may have it.
fn of_state(slot: &Slot, now: SystemTime) -> (VendResult, Reply, Option<Arc<Credentials>>) {
    let state = slot.state();
    let name = || slot.role.name.clone();
    let (result, refusal) = match state.vend(now) {
        Ok(credentials) => {
            return (
                VendResult::Vended,
                reply::credentials(credentials),
                Some(credentials.clone()),
            );
        }
        Err(Phase::Pending) => (VendResult::Pending, Refusal::Pending(name())),
        Err(phase @ (Phase::Expired | Phase::Failed | Phase::Fresh | Phase::Stale)) => {
            if phase == Phase::Expired {
                // After a suspend or a step of the clock the refresher may still be napping.
                slot.wake();
            }
            let failures = RoleState::failures(&state);
            if failures.is_some_and(|failures| failures.error.class.needs_a_person()) {
                (
                    VendResult::AssumeRoleFailed,
                    Refusal::AssumeRoleFailed(name()),
                )
            } else {
                let next_attempt_in = state
                    .next_attempt(now)
                    .duration_since(now)
                    .unwrap_or_default();
                (
                    VendResult::Unavailable,
                    Refusal::Unavailable {
                        role: name(),
                        next_attempt_in,
                    },
                )
            }
        }
    };
    (result, reply::refusal(&refusal), None)
}
