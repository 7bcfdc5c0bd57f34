//! The credentials endpoint, as bytes on a socket: what unmodified clients of every age and make depend on.

use std::io::Write;
use std::time::Duration;

use crate::support::client::{credentials_found_by, say};
use crate::support::harness::{
    Answer, Connection, Daemon, Port, Setup, arn, metric_in, pause, request, text, wait_for, with,
};
use fake_sts::{FakeSts, Fault};

const PATH: &str = "/v1/credentials/orders";

fn one_role(sts: &FakeSts) -> Setup {
    with(sts).role("orders")
}

fn authorized(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Answer {
    let token = daemon.token("orders");
    let mut all = vec![("Authorization", token.as_str())];
    all.extend_from_slice(headers);
    daemon.ask("GET", path, &all)
}

/// The shape that every refusal has, whatever the reason.
fn assert_refusal(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    assert_eq!(answer.header("www-authenticate"), None, "{answer:?}");
    let body = answer.json();
    let keys: Vec<&String> = body.as_object().map(|o| o.keys().collect()).unwrap_or_default();
    assert_eq!(keys.len(), 4, "{answer:?}");
    assert_eq!(body["code"], code, "{answer:?}");
    assert_eq!(body["Code"], code, "{answer:?}");
    assert_eq!(body["message"], body["Message"], "{answer:?}");
    assert!(!text(&body["message"]).is_empty(), "{answer:?}");
}

// === the answer ===

#[test]
fn the_answer_is_one_line_of_exactly_these_keys() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).role_with("ledger", "account_id = true").start();
    daemon.vended("orders");
    daemon.vended("ledger");
    for (role, account) in [("orders", ""), ("ledger", ",\"AccountId\":\"111122223333\"")] {
        let answer = daemon.get(role);
        let issued = sts.issued();
        let issued = issued.iter().find(|issued| issued.role_arn == arn(role)).expect("an issue");
        assert_eq!(
            answer.text(),
            format!(
                "{{\"Code\":\"Success\",\"RoleArn\":\"{}\",\"AccessKeyId\":\"{}\",\"SecretAccessKey\":\"{}\",\"Token\":\"{}\",\
                 \"Expiration\":\"{}\"{account}}}",
                arn(role),
                issued.access_key_id,
                issued.secret_access_key,
                issued.session_token,
                issued.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            )
        );
        assert!(answer.body.len() < 10_000);
    }
}

#[test]
fn the_answer_has_exactly_these_headers() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let asked = [("Accept-Encoding", "gzip, br, zstd"), ("Accept", "text/html")];
    let answer = authorized(&daemon, PATH, &asked);
    assert_eq!((answer.status, answer.version.as_str()), (200, "HTTP/1.1"));
    let length = answer.body.len().to_string();
    let mut headers: Vec<(&str, &str)> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| *name != "date")
        .collect();
    headers.sort_unstable();
    assert_eq!(
        headers,
        [
            ("cache-control", "no-store"),
            ("content-length", length.as_str()),
            ("content-type", "application/json")
        ]
    );
}

#[test]
fn a_fraction_of_a_second_is_rounded_down() {
    use fake_sts::Expiry;
    let sts = FakeSts::start();
    sts.role(&arn("orders")).always(Fault::Expires(Expiry::Fraction(9)));
    let daemon = one_role(&sts).start();
    let expiration = text(&daemon.vended("orders")["Expiration"]);
    let [issued] = &sts.issued()[..] else { panic!("not one issue") };
    assert_eq!(expiration, issued.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
}

#[test]
fn a_query_changes_nothing() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    assert_eq!(authorized(&daemon, &format!("{PATH}?x=1&x=2"), &[]).status, 200);
}

#[test]
fn head_says_what_get_would_say_and_sends_no_body() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let whole = daemon.get("orders");
    let token = daemon.token("orders");
    let mut connection = daemon.connect();
    let headers = [("Authorization", token.as_str())];
    connection.send(request(daemon.vend_address(), "HEAD", PATH, &headers).as_bytes());
    let head = connection.head();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), whole.header("content-length"));
    assert_eq!(head.header("content-type"), Some("application/json"));
    // The next answer follows at once: nothing of a body is in between.
    connection.send(request(daemon.vend_address(), "GET", PATH, &headers).as_bytes());
    assert_eq!(connection.answer().body, whole.body);
}

