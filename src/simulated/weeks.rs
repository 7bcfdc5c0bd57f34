//! Simulated weeks: the real refreshers, fleet, queue and reload under random faults, clock steps, suspends and reloads,
//! in simulated time. After every step the outage contract is checked against an oracle that knows the truth.
//!
//! `ROLETAP_SEEDS=N` runs N weeks of other seeds, `ROLETAP_SEED=S` the one that failed; a failure prints its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aws_smithy_async::time::TimeSource;
use fastrand::Rng;
use tokio::time::Instant;

use super::truth::{Sts, Truth, faults, identity, number_of};
use super::{Wall, config};
use crate::clock::{ServerTime, Skew};
use crate::fleet::Fleet;
use crate::metrics::Metrics;
use crate::refresher::RefreshContext;
use crate::slots::Slots;
use crate::sts_queue::Queue;
use roletap_core::budget::Limits;
use roletap_core::config::Config;
use roletap_core::lifecycle::Phase;
use roletap_core::token_digest::Tokens;

const DAY: u64 = 86_400;
const STEP: Duration = Duration::from_secs(60);
/// A nap, a turn and an attempt: how long a clock that was set may be believed.
const DISTURBED: Duration = Duration::from_secs(60);
/// A turn and an attempt for every role that a reload with more `min_remaining` made due.
const TIGHTENED: Duration = Duration::from_secs(180);
/// The longest wait of any class, and time to get through the queue.
const RECOVERY: Duration = Duration::from_secs(1_300);
const LIMITS: Limits = Limits { max_in_flight: 8, max_requests_per_second: 10 };

/// What a week consists of.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    roles: usize,
    days: u64,
    /// Turned off, the weeks are quiet, and stricter things hold.
    faults: bool,
}

/// What a week came to.
#[derive(Default)]
struct Tally {
    calls: usize,
    checks: u64,
    reloads: u32,
    disturbances: u32,
    faults: usize,
}

