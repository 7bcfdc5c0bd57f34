//! `roletap doctor`: each finding from something that is really so, with the daemon running and without.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::Uid;
use serde_json::Value;

use crate::support::harness::{
    BASE_KEY, BASE_SECRET, Daemon, Finished, Port, Setup, arn, finish, text, wait_for, with,
};
use fake_sts::s3::{Asked, FakeS3, S3Reply};
use fake_sts::{FakeSts, Fault, Script};

const EXTERNAL_ID: &str = "external-id-that-no-bundle-may-hold-7f3a";

/// Everything the doctor found, by check.
struct Found {
    code: Option<i32>,
    report: Value,
}

impl Found {
    fn of(finished: &Finished) -> Self {
        let report = serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{error}: {finished:?}"));
        Self { code: finished.code, report }
    }

    fn all(&self) -> Vec<&Value> {
        let sections = self.report["sections"].as_array().expect("sections");
        sections
            .iter()
            .flat_map(|section| section["findings"].as_array().into_iter().flatten())
            .collect()
    }

    /// The one finding of this check and result whose words hold these; it tells what to do unless it is good.
    fn finding(&self, check: &str, result: &str, what: &[&str]) -> &Value {
        let all = self.all();
        let mut fit = all.iter().filter(|finding| {
            finding["check"] == check
                && finding["result"] == result
                && what
                    .iter()
                    .all(|word| finding["what"].as_str().is_some_and(|text| text.contains(word)))
        });
        let found = fit.next().unwrap_or_else(|| {
            panic!("no {check} that is {result} with {what:?}: {:#}", self.report)
        });
        let needs_advice = ["failed", "warning"].contains(&result);
        for part in ["meaning", "ask", "change"] {
            assert_eq!(found[part].is_string(), needs_advice, "{found:#}");
        }
        found
    }

    fn none(&self, check: &str) {
        assert!(
            !self.all().iter().any(|finding| finding["check"] == check),
            "{check}: {:#}",
            self.report
        );
    }
}

fn look(daemon: &Daemon, arguments: &[&str]) -> Found {
    let mut all = vec!["doctor", "--json"];
    all.extend(arguments);
    let finished = daemon.run(&all);
    assert!([Some(0), Some(69)].contains(&finished.code), "{finished:?}");
    let found = Found::of(&finished);
    let failed = found.report["failed"].as_u64().expect("a number") > 0;
    assert_eq!(failed, found.code == Some(69), "{finished:?}");
    found
}

fn orders(sts: &FakeSts) -> Setup {
    with(sts).role("orders")
}

// === roletap's base identities, and each hop ===

#[test]
fn a_host_where_all_is_well() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).role("billing").start();
    daemon.vended("orders");
    daemon.vended("billing");
    let found = look(&daemon, &[]);
    assert_eq!(found.code, Some(0));
    found.finding("source", "good", &["source `default` gives the key AKIAROLETAPBASEKEY22"]);
    found.finding("identity", "good", &["arn:aws:iam::999988887777:user/roletap-base"]);
    found.finding("assume", "good", &[&arn("orders"), "assumed for 3", "eu-central-1", " ms"]);
    found.finding("assume", "good", &[&arn("billing")]);
    found.finding("clock", "good", &["agrees"]);
    found.finding("proxy", "good", &["without a proxy"]);
    found.finding("daemon", "good", &["runs"]);
    found.finding("daemon-role", "good", &["has credentials until"]);
    found.finding("endpoint", "good", &["/v1/credentials/orders"]);
    found.finding("token-file", "good", &["mode 0640"]);
    let finished = daemon.run(&["doctor", "orders"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("\n  ✓ "), "{}", finished.stdout);
    assert!(finished.stdout.ends_with("\nall is well\n"), "{}", finished.stdout);
    assert!(!finished.stdout.contains("billing"));
}

#[test]
fn without_a_daemon_the_roles_are_tried_all_the_same() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).prepare();
    let found = look(&daemon, &[]);
    assert_eq!(found.code, Some(0), "{:#}", found.report);
    found.finding("assume", "good", &[&arn("orders")]);
    found.finding("daemon", "warning", &["does not answer"]);
    found.finding("token-file", "note", &["when it starts"]);
    assert_eq!(sts.count(&arn("orders")), 1);
}

#[test]
fn a_denied_hop_says_whom_to_ask() {
    let sts = FakeSts::start();
    sts.role(&arn("orders")).deny();
    let daemon = orders(&sts).role("billing").start();
    daemon.failed("orders", "denied");
    daemon.vended("billing");
    let found = look(&daemon, &[]);
    assert_eq!(found.code, Some(69));
    let hop = found.finding("assume", "failed", &[&arn("orders"), "AccessDenied", "request id"]);
    assert!(text(&hop["ask"]).contains("the owner of account 111122223333"), "{hop}");
    assert!(text(&hop["meaning"]).starts_with("most likely one of"), "{hop}");
    found.finding("assume", "good", &[&arn("billing")]);
    let held = found.finding("daemon-role", "failed", &["nothing to vend (failed)"]);
    // The daemon and the doctor say the same.
    for part in ["meaning", "ask", "change"] {
        assert_eq!(held[part], hop[part]);
    }
    found.finding("endpoint", "failed", &["HTTP 403 AssumeRoleFailed"]);
    let finished = daemon.run(&["doctor", "orders"]);
    for word in ["  ✗ ", "\n      means:  ", "\n      ask:    ", "\n      change: ", "\nfailed: "]
    {
        assert!(finished.stdout.contains(word), "{word:?}: {}", finished.stdout);
    }
    assert_eq!(finished.stderr, "");
}

