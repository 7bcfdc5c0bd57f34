//! The classification of an error of the SDK.
//!
//! The class comes from the protocol: the kind of failure, the code and the status. It never comes
//! from the text of a message, which only explains.

use std::error::Error;
use std::time::Duration;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::clock_skew::{REQUEST_ID, SKEW_LIMIT};
use super::endpoints::RegionEndpoint;
use super::web_identity_token::Token;
use crate::clock::Skew;
use roletap_core::failure::transport::TransportError;
use roletap_core::failure::{Class, IssueError, error_chain};
use roletap_core::xml::element;

/// The longest part of a message that is kept, in characters. Later parts may quote the request.
const MESSAGE_LIMIT: usize = 400;

/// An operation of STS, with the secret part of its request that no message may repeat.
pub(super) enum StsOperation<'a> {
    AssumeRole { external_id: Option<&'a str> },
    AssumeRoleWithWebIdentity(&'a Token),
    GetCallerIdentity,
}

impl StsOperation<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::AssumeRole { .. } => "AssumeRole",
            Self::AssumeRoleWithWebIdentity(_) => "AssumeRoleWithWebIdentity",
            Self::GetCallerIdentity => "GetCallerIdentity",
        }
    }

    fn redact(&self, text: &str) -> String {
        match self {
            Self::AssumeRole { external_id: Some(id) } if !id.is_empty() => text.replace(id, "…"),
            Self::AssumeRoleWithWebIdentity(token) => token.redact(text),
            Self::AssumeRole { .. } | Self::GetCallerIdentity => text.to_owned(),
        }
    }
}

/// Turns an error of the SDK into the facts of a failed attempt.
pub(super) fn classify<E>(
    error: &SdkError<E, HttpResponse>,
    endpoint: &RegionEndpoint,
    operation: &StsOperation<'_>,
    attempt_timeout: Duration,
    skew: &Skew,
) -> IssueError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let answer = error.raw_response();
    let status = answer.map(|answer| answer.status().as_u16());
    let header = |name| answer.and_then(|answer| answer.headers().get(name));
    let body = answer
        .and_then(|answer| answer.body().bytes())
        .map(String::from_utf8_lossy)
        .unwrap_or_default();
    // The SDK finds codes only inside <ErrorResponse><Error>; Ceph and some proxies answer a bare <Error>.
    let metadata = error.as_service_error().map(ProvideErrorMetadata::meta);
    let code = metadata.and_then(|meta| meta.code()).map(str::to_owned);
    let code = code.or_else(|| element(&body, "Code")).map(|code| plain(&code));
    let aws_message = metadata.and_then(|meta| meta.message()).map(str::to_owned);
    let aws_message = aws_message
        .or_else(|| element(&body, "Message"))
        // Redact before the text is cut: half a token would not be found. Drop control characters
        // first: a token with one inside would not be found either, and be whole without it.
        .map(|mut text| {
            text.retain(|c| c == '\n' || !c.is_control());
            plain(operation.redact(&text).lines().next().unwrap_or_default())
        });
    let name = &endpoint.name;
    let mut cause = None;
    let (class, mut message) = match error {
        SdkError::ConstructionFailure(_) => (
            Class::Misconfigured,
            format!("the request could not be built: {}", error_chain(error)),
        ),
        SdkError::TimeoutError(_) => {
            cause = Some(TransportError::ResponseTimeout);
            let seconds = attempt_timeout.as_secs_f64();
            (Class::Network, format!("no answer from {name} within {seconds} s"))
        }
        SdkError::DispatchFailure(_) if is_missing_credentials(error) => {
            (Class::Source, error_chain(error))
        }
        SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            let (found, detail) = TransportError::classify(error);
            cause = Some(found);
            (Class::Network, plain(&found.describe(name, &detail)))
        }
        SdkError::ServiceError(_) => match (&code, status.unwrap_or_default()) {
            (Some(code), status) => {
                let said = aws_message.as_deref().map(|m| format!(": {m}")).unwrap_or_default();
                (class_of_code(code, status, skew), format!("{name} answered {code}{said}"))
            }
            (None, status) => (
                class_of_status(status),
                format!("{name} answered HTTP {status}, which is not an STS response"),
            ),
        },
        _ => (Class::Network, error_chain(error)),
    };
    if let (StsOperation::AssumeRoleWithWebIdentity(token), Some(_)) = (operation, status) {
        message = format!("{message}; {}", token.description());
    }
    let number = |name| header(name).and_then(|text| text.parse().ok());
    let retry_after_ms = number("x-amz-retry-after").map(Duration::from_millis);
    IssueError {
        aws_message: aws_message.map(Into::into),
        code: code.map(Into::into),
        cause,
        status,
        request_id: header(REQUEST_ID).map(|id| plain(id).into()),
        retry_after: retry_after_ms.or(number("retry-after").map(Duration::from_secs)),
        skew_seconds: skew.seconds().map(|seconds| seconds.round() as i32),
        ..IssueError::new(class, message)
    }
}

fn class_of_code(code: &str, status: u16, skew: &Skew) -> Class {
    match Class::from_code(code) {
        // Wrong key and wrong clock share this code; the measured skew tells them apart.
        Some(Class::Source) if code == "SignatureDoesNotMatch" && skew.is_over(SKEW_LIMIT) => {
            Class::Clock
        }
        Some(class) => class,
        None => match status {
            429 => Class::Throttled,
            500.. => Class::Network,
            403 => Class::Denied,
            _ => Class::Misconfigured,
        },
    }
}

/// Returns the class of an answer without an error code.
fn class_of_status(status: u16) -> Class {
    match status {
        429 => Class::Throttled,
        // STS has one path and one method, so STS never answers so.
        404 | 405 => Class::Misconfigured,
        // A captive portal, a proxy or a broken body: a retry can help.
        _ => Class::Network,
    }
}

fn is_missing_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<aws_credential_types::provider::error::CredentialsError>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// Removes control characters, which could forge a log line, and cuts the text.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_LIMIT).collect()
}
