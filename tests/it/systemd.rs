//! What is told to systemd and taken from it, spoken to a supervisor that plays it.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::harness::{BASE_KEY, BASE_SECRET, Port, Supervised, finish, with};
use fake_sts::{FakeSts, Fault};

fn launched(sts: &FakeSts) -> Supervised {
    let mut supervised = with(sts).role("orders").supervised();
    supervised.launch();
    supervised.daemon.vended("orders");
    supervised
}

fn value(message: &str, key: &str) -> u64 {
    let found = message.lines().find_map(|line| line.strip_prefix(key));
    found.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {key} in {message:?}"))
}

fn monotonic_micros() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
    u64::try_from(now.tv_sec() * 1_000_000 + now.tv_nsec() / 1_000).expect("since boot")
}

// === what is told ===

#[test]
fn ready_is_told_once_required_roles_have_left_pending() {
    let sts = FakeSts::start();
    sts.any().once(Fault::Hang);
    let mut supervised = with(&sts).role("orders").sts("attempt_timeout = \"2s\"").supervised();
    supervised.launch();
    // The first attempt still hangs.
    assert_eq!(supervised.daemon.admin("/readyz").status, 503);
    let told = supervised.supervisor.told();
    assert!(!told.iter().any(|message| message.contains("READY=1")), "{told:?}");
    let ready = supervised.supervisor.heard("READY=1");
    assert!(ready.contains("STATUS=1 roles: "), "{ready:?}");
}

#[test]
fn a_reload_is_told_as_notify_reload_wants_it() {
    let sts = FakeSts::start();
    let supervised = launched(&sts);
    supervised.supervisor.heard("READY=1");
    for result in ["applied", "refused"] {
        supervised.supervisor.forget_told();
        if result == "refused" {
            std::fs::write(supervised.daemon.config_path(), "nonsense").expect("to write");
        }
        let before = monotonic_micros();
        supervised.daemon.reload_as_it_is(result);
        supervised.supervisor.heard("READY=1");
        let told = supervised.supervisor.told();
        let place = |text: &str| {
            let found = told.iter().position(|message| message.contains(text));
            found.unwrap_or_else(|| panic!("no {text:?} in {told:?}"))
        };
        assert!(place("RELOADING=1") < place("READY=1"), "{told:?}");
        let began = value(&told[place("RELOADING=1")], "MONOTONIC_USEC=");
        assert!((before..=monotonic_micros()).contains(&began));
    }
}

#[test]
fn stopping_is_told_with_the_time_that_it_may_take() {
    let sts = FakeSts::start();
    let mut supervised = with(&sts).role("orders").server("shutdown_grace = \"2m\"").supervised();
    supervised.launch();
    supervised.daemon.vended("orders");
    assert_eq!(supervised.daemon.stop(), Some(0));
    let stopping = supervised.supervisor.heard("STOPPING=1");
    assert!(value(&stopping, "EXTEND_TIMEOUT_USEC=") >= 120_000_000);
    assert!(stopping.contains("STATUS=draining"), "{stopping:?}");
    // And it is not gone before all of that has been read.
    let told = supervised.supervisor.told();
    assert!(told.last().is_some_and(|last| last.contains("BARRIER=1")), "{told:?}");
}

#[test]
fn events_without_end_do_not_starve_the_watchdog() {
    let sts = FakeSts::start();
    let mut supervised = with(&sts).role("orders").env("WATCHDOG_USEC", "3000000").supervised();
    supervised.launch();
    supervised.supervisor.heard("READY=1");
    supervised.supervisor.forget_told();
    // Ten in the time between two feedings.
    crate::support::harness::wait_for("it is fed twice", || {
        supervised.daemon.signal(Signal::SIGUSR1);
        crate::support::harness::pause(std::time::Duration::from_millis(100));
        let told = supervised.supervisor.told();
        let fed = told.iter().filter(|message| message.contains("WATCHDOG=1"));
        match fed.count() {
            count @ 0..2 => Err(count.to_string()),
            _ => Ok(()),
        }
    });
}

