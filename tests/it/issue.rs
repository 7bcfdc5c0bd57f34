//! The requests to STS, and the outcome of every known answer, through the real binary.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at the faults that it is about")]

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::support::harness::{Daemon, Setup, arn, metric_in, request, text, with};
use fake_sts::patience::wait_for;
use fake_sts::{CatalogueRow, ErrorForm, FakeSts, Fault, catalogue, oddities};

const OUTCOMES: [&str; 7] =
    ["issued", "clock", "denied", "misconfigured", "network", "source", "throttled"];

/// A budget that lets a hundred roles be issued in a few seconds.
fn wide(sts: &FakeSts) -> Setup {
    with(sts).log("audit = \"off\"").sts("max_in_flight = 32\nmax_requests_per_second = 600")
}

/// A short timeout for answers that never come.
fn impatient(sts: &FakeSts) -> Setup {
    wide(sts).sts("attempt_timeout = \"1s\"\nconnect_timeout = \"1s\"")
}

/// One role per row of the catalogue, named by its place, with the script of the row.
fn scripted(mut setup: Setup, sts: &FakeSts, rows: &[CatalogueRow], late: Duration) -> Daemon {
    for (at, row) in rows.iter().enumerate() {
        let name = format!("r{at}");
        let script = match row.hangs || late.is_zero() {
            true => row.script.clone(),
            false => row.script.clone().after(late),
        };
        sts.role(&arn(&name)).always(script);
        setup = setup.role(&name);
    }
    setup.start()
}

/// The error code of the row, if it has one. roletap does not read codes in JSON: there the status decides.
fn code_of(row: &CatalogueRow) -> Option<&str> {
    match row.script.fault() {
        Fault::Error { form: ErrorForm::Json, .. } => None,
        Fault::Error { code, .. } => Some(code),
        _ => None,
    }
}

/// Checks that every row has its class in `/roles` and in the metrics. All misses are reported at once.
fn assert_classes(daemon: &Daemon, rows: &[CatalogueRow]) {
    daemon.wait_until("every first attempt has ended", |daemon| {
        let overview = daemon.overview();
        let pending: Vec<String> = overview["roles"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|role| role["phase"] == "pending")
            .map(|role| text(&role["name"]))
            .collect();
        if pending.is_empty() { Ok(()) } else { Err(format!("{pending:?}")) }
    });
    let page = daemon.admin("/metrics").text();
    let overview = daemon.overview();
    let mut misses = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let name = format!("r{at}");
        let role = overview["roles"]
            .as_array()
            .and_then(|roles| roles.iter().find(|role| role["name"] == name.as_str()))
            .expect("the role");
        let error = &role["last_error"];
        if error["class"] != row.class {
            misses.push(format!("{}: not {}: {error}", row.name, row.class));
        }
        if error["code"].as_str() != code_of(row) {
            misses.push(format!("{}: not {:?}: {error}", row.name, code_of(row)));
        }
        for outcome in OUTCOMES {
            let labels = [("role", name.as_str()), ("outcome", outcome)];
            let count = metric_in(&page, "roletap_refresh_attempts_total", &labels);
            if (count.unwrap_or_default() > 0.0) != (outcome == row.class) || count.is_none() {
                misses.push(format!("{}: {count:?} attempts ended as {outcome}", row.name));
            }
        }
        let advice = error["advice"].as_str().unwrap_or_default();
        if advice.is_empty() || error["message"].as_str().is_none_or(str::is_empty) {
            misses.push(format!("{}: nothing to say: {error}", row.name));
        }
        misses.extend(schedule_miss(row, role, &overview["time"]));
        let line = format!("role=\"{name}\" class=\"{}\"", row.class);
        // Another thread writes log lines, so this one may be late.
        daemon.logged(&line);
        // Another thread writes log lines, so the last one may come after the state.
        let log = daemon.wait_until("every failure is logged", |daemon| {
            let log = daemon.log();
            let lines = log.lines().filter(|line| line.contains(" ERROR ")).count();
            (lines >= rows.len()).then_some(log).ok_or_else(|| format!("{lines} lines"))
        });
        let logged = log.lines().filter(|found| found.contains(&line));
        let logged: Vec<&str> = logged.filter(|found| found.contains(" ERROR ")).collect();
        if logged.len() != 1 || !logged.iter().all(|line| line.contains(&text(&error["message"]))) {
            misses.push(format!("{}: logged as {logged:#?}", row.name));
        }
        let answer = daemon.get(&name);
        let expected = match row.class {
            "denied" | "misconfigured" => 403,
            _ => 503,
        };
        if answer.status != expected {
            misses.push(format!("{}: vends {}", row.name, answer.status));
        }
    }
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}

