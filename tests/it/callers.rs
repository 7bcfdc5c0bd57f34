//! `allow_users` and `allow_units`: a token is not enough, the kernel has to say the right thing of who shows it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::Uid;
use serde_json::Value;

use crate::support::harness::{Connection, Daemon, Port, finish, pause, request, text, with};
use crate::support::namespace::Namespace;
use fake_sts::FakeSts;

const STRANGER: u32 = 64_001;
const SINK: u32 = 64_002;

/// Said aloud where this machine cannot show it.
fn can_be_others() -> bool {
    let root = Uid::effective().is_root();
    if !root {
        println!("SKIPPED: only root can start clients as other users");
    }
    root
}

/// Asks for a role from a process of its own that has done this first; the status and the body.
fn ask_as(daemon: &Daemon, at: SocketAddr, role: &str, uid: u32, first: &str) -> (u16, Value) {
    let token = daemon.token(role);
    let head = request(
        at,
        "GET",
        &format!("/v1/credentials/{role}"),
        &[("Authorization", &token), ("Connection", "close")],
    );
    let script = format!(
        "set -e\n{first}\nexec setpriv --reuid {uid} --regid {uid} --clear-groups bash -c 'exec 3<>/dev/tcp/$0/$1; printf %s \"$2\" >&3; cat <&3' \"$@\""
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash", &at.ip().to_string(), &at.port().to_string(), &head]);
    command.process_group(0);
    let answer = finish(&mut command);
    let (head, body) = answer.stdout.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn assert_refused((status, body): &(u16, Value), role: &str, who: &str) {
    assert_eq!(*status, 403, "{body}");
    assert_eq!(body["Code"], "CallerNotAllowed", "{body}");
    let message = text(&body["Message"]);
    for part in [role, who, "allow_users", "roletap doctor"] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

#[test]
fn a_role_is_for_its_users_alone() {
    if !can_be_others() {
        return;
    }
    let sts = FakeSts::start();
    let daemon =
        with(&sts).role_with("orders", &format!("allow_users = [\"{SINK}\"]")).role("open").start();
    daemon.vended("open");
    daemon.role_when("orders", "is there", |role| role["phase"] == "fresh");
    let at = daemon.vend_address();
    assert_eq!(ask_as(&daemon, at, "orders", SINK, "").0, 200);
    assert_refused(&ask_as(&daemon, at, "orders", STRANGER, ""), "orders", "user 64001");
    // Not even for root, which is what kernels once called sockets that nobody holds.
    assert_eq!(daemon.get("orders").status, 403);
    assert_eq!(ask_as(&daemon, at, "open", STRANGER, "").0, 200);
    // Without the token it is no matter who asks.
    assert_eq!(daemon.get_with("orders", "x").status, 401);
    let count = |result| {
        daemon.metric("roletap_vend_requests_total", &[("role", "orders"), ("result", result)])
    };
    assert_eq!((count("vended"), count("caller_not_allowed")), (Some(1.0), Some(2.0)));
    let line = daemon.logged("\"result\":\"caller_not_allowed\"");
    assert!(line.contains("user 64001"), "{line}");
    assert_eq!(daemon.overview()["callers_known"], true);
}

#[test]
fn consumers_that_are_told_apart_go_stale_apart() {
    if !can_be_others() {
        return;
    }
    let sts = FakeSts::start();
    let users = format!("allow_users = [\"{SINK}\", \"{STRANGER}\"]");
    let daemon = with(&sts).role_with("orders", &users).sessions_of(4).start();
    daemon.role_when("orders", "is there", |role| role["phase"] == "fresh");
    let ask = |uid| assert_eq!(ask_as(&daemon, daemon.vend_address(), "orders", uid, "").0, 200);
    ask(STRANGER);
    // While one goes on asking, the other is missed.
    daemon.wait_until("one is stale", |daemon| {
        ask(SINK);
        match daemon.metric("roletap_stale_consumers", &[("role", "orders")]) {
            Some(1.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    daemon.wait_until("both are there", |daemon| {
        ask(SINK);
        ask(STRANGER);
        match daemon.metric("roletap_stale_consumers", &[("role", "orders")]) {
            Some(0.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn users_are_seen_by_ipv6_and_by_ipv4_to_a_listener_of_both() {
    if !can_be_others() {
        return;
    }
    let sts = FakeSts::start();
    let setup = with(&sts).role_with("orders", &format!("allow_users = [\"{SINK}\"]"));
    let (six, both) = (setup.vend_address().port(), 1 + setup.vend_address().port());
    if TcpListener::bind(("::1", six)).is_err() {
        println!("SKIPPED: this machine has no IPv6");
        return;
    }
    let Ok(held) = TcpListener::bind(("::", both)) else {
        println!("SKIPPED: somebody has the next port");
        return;
    };
    drop(held);
    let daemon = setup
        .server("unsafe_listen_beyond_host = true")
        .also_listen(&format!("[::1]:{six}"))
        .also_listen(&format!("[::]:{both}"))
        .start();
    daemon.role_when("orders", "is there", |role| role["phase"] == "fresh");
    let six = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, six));
    for at in [six, (Ipv4Addr::LOCALHOST, both).into()] {
        assert_eq!(ask_as(&daemon, at, "orders", SINK, "").0, 200, "{at}");
        assert_refused(&ask_as(&daemon, at, "orders", STRANGER, ""), "orders", "user 64001");
    }
}

/// A control group of a unit's name, as systemd would make it. Removed when dropped.
struct Group(PathBuf);

impl Group {
    fn make(name: &str) -> Option<Self> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let root = roots.into_iter().find(|root| {
            root.join("cgroup.procs").exists() && root.join("cgroup.controllers").exists()
        });
        let made =
            root.map(|root| root.join(name)).filter(|path| std::fs::create_dir(path).is_ok());
        if made.is_none() {
            println!("SKIPPED: no control group of version 2 can be made here");
        }
        made.map(Self)
    }

    fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.0.display())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever was in it may be on their way out.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            pause(std::time::Duration::from_millis(10));
        }
    }
}

#[test]
fn a_role_is_for_its_units_alone() {
    if !can_be_others() {
        return;
    }
    let name = |what: &str| format!("roletap-test-{}-{what}.service", std::process::id());
    let (Some(sink), Some(other)) = (Group::make(&name("sink")), Group::make(&name("other")))
    else {
        return;
    };
    let sts = FakeSts::start();
    let daemon = with(&sts)
        .role_with("orders", &format!("allow_units = [\"{}\"]", name("sink")))
        .role_with(
            "both",
            &format!("allow_users = [\"{SINK}\"]\nallow_units = [\"{}\"]", name("sink")),
        )
        .start();
    for role in ["orders", "both"] {
        daemon.role_when(role, "is there", |role| role["phase"] == "fresh");
    }
    let at = daemon.vend_address();
    for uid in [SINK, STRANGER] {
        assert_eq!(ask_as(&daemon, at, "orders", uid, &sink.enter()).0, 200);
        assert_refused(
            &ask_as(&daemon, at, "orders", uid, &other.enter()),
            "orders",
            &name("other"),
        );
    }
    assert_refused(&ask_as(&daemon, at, "orders", SINK, ""), "orders", "no unit");
    assert_eq!(ask_as(&daemon, at, "both", SINK, &sink.enter()).0, 200);
    assert_refused(&ask_as(&daemon, at, "both", STRANGER, &sink.enter()), "both", "user 64001");
    assert_refused(&ask_as(&daemon, at, "both", SINK, &other.enter()), "both", &name("other"));
}

#[test]
fn a_reload_changes_for_whom_a_role_is_on_connections_that_are_open() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts).role("orders").start();
    let key = daemon.key("orders");
    let mut open = daemon.connect();
    let ask = request(
        daemon.vend_address(),
        "GET",
        "/v1/credentials/orders",
        &[("Authorization", &daemon.token("orders"))],
    );
    open.send(ask.as_bytes());
    assert_eq!(open.answer().status, 200);
    let (we, other) = (Uid::effective().as_raw(), Uid::effective().as_raw() + 1);
    for (uid, status) in [(other, 403), (we, 200), (other, 403)] {
        daemon.text.set_role("orders", &format!("allow_users = [\"{uid}\"]"));
        daemon.reload();
        open.send(ask.as_bytes());
        assert_eq!(open.answer().status, status, "{uid}");
    }
    daemon.text.set_role("orders", "");
    daemon.reload();
    assert_eq!(daemon.key("orders"), key, "the same request to STS: nothing was issued anew");
}

/// The kernel would name whoever has the stranger's address here.
#[test]
fn a_stranger_in_another_network_namespace_is_not_taken_for_somebody_here() {
    let we = Uid::effective().as_raw();
    let sts = FakeSts::start();
    let Some(elsewhere) = Namespace::new() else {
        return;
    };
    let second = Port::reserve();
    let allowed = format!("allow_users = [\"{we}\"]");
    let mut held = with(&sts)
        .role_with("orders", &allowed)
        .role("open")
        .also_listen(&second.address.to_string())
        .notified();
    let at = held.daemon.vend_address();
    let there = elsewhere.inside(|| TcpListener::bind(at).expect("to listen"));
    held.supervisor.hand_over("credentials", there.into());
    held.launch();
    let daemon = &held.daemon;
    daemon.role_when("orders", "is there", |role| role["phase"] == "fresh");
    let line = daemon.logged("another network namespace");
    assert!(line.contains(&at.to_string()), "{line}");
    // One of ours, whom the role is for, by the same addresses.
    let here = TcpListener::bind(at).expect("to listen");
    let twin = TcpStream::connect(at).expect("a connection");
    let from = twin.local_addr().expect("an address");
    let mut stranger = Connection::over(elsewhere.connect(from, at));
    for (role, status) in [("orders", 403), ("open", 200), ("orders", 403)] {
        let path = format!("/v1/credentials/{role}");
        let token = daemon.token(role);
        stranger.send(request(at, "GET", &path, &[("Authorization", &token)]).as_bytes());
        let answer = stranger.answer();
        assert_eq!(answer.status, status, "{role}: {answer:?}");
        if status == 403 {
            let refused = (403, answer.json());
            assert_refused(&refused, "orders", "another network namespace");
        }
    }
    drop((here, twin));
    // By the socket that is here, we are seen.
    let mut ours = Connection::to(second.address);
    let token = daemon.token("orders");
    let ask =
        request(second.address, "GET", "/v1/credentials/orders", &[("Authorization", &token)]);
    ours.send(ask.as_bytes());
    assert_eq!(ours.answer().status, 200);
}

#[test]
fn whoever_comes_by_a_socket_that_systemd_holds_here_is_seen() {
    let we = Uid::effective().as_raw();
    let sts = FakeSts::start();
    let mut held = with(&sts)
        .role_with("orders", &format!("allow_users = [\"{we}\"]"))
        .role_with("others", &format!("allow_users = [\"{}\"]", we + 1))
        .supervised();
    held.launch();
    let daemon = &held.daemon;
    daemon.vended("orders");
    daemon.role_when("others", "is there", |role| role["phase"] == "fresh");
    let refused = daemon.get("others");
    assert_refused(&(refused.status, refused.json()), "others", &format!("user {we}"));
    assert!(!daemon.log().contains("another network namespace"));
}

#[test]
fn an_unknown_user_refuses_the_configuration_with_its_place() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role_with("orders", "allow_users = [\"nosuchuser-roletap\"]").prepare();
    let checked = finish(&mut daemon.command(&["check"]));
    assert_eq!(checked.code, Some(78), "{checked:?}");
    for part in
        ["roletap.toml:", "is no user of this host", "allow_users = [\"nosuchuser-roletap\"]"]
    {
        assert!(checked.stderr.contains(part), "{checked:?}");
    }
}
