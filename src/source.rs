//! Base identities: whose credentials sign our requests to STS. Held, loaded again ahead of their end, built anew.
//!
//! Held here and not in the SDK's cache, because that one loads in the request path, never notices that STS refused what
//! it holds, and never reads a profile file twice.
//!
//! Each source is kept by itself: one load at a time, bounded by [`LOAD_TIMEOUT`], and whoever needs another source does
//! not wait for it. It is looked at whenever somebody signs with it and every 30 seconds, so a file that changed is read
//! within seconds. A failed load keeps what is held until it ends. However many roles complain, a source is loaded at
//! most as often as its own back-off allows.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_credential_types::Credentials;
use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::{Mutex, Notify};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::role::{CallerIdentity, Source, SourceName, WebIdentity};

mod error;
mod files;
mod load;
mod process;
mod token;
mod wish;

pub use error::{SourceError, chain_of};
use files::Stamps;
pub use token::{Claims, Token};
use wish::Wish;

/// A load that takes longer has failed. IMDS alone may need four tries of a second each.
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at a source that nobody signs with.
const NAP: Duration = Duration::from_secs(30);
/// Loaded again ahead of its end by this much, or by a third of its life if that is less.
const EXPIRY_LEAD: Duration = Duration::from_secs(300);
/// What has no end is loaded again after this long.
const RELOAD_EVERY: Duration = Duration::from_secs(300);
/// The wait after a second failed load, doubled by each that follows. The first is tried again at once.
const RETRY: Backoff = Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(30) };

/// A future that somebody else made.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a source needs of the world above it, which this module may not know: STS, and those that wait for the source.
pub trait Outside: fmt::Debug + Send + Sync {
    /// Where STS is asked.
    fn region(&self) -> &str;
    /// Trades a token for the credentials of a role.
    fn trade<'a>(
        &'a self,
        token: Token,
        identity: &'a WebIdentity,
    ) -> Boxed<'a, Result<Credentials, SourceError>>;
    /// Asks STS whose credentials these are. Nothing depends on an answer.
    fn identify(&self, credentials: Credentials) -> Boxed<'_, Option<CallerIdentity>>;
    /// What could not be loaded can be again.
    fn recovered(&self, source: &Source);
}

/// All sources that a role is signed with.
pub struct Sources {
    keepers: ArcSwap<BTreeMap<SourceName, Arc<Keeper>>>,
    outside: Arc<RwLock<Option<Arc<dyn Outside>>>>,
    clock: SharedTimeSource,
}

/// The one who keeps a source.
struct Keeper {
    source: Arc<Source>,
    outside: Arc<RwLock<Option<Arc<dyn Outside>>>>,
    clock: SharedTimeSource,
    /// Locked while a load is under way: there is one at a time.
    state: Mutex<State>,
    /// What is in the state, for those who must not wait for a load.
    in_hand: ArcSwapOption<InHand>,
    status: ArcSwapOption<Status>,
    /// An operator asked: the next look loads anew.
    rebuild: AtomicBool,
    /// How many loads have ended, either way.
    concluded: AtomicU64,
    /// The number of the load whose credentials STS refused.
    refused: AtomicU64,
    wake: Notify,
    task: std::sync::Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failed: Option<Failed>,
    /// Counts loads that brought something.
    loads: u64,
    /// How often in a row STS refused a key that a new load brought again, and until when it is not asked again.
    refusals: u32,
    trust_until: Option<Instant>,
    /// Of the files, as they were before the last load.
    stamps: Stamps,
}

struct Held {
    in_hand: Arc<InHand>,
    loaded_at: SystemTime,
}

struct Failed {
    error: SourceError,
    count: u32,
    again_at: Instant,
    /// Its files cannot even be looked at, so nothing tells that they changed.
    blind: bool,
}

/// What signs.
#[derive(Debug, Clone)]
pub struct InHand {
    /// The credentials. Their `Debug` shows no secret.
    pub credentials: Credentials,
    /// Whose they are, where it was worth asking: temporary ones may be of a role.
    pub identity: Option<CallerIdentity>,
    load: u64,
}

