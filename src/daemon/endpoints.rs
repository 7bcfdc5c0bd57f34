//! The endpoints of the daemon, started and drained.
//!
//! Each endpoint that vends credentials has a thread of its own; the admin endpoint is a task of
//! the control thread.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Services;
use crate::audit::Audit;
use crate::listeners::Listeners;
use crate::server::admin::{AdminApi, Readiness};
use crate::server::imds::{ImdsEndpoint, SessionKey};
use crate::server::vend::{Protocol, Vend, VendContext};
use crate::server::{self, AcceptLimits, Drained};
use roletap_core::config::{Config, Imds};

/// The most connections to one IMDS endpoint at once, where descriptors allow it. It serves one
/// workload.
pub const IMDS_CONNECTIONS: usize = 128;
/// The most connections to the admin endpoint at once: Prometheus, a probe, a person or two.
const ADMIN_CONNECTIONS: usize = 64;
const ADMIN_SHUTDOWN_GRACE: Duration = Duration::from_millis(200);

/// The endpoints that vend credentials, before they are started.
#[derive(Debug)]
pub struct PreparedEndpoints {
    /// Sockets of the credentials endpoint.
    pub credentials: Listeners,
    /// The most connections to the credentials endpoint at once.
    pub max_connections: usize,
    /// The endpoints of `[imds.*]`.
    pub imds: Vec<PreparedImds>,
    /// The most connections to each endpoint of `imds` at once.
    pub max_imds_connections: usize,
}

/// One IMDS endpoint, before it is started.
#[derive(Debug)]
pub struct PreparedImds {
    /// The configuration of the endpoint.
    pub imds: Imds,
    /// The sockets of the endpoint.
    pub listeners: Listeners,
    /// The key that seals its session tokens.
    pub session: SessionKey,
}

/// The running endpoints that vend credentials.
#[derive(Debug)]
pub(super) struct VendEndpoints {
    shutdown: CancellationToken,
    threads: Vec<JoinHandle<Drained>>,
}

/// The running admin endpoint.
#[derive(Debug)]
pub(super) struct AdminEndpoint {
    pub(super) readiness: Arc<Readiness>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Drained>,
}

impl VendEndpoints {
    pub(super) fn start(
        prepared: PreparedEndpoints,
        shared: &Services,
        config: &Config,
        audit: Audit,
    ) -> io::Result<Self> {
        let ctx = Arc::new(VendContext {
            slots: shared.slots.clone(),
            clock: shared.clock.clone(),
            metrics: shared.metrics.clone(),
            audit,
            peers: shared.peers.clone(),
        });
        let shutdown = CancellationToken::new();
        let start = |name, listeners, protocol, max_connections: usize| {
            let open = shared.metrics.connections(name, max_connections);
            let vend = Arc::new(Vend::new(ctx.clone(), protocol, (max_connections / 2).max(1)));
            let limits = AcceptLimits { max_connections, open };
            let grace = config.server.shutdown_grace;
            server::serve_on_own_thread(listeners, vend, limits, shutdown.clone(), grace)
        };
        let mut threads = Vec::new();
        for PreparedImds { imds, listeners, session } in prepared.imds {
            let protocol = Protocol::Imds(ImdsEndpoint::new(&imds, session));
            threads.push(start("imds", listeners, protocol, prepared.max_imds_connections)?);
        }
        let hosts = config.server.listen.iter().map(SocketAddr::ip).collect();
        let protocol = Protocol::Token(hosts);
        threads.push(start(
            "credentials",
            prepared.credentials,
            protocol,
            prepared.max_connections,
        )?);
        Ok(Self { shutdown, threads })
    }

    /// Accepts no new connections, and waits until the open ones have ended or the grace has
    /// passed.
    pub(super) async fn drain(self) -> Drained {
        self.shutdown.cancel();
        let join = move || {
            let ended = self.threads.into_iter().filter_map(|thread| thread.join().ok());
            Drained { cut: ended.map(|drained| drained.cut).sum() }
        };
        tokio::task::spawn_blocking(join).await.unwrap_or(Drained { cut: 0 })
    }
}

impl AdminEndpoint {
    pub(super) fn start(
        listeners: Listeners,
        shared: &Services,
        config: &Config,
    ) -> io::Result<Self> {
        let readiness = Arc::new(Readiness::default());
        let admin = Arc::new(AdminApi {
            slots: shared.slots.clone(),
            clock: shared.clock.clone(),
            metrics: shared.metrics.clone(),
            queue: shared.queue.clone(),
            skew: shared.skew.clone(),
            sources: shared.sources.clone(),
            peers: shared.peers.clone(),
            serves_others: !config.admin.listen.iter().all(|address| address.ip().is_loopback()),
            readiness: readiness.clone(),
        });
        let limits = AcceptLimits {
            max_connections: ADMIN_CONNECTIONS,
            open: shared.metrics.connections("admin", ADMIN_CONNECTIONS),
        };
        let shutdown = CancellationToken::new();
        let listeners = listeners.into_tokio()?;
        let serve = server::serve(listeners, admin, limits, shutdown.clone(), ADMIN_SHUTDOWN_GRACE);
        Ok(Self { readiness, shutdown, task: tokio::spawn(serve) })
    }

    /// Begins to drain; [`AdminEndpoint::drained`] waits for the end of it.
    pub(super) fn stop(&self) {
        self.shutdown.cancel();
    }

    pub(super) async fn drained(self) {
        let _ = self.task.await;
    }
}
