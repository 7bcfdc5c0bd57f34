//! The errors of the service itself, by their class.

use super::{CatalogueRow, row};
use crate::sts::fault::{Expiry, Fault, Script};

const NOT_AUTHORIZED: &str =
    "User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role}";

/// Adds every row whose answer carries a code, or the status that stands for one.
pub(super) fn add(rows: &mut Vec<CatalogueRow>) {
    service(rows);
    throttled(rows);
    source(rows);
    denied_by_a_policy(rows);
    denied(rows);
    values_that_are_refused(rows);
    misconfigured(rows);
    web_identities_that_are_refused(rows);
    clock(rows);
}

fn service(rows: &mut Vec<CatalogueRow>) {
    let mut network = |action, status, code: &str, message: &str| {
        rows.push(row(
            &format!("{code} {status}"),
            action,
            Fault::error(status, code, message).into(),
            "network",
        ));
    };
    network(
        "AssumeRole",
        500,
        "InternalFailure",
        "The request processing has failed because of an unknown error.",
    );
    network(
        "AssumeRole",
        400,
        "RequestTimeout",
        "Your socket connection to the server was not read from or written to within the timeout period.",
    );
    network("AssumeRole", 500, "InternalError", "internal error");
    network(
        "AssumeRole",
        503,
        "ServiceUnavailable",
        "The request has failed due to a temporary failure of the server.",
    );
    network(
        "AssumeRoleWithWebIdentity",
        400,
        "IDPCommunicationError",
        "The request could not be fulfilled because the identity provider (IDP) could not be reached.",
    );
    for status in [500, 502, 503, 504] {
        rows.push(row(
            &format!("{status} empty"),
            "AssumeRole",
            Fault::status(status).into(),
            "network",
        ));
    }
}

fn throttled(rows: &mut Vec<CatalogueRow>) {
    let codes = [
        (400, "Throttling"),
        (400, "ThrottlingException"),
        (400, "ThrottledException"),
        (400, "RequestThrottledException"),
        (400, "RequestThrottled"),
        (429, "TooManyRequestsException"),
        (400, "RequestLimitExceeded"),
        (400, "BandwidthLimitExceeded"),
        (400, "LimitExceededException"),
        (400, "ProvisionedThroughputExceededException"),
        (400, "PriorRequestNotComplete"),
        (400, "TransactionInProgressException"),
        (503, "SlowDown"),
        (400, "EC2ThrottledException"),
        (400, "ServiceQuotaExceeded"),
    ];
    for (status, code) in codes {
        let fault = Fault::error(status, code, "Rate exceeded");
        rows.push(row(&format!("{code} {status}"), "AssumeRole", fault.into(), "throttled"));
    }
    let mut throttled =
        |name: &str, script: Script| rows.push(row(name, "AssumeRole", script, "throttled"));
    throttled("Throttling with Retry-After", Fault::throttled().header("Retry-After", "7"));
    throttled(
        "Throttling with x-amz-retry-after",
        Fault::throttled().header("x-amz-retry-after", "1500"),
    );
    throttled("429 empty", Fault::status(429).into());
    throttled("429 empty with Retry-After", Fault::status(429).header("Retry-After", "3"));
    throttled("429 html", Fault::Page { status: 429 }.into());
}

fn source(rows: &mut Vec<CatalogueRow>) {
    let mut source = |name: &str, action, status, code: &str, message: &str| {
        rows.push(row(name, action, Fault::error(status, code, message).into(), "source"));
    };
    let role = "AssumeRole";
    let invalid = "The security token included in the request is invalid";
    source("InvalidClientTokenId", role, 403, "InvalidClientTokenId", invalid);
    source("UnrecognizedClientException 400", role, 400, "UnrecognizedClientException", invalid);
    source("UnrecognizedClientException 403", role, 403, "UnrecognizedClientException", invalid);
    source(
        "InvalidAccessKeyId",
        role,
        403,
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
    );
    source(
        "ExpiredToken",
        role,
        403,
        "ExpiredToken",
        "The security token included in the request is expired",
    );
    source(
        "ExpiredTokenException",
        "AssumeRoleWithWebIdentity",
        400,
        "ExpiredTokenException",
        "Token expired: current date/time 1795219200 must be before the expiration date/time 1795215600",
    );
    source(
        "SignatureDoesNotMatch: calculated",
        role,
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details.",
    );
    // A setting rather than a secret, but only the text says so.
    source(
        "SignatureDoesNotMatch: region",
        role,
        403,
        "SignatureDoesNotMatch",
        "Credential should be scoped to a valid region. ",
    );
    source(
        "SignatureDoesNotMatch: service",
        role,
        403,
        "SignatureDoesNotMatch",
        "Credential should be scoped to correct service: 'sts'. ",
    );
}

