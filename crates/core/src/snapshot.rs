//! Everything that survives a restart, as bytes: credentials and their schedule, token digests, the clock of STS. Pure.
//!
//! The bytes go from one process to the next through memory that systemd holds (`fd_store.rs`), never over a disk. They
//! are read only if they are whole: a version, a length and a SHA-256 over everything. A role is restored only if it
//! still asks STS for the same, and its credentials are examined as if STS had just sent them. Any doubt means that the
//! role is assumed anew.
//!
//! A role without unexpired credentials is not restored: pending, it waits for its first attempt and answers then.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::credentials::Credentials;
use crate::lifecycle::{Failures, RoleState};
use crate::role::{RequestIdentity, Role, RoleName, hidden};
use crate::token_digest::Tokens;

/// The longest encoded snapshot, in bytes; ten thousand roles need 20 MB.
pub const SNAPSHOT_LIMIT: usize = 64 << 20;

/// The format. A reader takes this one only, so every change of what is encoded needs another number.
const VERSION: u32 = 3;
const MAGIC: [u8; 8] = *b"roletap\n";
/// Magic, version, length of what follows, checksum.
const HEADER: usize = 8 + 4 + 8 + 32;

/// The state of a process that the next one can go on with.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// A number that counts snapshots: of two, the one with the greater number is newer.
    pub serial: u64,
    /// How far the clock of STS was ahead of the clock of this host, in milliseconds.
    pub skew_millis: Option<i64>,
    /// The digests of the tokens that the endpoints accept.
    pub tokens: Tokens,
    roles: BTreeMap<RoleName, RoleRecord>,
}

/// One role, not yet examined.
#[derive(Debug, Serialize, Deserialize)]
struct RoleRecord {
    request: RequestIdentity,
    used: bool,
    credentials: Rendered,
    issued_at: SystemTime,
    session_token_utilization: Option<u8>,
    refresh_at: SystemTime,
    failures: Option<Failures>,
}

/// Credentials as [`Credentials::export_for_restart`] gives them. **Secret**.
struct Rendered(Bytes);

/// An encoded snapshot. It is wiped when it is dropped.
pub type EncodedSnapshot = Zeroizing<Vec<u8>>;

/// One role as the process before this one had it.
#[derive(Debug)]
pub struct RestoredRole {
    /// The state, always [`RoleState::Issued`].
    pub state: RoleState,
    /// A workload had asked for its credentials.
    pub used: bool,
}

/// Why a role is not restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRestored {
    /// The role now asks STS for something else.
    Changed,
    /// The credentials have expired meanwhile.
    Expired,
    /// The credentials could not have come from STS.
    Unusable,
}

/// Why a snapshot cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Shorter than it says, or than any snapshot.
    #[error("it ends early, after {0} bytes")]
    TooShort(usize),
    /// Longer than it says, or than [`SNAPSHOT_LIMIT`].
    #[error("it has {0} bytes, which is too many")]
    TooLong(usize),
    /// Not written by roletap.
    #[error("it is not a snapshot of roletap")]
    Foreign,
    /// Written by a release with another format.
    #[error("it has format {0}, and this roletap reads format {VERSION}")]
    Version(u32),
    /// Changed since it was written.
    #[error("its checksum does not match")]
    Checksum,
    /// Whole, and yet not a snapshot.
    #[error("its content makes no sense: {0}")]
    Malformed(postcard::Error),
    /// Bytes after the end of the content.
    #[error("its content is followed by {0} more bytes")]
    TrailingBytes(usize),
}

impl Snapshot {
    /// Makes a snapshot without roles.
    pub fn new(serial: u64, skew_millis: Option<i64>, tokens: Tokens) -> Self {
        Self { serial, skew_millis, tokens, roles: BTreeMap::new() }
    }

