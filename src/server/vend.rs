//! `GET /v1/credentials/{role}`: who asks, for what, and what is in hand. Synchronous, from memory.
//!
//! There are two doors, and behind both is the same: by a role's token, and in the manner of instance metadata
//! ([`imds`](super::imds)).

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
use super::imds::Front;
use super::reply::{self, Refusal, Reply};
use super::{Answering, Connection, Endpoint};
use crate::audit::Audit;
use crate::caller::kernel::Kernel;
use crate::caller::{self, Consumer, Description};
use crate::credentials::Credentials;
use crate::lifecycle::{Phase, RoleState};
use crate::metrics::Metrics;
use crate::role::Role;
use crate::slots::{Counts, Slot, Slots, VendResult};
use crate::token_digest::Digest;

pub use crate::credentials::PATH;

/// The credentials endpoint, or one front of it.
#[derive(Debug)]
pub struct Vend {
    slots: Arc<Slots>,
    clock: SharedTimeSource,
    metrics: Arc<Metrics>,
    audit: Audit,
    kernel: Arc<Kernel>,
    door: Door,
    /// Milliseconds; a reload may change it.
    pending_wait: AtomicU64,
    /// Requests that wait must not take the places of those that can be answered.
    may_wait: Arc<Semaphore>,
}

/// How requests come in.
#[derive(Debug)]
enum Door {
    /// With a role's token, under one of these names.
    Token(Vec<IpAddr>),
    /// As to instance metadata.
    Imds(Arc<Front>),
}

/// What becomes of a request, before the role's state is looked at.
#[derive(Debug)]
pub(super) enum Ruling {
    /// It has nothing to do with credentials.
    Aside(Reply),
    /// It gets none.
    Refused(VendResult, Refusal),
    /// It may have what this role has.
    Role(Arc<Slot>),
}

