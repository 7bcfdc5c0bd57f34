//! GetCallerIdentity over a socket, with good and with unusable answers.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use roletap::metrics::Metrics;
use roletap::sts::Client;
use roletap_core::config::{Config, ConfigFile, FixedHost, Sts};
use roletap_core::failure::IssueError;
use roletap_core::role::CallerIdentity;

use fake_sts::{FakeSts, Fault};

const KEY: &str = "AKIAIDENTITYTEST0001";
const USER: &str = "arn:aws:iam::444455556666:user/team/sinks";

fn settings(endpoint: &str, keys: &str) -> Sts {
    let text = format!(
        "sts = {{ region = \"eu-central-1\", endpoint_url = \"{endpoint}\", {keys} }}\n\
         [role.orders]\nrole_arn = \"arn:aws:iam::111122223333:role/orders\"\n"
    );
    Config::parse(vec![ConfigFile::text("roletap.toml", &text)], &FixedHost::default())
        .unwrap_or_else(|report| panic!("{}", report.render("", false)))
        .config
        .sts
}

fn ask(sts: &Sts) -> Result<CallerIdentity, IssueError> {
    let base = Credentials::new(KEY, "secret-sentinel", None, None, "test");
    let clock = SharedTimeSource::new(SystemTimeSource::new());
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let client = Client::new(sts, clock, Arc::default(), Arc::new(Metrics::new().unwrap()));
        client.get_caller_identity(base, Duration::from_secs(60)).await
    })
}

#[test]
fn sts_tells_the_base_identity() {
    let sts = FakeSts::start().with_base_key(KEY).with_region("eu-central-1").with_base_arn(USER);
    let identity = ask(&settings(&sts.endpoint_url(), "")).unwrap();
    assert_eq!(identity.arn(), USER);
    assert_eq!(identity.account_id(), "444455556666");
    assert_eq!(identity.principal().arn(), USER);
    let received = sts.requests();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].action, "GetCallerIdentity");
    assert_eq!(received[0].access_key_id.as_deref(), Some(KEY));
}

#[test]
fn the_principal_of_a_role_session_is_the_role_arn() {
    let sts = FakeSts::start().with_base_arn("arn:aws:sts::444455556666:assumed-role/Sinks/i-0abc");
    let identity = ask(&settings(&sts.endpoint_url(), "")).unwrap();
    assert_eq!(identity.principal().arn(), "arn:aws:iam::444455556666:role/Sinks");
    assert!(identity.is_role_session());
}

#[test]
fn a_fallback_region_is_called_only_if_home_does_not_answer() {
    let sts = FakeSts::start().with_base_arn(USER);
    let settings = settings(&sts.regional_endpoint_url(), "fallback_regions = [\"eu-west-1\"]");
    sts.region("eu-central-1").always(Fault::Reset);
    assert_eq!(ask(&settings).unwrap().arn(), USER);
    sts.region("eu-central-1").always(Fault::error(403, "InvalidClientTokenId", "no such key"));
    let error = ask(&settings).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("InvalidClientTokenId"));
    assert!(error.request_id.is_some());
    // What a Region answers is about the credentials, and goes before the silence of another.
    sts.region("eu-central-1").always(Fault::Reset);
    sts.region("eu-west-1").always(Fault::error(403, "InvalidClientTokenId", "no such key"));
    let error = ask(&settings).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("InvalidClientTokenId"));
    assert_eq!(error.region.as_deref(), Some("eu-west-1"));
    sts.region("eu-west-1").always(Fault::Reset);
    let error = ask(&settings).unwrap_err();
    assert_eq!((error.status, error.code.as_deref()), (None, None));
    assert!(error.message.contains("/eu-central-1"), "{error}");
}

#[test]
fn an_endpoint_without_the_operation_is_told() {
    let sts = FakeSts::start();
    for (fault, status, what) in [
        (Fault::error(405, "MethodNotAllowed", "no\nsuch"), 405, "answered MethodNotAllowed: no"),
        (Fault::status(404), 404, "answered HTTP 404"),
    ] {
        sts.any().always(fault);
        let error = ask(&settings(&sts.endpoint_url(), "")).unwrap_err();
        assert_eq!(error.status, Some(status));
        assert!(error.message.contains(what), "{error}");
        assert!(!format!("{error:?}").contains("sentinel"));
    }
    let sts = FakeSts::start().with_base_arn("nonsense");
    let error = ask(&settings(&sts.endpoint_url(), "")).unwrap_err();
    assert!(error.message.contains("is not the ARN of a principal"), "{error}");
}