#[test]
fn without_base_credentials_nothing_is_tried() {
    let sts = FakeSts::start();
    let daemon = orders(&sts)
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .prepare();
    let found = look(&daemon, &[]);
    found.finding("source", "failed", &["no base credentials"]);
    found.none("assume");
    assert!(sts.requests().is_empty());
}

#[test]
fn an_identity_that_sts_does_not_tell_is_a_warning_only() {
    let sts = FakeSts::start();
    sts.operation("GetCallerIdentity").always(Fault::status(405));
    let daemon = orders(&sts).prepare();
    let found = look(&daemon, &[]);
    assert_eq!(found.code, Some(0));
    found.finding("identity", "warning", &["HTTP 405"]);
    found.finding("assume", "good", &[]);
}

#[test]
fn a_base_that_is_a_session_is_told_apart() {
    let sts = FakeSts::start().with_base_arn("arn:aws:sts::999988887777:assumed-role/base/i-0abc");
    let daemon = orders(&sts).prepare();
    look(&daemon, &[]).finding("identity", "good", &["assumed-role/base", "a role session"]);
}

#[test]
fn a_chain_is_walked_hop_by_hop() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role("parent").role_with("child", "source = \"role.parent\"").prepare();
    let found = look(&daemon, &["child"]);
    assert_eq!(found.code, Some(0), "{:#}", found.report);
    found.finding("assume", "good", &["`default` → ", &arn("parent")]);
    found.finding("assume", "good", &["`role.parent` → ", &arn("child")]);
    let signed_by = sts.requests().last().and_then(|request| request.access_key_id.clone());
    let parents = sts.issued().first().map(|issued| issued.access_key_id.clone());
    assert_eq!(signed_by, parents);

    // Each hop once, though two roles have it in common.
    sts.forget_requests();
    look(&daemon, &[]);
    assert_eq!(sts.count(&arn("parent")) + sts.count(&arn("child")), 3);

    sts.role(&arn("parent")).deny();
    let found = look(&daemon, &["child"]);
    found.finding("assume", "failed", &[&arn("parent"), "AccessDenied"]);
    found.finding("assume", "note", &[&arn("child"), "was not tried"]);
}

#[test]
fn sources_are_looked_at_one_by_one() {
    let sts = FakeSts::start();
    let daemon = with(&sts)
        .role("orders")
        .role_with("billing", "source = \"legacy\"\n[source.legacy]\nprofile = \"nobody\"")
        .prepare();
    let found = look(&daemon, &[]);
    found.finding("source", "good", &["source `default`"]);
    found.finding("source", "failed", &["source `legacy`", "no base credentials"]);
    found.finding("assume", "good", &[&arn("orders")]);
    assert_eq!(sts.count(&arn("billing")), 0);
}

#[test]
fn a_clock_that_is_off_has_a_limit() {
    for (shift, result) in [(60, "warning"), (600, "failed")] {
        let sts = FakeSts::start();
        sts.any().always(Script::ok().dated(shift));
        let daemon = orders(&sts).prepare();
        look(&daemon, &[]).finding("clock", result, &["is off by", " s"]);
    }
    let sts = FakeSts::start();
    sts.stop();
    let daemon = orders(&sts).prepare();
    let found = look(&daemon, &[]);
    found.finding("clock", "note", &["was not compared"]);
    found.finding("assume", "failed", &["refuses connections"]);
}

#[test]
fn proxies_are_told_without_their_passwords() {
    let sts = FakeSts::start();
    let daemon = orders(&sts)
        .endpoint("https://sts.roletap.invalid")
        .env("HTTPS_PROXY", &sts.endpoint_url().replace("://", "://me:pa55word@"))
        .env("HTTP_PROXY", "http://me:pa55word@127.0.0.1:9")
        .prepare();
    sts.any().always(Fault::Page { status: 407 });
    let found = look(&daemon, &[]);
    found.finding("proxy", "note", &["https://sts.roletap.invalid", "HTTPS_PROXY"]);
    found.finding(
        "proxy-loopback",
        "warning",
        &["in this shell", "http://127.0.0.1:9 (HTTP_PROXY)"],
    );
    found.finding("assume", "failed", &["the proxy did not connect roletap"]);
    assert!(!found.report.to_string().contains("pa55word"));
}

