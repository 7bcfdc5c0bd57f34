//! Where each role's state is published: one writer per slot, readers that never wait.
//!
//! Two levels: the [`Table`] changes on reload only, a [`Slot`] whenever an attempt concludes. A slot belongs to one role
//! for ever: when a reload changes or removes a role, its slot leaves the table, and what a late refresh writes into it
//! is read by nobody.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

use crate::budget::Need;
use crate::consumers::Consumers;
use crate::issuer::Class;
use crate::lifecycle::RoleState;
use crate::role::{Role, RoleName, TokenSource};
use crate::token_digest::{ByDigest, Tokens};

/// The published table.
#[derive(Debug, Default)]
pub struct Slots {
    table: ArcSwap<Table>,
}

/// Every configured role's slot, and the tokens that open them.
#[derive(Debug, Default)]
pub struct Table {
    /// By name.
    pub slots: BTreeMap<RoleName, Arc<Slot>>,
    /// By digest of the token.
    pub keys: ByDigest<Key>,
}

/// What a token opens.
#[derive(Debug, Clone)]
pub struct Key {
    /// The one role.
    pub slot: Arc<Slot>,
    /// This token has been replaced and is in its overlap.
    pub previous_until: Option<SystemTime>,
}

/// One role's published state.
pub struct Slot {
    /// As configured when the slot was made.
    pub role: Arc<Role>,
    /// Counted per role name, across slots.
    pub counts: Arc<Counts>,
    state: ArcSwap<RoleState>,
    /// A workload has asked for it.
    asked: AtomicBool,
    /// Somebody wants an attempt now, whatever the schedule says.
    hurry: AtomicBool,
    /// Of the refresher, milliseconds of its beat.
    turned_at: AtomicU64,
    wake: Notify,
    concluded: Notify,
    /// Roles that are signed with what is in hand here.
    followers: ArcSwap<Vec<Weak<Self>>>,
}

/// The right to publish into one slot. There is one, and it cannot be cloned.
#[derive(Debug)]
pub struct Writer {
    slot: Arc<Slot>,
}

/// What is counted per role. Outlives slots, so that a reload takes nothing back.
#[derive(Debug, Default)]
pub struct Counts {
    /// Concluded attempts that issued.
    pub issued: AtomicU64,
    /// Concluded attempts that failed, in the order of [`Class::ALL`].
    pub failed: [AtomicU64; Class::ALL.len()],
    /// Answers, in the order of [`VendResult::ALL`].
    pub vended: [Tally; VendResult::ALL.len()],
    /// Requests that came with a token in its overlap.
    pub previous_token_uses: AtomicU64,
    /// Who was given what.
    pub consumers: Consumers,
    /// What became of its credentials file, in the order of [`Filed::ALL`].
    pub filed: [AtomicU64; Filed::ALL.len()],
}

/// One counter, and what the audit log needs to write about it in moderation.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many.
    pub count: AtomicU64,
    /// How many at the last audit line.
    pub audited: AtomicU64,
    /// When that was, seconds since 1970.
    pub audited_at: AtomicU64,
    /// Which credentials it named: their expiry, seconds since 1970.
    pub audited_credentials: AtomicU64,
}

/// How a request for a role ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VendResult {
    /// 200.
    Vended,
    /// 503, no attempt has concluded.
    Pending,
    /// 503, nothing unexpired in hand and it may pass.
    Unavailable,
    /// 403, nothing unexpired in hand and a person is needed.
    AssumeRoleFailed,
    /// 403, not who the role is for.
    CallerNotAllowed,
    /// 401.
    Unauthorized,
    /// 404, a role that is not there or not this token's.
    RoleNotFound,
    /// 403, a foreign `Host`, a forwarded request or a browser's.
    Forbidden,
    /// 404 or 405, not a path or method of ours.
    NotServed,
}

/// What became of an attempt to write or remove a credentials file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filed {
    /// It is written.
    Written,
    /// It could not be written, or not be removed.
    Failed,
}

