//! The process as its supervisor, its operator and their shell see it: exit codes, signals, commands, files.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::harness::{
    Daemon, Finished, Setup, arn, finish, metric_in, request, text, with,
};
use fake_sts::{FakeSts, Fault};

/// Nobody's uid, for what root may not be asked.
const NOBODY: u32 = 65_534;

fn one_role(sts: &FakeSts) -> Setup {
    with(sts).role("orders")
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("to chmod");
}

/// Runs as a user who owns nothing; as ourselves if we are that already.
fn run_as_nobody(daemon: &Daemon, arguments: &[&str]) -> Finished {
    if nix::unistd::Uid::effective().is_root() {
        daemon.run_as(NOBODY, arguments)
    } else {
        daemon.run(arguments)
    }
}

/// Ended with this code, having said all of this.
#[track_caller]
fn assert_failed(finished: &Finished, code: i32, says: &[&str]) {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    assert!(finished.stdout.is_empty(), "{finished:?}");
    for part in says {
        assert!(finished.stderr.contains(part), "no {part:?} in {finished:?}");
    }
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
}

#[track_caller]
fn succeeded(finished: Finished) -> String {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout
}

// === the start ===

#[test]
fn a_configuration_that_cannot_be_used_is_exit_78() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).prepare();
    let path = daemon.config_path();
    let huge = format!("# {}\n", "x".repeat(2 << 20));
    let broken: [(&[u8], &str); 8] = [
        (b"", "no `[sts]`"),
        (b"\n\n# nothing\n", "no `[sts]`"),
        (b"\xff\xfe[server]\n", "UTF-8"),
        (b"[server]\n\0\0\0\0", "zero bytes"),
        (huge.as_bytes(), "1 MiB"),
        (b"[sts\nregion = 1\n", "roletap.toml:1:"),
        (b"[sts]\nregion = \"eu-central-1\"\n", "role"),
        (b"[sts]\nregoin = \"eu-central-1\"\n", "region"),
    ];
    for (bytes, says) in broken {
        std::fs::write(&path, bytes).expect("to write");
        for (command, follows) in [
            ("run", "nothing was started"),
            ("check", "roletap would not start with this configuration"),
        ] {
            let finished = daemon.run(&[command]);
            assert_eq!(finished.code, Some(78), "{says}: {finished:?}");
            assert!(
                finished.stderr.contains(says) || says.starts_with("no `"),
                "no {says:?} in {finished:?}"
            );
            assert!(finished.stderr.contains("roletap.toml"), "{finished:?}");
            assert!(finished.stderr.contains(follows), "{finished:?}");
        }
    }
    std::fs::remove_file(&path).expect("to remove");
    let says = ["does not exist", "roletap.toml"];
    assert_failed(&daemon.run(&["run"]), 78, &says);
    std::fs::create_dir(&path).expect("to create");
    assert_failed(&daemon.run(&["run"]), 78, &["is a directory"]);
    assert!(sts.requests().is_empty());
}

#[test]
fn a_configuration_that_may_not_be_read_is_exit_78() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).prepare();
    set_mode(&daemon.config_path(), 0o000);
    let finished = run_as_nobody(&daemon, &["run"]);
    assert_failed(&finished, 78, &["may not be read", "roletap.toml"]);
}

#[test]
fn a_port_that_is_taken_is_exit_69_and_nothing_is_issued() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).prepare();
    for (address, key) in
        [(daemon.vend_address(), "server.listen"), (daemon.admin_address(), "admin.listen")]
    {
        let taken = TcpListener::bind(address).expect("to take it");
        let says = ["error: ", &address.to_string(), key, "in use"];
        assert_failed(&daemon.run(&["run"]), 69, &says);
        drop(taken);
    }
    assert!(sts.requests().is_empty());
    assert!(!daemon.token_path("orders").exists());
}

#[test]
fn a_token_directory_that_may_not_be_written_is_exit_77() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).role("ledger").prepare();
    set_mode(&daemon.config_path(), 0o644);
    set_mode(daemon.home(), 0o555);
    let finished = run_as_nobody(&daemon, &["run"]);
    set_mode(daemon.home(), 0o755);
    // Both roles in one report.
    assert_failed(&finished, 77, &["token", "`orders`", "`ledger`", "ermission"]);
    assert!(sts.requests().is_empty());
}

