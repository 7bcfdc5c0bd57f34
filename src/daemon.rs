//! The wiring, and the one event loop.
//!
//! Two threads matter. The serving thread answers workloads and does nothing else. The control thread refreshes, serves
//! the admin endpoint and takes events. They share the slots and nothing that can be waited for.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::audit::Audit;
use crate::budget;
use crate::caller::kernel::Kernel;
use crate::clock::{ServerTime, Skew};
use crate::config::{Config, Loaded, Sts};
use crate::fd_store::FdStore;
use crate::fleet::Fleet;
use crate::issuer::sts::StsIssuer;
use crate::lifecycle::Phase;
use crate::listeners::Listeners;
use crate::metrics::Metrics;
use crate::refresher::{Progress, Surroundings};
use crate::role::Source;
use crate::server::admin::{Admin, Readiness};
use crate::server::vend::Vend;
use crate::server::{self, Drained, Limits, serve};
use crate::signals::Event;
use crate::slots::Slots;
use crate::snapshot::Snapshot;
use crate::source::{LOAD_TIMEOUT, Sources};
use crate::sts_queue::Queue;
use crate::systemd;
use crate::token_digest::Tokens;

mod callers;
mod filing;
mod fronts;
mod keeping;
mod orphans;
mod reload;

use self::fronts::Fronts;
pub use self::fronts::{FRONT_CONNECTIONS, PreparedFront};
use self::keeping::Keeping;

/// How often readiness is looked at until it is there.
const READINESS_TICK: Duration = Duration::from_millis(20);
/// Connections to the admin endpoint at once: Prometheus, a probe, a person or two.
const ADMIN_CONNECTIONS: usize = 64;
/// How often `systemctl status` is told, if the watchdog does not want to hear more often.
const STATUS_EVERY: Duration = Duration::from_secs(30);
/// Beyond `shutdown_grace`, for all that is not draining.
const LAST_STEPS: Duration = Duration::from_secs(5);
/// Every refresher makes a turn at least every nap of 30 s; when none does for this long, scheduling is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// What has to be there before a daemon can start: all that can fail at start is found before anything is issued.
#[derive(Debug)]
pub struct Prepared {
    /// The configuration.
    pub loaded: Loaded,
    /// Where it was read from, and is read again on reload.
    pub path: PathBuf,
    /// The credentials endpoint.
    pub credentials: Listeners,
    /// For how many connections to it there is room.
    pub max_connections: usize,
    /// And to each of `fronts`.
    pub front_connections: usize,
    /// Those of `[imds.*]`.
    pub fronts: Vec<PreparedFront>,
    /// The admin endpoint.
    pub admin: Listeners,
    /// The valid tokens.
    pub tokens: Tokens,
    /// The audit log.
    pub audit: Audit,
    /// The local clock.
    pub clock: SharedTimeSource,
    /// What the process before this one left.
    pub kept: Option<Snapshot>,
    /// Where to leave it for the next, if there is such a place.
    pub store: Option<FdStore>,
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    loaded: Loaded,
    path: PathBuf,
    tokens: Tokens,
    local: SharedTimeSource,
    /// Of STS.
    clock: SharedTimeSource,
    slots: Arc<Slots>,
    metrics: Arc<Metrics>,
    sources: Arc<Sources>,
    skew: Arc<Skew>,
    readiness: Arc<Readiness>,
    /// systemd has been told so.
    ready: bool,
    vend: Arc<Vend>,
    fronts: Fronts,
    kernel: Arc<Kernel>,
    /// Sockets that were handed to us.
    entrances: Vec<callers::Entrance>,
    audit: Audit,
    fleet: Fleet<StsIssuer>,
    keeping: Option<Keeping>,
    reading: reload::Reading,
    serving: Option<JoinHandle<Drained>>,
    administrating: tokio::task::JoinHandle<Drained>,
    stop_serving: watch::Sender<bool>,
    stop_admin: watch::Sender<bool>,
}

