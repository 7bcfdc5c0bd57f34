//! Credentials from strangers: an answer of STS, what an earlier process left, the first line of a credentials file.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use roletap_core::credentials::{Credentials, DOCUMENT_LIMIT, Grant, Secret};
use roletap_core::credentials_file::{self, FileHeader, OnDisk, Wanted, step};
use roletap_core::fixtures::{at, config};
use roletap_core::lifecycle::RoleState;
use roletap_core::role::Role;
use roletap_core::token_digest::Digest;

static ROLE: LazyLock<std::sync::Arc<Role>> = LazyLock::new(|| {
    let config = config(&["a"], 3600, "credentials_file = \"/run/a\"\naccount_id = true");
    config.roles.into_values().next().unwrap()
});

/// Takes the lines for the fields of an answer; the first also for that of a file, and all for what a process left.
pub fn credentials(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let [first, secret, token, end] = [next(), next(), next(), next()];
    if let Some(header) = FileHeader::parse(&first) {
        let _ = header.has_expired(at(0));
        let wanted = Wanted { role: &ROLE, state: &RoleState::Pending, outdated: false };
        let _ = (
            step(Some(wanted), &OnDisk::Ours(header.clone()), at(0)),
            step(None, &OnDisk::Ours(header), at(0)),
        );
    }
    if let Some(digest) = Digest::from_hex(&first) {
        assert_eq!(digest.to_hex(), first.to_lowercase());
    }
    let _ = Credentials::import_after_restart(bytes, at(0), None, &ROLE).map(|held| {
        assert_eq!(held.export_for_restart(), bytes);
    });
    let expires_at =
        end.parse::<u64>().ok().and_then(|end| UNIX_EPOCH.checked_add(Duration::from_secs(end)));
    for expires_at in [expires_at, Some(at(3600))] {
        let grant = Grant {
            access_key_id: first.clone(),
            secret_access_key: Secret::new(secret.clone()),
            session_token: Secret::new(token.clone()),
            expires_at,
            session_token_utilization: None,
        };
        if let Ok(held) = Credentials::new(&grant, &ROLE, at(0)) {
            handed_on(&held, [&first, &secret, &token]);
        }
    }
}

/// Every door shows what was granted, and nothing else.
fn handed_on(held: &Credentials, granted: [&String; 3]) {
    let document = held.document();
    assert!(document.len() <= DOCUMENT_LIMIT);
    let read: serde_json::Value = serde_json::from_slice(&document).expect("a document is JSON");
    for (name, value) in ["AccessKeyId", "SecretAccessKey", "Token"].into_iter().zip(granted) {
        assert_eq!(read[name].as_str(), Some(value.as_str()));
        // Some clients do not unescape.
        assert!(document.windows(value.len()).any(|bytes| bytes == value.as_bytes()));
    }
    held.for_signing(|id, secret, token| {
        assert_eq!([id, secret, token], granted.map(String::as_str))
    });
    let exported = held.export_for_restart();
    let again = Credentials::import_after_restart(&exported, held.issued_at(), None, &ROLE)
        .expect("it was exported");
    assert_eq!(again.document(), document);
    let file = ROLE.credentials_file.as_ref().expect("it has one");
    let text = credentials_file::text(file, &ROLE, held);
    let [_, profile, id, secret, token] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("a file has five lines");
    };
    assert!(profile.starts_with('[') && profile.ends_with(']'));
    for (line, value) in [id, secret, token].into_iter().zip(granted) {
        assert_eq!(
            line.split_once(" = ").or(line.split_once('=')).map(|(_, value)| value),
            Some(value.as_str())
        );
    }
    let head =
        FileHeader::parse(text.lines().next().unwrap_or_default()).expect("roletap wrote it");
    assert!(!head.has_expired(held.expires_at() - Duration::from_secs(1)));
    assert!(head.has_expired(held.expires_at()));
}