    /// Adds `role` if `state` has credentials. `used` says that a workload has asked for them.
    pub fn add(&mut self, role: &Role, state: &RoleState, used: bool) {
        let RoleState::Issued { credentials, refresh_at, failures } = state else {
            return;
        };
        let record = RoleRecord {
            request: RequestIdentity::new(&role.request),
            used,
            credentials: Rendered(credentials.export_for_restart()),
            issued_at: credentials.issued_at().max(UNIX_EPOCH),
            session_token_utilization: credentials.session_token_utilization(),
            refresh_at: (*refresh_at).max(UNIX_EPOCH),
            failures: failures.clone(),
        };
        self.roles.insert(role.name.clone(), record);
    }

    /// Encodes the snapshot, without a copy that is not wiped.
    pub fn encode(&self) -> Result<EncodedSnapshot, postcard::Error> {
        // Measured first: what a vector leaves behind when it grows is not wiped.
        let length = postcard::experimental::serialized_size(self)?;
        let mut encoded = Zeroizing::new(vec![0; HEADER + length]);
        let (header, payload) = encoded.split_at_mut(HEADER);
        postcard::to_slice(self, payload)?;
        header.copy_from_slice(&header_of(payload));
        Ok(encoded)
    }

    /// Decodes a snapshot, whole or not at all.
    pub fn decode(encoded: &[u8]) -> Result<Self, SnapshotError> {
        let payload = checked_payload(encoded)?;
        match postcard::take_from_bytes(payload) {
            Ok((snapshot, [])) => Ok(snapshot),
            Ok((_, rest)) => Err(SnapshotError::TrailingBytes(rest.len())),
            Err(error) => Err(SnapshotError::Malformed(error)),
        }
    }

    /// Returns the names of the roles that have credentials here.
    pub fn names(&self) -> impl Iterator<Item = &RoleName> {
        self.roles.keys()
    }

    /// Restores `role` as it holds at `now`, by the clock of STS; `None` if the snapshot does not have it.
    pub fn restore(
        &self,
        role: &Role,
        now: SystemTime,
    ) -> Option<Result<RestoredRole, NotRestored>> {
        Some(self.roles.get(&role.name)?.restore(role, now))
    }
}

impl RoleRecord {
    fn restore(&self, role: &Role, now: SystemTime) -> Result<RestoredRole, NotRestored> {
        if self.request != RequestIdentity::new(&role.request) {
            return Err(NotRestored::Changed);
        }
        let credentials = Credentials::import_after_restart(
            &self.credentials.0,
            self.issued_at,
            self.session_token_utilization,
            role,
        )
        .map_err(|_| NotRestored::Unusable)?;
        if credentials.expires_at() <= now {
            return Err(NotRestored::Expired);
        }
        // Else it would be refreshed too late, or never.
        if self.refresh_at > credentials.expires_at() {
            return Err(NotRestored::Unusable);
        }
        let (refresh_at, failures) = (self.refresh_at, self.failures.clone());
        let state = RoleState::Issued { credentials: credentials.into(), refresh_at, failures };
        Ok(RestoredRole { state, used: self.used })
    }
}

/// Returns the payload behind a header that is right in every byte.
fn checked_payload(encoded: &[u8]) -> Result<&[u8], SnapshotError> {
    let found = encoded.len();
    if found > SNAPSHOT_LIMIT {
        return Err(SnapshotError::TooLong(found));
    }
    let Some((header, payload)) = encoded.split_at_checked(HEADER) else {
        return Err(SnapshotError::TooShort(found));
    };
    let expected = header_of(payload);
    if header == expected {
        return Ok(payload);
    }
    let field = |range: std::ops::Range<usize>| header.get(range).unwrap_or_default();
    if field(0..8) != MAGIC {
        return Err(SnapshotError::Foreign);
    }
    let version = u32::from_le_bytes(field(8..12).try_into().unwrap_or_default());
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let length = u64::from_le_bytes(field(12..20).try_into().unwrap_or_default());
    Err(match (payload.len() as u64).cmp(&length) {
        std::cmp::Ordering::Less => SnapshotError::TooShort(found),
        std::cmp::Ordering::Greater => SnapshotError::TooLong(found),
        std::cmp::Ordering::Equal => SnapshotError::Checksum,
    })
}

