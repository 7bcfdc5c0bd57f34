//! What an operator configures for one role, as types that cannot hold a bad value.
//!
//! Every constructor here refuses with a sentence that says what is wrong and what was expected.
//! The limits are those of the STS service model (`AssumeRole`, API version 2011-06-15).

mod arn;
mod base;
mod callers;
mod credentials_file;
mod identity;
mod principal;

use std::fmt;
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

/// One configured mapping: the name workloads use, and what to ask of STS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The name in `[role.NAME]`, in the URL and in metric labels.
    pub name: RoleName,
    /// What is asked of STS. Two roles with equal requests yield interchangeable credentials.
    pub request: AssumeRole,
    /// How long a session to ask for.
    pub duration: SessionDuration,
    /// Whether readiness waits for this role.
    pub required: bool,
    /// What is promised of the credentials in hand.
    pub terms: Terms,
    /// Whether the answer carries `AccountId`, which makes some SDKs use account-based DynamoDB hosts.
    pub account_id: bool,
    /// Pads the session token, to see whether what carries it carries a large one.
    pub minimum_session_token_size: Option<u32>,
    /// Whether it may be assumed by a session of itself.
    pub allow_self_assume: bool,
    /// How a caller proves that it may have this role.
    pub token: TokenSource,
    /// What the kernel has to say of it, too.
    pub callers: CallerPolicy,
    /// Where it is written to, for clients that can only read a file.
    pub credentials_file: Option<CredentialsFile>,
}

impl Role {
    /// Whether both ask STS for the very same thing, so that a reload may keep the credentials of one for the other.
    /// The duration is no part of it: what was issued stays valid however long the next session shall be.
    pub fn same_request(&self, other: &Self) -> bool {
        self.request.is_same(&other.request)
    }

    /// Those this role is chained to, the nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::successors(self.request.base.parent(), |role| role.request.base.parent())
    }
}

/// The request identity: everything that decides *which* credentials STS issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumeRole {
    /// The role to assume.
    pub role_arn: RoleArn,
    /// Named in CloudTrail of both accounts; stable across refreshes.
    pub session_name: SessionName,
    /// What the role's owner demands of third parties.
    pub external_id: Option<ExternalId>,
    /// A session policy, minified JSON.
    pub policy: Option<String>,
    /// Managed session policies.
    pub policy_arns: Vec<String>,
    /// Session tags, in the order of their keys.
    pub tags: Vec<(String, String)>,
    /// Keys of `tags` that chained sessions inherit.
    pub transitive_tag_keys: Vec<String>,
    /// Sticks to the session and everything chained from it.
    pub source_identity: Option<SourceIdentity>,
    /// Who signs the request.
    pub base: Base,
}

impl AssumeRole {
    fn is_same(&self, other: &Self) -> bool {
        // Taken apart, so that a new field is not forgotten.
        let Self {
            role_arn,
            session_name,
            external_id,
            policy,
            policy_arns,
            tags,
            transitive_tag_keys,
            source_identity,
            base,
        } = self;
        *role_arn == other.role_arn
            && *session_name == other.session_name
            && *external_id == other.external_id
            && *policy == other.policy
            && *policy_arns == other.policy_arns
            && *tags == other.tags
            && *transitive_tag_keys == other.transitive_tag_keys
            && *source_identity == other.source_identity
            && base.same_identity(&other.base)
    }
}

/// How a caller proves that it may have a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// roletap makes a token and writes it to `token_dir/NAME`, readable by `group` if one is named.
    Generated {
        /// The group that may read the token file.
        group: Option<String>,
    },
    /// The operator brings a token in this file.
    File(PathBuf),
    /// `unsafe_no_token = true`: whoever reaches the endpoint gets the role.
    None,
}

/// What is promised of the credentials in hand. It decides when to ask STS, and nothing of what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// What a denied refresh does to them.
    pub on_denied: OnDenied,
    /// How long they have at least, whenever they are vended in steady state. Zero demands nothing.
    pub min_remaining: Duration,
}

/// What a denied refresh does to credentials in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDenied {
    /// Vend them until they expire: a passing mistake in a trust policy harms nobody.
    #[default]
    Keep,
    /// Drop them: a revoked trust bites at once.
    Drop,
}

/// Why a value was refused, in two parts which a report shows on two lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What was found: a phrase that follows the name of the key.
    pub what: String,
    /// What was expected, or what to do.
    pub expected: String,
}