// === connections ===

#[test]
fn one_connection_carries_many_requests_and_refusals() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let token = daemon.token("orders");
    let mut connection = daemon.connect();
    for round in 0..50 {
        let (authorization, path, status) = match round % 4 {
            0 => (token.as_str(), PATH, 200),
            1 => ("nonsense", PATH, 401),
            2 => (token.as_str(), "/v1/credentials/nobody", 404),
            _ => (token.as_str(), "/", 404),
        };
        let headers = [("Authorization", authorization)];
        connection.send(request(daemon.vend_address(), "GET", path, &headers).as_bytes());
        assert_eq!(connection.answer().status, status);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let token = daemon.token("orders");
    let headers = [("Authorization", token.as_str())];
    let mut connection = daemon.connect();
    let paths = [PATH, "/nothing", "/v1/credentials/nobody", PATH];
    let all: String =
        paths.map(|path| request(daemon.vend_address(), "GET", path, &headers)).concat();
    connection.send(all.as_bytes());
    let answers = paths.map(|_| connection.answer());
    let codes: Vec<String> = answers.iter().map(|answer| text(&answer.json()["Code"])).collect();
    assert_eq!(codes, ["Success", "NotFound", "RoleNotFound", "Success"]);
}

#[test]
fn a_connection_that_is_asked_to_close_closes() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let token = daemon.token("orders");
    let headers = [("Authorization", token.as_str()), ("Connection", "close")];
    let mut connection = daemon.connect();
    connection.send(request(daemon.vend_address(), "GET", PATH, &headers).as_bytes());
    let answer = connection.answer();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(connection.is_closed());
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let mut connection = daemon.connect();
    let token = daemon.token("orders");
    connection.send(format!("GET {PATH} HTTP/1.0\r\nAuthorization: {token}\r\n\r\n").as_bytes());
    let answer = connection.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-length").is_some());
    assert!(connection.is_closed());
}

#[test]
fn a_caller_who_shuts_its_sending_side_is_still_answered() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let token = daemon.token("orders");
    let headers = [("Authorization", token.as_str())];
    let mut connection = daemon.connect();
    connection.send(request(daemon.vend_address(), "GET", PATH, &headers).as_bytes());
    connection.finish_sending();
    assert_eq!(connection.answer().status, 200);
}

#[test]
fn connections_over_the_limit_wait_and_are_not_refused() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).server("max_connections = 2").start();
    let token = daemon.token("orders");
    let headers = [("Authorization", token.as_str())];
    let get = request(daemon.vend_address(), "GET", PATH, &headers);
    daemon.vended("orders");
    let mut held = [daemon.connect(), daemon.connect()];
    for connection in &mut held {
        connection.send(get.as_bytes());
        assert_eq!(connection.answer().status, 200);
    }
    let mut waiting: Vec<Connection> = (0..8).map(|_| daemon.connect()).collect();
    for connection in &mut waiting {
        connection.send(get.as_bytes());
    }
    let open = daemon.metric("roletap_connections", &[("listener", "credentials")]);
    assert_eq!(open, Some(2.0));
    drop(held);
    for mut connection in waiting {
        assert_eq!(connection.answer().status, 200);
    }
}

// === tokens ===

#[test]
fn a_token_is_taken_raw_or_after_bearer() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let token = daemon.token("orders");
    for authorization in [
        token.clone(),
        format!("Bearer {token}"),
        format!("bearer  {token} "),
        format!("BEARER\t{token}"),
        format!("  {token}  "),
    ] {
        assert_eq!(daemon.get_with("orders", &authorization).status, 200, "{authorization:?}");
    }
    let (head, tail) = token.split_at(20);
    for authorization in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer x".to_owned(),
        format!("Basic {token}"),
        format!("Bearer{token}"),
        format!("Bearer Bearer {token}"),
        format!("{token}{token}"),
        format!("{token}="),
        format!("{head} {tail}"),
        head.to_owned(),
        token.to_ascii_uppercase(),
    ] {
        let answer = daemon.get_with("orders", &authorization);
        assert_refusal(&answer, 401, "Unauthorized");
    }
}

