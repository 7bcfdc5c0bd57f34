//! What is written down: for journald, and how often.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::support::harness::{BASE_SECRET, Daemon, arn, finish, unshared, wait_for, with};
use fake_sts::{FakeSts, Fault};

type Entry = BTreeMap<String, String>;

/// A socket in place of journald's.
struct Journald {
    dir: PathBuf,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Journald {
    fn start(dir: PathBuf) -> Self {
        let socket = bind(&dir);
        let entries = Arc::<Mutex<Vec<Entry>>>::default();
        let all = entries.clone();
        std::thread::spawn(move || {
            let mut bytes = vec![0; 1 << 20];
            while let Ok(length) = socket.recv(&mut bytes) {
                all.lock().expect("no panic").push(parse(&bytes[..length]));
            }
        });
        Self { dir, entries }
    }

    fn entries(&self) -> Vec<Entry> {
        self.entries.lock().expect("no panic").clone()
    }

    /// The first line whose fields hold all of this, once there is one.
    fn entry(&self, fields: &[(&str, &str)]) -> Entry {
        wait_for(&format!("journald has {fields:?}"), || {
            let entries = self.entries();
            let found = entries.iter().find(|entry| {
                fields
                    .iter()
                    .all(|(name, value)| entry.get(*name).is_some_and(|has| has.contains(value)))
            });
            found.cloned().ok_or_else(|| format!("{entries:#?}"))
        })
    }
}

fn bind(dir: &Path) -> UnixDatagram {
    std::fs::create_dir_all(dir).expect("a directory");
    UnixDatagram::bind(dir.join("socket")).expect("a socket")
}

/// As `systemd.journal-fields(7)` and the native protocol have it.
fn parse(mut datagram: &[u8]) -> Entry {
    let mut entry = Entry::new();
    while let Some(end) = datagram.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&datagram[..end]).expect("text");
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => {
                datagram = &datagram[end + 1..];
                (name, value.to_owned())
            }
            None => {
                let (length, rest) = datagram[end + 1..].split_first_chunk().expect("a length");
                let length = usize::try_from(u64::from_le_bytes(*length)).expect("a length");
                assert_eq!(rest[length], b'\n');
                datagram = &rest[length + 1..];
                let value = String::from_utf8(rest[..length].to_vec()).expect("text");
                (line, value)
            }
        };
        assert!(
            name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'),
            "{name:?}"
        );
        entry.insert(name.to_owned(), value);
    }
    assert!(datagram.is_empty());
    entry
}

/// Starts it where journald's socket lies in `dir`.
fn launch(daemon: &mut Daemon, dir: &Path) -> bool {
    let script = format!(
        "mount -t tmpfs tmpfs /run\nmkdir -p /run/systemd/journal\nmount --bind '{}' /run/systemd/journal",
        dir.display()
    );
    let Some(command) = unshared(&["--mount"], &script, &daemon.command(&["run"])) else {
        return false;
    };
    daemon.spawn_as(command);
    daemon.wait_until_serving();
    true
}

#[test]
fn journald_gets_fields_that_a_role_can_be_found_by() {
    let sts = FakeSts::start();
    sts.role(&arn("ledger")).deny();
    let setup =
        with(&sts).role("orders").role("ledger").log("format = \"journald\"\naudit = \"journald\"");
    let journald = Journald::start(setup.home().join("journal"));
    let mut daemon = setup.prepare();
    if !launch(&mut daemon, &journald.dir) {
        return;
    }
    let key = daemon.key("orders");
    daemon.failed("ledger", "denied");
    let issued = journald.entry(&[("ROLE", "orders"), ("MESSAGE", "issued")]);
    assert_eq!(issued["PRIORITY"], "6");
    assert_eq!(issued["SYSLOG_IDENTIFIER"], "roletap");
    assert_eq!(issued["ACCESS_KEY_ID"], key);
    assert!(issued["TARGET"].starts_with("roletap::"), "{issued:?}");
    // `journalctl` shows the message alone.
    assert!(issued["MESSAGE"].contains("role=\"orders\""), "{issued:?}");
    let failed = journald.entry(&[("ROLE", "ledger"), ("PRIORITY", "3")]);
    for (name, value) in [("CLASS", "denied"), ("CODE", "AccessDenied")] {
        assert_eq!(failed[name], value);
    }
    assert!(failed["ADVICE"].contains("account 111122223333"), "{failed:?}");
    let audit = journald.entry(&[("AUDIT", "vend"), ("RESULT", "vended")]);
    assert_eq!((audit["ROLE"].as_str(), &audit["ACCESS_KEY_ID"]), ("orders", &key));
    assert!(audit["PEER"].starts_with("127.0.0.1:"), "{audit:?}");
    // A report of several lines is one entry.
    std::fs::write(daemon.config_path(), "nonsense").expect("to write");
    daemon.reload_as_it_is("refused");
    let report = journald.entry(&[("MESSAGE", "was not reloaded")]);
    assert!(report["MESSAGE"].lines().count() > 3, "{report:?}");
    let token = daemon.token("orders");
    assert_eq!(daemon.stop(), Some(0));
    journald.entry(&[("MESSAGE", "drained")]);
    assert_eq!(daemon.log(), "", "nothing on standard error");
    let all = format!("{:?}", journald.entries());
    for secret in sts.secrets().iter().map(String::as_str).chain([BASE_SECRET, &token]) {
        assert!(!all.contains(secret));
    }
}