#[test]
fn the_watchdog_is_fed_while_scheduling_makes_progress() {
    let sts = FakeSts::start();
    let mut supervised = with(&sts).role("orders").env("WATCHDOG_USEC", "300000").supervised();
    supervised.launch();
    let fed = |supervised: &Supervised| {
        let told = supervised.supervisor.told();
        told.iter().filter(|message| message.contains("WATCHDOG=1")).count()
    };
    crate::support::harness::wait_for("it is fed", || match fed(&supervised) {
        count @ 0..5 => Err(count.to_string()),
        _ => Ok(()),
    });
    // A process that stands still feeds nobody.
    supervised.daemon.signal(Signal::SIGSTOP);
    crate::support::harness::wait_for("it has stopped", || {
        supervised.supervisor.forget_told();
        crate::support::harness::pause(std::time::Duration::from_millis(400));
        match fed(&supervised) {
            0 => Ok(()),
            count => Err(count.to_string()),
        }
    });
    supervised.daemon.signal(Signal::SIGCONT);
    supervised.supervisor.heard("WATCHDOG=1");
    let unwatched = launched(&sts);
    unwatched.supervisor.heard("READY=1");
    assert_eq!(fed(&unwatched), 0);
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let sts = FakeSts::start();
    let mut supervised = with(&sts)
        .role("orders")
        .env("WATCHDOG_USEC", "300000")
        .env("WATCHDOG_PID", "1")
        .supervised();
    supervised.launch();
    supervised.supervisor.heard("READY=1");
    let told = supervised.supervisor.told();
    assert!(!told.iter().any(|message| message.contains("WATCHDOG=1")));
}

// === what is handed over ===

#[test]
fn an_address_that_systemd_does_not_hold_is_bound_and_named() {
    let sts = FakeSts::start();
    let other = Port::reserve();
    let setup = with(&sts).role("orders").also_listen(&other.address.to_string());
    let mut supervised = setup.supervised();
    supervised.launch();
    supervised.daemon.vended("orders");
    assert!(TcpStream::connect(other.address).is_ok());
    let line = supervised.daemon.logged("does not hold");
    assert!(line.contains(&format!("ListenStream={}", other.address)), "{line}");
    // Only that one is refused while nobody is there.
    assert_eq!(supervised.daemon.stop(), Some(0));
    assert!(TcpStream::connect(other.address).is_err());
    assert!(TcpStream::connect(supervised.daemon.vend_address()).is_ok());
}

#[test]
fn an_address_that_only_systemd_names_is_served_by_nobody() {
    let sts = FakeSts::start();
    let mut supervised = with(&sts).role("orders").supervised();
    let other = Port::reserve();
    supervised.supervisor.listen("credentials", other.address);
    supervised.launch();
    supervised.daemon.vended("orders");
    let line = supervised.daemon.logged("`server.listen` does not name it");
    assert!(line.contains(&other.address.to_string()), "{line}");
    assert!(line.contains("ListenStream="), "{line}");
}

#[test]
fn what_is_not_for_us_is_closed_and_named() {
    let sts = FakeSts::start();
    let mut supervised = with(&sts).role("orders").supervised();
    let (plain, datagram, unlistening) = (
        std::fs::File::open("/dev/null").expect("a device"),
        std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket"),
        nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Inet,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::empty(),
            None,
        )
        .expect("a socket"),
    );
    let supervisor = &mut supervised.supervisor;
    supervisor.hand_over("credentials", plain.into());
    supervisor.hand_over("credentials", datagram.into());
    supervisor.hand_over("admin", unlistening);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    supervisor.hand_over("roletap.socket", listener.into());
    supervised.launch();
    supervised.daemon.vended("orders");
    supervised.daemon.logged("`roletap.socket`, which is neither");
    let log = supervised.daemon.log();
    assert_eq!(log.matches("is no listening TCP socket").count(), 3, "{log}");
}

