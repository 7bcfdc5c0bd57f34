//! The outage contract: whatever STS does, what works is vended until it ends, and nothing else ever is.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::support::harness::{Daemon, arn, pause, with};
use crate::support::witness::{Seen, Witness};
use fake_sts::{Expiry, FakeSts, Fault, Field, Script};

use nix::sys::signal::Signal;

/// How late a poll may come on a loaded machine.
const SLACK: SignedDuration = SignedDuration::from_secs(2);

/// Of one role: 200 until the last credentials end, then refusals; none of either in the wrong place.
fn assert_vended_until_the_end(seen: &[Seen], role: &str, code: &str) {
    let of_role: Vec<&Seen> = seen.iter().filter(|seen| seen.role == role).collect();
    let first_refusal = of_role
        .iter()
        .position(|seen| seen.status != 200)
        .unwrap_or_else(|| panic!("{role} never ended"));
    let last = of_role
        .get(first_refusal.wrapping_sub(1))
        .unwrap_or_else(|| panic!("{role} was never vended"));
    let expires = last.expires.expect("a 200");
    let refused = of_role[first_refusal];
    assert!(
        refused.answered >= expires,
        "{role} was refused at {} though {} was in hand until {expires}",
        refused.answered,
        last.key.as_deref().unwrap_or_default(),
    );
    assert!(last.asked >= expires - SLACK, "{role}: a gap before {expires}");
    assert_eq!(refused.code.as_deref(), Some(code), "{role}: {refused:?}");
}

fn wait_for_refusal(daemon: &Daemon, role: &str) {
    daemon.wait_until(&format!("{role} has ended"), |daemon| match daemon.get(role).status {
        200 => Err("200".to_owned()),
        _ => Ok(()),
    });
}

#[test]
fn whatever_goes_wrong_credentials_are_vended_until_they_end_and_never_after() {
    let faults: Vec<(&str, Script, &str)> = vec![
        ("hang", Fault::Hang.into(), "CredentialsUnavailable"),
        ("reset", Fault::Reset.into(), "CredentialsUnavailable"),
        ("garbage", Fault::Garbage.into(), "CredentialsUnavailable"),
        ("portal", Fault::Page { status: 200 }.into(), "CredentialsUnavailable"),
        ("down", Fault::status(503).into(), "CredentialsUnavailable"),
        ("halftoken", Fault::TruncatedWithin(Field::SessionToken).into(), "CredentialsUnavailable"),
        ("nosecret", Fault::Missing(Field::SecretAccessKey).into(), "CredentialsUnavailable"),
        ("noexpiry", Fault::Missing(Field::Expiration).into(), "CredentialsUnavailable"),
        ("dead", Fault::Expires(Expiry::In(-60)).into(), "CredentialsUnavailable"),
        (
            "nokey",
            Fault::error(403, "InvalidClientTokenId", "gone").into(),
            "CredentialsUnavailable",
        ),
        (
            "late",
            Fault::error(403, "SignatureDoesNotMatch", "x").dated(900),
            "CredentialsUnavailable",
        ),
        ("denied", Fault::access_denied().into(), "AssumeRoleFailed"),
        ("policy", Fault::error(400, "MalformedPolicyDocument", "x").into(), "AssumeRoleFailed"),
    ];
    let names: Vec<&str> = faults.iter().map(|(name, ..)| *name).collect();
    let sts = FakeSts::start();
    let mut setup = with(&sts)
        .sessions_of(6)
        .sts("attempt_timeout = \"1s\"\nconnect_timeout = \"1s\"")
        .sts("max_in_flight = 64\nmax_requests_per_second = 600");
    for name in &names {
        setup = setup.role(name);
    }
    let daemon = setup.start();
    for name in &names {
        daemon.vended(name);
    }
    let witness = Witness::of(&daemon, &names);
    for (name, fault, _) in &faults {
        sts.role(&arn(name)).always(fault.clone());
    }
    for name in &names {
        wait_for_refusal(&daemon, name);
    }
    let seen = witness.testify(&sts);
    for (name, _, code) in &faults {
        assert_vended_until_the_end(&seen, name, code);
    }
    // It is over: those that a person had to mend try again when told to.
    for name in &names {
        sts.role(&arn(name)).clear();
    }
    let witness = Witness::of(&daemon, &names);
    daemon.signal(Signal::SIGUSR1);
    for name in &names {
        daemon.vended(name);
    }
    witness.testify(&sts);
}

