//! FakeSts, as the real SDK sees it: each family of faults shows the face that the classifier was written against.

#![expect(
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test waits for a real service, and looks at the faults that it is about"
)]

use std::error::Error;
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, Region};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use aws_sdk_sts::operation::assume_role::{AssumeRoleError, AssumeRoleOutput};
use aws_sdk_sts::types::Tag;
use aws_sdk_sts::{Client, Config};

use fake_sts::{ErrorForm, Expiry, FakeSts, Fault, Field, Received, Script, catalogue, oddities};

const ROLE: &str = "arn:aws:iam::111122223333:role/team/orders-sink";
const BASE_KEY: &str = "AKIAROLETAPBASEKEY22";
/// Nothing here takes longer; what waits for it fails.
const SOON: Duration = Duration::from_secs(10);

type Outcome = Result<AssumeRoleOutput, SdkError<AssumeRoleError>>;

// === good answers ===

#[tokio::test]
async fn a_plain_request_earns_complete_credentials() {
    let sts = FakeSts::start().with_base_key(BASE_KEY).with_region("eu-central-1");
    let output =
        issued(client(&sts).assume_role().role_arn(ROLE).role_session_name("orders-host1"));
    let output = output.await;
    let credentials = output.credentials.as_ref().unwrap_or_else(|| panic!("no credentials"));
    let [known] = &sts.issued()[..] else { panic!("not one issue") };

    assert_eq!(credentials.access_key_id, known.access_key_id);
    assert!(known.access_key_id.len() == 20 && known.access_key_id.starts_with("ASIA"));
    assert_eq!(credentials.secret_access_key, known.secret_access_key);
    assert_eq!(known.secret_access_key.len(), 40);
    assert_eq!(credentials.session_token, known.session_token);
    assert_eq!(known.session_token.len(), 900);
    assert_eq!(credentials.expiration.secs(), known.expires_at.as_second());
    let left = known.expires_at.duration_since(sts.now()).as_secs();
    assert!((3590..=3600).contains(&left), "{left}");
    let user = output.assumed_role_user.as_ref().map(|user| user.arn.as_str());
    assert_eq!(user, Some("arn:aws:sts::111122223333:assumed-role/orders-sink/orders-host1"));
    assert_eq!(output.session_token_size, Some(900));
    assert!(output.request_id().is_some());
    assert_eq!(sts.secrets(), [known.secret_access_key.clone(), known.session_token.clone()]);
}

#[tokio::test]
async fn the_log_holds_everything_that_was_asked() {
    let sts = FakeSts::start();
    let tag = |key, value| {
        Tag::builder().key(key).value(value).build().unwrap_or_else(|error| panic!("{error}"))
    };
    issued(
        client(&sts)
            .assume_role()
            .role_arn(ROLE)
            .role_session_name("orders+1@host")
            .duration_seconds(1800)
            .external_id("ws:7f/3a")
            .tags(tag("CostCenter", "42"))
            .tags(tag("Größe", "a b&c=d"))
            .transitive_tag_keys("CostCenter")
            .policy("{\"Version\":\"2012-10-17\"}")
            .source_identity("host1"),
    )
    .await;
    let [seen] = &sts.requests()[..] else { panic!("not one request") };
    assert_eq!(seen.action, "AssumeRole");
    assert_eq!(seen.role_arn.as_deref(), Some(ROLE));
    assert_eq!(seen.session_name.as_deref(), Some("orders+1@host"));
    assert_eq!(seen.duration_seconds, Some(1800));
    assert_eq!(seen.external_id.as_deref(), Some("ws:7f/3a"));
    assert_eq!(
        seen.tags,
        [("CostCenter".to_owned(), "42".to_owned()), ("Größe".to_owned(), "a b&c=d".to_owned())]
    );
    assert_eq!(seen.transitive_tag_keys, ["CostCenter"]);
    assert_eq!(seen.policy.as_deref(), Some("{\"Version\":\"2012-10-17\"}"));
    assert_eq!(seen.source_identity.as_deref(), Some("host1"));
    assert_eq!(seen.access_key_id.as_deref(), Some(BASE_KEY));
    assert_eq!(
        (seen.region.as_deref(), seen.service.as_deref()),
        (Some("eu-central-1"), Some("sts"))
    );
    assert!(seen.signed_date.as_deref().is_some_and(|date| date.ends_with('Z')));
    assert!(seen.header("User-Agent").is_some_and(|agent| agent.contains("aws-sdk-rust")));
    assert_eq!(seen.answered, "ok");
}

