//! What an error of STS means, whose move it is, and what to ask them for.
//!
//! One list decides the class of every code, and with it the policy; text never does. One [`table`] says in words what
//! is behind it, and is honest: where AWS does not say which of several causes it was, neither do we.

use std::fmt;
use std::time::Duration;

use super::Class;
use super::transport::Obstacle;
use crate::role::Role;
use denial::{Denial, Reason};
use table::{Certainty, When};

pub mod denial;
pub mod table;

/// What is known about a failed attempt.
#[derive(Debug, Clone, Copy, Default)]
pub struct Failure<'a> {
    /// What happened, for people.
    pub what: &'a str,
    /// The error code of STS.
    pub code: Option<&'a str>,
    /// The first line of its message.
    pub message: Option<&'a str>,
    /// What stood in the way, where there was no answer.
    pub obstacle: Option<&'a Obstacle>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The region that was asked.
    pub region: Option<&'a str>,
    /// `x-amzn-requestid`
    pub request_id: Option<&'a str>,
    /// How long STS asked us to stay away.
    pub retry_after: Option<Duration>,
    /// Server minus local clock, seconds.
    pub skew: Option<f64>,
}

/// The class of every code that STS, or something between it and us, is known to answer.
const CODES: &[(&str, Class)] = &[
    ("AccessDenied", Class::Denied),
    ("AccessDeniedException", Class::Denied),
    ("NotAuthorized", Class::Denied),
    ("InvalidClientTokenId", Class::Source),
    ("UnrecognizedClientException", Class::Source),
    ("InvalidAccessKeyId", Class::Source),
    ("ExpiredToken", Class::Source),
    ("ExpiredTokenException", Class::Source),
    ("SignatureDoesNotMatch", Class::Source),
    ("RequestTimeTooSkewed", Class::Clock),
    ("AuthFailure", Class::Clock),
    ("InvalidSignatureException", Class::Clock),
    ("RequestExpired", Class::Clock),
    ("Throttling", Class::Throttled),
    ("ThrottlingException", Class::Throttled),
    ("ThrottledException", Class::Throttled),
    ("RequestThrottled", Class::Throttled),
    ("RequestThrottledException", Class::Throttled),
    ("TooManyRequestsException", Class::Throttled),
    ("RequestLimitExceeded", Class::Throttled),
    ("LimitExceededException", Class::Throttled),
    ("BandwidthLimitExceeded", Class::Throttled),
    ("PriorRequestNotComplete", Class::Throttled),
    ("ProvisionedThroughputExceededException", Class::Throttled),
    ("ServiceQuotaExceeded", Class::Throttled),
    ("TransactionInProgressException", Class::Throttled),
    ("SlowDown", Class::Throttled),
    ("EC2ThrottledException", Class::Throttled),
    ("InternalFailure", Class::Network),
    ("InternalError", Class::Network),
    ("ServiceUnavailable", Class::Network),
    ("RequestTimeout", Class::Network),
    ("RequestTimeoutException", Class::Network),
    ("IDPCommunicationError", Class::Network),
    ("MalformedPolicyDocument", Class::Misconfigured),
    ("PackedPolicyTooLarge", Class::Misconfigured),
    ("RegionDisabledException", Class::Misconfigured),
    ("OptInRequired", Class::Misconfigured),
    ("ValidationError", Class::Misconfigured),
    ("InvalidParameterValue", Class::Misconfigured),
    ("InvalidIdentityToken", Class::Misconfigured),
    ("IDPRejectedClaim", Class::Misconfigured),
    ("IncompleteSignature", Class::Misconfigured),
    ("MissingAuthenticationToken", Class::Misconfigured),
    ("MissingAuthenticationTokenException", Class::Misconfigured),
    ("InvalidAction", Class::Misconfigured),
    ("UnknownOperation", Class::Misconfigured),
    ("UnknownOperationException", Class::Misconfigured),
    ("MethodNotAllowed", Class::Misconfigured),
    ("NoSuchEntity", Class::Misconfigured),
];