#[test]
fn a_token_group_that_we_are_not_in_is_told_with_the_command_that_mends_it() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role_with("orders", "token_group = \"daemon\"").prepare();
    set_mode(&daemon.config_path(), 0o644);
    set_mode(daemon.home(), 0o777);
    let finished = run_as_nobody(&daemon, &["run"]);
    let asked = "usermod --append --groups daemon ";
    assert_failed(&finished, 77, &["`orders`", "token_group `daemon`", asked]);
    assert!(!daemon.token_path("orders").exists());
}

#[test]
fn arguments_that_make_no_sense_are_exit_64() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).prepare();
    let wrong: [&[&str]; 7] = [
        &[],
        &["rnu"],
        &["run", "now"],
        &["env"],
        &["exec", "orders"],
        &["check", "--hosts", "0"],
        &["status", "--json", "--watch"],
    ];
    for arguments in wrong {
        let finished = daemon.run(arguments);
        assert_eq!(finished.code, Some(64), "{arguments:?}: {finished:?}");
        assert!(
            finished.stderr.contains("--help") || finished.stderr.contains("Usage"),
            "{finished:?}"
        );
    }
    let says = ["no role `nobody`", "orders"];
    assert_failed(&daemon.run(&["env", "nobody"]), 64, &says);
    for arguments in [["--help"], ["--version"], ["help"]] {
        let said = succeeded(daemon.run(&arguments));
        assert!(said.contains("roletap"), "{said}");
    }
}

#[test]
fn our_own_container_variables_are_removed_and_never_fetched_from() {
    let sts = FakeSts::start();
    let setup = one_role(&sts)
        .role_with("open", "unsafe_no_token = true")
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY");
    let url = format!("http://{}/v1/credentials/open", setup.vend_address());
    let daemon = setup
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)
        .env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v1/x")
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a-token-of-ours")
        .start();
    let line = daemon.logged("removed");
    for name in [
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    ] {
        assert!(line.contains(name), "{line}");
    }
    assert!(!line.contains("a-token-of-ours"), "{line}");
    daemon.failed("open", "source");
    daemon.role_when("open", "has tried often", |role| {
        role["last_error"]["failed_attempts"].as_u64() >= Some(3)
    });
    let page = daemon.admin("/metrics").text();
    let asked = metric_in(&page, "roletap_vend_requests_total", &[]);
    assert_eq!(asked, Some(0.0));
    assert!(sts.requests().is_empty());
}

// === signals ===

#[test]
fn sigterm_answers_what_was_asked_and_exits_0() {
    let sts = FakeSts::start();
    sts.role(&arn("slow")).always(Fault::Hang);
    let mut daemon = one_role(&sts).role("slow").server("pending_wait = \"1s\"").start();
    daemon.vended("orders");
    let token = daemon.token("orders");
    let headers = [("Authorization", token.as_str())];
    let get = request(daemon.vend_address(), "GET", "/v1/credentials/orders", &headers);
    let slow_token = daemon.token("slow");
    let headers = [("Authorization", slow_token.as_str())];
    let slow = request(daemon.vend_address(), "GET", "/v1/credentials/slow", &headers);

    let mut idle = daemon.connect();
    idle.send(get.as_bytes());
    assert_eq!(idle.answer().status, 200);
    let mut pending = daemon.connect();
    pending.send(slow.as_bytes());
    // Accepted, by the order of the backlog, once the one after it is answered.
    let mut silent = daemon.connect();
    assert_eq!(daemon.get("orders").status, 200);
    daemon.signal(Signal::SIGTERM);
    daemon.logged("stopping");
    silent.send(get.as_bytes());
    assert_eq!(silent.answer().status, 200, "accepted before, asked after");
    assert_eq!(pending.answer().status, 503, "in flight");
    assert!(idle.is_closed());
    assert_eq!(daemon.exit(), Some(0));
    assert!(daemon.log().contains("drained"), "{}", daemon.log());
    assert!(std::net::TcpStream::connect(daemon.vend_address()).is_err());
}

