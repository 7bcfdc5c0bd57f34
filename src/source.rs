//! Base identities: the credentials that sign requests to STS. Held, loaded again ahead of their
//! expiry, built anew.
//!
//! They are held here and not in the SDK's cache, because that one loads in the request path, never
//! notices that STS refused what it holds, and never reads a profile file twice.
//!
//! Each source has a task of its own: one load at a time, bounded by [`LOAD_TIMEOUT`], and a role
//! of another source does not wait for it. A source is looked at whenever a role signs with it and
//! every 30 seconds, so a file that changed is read within seconds. A failed load keeps what is
//! held until it expires. However many roles complain, a source is loaded at most as often as its
//! own back-off allows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_credential_types::Credentials;
use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::{Mutex, Notify};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::sts::Client;
use roletap_core::backoff::Backoff;
use roletap_core::role::{CallerIdentity, Source, SourceName};

mod error;
mod files;
mod load;
pub mod process;

pub use error::SourceError;
use files::Stamps;
pub use files::read_token;

/// The longest that a load takes. IMDS alone may need four tries of a second each.
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time between two looks at a source that no role signs with.
const NAP: Duration = Duration::from_secs(30);
/// How long before expiry a source is loaded again, or a third of the lifetime if that is less.
const EXPIRY_LEAD: Duration = Duration::from_secs(300);
/// How often credentials without an expiry are loaded again.
const RELOAD_EVERY: Duration = Duration::from_secs(300);
/// The wait after a second failed load, doubled by each that follows. The first is tried again at once.
const RETRY: Backoff = Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(30) };

/// Called when a source that failed gives credentials again: roles that wait for it try at once.
pub type OnRecovery = Arc<dyn Fn(&SourceName) + Send + Sync>;

/// All sources that a role is signed with.
pub struct Sources {
    tasks: ArcSwap<BTreeMap<SourceName, Arc<SourceTask>>>,
    context: Arc<Context>,
}

/// The parts that all sources share.
struct Context {
    sts: ArcSwap<Client>,
    clock: SharedTimeSource,
    on_recovery: OnRecovery,
}

/// One source, and the task that keeps it loaded.
struct SourceTask {
    source: Arc<Source>,
    context: Arc<Context>,
    /// Locked while a load is under way: there is one at a time.
    state: Mutex<State>,
    /// The credentials of the last load that succeeded. Replaced under the lock, read without it.
    held: ArcSwapOption<InHand>,
    /// The error of the last load, if it failed.
    error: ArcSwapOption<SourceError>,
    /// An operator asked for a load at the next look.
    reload_requested: AtomicBool,
    /// The number of loads that have concluded, either way.
    concluded: AtomicU64,
    /// The number of the load whose credentials STS refused.
    refused: AtomicU64,
    wake: Notify,
    task: std::sync::Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct State {
    failed: Option<Failed>,
    /// The number of loads that succeeded.
    loads: u64,
    /// How often in a row STS refused a key that a new load brought again, and until when it is not
    /// asked again.
    refusals: u32,
    trust_until: Option<Instant>,
    /// The stamps of the files before the last load.
    stamps: Stamps,
}

struct Failed {
    error: SourceError,
    count: u32,
    again_at: Instant,
    /// Its files cannot even be looked at, so nothing tells that they changed.
    blind: bool,
}

/// The credentials of a source that sign now.
#[derive(Debug, Clone)]
pub struct InHand {
    /// The credentials. Their `Debug` shows no secret.
    pub credentials: Credentials,
    /// The identity that they belong to; asked only for temporary ones, which may be a role's.
    pub identity: Option<CallerIdentity>,
    /// The number of the load, counted from 1.
    load: u64,
    loaded_at: SystemTime,
}

/// The state of a source, for metrics and `/roles`.
#[derive(Debug, Clone)]
pub struct Status {
    /// True while credentials are held that STS has not refused.
    pub held: bool,
    /// The expiry of the credentials, if they have one.
    pub expires_at: Option<SystemTime>,
    /// The error of the last load, if it failed.
    pub error: Option<SourceError>,
    /// The identity that the credentials belong to, where it is known.
    pub identity: Option<CallerIdentity>,
}

impl Status {
    /// True while usable credentials are held at `now`.
    pub fn is_up(&self, now: SystemTime) -> bool {
        self.held && self.expires_at.is_none_or(|at| at > now)
    }
}

impl Sources {
    /// No sources yet; those to come exchange tokens by `sts`, and read the local time from
    /// `clock`.
    pub fn new(clock: SharedTimeSource, sts: Arc<Client>, on_recovery: OnRecovery) -> Self {
        let context = Context { sts: ArcSwap::new(sts), clock, on_recovery };
        Self { tasks: ArcSwap::default(), context: Arc::new(context) }
    }

