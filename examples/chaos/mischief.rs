//! What goes wrong at STS: every known answer, for one role or for all; outages, throttling, another clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::World;
use crate::daemon::metrics;
use crate::pause;
use fake_sts::{CatalogueRow, Fault, Script, catalogue, oddities};

/// Breaks STS at random until the end; whole again while the world is held.
pub(crate) fn faults(world: &Arc<World>) {
    let mut random = Rng::with_seed(world.seed ^ 0xFA01);
    // A lie in `Date` moves the daemon's clock for all roles, and with it what the oracle would have to know: another
    // clock is tried as a whole, in `clocks`. Throttling stops the whole host: it comes with the events for everybody.
    let rows: Vec<CatalogueRow> = catalogue()
        .into_iter()
        .chain(oddities())
        .filter(|row| row.class != "throttled")
        .filter(|row| row.class != "clock" || row.name.starts_with("dead on arrival"))
        .filter(|row| !row.name.contains("date ahead"))
        .collect();
    let mut denied: Vec<(Instant, usize)> = Vec::new();
    let mut limited_until: Option<Instant> = None;
    let mut next_event = Instant::now() + Duration::from_secs(3);
    while !world.over() {
        if world.held() {
            mend(world);
            denied.clear();
            limited_until = None;
            while world.held() && !world.over() {
                pause(Duration::from_millis(20));
            }
            next_event = Instant::now() + Duration::from_secs(2);
            continue;
        }
        pause(Duration::from_millis(random.u64(40..160)));
        let roles = &world.oracle.roles;
        let role = random.usize(..roles.len());
        let at_sts = world.sts.role(&roles[role].arn);
        if let Some(row) = random.choice(&rows) {
            world.oracle.count(&format!("fault of class {}", row.class));
            match random.u32(..20) {
                // Longer than what is in hand, so that it ends.
                0 | 1 => at_sts.window(Duration::from_secs(random.u64(8..20)), row.script.clone()),
                2..=12 => at_sts.times(random.usize(1..5), row.script.clone()),
                _ => {
                    at_sts.window(Duration::from_millis(random.u64(300..7_000)), row.script.clone())
                }
            };
        }
        if random.u32(..25) == 0 {
            at_sts.deny();
            world.oracle.count("trust taken away");
            // Every other time for so long that what is in hand ends.
            let spell = match random.bool() {
                true => world.dark,
                false => Duration::from_millis(random.u64(500..8_000)),
            };
            denied.push((Instant::now() + spell, role));
        }
        denied.retain(|(end, role)| {
            let goes_on = Instant::now() < *end;
            if !goes_on {
                world.sts.role(&roles[*role].arn).allow();
            }
            goes_on
        });
        if limited_until.is_some_and(|end| Instant::now() > end) {
            world.sts.unlimit_rate();
            limited_until = None;
        }
        if Instant::now() > next_event {
            next_event = Instant::now() + Duration::from_millis(random.u64(2_000..9_000));
            limited_until = event(world, &mut random, &rows).or(limited_until);
        }
    }
    mend(world);
}

/// Something that happens to everybody.
fn event(world: &World, random: &mut Rng, rows: &[CatalogueRow]) -> Option<Instant> {
    let (sts, oracle) = (&world.sts, &world.oracle);
    match random.u32(..6) {
        0 => {
            oracle.count("outage of STS");
            sts.outage(Duration::from_millis(random.u64(300..8_000)));
        }
        1 => {
            oracle.count("throttling of the host");
            sts.limit_rate(2.0, 2.0);
            return Some(Instant::now() + Duration::from_millis(random.u64(500..3_000)));
        }
        2 => {
            oracle.count("throttled answer with Retry-After");
            sts.any().once(Fault::throttled().header("Retry-After", "2"));
        }
        3 => {
            oracle.count("latency for everybody");
            let late = Script::ok().after(Duration::from_millis(random.u64(100..900)));
            sts.any().window(Duration::from_millis(random.u64(1_000..6_000)), late);
        }
        _ => {
            if let Some(row) = random.choice(rows) {
                oracle.count("fault for everybody");
                sts.any().window(Duration::from_millis(random.u64(500..5_000)), row.script.clone());
            }
        }
    }
    None
}

/// All is well at STS.
pub(crate) fn mend(world: &World) {
    world.sts.end_outage();
    world.sts.unlimit_rate();
    world.sts.any().clear();
    for role in &world.oracle.roles {
        world.sts.role(&role.arn).clear();
        world.sts.role(&role.arn).allow();
    }
}

/// Moves the clock of STS, and back. What the oracle takes for possible widens before and narrows after the daemon has
/// seen it.
pub(crate) fn clocks(world: &Arc<World>) {
    let mut random = Rng::with_seed(world.seed ^ 0xC10C);
    while !world.over() {
        world.rest(Duration::from_secs(random.u64(8..20)));
        if world.over() || world.held() {
            continue;
        }
        let shift = *random.choice(&[40, -40, 200, -200, 280, -600, 900, 3600]).unwrap_or(&60);
        world.oracle.count("shift of the clock of STS");
        move_clock(world, shift);
        world.rest(Duration::from_secs(random.u64(1..5)));
        move_clock(world, 0);
    }
}

fn move_clock(world: &World, seconds: i64) {
    world.oracle.widen_shift(seconds);
    world.sts.shift_clock(seconds);
    let known = world.sts.issued().len();
    let settled = || {
        // The gauge shows every answer's time; expiries go by that of the last grant.
        let granted = !world.sts.issued_after(known).is_empty();
        granted
            && metrics(world.admin).is_some_and(|series| {
                series
                    .get("roletap_clock_skew_seconds")
                    .is_some_and(|skew| (skew - seconds as f64).abs() < 3.0)
            })
    };
    loop {
        // In the end the world is waited for, however long it takes; nothing is narrowed that is not certain.
        let before = settled();
        // Answers of before the shift that are still on their way.
        pause(Duration::from_millis(1_500));
        if before && settled() {
            world.oracle.settle_shift(seconds);
            return;
        }
        if world.over() {
            return;
        }
    }
}
