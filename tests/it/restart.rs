//! Nothing is lost over a restart: one process hands to the next what it has in hand, and a supervisor that is not systemd
//! stands between them.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::harness::{Connection, Setup, Supervised, arn, request, text, with};
use fake_sts::{FakeSts, Fault};

/// Asks for a role on new connections until it is stopped, and counts.
struct Consumer {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<Vec<String>>,
}

impl Consumer {
    /// Asks only while nobody writes `between`.
    fn start(supervised: &Supervised, role: &'static str, between: &Arc<RwLock<()>>) -> Self {
        let (key, between) = (supervised.daemon.key(role), between.clone());
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let address = supervised.daemon.vend_address();
        let token = supervised.daemon.token(role);
        let headers = [("Authorization", token.as_str())];
        let get = request(address, "GET", &format!("/v1/credentials/{role}"), &headers);
        let thread = {
            let (stop, answers) = (stop.clone(), answers.clone());
            std::thread::spawn(move || {
                let mut wrong = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let _asking = between.read().expect("no panic");
                    match fetch(address, &get) {
                        Ok(found) if found == key => {}
                        Ok(other) => wrong.push(format!("{other}, not {key}")),
                        Err(error) => wrong.push(error),
                    }
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                wrong
            })
        };
        Self { stop, answers, thread }
    }

    /// Waits for some more answers.
    fn answered(&self, more: usize) {
        let before = self.answers.load(Ordering::Relaxed);
        crate::support::harness::wait_for("the consumer has answers", || {
            let now = self.answers.load(Ordering::Relaxed);
            (now >= before + more).then_some(()).ok_or_else(|| format!("{} more", now - before))
        });
    }

    /// Everything that went wrong.
    fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}

/// The access key id, or what came instead.
fn fetch(address: std::net::SocketAddr, get: &str) -> Result<String, String> {
    let mut stream = std::net::TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream
        .set_read_timeout(Some(crate::support::harness::PATIENCE))
        .map_err(|error| error.to_string())?;
    let get = get.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    stream.write_all(get.as_bytes()).map_err(|error| format!("sending: {error}"))?;
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer)
        .map_err(|error| format!("receiving: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(format!("{answer:?}"))?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(answer);
    }
    let body: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    Ok(text(&body["AccessKeyId"]))
}

fn two_roles(sts: &FakeSts) -> Setup {
    with(sts).role("orders").role("ledger")
}

/// Starts, and waits until both are vended and in the store.
fn running(setup: Setup) -> Supervised {
    let mut supervised = setup.supervised();
    supervised.launch();
    for role in ["orders", "ledger"] {
        let key = supervised.daemon.key(role);
        supervised.supervisor.wait_until_stored(key.as_bytes());
    }
    supervised
}

#[track_caller]
fn assert_in_log(supervised: &Supervised, text: &str) {
    let log = supervised.daemon.log();
    assert!(log.contains(text), "no {text:?} in {log}");
}

// === nothing is lost ===

#[test]
fn restarts_and_kills_cost_no_call_to_sts_and_no_consumer_an_answer() {
    let sts = FakeSts::start();
    let mut supervised = running(two_roles(&sts));
    let between = Arc::<RwLock<()>>::default();
    let consumers: Vec<Consumer> = ["orders", "ledger", "orders"]
        .into_iter()
        .map(|role| Consumer::start(&supervised, role, &between))
        .collect();
    let tokens = ["orders", "ledger"].map(|role| supervised.daemon.token(role));
    for signal in
        [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL, Signal::SIGINT]
    {
        for consumer in &consumers {
            consumer.answered(5);
        }
        if signal == Signal::SIGKILL {
            // What is killed with a connection in hand cannot answer it.
            let _between_two_answers = between.write().expect("no panic");
            supervised.daemon.signal(signal);
            assert_eq!(supervised.daemon.exit(), None);
        } else {
            supervised.daemon.signal(signal);
            assert_eq!(supervised.daemon.exit(), Some(0));
        }
        supervised.launch();
    }
    for consumer in &consumers {
        consumer.answered(5);
    }
    for consumer in consumers {
        assert_eq!(consumer.finish(), Vec::<String>::new());
    }
    assert_eq!(sts.requests().len(), 2, "one call a role, ever");
    let after = ["orders", "ledger"].map(|role| supervised.daemon.token(role));
    assert_eq!(tokens, after);
    assert_eq!(supervised.supervisor.names().len(), 1);
    assert_eq!(supervised.supervisor.refused(), 0);
    let log = supervised.daemon.log();
    assert_eq!(log.matches("took over the credentials").count(), 5, "{log}");
    assert!(!log.contains(" WARN "), "{log}");
}