    /// Replaces the client of STS, after a reload has changed its settings.
    pub fn use_client(&self, sts: Arc<Client>) {
        self.context.sts.store(sts);
    }

    /// Keeps these sources and no others. One whose definition is unchanged goes on with what it
    /// holds, and is loaded anew. Has to be called within a runtime.
    pub fn apply(&self, sources: impl IntoIterator<Item = Arc<Source>>) {
        let before = self.tasks.load();
        let mut after: BTreeMap<SourceName, Arc<SourceTask>> = BTreeMap::new();
        for source in sources {
            after.entry(source.name.clone()).or_insert_with(|| match before.get(&source.name) {
                Some(task) if task.source == source => {
                    task.request_reload();
                    task.clone()
                }
                Some(_) | None => SourceTask::start(source, self.context.clone()),
            });
        }
        self.tasks.store(Arc::new(after));
    }

    /// The credentials of this source, loaded if they have to be.
    pub async fn credentials(&self, source: &Source) -> Result<Arc<InHand>, SourceError> {
        self.task(source)?.credentials().await
    }

    /// The credentials of this source, if usable ones are held; without a look at files or a load.
    pub fn in_hand(&self, source: &Source) -> Option<Arc<InHand>> {
        self.task(source).ok()?.in_hand()
    }

    /// Records that STS refused these credentials: the next look loads anew.
    pub fn refused(&self, source: &Source, in_hand: &InHand) {
        if let Ok(task) = self.task(source) {
            task.refused.store(in_hand.load, Ordering::Release);
            task.wake.notify_one();
        }
    }

    /// Every source with its status, by name; `None` before its first load.
    pub fn statuses(&self) -> Vec<(Arc<Source>, Option<Status>)> {
        self.tasks.load().values().map(|task| (task.source.clone(), task.status())).collect()
    }

    fn task(&self, source: &Source) -> Result<Arc<SourceTask>, SourceError> {
        let tasks = self.tasks.load();
        tasks
            .get(&source.name)
            .filter(|task| *task.source == *source)
            .cloned()
            .ok_or_else(|| SourceError::new("it is no longer configured"))
    }
}

impl SourceTask {
    fn start(source: Arc<Source>, context: Arc<Context>) -> Arc<Self> {
        let started = Arc::new(Self {
            source,
            context,
            state: Mutex::default(),
            held: ArcSwapOption::empty(),
            error: ArcSwapOption::empty(),
            reload_requested: AtomicBool::new(false),
            concluded: AtomicU64::new(0),
            // Loads are counted from 1, so this is none.
            refused: AtomicU64::new(u64::MAX),
            wake: Notify::new(),
            task: std::sync::Mutex::default(),
        });
        // The task must not keep its source alive, or neither would ever end.
        let weak = Arc::downgrade(&started);
        let task = tokio::spawn(async move {
            while let Some(source) = weak.upgrade() {
                // An error stands in the status, and is logged where it changes.
                let _ = source.credentials().await;
                let nap = source.nap().await;
                let _ = tokio::time::timeout(nap, source.wake.notified()).await;
            }
        });
        *started.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
        started
    }