fn denied_by_a_policy(rows: &mut Vec<CatalogueRow>) {
    let tails = [
        ("no tail", ""),
        ("identity policy", " because no identity-based policy allows the sts:AssumeRole action"),
        ("trust policy", " because no role trust policy allows the sts:AssumeRole action"),
        ("resource policy", " because no resource-based policy allows the sts:AssumeRole action"),
        (
            "permissions boundary",
            " because no permissions boundary allows the sts:AssumeRole action",
        ),
        ("session policy", " because no session policy allows the sts:AssumeRole action"),
        ("service control policy", " with an explicit deny in a service control policy"),
        (
            "service control policy, implicit",
            " because no service control policy allows the sts:AssumeRole action",
        ),
        ("resource control policy", " with an explicit deny in a resource control policy"),
        (
            "resource control policy, implicit",
            " because no resource control policy allows the sts:AssumeRole action",
        ),
        ("trust policy, explicit", " with an explicit deny in the role trust policy"),
        (
            "permissions boundary, explicit",
            " with an explicit deny in a permissions boundary: arn:aws:iam::999988887777:policy/fence",
        ),
        ("session policy, explicit", " with an explicit deny in a session policy"),
        ("VPC endpoint policy, explicit", " with an explicit deny in a VPC endpoint policy"),
        ("VPC endpoint policy", " because no VPC endpoint policy allows the sts:AssumeRole action"),
        (
            "explicit deny with policy ARN",
            " with an explicit deny in an identity-based policy: arn:aws:iam::999988887777:policy/no-roles",
        ),
    ];
    for (name, tail) in tails {
        let fault = Fault::error(403, "AccessDenied", &format!("{NOT_AUTHORIZED}{tail}"));
        rows.push(row(&format!("AccessDenied: {name}"), "AssumeRole", fault.into(), "denied"));
    }
}

fn denied(rows: &mut Vec<CatalogueRow>) {
    let mut denied = |name: &str, action, code: &str, message: &str| {
        rows.push(row(name, action, Fault::error(403, code, message).into(), "denied"));
    };
    let role = "AssumeRole";
    denied("AccessDeniedException", role, "AccessDeniedException", NOT_AUTHORIZED);
    denied(
        "NotAuthorized",
        role,
        "NotAuthorized",
        "You do not have permission to perform this action.",
    );
    denied(
        "AccessDenied: web identity",
        "AssumeRoleWithWebIdentity",
        "AccessDenied",
        "Not authorized to perform sts:AssumeRoleWithWebIdentity",
    );
    denied(
        "AccessDenied: sts:TagSession",
        role,
        "AccessDenied",
        "User: {caller} is not authorized to perform: sts:TagSession on resource: {role}",
    );
    denied(
        "AccessDenied: sts:SetSourceIdentity",
        role,
        "AccessDenied",
        "User: {caller} is not authorized to perform: sts:SetSourceIdentity on resource: {role}",
    );
    denied(
        "AccessDenied: sts:TagSession, identity policy",
        role,
        "AccessDenied",
        "User: {caller} is not authorized to perform: sts:TagSession on resource: {role} because no identity-based \
         policy allows the sts:TagSession action",
    );
    // These four ask for another configuration, but only the text says so.
    denied(
        "AccessDenied: session credentials",
        "GetSessionToken",
        "AccessDenied",
        "Cannot call GetSessionToken with session credentials",
    );
    denied(
        "AccessDenied: root",
        role,
        "AccessDenied",
        "Roles may not be assumed by root accounts.",
    );
    denied(
        "AccessDenied: MFA",
        role,
        "AccessDenied",
        "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.",
    );
    denied(
        "AccessDenied: source identity set",
        role,
        "AccessDenied",
        "The source identity is already set for this assume role session",
    );
}

fn values_that_are_refused(rows: &mut Vec<CatalogueRow>) {
    let mut misconfigured = |name: &str, action, status, code: &str, message: &str| {
        rows.push(row(name, action, Fault::error(status, code, message).into(), "misconfigured"));
    };
    let role = "AssumeRole";
    for (name, message) in [
        (
            "duration over maximum",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ),
        (
            "duration when chained",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        ),
        (
            "constraint",
            "1 validation error detected: Value 'a b' at 'roleSessionName' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [\\w+=,.@-]*",
        ),
        ("ARN", "Request ARN is invalid"),
        ("source identity set", "The source identity is already set for this assume role session"),
    ] {
        misconfigured(&format!("ValidationError: {name}"), role, 400, "ValidationError", message);
    }
    for (name, message) in [
        (
            "transitive tag",
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from \
             the calling session.",
        ),
        (
            "duplicate tag",
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        ),
    ] {
        misconfigured(
            &format!("InvalidParameterValue: {name}"),
            role,
            400,
            "InvalidParameterValue",
            message,
        );
    }
}

