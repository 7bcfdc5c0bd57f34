//! What an error of STS means, whose move it is, and what to ask them for.
//!
//! One table decides the class of every code. The advice is honest: where AWS does not say which of several causes it
//! was, neither do we.

use std::time::Duration;

use super::Class;
use super::obstacle::Obstacle;
use crate::role::{Base, Role};

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
    ("MethodNotAllowed", Class::Misconfigured),
    ("NoSuchEntity", Class::Misconfigured),
];

/// The class of a code, where the code is known.
pub fn class_of_code(code: &str) -> Option<Class> {
    CODES
        .iter()
        .find(|(known, _)| *known == code)
        .map(|(_, class)| *class)
}

/// What it most likely means, whom to ask, and for what.
pub fn advice(role: &Role, class: Class, failure: &Failure<'_>) -> String {
    let arn = &role.request.role_arn;
    let account = arn.account_id();
    let message = failure.message.unwrap_or_default();
    if let (Class::Network, Some(obstacle)) = (class, failure.obstacle) {
        return obstacle.advice().to_owned();
    }
    if let Base::Token(_) = role.request.base
        && let Some(advice) = about_a_token(class, failure.code.unwrap_or_default(), role)
    {
        return advice;
    }
    match (class, failure.code.unwrap_or_default()) {
        (Class::Denied, _) => denied(role, message),
        (Class::Throttled, _) => {
            "STS limits an account to 600 requests per second and region, and this host waits as a whole. If it persists, use \
             longer sessions or fewer hosts per account (`roletap check --hosts N` shows the sum)"
                .to_owned()
        }
        (Class::Clock, _) => {
            let skew = failure.skew.map(|s| format!(" (STS is {s:+.0} s from here)")).unwrap_or_default();
            format!("check the clock of this host{skew}: is NTP running? Requests of the workloads themselves will be refused too")
        }
        (Class::Source, "InvalidClientTokenId" | "UnrecognizedClientException" | "InvalidAccessKeyId") => {
            "our own base key is unknown to AWS: deleted, inactive, of another partition, or its session token is missing. \
             This is not about the trust policy: rotate or repair the base credentials of this host"
                .to_owned()
        }
        (Class::Source, "ExpiredToken" | "ExpiredTokenException") => {
            "the base credentials of this host have expired: whoever refreshes them (IMDS, a token file, a login) has stopped"
                .to_owned()
        }
        (Class::Source, "SignatureDoesNotMatch") if message.contains("scoped to") => {
            "this host signs for another region than the endpoint's: make `sts.region` that of `sts.endpoint_url`".to_owned()
        }
        (Class::Source, "SignatureDoesNotMatch") => {
            "the secret key of the base credentials does not belong to its key id (a stray newline in the file?), or a proxy \
             rewrites requests"
                .to_owned()
        }
        (Class::Source, _) if role.request.base.parent().is_some() => {
            let parent = role.request.base.to_string();
            format!("this host signs with what it holds for {parent}: mend that one first, and this one follows by itself")
        }
        (Class::Source, _) if matches!(role.request.base, Base::Token(_)) => {
            "whoever writes the token file on this host has stopped, or writes it elsewhere: ask them, and see who may read it"
                .to_owned()
        }
        (Class::Source, _) => {
            "this host has no identity to sign with: set AWS_ACCESS_KEY_ID and its kin, a profile, a web identity token, or \
             run where instance metadata answers"
                .to_owned()
        }
        (Class::Misconfigured, "ValidationError") if message.contains("MaxSessionDuration") => format!(
            "lower `duration_seconds` (now {}), or ask the owner of account {account} to raise the maximum session duration of {arn}",
            role.duration.as_secs()
        ),
        (Class::Misconfigured, "ValidationError") if message.contains("role chaining") => {
            "our base identity is itself an assumed role, and AWS caps such sessions at one hour: set `duration_seconds = 3600`"
                .to_owned()
        }
        (Class::Misconfigured, "RegionDisabledException") => format!(
            "the owner of account {account} has turned this regional STS endpoint off: ask them to activate it, or set another `sts.region`"
        ),
 (Class::Misconfigured, "OptInRequired") => format!(
            "the region is not enabled: ask the administrators of our own account and the owner of account {account} to enable it, \
             or set another `sts.region`"
        ),
        (Class::Misconfigured, "MalformedPolicyDocument" | "PackedPolicyTooLarge") => {
            "the session policy or the tags are not accepted: shorten or correct `policy`, `policy_arns` and `tags` of this role, \
             on this host"
                .to_owned()
        }
        (Class::Misconfigured, "NoSuchEntity") => format!(
            "there is no role {arn} at this endpoint: ask the owner of account {account} to create it, or correct `role_arn`"
        ),
        (Class::Misconfigured, "IncompleteSignature" | "MissingAuthenticationToken" | "MissingAuthenticationTokenException") => {
            "something between this host and STS removes headers: check HTTPS_PROXY and NO_PROXY".to_owned()
        }
        (Class::Misconfigured, _) => {
            format!(
                "STS does not accept the request as it is: compare what is configured on this host with what the owner of account \
                 {account} says; is `sts.endpoint_url` really an STS endpoint?"
            )
        }
        (Class::Network, "IDPCommunicationError") => {
            "AWS could not fetch the keys of the identity provider: it has to be reachable from the internet; ask whoever runs the \
             one that this host's tokens come from"
                .to_owned()
        }
        (Class::Network, _) if failure.status == Some(407) => {
            "a proxy between this host and STS wants a user name and a password: give them in HTTPS_PROXY in the daemon's \
             environment, or name the endpoint in NO_PROXY"
                .to_owned()
        }
        (Class::Network, _) if failure.status.is_some_and(|status| status < 500) => {
            "something between this host and STS answers in its place, such as a proxy or a captive portal: check \
             `sts.endpoint_url`, HTTPS_PROXY and NO_PROXY"
                .to_owned()
        }
        (Class::Network, _) => {
            "nothing to do if it passes; else check DNS, egress, the VPC endpoint and HTTPS_PROXY of this host".to_owned()
        }
    }
}

