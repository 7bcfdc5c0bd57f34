//! The wiring of the daemon, and its one event loop.
//!
//! Threads that serve workloads do nothing else. The control thread refreshes, serves the admin
//! endpoint and takes events. They share the published table, and nothing that anyone waits for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::mpsc;

use crate::audit::Audit;
use crate::clock::{ServerTime, Skew};
use crate::fd_store::FdStore;
use crate::fleet::{Fleet, retry_roles_of_source};
use crate::issuer::StsIssuer;
use crate::listeners::Listeners;
use crate::metrics::Metrics;
use crate::peer::PeerLookup;
use crate::refresher::{Heartbeat, RefreshContext};
use crate::server::Drained;
use crate::signals::Event;
use crate::slots::Slots;
use crate::source::{LOAD_TIMEOUT, Sources};
use crate::sts::Client;
use crate::sts_queue::Queue;
use crate::systemd;
use roletap_core::budget;
use roletap_core::config::{Config, Loaded, Sts};
use roletap_core::lifecycle::Phase;
use roletap_core::role::Source;
use roletap_core::snapshot::Snapshot;
use roletap_core::token_digest::Tokens;

mod callers;
mod credentials_files;
mod endpoints;
mod reaper;
mod reload;
mod snapshotter;
mod status;

use self::callers::InheritedListener;
use self::endpoints::{AdminEndpoint, VendEndpoints};
pub use self::endpoints::{IMDS_CONNECTIONS, PreparedEndpoints, PreparedImds};
use self::snapshotter::Snapshotter;
use self::status::StatusReporter;

/// The time that a shutdown may take beyond `shutdown_grace`.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(5);

/// The inputs of a daemon. All that can fail at start is found before anything is issued.
#[derive(Debug)]
pub struct Prepared {
    /// The configuration to start with.
    pub loaded: Loaded,
    /// The file that the configuration was read from, and is read from again on reload.
    pub path: PathBuf,
    /// The endpoints that vend credentials.
    pub endpoints: PreparedEndpoints,
    /// Sockets of the admin endpoint.
    pub admin: Listeners,
    /// The tokens that the endpoints accept at start.
    pub tokens: Tokens,
    /// The audit log that the daemon writes to.
    pub audit: Audit,
    /// The clock of this host.
    pub clock: SharedTimeSource,
    /// The state that the previous process left.
    pub kept: Option<Snapshot>,
    /// The place for the state that the next process finds, if there is one.
    pub store: Option<FdStore>,
}

/// A daemon that serves and refreshes.
#[derive(Debug)]
pub struct Daemon {
    loaded: Loaded,
    path: PathBuf,
    tokens: Tokens,
    audit: Audit,
    shared: Services,
    inherited: Vec<InheritedListener>,
    fleet: Fleet<StsIssuer>,
    endpoints: VendEndpoints,
    admin: AdminEndpoint,
    snapshotter: Option<Snapshotter>,
    reading: reload::Reading,
    /// True once systemd has been told.
    ready: bool,
}

/// Shared by the fleet and the endpoints for the life of the process.
#[derive(Debug)]
struct Services {
    /// The clock of this host.
    local: SharedTimeSource,
    /// The clock of STS, by the measured skew.
    clock: SharedTimeSource,
    skew: Arc<Skew>,
    metrics: Arc<Metrics>,
    slots: Arc<Slots>,
    sources: Arc<Sources>,
    queue: Queue,
    heartbeat: Arc<Heartbeat>,
    peers: Arc<PeerLookup>,
}