#[test]
fn sigterm_turns_readiness_off_and_closes_the_listener_first() {
    let sts = FakeSts::start();
    sts.role(&arn("slow")).always(Fault::Hang);
    let mut daemon =
        with(&sts).role_with("slow", "required = false").server("pending_wait = \"1s\"").start();
    daemon.wait_until("it is ready", |daemon| match daemon.admin("/readyz").status {
        200 => Ok(()),
        status => Err(status.to_string()),
    });
    let token = daemon.token("slow");
    let headers = [("Authorization", token.as_str())];
    let mut pending = daemon.connect();
    pending
        .send(request(daemon.vend_address(), "GET", "/v1/credentials/slow", &headers).as_bytes());
    daemon.wait_until("the request is in", |daemon| {
        let open = daemon.metric("roletap_connections", &[("listener", "credentials")]);
        (open == Some(1.0)).then_some(()).ok_or(format!("{open:?}"))
    });
    daemon.signal(Signal::SIGTERM);
    daemon.logged("stopping");
    assert_eq!(daemon.admin("/readyz").status, 503);
    crate::support::harness::wait_for("new connections are refused", || {
        match std::net::TcpStream::connect(daemon.vend_address()) {
            Ok(_) => Err("accepted".to_owned()),
            Err(_) => Ok(()),
        }
    });
    assert_eq!(pending.answer().status, 503);
    assert_eq!(daemon.exit(), Some(0));
}

#[test]
fn sigterm_does_not_wait_for_sts() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sts = FakeSts::start();
        sts.any().always(Fault::Hang);
        let mut daemon = one_role(&sts).sts("attempt_timeout = \"60s\"").start();
        sts.wait_for(|log| log.len() == 1, Duration::from_secs(10));
        let begun = Instant::now();
        daemon.signal(signal);
        assert_eq!(daemon.exit(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_caller_who_never_finishes_is_cut_off_after_the_grace() {
    let sts = FakeSts::start();
    sts.any().always(Fault::Hang);
    let mut daemon =
        one_role(&sts).server("pending_wait = \"1s\"\nshutdown_grace = \"300ms\"").start();
    let token = daemon.token("orders");
    let headers = [("Authorization", token.as_str())];
    let get = request(daemon.vend_address(), "GET", "/v1/credentials/orders", &headers);
    let mut waiting = daemon.connect();
    waiting.send(get.as_bytes());
    daemon.wait_until("the request is in", |daemon| {
        let open = daemon.metric("roletap_connections", &[("listener", "credentials")]);
        (open == Some(1.0)).then_some(()).ok_or(format!("{open:?}"))
    });
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit(), Some(0));
    assert!(daemon.log().contains("cut=1"), "{}", daemon.log());
    assert!(waiting.is_closed());
}

#[test]
fn a_second_sigterm_exits_at_once_with_1() {
    let sts = FakeSts::start();
    sts.any().always(Fault::Hang);
    let mut daemon =
        one_role(&sts).server("pending_wait = \"1s\"\nshutdown_grace = \"60s\"").start();
    let token = daemon.token("orders");
    let headers = [("Authorization", token.as_str())];
    let get = request(daemon.vend_address(), "GET", "/v1/credentials/orders", &headers);
    // Each of them holds the drain for a second.
    let mut waiting = daemon.connect();
    waiting.send(get.repeat(20).as_bytes());
    daemon.wait_until("the requests are in", |daemon| {
        let open = daemon.metric("roletap_connections", &[("listener", "credentials")]);
        (open == Some(1.0)).then_some(()).ok_or(format!("{open:?}"))
    });
    daemon.signal(Signal::SIGTERM);
    daemon.logged("stopping");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit(), Some(1));
}