/// Returns the one right header of `payload`; the checksum covers the header, too.
fn header_of(payload: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let (fields, checksum) = header.split_at_mut(20);
    fields[..8].copy_from_slice(&MAGIC);
    fields[8..12].copy_from_slice(&VERSION.to_le_bytes());
    fields[12..].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    checksum
        .copy_from_slice(&Sha256::new().chain_update(&*fields).chain_update(payload).finalize());
    header
}

hidden!(Rendered);

impl Serialize for Rendered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Rendered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        // Whoever lets go of it last wipes it.
        Ok(Self(Bytes::from_owner(Zeroizing::new(bytes.to_vec()))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::backoff::Jitter;
    use crate::failure::Class;
    use crate::fixtures::{at, config, credentials, error, role};
    use crate::role::{OnDenied, RefreshPolicy};
    use crate::token_digest::{Digest, RoleTokens};

    fn encoded(
        roles: &[(&Role, &RoleState, bool)],
        tokens: Tokens,
        skew_millis: Option<i64>,
        serial: u64,
    ) -> EncodedSnapshot {
        let mut snapshot = Snapshot::new(serial, skew_millis, tokens);
        for (role, state, used) in roles {
            snapshot.add(role, state, *used);
        }
        snapshot.encode().unwrap()
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
                    error.code = Some("AccessDenied".into());
                    error.status = Some(random.u16(..));
                    error.request_id = Some("0f-ü".into());
                    error.retry_after = Some(Duration::from_millis(random.u64(..60_000)));
                }
                Err(error)
            };
            let on_denied = if random.u8(..) < 8 { OnDenied::Drop } else { OnDenied::Keep };
            let terms = RefreshPolicy { on_denied, ..role.terms };
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
            let used = seed % 2 == 0;
            let encoded = encoded(&[(&role, &before, used)], some_tokens(), Some(-1234), seed);
            let snapshot = Snapshot::decode(&encoded).unwrap();
            assert_eq!(snapshot.serial, seed);
            assert_eq!(snapshot.skew_millis, Some(-1234));
            assert_eq!(snapshot.tokens, some_tokens());
            let after = match snapshot.restore(&role, now) {
                Some(Ok(restored)) => restored,
                Some(Err(NotRestored::Expired)) => {
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
            assert_eq!(after.used, used);
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
                    state.after(Err(error(class)), RefreshPolicy::default(), now, jitter)
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
                state.after(Ok(new), RefreshPolicy::default(), now, jitter)
            };
            let (one, other) = (succeed(before.clone()), succeed(after.clone()));
            assert_eq!(one.next_attempt(now), other.next_attempt(now), "{seed}");
            let errors = |state: &RoleState| state.failures().map(|f| f.error.clone());
            assert_eq!(errors(&before), errors(&after), "{seed}");
        }
        assert!(taken > 300, "{taken}");
    }

    fn one_snapshot() -> EncodedSnapshot {
        let (a, b) = (role("a", 3600), role("b", 3600));
        let failing = issued_and_failing(&b);
        let fresh = RoleState::Pending.after(
            Ok(credentials(&a, at(0), Duration::from_secs(3600), 1)),
            RefreshPolicy::default(),
            at(0),
            Jitter::new(0.5),
        );
        encoded(&[(&a, &fresh, true), (&b, &failing, false)], some_tokens(), Some(17), 5)
    }

    fn issued_and_failing(role: &Role) -> RoleState {
        RoleState::Pending
            .after(
                Ok(credentials(role, at(0), Duration::from_secs(3600), 1)),
                RefreshPolicy::default(),
                at(0),
                Jitter::new(0.5),
            )
            .after(Err(error(Class::Denied)), RefreshPolicy::default(), at(1800), Jitter::new(0.5))
    }

    #[test]
    fn no_byte_can_be_flipped() {
        let encoded = one_snapshot();
        Snapshot::decode(&encoded).unwrap();
        let mut changed = encoded.clone();
        for at in 0..encoded.len() {
            for bit in [0x01, 0x80] {
                changed[at] ^= bit;
                assert!(Snapshot::decode(&changed).is_err(), "byte {at}");
                changed[at] ^= bit;
            }
        }
    }

    #[test]
    fn no_byte_may_be_missing_or_too_many() {
        let encoded = one_snapshot();
        for end in 0..encoded.len() {
            assert!(Snapshot::decode(&encoded[..end]).is_err(), "cut at {end}");
        }
        assert_eq!(Snapshot::decode(b"").unwrap_err(), SnapshotError::TooShort(0));
        let mut longer = encoded.clone();
        longer.push(0);
        assert_eq!(Snapshot::decode(&longer).unwrap_err(), SnapshotError::TooLong(longer.len()));
        let huge = vec![0; SNAPSHOT_LIMIT + 1];
        assert_eq!(Snapshot::decode(&huge).unwrap_err(), SnapshotError::TooLong(huge.len()));
    }

    #[test]
    fn senseless_bytes_under_a_right_checksum_are_no_panic() {
        let encoded = one_snapshot();
        let mut random = fastrand::Rng::with_seed(2026);
        for _ in 0..20_000 {
            let mut payload = encoded[HEADER..].to_vec();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..payload.len());
                payload[at] = random.u8(..);
            }
            payload.truncate(random.usize(..=payload.len()));
            let whole = [&header_of(&payload), payload.as_slice()].concat();
            if let Ok(snapshot) = Snapshot::decode(&whole) {
                for name in ["a", "b"] {
                    let _ = snapshot.restore(&role(name, 3600), at(0));
                }
            }
        }
    }

    /// A snapshot is read by another release, too: a field that is added or moved would be read as something else.
    #[test]
    fn the_format_changes_only_with_its_version() {
        let digest = hex::encode(Sha256::digest(&one_snapshot()[HEADER..]));
        assert_eq!(
            (VERSION, digest.as_str()),
            (3, "8fd545021edfc0519091d2b38fa04afa88d2ca058089babc4a6e2ddcc2df400c"),
            "count VERSION up"
        );
    }

    #[test]
    fn another_version_is_named() {
        let mut encoded = one_snapshot();
        encoded[8] = 2;
        assert_eq!(Snapshot::decode(&encoded).unwrap_err(), SnapshotError::Version(2));
        encoded[0] = b'R';
        assert_eq!(Snapshot::decode(&encoded).unwrap_err(), SnapshotError::Foreign);
    }

    #[test]
    fn a_role_that_asks_for_something_else_is_not_restored() {
        let snapshot = Snapshot::decode(&one_snapshot()).unwrap();
        let not_restored = |more: &str, now| {
            let config = config(&["a"], 3600, more);
            let role = config.roles.into_values().next().unwrap();
            snapshot.restore(&role, now).unwrap().err()
        };
        assert_eq!(not_restored("", at(0)), None);
        assert_eq!(not_restored("account_id = true", at(0)), None);
        assert_eq!(not_restored("external_id = \"ws-1\"", at(0)), Some(NotRestored::Changed));
        assert_eq!(not_restored("", at(3599)), None);
        assert_eq!(not_restored("", at(3600)), Some(NotRestored::Expired));
        assert!(snapshot.restore(&role("c", 3600), at(0)).is_none());
    }

    #[test]
    fn a_schedule_that_would_come_too_late_is_not_restored() {
        let role = role("a", 3600);
        let state = RoleState::Issued {
            credentials: Arc::new(credentials(&role, at(0), Duration::from_secs(3600), 1)),
            refresh_at: at(3601),
            failures: None,
        };
        let encoded = encoded(&[(&role, &state, false)], Tokens::default(), None, 0);
        let snapshot = Snapshot::decode(&encoded).unwrap();
        let not_restored = snapshot.restore(&role, at(0)).unwrap().err();
        assert_eq!(not_restored, Some(NotRestored::Unusable));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let snapshot = Snapshot::decode(&one_snapshot()).unwrap();
        let printed = format!("{snapshot:?} {:?}", snapshot.restore(&role("a", 3600), at(0)));
        for secret in ["wJalr", "FwoG"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