    fn request_reload(&self) {
        self.reload_requested.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    async fn nap(&self) -> Duration {
        let state = self.state.lock().await;
        let again = state.failed.as_ref().map(|failed| failed.again_at);
        let until = again.or(state.trust_until.filter(|_| self.is_refused()));
        let wait = until.map(|at| at.saturating_duration_since(Instant::now()));
        wait.unwrap_or(NAP).clamp(RETRY.base, NAP)
    }

    /// True while STS has refused what is held.
    fn is_refused(&self) -> bool {
        let refused = self.refused.load(Ordering::Acquire);
        self.held.load().as_ref().is_some_and(|held| held.load == refused)
    }

    /// The credentials that are held, if they are unexpired and not refused by STS.
    fn in_hand(&self) -> Option<Arc<InHand>> {
        let held = self.held.load_full()?;
        let expired = held.credentials.expiry().is_some_and(|at| at <= self.context.clock.now());
        let refused = held.load == self.refused.load(Ordering::Acquire);
        (!refused && !expired).then_some(held)
    }

    fn status(&self) -> Option<Status> {
        if self.concluded.load(Ordering::Acquire) == 0 {
            return None;
        }
        let held = self.held.load();
        let held = held.as_ref();
        Some(Status {
            held: held.is_some_and(|held| held.load != self.refused.load(Ordering::Acquire)),
            expires_at: held.and_then(|held| held.credentials.expiry()),
            error: self.error.load().as_deref().cloned(),
            identity: held.and_then(|held| held.identity.clone()),
        })
    }

    async fn credentials(&self) -> Result<Arc<InHand>, SourceError> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(_) => {
                if let Some(in_hand) = self.in_hand() {
                    return Ok(in_hand);
                }
                let before = self.concluded.load(Ordering::Acquire);
                let state = self.state.lock().await;
                // What was waited for is the answer: a hundred roles must not load in turn.
                if self.concluded.load(Ordering::Acquire) != before {
                    let error = state.failed.as_ref().map(|failed| failed.error.clone());
                    if let Some(answer) = self.in_hand().map(Ok).or(error.map(Err)) {
                        return answer;
                    }
                }
                state
            }
        };
        let now = self.context.clock.now();
        let request = ReloadRequest::take(&self.reload_requested);
        let requested = request.is_pending;
        let backs_off = |failed: &Failed| !requested && failed.again_at > Instant::now();
        if let Some(failed) = &state.failed
            && failed.blind
            && backs_off(failed)
        {
            return self.in_hand().ok_or_else(|| failed.error.clone());
        }
        let stamps = match files::look(&self.source.origin).await {
            Ok(stamps) => stamps,
            Err(error) => {
                request.conclude();
                let outcome = self.conclude(&mut state, Err(error));
                if let Some(failed) = &mut state.failed {
                    failed.blind = true;
                }
                return outcome;
            }
        };
        let changed = stamps != state.stamps;
        let refused =
            self.is_refused() && state.trust_until.is_none_or(|until| until <= Instant::now());
        let due = requested || changed || refused || state.failed.is_some();
        if let Some(held) = self.held.load_full().filter(|held| !due && held.is_fresh(now)) {
            return Ok(held);
        }
        if let Some(failed) = state.failed.as_ref().filter(|failed| !changed && backs_off(failed)) {
            return self.in_hand().ok_or_else(|| failed.error.clone());
        }
        // The caller may be gone before the load concludes: then the next one looks again.
        let loaded = self.load(&mut state, now).await;
        state.stamps = stamps;
        request.conclude();
        self.conclude(&mut state, loaded)
    }

    async fn load(&self, state: &mut State, loaded_at: SystemTime) -> Result<InHand, SourceError> {
        let Context { clock, .. } = &*self.context;
        let sts = self.context.sts.load_full();
        let credentials = bounded(load::load(&self.source.origin, clock, &sts)).await?;
        let credentials = load::unexpired(credentials, clock.now())?;
        state.loads += 1;
        let same = self
            .held
            .load_full()
            .filter(|before| before.credentials.access_key_id() == credentials.access_key_id());
        let identity = match same.and_then(|same| same.identity.clone()) {
            Some(identity) => Some(identity),
            // Only what is temporary can be of a role.
            None if credentials.access_key_id().starts_with("ASIA") => {
                sts.get_caller_identity(credentials.clone(), sts.attempt_timeout()).await.ok()
            }
            None => None,
        };
        Ok(InHand { credentials, identity, load: state.loads, loaded_at })
    }