#[test]
fn sigusr1_refreshes_every_role_within_the_budget() {
    let sts = FakeSts::start();
    let mut setup = with(&sts).sts("max_requests_per_second = 5");
    let names: Vec<String> = (0..10).map(|n| format!("r{n}")).collect();
    for name in &names {
        setup = setup.role(name);
    }
    let daemon = setup.start();
    let before: Vec<String> = names.iter().map(|name| daemon.key(name)).collect();
    daemon.signal(Signal::SIGUSR1);
    for (name, before) in names.iter().zip(&before) {
        daemon.wait_until("a new key", |daemon| {
            let key = daemon.key(name);
            (key != *before).then_some(()).ok_or(key)
        });
    }
    let log = sts.requests();
    assert_eq!(log.len(), 20, "one call a role");
    for six in log[10..].windows(6) {
        let took = six[5].at - six[0].at;
        assert!(took > Duration::from_millis(800), "{took:?}");
    }
}

// === token files ===

#[test]
fn tokens_are_stable_over_restarts_and_written_as_clients_need_them() {
    let sts = FakeSts::start();
    let mut daemon = one_role(&sts).role("ledger").start();
    let token = daemon.token("orders");
    assert_eq!(token.len(), 43, "32 bytes");
    assert!(
        token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
        "no newline, nothing to escape"
    );
    assert_ne!(token, daemon.token("ledger"));
    let mode = |daemon: &Daemon| {
        let metadata = std::fs::metadata(daemon.token_path("orders")).expect("a file");
        metadata.permissions().mode() & 0o7777
    };
    assert_eq!(mode(&daemon), 0o640);
    daemon.vended("orders");
    assert_eq!(daemon.stop(), Some(0));
    set_mode(&daemon.token_path("orders"), 0o644);
    daemon.launch();
    assert_eq!(daemon.token("orders"), token);
    assert_eq!(mode(&daemon), 0o640, "put right");
    daemon.vended("orders");
    let dir = daemon.token_path("orders");
    let names: Vec<_> = std::fs::read_dir(dir.parent().expect("a directory"))
        .expect("to list")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    assert_eq!(names.len(), 2, "nothing is left behind: {names:?}");
}

#[test]
fn a_half_written_token_file_is_replaced() {
    let sts = FakeSts::start();
    for half in [
        &b""[..],
        b"abc",
        b"\xff\xfe\xfd",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let mut daemon = one_role(&sts).prepare();
        let path = daemon.token_path("orders");
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("to create");
        std::fs::write(&path, half).expect("to write");
        daemon.launch();
        assert_eq!(daemon.token("orders").len(), 43, "{half:?}");
        daemon.vended("orders");
        assert!(daemon.log().contains("no whole token"), "{}", daemon.log());
        if std::str::from_utf8(half).is_ok() {
            let text = String::from_utf8_lossy(half).replace('\0', "");
            assert_ne!(daemon.get_with("orders", &text).status, 200);
        }
    }
}

#[test]
fn a_link_in_place_of_a_token_file_is_not_followed() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).prepare();
    let path = daemon.token_path("orders");
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("to create");
    let target = daemon.home().join("elsewhere");
    std::fs::write(&target, "x".repeat(43)).expect("to write");
    std::os::unix::fs::symlink(&target, &path).expect("to link");
    let finished = daemon.run(&["run"]);
    assert_eq!(finished.code, Some(69), "{finished:?}");
    assert!(finished.stderr.contains("not a regular file"), "{finished:?}");
    assert_eq!(std::fs::read(&target).expect("to read"), "x".repeat(43).as_bytes());
}

#[test]
fn a_token_that_is_brought_is_used_and_never_written() {
    let sts = FakeSts::start();
    let setup = with(&sts).role_with("orders", "token_file = \"brought\"");
    let path = setup.home().join("brought");
    let token = "brought-by-the-operator-0123456789abcdef";
    std::fs::write(&path, format!("{token}\n")).expect("to write");
    let daemon = setup.start();
    daemon.wait_until("it is vended", |daemon| match daemon.get_with("orders", token).status {
        200 => Ok(()),
        status => Err(status.to_string()),
    });
    assert_eq!(std::fs::read_to_string(&path).expect("to read"), format!("{token}\n"));
    assert!(!daemon.token_path("orders").exists());
    std::fs::write(&path, "short").expect("to write");
    daemon.reload_as_it_is("refused");
    assert_eq!(daemon.get_with("orders", token).status, 200);
}

