//! The fronts of `[imds.*]`: each on a thread of its own, with the serving code of the credentials endpoint.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::config::{Config, HttpTokens, Imds, ImdsName};
use crate::listeners::Listeners;
use crate::metrics::Metrics;
use crate::server::imds::{ImdsEndpoint, SessionKey, Settings};
use crate::server::vend::Vend;
use crate::server::{self, Drained, Limits};

/// Connections to a front at once, where there is room: it serves one workload.
pub const IMDS_CONNECTIONS: usize = 128;

/// What a front needs before it can start.
#[derive(Debug)]
pub struct PreparedImds {
    /// As it is configured.
    pub imds: Imds,
    /// Where it listens.
    pub listeners: Listeners,
    /// What it seals session tokens with.
    pub session: SessionKey,
}

/// All that run.
#[derive(Debug, Default)]
pub(super) struct Fronts(Vec<Running>);

#[derive(Debug)]
struct Running {
    name: ImdsName,
    front: Arc<ImdsEndpoint>,
    vend: Arc<Vend>,
    serving: JoinHandle<Drained>,
}

impl Fronts {
    pub(super) fn start(
        prepared: Vec<PreparedImds>,
        connections: usize,
        beside: &Vend,
        metrics: &Metrics,
        stopping: &watch::Receiver<bool>,
        grace: Duration,
    ) -> io::Result<Self> {
        let start = |prepared: PreparedImds| {
            let PreparedImds { imds, listeners, session } = prepared;
            let front = Arc::new(ImdsEndpoint::new(&imds.listen, session, settings(&imds)));
            let vend = Arc::new(beside.behind(front.clone(), (connections / 2).max(1)));
            let limits = Limits {
                connections: Arc::new(Semaphore::new(connections)),
                open: metrics.connections("imds", connections),
            };
            let serving = server::serve_on_own_thread(
                listeners,
                vend.clone(),
                limits,
                stopping.clone(),
                grace,
            )?;
            Ok(Running { name: imds.name, front, vend, serving })
        };
        prepared.into_iter().map(start).collect::<Result<_, _>>().map(Self)
    }

    /// Other settings, before the roles that they name are there.
    pub(super) fn reshape(&self, config: &Config) {
        for running in &self.0 {
            // Where it listens cannot change, so it is there.
            if let Some(imds) = config.imds.get(&running.name) {
                running.front.set(settings(imds));
            }
            running.vend.set_pending_wait(config.server.pending_wait);
        }
    }

    /// Waits until each has drained.
    pub(super) fn join(self) -> usize {
        let ended = self.0.into_iter().map(|running| running.serving.join());
        ended.flatten().map(|drained| drained.cut).sum()
    }
}

fn settings(imds: &Imds) -> Settings {
    let without_session = match imds.http_tokens {
        HttpTokens::Optional => true,
        HttpTokens::Required => false,
    };
    Settings::new(imds.role.clone(), without_session, imds.region.clone())
}
