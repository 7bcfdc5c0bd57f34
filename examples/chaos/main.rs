//! Minutes of everything at once: the daemon as a process of its own under load, an STS that fails in every known way,
//! reloads, restarts. Every answer is checked against the outage contract; one that breaks it ends the run with 1.
//!
//! `cargo run --release --example chaos`; with `-- --short` it takes twenty seconds, and `-- --seed N` plans the same
//! mischief again.

#![expect(
    clippy::disallowed_methods,
    reason = "a load that is measured, beside a daemon that has the real clock"
)]

mod client;
mod conductor;
mod config;
mod daemon;
mod judge;
mod load;
mod mischief;
mod oracle;
mod report;
mod sdk;
mod watch;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Parser;
use conductor::Conductor;
use config::{RoleText, Text};
use daemon::Daemon;
use fake_sts::FakeSts;
use oracle::{Oracle, Role, lock};

pub(crate) type Failed = Box<dyn std::error::Error>;

/// What a thread does until it is over.
type Job = Box<dyn FnOnce(&Arc<World>) + Send>;

/// Puts the daemon through everything at once, and checks every answer.
#[derive(Debug, Parser)]
struct Arguments {
    /// Plans the same mischief again
    #[arg(long)]
    seed: Option<u64>,
    /// How long
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Twenty seconds, fewer roles, less load
    #[arg(long)]
    short: bool,
    /// Requests per second
    #[arg(long, default_value_t = 9000.0)]
    rate: f64,
    /// The binary to test, in place of this build's own
    #[arg(long, value_name = "PATH")]
    roletap: Option<PathBuf>,
    /// Leaves the directory with configuration, tokens and logs
    #[arg(long)]
    keep: bool,
}

/// What all threads share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) sts: FakeSts,
    pub(crate) oracle: Oracle,
    pub(crate) seed: u64,
    pub(crate) vend: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) max_connections: usize,
    /// Longer than any session that is still used.
    pub(crate) dark: Duration,
    pub(crate) peaks: Mutex<watch::Peaks>,
    home: PathBuf,
    held: AtomicBool,
    over: AtomicBool,
    longest_down: Mutex<Duration>,
}

impl World {
    /// Everybody goes home.
    pub(crate) fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Everybody rests, and STS is well.
    pub(crate) fn held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    pub(crate) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }

    /// So long, or until it is over.
    pub(crate) fn rest(&self, rest: Duration) {
        let end = Instant::now() + rest;
        while Instant::now() < end && !self.over() {
            pause(Duration::from_millis(50));
        }
    }

    pub(crate) fn down(&self, time: Duration) {
        let mut longest = lock(&self.longest_down);
        *longest = longest.max(time);
    }

    pub(crate) fn longest_down(&self) -> Duration {
        *lock(&self.longest_down)
    }

    pub(crate) fn token_path(&self, role: &str) -> PathBuf {
        self.home.join("tokens").join(role)
    }

    /// Of the last few issues.
    pub(crate) fn recent_secrets(&self) -> Vec<String> {
        let count = self.sts.issued_after(0).len();
        let recent = self.sts.issued_after(count.saturating_sub(100));
        recent
            .into_iter()
            .flat_map(|issued| [issued.secret_access_key, issued.session_token])
            .collect()
    }
}

/// Sleeps.
pub(crate) fn pause(pause: Duration) {
    std::thread::sleep(pause);
}

fn main() -> ExitCode {
    let mut given = std::env::args().skip(1);
    let ended = match given.next().as_deref() {
        Some(sdk::ARGUMENT) => sdk::run().map(|()| true),
        Some(daemon::ARGUMENT) => as_daemon(&given.next().unwrap_or_default()).map(|()| true),
        _ => run(&Arguments::parse()),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::say(&format!("chaos: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn as_daemon(config: &str) -> Result<(), Failed> {
    let arguments =
        roletap::cli::Arguments::try_parse_from(["roletap", "run", "--config", config])?;
    roletap::cli::execute(arguments).map_err(|failure| failure.message.into())
}

fn run(arguments: &Arguments) -> Result<bool, Failed> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..100_000));
    let length = if arguments.short {
        Duration::from_secs(20)
    } else {
        Duration::from_secs_f64(arguments.minutes * 60.0)
    };
    let (roles, workers, rate, sdks) =
        if arguments.short { (16, 6, 1500.0, 2) } else { (40, 12, arguments.rate, 4) };
    report::say(&format!(
        "chaos: seed {seed}, {} s, {roles} roles, {workers} workers at {rate} requests/s",
        length.as_secs()
    ));
    let home = std::env::temp_dir().join(format!("roletap-chaos-{}", std::process::id()));
    std::fs::create_dir_all(&home)?;
    let mut conductor = prepare(arguments, seed, roles, &home)?;
    let world = conductor.world.clone();
    let begun = Instant::now();
    conductor.start()?;
    let threads = crowd(&world, workers, rate, sdks);
    let played = play(&mut conductor, begun, length);
    world.over.store(true, Ordering::SeqCst);
    for thread in threads {
        if thread.join().is_err() {
            world.oracle.violation("a thread of the run panicked");
        }
    }
    let quiets = match played {
        Ok(quiets) => Some(quiets),
        Err(error) => {
            world.oracle.violation(&format!("the run broke off: {error}"));
            None
        }
    };
    if quiets.is_some()
        && let Err(error) = conductor.stop()
    {
        world.oracle.violation(&error.to_string());
    }
    report::search_logs(&world, &home, &conductor.text);
    drop(conductor);
    let well = report::print(&world, quiets, begun.elapsed());
    if arguments.keep {
        report::say(&format!("left in {}", home.display()));
    } else {
        std::fs::remove_dir_all(&home)?;
    }
    Ok(well)
}

