//! The admin endpoint: metrics, health, and the state that `roletap status` shows. It shows no
//! credentials.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::SharedTimeSource;
use http::{Method, Request, request};
use serde::Serialize;
use tokio::time::Instant;

use super::guard;
use super::reply::{self, Refusal, Reply};
use super::{Connection, Endpoint, ReplyFuture, ready};
use crate::clock::Skew;
use crate::metrics::{Metrics, ScrapeSnapshot};
use crate::peer::PeerLookup;
use crate::slots::{Slot, Slots, Table};
use crate::source::{Sources, Status};
use crate::sts_queue::Queue;
use roletap_core::credentials::rfc3339;
use roletap_core::failure::explain::{self, Advice};
use roletap_core::lifecycle::{Failures, Phase, RoleState};
use roletap_core::role::{Role, RoleName, Source, SourceName};

/// After this time, readiness no longer waits for pending roles: one that never works must not hold
/// back the others.
pub const START_DEADLINE: Duration = Duration::from_secs(30);

/// The requests that the admin endpoint answers, and the state that the answers show.
#[derive(Debug, Clone)]
pub struct AdminApi {
    pub(crate) slots: Arc<Slots>,
    pub(crate) clock: SharedTimeSource,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) queue: Queue,
    pub(crate) skew: Arc<Skew>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) peers: Arc<PeerLookup>,
    /// True if it listens beyond loopback, where a Prometheus on another host may use any name for
    /// this one.
    pub(crate) serves_others: bool,
    pub(crate) readiness: Arc<Readiness>,
}

/// The readiness of the process.
#[derive(Debug)]
pub struct Readiness {
    deadline: Instant,
    stopping: AtomicBool,
}

impl Readiness {
    /// Ends readiness for good.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Returns true if every required role has left pending, or [`START_DEADLINE`] has passed.
    pub fn is_ready(&self, slots: &Slots) -> bool {
        let first_attempt_concluded =
            |slot: &Arc<Slot>| !slot.role.required || !matches!(**slot.state(), RoleState::Pending);
        !self.stopping.load(Ordering::Acquire)
            && (Instant::now() >= self.deadline
                || slots.load().slots.values().all(first_attempt_concluded))
    }
}

/// Ready at [`START_DEADLINE`] from now at the latest.
impl Default for Readiness {
    fn default() -> Self {
        Self { deadline: Instant::now() + START_DEADLINE, stopping: AtomicBool::new(false) }
    }
}

/// The document that `/roles` answers and `roletap status --json` prints.
#[derive(Debug, Serialize)]
struct Overview {
    version: &'static str,
    time: String,
    ready: bool,
    sts_region: String,
    sts_home_region: String,
    sts_paused: bool,
    sts_queue_depth: usize,
    clock_skew_seconds: Option<f64>,
    /// True if the kernel tells who is calling; null if no role asks for callers.
    callers_known: Option<bool>,
    /// The reason why the kernel does not tell.
    callers_error: Option<String>,
    sources: Vec<SourceView>,
    roles: Vec<RoleView>,
}

#[derive(Debug, Serialize)]
struct SourceView {
    name: String,
    up: bool,
    expires_at: Option<String>,
    origin: String,
    /// The identity of the credentials in hand, if it is known.
    identity: Option<String>,
    last_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct RoleView {
    name: String,
    role_arn: String,
    role_session_name: String,
    /// The name of the source, or `role.NAME` for a chained role.
    source: String,
    phase: &'static str,
    required: bool,
    asked_for: bool,
    /// Consumers whose credentials have expired and who have not asked since.
    stale_consumers: usize,
    access_key_id: Option<String>,
    issued_at: Option<String>,
    expires_at: Option<String>,
    next_attempt_at: String,
    last_error: Option<ErrorView>,
}

#[derive(Debug, Serialize)]
struct ErrorView {
    class: &'static str,
    code: Option<Box<str>>,
    http_status: Option<u16>,
    request_id: Option<Box<str>>,
    message: String,
    /// The parts of the advice in one line.
    advice: String,
    #[serde(flatten)]
    parts: Advice,
    failed_attempts: u32,
    failing_since: String,
}

impl AdminApi {
    fn answer(&self, head: &request::Parts) -> Reply {
        let (method, path) = (&head.method, head.uri.path());
        if !self.serves_others && guard::direct(head, &[]).is_none() {
            return reply::refusal(&Refusal::Forbidden);
        }
        if let Some(role) =
            path.strip_prefix("/roles/").and_then(|rest| rest.strip_suffix("/refresh"))
        {
            return if method == Method::POST {
                self.refresh(role)
            } else {
                reply::refusal(&Refusal::MethodNotAllowed)
            };
        }
        if method != Method::GET && method != Method::HEAD {
            return reply::refusal(&Refusal::MethodNotAllowed);
        }
        match path {
            "/livez" => reply::text(true, "ok\n".to_owned()),
            "/readyz" => self.readyz(),
            "/metrics" => reply::metrics(self.metrics.render(&self.scene(&self.slots.load()))),
            "/roles" => reply::document(serde_json::to_vec(&self.overview()).unwrap_or_default()),
            _ => match path.strip_prefix("/readyz/").map(|role| self.slots.find(role)) {
                Some(Some(slot)) => {
                    let now = self.clock.now();
                    let state = slot.state();
                    reply::text(
                        state.vend(now).is_ok(),
                        format!("{} {}\n", slot.role.name, state.phase(now).as_str()),
                    )
                }
                Some(None) => reply::refusal(&Refusal::RoleNotFound),
                None => reply::refusal(&Refusal::NotFound),
            },
        }
    }

