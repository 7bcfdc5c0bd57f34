//! Credentials in hand. Nothing outside this file sees inside them.
//!
//! The secret parts are kept once, already rendered as the document that a workload receives, so that a request costs
//! a reference count and there is one place to wipe. What arrives is parsed as if it were an attack: the SDK fills
//! fields that STS left out with empty strings and 1970.
//!
//! Invariants of a [`Credentials`]: no field is empty; no value needs a JSON escape (Fluent Bit and s3fs do not
//! unescape); the document is one line of at most [`DOCUMENT_LIMIT`] bytes; it was unexpired when it was received.

mod shapes;

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::role::{Role, hidden};

/// The path of the container credentials endpoint, before the name of the role.
pub const PATH: &str = "/v1/credentials/";

/// The largest document that every client accepts: the CRT (`aws-c-auth`, `ECS_RESPONSE_SIZE_LIMIT`) stops at 10,000.
pub const DOCUMENT_LIMIT: usize = 9_999;

/// The longest session that STS can grant (12 hours), and some tolerance for clocks.
const LONGEST_LIFETIME: Duration =
    Duration::from_secs(crate::role::SessionDuration::LONGEST as u64 + 900);

/// Text that cannot be printed and is wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps `text`, which is wiped when the secret is dropped.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The one way to the text; `grep 'expose('` is the audit.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

hidden!(Secret);

/// An answer of STS, not yet examined.
#[derive(Debug)]
pub struct Grant {
    /// The field `AccessKeyId`.
    pub access_key_id: String,
    /// The field `SecretAccessKey`. **Secret**.
    pub secret_access_key: Secret,
    /// The field `SessionToken`. **Secret**.
    pub session_token: Secret,
    /// `Expiration`; `None` where the answer had none or the SDK made one up.
    pub expires_at: Option<SystemTime>,
    /// `SessionTokenUtilization`, percent of the largest token, where STS says it.
    pub session_token_utilization: Option<u8>,
}

/// Credentials that were complete and unexpired when they were received.
pub struct Credentials {
    access_key_id: String,
    /// Everything up to, not including, the optional `AccountId` and the closing brace.
    document: Bytes,
    document_head: usize,
    /// The positions of the secret access key and of the session token in the document.
    secrets: [Range<usize>; 2],
    issued_at: SystemTime,
    expires_at: SystemTime,
    session_token_bytes: usize,
    session_token_utilization: Option<u8>,
}

