//! Every kind of source over real sockets: the requests that STS received, and the key that signed them.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;

use crate::support::hanging::Hanging;
use crate::support::harness::{
    BASE_KEY, BASE_SECRET, Daemon, PATIENCE, Setup, arn, text, wait_for, with,
};
use crate::support::signature::assert_signed;
use crate::support::tls::{Authority, Flaw, TlsFront};
use fake_sts::{FakeSts, Fault, Received};

const KEY: &str = "AKIASOURCEKEY2222222";
const SECRET: &str = "sSource5ecretOf+the/wire0tier1234567890a";
const OTHER_KEY: &str = "AKIASOURCEKEY3333333";
const OTHER_SECRET: &str = "tSource5ecretOf+the/wire0tier1234567890b";

/// A daemon whose default base identity must not sign: every test here configures its own source.
fn setup(sts: &FakeSts) -> Setup {
    with(sts).sts("attempt_timeout = \"2s\"\nconnect_timeout = \"1s\"")
}

/// The only request for this role.
fn sent(sts: &FakeSts, role: &str) -> Received {
    let of_role: Vec<Received> = sts
        .requests()
        .into_iter()
        .filter(|request| request.role_arn.as_deref() == Some(&arn(role)))
        .collect();
    let [request] = &of_role[..] else { panic!("{} requests for {role}", of_role.len()) };
    request.clone()
}

fn write(path: &Path, text: &str) {
    // Replace the file atomically, as a rotation should.
    let aside = path.with_extension("new");
    std::fs::write(&aside, text).expect("to write");
    std::fs::rename(&aside, path).expect("to rename");
}

fn profile_text(key: &str, secret: &str) -> String {
    format!("[legacy]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
}

fn printed(key: &str, secret: &str, more: &str) -> String {
    format!("{{\"Version\":1,\"AccessKeyId\":\"{key}\",\"SecretAccessKey\":\"{secret}\"{more}}}")
}

fn source_up(daemon: &Daemon, source: &str) -> Option<f64> {
    daemon.metric("roletap_source_up", &[("source", source)])
}

// === each kind ===

#[test]
fn keys_in_the_environment_sign() {
    let sts = FakeSts::start();
    let daemon = setup(&sts)
        .source("env", "environment = true")
        .env("AWS_SESSION_TOKEN", "the-token-of-the-environment")
        .role_with("orders", "source = \"env\"")
        .start();
    daemon.vended("orders");
    let token = Some("the-token-of-the-environment");
    assert_signed(&sent(&sts, "orders"), BASE_KEY, BASE_SECRET, token);
    assert_eq!(source_up(&daemon, "env"), Some(1.0));
    assert_eq!(source_up(&daemon, "default"), None, "nobody uses it");
}

#[test]
fn a_profile_in_configured_files_signs() {
    let sts = FakeSts::start();
    let setup = setup(&sts)
        .source(
            "legacy",
            "profile = \"legacy\"\nconfig_file = \"config\"\nshared_credentials_file = \"credentials\"",
        )
        .role_with("orders", "source = \"legacy\"");
    write(&setup.home().join("config"), "[profile legacy]\nregion = eu-west-1\n");
    write(&setup.home().join("credentials"), &profile_text(KEY, SECRET));
    let daemon = setup.start();
    daemon.vended("orders");
    assert_signed(&sent(&sts, "orders"), KEY, SECRET, None);
}

#[test]
fn a_profile_with_a_source_profile_assumes_a_role_first() {
    let sts = FakeSts::start();
    let setup = setup(&sts)
        .env("AWS_ENDPOINT_URL_STS", &sts.endpoint_url())
        .source("hop", "profile = \"hop\"\nconfig_file = \"config\"")
        .role_with("orders", "source = \"hop\"\nduration_seconds = 7200");
    let config = format!(
        "[profile hop]\nrole_arn = {}\nsource_profile = base\n[profile base]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n",
        arn("hop")
    );
    write(&setup.home().join("config"), &config);
    let daemon = setup.start();
    daemon.vended("orders");
    assert_signed(&sent(&sts, "hop"), KEY, SECRET, None);
    let hop = &sts.issued()[0];
    let orders = sent(&sts, "orders");
    let (secret, token) = (&hop.secret_access_key, Some(hop.session_token.as_str()));
    assert_signed(&orders, &hop.access_key_id, secret, token);
    // The configuration does not show that this is a chain: AWS grants at most an hour.
    assert_eq!(orders.duration_seconds, Some(3600));
    let line = daemon.logged("itself an assumed role");
    assert!(line.contains("7200"), "{line}");
    let source = &daemon.overview()["sources"][0];
    assert!(text(&source["identity"]).contains(":assumed-role/hop/"), "{source}");
}

#[test]
fn a_profile_runs_its_command_but_a_source_profile_may_not() {
    let sts = FakeSts::start();
    let setup = setup(&sts)
        .env("AWS_ENDPOINT_URL_STS", &sts.endpoint_url())
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/loop")
        .source("direct", "profile = \"direct\"\nconfig_file = \"config\"")
        .source("behind", "profile = \"behind\"\nconfig_file = \"config\"")
        .role_with("orders", "source = \"direct\"")
        .role_with("ledger", "source = \"behind\"");
    let seen = setup.home().join("seen");
    let helper = setup.home().join("helper");
    let script =
        format!("#!/bin/sh\nenv >> {}\necho '{}'\n", seen.display(), printed(KEY, SECRET, ""));
    std::fs::write(&helper, script).expect("to write");
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).expect("to set");
    let config = format!(
        "[profile direct]\ncredential_process = {helper}\n[profile behind]\nrole_arn = {}\nsource_profile = direct\n",
        arn("behind"),
        helper = helper.display(),
    );
    write(&setup.home().join("config"), &config);
    let daemon = setup.start();
    daemon.vended("orders");
    let role = daemon.failed("ledger", "source");
    let message = text(&role["last_error"]["message"]);
    assert!(message.contains("the profile direct has a `credential_process`"), "{message}");
    assert_eq!(sts.count(&arn("behind")), 0);
    assert_signed(&sent(&sts, "orders"), KEY, SECRET, None);
    let seen = std::fs::read_to_string(seen).expect("what it saw");
    assert!(seen.contains("PATH="), "{seen}");
    assert!(!seen.contains("\nAWS_CONTAINER"), "it could ask us: {seen}");
}