#[test]
fn whoever_connects_between_two_processes_is_answered_by_the_next() {
    let sts = FakeSts::start();
    let mut supervised = running(two_roles(&sts));
    let key = supervised.daemon.key("orders");
    let token = supervised.daemon.token("orders");
    assert_eq!(supervised.daemon.stop(), Some(0));
    let headers = [("Authorization", token.as_str())];
    let get = request(supervised.daemon.vend_address(), "GET", "/v1/credentials/orders", &headers);
    let mut waiting: Vec<Connection> = (0..50)
        .map(|_| {
            let mut connection = supervised.daemon.connect();
            connection.send(get.as_bytes());
            connection
        })
        .collect();
    let mut admin = Connection::to(supervised.daemon.admin_address());
    admin.send(request(supervised.daemon.admin_address(), "GET", "/readyz", &[]).as_bytes());
    supervised.launch();
    for connection in &mut waiting {
        let answer = connection.answer();
        assert_eq!(answer.status, 200);
        assert_eq!(text(&answer.json()["AccessKeyId"]), key);
    }
    // Asked before the process was there, and ready in its first answer.
    assert_eq!(admin.answer().status, 200);
    assert_eq!(sts.requests().len(), 2);
}

#[test]
fn a_slow_client_keeps_nobody_waiting_while_the_daemon_stops() {
    let sts = FakeSts::start();
    let mut supervised = running(two_roles(&sts).server("shutdown_grace = \"3s\""));
    // Half a head: the drain lasts until the grace is over.
    let mut slow = supervised.daemon.connect();
    slow.send(b"GET / HTTP/1.1\r\n");
    supervised.daemon.wait_until("it is accepted", |daemon| {
        let open = daemon.metric("roletap_connections", &[("listener", "credentials")]);
        (open >= Some(1.0)).then_some(()).ok_or(format!("{open:?}"))
    });
    supervised.daemon.signal(Signal::SIGTERM);
    supervised.daemon.logged("stopping");
    for _ in 0..20 {
        assert_eq!(supervised.daemon.get("orders").status, 200);
    }
    assert!(supervised.daemon.is_alive(), "it was still the old process");
    assert_eq!(supervised.daemon.admin("/readyz").status, 503);
    assert_eq!(supervised.daemon.exit(), Some(0));
    assert_in_log(&supervised, "cut=1");
    assert!(slow.is_closed());
}

#[test]
fn a_failure_goes_on_where_it_was() {
    let sts = FakeSts::start();
    let mut supervised = running(two_roles(&sts));
    let key = supervised.daemon.key("orders");
    sts.role(&arn("orders")).always(Fault::status(503));
    supervised.daemon.admin_with("POST", "/roles/orders/refresh");
    let before = supervised.daemon.role_when("orders", "has failed often", |role| {
        role["last_error"]["failed_attempts"].as_u64() >= Some(3)
    });
    assert_eq!(supervised.daemon.stop(), Some(0));
    supervised.launch();
    assert_eq!(supervised.daemon.key("orders"), key);
    let after =
        supervised.daemon.role_when("orders", "fails on", |role| !role["last_error"].is_null());
    assert_eq!(after["last_error"]["since"], before["last_error"]["since"]);
    let count = |role: &Value| role["last_error"]["failed_attempts"].as_u64();
    assert!(count(&after) >= count(&before), "{after}");
    sts.role(&arn("orders")).clear();
    supervised.daemon.logged("issued again");
    let log = supervised.daemon.log();
    // One error, and one line when it is over, whoever wrote it.
    assert_eq!(log.matches("failed to assume the role").count(), 1, "{log}");
}

#[test]
fn a_role_that_waits_for_a_person_is_tried_at_once_after_a_restart() {
    let sts = FakeSts::start();
    let mut supervised = running(two_roles(&sts));
    let key = supervised.daemon.key("orders");
    sts.role(&arn("orders")).deny();
    supervised.daemon.admin_with("POST", "/roles/orders/refresh");
    supervised.daemon.failed("orders", "denied");
    assert_eq!(supervised.daemon.stop(), Some(0));
    sts.role(&arn("orders")).allow();
    supervised.launch();
    supervised.daemon.wait_until("it is issued anew", |daemon| {
        let now = daemon.key("orders");
        (now != key).then_some(()).ok_or(now)
    });
}

