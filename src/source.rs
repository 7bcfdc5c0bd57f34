//! The sources of base credentials, which sign requests to STS. A source is loaded again before its
//! credentials expire.
//!
//! The SDK's cache is not used. It loads in the request path, does not notice that STS refused its
//! credentials, and never reads a profile file twice.
//!
//! Each source has its own task. It makes one load at a time, bounded by [`LOAD_TIMEOUT`], and
//! roles of other sources do not wait for it. A source is checked whenever a role signs with it and
//! every 30 seconds, so a changed file is read soon. After a failed load, the current credentials
//! are kept until they expire. The back-off of a source limits its loads, however many roles fail.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_credential_types::Credentials;
use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

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

/// The longest time of one load. IMDS alone may need four tries of a second each.
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time between two checks of a source that no role signs with.
const NAP: Duration = Duration::from_secs(30);
/// A source is loaded again so long before expiry, or at a third of the lifetime if that is less.
const EXPIRY_LEAD: Duration = Duration::from_secs(300);
/// The age at which credentials without an expiry are loaded again.
const RELOAD_EVERY: Duration = Duration::from_secs(300);
/// The wait after the second failed load in a row. It doubles with each failure; after the first
/// there is no wait.
const RETRY: Backoff = Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(30) };

/// A function that is called when a failed source gives credentials again. Its roles then retry.
pub type OnRecovery = Arc<dyn Fn(&SourceName) + Send + Sync>;

/// The sources that sign for at least one role.
pub struct Sources {
    tasks: ArcSwap<BTreeMap<SourceName, Arc<SourceTask>>>,
    context: Arc<LoadContext>,
}

/// The parts that are shared by all sources.
struct LoadContext {
    sts: ArcSwap<Client>,
    clock: SharedTimeSource,
    on_recovery: OnRecovery,
}

/// One source, with the task that keeps its credentials fresh.
struct SourceTask {
    source: Arc<Source>,
    context: Arc<LoadContext>,
    /// Locked during a load, so that there is one load at a time.
    state: Mutex<SourceState>,
    /// The credentials of the last successful load. Written under the lock, read without it.
    held: ArcSwapOption<InHand>,
    /// Written under the lock, read without it.
    error: ArcSwapOption<SourceError>,
    /// True if a reload of the configuration asks for a load at the next check.
    reload_requested: AtomicBool,
    /// The number of loads that succeeded or failed.
    concluded: AtomicU64,
    /// The number of the load whose credentials STS refused.
    refused: AtomicU64,
    wake: Notify,
    /// Dropped with the source, which ends the task.
    task: OnceLock<AbortOnDropHandle<()>>,
}

#[derive(Default)]
struct SourceState {
    failed: Option<FailedLoad>,
    /// The number of loads that succeeded.
    loads: u64,
    /// The number of loads in a row that returned the key that STS refused. Until `trust_until` no
    /// further load is made for that reason.
    refusals: u32,
    trust_until: Option<Instant>,
    /// Taken before the last load.
    stamps: Stamps,
}

struct FailedLoad {
    error: SourceError,
    count: u32,
    again_at: Instant,
    /// True if its files cannot be checked, so a change of a file goes unnoticed.
    blind: bool,
}

/// The credentials of a source that can sign now.
#[derive(Debug, Clone)]
pub struct InHand {
    /// The credentials that sign. Their `Debug` shows no secret.
    pub credentials: Credentials,
    /// The identity of the credentials. STS is asked only about temporary ones, which may be a
    /// role's.
    pub identity: Option<CallerIdentity>,
    /// Loads are counted from 1.
    load: u64,
    loaded_at: SystemTime,
}

/// The state of a source, for metrics and `/roles`.
#[derive(Debug, Clone)]
pub struct Status {
    /// True if there are credentials that STS has not refused.
    pub held: bool,
    /// The time at which the credentials expire, if they do.
    pub expires_at: Option<SystemTime>,
    /// The error of the last load, if it failed.
    pub error: Option<SourceError>,
    /// The identity of the credentials, if it is known.
    pub identity: Option<CallerIdentity>,
}

impl Status {
    /// True if there are usable credentials at `now`.
    pub fn is_up(&self, now: SystemTime) -> bool {
        self.held && self.expires_at.is_none_or(|at| at > now)
    }
}

impl Sources {
    /// Creates an empty set. Its sources exchange tokens by `sts` and read the local time from
    /// `clock`.
    pub fn new(clock: SharedTimeSource, sts: Arc<Client>, on_recovery: OnRecovery) -> Self {
        let context = LoadContext { sts: ArcSwap::new(sts), clock, on_recovery };
        Self { tasks: ArcSwap::default(), context: Arc::new(context) }
    }

