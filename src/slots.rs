//! The published state of every role: one writer per slot, readers that never wait.
//!
//! There are two levels. The [`Table`] is replaced by a reload and by nothing else, in one store. A
//! [`Slot`] changes whenever an attempt concludes. A slot belongs to one role for ever: when a
//! reload changes or removes the role, its slot leaves the table, and nobody reads what a late
//! refresh writes into it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

use roletap_core::budget::Need;
use roletap_core::config::{Config, HttpTokens, Imds, ImdsName};
use roletap_core::consumers::Consumers;
use roletap_core::failure::Class;
use roletap_core::lifecycle::RoleState;
use roletap_core::role::{Role, RoleName, TokenSource};
use roletap_core::token_digest::{ByDigest, Tokens};

/// Holder of the current [`Table`].
#[derive(Debug, Default)]
pub struct Slots {
    table: ArcSwap<Table>,
}

/// Everything of the configuration that a request looks at. A request loads it once, so it sees one
/// configuration whole.
#[derive(Debug, Default)]
pub struct Table {
    /// The slot of every configured role.
    pub slots: BTreeMap<RoleName, Arc<Slot>>,
    /// The role that each valid token opens.
    pub keys: ByDigest<Key>,
    /// The settings of every IMDS endpoint.
    pub imds: BTreeMap<ImdsName, ImdsSettings>,
    /// The longest time that a request waits for the first attempt of a pending role.
    pub pending_wait: Duration,
}

/// The role that a token opens.
#[derive(Debug, Clone)]
pub struct Key {
    /// The slot of that role.
    pub slot: Arc<Slot>,
    /// The end of the overlap, for a token that has been replaced.
    pub previous_until: Option<SystemTime>,
}

/// The settings of one `[imds.NAME]` that a reload may change.
#[derive(Debug)]
pub struct ImdsSettings {
    /// The slot of the one role that it serves.
    pub slot: Arc<Slot>,
    /// True if requests of version 1, without a session token, are answered too.
    pub allows_version_1: bool,
    /// The region that clients are told they run in.
    pub region: Option<String>,
}

/// The published state of one role.
pub struct Slot {
    /// The role as it was configured when the slot was made.
    pub role: Arc<Role>,
    /// Counters of this role name, shared by its slots before and after reloads.
    pub counts: Arc<RoleCounters>,
    state: ArcSwap<RoleState>,
    used: AtomicBool,
    refresh_requested: AtomicBool,
    /// Milliseconds on the heartbeat's clock.
    ticked_at: AtomicU64,
    wake: Notify,
    concluded: Notify,
    /// Roles that are chained to this one.
    followers: ArcSwap<Vec<Weak<Self>>>,
}

/// The right to publish into one slot. It cannot be cloned, so a slot has one writer.
#[derive(Debug)]
pub struct Writer {
    slot: Arc<Slot>,
}

/// Counters of one role. They outlive its slots, so a reload resets none of them.
#[derive(Debug, Default)]
pub struct RoleCounters {
    /// Attempts that issued credentials.
    pub issued: AtomicU64,
    /// Attempts that failed, in the order of [`Class::ALL`].
    pub failed: [AtomicU64; Class::ALL.len()],
    /// Answers to requests, in the order of [`VendResult::ALL`].
    pub vended: [AuditedCounter; VendResult::ALL.len()],
    /// Requests with a token that has been replaced and is in its overlap.
    pub previous_token_uses: AtomicU64,
    /// Consumers, and the expiry of the credentials that each was given last.
    pub consumers: Consumers,
    /// Writes of its credentials file, in the order of [`FileWriteResult::ALL`].
    pub filed: [AtomicU64; FileWriteResult::ALL.len()],
}

/// A counter of answers, with what the last audit line about them said.
#[derive(Debug, Default)]
pub struct AuditedCounter {
    /// The number of answers since the start of the process.
    pub count: AtomicU64,
    /// Answers in all at the time of the last audit line.
    pub audited: AtomicU64,
    /// Time of the last audit line, in seconds since 1970.
    pub audited_at: AtomicU64,
    /// Expiry of the credentials that the last audit line named, in seconds since 1970.
    pub audited_credentials: AtomicU64,
}