/// The class of a code, where the code is known.
pub fn class_of_code(code: &str) -> Option<Class> {
    CODES.iter().find(|(known, _)| *known == code).map(|(_, class)| *class)
}

/// What a failure means, and whose move it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advice {
    /// What it means; begins with "most likely" where that is a conclusion of ours.
    pub meaning: String,
    /// Whom to ask.
    pub ask: String,
    /// What they are to change.
    pub change: String,
}

impl fmt::Display for Advice {
    /// In one line, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { meaning, ask, change } = self;
        write!(f, "{meaning}. Ask {ask}: {change}")
    }
}

/// What it means, whom to ask, and for what.
pub fn advice(role: &Role, class: Class, failure: &Failure<'_>) -> Box<Advice> {
    let said = failure.message.unwrap_or(failure.what);
    let denial = Denial::parse(said);
    let rows = table::rows(class);
    let found = rows.iter().find(|row| row.when.fits(failure, said, denial.as_ref()));
    // The last row of a class fits always.
    let Some(row) = found.or(rows.last()) else {
        return Box::default();
    };
    let facts = Facts { role, failure, denial };
    let meaning = facts.fill(row.meaning);
    Box::new(Advice {
        meaning: match row.certainty {
            Certainty::Told => meaning,
            Certainty::Likely(why) => format!("most likely {meaning} ({why})"),
        },
        ask: facts.fill(row.ask),
        change: facts.fill(row.change),
    })
}

impl When {
    fn fits(&self, failure: &Failure<'_>, said: &str, denial: Option<&Denial<'_>>) -> bool {
        let code = failure.code.unwrap_or_default();
        let reason = denial.map(|denial| denial.reason);
        match self {
            Self::Code(codes) => codes.contains(&code),
            Self::Implicit(kind) => reason == Some(Reason::Implicit(*kind)),
            Self::Explicit(kind) => {
                matches!(reason, Some(Reason::Explicit { kind: found, .. }) if found == *kind)
            }
            Self::Action(action) => denial.is_some_and(|denial| denial.action == *action),
            Self::Obstacle(name) => {
                failure.obstacle.is_some_and(|obstacle| obstacle.name() == *name)
            }
            Self::Says(codes, phrase) => {
                (codes.is_empty() || codes.contains(&code)) && said.contains(phrase)
            }
            Self::Status(range) => {
                failure.code.is_none()
                    && failure.status.is_some_and(|status| range.contains(&status))
            }
            Self::Else => true,
        }
    }
}

/// What the templates are filled in with.
struct Facts<'a> {
    role: &'a Role,
    failure: &'a Failure<'a>,
    denial: Option<Denial<'a>>,
}