impl InHand {
    fn has_ended(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_some_and(|end| end <= now)
    }
}

/// What is known about a source, for metrics and `/roles`.
#[derive(Debug, Clone)]
pub struct Status {
    /// Something is held that STS has not refused.
    pub held: bool,
    /// When it ends, if it does.
    pub expires_at: Option<SystemTime>,
    /// Why the last load failed.
    pub error: Option<SourceError>,
    /// Whose credentials are held, where it is known.
    pub identity: Option<CallerIdentity>,
    load: u64,
}

impl Status {
    /// Whether usable credentials are held at `now`.
    pub fn is_up(&self, now: SystemTime) -> bool {
        self.held && self.expires_at.is_none_or(|end| end > now)
    }
}

impl Sources {
    /// None yet.
    pub fn new(clock: SharedTimeSource) -> Self {
        Self { keepers: ArcSwap::default(), outside: Arc::default(), clock }
    }

    /// From now on this is what sources turn to.
    pub fn turn_to(&self, outside: Arc<dyn Outside>) {
        *self.outside.write().unwrap_or_else(PoisonError::into_inner) = Some(outside);
    }

    /// Keeps these and no others. One whose definition is unchanged goes on with what it holds, but is loaded anew.
    /// Has to be called within a runtime.
    pub fn reshape(&self, sources: impl IntoIterator<Item = Arc<Source>>) {
        let before = self.keepers.load();
        let mut after: BTreeMap<SourceName, Arc<Keeper>> = BTreeMap::new();
        for source in sources {
            if after.contains_key(&source.name) {
                continue;
            }
            let keeper = match before.get(&source.name) {
                Some(keeper) if keeper.source == source => {
                    keeper.rebuild();
                    keeper.clone()
                }
                Some(_) | None => Keeper::start(source.clone(), self),
            };
            after.insert(source.name.clone(), keeper);
        }
        self.keepers.store(Arc::new(after));
    }

    /// What signs for this source, loaded if it has to be.
    pub async fn credentials(&self, source: &Source) -> Result<Arc<InHand>, SourceError> {
        self.keeper(source)?.credentials().await
    }

    /// The same without a look at files or a load, if something usable is in hand.
    pub fn in_hand(&self, source: &Source) -> Option<Arc<InHand>> {
        self.keeper(source).ok()?.in_hand()
    }

    /// STS refused these: the next look loads anew.
    pub fn refused(&self, source: &Source, in_hand: &InHand) {
        if let Ok(keeper) = self.keeper(source) {
            keeper.refused.store(in_hand.load, Ordering::Release);
            keeper.wake.notify_one();
        }
    }

    /// Each source by name, and what is known about it; `None` before its first load.
    pub fn statuses(&self) -> Vec<(Arc<Source>, Option<Status>)> {
        self.keepers
            .load()
            .values()
            .map(|keeper| {
                let mut status = keeper.status.load().as_deref().cloned();
                if let Some(status) = &mut status {
                    status.held &= status.load != keeper.refused.load(Ordering::Acquire);
                }
                (keeper.source.clone(), status)
            })
            .collect()
    }

    fn keeper(&self, source: &Source) -> Result<Arc<Keeper>, SourceError> {
        let keepers = self.keepers.load();
        keepers
            .get(&source.name)
            .filter(|keeper| *keeper.source == *source)
            .cloned()
            .ok_or_else(|| SourceError::new("it is no longer configured"))
    }
}

impl Keeper {
    fn start(source: Arc<Source>, sources: &Sources) -> Arc<Self> {
        let keeper = Arc::new(Self {
            source,
            outside: sources.outside.clone(),
            clock: sources.clock.clone(),
            state: Mutex::default(),
            in_hand: ArcSwapOption::empty(),
            status: ArcSwapOption::empty(),
            rebuild: AtomicBool::new(false),
            concluded: AtomicU64::new(0),
            // Loads are counted from 1, so this is none.
            refused: AtomicU64::new(u64::MAX),
            wake: Notify::new(),
            task: std::sync::Mutex::default(),
        });
        // The task must not keep its keeper, or neither would ever end.
        let weak = Arc::downgrade(&keeper);
        let task = tokio::spawn(async move {
            while let Some(keeper) = weak.upgrade() {
                // An error stands in the status, and is told where it changes.
                let _ = keeper.credentials().await;
                let nap = keeper.nap().await;
                let _ = tokio::time::timeout(nap, keeper.wake.notified()).await;
            }
        });
        *keeper.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
        keeper
    }

