//! Everything that an operator configures for one role, as types that cannot hold a bad value.
//!
//! Every constructor here refuses with a sentence that says what is wrong and what was expected.
//! The limits are those of the STS service model (`AssumeRole`, API version 2011-06-15).

mod arn;
mod base;
mod callers;
mod credentials_file;
mod identity;
mod principal;
mod text;

use std::borrow::Borrow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

pub use arn::RoleArn;
pub use base::{Base, CommandLine, Origin, Source, SourceName, TokenIdentity, WebIdentity};
pub use callers::{CallerPolicy, OVERFLOW_UID, UnitName, User};
pub use credentials_file::{CredentialsFile, CredentialsFileGroup, ProfileName};
pub use identity::RequestIdentity;
pub use principal::{CallerIdentity, Principal, PrincipalKind};
pub(crate) use text::{check_characters, display, hidden, is_name_char};
use text::{check_name, check_text};

/// One configured mapping: the name workloads use, and what to ask of STS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The name in `[role.NAME]`, in the URL and in metric labels.
    pub name: RoleName,
    /// The request to STS. Two roles with equal requests yield interchangeable credentials.
    pub request: AssumeRole,
    /// The length of the session to ask for.
    pub duration: SessionDuration,
    /// True if readiness waits for this role.
    pub required: bool,
    /// Promises about the credentials in hand.
    pub terms: RefreshPolicy,
    /// True if the answer carries `AccountId`, which makes some SDKs use account-based DynamoDB hosts.
    pub account_id: bool,
    /// The least size of the session token in bytes, up to 4,096: tests if clients carry a large one.
    pub minimum_session_token_size: Option<u32>,
    /// True if it may be assumed by a session of itself.
    pub allow_self_assume: bool,
    /// The token that a caller shows for this role.
    pub token: TokenSource,
    /// Demands on callers that the kernel answers.
    pub callers: CallerPolicy,
    /// The file that its credentials are written to, for clients that can only read one.
    pub credentials_file: Option<CredentialsFile>,
}

impl Role {
    /// True if both ask STS for the very same thing, so that a reload may keep the credentials of one for the other.
    /// The duration is no part of it: what was issued stays valid however long the next session shall be.
    pub fn same_request(&self, other: &Self) -> bool {
        RequestIdentity::new(&self.request) == RequestIdentity::new(&other.request)
    }

    /// Iterates over the roles that this one is chained to, the nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::successors(self.request.base.parent(), |role| role.request.base.parent())
    }
}

/// The request identity: everything that decides *which* credentials STS issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumeRole {
    /// The ARN of the role to assume.
    pub role_arn: RoleArn,
    /// The session's name in CloudTrail of both accounts; stable across refreshes.
    pub session_name: SessionName,
    /// The external id that the role's owner demands of third parties.
    pub external_id: Option<ExternalId>,
    /// A session policy as minified JSON.
    pub policy: Option<String>,
    /// The ARNs of managed session policies; at most 10.
    pub policy_arns: Vec<String>,
    /// Session tags, in the order of their keys.
    pub tags: Vec<(String, String)>,
    /// Keys of `tags` that chained sessions inherit.
    pub transitive_tag_keys: Vec<String>,
    /// The source identity of the session and of everything chained from it.
    pub source_identity: Option<SourceIdentity>,
    /// The identity that signs the request.
    pub base: Base,
}

/// The token that a caller shows for a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A token that roletap makes and writes to `token_dir/NAME`, readable by `group` if one is named.
    Generated {
        /// The group that may read the token file.
        group: Option<String>,
    },
    /// A token that the operator brings in this file.
    File(PathBuf),
    /// No token: with `unsafe_no_token = true` whoever reaches the endpoint gets the role.
    None,
}

/// Promises about the credentials in hand. They decide when STS is asked, and nothing of what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RefreshPolicy {
    /// The effect of a denied refresh on them.
    pub on_denied: OnDenied,
    /// The least time until they expire, whenever they are vended in steady state. Zero demands nothing.
    pub min_remaining: Duration,
}

/// The effect of a denied refresh on credentials in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDenied {
    /// Vend them until they expire: a passing mistake in a trust policy harms nobody.
    #[default]
    Keep,
    /// Drop them: a revoked trust bites at once.
    Drop,
}

/// A value that cannot be accepted, in two phrases which a report shows on two lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {expected}")]
pub struct InvalidValue {
    /// The finding: a phrase that follows the name of the key.
    pub what: String,
    /// The values that would be accepted, or a remedy.
    pub expected: String,
}

impl InvalidValue {
    /// Makes one from its two phrases.
    pub fn new(what: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { what: what.into(), expected: expected.into() }
    }

    /// A word that is none of those that are listed in `expected`.
    pub fn not_one_of(found: &str, expected: &str) -> Self {
        Self::new(format!("is `{}`", found.escape_debug()), format!("expected {expected}"))
    }
}

/// Refuses a value, in the two phrases of [`InvalidValue`].
pub(crate) fn refuse<T>(
    what: impl Into<String>,
    expected: impl Into<String>,
) -> Result<T, InvalidValue> {
    Err(InvalidValue::new(what, expected))
}