#[tokio::test]
async fn every_issue_is_another_and_equal_seeds_repeat_them() {
    let keys = async |sts: &FakeSts| {
        for _ in 0..3 {
            issued(request(&client(sts))).await;
        }
        sts.issued().into_iter().map(|issued| issued.session_token).collect::<Vec<_>>()
    };
    let first = keys(&FakeSts::start().with_seed(7)).await;
    let again = keys(&FakeSts::start().with_seed(7)).await;
    let other = keys(&FakeSts::start()).await;
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!(first[0] != first[1] && first[1] != first[2]);
}

#[tokio::test]
async fn oddities_are_issued() {
    let sts = FakeSts::start();
    let client = client(&sts);
    for row in oddities() {
        sts.role(ROLE).once(row.script);
        let outcome = assume(&client).await;
        let credentials = outcome.as_ref().ok().and_then(|output| output.credentials());
        let expires = credentials.map(|credentials| credentials.expiration().secs());
        let expected = sts.issued().last().map(|issued| issued.expires_at.as_second());
        assert_eq!(expires, expected, "{}: {}", row.name, face(&outcome));
    }
}

#[tokio::test]
async fn connections_are_reused_until_a_client_says_close() {
    let sts = FakeSts::start();
    let client = client(&sts);
    for _ in 0..3 {
        issued(request(&client)).await;
    }
    assert_eq!((sts.count(ROLE), sts.connections()), (3, 1));

    let answer = raw(
        &sts,
        "POST / HTTP/1.1\r\nHost: sts\r\nConnection: close\r\nContent-Length: 24\r\n\r\nAction=GetCallerIdentity",
    );
    assert!(
        answer.contains("x-amzn-RequestId: ") && answer.contains("user/roletap-base"),
        "{answer}"
    );
}

#[tokio::test]
async fn web_identity_needs_no_signature() {
    let sts = FakeSts::start().with_base_key("AKIANOBODYHASTHISKEY").with_region("eu-central-1");
    let ask = |token: &str| {
        client(&sts)
            .assume_role_with_web_identity()
            .role_arn(ROLE)
            .role_session_name("pod")
            .web_identity_token(token)
            .send()
    };
    let output = ask("header.payload.signature").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        output.credentials.map(|given| given.access_key_id),
        sts.issued().pop().map(|known| known.access_key_id)
    );
    assert_eq!(sts.requests()[0].access_key_id, None);
}

// === who may ask ===

#[tokio::test]
async fn an_identity_belongs_to_its_key_and_ends_with_it() {
    let sts = FakeSts::start().with_base_key(BASE_KEY);
    let identity = async |credentials: Credentials| {
        let client = client_with(&sts, credentials, "eu-central-1");
        client.get_caller_identity().send().await.map(|output| output.arn.unwrap_or_default())
    };
    let base = identity(base_credentials()).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(base, "arn:aws:iam::999988887777:user/roletap-base");

    issued(request(&client(&sts))).await;
    let session =
        identity(session_credentials(&sts)).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(session, "arn:aws:sts::111122223333:assumed-role/orders-sink/orders-host1");

    sts.role(ROLE).once(Fault::Expires(Expiry::In(-1)));
    issued(request(&client(&sts))).await;
    let expired = identity(session_credentials(&sts)).await;
    assert_eq!(code(&expired), (403, Some("ExpiredToken")));

    let stranger = identity(Credentials::new("AKIASTRANGER", "secret", None, None, "test")).await;
    assert_eq!(code(&stranger), (403, Some("InvalidClientTokenId")));
    let mangled = Credentials::new(&sts.issued()[0].access_key_id, "secret", None, None, "test");
    assert_eq!(code(&identity(mangled).await), (403, Some("InvalidClientTokenId")));
}