#[test]
fn a_container_endpoint_is_never_read() {
    let sts = FakeSts::start();
    // This listener stands for the endpoint of the daemon itself.
    let trap = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    trap.set_nonblocking(true).expect("to set");
    let uri = format!("http://{}/v1/credentials/orders", trap.local_addr().expect("an address"));
    let setup = setup(&sts)
        .without_base()
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri)
        .source("loop", "profile = \"loop\"\nconfig_file = \"config\"")
        .role_with("orders", "source = \"loop\"")
        .role("plain");
    let config =
        format!("[profile loop]\nrole_arn = {}\ncredential_source = EcsContainer\n", arn("x"));
    write(&setup.home().join("config"), &config);
    let daemon = setup.start();
    let role = daemon.failed("orders", "source");
    let message = text(&role["last_error"]["message"]);
    assert!(message.contains("never reads a container endpoint"), "{message}");
    daemon.failed("plain", "source");
    assert!(daemon.log().contains("removed AWS_CONTAINER_CREDENTIALS_FULL_URI"));
    assert!(trap.accept().is_err(), "somebody came");
    assert!(sts.requests().is_empty());
}

fn jwt(subject: &str) -> String {
    let claims = format!(
        "{{\"iss\":\"https://oidc.example\",\"aud\":\"sts.amazonaws.com\",\"sub\":\"{subject}\",\"exp\":1999999999}}"
    );
    format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims))
}

#[test]
fn a_web_identity_token_is_trimmed_exchanged_and_read_again() {
    let sts = FakeSts::start();
    let setup = setup(&sts)
        .sts("unsafe_short_sessions = true")
        .source(
            "cluster",
            &format!(
                "web_identity_token_file = \"token\"\nrole_arn = \"{}\"\nrole_session_name = \"base-session\"",
                arn("cluster")
            ),
        )
        .role_with("orders", "source = \"cluster\"");
    let path = setup.home().join("token");
    write(&path, &format!("  {}\n\n", jwt("one")));
    let daemon = setup.start();
    daemon.vended("orders");
    let trade = sent(&sts, "cluster");
    assert_eq!(trade.action, "AssumeRoleWithWebIdentity");
    assert_eq!(trade.web_identity_token.as_deref(), Some(&*jwt("one")));
    assert_eq!(trade.session_name.as_deref(), Some("base-session"));
    assert_eq!(trade.access_key_id, None, "nobody signs it");
    let issued = &sts.issued()[0];
    let token = Some(issued.session_token.as_str());
    assert_signed(&sent(&sts, "orders"), &issued.access_key_id, &issued.secret_access_key, token);
    let labels = [("operation", "AssumeRoleWithWebIdentity"), ("outcome", "issued")];
    assert_eq!(daemon.metric("roletap_sts_requests_total", &labels), Some(1.0));
    let labels = [("source", "cluster")];
    assert!(daemon.metric("roletap_source_expiry_timestamp_seconds", &labels).is_some());
    // A rotated token is read again.
    write(&path, &jwt("two"));
    assert_eq!(daemon.run(&["refresh", "orders"]).code, Some(0));
    sts.wait_for(
        |log| log.iter().any(|request| request.web_identity_token.as_deref() == Some(&*jwt("two"))),
        PATIENCE,
    );
}

#[test]
fn secrets_that_sts_quotes_are_redacted() {
    let sts = FakeSts::start();
    let token = jwt("echoed");
    let echo = |text: &str| Fault::error(400, "ValidationError", &format!("Value '{text}' failed"));
    sts.operation("AssumeRoleWithWebIdentity").always(echo(&token));
    // Also with a control character inside, which the log would drop.
    sts.operation("AssumeRole").always(echo("customer-4711' failed, 'customer\u{7f}-4711"));
    let setup = setup(&sts).role_with("orders", "external_id = \"customer-4711\"").role_with(
        "direct",
        "operation = \"assume_role_with_web_identity\"\nweb_identity_token_file = \"token\"",
    );
    write(&setup.home().join("token"), &token);
    let daemon = setup.start();
    for role in ["orders", "direct"] {
        let role = daemon.role_when(role, "failed", |role| !role["last_error"].is_null());
        let message = text(&role["last_error"]["message"]);
        assert!(message.contains("Value '…' failed"), "{message}");
    }
    let log = daemon.log();
    assert!(!log.contains("customer-4711") && !log.contains(&token), "{log}");
}

