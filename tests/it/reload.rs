//! SIGHUP: one swap or nothing, and nothing that works is lost.

use std::os::unix::fs::symlink;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::hanging::Hanging;
use crate::support::harness::{Daemon, arn, with};
use crate::support::witness::Witness;
use fake_sts::{FakeSts, Fault};

fn vended_by(daemon: &Daemon, role: &str, token: &str) -> u16 {
    daemon.get_with(role, token).status
}

#[test]
fn a_reload_keeps_starts_and_stops_exactly_what_it_should() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts).role("kept").role("removed").start();
    let (kept, removed) = (daemon.key("kept"), daemon.key("removed"));
    let removed_token = daemon.token("removed");
    daemon.text.remove_role("removed");
    daemon.text.set_role("added", "");
    daemon.reload();
    assert_eq!(daemon.key("kept"), kept);
    daemon.vended("added");
    assert_eq!(sts.count(&arn("kept")), 1);
    assert_eq!(sts.count(&arn("added")), 1);
    // Its token opens nothing any more; with another's it looks like a role that never was.
    assert_eq!(vended_by(&daemon, "removed", &removed_token), 401);
    assert_eq!(daemon.get_with("removed", &daemon.token("kept")).status, 404);
    assert!(daemon.role("removed").is_null());
    let labels = [("role", "removed")];
    let gone = daemon.metric("roletap_refresh_attempts_total", &labels);
    assert_eq!(gone, None, "its series vanish with it");
    // And back, as after a file that was read half written: the same token, and what it had in hand.
    daemon.text.set_role("removed", "");
    daemon.reload();
    assert_eq!(daemon.key("removed"), removed);
    assert_eq!(sts.count(&arn("removed")), 1);
    assert_eq!(vended_by(&daemon, "removed", &removed_token), 200);
    assert_eq!(daemon.key("kept"), kept);
    assert_eq!(sts.count(&arn("kept")), 1);
}

#[test]
fn the_same_file_twice_changes_nothing() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role("orders").role_with("ledger", "external_id = \"x-1\"").start();
    let keys = ["orders", "ledger"].map(|role| daemon.key(role));
    let tokens = ["orders", "ledger"].map(|role| daemon.token(role));
    let loaded = daemon.metric("roletap_config_loaded_timestamp_seconds", &[]);
    for _ in 0..5 {
        daemon.reload();
    }
    assert_eq!(["orders", "ledger"].map(|role| daemon.key(role)), keys);
    assert_eq!(["orders", "ledger"].map(|role| daemon.token(role)), tokens);
    assert_eq!(sts.requests().len(), 2);
    assert!(daemon.metric("roletap_config_loaded_timestamp_seconds", &[]) >= loaded);
    let line = daemon.logged("reloaded");
    assert!(line.contains("kept=2"), "{line}");
}

#[test]
fn another_request_means_other_credentials_and_the_old_ones_are_never_vended_under_it() {
    let sts = FakeSts::start();
    let changes = [
        ("id", "external_id = \"one\"", "external_id = \"two\""),
        ("session", "", "role_session_name = \"another\""),
        ("tags", "tags = { A = \"1\" }", "tags = { A = \"2\" }"),
        ("identity", "", "source_identity = \"me\""),
        (
            "policy",
            "",
            "policy = '{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"*\",\"Resource\":\"*\"}]}'",
        ),
    ];
    let mut setup = with(&sts)
        .server("pending_wait = \"50ms\"")
        .sts("attempt_timeout = \"500ms\"\nconnect_timeout = \"500ms\"");
    for (role, before, _) in changes {
        setup = setup.role_with(role, before);
    }
    let mut daemon = setup.start();
    let keys = changes.map(|(role, ..)| daemon.key(role));
    for (role, _, after) in changes {
        daemon.text.set_role(role, after);
        sts.role(&arn(role)).always(Fault::Hang);
    }
    daemon.reload();
    for (role, ..) in changes {
        let answer = daemon.get(role);
        assert_eq!(answer.status, 503, "{role}: {answer:?}");
    }
    for (role, ..) in changes {
        sts.role(&arn(role)).clear();
    }
    for ((role, ..), before) in changes.into_iter().zip(keys) {
        assert_ne!(daemon.key(role), before, "{role}");
    }
}

