//! Requests for credentials: who asks, for which role, and what is in hand. Synchronous, from
//! memory.
//!
//! Two protocols lead to the same decision: `GET /v1/credentials/{role}` with the role's token, and
//! instance metadata ([`imds`](super::imds)).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use aws_smithy_async::time::SharedTimeSource;
use http::{Method, Request, request};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::either::Either;

use super::guard::{Admitted, direct};
use super::imds::ImdsEndpoint;
use super::reply::{self, Refusal, Reply};
use super::{Connection, Endpoint, ReplyFuture, ready};
use crate::audit::{Audit, AuditEvent};
use crate::metrics::Metrics;
use crate::peer::PeerLookup;
use crate::slots::{RoleCounters, Slot, Slots, Table, VendResult};
use roletap_core::caller::{self, Consumer, Description};
use roletap_core::credentials::Credentials;
use roletap_core::lifecycle::{Phase, RoleState};
use roletap_core::token_digest::Digest;

pub use roletap_core::credentials::PATH;

/// An endpoint that vends credentials.
#[derive(Debug)]
pub struct Vend {
    ctx: Arc<VendContext>,
    protocol: Protocol,
    /// Requests that wait must not take the places of those that can be answered.
    waiting: Arc<Semaphore>,
}

/// Shared by all endpoints that vend credentials.
#[derive(Debug)]
pub struct VendContext {
    pub slots: Arc<Slots>,
    pub clock: SharedTimeSource,
    pub metrics: Arc<Metrics>,
    pub audit: Audit,
    pub peers: Arc<PeerLookup>,
}

/// The protocol of an endpoint.
#[derive(Debug)]
pub enum Protocol {
    /// Requests carry a role's token. They name one of these addresses, loopback, or an address
    /// that SDKs know as a container endpoint.
    Token(Vec<IpAddr>),
    /// Requests are those to instance metadata.
    Imds(ImdsEndpoint),
}

/// The decision about a request.
enum Decision {
    /// The request is not about credentials: nothing is counted or audited.
    Answered(Reply),
    /// Credentials are refused. The slot is there if the request was authorised for a role.
    Refused(Option<Arc<Slot>>, Refusal),
    /// Credentials of this role are vended.
    Vended(Arc<Slot>, Arc<Credentials>),
}

/// A request, with all that a decision about it depends on beside the table.
#[derive(Clone, Copy)]
struct Incoming<'r> {
    head: &'r request::Parts,
    connection: &'r Connection,
    started: Instant,
    now: SystemTime,
}

impl Vend {
    /// Makes an endpoint at which at most `max_waiting` requests wait for pending roles.
    pub fn new(ctx: Arc<VendContext>, protocol: Protocol, max_waiting: usize) -> Self {
        Self { ctx, protocol, waiting: Arc::new(Semaphore::new(max_waiting)) }
    }

    fn decide(&self, table: &Table, incoming: Incoming<'_>) -> Decision {
        let Incoming { head, now, .. } = incoming;
        let access = match &self.protocol {
            Protocol::Token(hosts) => by_token(table, hosts, head, now),
            Protocol::Imds(endpoint) => endpoint.access(table, head, now),
        };
        let slot = match access {
            Ok(Admitted::Role(slot)) => slot,
            Ok(Admitted::Answered(reply)) => return Decision::Answered(reply),
            Err(refusal) => return Decision::Refused(None, refusal),
        };
        match self.vend(&slot, incoming) {
            Ok(credentials) => Decision::Vended(slot, credentials),
            Err(refusal) => Decision::Refused(Some(slot), refusal),
        }
    }

    fn vend(&self, slot: &Slot, incoming: Incoming<'_>) -> Result<Arc<Credentials>, Refusal> {
        let consumer = self
            .admit(slot, incoming.connection)
            .map_err(|caller| Refusal::CallerNotAllowed { role: slot.role.name.clone(), caller })?;
        slot.mark_used();
        let vended = in_hand(slot, incoming.now);
        if incoming.head.method == Method::GET {
            let expires_at = vended.as_deref().ok().map(Credentials::expires_at);
            slot.counts.consumers.asked(consumer, expires_at);
        }
        vended
    }

    /// Returns the consumer of the role that opened this connection, if the role lets it in.
    fn admit(&self, slot: &Slot, connection: &Connection) -> Result<Consumer, Description> {
        let callers = &slot.role.callers;
        if callers.is_empty() {
            return Ok(Consumer::default());
        }
        let peers = &self.ctx.peers;
        let seen = connection.caller(|client, server, socket| peers.caller(client, server, socket));
        caller::admit(callers, seen, |group| peers.unit_of(group))
    }