#[test]
fn a_missing_token_is_refused_alike_for_known_and_unknown_roles() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let known = daemon.ask("GET", PATH, &[]);
    let unknown = daemon.ask("GET", "/v1/credentials/nobody", &[]);
    let wrong = daemon.get_with("orders", "nonsense");
    for answer in [&known, &unknown, &wrong] {
        assert_refusal(answer, 401, "Unauthorized");
        assert_eq!(answer.body, known.body);
    }
}

#[test]
fn bad_tokens_lock_nobody_out() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    for _ in 0..300 {
        assert_eq!(daemon.get_with("orders", "nonsense").status, 401);
    }
    assert_eq!(daemon.get("orders").status, 200);
    let labels = [("role", "unknown"), ("result", "unauthorized")];
    assert_eq!(daemon.metric("roletap_vend_requests_total", &labels), Some(300.0));
}

#[test]
fn an_unknown_role_and_a_foreign_role_look_the_same() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).role("ledger").start();
    daemon.vended("orders");
    daemon.vended("ledger");
    let ours = daemon.token("orders");
    let foreign = daemon.get_with("ledger", &ours);
    assert_refusal(&foreign, 404, "RoleNotFound");
    for path in ["nobody", "", "ledger/", "orders/", "orders/x", "ORDERS", "%6frders", "../orders"]
    {
        let answer = daemon.get_with(path, &ours);
        assert_refusal(&answer, 404, "RoleNotFound");
        assert_eq!(answer.body, foreign.body, "{path}");
    }
}

#[test]
fn a_role_without_a_token_is_open_and_the_others_are_not() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).role_with("open", "unsafe_no_token = true").start();
    daemon.vended("orders");
    assert!(!daemon.token_path("open").exists());
    wait_for("the open role is vended", || {
        let answer = daemon.ask("GET", "/v1/credentials/open", &[]);
        (answer.status == 200).then_some(()).ok_or(format!("{answer:?}"))
    });
    assert_eq!(daemon.get_with("open", "whatever").status, 200);
    assert_refusal(&daemon.ask("GET", PATH, &[]), 401, "Unauthorized");
}

// === refusals ===

#[test]
fn a_pending_role_is_refused_after_the_wait() {
    let sts = FakeSts::start();
    sts.any().always(Fault::Hang);
    let daemon = one_role(&sts).sts("attempt_timeout = \"30s\"").start();
    let answer = daemon.get("orders");
    assert_refusal(&answer, 503, "CredentialsPending");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let message = text(&answer.json()["message"]);
    assert!(message.contains("orders") && message.contains("roletap "), "{message}");
}

#[test]
fn a_pending_request_is_answered_the_moment_credentials_arrive() {
    let sts = FakeSts::start();
    sts.any().always(Fault::None.after(Duration::from_millis(300)));
    let daemon = one_role(&sts).server("pending_wait = \"1s\"").start();
    // Asked once: only the wait makes this a 200.
    assert_eq!(daemon.get("orders").status, 200);
}

#[test]
fn failures_that_may_pass_are_503_and_those_that_need_a_person_are_403() {
    let sts = FakeSts::start();
    let faults = [
        ("network", Fault::status(503), 503),
        ("source", Fault::error(403, "InvalidClientTokenId", "no"), 503),
        ("clock", Fault::error(400, "RequestExpired", "late"), 503),
        ("denied", Fault::access_denied(), 403),
        ("misconfigured", Fault::error(400, "MalformedPolicyDocument", "no"), 403),
    ];
    let mut setup = with(&sts);
    for (class, fault, _) in &faults {
        sts.role(&arn(class)).always(fault.clone());
        setup = setup.role(class);
    }
    // Throttling stops the whole host, so it comes to a daemon of its own.
    let daemon = setup.start();
    for (class, _, status) in faults {
        daemon.failed(class, class);
        let answer = daemon.get(class);
        let message = text(&answer.json()["message"]);
        assert!(message.contains(class), "names the role: {message}");
        if status == 503 {
            assert_refusal(&answer, 503, "CredentialsUnavailable");
            let seconds: u64 =
                answer.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
            assert!((1..=30).contains(&seconds), "{seconds}");
        } else {
            assert_refusal(&answer, 403, "AssumeRoleFailed");
            assert_eq!(answer.header("retry-after"), None);
        }
    }
    sts.any().always(Fault::throttled().header("Retry-After", "100"));
    let daemon = with(&sts).role("throttled").start();
    daemon.failed("throttled", "throttled");
    let answer = daemon.get("throttled");
    assert_refusal(&answer, 503, "CredentialsUnavailable");
    assert_eq!(answer.header("retry-after"), Some("30"));
}