#[test]
fn another_duration_keeps_the_credentials_and_counts_from_the_next() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts).role_with("orders", "duration_seconds = 3600").start();
    let key = daemon.key("orders");
    daemon.text.set_role("orders", "duration_seconds = 1800");
    daemon.reload();
    assert_eq!(daemon.key("orders"), key);
    assert_eq!(sts.requests().len(), 1);
    assert_eq!(daemon.run(&["refresh", "orders"]).code, Some(0));
    let log = sts.wait_for(|log| log.len() == 2, Duration::from_secs(10));
    assert_eq!(log[1].duration_seconds, Some(1800));
}

#[test]
fn another_presentation_shows_in_the_body_of_the_same_credentials() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts).role("orders").start();
    let key = daemon.key("orders");
    let plain = daemon.get("orders").text();
    for (keys, account) in
        [("account_id = true", Some("111122223333")), ("account_id = false", None)]
    {
        daemon.text.set_role("orders", keys);
        daemon.reload();
        let body = daemon.vended("orders");
        assert_eq!(body["AccessKeyId"], key.as_str());
        assert_eq!(body["AccountId"].as_str(), account);
    }
    assert_eq!(daemon.get("orders").text(), plain);
    assert_eq!(sts.requests().len(), 1);
}

#[test]
fn another_sts_keeps_the_credentials_and_is_asked_next() {
    let (old, new) = (FakeSts::start(), FakeSts::start());
    let mut daemon = with(&old).role("orders").start();
    let key = daemon.key("orders");
    daemon.set_endpoint(&new.endpoint_url());
    daemon.reload();
    assert_eq!(daemon.key("orders"), key);
    assert_eq!((old.requests().len(), new.requests().len()), (1, 0));
    daemon.signal(Signal::SIGUSR1);
    new.wait_for(|log| log.len() == 1, Duration::from_secs(10));
    assert_eq!(old.requests().len(), 1);
    let newest = new.issued()[0].access_key_id.clone();
    daemon.role_when("orders", "has the new key", |role| role["access_key_id"] == newest.as_str());
}

#[test]
fn a_broken_file_changes_nothing_and_says_where_it_is_broken() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role("orders").start();
    let key = daemon.key("orders");
    let good = daemon.rendered();
    let half = &good[..good.rfind("role_arn").expect("a role") + 12];
    let unknown = format!("{good}externalid = \"x\"\n");
    let line = |text: &str| text.lines().count();
    let broken: [(&[u8], String); 6] = [
        (half.as_bytes(), format!("roletap.toml:{}:", line(half))),
        (unknown.as_bytes(), format!("roletap.toml:{}:1", line(&unknown))),
        (b"\xff\xfe[server]\n", "roletap.toml".to_owned()),
        (b"", "roletap.toml".to_owned()),
        (b"[server]\n\0\0\0\0\0\0\0\0", "roletap.toml".to_owned()),
        (b"[sts]\nregion = \"eu-central-1\"\n[role.orders]\n", "roletap.toml:3:".to_owned()),
    ];
    for (at, (text, place)) in broken.iter().enumerate() {
        let before = daemon.log().len();
        std::fs::write(daemon.config_path(), text).expect("to write");
        daemon.reload_as_it_is("refused");
        let labels = [("result", "refused")];
        let refused = daemon.metric("roletap_config_reloads_total", &labels);
        assert_eq!(refused, Some(at as f64 + 1.0));
        let in_force = daemon.metric("roletap_config_last_reload_successful", &[]);
        assert_eq!(in_force, Some(0.0));
        daemon.wait_until("the log says where", |daemon| {
            let said = daemon.log()[before..].to_owned();
            (said.contains("was not reloaded") && said.contains(place.as_str()))
                .then_some(())
                .ok_or(said)
        });
        assert_eq!(daemon.key("orders"), key);
    }
    std::fs::remove_file(daemon.config_path()).expect("to remove");
    daemon.reload_as_it_is("refused");
    assert_eq!(daemon.key("orders"), key);
    daemon.reload();
    let in_force = daemon.metric("roletap_config_last_reload_successful", &[]);
    assert_eq!(in_force, Some(1.0));
    assert_eq!(daemon.key("orders"), key);
    assert_eq!(sts.requests().len(), 1);
}