impl Daemon {
    /// Starts to serve and to refresh. Has to be called within the control runtime.
    pub fn start(prepared: Prepared) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let Prepared {
            loaded,
            path,
            credentials,
            max_connections,
            front_connections,
            fronts,
            admin,
            tokens,
            audit,
            clock: local,
            kept,
            store,
        } = prepared;
        let config = &loaded.config;
        let metrics = Arc::new(Metrics::new()?);
        metrics.config_loaded(local.now());
        let sources = Arc::new(Sources::new(local.clone()));
        let skew = Arc::new(Skew::new());
        let slots = Arc::new(Slots::default());
        let queue = Queue::new(limits(&config.sts));
        let progress = Arc::new(Progress::default());
        let shared = Shared {
            sources: sources.clone(),
            slots: slots.clone(),
            local: local.clone(),
            skew: skew.clone(),
            metrics: metrics.clone(),
        };
        let around = surroundings(&config.sts, shared, queue.clone(), progress.clone());
        sources.reshape(used_sources(config));
        let clock = around.clock.clone();
        let mut fleet = Fleet::new(around, slots.clone());
        if let Some(kept) = kept {
            if let Some(millis) = kept.skew_millis {
                skew.take_over(millis);
            }
            fleet.inherit(keeping::inherit(&kept, &config.roles, clock.now()));
        }
        fleet.reshape(&config.roles, &tokens, None);
        let kernel = Arc::new(Kernel::default());
        let entrances = callers::entrances(&credentials, &fronts);
        callers::look(&kernel, config, &entrances);
        let vend = Arc::new(Vend::new(
            slots.clone(),
            clock.clone(),
            metrics.clone(),
            audit.clone(),
            kernel.clone(),
            &config.server.listen,
            config.server.pending_wait,
            (max_connections / 2).max(1),
        ));
        let readiness = Arc::new(Readiness::new());
        let (stop_serving, stopping) = watch::channel(false);
        let grace = config.server.shutdown_grace;
        let fronts = Fronts::start(fronts, front_connections, &vend, &metrics, &stopping, grace)?;
        let limits = Limits {
            connections: Arc::new(Semaphore::new(max_connections)),
            open: metrics.connections("credentials", max_connections),
        };
        let serving =
            server::serve_on_own_thread(credentials, vend.clone(), limits, stopping, grace)?;
        let (stop_admin, stopping) = watch::channel(false);
        let desk = Arc::new(Admin {
            slots: slots.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            queue,
            skew: skew.clone(),
            sources: sources.clone(),
            kernel: kernel.clone(),
            serves_others: !config.admin.listen.iter().all(|address| address.ip().is_loopback()),
            readiness: readiness.clone(),
        });
        let limits = Limits {
            connections: Arc::new(Semaphore::new(ADMIN_CONNECTIONS)),
            open: metrics.connections("admin", ADMIN_CONNECTIONS),
        };
        let administrating = tokio::spawn(serve(
            admin.into_tokio()?,
            desk,
            limits,
            stopping,
            Duration::from_millis(200),
        ));
        let serving = Some(serving);
        if orphans::fall_to_us() {
            tokio::spawn(orphans::bury());
        }
        filing::start(slots.clone(), clock.clone(), progress.news());
        let keeping = store.map(|store| {
            let (slots, tokens) = (slots.clone(), tokens.clone());
            Keeping::start(store, slots, tokens, skew.clone(), &progress)
        });
        Ok(Self {
            loaded,
            path,
            tokens,
            local,
            clock,
            slots,
            metrics,
            sources,
            skew,
            readiness,
            ready: false,
            vend,
            fronts,
            kernel,
            entrances,
            audit,
            fleet,
            keeping,
            reading: reload::Reading::default(),
            serving,
            administrating,
            stop_serving,
            stop_admin,
        })
    }

    /// Takes events until one of them is [`Event::Shutdown`].
    pub async fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>) -> Drained {
        let watchdog = systemd::watchdog().map(|timeout| timeout / 3);
        let rest = watchdog.unwrap_or(STATUS_EVERY).min(STATUS_EVERY);
        let mut vigil = Vigil { turns: 0, since: Instant::now() };
        let mut told: Option<Instant> = None;
        // Moved only when it has come: events, however many, must not put it off.
        let mut next_tick = Some(Instant::now());
        loop {
            let tick = async {
                match next_tick {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Reload) => self.reload(),
                    Some(Event::RefreshAll) => self.refresh_all(),
                    Some(Event::Shutdown) | None => return self.shut_down().await,
                },
                outcome = self.reading.ended() => self.reloaded(outcome),
                () = self.fleet.mend() => {}
                () = tick => {
                    if !self.ready && self.readiness.is_ready(&self.slots) {
                        self.ready = true;
                        let summary = self.summary();
                        tracing::info!(summary, "ready");
                        systemd::ready(&summary);
                    }
                    if told.is_none_or(|at| at.elapsed() >= rest) {
                        told = Some(Instant::now());
                        let progress = self.fleet.surroundings().progress.turns();
                        if watchdog.is_some() && vigil.is_moving(progress) {
                            systemd::feed_watchdog();
                        }
                        systemd::status(&self.summary());
                    }
                    let pause = if self.ready {
                        systemd::is_there().then_some(rest)
                    } else {
                        Some(READINESS_TICK)
                    };
                    next_tick = pause.map(|pause| Instant::now() + pause);
                }
            }
        }
    }

    fn refresh_all(&self) {
        let table = self.slots.load();
        tracing::info!(roles = table.slots.len(), "refreshing all roles, within the budget");
        table.slots.values().for_each(|slot| slot.hurry());
    }

    async fn shut_down(mut self) -> Drained {
        systemd::stopping(self.loaded.config.server.shutdown_grace + LAST_STEPS);
        self.readiness.stop();
        tracing::info!("stopping: no new connections, open ones are drained");
        self.stop_serving.send_replace(true);
        let serving = self.serving.take();
        let fronts = std::mem::take(&mut self.fronts);
        let drained = tokio::task::spawn_blocking(move || {
            let drained = serving.and_then(|serving| serving.join().ok());
            let cut = drained.map_or(0, |drained| drained.cut) + fronts.join();
            Drained { cut }
        })
        .await;
        self.stop_admin.send_replace(true);
        if let Some(keeping) = self.keeping.take() {
            keeping.finish().await;
        }
        let _ = self.administrating.await;
        let drained = drained.unwrap_or(Drained { cut: 0 });
        match drained.cut {
            0 => tracing::info!("drained"),
            cut => tracing::warn!(cut, "the deadline has passed, and connections were cut"),
        }
        drained
    }

    /// One line for `systemctl status`.
    fn summary(&self) -> String {
        let now = self.clock.now();
        let table = self.slots.load();
        let count =
            |phase| table.slots.values().filter(|slot| slot.state().phase(now) == phase).count();
        let phases: Vec<String> = Phase::ALL
            .iter()
            .map(|phase| (count(*phase), phase.as_str()))
            .filter(|(count, _)| *count > 0)
            .map(|(count, phase)| format!("{count} {phase}"))
            .collect();
        format!("{} roles: {}", table.slots.len(), phases.join(", "))
    }
}

