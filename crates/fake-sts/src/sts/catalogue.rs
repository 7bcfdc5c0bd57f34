//! Every way in which STS is known to fail over a plain socket, and what our client must make of it.
//!
//! The classes are those of the contract. Where only the text of a message tells two causes apart, both carry the
//! class of their code: the classifier never reads messages.

use std::time::Duration;

use super::fault::{ErrorForm, Expiry, Fault, Field, Script};

/// One failure.
#[derive(Clone, Debug)]
pub struct CatalogueRow {
    /// The code, and what tells it from others with the same code.
    pub name: String,
    /// The operation at which AWS answers like this. A client that makes another meets the same class.
    pub action: &'static str,
    /// What to script.
    pub script: Script,
    /// `network`, `throttled`, `source`, `denied`, `misconfigured`, `clock`; in [`oddities`] `issued`.
    pub class: &'static str,
    /// No answer in time: it costs the client its whole attempt timeout.
    pub hangs: bool,
}

/// Every failure with the class it must earn. Those that hang need a client with an attempt timeout:
/// the SDK has none of its own.
pub fn catalogue() -> Vec<CatalogueRow> {
    let mut rows = Vec::new();
    transport(&mut rows);
    not_sts(&mut rows);
    unusable(&mut rows);
    service(&mut rows);
    throttled(&mut rows);
    source(&mut rows);
    denied(&mut rows);
    misconfigured(&mut rows);
    clock(&mut rows);
    other_dialects(&mut rows);
    rows
}

/// Strange answers that are good ones: each must be `issued`.
pub fn oddities() -> Vec<CatalogueRow> {
    let mut rows = Vec::new();
    let mut issued =
        |name: &str, script: Script| rows.push(row(name, "AssumeRole", script, "issued"));
    issued("plain", Script::ok());
    issued("late by 300 ms", Script::ok().after(Duration::from_millis(300)));
    issued(
        "body in small pieces",
        Fault::SlowBody { chunk: 64, every: Duration::from_millis(2) }.into(),
    );
    issued("expiration in microseconds (moto)", Fault::Expires(Expiry::Fraction(6)).into());
    issued("expiration in nanoseconds (ceph)", Fault::Expires(Expiry::Fraction(9)).into());
    issued("expiration in milliseconds", Fault::Expires(Expiry::Fraction(3)).into());
    issued("expiration with +00:00", Fault::Expires(Expiry::Offset(0)).into());
    issued("expiration with +02:00", Fault::Expires(Expiry::Offset(2)).into());
    issued("session token of 4096 bytes", Fault::TokenOfBytes(4096).into());
    issued("date ahead by two minutes", Script::ok().dated(120));
    rows
}

fn transport(rows: &mut Vec<CatalogueRow>) {
    let faults = [
        ("reset on accept", Fault::ResetOnAccept),
        ("hang on accept", Fault::HangOnAccept),
        ("hang after the request", Fault::Hang),
        ("reset after the request", Fault::Reset),
        ("closed without an answer", Fault::Close),
        ("hang in the head", Fault::HangMidHead),
        ("closed in the head", Fault::CloseMidHead),
        ("hang in the body", Fault::HangMidBody),
        ("closed in the body", Fault::CloseMidBody),
        ("reset in the body", Fault::ResetMidBody),
        ("body of a byte per second", Fault::SlowBody { chunk: 1, every: Duration::from_secs(1) }),
        ("garbage", Fault::Garbage),
        ("content-length too long", Fault::ContentLengthOff(100)),
        ("content-length too short", Fault::ContentLengthOff(-700)),
    ];
    for (name, fault) in faults {
        rows.push(row(name, "AssumeRole", fault.into(), "network"));
    }
    rows.push(row(
        "answer after a minute",
        "AssumeRole",
        Script::ok().after(Duration::from_secs(60)),
        "network",
    ));
}

fn not_sts(rows: &mut Vec<CatalogueRow>) {
    let faults = [
        ("200 html (captive portal)", Fault::Page { status: 200 }),
        ("403 html (proxy)", Fault::Page { status: 403 }),
        ("407 html (proxy)", Fault::Page { status: 407 }),
        ("503 html (load balancer)", Fault::Page { status: 503 }),
        ("200 empty", Fault::status(200)),
        (
            "200 json",
            Fault::Body { status: 200, content_type: "application/json", body: b"{}".to_vec() },
        ),
        ("200 with 10 MiB", Fault::HugeBody(10 * 1024 * 1024)),
    ];
    for (name, fault) in faults {
        rows.push(row(name, "AssumeRole", fault.into(), "network"));
    }
}