impl Facts<'_> {
    fn fill(&self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                break;
            };
            out.push_str(before);
            out.push_str(&self.value(name));
            rest = after;
        }
        out + rest
    }

    fn value(&self, name: &str) -> String {
        let request = &self.role.request;
        let denial = self.denial.as_ref();
        match name {
            "role_arn" => request.role_arn.to_string(),
            "account" => request.role_arn.account_id().to_owned(),
            "source" => request.base.to_string(),
            "region" => self.failure.region.unwrap_or("`sts.region`").to_owned(),
            "duration" => self.role.duration.as_secs().to_string(),
            "skew" => match self.failure.skew {
                Some(seconds) => format!(" (by {seconds:+.0} s, seen from here)"),
                None => String::new(),
            },
            "base" => match denial {
                Some(denial) => denial.caller.to_owned(),
                None => "our base identity".to_owned(),
            },
            "principal" => match denial {
                Some(denial) => denial.principal(),
                None => "our base identity".to_owned(),
            },
            "base_account" => match denial.and_then(Denial::caller_account) {
                Some(account) => format!("our own account {account}"),
                None => "our own account".to_owned(),
            },
            "action" => match denial {
                Some(denial) => denial.action.to_owned(),
                None => "sts:AssumeRole".to_owned(),
            },
            "policy" => match denial.map(|denial| denial.reason) {
                Some(Reason::Explicit { policy: Some(policy), .. }) => format!(" ({policy})"),
                Some(_) | None => String::new(),
            },
            "external_id" => match request.external_id {
                Some(_) => "with the external id that is configured here".to_owned(),
                None => "(no external id is configured here: does the role demand one?)".to_owned(),
            },
            "or_drop" => match denial.map(|denial| denial.action) {
                Some("sts:TagSession") => "; or drop `tags` here".to_owned(),
                Some("sts:SetSourceIdentity") => "; or drop `source_identity` here".to_owned(),
                Some(_) | None => String::new(),
            },
            // A mistake in the table; a test looks for braces.
            _ => format!("{{{name}}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::role;

    fn advised(class: Class, failure: &Failure<'_>) -> Box<Advice> {
        advice(&role("orders", 3600), class, failure)
    }

    #[test]
    fn every_code_has_one_class_and_an_advice() {
        for (code, class) in CODES {
            assert_eq!(class_of_code(code), Some(*class), "{code} is there twice");
            let failure = Failure { what: "as scripted", code: Some(code), ..Failure::default() };
            let advice = advised(*class, &failure);
            assert!(
                !advice.meaning.is_empty() && !advice.ask.is_empty() && !advice.change.is_empty()
            );
        }
        assert_eq!(class_of_code("NeverHeardOf"), None);
    }

    #[test]
    fn every_template_can_be_filled_in_and_the_last_row_of_each_class_fits_always() {
        let role = role("orders", 3600);
        let failure = Failure::default();
        let facts = Facts { role: &role, failure: &failure, denial: None };
        for class in Class::ALL {
            let rows = table::rows(class);
            assert!(matches!(rows.last().unwrap().when, When::Else), "{class}");
            let always = rows.iter().filter(|row| matches!(row.when, When::Else));
            assert_eq!(always.count(), 1, "{class}: rows below the last say nothing");
            for row in rows {
                for template in [row.meaning, row.ask, row.change] {
                    let filled = facts.fill(template);
                    assert!(!filled.contains(['{', '}']), "{filled}");
                    assert!(!filled.ends_with('.'), "{filled}");
                }
            }
        }
    }

    #[test]
    fn what_aws_said_stands_in_the_advice() {
        let failure = Failure {
            code: Some("AccessDenied"),
            message: Some(
                "User: arn:aws:iam::999988887777:user/us is not authorized to perform: sts:TagSession on resource: \
                 arn:aws:iam::111122223333:role/orders with an explicit deny in an identity-based policy: \
                 arn:aws:iam::999988887777:policy/no-tags",
            ),
            ..Failure::default()
        };
        let advice = advised(Class::Denied, &failure);
        assert_eq!(
            advice.meaning,
            "a policy of arn:aws:iam::999988887777:user/us itself (arn:aws:iam::999988887777:policy/no-tags) denies \
             sts:TagSession"
        );
        assert_eq!(advice.ask, "the administrators of our own account 999988887777");
        assert!(advice.change.ends_with("; or drop `tags` here"), "{advice}");
    }

    #[test]
    fn a_key_that_aws_does_not_know_is_our_own_business() {
        let failure = Failure {
            code: Some("InvalidClientTokenId"),
            message: Some("The security token included in the request is invalid"),
            ..Failure::default()
        };
        let advice = advised(Class::Source, &failure);
        assert!(advice.meaning.contains("not about the trust policy"), "{advice}");
        assert!(advice.ask.contains("this host"), "{advice}");
    }

    #[test]
    fn a_denial_without_a_reason_is_not_given_one() {
        for message in [
            "",
            "You do not have permission to perform this action.",
            "User: arn:aws:iam::999988887777:user/us is not authorized to perform: sts:AssumeRole on resource: \
             arn:aws:iam::111122223333:role/trust-policy",
        ] {
            let failure = Failure {
                code: Some("AccessDenied"),
                message: Some(message),
                ..Failure::default()
            };
            let advice = advised(Class::Denied, &failure);
            assert!(advice.meaning.starts_with("most likely one of: "), "{advice}");
        }
    }
}
