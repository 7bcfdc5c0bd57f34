//! What is true of every role at which instant, and what broke the contract in spite of it.
//!
//! Answers are judged by what was true for certain: facts are looked at before a request is sent and again when its
//! answer is in, and what changed in between is not held against the daemon. What the daemon has shown once, it has.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use fake_sts::{FakeSts, Issued};

/// More violations of a kind are counted, not kept.
const KEPT_OF_A_KIND: usize = 8;
/// What was issued so shortly before a kill may not have been stored yet: a tenth of a second, and a busy machine.
const UNCERTAIN_AT_A_KILL: SignedDuration = SignedDuration::from_secs(1);

/// How exactly a shifted clock can be known: `Date` has whole seconds, and may be on its way for an attempt's time.
pub(crate) const SHIFTED_SLACK: SignedDuration = SignedDuration::from_secs(4);
/// So much of what led to a violation is told.
const PRELUDE_SECONDS: f64 = 20.0;

/// Locks, whoever panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A role, and what is known of it.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) arn: String,
    /// Never taken out of the configuration.
    pub(crate) permanent: bool,
    facts: Mutex<Facts>,
}

/// What is true of a role now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) present: bool,
    /// A reload is about to change what may be vended.
    pub(crate) moving: bool,
    /// Counts those changes.
    pub(crate) era: u64,
    /// `None` while a reload changes it.
    pub(crate) account_id: Option<bool>,
    /// Identities that may be vended: `ws-N`, from the confirmed to the written.
    pub(crate) identities: (u64, u64),
    /// `on_denied = "drop"`: may lose what it has.
    pub(crate) drops: bool,
    /// Another token lies in the file than the daemon knows: it is valid from the reload on.
    pub(crate) rotating: bool,
    pub(crate) token: Arc<str>,
    pub(crate) previous_tokens: Vec<Arc<str>>,
    /// The newest issue that was ever vended.
    pub(crate) newest: u64,
    /// Of this era.
    pub(crate) in_hand: Option<InHand>,
}

/// Credentials that the daemon has shown to have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InHand {
    pub(crate) number: u64,
    pub(crate) expires: Timestamp,
}

/// The world as it was when a request was about to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    pub(crate) facts: Facts,
    pub(crate) asked: Timestamp,
    pub(crate) begun: Instant,
    restarts: u64,
    floods: u64,
    shift: (i64, i64),
}

/// What was true all the while from before a request to its answer.
#[derive(Debug)]
pub(crate) struct After<'b> {
    pub(crate) role: usize,
    pub(crate) before: &'b Before,
    pub(crate) answered: Timestamp,
    /// One process, and no reload that changes what may be vended.
    pub(crate) steady: bool,
    /// What lies in the token file may not have been valid yet.
    pub(crate) rotating: bool,
    /// Seconds by which STS may have been ahead: least and most.
    pub(crate) shift: (i64, i64),
    /// The oldest and the newest identity that may be vended.
    pub(crate) identities: (u64, u64),
    /// Whether AccountId is due, where that is certain.
    pub(crate) account_id: Option<bool>,
}

/// The oracle.
#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) roles: Vec<Role>,
    begun: Instant,
    issued: RwLock<(usize, HashMap<String, Issued>)>,
    /// Odd while the process is being replaced on purpose.
    pub(crate) restarts: AtomicU64,
    /// Odd while connections flood in.
    pub(crate) floods: AtomicU64,
    /// Seconds by which STS may be taken to be ahead of us: least and most.
    shift: Mutex<(i64, i64)>,
    tally: Mutex<BTreeMap<String, u64>>,
    slowest: AtomicU64,
    violations: AtomicUsize,
    /// By kind.
    kept: Mutex<Vec<(String, String)>>,
    /// What was done to the daemon, when.
    timeline: Mutex<Vec<(f64, String)>>,
}

impl Role {
    pub(crate) fn new(number: usize, permanent: bool) -> Self {
        let name = format!("r{number:02}");
        Self {
            arn: format!("arn:aws:iam::111122223333:role/chaos/{name}"),
            name,
            permanent,
            facts: Mutex::default(),
        }
    }

    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }
}