#[test]
fn a_refused_token_is_described_by_its_claims() {
    let sts = FakeSts::start();
    let fault = Fault::error(400, "InvalidIdentityToken", "Incorrect token audience");
    sts.operation("AssumeRoleWithWebIdentity").always(fault);
    let setup = setup(&sts)
        .source(
            "cluster",
            &format!("web_identity_token_file = \"token\"\nrole_arn = \"{}\"", arn("cluster")),
        )
        .role_with("orders", "source = \"cluster\"");
    write(&setup.home().join("token"), &jwt("system:serviceaccount:x"));
    let daemon = setup.start();
    let role = daemon.failed("orders", "source");
    let message = text(&role["last_error"]["message"]);
    for part in [
        "InvalidIdentityToken",
        "iss `https://oidc.example`",
        "aud `sts.amazonaws.com`",
        "sub `system:serviceaccount:x`",
        "exp `2033-05-18T03:33:19Z`",
        "written at 20",
        "the source cluster",
    ] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert!(!daemon.log().contains("c2lnbmF0dXJl"), "the token is a secret");
}

#[test]
fn a_credential_process_signs() {
    let sts = FakeSts::start();
    let output =
        printed(KEY, SECRET, ",\"SessionToken\":\"tok\",\"Expiration\":\"2999-01-01T00:00:00Z\"");
    let daemon = setup(&sts)
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "x")
        .source(
            "helper",
            &format!("credential_process = '''echo complaint >&2; env | grep -q ^AWS_CONTAINER && exit 9; echo '{output}' '''"),
        )
        .role_with("orders", "source = \"helper\"")
        .start();
    daemon.vended("orders");
    assert_signed(&sent(&sts, "orders"), KEY, SECRET, Some("tok"));
    assert!(!daemon.log().contains("complaint"));
}

/// A command that hangs affects the roles of its own source only.
#[test]
fn a_command_that_hangs_is_killed_with_its_children_and_delays_no_other_source() {
    let sts = FakeSts::start();
    let setup = setup(&sts);
    let marks = setup.home().join("marks");
    std::fs::create_dir(&marks).expect("to make");
    let command = format!(
        "credential_process = \"sh -c 'echo $$ > {0}/child; exec sleep 600' & echo $$ > {0}/parent; wait\"",
        marks.display()
    );
    let mut setup = setup.sts("max_in_flight = 2").source("slow", &command);
    for number in 0..8 {
        setup = setup.role_with(&format!("slow-{number}"), "source = \"slow\"");
    }
    let daemon = setup.role("quick").role("quicker").start();
    // More roles wait for the slow source than may call STS at once.
    daemon.vended("quick");
    daemon.vended("quicker");
    assert_eq!(daemon.role("slow-0")["phase"], "pending");
    let role = daemon.failed("slow-0", "source");
    let message = text(&role["last_error"]["message"]);
    assert!(message.contains("and was killed"), "{message}");
    for name in ["parent", "child"] {
        let id = std::fs::read_to_string(marks.join(name)).expect("a process id");
        let gone = || {
            let status = std::fs::read_to_string(format!("/proc/{}/stat", id.trim()));
            match status {
                // A new load may have started other processes. This one is gone, or dead and not yet reaped.
                Ok(stat) if !stat.contains(") Z ") => Err(stat),
                Ok(_) | Err(_) => Ok(()),
            }
        };
        wait_for(&format!("the {name} is gone"), gone);
    }
}

#[test]
fn keys_in_files_sign_and_are_rotated() {
    let sts = FakeSts::start().with_base_key(KEY);
    let setup = setup(&sts)
        .source(
            "files",
            "access_key_id_file = \"id\"\nsecret_access_key_file = \"secret\"\nsession_token_file = \"session\"",
        )
        .role_with("orders", "source = \"files\"")
        .role("other");
    let home = setup.home().to_owned();
    write(&home.join("id"), &format!("{KEY}\n"));
    write(&home.join("secret"), &format!(" {SECRET} \n"));
    write(&home.join("session"), "token-one\n");
    sts.add_base_key(BASE_KEY);
    let daemon = setup.start();
    daemon.vended("orders");
    daemon.vended("other");
    assert_signed(&sent(&sts, "orders"), KEY, SECRET, Some("token-one"));
    // The key is replaced and the old one becomes invalid, without a signal or a restart.
    sts.add_base_key(OTHER_KEY);
    write(&home.join("secret"), OTHER_SECRET);
    write(&home.join("id"), OTHER_KEY);
    sts.revoke_base_key(KEY);
    sts.forget_requests();
    assert_eq!(daemon.run(&["refresh", "orders"]).code, Some(0));
    let log = sts.wait_for(|log| !log.is_empty(), PATIENCE);
    assert_signed(&log[0], OTHER_KEY, OTHER_SECRET, Some("token-one"));
    assert_eq!(log[0].answered, "ok");
}

