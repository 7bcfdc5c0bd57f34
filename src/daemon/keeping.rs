//! What the next process shall find: put where systemd holds it, soon after each change and once more at the end.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock::Skew;
use crate::fd_store::FdStore;
use crate::refresher::{News, Progress};
use crate::role::{Role, RoleName};
use crate::slots::Slots;
use crate::snapshot::{NotRestored, RestoredRole, Snapshot};
use crate::systemd;
use crate::token_digest::Tokens;

/// Changes come in swarms: this long after the first, all of them are stored at once.
const GATHER: Duration = Duration::from_millis(10);
/// Between two stores: what is issued meanwhile is lost if the process is killed.
const REST: Duration = Duration::from_millis(100);
/// And at least this many times what the last took, so that ten thousand roles cost no more than a fiftieth of a core.
const REST_FACTOR: u32 = 50;

/// The task that stores, and how to reach it.
#[derive(Debug)]
pub(super) struct Keeping {
    tokens: watch::Sender<Tokens>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

struct Keeper {
    store: FdStore,
    slots: Arc<Slots>,
    tokens: watch::Receiver<Tokens>,
    skew: Arc<Skew>,
    failing: bool,
}

impl Keeping {
    /// Begins to store whenever there are news, and now.
    pub(super) fn start(
        store: FdStore,
        slots: Arc<Slots>,
        tokens: Tokens,
        skew: Arc<Skew>,
        progress: &Progress,
    ) -> Self {
        let (tokens, current) = watch::channel(tokens);
        let (stop, stopped) = oneshot::channel();
        let keeper = Keeper { store, slots, tokens: current, skew, failing: false };
        let news = progress.news();
        progress.concluded();
        Self { tokens, task: tokio::spawn(keep(keeper, news, stopped)), stop }
    }

    /// These tokens are stored with the next news.
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

async fn keep(mut keeper: Keeper, mut news: News, mut stop: oneshot::Receiver<()>) {
    let mut not_before = Instant::now();
    loop {
        tokio::select! {
            () = news.more() => {}
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
async fn put(mut keeper: Keeper) -> Option<Keeper> {
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

impl Keeper {
    fn put(&mut self) {
        let tokens = self.tokens.borrow().clone();
        let serial = self.store.next_serial();
        let mut snapshot = Snapshot::new(serial, self.skew.granted_millis(), tokens);
        for slot in self.slots.load().slots.values() {
            snapshot.add(&slot.role, &slot.state(), slot.was_asked());
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
