//! What survives a restart, as bytes: credentials and their schedule, token digests, the clock of STS. Pure.
//!
//! The image goes from one process to the next through memory that systemd holds (`store.rs`), never over a disk. It is
//! taken only if it is whole: a version, a length and a SHA-256 over everything. What it says about a role is taken only
//! if the role still asks STS for the same, and its credentials are examined as if STS had just sent them. Any doubt
//! means to issue anew.
//!
//! A role without unexpired credentials is not taken over: pending, it waits for its first attempt and answers then.

mod bytes;

use std::collections::BTreeMap;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use self::bytes::{Packed, Reader};
use crate::credentials::Credentials;
use crate::issuer::explain::Advice;
use crate::issuer::{Class, IssueError};
use crate::lifecycle::{ByClass, Failures, RoleState};
use crate::role::{RequestIdentity, Role, RoleName};
use crate::slots::Table;
use crate::tokens::{Digest, RoleTokens, Tokens};

/// The largest image: ten thousand roles have 20 MB.
pub const IMAGE_LIMIT: usize = 64 << 20;
/// Of this format. A reader takes its own only.
const VERSION: u32 = 2;
const MAGIC: &[u8; 8] = b"roletap\n";
/// Magic, version, length of what follows, checksum.
const HEADER: usize = 8 + 4 + 8 + 32;
/// Beside the document, what is known about one role seldom takes more.
const USUAL_RECORD: usize = 512;

/// An image that was found whole.
#[derive(Debug, Default)]
pub struct Kept {
    /// Counts the images of one store: of two, the later is the truth.
    pub serial: u64,
    /// How far the clock of STS was ahead of ours, milliseconds.
    pub skew_millis: Option<i64>,
    /// The valid tokens.
    pub tokens: Tokens,
    roles: BTreeMap<RoleName, Record>,
}

/// What was known about one role, not yet examined.
#[derive(Debug)]
struct Record {
    identity: RequestIdentity,
    asked: bool,
    rendered: Rendered,
    issued_at: SystemTime,
    session_token_utilization: Option<u8>,
    refresh_at: SystemTime,
    failures: Option<Failures>,
}

struct Rendered(Zeroizing<Vec<u8>>);

/// One role, as it was.
#[derive(Debug)]
pub struct Inherited {
    /// Always [`RoleState::Issued`].
    pub state: RoleState,
    /// A workload had asked for it.
    pub asked: bool,
}

/// Why what was kept about a role is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// It now asks STS for something else.
    Changed,
    /// The credentials have ended meanwhile.
    Expired,
    /// They could not have come from STS.
    Unusable,
}

/// Why an image is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Shorter than it says or than any image.
    #[error("it ends early, after {0} bytes")]
    Short(usize),
    /// Longer than it says or than any image.
    #[error("it has {0} bytes, which is too many")]
    Long(usize),
    /// Something else altogether.
    #[error("it is not an image of roletap")]
    Foreign,
    /// Of a release that keeps something else.
    #[error("it has format {0}, and this roletap reads format {VERSION}")]
    Version(u32),
    /// Not what was written.
    #[error("its checksum does not match")]
    Checksum,
    /// Whole, and yet senseless.
    #[error("it makes no sense at byte {0}")]
    Nonsense(usize),
}

/// What is published now, as an image.
pub fn image(table: &Table, tokens: &Tokens, skew_millis: Option<i64>, serial: u64) -> Image {
    let held = |slot: &crate::slots::Slot| {
        let state = RoleState::clone(&slot.state());
        Some((RequestIdentity::new(&slot.role.request), slot.was_asked())).zip(issued(state))
    };
    let roles: Vec<_> =
        table.slots.iter().filter_map(|(name, slot)| Some((name, held(slot)?))).collect();
    let documents = roles.iter().map(|(_, (_, held))| held.credentials.handed_over().len());
    let mut out = Packed::with_capacity(
        HEADER + 64 + documents.sum::<usize>() + USUAL_RECORD * (roles.len() + tokens.roles.len()),
    );
    out.bytes(&[0; HEADER]);
    out.u64(serial);
    out.option(skew_millis, |out, millis| out.bytes(&millis.to_le_bytes()));
    out.count(roles.len());
    for (name, ((identity, asked), held)) in &roles {
        out.text(name.as_str());
        out.bytes(&identity.to_bytes());
        out.flag(*asked);
        out.blob(held.credentials.handed_over());
        out.time(held.credentials.issued_at());
        out.option(held.credentials.session_token_utilization(), |out, share| {
            out.bytes(&[share]);
        });
        out.time(held.refresh_at);
        out.option(held.failures.as_ref(), Packed::failures);
    }
    out.count(tokens.roles.len());
    for (name, tokens) in &tokens.roles {
        out.text(name.as_str());
        out.bytes(&tokens.current.to_bytes());
        out.count(tokens.previous.len());
        for (digest, until) in &tokens.previous {
            out.bytes(&digest.to_bytes());
            out.time(*until);
        }
    }
    out.sealed()
}