#[test]
fn what_is_on_this_host_is_asked_without_a_proxy() {
    let sts = FakeSts::start();
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("not to wait");
    let url = format!("http://{}", proxy.local_addr().expect("an address"));
    let setup = with(&sts);
    let seen = setup.home().join("seen");
    let script = setup.home().join("vend");
    write(
        &script,
        &format!(
            "#!/bin/sh\nenv > {}\nprintf '{{\"Version\": 1, \"AccessKeyId\": \"{BASE_KEY}\", \"SecretAccessKey\": \"{BASE_SECRET}\"}}'\n",
            seen.display()
        ),
    );
    let executable = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&script, executable).expect("to set");
    let process = format!("credential_process = \"{}\"", script.display());
    let daemon = setup
        .source("vend", &process)
        .role_with("orders", "source = \"vend\"")
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
        .env("HTTP_PROXY", &url)
        .start();
    daemon.vended("orders");
    std::fs::remove_file(&seen).expect("the daemon's");
    let store = FakeS3::start(|_| (200, String::new(), "<ListBucketResult/>".to_owned()));
    let found = s3(&daemon, &store, &[]);
    found.finding("assume", "good", &[&arn("orders")]);
    found.finding("s3", "good", &["lists"]);
    found.finding("proxy-loopback", "warning", &["(HTTP_PROXY)"]);
    assert_eq!(found.code, Some(0), "{:#}", found.report);
    let seen = std::fs::read_to_string(&seen).expect("doctor's");
    assert!(!seen.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI="), "{seen}");
    let finished = daemon.run(&["policy", "orders"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(proxy.accept().is_err(), "something went to the proxy");
}

#[test]
fn a_fifo_in_the_place_of_a_token_keeps_nobody_waiting() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).start();
    daemon.vended("orders");
    let token = daemon.home().join("fifo");
    nix::unistd::mkfifo(&token, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let variables = write(
        &daemon.home().join("variables"),
        &format!("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={}\n", token.display()),
    );
    let file = variables.display().to_string();
    let found = look(&daemon, &["orders", "--env-file", &file]);
    assert!(found.report.to_string().contains("no regular file"), "{:#}", found.report);
}

// === the differential probe ===

#[test]
fn a_token_is_sent_without_an_external_id_so_there_is_no_hole() {
    let sts = FakeSts::start();
    let setup = with(&sts).defaults("external_id = \"customer-4711\"");
    std::fs::write(setup.home().join("token"), "a.b.c").expect("to write");
    let daemon = setup
        .role_with(
            "orders",
            "operation = \"assume_role_with_web_identity\"\nweb_identity_token_file = \"token\"",
        )
        .prepare();
    look(&daemon, &["--probe"]).none("confused-deputy");
}

#[test]
fn a_role_that_does_not_demand_its_external_id_is_a_hole() {
    let sts = FakeSts::start();
    let keys = format!("external_id = \"{EXTERNAL_ID}\"");
    let daemon = with(&sts).role_with("orders", &keys).prepare();
    look(&daemon, &[]).none("confused-deputy");
    let found = look(&daemon, &["--probe"]);
    assert_eq!(found.code, Some(69));
    let hole = found.finding("confused-deputy", "failed", &["without the external id"]);
    assert!(text(&hole["change"]).contains("sts:ExternalId"), "{hole}");
    assert!(text(&hole["ask"]).contains("111122223333"), "{hole}");
    let sent = sts.take_requests();
    let probe = sent.last().expect("a request");
    assert_eq!((probe.external_id.as_deref(), probe.duration_seconds), (None, Some(900)));

    sts.role(&arn("orders")).external_id(EXTERNAL_ID);
    let found = look(&daemon, &["--probe"]);
    assert_eq!(found.code, Some(0));
    found.finding("confused-deputy", "good", &["as it should be"]);
}

#[test]
fn a_probe_finds_what_makes_the_difference() {
    let sts = FakeSts::start();
    // Refuses whoever has the wrong external id; the probe without it must fail, too.
    sts.role(&arn("orders")).external_id("another");
    let daemon =
        with(&sts).role_with("orders", "external_id = \"mine\"\ntags = { A = \"1\" }").prepare();
    let found = look(&daemon, &["--probe"]);
    found.finding("assume", "failed", &[]);
    found.finding("probe", "note", &["nothing that is asked for"]);

    // The order of asking: as configured, without tags, without the external id.
    let denied = || Fault::access_denied();
    for (second, third, check) in
        [(Fault::None, denied(), "tags"), (denied(), Fault::None, "external-id")]
    {
        let sts = FakeSts::start();
        sts.role(&arn("orders")).once(denied()).once(second).once(third);
        let daemon = with(&sts)
            .role_with("orders", "external_id = \"mine\"\ntags = { A = \"1\" }")
            .prepare();
        look(&daemon, &["--probe"]).finding(check, "failed", &["can be assumed without"]);
    }
    let sts = FakeSts::start();
    sts.role(&arn("orders")).once(denied());
    let daemon = with(&sts)
        .role_with("orders", "policy_arns = [\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]")
        .prepare();
    look(&daemon, &["--probe"]).finding(
        "session-policy",
        "failed",
        &["without the session policies"],
    );
}

// === the daemon ===

#[test]
fn credentials_in_hand_that_are_not_refreshed_are_a_warning() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).start();
    daemon.vended("orders");
    sts.role(&arn("orders")).deny();
    daemon.admin_with("POST", "/roles/orders/refresh");
    daemon.failed("orders", "denied");
    look(&daemon, &[]).finding("daemon-role", "warning", &["fails to refresh", "AccessDenied"]);
}