/// Why an answer of STS cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A field is empty or absent.
    #[error("{0} is missing from the answer")]
    Missing(&'static str),
    /// A field holds what no AWS credential holds.
    #[error("{0} has characters that no AWS credential has")]
    Malformed(&'static str),
    /// The credentials had expired when they arrived.
    #[error("the credentials had expired {} s before they arrived", .0.as_secs())]
    DeadOnArrival(Duration),
    /// Valid for longer than STS can grant.
    #[error("the credentials claim to live for {} s, longer than any session of STS", .0.as_secs())]
    TooLong(Duration),
    /// Too large for some clients.
    #[error("the document for clients would have {0} bytes, and some clients stop at 10,000")]
    TooLarge(usize),
}

impl Credentials {
    /// Examines what STS granted to `role` at `now`.
    pub fn new(grant: &Grant, role: &Role, now: SystemTime) -> Result<Self, Unusable> {
        let token_char = |c: &u8| (0x21..=0x7e).contains(c) && !matches!(c, b'"' | b'\\');
        check("AccessKeyId", &grant.access_key_id, |c| c.is_ascii_alphanumeric() || *c == b'_')?;
        check("SecretAccessKey", grant.secret_access_key.expose(), token_char)?;
        check("SessionToken", grant.session_token.expose(), token_char)?;
        let expires_at = grant.expires_at.ok_or(Unusable::Missing("Expiration"))?;
        // Rounded down: a client must never believe in a second that STS did not grant.
        let expires_at = UNIX_EPOCH
            + Duration::from_secs(
                expires_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            );
        match expires_at.duration_since(now) {
            Ok(lifetime) if lifetime.is_zero() => return Err(Unusable::DeadOnArrival(lifetime)),
            Ok(lifetime) if lifetime > LONGEST_LIFETIME => return Err(Unusable::TooLong(lifetime)),
            Ok(_) => {}
            Err(past) => return Err(Unusable::DeadOnArrival(past.duration())),
        }
        let (secret, token) = (grant.secret_access_key.expose(), grant.session_token.expose());
        let before_secret = format!(
            r#"{{"Code":"Success","RoleArn":"{}","AccessKeyId":"{}","SecretAccessKey":""#,
            role.request.role_arn, grant.access_key_id,
        );
        let before_token = r#"","Token":""#;
        let end = format!(r#"","Expiration":"{}""#, rfc3339(expires_at));
        let head = concat(&[&before_secret, secret, before_token, token, &end]);
        let secret = before_secret.len()..before_secret.len() + secret.len();
        let token_at = secret.end + before_token.len();
        let credentials = Self {
            access_key_id: grant.access_key_id.clone(),
            document: finish(head.as_bytes(), account_id(role)),
            document_head: head.len(),
            secrets: [secret, token_at..token_at + token.len()],
            issued_at: now,
            expires_at,
            session_token_bytes: token.len(),
            session_token_utilization: grant.session_token_utilization,
        };
        match credentials.document.len() {
            0..=DOCUMENT_LIMIT => Ok(credentials),
            bytes => Err(Unusable::TooLarge(bytes)),
        }
    }

    /// The same credentials as `role` now wants them presented: a reload may turn `account_id` on or off.
    pub fn presented_for(&self, role: &Role) -> Self {
        Self {
            access_key_id: self.access_key_id.clone(),
            document: finish(
                self.document.get(..self.document_head).unwrap_or_default(),
                account_id(role),
            ),
            document_head: self.document_head,
            secrets: self.secrets.clone(),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            session_token_bytes: self.session_token_bytes,
            session_token_utilization: self.session_token_utilization,
        }
    }

    /// The document of the container credentials protocol. **Secret**: it goes to an authorised caller and nowhere else.
    pub fn document(&self) -> Bytes {
        self.document.clone()
    }

    /// Hands key id, secret access key and session token to what signs a request for a role that is chained to this one.
    /// **Secret**: `grep 'for_signing('` is the audit.
    pub fn for_signing<T>(&self, sign: impl FnOnce(&str, &str, &str) -> T) -> T {
        self.opened(sign)
    }

    /// Key id, secret access key and session token, for the doors of this module.
    fn opened<T>(&self, with: impl FnOnce(&str, &str, &str) -> T) -> T {
        let [secret, token] = self.secrets.clone().map(|range| {
            let bytes = self.document.get(range).unwrap_or_default();
            std::str::from_utf8(bytes).unwrap_or_default()
        });
        with(&self.access_key_id, secret, token)
    }

    /// Returns the rendered credentials for the next roletap process and nobody else. **Secret**: see `snapshot.rs`.
    pub fn export_for_restart(&self) -> Bytes {
        self.document.slice(..self.document_head)
    }

    /// Examines what the process before this one exported, as if STS had just sent it.
    pub fn import_after_restart(
        rendered: &[u8],
        issued_at: SystemTime,
        session_token_utilization: Option<u8>,
        role: &Role,
    ) -> Result<Self, Unusable> {
        let mut grant = parse(rendered).ok_or(Unusable::Missing("a field"))?;
        grant.session_token_utilization = session_token_utilization;
        let credentials = Self::new(&grant, role, issued_at)?;
        if credentials.export_for_restart() == rendered {
            Ok(credentials)
        } else {
            Err(Unusable::Malformed("the document"))
        }
    }

    /// Not a secret: AWS prints it in CloudTrail.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// Returns the time at which they were received.
    pub fn issued_at(&self) -> SystemTime {
        self.issued_at
    }

    /// Returns the time of expiry, in whole seconds.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Returns the granted lifetime, which may be shorter than the requested one.
    pub fn lifetime(&self) -> Duration {
        self.expires_at.duration_since(self.issued_at).unwrap_or_default()
    }

    /// Size of the session token; STS limits it to about 4,096.
    pub fn session_token_bytes(&self) -> usize {
        self.session_token_bytes
    }

    /// Share of the largest session token, percent, where STS said it.
    pub fn session_token_utilization(&self) -> Option<u8> {
        self.session_token_utilization
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// `YYYY-MM-DDTHH:MM:SSZ`, rounded down: the one spelling that every client parses (fractions and `+00:00` are refused
/// by minio-py, the Rust SDK and the JavaScript SDK).
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX))
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

fn check(field: &'static str, value: &str, allowed: impl Fn(&u8) -> bool) -> Result<(), Unusable> {
    if value.is_empty() {
        return Err(Unusable::Missing(field));
    }
    if !value.as_bytes().iter().all(allowed) {
        return Err(Unusable::Malformed(field));
    }
    Ok(())
}

/// Joins texts that hold secrets in a buffer of their length: what a string leaves behind when it grows is not wiped.
fn concat(parts: &[&str]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| text.push_str(part));
    text
}

/// The inverse of rendering: no value holds a quote, so the text between two names is the value.
fn parse(rendered: &[u8]) -> Option<Grant> {
    let rest = std::str::from_utf8(rendered).ok()?;
    let rest = rest.strip_prefix(r#"{"Code":"Success","RoleArn":""#)?;
    let (_, rest) = rest.split_once(r#"","AccessKeyId":""#)?;
    let (access_key_id, rest) = rest.split_once(r#"","SecretAccessKey":""#)?;
    let (secret_access_key, rest) = rest.split_once(r#"","Token":""#)?;
    let (session_token, rest) = rest.split_once(r#"","Expiration":""#)?;
    let expires_at: jiff::Timestamp = rest.strip_suffix('"')?.parse().ok()?;
    Some(Grant {
        access_key_id: access_key_id.to_owned(),
        secret_access_key: Secret::new(secret_access_key.to_owned()),
        session_token: Secret::new(session_token.to_owned()),
        expires_at: Some(expires_at.into()),
        session_token_utilization: None,
    })
}

fn account_id(role: &Role) -> Option<&str> {
    // Absent rather than empty: Fluent Bit takes an empty string for a key.
    Some(role.request.role_arn.account_id()).filter(|id| role.account_id && !id.is_empty())
}

fn finish(head: &[u8], account_id: Option<&str>) -> Bytes {
    let mut document = Zeroizing::new(Vec::with_capacity(head.len() + 32));
    document.extend_from_slice(head);
    if let Some(id) = account_id {
        document.extend_from_slice(br#","AccountId":""#);
        document.extend_from_slice(id.as_bytes());
        document.push(b'"');
    }
    document.push(b'}');
    // The last reader to let go wipes it.
    Bytes::from_owner(document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, config, grant, role};

    #[test]
    fn the_document_is_what_every_client_parses() {
        let held = Credentials::new(&grant(7, Some(at(3600))), &role("a", 3600), at(0)).unwrap();
        let token = "FwoGZXIvYXdzEJr//".repeat(50);
        let expected = format!(
            r#"{{"Code":"Success","RoleArn":"arn:aws:iam::111122223333:role/a","AccessKeyId":"ASIA0000000000000007","SecretAccessKey":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY","Token":"{token}","Expiration":"{}"}}"#,
            rfc3339(at(3600))
        );
        assert_eq!(held.document(), expected.as_bytes());
    }

    #[test]
    fn the_account_comes_and_goes_with_the_setting() {
        let plain = role("a", 3600);
        let with = config(&["a"], 3600, "account_id = true").roles.into_values().next().unwrap();
        let held = Credentials::new(&grant(7, Some(at(3600))), &plain, at(0)).unwrap();
        let shown = held.presented_for(&with);
        assert!(shown.document().ends_with(br#"Z","AccountId":"111122223333"}"#));
        assert_eq!(shown.presented_for(&plain).document(), held.document());
    }

    #[test]
    fn an_expiry_is_rounded_down() {
        let half = at(3600) + Duration::from_millis(999);
        let held = Credentials::new(&grant(7, Some(half)), &role("a", 3600), at(0)).unwrap();
        assert_eq!(held.expires_at(), at(3600));
    }

    #[test]
    fn an_answer_is_parsed_as_if_it_were_an_attack() {
        let role = role("a", 3600);
        let good = || grant(7, Some(at(3600)));
        let refused =
            |grant: Grant| Credentials::new(&grant, &role, at(0)).map(|_| ()).unwrap_err();
        let secret = |text: &str| Secret::new(text.to_owned());
        assert_eq!(
            refused(Grant { access_key_id: String::new(), ..good() }),
            Unusable::Missing("AccessKeyId")
        );
        assert_eq!(
            refused(Grant { access_key_id: "ASIA\"".into(), ..good() }),
            Unusable::Malformed("AccessKeyId")
        );
        assert_eq!(
            refused(Grant { secret_access_key: secret(""), ..good() }),
            Unusable::Missing("SecretAccessKey")
        );
        assert_eq!(
            refused(Grant { session_token: secret("a\"b"), ..good() }),
            Unusable::Malformed("SessionToken")
        );
        assert_eq!(
            refused(Grant { session_token: secret("a\\b"), ..good() }),
            Unusable::Malformed("SessionToken")
        );
        assert_eq!(
            refused(Grant { session_token: secret("a\nb"), ..good() }),
            Unusable::Malformed("SessionToken")
        );
        assert_eq!(refused(Grant { expires_at: None, ..good() }), Unusable::Missing("Expiration"));
        assert_eq!(refused(grant(7, Some(at(0)))), Unusable::DeadOnArrival(Duration::ZERO));
        assert_eq!(
            refused(grant(7, Some(at(0) - Duration::from_secs(9)))),
            Unusable::DeadOnArrival(Duration::from_secs(9))
        );
        assert!(matches!(refused(grant(7, Some(at(50_000)))), Unusable::TooLong(_)));
        assert!(matches!(
            refused(Grant { session_token: secret(&"x".repeat(9_900)), ..good() }),
            Unusable::TooLarge(_)
        ));
    }

    #[test]
    fn what_signs_is_what_was_granted() {
        let granted = grant(7, Some(at(3600)));
        let held = Credentials::new(&granted, &role("a", 3600), at(0)).unwrap();
        for held in [held.presented_for(&role("a", 3600)), held] {
            let parts =
                held.for_signing(|id, secret, token| [id, secret, token].map(str::to_owned));
            assert_eq!(parts[0], granted.access_key_id);
            assert_eq!(parts[1], granted.secret_access_key.expose());
            assert_eq!(parts[2], granted.session_token.expose());
        }
        // A secret that is the same text as another part is found as well.
        let odd = Grant {
            secret_access_key: Secret::new("Token".to_owned()),
            session_token: Secret::new("Success".to_owned()),
            ..grant(7, Some(at(3600)))
        };
        let held = Credentials::new(&odd, &role("a", 3600), at(0)).unwrap();
        held.for_signing(|_, secret, token| assert_eq!((secret, token), ("Token", "Success")));
    }

    #[test]
    fn exported_credentials_are_imported_as_they_were() {
        let role = role("a", 3600);
        let issued_at = at(0) + Duration::from_nanos(123_456_789);
        let held = Credentials::new(&grant(7, Some(at(3600))), &role, issued_at).unwrap();
        let again = Credentials::import_after_restart(
            &held.export_for_restart(),
            issued_at,
            Some(25),
            &role,
        )
        .unwrap();
        assert_eq!(again.document(), held.document());
        assert_eq!(again.access_key_id(), held.access_key_id());
        assert_eq!(again.issued_at(), held.issued_at());
        assert_eq!(again.expires_at(), held.expires_at());
        assert_eq!(again.lifetime(), held.lifetime());
        assert_eq!(again.session_token_bytes(), held.session_token_bytes());
        assert_eq!(again.session_token_utilization(), Some(25));
    }

    #[test]
    fn exported_credentials_are_examined_like_an_answer() {
        let ours = role("a", 3600);
        let held = Credentials::new(&grant(7, Some(at(3600))), &ours, at(0)).unwrap();
        let rendered = &held.export_for_restart()[..];
        for end in 0..rendered.len() {
            assert!(
                Credentials::import_after_restart(&rendered[..end], at(0), None, &ours).is_err()
            );
        }
        let other = role("b", 3600);
        assert!(Credentials::import_after_restart(rendered, at(0), None, &other).is_err());
        let text = std::str::from_utf8(rendered).unwrap();
        for (from, to) in [
            ("ASIA0000000000000007", ""),
            ("ASIA0000000000000007", "ASIA\\u0041"),
            ("Success", "Failure"),
            ("\"Token\"", "\"token\""),
            ("Z\"", "+00:00\""),
        ] {
            let wrong = text.replacen(from, to, 1);
            assert_ne!(wrong, text);
            assert!(
                Credentials::import_after_restart(wrong.as_bytes(), at(0), None, &ours).is_err(),
                "{from} {to}"
            );
        }
        // Issued after its own end, or for longer than STS grants.
        assert!(Credentials::import_after_restart(rendered, at(3600), None, &ours).is_err());
        let long_ago = at(0) - Duration::from_secs(50_000);
        assert!(Credentials::import_after_restart(rendered, long_ago, None, &ours).is_err());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let held = Credentials::new(&grant(7, Some(at(3600))), &role("a", 3600), at(0)).unwrap();
        let printed = format!("{held:?} {:?}", grant(7, None));
        assert!(!printed.contains("wJalr") && !printed.contains("FwoG"), "{printed}");
    }
}