#[tokio::test]
async fn the_wrong_region_is_the_wrong_scope() {
    let sts = FakeSts::start().with_region("eu-central-1");
    let outcome = assume(&client_with(&sts, base_credentials(), "us-east-1")).await;
    assert_eq!(code(&outcome), (403, Some("SignatureDoesNotMatch")));
    let unsigned = raw(
        &sts,
        "POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 24\r\n\r\nAction=GetCallerIdentity",
    );
    assert!(unsigned.contains("<Code>MissingAuthenticationToken</Code>"), "{unsigned}");
}

#[tokio::test]
async fn a_service_with_another_clock_refuses_the_signature_and_says_its_date() {
    let sts = FakeSts::start().with_region("eu-central-1");
    for (shift, text) in [(1800, "Signature expired: "), (-1800, "Signature not yet current: ")] {
        sts.shift_clock(shift);
        let outcome = assume(&client(&sts)).await;
        assert_eq!(code(&outcome), (403, Some("SignatureDoesNotMatch")));
        assert!(message(&outcome).starts_with(text), "{}", message(&outcome));
        let skew = date_skew_seconds(&outcome);
        assert!((skew - shift).abs() < 10, "{skew}");
    }
}

#[tokio::test]
async fn trust_asks_for_the_external_id_and_for_a_known_role() {
    let sts = FakeSts::start().deny_unknown();
    sts.role(ROLE).external_id("ws-7f3a");
    let client = client(&sts);
    assert_eq!(code(&assume(&client).await), (403, Some("AccessDenied")));
    let wrong = request(&client).external_id("ws-other").send().await;
    assert_eq!(
        message(&wrong),
        format!(
            "User: arn:aws:iam::999988887777:user/roletap-base is not authorized to perform: sts:AssumeRole on \
             resource: {ROLE}"
        ),
    );
    issued(request(&client).external_id("ws-7f3a")).await;
    let unknown = request(&client).role_arn("arn:aws:iam::111122223333:role/nobody").send().await;
    assert_eq!(code(&unknown), (403, Some("AccessDenied")));
    sts.role(ROLE).deny();
    assert_eq!(
        code(&request(&client).external_id("ws-7f3a").send().await),
        (403, Some("AccessDenied"))
    );
}

#[tokio::test]
async fn durations_have_limits() {
    let sts = FakeSts::start().with_aws_minimum_duration();
    sts.role(ROLE).max_session(7200);
    let client = client(&sts);
    for (asked, granted) in [(899, false), (900, true), (7200, true), (7201, false)] {
        let outcome = request(&client).duration_seconds(asked).send().await;
        assert_eq!(outcome.is_ok(), granted, "{asked}");
        if !granted {
            assert_eq!(code(&outcome), (400, Some("ValidationError")));
        }
    }
    let chained = client_with(&sts, session_credentials(&sts), "eu-central-1");
    issued(request(&chained).duration_seconds(3600)).await;
    let outcome = request(&chained).duration_seconds(3601).send().await;
    assert!(message(&outcome).contains("role chaining"), "{}", message(&outcome));
}

// === transport ===

#[tokio::test]
async fn a_stopped_service_refuses_and_comes_back_on_its_port() {
    let sts = FakeSts::start();
    let client = client(&sts);
    issued(request(&client)).await;
    sts.stop();
    // The first may still find the dead connection in the pool, which is a dispatch failure but no I/O error.
    let first = assume(&client).await;
    assert!(matches!(first, Err(SdkError::DispatchFailure(_))), "{}", face(&first));
    let outcome = assume(&client).await;
    assert!(is_io(&outcome), "{}", face(&outcome));
    assert!(chain(&outcome).contains("refused"), "{}", chain(&outcome));
    sts.restart();
    issued(request(&client)).await;
    assert_eq!(sts.count(ROLE), 2);
}

#[tokio::test]
async fn a_port_outlives_its_fake() {
    let sts = FakeSts::start();
    let address = sts.address();
    issued(request(&client(&sts))).await;
    drop(sts);
    let next = FakeSts::start_at(address);
    issued(request(&client(&next))).await;
}