#[test]
fn a_configuration_that_the_daemon_has_not_read_is_noticed() {
    let sts = FakeSts::start();
    let mut daemon = orders(&sts).start();
    daemon.vended("orders");
    daemon.text.set_role("billing", "");
    daemon.text.set_role("orders", &format!("role_arn = \"{}\"", arn("other")));
    daemon.write_config();
    let found = look(&daemon, &[]);
    found.finding("daemon-role", "failed", &["does not know this role"]);
    found.finding(
        "daemon-role",
        "failed",
        &["the daemon has arn:aws:iam::111122223333:role/orders"],
    );
    found.finding("token-file", "failed", &["tokens/billing"]);
}

#[test]
fn whether_it_is_seen_who_is_calling() {
    let (we, other) = (Uid::effective().as_raw(), Uid::effective().as_raw() + 1);
    let sts = FakeSts::start();
    let mut daemon = orders(&sts).start();
    daemon.vended("orders");
    look(&daemon, &[]).none("callers");
    daemon.text.set_role("orders", &format!("allow_users = [\"{we}\"]"));
    daemon.reload();
    let found = look(&daemon, &[]);
    found.finding("callers", "good", &["who is calling"]);
    found.finding("endpoint", "good", &["/v1/credentials/orders"]);
    daemon.text.set_role("orders", &format!("allow_users = [\"{other}\"]"));
    daemon.reload();
    let found = look(&daemon, &[]);
    assert_eq!(found.code, Some(0), "{:#}", found.report);
    let what = ["/v1/credentials/orders", "`allow_users`", "as the workload"];
    found.finding("endpoint", "note", &what);
}

// === the fronts ===

fn front(address: SocketAddr, role: &str, more: &str) -> String {
    format!("listen = \"{address}\"\nrole = \"{role}\"\n{more}")
}

#[test]
fn a_front_is_asked_as_its_clients_do() {
    let other = Uid::effective().as_raw() + 1;
    let (good, guarded, denied) = (Port::reserve(), Port::reserve(), Port::reserve());
    let sts = FakeSts::start();
    sts.role(&arn("denied")).always(Fault::access_denied());
    let mut daemon = orders(&sts)
        .role("denied")
        .role_with("guarded", &format!("allow_users = [\"{other}\"]"))
        .front("good", &front(good.address, "orders", ""))
        .front("guarded", &front(guarded.address, "guarded", ""))
        .front("denied", &front(denied.address, "denied", ""))
        .start();
    daemon.vended("orders");
    daemon.failed("denied", "denied");
    daemon.role_when("guarded", "is there", |role| role["phase"] == "fresh");
    let found = look(&daemon, &[]);
    let at = good.address.to_string();
    found.finding("front", "good", &["imds.good", &at, "`orders`"]);
    found.finding("front", "note", &["imds.guarded", "`allow_users`"]);
    let what = ["imds.denied", "HTTP 403 AssumeRoleFailed", "`denied`"];
    found.finding("front", "failed", &what);
    // Only those of the roles that are asked about.
    let found = look(&daemon, &["orders"]);
    assert_eq!(found.code, Some(0), "{:#}", found.report);
    found.finding("front", "good", &["imds.good"]);
    // What the daemon has not read.
    daemon.text.fronts = format!("[imds.good]\n{}\n", front(good.address, "denied", ""));
    daemon.write_config();
    let found = look(&daemon, &["denied"]);
    found.finding("front", "failed", &["the role `orders`, not `denied`"]);
    let page = daemon.run(&["doctor", "denied"]).stdout;
    assert!(page.contains("\nthe fronts\n  ✗ imds.good at"), "{page}");
}

