//! `[imds.NAME]`: instance metadata over real sockets, and what Amazon's own client makes of it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nix::unistd::Uid;
use serde_json::{Value, json};

use crate::support::client::{credentials_found_by, say, variables};
use crate::support::harness::{
    Answer, Connection, Daemon, Port, Setup, arn, finish, request, text, unshared, with,
};
use crate::support::namespace::Namespace;
use fake_sts::{FakeSts, Fault};

const TOKEN: &str = "/latest/api/token";
const LIST: &str = "/latest/meta-data/iam/security-credentials/";
const LIFETIME: &str = "X-aws-ec2-metadata-token-ttl-seconds";
const SESSION: &str = "X-aws-ec2-metadata-token";

/// A daemon with a front, and the port that it has.
struct Fronted {
    daemon: Daemon,
    port: Port,
}

/// What a front says of itself.
fn keys(port: &Port, role: &str, more: &str) -> String {
    format!("listen = \"{}\"\nrole = \"{role}\"\n{more}", port.address)
}

/// Starts it with a front for the role `orders`.
fn fronted(setup: Setup, more: &str) -> Fronted {
    let port = Port::reserve();
    let daemon = setup.front("sink", &keys(&port, "orders", more)).start();
    Fronted { daemon, port }
}

impl Fronted {
    fn at(&self) -> SocketAddr {
        self.port.address
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut connection = Connection::to(self.at());
        connection.send(request(self.at(), method, path, headers).as_bytes());
        connection.answer()
    }

    /// A session token for six hours.
    fn session(&self) -> String {
        let answer = self.ask("PUT", TOKEN, &[(LIFETIME, "21600")]);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text()
    }

    fn get(&self, path: &str, session: &str) -> Answer {
        self.ask("GET", path, &[(SESSION, session)])
    }

    fn credentials(&self, role: &str, session: &str) -> Answer {
        self.get(&format!("{LIST}{role}"), session)
    }

    /// Other keys of the front.
    fn reload(&mut self, role: &str, more: &str) {
        self.daemon.text.fronts = format!("[imds.sink]\n{}\n", keys(&self.port, role, more));
        self.daemon.reload();
    }
}

fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.json()["Code"], code, "{answer:?}");
    assert_eq!(answer.json()["code"], code, "{answer:?}");
}

// === what is served ===

#[test]
fn a_session_token_opens_the_role_and_its_credentials() {
    let sts = FakeSts::start();
    let front = fronted(with(&sts).role("orders").role("other"), "");
    front.daemon.vended("orders");
    let session = front.ask("PUT", TOKEN, &[(LIFETIME, "60")]);
    assert_eq!(session.status, 200, "{session:?}");
    assert_eq!(session.header(LIFETIME), Some("60"));
    assert_eq!(session.header("content-type"), Some("text/plain"));
    assert_eq!(session.header("cache-control"), Some("no-store"));
    let session = session.text();
    // With the slash that belongs there, without, and with the two that a configured endpoint makes of it.
    for path in [LIST.to_owned(), LIST.trim_end_matches('/').to_owned(), format!("/{LIST}")] {
        assert_eq!(front.get(&path, &session).text(), "orders", "{path}");
    }
    let answer = front.credentials("orders", &session);
    let issued = &sts.issued()[0];
    let document = answer.json();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    for (key, value) in [
        ("Code", "Success"),
        ("Type", "AWS-HMAC"),
        ("AccessKeyId", &front.daemon.key("orders")),
        ("SecretAccessKey", &issued_of(&sts, "orders").secret_access_key),
        ("Token", &issued_of(&sts, "orders").session_token),
    ] {
        assert_eq!(document[key], value, "{key}");
    }
    let ends: jiff::Timestamp = text(&document["Expiration"]).parse().expect("a time");
    assert_eq!(ends.as_second(), issued.expires_at.as_second());
    // Another role's credentials are nobody's business here.
    assert_refused(&front.credentials("other", &session), 404, "NotFound");
    let vended = front
        .daemon
        .metric("roletap_vend_requests_total", &[("role", "orders"), ("result", "vended")]);
    assert_eq!(vended, Some(3.0), "two by the token, one by the front");
}

fn issued_of(sts: &FakeSts, role: &str) -> fake_sts::Issued {
    let found = sts.issued().into_iter().find(|issued| issued.role_arn == arn(role));
    found.expect("an issue")
}