impl Slots {
    /// The table now.
    pub fn load(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Publishes a new table, whole.
    pub fn publish(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    /// The slot of a role.
    pub fn find(&self, role: &str) -> Option<Arc<Slot>> {
        self.load().slots.get(role).cloned()
    }
}

impl Table {
    /// Lets each role that is chained to another hear of it.
    pub fn tie_chains(&self) {
        let mut followers: BTreeMap<&RoleName, Vec<Weak<Slot>>> = BTreeMap::new();
        for slot in self.slots.values() {
            if let Some(parent) = slot.role.request.base.parent() {
                followers.entry(&parent.name).or_default().push(Arc::downgrade(slot));
            }
        }
        for (name, slot) in &self.slots {
            let followers = followers.remove(name).unwrap_or_default();
            slot.followers.store(Arc::new(followers));
        }
    }

    /// Lets `tokens` open their roles. A current token wins over a previous one.
    pub fn open_with(&mut self, tokens: &Tokens) {
        self.keys.clear();
        for (name, tokens) in &tokens.roles {
            let Some(slot) = self.slots.get(name) else {
                continue;
            };
            let previous = tokens.previous.iter().map(|(digest, until)| (*digest, Some(*until)));
            for (digest, previous_until) in previous.chain([(tokens.current, None)]) {
                let key = Key { slot: slot.clone(), previous_until };
                match self.keys.entry(digest) {
                    Entry::Vacant(entry) => {
                        entry.insert(key);
                    }
                    Entry::Occupied(mut entry) if entry.get().previous_until.is_some() => {
                        entry.insert(key);
                    }
                    Entry::Occupied(_) => {}
                }
            }
        }
    }
}

impl Slot {
    /// A slot that begins with `state`, and the one right to write into it.
    pub fn new(
        role: Arc<Role>,
        state: RoleState,
        counts: Arc<Counts>,
        asked: bool,
    ) -> (Arc<Self>, Writer) {
        let slot = Arc::new(Self {
            role,
            counts,
            state: ArcSwap::from_pointee(state),
            asked: AtomicBool::new(asked),
            hurry: AtomicBool::new(false),
            turned_at: AtomicU64::new(0),
            wake: Notify::new(),
            concluded: Notify::new(),
            followers: ArcSwap::default(),
        });
        (slot.clone(), Writer { slot })
    }

    /// The right to write, after the refresher that had it has died with it.
    pub fn writer_after_death(slot: &Arc<Self>) -> Writer {
        Writer { slot: slot.clone() }
    }

    /// The state now.
    pub fn state(&self) -> Guard<Arc<RoleState>> {
        self.state.load()
    }

    /// A workload asks: its role comes before those that nobody wants.
    pub fn ask(&self) {
        if !self.asked.load(Ordering::Relaxed) {
            self.asked.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a workload has ever asked.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// `unsafe_no_token = true`: whoever reaches the endpoint gets it.
    pub fn needs_no_token(&self) -> bool {
        self.role.token == TokenSource::None
    }

    /// Asks for an attempt now, whatever the schedule says; the budget still holds.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether somebody has asked for an attempt that has not begun.
    pub fn is_hurried(&self) -> bool {
        self.hurry.load(Ordering::Acquire)
    }

    /// Makes the refresher look at the clock, in case its nap has outlasted the credentials.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Those that wait for this role to be issued try again now.
    fn hurry_followers(&self) {
        let followers = self.followers.load();
        for follower in followers.iter().filter_map(Weak::upgrade) {
            if follower.fails_for_want_of_a_source() {
                follower.hurry();
            }
        }
    }

    /// Whether its last attempt had nothing to sign with, or nothing that STS took.
    pub fn fails_for_want_of_a_source(&self) -> bool {
        let state = self.state();
        let failures = state.failures();
        failures.is_some_and(|failures| failures.error.class == Class::Source)
    }

    /// The refresher has made a turn, at `now` of its beat.
    pub fn turn(&self, now: Duration) {
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.turned_at.store(millis, Ordering::Relaxed);
    }

    /// When it made its last.
    pub fn last_turn(&self) -> Duration {
        Duration::from_millis(self.turned_at.load(Ordering::Relaxed))
    }

    /// Waits until the first attempt has concluded.
    pub async fn left_pending(&self) {
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

    /// How much this role needs a call at `now`.
    pub fn need(&self, now: SystemTime) -> Need {
        Need::of(&self.state(), self.was_asked(), self.is_hurried(), now)
    }
}

impl Writer {
    /// The slot it writes into.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Publishes what an attempt has come to.
    pub fn publish(&mut self, state: RoleState) {
        let issued = matches!(state, RoleState::Issued { failures: None, .. });
        self.slot.state.store(Arc::new(state));
        self.slot.concluded.notify_waiters();
        if issued {
            self.slot.hurry_followers();
        }
    }

    /// Whether somebody wants an attempt now.
    pub fn is_hurried(&self) -> bool {
        self.slot.is_hurried()
    }

    /// The attempt that was wanted begins.
    pub fn take_hurry(&mut self) {
        self.slot.hurry.store(false, Ordering::Release);
    }

    /// Waits for [`Slot::hurry`].
    pub async fn hurried(&self) {
        self.slot.wake.notified().await;
    }
}

impl Counts {
    /// One concluded attempt.
    pub fn attempt(&self, class: Option<Class>) {
        let counter = match class {
            None => &self.issued,
            Some(class) => &self.failed[class as usize],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A request came with a token in its overlap.
    pub fn previous_token_used(&self) {
        self.previous_token_uses.fetch_add(1, Ordering::Relaxed);
    }

    /// A credentials file was written, or not.
    pub fn filed(&self, outcome: Filed) {
        self.filed[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The tally of one result.
    pub fn tally(&self, result: VendResult) -> &Tally {
        &self.vended[result as usize]
    }
}

impl Filed {
    /// Both, in the order of their declaration.
    pub const ALL: [Self; 2] = [Self::Written, Self::Failed];

    /// As it stands in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Failed => "failed",
        }
    }
}

impl VendResult {
    /// Every result, in the order of their declaration.
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

    /// As it stands in metrics and the audit log.
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

    /// Whether it can be the fate of a request that was authorised for a role.
    pub fn is_about_a_role(self) -> bool {
        match self {
            Self::Vended
            | Self::Pending
            | Self::Unavailable
            | Self::AssumeRoleFailed
            | Self::CallerNotAllowed => true,
            Self::Unauthorized | Self::RoleNotFound | Self::Forbidden | Self::NotServed => false,
        }
    }
}

impl Borrow<str> for RoleName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("role", &self.role.name).finish_non_exhaustive()
    }
}