/// Who is told of a consumer that has not come back runs the doctor next.
#[test]
fn a_look_is_not_taken_for_a_consumer_that_comes_back() {
    let sts = FakeSts::start();
    let door = Port::reserve();
    let daemon = with(&sts)
        .role("orders")
        .front("door", &front(door.address, "orders", ""))
        .sessions_of(3)
        .start();
    daemon.vended("orders");
    let stale = || daemon.metric("roletap_stale_consumers", &[("role", "orders")]);
    wait_for("it is stale", || match stale() {
        Some(1.0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let found = look(&daemon, &[]);
    found.finding("endpoint", "good", &["/v1/credentials/orders"]);
    found.finding("front", "good", &["imds.door"]);
    assert_eq!(stale(), Some(1.0));
}

#[test]
fn a_front_that_cannot_be_asked_from_here() {
    let sts = FakeSts::start();
    // Nobody has this one.
    let nowhere = SocketAddr::from(([169, 254, 77, 77], 80));
    let here = Port::reserve();
    let mut daemon = orders(&sts)
        .front("systemds", &front(nowhere, "orders", "socket = \"systemd\""))
        .front("here", &front(here.address, "orders", ""))
        .prepare();
    let found = look(&daemon, &[]);
    assert_eq!(found.code, Some(0), "{:#}", found.report);
    found.finding("front", "note", &["imds.systemds", "cannot be asked"]);
    found.finding("front", "note", &["imds.here", "does not run"]);
    // Somebody else's.
    let stranger = front(sts.address(), "orders", "");
    daemon.text.fronts =
        format!("[imds.taken]\n{stranger}\n[imds.ours]\n{}\n", front(nowhere, "orders", ""));
    daemon.write_config();
    let found = look(&daemon, &[]);
    let taken = sts.address().to_string();
    found.finding("front", "failed", &["is not imds.taken", &taken]);
    let ours = found.finding("front", "failed", &["imds.ours", "no interface"]);
    assert!(text(&ours["change"]).contains("ip address add"), "{ours}");
    // A daemon that runs, and a front that it has not got.
    daemon.text.fronts.clear();
    daemon.write_config();
    daemon.launch();
    daemon.vended("orders");
    daemon.text.fronts = format!("[imds.here]\n{}\n", front(here.address, "orders", ""));
    daemon.write_config();
    let found = look(&daemon, &[]);
    found.finding("front", "warning", &["nobody answers for imds.here"]);
}

#[test]
fn a_token_file_that_was_changed_or_is_open_to_all() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).start();
    daemon.vended("orders");
    let path = daemon.token_path("orders");
    std::fs::remove_file(&path).expect("to remove");
    std::fs::write(&path, "another-token\n").expect("to write");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("to open it");
    let found = look(&daemon, &[]);
    found.finding("token-file", "warning", &["everybody may read", "0644"]);
    found.finding("token-newline", "failed", &["newline"]);
    found.finding("endpoint", "failed", &["HTTP 401 Unauthorized"]);
    assert!(!found.report.to_string().contains("another-token"));
}

#[test]
fn whether_a_user_may_read_the_token() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).start();
    let ours =
        nix::unistd::User::from_uid(Uid::effective()).ok().flatten().expect("a user of our own");
    look(&daemon, &["--user", &ours.name]).finding("token-readable", "good", &["may read it"]);
    let found = look(&daemon, &["--user", "nobody"]);
    let finding =
        found.finding("token-readable", "failed", &["user nobody may not read it", "has mode"]);
    assert!(text(&finding["change"]).contains("token_group"), "{finding}");
    let finished = daemon.run(&["doctor", "--user", "nobody-of-this-name"]);
    assert_eq!(finished.code, Some(64), "{finished:?}");
}

// === the workload ===

/// A process that waits, with this environment and no other.
struct Workload(Child);

impl Workload {
    fn start(variables: &[(&str, &str)]) -> Self {
        let child = Command::new("sleep")
            .arg("600")
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .expect("sleep starts");
        Self(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `roletap env` prints for a role.
fn as_printed(daemon: &Daemon, role: &str) -> Vec<(String, String)> {
    let finished = daemon.run(&["env", role, "--format", "json"]);
    let settings: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let set = settings["set"].as_object().expect("an object");
    set.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn with_changes<'a>(
    printed: &'a [(String, String)],
    changes: &'a [(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let kept = printed
        .iter()
        .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name))
        .map(|(name, value)| (name.as_str(), value.as_str()));
    kept.chain(changes.iter().copied().filter(|(_, value)| !value.is_empty())).collect()
}

#[test]
fn a_process_that_has_what_env_prints_is_well() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).start();
    daemon.vended("orders");
    let printed = as_printed(&daemon, "orders");
    let workload = Workload::start(&with_changes(&printed, &[]));
    let found = look(&daemon, &["orders", "--pid", &workload.pid()]);
    assert_eq!(found.code, Some(0), "{:#}", found.report);
    found.finding("shadowed", "good", &[]);
    found.finding("address", "good", &["the role `orders`"]);
    found.finding("token", "good", &["its token is the role's"]);
    found.finding("proxy-loopback", "good", &[]);
    found.finding("token-readable", "good", &["(sleep) may read it"]);
}

/// Variables that are changed or taken away; the check, its result and its words.
type Mistake<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str, &'a str);