#[test]
fn unknown_paths_and_methods_are_refused() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    for path in ["/", "/v1/credentials", "/v1", "/metrics", "/roles", "/V1/credentials/orders", "*"]
    {
        assert_refusal(&authorized(&daemon, path, &[]), 404, "NotFound");
    }
    let token = daemon.token("orders");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let answer = daemon.ask(method, PATH, &[("Authorization", &token)]);
        assert_refusal(&answer, 405, "MethodNotAllowed");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method}");
    }
    // A body that nobody reads does not become the next request.
    let headers = [("Authorization", token.as_str()), ("Content-Length", "5")];
    let answer =
        daemon.raw((request(daemon.vend_address(), "POST", PATH, &headers) + "hello").as_bytes());
    assert_refusal(&answer, 405, "MethodNotAllowed");
}

#[test]
fn what_a_proxy_or_a_browser_sends_is_refused() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    for header in [
        ("X-Forwarded-For", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("X-Forwarded-Proto", "http"),
        ("Forwarded", "for=127.0.0.1"),
        ("Origin", "http://localhost"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Mode", "cors"),
        ("Host", "evil.example"),
        ("Host", "evil.example:5169"),
        ("Host", "127.0.0.1.evil.example"),
        ("Host", "localhost.evil.example"),
        ("Host", "10.0.0.1"),
        ("Host", "[fe80::1]:80"),
        ("Host", ""),
        ("Host", "user@evil.example"),
    ] {
        let answer = authorized(&daemon, PATH, &[header]);
        assert_refusal(&answer, 403, "Forbidden");
    }
    let token = daemon.token("orders");
    let absolute = format!(
        "GET http://evil.example{PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {token}\r\n\r\n"
    );
    assert_refusal(&daemon.raw(absolute.as_bytes()), 403, "Forbidden");
    let two_hosts = format!(
        "GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nAuthorization: {token}\r\n\r\n"
    );
    assert_refusal(&daemon.raw(two_hosts.as_bytes()), 403, "Forbidden");
}

#[test]
fn every_way_to_write_this_host_is_taken() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let port = daemon.vend_address().port();
    for host in [
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{port}"),
        "127.0.0.1:1".to_owned(),
        "localhost".to_owned(),
        "LocalHost:5169".to_owned(),
        "[::1]:5169".to_owned(),
        "[::1]".to_owned(),
        "169.254.170.2".to_owned(),
        "169.254.170.23:80".to_owned(),
        "[fd00:ec2::23]".to_owned(),
    ] {
        let answer = authorized(&daemon, PATH, &[("Host", &host)]);
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
    let token = daemon.token("orders");
    let absolute = format!(
        "GET http://127.0.0.1:{port}{PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {token}\r\n\r\n"
    );
    assert_eq!(daemon.raw(absolute.as_bytes()).status, 200);
}

// === heads ===

#[test]
fn a_head_that_is_too_large_is_refused() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let fits = "x".repeat(14 * 1024);
    assert_eq!(authorized(&daemon, PATH, &[("X", &fits)]).status, 200);
    let mut connection = daemon.connect();
    let token = daemon.token("orders");
    let too_large = "x".repeat(40 * 1024);
    let headers = [("Authorization", token.as_str()), ("X", &too_large)];
    let _ = connection.try_send(request(daemon.vend_address(), "GET", PATH, &headers).as_bytes());
    assert_eq!(connection.head().status, 431);
    assert_eq!(daemon.get("orders").status, 200);
}

#[test]
fn a_head_of_more_than_64_fields_is_refused() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let fields = |count| vec![("X", "y"); count];
    assert_eq!(authorized(&daemon, PATH, &fields(62)).status, 200);
    assert_eq!(authorized(&daemon, PATH, &fields(63)).status, 431);
}

#[test]
fn what_is_no_http_is_refused_and_harms_nobody() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"\r\n\r\n\r\n\r\nhello\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
    ] {
        let mut connection = daemon.connect();
        let _ = connection.try_send(garbage);
        connection.finish_sending();
        if let Some(answer) = connection.try_head() {
            assert_eq!(answer.status, 400, "{answer:?}");
        }
    }
    assert_eq!(daemon.get("orders").status, 200);
}

