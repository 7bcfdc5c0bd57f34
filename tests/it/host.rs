//! What the host does to the process, and the process to the host: limits, core dumps, no IPv6, being the first process.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, prlimit};

use crate::support::harness::{
    BASE_KEY, BASE_SECRET, Connection, Daemon, Port, finish, unshared, wait_for, with,
};
use fake_sts::FakeSts;

/// Starts it after `ulimit` with these arguments.
fn launch_limited(daemon: &mut Daemon, limits: &str) {
    launch_after(daemon, &format!("ulimit {limits}"));
}

/// Starts it after this command of a shell.
fn launch_after(daemon: &mut Daemon, first: &str) {
    let command = daemon.command(&["run"]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", &format!("{first} && exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    daemon.spawn_as(limited);
    daemon.wait_until_serving();
}

/// The soft and the hard limit of this name in `/proc`.
fn limit(pid: i32, name: &str) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("a limit");
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut word = || words.next().expect("a limit");
    (word(), word())
}

#[test]
fn descriptors_are_raised_to_what_clients_need() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts).role("orders").prepare();
    launch_limited(&mut daemon, "-Sn 256; ulimit -Hn 4096");
    daemon.vended("orders");
    let soft = 1024 + 128;
    assert_eq!(limit(daemon.pid(), "Max open files"), (soft.to_string(), "4096".into()));
    assert!(!daemon.log().contains("file descriptors"), "{}", daemon.log());
}

#[test]
fn descriptors_that_do_not_suffice_are_named_with_numbers() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts).role("orders").server("max_connections = 2000").prepare();
    launch_limited(&mut daemon, "-n 160");
    daemon.vended("orders");
    let line = daemon.logged("only 160 file descriptors are allowed");
    for part in ["at most 32 connections", "not 2000", "LimitNOFILE=2128"] {
        assert!(line.contains(part), "{line}");
    }
    // All of them are taken, and there is still one for STS.
    let address = daemon.vend_address();
    let held: Vec<Connection> = (0..32).map(|_| Connection::to(address)).collect();
    daemon.wait_until("all are taken", |daemon| {
        let open = daemon.metric("roletap_connections", &[("listener", "credentials")]);
        (open == Some(32.0)).then_some(()).ok_or(format!("{open:?}"))
    });
    let calls = sts.requests().len();
    daemon.admin_with("POST", "/roles/orders/refresh");
    sts.wait_for(|log| log.len() > calls, Duration::from_secs(20));
    drop(held);
    daemon.vended("orders");
}

#[test]
fn descriptors_that_do_not_suffice_are_shared_with_the_fronts() {
    let sts = FakeSts::start();
    let ports = [Port::reserve(), Port::reserve()];
    let mut setup = with(&sts).role("orders");
    for (at, port) in ports.iter().enumerate() {
        let keys = format!("listen = \"{}\"\nrole = \"orders\"", port.address);
        setup = setup.front(&format!("f{at}"), &keys);
    }
    let mut daemon = setup.prepare();
    launch_limited(&mut daemon, "-n 244");
    daemon.vended("orders");
    // 100 are left, for 1024 and twice 128.
    let line = daemon.logged("only 244 file descriptors are allowed");
    for part in
        ["at most 80 connections", "not 1024", "10 to each front, not 128", "LimitNOFILE=1424"]
    {
        assert!(line.contains(part), "{line}");
    }
    let hold = |address: SocketAddr, places: u16| -> Vec<Connection> {
        (0..places + 5).map(|_| Connection::to(address)).collect()
    };
    let mut held = hold(daemon.vend_address(), 80);
    held.extend(hold(ports[0].address, 10));
    held.extend(hold(ports[1].address, 10));
    for (listener, places) in [("credentials", 80.0), ("imds", 20.0)] {
        daemon.wait_until("all places are taken, and no more", |daemon| {
            let open = daemon.metric("roletap_connections", &[("listener", listener)]);
            (open == Some(places)).then_some(()).ok_or(format!("{listener}: {open:?}"))
        });
    }
    let calls = sts.requests().len();
    daemon.admin_with("POST", "/roles/orders/refresh");
    sts.wait_for(|log| log.len() > calls, Duration::from_secs(20));
    assert!(!daemon.log().contains("could not be accepted"));
    drop(held);
    daemon.vended("orders");
}

#[test]
fn a_lack_of_descriptors_is_said_and_not_repeated_and_passes() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role("orders").start();
    daemon.vended("orders");
    let pid = rustix::process::Pid::from_raw(daemon.pid());
    let mut admin = Connection::to(daemon.admin_address());
    let get = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    admin.send(get);
    assert_eq!(admin.answer().status, 200);
    let before = prlimit(pid, Resource::Nofile, few(12)).expect("to limit our own child");
    let held: Vec<Connection> = (0..20).map(|_| Connection::to(daemon.vend_address())).collect();
    daemon.logged("connections could not be accepted");
    // Twenty failures a second, and one line: the second one is ten seconds away.
    crate::support::harness::pause(Duration::from_millis(500));
    let log = daemon.log();
    let said = log.matches("connections could not be accepted").count();
    assert!(said <= 2, "one of each listener at most: {log}");
    // Whoever is connected is served.
    admin.send(get);
    assert_eq!(admin.answer().status, 200);
    prlimit(pid, Resource::Nofile, before).expect("to limit our own child");
    drop(held);
    daemon.vended("orders");
}

fn few(descriptors: u64) -> Rlimit {
    Rlimit { current: Some(descriptors), maximum: Some(20_000) }
}