#[test]
fn each_mistake_of_a_process_is_found() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).role("billing").start();
    daemon.vended("orders");
    let printed = as_printed(&daemon, "orders");
    let token = daemon.token("orders");
    let other = daemon.token("billing");
    let vend = daemon.vend_address();
    let newline = daemon.home().join("newline");
    std::fs::write(&newline, format!("{token}\n")).expect("to write");
    let newline = newline.display().to_string();
    let metadata = FakeS3::start(|_: &Asked| (404, String::new(), String::new()));
    let full = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let variable = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
    let file = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
    let at = |rest: &str| format!("http://{rest}/v1/credentials/orders");
    let wrong_port = at("127.0.0.1:1");
    let by_name = at(&format!("localhost:{}", vend.port()));
    let wrong_role = format!("http://{vend}/v1/credentials/billing");
    let cases: &[Mistake<'_>] = &[
        (
            &[("AWS_ACCESS_KEY_ID", "AKIAX"), ("AWS_SECRET_ACCESS_KEY", BASE_SECRET)],
            "shadowed",
            "failed",
            "AWS_ACCESS_KEY_ID is set",
        ),
        (&[("AWS_PROFILE", "x")], "shadowed", "failed", "AWS_PROFILE is set"),
        (&[("AWS_DEFAULT_PROFILE", "x")], "shadowed", "failed", "AWS_DEFAULT_PROFILE is set"),
        (
            &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")],
            "shadowed",
            "failed",
            "AWS_WEB_IDENTITY_TOKEN_FILE is set",
        ),
        (
            &[("DISABLE_DEFAULT_CREDENTIAL", "true")],
            "shadowed",
            "failed",
            "DISABLE_DEFAULT_CREDENTIAL is set",
        ),
        (&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")], "address", "failed", "is set beside"),
        (&[(full, "")], "address", "failed", "is not set"),
        (&[(full, &wrong_port)], "address", "failed", "names 127.0.0.1:1, and roletap listens at"),
        (&[(full, &by_name)], "address", "warning", "names localhost"),
        (&[(full, &wrong_role)], "address", "failed", "names the role `billing`, not `orders`"),
        (&[(variable, &other), (file, "")], "token", "failed", "is that of the role `billing`"),
        (&[(variable, "an-old-token")], "token", "failed", "hold different tokens"),
        (&[(variable, ""), (file, "")], "token", "failed", "neither"),
        (&[(variable, "")], "token", "warning", "AWS_CONTAINER_AUTHORIZATION_TOKEN is not set"),
        (&[(file, "")], "token", "warning", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is not set"),
        (&[(file, "/nowhere")], "token", "warning", "cannot be read here"),
        (&[(file, &newline)], "token-newline", "failed", "newline"),
        (
            &[("HTTP_PROXY", "http://proxy:3128"), ("NO_PROXY", ""), ("no_proxy", "")],
            "proxy-loopback",
            "failed",
            "http://proxy:3128",
        ),
        (
            &[
                ("AWS_EC2_METADATA_DISABLED", ""),
                ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url()),
            ],
            "metadata",
            "warning",
            "instance metadata answers",
        ),
        (
            &[
                ("AWS_EC2_METADATA_DISABLED", ""),
                ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1"),
            ],
            "metadata",
            "note",
            "does not answer here",
        ),
    ];
    for (changes, check, result, what) in cases {
        let workload = Workload::start(&with_changes(&printed, changes));
        let found = look(&daemon, &["orders", "--pid", &workload.pid()]);
        found.finding(check, result, &[what]);
        let said = found.report.to_string();
        for secret in [token.as_str(), &other, BASE_SECRET, "an-old-token"] {
            assert!(!said.contains(secret), "{what}: {said}");
        }
    }
}

#[test]
fn a_process_that_is_not_there_or_not_ours() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).prepare();
    let finished = daemon.run(&["doctor", "--pid", "4194305"]);
    assert_eq!(finished.code, Some(64), "{finished:?}");
    assert!(finished.stderr.contains("there is no process"), "{finished:?}");
    if Uid::effective().is_root() {
        for path in [daemon.home(), &daemon.config_path()] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
                .expect("to open");
        }
        let workload = Workload::start(&[]);
        let finished = daemon.run_as(65534, &["doctor", "--pid", &workload.pid()]);
        assert_eq!(finished.code, Some(77), "{finished:?}");
        assert!(finished.stderr.contains("run doctor with sudo"), "{finished:?}");
    }
}

fn write(path: &Path, text: &str) -> PathBuf {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("to make directories");
    std::fs::write(path, text).expect("to write");
    path.to_owned()
}

#[test]
fn a_unit_is_read_with_drop_ins_and_files() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).start();
    daemon.vended("orders");
    let finished = daemon.run(&["env", "orders", "--format", "systemd"]);
    let home = daemon.home();
    let unit = write(
        &home.join("sink.service"),
        "[Service]\nExecStart=/bin/sink\nEnvironment=AWS_PROFILE=legacy\n",
    );
    let path = unit.display().to_string();
    let found = look(&daemon, &["orders", "--unit", &path]);
    found.finding("shadowed", "failed", &["AWS_PROFILE is set"]);
    found.finding("address", "failed", &["is not set"]);

    // What env prints for systemd, as a drop-in, mends it: also the profile, which it unsets.
    write(&home.join("sink.service.d/roletap.conf"), &format!("[Service]\n{}", finished.stdout));
    let found = look(&daemon, &["orders", "--unit", &path]);
    assert_eq!(found.code, Some(0), "{:#}", found.report);

    let keys = write(&home.join("keys.env"), "AWS_ACCESS_KEY_ID=AKIAX\n");
    write(
        &home.join("sink.service.d/zz.conf"),
        &format!("[Service]\nUnsetEnvironment=\nEnvironmentFile={}\n", keys.display()),
    );
    let docker = daemon.run(&["env", "orders", "--format", "docker"]);
    let file =
        write(&home.join("docker.env"), &format!("{}AWS_ACCESS_KEY_ID=AKIAX\n", docker.stdout));
    let found = look(&daemon, &["orders", "--env-file", &file.display().to_string()]);
    found.finding("shadowed", "failed", &["AWS_ACCESS_KEY_ID is set"]);
    found.finding("token", "good", &[]);

    let finished = daemon.run(&["doctor", "--unit", "/nowhere/sink.service"]);
    assert_eq!(finished.code, Some(69), "{finished:?}");
}

