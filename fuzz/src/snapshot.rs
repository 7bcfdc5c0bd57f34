//! Snapshots: the bytes of another process.

use std::sync::LazyLock;
use std::time::Duration;

use roletap_core::backoff::Jitter;
use roletap_core::failure::Class;
use roletap_core::fixtures::{at, credentials, error, role};
use roletap_core::lifecycle::RoleState;
use roletap_core::role::Role;
use roletap_core::snapshot::Snapshot;
use roletap_core::token_digest::{Digest, RoleTokens, Tokens};
use sha2::Digest as _;

/// Magic and version, length of what follows, checksum.
const FIELDS: usize = 12;
const HEADER: usize = FIELDS + 8 + 32;

static ROLE: LazyLock<std::sync::Arc<Role>> = LazyLock::new(|| role("a", 3600));

/// A snapshot with a role that has credentials and failures, and a token.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut tokens = Tokens::default();
    let own = RoleTokens { current: Digest::of(b"a"), previous: vec![(Digest::of(b"b"), at(50))] };
    tokens.roles.insert(ROLE.name.clone(), own);
    let mut snapshot = Snapshot::new(7, Some(-1234), tokens);
    let held = credentials(&ROLE, at(0), Duration::from_secs(3600), 1);
    let state = RoleState::Pending.after(Ok(held), ROLE.terms, at(0), Jitter::new(0.5)).after(
        Err(error(Class::Denied)),
        ROLE.terms,
        at(60),
        Jitter::new(0.5),
    );
    snapshot.add(&ROLE, &state, true);
    snapshot.encode().unwrap().to_vec()
});

/// The first byte chooses: bytes as they are, as the payload behind a right header, or as changes to a whole snapshot,
/// three bytes each, behind a right header.
pub fn snapshot(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else {
        return decode(bytes);
    };
    match kind % 3 {
        0 => decode(rest),
        1 => decode(&framed(rest)),
        _ => {
            let mut payload = WHOLE[HEADER..].to_vec();
            for change in rest.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % payload.len();
                payload[at] = change[2];
            }
            decode(&framed(&payload));
        }
    }
}

/// Puts a header before `payload` that is right in every byte.
fn framed(payload: &[u8]) -> Vec<u8> {
    let mut fields = WHOLE[..FIELDS].to_vec();
    fields.extend((payload.len() as u64).to_le_bytes());
    let sum = sha2::Sha256::new().chain_update(&fields).chain_update(payload).finalize();
    [&fields, sum.as_slice(), payload].concat()
}

fn decode(bytes: &[u8]) {
    let Ok(snapshot) = Snapshot::decode(bytes) else {
        return;
    };
    // What was read once is written and read without change. Only its numbers may have been written in more bytes.
    let written = snapshot.encode().expect("it was read");
    assert!(written.len() <= bytes.len());
    let again = Snapshot::decode(&written).expect("it was written");
    assert_eq!(*again.encode().expect("it was read"), *written);
    assert_eq!(again.tokens, snapshot.tokens);
    assert!(snapshot.names().eq(again.names()));
    for now in [at(0), at(1_800), at(3_600), std::time::UNIX_EPOCH] {
        let Some(Ok(restored)) = snapshot.restore(&ROLE, now) else {
            continue;
        };
        let state = restored.state;
        assert!(state.vend(now).is_ok(), "restored without unexpired credentials");
        let _ = (
            state.phase(now),
            state.next_attempt(now),
            state.presented_for(&ROLE).failures().is_some(),
        );
        let state = snapshot.restore(&ROLE, now).unwrap().unwrap().state;
        let held = credentials(&ROLE, at(0), Duration::from_secs(3600), 2);
        let jitter = Jitter::new(0.5);
        let failed = state.clone().after(Err(error(Class::Network)), ROLE.terms, now, jitter);
        let _ = (failed.next_attempt(now), failed.phase(now));
        let issued = state.after(Ok(held), ROLE.terms, now, jitter);
        let _ = (issued.next_attempt(now), issued.phase(now));
    }
}

/// The corpus starts near what roletap writes.
#[test]
fn a_whole_snapshot_is_restored() {
    assert!(Snapshot::decode(&WHOLE).unwrap().restore(&ROLE, at(0)).unwrap().is_ok());
    assert_eq!(framed(&WHOLE[HEADER..]), *WHOLE);
}