#[test]
fn what_was_dropped_does_not_come_back() {
    let sts = FakeSts::start();
    let mut supervised = with(&sts).role_with("orders", "on_denied = \"drop\"").supervised();
    supervised.launch();
    let key = supervised.daemon.key("orders");
    supervised.supervisor.wait_until_stored(key.as_bytes());
    sts.role(&arn("orders")).deny();
    supervised.daemon.admin_with("POST", "/roles/orders/refresh");
    supervised.daemon.failed("orders", "denied");
    let supervisor = &supervised.supervisor;
    crate::support::harness::wait_for("it has left the store", || {
        let bytes = (supervisor.names().len() == 1).then(|| supervisor.bytes());
        bytes
            .is_some_and(|bytes| !bytes.windows(key.len()).any(|part| part == key.as_bytes()))
            .then_some(())
            .ok_or("still there".to_owned())
    });
    supervised.daemon.signal(Signal::SIGKILL);
    supervised.daemon.exit();
    supervised.launch();
    supervised.daemon.failed("orders", "denied");
    assert_eq!(supervised.daemon.get("orders").status, 403);
}

#[test]
fn the_clock_of_sts_is_known_to_the_next_process() {
    let sts = FakeSts::start();
    // An hour behind: by our own clock a session of half an hour had ended before it came.
    sts.shift_clock(-3600);
    let mut supervised = running(two_roles(&sts).defaults("duration_seconds = 1800"));
    let key = supervised.daemon.key("orders");
    assert_eq!(supervised.daemon.stop(), Some(0));
    supervised.launch();
    assert_eq!(supervised.daemon.key("orders"), key);
    assert_eq!(sts.requests().len(), 2);
}

#[test]
fn the_store_does_not_grow() {
    let sts = FakeSts::start();
    // Refreshed every 2 s, and stored each time.
    let mut supervised = two_roles(&sts).sessions_of(10).supervised();
    supervised.launch();
    for _ in 0..4 {
        supervised.supervisor.wait_for_store();
        assert!(supervised.supervisor.names().len() <= 2);
    }
    assert_eq!(supervised.daemon.stop(), Some(0));
    assert_eq!(supervised.supervisor.names().len(), 1);
    assert_eq!(supervised.supervisor.refused(), 0);
}

#[test]
fn a_process_that_dies_between_storing_and_letting_go_leaves_the_newer_snapshot() {
    let sts = FakeSts::start();
    let mut supervised = running(two_roles(&sts));
    let (name, old) = supervised.supervisor.take();
    supervised.supervisor.put(&name, old.try_clone().expect("a descriptor"));
    let first = supervised.daemon.key("orders");
    supervised.daemon.admin_with("POST", "/roles/orders/refresh");
    supervised.daemon.wait_until("it is issued anew", |daemon| {
        let now = daemon.key("orders");
        (now != first).then_some(()).ok_or(now)
    });
    let key = supervised.daemon.key("orders");
    supervised.supervisor.wait_until_stored(key.as_bytes());
    assert_eq!(supervised.daemon.stop(), Some(0));
    let (later, new) = supervised.supervisor.take();
    let earlier = if later == "state-1" { "state-2" } else { "state-1" };
    for first_is_new in [true, false] {
        let (new, old) = (new.try_clone(), old.try_clone());
        let (new, old) = (new.expect("a descriptor"), old.expect("a descriptor"));
        if first_is_new {
            supervised.supervisor.put(&later, new);
            supervised.supervisor.put(earlier, old);
        } else {
            supervised.supervisor.put(earlier, old);
            supervised.supervisor.put(&later, new);
        }
        let before = supervised.supervisor.stored();
        supervised.launch();
        assert_eq!(supervised.daemon.key("orders"), key);
        supervised.supervisor.wait_for_store_after(before);
        assert_eq!(supervised.daemon.stop(), Some(0));
        assert_eq!(supervised.supervisor.names().len(), 1);
        supervised.supervisor.empty_store();
    }
}

// === what is not taken ===