fn misconfigured(rows: &mut Vec<CatalogueRow>) {
    let mut misconfigured = |name: &str, action, status, code: &str, message: &str| {
        rows.push(row(name, action, Fault::error(status, code, message).into(), "misconfigured"));
    };
    let role = "AssumeRole";
    misconfigured(
        "MalformedPolicyDocument",
        role,
        400,
        "MalformedPolicyDocument",
        "Syntax errors in policy.",
    );
    misconfigured(
        "PackedPolicyTooLarge: tags",
        role,
        400,
        "PackedPolicyTooLarge",
        "Packed size of session tags consumes 187% of allotted space",
    );
    misconfigured(
        "PackedPolicyTooLarge: token",
        role,
        400,
        "PackedPolicyTooLarge",
        "Serialized token too large for session",
    );
    // Of class network once there is a fallback region.
    misconfigured(
        "RegionDisabledException without fallback",
        role,
        403,
        "RegionDisabledException",
        "STS is not activated in this region for account: 111122223333. Your account administrator can activate STS in \
         this region using the IAM Console.",
    );
    misconfigured(
        "OptInRequired",
        role,
        403,
        "OptInRequired",
        "The AWS Access Key Id needs a subscription for the service.",
    );
    misconfigured(
        "IncompleteSignature",
        role,
        400,
        "IncompleteSignature",
        "Authorization header requires 'Credential' parameter.",
    );
    let unsigned = "Request is missing Authentication Token";
    misconfigured("MissingAuthenticationToken", role, 403, "MissingAuthenticationToken", unsigned);
    misconfigured(
        "MissingAuthenticationTokenException",
        role,
        403,
        "MissingAuthenticationTokenException",
        unsigned,
    );
    misconfigured(
        "InvalidAction",
        role,
        400,
        "InvalidAction",
        "Could not find operation AssumeRole for version 2011-06-15",
    );
    misconfigured("UnknownOperation", role, 404, "UnknownOperationException", "unknown operation");
    misconfigured("MethodNotAllowed 405", role, 405, "MethodNotAllowed", "");
    misconfigured(
        "a code that nobody has heard of",
        role,
        400,
        "BrandNewException",
        "This is new.",
    );
    rows.push(row("404 empty", role, Fault::status(404).into(), "misconfigured"));
    rows.push(row("405 empty", role, Fault::status(405).into(), "misconfigured"));
    rows.push(row("404 html", role, Fault::Page { status: 404 }.into(), "misconfigured"));
}

fn web_identities_that_are_refused(rows: &mut Vec<CatalogueRow>) {
    let mut misconfigured = |name: &str, status, code: &str, message: &str| {
        let fault = Fault::error(status, code, message);
        rows.push(row(name, "AssumeRoleWithWebIdentity", fault.into(), "misconfigured"));
    };
    misconfigured(
        "InvalidIdentityToken: no provider",
        400,
        "InvalidIdentityToken",
        "No OpenIDConnect provider found in your account for https://idp.example",
    );
    misconfigured(
        "InvalidIdentityToken: audience",
        400,
        "InvalidIdentityToken",
        "Incorrect token audience",
    );
    misconfigured(
        "InvalidIdentityToken: keys",
        400,
        "InvalidIdentityToken",
        "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity \
         documentation for requirements",
    );
    misconfigured(
        "IDPRejectedClaim",
        403,
        "IDPRejectedClaim",
        "The identity provider rejected the claim",
    );
}

fn clock(rows: &mut Vec<CatalogueRow>) {
    let mut clock =
        |name: &str, script: Script| rows.push(row(name, "AssumeRole", script, "clock"));
    // The Date header, not the text, tells these from a wrong secret.
    clock(
        "SignatureDoesNotMatch: expired",
        Fault::error(
            403,
            "SignatureDoesNotMatch",
            "Signature expired: 20261121T100000Z is now earlier than 20261121T100500Z (20261121T101000Z - 5 min.)",
        )
        .dated(600),
    );
    clock(
        "SignatureDoesNotMatch: not yet current",
        Fault::error(
            403,
            "SignatureDoesNotMatch",
            "Signature not yet current: 20261121T101000Z is still later than 20261121T100500Z (20261121T100000Z + 5 min.)",
        )
        .dated(-600),
    );
    for (status, code) in [
        (403, "RequestTimeTooSkewed"),
        (403, "AuthFailure"),
        (403, "InvalidSignatureException"),
        (400, "RequestExpired"),
    ] {
        let fault = Fault::error(
            status,
            code,
            "The difference between the request time and the current time is too large.",
        );
        clock(code, fault.dated(1200));
    }
    clock("dead on arrival by an hour", Fault::Expires(Expiry::In(-3600)).into());
    clock("dead on arrival by a second", Fault::Expires(Expiry::In(-1)).into());
}
