//! The running refreshers, one per role.
//!
//! A refresher that ends is a bug, and an outage in forty minutes: it is noticed, logged, counted and restarted, with its
//! slot as it was.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinSet};

use crate::issuer::Issuer;
use crate::refresher::{Surroundings, refresh};
use crate::role::RoleName;
use crate::slots::{Slot, Slots, Writer};

/// How long a refresher that ended stays down, so that one that always ends does not spin.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Starts, stops and restarts refreshers.
#[derive(Debug)]
pub struct Fleet<I> {
    around: Arc<Surroundings<I>>,
    tasks: JoinSet<()>,
    running: HashMap<RoleName, AbortHandle>,
    names: HashMap<Id, RoleName>,
}

impl<I: Issuer> Fleet<I> {
    /// No refreshers yet; the queue begins to give turns.
    pub fn new(around: Arc<Surroundings<I>>) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(around.queue.clone().run());
        Self {
            around,
            tasks,
            running: HashMap::new(),
            names: HashMap::new(),
        }
    }

    /// What the refreshers share.
    pub fn surroundings(&self) -> &Arc<Surroundings<I>> {
        &self.around
    }

    /// From now on new and restarted refreshers share this. Those that run go on as they are until
    /// [`Fleet::start`] replaces them.
    pub fn surround(&mut self, around: Surroundings<I>) {
        self.around = Arc::new(around);
    }

    /// Starts the refresher of a slot, in place of the one that this role had.
    pub fn start(&mut self, writer: Writer) {
        self.start_after(writer, Duration::ZERO);
    }

    /// Stops the refresher of a role. What it has published stays in its slot.
    pub fn stop(&mut self, role: &RoleName) {
        if let Some(task) = self.running.remove(role) {
            task.abort();
            self.names.remove(&task.id());
        }
    }

    /// Waits until a refresher ends by itself, and restarts it. Cancel-safe.
    pub async fn mend(&mut self, slots: &Slots) {
        loop {
            let Some(ended) = self.tasks.join_next_with_id().await else {
                return std::future::pending().await;
            };
            let (id, why) = match ended {
                Ok((id, ())) => (id, "it returned"),
                Err(error) if error.is_panic() => (error.id(), "it panicked"),
                Err(error) => (error.id(), "it was cancelled"),
            };
            let Some(name) = self.names.remove(&id) else {
                // Stopped on purpose, or the queue itself.
                if why != "it was cancelled" {
                    tracing::error!(why, "the queue to STS ended; starting it again");
                    self.around.metrics.refresher_restarted();
                    self.tasks.spawn(self.around.queue.clone().run());
                }
                continue;
            };
            tracing::error!(
                role = name.as_str(),
                why,
                "a refresher ended; starting it again with its credentials as they were"
            );
            self.around.metrics.refresher_restarted();
            if let Some(slot) = slots.find(name.as_str()) {
                self.start_after(Slot::writer_after_death(&slot), RESTART_DELAY);
            }
        }
    }

    fn start_after(&mut self, writer: Writer, delay: Duration) {
        let name = writer.slot().role.name.clone();
        self.stop(&name);
        let around = self.around.clone();
        let task = self.tasks.spawn(async move {
            tokio::time::sleep(delay).await;
            refresh(writer, around).await;
        });
        self.names.insert(task.id(), name.clone());
        self.running.insert(name, task);
    }
}