/// As systemd tells it: a systemctl of our own on the path.
#[test]
fn a_unit_is_asked_of_systemd() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).start();
    daemon.vended("orders");
    let bin = daemon.home().join("bin");
    let script = write(
        &bin.join("systemctl"),
        "#!/bin/sh\nfor unit; do :; done\n[ \"$unit\" = sink.service ] || { echo LoadState=not-found; exit 0; }\n\
         echo 'Environment=AWS_ACCESS_KEY_ID=AKIAX \"OTHER=two words\"'\necho 'LoadState=loaded'\n",
    );
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("a script");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let ask = |unit: &str| {
        finish(daemon.command(&["doctor", "--json", "--unit", unit]).env("PATH", &path))
    };
    Found::of(&ask("sink.service")).finding("shadowed", "failed", &["AWS_ACCESS_KEY_ID is set"]);
    let finished = ask("nobody.service");
    assert_eq!(finished.code, Some(64), "{finished:?}");
    assert!(finished.stderr.contains("give the path of the unit file instead"), "{finished:?}");
}

// === S3 ===

fn error(status: u16, code: &str, message: &str) -> S3Reply {
    let body = format!(
        "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    (status, String::new(), body)
}

fn s3(daemon: &Daemon, s3: &FakeS3, more: &[&str]) -> Found {
    let url = s3.url();
    let mut arguments = vec!["orders", "--s3", "s3://sink-bucket/a b/c", "--s3-endpoint", &url];
    arguments.extend(more);
    look(daemon, &arguments)
}

#[test]
fn s3_is_asked_with_what_the_daemon_vends() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).start();
    let key = daemon.key("orders");
    let store = FakeS3::start(|_| (200, String::new(), "<ListBucketResult/>".to_owned()));
    let found = s3(&daemon, &store, &[]);
    assert_eq!(found.code, Some(0), "{:#}", found.report);
    found.finding("s3", "good", &["lists s3://sink-bucket/a b/c"]);
    let [asked] = &store.asked()[..] else { panic!("not one request") };
    assert_eq!(asked.method, "GET");
    assert_eq!(asked.target, "/sink-bucket/?list-type=2&max-keys=1&prefix=a%20b%2Fc");
    assert!(asked.head.contains(&format!("Credential={key}/")), "{}", asked.head);
    assert!(asked.head.contains("/eu-central-1/s3/aws4_request"), "{}", asked.head);
    assert!(asked.head.contains("x-amz-security-token: "), "{}", asked.head);

    let found = s3(&daemon, &store, &["--s3-write"]);
    found.finding("s3", "good", &["writes a probe object"]);
    found.finding("s3", "good", &["deletes the probe object"]);
    let asked = store.asked();
    let last: Vec<(&str, &str)> =
        asked[2..].iter().map(|asked| (asked.method.as_str(), asked.target.as_str())).collect();
    let object = "/sink-bucket/a%20b/c/.roletap-doctor";
    assert_eq!(last, [("PUT", object), ("DELETE", object)]);
}

#[test]
fn assumed_and_denied_by_s3_names_the_action_that_is_missing() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).start();
    daemon.vended("orders");
    let sentence = "User: arn:aws:sts::111122223333:assumed-role/orders/x is not authorized to perform: ACTION on resource: \
                    &quot;arn:aws:s3:::sink-bucket&quot; because no identity-based policy allows the ACTION action";
    for (message, meaning, ask) in [
        (
            sentence.replace("ACTION", "s3:ListBucket"),
            "no identity-based policy allows s3:ListBucket on arn:aws:s3:::sink-bucket",
            "111122223333",
        ),
        ("Access Denied".to_owned(), "s3:ListBucket is not allowed: most likely", "111122223333"),
    ] {
        let store = FakeS3::start(move |_| error(403, "AccessDenied", &message));
        let found = s3(&daemon, &store, &["--s3-write"]);
        let finding =
            found.finding("s3", "failed", &["HTTP 403 AccessDenied", "request id S3REQ1"]);
        assert!(text(&finding["meaning"]).contains(meaning), "{finding:#}");
        assert!(text(&finding["ask"]).contains(ask), "{finding:#}");
        assert!(text(&finding["change"]).contains("s3:ListBucket"), "{finding:#}");
        found.finding("assume", "good", &[]);
        assert_eq!(store.asked().len(), 2, "what was not written is not deleted");
    }
}

#[test]
fn other_answers_of_s3_are_told_apart() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).start();
    daemon.vended("orders");
    for (status, code, meaning) in [
        (404, "NoSuchBucket", "no bucket of this name"),
        (403, "InvalidAccessKeyId", "does not know what STS issued"),
        (400, "ExpiredToken", "does not know what STS issued"),
        (403, "RequestTimeTooSkewed", "clock"),
        (301, "PermanentRedirect", "another region"),
        (503, "SlowDown", "does not do this"),
    ] {
        let store = FakeS3::start(move |_| error(status, code, "no"));
        let found = s3(&daemon, &store, &[]);
        let finding = found.finding("s3", "failed", &[code]);
        assert!(text(&finding["meaning"]).contains(meaning), "{finding:#}");
    }
    let found = look(
        &daemon,
        &["orders", "--s3", "s3://sink-bucket", "--s3-endpoint", "http://127.0.0.1:1"],
    );
    let finding = found.finding("s3", "failed", &["s3:ListBucket on s3://sink-bucket/"]);
    assert!(text(&finding["ask"]).contains("network team"), "{finding:#}");
}