// === the commands ===

fn settings(daemon: &Daemon) -> [(&'static str, String); 4] {
    [
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!("http://{}/v1/credentials/orders", daemon.vend_address()),
        ),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", daemon.token("orders")),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            daemon.token_path("orders").display().to_string(),
        ),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ]
}

/// The environment that a child printed with `env`.
fn assert_environment(daemon: &Daemon, printed: &str) {
    let value = |name: &str| {
        let prefix = format!("{name}=");
        printed.lines().find_map(|line| line.strip_prefix(&prefix))
    };
    for (name, expected) in settings(daemon) {
        assert_eq!(value(name), Some(expected.as_str()), "{name}");
    }
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"] {
        assert_eq!(value(name), None, "{name}");
    }
    for name in ["NO_PROXY", "no_proxy"] {
        let all = value(name).expect("a list");
        assert!(all.split(',').any(|host| host == "127.0.0.1"), "{all}");
        assert!(all.split(',').any(|host| host == "localhost"), "{all}");
    }
    let before = value("NO_PROXY").expect("a list");
    assert!(before.starts_with("intra.example,"), "{before}");
}

#[test]
fn env_in_a_shell_sets_what_exec_sets() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts)
        .env("AWS_PROFILE", "shadow")
        .env("NO_PROXY", "intra.example")
        .without_env("AWS_PROFILE")
        .start();
    daemon.vended("orders");
    let mut shell = std::process::Command::new("sh");
    let roletap = env!("CARGO_BIN_EXE_roletap");
    let script = format!(
        "set -eu; settings=$('{roletap}' --config '{}' env orders); eval \"$settings\"; exec env",
        daemon.config_path().display()
    );
    shell
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_ACCESS_KEY_ID", "shadow")
        .env("AWS_SECRET_ACCESS_KEY", "shadow")
        .env("AWS_PROFILE", "shadow")
        .env("NO_PROXY", "intra.example")
        .args(["-c", &script]);
    assert_environment(&daemon, &succeeded(finish(&mut shell)));
    let mut command = daemon.command(&["exec", "orders", "--", "env"]);
    command.env("AWS_PROFILE", "shadow");
    assert_environment(&daemon, &succeeded(finish(&mut command)));
}

#[test]
fn env_writes_for_systemd_docker_and_programs_too() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    let docker = succeeded(daemon.run(&["env", "orders", "--format", "docker"]));
    let systemd = succeeded(daemon.run(&["env", "orders", "--format", "systemd"]));
    let json = succeeded(daemon.run(&["env", "orders", "--format", "json"]));
    let json: Value = serde_json::from_str(&json).expect("JSON");
    for (name, value) in settings(&daemon) {
        let line = format!("{name}={value}");
        assert!(docker.lines().any(|l| l == line), "{docker}");
        let line = format!("Environment=\"{line}\"");
        assert!(systemd.lines().any(|l| l == line), "{systemd}");
        assert_eq!(json["set"][name], value);
    }
    let unset = json["unset"].as_array().expect("a list");
    assert!(unset.contains(&"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI".into()));
    assert!(systemd.contains("UnsetEnvironment="), "{systemd}");
    for line in docker.lines() {
        assert!(line.starts_with('#') || line.contains('='), "{line}");
    }
}

#[test]
fn exec_becomes_the_command_once_credentials_are_there() {
    let sts = FakeSts::start();
    sts.any().once(Fault::None.after(Duration::from_millis(700)));
    let daemon = one_role(&sts).start();
    let said = succeeded(daemon.run(&["exec", "orders", "--", "echo", "a b", "--config"]));
    assert_eq!(said, "a b --config\n");
    assert_eq!(daemon.key("orders"), sts.issued()[0].access_key_id);
    let seven = daemon.run(&["exec", "orders", "--", "sh", "-c", "exit 7"]);
    assert_eq!(seven.code, Some(7));
    let missing = daemon.run(&["exec", "orders", "--", "/no/such/program"]);
    assert_failed(&missing, 69, &["/no/such/program"]);
}

