//! Every status, header and body that leaves the process.
//!
//! A status is chosen by what its reader will do. SDKs retry 503, and most of them give up on 4xx;
//! some fall through to the node's own role; some hang for minutes on a 5xx that never ends. The
//! bodies carry both spellings of code and message, because clients read one or the other. The
//! message is for the person who finds it in the stack trace of their own program: it never quotes
//! STS.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use crate::slots::VendResult;
use roletap_core::caller::Description;
use roletap_core::credentials::Credentials;
use roletap_core::role::{Role, RoleName};

/// The header that tells the lifetime of a session token, in requests and in replies; in seconds.
pub(super) const LIFETIME_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// The reply of every endpoint.
pub type Reply = Response<Full<Bytes>>;

/// The reason why a request gets no credentials.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// The first attempt for the role has not concluded.
    Pending(RoleName),
    /// No unexpired credentials are in hand, and roletap keeps trying.
    Unavailable {
        /// The role that was asked for.
        role: RoleName,
        /// The time until the next attempt.
        next_attempt_in: Duration,
    },
    /// No unexpired credentials are in hand, and somebody has to change a permission.
    AssumeRoleFailed(RoleName),
    /// The token is missing or unknown.
    Unauthorized,
    /// The role does not exist, or the token opens another. One body for both.
    RoleNotFound,
    /// The request was forwarded, made by a browser, or names a foreign host.
    Forbidden,
    /// The role does not let the caller in.
    CallerNotAllowed {
        /// The role that was asked for.
        role: RoleName,
        /// The caller, in words.
        caller: Description,
    },
    /// The path is not served.
    NotFound,
    /// The method is not served.
    MethodNotAllowed,
    /// Instance metadata: a session token needs a lifetime, in seconds, of at most this.
    NoSessionLifetime(u32),
    /// Instance metadata: a session token is made by PUT.
    PutOnly,
    /// Instance metadata: the session token is missing, unknown or expired.
    NoSession,
    /// Instance metadata: the path is not served by the endpoint of this role.
    NoSuchMetadata(RoleName),
}

/// 200: the credentials, rendered when they were issued.
pub fn credentials(credentials: &Credentials) -> Reply {
    json(StatusCode::OK, credentials.document())
}

/// 200: the credentials, as instance metadata shows them.
pub fn imds_credentials(credentials: &Credentials, role: &Role) -> Reply {
    json(StatusCode::OK, credentials.imds_document(role))
}

/// 200: a session token of instance metadata. The SDK for Rust reads its lifetime, in seconds, from
/// a header.
pub fn session(token: &str, seconds: u32) -> Reply {
    let mut reply = metadata(token.to_owned());
    reply.headers_mut().insert(LIFETIME_HEADER, HeaderValue::from(seconds));
    reply
}

/// 200: a plain text of instance metadata, without a newline.
pub fn metadata(word: String) -> Reply {
    with_type(StatusCode::OK, HeaderValue::from_static("text/plain"), Bytes::from(word))
}

/// 200: the instance identity document, with the region that clients look for.
pub fn identity(region: &str) -> Reply {
    metadata(serde_json::json!({ "region": region }).to_string())
}

/// Renders a refusal.
pub fn refusal(refusal: &Refusal) -> Reply {
    let (status, code) = refusal.status();
    let mut reply = json(status, Bytes::from(body(code, &refusal.message())));
    let headers = reply.headers_mut();
    match refusal {
        Refusal::Pending(_) => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Refusal::Unavailable { next_attempt_in, .. } => {
            headers.insert(RETRY_AFTER, HeaderValue::from(next_attempt_in.as_secs().clamp(1, 30)));
        }
        Refusal::MethodNotAllowed => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        Refusal::PutOnly => {
            headers.insert(ALLOW, HeaderValue::from_static("PUT"));
        }
        Refusal::AssumeRoleFailed(_)
        | Refusal::Unauthorized
        | Refusal::RoleNotFound
        | Refusal::Forbidden
        | Refusal::CallerNotAllowed { .. }
        | Refusal::NotFound
        | Refusal::NoSessionLifetime(_)
        | Refusal::NoSession
        | Refusal::NoSuchMetadata(_) => {}
    }
    reply
}