/// Checks that the next attempt is due within the limit of the class, and for a probe not before its time.
fn schedule_miss(row: &CatalogueRow, role: &Value, now: &Value) -> Option<String> {
    let failed = role["last_error"]["failed_attempts"].as_i64().unwrap_or(0);
    let doubled = |base: i64, cap: i64| (base << (failed - 1).clamp(0, 16)).min(cap);
    let due = match row.class {
        // A probe comes after thirteen and a half minutes at the earliest, less the time that the test has waited.
        "misconfigured" => 700_000..=990_000,
        "denied" => 0..=doubled(15_000, 300_000),
        "source" | "clock" => 0..=doubled(250, 60_000),
        // STS may also ask for a wait: at most 7 s in the catalogue.
        "throttled" => 0..=7_000,
        _ => 0..=doubled(250, 30_000),
    };
    let at = |value: &Value| text(value).parse::<Timestamp>().expect("a time");
    let wait = at(&role["next_attempt_at"]).as_millisecond() - at(now).as_millisecond();
    // An attempt that was due a moment ago is running. Times are in whole seconds.
    let kept = wait.max(0) >= *due.start() && wait <= due.end() + 1_000;
    (!kept).then(|| format!("{}: {failed} failed, next after {wait} ms: {role}", row.name))
}

fn rows_of(wanted: impl Fn(&str) -> bool) -> Vec<CatalogueRow> {
    catalogue().into_iter().filter(|row| wanted(row.class)).collect()
}

#[test]
fn every_failure_has_its_class_and_code() {
    // A long timeout: a timeout on a busy machine would be of another class.
    let (hang, answer): (Vec<_>, Vec<_>) = rows_of(|class| !matches!(class, "throttled" | "clock"))
        .into_iter()
        .partition(|row| row.hangs);
    for (rows, setup) in [(hang, impatient as fn(&FakeSts) -> Setup), (answer, wide)] {
        let sts = FakeSts::start();
        let daemon = scripted(setup(&sts), &sts, &rows, Duration::ZERO);
        assert_classes(&daemon, &rows);
    }
}

#[test]
fn every_clock_failure_has_the_class_clock() {
    // A wrong `Date` changes the clock of the whole host, so each row has a daemon of its own.
    for row in rows_of(|class| class == "clock") {
        let sts = FakeSts::start();
        let rows = [row];
        let daemon = scripted(wide(&sts), &sts, &rows, Duration::ZERO);
        assert_classes(&daemon, &rows);
    }
}

#[test]
fn every_throttled_answer_has_the_class_throttled() {
    // One daemon for each row: the first such answer stops all its requests.
    for row in rows_of(|class| class == "throttled").chunks(1) {
        let sts = FakeSts::start();
        let daemon = scripted(with(&sts), &sts, row, Duration::ZERO);
        assert_classes(&daemon, row);
        assert_eq!(daemon.metric("roletap_sts_paused", &[]), Some(1.0));
    }
}

#[test]
fn failures_at_accept_have_the_class_network() {
    for fault in [Fault::ResetOnAccept, Fault::HangOnAccept] {
        let sts = FakeSts::start();
        sts.any().always(fault);
        let daemon = impatient(&sts).role("orders").start();
        let role = daemon.failed("orders", "network");
        assert!(role["last_error"]["code"].is_null(), "{role}");
        sts.any().clear();
        daemon.vended("orders");
    }
}

#[test]
fn unusual_but_valid_answers_are_vended() {
    let sts = FakeSts::start();
    let rows = oddities();
    let daemon = scripted(with(&sts), &sts, &rows, Duration::ZERO);
    for (at, row) in rows.iter().enumerate() {
        let name = format!("r{at}");
        let given = daemon.vended(&name);
        let issued = sts.issued();
        let issued = issued.iter().find(|issued| issued.role_arn == arn(&name)).expect("an issue");
        assert_eq!(given["AccessKeyId"], issued.access_key_id, "{}", row.name);
        assert_eq!(given["Token"], issued.session_token, "{}", row.name);
        let expiration = issued.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        assert_eq!(given["Expiration"], expiration, "{}", row.name);
        for outcome in OUTCOMES {
            let labels = [("role", name.as_str()), ("outcome", outcome)];
            let count = daemon.metric("roletap_refresh_attempts_total", &labels);
            let expected = f64::from(u8::from(outcome == "issued"));
            assert_eq!(count, Some(expected), "{} {outcome}", row.name);
        }
    }
}

#[test]
fn a_document_that_the_crt_would_refuse_is_not_vended() {
    let sts = FakeSts::start();
    sts.role(&arn("orders")).always(Fault::TokenOfBytes(10_000));
    let daemon = with(&sts).role("orders").start();
    daemon.failed("orders", "network");
    assert_eq!(daemon.get("orders").status, 503);
}