#[test]
fn exec_does_not_start_a_command_without_credentials() {
    let sts = FakeSts::start();
    sts.role(&arn("orders")).deny();
    let mut daemon = one_role(&sts).start();
    daemon.failed("orders", "denied");
    // Waiting would not help: it says so at once.
    let begun = Instant::now();
    let denied = daemon.run(&["exec", "orders", "--", "echo", "started"]);
    assert_failed(&denied, 77, &["orders", "403"]);
    assert!(begun.elapsed() < Duration::from_secs(10));
    let anyway = daemon.run(&["exec", "orders", "--wait", "0", "--", "echo", "started"]);
    assert_eq!(succeeded(anyway), "started\n");
    assert_eq!(daemon.stop(), Some(0));
    let down = daemon.run(&["exec", "orders", "--wait", "1", "--", "echo", "started"]);
    assert_failed(&down, 69, &["is the daemon running"]);
}

#[test]
fn status_shows_what_the_daemon_holds() {
    let sts = FakeSts::start();
    sts.role(&arn("denied")).deny();
    let mut daemon = one_role(&sts).role("denied").start();
    let key = daemon.key("orders");
    daemon.failed("denied", "denied");
    let table = succeeded(daemon.run(&["status"]));
    assert!(table.contains("orders") && table.contains(&key), "{table}");
    assert!(table.contains("AccessDenied"), "{table}");
    assert!(table.contains("ask:    the owner of account 111122223333"), "{table}");
    let json = succeeded(daemon.run(&["status", "--json"]));
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["ready"], true);
    assert_eq!(json["roles"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["roles"][1]["access_key_id"], key.as_str());
    assert_eq!(json["roles"][0]["last_error"]["class"], "denied");
    assert_eq!(succeeded(daemon.run(&["status", "--ready"])), "");
    assert_eq!(daemon.stop(), Some(0));
    for arguments in [&["status"][..], &["status", "--json"], &["status", "--ready"]] {
        assert_failed(&daemon.run(arguments), 69, &["is the daemon running"]);
    }
    assert_failed(&daemon.run(&["refresh", "orders"]), 69, &["is the daemon running"]);
}

#[test]
fn readiness_waits_for_required_roles_only() {
    let sts = FakeSts::start();
    sts.any().always(Fault::Hang);
    let daemon = one_role(&sts)
        .sts("attempt_timeout = \"60s\"")
        .role_with("later", "required = false")
        .start();
    assert_eq!(daemon.admin("/readyz").status, 503);
    assert_eq!(daemon.run(&["status", "--ready"]).code, Some(69));
    assert_eq!(daemon.admin("/livez").status, 200);
    assert_eq!(daemon.admin("/readyz/orders").status, 503);
    assert_eq!(daemon.admin("/readyz/nobody").status, 404);
    assert!(daemon.admin("/readyz").text().contains("orders pending"));
    let only = with(&sts).role_with("later", "required = false").start();
    only.wait_until("it is ready", |daemon| match daemon.admin("/readyz").status {
        200 => Ok(()),
        status => Err(status.to_string()),
    });
}

#[test]
fn credential_process_speaks_version_1() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    let given = daemon.vended("orders");
    let said = succeeded(daemon.run(&["credential-process", "orders"]));
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let expected = serde_json::json!({
        "Version": 1,
        "AccessKeyId": given["AccessKeyId"],
        "SecretAccessKey": given["SecretAccessKey"],
        "SessionToken": given["Token"],
        "Expiration": given["Expiration"],
    });
    assert_eq!(said, expected);
    sts.role(&arn("orders")).deny();
    let mut denied = one_role(&sts).start();
    denied.failed("orders", "denied");
    let refused = denied.run(&["credential-process", "orders"]);
    assert_failed(&refused, 77, &["orders", "403"]);
    assert_eq!(denied.stop(), Some(0));
    let down = denied.run(&["credential-process", "orders"]);
    assert_failed(&down, 69, &["is the daemon running"]);
}

