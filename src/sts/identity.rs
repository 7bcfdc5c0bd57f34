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

use super::classify::Told;
use super::configured;
use crate::clock::Skew;
use crate::config::Sts;
use crate::role::CallerIdentity;

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
        let name = url.clone().unwrap_or_else(|| format!("the STS endpoint of {region}"));
        let mut config = config.clone();
        config.set_region(Some(Region::new(region.to_owned()))).set_endpoint_url(url);
        match ask(sts, &Client::from_conf(config.build()), &name).await {
            Err(error) if error.status.is_none() => {
                first.get_or_insert(error);
            }
            answer => return answer,
        }
    }
    // What home did is what has to be mended.
    Err(first.unwrap_or_else(|| unusable("there is no region to ask in".to_owned())))
}

async fn ask(sts: &Sts, client: &Client, endpoint: &str) -> Result<CallerIdentity, IdentityError> {
    match client.get_caller_identity().send().await {
        Ok(answer) => CallerIdentity::parse(answer.arn().unwrap_or_default()).map_err(|refused| {
            unusable(format!("unusable answer from {endpoint}: our ARN {}", refused.what))
        }),
        Err(error) => Err(failed(sts, endpoint, &error)),
    }
}

fn unusable(what: String) -> IdentityError {
    IdentityError { code: None, status: Some(200), request_id: None, what }
}

fn failed(
    sts: &Sts,
    endpoint: &str,
    error: &SdkError<GetCallerIdentityError, HttpResponse>,
) -> IdentityError {
    // The class says when to try again, and nobody does: the clock has no part in it.
    let told = Told::of(error, endpoint, sts.attempt_timeout, &Skew::new(), &[]);
    IdentityError {
        code: told.code,
        status: told.status,
        request_id: told.request_id,
        what: told.what,
    }
}