#[test]
fn a_reload_is_never_partial() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts).role("orders").start();
    let key = daemon.key("orders");
    // The new role is sound, the listener is not reloadable: neither comes.
    daemon.text.set_role("added", "");
    daemon.text.server = "max_connections = 7".to_owned();
    daemon.write_config();
    daemon.reload_as_it_is("refused");
    daemon.logged("`server.max_connections` cannot change while roletap runs");
    assert!(daemon.role("added").is_null());
    assert!(!daemon.token_path("added").exists());
    assert_eq!(sts.count(&arn("added")), 0);
    // A token that cannot be made ready refuses the whole reload too.
    daemon.text.server.clear();
    daemon.text.set_role("grouped", "token_group = \"no-such-group-here\"");
    daemon.write_config();
    daemon.reload_as_it_is("refused");
    daemon.logged("no-such-group-here");
    assert!(daemon.role("added").is_null());
    daemon.text.remove_role("grouped");
    daemon.reload();
    daemon.vended("added");
    assert_eq!(daemon.key("orders"), key);
}

#[test]
fn a_refused_reload_leaves_every_token_as_it_was() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role("orders").role("ledger").start();
    daemon.vended("orders");
    std::fs::remove_file(daemon.token_path("orders")).expect("to remove");
    std::fs::remove_file(daemon.token_path("ledger")).expect("to remove");
    std::fs::create_dir(daemon.token_path("ledger")).expect("something in the way");
    daemon.reload_as_it_is("refused");
    assert!(!daemon.token_path("orders").exists(), "a token was written that opens nothing");
}

#[test]
fn a_pipe_in_place_of_a_file_keeps_nobody_waiting() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role("orders").start();
    let key = daemon.key("orders");
    std::fs::remove_file(daemon.config_path()).expect("to remove");
    let made = std::process::Command::new("mkfifo").arg(daemon.config_path()).status();
    assert!(made.expect("mkfifo").success());
    daemon.reload_as_it_is("refused");
    daemon.logged("it is a pipe or a socket");
    assert_eq!(daemon.key("orders"), key);
}

#[test]
fn a_listen_address_cannot_be_reloaded_and_says_so() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role("orders").start();
    let key = daemon.key("orders");
    let text = daemon.rendered();
    let line = text.lines().position(|line| line.starts_with("listen")).expect("a line") + 1;
    let moved = text.replacen(&daemon.vend_address().to_string(), "127.0.0.1:1025", 1);
    std::fs::write(daemon.config_path(), moved).expect("to write");
    daemon.reload_as_it_is("refused");
    daemon.logged("`server.listen` cannot change while roletap runs");
    daemon.logged(&format!("roletap.toml:{line}:"));
    assert_eq!(daemon.key("orders"), key);
}

#[test]
fn roles_come_from_conf_d_too() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role("orders").start();
    let key = daemon.key("orders");
    let dir = daemon.home().join("conf.d");
    std::fs::create_dir(&dir).expect("to create");
    let role = format!("[role.dropped-in]\nrole_arn = \"{}\"\n", arn("dropped-in"));
    std::fs::write(dir.join("10-team.toml"), role).expect("to write");
    std::fs::write(dir.join(".hidden.toml"), "nonsense").expect("to write");
    daemon.reload_as_it_is("applied");
    daemon.vended("dropped-in");
    std::fs::write(dir.join("20-broken.toml"), "[role.x]\n").expect("to write");
    daemon.reload_as_it_is("refused");
    daemon.logged("20-broken.toml");
    daemon.vended("dropped-in");
    assert_eq!(daemon.key("orders"), key);
}

