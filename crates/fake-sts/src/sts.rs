//! FakeSts: an STS over real loopback sockets that misbehaves to order.
//!
//! It lives on a thread and a runtime of its own, so it goes on when the test's runtime is busy, and its handle works
//! from synchronous code. It writes raw bytes: no HTTP library would send what an outage sends.
//!
//! What is scripted wins over what AWS would say, the narrow over the wide, the short-lived over the lasting:
//! windows, then the queue of one-shots, then the standing script; in each, the role's, the region's, the operation's,
//! everybody's. A region is that of the request's signature: one fake stands for all of them.
//! Broken answers are broken *good* answers: a caller who is refused gets the refusal.
//!
//! It verifies no signature and evaluates no policy.
//!
//! Never with paused time: a paused runtime that only waits for a socket jumps to its next timeout.

mod catalogue;
mod fault;
mod reply;
mod request;
mod script;
mod server;
mod world;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::net::TcpSocket;

pub use catalogue::{CatalogueRow, catalogue, oddities};
pub use fault::{ErrorForm, Expiry, Fault, Field, Script};
pub use request::Received;
pub use world::Issued;

use script::Scope;
use server::{FakeServer, SharedState};
use world::RoleRules;

/// A running fake. Stops when dropped.
pub struct FakeSts {
    address: SocketAddr,
    shared: Arc<SharedState>,
    server: Mutex<Option<FakeServer>>,
    /// Bound, never listening: nobody else is given the port while the fake is stopped, and connections are refused.
    _port: TcpSocket,
}

impl FakeSts {
    /// On a free loopback port. Accepts every role and every key until told otherwise.
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// On this address, as when a service comes back after an outage.
    pub fn start_at(address: SocketAddr) -> Self {
        // Two fakes in one process must not issue the same keys.
        static FAKES: AtomicU64 = AtomicU64::new(1);
        let seed = FAKES.fetch_add(1, Ordering::Relaxed);
        let port = server::reserve(address)
            .unwrap_or_else(|error| panic!("FakeSts cannot bind {address}: {error}"));
        let address = port.local_addr().unwrap_or(address);
        let sts = Self {
            address,
            shared: Arc::new(SharedState::new(seed)),
            server: Mutex::new(None),
            _port: port,
        };
        sts.restart();
        sts
    }

    /// The address of the endpoint, running or stopped.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value for `endpoint_url` next to `fallback_regions`.
    pub fn regional_endpoint_url(&self) -> String {
        format!("http://{}/{{region}}", self.address)
    }

    /// The value for `endpoint_url`.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes the listener and every connection: from now on connections are refused.
    pub fn stop(&self) {
        if let Some(server) = self.running().take() {
            server.stop();
        }
    }

    /// Comes back on the same port, remembering everything.
    pub fn restart(&self) {
        let mut running = self.running();
        if let Some(server) = running.take() {
            server.stop();
        }
        let server = FakeServer::start(self.address, Arc::clone(&self.shared))
            .unwrap_or_else(|error| panic!("FakeSts cannot listen on {}: {error}", self.address));
        *running = Some(server);
    }

    /// Refuses connections for so long, then comes back by itself. What is connected is cut off.
    pub fn outage(&self, duration: Duration) {
        if let Some(server) = &*self.running() {
            server.outage(duration);
        }
    }

    /// Ends an outage early.
    pub fn end_outage(&self) {
        self.outage(Duration::ZERO);
    }

    // === who may ask ===

    /// Makes keys reproducible: equal seeds issue equal credentials in equal order.
    pub fn with_seed(self, seed: u64) -> Self {
        self.shared.update(|state| state.world.seed = seed);
        self
    }

    /// Only this base access key (and what was issued here) is known; others earn `InvalidClientTokenId`. Adds up.
    pub fn with_base_key(self, access_key_id: &str) -> Self {
        self.add_base_key(access_key_id);
        self
    }

    /// As [`Self::with_base_key`], later.
    pub fn add_base_key(&self, access_key_id: &str) {
        self.shared.update(|state| state.world.base_keys.insert(access_key_id.to_owned()));
    }

    /// The key was deleted or deactivated. When none is left, none is known.
    pub fn revoke_base_key(&self, access_key_id: &str) {
        self.shared.update(|state| {
            state.world.base_keys.remove(access_key_id);
            if state.world.base_keys.is_empty() {
                state.world.base_keys.insert("(none)".to_owned());
            }
        });
    }