#[test]
fn a_broken_source_affects_only_its_roles_and_recovers_by_itself() {
    let sts = FakeSts::start();
    let setup = setup(&sts)
        .source("files", "access_key_id_file = \"id\"\nsecret_access_key_file = \"secret\"")
        .role_with("orders", "source = \"files\"")
        .role("other");
    let home = setup.home().to_owned();
    let daemon = setup.start();
    daemon.vended("other");
    let role = daemon.failed("orders", "source");
    let message = text(&role["last_error"]["message"]);
    assert!(
        message.contains("the source files") && message.contains("id does not exist"),
        "{message}"
    );
    assert_eq!(daemon.get("orders").json()["code"], "CredentialsUnavailable");
    assert_eq!(
        (source_up(&daemon, "files"), source_up(&daemon, "default")),
        (Some(0.0), Some(1.0))
    );
    let overview = daemon.overview();
    let source = overview["sources"].as_array().into_iter().flatten();
    let errors: Vec<bool> = source.map(|source| source["last_error"].is_null()).collect();
    assert_eq!(errors, [true, false]);
    write(&home.join("secret"), SECRET);
    write(&home.join("id"), KEY);
    // No request triggers this: the task of the source sees the files, and its roles retry.
    daemon.role_when("orders", "has been issued", |role| role["phase"] == "fresh");
    daemon.logged("base credentials are available again");
    assert_eq!(source_up(&daemon, "files"), Some(1.0));
}

#[test]
fn a_refused_key_is_loaded_again_at_once_and_not_for_every_role() {
    let sts = FakeSts::start().with_base_key(OTHER_KEY);
    let setup = setup(&sts);
    let runs = setup.home().join("runs");
    let output = printed(KEY, SECRET, "");
    let command =
        format!("credential_process = '''echo x >> {}; echo '{output}' '''", runs.display());
    let mut setup = setup.source("helper", &command);
    for number in 0..30 {
        setup = setup.role_with(&format!("r{number}"), "source = \"helper\"");
    }
    let daemon = setup.start();
    for number in 0..30 {
        daemon.failed(&format!("r{number}"), "source");
    }
    assert_eq!(source_up(&daemon, "helper"), Some(0.0));
    let count = || std::fs::read_to_string(&runs).expect("runs").lines().count();
    let refused = sts.requests().len();
    assert!(refused >= 30, "{refused} refusals");
    assert!((2..15).contains(&count()), "{} runs for {refused} refusals", count());
}

// === instance metadata ===

/// A fake of the instance metadata service, on loopback.
struct Metadata {
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    serial: Arc<AtomicUsize>,
}

impl Metadata {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let serial: Arc<AtomicUsize> = Arc::default();
        let (seen, number) = (log.clone(), serial.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, number) = (seen.clone(), number.clone());
                std::thread::spawn(move || answer(stream, &seen, &number));
            }
        });
        Self { address, log, serial }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn seen(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }
}

