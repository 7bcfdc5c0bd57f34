//! Where credentials come from, and what a failure to get them means.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::explain::Advice;
use crate::credentials::Credentials;
use crate::role::Role;

mod bounded;
pub mod explain;
pub mod obstacle;
pub mod regions;
pub mod sts;

/// Issues credentials for a role: one attempt, bounded in time, without retries of its own.
pub trait Issuer: Send + Sync + 'static {
    /// Gets ready what an attempt needs beside STS, bounded in time. Happens before the role has its turn, so that one
    /// that waits for its source keeps no other from STS.
    fn prepare(&self, _: &Role) -> impl Future<Output = Result<(), IssueError>> + Send {
        async { Ok(()) }
    }

    /// One attempt.
    fn issue(&self, role: &Role) -> impl Future<Output = Result<Credentials, IssueError>> + Send;
}

/// A failed attempt, without anything that STS sent but its codes and the first line of its message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueError {
    /// What is done about it.
    pub class: Class,
    /// The error code of STS, such as `AccessDenied`.
    pub code: Option<String>,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// `x-amzn-requestid`: what AWS support asks for.
    pub request_id: Option<String>,
    /// What happened: a lower-case fragment that fits after "failed to assume the role: ".
    pub what: String,
    /// What it means, whom to ask and for what.
    #[serde(skip)]
    pub advice: Box<Advice>,
    /// How long STS asked us to stay away.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for IssueError {}

/// The class of a failure is the policy: it decides when the next attempt is made and what a workload is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Signature expired, skew over four minutes, dead on arrival.
    Clock,
    /// `AccessDenied` in all its forms: somebody has to allow it.
    Denied,
    /// Nothing but a change of configuration helps.
    Misconfigured,
    /// Dispatch, time-out, 5xx, an unusable answer.
    Network,
    /// Our own base credentials are missing, expired or invalid.
    Source,
    /// `Throttling` and its kin: the whole host pauses.
    Throttled,
}

impl Class {
    /// Every class, in the order of their labels.
    pub const ALL: [Self; 6] = [
        Self::Clock,
        Self::Denied,
        Self::Misconfigured,
        Self::Network,
        Self::Source,
        Self::Throttled,
    ];

    /// As it stands in logs, metrics and `/roles`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Denied => "denied",
            Self::Misconfigured => "misconfigured",
            Self::Network => "network",
            Self::Source => "source",
            Self::Throttled => "throttled",
        }
    }

    /// Whether waiting cannot help: somebody has to change something first.
    pub fn needs_a_person(self) -> bool {
        match self {
            Self::Denied | Self::Misconfigured => true,
            Self::Clock | Self::Network | Self::Source | Self::Throttled => false,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
