//! Failover to a second Region when the home Region stops answering, and the return.

use std::time::Duration;

use crate::support::harness::{Daemon, PATIENCE, Setup, arn, with};
use crate::support::witness::Witness;
use fake_sts::{FakeSts, Fault, Received};

const HOME: &str = "eu-central-1";
const AWAY: &str = "eu-west-1";

/// A daemon with these fallback Regions and short timeouts.
fn with_fallbacks(sts: &FakeSts, fallbacks: &str) -> Setup {
    with(sts)
        .endpoint(&sts.regional_endpoint_url())
        .sts(&format!("fallback_regions = [{fallbacks}]"))
        .sts("attempt_timeout = \"500ms\"\nconnect_timeout = \"500ms\"")
}

fn setup(sts: &FakeSts) -> Setup {
    with_fallbacks(sts, &format!("\"{AWAY}\""))
}

fn asked_in(sts: &FakeSts, region: &str) -> usize {
    of(&sts.requests(), region).count()
}

fn of<'a>(requests: &'a [Received], region: &str) -> impl Iterator<Item = &'a Received> {
    requests.iter().filter(move |request| request.region.as_deref() == Some(region))
}

fn counted(daemon: &Daemon, region: &str, outcome: &str) -> Option<f64> {
    let labels = [("region", region), ("outcome", outcome)];
    daemon.metric("roletap_sts_requests_total", &labels)
}

/// Checks in `/roles` and in the metrics that STS is called in this Region.
fn assert_active(daemon: &Daemon, active: &str) {
    daemon.wait_until(&format!("STS is asked in {active}"), |daemon| {
        let overview = daemon.overview();
        let said = overview["sts_region"].as_str().unwrap_or_default();
        (said == active).then_some(()).ok_or_else(|| said.to_owned())
    });
    for region in [HOME, AWAY] {
        let labels = [("region", region)];
        let gauge = daemon.metric("roletap_sts_region_active", &labels);
        assert_eq!(gauge, Some(f64::from(u8::from(region == active))), "{region}");
    }
}