/// A role's name: safe in a URL path, a file name and a metric label.
/// `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, and not `unknown`, which metrics keep for roles that are none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RoleName(String);

impl RoleName {
    /// Parses `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, and refuses `unknown`.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        check_name(text)?;
        if text == "unknown" {
            return refuse(
                "is the label that metrics use for roles which are not configured",
                "choose another name",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl Borrow<str> for RoleName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl<'de> Deserialize<'de> for RoleName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        Self::parse(text).map_err(|invalid| D::Error::custom(invalid.what))
    }
}

/// The length of a session: 900 to 43,200 whole seconds, or from 1 with `unsafe_short_sessions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionDuration(u32);

impl SessionDuration {
    /// The shortest session that STS grants, in seconds.
    pub const SHORTEST: u32 = 900;
    /// The longest session that STS grants, in seconds: 12 hours.
    pub const LONGEST: u32 = 43_200;
    /// The longest session of a role that is assumed by a role, in seconds.
    pub const LONGEST_CHAINED: u32 = 3600;

    /// Checks a number of seconds; `unsafe_short_sessions` lowers the floor to 1 s.
    pub fn from_secs(seconds: i64, unsafe_short_sessions: bool) -> Result<Self, InvalidValue> {
        let least = if unsafe_short_sessions { 1 } else { Self::SHORTEST };
        match u32::try_from(seconds) {
            Ok(seconds) if (least..=Self::LONGEST).contains(&seconds) => Ok(Self(seconds)),
            Ok(_) | Err(_) => refuse(
                format!("is {seconds}"),
                format!(
                    "expected {least} to {} seconds, and at most what the role's own maximum allows",
                    Self::LONGEST
                ),
            ),
        }
    }

    /// The length in whole seconds.
    pub fn as_secs(self) -> u32 {
        self.0
    }

    /// The length as a `Duration`.
    pub fn as_duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

/// A role session name: 2 to 64 of `[A-Za-z0-9_+=,.@-]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionName(String);

impl SessionName {
    /// Parses a text, and refuses one that STS would refuse.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        check_text(text, 64, "_+=,.@-")?;
        Ok(Self(text.to_owned()))
    }
}

/// A source identity: 2 to 64 of `[A-Za-z0-9_+=,.@-]`, not starting with `aws:`.
///
/// The last rule follows from the set of characters, but earns a sentence of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceIdentity(String);

impl SourceIdentity {
    /// Parses a text, and refuses one that STS would refuse.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        Self::check_prefix(text)?;
        check_text(text, 64, "_+=,.@-")?;
        Ok(Self(text.to_owned()))
    }

    /// Refuses the prefix that AWS keeps for itself.
    pub(crate) fn check_prefix(text: &str) -> Result<(), InvalidValue> {
        if text.starts_with("aws:") {
            let what = "begins with `aws:`";
            return refuse(what, "AWS keeps that prefix for itself");
        }
        Ok(())
    }
}

/// An external id: 2 to 1,224 of `[A-Za-z0-9_+=,.@:/-]`. AWS does not call it a secret; roletap keeps it out of logs all the same.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalId(String);

impl ExternalId {
    /// Parses a text, and refuses one that STS would refuse. The complaint does not repeat the value.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        check_text(text, 1224, "_+=,.@:/-")?;
        Ok(Self(text.to_owned()))
    }
}

hidden!(ExternalId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_paths_files_and_labels() {
        for good in ["a", "Orders-2.eu_west", &"x".repeat(63)] {
            assert_eq!(RoleName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "-a", "_a", "a/b", "a b", "é", "a\n", "unknown", &"x".repeat(64)]
        {
            assert!(RoleName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_have_the_bounds_of_the_service_model() {
        for (seconds, short, ok) in [
            (899, false, false),
            (900, false, true),
            (43_200, false, true),
            (43_201, false, false),
            (0, true, false),
            (1, true, true),
            (-1, true, false),
            (i64::MAX, true, false),
            (i64::from(u32::MAX) + 901, false, false),
        ] {
            assert_eq!(SessionDuration::from_secs(seconds, short).is_ok(), ok, "{seconds} {short}");
        }
    }

    #[test]
    fn texts_have_the_bounds_of_the_service_model() {
        assert!(SessionName::parse(&"a".repeat(64)).is_ok());
        assert!(SessionName::parse(&"a".repeat(65)).is_err());
        assert!(SessionName::parse("a").is_err());
        assert!(SessionName::parse("a:b").is_err());
        assert!(SessionName::parse("é1").is_err());
        assert!(ExternalId::parse("a:b/c").is_ok());
        assert!(ExternalId::parse(&"a".repeat(1224)).is_ok());
        assert!(ExternalId::parse(&"a".repeat(1225)).is_err());
        assert!(ExternalId::parse("a b").is_err());
        assert!(SourceIdentity::parse("aws:me").unwrap_err().what.contains("aws:"));
    }

    #[test]
    fn an_external_id_is_not_repeated() {
        let id = ExternalId::parse("ws-7f3a-sentinel").unwrap();
        assert!(!format!("{id:?}").contains("sentinel"));
        assert!(!ExternalId::parse("sentinel value").unwrap_err().to_string().contains("sentinel"));
    }
}
