//! Snapshots for the next process: stored with systemd soon after each change, and once more at
//! shutdown.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Services;
use crate::clock::Skew;
use crate::fd_store::FdStore;
use crate::refresher::ChangeListener;
use crate::slots::Slots;
use crate::systemd;
use roletap_core::role::{Role, RoleName};
use roletap_core::snapshot::{NotRestored, RestoredRole, Snapshot};
use roletap_core::token_digest::Tokens;

/// Changes come in swarms: this long after the first, all of them are stored at once.
const GATHER: Duration = Duration::from_millis(10);
/// The pause between two stores. Credentials that are issued meanwhile are lost if the process is
/// killed.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// The pause is this many times what the last store took, so that ten thousand roles cost a
/// fiftieth of a core at most.
const PAUSE_FACTOR: u32 = 50;

/// A handle of the task that stores snapshots for the next process.
#[derive(Debug)]
pub(super) struct Snapshotter {
    tokens: watch::Sender<Tokens>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct SnapshotTask {
    store: FdStore,
    slots: Arc<Slots>,
    tokens: watch::Receiver<Tokens>,
    skew: Arc<Skew>,
    failing: bool,
}

impl Snapshotter {
    /// Stores a snapshot now, and after every change.
    pub(super) fn start(store: FdStore, shared: &Services, tokens: Tokens) -> Self {
        let (tokens, current) = watch::channel(tokens);
        let stop = CancellationToken::new();
        let (slots, skew) = (shared.slots.clone(), shared.skew.clone());
        let task = SnapshotTask { store, slots, tokens: current, skew, failing: false };
        let changes = shared.heartbeat.changes();
        shared.heartbeat.record_change();
        Self { tokens, task: tokio::spawn(task.run(changes, stop.clone())), stop }
    }

    /// Has the next snapshot hold these tokens.
    pub(super) fn set_tokens(&self, tokens: Tokens) {
        self.tokens.send_replace(tokens);
    }

    /// Stores a last snapshot, and waits until systemd has it.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        let _ = self.task.await;
        let _ = tokio::task::spawn_blocking(systemd::wait_until_heard).await;
    }
}

/// Returns the state that the previous process left of these roles. One log line counts those that
/// it left nothing usable of.
pub(super) fn inherit(
    snapshot: &Snapshot,
    roles: &BTreeMap<RoleName, Arc<Role>>,
    now: SystemTime,
) -> BTreeMap<RoleName, RestoredRole> {
    let mut taken = BTreeMap::new();
    let (mut changed, mut expired, mut unusable) = (0, 0, 0);
    for (name, role) in roles {
        match snapshot.restore(role, now) {
            None => {}
            Some(Ok(restored)) => {
                taken.insert(name.clone(), restored);
            }
            Some(Err(NotRestored::Changed)) => changed += 1,
            Some(Err(NotRestored::Expired)) => expired += 1,
            Some(Err(NotRestored::Unusable)) => unusable += 1,
        }
    }
    let removed = snapshot.names().filter(|name| !roles.contains_key(*name)).count();
    tracing::info!(
        roles = taken.len(),
        changed,
        expired,
        unusable,
        removed,
        "took over the credentials of the previous process"
    );
    taken
}

impl SnapshotTask {
    async fn run(mut self, mut changes: ChangeListener, stop: CancellationToken) {
        let mut not_before = Instant::now();
        let changed = async |changes: &mut ChangeListener, not_before: Instant| {
            changes.next().await;
            tokio::time::sleep_until(not_before.max(Instant::now() + GATHER)).await;
        };
        while stop.run_until_cancelled(changed(&mut changes, not_before)).await.is_some() {
            let started = Instant::now();
            match self.store_on_thread().await {
                Some(task) => self = task,
                None => return,
            }
            not_before = Instant::now() + MIN_PAUSE.max(started.elapsed() * PAUSE_FACTOR);
        }
        self.store_on_thread().await;
    }

    /// Stores a snapshot on a thread of its own: ten thousand roles are 20 MB.
    async fn store_on_thread(mut self) -> Option<Self> {
        let stored = tokio::task::spawn_blocking(move || {
            self.store();
            self
        });
        let task = stored.await.ok();
        if task.is_none() {
            tracing::error!(
                "storing credentials ended by a bug: after a restart every role is assumed anew"
            );
        }
        task
    }

    fn store(&mut self) {
        let serial = self.store.next_serial();
        let tokens = self.tokens.borrow().clone();
        let mut snapshot = Snapshot::new(serial, self.skew.granted_millis(), tokens);
        for slot in self.slots.load().slots.values() {
            snapshot.add(&slot.role, &slot.state(), slot.was_used());
        }
        let encoded = snapshot.encode().map_err(io::Error::other);
        match encoded.and_then(|encoded| self.store.put(&encoded)) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::warn!(
                    %error,
                    "systemd could not be given the credentials for the next process: after a restart some roles are \
                     assumed anew"
                );
            }
            Err(_) => {}
        }
    }
}