/// What is said about a request.
enum Answer {
    /// Nothing that is counted.
    Aside(Reply),
    /// The rest.
    Verdict(Verdict),
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
            door: Door::Token(hosts),
            pending_wait: AtomicU64::new(0),
            may_wait: Arc::new(Semaphore::new(waiters)),
        };
        vend.set_pending_wait(pending_wait);
        vend
    }

    /// The same behind another door.
    pub fn behind(&self, front: Arc<Front>, waiters: usize) -> Self {
        Self {
            slots: self.slots.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            audit: self.audit.clone(),
            kernel: self.kernel.clone(),
            door: Door::Imds(front),
            pending_wait: AtomicU64::new(self.pending_wait.load(Ordering::Relaxed)),
            may_wait: Arc::new(Semaphore::new(waiters)),
        }
    }

    /// How long a request may wait for a pending role, from now on.
    pub fn set_pending_wait(&self, wait: Duration) {
        self.pending_wait
            .store(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The answer, now.
    fn answer(&self, head: &request::Parts, connection: &Connection, now: SystemTime) -> Answer {
        let (ruling, show): (_, Show) = match &self.door {
            Door::Token(hosts) => {
                (self.by_token(hosts, head, now), |credentials, _| reply::credentials(credentials))
            }
            Door::Imds(front) => (front.rule(&self.slots, head, now), reply::imds_credentials),
        };
        Answer::Verdict(match ruling {
            Ruling::Aside(reply) => return Answer::Aside(reply),
            Ruling::Refused(result, refusal) => {
                Verdict { slot: None, result, reply: reply::refusal(&refusal), credentials: None }
            }
            Ruling::Role(slot) => {
                let (result, reply, credentials) = match self.admit(&slot, connection) {
                    Ok(consumer) => {
                        slot.ask();
                        let answer = of_state(&slot, now, show);
                        if head.method == Method::GET {
                            let given = answer.2.as_deref().map(Credentials::expires_at);
                            slot.counts.consumers.asked(consumer, given);
                        }
                        answer
                    }
                    Err(caller) => {
                        let role = slot.role.name.clone();
                        let refusal = Refusal::CallerNotAllowed { role, caller };
                        (VendResult::CallerNotAllowed, reply::refusal(&refusal), None)
                    }
                };
                Verdict { slot: Some(slot), result, reply, credentials }
            }
        })
    }

    /// Which role the token opens.
    fn by_token(&self, hosts: &[IpAddr], head: &request::Parts, now: SystemTime) -> Ruling {
        let Some(token) = direct(head, hosts) else {
            return Ruling::Refused(VendResult::Forbidden, Refusal::Forbidden);
        };
        let Some(name) = head.uri.path().strip_prefix(PATH) else {
            return Ruling::Refused(VendResult::NotServed, Refusal::NotFound);
        };
        if head.method != Method::GET && head.method != Method::HEAD {
            return Ruling::Refused(VendResult::NotServed, Refusal::MethodNotAllowed);
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
                    return Ruling::Refused(VendResult::RoleNotFound, Refusal::RoleNotFound);
                }
                _ => return Ruling::Refused(VendResult::Unauthorized, Refusal::Unauthorized),
            },
        };
        Ruling::Role(slot.clone())
    }

    /// Whether the role is for whoever opened this connection, and as which of its consumers.
    fn admit(&self, slot: &Slot, connection: &Connection) -> Result<Consumer, Description> {
        let callers = &slot.role.callers;
        if callers.demand_nothing() {
            return Ok(Consumer::default());
        }
        let seen =
            connection.caller(|client, server, handed| self.kernel.caller(client, server, handed));
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
        self.metrics.answered(counts, verdict.result, started.elapsed());
        let credentials =
            verdict.credentials.as_deref().map(|held| (held.access_key_id(), held.expires_at()));
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
        let verdict = match self.answer(&head, connection, now) {
            Answer::Aside(reply) => return Answering::Now(Some(reply)),
            Answer::Verdict(verdict) => verdict,
        };
        let waiting = (verdict.result == VendResult::Pending)
            .then(|| self.may_wait.clone().try_acquire_owned().ok())
            .flatten()
            .zip(verdict.slot.clone());
        match waiting {
            None => Answering::Now(Some(self.conclude(verdict, &head, connection, started, now))),
            Some((permit, slot)) => {
                Answering::Later(self.clone().wait(slot, permit, head, connection.clone(), started))
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
            let verdict = match self.answer(&head, &connection, now) {
                Answer::Aside(reply) => return reply,
                Answer::Verdict(verdict) => verdict,
            };
            self.conclude(verdict, &head, &connection, started, now)
        })
    }
}

/// How credentials look behind a door.
type Show = fn(&Credentials, &Role) -> Reply;

/// What a role's state means to a caller who may have it.
fn of_state(
    slot: &Slot,
    now: SystemTime,
    show: Show,
) -> (VendResult, Reply, Option<Arc<Credentials>>) {
    let state = slot.state();
    let name = || slot.role.name.clone();
    let (result, refusal) = match state.vend(now) {
        Ok(credentials) => {
            return (VendResult::Vended, show(credentials, &slot.role), Some(credentials.clone()));
        }
        Err(Phase::Pending) => (VendResult::Pending, Refusal::Pending(name())),
        Err(phase @ (Phase::Expired | Phase::Failed | Phase::Fresh | Phase::Stale)) => {
            if phase == Phase::Expired {
                // After a suspend or a step of the clock the refresher may still be napping.
                slot.wake();
            }
            let failures = RoleState::failures(&state);
            if failures.is_some_and(|failures| failures.error.class.needs_a_person()) {
                (VendResult::AssumeRoleFailed, Refusal::AssumeRoleFailed(name()))
            } else {
                let next_attempt_in =
                    state.next_attempt(now).duration_since(now).unwrap_or_default();
                (VendResult::Unavailable, Refusal::Unavailable { role: name(), next_attempt_in })
            }
        }
    };
    (result, reply::refusal(&refusal), None)
}