/// Bytes that are wiped when they are dropped.
pub type Image = Zeroizing<Vec<u8>>;

impl Kept {
    /// Reads an image, whole or not at all.
    pub fn read(image: &[u8]) -> Result<Self, Doubt> {
        let payload = payload(image)?;
        let mut reader = Reader { rest: payload, length: payload.len() };
        let kept = reader.kept();
        match kept {
            Some(kept) if reader.rest.is_empty() => Ok(kept),
            Some(_) | None => Err(Doubt::Nonsense(HEADER + reader.length - reader.rest.len())),
        }
    }

    /// Whose credentials were kept.
    pub fn names(&self) -> impl Iterator<Item = &RoleName> {
        self.roles.keys()
    }

    /// What was kept about `role` and holds at `now`, by the clock of STS; `None` if there was nothing.
    pub fn inherit(&self, role: &Role, now: SystemTime) -> Option<Result<Inherited, Dropped>> {
        Some(self.roles.get(&role.name)?.examined(role, now))
    }
}

impl Record {
    fn examined(&self, role: &Role, now: SystemTime) -> Result<Inherited, Dropped> {
        if self.identity != RequestIdentity::new(&role.request) {
            return Err(Dropped::Changed);
        }
        let credentials = Credentials::taken_over(
            &self.rendered.0,
            self.issued_at,
            self.session_token_utilization,
            role,
        )
        .map_err(|_| Dropped::Unusable)?;
        if credentials.expires_at() <= now {
            return Err(Dropped::Expired);
        }
        // Else it would be refreshed too late, or never.
        if self.refresh_at > credentials.expires_at() {
            return Err(Dropped::Unusable);
        }
        Ok(Inherited {
            state: RoleState::Issued {
                credentials: credentials.into(),
                refresh_at: self.refresh_at,
                failures: self.failures.clone(),
            },
            asked: self.asked,
        })
    }
}

struct Held {
    credentials: std::sync::Arc<Credentials>,
    refresh_at: SystemTime,
    failures: Option<Failures>,
}

fn issued(state: RoleState) -> Option<Held> {
    match state {
        RoleState::Issued { credentials, refresh_at, failures } => {
            Some(Held { credentials, refresh_at, failures })
        }
        RoleState::Pending | RoleState::Failing { .. } => None,
    }
}

/// What stands behind a header that is right in every byte.
fn payload(image: &[u8]) -> Result<&[u8], Doubt> {
    let found = image.len();
    if found > IMAGE_LIMIT {
        return Err(Doubt::Long(found));
    }
    let mut reader = Reader { rest: image, length: found };
    let short = Doubt::Short(found);
    let magic: [u8; 8] = reader.array().ok_or(short.clone())?;
    if magic != *MAGIC {
        return Err(Doubt::Foreign);
    }
    let version = reader.u32().ok_or(short.clone())?;
    if version != VERSION {
        return Err(Doubt::Version(version));
    }
    let length = reader.u64().ok_or(short.clone())?;
    let checksum: [u8; 32] = reader.array().ok_or(short.clone())?;
    match (reader.rest.len() as u64).cmp(&length) {
        std::cmp::Ordering::Less => Err(short),
        std::cmp::Ordering::Greater => Err(Doubt::Long(found)),
        std::cmp::Ordering::Equal if checksum_of(length, reader.rest) != checksum => {
            Err(Doubt::Checksum)
        }
        std::cmp::Ordering::Equal => Ok(reader.rest),
    }
}

fn checksum_of(length: u64, payload: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(MAGIC);
    hash.update(VERSION.to_le_bytes());
    hash.update(length.to_le_bytes());
    hash.update(payload);
    hash.finalize().into()
}