#[test]
fn a_replaced_token_works_beside_its_successor_also_after_a_restart() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts).role("orders").role("ledger").start();
    daemon.vended("orders");
    let old = daemon.token("orders");
    std::fs::remove_file(daemon.token_path("orders")).expect("to remove");
    daemon.reload_as_it_is("applied");
    let new = daemon.token("orders");
    assert_ne!(new, old);
    let uses = |daemon: &Daemon, role: &str| {
        daemon.metric("roletap_token_previous_uses_total", &[("role", role)])
    };
    assert_eq!(vended_by(&daemon, "orders", &new), 200);
    assert_eq!(uses(&daemon, "orders"), Some(0.0));
    assert_eq!(vended_by(&daemon, "orders", &old), 200);
    assert_eq!(vended_by(&daemon, "orders", &format!("Bearer {old}")), 200);
    assert_eq!(uses(&daemon, "orders"), Some(2.0));
    assert_eq!(uses(&daemon, "ledger"), Some(0.0));
    // An old token opens its own role only.
    assert_eq!(vended_by(&daemon, "ledger", &old), 404);
    // Another generation, and a reload that changes nothing.
    std::fs::remove_file(daemon.token_path("orders")).expect("to remove");
    daemon.reload_as_it_is("applied");
    daemon.reload_as_it_is("applied");
    let newest = daemon.token("orders");
    for token in [&old, &new, &newest] {
        assert_eq!(vended_by(&daemon, "orders", token), 200);
    }
    assert_eq!(daemon.stop(), Some(0));
    daemon.launch();
    daemon.vended("orders");
    assert_eq!(daemon.token("orders"), newest);
    for token in [&old, &new, &newest] {
        assert_eq!(vended_by(&daemon, "orders", token), 200);
    }
    assert_eq!(uses(&daemon, "orders"), Some(2.0));
    assert_eq!(sts.count(&arn("orders")), 2, "one at each start");
}

#[test]
fn no_request_is_lost_over_fifty_reloads() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts).sessions_of(5).role("orders").role("ledger").start();
    daemon.vended("orders");
    daemon.vended("ledger");
    let witness = Witness::of(&daemon, &["orders", "ledger"]);
    for round in 0..50 {
        if round % 2 == 0 {
            daemon.text.set_role("guest", "");
        } else {
            daemon.text.remove_role("guest");
        }
        let keys = format!("account_id = {}", round % 3 == 0);
        daemon.text.set_role("ledger", &keys);
        daemon.reload();
    }
    let seen = witness.testify(&sts);
    let lost = seen.iter().find(|seen| seen.status != 200);
    assert!(lost.is_none(), "{lost:?}");
}

#[test]
fn a_file_that_hangs_holds_up_nothing_but_the_reload() {
    let sts = FakeSts::start();
    let mut daemon = with(&sts).role("orders").start();
    let key = daemon.key("orders");
    let mut hanging = Hanging::new();
    let conf_d = daemon.home().join("conf.d");
    std::fs::create_dir(&conf_d).expect("a directory");
    symlink(&hanging.path, conf_d.join("90-mount.toml")).expect("a link");
    daemon.signal(Signal::SIGHUP);
    daemon.logged("reading the configuration again");
    // All that the control thread does goes on: health, refreshing, another signal.
    assert_eq!(daemon.admin("/livez").status, 200);
    assert_eq!(daemon.get("orders").status, 200);
    daemon.signal(Signal::SIGUSR1);
    daemon.wait_until("the role is refreshed", |daemon| {
        let now = daemon.key("orders");
        (now != key).then_some(()).ok_or(now)
    });
    daemon.signal(Signal::SIGHUP);
    daemon.logged("are still being read");
    let reloads =
        |daemon: &Daemon| daemon.metric("roletap_config_reloads_total", &[("result", "applied")]);
    assert_eq!(reloads(&daemon), Some(0.0));
    // Once for each SIGHUP.
    for _ in 0..2 {
        hanging.say(&format!("[role.late]\nrole_arn = \"{}\"\n", arn("late")));
    }
    daemon.wait_until("both are applied", |daemon| match reloads(daemon) {
        Some(2.0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    daemon.vended("late");
    // And it keeps nobody from going home.
    daemon.signal(Signal::SIGHUP);
    daemon.wait_until("it reads again", |daemon| {
        match daemon.log().matches("reading the configuration again").count() {
            3 => Ok(()),
            count => Err(count.to_string()),
        }
    });
    assert_eq!(daemon.stop(), Some(0));
}