/// The world before the first process.
fn prepare(
    arguments: &Arguments,
    seed: u64,
    roles: usize,
    home: &std::path::Path,
) -> Result<Conductor, Failed> {
    let mut random = fastrand::Rng::with_seed(seed);
    let sts = FakeSts::start().with_base_key(daemon::BASE_KEY).with_region("eu-central-1");
    let max_connections = 128;
    let sessions = if arguments.short { 3..=5 } else { 5..=60 };
    let text = Text {
        vend: free_address()?,
        admin: free_address()?,
        home: home.to_owned(),
        endpoint: sts.endpoint_url(),
        roles: (0..roles)
            .map(|number| RoleText {
                present: true,
                identity: 1,
                seconds: random.u32(sessions.clone()),
                account_id: number % 3 == 0,
                drops: number % 8 == 7,
                required: number % 2 == 0,
            })
            .collect(),
        pending_wait_ms: 400,
        attempt_timeout_ms: 1_000,
        max_in_flight: 16,
        max_connections,
        sessions,
    };
    // Three roles in four stay for good.
    let known = (0..roles).map(|number| Role::new(number, number % 4 != 3));
    let daemon = Daemon::new(
        arguments.roletap.clone(),
        text.path(),
        home.join("stderr.log"),
        text.vend,
        text.admin,
    );
    Ok(Conductor {
        world: Arc::new(World {
            sts,
            oracle: Oracle::new(known.collect()),
            seed,
            vend: text.vend,
            admin: text.admin,
            max_connections,
            dark: Duration::from_secs(if arguments.short { 6 } else { 30 }),
            peaks: Mutex::default(),
            home: home.to_owned(),
            held: AtomicBool::new(false),
            over: AtomicBool::new(false),
            longest_down: Mutex::default(),
        }),
        daemon,
        text,
        random,
    })
}

/// Everybody but the operator.
fn crowd(world: &Arc<World>, workers: u64, rate: f64, sdks: usize) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    let mut spawn = |job: Job| {
        let world = world.clone();
        threads.push(std::thread::spawn(move || job(&world)));
    };
    for number in 0..workers {
        spawn(Box::new(move |world| {
            load::worker(world, number, rate / workers as f64);
        }));
    }
    for number in 0..4 {
        spawn(Box::new(move |world| load::slowly(world, number)));
    }
    // A permanent role each.
    for number in 0..sdks {
        spawn(Box::new(move |world| {
            if let Err(error) = sdk::drive(world, number * 4) {
                world.oracle.violation(&format!("an SDK client: {error}"));
            }
        }));
    }
    spawn(Box::new(|world| {
        load::floods(world, world.max_connections + 40);
    }));
    spawn(Box::new(mischief::faults));
    spawn(Box::new(mischief::clocks));
    spawn(Box::new(watch::scrapes));
    threads
}

/// The operator's day: restarts in its first half; then one process, measured when it is quiet, and again at the end.
fn play(
    conductor: &mut Conductor,
    begun: Instant,
    length: Duration,
) -> Result<(watch::Quiet, watch::Quiet, Duration), Failed> {
    let world = conductor.world.clone();
    let restarts = (length.as_secs() / 9).clamp(2, 60);
    let each = length.mul_f64(0.5) / u32::try_from(restarts)?;
    for n in 1..=restarts {
        until(conductor, begun + each * u32::try_from(n)?)?;
        conductor.restart(n % 4 == 2)?;
    }
    until(conductor, begun + length.mul_f64(0.6))?;
    let first = watch::quiet(&world).ok_or("no metrics")?;
    world.hold(false);
    until(conductor, begun + length)?;
    world.hold(true);
    // Whoever breaks something has seen it by then.
    pause(Duration::from_millis(400));
    mischief::mend(&world);
    // STS is well: a person who has mended something says so, and everything comes back.
    let mended = Instant::now();
    conductor.reload_unchanged()?;
    let fresh = || -> Option<bool> {
        let (_, text) = daemon::admin(world.admin, "GET", "/roles")?;
        let overview: serde_json::Value = serde_json::from_str(&text).ok()?;
        let roles = overview["roles"].as_array()?;
        Some(roles.iter().all(|role| role["last_error"].is_null() && role["phase"] == "fresh"))
    };
    while fresh() != Some(true) {
        if mended.elapsed() > Duration::from_secs(60) {
            world.oracle.violation("a minute after STS was well again, not every role is fresh");
            break;
        }
        pause(Duration::from_millis(20));
    }
    let recovered = mended.elapsed();
    let second = watch::quiet(&world).ok_or("no metrics")?;
    world.hold(false);
    pause(Duration::from_secs(1));
    Ok((first, second, recovered))
}

fn until(conductor: &mut Conductor, end: Instant) -> Result<(), Failed> {
    while Instant::now() < end {
        conductor.act()?;
        pause(Duration::from_millis(conductor.random.u64(50..450)));
    }
    Ok(())
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