impl Packed {
    fn failures(&mut self, failures: &Failures) {
        let error = &failures.error;
        self.text(error.class.as_str());
        self.option(error.code.as_deref(), Self::text);
        self.option(error.status, |out, status| out.u32(status.into()));
        self.option(error.request_id.as_deref(), Self::text);
        self.text(&error.what);
        let advice = &error.advice;
        for part in [&advice.meaning, &advice.ask, &advice.change] {
            self.text(part);
        }
        self.option(error.retry_after, Self::duration);
        self.u32(failures.count);
        for count in failures.of_class {
            self.u32(count);
        }
        self.time(failures.since);
        self.time(failures.retry_at);
    }

    /// Fills in the header, for which room was left.
    fn sealed(mut self) -> Image {
        let length = self.0.len().saturating_sub(HEADER) as u64;
        let checksum = checksum_of(length, self.0.get(HEADER..).unwrap_or_default());
        let header = MAGIC
            .iter()
            .chain(&VERSION.to_le_bytes())
            .chain(&length.to_le_bytes())
            .chain(&checksum)
            .copied()
            .collect::<Vec<u8>>();
        for (place, byte) in self.0.iter_mut().zip(header) {
            *place = byte;
        }
        self.0
    }
}

impl Reader<'_> {
    fn kept(&mut self) -> Option<Kept> {
        let serial = self.u64()?;
        let skew_millis = self.option(|reader| Some(i64::from_le_bytes(reader.array()?)))?;
        let mut roles = BTreeMap::new();
        for _ in 0..self.u32()? {
            let name = self.name()?;
            roles.insert(name, self.record()?);
        }
        let mut tokens = Tokens::default();
        for _ in 0..self.u32()? {
            let name = self.name()?;
            tokens.roles.insert(name, self.role_tokens()?);
        }
        Some(Kept { serial, skew_millis, tokens, roles })
    }

    fn record(&mut self) -> Option<Record> {
        Some(Record {
            identity: RequestIdentity::from_bytes(self.array()?),
            asked: self.flag()?,
            rendered: Rendered(Zeroizing::new(self.blob()?.to_vec())),
            issued_at: self.time()?,
            session_token_utilization: self.option(|reader| Some(reader.array::<1>()?[0]))?,
            refresh_at: self.time()?,
            failures: self.option(Self::failures)?,
        })
    }

    fn failures(&mut self) -> Option<Failures> {
        let class = self.text()?;
        let error = IssueError {
            class: Class::ALL.into_iter().find(|known| known.as_str() == class)?,
            code: self.option(Self::owned)?,
            status: self.option(|reader| u16::try_from(reader.u32()?).ok())?,
            request_id: self.option(Self::owned)?,
            what: self.owned()?,
            advice: Box::new(Advice {
                meaning: self.owned()?,
                ask: self.owned()?,
                change: self.owned()?,
            }),
            retry_after: self.option(Self::duration)?,
        };
        Some(Failures {
            error: error.into(),
            count: self.u32()?,
            of_class: self.by_class()?,
            since: self.time()?,
            retry_at: self.time()?,
        })
    }

    fn by_class(&mut self) -> Option<ByClass> {
        let mut of_class = ByClass::default();
        for count in &mut of_class {
            *count = self.u32()?;
        }
        Some(of_class)
    }

    fn role_tokens(&mut self) -> Option<RoleTokens> {
        let current = Digest::from_bytes(self.array()?);
        let mut previous = Vec::new();
        for _ in 0..self.u32()? {
            previous.push((Digest::from_bytes(self.array()?), self.time()?));
        }
        Some(RoleTokens { current, previous })
    }
}

impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rendered(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::lifecycle::Jitter;
    use crate::role::{OnDenied, Terms};
    use crate::simulated::{at, config, credentials, error, role};
    use crate::slots::{Counts, Slot};

    fn table(entries: Vec<(Arc<Role>, RoleState, bool)>) -> Table {
        let mut table = Table::default();
        for (role, state, asked) in entries {
            let (slot, _) = Slot::new(role.clone(), state, Arc::new(Counts::default()), asked);
            table.slots.insert(role.name.clone(), slot);
        }
        table
    }

    fn some_tokens() -> Tokens {
        let mut tokens = Tokens::default();
        for name in ["a", "b"] {
            tokens.roles.insert(
                RoleName::parse(name).unwrap(),
                RoleTokens {
                    current: Digest::of(name.as_bytes()),
                    previous: vec![(Digest::of(b"old"), at(100)), (Digest::of(b"older"), at(50))],
                },
            );
        }
        tokens
    }

    fn life(seed: u64, role: &Role) -> (RoleState, SystemTime) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut state = RoleState::Pending;
        let mut now = at(1_000_000) + Duration::from_nanos(random.u64(..1_000_000_000));
        for serial in 0..random.u64(1..12) {
            let outcome = if random.bool() {
                Ok(credentials(role, now, Duration::from_secs(random.u64(900..43_200)), serial))
            } else {
                let mut error = error(random.choice(Class::ALL).unwrap());
                if random.bool() {
                    error.code = Some("AccessDenied".to_owned());
                    error.status = Some(random.u16(..));
                    error.request_id = Some("0f-ü".to_owned());
                    error.retry_after = Some(Duration::from_millis(random.u64(..60_000)));
                }
                Err(error)
            };
            let on_denied = if random.u8(..) < 8 { OnDenied::Drop } else { OnDenied::Keep };
            let terms = Terms { on_denied, ..role.terms };
            state = state.after(outcome, terms, now, Jitter::new(random.f64()));
            now += Duration::from_millis(random.u64(..4_000_000));
        }
        (state, now)
    }

    #[test]
    fn any_life_goes_on_as_if_nothing_had_happened() {
        let role = role("a", 3600);
        let mut taken = 0;
        for seed in 0..1_000 {
            let (before, now) = life(seed, &role);
            let asked = seed % 2 == 0;
            let image = image(
                &table(vec![(role.clone(), before.clone(), asked)]),
                &some_tokens(),
                Some(-1234),
                seed,
            );
            let kept = Kept::read(&image).unwrap();
            assert_eq!(kept.serial, seed);
            assert_eq!(kept.skew_millis, Some(-1234));
            assert_eq!(kept.tokens.roles, some_tokens().roles);
            let after = match kept.inherit(&role, now) {
                Some(Ok(inherited)) => inherited,
                Some(Err(Dropped::Expired)) => {
                    assert!(before.vend(now).is_err(), "{seed}");
                    continue;
                }
                other => {
                    assert!(other.is_none(), "{seed}: {other:?}");
                    assert!(before.credentials().is_none(), "{seed}");
                    continue;
                }
            };
            taken += 1;
            assert_eq!(after.asked, asked);
            let after = after.state;
            // Now, later, and after the clock was set, either way.
            for seconds in [0, 1, 60, 1_800, 7_200, 86_400] {
                let by = Duration::from_secs(seconds);
                for then in [now + by, now - by, now - by * 400] {
                    let vended = |state: &RoleState| state.vend(then).map(|held| held.document());
                    assert_eq!(vended(&after), vended(&before), "{seed}");
                    assert_eq!(after.phase(then), before.phase(then), "{seed}");
                    assert_eq!(after.next_attempt(then), before.next_attempt(then), "{seed}");
                }
            }
            // And the next attempt comes to the same, whichever way it goes.
            let jitter = Jitter::new(0.3);
            for class in Class::ALL {
                let fail = |state: RoleState| {
                    state.after(Err(error(class)), Terms::default(), now, jitter)
                };
                let (one, other) = (fail(before.clone()), fail(after.clone()));
                let facts = |state: &RoleState| {
                    let failures = state.failures().unwrap();
                    (failures.count, failures.of_class, failures.since, failures.retry_at)
                };
                assert_eq!(facts(&one), facts(&other), "{seed}");
            }
            let succeed = |state: RoleState| {
                let new = credentials(&role, now, Duration::from_secs(3600), 99);
                state.after(Ok(new), Terms::default(), now, jitter)
            };
            let (one, other) = (succeed(before.clone()), succeed(after.clone()));
            assert_eq!(one.next_attempt(now), other.next_attempt(now), "{seed}");
            let errors = |state: &RoleState| state.failures().map(|f| f.error.clone());
            assert_eq!(errors(&before), errors(&after), "{seed}");
        }
        assert!(taken > 300, "{taken}");
    }

    fn one_image() -> Image {
        let (a, b) = (role("a", 3600), role("b", 3600));
        let failing = issued_and_failing(&b);
        let fresh = RoleState::Pending.after(
            Ok(credentials(&a, at(0), Duration::from_secs(3600), 1)),
            Terms::default(),
            at(0),
            Jitter::new(0.5),
        );
        let entries = vec![(a, fresh, true), (b, failing, false)];
        image(&table(entries), &some_tokens(), Some(17), 5)
    }

    fn issued_and_failing(role: &Role) -> RoleState {
        RoleState::Pending
            .after(
                Ok(credentials(role, at(0), Duration::from_secs(3600), 1)),
                Terms::default(),
                at(0),
                Jitter::new(0.5),
            )
            .after(Err(error(Class::Denied)), Terms::default(), at(1800), Jitter::new(0.5))
    }

    #[test]
    fn no_byte_can_be_flipped() {
        let image = one_image();
        Kept::read(&image).unwrap();
        let mut changed = image.clone();
        for at in 0..image.len() {
            for bit in [0x01, 0x80] {
                changed[at] ^= bit;
                assert!(Kept::read(&changed).is_err(), "byte {at}");
                changed[at] ^= bit;
            }
        }
    }

    #[test]
    fn no_byte_may_be_missing_or_too_many() {
        let image = one_image();
        for end in 0..image.len() {
            assert!(Kept::read(&image[..end]).is_err(), "cut at {end}");
        }
        assert_eq!(Kept::read(b"").unwrap_err(), Doubt::Short(0));
        let mut longer = image.clone();
        longer.push(0);
        assert_eq!(Kept::read(&longer).unwrap_err(), Doubt::Long(longer.len()));
        let huge = vec![0; IMAGE_LIMIT + 1];
        assert_eq!(Kept::read(&huge).unwrap_err(), Doubt::Long(huge.len()));
    }

    #[test]
    fn senseless_bytes_under_a_right_checksum_are_no_panic() {
        let image = one_image();
        let mut random = fastrand::Rng::with_seed(2026);
        for _ in 0..20_000 {
            let mut payload = image[HEADER..].to_vec();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..payload.len());
                payload[at] = random.u8(..);
            }
            payload.truncate(random.usize(..=payload.len()));
            let mut packed = Packed::with_capacity(0);
            packed.bytes(&[0; HEADER]);
            packed.bytes(&payload);
            if let Ok(kept) = Kept::read(&packed.sealed()) {
                for name in ["a", "b"] {
                    let _ = kept.inherit(&role(name, 3600), at(0));
                }
            }
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut image = one_image();
        image[8] = 3;
        assert_eq!(Kept::read(&image).unwrap_err(), Doubt::Version(3));
        image[0] = b'R';
        assert_eq!(Kept::read(&image).unwrap_err(), Doubt::Foreign);
    }

    #[test]
    fn a_role_that_asks_for_something_else_inherits_nothing() {
        let kept = Kept::read(&one_image()).unwrap();
        let dropped = |more: &str, now| {
            let config = config(&["a"], 3600, more);
            let role = config.roles.into_values().next().unwrap();
            kept.inherit(&role, now).unwrap().err()
        };
        assert_eq!(dropped("", at(0)), None);
        assert_eq!(dropped("account_id = true", at(0)), None);
        assert_eq!(dropped("external_id = \"ws-1\"", at(0)), Some(Dropped::Changed));
        assert_eq!(dropped("", at(3599)), None);
        assert_eq!(dropped("", at(3600)), Some(Dropped::Expired));
        assert!(kept.inherit(&role("c", 3600), at(0)).is_none());
    }

    #[test]
    fn a_schedule_that_would_come_too_late_is_not_taken() {
        let role = role("a", 3600);
        let state = RoleState::Issued {
            credentials: Arc::new(credentials(&role, at(0), Duration::from_secs(3600), 1)),
            refresh_at: at(3601),
            failures: None,
        };
        let image = image(&table(vec![(role.clone(), state, false)]), &Tokens::default(), None, 0);
        let kept = Kept::read(&image).unwrap();
        let dropped = kept.inherit(&role, at(0)).unwrap().err();
        assert_eq!(dropped, Some(Dropped::Unusable));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let kept = Kept::read(&one_image()).unwrap();
        let printed = format!("{kept:?} {:?}", kept.inherit(&role("a", 3600), at(0)));
        for secret in ["wJalr", "FwoG"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