#[test]
fn a_refusal_with_a_date_that_is_off_takes_nothing_away_and_keeps_nothing_alive() {
    for shift in [7200, -7200] {
        let sts = FakeSts::start();
        let daemon = with(&sts).sessions_of(5).role("orders").start();
        daemon.vended("orders");
        let witness = Witness::of(&daemon, &["orders"]);
        sts.any().always(Fault::error(403, "SignatureDoesNotMatch", "x").dated(shift));
        daemon.failed("orders", "clock");
        wait_for_refusal(&daemon, "orders");
        let seen = witness.testify(&sts);
        assert_vended_until_the_end(&seen, "orders", "CredentialsUnavailable");
    }
}

#[test]
fn a_total_outage_is_survived_and_recovered_from_unasked() {
    let sts = FakeSts::start();
    let daemon = with(&sts).sessions_of(5).role("orders").start();
    daemon.vended("orders");
    let witness = Witness::of(&daemon, &["orders"]);
    sts.stop();
    wait_for_refusal(&daemon, "orders");
    let phase = daemon.role("orders")["phase"].clone();
    assert_eq!(phase, "expired");
    assert_eq!(daemon.admin("/readyz/orders").status, 503);
    assert_eq!(daemon.admin("/livez").status, 200);
    sts.restart();
    daemon.vended("orders");
    let seen = witness.testify(&sts);
    assert_vended_until_the_end(&seen, "orders", "CredentialsUnavailable");
    let role = daemon.role_when("orders", "is fresh", |role| role["last_error"].is_null());
    assert_eq!(daemon.admin("/readyz/orders").status, 200, "{role}");
    daemon.logged("issued again");
}

#[test]
fn an_sts_that_fails_three_times_in_four_is_never_noticed() {
    let sts = FakeSts::start();
    let daemon = with(&sts).sessions_of(6).role("orders").start();
    daemon.vended("orders");
    for _ in 0..20 {
        sts.role(&arn("orders"))
            .once(Fault::status(500))
            .once(Fault::Reset)
            .once(Fault::Garbage)
            .once(Script::ok());
    }
    let witness = Witness::of(&daemon, &["orders"]);
    let enough = |daemon: &Daemon| {
        daemon
            .metric("roletap_refresh_attempts_total", &[("role", "orders"), ("outcome", "issued")])
    };
    daemon.wait_until("three refreshes got through", |daemon| match enough(daemon) {
        Some(count) if count >= 4.0 => Ok(()),
        count => Err(format!("{count:?}")),
    });
    let seen = witness.testify(&sts);
    assert!(
        seen.iter().all(|seen| seen.status == 200),
        "{:?}",
        seen.iter().find(|seen| seen.status != 200)
    );
}

#[test]
fn a_start_without_sts_waits_for_it() {
    let sts = FakeSts::start();
    sts.stop();
    let mut daemon = with(&sts).role("orders").start();
    daemon.failed("orders", "network");
    let answer = daemon.get("orders");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["code"], "CredentialsUnavailable");
    assert!(daemon.is_alive());
    sts.restart();
    daemon.vended("orders");
    daemon.role_when("orders", "is fresh", |role| role["phase"] == "fresh");
}