// === what is sent ===

#[test]
fn every_configured_parameter_is_sent() {
    let sts = FakeSts::start().with_region("eu-central-1");
    let orders = format!(
        r#"
role_arn = "{}"
external_id = "ws:7f/3a"
role_session_name = "orders+1@host"
duration_seconds = 1800
policy = """
{{
  "Version": "2012-10-17",
  "Statement": [ {{ "Effect": "Allow", "Action": "s3:Get *", "Resource": "*" }} ]
}}
"""
policy_arns = ["arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::111122223333:policy/x/y"]
tags = {{ CostCenter = "42", "Größe" = "a b+c=d" }}
transitive_tag_keys = ["CostCenter"]
source_identity = "host1"
"#,
        arn("team/orders-sink")
    );
    let daemon = with(&sts).role_with("orders", &orders).role("plain").start();
    daemon.vended("orders");
    daemon.vended("plain");
    let requests = sts.requests();
    let request = |role: &str| {
        let mut of_role =
            requests.iter().filter(|request| request.role_arn.as_deref() == Some(&arn(role)));
        let request = of_role.next().expect("a request");
        assert!(of_role.next().is_none(), "one is enough");
        request.clone()
    };
    let sent = request("team/orders-sink");
    assert_eq!(sent.action, "AssumeRole");
    assert_eq!(sent.external_id.as_deref(), Some("ws:7f/3a"));
    assert_eq!(sent.session_name.as_deref(), Some("orders+1@host"));
    assert_eq!(sent.duration_seconds, Some(1800));
    assert_eq!(
        sent.policy.as_deref(),
        Some(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get *","Resource":"*"}]}"#
        )
    );
    assert_eq!(
        sent.policy_arns,
        ["arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::111122223333:policy/x/y"]
    );
    let mut tags = sent.tags.clone();
    tags.sort();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(tags, [pair("CostCenter", "42"), pair("Größe", "a b+c=d")]);
    assert_eq!(sent.transitive_tag_keys, ["CostCenter"]);
    assert_eq!(sent.source_identity.as_deref(), Some("host1"));
    assert_eq!(
        (sent.region.as_deref(), sent.service.as_deref()),
        (Some("eu-central-1"), Some("sts"))
    );
    assert_eq!(sent.access_key_id.as_deref(), Some(crate::support::harness::BASE_KEY));
    assert_eq!(sent.security_token, None);

    let plain = request("plain");
    let host = nix::unistd::gethostname().expect("a host name");
    let session = format!("plain-{}", host.to_string_lossy());
    assert!(
        plain
            .session_name
            .as_deref()
            .is_some_and(|name| name.len() <= 64 && session.starts_with(name)),
        "{plain:?}"
    );
    assert_eq!(plain.duration_seconds, Some(3600));
    assert_eq!((plain.external_id, plain.policy, plain.source_identity), (None, None, None));
    assert!(plain.tags.is_empty() && plain.policy_arns.is_empty());
    assert!(plain.transitive_tag_keys.is_empty());
}

#[test]
fn secrets_and_policies_in_files_are_read() {
    let sts = FakeSts::start();
    sts.role(&arn("orders")).external_id("from/a:file");
    let setup =
        with(&sts).role_with("orders", "external_id_file = \"id\"\npolicy_file = \"policy.json\"");
    std::fs::write(setup.home().join("id"), "from/a:file\n").expect("to write");
    std::fs::write(
        setup.home().join("policy.json"),
        "{ \"Version\": \"2012-10-17\",\n \"Statement\": [{\"Effect\": \"Deny\", \"Action\": \"*\", \"Resource\": \"*\"}] }\n",
    )
    .expect("to write");
    let daemon = setup.start();
    daemon.vended("orders");
    let [sent] = &sts.requests()[..] else { panic!("not one request") };
    assert_eq!(
        sent.policy.as_deref(),
        Some(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#
        )
    );
}

#[test]
fn a_session_token_of_the_base_identity_is_sent_along() {
    let sts = FakeSts::start();
    let daemon =
        with(&sts).env("AWS_SESSION_TOKEN", "the-base-session-token").role("orders").start();
    daemon.vended("orders");
    let [sent] = &sts.requests()[..] else { panic!("not one request") };
    assert_eq!(sent.security_token.as_deref(), Some("the-base-session-token"));
}