/// Returns the raw answer to a head that took too long; the connection is closed after it.
pub fn too_slow() -> Vec<u8> {
    let body = body("RequestTimeout", "the request did not arrive in time");
    format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncache-control: no-store\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// 200 or 503: plain text of the admin endpoint.
pub fn text(well: bool, body: String) -> Reply {
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    with_type(status, HeaderValue::from_static("text/plain; charset=utf-8"), Bytes::from(body))
}

/// 200: the metrics, as Prometheus reads them.
pub fn metrics(body: String) -> Reply {
    with_type(
        StatusCode::OK,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
        Bytes::from(body),
    )
}

/// 200: JSON of the admin endpoint.
pub fn document(body: Vec<u8>) -> Reply {
    json(StatusCode::OK, Bytes::from(body))
}

/// 202: an attempt was requested.
pub fn accepted(message: &str) -> Reply {
    json(StatusCode::ACCEPTED, Bytes::from(body("Accepted", message)))
}

impl Refusal {
    /// Returns the result that metrics and the audit log name.
    pub fn result(&self) -> VendResult {
        match self {
            Self::Pending(_) => VendResult::Pending,
            Self::Unavailable { .. } => VendResult::Unavailable,
            Self::AssumeRoleFailed(_) => VendResult::AssumeRoleFailed,
            Self::Unauthorized | Self::NoSession => VendResult::Unauthorized,
            Self::RoleNotFound => VendResult::RoleNotFound,
            Self::Forbidden => VendResult::Forbidden,
            Self::CallerNotAllowed { .. } => VendResult::CallerNotAllowed,
            Self::NotFound
            | Self::MethodNotAllowed
            | Self::NoSessionLifetime(_)
            | Self::PutOnly
            | Self::NoSuchMetadata(_) => VendResult::NotServed,
        }
    }

    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Pending(_) => (StatusCode::SERVICE_UNAVAILABLE, "CredentialsPending"),
            Self::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "CredentialsUnavailable"),
            // A 503 would hang object_store and rclone for minutes over something that only a
            // person can fix.
            Self::AssumeRoleFailed(_) => (StatusCode::FORBIDDEN, "AssumeRoleFailed"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::RoleNotFound => (StatusCode::NOT_FOUND, "RoleNotFound"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::CallerNotAllowed { .. } => (StatusCode::FORBIDDEN, "CallerNotAllowed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "NotFound"),
            Self::MethodNotAllowed | Self::PutOnly => {
                (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed")
            }
            Self::NoSessionLifetime(_) => (StatusCode::BAD_REQUEST, "BadRequest"),
            Self::NoSession => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::NoSuchMetadata(_) => (StatusCode::NOT_FOUND, "NotFound"),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Pending(role) => {
                format!("roletap has not yet assumed role {role}: try again; `roletap status` shows its progress")
            }
            Self::Unavailable { role, .. } => format!(
                "roletap holds no unexpired credentials of role {role} and keeps trying: `roletap status` on this host tells why"
            ),
            Self::AssumeRoleFailed(role) => format!(
                "roletap may not assume role {role}, and somebody has to allow it: `roletap status` on this host tells whom to ask for what"
            ),
            Self::Unauthorized => "no role answers to this token: AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, or the variable \
                                   without _FILE, must carry the role's token; `roletap env ROLE` prints the settings"
                .to_owned(),
            Self::RoleNotFound => {
                "this token opens no such role: `roletap env ROLE` prints the URL and token that belong together".to_owned()
            }
            Self::Forbidden => "this endpoint answers only direct requests from this host: a proxy or a browser is in \
                                between (does NO_PROXY name 127.0.0.1?)"
                .to_owned(),
            Self::CallerNotAllowed { role, caller } => format!(
                "role {role} is not for who asked, {caller}: `allow_users` and `allow_units` of [role.{role}] in roletap's \
                 configuration say for whom it is; `roletap doctor {role}` tells more"
            ),
            Self::NotFound => "nothing is served here: credentials are at /v1/credentials/ROLE".to_owned(),
            Self::MethodNotAllowed => "only GET and HEAD are served here".to_owned(),
            Self::NoSessionLifetime(most) => format!(
                "a session token needs the header {LIFETIME_HEADER} with a number of seconds from 1 to {most}"
            ),
            Self::PutOnly => "a session token is made by PUT".to_owned(),
            Self::NoSession => "no live session token: PUT /latest/api/token makes one, and the header \
                                x-aws-ec2-metadata-token carries it (version 1 is off: `http_tokens`)"
                .to_owned(),
            Self::NoSuchMetadata(role) => format!(
                "this is roletap, not EC2: it serves the credentials of role {role}, below \
                 /latest/meta-data/iam/security-credentials/, and little else (`roletap env {role} --front imds`)"
            ),
        }
    }
}

fn body(code: &str, message: &str) -> String {
    serde_json::json!({ "code": code, "message": message, "Code": code, "Message": message })
        .to_string()
}

fn json(status: StatusCode, body: Bytes) -> Reply {
    // Without a charset: the Go and Kotlin SDKs read an error's body only on an exact match.
    with_type(status, HeaderValue::from_static("application/json"), body)
}

fn with_type(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.reserve(4);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