#[tokio::test]
async fn an_outage_ends_by_itself_or_early() {
    let sts = FakeSts::start();
    sts.outage(Duration::from_secs(60));
    assert!(TcpStream::connect(sts.address()).is_err());
    sts.end_outage();
    issued(request(&client(&sts))).await;

    sts.outage(Duration::from_millis(50));
    assert!(is_io(&assume(&client(&sts)).await) || sts.count(ROLE) == 2);
    let give_up = Instant::now() + SOON;
    while assume(&client(&sts)).await.is_err() {
        assert!(Instant::now() < give_up, "the outage does not end");
    }
}

#[tokio::test]
async fn broken_connections_are_dispatch_failures() {
    let sts = FakeSts::start();
    let client = client(&sts);
    for fault in
        [Fault::ResetOnAccept, Fault::Reset, Fault::Close, Fault::CloseMidHead, Fault::Garbage]
    {
        sts.any().once(fault.clone());
        let outcome = assume(&client).await;
        assert!(
            matches!(outcome, Err(SdkError::DispatchFailure(_))),
            "{fault:?}: {}",
            face(&outcome)
        );
        assert_eq!(sts.any().queued(), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_response_error() {
    let sts = FakeSts::start();
    let client = client(&sts);
    for fault in [Fault::CloseMidBody, Fault::ResetMidBody, Fault::ContentLengthOff(100)] {
        sts.role(ROLE).once(fault.clone());
        let outcome = assume(&client).await;
        assert!(
            matches!(outcome, Err(SdkError::ResponseError(_))),
            "{fault:?}: {}",
            face(&outcome)
        );
    }
}

#[tokio::test]
async fn silence_lasts_until_the_attempt_times_out() {
    let sts = FakeSts::start();
    let client = impatient_client(&sts);
    let faults = [
        Script::from(Fault::HangOnAccept),
        Fault::Hang.into(),
        Fault::HangMidHead.into(),
        Fault::HangMidBody.into(),
        Fault::SlowBody { chunk: 1, every: Duration::from_millis(50) }.into(),
        Script::ok().after(Duration::from_secs(60)),
    ];
    for script in faults {
        sts.any().once(script.clone());
        let outcome = assume(&client).await;
        assert!(
            matches!(outcome, Err(SdkError::TimeoutError(_))),
            "{script:?}: {}",
            face(&outcome)
        );
        assert_eq!(sts.any().queued(), 0, "{script:?}");
    }
}

// === answers that are none ===

#[tokio::test]
async fn a_truncated_document_passes_for_a_success() {
    let sts = FakeSts::start();
    let client = client(&sts);
    for (mark, key_survives) in [("<SessionToken>", true), ("<AccessKeyId>", false)] {
        sts.role(ROLE).once(Fault::TruncatedBefore(mark));
        let output = issued(request(&client)).await;
        let credentials = output.credentials.unwrap_or_else(|| panic!("{mark}: no credentials"));
        assert_eq!(!credentials.access_key_id.is_empty(), key_survives, "{mark}");
        assert_eq!(credentials.session_token, "");
        assert_eq!(credentials.expiration.secs(), 0);
    }
}

#[tokio::test]
async fn missing_and_empty_fields_pass_for_a_success() {
    let sts = FakeSts::start();
    let client = client(&sts);
    for field in [Field::AccessKeyId, Field::SecretAccessKey, Field::SessionToken] {
        for fault in [Fault::Missing(field), Fault::Empty(field)] {
            sts.role(ROLE).once(fault.clone());
            let output = issued(request(&client)).await;
            let credentials =
                output.credentials.unwrap_or_else(|| panic!("{fault:?}: no credentials"));
            let value = match field {
                Field::AccessKeyId => credentials.access_key_id,
                Field::SecretAccessKey => credentials.secret_access_key,
                Field::SessionToken | Field::Expiration => credentials.session_token,
            };
            assert_eq!(value, "", "{fault:?}");
        }
    }
    sts.role(ROLE).once(Fault::Missing(Field::Expiration));
    let output = issued(request(&client)).await;
    assert_eq!(output.credentials.map(|credentials| credentials.expiration.secs()), Some(0));
}

#[tokio::test]
async fn what_is_not_sts_has_no_code() {
    let sts = FakeSts::start();
    let client = client(&sts);
    let html = |status| Fault::Page { status };
    for (fault, status) in [
        (html(200), 200),
        (html(403), 403),
        (html(407), 407),
        (Fault::status(200), 200),
        (Fault::status(503), 503),
        (Fault::HugeBody(10 * 1024 * 1024), 200),
        (Fault::Expires(Expiry::Text("tomorrow")), 200),
        (Fault::Empty(Field::Expiration), 200),
        (Fault::error(200, "InternalFailure", "inside a 200"), 200),
    ] {
        let name = format!("{fault:?}").chars().take(60).collect::<String>();
        sts.role(ROLE).once(fault);
        let outcome = assume(&client).await;
        assert_eq!(code(&outcome), (status, None), "{name}: {}", face(&outcome));
    }
}

#[tokio::test]
async fn no_size_and_no_date_is_too_much_for_the_sdk() {
    let sts = FakeSts::start();
    let client = client(&sts);
    let ten_years = 10 * 365 * 24 * 3600;
    sts.role(ROLE).once(Fault::TokenOfBytes(12_000)).once(Fault::Expires(Expiry::In(ten_years)));
    let given = issued(request(&client)).await.credentials;
    assert_eq!(given.map(|given| given.session_token.len()), Some(12_000));
    let given = issued(request(&client)).await.credentials;
    let left = given.map_or(0, |given| given.expiration.secs()) - sts.now().as_second();
    assert!(left > ten_years - 60, "{left}");
}

// === errors ===

#[tokio::test]
async fn codes_are_found_in_the_form_of_aws_alone() {
    let sts = FakeSts::start();
    let client = client(&sts);
    sts.role(ROLE)
        .once(Fault::access_denied())
        .once(Fault::error_in(ErrorForm::Bare, 404, "NoSuchEntity", ""))
        .once(Fault::error_in(ErrorForm::Json, 400, "Throttling", "slow"))
        .once(Fault::error(400, "PackedPolicyTooLarge", "too <large> & more"));

    let namespaced = assume(&client).await;
    assert_eq!(code(&namespaced), (403, Some("AccessDenied")));
    assert!(namespaced.as_ref().err().and_then(RequestId::request_id).is_some());
    let bare = assume(&client).await;
    assert_eq!(code(&bare), (404, None));
    assert!(body(&bare).contains("<Code>NoSuchEntity</Code>"));
    assert_eq!(code(&assume(&client).await), (400, None));
    let modelled = assume(&client).await;
    assert_eq!(message(&modelled), "too <large> & more");
    assert!(modelled.is_err_and(|error| {
        error.as_service_error().is_some_and(AssumeRoleError::is_packed_policy_too_large_exception)
    }));
}

#[tokio::test]
async fn headers_go_along_with_an_error() {
    let sts = FakeSts::start();
    sts.role(ROLE).once(Fault::throttled().header("Retry-After", "7").dated(-3600));
    let outcome = assume(&client(&sts)).await;
    assert_eq!(code(&outcome), (400, Some("Throttling")));
    assert_eq!(header(&outcome, "retry-after").as_deref(), Some("7"));
    let skew = date_skew_seconds(&outcome);
    assert!((skew + 3600).abs() < 10, "{skew}");
}

#[tokio::test]
async fn a_token_bucket_throttles_what_is_over_it() {
    let sts = FakeSts::start();
    sts.limit_rate(0.0, 2.0);
    let client = client(&sts);
    let outcomes = [assume(&client).await, assume(&client).await, assume(&client).await];
    assert_eq!(outcomes.each_ref().map(|outcome| outcome.is_ok()), [true, true, false]);
    assert_eq!(code(&outcomes[2]), (400, Some("Throttling")));
    sts.unlimit_rate();
    issued(request(&client)).await;
}

#[tokio::test]
async fn every_row_of_the_catalogue_is_produced() {
    let sts = FakeSts::start();
    let (patient, impatient) = (client(&sts), impatient_client(&sts));
    let mut names = std::collections::HashSet::new();
    let classes = ["network", "throttled", "source", "denied", "misconfigured", "clock"];
    for row in catalogue() {
        assert!(names.insert(row.name.clone()), "twice: {}", row.name);
        assert!(classes.contains(&row.class), "{}: {}", row.name, row.class);
        sts.any().once(row.script.clone());
        let client = if row.hangs { &impatient } else { &patient };
        let outcome = assume(client).await;
        assert_eq!(sts.any().queued(), 0, "{}", row.name);
        if let Some(expected) = code_of(row.script.fault()) {
            assert_eq!(code(&outcome), expected, "{}", row.name);
        } else {
            let credentials = outcome.as_ref().ok().and_then(|output| output.credentials());
            let usable = credentials.is_some_and(|credentials| {
                !credentials.access_key_id.is_empty()
                    && !credentials.secret_access_key.is_empty()
                    && !credentials.session_token.is_empty()
                    && credentials.expiration.secs() > sts.now().as_second()
            });
            assert!(!usable, "{}: {}", row.name, face(&outcome));
        }
    }
    assert!(names.len() > 120, "{}", names.len());
}

// === scripts and the log ===

#[tokio::test]
async fn the_narrow_goes_before_the_wide_and_the_passing_before_the_lasting() {
    let sts = FakeSts::start();
    let client = client(&sts);
    let numbered = |n: &str| Fault::error(400, n, "");
    sts.any().always(numbered("any-always")).once(numbered("any-once"));
    sts.operation("AssumeRole")
        .always(numbered("operation-always"))
        .once(numbered("operation-once"));
    sts.role(ROLE).always(numbered("role-always")).times(2, numbered("role-once"));
    sts.any().window(SOON * 10, numbered("window"));
    let mut seen = Vec::new();
    for n in 0..7 {
        if n == 1 {
            sts.any().clear().once(numbered("any-once"));
        }
        let outcome = assume(&client).await;
        seen.push(code(&outcome).1.unwrap_or_default().to_owned());
    }
    assert_eq!(
        seen,
        [
            "window",
            "role-once",
            "role-once",
            "operation-once",
            "any-once",
            "role-always",
            "role-always"
        ]
    );
    sts.role(ROLE).clear();
    sts.operation("AssumeRole").clear();
    issued(request(&client)).await;
    assert_eq!(
        sts.requests().last().map(|request| request.answered.clone()).as_deref(),
        Some("ok")
    );
}

#[tokio::test]
async fn roles_do_not_wait_for_each_other() {
    let sts = FakeSts::start();
    let client = client(&sts);
    sts.role(ROLE).always(Fault::Hang);
    let stuck = tokio::spawn(request(&client).send());
    sts.seen(|log| log.len() == 1, SOON).await;
    for n in 0..50 {
        let role = format!("arn:aws:iam::111122223333:role/other-{n}");
        issued(request(&client).role_arn(role)).await;
    }
    assert!(!stuck.is_finished());
    stuck.abort();
}

#[tokio::test]
async fn waiting_wakes_with_the_request() {
    let sts = FakeSts::start();
    let client = client(&sts);
    let two = |log: &[Received]| log.len() == 2;
    let (log, ..) = tokio::join!(sts.seen(two, SOON), assume(&client), assume(&client));
    assert_eq!(log.len(), 2);
    assert_eq!(sts.wait_for(two, SOON).len(), 2);
    sts.forget_requests();
    assert_eq!(sts.count(ROLE), 0);
}

#[test]
#[should_panic(expected = "FakeSts saw 1 requests")]
fn a_wait_in_vain_says_what_was_seen() {
    let sts = FakeSts::start();
    raw(
        &sts,
        "POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 24\r\n\r\nAction=GetCallerIdentity",
    );
    sts.wait_for(|log| log.len() > 1, Duration::from_millis(20));
}

// === the client ===

fn client(sts: &FakeSts) -> Client {
    client_with(sts, base_credentials(), "eu-central-1")
}

fn client_with(sts: &FakeSts, credentials: Credentials, region: &'static str) -> Client {
    client_within(sts, credentials, region, SOON)
}

/// For what hangs. Long enough for a busy machine to answer what does not.
fn impatient_client(sts: &FakeSts) -> Client {
    client_within(sts, base_credentials(), "eu-central-1", Duration::from_millis(700))
}

fn client_within(
    sts: &FakeSts,
    credentials: Credentials,
    region: &'static str,
    patience: Duration,
) -> Client {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(SOON).operation_attempt_timeout(patience).build();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region))
        .credentials_provider(credentials)
        .endpoint_url(sts.endpoint_url())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .build();
    Client::from_conf(config)
}

fn base_credentials() -> Credentials {
    Credentials::new(BASE_KEY, "a-secret-of-the-base", None, None, "test")
}

/// What was issued last.
fn session_credentials(sts: &FakeSts) -> Credentials {
    let issued = sts.issued().pop().unwrap_or_else(|| panic!("nothing was issued"));
    Credentials::new(
        issued.access_key_id,
        issued.secret_access_key,
        Some(issued.session_token),
        None,
        "test",
    )
}

type AssumeRole = aws_sdk_sts::operation::assume_role::builders::AssumeRoleFluentBuilder;

fn request(client: &Client) -> AssumeRole {
    client.assume_role().role_arn(ROLE).role_session_name("orders-host1")
}

async fn assume(client: &Client) -> Outcome {
    request(client).send().await
}

async fn issued(request: AssumeRole) -> AssumeRoleOutput {
    let outcome = request.send().await;
    let face = face(&outcome);
    outcome.unwrap_or_else(|_| panic!("not issued: {face}"))
}

/// A request that the SDK would not make.
fn raw(sts: &FakeSts, request: &str) -> String {
    use std::io::{Read, Write};
    let mut answer = String::new();
    let talk = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(sts.address())?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(request.as_bytes())?;
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    talk().unwrap_or_else(|error| panic!("{error}"))
}

// === the faces of an outcome ===

fn face<T, E: ProvideErrorMetadata>(outcome: &Result<T, SdkError<E>>) -> String {
    match outcome {
        Ok(_) => "success".to_owned(),
        Err(error) => format!("{error}, code {:?}, message {:?}", error.code(), error.message()),
    }
}

/// Status and code.
fn code<T, E: ProvideErrorMetadata>(outcome: &Result<T, SdkError<E>>) -> (u16, Option<&str>) {
    match outcome {
        Ok(_) => (200, Some("success")),
        Err(error) => (error.raw_response().map_or(0, |raw| raw.status().as_u16()), error.code()),
    }
}

/// What the SDK must find of a scripted error, where it can find anything.
fn code_of(fault: &Fault) -> Option<(u16, Option<&str>)> {
    match fault {
        Fault::Error { status, code, form: ErrorForm::Namespaced, .. } if *status != 200 => {
            Some((*status, Some(code)))
        }
        Fault::Error { status, form: ErrorForm::Bare | ErrorForm::Json, .. } => {
            Some((*status, None))
        }
        Fault::Page { status } | Fault::Body { status, .. } => Some((*status, None)),
        _ => None,
    }
}

fn message(outcome: &Outcome) -> &str {
    outcome.as_ref().err().and_then(ProvideErrorMetadata::message).unwrap_or_default()
}

fn body(outcome: &Outcome) -> String {
    let raw = outcome.as_ref().err().and_then(SdkError::raw_response);
    let bytes = raw.and_then(|raw| raw.body().bytes()).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn header(outcome: &Outcome, name: &str) -> Option<String> {
    let raw = outcome.as_ref().err().and_then(SdkError::raw_response)?;
    raw.headers().get(name).map(str::to_owned)
}

fn is_io(outcome: &Outcome) -> bool {
    matches!(outcome, Err(SdkError::DispatchFailure(failure)) if failure.is_io())
}

fn chain(outcome: &Outcome) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn Error> = outcome.as_ref().err().map(|error| error as &dyn Error);
    while let Some(error) = next {
        text.push_str(&format!("{error}; "));
        next = error.source();
    }
    text
}

fn date_skew_seconds(outcome: &Outcome) -> i64 {
    let date = header(outcome, "date").unwrap_or_default();
    let date = jiff::fmt::rfc2822::parse(&date).unwrap_or_else(|error| panic!("{date}: {error}"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    date.timestamp().as_second() - now.as_secs() as i64
}
