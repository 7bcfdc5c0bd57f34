//! No more of an answer than STS can mean: a proxy that sends pages without end must not fill our memory.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use http_body_util::Limited;

/// An answer of STS has about 2 KiB, and 6 KiB with the largest session token of today.
pub(super) const BODY_LIMIT: usize = 256 * 1024;

/// Ends an answer that goes on for longer than [`BODY_LIMIT`], with an error. The SDK itself reads to the end.
#[derive(Debug)]
pub(super) struct Bounded;

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Bounded {
    fn name(&self) -> &'static str {
        "Bounded"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response_mut().body_mut();
        let whole = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(whole, BODY_LIMIT));
        Ok(())
    }
}
