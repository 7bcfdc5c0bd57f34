//! Failures between this host and STS: DNS, connections, TLS, proxies. Each has its class, message, advice, schedule, metric
//! and log line, through the real binary.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::support::harness::{Daemon, PATIENCE, Setup, text, with};
use crate::support::silence::FullBacklog;
use crate::support::tls::{Authority, Flaw, TlsFront};
use fake_sts::{FakeSts, Fault};

/// Words of libraries that must not reach an operator.
const NOISE: [&str; 16] = [
    "dispatch failure",
    "response error",
    "io error",
    "client error",
    "SendRequest",
    "(Connect)",
    "tcp connect error",
    "error trying to connect",
    "dns error",
    "hyper",
    "UnknownIssuer",
    "InvalidContentType",
    "os error",
    "Some(",
    "Err",
    "{",
];

/// A daemon whose attempts time out after a second.
fn setup(sts: &FakeSts) -> Setup {
    with(sts).sts("attempt_timeout = \"1s\"\nconnect_timeout = \"500ms\"").role("orders")
}

/// Checks that a role failed with these words in the message and in the advice.
fn assert_told(daemon: &Daemon, what: &[&str], advice: &[&str]) {
    let role = daemon.failed("orders", "network");
    let error = &role["last_error"];
    let (message, found) = (text(&error["message"]), text(&error["advice"]));
    assert!(error["code"].is_null(), "{error}");
    for word in what {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    for word in advice {
        assert!(found.contains(word), "{word:?} is not in {found:?}");
    }
    for noise in NOISE {
        assert!(!message.contains(noise), "{noise:?} is in {message:?}");
    }
    assert!(message.starts_with(|first: char| first.is_lowercase()), "{message:?}");
    let parts: Vec<&str> = message.split(": ").collect();
    for (at, part) in parts.iter().enumerate() {
        assert!(!parts[..at].contains(part), "{part:?} twice in {message:?}");
    }
    assert_scheduled(&role);
    // Three attempts, one line.
    let labels = [("role", "orders"), ("outcome", "network")];
    daemon.wait_until("three attempts have failed", |daemon| {
        let count = daemon.metric("roletap_refresh_attempts_total", &labels);
        if count >= Some(3.0) { Ok(()) } else { Err(format!("{count:?}")) }
    });
    let labels = [("region", "eu-central-1"), ("outcome", "network")];
    let requests = daemon.metric("roletap_sts_requests_total", &labels);
    assert!(requests >= Some(3.0), "{requests:?}");
    let log = daemon.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(" ERROR ")).collect();
    let [line] = &lines[..] else { panic!("not one line: {lines:#?}") };
    assert!(line.contains(&message) && line.contains(&found), "{line}");
    assert!(line.contains("class=\"network\""), "{line}");
    assert_eq!(daemon.get("orders").status, 503);
}

/// The next attempt is due within what the class allows after so many failures: 250 ms × 2, at most 30 s.
fn assert_scheduled(role: &Value) {
    let failed = role["last_error"]["failed_attempts"].as_u64().expect("a count");
    let millis = 250 << u32::try_from(failed - 1).unwrap_or(7).min(7);
    let due: Timestamp = text(&role["next_attempt_at"]).parse().expect("a time");
    let latest = Timestamp::now() + SignedDuration::from_millis(millis.min(30_000));
    assert!(due <= latest, "after {failed} failures at {due}: {role}");
}

/// Checks the words of a fault, and that the role is issued after the fault is gone.
fn assert_fault_is_told(fault: Fault, what: &[&str], advice: &[&str]) {
    let sts = FakeSts::start();
    sts.any().always(fault);
    let daemon = setup(&sts).start();
    assert_told(&daemon, what, advice);
    sts.any().clear();
    daemon.vended("orders");
    daemon.logged("issued again");
}

// === before a connection is there ===

#[test]
fn a_dns_failure_is_told() {
    let sts = FakeSts::start();
    let daemon = setup(&sts)
        .endpoint("http://sts.roletap.invalid")
        // Without a resolver, the lookup must fail before the attempt times out.
        .env("RES_OPTIONS", "timeout:1 attempts:1")
        .start();
    assert_told(
        &daemon,
        &["name of http://sts.roletap.invalid does not resolve"],
        &["the DNS settings of this host", "/etc/resolv.conf", "VPC endpoint"],
    );
}

#[test]
fn a_refused_connection_is_told() {
    let sts = FakeSts::start();
    sts.stop();
    let daemon = setup(&sts).start();
    assert_told(
        &daemon,
        &["refuses connections", &sts.endpoint_url()],
        &["no program listens at the endpoint", "egress"],
    );
    sts.restart();
    daemon.vended("orders");
}

#[test]
fn a_connect_timeout_is_told() {
    let silent = FullBacklog::new();
    let sts = FakeSts::start();
    for scheme in ["http", "https"] {
        let url = silent.url(scheme);
        let daemon = setup(&sts).endpoint(&url).start();
        assert_told(
            &daemon,
            &["no connection to", &url, "within the connect timeout"],
            &["drops packets", "the network team", "VPC endpoint"],
        );
    }
}

