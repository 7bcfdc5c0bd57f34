//! Three requests to S3, signed with what the daemon vends.
//!
//! Without the SDK of S3: it would nearly double a clean build for these three.

use std::fmt;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::{SystemTimeSource, TimeSource};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::aws_hosts;
use roletap_core::config::Config;
use roletap_core::doctor::storage::{S3Location, S3Operation, S3Response};
use roletap_core::failure::error_chain;
use roletap_core::xml::element;

const TIMEOUT: Duration = Duration::from_secs(10);
/// A listing of one key, or an error.
const BODY_LIMIT: usize = 256 * 1024;
/// RFC 3986's unreserved characters stay as they are.
const UNRESERVED_ONLY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &UNRESERVED_ONLY.remove(b'/');
const CONTENT: &[u8] = b"roletap doctor --s3-write: may be deleted\n";

/// Credentials as a workload gets them.
pub(super) struct Vended(Credentials);

impl Vended {
    /// From the endpoint's document.
    pub(super) fn parse(document: &[u8]) -> Result<Self, String> {
        let document: serde_json::Value = serde_json::from_slice(document)
            .map_err(|_| "what was vended is not JSON: is something else listening there?")?;
        let text = |name: &str| document[name].as_str().map(str::to_owned);
        let (Some(key), Some(secret)) = (text("AccessKeyId"), text("SecretAccessKey")) else {
            return Err("what was vended is not credentials".to_owned());
        };
        let credentials = Credentials::new(key, secret, text("Token"), None, "roletap");
        Ok(Self(credentials))
    }
}

/// A client of S3 at one endpoint.
pub(super) struct S3Client {
    connector: Connector,
    identity: Identity,
    region: String,
    endpoint: Option<String>,
}

impl S3Client {
    pub(super) fn new(config: &Config, endpoint: Option<&str>, vended: Vended) -> Self {
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(config.sts.connect_timeout)
            .read_timeout(TIMEOUT)
            .build();
        let region = config.sts.region.clone();
        Self {
            connector: Connector::builder()
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .proxy_config(ProxyConfig::from_env())
                .connector_settings(settings)
                .sleep_impl(TokioSleep::new())
                .build(),
            identity: vended.0.into(),
            region,
            endpoint: endpoint.map(|url| url.trim_end_matches('/').to_owned()),
        }
    }

    /// One request, and another one if S3 says that the bucket is in another region.
    pub(super) async fn ask(&mut self, place: &S3Location, operation: S3Operation) -> S3Response {
        match self.once(place, operation).await {
            Ok((answer, Some(region))) if region != self.region && !succeeded(&answer) => {
                self.region = region;
                match self.once(place, operation).await {
                    Ok((answer, _)) => answer,
                    Err(answer) => answer,
                }
            }
            Ok((answer, _)) => answer,
            Err(answer) => answer,
        }
    }

    async fn once(
        &self,
        place: &S3Location,
        operation: S3Operation,
    ) -> Result<(S3Response, Option<String>), S3Response> {
        let stopped = |message: String| S3Response { message, ..S3Response::default() };
        let request = self
            .signed(place, operation)
            .map_err(|error| stopped(format!("the request could not be built: {error}")))?;
        let mut answer =
            self.connector.call(request).await.map_err(|error| stopped(error_chain(&error)))?;
        let header = |name: &str| answer.headers().get(name).map(str::to_owned);
        let (request_id, region) = (header("x-amz-request-id"), header("x-amz-bucket-region"));
        let status = answer.status().as_u16();
        let body = Limited::new(answer.take_body(), BODY_LIMIT).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        let answer = S3Response {
            status: Some(status),
            code: element(&body, "Code").map(plain),
            message: element(&body, "Message").map_or_else(|| "no message".to_owned(), plain),
            request_id,
        };
        let region = region.or_else(|| element(&body, "Region"));
        Ok((answer, region))
    }

    fn signed(
        &self,
        place: &S3Location,
        operation: S3Operation,
    ) -> Result<
        aws_smithy_runtime_api::client::orchestrator::HttpRequest,
        aws_smithy_runtime_api::box_error::BoxError,
    > {
        let (method, path, body) = match operation {
            S3Operation::List => (
                "GET",
                format!("?list-type=2&max-keys=1&prefix={}", encoded(&place.prefix, false)),
                &[][..],
            ),
            S3Operation::Put => ("PUT", encoded(&place.probe_key(), true).to_string(), CONTENT),
            S3Operation::Delete => {
                ("DELETE", encoded(&place.probe_key(), true).to_string(), &[][..])
            }
        };
        let uri = format!("{}{path}", self.base(&place.bucket)?);
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let parameters = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTimeSource::new().now())
            .settings(settings)
            .build()?
            .into();
        let signable =
            SignableRequest::new(method, &uri, std::iter::empty(), SignableBody::Bytes(body))?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        let mut request =
            http::Request::builder().method(method).uri(&uri).body(SdkBody::from(body))?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request.try_into()?)
    }

    /// The URL of a bucket, up to the key. No certificate of AWS is valid for a bucket with a dot in its name.
    fn base(&self, bucket: &str) -> Result<String, String> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(format!("{endpoint}/{bucket}/"));
        }
        let host = aws_hosts::s3_host(&self.region)?;
        Ok(match bucket.contains('.') {
            true => format!("https://{host}/{bucket}/"),
            false => format!("https://{bucket}.{host}/"),
        })
    }
}

fn succeeded(answer: &S3Response) -> bool {
    matches!(answer.status, Some(200..=299))
}

/// Percent-encodes as AWS signs it; in a path slashes stay.
fn encoded(text: &str, path: bool) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, if path { PATH } else { UNRESERVED_ONLY })
}

/// Without control characters, and not longer than a line of a report.
fn plain(text: String) -> String {
    text.chars().filter(|c| !c.is_control()).take(600).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_aws_signs_them() {
        assert_eq!(encoded("a b/ü~-._+&", true).to_string(), "a%20b/%C3%BC~-._%2B%26");
        assert_eq!(encoded("a/b", false).to_string(), "a%2Fb");
    }
}
