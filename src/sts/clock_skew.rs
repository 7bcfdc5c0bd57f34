//! The skew between the clock of STS and the local clock, measured on every answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_sts::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_sts::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use crate::clock::Skew;

/// The skew above which STS refuses signatures, or soon will. Above it the SDK corrects for skew.
pub(super) const SKEW_LIMIT: Duration = Duration::from_secs(240);
/// A header that every answer of STS has.
pub(super) const REQUEST_ID: &str = "x-amzn-requestid";

/// Measures the skew by the `Date` of every answer of STS, errors included.
#[derive(Debug)]
pub(super) struct ClockSkewInterceptor {
    pub(super) skew: Arc<Skew>,
    pub(super) clock: SharedTimeSource,
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ClockSkewInterceptor {
    fn name(&self) -> &'static str {
        "ClockSkewInterceptor"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_smithy_runtime_api::box_error::BoxError> {
        let headers = context.response().headers();
        // A captive portal sends a date too, but only STS sends a request ID.
        if headers.get(REQUEST_ID).is_none() {
            return Ok(());
        }
        let date =
            headers.get("date").and_then(|text| DateTime::from_str(text, Format::HttpDate).ok());
        if let Some(server) = date.and_then(|date| SystemTime::try_from(date).ok()) {
            let granted = context.response().status().is_success();
            self.skew.measure(server, self.clock.now(), granted);
        }
        Ok(())
    }
}