#[test]
fn an_endless_answer_is_cut_off_and_told() {
    assert_fault_is_told(
        Fault::HugeBody(10 * 1024 * 1024),
        &["longer than any answer of STS"],
        &["answers instead of STS", "NO_PROXY"],
    );
}

// === TLS ===

#[test]
fn an_untrusted_certificate_is_told_and_ssl_cert_file_repairs_it() {
    let sts = FakeSts::start();
    let authority = Authority::new();
    let front = TlsFront::start(&authority, Flaw::None, sts.address());
    let over_tls = || setup(&sts).endpoint(&front.url());
    let bundle = over_tls();
    let path = bundle.home().join("ca.pem");
    authority.write_to(&path);
    let path = path.display().to_string();
    for daemon in [over_tls().start(), over_tls().env("AWS_CA_BUNDLE", &path).start()] {
        assert_told(
            &daemon,
            &["certificate", "this host does not trust the issuer"],
            &["SSL_CERT_FILE", "does not read AWS_CA_BUNDLE"],
        );
    }
    assert!(sts.requests().is_empty(), "no request is sent to an untrusted server");
    let daemon = bundle.env("SSL_CERT_FILE", &path).start();
    daemon.vended("orders");
}

#[test]
fn an_expired_certificate_and_a_wrong_name_are_told() {
    let sts = FakeSts::start();
    let authority = Authority::new();
    for (flaw, what, advice) in [
        (Flaw::Expired, "has expired", "clock of this host"),
        (Flaw::OtherName, "is for another name", "another server"),
    ] {
        let front = TlsFront::start(&authority, flaw, sts.address());
        let setup = setup(&sts).endpoint(&front.url());
        let path = setup.home().join("ca.pem");
        authority.write_to(&path);
        let daemon = setup.env("SSL_CERT_FILE", &path.display().to_string()).start();
        assert_told(&daemon, &["certificate", what], &[advice]);
    }
    assert!(sts.requests().is_empty(), "no request is sent to an untrusted server");
}

#[test]
fn a_server_without_tls_is_told() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A web server without TLS answers a handshake so.
            let _ = std::io::Write::write_all(
                &mut &stream,
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
            // Read until the other side closes: closing with unread bytes would reset the connection.
            let _ = std::io::copy(&mut &stream, &mut std::io::sink());
        }
    });
    let sts = FakeSts::start();
    let url = format!("https://{address}");
    let daemon = setup(&sts).endpoint(&url).start();
    assert_told(&daemon, &[&url, "does not speak TLS"], &["`sts.endpoint_url`", "HTTPS_PROXY"]);
}

// === no answer, at each stage ===

#[test]
fn a_timeout_at_every_stage_is_told() {
    std::thread::scope(|scope| {
        for fault in [
            Fault::HangOnAccept,
            Fault::Hang,
            Fault::HangMidHead,
            Fault::HangMidBody,
            Fault::SlowBody { chunk: 1, every: Duration::from_secs(1) },
        ] {
            scope.spawn(move || {
                assert_fault_is_told(
                    fault,
                    &["no answer from http://127.0.0.1", "within 1 s"],
                    &["egress", "HTTPS_PROXY"],
                );
            });
        }
    });
}

// === a closed connection, at each stage ===

#[test]
fn a_closed_connection_at_every_stage_is_told() {
    std::thread::scope(|scope| {
        for fault in [
            Fault::ResetOnAccept,
            Fault::Reset,
            Fault::Close,
            Fault::CloseMidHead,
            Fault::CloseMidBody,
            Fault::ResetMidBody,
            Fault::ContentLengthOff(100),
        ] {
            scope.spawn(move || {
                assert_fault_is_told(
                    fault,
                    &["closed the connection before its answer was complete"],
                    &["if the error continues", "the network team"],
                );
            });
        }
    });
}

// === another server answers ===

#[test]
fn an_answer_that_is_not_http_is_told() {
    assert_fault_is_told(
        Fault::Garbage,
        &["does not speak HTTP"],
        &["`sts.endpoint_url`", "NO_PROXY"],
    );
}

#[test]
fn a_captive_portal_is_told() {
    assert_fault_is_told(
        Fault::Page { status: 200 },
        &["answered HTTP 200, which is not an STS response"],
        &["captive portal", "NO_PROXY"],
    );
}

#[test]
fn a_proxy_that_requires_a_password_is_told() {
    assert_fault_is_told(
        Fault::Page { status: 407 },
        &["answered HTTP 407, which is not an STS response"],
        &["a user name and a password", "HTTPS_PROXY"],
    );
}

/// The proxy refuses the tunnel for a TLS connection.
#[test]
fn a_proxy_that_refuses_the_tunnel_is_told() {
    let sts = FakeSts::start();
    sts.any().always(Fault::Page { status: 407 });
    let daemon = setup(&sts)
        .endpoint("https://sts.roletap.invalid")
        .env("HTTPS_PROXY", &sts.endpoint_url())
        .start();
    assert_told(
        &daemon,
        &["the proxy did not connect roletap to https://sts.roletap.invalid"],
        &["HTTPS_PROXY", "NO_PROXY"],
    );
    sts.wait_for(|log| !log.is_empty(), PATIENCE);
}