fn answer(mut stream: TcpStream, seen: &Mutex<Vec<String>>, serial: &AtomicUsize) {
    let mut head = Vec::new();
    let mut byte = [0];
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            match std::io::Read::read(&mut stream, &mut byte) {
                Ok(1) => head.push(byte[0]),
                Ok(_) | Err(_) => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let line = head.lines().next().unwrap_or_default().to_owned();
        seen.lock().expect("the log").push(line.clone());
        let body = if line.starts_with("PUT /latest/api/token") {
            "a-metadata-token".to_owned()
        } else if line.contains("/security-credentials/ ") {
            "the-instance-role".to_owned()
        } else {
            let number = serial.load(Ordering::Relaxed);
            format!(
                "{{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"AKIAINSTANCE{number:08}\",\"SecretAccessKey\":\"{SECRET}\",\"Token\":\"instance-token\",\"Expiration\":\"2999-01-01T00:00:00Z\",\"LastUpdated\":\"2020-01-01T00:00:00Z\"}}"
            )
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn instance_metadata_signs() {
    let (sts, metadata) = (FakeSts::start(), Metadata::start());
    let daemon = setup(&sts)
        .without_env("AWS_EC2_METADATA_DISABLED")
        .source("instance", &format!("imds = true\nimds_endpoint = \"{}\"", metadata.url()))
        .role_with("orders", "source = \"instance\"")
        .start();
    daemon.vended("orders");
    let token = Some("instance-token");
    assert_signed(&sent(&sts, "orders"), "AKIAINSTANCE00000000", SECRET, token);
    assert!(metadata.seen()[0].starts_with("PUT /latest/api/token"), "version 2 only");
    // A reload loads the source again, and an unchanged role keeps its credentials.
    metadata.serial.store(1, Ordering::Relaxed);
    daemon.reload();
    assert_eq!(sts.requests().len(), 1);
    let last = daemon.wait_until("a request is signed with the new key", |daemon| {
        assert_eq!(daemon.run(&["refresh", "orders"]).code, Some(0));
        let last = sts.requests().pop().expect("a request");
        let key = last.access_key_id.clone().unwrap_or_default();
        (key == "AKIAINSTANCE00000001").then_some(last).ok_or(key)
    });
    assert_signed(&last, "AKIAINSTANCE00000001", SECRET, token);
}

#[test]
fn the_chain_skips_absent_providers_and_stops_at_a_broken_one() {
    let (sts, metadata) = (FakeSts::start(), Metadata::start());
    let daemon = setup(&sts)
        .without_base()
        .without_env("AWS_EC2_METADATA_DISABLED")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url())
        .env("HOME", "/nonexistent")
        .role("orders")
        .start();
    daemon.vended("orders");
    assert_signed(&sent(&sts, "orders"), "AKIAINSTANCE00000000", SECRET, Some("instance-token"));
    drop(daemon);

    // A token that cannot be read stops the chain: the next provider would be another identity.
    let sts = FakeSts::start();
    let daemon = setup(&sts)
        .without_base()
        .without_env("AWS_EC2_METADATA_DISABLED")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url())
        .env("HOME", "/nonexistent")
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token")
        .env("AWS_ROLE_ARN", &arn("cluster"))
        .role("orders")
        .start();
    let role = daemon.failed("orders", "source");
    let message = text(&role["last_error"]["message"]);
    assert!(message.contains("web identity: /nonexistent/token does not exist"), "{message}");
    assert!(sts.requests().is_empty());
}

#[test]
fn a_profile_that_needs_sso_names_the_feature() {
    let sts = FakeSts::start();
    let setup = setup(&sts)
        .source("sso", "profile = \"sso\"\nconfig_file = \"config\"")
        .role_with("orders", "source = \"sso\"");
    let config = "[profile sso]\nsso_start_url = https://x.awsapps.com/start\nsso_region = eu-central-1\nsso_account_id = 111122223333\nsso_role_name = x\n";
    write(&setup.home().join("config"), config);
    let daemon = setup.start();
    let message = text(&daemon.failed("orders", "source")["last_error"]["message"]);
    if cfg!(feature = "sso") {
        assert!(!message.contains("--features"), "{message}");
    } else {
        assert!(message.contains("--features sso"), "{message}");
    }
}

// === reload ===

#[test]
fn a_changed_source_issues_its_roles_again_but_a_renamed_one_does_not() {
    let sts = FakeSts::start();
    let files =
        |id: &str| format!("access_key_id_file = \"{id}\"\nsecret_access_key_file = \"secret\"");
    let setup = setup(&sts)
        .source("files", &files("one"))
        .role_with("orders", "source = \"files\"")
        .role("other");
    let home: PathBuf = setup.home().to_owned();
    write(&home.join("one"), KEY);
    write(&home.join("two"), OTHER_KEY);
    write(&home.join("secret"), SECRET);
    let mut daemon = setup.start();
    let (orders, other) = (daemon.key("orders"), daemon.key("other"));
    daemon.text.sources = format!("[source.renamed]\n{}\n", files("one"));
    daemon.text.set_role("orders", "source = \"renamed\"");
    daemon.reload();
    assert_eq!((daemon.key("orders"), daemon.key("other")), (orders.clone(), other.clone()));
    assert_eq!(source_up(&daemon, "files"), None);
    daemon.wait_until("the renamed source is up", |daemon| {
        source_up(daemon, "renamed").filter(|up| *up == 1.0).ok_or("not yet".to_owned())
    });
    assert_eq!(sts.requests().len(), 2);
    // Another file may be another identity, so the old credentials are no longer vended.
    sts.role(&arn("orders")).always(Fault::Hang);
    daemon.text.sources = format!("[source.renamed]\n{}\n", files("two"));
    daemon.reload();
    assert_eq!(daemon.get("orders").status, 503);
    assert_eq!(daemon.key("other"), other);
    sts.role(&arn("orders")).clear();
    assert_ne!(daemon.key("orders"), orders);
    let last = sts.requests().pop().expect("a request");
    assert_signed(&last, OTHER_KEY, SECRET, None);
}

// === chains ===

#[test]
fn a_role_is_assumed_by_another_in_any_order() {
    let sts = FakeSts::start();
    let daemon = setup(&sts)
        .role_with("a-child", "source = \"role.b-parent\"\nsource_identity = \"me\"")
        .role_with("b-parent", "source = \"role.c-root\"")
        .role("c-root")
        .start();
    for role in ["a-child", "b-parent", "c-root"] {
        daemon.vended(role);
    }
    let issued = |role: &str| {
        let all = sts.issued();
        all.into_iter().find(|issued| issued.role_arn == arn(role)).expect("an issue")
    };
    assert_signed(&sent(&sts, "c-root"), BASE_KEY, BASE_SECRET, None);
    for (child, parent) in [("b-parent", "c-root"), ("a-child", "b-parent")] {
        let by = issued(parent);
        let token = Some(by.session_token.as_str());
        assert_signed(&sent(&sts, child), &by.access_key_id, &by.secret_access_key, token);
    }
    assert_eq!(source_up(&daemon, "role.b-parent"), Some(1.0));
    assert_eq!(source_up(&daemon, "role.a-child"), None);
    assert_eq!(daemon.role("a-child")["source"], "role.b-parent");
    assert!(!daemon.log().contains(" ERROR "), "nobody failed at the start");
}

#[test]
fn a_child_tells_that_it_waits_for_its_parent_and_follows_at_once() {
    let sts = FakeSts::start();
    sts.role(&arn("parent")).always(Fault::access_denied());
    let daemon = setup(&sts).role("parent").role_with("child", "source = \"role.parent\"").start();
    let role = daemon.failed("child", "source");
    let message = text(&role["last_error"]["message"]);
    assert!(message.starts_with("the role parent has no unexpired credentials: "), "{message}");
    assert!(message.contains("AccessDenied"), "{message}");
    let advice = text(&role["last_error"]["advice"]);
    assert!(advice.contains("fix `role.parent` first"), "{advice}");
    assert_eq!(sts.count(&arn("child")), 0);
    // A child that has failed often waits up to a minute, but its parent wakes it.
    sts.role(&arn("parent")).clear();
    assert_eq!(daemon.run(&["refresh", "parent"]).code, Some(0));
    daemon.vended("parent");
    daemon.vended("child");
}

#[test]
fn a_changed_parent_issues_its_children_again() {
    let sts = FakeSts::start();
    let mut daemon =
        setup(&sts).role("parent").role_with("child", "source = \"role.parent\"").start();
    let (parent, child) = (daemon.key("parent"), daemon.key("child"));
    daemon.text.set_role("parent", "duration_seconds = 7200");
    daemon.reload();
    assert_eq!((daemon.key("parent"), daemon.key("child")), (parent.clone(), child.clone()));
    // The child inherits the tags of the parent's session, and these have changed.
    daemon.text.set_role("parent", "tags = { Team = \"x\" }\ntransitive_tag_keys = [\"Team\"]");
    daemon.reload();
    assert_ne!(daemon.key("parent"), parent);
    assert_ne!(daemon.key("child"), child);
}

// === a source that leads back to roletap ===

#[test]
fn a_source_that_returns_vended_credentials_is_refused() {
    let sts = FakeSts::start();
    let setup = setup(&sts);
    // The configuration does not show that the source leads back to roletap, as with a redirected metadata address.
    let command = format!(
        "credential_process = '''exec {} credential-process orders'''",
        env!("CARGO_BIN_EXE_roletap")
    );
    let config = setup.home().join("roletap.toml");
    let daemon = setup
        .env("ROLETAP_CONFIG", &config.display().to_string())
        .source("loop", &command)
        .role("orders")
        .role_with("ledger", "source = \"loop\"")
        .start();
    daemon.vended("orders");
    assert_eq!(daemon.run(&["refresh", "ledger"]).code, Some(0));
    let role = daemon.failed("ledger", "misconfigured");
    let message = text(&role["last_error"]["message"]);
    assert!(
        message.contains("returns the credentials that roletap vends for the role orders"),
        "{message}"
    );
    assert_eq!(sts.count(&arn("ledger")), 0);
}

#[test]
fn a_source_that_returns_earlier_vended_credentials_is_refused() {
    let sts = FakeSts::start();
    let setup = setup(&sts);
    let kept = setup.home().join("kept");
    let mut daemon = setup
        .source("loop", &format!("credential_process = '''cat {}'''", kept.display()))
        .role("orders")
        .start();
    let old = daemon.vended("orders");
    let part = |name: &str| text(&old[name]);
    let more = format!(",\"SessionToken\":\"{}\"", part("Token"));
    write(&kept, &printed(&part("AccessKeyId"), &part("SecretAccessKey"), &more));
    assert_eq!(daemon.run(&["refresh", "orders"]).code, Some(0));
    daemon
        .role_when("orders", "has another key", |role| role["access_key_id"] != old["AccessKeyId"]);
    daemon.text.set_role("ledger", "source = \"loop\"");
    daemon.reload();
    let role = daemon.failed("ledger", "misconfigured");
    let message = text(&role["last_error"]["message"]);
    assert!(message.contains("returns the credentials that roletap vends"), "{message}");
    assert_eq!(sts.count(&arn("ledger")), 0);
}

#[test]
fn expired_base_credentials_are_refused() {
    let sts = FakeSts::start();
    let expired = ",\"SessionToken\":\"a-session-token\",\"Expiration\":\"2020-01-01T00:00:00Z\"";
    let command = format!("credential_process = '''echo '{}' '''", printed(KEY, SECRET, expired));
    let mut daemon =
        setup(&sts).source("stale", &command).role_with("orders", "source = \"stale\"").prepare();
    daemon.spawn();
    daemon.wait_until_serving();
    let role = daemon.failed("orders", "source");
    let message = text(&role["last_error"]["message"]);
    assert!(message.contains("expired at 2020-01-01T00:00:00Z"), "{message}");
    assert_eq!(source_up(&daemon, "stale"), Some(0.0));
    assert_eq!(sts.count(&arn("orders")), 0);
}

#[test]
fn a_base_that_is_the_role_itself_is_refused_unless_allowed() {
    let sts = FakeSts::start();
    let other = with(&sts).role("orders").start();
    let key = other.vended("orders");
    let part = |name: &str| text(&key[name]);
    // Two daemons: this one signs with the credentials that the other vends.
    let daemon = setup(&sts)
        .without_base()
        .env("AWS_ACCESS_KEY_ID", &part("AccessKeyId"))
        .env("AWS_SECRET_ACCESS_KEY", &part("SecretAccessKey"))
        .env("AWS_SESSION_TOKEN", &part("Token"))
        .role("orders")
        .role_with("meant", &format!("role_arn = \"{}\"\nallow_self_assume = true", arn("orders")))
        .role("ledger")
        .start();
    let role = daemon.failed("orders", "misconfigured");
    let message = text(&role["last_error"]["message"]);
    assert!(message.contains("allow_self_assume"), "{message}");
    daemon.vended("meant");
    daemon.vended("ledger");
}

// === a token in place of a signature ===

#[test]
fn a_role_is_assumed_with_a_web_identity_token() {
    let sts = FakeSts::start();
    let setup = setup(&sts).without_base().role_with(
        "orders",
        "operation = \"assume_role_with_web_identity\"\nweb_identity_token_file = \"token\"\nrole_session_name = \"by-token\"\nduration_seconds = 7200\npolicy_arns = [\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]\nminimum_session_token_size = 2048\npolicy = '{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"*\",\"Resource\":\"*\"}]}'",
    )
    .role_with("child", "source = \"role.orders\"");
    let path = setup.home().join("token");
    write(&path, &format!("{}\n", jwt("one")));
    let daemon = setup.start();
    daemon.vended("orders");
    let first = sent(&sts, "orders");
    assert_eq!(first.action, "AssumeRoleWithWebIdentity");
    assert_eq!(first.web_identity_token.as_deref(), Some(&*jwt("one")));
    assert_eq!(first.session_name.as_deref(), Some("by-token"));
    assert_eq!(first.duration_seconds, Some(7200));
    assert_eq!(first.policy_arns, ["arn:aws:iam::aws:policy/ReadOnlyAccess"]);
    assert_eq!(first.minimum_session_token_size, Some(2048));
    assert!(first.policy.is_some_and(|policy| policy.contains("Deny")));
    assert_eq!((first.access_key_id, first.provider_id), (None, None));
    daemon.vended("child");
    let issued = &sts.issued()[0];
    let token = Some(issued.session_token.as_str());
    assert_signed(&sent(&sts, "child"), &issued.access_key_id, &issued.secret_access_key, token);
    // There is no source, and each attempt reads the newest token.
    assert_eq!(source_up(&daemon, "default"), None);
    write(&path, &jwt("two"));
    assert_eq!(daemon.run(&["refresh", "orders"]).code, Some(0));
    let log = sts.wait_for(
        |log| log.iter().filter(|request| request.web_identity_token.is_some()).count() == 2,
        PATIENCE,
    );
    let tokens: Vec<&str> =
        log.iter().filter_map(|request| request.web_identity_token.as_deref()).collect();
    assert_eq!(tokens, [jwt("one"), jwt("two")]);
    let labels = [("operation", "AssumeRoleWithWebIdentity"), ("outcome", "issued")];
    daemon.wait_until("both are counted", |daemon| {
        let count = daemon.metric("roletap_sts_requests_total", &labels);
        (count == Some(2.0)).then_some(()).ok_or_else(|| format!("{count:?}"))
    });
    assert_eq!(daemon.role("orders")["source"], "web identity");
}

#[test]
fn every_refusal_of_a_token_has_its_class_and_message() {
    let sts = FakeSts::start();
    let rows = [
        ("invalid", 400, "InvalidIdentityToken", "misconfigured"),
        ("claim", 403, "IDPRejectedClaim", "misconfigured"),
        ("provider", 400, "IDPCommunicationError", "network"),
        ("expired", 400, "ExpiredTokenException", "source"),
        ("denied", 403, "AccessDenied", "denied"),
    ];
    let mut setup = setup(&sts);
    write(&setup.home().join("token"), &jwt("system:serviceaccount:x"));
    for (role, status, code, _) in rows {
        sts.role(&arn(role)).always(Fault::error(status, code, "as scripted"));
        setup = setup.role_with(
            role,
            "operation = \"assume_role_with_web_identity\"\nweb_identity_token_file = \"token\"",
        );
    }
    let setup = setup
        .role_with(
            "absent",
            "operation = \"assume_role_with_web_identity\"\nweb_identity_token_file = \"nothing-here\"",
        )
        .role_with(
            "oauth",
            "operation = \"assume_role_with_web_identity\"\nweb_identity_token_file = \"token\"\nprovider_id = \"www.amazon.com\"",
        );
    let daemon = setup.start();
    for (role, _, code, class) in rows {
        let error = &daemon.failed(role, class)["last_error"];
        let message = text(&error["message"]);
        assert_eq!(error["code"], code);
        for part in [
            code,
            "token, written at 20",
            "sub `system:serviceaccount:x`",
            "aud `sts.amazonaws.com`",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        assert!(!message.contains("c2lnbmF0dXJl"), "{message}");
    }
    let message = text(&daemon.failed("absent", "source")["last_error"]["message"]);
    assert!(message.contains("nothing-here does not exist"), "{message}");
    let message = text(&daemon.failed("oauth", "misconfigured")["last_error"]["message"]);
    assert!(message.contains("Remove `provider_id`"), "{message}");
    assert_eq!(sts.count(&arn("oauth")), 0);
}

#[test]
fn an_opaque_token_is_sent_with_its_provider() {
    let sts = FakeSts::start();
    let setup = setup(&sts).role_with(
        "orders",
        "operation = \"assume_role_with_web_identity\"\nweb_identity_token_file = \"token\"\nprovider_id = \"www.amazon.com\"",
    );
    write(&setup.home().join("token"), "Atza|opaque-token-of-an-old-provider");
    let daemon = setup.start();
    daemon.vended("orders");
    let sent = sent(&sts, "orders");
    assert_eq!(sent.provider_id.as_deref(), Some("www.amazon.com"));
    assert_eq!(sent.web_identity_token.as_deref(), Some("Atza|opaque-token-of-an-old-provider"));
}

#[test]
fn the_minimum_session_token_size_is_sent() {
    let sts = FakeSts::start();
    let daemon =
        setup(&sts).role_with("orders", "minimum_session_token_size = 4096").role("plain").start();
    daemon.vended("orders");
    daemon.vended("plain");
    assert_eq!(sent(&sts, "orders").minimum_session_token_size, Some(4096));
    assert_eq!(sent(&sts, "plain").minimum_session_token_size, None);
}

// === proxies ===

/// An HTTP proxy on loopback. It records the requested hosts and connects each to `behind`.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = seen.clone();
                std::thread::spawn(move || tunnel(stream, behind, &seen));
            }
        });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the log").clone()
    }
}