/// The outcome of a request for credentials, as metrics and the audit log name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VendResult {
    /// 200: credentials were vended.
    Vended,
    /// 503: the first attempt has not concluded.
    Pending,
    /// 503: no unexpired credentials are in hand, and roletap keeps trying.
    Unavailable,
    /// 403: no unexpired credentials are in hand, and somebody has to change a permission.
    AssumeRoleFailed,
    /// 403: `allow_users` or `allow_units` do not let the caller in.
    CallerNotAllowed,
    /// 401: the token is missing or unknown.
    Unauthorized,
    /// 404: the role does not exist, or the token opens another.
    RoleNotFound,
    /// 403: the request was forwarded, made by a browser, or names a foreign host.
    Forbidden,
    /// 400, 404 or 405: the path or method is not served.
    NotServed,
}

/// The outcome of an attempt to write or remove a credentials file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileWriteResult {
    /// The file was written.
    Written,
    /// The file could not be written or removed.
    Failed,
}

impl Slots {
    /// Returns the current table.
    pub fn load(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Replaces the whole table.
    pub fn publish(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    /// Returns the slot of a role.
    pub fn find(&self, role: &str) -> Option<Arc<Slot>> {
        self.load().slots.get(role).cloned()
    }
}

impl Table {
    /// Makes the table of this configuration. `slots` has one for each of its roles.
    pub fn new(slots: BTreeMap<RoleName, Arc<Slot>>, config: &Config, tokens: &Tokens) -> Self {
        link_chains(&slots);
        let settings = |imds: &Imds| {
            let settings = ImdsSettings {
                slot: slots.get(&imds.role)?.clone(),
                allows_version_1: imds.http_tokens == HttpTokens::Optional,
                region: imds.region.clone(),
            };
            Some((imds.name.clone(), settings))
        };
        Self {
            keys: keys(&slots, tokens),
            imds: config.imds.values().filter_map(settings).collect(),
            pending_wait: config.server.pending_wait,
            slots,
        }
    }
}

/// Tells each slot which roles are chained to its own.
fn link_chains(slots: &BTreeMap<RoleName, Arc<Slot>>) {
    let mut followers: BTreeMap<&RoleName, Vec<Weak<Slot>>> = BTreeMap::new();
    for slot in slots.values() {
        if let Some(parent) = slot.role.request.base.parent() {
            followers.entry(&parent.name).or_default().push(Arc::downgrade(slot));
        }
    }
    for (name, slot) in slots {
        slot.followers.store(Arc::new(followers.remove(name).unwrap_or_default()));
    }
}

/// Indexes slots by token. Where two roles have the same token, a current one wins over a previous
/// one.
fn keys(slots: &BTreeMap<RoleName, Arc<Slot>>, tokens: &Tokens) -> ByDigest<Key> {
    let key = |slot: &Arc<Slot>, previous_until| Key { slot: slot.clone(), previous_until };
    let of_slots = || tokens.roles.iter().filter_map(|(name, own)| Some((slots.get(name)?, own)));
    let previous = of_slots().flat_map(|(slot, own)| {
        own.previous.iter().map(move |(digest, until)| (*digest, key(slot, Some(*until))))
    });
    let current = of_slots().rev().map(|(slot, own)| (own.current, key(slot, None)));
    previous.chain(current).collect()
}

impl Slot {
    /// Makes a slot that begins with `state`, and the one right to publish into it.
    pub fn new(
        role: Arc<Role>,
        state: RoleState,
        counts: Arc<RoleCounters>,
        used: bool,
    ) -> (Arc<Self>, Writer) {
        let slot = Arc::new(Self {
            role,
            counts,
            state: ArcSwap::from_pointee(state),
            used: AtomicBool::new(used),
            refresh_requested: AtomicBool::new(false),
            ticked_at: AtomicU64::new(0),
            wake: Notify::new(),
            concluded: Notify::new(),
            followers: ArcSwap::default(),
        });
        (slot.clone(), Writer { slot })
    }

    /// Makes a writer in place of one that was lost with its refresher.
    pub fn replace_writer(slot: &Arc<Self>) -> Writer {
        Writer { slot: slot.clone() }
    }

    /// Returns the current state.
    pub fn state(&self) -> Guard<Arc<RoleState>> {
        self.state.load()
    }

    /// Notes that a workload has asked for the role. Used roles come before unused ones in the
    /// queue to STS.
    pub fn mark_used(&self) {
        if !self.was_used() {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Returns true if a workload has ever asked for the role.
    pub fn was_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns true if the role has `unsafe_no_token = true`.
    pub fn needs_no_token(&self) -> bool {
        self.role.token == TokenSource::None
    }

    /// Requests an attempt ahead of schedule. The budget still applies.
    pub fn request_refresh(&self) {
        self.refresh_requested.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Returns true if a requested attempt has not begun.
    pub fn refresh_requested(&self) -> bool {
        self.refresh_requested.load(Ordering::Acquire)
    }

    /// Wakes the refresher, so that it reads the clock again.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    fn refresh_followers(&self) {
        let followers = self.followers.load();
        for follower in followers.iter().filter_map(Weak::upgrade) {
            if follower.lacks_source() {
                follower.request_refresh();
            }
        }
    }

    /// Returns true if the last attempt failed because of the base credentials.
    pub fn lacks_source(&self) -> bool {
        let state = self.state();
        state.failures().is_some_and(|failures| failures.error.class == Class::Source)
    }

    /// Notes that the refresher is alive at `now` on the heartbeat's clock.
    pub fn record_tick(&self, now: Duration) {
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.ticked_at.store(millis, Ordering::Relaxed);
    }

    /// Returns the time of the last tick, on the heartbeat's clock.
    pub fn last_tick(&self) -> Duration {
        Duration::from_millis(self.ticked_at.load(Ordering::Relaxed))
    }

    /// Waits until the first attempt has concluded.
    pub async fn first_attempt_concluded(&self) {
        loop {
            let concluded = self.concluded.notified();
            let mut concluded = std::pin::pin!(concluded);
            // Listen first, look second: a conclusion in between is not missed.
            concluded.as_mut().enable();
            if !matches!(**self.state(), RoleState::Pending) {
                return;
            }
            concluded.await;
        }
    }

    /// Returns how urgently this role needs a call to STS at `now`.
    pub fn need(&self, now: SystemTime) -> Need {
        Need::of(&self.state(), self.was_used(), self.refresh_requested(), now)
    }
}

impl AsRef<Role> for Slot {
    fn as_ref(&self) -> &Role {
        &self.role
    }
}

impl Writer {
    /// Returns the slot that it publishes into.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Publishes the state after an attempt.
    pub fn publish(&mut self, state: RoleState) {
        let issued = matches!(state, RoleState::Issued { failures: None, .. });
        self.slot.state.store(Arc::new(state));
        self.slot.concluded.notify_waiters();
        if issued {
            self.slot.refresh_followers();
        }
    }

    /// Marks the requested attempt as begun.
    pub fn take_refresh_request(&mut self) {
        self.slot.refresh_requested.store(false, Ordering::Release);
    }

    /// Waits for [`Slot::request_refresh`] or [`Slot::wake`].
    pub async fn woken(&self) {
        self.slot.wake.notified().await;
    }
}

impl RoleCounters {
    /// Counts an attempt that failed with `class`, or issued credentials.
    pub fn attempt(&self, class: Option<Class>) {
        let counter = match class {
            None => &self.issued,
            Some(class) => &self.failed[class as usize],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request with a token in its overlap.
    pub fn previous_token_used(&self) {
        self.previous_token_uses.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a write or removal of the credentials file.
    pub fn filed(&self, result: FileWriteResult) {
        self.filed[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counter of the answers with this result.
    pub fn answers(&self, result: VendResult) -> &AuditedCounter {
        &self.vended[result as usize]
    }
}

impl FileWriteResult {
    /// Every result, in the order of declaration.
    pub const ALL: [Self; 2] = [Self::Written, Self::Failed];

    /// Returns the name that metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Failed => "failed",
        }
    }
}

impl VendResult {
    /// Every result, in the order of declaration.
    pub const ALL: [Self; 9] = [
        Self::Vended,
        Self::Pending,
        Self::Unavailable,
        Self::AssumeRoleFailed,
        Self::CallerNotAllowed,
        Self::Unauthorized,
        Self::RoleNotFound,
        Self::Forbidden,
        Self::NotServed,
    ];

    /// Returns the name that metrics and the audit log use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vended => "vended",
            Self::Pending => "pending",
            Self::Unavailable => "unavailable",
            Self::AssumeRoleFailed => "assume_role_failed",
            Self::CallerNotAllowed => "caller_not_allowed",
            Self::Unauthorized => "unauthorized",
            Self::RoleNotFound => "role_not_found",
            Self::Forbidden => "forbidden",
            Self::NotServed => "not_served",
        }
    }

    /// Returns true if a request that was authorised for a role can end so.
    pub fn is_about_a_role(self) -> bool {
        !matches!(self, Self::Unauthorized | Self::RoleNotFound | Self::Forbidden | Self::NotServed)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("role", &self.role.name).finish_non_exhaustive()
    }
}