    /// Names the owner of the base keys, for `GetCallerIdentity` and for refusals.
    pub fn with_base_arn(self, arn: &str) -> Self {
        self.shared.update(|state| arn.clone_into(&mut state.world.base_arn));
        self
    }

    /// Requests must be signed for `sts` in this region, by a clock within five minutes of the fake's.
    pub fn with_region(self, region: &str) -> Self {
        self.shared.update(|state| state.world.region = Some(region.to_owned()));
        self
    }

    /// Roles that were never named by [`Self::role`] earn `AccessDenied`.
    pub fn deny_unknown(self) -> Self {
        self.shared.update(|state| state.world.deny_unknown = true);
        self
    }

    /// Sessions under 900 seconds earn `ValidationError`, as at AWS. Without it tests can have sessions of a second.
    pub fn with_aws_minimum_duration(self) -> Self {
        self.shared.update(|state| state.world.minimum_duration_seconds = 900);
        self
    }

    // === what goes wrong ===

    /// One role's rules and scripts. Naming it makes it known.
    pub fn role(&self, arn: &str) -> RoleScripts<'_> {
        self.shared.update(|state| {
            state.world.roles.entry(arn.to_owned()).or_default();
        });
        RoleScripts {
            scripts: Scripts { sts: self, key: Scope::Role(arn.to_owned()) },
            arn: arn.to_owned(),
        }
    }

    /// Scripts for what is signed for this region.
    pub fn region(&self, region: &str) -> Scripts<'_> {
        Scripts { sts: self, key: Scope::Region(region.to_owned()) }
    }

    /// Scripts for one operation, such as `GetCallerIdentity`.
    pub fn operation(&self, action: &str) -> Scripts<'_> {
        Scripts { sts: self, key: Scope::Operation(action.to_owned()) }
    }

    /// Scripts for every request.
    pub fn any(&self) -> Scripts<'_> {
        Scripts { sts: self, key: Scope::Any }
    }

    /// A real token bucket before everything else; over it, `Throttling`. AWS: 600 per second and account.
    pub fn limit_rate(&self, per_second: f64, burst: f64) {
        self.limit_rate_with(per_second, burst, Fault::throttled());
    }

    /// The same with another answer, such as a 429 with `Retry-After`.
    pub fn limit_rate_with(&self, per_second: f64, burst: f64, answer: impl Into<Script>) {
        let answer = answer.into();
        self.shared.update(|state| {
            state.limit = Some(script::TokenBucket::new(per_second, burst, answer))
        });
    }

    /// Takes the limit away.
    pub fn unlimit_rate(&self) {
        self.shared.update(|state| state.limit = None);
    }

    /// Puts the service's clock so far ahead of the host's (or, negative, behind): `Date`, `Expiration`, what is
    /// expired, and which signatures are in time.
    pub fn shift_clock(&self, seconds: i64) {
        self.shared.update(|state| state.world.clock_shift_seconds = seconds);
    }

    // === what was seen ===

    /// Every request read so far, in order of arrival.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.update(|state| state.log.clone())
    }

    /// How many requests named this role.
    pub fn count(&self, role_arn: &str) -> usize {
        self.shared.update(|state| {
            state.log.iter().filter(|request| request.role_arn.as_deref() == Some(role_arn)).count()
        })
    }

    /// How many connections were accepted, also those that never got to send a request.
    pub fn connections(&self) -> u64 {
        self.shared.update(|state| state.connections)
    }

    /// The requests read so far, and forgets them: for long runs.
    pub fn take_requests(&self) -> Vec<Received> {
        self.shared.update(|state| std::mem::take(&mut state.log))
    }

    /// Forgets the requests, not what was issued.
    pub fn forget_requests(&self) {
        self.shared.update(|state| state.log.clear());
    }

    /// Blocks until the log satisfies `enough` and returns it; panics with the log when it does not within `deadline`.
    /// Not on a runtime that must turn meanwhile: there, [`Self::seen`].
    pub fn wait_for(
        &self,
        enough: impl Fn(&[Received]) -> bool,
        deadline: Duration,
    ) -> Vec<Received> {
        self.shared.wait_for(enough, deadline)
    }

    /// [`Self::wait_for`] for asynchronous code.
    pub async fn seen(
        &self,
        enough: impl Fn(&[Received]) -> bool,
        deadline: Duration,
    ) -> Vec<Received> {
        self.shared.seen(enough, deadline).await
    }

    /// Everything ever issued, in order.
    pub fn issued(&self) -> Vec<Issued> {
        self.shared.update(|state| state.world.issued.clone())
    }

    /// The same without the first `known`.
    pub fn issued_after(&self, known: usize) -> Vec<Issued> {
        self.shared.update(|state| {
            let issued = &state.world.issued;
            issued.get(known..).unwrap_or_default().to_vec()
        })
    }

    /// Every secret access key and session token ever issued: what no log, error or metric may contain.
    pub fn secrets(&self) -> Vec<String> {
        self.issued()
            .into_iter()
            .flat_map(|issued| [issued.secret_access_key, issued.session_token])
            .collect()
    }

    /// The service's own clock.
    pub fn now(&self) -> Timestamp {
        self.shared.update(|state| state.world.now())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<FakeServer>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FakeSts {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for FakeSts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeSts").field("address", &self.address).finish_non_exhaustive()
    }
}