/// A sealed memory file, as the daemon makes them.
fn sealed(bytes: &[u8], seals: SealFlag) -> OwnedFd {
    let descriptor = memfd_create("test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)
        .expect("a memory file");
    let mut file = File::from(descriptor);
    file.write_all(bytes).expect("to write");
    if !seals.is_empty() {
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).expect("to seal");
    }
    file.into()
}

fn all_seals() -> SealFlag {
    SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL
}

#[test]
fn a_damaged_snapshot_is_ignored_with_a_reason_and_every_role_is_assumed_anew() {
    let sts = FakeSts::start();
    let mut supervised = running(two_roles(&sts));
    assert_eq!(supervised.daemon.stop(), Some(0));
    let snapshot = supervised.supervisor.bytes();
    let flipped = |at: usize| {
        let mut bytes = snapshot.clone();
        bytes[at] ^= 0x20;
        sealed(&bytes, all_seals())
    };
    let checksum = "its checksum does not match";
    let mut damaged: Vec<(OwnedFd, &str)> = vec![
        (flipped(0), "not a snapshot of roletap"),
        (flipped(8), "it has format 35, and this roletap reads format 3"),
        (flipped(12), "bytes"),
        (flipped(20), checksum),
        (flipped(51), checksum),
        (sealed(b"", all_seals()), "it ends early, after 0 bytes"),
        (sealed(&snapshot[..40], all_seals()), "it ends early, after 40 bytes"),
        (sealed(&snapshot[..snapshot.len() - 1], all_seals()), "it ends early"),
        (sealed(&[&snapshot[..], b"x"].concat(), all_seals()), "too many"),
        (sealed(&vec![0; (64 << 20) + 1], all_seals()), "too many"),
        (sealed(&snapshot, SealFlag::empty()), "not a sealed memory file"),
        (
            sealed(&snapshot, SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK),
            "not a sealed memory file",
        ),
        (
            File::open(supervised.daemon.config_path()).expect("a file").into(),
            "not a sealed memory file",
        ),
        (File::open("/dev/zero").expect("a device").into(), "not a sealed memory file"),
        (
            std::os::unix::net::UnixDatagram::unbound().expect("a socket").into(),
            "not a sealed memory file",
        ),
        (std::io::pipe().expect("a pipe").0.into(), "not a sealed memory file"),
    ];
    for part in 1..8 {
        damaged.push((flipped(52 + part * (snapshot.len() - 53) / 8), checksum));
    }
    for (descriptor, reason) in damaged {
        supervised.supervisor.empty_store();
        supervised.supervisor.put("state-1", descriptor);
        let (calls, lines) = (sts.requests().len(), supervised.daemon.log().lines().count());
        supervised.launch();
        for role in ["orders", "ledger"] {
            supervised.daemon.vended(role);
        }
        let log = supervised.daemon.log();
        let said: Vec<&str> =
            log.lines().skip(lines).filter(|line| line.contains(" WARN ")).collect();
        assert!(
            said.len() == 1 && said[0].contains(reason) && said[0].contains("not used"),
            "no {reason:?} in {said:?}"
        );
        assert_eq!(sts.requests().len(), calls + 2, "{reason}");
        assert_eq!(supervised.daemon.stop(), Some(0));
        assert_eq!(supervised.supervisor.names().len(), 1);
    }
    // And the last of them has left one that is whole.
    let calls = sts.requests().len();
    supervised.launch();
    supervised.daemon.vended("orders");
    assert_eq!(sts.requests().len(), calls);
}

#[test]
fn a_role_that_asks_for_something_else_starts_anew_and_the_others_go_on() {
    let sts = FakeSts::start();
    let mut supervised = running(two_roles(&sts).role("gone"));
    supervised.daemon.vended("gone");
    let (orders, ledger) = (supervised.daemon.key("orders"), supervised.daemon.key("ledger"));
    assert_eq!(supervised.daemon.stop(), Some(0));
    let changes = "external_id = \"ws-1\"";
    supervised.daemon.text.set_role("orders", changes);
    supervised.daemon.text.set_role("ledger", "account_id = true");
    supervised.daemon.text.remove_role("gone");
    supervised.daemon.text.set_role("new", "");
    supervised.daemon.write_config();
    let calls = sts.requests().len();
    supervised.launch();
    assert_ne!(supervised.daemon.key("orders"), orders);
    let shown = supervised.daemon.vended("ledger");
    assert_eq!(text(&shown["AccessKeyId"]), ledger);
    assert_eq!(shown["AccountId"], "111122223333");
    supervised.daemon.vended("new");
    assert_eq!(sts.requests().len(), calls + 2);
    assert_in_log(&supervised, "roles=1 changed=1 expired=0 unusable=0 removed=1");
    // What is gone is gone from the store too.
    assert_eq!(supervised.daemon.stop(), Some(0));
    let bytes = supervised.supervisor.bytes();
    assert!(!bytes.windows(4).any(|part| part == b"gone"));
}