#[test]
fn a_shared_credentials_file_is_a_source_and_is_read_again_after_a_refusal() {
    let sts = FakeSts::start().with_base_key("AKIANEWKEYNEWKEYNEW2");
    let setup = with(&sts)
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .role("orders");
    let credentials = setup.home().join("credentials");
    let write = |key: &str| {
        let text =
            format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = s3cr3t\n");
        std::fs::write(&credentials, text).expect("to write");
    };
    write("AKIAOLDKEYOLDKEYOLD2");
    let setup = setup.env("AWS_SHARED_CREDENTIALS_FILE", &credentials.display().to_string());
    let daemon = setup.start();
    let role = daemon.failed("orders", "source");
    assert_eq!(role["last_error"]["code"], "InvalidClientTokenId");
    write("AKIANEWKEYNEWKEYNEW2");
    daemon.vended("orders");
}

#[test]
fn without_base_credentials_the_daemon_stays_up_and_says_so() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts)
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .role("orders")
        .start();
    let role = daemon.failed("orders", "source");
    assert!(role["last_error"]["code"].is_null(), "{role}");
    let answer = daemon.get("orders");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["code"], "CredentialsUnavailable");
    let labels = [("source", "default")];
    assert_eq!(daemon.metric("roletap_source_up", &labels), Some(0.0));
    assert_eq!(daemon.overview()["sources"][0]["up"], false);
    assert!(sts.requests().is_empty(), "nothing to sign with");
    assert!(daemon.is_alive());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn the_clock_skew_is_measured() {
    let sts = FakeSts::start().with_region("eu-central-1");
    sts.shift_clock(600);
    let daemon = with(&sts).role("orders").start();
    // The SDK corrects for the skew after the first answer. Until then the class is `clock`.
    let skew = daemon.wait_until("the skew is measured", |daemon| {
        daemon.metric("roletap_clock_skew_seconds", &[]).ok_or("nothing".to_owned())
    });
    assert!((590.0..610.0).contains(&skew), "{skew}");
    let labels = [("role", "orders"), ("outcome", "clock")];
    let clock = daemon.metric("roletap_refresh_attempts_total", &labels);
    assert!(clock.is_some_and(|count| count >= 1.0), "{clock:?}");
}

#[test]
fn request_ids_are_shown_for_aws_support() {
    let sts = FakeSts::start();
    sts.role(&arn("orders")).always(Fault::access_denied());
    let daemon = with(&sts).role("orders").start();
    let role = daemon.failed("orders", "denied");
    let id = text(&role["last_error"]["request_id"]);
    assert!(id.len() >= 16, "{id}");
    assert!(daemon.logged("failed to assume").contains(&id));
    assert_eq!(role["last_error"]["http_status"], 403);
}

#[test]
fn a_consumer_whose_credentials_expired_is_counted() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role("orders").sessions_of(3).start();
    let stale = || daemon.metric("roletap_stale_consumers", &[("role", "orders")]);
    assert_eq!(stale(), Some(0.0), "nobody has asked yet");
    daemon.vended("orders");
    wait_for("it is stale", || match stale() {
        Some(1.0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // The daemon has issued credentials all the while.
    assert_eq!(daemon.overview()["roles"][0]["stale_consumers"], 1);
    let status = daemon.run(&["status"]);
    assert!(status.stdout.contains("not asked since: 1"), "{status:?}");
    let path = "/v1/credentials/orders";
    let token = daemon.token("orders");
    let headers = [("Authorization", token.as_str())];
    let mut connection = daemon.connect();
    connection.send(request(daemon.vend_address(), "HEAD", path, &headers).as_bytes());
    assert_eq!(connection.head().status, 200);
    assert_eq!(stale(), Some(1.0), "a HEAD gives nothing");
    // Its credentials may expire before the test looks.
    wait_for("it has come back", || {
        daemon.vended("orders");
        match stale() {
            Some(0.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn every_metric_of_a_role_begins_at_zero() {
    let sts = FakeSts::start();
    sts.any().always(Fault::Hang);
    let daemon = with(&sts).role("orders").start();
    let page = daemon.admin("/metrics").text();
    for outcome in OUTCOMES {
        let labels = [("role", "orders"), ("outcome", outcome)];
        let count = metric_in(&page, "roletap_refresh_attempts_total", &labels);
        assert_eq!(count, Some(0.0), "{outcome}");
        let labels =
            [("operation", "AssumeRole"), ("region", "eu-central-1"), ("outcome", outcome)];
        let count = metric_in(&page, "roletap_sts_requests_total", &labels);
        assert_eq!(count, Some(0.0), "{outcome}");
    }
    let labels = [("phase", "pending")];
    assert_eq!(metric_in(&page, "roletap_roles", &labels), Some(1.0));
    let labels = [("role", "orders")];
    assert_eq!(metric_in(&page, "roletap_token_previous_uses_total", &labels), Some(0.0));
    assert_eq!(metric_in(&page, "roletap_stale_consumers", &labels), Some(0.0));
}