    /// Counts and audits a decision, and renders it.
    fn conclude(&self, decision: Decision, incoming: Incoming<'_>) -> Reply {
        let Incoming { head, connection, started, now } = incoming;
        let (slot, result, credentials, reply) = match decision {
            Decision::Answered(reply) => return reply,
            Decision::Refused(slot, refusal) => {
                (slot, refusal.result(), None, reply::refusal(&refusal))
            }
            Decision::Vended(slot, credentials) => {
                let reply = match self.protocol {
                    Protocol::Token(_) => reply::credentials(&credentials),
                    Protocol::Imds(_) => reply::imds_credentials(&credentials, &slot.role),
                };
                (Some(slot), VendResult::Vended, Some(credentials), reply)
            }
        };
        let metrics = &self.ctx.metrics;
        let counts: &RoleCounters =
            slot.as_ref().map_or(metrics.unknown_role(), |slot| &slot.counts);
        metrics.answered(counts, result, started.elapsed());
        let event = AuditEvent {
            counter: counts.answers(result),
            role: slot.as_ref().map(|slot| &slot.role.name),
            result,
            credentials: credentials.as_deref(),
            head,
            peer: connection.peer,
            now,
        };
        self.ctx.audit.record(event, || self.describe(connection));
        reply
    }

    /// Describes the caller, if an `allow_users` or `allow_units` has made roletap look it up.
    fn describe(&self, connection: &Connection) -> Option<String> {
        let caller = connection.known_caller()?;
        let group = caller.ok().and_then(|caller| caller.group);
        let unit = group.and_then(|group| self.ctx.peers.unit_of(group));
        Some(Description::of(caller, unit).to_string())
    }
}

/// An `Arc`, so that a request may outlive the accept loop that took it.
impl Endpoint for Arc<Vend> {
    fn respond<B>(&self, request: Request<B>, connection: &Arc<Connection>) -> ReplyFuture {
        let started = Instant::now();
        let (head, _) = request.into_parts();
        let now = self.ctx.clock.now();
        let incoming = Incoming { head: &head, connection, started, now };
        let table = self.ctx.slots.load();
        let decision = self.decide(&table, incoming);
        if let Decision::Refused(Some(slot), Refusal::Pending(_)) = &decision
            && let Ok(permit) = self.waiting.clone().try_acquire_owned()
        {
            let (vend, connection) = (self.clone(), connection.clone());
            let (slot, patience) = (slot.clone(), table.pending_wait);
            return Either::Right(Box::pin(async move {
                let _ = tokio::time::timeout(patience, slot.first_attempt_concluded()).await;
                drop(permit);
                // A reload may have come meanwhile: decide anew, under the table of now.
                let now = vend.ctx.clock.now();
                let incoming = Incoming { head: &head, connection: &connection, started, now };
                let decision = vend.decide(&vend.ctx.slots.load(), incoming);
                Ok(vend.conclude(decision, incoming))
            }));
        }
        ready(self.conclude(decision, incoming))
    }
}

/// Returns the role of the path, if the token opens it.
fn by_token(
    table: &Table,
    hosts: &[IpAddr],
    head: &request::Parts,
    now: SystemTime,
) -> Result<Admitted, Refusal> {
    let token = direct(head, hosts).ok_or(Refusal::Forbidden)?;
    let name = head.uri.path().strip_prefix(PATH).ok_or(Refusal::NotFound)?;
    if head.method != Method::GET && head.method != Method::HEAD {
        return Err(Refusal::MethodNotAllowed);
    }
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
            _ if known.is_some() => return Err(Refusal::RoleNotFound),
            _ => return Err(Refusal::Unauthorized),
        },
    };
    Ok(Admitted::Role(slot.clone()))
}