#[test]
fn a_head_that_trickles_is_cut_off_and_an_idle_connection_is_closed_in_silence() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    let mut idle = daemon.connect();
    let mut slow = daemon.connect();
    for byte in request(daemon.vend_address(), "GET", PATH, &[]).bytes() {
        if slow.try_send(&[byte]).is_err() || slow.has_something() {
            break;
        }
        pause(Duration::from_millis(500));
    }
    let answer = slow.answer();
    assert_refusal(&answer, 408, "RequestTimeout");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(slow.is_closed());
    assert!(idle.is_closed());
    assert_eq!(idle.seen(), "");
}

/// Its answers fit into no buffer any more, and the daemon has one place.
#[test]
fn who_asks_on_and_takes_no_answers_loses_its_place() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).server("max_connections = 1").start();
    let get = request(daemon.vend_address(), "GET", PATH, &[]).repeat(1_000);
    let mut greedy = std::net::TcpStream::connect(daemon.vend_address()).expect("a connection");
    greedy.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    while greedy.write_all(get.as_bytes()).is_ok() {}
    daemon.vended("orders");
}

#[test]
fn two_addresses_share_one_place() {
    let sts = FakeSts::start();
    let other = Port::reserve();
    let daemon = one_role(&sts)
        .also_listen(&other.address.to_string())
        .server("max_connections = 1")
        .start();
    daemon.vended("orders");
    for address in [daemon.vend_address(), other.address].repeat(3) {
        let mut connection = Connection::to(address);
        connection.send(request(address, "GET", PATH, &[]).as_bytes());
        assert_eq!(connection.answer().status, 401);
    }
}

// === many ===

#[test]
fn ten_thousand_requests_with_nothing_in_hand_are_all_refused_in_order() {
    let sts = FakeSts::start();
    sts.any().always(Fault::Hang);
    let mut daemon =
        one_role(&sts).server("pending_wait = \"0s\"").sts("attempt_timeout = \"3s\"").start();
    let token = daemon.token("orders");
    let headers = [("Authorization", token.as_str())];
    let get = request(daemon.vend_address(), "GET", PATH, &headers);
    let batch = get.repeat(100);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut connection = daemon.connect();
                for _ in 0..10 {
                    connection.send(batch.as_bytes());
                    for _ in 0..100 {
                        let answer = connection.answer();
                        assert_eq!(answer.status, 503);
                        assert!(!answer.text().contains("AccessKeyId"));
                    }
                }
            });
        }
    });
    assert!(daemon.is_alive());
    sts.any().clear();
    assert_eq!(daemon.vended("orders")["Code"], "Success");
    let page = daemon.admin("/metrics").text();
    let refused: f64 = ["pending", "unavailable"]
        .iter()
        .filter_map(|result| {
            let labels = [("role", "orders"), ("result", *result)];
            metric_in(&page, "roletap_vend_requests_total", &labels)
        })
        .sum();
    assert!(refused >= 10_000.0, "{refused}");
}

// === Amazon's own client ===

#[test]
fn the_sdk_of_rust_reads_what_we_vend() {
    if std::env::var_os("AWS_CONTAINER_CREDENTIALS_FULL_URI").is_some() {
        use aws_config::ecs::EcsCredentialsProvider;
        return say(async { EcsCredentialsProvider::builder().build() });
    }
    let sts = FakeSts::start();
    let daemon = one_role(&sts).role_with("ledger", "account_id = true").start();
    for (role, account) in [("orders", None), ("ledger", Some("111122223333"))] {
        daemon.vended(role);
        let uri = format!("http://{}/v1/credentials/{role}", daemon.vend_address());
        let token = daemon.token_path(role).display().to_string();
        let said = credentials_found_by(
            "vend::the_sdk_of_rust_reads_what_we_vend",
            &[
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), uri),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE".to_owned(), token),
            ],
        );
        let issued = sts.issued();
        let issued = issued.iter().find(|issued| issued.role_arn == arn(role)).expect("an issue");
        let expected = serde_json::json!([
            issued.access_key_id,
            issued.secret_access_key,
            issued.session_token,
            issued.expires_at.as_second(),
            account,
        ]);
        assert_eq!(said, expected);
    }
}