#[test]
fn a_bucket_of_another_region_is_followed_there() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).start();
    daemon.vended("orders");
    let store = FakeS3::start(|asked| {
        if asked.head.contains("/us-west-2/s3/") {
            return (200, String::new(), String::new());
        }
        (301, "x-amz-bucket-region: us-west-2\r\n".to_owned(), String::new())
    });
    s3(&daemon, &store, &[]).finding("s3", "good", &["lists"]);
    assert_eq!(store.asked().len(), 2);
}

#[test]
fn without_a_daemon_s3_is_not_asked() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).prepare();
    let store = FakeS3::start(|_| (200, String::new(), String::new()));
    s3(&daemon, &store, &[]).finding("s3", "failed", &["S3 was not asked"]);
    assert!(store.asked().is_empty());
}

// === arguments, and what is handed on ===

#[test]
fn arguments_that_make_no_sense() {
    let sts = FakeSts::start();
    let daemon = orders(&sts).role("billing").prepare();
    for (arguments, words) in [
        (&["doctor", "nobody"][..], "no role `nobody`"),
        (&["doctor", "--s3", "s3://sink-bucket"], "name it"),
        (&["doctor", "orders", "--s3", "sink-bucket"], "expected s3://"),
        (&["doctor", "--s3-write"], "--s3"),
        (&["doctor", "--pid", "1", "--unit", "x"], "cannot be used with"),
    ] {
        let finished = daemon.run(arguments);
        assert_eq!(finished.code, Some(64), "{finished:?}");
        assert!(finished.stderr.contains(words), "{finished:?}");
    }
    std::fs::write(daemon.config_path(), "[sts]\n").expect("to write");
    assert_eq!(daemon.run(&["doctor"]).code, Some(78));
    assert!(sts.requests().is_empty());
}

#[test]
fn a_bundle_holds_everything_but_secrets() {
    let sts = FakeSts::start();
    let keys = format!("external_id = \"{EXTERNAL_ID}\"");
    let daemon = with(&sts)
        .env("AWS_SESSION_TOKEN", "base-session-token-that-nobody-may-see")
        .role_with("orders", &keys)
        .role_with("filed", "external_id_file = \"id\"");
    std::fs::write(daemon.home().join("id"), "an-external-id-in-a-file").expect("to write");
    let conf_d = daemon.home().join("conf.d/more.toml");
    write(
        &conf_d,
        &format!(
            "[role.more]\nrole_arn = \"{}\"\n\"external\\u005fid\" = \"one-more-external-id\"\n\
             [source.unused]\ncredential_process = \"/bin/false --password in-a-command-line\"\n",
            arn("more")
        ),
    );
    let daemon = daemon.start();
    daemon.vended("orders");
    let workload = Workload::start(&[
        ("AWS_SECRET_ACCESS_KEY", "another-secret-of-the-workload-1234567890"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", &daemon.token("filed")),
    ]);
    let bundle = daemon.home().join("bundle.txt");
    let path = bundle.display().to_string();
    let arguments = ["doctor", "--probe", "--pid", &workload.pid(), "--bundle", &path];
    let finished = daemon.run(&arguments);
    assert_eq!(finished.code, Some(69), "{finished:?}");
    let mode = std::fs::metadata(&bundle).expect("a bundle").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let written = std::fs::read_to_string(&bundle).expect("text");
    for part in [
        "# roletap 0.1.0",
        "# findings",
        "confused-deputy",
        "[role.orders]",
        "conf.d/more.toml",
        "external_id = [hidden]",
        "external_id_file = \"id\"",
        "\"phase\": \"fresh\"",
        "roletap_build_info",
    ] {
        assert!(written.contains(part), "{part}: {written}");
    }
    let mut secrets = vec![
        EXTERNAL_ID.to_owned(),
        "an-external-id-in-a-file".to_owned(),
        "one-more-external-id".to_owned(),
        "in-a-command-line".to_owned(),
        BASE_SECRET.to_owned(),
        "base-session-token-that-nobody-may-see".to_owned(),
        "another-secret-of-the-workload-1234567890".to_owned(),
    ];
    secrets.extend(["orders", "filed", "more"].map(|role| daemon.token(role)));
    secrets.extend(sts.secrets());
    for secret in &secrets {
        assert!(!written.contains(secret), "{secret}");
        assert!(!finished.stdout.contains(secret), "{secret}");
    }
    sts.forget_requests();
    let finished = daemon.run(&arguments);
    assert!(sts.requests().is_empty(), "nobody is asked for nothing");
    assert!(finished.stderr.contains("cannot write"), "a bundle is not overwritten: {finished:?}");
}
