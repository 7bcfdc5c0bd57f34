//! A workload that never stops asking, and checks every answer it gets against the contract.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;

use super::harness::{Connection, Daemon, pause, request, text};
use fake_sts::FakeSts;

/// One answer, and when it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) role: String,
    /// Before the request was sent.
    pub(crate) asked: Timestamp,
    /// After the answer was read.
    pub(crate) answered: Timestamp,
    pub(crate) status: u16,
    /// Of a 200.
    pub(crate) key: Option<String>,
    /// Of a 200.
    pub(crate) expires: Option<Timestamp>,
    /// Of a refusal.
    pub(crate) code: Option<String>,
}

/// Asks for these roles in turn, until it is told to stop.
#[derive(Debug)]
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Seen>>>,
}

impl Witness {
    pub(crate) fn of(daemon: &Daemon, roles: &[&str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let address = daemon.vend_address();
        let asks: Vec<(String, String)> = roles
            .iter()
            .map(|role| {
                let token = daemon.token(role);
                let headers = [("Authorization", token.as_str())];
                let path = format!("/v1/credentials/{role}");
                ((*role).to_owned(), request(address, "GET", &path, &headers))
            })
            .collect();
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            let mut connection = Connection::to(address);
            loop {
                // What the test has seen, the last round sees too.
                let last = until.load(Ordering::Relaxed);
                for (role, ask) in &asks {
                    seen.push(look(&mut connection, role, ask));
                }
                if last {
                    return seen;
                }
                pause(Duration::from_millis(5));
            }
        });
        Self { stop, thread: Some(thread) }
    }

    /// Everything seen, which is whole, unexpired and this role's, or a refusal.
    pub(crate) fn testify(mut self, sts: &FakeSts) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("once");
        let seen = thread.join().expect("every answer to be in order");
        let issued = sts.issued();
        for seen in &seen {
            let Some(key) = &seen.key else { continue };
            let issued = issued
                .iter()
                .find(|issued| issued.access_key_id == *key)
                .unwrap_or_else(|| panic!("nobody issued {seen:?}"));
            assert!(
                issued.role_arn.ends_with(&format!("/{}", seen.role)),
                "of {}: {seen:?}",
                issued.role_arn
            );
        }
        seen
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn look(connection: &mut Connection, role: &str, ask: &str) -> Seen {
    let asked = Timestamp::now();
    connection.send(ask.as_bytes());
    let answer = connection.answer();
    let answered = Timestamp::now();
    let body = answer.json();
    let mut seen = Seen {
        role: role.to_owned(),
        asked,
        answered,
        status: answer.status,
        key: None,
        expires: None,
        code: None,
    };
    if answer.status == 200 {
        for field in ["AccessKeyId", "SecretAccessKey", "Token", "RoleArn"] {
            assert!(!text(&body[field]).is_empty(), "{field} of {role}");
        }
        assert_eq!(body["Code"], "Success");
        let expires: Timestamp = text(&body["Expiration"]).parse().expect("a time");
        assert!(asked < expires, "{role} was expired by {asked}: {expires}");
        seen.key = Some(text(&body["AccessKeyId"]));
        seen.expires = Some(expires);
    } else {
        assert!((400..600).contains(&answer.status), "{answer:?}");
        assert!(!answer.text().contains("AccessKeyId"), "{answer:?}");
        seen.code = Some(text(&body["code"]));
    }
    seen
}