fn tunnel(mut client: TcpStream, behind: SocketAddr, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match std::io::Read::read(&mut client, &mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) | Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.lines().next().unwrap_or_default().to_owned();
    let is_tunnel = line.starts_with("CONNECT ");
    seen.lock().expect("the log").push(line);
    if !is_tunnel || client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").is_err() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(behind) else {
        return;
    };
    let (mut up, mut down) =
        (client.try_clone().expect("a clone"), server.try_clone().expect("a clone"));
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut up, &mut server);
        let _ = server.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut down, &mut client);
}

/// STS is behind a proxy, with a certificate of a private CA and a name that does not resolve on this host.
#[test]
fn sts_is_called_through_a_proxy_with_a_private_ca() {
    let sts = FakeSts::start();
    let authority = Authority::new();
    let front = TlsFront::start(&authority, Flaw::OtherName, sts.address());
    let proxy = Proxy::start(front.address);
    let setup = setup(&sts).endpoint("https://elsewhere.example.com").role("orders");
    let roots = setup.home().join("roots.pem");
    authority.write_to(&roots);
    let daemon = setup
        .env("HTTPS_PROXY", &proxy.url())
        .env("SSL_CERT_FILE", &roots.display().to_string())
        .start();
    daemon.vended("orders");
    assert_signed(&sent(&sts, "orders"), BASE_KEY, BASE_SECRET, None);
    assert!(
        proxy.asked()[0].starts_with("CONNECT elsewhere.example.com:443 "),
        "{:?}",
        proxy.asked()
    );
    // roletap's own commands connect to the daemon without the proxy.
    assert_eq!(daemon.run(&["status"]).code, Some(0));
    assert_eq!(daemon.run(&["credential-process", "orders"]).code, Some(0));
    assert!(proxy.asked().iter().all(|line| line.contains("elsewhere.example.com")));
}

