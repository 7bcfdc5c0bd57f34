//! From an error of the SDK to a class, a code and words.
//!
//! The class comes from what the protocol carries (the kind of failure, the code, the status), never from the text of a
//! message; text serves to explain.

use std::error::Error;
use std::time::Duration;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::{REQUEST_ID, SKEW_LIMIT, first_line, plain};
use crate::clock::Skew;
use crate::issuer::Class;
use crate::issuer::explain::{self, Failure};
use crate::issuer::obstacle::Obstacle;
use crate::source::chain_of;
use crate::xml::element;

/// What a failed call tells, whichever operation it was.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) class: Class,
    pub(super) what: String,
    pub(super) code: Option<String>,
    message: Option<String>,
    obstacle: Option<Obstacle>,
    pub(super) status: Option<u16>,
    pub(super) request_id: Option<String>,
    retry_after: Option<Duration>,
}

impl Told {
    /// `endpoint` is what messages call whom we asked; what is `private` they do not repeat, should the answer do so.
    pub(super) fn of<E>(
        error: &SdkError<E, HttpResponse>,
        endpoint: &str,
        attempt_timeout: Duration,
        skew: &Skew,
        private: &[&str],
    ) -> Self
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
        let message = metadata.and_then(|meta| meta.message()).map(str::to_owned);
        let message = message
            .or_else(|| element(&body, "Message"))
            // Before it is cut: half a token is one no more, and not found.
            .map(|text| first_line(&without(&text, private)));
        let obstacle = match error {
            SdkError::TimeoutError(_) => Some(Obstacle::NoAnswer),
            SdkError::DispatchFailure(_) if is_missing_credentials(error) => None,
            SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => Some(Obstacle::of(error)),
            SdkError::ConstructionFailure(_) | SdkError::ServiceError(_) | _ => None,
        };
        let (class, what) = match error {
            SdkError::ConstructionFailure(_) => (
                Class::Misconfigured,
                format!("the request could not be built: {}", chain_of(error)),
            ),
            SdkError::TimeoutError(_) => (
                Class::Network,
                format!("no answer from {endpoint} within {} s", attempt_timeout.as_secs_f64()),
            ),
            SdkError::DispatchFailure(_) if is_missing_credentials(error) => {
                (Class::Source, chain_of(error))
            }
            SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => (
                Class::Network,
                plain(
                    &obstacle.as_ref().map(|obstacle| obstacle.what(endpoint)).unwrap_or_default(),
                ),
            ),
            SdkError::ServiceError(_) => match (&code, status) {
                (Some(code), _) => (
                    class_of(code, status, skew),
                    format!(
                        "{endpoint} answered {code}{}",
                        message.as_deref().map(|m| format!(": {m}")).unwrap_or_default()
                    ),
                ),
                (None, status) => {
                    let status = status.unwrap_or_default();
                    (
                        class_of_status(status),
                        format!("{endpoint} answered HTTP {status}, and not as STS does"),
                    )
                }
            },
            _ => (Class::Network, chain_of(error)),
        };
        let retry_after =
            header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let retry_after_ms = header("x-amz-retry-after")
            .and_then(|text| text.parse().ok())
            .map(Duration::from_millis);
        Self {
            class,
            request_id: header(REQUEST_ID).map(plain),
            what,
            code,
            message,
            obstacle,
            status,
            retry_after: retry_after_ms.or(retry_after),
        }
    }

    /// The same with words about what was shown, if somebody looked at it.
    pub(super) fn about(mut self, shown: &str) -> Self {
        if self.status.is_some() {
            self.what = format!("{}; {shown}", self.what);
        }
        self
    }

    /// For whoever explains it.
    pub(super) fn failure<'a>(&'a self, region: &'a str, skew: Option<f64>) -> Failure<'a> {
        Failure {
            what: &self.what,
            code: self.code.as_deref(),
            message: self.message.as_deref(),
            obstacle: self.obstacle.as_ref(),
            status: self.status,
            region: Some(region),
            request_id: self.request_id.as_deref(),
            retry_after: self.retry_after,
            skew,
        }
    }
}

fn without(text: &str, private: &[&str]) -> String {
    let private = private.iter().filter(|private| !private.is_empty());
    private.fold(text.to_owned(), |text, private| text.replace(private, "…"))
}

fn class_of(code: &str, status: Option<u16>, skew: &Skew) -> Class {
    match explain::class_of_code(code) {
        // Wrong key and wrong clock share this code; the measured skew tells them apart.
        Some(Class::Source) if code == "SignatureDoesNotMatch" && skew.is_over(SKEW_LIMIT) => {
            Class::Clock
        }
        Some(class) => class,
        None => match status.unwrap_or_default() {
            429 => Class::Throttled,
            500.. => Class::Network,
            403 => Class::Denied,
            _ => Class::Misconfigured,
        },
    }
}

/// Where there was an answer but no code in it.
fn class_of_status(status: u16) -> Class {
    match status {
        429 => Class::Throttled,
        // STS has one path and one method: whatever answers so is not STS.
        404 | 405 => Class::Misconfigured,
        // A captive portal, a proxy, a broken body: it may pass.
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
