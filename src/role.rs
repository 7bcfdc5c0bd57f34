//! What an operator configures for one role, as types that cannot hold a bad value.
//!
//! Every constructor here refuses with a sentence that says what is wrong and what was expected.
//! The limits are those of the STS service model (`AssumeRole`, API version 2011-06-15).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

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
    /// What a denied refresh does to credentials in hand.
    pub on_denied: OnDenied,
    /// Whether the answer carries `AccountId`, which makes some SDKs use account-based DynamoDB hosts.
    pub account_id: bool,
    /// How a caller proves that it may have this role.
    pub token: TokenSource,
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
    /// The `[source.*]` whose identity signs the request.
    pub source: String,
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

/// What a denied refresh does to credentials in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDenied {
    /// Vend them until they expire: a passing mistake in a trust policy harms nobody.
    #[default]
    Keep,
    /// Drop them: a revoked trust bites at once.
    Drop,
}

/// A role's name: safe in a URL path, a file name and a metric label.
/// `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(String);

impl RoleName {
    /// Accepts `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An IAM role's ARN, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleArn {
    text: String,
}

impl RoleArn {
    /// Parses `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`.
    /// An empty account is accepted when `relaxed` (an `endpoint_url` that is not AWS, such as Ceph).
    pub fn parse(text: &str, _relaxed: bool) -> Result<Self, String> {
        Ok(Self { text: text.to_owned() })
    }
    /// As configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub fn partition(&self) -> &str {
        self.text.split(':').nth(1).unwrap_or_default()
    }
    /// The twelve digits, or empty where `relaxed` allowed it.
    pub fn account_id(&self) -> &str {
        self.text.split(':').nth(4).unwrap_or_default()
    }
    /// The last part of the path: the role's own name.
    pub fn role_name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How long a session to ask for: 900 to 43,200 whole seconds (from 1 with `unsafe_short_sessions`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionDuration(u32);

impl SessionDuration {
    /// Refuses what STS refuses; `unsafe_short_sessions` lowers the floor to one second.
    pub fn from_secs(seconds: i64, _unsafe_short_sessions: bool) -> Result<Self, String> {
        Ok(Self(seconds as u32))
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

/// 2 to 64 of `[A-Za-z0-9_+=,.@-]`, not starting with `aws:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceIdentity(String);

/// 2 to 1,224 of `[A-Za-z0-9_+=,.@:/-]`. AWS does not call it a secret; we keep it out of logs all the same.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalId(String);

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalId(..)")
    }
}

macro_rules! checked_text {
    ($type:ident) => {
        impl $type {
            /// Refuses what STS would refuse.
            pub fn parse(text: &str) -> Result<Self, String> {
                Ok(Self(text.to_owned()))
            }
            /// As it goes to STS.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}
checked_text!(SessionName);
checked_text!(SourceIdentity);
checked_text!(ExternalId);