    fn readyz(&self) -> Reply {
        let now = self.clock.now();
        let ready = self.readiness.is_ready(&self.slots);
        let mut body = String::from(if ready { "ready\n" } else { "not ready\n" });
        for slot in self.slots.load().slots.values() {
            body.push_str(&format!("{} {}\n", slot.role.name, slot.state().phase(now).as_str()));
        }
        reply::text(ready, body)
    }

    /// Requests an attempt now, after one that may be under way. The budget applies.
    fn refresh(&self, role: &str) -> Reply {
        match self.slots.find(role) {
            Some(slot) => {
                slot.request_refresh();
                reply::accepted("an attempt will be made as soon as the budget allows")
            }
            None => reply::refusal(&Refusal::RoleNotFound),
        }
    }

    fn scene<'a>(&self, table: &'a Table) -> ScrapeSnapshot<'a> {
        let now = self.clock.now();
        let held = self.sources.statuses().into_iter().map(|(source, status)| {
            let up = status.as_ref().is_some_and(|status| status.is_up(now));
            let expires_at = status.and_then(|status| status.expires_at);
            (source.name.to_string(), up, expires_at)
        });
        ScrapeSnapshot {
            table,
            now,
            queue_depth: self.queue.depth(),
            paused: self.queue.is_paused(),
            clock_skew: self.skew.seconds(),
            sources: held.chain(parents(table, now)).collect(),
        }
    }

    fn overview(&self) -> Overview {
        let table = self.slots.load();
        let scene = self.scene(&table);
        let callers = self.peers.availability();
        Overview {
            version: env!("CARGO_PKG_VERSION"),
            time: rfc3339(scene.now),
            ready: self.readiness.is_ready(&self.slots),
            sts_region: self.metrics.sts_region(),
            sts_home_region: self.metrics.sts_home_region(),
            sts_paused: scene.paused,
            sts_queue_depth: scene.queue_depth,
            clock_skew_seconds: scene.clock_skew,
            callers_known: callers.as_ref().map(Result::is_ok),
            callers_error: callers.and_then(Result::err),
            sources: self
                .sources
                .statuses()
                .into_iter()
                .map(|(source, status)| source_view(&source, status, scene.now))
                .collect(),
            roles: table.slots.values().map(|slot| role_view(slot, scene.now)).collect(),
        }
    }
}

/// Returns each role that another is chained to, as a source.
fn parents(table: &Table, now: SystemTime) -> Vec<(String, bool, Option<SystemTime>)> {
    let names: BTreeSet<&RoleName> = table
        .slots
        .values()
        .filter_map(|slot| slot.role.request.base.parent())
        .map(|parent| &parent.name)
        .collect();
    let slots = names.into_iter().filter_map(|name| table.slots.get(name));
    slots
        .map(|slot| {
            let state = slot.state();
            let end = state.credentials().map(|held| held.expires_at());
            let name = format!("{}{}", SourceName::ROLE_PREFIX, slot.role.name);
            (name, state.vend(now).is_ok(), end)
        })
        .collect()
}

fn source_view(source: &Source, status: Option<Status>, now: SystemTime) -> SourceView {
    let status = status.as_ref();
    SourceView {
        name: source.name.to_string(),
        up: status.is_some_and(|status| status.is_up(now)),
        expires_at: status.and_then(|status| status.expires_at).map(rfc3339),
        origin: source.origin.to_string(),
        identity: status
            .and_then(|status| status.identity.as_ref())
            .map(|identity| identity.arn().to_owned()),
        last_error: status.and_then(|status| status.error.as_ref()).map(ToString::to_string),
    }
}

fn role_view(slot: &Slot, now: SystemTime) -> RoleView {
    let state = slot.state();
    let in_hand = state.credentials();
    RoleView {
        name: slot.role.name.to_string(),
        role_arn: slot.role.request.role_arn.to_string(),
        role_session_name: slot.role.request.session_name.as_str().to_owned(),
        source: slot.role.request.base.to_string(),
        phase: state.phase(now).as_str(),
        required: slot.role.required,
        asked_for: slot.was_used(),
        stale_consumers: slot.counts.consumers.stale(&slot.role.callers, now),
        access_key_id: in_hand.map(|credentials| credentials.access_key_id().to_owned()),
        issued_at: in_hand.map(|credentials| rfc3339(credentials.issued_at())),
        expires_at: in_hand.map(|credentials| rfc3339(credentials.expires_at())),
        next_attempt_at: rfc3339(match state.phase(now) {
            Phase::Pending => now,
            Phase::Expired | Phase::Failed | Phase::Fresh | Phase::Stale => state.next_attempt(now),
        }),
        last_error: state.failures().map(|failures| error_view(&slot.role, failures)),
    }
}

fn error_view(role: &Role, failures: &Failures) -> ErrorView {
    let error = &failures.error;
    let advice = explain::advice(role, error);
    ErrorView {
        class: error.class.as_str(),
        code: error.code.clone(),
        http_status: error.status,
        request_id: error.request_id.clone(),
        message: error.message.clone(),
        advice: advice.to_string(),
        parts: advice,
        failed_attempts: failures.count,
        failing_since: rfc3339(failures.since),
    }
}

impl Endpoint for Arc<AdminApi> {
    fn respond<B>(&self, request: Request<B>, _: &Arc<Connection>) -> ReplyFuture {
        ready(self.answer(&request.into_parts().0))
    }
}