/// Returns the unexpired credentials of a role.
fn in_hand(slot: &Slot, now: SystemTime) -> Result<Arc<Credentials>, Refusal> {
    let state = slot.state();
    let role = || slot.role.name.clone();
    match state.vend(now) {
        Ok(credentials) => Ok(credentials.clone()),
        Err(Phase::Pending) => Err(Refusal::Pending(role())),
        Err(phase @ (Phase::Expired | Phase::Failed | Phase::Fresh | Phase::Stale)) => {
            if phase == Phase::Expired {
                // After a suspend or a step of the clock the refresher may still be napping.
                slot.wake();
            }
            let failures = RoleState::failures(&state);
            if failures.is_some_and(|failures| failures.error.class.needs_a_person()) {
                return Err(Refusal::AssumeRoleFailed(role()));
            }
            let next_attempt_in = state.next_attempt(now).duration_since(now).unwrap_or_default();
            Err(Refusal::Unavailable { role: role(), next_attempt_in })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use http_body_util::BodyExt;

    use super::*;
    use crate::fleet::Fleet;
    use crate::refresher::RefreshContext;
    use crate::server::imds::SessionKey;
    use crate::simulated::{Scripted, Wall, at};
    use crate::sts_queue::Queue;
    use crate::tokens::Tokens;
    use roletap_core::budget::Limits;
    use roletap_core::config::{Config, ConfigFile, FixedHost};

    /// A configuration whose one role and region are called after `version`. Only version 1 needs no session token.
    fn config(version: u8) -> Config {
        let http_tokens = if version == 1 { "optional" } else { "required" };
        let text = format!(
            "[sts]\nregion = \"eu-central-1\"\n\
             [imds.sink]\nlisten = [\"127.0.0.1:8080\"]\nrole = \"role-{version}\"\nregion = \"eu-west-{version}\"\n\
             http_tokens = \"{http_tokens}\"\n\
             [role.role-{version}]\nrole_arn = \"arn:aws:iam::111122223333:role/r\"\n"
        );
        Config::parse(vec![ConfigFile::text("roletap.toml", text)], &FixedHost::default())
            .unwrap_or_else(|report| panic!("{}", report.render("", false)))
            .config
    }

    /// The status and the body of what is answered at once to a request of instance metadata.
    async fn get(vend: &Arc<Vend>, path: &str, session: Option<&str>) -> (u16, String) {
        let mut request = Request::get(format!("/latest/meta-data/{path}"));
        if let Some(session) = session {
            request = request.header("x-aws-ec2-metadata-token", session);
        }
        let connection = Connection {
            peer: ([127, 0, 0, 1], 40_000).into(),
            local: None,
            inherited: None,
            caller: parking_lot::Mutex::default(),
        };
        let request = request.body(()).unwrap();
        let reply = vend.respond(request, &Arc::new(connection)).await.unwrap();
        let status = reply.status().as_u16();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Two configurations take turns, and every answer is one that a single one of them gives.
    #[tokio::test]
    async fn a_request_during_a_reload_sees_the_old_configuration_or_the_new_one_whole() {
        let (wall, slots) = (Wall::new(), Arc::new(Slots::default()));
        let metrics = Arc::new(Metrics::new().unwrap());
        let issuer =
            Scripted::new(wall.shared(), Duration::ZERO, |_, _| Ok(Duration::from_secs(3600)));
        let ctx = RefreshContext {
            issuer: Arc::new(issuer),
            attempt_deadline: Duration::from_secs(1),
            queue: Queue::new(Limits { max_in_flight: 1, max_requests_per_second: 1 }),
            clock: wall.shared(),
            metrics: metrics.clone(),
            heartbeat: Arc::default(),
        };
        let mut fleet = Fleet::new(ctx, slots.clone());
        let both = [config(1), config(2)];
        fleet.apply(&both[0], &Tokens::default(), None);
        let key = SessionKey::of(&[7; 32], "sink");
        let session = key.issue(at(0), 3600);
        let imds = both[0].imds.values().next().unwrap();
        let protocol = Protocol::Imds(ImdsEndpoint::new(imds, key));
        let clock = wall.shared();
        let ctx = VendContext { slots, clock, metrics, audit: Audit::off(), peers: Arc::default() };
        let vend = Arc::new(Vend::new(Arc::new(ctx), protocol, 1));

        let reloading = Arc::new(AtomicBool::new(true));
        let client = std::thread::spawn({
            let reloading = reloading.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    let mut seen = [0; 4];
                    while reloading.load(Ordering::Relaxed) {
                        let credentials = "iam/security-credentials/";
                        let answers = [
                            get(&vend, credentials, None).await,
                            get(&vend, "placement/region", None).await,
                            get(&vend, credentials, Some(&session)).await,
                            get(&vend, "placement/region", Some(&session)).await,
                        ];
                        for (number, (status, body)) in answers.iter().enumerate() {
                            match (number, *status, body.as_str()) {
                                // The first configuration, to all.
                                (0 | 2, 200, "role-1") | (1 | 3, 200, "eu-west-1") => seen[0] += 1,
                                // The second, to who has a session token and who has none.
                                (0 | 1, 401, _) => seen[1] += 1,
                                (2, 200, "role-2") | (3, 200, "eu-west-2") => seen[2] += 1,
                                _ => seen[3] += 1,
                            }
                        }
                    }
                    seen
                })
            }
        });
        for turn in 0..20_000 {
            fleet.apply(&both[(turn + 1) % 2], &Tokens::default(), None);
            tokio::task::yield_now().await;
        }
        reloading.store(false, Ordering::Relaxed);
        let [first, refused, second, mixed] = client.join().unwrap();
        assert_eq!(mixed, 0, "answers of two configurations at once");
        assert!(first > 0 && refused > 0 && second > 0, "{first}, {refused}, {second}");
    }
}