/// What a refused web identity token means. What the token says of itself stands in the message.
fn about_a_token(class: Class, code: &str, role: &Role) -> Option<String> {
    let arn = &role.request.role_arn;
    let account = arn.account_id();
    match (class, code) {
        (Class::Denied, _) => Some(format!(
            "AWS does not say why. Most likely one of: the trust policy of {arn} does not name the token's issuer as its \
             federated principal; its conditions on aud and sub do not match what the token says; the role does not exist. \
             Ask the owner of account {account} to compare"
        )),
        (Class::Misconfigured, "InvalidIdentityToken") => Some(format!(
            "ask the owner of account {account} whether IAM has an OpenID Connect provider for the token's issuer, with the \
             token's aud among its audiences"
        )),
        (Class::Misconfigured, "IDPRejectedClaim") => Some(
            "the token is over or was revoked: ask whoever writes it on this host for a new one"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Which AccessDenied it is. AWS says so only within one account or organisation; across accounts it mostly does not.
fn denied(role: &Role, message: &str) -> String {
    let arn = &role.request.role_arn;
    let account = arn.account_id();
    if message.contains("sts:TagSession") {
        return format!(
            "ask the owner of {arn} to allow sts:TagSession for us in its trust policy, or drop `tags`"
        );
    }
    if message.contains("sts:SetSourceIdentity") {
        return format!(
            "ask the owner of {arn} to allow sts:SetSourceIdentity for us in its trust policy, or drop `source_identity`"
        );
    }
    if message.contains("MultiFactorAuthentication") {
        return format!(
            "{arn} demands MFA, which no daemon has: ask the owner of account {account} not to tick `Require MFA`"
        );
    }
    if message.contains("root accounts") {
        return "the base credentials are root keys, which cannot assume roles: use a user or a role".to_owned();
    }
    if message.contains("identity-based policy") {
        return format!("allow sts:AssumeRole on {arn} in the policy of our own base identity");
    }
    if message.contains("trust policy") || message.contains("resource-based policy") {
        return format!(
            "ask the owner of account {account} to name our base identity, and the external id if one is set, in the trust policy of {arn}"
        );
    }
    if message.contains("permissions boundary") {
        return "the permissions boundary of our own base identity must allow sts:AssumeRole"
            .to_owned();
    }
    if message.contains("session policy") {
        return "the session that our base identity was issued with is too narrow: ask whoever made it to allow sts:AssumeRole".to_owned();
    }
    if message.contains("service control policy") {
        return "ask the administrators of our own AWS organisation: a service control policy denies it".to_owned();
    }
    if message.contains("resource control policy") {
        return format!(
            "ask the administrators of the organisation of account {account}: a resource control policy denies it"
        );
    }
    if message.contains("VPC endpoint policy") {
        return "ask the network team: the policy of the STS interface endpoint denies it"
            .to_owned();
    }
    let external_id = match role.request.external_id {
        Some(_) => "with the external id configured here",
        None => "and no external id is configured here: does the role demand one",
    };
    format!(
        "AWS does not say why. Most likely one of: the trust policy of {arn} does not name our base identity ({external_id}); \
         our own policy does not allow sts:AssumeRole on it; the role does not exist (names are matched by case and path). \
         Ask the owner of account {account} to compare; changes in IAM take a minute or two to be seen"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::role;

    /// Who can act, or what of ours to look at: one of these is in every advice.
    const WHOM: [&str; 9] = [
        "the owner of",
        "administrators of",
        "the network team",
        "whoever",
        "this host",
        "the base credentials",
        "our own base identity",
        "our base identity",
        "AWS support",
    ];

    fn assert_names_whom_to_ask(advice: &str, context: &str) {
        assert!(
            WHOM.iter().any(|whom| advice.contains(whom)),
            "{context}: whose move is it? {advice}"
        );
    }

    #[test]
    fn every_code_has_a_class_and_an_advice_that_names_whom_to_ask() {
        let role = role("orders", 3600);
        for (code, class) in CODES {
            assert_eq!(class_of_code(code), Some(*class), "{code} is there twice");
            let failure = Failure {
                what: "as scripted",
                code: Some(code),
                ..Failure::default()
            };
            assert_names_whom_to_ask(&advice(&role, *class, &failure), code);
        }
        assert_eq!(class_of_code("NeverHeardOf"), None);
    }

    #[test]
    fn every_denial_names_whom_to_ask() {
        let role = role("orders", 3600);
        for message in [
            "",
            "because no identity-based policy allows the sts:AssumeRole action",
            "because no role trust policy allows the sts:AssumeRole action",
            "because no resource-based policy allows the sts:AssumeRole action",
            "because no permissions boundary allows the sts:AssumeRole action",
            "because no session policy allows the sts:AssumeRole action",
            "with an explicit deny in a service control policy",
            "with an explicit deny in a resource control policy",
            "because no VPC endpoint policy allows the sts:AssumeRole action",
            "is not authorized to perform: sts:TagSession",
            "is not authorized to perform: sts:SetSourceIdentity",
            "MultiFactorAuthentication failed",
            "Roles may not be assumed by root accounts.",
        ] {
            let failure = Failure {
                message: Some(message),
                ..Failure::default()
            };
            assert_names_whom_to_ask(&advice(&role, Class::Denied, &failure), message);
        }
    }

    #[test]
    fn every_validation_names_whom_to_ask() {
        let role = role("orders", 3600);
        for message in [
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
            "1 validation error detected",
        ] {
            let failure = Failure {
                code: Some("ValidationError"),
                message: Some(message),
                ..Failure::default()
            };
            assert_names_whom_to_ask(&advice(&role, Class::Misconfigured, &failure), message);
        }
    }

    #[test]
    fn a_region_that_is_off_is_the_business_of_the_roles_owner_or_another_region() {
        let failure = Failure {
            code: Some("RegionDisabledException"),
            ..Failure::default()
        };
        let advice = advice(&role("orders", 3600), Class::Misconfigured, &failure);
        assert!(
            advice.contains("the owner of account 111122223333") && advice.contains("`sts.region`"),
            "{advice}"
        );
    }
}