#[test]
fn there_are_no_core_dumps_and_others_cannot_look_in() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts).role("orders").prepare();
    launch_limited(&mut daemon, "-Sc unlimited");
    daemon.vended("orders");
    assert_eq!(limit(daemon.pid(), "Max core file size"), ("0".into(), "0".into()));
    if nix::unistd::Uid::effective().is_root() {
        // A process that may be dumped belongs to its user; one that may not, to root.
        let mut daemon = with(&sts).role("orders").prepare();
        let home = daemon.home().to_owned();
        let mut open = Command::new("chown");
        assert_eq!(finish(open.args(["-R", "65534:65534"]).arg(&home)).code, Some(0));
        let mut command = daemon.command(&["run"]);
        std::os::unix::process::CommandExt::uid(&mut command, 65_534);
        std::os::unix::process::CommandExt::gid(&mut command, 65_534);
        daemon.spawn_as(command);
        daemon.wait_until_serving();
        let environ = format!("/proc/{}/environ", daemon.pid());
        let mut read = Command::new("cat");
        std::os::unix::process::CommandExt::uid(read.arg(&environ), 65_534);
        let refused = finish(&mut read);
        assert_ne!(refused.code, Some(0), "{refused:?}");
        assert!(!refused.stdout.contains(BASE_SECRET));
    }
}

#[test]
fn a_host_without_ipv6_is_a_warning() {
    let sts = FakeSts::start();
    let setup = with(&sts).role_with("orders", "required = false");
    let six = format!("[::1]:{}", setup.vend_address().port());
    let daemon = setup.also_listen(&six).prepare();
    let script = "ip link set lo up\necho 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
    // Inside, since nobody outside can reach it.
    let mut inside = Command::new("sh");
    let start = "\"$@\" run & pid=$!; n=0; until \"$@\" status --ready; do n=$((n+1)); [ $n -lt 200 ] || exit 9; sleep 0.1; done; kill $pid; wait $pid";
    let command = daemon.command(&[]);
    inside
        .args(["-c", start, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let Some(mut command) = unshared(&["--net"], script, &inside) else {
        return;
    };
    let finished = finish(&mut command);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let said = finished.stderr.matches("this host has no IPv6").count();
    assert_eq!(said, 1, "{finished:?}");

    let text = std::fs::read_to_string(daemon.config_path()).expect("a configuration");
    let only_six = text.replacen(&format!("\"{}\", ", daemon.vend_address()), "", 1);
    assert_ne!(text, only_six);
    std::fs::write(daemon.config_path(), only_six).expect("to write");
    let Some(mut command) = unshared(&["--net"], script, &daemon.command(&["run"])) else {
        return;
    };
    let finished = finish(&mut command);
    assert_eq!(finished.code, Some(69), "{finished:?}");
    assert!(finished.stderr.contains(&six), "{finished:?}");
}

#[test]
fn as_the_first_process_it_takes_signals_and_buries_orphans() {
    let sts = FakeSts::start();
    let setup = with(&sts)
        .role("orders")
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY");
    // A helper that leaves something running, which then ends without a parent.
    let helper = setup.home().join("helper");
    let script = format!(
        "#!/bin/sh\n(sleep 1 >/dev/null 2>&1 &)\necho '{{\"Version\":1,\"AccessKeyId\":\"{BASE_KEY}\",\"SecretAccessKey\":\"{BASE_SECRET}\"}}'\n"
    );
    std::fs::write(&helper, script).expect("to write");
    let mut chmod = Command::new("chmod");
    assert_eq!(finish(chmod.arg("755").arg(&helper)).code, Some(0));
    let profile = setup.home().join("aws");
    std::fs::write(&profile, format!("[default]\ncredential_process = {}\n", helper.display()))
        .expect("to write");
    let mut daemon = setup.env("AWS_CONFIG_FILE", &profile.display().to_string()).prepare();
    let namespaces = ["--pid", "--fork", "--mount-proc"];
    let Some(command) = unshared(&namespaces, "true", &daemon.command(&["run"])) else {
        return;
    };
    daemon.spawn_as(command);
    daemon.wait_until_serving();
    daemon.vended("orders");
    let children = |pid: i32| {
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        list.unwrap_or_default()
            .split_whitespace()
            .filter_map(|pid| pid.parse::<i32>().ok())
            .collect::<Vec<_>>()
    };
    let first = children(daemon.pid())[0];
    let status = std::fs::read_to_string(format!("/proc/{first}/status")).expect("a status");
    let is_first = status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"));
    assert!(is_first, "{status}");
    wait_for("the orphan has fallen to it", || {
        let all = children(first);
        (!all.is_empty()).then_some(()).ok_or(format!("{all:?}"))
    });
    wait_for("the orphan is buried", || {
        let all = children(first);
        all.is_empty().then_some(()).ok_or(format!("{all:?}"))
    });
    daemon.write_config();
    kill(Pid::from_raw(first), Signal::SIGHUP).expect("to signal it");
    daemon.logged("reloaded");
    daemon.vended("orders");
    kill(Pid::from_raw(first), Signal::SIGTERM).expect("to signal it");
    assert_eq!(daemon.exit(), Some(0));
    assert!(daemon.log().contains("drained"), "{}", daemon.log());
}

#[test]
fn a_group_may_pass_the_token_directory_whatever_the_umask() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts).role("orders").prepare();
    launch_after(&mut daemon, "umask 077");
    let token = daemon.token_path("orders");
    let mode = |path: &Path| {
        let metadata = std::fs::metadata(path).expect("to be there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&token), 0o640);
    assert_eq!(mode(token.parent().expect("a directory")), 0o711);
}
