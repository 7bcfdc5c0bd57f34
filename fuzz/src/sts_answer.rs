//! Error documents of AWS, of proxies and of emulators: their codes and messages, and the advice on them.

use std::sync::LazyLock;

use roletap_core::doctor::storage::{self, S3Location, S3Operation, S3Response};
use roletap_core::failure::explain::{advice, denial::Denial};
use roletap_core::failure::{Class, IssueError};
use roletap_core::fixtures::role;
use roletap_core::role::{CallerIdentity, Role};
use roletap_core::xml::element;

use crate::assert_plain;

static ROLE: LazyLock<std::sync::Arc<Role>> = LazyLock::new(|| role("orders", 3600));

/// Takes a body apart as `sts/classify.rs` and `doctor --s3` do, and asks for advice in every class.
pub fn sts_answer(bytes: &[u8]) {
    let body = String::from_utf8_lossy(bytes);
    let of = |name| {
        element(&body, name).inspect(|text| assert!(body.len() >= text.len() && !text.is_empty()))
    };
    let plain = |text: String| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let code = of("Code").map(plain);
    // A body without an element is taken for a message, so that the parser of sentences sees it.
    let message = plain(of("Message").unwrap_or_else(|| body.clone().into_owned()));
    if let Some(denial) = Denial::parse(&message) {
        assert!(message.contains(denial.caller) && message.contains(denial.action));
        assert!(denial.resource.is_none_or(|resource| message.contains(resource)));
        assert_plain(&denial.principal(), "the principal");
        let _ = (denial.caller_account(), format!("{denial:?}"));
    }
    let _ = CallerIdentity::parse(&of("Arn").unwrap_or_default());
    let status = (bytes.len() % 600) as u16;
    for class in
        code.as_deref().and_then(Class::from_code).map_or(Class::ALL.to_vec(), |class| vec![class])
    {
        let failure = IssueError {
            aws_message: Some(message.as_str().into()),
            code: code.as_deref().map(Into::into),
            status: Some(status),
            skew_seconds: Some(i32::MIN + i32::from(status)),
            ..IssueError::new(class, message.clone())
        };
        let advice = advice(&ROLE, &failure);
        for text in [&advice.meaning, &advice.ask, &advice.change] {
            assert!(!text.is_empty());
            assert_plain(text, "the advice");
        }
        assert_plain(&advice.to_string(), "the advice");
    }
    let place = S3Location { bucket: "orders".into(), prefix: "sink/".into() };
    let answer =
        S3Response { status: Some(status), code, message, request_id: of("RequestId").map(plain) };
    for operation in [S3Operation::List, S3Operation::Put, S3Operation::Delete]
    {
        let finding = storage::finding(&ROLE, &place, operation, &answer);
        assert_plain(&finding.what, "the finding");
    }
}