    /// Records the outcome of a load; gives the credentials that can be used after it.
    fn conclude(
        &self,
        state: &mut State,
        loaded: Result<InHand, SourceError>,
    ) -> Result<Arc<InHand>, SourceError> {
        let outcome = match loaded {
            Ok(in_hand) => {
                let was_refused = self.is_refused();
                let same = self.held.load().as_ref().is_some_and(|held| {
                    let before = &held.credentials;
                    before.access_key_id() == in_hand.credentials.access_key_id()
                        && before.secret_access_key() == in_hand.credentials.secret_access_key()
                });
                if same && was_refused {
                    state.refusals = state.refusals.saturating_add(1);
                    state.trust_until = Some(Instant::now() + backoff(state.refusals + 1));
                } else if !same {
                    state.refusals = 0;
                    state.trust_until = None;
                }
                let in_hand = Arc::new(in_hand);
                let recovered = state.failed.take().is_some() || (was_refused && !same);
                self.held.store(Some(in_hand.clone()));
                if recovered {
                    tracing::info!(
                        source = self.source.name.as_str(),
                        access_key_id = in_hand.credentials.access_key_id(),
                        "base credentials are there again"
                    );
                    (self.context.on_recovery)(&self.source.name);
                }
                Ok(in_hand)
            }
            Err(error) => {
                let before = state.failed.take();
                let count = before.as_ref().map_or(0, |failed| failed.count) + 1;
                if before.is_none_or(|before| before.error != error) {
                    self.log_failed(&error, self.in_hand().is_some());
                }
                state.failed = Some(Failed {
                    error: error.clone(),
                    count,
                    again_at: Instant::now() + backoff(count),
                    blind: false,
                });
                self.in_hand().ok_or(error)
            }
        };
        self.error.store(state.failed.as_ref().map(|failed| Arc::new(failed.error.clone())));
        self.concluded.fetch_add(1, Ordering::AcqRel);
        outcome
    }

    fn log_failed(&self, error: &SourceError, keeps: bool) {
        let source = self.source.name.as_str();
        if keeps {
            tracing::warn!(source, %error, "base credentials could not be loaded again; keeping those in hand");
        } else {
            tracing::error!(source, %error, "base credentials could not be loaded");
        }
    }
}

impl Drop for SourceTask {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

impl InHand {
    /// True until a new load is due.
    fn is_fresh(&self, now: SystemTime) -> bool {
        // A clock that stepped back makes the age negative: load again rather than wait for it to pass.
        let Ok(age) = now.duration_since(self.loaded_at) else {
            return false;
        };
        match self.credentials.expiry() {
            None => age < RELOAD_EVERY,
            Some(expires_at) => {
                let life = expires_at.duration_since(self.loaded_at).unwrap_or_default();
                expires_at > now + EXPIRY_LEAD.min(life / 3)
            }
        }
    }
}

/// That an operator asked for a load: asked for again on drop, unless the load has concluded.
struct ReloadRequest<'a> {
    requested: &'a AtomicBool,
    is_pending: bool,
}

impl<'a> ReloadRequest<'a> {
    fn take(requested: &'a AtomicBool) -> Self {
        Self { requested, is_pending: requested.swap(false, Ordering::AcqRel) }
    }

    fn conclude(mut self) {
        self.is_pending = false;
    }
}

impl Drop for ReloadRequest<'_> {
    fn drop(&mut self) {
        if self.is_pending {
            self.requested.store(true, Ordering::Release);
        }
    }
}

/// Loads the credentials of a source once: for commands that run without a daemon.
pub async fn load_once(
    source: &Source,
    clock: &SharedTimeSource,
    sts: &Client,
) -> Result<Credentials, SourceError> {
    files::look(&source.origin).await?;
    let credentials = bounded(load::load(&source.origin, clock, sts)).await?;
    load::unexpired(credentials, clock.now())
}

async fn bounded<T>(load: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
    match tokio::time::timeout(LOAD_TIMEOUT, load).await {
        Ok(loaded) => loaded,
        Err(_) => Err(SourceError::new(format!("no answer within {} s", LOAD_TIMEOUT.as_secs()))),
    }
}

/// The wait after the `n`th failure in a row, `n` from 1.
fn backoff(n: u32) -> Duration {
    match n {
        0 | 1 => Duration::ZERO,
        n => RETRY.ceiling(n - 1),
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}
