//! What the next process shall find: put where systemd holds it, soon after each change and once more at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock::Skew;
use crate::keep::{self, Dropped, Inherited, Kept};
use crate::refresher::{Changes, Heartbeat};
use crate::role::{Role, RoleName};
use crate::slots::Slots;
use crate::store::Store;
use crate::systemd;
use crate::tokens::Tokens;

/// Changes come in swarms: this long after the first, all of them are stored at once.
const GATHER: Duration = Duration::from_millis(10);
/// Between two stores: what is issued meanwhile is lost if the process is killed.
const REST: Duration = Duration::from_millis(100);
/// And at least this many times what the last took, so that ten thousand roles cost no more than a fiftieth of a core.
const REST_FACTOR: u32 = 50;

/// The task that stores, and how to reach it.
#[derive(Debug)]
pub(super) struct Snapshotter {
    tokens: watch::Sender<Tokens>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

struct Writer {
    store: Store,
    slots: Arc<Slots>,
    tokens: watch::Receiver<Tokens>,
    skew: Arc<Skew>,
    failing: bool,
}

impl Snapshotter {
    /// Begins to store whenever there are changes, and now.
    pub(super) fn start(
        store: Store,
        slots: Arc<Slots>,
        tokens: Tokens,
        skew: Arc<Skew>,
        heartbeat: &Heartbeat,
    ) -> Self {
        let (tokens, current) = watch::channel(tokens);
        let (stop, stopped) = oneshot::channel();
        let keeper = Writer { store, slots, tokens: current, skew, failing: false };
        let changes = heartbeat.changes();
        heartbeat.record_change();
        Self { tokens, task: tokio::spawn(keep(keeper, changes, stopped)), stop }
    }

    /// These tokens are stored with the next changes.
    pub(super) fn retoken(&self, tokens: Tokens) {
        self.tokens.send_replace(tokens);
    }

    /// Stores once more, and waits until systemd has it.
    pub(super) async fn finish(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
        let _ = tokio::task::spawn_blocking(systemd::wait_until_heard).await;
    }
}

/// What an earlier process left of these roles; the rest is named in one line, and issued anew.
pub(super) fn inherit(
    kept: &Kept,
    roles: &BTreeMap<RoleName, Arc<Role>>,
    now: SystemTime,
) -> BTreeMap<RoleName, Inherited> {
    let mut taken = BTreeMap::new();
    let (mut changed, mut expired, mut unusable) = (0, 0, 0);
    for (name, role) in roles {
        match kept.inherit(role, now) {
            None => {}
            Some(Ok(inherited)) => {
                taken.insert(name.clone(), inherited);
            }
            Some(Err(Dropped::Changed)) => changed += 1,
            Some(Err(Dropped::Expired)) => expired += 1,
            Some(Err(Dropped::Unusable)) => unusable += 1,
        }
    }
    let removed = kept.names().filter(|name| !roles.contains_key(*name)).count();
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

async fn keep(mut keeper: Writer, mut changes: Changes, mut stop: oneshot::Receiver<()>) {
    let mut not_before = Instant::now();
    loop {
        tokio::select! {
            () = changes.next() => {}
            _ = &mut stop => break,
        }
        tokio::select! {
            () = tokio::time::sleep_until(not_before.max(Instant::now() + GATHER)) => {}
            _ = &mut stop => break,
        }
        let started = Instant::now();
        match put(keeper).await {
            Some(still) => keeper = still,
            None => return,
        }
        not_before = Instant::now() + REST.max(started.elapsed() * REST_FACTOR);
    }
    put(keeper).await;
}

/// On a thread of its own: ten thousand roles are 20 MB.
async fn put(mut keeper: Writer) -> Option<Writer> {
    let done = tokio::task::spawn_blocking(move || {
        keeper.put();
        keeper
    });
    match done.await {
        Ok(keeper) => Some(keeper),
        Err(_) => {
            tracing::error!(
                "storing credentials ended by a bug: after a restart every role is assumed anew"
            );
            None
        }
    }
}

impl Writer {
    fn put(&mut self) {
        let image = keep::image(
            &self.slots.load(),
            &self.tokens.borrow(),
            self.skew.granted_millis(),
            self.store.next_serial(),
        );
        match self.store.put(&image) {
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