#[test]
fn where_the_clients_are_and_in_which_account_is_told_where_it_is_configured() {
    const REGION: &str = "/latest/meta-data/placement/region";
    const IDENTITY: &str = "/latest/dynamic/instance-identity/document";
    let extended = LIST.replace("credentials/", "credentials-extended/");
    let sts = FakeSts::start();
    let mut front = fronted(with(&sts).role("orders"), "");
    front.daemon.vended("orders");
    let session = front.session();
    for path in [REGION, IDENTITY, &extended] {
        assert_refused(&front.get(path, &session), 404, "NotFound");
    }
    front.daemon.text.set_role("orders", "account_id = true");
    front.reload("orders", "region = \"eu-west-1\"");
    assert_eq!(front.get(REGION, &session).text(), "eu-west-1");
    assert_eq!(front.get(IDENTITY, &session).json(), json!({"region": "eu-west-1"}));
    assert_eq!(front.get(&extended, &session).text(), "orders");
    let document = front.get(&format!("{extended}orders"), &session).json();
    assert_eq!(document["AccountId"], "111122223333");
}

// === what is refused ===

#[test]
fn each_fault_of_a_request_has_its_status() {
    let sts = FakeSts::start();
    let front = fronted(with(&sts).role("orders"), "");
    front.daemon.vended("orders");
    assert_refused(&front.ask("PUT", TOKEN, &[]), 400, "BadRequest");
    for lifetime in ["0", "21601", "-1", "soon", ""] {
        let answer = front.ask("PUT", TOKEN, &[(LIFETIME, lifetime)]);
        assert_refused(&answer, 400, "BadRequest");
    }
    let session = front.session();
    let orders = format!("{LIST}orders");
    for path in [LIST, &orders] {
        assert_refused(&front.ask("GET", path, &[]), 401, "Unauthorized");
        assert_refused(&front.get(path, "AAAA"), 401, "Unauthorized");
        assert_refused(&front.get(path, &session[1..]), 401, "Unauthorized");
        let ours = front.daemon.token("orders");
        assert_refused(&front.get(path, &ours), 401, "Unauthorized");
    }
    let nowhere = front.get("/latest/meta-data/instance-id", &session);
    assert_refused(&nowhere, 404, "NotFound");
    let message = text(&nowhere.json()["Message"]);
    assert!(message.contains("roletap env orders --front imds"), "{message}");
    assert_refused(&front.get("/v1/credentials/orders", &session), 404, "NotFound");
    let not_put = front.ask("GET", TOKEN, &[(SESSION, &session)]);
    assert_refused(&not_put, 405, "MethodNotAllowed");
    assert_eq!(not_put.header("allow"), Some("PUT"));
    let not_get = front.ask("POST", &orders, &[(SESSION, &session)]);
    assert_refused(&not_get, 405, "MethodNotAllowed");
    assert_eq!(not_get.header("allow"), Some("GET, HEAD"));
    assert_eq!(front.get(&orders, &session).status, 200);
    // The other door knows nothing of this one.
    let other = front.daemon.ask("GET", &orders, &[(SESSION, &session)]);
    assert_refused(&other, 404, "NotFound");
}