async fn live(plan: Plan) -> Tally {
    let mut random = Rng::with_seed(plan.seed);
    let local = Wall::new();
    let clock = Wall { origin: local.origin, step_seconds: Arc::default() };
    let skew = Arc::new(Skew::default());
    let server_time = ServerTime::shared(local.shared(), skew.clone());
    let truth = Arc::new(Truth {
        clock: clock.clone(),
        local: local.shared(),
        server_time: server_time.clone(),
        skew,
        faults: if plan.faults { faults(&mut random, plan.days, plan.roles) } else { Vec::new() },
        serial: AtomicU64::new(0),
        calls: Mutex::default(),
        delivered: Mutex::default(),
        told_at: Mutex::new(Instant::now()),
        began: Instant::now(),
    });
    let slots = Arc::new(Slots::default());
    let ctx = RefreshContext {
        issuer: Sts(truth.clone()),
        attempt_deadline: Duration::from_secs(16),
        queue: Queue::new(LIMITS),
        clock: server_time.clone(),
        metrics: Arc::new(Metrics::new().unwrap()),
        heartbeat: Arc::default(),
    };
    let mut fleet = Fleet::new(ctx, slots.clone());
    let mut versions: BTreeMap<usize, u32> = (0..plan.roles).map(|number| (number, 0)).collect();
    let mut remaining = Duration::ZERO;
    let mut tightened = Instant::now();
    let mut current = written(&versions, remaining);
    fleet.apply(&current, &Tokens::default(), None);

    let mut tally = Tally { faults: truth.faults.len(), ..Tally::default() };
    let mut disturbed: Option<Instant> = None;
    let mut learned: Option<Instant> = None;
    let mut changed: BTreeMap<usize, Instant> = BTreeMap::new();
    let end = Instant::now() + Duration::from_secs(plan.days * DAY);
    while Instant::now() < end {
        let _ = tokio::time::timeout(STEP, fleet.supervise()).await;
        let told = || format!("seed {}, {} s into it", plan.seed, truth.began.elapsed().as_secs());
        if plan.faults && random.u32(..700) == 0 {
            disturb(&mut random, &local, &clock);
            disturbed = Some(Instant::now());
            learned = None;
            tally.disturbances += 1;
        }
        if random.u32(..500) == 0 {
            let touched = rewrite(&mut random, &mut versions, plan.roles);
            let before = keys(&slots);
            let wanted = Duration::from_secs([0, 1_800, 2_700][random.usize(..3)]);
            if wanted > remaining {
                tightened = Instant::now();
            }
            remaining = wanted;
            current = written(&versions, remaining);
            let calls = truth.calls.lock().unwrap().len();
            fleet.apply(&current, &Tokens::default(), None);
            for (name, key) in keys(&slots) {
                if !touched.contains(&number_of(&name)) {
                    assert_eq!(
                        before.get(&name),
                        Some(&key),
                        "a reload touched {name}: {}",
                        told()
                    );
                }
            }
            assert_eq!(
                truth.calls.lock().unwrap().len(),
                calls,
                "a reload called STS by itself: {}",
                told()
            );
            changed.extend(touched.into_iter().map(|number| (number, Instant::now())));
            tally.reloads += 1;
        }
        // While nobody answers, a wall that was set is all the time there is.
        let told_at = *truth.told_at.lock().unwrap();
        let calm = disturbed.is_none_or(|at| at.elapsed() > DISTURBED && told_at > at);
        // A wall that was set by less than anybody notices is mended by the next grant, and each role a nap later.
        if disturbed.is_some_and(|at| told_at > at) {
            learned.get_or_insert_with(Instant::now);
        }
        let tight = tightened.elapsed() > TIGHTENED
            && truth.unthrottled_since() > RECOVERY
            && (disturbed.is_none() || learned.is_some_and(|at| at.elapsed() > DISTURBED));
        let quiet = Quiet { changed: &changed, calm, tight };
        check(&truth, &slots, &current, &quiet, &mut tally, &told);
    }
    let calls = truth.calls.lock().unwrap();
    tally.calls = calls.len();
    let (rate, burst) =
        (LIMITS.max_requests_per_second as usize, LIMITS.max_requests_per_second as usize);
    for (first, at) in calls.iter().enumerate() {
        if let Some(later) = calls.get(first + rate + burst) {
            assert!(
                later.duration_since(*at) >= Duration::from_millis(990),
                "over the budget, seed {}",
                plan.seed
            );
        }
    }
    tally
}

/// What may be demanded of an instant.
struct Quiet<'q> {
    /// When each role was last changed.
    changed: &'q BTreeMap<usize, Instant>,
    /// Clocks are right, as far as anybody can know.
    calm: bool,
    /// Every role has had the time to follow its `min_remaining`.
    tight: bool,
}

/// The seven promises, at one instant.
fn check(
    truth: &Truth,
    slots: &Slots,
    current: &Config,
    quiet: &Quiet<'_>,
    tally: &mut Tally,
    told: &dyn Fn() -> String,
) {
    let now = truth.server_time.now();
    let real = truth.clock.now();
    let table = slots.load();
    assert_eq!(table.slots.len(), current.roles.len(), "{}", told());
    for (name, role) in &current.roles {
        tally.checks += 1;
        let slot = &table.slots[name];
        let state = slot.state();
        let delivered = truth.delivered.lock().unwrap().get(&identity(role)).copied();
        let number = number_of(name.as_str());
        match state.vend(now) {
            Ok(vended) => {
                assert!(
                    !quiet.calm || vended.expires_at() > real,
                    "{name} was vended expired: {}",
                    told()
                );
                let serial: u64 =
                    vended.access_key_id().trim_start_matches("ASIA").parse().unwrap();
                let (newest, _) = delivered.unwrap();
                assert_eq!(serial, newest, "{name}: another's or an older key: {}", told());
            }
            Err(phase) => {
                assert_ne!(phase, Phase::Fresh, "{}", told());
                if let Some((_, end)) = delivered.filter(|_| quiet.calm) {
                    assert!(
                        end <= real + Duration::from_secs(1),
                        "{name}: what works was taken away: {}",
                        told()
                    );
                }
            }
        }
        let without_fault = truth.quiet_since(number);
        let settled = quiet.changed.get(&number).is_none_or(|at| at.elapsed() > RECOVERY)
            && without_fault > RECOVERY
            && truth.began.elapsed() > RECOVERY;
        if quiet.calm && settled {
            let left = state
                .vend(now)
                .map(|vended| vended.expires_at().duration_since(real).unwrap_or_default());
            let left = left.unwrap_or_else(|phase| {
                panic!("{name} is {phase:?} after {without_fault:?} of calm: {}", told())
            });
            let demanded = role.terms.min_remaining;
            assert!(
                left >= Duration::from_secs(1_200) && (left >= demanded || !quiet.tight),
                "{name} has {left:?} left: {}",
                told()
            );
        }
    }
}