#[test]
fn what_has_ended_meanwhile_is_issued_anew() {
    let sts = FakeSts::start();
    let mut supervised = two_roles(&sts).sessions_of(4).supervised();
    supervised.launch();
    supervised.daemon.vended("ledger");
    let key = supervised.daemon.key("orders");
    assert_eq!(supervised.daemon.stop(), Some(0));
    let ended = std::time::SystemTime::now() + std::time::Duration::from_secs(4);
    crate::support::harness::wait_for("all sessions have ended", || {
        let left = ended.duration_since(std::time::SystemTime::now());
        left.map_or(Ok(()), |left| Err(format!("{left:?}")))
    });
    supervised.launch();
    assert_ne!(supervised.daemon.key("orders"), key);
    assert_in_log(&supervised, "roles=0 changed=0 expired=2");
}

// === tokens ===

#[test]
fn a_token_that_was_replaced_while_the_daemon_was_away_opens_its_role_on() {
    let sts = FakeSts::start();
    let mut supervised = running(two_roles(&sts));
    let old = supervised.daemon.token("orders");
    assert_eq!(supervised.daemon.stop(), Some(0));
    let path = supervised.daemon.token_path("orders");
    std::fs::remove_dir_all(path.parent().expect("a directory")).expect("to remove");
    supervised.launch();
    let new = supervised.daemon.token("orders");
    assert_ne!(new, old);
    for token in [&new, &old] {
        assert_eq!(supervised.daemon.get_with("orders", token).status, 200);
    }
    // Of two restarts later, too, though its note on the way is gone.
    assert_eq!(supervised.daemon.stop(), Some(0));
    std::fs::remove_file(path.with_file_name(".orders.previous")).expect("a note");
    supervised.launch();
    assert_eq!(supervised.daemon.get_with("orders", &old).status, 200);
    assert_eq!(supervised.daemon.get_with("ledger", &old).status, 404);
    // `systemctl stop` empties the store: then it is shut out.
    assert_eq!(supervised.daemon.stop(), Some(0));
    supervised.supervisor.empty_store();
    std::fs::remove_file(&path).expect("a token");
    supervised.launch();
    for token in [&new, &old] {
        assert_eq!(supervised.daemon.get_with("orders", token).status, 401);
    }
}

// === where there is no store ===

#[test]
fn without_systemd_it_says_once_that_nothing_survives() {
    let sts = FakeSts::start();
    let daemon = two_roles(&sts).start();
    daemon.vended("orders");
    let log = daemon.log();
    let said =
        "not started by systemd with Type=notify: after a restart every role is assumed anew";
    assert_eq!(log.matches(said).count(), 1, "{log}");
}

#[test]
fn where_systemd_keeps_nothing_every_role_is_assumed_anew() {
    let sts = FakeSts::start();
    let mut supervised = two_roles(&sts).supervised();
    supervised.supervisor.keep_nothing();
    supervised.launch();
    let key = supervised.daemon.key("orders");
    assert_eq!(supervised.daemon.stop(), Some(0));
    supervised.launch();
    assert_ne!(supervised.daemon.key("orders"), key);
    let log = supervised.daemon.log();
    assert_eq!(log.matches("does not say that it keeps").count(), 2, "{log}");
    assert!(!log.contains(" WARN "), "{log}");
}

#[test]
fn a_systemd_that_is_silent_about_its_store_is_used_all_the_same() {
    let sts = FakeSts::start();
    let mut supervised = two_roles(&sts).supervised();
    supervised.supervisor.be_silent_about_the_store();
    supervised.launch();
    let key = supervised.daemon.key("orders");
    assert_eq!(supervised.daemon.stop(), Some(0));
    supervised.launch();
    assert_eq!(supervised.daemon.key("orders"), key);
    let log = supervised.daemon.log();
    assert_eq!(log.matches("does not say that it keeps").count(), 1, "{log}");
}