/// One role's rules; derefs to its scripts.
#[derive(Debug)]
pub struct RoleScripts<'a> {
    scripts: Scripts<'a>,
    arn: String,
}

impl RoleScripts<'_> {
    /// The trust policy demands this external id.
    pub fn external_id(&self, id: &str) -> &Self {
        self.rule(|rules| rules.external_id = Some(id.to_owned()))
    }

    /// The role's `MaxSessionDuration`.
    pub fn max_session(&self, seconds: u32) -> &Self {
        self.rule(|rules| rules.max_session_seconds = Some(seconds))
    }

    /// The trust is gone, until [`Self::allow`].
    pub fn deny(&self) -> &Self {
        self.rule(|rules| rules.denied = true)
    }

    /// The trust is back.
    pub fn allow(&self) -> &Self {
        self.rule(|rules| rules.denied = false)
    }

    /// How many requests named it.
    pub fn count(&self) -> usize {
        self.scripts.sts.count(&self.arn)
    }

    fn rule(&self, change: impl FnOnce(&mut RoleRules)) -> &Self {
        self.scripts
            .sts
            .shared
            .update(|state| change(state.world.roles.entry(self.arn.clone()).or_default()));
        self
    }
}

impl<'a> Deref for RoleScripts<'a> {
    type Target = Scripts<'a>;

    fn deref(&self) -> &Scripts<'a> {
        &self.scripts
    }
}

/// The scripts of a role, a region, an operation, or of every request.
#[derive(Debug)]
pub struct Scripts<'a> {
    sts: &'a FakeSts,
    key: Scope,
}

impl Scripts<'_> {
    /// Adds one to the end of the queue.
    pub fn once(&self, script: impl Into<Script>) -> &Self {
        self.times(1, script)
    }

    /// Adds so many of the same to the end of the queue.
    pub fn times(&self, times: usize, script: impl Into<Script>) -> &Self {
        let script = script.into();
        self.plan(|plan| plan.queue.extend(std::iter::repeat_n(script, times)))
    }

    /// From now on, whenever the queue is empty.
    pub fn always(&self, script: impl Into<Script>) -> &Self {
        let script = script.into();
        self.plan(|plan| plan.standing = Some(script))
    }

    /// For so long from now, before the queue.
    pub fn window(&self, duration: Duration, script: impl Into<Script>) -> &Self {
        let script = script.into();
        let end = Instant::now() + duration;
        self.plan(|plan| plan.windows.push((end, script)))
    }

    /// Takes everything back.
    pub fn clear(&self) -> &Self {
        self.plan(|plan| *plan = script::ScriptPlan::default())
    }

    /// How many one-shots have not happened yet.
    pub fn queued(&self) -> usize {
        self.sts
            .shared
            .update(|state| state.plans.get(&self.key).map_or(0, |plan| plan.queue.len()))
    }

    fn plan(&self, change: impl FnOnce(&mut script::ScriptPlan)) -> &Self {
        self.sts.shared.update(|state| change(state.plans.entry(self.key.clone()).or_default()));
        self
    }
}