#[test]
fn check_is_offline_and_forecasts() {
    let sts = FakeSts::start();
    sts.stop();
    let daemon = one_role(&sts).role("ledger").prepare();
    let said = succeeded(daemon.run(&["check"]));
    assert!(said.contains("orders") && said.contains("ledger"), "{said}");
    let json = |hosts: &str| -> Value {
        let arguments = ["check", "--format", "json", "--hosts", hosts];
        let said = succeeded(daemon.run(&arguments));
        serde_json::from_str(&said).expect("JSON")
    };
    let (one, ten) = (json("1"), json("10"));
    assert_ne!(one, ten);
    let calls = |said: &Value| said["forecast"]["calls_per_hour_per_host"].as_f64();
    let often = one_role(&sts).role_with("ledger", "min_remaining = \"45m\"").prepare();
    let often = succeeded(often.run(&["check", "--format", "json"]));
    let often = serde_json::from_str(&often).expect("JSON");
    assert!(calls(&often) > calls(&one), "{often}");
    assert!(!daemon.token_path("orders").exists());
    std::fs::write(daemon.config_path(), "[role.x]\nrole_arn = 7\n").expect("to write");
    let broken = daemon.run(&["check", "--format", "json"]);
    assert_eq!(broken.code, Some(78));
    let report: Value = serde_json::from_str(&broken.stdout).expect("JSON");
    assert!(report.to_string().contains("role_arn"), "{report}");
    assert!(sts.requests().is_empty());
}

#[test]
fn the_shipped_texts_are_well_formed() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).prepare();
    let script = succeeded(daemon.run(&["completions", "bash"]));
    assert!(script.contains("credential-process"), "{script}");
    let path = daemon.home().join("completions.bash");
    std::fs::write(&path, script).expect("to write");
    let mut bash = std::process::Command::new("bash");
    bash.arg("-n").arg(&path);
    assert_eq!(finish(&mut bash).code, Some(0));
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(!succeeded(daemon.run(&["completions", shell])).is_empty());
    }
    let page = succeeded(daemon.run(&["man"]));
    assert!(page.contains(".TH roletap 1"), "{page}");
    let dir = daemon.home().join("man");
    succeeded(daemon.run(&["man", "--dir", &dir.display().to_string()]));
    assert!(dir.join("roletap-exec.1").exists());
}

#[test]
fn a_reader_that_goes_away_is_nobodys_failure() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).prepare();
    let script = format!(
        "'{}' --config '{}' completions bash | true; '{}' --config '{}' man | head -n 1",
        env!("CARGO_BIN_EXE_roletap"),
        daemon.config_path().display(),
        env!("CARGO_BIN_EXE_roletap"),
        daemon.config_path().display()
    );
    let mut shell = std::process::Command::new("bash");
    shell.args(["-o", "pipefail", "-c", &script]);
    let finished = finish(&mut shell);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stderr, "");
}

// === the admin endpoint ===

#[test]
fn the_admin_endpoint_serves_no_browser_and_no_credentials() {
    let sts = FakeSts::start();
    let daemon = one_role(&sts).start();
    daemon.vended("orders");
    for path in ["/v1/credentials/orders", "/", "/debug", "/roles/orders"] {
        assert_eq!(daemon.admin(path).status, 404, "{path}");
    }
    assert_eq!(daemon.admin_with("DELETE", "/roles").status, 405);
    assert_eq!(daemon.admin("/roles/orders/refresh").status, 405);
    assert_eq!(daemon.admin_with("POST", "/roles/nobody/refresh").status, 404);
    assert_eq!(daemon.admin_with("POST", "/roles/orders/refresh").status, 202);
    for header in [
        ("Origin", "http://x"),
        ("Sec-Fetch-Site", "none"),
        ("Host", "rebound.example"),
        ("X-Forwarded-For", "10.0.0.1"),
    ] {
        let mut connection = crate::support::harness::Connection::to(daemon.admin_address());
        let post = request(daemon.admin_address(), "POST", "/roles/orders/refresh", &[header]);
        connection.send(post.as_bytes());
        assert_eq!(connection.answer().status, 403, "{header:?}");
    }
    let version = text(&daemon.overview()["version"]);
    let labels = [("version", version.as_str())];
    assert_eq!(daemon.metric("roletap_build_info", &labels), Some(1.0));
}
