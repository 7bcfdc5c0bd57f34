//! What the daemon says of itself: counters that never go back, and how much it takes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::World;
use crate::config::CALLS_PER_SECOND;
use crate::daemon::{admin, metrics};
use crate::oracle::lock;
use crate::pause;

/// The most that was seen.
#[derive(Debug, Default, Clone)]
pub(crate) struct Peaks {
    pub(crate) rss: f64,
    pub(crate) fds: f64,
    pub(crate) threads: f64,
    pub(crate) sts_calls: u64,
    pub(crate) sts_faults: u64,
    pub(crate) sts_answers: BTreeSet<String>,
    pub(crate) sts_busiest_second: u64,
    pub(crate) scrapes: u64,
}

/// What a quiet process takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quiet {
    pub(crate) rss: f64,
    pub(crate) fds: f64,
    pub(crate) threads: f64,
}

/// Scrapes every second until the end.
pub(crate) fn scrapes(world: &Arc<World>) {
    let mut last: HashMap<String, f64> = HashMap::new();
    let mut of_process = 0;
    let mut calls: Vec<Instant> = Vec::new();
    let mut turn = 0_u64;
    while !world.over() {
        pause(Duration::from_secs(1));
        turn += 1;
        take_log(world, &mut calls);
        let before = world.oracle.before(0);
        let process = world.oracle.restarts.load(Ordering::SeqCst);
        if process != of_process {
            last.clear();
            of_process = process;
        }
        let scraped = metrics(world.admin);
        if !world.oracle.same_process(&before) {
            continue;
        }
        let Some(series) = scraped else {
            world.oracle.violation("/metrics did not answer");
            continue;
        };
        examine(world, &series, &mut last);
        if turn.is_multiple_of(5) {
            look_for_secrets(world);
        }
    }
    take_log(world, &mut calls);
}

fn examine(world: &World, series: &HashMap<String, f64>, last: &mut HashMap<String, f64>) {
    let oracle = &world.oracle;
    for (name, value) in series {
        let bare = name.split('{').next().unwrap_or_default();
        let counts = ["_total", "_count", "_bucket", "_sum"].iter().any(|end| bare.ends_with(end));
        if !counts {
            continue;
        }
        match last.get_mut(name) {
            Some(before) if *before > *value => {
                oracle.violation(&format!("{name} went back from {before} to {value}"));
                *before = *value;
            }
            Some(before) => *before = *value,
            None => {
                last.insert(name.clone(), *value);
            }
        }
    }
    let of = |name: &str| series.get(name).copied().unwrap_or(f64::NAN);
    if of("roletap_refresher_restarts_total") != 0.0 {
        oracle.violation("a refresher had to be started again");
    }
    let open = of("roletap_connections{listener=\"credentials\"}");
    if open.is_nan() || open < 0.0 || open > world.max_connections as f64 {
        oracle.violation(&format!("{open} connections are open"));
    }
    let mut peaks = lock(&world.peaks);
    peaks.scrapes += 1;
    peaks.rss = peaks.rss.max(of("process_resident_memory_bytes"));
    peaks.fds = peaks.fds.max(of("process_open_fds"));
    peaks.threads = peaks.threads.max(of("process_threads"));
}

fn take_log(world: &World, calls: &mut Vec<Instant>) {
    let log = world.sts.take_requests();
    let mut peaks = lock(&world.peaks);
    for request in &log {
        peaks.sts_calls += 1;
        peaks.sts_faults += u64::from(request.answered != "ok");
        peaks.sts_answers.insert(request.answered.clone());
    }
    calls.extend(log.iter().map(|request| request.at));
    let busiest = calls
        .iter()
        .enumerate()
        .map(|(n, at)| {
            calls[n..]
                .iter()
                .take_while(|later| later.saturating_duration_since(*at) < Duration::from_secs(1))
                .count() as u64
        })
        .max()
        .unwrap_or_default();
    peaks.sts_busiest_second = peaks.sts_busiest_second.max(busiest);
    // A bucketful and a second's worth, twice where a process has just begun.
    if busiest > u64::from(CALLS_PER_SECOND) * 4 {
        world.oracle.violation(&format!("{busiest} calls to STS in a second"));
    }
    let recent = calls.last().copied();
    calls.retain(|at| recent.is_some_and(|last| last.duration_since(*at) < Duration::from_secs(1)));
}

fn look_for_secrets(world: &World) {
    let secrets = world.recent_secrets();
    for path in ["/metrics", "/roles", "/readyz"] {
        let Some((_, text)) = admin(world.admin, "GET", path) else {
            continue;
        };
        if secrets.iter().any(|secret| text.contains(secret.as_str())) {
            world.oracle.violation(&format!("{path} holds a secret"));
        }
    }
}

/// Holds the world, waits until nobody is connected and nothing is asked of STS, and measures.
pub(crate) fn quiet(world: &World) -> Option<Quiet> {
    world.hold(true);
    let deadline = Instant::now() + Duration::from_secs(12);
    let open = |series: &HashMap<String, f64>| {
        series.get("roletap_connections{listener=\"credentials\"}").copied()
    };
    // Attempts that hang end within the attempt's timeout; then idle connections to STS go too.
    pause(Duration::from_millis(1_500));
    world.sts.stop();
    pause(Duration::from_millis(500));
    let measured = loop {
        let series = metrics(world.admin)?;
        if open(&series) == Some(0.0) || Instant::now() > deadline {
            break series;
        }
        pause(Duration::from_millis(50));
    };
    if open(&measured) != Some(0.0) {
        world.oracle.violation(&format!(
            "nobody is connected, and {:?} connections are open",
            open(&measured)
        ));
    }
    world.sts.restart();
    let of = |name: &str| measured.get(name).copied().unwrap_or_default();
    Some(Quiet {
        rss: of("process_resident_memory_bytes"),
        fds: of("process_open_fds"),
        threads: of("process_threads"),
    })
}