/// Every third role demands `remaining`.
fn written(versions: &BTreeMap<usize, u32>, remaining: Duration) -> Config {
    let names: Vec<String> = versions.keys().map(|number| format!("role-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut written = config(&names, 3600, "");
    for (number, version) in versions {
        let name = format!("role-{number}");
        let changed = config(
            &[&name],
            3600,
            &format!(
                "role_session_name = \"version-{version}\"\nmin_remaining = \"{}s\"",
                if number % 3 == 0 { remaining.as_secs() } else { 0 }
            ),
        );
        written.roles.extend(changed.roles);
    }
    written
}

/// Adds, removes and changes a few roles; says which.
fn rewrite(random: &mut Rng, versions: &mut BTreeMap<usize, u32>, most: usize) -> BTreeSet<usize> {
    let mut touched = BTreeSet::new();
    for _ in 0..random.usize(0..4) {
        let number = random.usize(..most);
        touched.insert(number);
        // Never a version that was there before: the oracle tells requests apart by it.
        let version = random.u32(1..);
        if versions.contains_key(&number) && versions.len() > 1 && random.bool() {
            versions.remove(&number);
        } else {
            versions.insert(number, version);
        }
    }
    touched
}

fn keys(slots: &Slots) -> BTreeMap<String, Option<String>> {
    let table = slots.load();
    let key = |slot: &Arc<crate::slots::Slot>| {
        slot.state().credentials().map(|held| held.access_key_id().to_owned())
    };
    table.slots.iter().map(|(name, slot)| (name.to_string(), key(slot))).collect()
}

/// The local clock is set, or the host sleeps: then every wall moves on and nothing else does.
fn disturb(random: &mut Rng, local: &Wall, truth: &Wall) {
    let seconds = [90, 3_000, 8 * 3_600, 40 * DAY][random.usize(..4)];
    let seconds = i64::try_from(random.u64(1..seconds)).unwrap();
    match random.u8(..3) {
        0 => local.step(seconds),
        1 => local.step(-seconds),
        _ => {
            local.step(seconds);
            truth.step(seconds);
        }
    }
}

fn run(plan: Plan) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(live(plan))
}

fn seeds(default: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("ROLETAP_SEED"), number("ROLETAP_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (1_000..1_000 + count).collect(),
        (None, None) => (1..=default).collect(),
    }
}

#[test]
fn the_contract_holds_through_weeks_of_faults() {
    let mut total = Tally::default();
    let (roles, days) = (60, 28);
    for seed in seeds(4) {
        let tally = run(Plan { seed, roles, days, faults: true });
        total.calls += tally.calls;
        total.checks += tally.checks;
        total.reloads += tally.reloads;
        total.disturbances += tally.disturbances;
        total.faults += tally.faults;
        println!(
            "seed {seed}: {} role-days, {} faults, {} calls, {} reloads, {} clock steps and suspends, {} checks",
            roles as u64 * days,
            tally.faults,
            tally.calls,
            tally.reloads,
            tally.disturbances,
            tally.checks
        );
    }
    assert!(
        total.reloads > 0 && total.disturbances > 0 && total.faults > 0,
        "the weeks were quiet"
    );
}

#[test]
fn thousands_of_roles_stay_fresh_through_two_days() {
    let tally = run(Plan { seed: 5, roles: 2_000, days: 2, faults: false });
    println!("{} calls, {} checks", tally.calls, tally.checks);
}
