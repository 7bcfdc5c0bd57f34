//! A fleet of 400 hosts with 50 roles, against as much of the quota of STS as it is of one of 10,000 hosts.
//!
//! The example itself runs the full size. The daemon's own code decides here; see `simulation.rs` for what is imitated.

use crate::simulation::{Control, Fleet, HEAD, Measured, Scenario, simulate};

fn fleet(scenario: Scenario) -> Fleet {
    let seed = std::env::var("ROLETAP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    Fleet { seconds: 2 * 3600, ..Fleet::new(scenario, 400, 50, seed) }
}

fn told(measured: &Measured) -> String {
    format!("seed {}\n{HEAD}\n{}", measured.fleet.seed, measured.row())
}

/// Minutes, not seconds: at 11 calls per second a peak second is chance, and says nothing about the policy.
fn peak(measured: &Measured) -> f64 {
    let all_well = measured.wave().start..measured.last_hour().end;
    measured.peak(all_well, 60) / measured.fleet.quota
}

#[test]
fn the_forecast_is_what_a_fleet_in_steady_state_calls() {
    let steady = simulate(fleet(Scenario::Steady));
    let rate = steady.mean(0..steady.fleet.seconds);
    assert!(
        (rate / steady.forecast - 1.0).abs() < 0.02,
        "{rate} calls/s, forecast {}",
        steady.forecast
    );
    assert!(peak(&steady) < 0.6, "{}", told(&steady));
    assert_eq!(steady.sum(0..steady.fleet.seconds, |second| second.throttled), 0);
    assert!(steady.least_left > 1200.0, "{}", told(&steady));
}

#[test]
fn a_fleet_that_restarts_together_fills_itself_and_leaves_no_wave() {
    let restart = simulate(fleet(Scenario::Restart));
    let told = told(&restart);
    assert!(restart.calls_to_ideal() < 1.3, "{told}");
    assert!(restart.calls_per_issue_in_need() < 1.3, "{told}");
    assert!(restart.all_filled.is_some_and(|at| at < 1500.0), "{told}");
    let last_asked = restart.asked_filled.last().copied();
    assert!(last_asked.is_some_and(|at| at < restart.limit_for_asked()), "{told}");
    assert!(peak(&restart) < 0.6, "{told}");
    assert_eq!(restart.expired_role_seconds, 0.0, "{told}");
    let rate = restart.mean(restart.last_hour());
    assert!((rate / restart.forecast - 1.0).abs() < 0.03, "{rate}\n{told}");
}

#[test]
fn an_outage_of_twenty_minutes_is_seen_by_no_workload_and_leaves_no_wave() {
    let outage = simulate(fleet(Scenario::Outage));
    let told = told(&outage);
    assert_eq!(outage.expired_role_seconds, 0.0, "{told}");
    assert!(outage.least_left > 60.0, "{told}");
    assert!(outage.calls_to_ideal() < 1.3, "{told}");
    assert!(outage.calls_per_issue_in_need() < 1.3, "{told}");
    assert!(outage.caught_up.is_some_and(|after| after < 1500.0), "{told}");
    assert!(peak(&outage) < 0.6, "{told}");
    // One probe for all: 20 minutes of attempts at a dead STS are not many more than the roles that came due.
    let knocks = outage.sum(0..outage.fleet.seconds, |second| second.unreachable);
    assert!(knocks < 60_000, "{knocks} calls into the outage");
}

#[test]
fn a_host_by_itself_is_as_fast_as_its_limits_allow() {
    let alone = Fleet { quota: 600.0, ..Fleet::new(Scenario::Restart, 1, 100, 7) };
    let filled = simulate(alone).all_filled;
    // A burst of 10 and then 10 a second are 9 s; it starts within the first.
    assert!(filled.is_some_and(|at| at < 10.5), "{filled:?}");
    let few = Fleet { quota: 600.0, ..Fleet::new(Scenario::Outage, 20, 50, 7) };
    // A probe every 30 s at the latest, then 35 roles at 10 a second.
    let outage = simulate(few);
    assert!(outage.caught_up.is_some_and(|after| after < 36.0), "{}", told(&outage));
}

#[test]
fn without_spreading_a_restart_leaves_a_wave_that_is_noticed_here() {
    let broken = simulate(Fleet { control: Control::NoSpread, ..fleet(Scenario::Restart) });
    assert!(peak(&broken) > 0.6, "{}", told(&broken));
}

#[test]
fn without_pauses_a_restart_calls_so_often_that_it_is_noticed_here() {
    let broken = simulate(Fleet {
        control: Control::NoPause,
        seconds: 60,
        ..Fleet::new(Scenario::Restart, 50, 50, 7)
    });
    assert!(broken.calls_per_issue_in_need() > 1.3, "{}", told(&broken));
}