#[test]
fn a_denied_role_fails_fast_and_is_mended_by_asking() {
    let sts = FakeSts::start();
    sts.role(&arn("orders")).deny();
    let daemon = with(&sts).role("orders").role("ledger").start();
    daemon.failed("orders", "denied");
    let begun = Instant::now();
    for _ in 0..20 {
        let answer = daemon.get("orders");
        assert_eq!(answer.status, 403);
        assert_eq!(answer.json()["code"], "AssumeRoleFailed");
    }
    // Twenty waits of 400 ms would be eight seconds.
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert_eq!(sts.count(&arn("orders")), 1, "asking is not trying");
    daemon.vended("ledger");
    sts.role(&arn("orders")).allow();
    let refresh = daemon.run(&["refresh", "orders"]);
    assert_eq!(refresh.code, Some(0), "{refresh:?}");
    daemon.vended("orders");
    assert_eq!(sts.count(&arn("orders")), 2);
}

#[test]
fn a_reload_tries_denied_roles_again() {
    let sts = FakeSts::start();
    sts.role(&arn("orders")).deny();
    let daemon = with(&sts).role("orders").start();
    daemon.failed("orders", "denied");
    sts.role(&arn("orders")).allow();
    daemon.reload();
    daemon.vended("orders");
}

#[test]
fn a_revoked_trust_bites_at_once_only_where_the_operator_said_so() {
    let sts = FakeSts::start();
    let daemon = with(&sts)
        .role_with("drop", "on_denied = \"drop\"")
        .role_with("keep", "on_denied = \"keep\"")
        .start();
    daemon.vended("drop");
    let key = daemon.key("keep");
    for role in ["drop", "keep"] {
        sts.role(&arn(role)).deny();
        assert_eq!(daemon.run(&["refresh", role]).code, Some(0));
    }
    daemon.failed("drop", "denied");
    daemon.failed("keep", "denied");
    let answer = daemon.get("drop");
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["code"], "AssumeRoleFailed");
    assert_eq!(daemon.key("keep"), key);
    assert_eq!(daemon.role("keep")["access_key_id"], key);
    assert!(daemon.role("drop")["access_key_id"].is_null());
    // Other failures drop nothing.
    sts.role(&arn("drop")).allow();
    daemon.run(&["refresh", "drop"]);
    let key = daemon.key("drop");
    sts.role(&arn("drop")).always(Fault::status(500));
    daemon.run(&["refresh", "drop"]);
    daemon.failed("drop", "network");
    assert_eq!(daemon.key("drop"), key);
}

#[test]
fn a_role_that_hangs_delays_no_other() {
    let sts = FakeSts::start();
    sts.role(&arn("stuck")).always(Fault::Hang);
    let daemon = with(&sts)
        .sessions_of(4)
        .sts("max_in_flight = 2\nattempt_timeout = \"10s\"")
        .role("stuck")
        .role("orders")
        .start();
    daemon.vended("orders");
    let witness = Witness::of(&daemon, &["orders"]);
    let mut keys = vec![daemon.key("orders")];
    while keys.len() < 4 {
        let last = keys.last().cloned();
        keys.push(daemon.wait_until("a new key", |daemon| {
            let key = daemon.key("orders");
            if Some(&key) == last.as_ref() { Err(key) } else { Ok(key) }
        }));
    }
    let seen = witness.testify(&sts);
    assert!(seen.iter().all(|seen| seen.status == 200));
    assert_eq!(sts.count(&arn("stuck")), 1);
    assert_eq!(daemon.role("stuck")["phase"], "pending");
}

#[test]
fn refreshes_come_ahead_of_expiry_and_nobody_sees_the_seam() {
    let sts = FakeSts::start();
    let daemon = with(&sts).sessions_of(5).role("orders").start();
    daemon.vended("orders");
    let witness = Witness::of(&daemon, &["orders"]);
    sts.wait_for(|log| log.len() >= 5, Duration::from_secs(20));
    let seen = witness.testify(&sts);
    assert!(seen.iter().all(|seen| seen.status == 200));
    // Refreshed when four fifths are left, give or take a twentieth; and always the newest is vended.
    let mut newest = Timestamp::UNIX_EPOCH;
    for seen in &seen {
        let expires = seen.expires.expect("a 200");
        assert!(expires >= newest, "an older one came back");
        newest = expires;
        assert!(expires - SignedDuration::from_secs(1) > seen.asked, "{seen:?}");
    }
}