impl Refused {
    /// From the two parts.
    pub fn new(what: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { what: what.into(), expected: expected.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.expected)
    }
}

impl std::error::Error for Refused {}

/// A role's name: safe in a URL path, a file name and a metric label.
/// `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, and not `unknown`, which metrics keep for roles that are none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RoleName(String);

impl RoleName {
    /// Accepts `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        check_name(text)?;
        if text == "unknown" {
            return Err(Refused::new(
                "is the label that metrics use for roles which are not configured",
                "choose another name",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for RoleName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        Self::parse(text).map_err(|refused| D::Error::custom(refused.what))
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a session to ask for: 900 to 43,200 whole seconds (from 1 with `unsafe_short_sessions`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionDuration(u32);

impl SessionDuration {
    /// Refuses what STS refuses; `unsafe_short_sessions` lowers the floor to one second.
    pub fn from_secs(seconds: i64, unsafe_short_sessions: bool) -> Result<Self, Refused> {
        let least = if unsafe_short_sessions { 1 } else { 900 };
        match u32::try_from(seconds) {
            Ok(seconds) if (least..=43_200).contains(&seconds) => Ok(Self(seconds)),
            Ok(_) | Err(_) => Err(Refused::new(
                format!("is {seconds}"),
                format!(
                    "expected {least} to 43200 seconds, and at most what the role's own maximum allows"
                ),
            )),
        }
    }

    /// Whole seconds.
    pub fn as_secs(self) -> u32 {
        self.0
    }

    /// The same, as a `Duration`.
    pub fn as_duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

/// 2 to 64 of `[A-Za-z0-9_+=,.@-]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionName(String);

impl SessionName {
    /// Refuses what STS would refuse.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        check_text(text, 64, "_+=,.@-")?;
        Ok(Self(text.to_owned()))
    }

    /// As it goes to STS.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 2 to 64 of `[A-Za-z0-9_+=,.@-]`, not starting with `aws:`.
///
/// The last rule follows from the set of characters, but earns a sentence of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceIdentity(String);

impl SourceIdentity {
    /// Refuses what STS would refuse.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        if text.starts_with("aws:") {
            return Err(Refused::new("begins with `aws:`", "AWS keeps that prefix for itself"));
        }
        check_text(text, 64, "_+=,.@-")?;
        Ok(Self(text.to_owned()))
    }

    /// As it goes to STS.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 2 to 1,224 of `[A-Za-z0-9_+=,.@:/-]`. AWS does not call it a secret; we keep it out of logs all the same.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalId(String);

impl ExternalId {
    /// Refuses what STS would refuse. The complaint does not repeat the value.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        check_text(text, 1224, "_+=,.@:/-")?;
        Ok(Self(text.to_owned()))
    }

    /// As it goes to STS.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalId(..)")
    }
}

/// The characters of role and session names: `[\w+=,.@-]`, where AWS means ASCII by `\w`.
pub(crate) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)
}

/// The rule for names of ours.
fn check_name(text: &str) -> Result<(), Refused> {
    const EXPECTED: &str =
        "expected 1 to 63 letters, digits, `.`, `_` and `-`, and a letter or digit first";
    let refuse = |what: String| Err(Refused::new(what, EXPECTED));
    let Some(first) = text.chars().next() else {
        return refuse("is empty".to_owned());
    };
    if let Some(odd) =
        text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        return refuse(format!("holds {odd:?}"));
    }
    if !first.is_ascii_alphanumeric() {
        return refuse(format!("begins with `{first}`"));
    }
    if text.len() > 63 {
        return refuse(format!("has {} characters", text.len()));
    }
    Ok(())
}

fn check_text(text: &str, most: usize, marks: &str) -> Result<(), Refused> {
    let expected = || format!("expected 2 to {most} letters, digits and {marks}");
    let found = text.chars().count();
    if text.trim() != text {
        return Err(Refused::new("has blanks at its ends", "remove them"));
    }
    if !(2..=most).contains(&found) {
        let s = if found == 1 { "" } else { "s" };
        return Err(Refused::new(format!("has {found} character{s}"), expected()));
    }
    match text.chars().find(|&c| !(c.is_ascii_alphanumeric() || marks.contains(c))) {
        Some(odd) => Err(Refused::new(format!("holds {odd:?}"), expected())),
        None => Ok(()),
    }
}

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
