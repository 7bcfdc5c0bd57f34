//! The facts of a failed attempt. Pure.
//!
//! Advice is not a fact: [`explain::advice`] derives it from a role and a failure when it is shown.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::transport::TransportError;

pub mod explain;
pub mod transport;

/// A failed attempt. It keeps the codes and the first line of an answer's message, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct IssueError {
    /// The class, which decides the schedule of retries and the reply to workloads.
    pub class: Class,
    /// The description, a lower-case fragment that fits after "failed to assume the role: ".
    pub message: String,
    /// The first line of the message in an answer of AWS.
    pub aws_message: Option<Box<str>>,
    /// The error code in an answer, such as `AccessDenied`.
    pub code: Option<Box<str>>,
    /// The obstacle on the network, where there was no answer.
    pub cause: Option<TransportError>,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The request id (`x-amzn-requestid`), which AWS support asks for.
    pub request_id: Option<Box<str>>,
    /// The AWS Region that was called.
    pub region: Option<Box<str>>,
    /// The shortest wait before the next request, if the answer names one.
    pub retry_after: Option<Duration>,
    /// The clock of STS minus the local clock, in seconds.
    pub skew_seconds: Option<i32>,
}

/// The class of a failure. It decides the time of the next attempt and the reply to workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// The signature had expired, the skew is over four minutes, or credentials expired on arrival.
    Clock,
    /// AWS denies the request (`AccessDenied`), until a person allows it.
    Denied,
    /// Only a change of the configuration or of an AWS account helps.
    Misconfigured,
    /// There was no connection, no answer in time, a 5xx or an unusable answer.
    Network,
    /// The base credentials are missing, expired or invalid.
    Source,
    /// AWS throttles the account (`Throttling` and similar codes): the whole host pauses.
    Throttled,
}

/// The class of every code that STS, or a server between it and roletap, is known to answer.
const CODES: &[(Class, &str)] = &[
    (Class::Clock, "RequestTimeTooSkewed AuthFailure InvalidSignatureException RequestExpired"),
    (Class::Denied, "AccessDenied AccessDeniedException NotAuthorized"),
    (Class::Misconfigured, "MalformedPolicyDocument PackedPolicyTooLarge RegionDisabledException"),
    (Class::Misconfigured, "OptInRequired ValidationError InvalidParameterValue NoSuchEntity"),
    (Class::Misconfigured, "InvalidIdentityToken IDPRejectedClaim IncompleteSignature"),
    (Class::Misconfigured, "MissingAuthenticationToken MissingAuthenticationTokenException"),
    (Class::Misconfigured, "InvalidAction UnknownOperation UnknownOperationException"),
    (Class::Misconfigured, "MethodNotAllowed"),
    (Class::Network, "InternalFailure InternalError ServiceUnavailable IDPCommunicationError"),
    (Class::Network, "RequestTimeout RequestTimeoutException"),
    (Class::Source, "InvalidClientTokenId UnrecognizedClientException InvalidAccessKeyId"),
    (Class::Source, "ExpiredToken ExpiredTokenException SignatureDoesNotMatch"),
    (Class::Throttled, "Throttling ThrottlingException ThrottledException RequestThrottled"),
    (Class::Throttled, "RequestThrottledException TooManyRequestsException SlowDown"),
    (Class::Throttled, "RequestLimitExceeded LimitExceededException BandwidthLimitExceeded"),
    (Class::Throttled, "PriorRequestNotComplete ProvisionedThroughputExceededException"),
    (Class::Throttled, "ServiceQuotaExceeded TransactionInProgressException EC2ThrottledException"),
];

impl IssueError {
    /// Creates a failure without an answer.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            aws_message: None,
            code: None,
            cause: None,
            status: None,
            request_id: None,
            region: None,
            retry_after: None,
            skew_seconds: None,
        }
    }
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

    /// Returns the class of an error code, if the code is known.
    pub fn from_code(code: &str) -> Option<Self> {
        let knows = |codes: &str| codes.split(' ').any(|known| known == code);
        CODES.iter().find(|(_, codes)| knows(codes)).map(|(class, _)| *class)
    }

    /// Returns the name in logs, metrics and `/roles`.
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

    /// True if waiting cannot help: a person has to change something first.
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

/// Joins the `Display` texts of an error and its sources. Their `Debug` may hold secrets.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        if !parts.iter().any(|earlier| earlier.contains(&part)) {
            parts.push(part);
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::role;

    #[test]
    fn every_code_has_one_class_and_an_advice() {
        for (class, codes) in CODES {
            for code in codes.split(' ') {
                assert_eq!(Class::from_code(code), Some(*class), "{code} is there twice");
                let code = Some(code.into());
                let failure = IssueError { code, ..IssueError::new(*class, "as scripted") };
                let advice = explain::advice(&role("orders", 3600), &failure);
                assert!(
                    !advice.meaning.is_empty()
                        && !advice.ask.is_empty()
                        && !advice.change.is_empty()
                );
            }
        }
        assert_eq!(Class::from_code("NeverHeardOf"), None);
    }
}
