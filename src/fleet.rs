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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use aws_smithy_async::time::SharedTimeSource;

    use super::*;
    use crate::budget::Limits;
    use crate::budget::queue::Queue;
    use crate::issuer::{Class, IssueError};
    use crate::lifecycle::{Phase, RoleState};
    use crate::metrics::{Ledger, Metrics};
    use crate::refresher::Progress;
    use crate::role::Role;
    use crate::simulated::{Scripted, Wall, config, error};
    use crate::slots::Table;

    const HOUR: u64 = 3600;
    const LIMITS: Limits = Limits {
        max_in_flight: 8,
        max_requests_per_second: 10,
    };

    /// A fleet in simulated time.
    struct World {
        wall: Wall,
        clock: SharedTimeSource,
        slots: Arc<Slots>,
        issuer: Arc<Scripted>,
        fleet: Fleet<Arc<Scripted>>,
    }

    impl World {
        fn new(
            names: &[&str],
            duration: u32,
            script: impl Fn(&Role, u64) -> Result<Duration, IssueError> + Send + Sync + 'static,
        ) -> Self {
            let wall = Wall::new();
            let clock = wall.shared();
            let issuer = Arc::new(Scripted::new(
                clock.clone(),
                Duration::from_millis(50),
                script,
            ));
            let around = Surroundings {
                issuer: issuer.clone(),
                attempt_deadline: Duration::from_secs(16),
                queue: Queue::new(LIMITS),
                clock: clock.clone(),
                metrics: Arc::new(Metrics::new().unwrap()),
                progress: Arc::new(Progress::default()),
            };
            let slots = Arc::new(Slots::default());
            let mut fleet = Fleet::new(Arc::new(around));
            let (mut table, ledger) = (Table::default(), Ledger::default());
            for role in config(names, duration, "").roles.into_values() {
                let (slot, writer) = Slot::new(
                    role.clone(),
                    RoleState::Pending,
                    ledger.of(role.name.as_str()),
                    false,
                );
                table.slots.insert(role.name.clone(), slot);
                fleet.start(writer);
            }
            slots.publish(table);
            Self {
                wall,
                clock,
                slots,
                issuer,
                fleet,
            }
        }

        /// Lets simulated time pass, and mends what ends.
        async fn pass(&mut self, seconds: u64) {
            let _ =
                tokio::time::timeout(Duration::from_secs(seconds), self.fleet.mend(&self.slots))
                    .await;
        }

        fn phase(&self, role: &str) -> Phase {
            self.slots
                .find(role)
                .unwrap()
                .state()
                .phase(self.clock.now())
        }

        fn seconds_left(&self, role: &str) -> u64 {
            let state = self.slots.find(role).unwrap();
            let state = state.state();
            let end = state.credentials().unwrap().expires_at();
            end.duration_since(self.clock.now())
                .unwrap_or_default()
                .as_secs()
        }

        fn calls(&self) -> usize {
            self.issuer.calls.lock().unwrap().len()
        }
    }

    fn hourly(_: &Role, _: u64) -> Result<Duration, IssueError> {
        Ok(Duration::from_secs(HOUR))
    }

    #[tokio::test(start_paused = true)]
    async fn three_days_pass_without_a_client_ever_seeing_less_than_twenty_minutes() {
        let mut world = World::new(&["a", "b", "c"], 3600, hourly);
        world.pass(5).await;
        for _ in 0..3 * 24 * 60 {
            world.pass(60).await;
            for role in ["a", "b", "c"] {
                assert!(world.seconds_left(role) >= 1200, "{role}");
            }
        }
        let ideal = 3 * 24 * 2 * 3;
        assert!(
            (ideal - 60..=ideal + 60).contains(&world.calls()),
            "{} calls",
            world.calls()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_shorter_than_what_is_in_hand_is_seen_by_nobody() {
        // From just before the refresh point, for 25 minutes.
        let outage = 1500..3000;
        let mut world = World::new(&["a"], 3600, move |_, now| {
            if outage.contains(&now) {
                Err(error(Class::Network))
            } else {
                Ok(Duration::from_secs(HOUR))
            }
        });
        world.pass(5).await;
        for _ in 0..6 * 60 {
            world.pass(60).await;
            assert!(
                matches!(world.phase("a"), Phase::Fresh | Phase::Stale),
                "{:?}",
                world.phase("a")
            );
        }
        assert_eq!(world.phase("a"), Phase::Fresh);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_that_outlasts_them_ends_with_the_first_answer() {
        let mut world = World::new(&["a"], 3600, |_, now| {
            if (1000..5 * HOUR).contains(&now) {
                Err(error(Class::Network))
            } else {
                Ok(Duration::from_secs(HOUR))
            }
        });
        world.pass(4 * HOUR).await;
        assert_eq!(world.phase("a"), Phase::Expired);
        world.pass(HOUR + 35).await;
        assert_eq!(world.phase("a"), Phase::Fresh);
    }

    #[tokio::test(start_paused = true)]
    async fn one_role_that_hangs_delays_no_other() {
        let wall = Arc::new(AtomicBool::new(true));
        let hangs = wall.clone();
        let mut world = World::new(&["stuck", "a", "b"], 3600, move |role, _| {
            if role.name.as_str() == "stuck" && hangs.load(Ordering::Relaxed) {
                return Err(error(Class::Network));
            }
            Ok(Duration::from_secs(HOUR))
        });
        world.pass(3 * HOUR).await;
        assert_eq!(
            (world.phase("stuck"), world.phase("a"), world.phase("b")),
            (Phase::Failed, Phase::Fresh, Phase::Fresh)
        );
        wall.store(false, Ordering::Relaxed);
        world.pass(35).await;
        assert_eq!(world.phase("stuck"), Phase::Fresh);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_role_pauses_the_host_and_is_not_hammered() {
        let mut world = World::new(&["a", "b", "c", "d"], 3600, |_, now| {
            if now < 600 {
                Err(error(Class::Throttled))
            } else {
                Ok(Duration::from_secs(HOUR))
            }
        });
        world.pass(600).await;
        let calls = world.calls();
        assert!(calls < 40, "{calls} calls into a throttle");
        world.pass(150).await;
        for role in ["a", "b", "c", "d"] {
            assert_eq!(world.phase(role), Phase::Fresh, "{role}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresher_that_panics_is_restarted_with_its_credentials_as_they_were() {
        let mut world = World::new(&["a"], 3600, |_, now| {
            assert!(
                !(1000..2400).contains(&now),
                "a bug in the refresher, as scripted"
            );
            Ok(Duration::from_secs(HOUR))
        });
        world.pass(5).await;
        let before = world.seconds_left("a");
        assert!(before > 3500);
        for _ in 0..60 {
            world.pass(60).await;
            assert!(matches!(world.phase("a"), Phase::Fresh | Phase::Stale));
        }
        assert_eq!(world.phase("a"), Phase::Fresh);
        assert!(world.fleet.surroundings().metrics.refresher_restarts() > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspend_longer_than_the_session_costs_one_nap() {
        let mut world = World::new(&["a"], 3600, hourly);
        world.pass(60).await;
        // Monotonic time stands still in a suspend; the wall does not.
        world.wall.step(8 * 3600);
        assert_eq!(world.phase("a"), Phase::Expired);
        world.pass(31).await;
        assert_eq!(world.phase("a"), Phase::Fresh);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_set_back_costs_one_nap_too() {
        let mut world = World::new(&["a"], 3600, hourly);
        world.pass(60).await;
        world.wall.step(-30 * 86_400);
        let calls = world.calls();
        world.pass(31).await;
        assert_eq!(world.calls(), calls + 1);
        assert!(world.seconds_left("a") <= HOUR);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_roles_start_within_the_budget() {
        let names: Vec<String> = (0..1000)
            .map(|number| format!("role-{number:04}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut world = World::new(&names, 3600, hourly);
        world.pass(100).await;
        assert_eq!(world.calls(), 1000);
        let calls = world.issuer.calls.lock().unwrap();
        for second in 0..100 {
            let started = calls.iter().filter(|(_, at)| *at == second).count();
            assert!(started <= 21, "{started} calls in second {second}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_for_comes_first() {
        let names: Vec<String> = (0..200).map(|number| format!("role-{number:04}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut world = World::new(&names, 3600, hourly);
        world.slots.find("role-0199").unwrap().ask();
        world.pass(3).await;
        assert_eq!(world.phase("role-0199"), Phase::Fresh);
        assert!(world.calls() < 60);
    }
}