#[test]
fn forwarded_requests_and_foreign_hosts_get_not_even_a_session_token() {
    let sts = FakeSts::start();
    let front = fronted(with(&sts).role("orders"), "http_tokens = \"optional\"");
    front.daemon.vended("orders");
    let orders = format!("{LIST}orders");
    for header in [
        ("Host", "evil.example"),
        ("Host", "10.0.0.1"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("Forwarded", "for=10.0.0.1"),
        ("Origin", "http://evil.example"),
    ] {
        let answer = front.ask("PUT", TOKEN, &[(LIFETIME, "60"), header]);
        assert_refused(&answer, 403, "Forbidden");
        assert_refused(&front.ask("GET", &orders, &[header]), 403, "Forbidden");
    }
    // Where clients believe to be, whatever leads them here.
    for host in ["169.254.169.254", "[fd00:ec2::254]", "localhost"] {
        let answer = front.ask("GET", &orders, &[("Host", host)]);
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
}

#[test]
fn version_1_is_answered_only_where_it_is_allowed() {
    let sts = FakeSts::start();
    let mut front = fronted(with(&sts).role("orders"), "");
    front.daemon.vended("orders");
    let orders = format!("{LIST}orders");
    assert_refused(&front.ask("GET", &orders, &[]), 401, "Unauthorized");
    front.reload("orders", "http_tokens = \"optional\"");
    assert_eq!(front.ask("GET", &orders, &[]).status, 200);
    // A token that is shown has to be a good one all the same.
    assert_refused(&front.get(&orders, "AAAA"), 401, "Unauthorized");
    front.reload("orders", "http_tokens = \"required\"");
    assert_refused(&front.ask("GET", &orders, &[]), 401, "Unauthorized");
}

#[test]
fn a_pending_role_is_503_and_then_there() {
    let sts = FakeSts::start();
    sts.any().always(Fault::Hang);
    let setup =
        with(&sts).role("orders").sts("connect_timeout = \"500ms\"\nattempt_timeout = \"500ms\"");
    let front = fronted(setup, "");
    let session = front.session();
    let answer = front.credentials("orders", &session);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    // The list stands in any case: it says nothing about what is in hand.
    assert_eq!(front.get(LIST, &session).text(), "orders");
    sts.any().clear();
    front.daemon.vended("orders");
    assert_eq!(front.credentials("orders", &session).status, 200);
}

#[test]
fn a_request_waits_for_a_role_that_is_about_to_be_there() {
    let sts = FakeSts::start();
    sts.any().always(Fault::None.after(Duration::from_millis(300)));
    let setup = with(&sts).role("orders").server("pending_wait = \"1s\"");
    let front = fronted(setup, "http_tokens = \"optional\"");
    // Asked once: only the wait makes this a 200.
    assert_eq!(front.credentials("orders", &front.session()).status, 200);
}

#[test]
fn a_denied_role_is_403() {
    let sts = FakeSts::start();
    sts.role(&arn("orders")).always(Fault::access_denied());
    let front = fronted(with(&sts).role("orders"), "");
    front.daemon.failed("orders", "denied");
    let answer = front.credentials("orders", &front.session());
    assert_refused(&answer, 403, "AssumeRoleFailed");
    let message = text(&answer.json()["Message"]);
    assert!(message.contains("orders") && message.contains("roletap status"), "{message}");
}

#[test]
fn what_has_expired_is_never_served() {
    let sts = FakeSts::start();
    let front = fronted(with(&sts).role("orders").sessions_of(3), "");
    front.daemon.vended("orders");
    sts.stop();
    let session = front.session();
    front.daemon.wait_until("it is over", |_| {
        let asked = jiff::Timestamp::now();
        let answer = front.credentials("orders", &session);
        if answer.status == 503 {
            return Ok(());
        }
        let ends: jiff::Timestamp = text(&answer.json()["Expiration"]).parse().expect("a time");
        assert!(asked < ends, "{asked}: {answer:?}");
        Err(format!("{}", answer.status))
    });
    assert_refused(&front.credentials("orders", &session), 503, "CredentialsUnavailable");
}

#[test]
fn a_role_of_others_is_not_had_by_this_door_either() {
    let (we, other) = (Uid::effective().as_raw(), Uid::effective().as_raw() + 1);
    let sts = FakeSts::start();
    let allow = |uid: u32| format!("allow_users = [\"{uid}\"]");
    let mut front =
        fronted(with(&sts).role_with("orders", &allow(other)), "http_tokens = \"optional\"");
    front.daemon.role_when("orders", "is there", |role| role["phase"] == "fresh");
    let session = front.session();
    let orders = format!("{LIST}orders");
    for answer in [front.get(&orders, &session), front.ask("GET", &orders, &[])] {
        assert_refused(&answer, 403, "CallerNotAllowed");
        let message = text(&answer.json()["Message"]);
        assert!(message.contains(&format!("user {we}")) || message.contains("root"), "{message}");
    }
    let refused = front.daemon.metric(
        "roletap_vend_requests_total",
        &[("role", "orders"), ("result", "caller_not_allowed")],
    );
    assert_eq!(refused, Some(2.0));
    front.daemon.text.set_role("orders", &allow(we));
    front.daemon.reload();
    assert_eq!(front.get(&orders, &session).status, 200);
}

// === what stays, and what changes ===

#[test]
fn session_tokens_survive_a_restart_and_open_no_other_front() {
    let sts = FakeSts::start();
    let second = Port::reserve();
    let setup = with(&sts).role("orders").front("other", &keys(&second, "orders", ""));
    let mut front = fronted(setup, "");
    front.daemon.vended("orders");
    let session = front.session();
    let mut other = Connection::to(second.address);
    other.send(request(second.address, "GET", LIST, &[(SESSION, &session)]).as_bytes());
    assert_refused(&other.answer(), 401, "Unauthorized");
    assert_eq!(front.daemon.stop(), Some(0));
    front.daemon.launch();
    front.daemon.vended("orders");
    assert_eq!(front.credentials("orders", &session).status, 200);
    // Without its key nothing is left of it.
    assert_eq!(front.daemon.stop(), Some(0));
    std::fs::remove_file(front.daemon.token_path(".imds")).expect("the key lies there");
    front.daemon.launch();
    assert_refused(&front.credentials("orders", &session), 401, "Unauthorized");
}

#[test]
fn a_reload_changes_the_role_and_keeps_session_tokens() {
    let sts = FakeSts::start();
    let mut front = fronted(with(&sts).role("orders"), "");
    front.daemon.vended("orders");
    let session = front.session();
    front.daemon.text.remove_role("orders");
    front.daemon.text.set_role("ledger", "");
    front.reload("ledger", "");
    front.daemon.vended("ledger");
    assert_eq!(front.get(LIST, &session).text(), "ledger");
    let answer = front.credentials("ledger", &session);
    assert_eq!(answer.json()["AccessKeyId"], front.daemon.key("ledger"));
    assert_refused(&front.credentials("orders", &session), 404, "NotFound");
}

#[test]
fn where_a_front_listens_needs_a_restart() {
    let sts = FakeSts::start();
    let mut front = fronted(with(&sts).role("orders"), "");
    front.daemon.vended("orders");
    front.daemon.text.fronts.clear();
    front.daemon.write_config();
    front.daemon.reload_as_it_is("refused");
    front.daemon.logged("`imds.sink.listen` cannot change while roletap runs");
    assert_eq!(front.credentials("orders", &front.session()).status, 200);
}

#[test]
fn an_address_that_is_not_there_keeps_it_from_starting_and_says_what_to_do() {
    let sts = FakeSts::start();
    let keys = "listen = \"169.254.169.254:80\"\nrole = \"orders\"";
    let daemon = with(&sts).role("orders").front("sink", keys).prepare();
    // Where no address is but loopback's.
    let Some(mut command) = unshared(&["--net"], "ip link set lo up", &daemon.command(&["run"]))
    else {
        return;
    };
    let finished = finish(&mut command);
    assert_eq!(finished.code, Some(69), "{finished:?}");
    for part in [
        "cannot listen on 169.254.169.254:80 (`imds.sink.listen`)",
        "`ip address add 169.254.169.254/32 dev lo`",
        "docs/fronts.md",
    ] {
        assert!(finished.stderr.contains(part), "{finished:?}");
    }
    assert_eq!(sts.requests().len(), 0, "before anything is issued");
    // And what it says helps.
    let script = "ip link set lo up; ip address add 169.254.169.254/32 dev lo";
    let Some(command) = unshared(&["--net"], script, &daemon.command(&["run"])) else {
        return;
    };
    let mut daemon = daemon;
    daemon.spawn_as(command);
    daemon.logged("listening for imds");
}

#[test]
fn systemd_may_hold_its_socket() {
    let sts = FakeSts::start();
    let port = Port::reserve();
    let mut held = with(&sts).role("orders").front("sink", &keys(&port, "orders", "")).notified();
    held.supervisor.listen("imds.sink", port.address);
    held.launch();
    let line = held.daemon.logged("listening for imds");
    assert!(line.contains("held_by_systemd=true"), "{line}");
    let mut connection = Connection::to(port.address);
    connection.send(request(port.address, "PUT", TOKEN, &[(LIFETIME, "60")]).as_bytes());
    assert_eq!(connection.answer().status, 200);
}

#[test]
fn a_socket_that_only_systemd_may_open_is_not_opened_here() {
    let sts = FakeSts::start();
    let port = Port::reserve();
    let setup = with(&sts).role("orders");
    let setup = setup.front("sink", &keys(&port, "orders", "socket = \"systemd\""));
    let mut held = setup.notified();
    let command = held.supervisor.supervise(&held.daemon.command(&["run"]));
    for command in [held.daemon.command(&["run"]), command] {
        held.daemon.spawn_as(command);
        assert_eq!(held.daemon.exit(), Some(69), "{}", held.daemon.log());
        let listen = format!("ListenStream={}", port.address);
        for part in ["`imds.sink.socket`", &listen, "FileDescriptorName=imds.sink"] {
            held.daemon.logged(part);
        }
    }
    assert_eq!(sts.requests().len(), 0, "before anything is issued");
    held.supervisor.listen("imds.sink", port.address);
    held.launch();
    let mut connection = Connection::to(port.address);
    connection.send(request(port.address, "PUT", TOKEN, &[(LIFETIME, "60")]).as_bytes());
    assert_eq!(connection.answer().status, 200);
    // It takes a restart to let somebody else open it.
    held.daemon.text.fronts = format!("[imds.sink]\n{}\n", keys(&port, "orders", ""));
    held.daemon.write_config();
    held.daemon.reload_as_it_is("refused");
    held.daemon.logged("`imds.sink.socket` cannot change while roletap runs");
}

#[test]
fn whoever_comes_by_a_socket_of_another_network_namespace_is_unknown_and_one_of_ours_is_seen() {
    let we = Uid::effective().as_raw();
    let sts = FakeSts::start();
    let (here, there) = (Port::reserve(), Port::reserve());
    let mut held = with(&sts)
        .role_with("orders", &format!("allow_users = [\"{we}\"]"))
        .front("here", &keys(&here, "orders", "http_tokens = \"optional\""))
        .front("there", &keys(&there, "orders", "http_tokens = \"optional\""))
        .notified();
    held.supervisor.listen("imds.here", here.address);
    let Some(elsewhere) = Namespace::new() else {
        return;
    };
    let listener = elsewhere.inside(|| TcpListener::bind(there.address).expect("to listen"));
    held.supervisor.hand_over("imds.there", listener.into());
    held.launch();
    held.daemon.role_when("orders", "is there", |role| role["phase"] == "fresh");
    let line = held.daemon.logged("another network namespace");
    assert!(line.contains(&there.address.to_string()), "{line}");
    let ask = |at| request(at, "GET", &format!("{LIST}orders"), &[]);
    let mut ours = Connection::to(here.address);
    ours.send(ask(here.address).as_bytes());
    assert_eq!(ours.answer().status, 200);
    let theirs = elsewhere.inside(|| TcpStream::connect(there.address).expect("a connection"));
    let mut theirs = Connection::over(theirs);
    theirs.send(ask(there.address).as_bytes());
    assert_refused(&theirs.answer(), 403, "CallerNotAllowed");
}

// === Amazon's own client ===

#[test]
fn the_sdk_of_rust_is_led_here_by_env_and_reads_what_we_vend() {
    if std::env::var_os("AWS_EC2_METADATA_SERVICE_ENDPOINT").is_some() {
        use aws_config::imds::credentials::ImdsCredentialsProvider;
        return say(async { ImdsCredentialsProvider::builder().build() });
    }
    let sts = FakeSts::start();
    let front = fronted(with(&sts).role("orders").role("none"), "");
    front.daemon.vended("orders");
    let missing = front.daemon.run(&["env", "none", "--front", "imds"]);
    assert_eq!(missing.code, Some(78), "{missing:?}");
    assert!(missing.stderr.contains("[imds.NAME]"), "{missing:?}");
    let settings = front.daemon.run(&["env", "orders", "--front", "imds", "--format", "json"]);
    let settings: Value = serde_json::from_str(&settings.stdout).expect("JSON");
    assert_eq!(
        settings["set"]["AWS_EC2_METADATA_SERVICE_ENDPOINT"],
        format!("http://{}", front.at())
    );
    assert_eq!(settings["set"]["AWS_EC2_METADATA_DISABLED"], "false");
    let unset = settings["unset"].as_array().expect("a list");
    assert!(unset.contains(&json!("AWS_CONTAINER_CREDENTIALS_FULL_URI")), "{unset:?}");
    let said = credentials_found_by(
        "imds::the_sdk_of_rust_is_led_here_by_env_and_reads_what_we_vend",
        &variables(&settings),
    );
    let issued = issued_of(&sts, "orders");
    let expected = json!([
        issued.access_key_id,
        issued.secret_access_key,
        issued.session_token,
        issued.expires_at.as_second(),
        null,
    ]);
    assert_eq!(said, expected);
}