    /// Replaces the client of STS after a reload has changed its settings.
    pub fn use_client(&self, sts: Arc<Client>) {
        self.context.sts.store(sts);
    }

    /// Replaces the set of sources. An unchanged source keeps its credentials until a new load
    /// succeeds. Must be called within a tokio runtime.
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

    /// Returns the credentials of this source, after a load if one is due.
    pub async fn credentials(&self, source: &Source) -> Result<Arc<InHand>, SourceError> {
        self.task(source)?.credentials().await
    }

    /// Returns the usable credentials of this source, without a check of files or a load.
    pub fn in_hand(&self, source: &Source) -> Option<Arc<InHand>> {
        self.task(source).ok()?.in_hand()
    }

    /// Records that STS refused these credentials, so that the next check loads again.
    pub fn refused(&self, source: &Source, in_hand: &InHand) {
        if let Ok(task) = self.task(source) {
            task.refused.store(in_hand.load, Ordering::Release);
            task.wake.notify_one();
        }
    }

    /// Returns every source with its status, by name. The status is `None` before the first load.
    pub fn statuses(&self) -> Vec<(Arc<Source>, Option<Status>)> {
        self.tasks.load().values().map(|task| (task.source.clone(), task.status())).collect()
    }

    fn task(&self, source: &Source) -> Result<Arc<SourceTask>, SourceError> {
        let tasks = self.tasks.load();
        tasks
            .get(&source.name)
            .filter(|task| *task.source == *source)
            .cloned()
            .ok_or_else(|| SourceError::new("the source is no longer configured"))
    }
}

impl SourceTask {
    fn start(source: Arc<Source>, context: Arc<LoadContext>) -> Arc<Self> {
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
            task: OnceLock::new(),
        });
        // The task must not keep its source alive, or neither would ever be dropped.
        let weak = Arc::downgrade(&started);
        let task = tokio::spawn(async move {
            while let Some(source) = weak.upgrade() {
                // The status has the error, and a new error is logged.
                let _ = source.credentials().await;
                let nap = source.nap().await;
                let _ = tokio::time::timeout(nap, source.wake.notified()).await;
            }
        });
        let _ = started.task.set(AbortOnDropHandle::new(task));
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

    /// True if STS has refused the current credentials.
    fn is_refused(&self) -> bool {
        let refused = self.refused.load(Ordering::Acquire);
        self.held.load().as_ref().is_some_and(|held| held.load == refused)
    }

    /// Returns the current credentials, if they are unexpired and not refused by STS.
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
                // Use the result of the load that was waited for: a hundred roles must not load in turn.
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
        let backs_off = |failed: &FailedLoad| !requested && failed.again_at > Instant::now();
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
        // The caller may go away before the load finishes. Then the next caller checks again.
        let loaded = self.load(&mut state, now).await;
        state.stamps = stamps;
        request.conclude();
        self.conclude(&mut state, loaded)
    }

    async fn load(
        &self,
        state: &mut SourceState,
        loaded_at: SystemTime,
    ) -> Result<InHand, SourceError> {
        let LoadContext { clock, .. } = &*self.context;
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
            // Only temporary credentials can belong to a role.
            None if credentials.access_key_id().starts_with("ASIA") => {
                sts.get_caller_identity(credentials.clone(), sts.attempt_timeout()).await.ok()
            }
            None => None,
        };
        Ok(InHand { credentials, identity, load: state.loads, loaded_at })
    }

    /// Records the outcome of a load. Returns the credentials that are usable after it.
    fn conclude(
        &self,
        state: &mut SourceState,
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
                        "base credentials are available again"
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
                state.failed = Some(FailedLoad {
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
            tracing::warn!(source, %error, "base credentials could not be loaded again: roletap keeps the current ones");
        } else {
            tracing::error!(source, %error, "base credentials could not be loaded");
        }
    }
}

impl InHand {
    /// True if no new load is due at `now`.
    fn is_fresh(&self, now: SystemTime) -> bool {
        // A clock that stepped back makes the age negative. Then load again.
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

/// A request for a load. It is put back on drop, unless a load has concluded.
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

/// Loads the credentials of a source once, for commands that run without a daemon.
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
        Err(_) => Err(SourceError::new(format!(
            "the load did not finish within {} s",
            LOAD_TIMEOUT.as_secs()
        ))),
    }
}

/// Returns the wait after the `n`th failure in a row, counted from 1.
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