#[test]
fn a_throttled_answer_pauses_the_whole_host() {
    let sts = FakeSts::start();
    sts.any().always(Fault::throttled().header("Retry-After", "100"));
    let mut setup = with(&sts).sts("max_in_flight = 1");
    for n in 0..20 {
        setup = setup.role(&format!("r{n}"));
    }
    let daemon = setup.start();
    daemon.wait_until("the host pauses", |daemon| match daemon.metric("roletap_sts_paused", &[]) {
        Some(1.0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(daemon.overview()["sts_paused"], true);
    // The one place where time must pass: nothing more is sent.
    pause(Duration::from_secs(1));
    assert_eq!(sts.requests().len(), 1, "one answer speaks for all");
    assert_eq!(daemon.metric("roletap_sts_queue_depth", &[]), Some(19.0));
    let throttled = [("outcome", "throttled")];
    assert_eq!(daemon.metric("roletap_sts_requests_total", &throttled), Some(1.0));
    // Asking by hand does not break the pause.
    assert_eq!(daemon.run(&["refresh", "r0"]).code, Some(0));
    pause(Duration::from_millis(300));
    assert_eq!(sts.requests().len(), 1);
}

#[test]
fn a_pause_ends_and_every_role_is_issued_with_no_call_wasted() {
    let sts = FakeSts::start();
    sts.any().once(Fault::throttled().header("x-amz-retry-after", "300"));
    let mut setup = with(&sts).sts("max_in_flight = 1\nmax_requests_per_second = 100");
    for n in 0..20 {
        setup = setup.role(&format!("r{n}"));
    }
    let daemon = setup.start();
    for n in 0..20 {
        daemon.vended(&format!("r{n}"));
    }
    assert_eq!(sts.requests().len(), 21);
    assert_eq!(daemon.metric("roletap_sts_paused", &[]), Some(0.0));
    assert_eq!(daemon.metric("roletap_sts_queue_depth", &[]), Some(0.0));
}

#[test]
fn the_rate_of_calls_stays_within_the_budget() {
    let sts = FakeSts::start();
    let mut setup = with(&sts).sts("max_requests_per_second = 5");
    for n in 0..15 {
        setup = setup.role(&format!("r{n}"));
    }
    let daemon = setup.start();
    let requests = sts.wait_for(|log| log.len() >= 15, Duration::from_secs(20));
    // A burst of one second's worth, then five a second: no six of them after the burst within a second.
    for six in requests[5..].windows(6) {
        let took = six[5].at - six[0].at;
        assert!(took > Duration::from_millis(800), "{took:?}");
    }
    for n in 0..15 {
        daemon.vended(&format!("r{n}"));
    }
    assert_eq!(sts.requests().len(), 15, "one call a role");
}

#[test]
fn roles_that_are_asked_for_come_first() {
    let sts = FakeSts::start();
    sts.any().once(Fault::throttled().header("x-amz-retry-after", "1500"));
    let mut setup = with(&sts)
        .server("pending_wait = \"0s\"")
        .sts("max_in_flight = 1\nmax_requests_per_second = 100");
    for n in 0..20 {
        setup = setup.role(&format!("r{n}"));
    }
    let daemon = setup.start();
    daemon.wait_until("the host pauses", |daemon| match daemon.metric("roletap_sts_paused", &[]) {
        Some(1.0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // Whichever was not the one that was throttled.
    let throttled = sts.requests()[0].role_arn.clone();
    let wanted =
        ["r7", "r8"].into_iter().find(|role| throttled != Some(arn(role))).expect("one of two");
    assert_eq!(daemon.get(wanted).status, 503);
    let requests = sts.wait_for(|log| log.len() >= 4, Duration::from_secs(20));
    assert_eq!(requests[1].role_arn, Some(arn(wanted)));
}