impl Daemon {
    /// Starts to serve and to refresh. Has to be called within the control runtime.
    pub fn start(prepared: Prepared) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let Prepared { loaded, endpoints, tokens, audit, .. } = prepared;
        let config = &loaded.config;
        let (shared, ctx) = Services::new(&config.sts, prepared.clock)?;
        shared.sources.apply(used_sources(config));
        let mut fleet = Fleet::new(ctx, shared.slots.clone());
        if let Some(kept) = prepared.kept {
            if let Some(millis) = kept.skew_millis {
                shared.skew.take_over(millis);
            }
            fleet.inherit(snapshotter::inherit(&kept, &config.roles, shared.clock.now()));
        }
        // The table has to be there before anybody is served from it.
        fleet.apply(config, &tokens, None);
        let inherited = callers::inherited_listeners(&endpoints);
        callers::log_unknown_callers(&shared.peers, config, &inherited);
        let endpoints = VendEndpoints::start(endpoints, &shared, config, audit.clone())?;
        let admin = AdminEndpoint::start(prepared.admin, &shared, config)?;
        if reaper::is_init() {
            tokio::spawn(reaper::reap_zombies());
        }
        let changes = shared.heartbeat.changes();
        credentials_files::start(shared.slots.clone(), shared.clock.clone(), changes);
        let store = prepared.store;
        let snapshotter = store.map(|store| Snapshotter::start(store, &shared, tokens.clone()));
        Ok(Self {
            path: prepared.path,
            loaded,
            tokens,
            audit,
            shared,
            inherited,
            fleet,
            endpoints,
            admin,
            snapshotter,
            reading: reload::Reading::default(),
            ready: false,
        })
    }

    /// Takes events until one of them is [`Event::Shutdown`].
    pub async fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>) -> Drained {
        let mut status = StatusReporter::new();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Reload) => self.reload(),
                    Some(Event::RefreshAll) => self.refresh_all(),
                    Some(Event::Shutdown) | None => return self.shut_down().await,
                },
                outcome = self.reading.ended() => self.reloaded(outcome),
                () = self.fleet.supervise() => {}
                () = status.due() => {
                    self.look_at_readiness();
                    status.report(self.ready, self.shared.heartbeat.ticks(), || self.summary());
                }
            }
        }
    }

    fn look_at_readiness(&mut self) {
        if !self.ready && self.admin.readiness.is_ready(&self.shared.slots) {
            self.ready = true;
            let summary = self.summary();
            tracing::info!(summary, "ready");
            systemd::ready(&summary);
        }
    }

    fn refresh_all(&self) {
        let table = self.shared.slots.load();
        tracing::info!(roles = table.slots.len(), "refreshing all roles, within the budget");
        table.slots.values().for_each(|slot| slot.request_refresh());
    }

    async fn shut_down(self) -> Drained {
        systemd::stopping(self.loaded.config.server.shutdown_grace + SHUTDOWN_MARGIN);
        self.admin.readiness.stop();
        tracing::info!("stopping: no new connections, open ones are drained");
        let drained = self.endpoints.drain().await;
        self.admin.stop();
        if let Some(snapshotter) = self.snapshotter {
            snapshotter.finish().await;
        }
        self.admin.drained().await;
        match drained.cut {
            0 => tracing::info!("drained"),
            cut => tracing::warn!(cut, "the deadline has passed, and connections were cut"),
        }
        drained
    }

    /// Returns the line for `systemctl status`.
    fn summary(&self) -> String {
        let now = self.shared.clock.now();
        let table = self.shared.slots.load();
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

impl Services {
    fn new(
        sts: &Sts,
        local: SharedTimeSource,
    ) -> Result<(Self, RefreshContext<StsIssuer>), Box<dyn std::error::Error + Send + Sync>> {
        let metrics = Arc::new(Metrics::new()?);
        metrics.config_loaded(local.now());
        let skew = Arc::new(Skew::new());
        let slots = Arc::new(Slots::default());
        let client = Client::new(sts, local.clone(), skew.clone(), metrics.clone());
        let on_recovery = Arc::new(retry_roles_of_source(slots.clone()));
        let shared = Self {
            clock: ServerTime::shared(local.clone(), skew.clone()),
            sources: Arc::new(Sources::new(local.clone(), client.clone(), on_recovery)),
            queue: Queue::new(limits(sts)),
            heartbeat: Arc::default(),
            peers: Arc::default(),
            local,
            skew,
            metrics,
            slots,
        };
        let ctx = shared.refresh_context(sts, client);
        Ok((shared, ctx))
    }

    /// Changes to other settings of `[sts]`. The context is for the refreshers of the next
    /// configuration.
    fn change_sts(&self, sts: &Sts) -> RefreshContext<StsIssuer> {
        self.queue.limit(limits(sts));
        let (skew, metrics) = (self.skew.clone(), self.metrics.clone());
        let client = Client::new(sts, self.local.clone(), skew, metrics);
        self.sources.use_client(client.clone());
        self.refresh_context(sts, client)
    }

    fn refresh_context(&self, sts: &Sts, client: Arc<Client>) -> RefreshContext<StsIssuer> {
        RefreshContext {
            issuer: StsIssuer::new(client, self.sources.clone(), self.slots.clone()),
            attempt_deadline: LOAD_TIMEOUT + sts.attempt_timeout + Duration::from_secs(1),
            queue: self.queue.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            heartbeat: self.heartbeat.clone(),
        }
    }
}

/// Returns the sources that roles are signed with, directly or at the end of a chain.
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
