//! GetCallerIdentity: who are we, by the base credentials of a source?
//!
//! No policy can deny it, but it counts against the quota, and some that speak STS do not know it (Ceph answers 405):
//! it is asked when a person wants to know, and nothing depends on it.

use std::fmt;

use aws_credential_types::Credentials as BaseCredentials;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::Region;
use aws_sdk_sts::error::SdkError;
use aws_sdk_sts::operation::get_caller_identity::GetCallerIdentityError;
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::{REQUEST_ID, configured, element, first_line, plain};
use crate::config::Sts;
use crate::issuer::obstacle::Obstacle;
use crate::role::CallerIdentity;
use crate::source::chain_of;

/// Why STS did not say who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityError {
    /// The error code of STS, such as `InvalidClientTokenId`.
    pub code: Option<String>,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// `x-amzn-requestid`: what AWS support asks for.
    pub request_id: Option<String>,
    /// What happened: a lower-case fragment.
    pub what: String,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for IdentityError {}

/// Asks STS whose credentials `base` are: at home, and in each fallback region while nobody answers.
pub async fn caller_identity(
    sts: &Sts,
    base: BaseCredentials,
    clock: SharedTimeSource,
) -> Result<CallerIdentity, IdentityError> {
    let config = configured(sts, clock).credentials_provider(base);
    let mut first = None;
    for region in sts.regions() {
        let url = sts.endpoint_url(region);
        let name = url
            .clone()
            .unwrap_or_else(|| format!("the STS endpoint of {region}"));
        let mut config = config.clone();
        config
            .set_region(Some(Region::new(region.to_owned())))
            .set_endpoint_url(url);
        match ask(&Client::from_conf(config.build()), &name).await {
            Err(error) if error.status.is_none() => {
                first.get_or_insert(error);
            }
            answer => return answer,
        }
    }
    // What home did is what has to be mended.
    Err(first.unwrap_or_else(|| unusable("there is no region to ask in".to_owned())))
}

async fn ask(client: &Client, endpoint: &str) -> Result<CallerIdentity, IdentityError> {
    match client.get_caller_identity().send().await {
        Ok(answer) => CallerIdentity::parse(answer.arn().unwrap_or_default()).map_err(|refused| {
            unusable(format!(
                "unusable answer from {endpoint}: our ARN {}",
                refused.what
            ))
        }),
        Err(error) => Err(failed(endpoint, &error)),
    }
}

fn unusable(what: String) -> IdentityError {
    IdentityError {
        code: None,
        status: Some(200),
        request_id: None,
        what,
    }
}

fn failed(endpoint: &str, error: &SdkError<GetCallerIdentityError, HttpResponse>) -> IdentityError {
    let answer = error.raw_response();
    let status = answer.map(|answer| answer.status().as_u16());
    let body = answer
        .and_then(|answer| answer.body().bytes())
        .map(String::from_utf8_lossy)
        .unwrap_or_default();
    let metadata = error.as_service_error().map(GetCallerIdentityError::meta);
    let code = metadata
        .and_then(|meta| meta.code())
        .or_else(|| element(&body, "Code"))
        .map(plain);
    let message = metadata
        .and_then(|meta| meta.message())
        .or_else(|| element(&body, "Message"))
        .map(first_line);
    let what = match (error, &code, status) {
        (SdkError::TimeoutError(_), _, _) => Obstacle::NoAnswer.what(endpoint),
        (SdkError::DispatchFailure(_) | SdkError::ResponseError(_), _, _) => {
            Obstacle::of(error).what(endpoint)
        }
        (_, Some(code), _) => match message {
            Some(message) => format!("{endpoint} answered {code}: {message}"),
            None => format!("{endpoint} answered {code}"),
        },
        (_, None, Some(status)) => {
            format!("{endpoint} answered HTTP {status}, and not as STS does")
        }
        (_, None, None) => chain_of(error),
    };
    IdentityError {
        code,
        status,
        request_id: answer
            .and_then(|answer| answer.headers().get(REQUEST_ID))
            .map(plain),
        what: plain(&what),
    }
}