#[test]
fn no_proxy_and_this_host_bypass_the_proxy() {
    let (sts, metadata) = (FakeSts::start(), Metadata::start());
    let authority = Authority::new();
    let front = TlsFront::start(&authority, Flaw::None, sts.address());
    let proxy = Proxy::start(front.address);
    let setup = setup(&sts)
        .without_env("AWS_EC2_METADATA_DISABLED")
        .endpoint(&front.url())
        .source("instance", &format!("imds = true\nimds_endpoint = \"{}\"", metadata.url()))
        .role_with("orders", "source = \"instance\"");
    let roots = setup.home().join("roots.pem");
    authority.write_to(&roots);
    let mut setup = setup.env("SSL_CERT_FILE", &roots.display().to_string());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"] {
        setup = setup.env(name, &proxy.url());
    }
    let daemon = setup.env("NO_PROXY", "intra.example").start();
    daemon.vended("orders");
    assert_eq!(daemon.run(&["status"]).code, Some(0));
    assert_eq!(daemon.run(&["credential-process", "orders"]).code, Some(0));
    assert_eq!(proxy.asked(), Vec::<String>::new());
    drop(daemon);

    // The operator's NO_PROXY list stays in force beside roletap's.
    let daemon = self::setup(&sts)
        .endpoint("https://sts.intra.example")
        .env("HTTPS_PROXY", &proxy.url())
        .env("NO_PROXY", "intra.example")
        .env("RES_OPTIONS", "timeout:1 attempts:1")
        .role("orders")
        .start();
    daemon.failed("orders", "network");
    assert_eq!(proxy.asked(), Vec::<String>::new());
}