    fn rebuild(&self) {
        self.rebuild.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    async fn nap(&self) -> Duration {
        let state = self.state.lock().await;
        let again = state.failed.as_ref().map(|failed| failed.again_at);
        let until = again.or(state.trust_until.filter(|_| self.is_refused(&state)));
        let wait = until.map(|at| at.saturating_duration_since(Instant::now()));
        wait.unwrap_or(NAP).clamp(RETRY.base, NAP)
    }

    fn is_refused(&self, state: &State) -> bool {
        let refused = self.refused.load(Ordering::Acquire);
        let held = state.held.as_ref();
        held.is_some_and(|held| held.in_hand.load == refused)
    }

    /// What is held, unexpired, and not refused by STS; without a look at anything.
    fn in_hand(&self) -> Option<Arc<InHand>> {
        let in_hand = self.in_hand.load_full()?;
        let refused = in_hand.load == self.refused.load(Ordering::Acquire);
        (!refused && !in_hand.has_ended(self.clock.now())).then_some(in_hand)
    }

    async fn credentials(&self) -> Result<Arc<InHand>, SourceError> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(_) => match self.in_hand() {
                Some(in_hand) => return Ok(in_hand),
                None => {
                    let before = self.concluded.load(Ordering::Acquire);
                    let state = self.state.lock().await;
                    // What was waited for is the answer: a hundred roles must not load in turn.
                    if self.concluded.load(Ordering::Acquire) != before {
                        let error = state.failed.as_ref().map(|failed| failed.error.clone());
                        let usable = self.usable(&state, self.clock.now());
                        if let Some(answer) = usable.map(Ok).or(error.map(Err)) {
                            return answer;
                        }
                    }
                    state
                }
            },
        };
        let now = self.clock.now();
        let wish = Wish::of(&self.rebuild);
        let wished = wish.is_there;
        if let Some(failed) = &state.failed
            && failed.blind
            && !wished
            && failed.again_at > Instant::now()
        {
            let error = failed.error.clone();
            return self.usable(&state, now).ok_or(error);
        }
        let stamps = match files::look(&self.source.origin).await {
            Ok(stamps) => stamps,
            Err(error) => {
                wish.conclude();
                let outcome = self.conclude(&mut state, Err(error), now);
                if let Some(failed) = &mut state.failed {
                    failed.blind = true;
                }
                return outcome;
            }
        };
        let changed = stamps != state.stamps;
        let refused = self.is_refused(&state)
            && state.trust_until.is_none_or(|until| until <= Instant::now());
        let due = wished || changed || refused || state.failed.is_some() || !state.is_fresh(now);
        if let Some(held) = state.held.as_ref().filter(|_| !due) {
            return Ok(held.in_hand.clone());
        }
        if let Some(failed) = &state.failed
            && !(wished || changed)
            && failed.again_at > Instant::now()
        {
            let error = failed.error.clone();
            return self.usable(&state, now).ok_or(error);
        }
        // Whoever waits may be gone before the load ends: then the next looks again.
        let loaded = self.load(&mut state).await;
        state.stamps = stamps;
        wish.conclude();
        self.conclude(&mut state, loaded, now)
    }

    async fn load(&self, state: &mut State) -> Result<InHand, SourceError> {
        let outside = self
            .outside
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(|| SourceError::new("it is not wired up yet"))?;
        let credentials = bounded(load::load(&self.source.origin, &self.clock, &outside)).await?;
        let credentials = load::unended(credentials, self.clock.now())?;
        state.loads += 1;
        let before = state.held.as_ref().map(|held| &held.in_hand);
        let same = before
            .filter(|before| before.credentials.access_key_id() == credentials.access_key_id());
        let identity = match same.and_then(|before| before.identity.clone()) {
            Some(identity) => Some(identity),
            // Only what is temporary can be of a role.
            None if credentials.access_key_id().starts_with("ASIA") => {
                outside.identify(credentials.clone()).await
            }
            None => None,
        };
        Ok(InHand { credentials, identity, load: state.loads })
    }

    /// Takes in what a load came to; gives what can be signed with after it.
    fn conclude(
        &self,
        state: &mut State,
        loaded: Result<InHand, SourceError>,
        now: SystemTime,
    ) -> Result<Arc<InHand>, SourceError> {
        let outcome = match loaded {
            Ok(in_hand) => {
                let was_refused = self.is_refused(state);
                let same = state.held.as_ref().is_some_and(|held| {
                    let before = &held.in_hand.credentials;
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
                state.held = Some(Held { in_hand: in_hand.clone(), loaded_at: now });
                if recovered {
                    self.tell_recovered(&in_hand);
                }
                Ok(in_hand)
            }
            Err(error) => {
                let before = state.failed.take();
                let count = before.as_ref().map_or(0, |failed| failed.count) + 1;
                if before.is_none_or(|before| before.error != error) {
                    self.tell_failed(&error, self.usable(state, now).is_some());
                }
                state.failed = Some(Failed {
                    error: error.clone(),
                    count,
                    again_at: Instant::now() + backoff(count),
                    blind: false,
                });
                self.usable(state, now).ok_or(error)
            }
        };
        let held = state.held.as_ref().map(|held| &held.in_hand);
        self.in_hand.store(held.cloned());
        self.concluded.fetch_add(1, Ordering::AcqRel);
        self.status.store(Some(Arc::new(Status {
            held: outcome.is_ok(),
            expires_at: held.and_then(|held| held.credentials.expiry()),
            error: state.failed.as_ref().map(|failed| failed.error.clone()),
            identity: held.and_then(|held| held.identity.clone()),
            load: held.map_or(0, |held| held.load),
        })));
        outcome
    }

    /// What is held, unexpired, and not refused by STS.
    fn usable(&self, state: &State, now: SystemTime) -> Option<Arc<InHand>> {
        let held = state.held.as_ref()?;
        (!held.in_hand.has_ended(now) && !self.is_refused(state)).then(|| held.in_hand.clone())
    }

    fn tell_recovered(&self, in_hand: &InHand) {
        tracing::info!(
            source = self.source.name.as_str(),
            access_key_id = in_hand.credentials.access_key_id(),
            "base credentials are there again"
        );
        let outside = self.outside.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(outside) = outside.as_ref() {
            outside.recovered(&self.source);
        }
    }

    fn tell_failed(&self, error: &SourceError, keeps: bool) {
        let source = self.source.name.as_str();
        if keeps {
            tracing::warn!(source, %error, "base credentials could not be loaded again; keeping those in hand");
        } else {
            tracing::error!(source, %error, "base credentials could not be loaded");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

impl State {
    fn is_fresh(&self, now: SystemTime) -> bool {
        let Some(held) = &self.held else {
            return false;
        };
        // A clock that stepped back makes the age negative: load again rather than wait for it to pass.
        let Ok(age) = now.duration_since(held.loaded_at) else {
            return false;
        };
        match held.in_hand.credentials.expiry() {
            None => age < RELOAD_EVERY,
            Some(end) => {
                let life = end.duration_since(held.loaded_at).unwrap_or_default();
                end > now + EXPIRY_LEAD.min(life / 3)
            }
        }
    }
}

/// The credentials of a source, loaded once: for commands that run without a daemon.
pub async fn load_once(
    source: &Source,
    clock: &SharedTimeSource,
    outside: &Arc<dyn Outside>,
) -> Result<Credentials, SourceError> {
    files::look(&source.origin).await?;
    let credentials = bounded(load::load(&source.origin, clock, outside)).await?;
    load::unended(credentials, clock.now())
}

/// Reads a web identity token anew, without the blanks at its ends.
pub async fn read_token(path: &std::path::Path) -> Result<Token, SourceError> {
    Token::read(path).await
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