#[test]
fn variables_that_make_no_sense_end_the_start_with_a_reason() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role("orders").prepare();
    // What they say has to be about this very process.
    let script = "export LISTEN_PID=$$; exec \"$@\"";
    for (name, value) in
        [("LISTEN_FDS", "many"), ("LISTEN_FDS", "90"), ("LISTEN_FDS", "4294967295")]
    {
        let command = daemon.command(&["run"]);
        let mut wrapped = Command::new("sh");
        wrapped
            .args(["-c", script, "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .env(name, value);
        let finished = finish(&mut wrapped);
        assert_eq!(finished.code, Some(69), "{value}: {finished:?}");
        assert!(finished.stderr.contains("what systemd hands over"), "{finished:?}");
    }
    // Meant for somebody else, they say nothing.
    let mut daemon =
        with(&sts).role("orders").env("LISTEN_PID", "1").env("LISTEN_FDS", "many").start();
    daemon.vended("orders");
    assert!(daemon.is_alive());
}

#[test]
fn children_inherit_nothing_of_it() {
    let sts = FakeSts::start();
    let setup = with(&sts)
        .role("orders")
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY");
    let seen = setup.home().join("seen");
    let helper = setup.home().join("helper");
    let script = format!(
        "#!/bin/sh\nls -l /proc/self/fd > '{}'\necho '{{\"Version\":1,\"AccessKeyId\":\"{BASE_KEY}\",\"SecretAccessKey\":\"{BASE_SECRET}\"}}'\n",
        seen.display()
    );
    std::fs::write(&helper, script).expect("to write");
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).expect("to chmod");
    let profile = setup.home().join("aws");
    std::fs::write(&profile, format!("[default]\ncredential_process = {}\n", helper.display()))
        .expect("to write");
    let mut supervised = setup.env("AWS_CONFIG_FILE", &profile.display().to_string()).supervised();
    supervised.launch();
    let key = supervised.daemon.key("orders");
    supervised.supervisor.wait_until_stored(key.as_bytes());
    // Once more, with an image among what is handed over.
    assert_eq!(supervised.daemon.stop(), Some(0));
    std::fs::remove_file(&seen).expect("the helper has run");
    supervised.launch();
    supervised.daemon.admin_with("POST", "/roles/orders/refresh");
    crate::support::harness::wait_for("the helper has run", || {
        seen.exists().then_some(()).ok_or("not yet".to_owned())
    });
    supervised.daemon.wait_until("a new key", |daemon| {
        let now = daemon.key("orders");
        (now != key).then_some(()).ok_or(now)
    });
    let seen = std::fs::read_to_string(&seen).expect("a list");
    assert!(seen.contains("/proc/"), "{seen}");
    for word in ["socket", "memfd"] {
        assert!(!seen.contains(word), "{seen}");
    }
}

// === the units ===

/// A copy of the units with a binary that is there; `None`, said aloud, where there is no `systemd-analyze`.
fn units() -> Option<tempfile::TempDir> {
    let version = Command::new("systemd-analyze").arg("--version").output();
    if version.is_err() {
        println!("SKIPPED: systemd-analyze is missing: install systemd");
        return None;
    }
    let dir = tempfile::tempdir().expect("a directory");
    for name in UNITS {
        let text = unit(name).replace("/usr/bin/roletap", env!("CARGO_BIN_EXE_roletap"));
        std::fs::write(dir.path().join(name), text).expect("to write");
    }
    Some(dir)
}

const UNITS: [&str; 3] = ["roletap.service", "roletap.socket", "roletap-admin.socket"];

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name);
    std::fs::read_to_string(path).expect("a unit")
}

#[test]
fn the_units_have_no_word_that_systemd_does_not_know() {
    let Some(dir) = units() else { return };
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    verify.args(UNITS.map(|name| dir.path().join(name)));
    let finished = finish(&mut verify);
    // Unknown keys leave the exit code as it is.
    assert_eq!(finished.stderr, "", "{finished:?}");
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn the_unit_is_exposed_to_little_and_says_why_to_the_rest() {
    let Some(dir) = units() else { return };
    let security = |arguments: &[&str]| {
        let mut security = Command::new("systemd-analyze");
        security
            .args(["security", "--offline=true", "--no-pager"])
            .args(arguments)
            .arg(dir.path().join("roletap.service"));
        finish(&mut security)
    };
    let finished = security(&["--threshold=15"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let table = security(&["--json=short"]).stdout;
    let table: Value = serde_json::from_str(&table).expect("JSON");
    let text = unit("roletap.service");
    for row in table.as_array().expect("a table") {
        let exposed = row["exposure"].as_str().is_some_and(|text| text != "0.0");
        let name = row["name"].as_str().unwrap_or_default();
        let directive = name.split(['=', '/']).next().unwrap_or_default();
        if exposed {
            assert!(text.contains(&format!("{directive}=")), "no word on {name}");
        }
    }
}

#[test]
fn the_sockets_are_those_that_the_daemon_listens_on_by_default() {
    let config =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/complete.toml"))
            .expect("a configuration");
    for (name, section) in [("roletap.socket", "credentials"), ("roletap-admin.socket", "admin")] {
        let text = unit(name);
        let value = |key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(key));
            found.unwrap_or_else(|| panic!("no {key} in {name}"))
        };
        assert_eq!(value("FileDescriptorName="), section);
        let address = value("ListenStream=");
        assert!(config.contains(&format!("listen = [\"{address}\"]")), "{address}");
    }
}
