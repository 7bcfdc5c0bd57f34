//! What may be answered to whom at which instant, and what was answered in spite of it.
//!
//! Everything is judged by what was true for certain: facts are looked at before a request is sent and again when its
//! answer is in, and what changed in between is not held against the daemon. What the daemon has shown once, it has.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::client::Answer;
use crate::sts::{FakeSts, Issued};

/// How exactly a shifted clock can be known: `Date` has whole seconds, and may be on its way for an attempt's time.
const SHIFTED_SLACK: SignedDuration = SignedDuration::from_secs(4);
/// Over a connection that is already served; the machine may be busy, the contract says 400 ms.
const SLOWEST: Duration = Duration::from_secs(3);
/// More violations are counted, not kept.
const KEPT: usize = 40;

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
    pub(crate) token: Arc<str>,
    pub(crate) previous_tokens: Vec<Arc<str>>,
    /// The newest issue that was ever vended.
    newest: u64,
    in_hand: Option<InHand>,
}

/// Credentials that the daemon has shown to have.
#[derive(Debug, Clone, Copy)]
struct InHand {
    number: u64,
    expires: Timestamp,
    era: u64,
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

/// What a request has to earn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// The role's credentials if any are in hand.
    Credentials,
    /// This status with this code.
    Refusal(u16, &'static str),
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
    kept: Mutex<Vec<String>>,
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
        }
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
        if self.violations.fetch_add(1, Ordering::Relaxed) < KEPT {
            lock(&self.kept).push(format!(
                "{:8.3} s  {what}",
                self.begun.elapsed().as_secs_f64()
            ));
        }
    }

    /// How many there were, and the first of them.
    pub(crate) fn violations(&self) -> (usize, Vec<String>) {
        (
            self.violations.load(Ordering::Relaxed),
            lock(&self.kept).clone(),
        )
    }

    /// STS may be so far ahead from now on, or as far as before.
    pub(crate) fn widen_shift(&self, seconds: i64) {
        let mut shift = lock(&self.shift);
        *shift = (shift.0.min(seconds), shift.1.max(seconds));
    }

    /// The daemon has seen that STS is so far ahead.
    pub(crate) fn settle_shift(&self, seconds: i64) {
        *lock(&self.shift) = (seconds, seconds);
    }

    /// The process is about to be replaced: what it has in hand is lost.
    pub(crate) fn restart_begins(&self) {
        self.restarts.fetch_add(1, Ordering::SeqCst);
        for role in &self.roles {
            role.facts().in_hand = None;
        }
    }

    pub(crate) fn restart_ends(&self) {
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

    /// Judges one answer.
    #[expect(clippy::too_many_arguments, reason = "all of it is evidence")]
    pub(crate) fn judge(
        &self,
        sts: &FakeSts,
        role: usize,
        before: &Before,
        expect: Expect,
        what: &str,
        is_head: bool,
        reused: bool,
        answer: &Answer,
    ) {
        let took = before.begun.elapsed();
        if reused && self.same_process(before) {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.slowest.fetch_max(micros, Ordering::Relaxed);
        }
        let code = self.examine(sts, role, before, expect, is_head, answer);
        let mut problems = Vec::new();
        match &code {
            Ok(code) => self.count(&format!("answer {} {code}", answer.status)),
            Err(problem) => {
                self.count(&format!("answer {} broken", answer.status));
                problems.push(problem.clone());
            }
        }
        if reused && took > SLOWEST && self.same_process(before) {
            problems.push(format!("took {:.1} s", took.as_secs_f64()));
        }
        for problem in problems {
            let facts = &before.facts;
            self.violation(&format!(
                "{problem}: {what} of {} asked at {} (present {}, identities {:?}, in hand {:?}) got {}",
                self.roles[role].name,
                before.asked,
                facts.present,
                facts.identities,
                facts.in_hand,
                redacted(answer)
            ));
        }
    }

    fn examine(
        &self,
        sts: &FakeSts,
        role: usize,
        before: &Before,
        expect: Expect,
        is_head: bool,
        answer: &Answer,
    ) -> Result<String, String> {
        headers_in_order(answer, is_head)?;
        let answered = Timestamp::now();
        let now = self.roles[role].facts().clone();
        let steady = self.same_process(before)
            && !before.facts.moving
            && !now.moving
            && before.facts.era == now.era;
        let shift = {
            let shift = *lock(&self.shift);
            (shift.0.min(before.shift.0), shift.1.max(before.shift.1))
        };
        if is_head {
            return match answer.status {
                200 | 403 | 503 => Ok("HEAD".to_owned()),
                401 if !before.facts.present || !steady => Ok("HEAD".to_owned()),
                status => Err(format!("HEAD got {status}")),
            };
        }
        let body: Value = serde_json::from_slice(&answer.body)
            .map_err(|error| format!("the body is no JSON: {error}"))?;
        match expect {
            Expect::Refusal(status, code) => {
                let got = refusal_code(answer, &body)?;
                if answer.status == status && got == code {
                    Ok(got)
                } else {
                    Err(format!("{status} {code} was due"))
                }
            }
            Expect::Credentials if answer.status == 200 => {
                self.examine_credentials(
                    sts, role, before, &now, steady, shift, answered, answer, &body,
                )?;
                Ok("Success".to_owned())
            }
            Expect::Credentials => {
                let code = refusal_code(answer, &body)?;
                self.examine_refusal(sts, role, before, steady, shift, answered, answer, &code)?;
                Ok(code)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is evidence")]
    fn examine_credentials(
        &self,
        sts: &FakeSts,
        role: usize,
        before: &Before,
        now: &Facts,
        steady: bool,
        shift: (i64, i64),
        answered: Timestamp,
        answer: &Answer,
        body: &Value,
    ) -> Result<(), String> {
        let text = |field: &str| body[field].as_str().unwrap_or_default();
        if text("Code") != "Success" {
            return Err("a 200 without success".to_owned());
        }
        let issued = self
            .issue_of(sts, text("AccessKeyId"))
            .ok_or("nobody issued this key")?;
        if issued.role_arn != self.roles[role].arn {
            return Err(format!("these are the credentials of {}", issued.role_arn));
        }
        if text("RoleArn") != issued.role_arn
            || text("SecretAccessKey") != issued.secret_access_key
            || text("Token") != issued.session_token
        {
            return Err("not the fields that STS issued with this key".to_owned());
        }
        let expires: Timestamp = text("Expiration")
            .parse()
            .map_err(|_| "Expiration is no time".to_owned())?;
        if text("Expiration").len() != 20
            || expires.as_second() != issued.expires_at.as_second()
            || !text("Expiration").ends_with('Z')
        {
            return Err(format!("STS granted it until {}", issued.expires_at));
        }
        if answer.body.len() >= 10_000 || answer.body.iter().any(|b| matches!(b, b'\n' | b'\\')) {
            return Err("the document has escapes, lines or 10,000 bytes".to_owned());
        }
        let slack = if shift == (0, 0) {
            SignedDuration::ZERO
        } else {
            SHIFTED_SLACK
        };
        // The daemon looked at the clock after it was asked.
        if expires <= before.asked + SignedDuration::from_secs(shift.0) - slack {
            return Err(format!("had expired when asked, key {}", issued.number));
        }
        let identity = issued
            .external_id
            .as_deref()
            .and_then(|id| id.strip_prefix("ws-")?.parse::<u64>().ok())
            .unwrap_or_default();
        if identity < before.facts.identities.0 || identity > now.identities.1 {
            return Err(format!("issued for another identity, ws-{identity}"));
        }
        if !before.facts.present && steady {
            return Err("the role had been removed".to_owned());
        }
        if issued.number < before.facts.newest {
            return Err(format!(
                "an older key came back: {} after {}",
                issued.number, before.facts.newest
            ));
        }
        let account = body.get("AccountId").and_then(Value::as_str);
        let due = before
            .facts
            .account_id
            .filter(|_| steady && now.account_id == before.facts.account_id);
        if due.is_some_and(|due| due != account.is_some())
            || account.is_some_and(|id| id != "111122223333")
        {
            return Err("AccountId is not as configured".to_owned());
        }
        let mut facts = self.roles[role].facts();
        facts.newest = facts.newest.max(issued.number);
        // Again under the lock: a restart takes away what is in hand after it has begun, and before that this counts.
        if steady
            && self.same_process(before)
            && facts.era == before.facts.era
            && facts
                .in_hand
                .is_none_or(|held| held.number <= issued.number)
        {
            facts.in_hand = Some(InHand {
                number: issued.number,
                expires,
                era: facts.era,
            });
        }
        let _ = answered;
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is evidence")]
    fn examine_refusal(
        &self,
        sts: &FakeSts,
        role: usize,
        before: &Before,
        steady: bool,
        shift: (i64, i64),
        answered: Timestamp,
        answer: &Answer,
        code: &str,
    ) -> Result<(), String> {
        let known = match (answer.status, code) {
            (503, "CredentialsPending" | "CredentialsUnavailable") => {
                let after = answer.header("retry-after").and_then(|s| s.parse().ok());
                after.is_some_and(|seconds: u64| (1..=30).contains(&seconds))
            }
            (403, "AssumeRoleFailed") => true,
            (401, "Unauthorized") => !before.facts.present || !steady,
            _ => false,
        };
        if !known {
            return Err("a refusal that this request cannot earn".to_owned());
        }
        if !steady {
            return Ok(());
        }
        if !before.facts.present {
            return match answer.status {
                401 => Ok(()),
                _ => Err("401 was due: the role had been removed".to_owned()),
            };
        }
        self.nothing_in_hand(sts, role, before, steady, shift, answered)
    }

    /// Promise 2: a failure takes nothing away.
    pub(crate) fn refused_rightly(
        &self,
        sts: &FakeSts,
        role: usize,
        before: &Before,
    ) -> Result<(), String> {
        let now = self.roles[role].facts().clone();
        let steady = self.same_process(before)
            && !self.flooded(before)
            && !before.facts.moving
            && !now.moving
            && before.facts.era == now.era;
        let shift = *lock(&self.shift);
        let shift = (shift.0.min(before.shift.0), shift.1.max(before.shift.1));
        self.nothing_in_hand(sts, role, before, steady, shift, Timestamp::now())
    }

    fn nothing_in_hand(
        &self,
        sts: &FakeSts,
        role: usize,
        before: &Before,
        steady: bool,
        shift: (i64, i64),
        answered: Timestamp,
    ) -> Result<(), String> {
        let Some(held) = before
            .facts
            .in_hand
            .filter(|held| steady && !before.facts.drops && held.era == before.facts.era)
        else {
            return Ok(());
        };
        let slack = if shift == (0, 0) {
            SignedDuration::ZERO
        } else {
            SHIFTED_SLACK
        };
        let latest = answered + SignedDuration::from_secs(shift.1) + slack;
        if held.expires <= latest {
            return Ok(());
        }
        // Newer ones may have come, been shorter, and ended.
        self.learn(sts);
        let arn = &self.roles[role].arn;
        let replaced = self
            .issued
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .values()
            .any(|issued| {
                issued.role_arn == *arn
                    && issued.number > held.number
                    && issued.expires_at > issued.issued_at
                    && issued.expires_at <= latest
            });
        if replaced {
            return Ok(());
        }
        Err(format!(
            "refused though key {} was in hand until {}",
            held.number, held.expires
        ))
    }

    /// The issue of this key.
    fn issue_of(&self, sts: &FakeSts, key: &str) -> Option<Issued> {
        let find = || {
            self.issued
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .1
                .get(key)
                .cloned()
        };
        find().or_else(|| {
            self.learn(sts);
            find()
        })
    }

    fn learn(&self, sts: &FakeSts) {
        let mut issued = self.issued.write().unwrap_or_else(PoisonError::into_inner);
        for new in sts.issued_after(issued.0) {
            issued.0 += 1;
            issued.1.insert(new.access_key_id.clone(), new);
        }
    }

    /// What an SDK took out of an answer.
    pub(crate) fn judge_sdk(
        &self,
        sts: &FakeSts,
        role: usize,
        before: &Before,
        taken: &Value,
    ) -> Result<(), String> {
        let answer = Answer {
            status: 200,
            headers: Vec::new(),
            body: Vec::new(),
        };
        let now = self.roles[role].facts().clone();
        let steady = self.same_process(before)
            && !before.facts.moving
            && !now.moving
            && before.facts.era == now.era;
        let shift = *lock(&self.shift);
        let shift = (shift.0.min(before.shift.0), shift.1.max(before.shift.1));
        // An SDK shows no AccountId and no RoleArn of its own accord.
        let mut before = before.clone();
        before.facts.account_id = None;
        self.examine_credentials(
            sts,
            role,
            &before,
            &now,
            steady,
            shift,
            Timestamp::now(),
            &answer,
            taken,
        )
    }
}

fn headers_in_order(answer: &Answer, is_head: bool) -> Result<(), String> {
    let due = |name: &str, value: &str| {
        (answer.header(name) == Some(value))
            .then_some(())
            .ok_or_else(|| format!("{name}: {value} was due"))
    };
    due("content-type", "application/json")?;
    due("cache-control", "no-store")?;
    let length = answer
        .header("content-length")
        .and_then(|length| length.parse::<usize>().ok())
        .ok_or("no Content-Length")?;
    if !is_head && length != answer.body.len() || length == 0 {
        return Err("an empty or short body".to_owned());
    }
    for name in [
        "transfer-encoding",
        "content-encoding",
        "location",
        "www-authenticate",
    ] {
        if answer.header(name).is_some() {
            return Err(format!("{name} has no place here"));
        }
    }
    Ok(())
}

/// The code of a refusal, which says everything twice and gives nothing away.
fn refusal_code(answer: &Answer, body: &Value) -> Result<String, String> {
    if !(400..600).contains(&answer.status) {
        return Err("neither 200 nor a refusal".to_owned());
    }
    let same = body["code"] == body["Code"] && body["message"] == body["Message"];
    match body["code"].as_str() {
        Some(code) if same && body.as_object().is_some_and(|body| body.len() == 4) => {
            Ok(code.to_owned())
        }
        _ => Err("a refusal without its four fields".to_owned()),
    }
}

/// The answer without its secrets.
fn redacted(answer: &Answer) -> String {
    let mut text = format!("{}", answer.status);
    for (name, value) in &answer.headers {
        let _ = write!(text, " {name}: {value};");
    }
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(Value::Object(mut body)) => {
            for secret in ["SecretAccessKey", "Token"] {
                body.remove(secret);
            }
            let _ = write!(text, " {}", Value::Object(body));
        }
        _ => {
            let _ = write!(text, " ({} bytes of another kind)", answer.body.len());
        }
    }
    text
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