fn lines(daemon: &Daemon, text: &str) -> usize {
    daemon.log().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn every_region_has_metrics_from_the_start_and_home_is_called() {
    let sts = FakeSts::start();
    let daemon = setup(&sts).role("orders").start();
    daemon.vended("orders");
    assert_active(&daemon, HOME);
    assert_eq!(counted(&daemon, HOME, "issued"), Some(1.0));
    for outcome in ["issued", "network", "denied"] {
        assert_eq!(counted(&daemon, AWAY, outcome), Some(0.0), "{outcome}");
    }
    let [request] = &sts.requests()[..] else { panic!("not one request") };
    assert!(request.path.starts_with(&format!("/{HOME}")), "{request:?}");
}

#[test]
fn the_region_in_the_endpoint_url_is_filled_in_without_fallbacks_too() {
    let sts = FakeSts::start();
    let daemon = with(&sts).endpoint(&sts.regional_endpoint_url()).role("orders").start();
    daemon.vended("orders");
    assert!(sts.requests()[0].path.starts_with(&format!("/{HOME}")));
}

/// For each kind of outage: five errors, then the other Region, and the return after the first successful probe.
#[test]
fn the_host_fails_over_when_home_is_down_and_returns_when_it_is_up() {
    std::thread::scope(|scope| {
        for fault in [Fault::Reset, Fault::Hang, Fault::status(500)] {
            scope.spawn(move || home_dies_and_comes_back(fault));
        }
    });
}

fn home_dies_and_comes_back(fault: Fault) {
    let sts = FakeSts::start();
    let daemon = setup(&sts).sessions_of(8).role("orders").start();
    daemon.vended("orders");
    let witness = Witness::of(&daemon, &["orders"]);
    sts.forget_requests();
    sts.region(HOME).always(fault.clone());
    let seen = sts.wait_for(|log| of(log, AWAY).count() >= 1, PATIENCE);
    assert_eq!(of(&seen, HOME).count(), 5, "{fault:?}");
    let request = of(&seen, AWAY).next().expect("a request");
    assert!(request.path.starts_with(&format!("/{AWAY}")), "{request:?}");
    assert_eq!(request.answered, "ok");
    assert_active(&daemon, AWAY);
    daemon.wait_until("it has issued there", |daemon| {
        let issued = counted(daemon, AWAY, "issued");
        (issued >= Some(1.0)).then_some(()).ok_or(format!("{issued:?}"))
    });
    daemon.vended("orders");
    assert_eq!(counted(&daemon, AWAY, "network"), Some(0.0));
    assert_eq!(counted(&daemon, HOME, "network"), Some(5.0));
    let left = daemon.logged("STS does not answer in");
    assert!(left.contains(HOME) && left.contains(AWAY), "{left}");
    let left_at = of(&seen, HOME).last().expect("a request").at;
    sts.region(HOME).clear();
    // One attempt goes to the home Region after 5 s, give or take a fifth.
    let seen = sts.wait_for(|log| of(log, HOME).count() >= 6, PATIENCE);
    let away = of(&seen, HOME).last().expect("a request").at - left_at;
    assert!(away >= Duration::from_millis(3900), "{fault:?}: back after {away:?}");
    daemon.logged("home Region again");
    assert_active(&daemon, HOME);
    let before = (asked_in(&sts, HOME), asked_in(&sts, AWAY));
    sts.wait_for(|log| of(log, HOME).count() >= before.0 + 3, PATIENCE);
    assert_eq!(asked_in(&sts, AWAY), before.1, "everybody is back");
    assert_eq!(lines(&daemon, "STS does not answer in"), 1);
    assert_eq!(lines(&daemon, "home Region again"), 1);
    witness.testify(&sts);
}

#[test]
fn a_failed_probe_of_home_is_one_attempt_and_changes_nothing() {
    let sts = FakeSts::start();
    sts.region(HOME).always(Fault::Reset);
    let daemon = setup(&sts).sessions_of(4).role("orders").start();
    daemon.vended("orders");
    let witness = Witness::of(&daemon, &["orders"]);
    let seen = sts.wait_for(|log| of(log, HOME).count() >= 6, PATIENCE);
    let probe = of(&seen, HOME).last().expect("a request").at;
    sts.wait_for(|log| of(log, AWAY).filter(|seen| seen.at > probe).count() >= 3, PATIENCE);
    assert_eq!(asked_in(&sts, HOME), 6);
    assert_active(&daemon, AWAY);
    assert_eq!(lines(&daemon, "STS does not answer in"), 1);
    let unbroken = witness.testify(&sts);
    assert!(unbroken.iter().all(|seen| seen.status == 200), "a probe is no workload's business");
}

#[test]
fn no_answer_of_sts_causes_a_failover() {
    let answers = [
        ("denied", Fault::access_denied()),
        ("throttled", Fault::throttled()),
        ("source", Fault::error(403, "InvalidClientTokenId", "x")),
        ("clock", Fault::error(403, "RequestTimeTooSkewed", "x")),
        ("misconfigured", Fault::error(403, "RegionDisabledException", "x")),
    ];
    let sts = FakeSts::start();
    let daemons: Vec<Daemon> = answers
        .iter()
        .map(|(class, fault)| {
            sts.role(&arn(class)).always(fault.clone());
            setup(&sts).role(class).start()
        })
        .collect();
    for (daemon, (class, _)) in daemons.iter().zip(&answers) {
        daemon.failed(class, class);
        for attempts in 2..=8 {
            daemon.admin_with("POST", &format!("/roles/{class}/refresh"));
            if *class == "throttled" && attempts > 3 {
                // Each pause of the host is longer than the one before.
                break;
            }
            daemon.role_when(class, "fails again", |role| {
                role["last_error"]["failed_attempts"]
                    .as_u64()
                    .is_some_and(|count| count >= attempts)
            });
        }
        assert_active(daemon, HOME);
    }
    assert_eq!(asked_in(&sts, AWAY), 0);
}

#[test]
fn an_answer_to_one_role_resets_the_count_for_all() {
    let sts = FakeSts::start();
    sts.role(&arn("broken")).always(Fault::Reset);
    sts.role(&arn("denied")).always(Fault::access_denied());
    let daemon = setup(&sts).role("broken").role("denied").start();
    daemon.failed("denied", "denied");
    for errors in 1..=12 {
        // There is a denial between any two errors.
        let before = sts.count(&arn("denied"));
        daemon.admin_with("POST", "/roles/denied/refresh");
        sts.wait_for(
            |log| {
                let denied = arn("denied");
                let of_role = log.iter().filter(|seen| seen.role_arn.as_deref() == Some(&denied));
                of_role.count() > before
            },
            PATIENCE,
        );
        daemon.admin_with("POST", "/roles/broken/refresh");
        daemon.role_when("broken", "fails again", |role| {
            role["last_error"]["failed_attempts"].as_u64().is_some_and(|count| count >= errors)
        });
    }
    assert_eq!(asked_in(&sts, AWAY), 0);
}

#[test]
fn with_all_regions_down_each_is_called_in_turn() {
    let sts = FakeSts::start();
    let names = ["a", "b", "c", "d", "e", "f"];
    let setup = with_fallbacks(&sts, "\"eu-west-1\", \"eu-north-1\"").sessions_of(6);
    let setup = names.iter().fold(setup, |setup, name| setup.role(name));
    let daemon = setup.start();
    for name in names {
        daemon.vended(name);
    }
    let witness = Witness::of(&daemon, &names);
    sts.forget_requests();
    sts.any().always(Fault::Reset);
    let all = [HOME, AWAY, "eu-north-1"];
    sts.wait_for(|log| all.iter().all(|region| of(log, region).count() >= 5), PATIENCE);
    daemon.logged("STS answers in no Region");
    for name in names {
        daemon.wait_until("its credentials have expired", |daemon| {
            let status = daemon.get(name).status;
            (status == 503).then_some(()).ok_or(status.to_string())
        });
    }
    assert!(lines(&daemon, "STS does not answer in") <= 2);
    assert_eq!(lines(&daemon, "STS answers in no Region"), 1);
    sts.any().clear();
    daemon.signal(nix::sys::signal::Signal::SIGUSR1);
    for name in names {
        daemon.vended(name);
    }
    witness.testify(&sts);
}

#[test]
fn a_fallback_region_measures_the_skew_too() {
    let sts = FakeSts::start();
    sts.region(HOME).always(Fault::Reset);
    sts.shift_clock(100);
    let daemon = setup(&sts).role("orders").start();
    daemon.vended("orders");
    assert_active(&daemon, AWAY);
    let skew = daemon.metric("roletap_clock_skew_seconds", &[]);
    assert!(skew.is_some_and(|skew| (95.0..105.0).contains(&skew)), "{skew:?}");
    let status = daemon.run(&["status"]);
    assert!(status.stdout.contains(AWAY), "{}", status.stdout);
}

#[test]
fn a_reload_that_changes_the_regions_begins_at_home() {
    let sts = FakeSts::start();
    sts.region(HOME).always(Fault::Reset);
    let mut daemon = setup(&sts).role("orders").start();
    daemon.vended("orders");
    assert_active(&daemon, AWAY);
    let key = daemon.key("orders");
    daemon.text.sts = daemon.text.sts.replace(AWAY, "eu-north-1");
    daemon.reload();
    assert_eq!(daemon.overview()["sts_region"], HOME);
    let labels = [("region", AWAY)];
    assert_eq!(daemon.metric("roletap_sts_region_active", &labels), None);
    assert_eq!(counted(&daemon, "eu-north-1", "issued"), Some(0.0));
    assert_eq!(daemon.key("orders"), key, "what is in hand is kept");
}