fn unusable(rows: &mut Vec<CatalogueRow>) {
    let mut network =
        |name: &str, fault: Fault| rows.push(row(name, "AssumeRole", fault.into(), "network"));
    network("truncated before <Credentials>", Fault::TruncatedBefore("<Credentials>"));
    network("truncated before <SessionToken>", Fault::TruncatedBefore("<SessionToken>"));
    network("truncated before <Expiration>", Fault::TruncatedBefore("<Expiration>"));
    network("truncated in SecretAccessKey", Fault::TruncatedWithin(Field::SecretAccessKey));
    network("truncated in SessionToken", Fault::TruncatedWithin(Field::SessionToken));
    network("truncated in Expiration", Fault::TruncatedWithin(Field::Expiration));
    for field in Field::ALL {
        network(&format!("{} missing", field.name()), Fault::Missing(field));
        network(&format!("{} empty", field.name()), Fault::Empty(field));
    }
    network("expiration is no date", Fault::Expires(Expiry::Text("tomorrow, noon")));
    network("expiration is epoch seconds", Fault::Expires(Expiry::Text("1795219200")));
    // No service error, though it looks like one: nothing says that the code is to be believed.
    network("200 with an error inside", Fault::error(200, "InternalFailure", "inside a 200"));
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

fn denied(rows: &mut Vec<CatalogueRow>) {
    let not_authorized =
        "User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role}";
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
        let fault = Fault::error(403, "AccessDenied", &format!("{not_authorized}{tail}"));
        rows.push(row(&format!("AccessDenied: {name}"), "AssumeRole", fault.into(), "denied"));
    }
    let mut denied = |name: &str, action, code: &str, message: &str| {
        rows.push(row(name, action, Fault::error(403, code, message).into(), "denied"));
    };
    let role = "AssumeRole";
    denied("AccessDeniedException", role, "AccessDeniedException", not_authorized);
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

fn misconfigured(rows: &mut Vec<CatalogueRow>) {
    let mut misconfigured = |name: &str, action, status, code: &str, message: &str| {
        rows.push(row(name, action, Fault::error(status, code, message).into(), "misconfigured"));
    };
    let role = "AssumeRole";
    let web = "AssumeRoleWithWebIdentity";
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
        "InvalidIdentityToken: no provider",
        web,
        400,
        "InvalidIdentityToken",
        "No OpenIDConnect provider found in your account for https://idp.example",
    );
    misconfigured(
        "InvalidIdentityToken: audience",
        web,
        400,
        "InvalidIdentityToken",
        "Incorrect token audience",
    );
    misconfigured(
        "InvalidIdentityToken: keys",
        web,
        400,
        "InvalidIdentityToken",
        "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity \
         documentation for requirements",
    );
    misconfigured(
        "IDPRejectedClaim",
        web,
        403,
        "IDPRejectedClaim",
        "The identity provider rejected the claim",
    );
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

/// The same matters in the words of services that only resemble STS: the code must still be found.
fn other_dialects(rows: &mut Vec<CatalogueRow>) {
    let cases = [
        (403, "AccessDenied", "denied"),
        (404, "NoSuchEntity", "misconfigured"),
        (403, "InvalidAccessKeyId", "source"),
        (403, "SignatureDoesNotMatch", "source"),
        (503, "SlowDown", "throttled"),
        (500, "InternalError", "network"),
        (400, "MalformedPolicyDocument", "misconfigured"),
    ];
    for (status, code, class) in cases {
        let fault = Fault::error_in(ErrorForm::Bare, status, code, "");
        rows.push(row(&format!("{code} {status} bare"), "AssumeRole", fault.into(), class));
    }
    let fault = Fault::error(404, "NoSuchEntity", "The role with name orders cannot be found.");
    rows.push(row("NoSuchEntity 404", "AssumeRole", fault.into(), "misconfigured"));
    let fault = Fault::error_in(ErrorForm::Json, 500, "InternalFailure", "gateway");
    rows.push(row("InternalFailure 500 json", "AssumeRole", fault.into(), "network"));
    let fault = Fault::error_in(ErrorForm::Json, 429, "ThrottlingException", "Rate exceeded");
    rows.push(row("ThrottlingException 429 json", "AssumeRole", fault.into(), "throttled"));
}

fn row(name: &str, action: &'static str, script: Script, class: &'static str) -> CatalogueRow {
    let hangs = match script.fault() {
        Fault::HangOnAccept | Fault::Hang | Fault::HangMidHead | Fault::HangMidBody => true,
        Fault::SlowBody { every, .. } => *every >= Duration::from_secs(1),
        _ => script.latency >= Duration::from_secs(1),
    };
    CatalogueRow { name: name.to_owned(), action, script, class, hangs }
}