#[test]
fn a_journald_that_reads_nothing_keeps_nobody_waiting() {
    let sts = FakeSts::start();
    let setup = with(&sts)
        .role("orders")
        .log("format = \"journald\"\nlevel = \"trace\"\naudit = \"journald\"");
    let dir = setup.home().join("journal");
    let _nobody_reads = bind(&dir);
    let mut daemon = setup.prepare();
    if !launch(&mut daemon, &dir) {
        return;
    }
    daemon.vended("orders");
    for _ in 0..300 {
        // Each of them is worth a line of the log, and there is room for few.
        assert_eq!(daemon.get_with("orders", "wrong").status, 401);
        assert_eq!(daemon.admin_with("POST", "/roles/orders/refresh").status, 202);
    }
    assert_eq!(daemon.get("orders").status, 200);
}

#[test]
fn without_journald_the_start_says_so() {
    let sts = FakeSts::start();
    for (keys, setting) in
        [("format = \"journald\"", "log.format"), ("audit = \"journald\"", "log.audit")]
    {
        let setup = with(&sts).role("orders").log(keys);
        let dir = setup.home().join("journal");
        std::fs::create_dir_all(&dir).expect("a directory");
        let daemon = setup.prepare();
        let script = "mount -t tmpfs tmpfs /run";
        let Some(mut command) = unshared(&["--mount"], script, &daemon.command(&["run"])) else {
            return;
        };
        let finished = finish(&mut command);
        assert_eq!(finished.code, Some(69), "{finished:?}");
        assert!(finished.stderr.contains(setting), "{finished:?}");
    }
    assert!(sts.requests().is_empty());
}

#[test]
fn a_role_that_fails_and_fails_is_one_error_a_count_and_one_recovery() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role("orders").start();
    daemon.vended("orders");
    sts.role(&arn("orders")).deny();
    for attempts in 1..=60 {
        daemon.admin_with("POST", "/roles/orders/refresh");
        daemon.role_when("orders", "has failed once more", |role| {
            role["last_error"]["failed_attempts"].as_u64() >= Some(attempts)
        });
    }
    let lines = |text: &str| daemon.log().matches(text).count();
    assert_eq!(lines(" ERROR "), 1, "{}", daemon.log());
    // Another reason is news.
    sts.role(&arn("orders")).always(Fault::status(503));
    daemon.admin_with("POST", "/roles/orders/refresh");
    daemon.failed("orders", "network");
    daemon.wait_until("it is told", |_| match lines(" ERROR ") {
        2 => Ok(()),
        other => Err(format!("{other} errors in {}", daemon.log())),
    });
    sts.role(&arn("orders")).clear();
    sts.role(&arn("orders")).allow();
    daemon.admin_with("POST", "/roles/orders/refresh");
    let recovered = daemon.logged("issued again");
    let count: u64 = recovered
        .split_once("failed_attempts=")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{recovered}"));
    assert!(count >= 61, "{recovered}");
    assert!(recovered.contains("failing_for_seconds="), "{recovered}");
    assert_eq!(lines("issued again"), 1);
    assert_eq!(lines(" WARN "), 0, "{}", daemon.log());
}