impl Oracle {
    pub(crate) fn new(roles: Vec<Role>) -> Self {
        Self {
            roles,
            begun: Instant::now(),
            issued: RwLock::default(),
            restarts: AtomicU64::new(1),
            floods: AtomicU64::new(0),
            shift: Mutex::new((0, 0)),
            tally: Mutex::default(),
            slowest: AtomicU64::new(0),
            violations: AtomicUsize::new(0),
            kept: Mutex::default(),
            timeline: Mutex::default(),
        }
    }

    /// Something was done to everybody; told beside a violation that follows.
    pub(crate) fn note(&self, what: String) {
        lock(&self.timeline).push((self.begun.elapsed().as_secs_f64(), what));
    }

    /// What was done shortly before the first violation.
    pub(crate) fn prelude(&self) -> Vec<String> {
        let Some(first) = lock(&self.kept).first().map(|(_, told)| told.clone()) else {
            return Vec::new();
        };
        let at: f64 = first
            .split_whitespace()
            .next()
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or_default();
        lock(&self.timeline)
            .iter()
            .filter(|(when, _)| (at - PRELUDE_SECONDS..=at + 1.0).contains(when))
            .map(|(when, what)| format!("{when:8.3} s  ({what})"))
            .collect()
    }

    /// Counts something for the report.
    pub(crate) fn count(&self, what: &str) {
        let mut tally = lock(&self.tally);
        match tally.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                tally.insert(what.to_owned(), 1);
            }
        }
    }

    pub(crate) fn tally(&self) -> BTreeMap<String, u64> {
        lock(&self.tally).clone()
    }

    pub(crate) fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest.load(Ordering::Relaxed))
    }

    /// The contract is broken.
    pub(crate) fn violation(&self, what: &str) {
        self.violations.fetch_add(1, Ordering::Relaxed);
        // A flood of one kind must not hide the others.
        let kind = what.split(':').next().unwrap_or_default();
        let kind: String = kind.chars().filter(|c| !c.is_ascii_digit()).collect();
        let mut kept = lock(&self.kept);
        let alike = kept.iter().filter(|(known, _)| *known == kind).count();
        if alike < KEPT_OF_A_KIND {
            let at = self.begun.elapsed().as_secs_f64();
            kept.push((kind, format!("{at:8.3} s  {what}")));
        }
    }

    /// How many there were, and the first of them.
    pub(crate) fn violations(&self) -> (usize, Vec<String>) {
        (
            self.violations.load(Ordering::Relaxed),
            lock(&self.kept).iter().map(|(_, told)| told.clone()).collect(),
        )
    }

    /// STS may be so far ahead from now on, or as far as before.
    pub(crate) fn widen_shift(&self, seconds: i64) {
        let mut shift = lock(&self.shift);
        *shift = (shift.0.min(seconds), shift.1.max(seconds));
        self.note(format!("STS may be {seconds} s ahead: {shift:?}"));
    }

    /// The daemon has seen that STS is so far ahead.
    pub(crate) fn settle_shift(&self, seconds: i64) {
        *lock(&self.shift) = (seconds, seconds);
        self.note(format!("the daemon has seen STS {seconds} s ahead"));
    }

    /// The process is about to be replaced. What it has in hand goes to the next one.
    pub(crate) fn restart_begins(&self) {
        self.restarts.fetch_add(1, Ordering::SeqCst);
    }

    /// It was killed: what was issued just before may be lost, and then what was in hand earlier comes back.
    pub(crate) fn killed(&self, sts: &FakeSts) {
        let certain = Timestamp::now() - UNCERTAIN_AT_A_KILL;
        self.learn(sts);
        for role in &self.roles {
            let mut facts = role.facts();
            facts.in_hand = None;
            let issued = self.read_issued();
            let stored = issued.1.values().filter(|issued| {
                issued.role_arn == role.arn
                    && issued.number <= facts.newest
                    && issued.issued_at < certain
            });
            let newest = stored.map(|issued| issued.number).max();
            facts.newest = newest.unwrap_or_default();
        }
    }

    /// The next process serves. What may have ended by the clock that it began with, it has not taken over, and another
    /// clock does not bring it back.
    pub(crate) fn restart_ends(&self) {
        let latest =
            Timestamp::now() + SignedDuration::from_secs(lock(&self.shift).1) + SHIFTED_SLACK;
        for role in &self.roles {
            let mut facts = role.facts();
            facts.in_hand = facts.in_hand.filter(|held| held.expires > latest);
        }
        self.restarts.fetch_add(1, Ordering::SeqCst);
    }

    /// To be called before a byte is sent.
    pub(crate) fn before(&self, role: usize) -> Before {
        let restarts = self.restarts.load(Ordering::SeqCst);
        let floods = self.floods.load(Ordering::SeqCst);
        Before {
            facts: self.roles[role].facts().clone(),
            shift: *lock(&self.shift),
            asked: Timestamp::now(),
            begun: Instant::now(),
            restarts,
            floods,
        }
    }

    /// Whether one process has been there all along.
    pub(crate) fn same_process(&self, before: &Before) -> bool {
        before.restarts.is_multiple_of(2) && before.restarts == self.restarts.load(Ordering::SeqCst)
    }

    /// Whether new connections may have had to wait.
    pub(crate) fn flooded(&self, before: &Before) -> bool {
        !before.floods.is_multiple_of(2) || before.floods != self.floods.load(Ordering::SeqCst)
    }

    /// What was true all the while, now that the answer is in.
    pub(crate) fn after<'b>(&self, role: usize, before: &'b Before) -> After<'b> {
        let answered = Timestamp::now();
        let now = self.roles[role].facts().clone();
        let steady = self.same_process(before)
            && !before.facts.moving
            && !now.moving
            && before.facts.era == now.era;
        let shift = *lock(&self.shift);
        After {
            role,
            before,
            answered,
            steady,
            rotating: before.facts.rotating || now.rotating || before.facts.token != now.token,
            shift: (shift.0.min(before.shift.0), shift.1.max(before.shift.1)),
            identities: (before.facts.identities.0, now.identities.1),
            account_id: before
                .facts
                .account_id
                .filter(|due| steady && now.account_id == Some(*due)),
        }
    }

    /// The role's key was seen in an answer.
    pub(crate) fn seen(&self, after: &After<'_>, number: u64, expires: Timestamp) {
        let mut facts = self.roles[after.role].facts();
        if self.same_process(after.before) {
            facts.newest = facts.newest.max(number);
        }
        // Asked again under the lock: a restart forgets what is in hand only after it has been announced.
        if after.steady
            && self.same_process(after.before)
            && facts.era == after.before.facts.era
            && facts.in_hand.is_none_or(|held| held.number <= number)
        {
            facts.in_hand = Some(InHand { number, expires });
        }
    }

    /// An answer over a connection that was served before took so long.
    pub(crate) fn took(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.slowest.fetch_max(micros, Ordering::Relaxed);
    }

    /// The issue of this key.
    pub(crate) fn issue_of(&self, sts: &FakeSts, key: &str) -> Option<Issued> {
        let find = || self.read_issued().1.get(key).cloned();
        find().or_else(|| {
            self.learn(sts);
            find()
        })
    }

    /// Whether something newer than this was issued to the role, and has ended by then.
    pub(crate) fn was_replaced_by_shorter(
        &self,
        sts: &FakeSts,
        arn: &str,
        number: u64,
        by: Timestamp,
    ) -> bool {
        self.learn(sts);
        self.read_issued().1.values().any(|issued| {
            issued.role_arn == arn
                && issued.number > number
                && issued.expires_at > issued.issued_at
                && issued.expires_at <= by
        })
    }

    fn read_issued(&self) -> RwLockReadGuard<'_, (usize, HashMap<String, Issued>)> {
        self.issued.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, sts: &FakeSts) {
        let mut issued = self.issued.write().unwrap_or_else(PoisonError::into_inner);
        for new in sts.issued_after(issued.0) {
            issued.0 += 1;
            issued.1.insert(new.access_key_id.clone(), new);
        }
    }
}

impl Facts {
    /// What was in hand may be vended no longer.
    pub(crate) fn forget(&mut self) {
        self.in_hand = None;
    }

    /// The token file holds another token; the old one is honoured for hours.
    pub(crate) fn replace_token(&mut self, token: &str) {
        let old = std::mem::replace(&mut self.token, Arc::from(token));
        if !old.is_empty() {
            self.previous_tokens.push(old);
        }
    }
}