/// Whether scheduling makes progress.
struct Vigil {
    turns: u64,
    since: Instant,
}

impl Vigil {
    fn is_moving(&mut self, turns: u64) -> bool {
        if turns != self.turns {
            *self = Self { turns, since: Instant::now() };
        }
        self.since.elapsed() < STUCK_AFTER
    }
}

/// What outlives every issuer.
struct Shared {
    sources: Arc<Sources>,
    slots: Arc<Slots>,
    local: SharedTimeSource,
    skew: Arc<Skew>,
    metrics: Arc<Metrics>,
}

/// What refreshers share, for these settings of `[sts]`.
fn surroundings(
    sts: &Sts,
    shared: Shared,
    queue: Queue,
    progress: Arc<Progress>,
) -> Surroundings<StsIssuer> {
    let Shared { sources, slots, local, skew, metrics } = shared;
    Surroundings {
        issuer: StsIssuer::new(sts, sources, slots, local.clone(), skew.clone(), metrics.clone()),
        attempt_deadline: LOAD_TIMEOUT + sts.attempt_timeout + Duration::from_secs(1),
        queue,
        clock: ServerTime::shared(local, skew),
        metrics,
        progress,
    }
}

/// The sources that a role is signed with, by itself or at the end of a chain.
fn used_sources(config: &Config) -> impl Iterator<Item = Arc<Source>> {
    let roles = config.roles.values();
    roles.filter_map(|role| role.request.base.source().cloned())
}

fn limits(sts: &Sts) -> budget::Limits {
    budget::Limits {
        max_in_flight: sts.max_in_flight.max(1),
        max_requests_per_second: sts.max_requests_per_second.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_starves_when_scheduling_makes_no_progress() {
        let mut vigil = Vigil { turns: 0, since: Instant::now() };
        for turns in 1..10 {
            tokio::time::advance(STUCK_AFTER - Duration::from_secs(1)).await;
            assert!(vigil.is_moving(turns));
        }
        tokio::time::advance(STUCK_AFTER).await;
        assert!(!vigil.is_moving(9));
        assert!(vigil.is_moving(10), "what moves again is fed again");
    }
}