#[test]
fn a_source_that_hangs_blocks_one_thread_and_no_shutdown() {
    let sts = FakeSts::start();
    let hanging = Hanging::new();
    let keys = format!(
        "profile = \"legacy\"\nconfig_file = \"none\"\nshared_credentials_file = {:?}",
        hanging.path
    );
    let names: Vec<String> = (0..10).map(|number| format!("role-{number}")).collect();
    let mut setup = setup(&sts).source("mount", &keys).role("well");
    std::fs::write(setup.home().join("none"), "").expect("to write");
    for name in &names {
        setup = setup.role_with(name, "source = \"mount\"");
    }
    let mut daemon = setup.prepare();
    daemon.spawn();
    daemon.wait_until_serving();
    daemon.vended("well");
    daemon.logged("does their file system hang?");
    let attempts = |daemon: &Daemon, name: &str| {
        daemon.metric("roletap_refresh_attempts_total", &[("role", name)]).unwrap_or_default()
    };
    let threads = |daemon: &Daemon| -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()));
        let status = status.expect("its status");
        let line = status.lines().find(|line| line.starts_with("Threads:"));
        let count = line.and_then(|line| line.split_whitespace().nth(1));
        count.expect("a line").parse().expect("a number")
    };
    let before = threads(&daemon);
    for _ in 0..3 {
        let last: Vec<f64> = names.iter().map(|name| attempts(&daemon, name)).collect();
        daemon.signal(Signal::SIGUSR1);
        daemon.wait_until("every role has tried again", |daemon| {
            let now: Vec<f64> = names.iter().map(|name| attempts(daemon, name)).collect();
            let all = now.iter().zip(&last).all(|(now, last)| now > last);
            all.then_some(()).ok_or_else(|| format!("{last:?} {now:?}"))
        });
    }
    // Other threads, such as a resolver, may come and go.
    let now = threads(&daemon);
    assert!(now <= before + 2, "{before} threads, then {now}");
    assert_eq!(daemon.stop(), Some(0));
}
