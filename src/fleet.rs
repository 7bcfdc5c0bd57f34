//! The running refreshers, one per role.
//!
//! A refresher that returns, panics or is stuck is a bug, and an outage in forty minutes. The fleet
//! notices, logs and counts it, and starts another on the same slot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use crate::issuer::Issuer;
use crate::refresher::{RefreshContext, refresh};
use crate::slots::{RoleCounters, Slot, Slots, Table, Writer};
use roletap_core::config::Config;
use roletap_core::lifecycle::RoleState;
use roletap_core::reload::{self, Change, Summary};
use roletap_core::role::{Base, OnDenied, Role, RoleName, SourceName};
use roletap_core::snapshot::RestoredRole;
use roletap_core::token_digest::Tokens;

/// A refresher that always ends is restarted no more often than this.
const RESTART_DELAY: Duration = Duration::from_secs(1);
const INSPECTION_INTERVAL: Duration = Duration::from_secs(30);
/// A refresher that has not ticked for this long is stuck. It ticks at least every nap of 30 s, and
/// an attempt ends within 71 s: the longest `attempt_timeout`, and a source that loads slowly.
const STUCK_AFTER: Duration = Duration::from_secs(180);

/// Starts, stops and supervises refreshers.
#[derive(Debug)]
pub struct Fleet<I> {
    ctx: Arc<RefreshContext<I>>,
    slots: Arc<Slots>,
    /// They live as long as the process, so a reload takes nothing back.
    counters: BTreeMap<RoleName, Arc<RoleCounters>>,
    tasks: JoinSet<()>,
    running: HashMap<RoleName, AbortHandle>,
    names: HashMap<Id, RoleName>,
    inspect_at: Instant,
    /// State of an earlier process, until the first [`Fleet::apply`].
    inherited: BTreeMap<RoleName, RestoredRole>,
    /// State of roles that a reload removed, until it expires: a file that was read half written
    /// comes back whole.
    recently_removed: BTreeMap<RoleName, (Arc<Role>, RestoredRole)>,
}

impl<I: Issuer> Fleet<I> {
    /// Makes a fleet without refreshers that publishes into `slots`, and starts the queue to STS.
    pub fn new(ctx: RefreshContext<I>, slots: Arc<Slots>) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(ctx.queue.clone().run());
        Self {
            ctx: Arc::new(ctx),
            slots,
            counters: BTreeMap::new(),
            tasks,
            running: HashMap::new(),
            names: HashMap::new(),
            inspect_at: Instant::now() + INSPECTION_INTERVAL,
            inherited: BTreeMap::new(),
            recently_removed: BTreeMap::new(),
        }
    }

    /// Has the roles of the first configuration go on from the state of an earlier process.
    pub fn inherit(&mut self, inherited: BTreeMap<RoleName, RestoredRole>) {
        self.inherited = inherited;
    }

    /// Returns what the refreshers share.
    pub fn context(&self) -> &Arc<RefreshContext<I>> {
        &self.ctx
    }

    /// Changes to this configuration, in one store of the table. Roles with the same request to STS
    /// keep their credentials and their schedule. A new `ctx` replaces what all refreshers share.
    pub fn apply(
        &mut self,
        config: &Config,
        tokens: &Tokens,
        ctx: Option<RefreshContext<I>>,
    ) -> Summary {
        let new_context = ctx.is_some();
        if let Some(ctx) = ctx {
            self.ctx = Arc::new(ctx);
        }
        let now = self.ctx.clock.now();
        self.recently_removed.retain(|_, (_, removed)| removed.state.vend(now).is_ok());
        let old = self.slots.load();
        let plan = reload::plan(&old.slots, |slot| &slot.role, &config.roles);
        let mut slots = BTreeMap::new();
        let mut writers = Vec::new();
        for (role, change) in &plan.changes {
            let (slot, writer) = match change {
                Change::Keep(slot) if !new_context => (Arc::clone(slot), None),
                Change::Keep(slot) | Change::Amend(slot) => with_writer(successor(slot, role)),
                Change::Restart | Change::Start => with_writer(self.first_slot(role)),
            };
            if tries_at_once(&slot, change) {
                slot.request_refresh();
            }
            slots.insert(role.name.clone(), slot);
            writers.extend(writer);
        }
        self.inherited.clear();
        self.recently_removed.extend(plan.stop.iter().filter_map(|slot| capture(slot)));
        self.slots.publish(Table::new(slots, config, tokens));
        for slot in &plan.stop {
            self.stop(&slot.role.name);
        }
        // In random order: hosts with the same file must not ask for the same roles at the same
        // instant.
        fastrand::shuffle(&mut writers);
        for writer in writers {
            self.start_after(writer, Duration::ZERO);
        }
        plan.summary()
    }

    /// Makes the slot of a role that does not run. It goes on from what an earlier process, or an
    /// earlier configuration, had in hand for the same request.
    fn first_slot(&mut self, role: &Arc<Role>) -> (Arc<Slot>, Writer) {
        let removed = self.recently_removed.remove(&role.name);
        let removed = removed.filter(|(before, _)| before.same_request(role));
        let back = removed.map(|(_, inherited)| inherited);
        let (state, used) = match self.inherited.remove(&role.name).or(back) {
            Some(RestoredRole { state, used }) => (state.presented_for(role), used),
            None => (RoleState::Pending, false),
        };
        let counts = self.counters.entry(role.name.clone()).or_default().clone();
        Slot::new(role.clone(), state, counts, used)
    }

    /// Restarts refreshers that end by themselves or are stuck, for ever. Cancel-safe.
    pub async fn supervise(&mut self) {
        loop {
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => match ended {
                    Ok((id, ())) => self.task_ended(id, "it returned"),
                    Err(error) if error.is_panic() => self.task_ended(error.id(), "it panicked"),
                    // Stopped on purpose.
                    Err(_) => {}
                },
                () = tokio::time::sleep_until(self.inspect_at) => {
                    self.inspect_at = Instant::now() + INSPECTION_INTERVAL;
                    self.restart_stuck();
                }
            }
        }
    }

    fn task_ended(&mut self, id: Id, why: &str) {
        match self.names.remove(&id) {
            Some(name) => self.restart(&name, why),
            None => {
                self.ctx.metrics.refresher_restarted();
                tracing::error!(why, "the queue to STS ended; starting it again");
                self.tasks.spawn(self.ctx.queue.clone().run());
            }
        }
    }

    fn restart_stuck(&mut self) {
        let now = self.ctx.heartbeat.now();
        let table = self.slots.load();
        let is_stuck = |slot: &&Arc<Slot>| now.saturating_sub(slot.last_tick()) > STUCK_AFTER;
        for slot in table.slots.values().filter(is_stuck) {
            self.restart(&slot.role.name, "it was stuck");
        }
    }

    fn restart(&mut self, name: &RoleName, why: &str) {
        self.ctx.metrics.refresher_restarted();
        tracing::error!(
            role = name.as_str(),
            why,
            "a refresher had to be restarted; the role keeps its credentials"
        );
        if let Some(slot) = self.slots.find(name.as_str()) {
            self.start_after(Slot::replace_writer(&slot), RESTART_DELAY);
        }
    }

    fn stop(&mut self, role: &RoleName) {
        if let Some(task) = self.running.remove(role) {
            task.abort();
            self.names.remove(&task.id());
        }
    }

    /// Starts the refresher of a slot, in place of the one that this role had.
    fn start_after(&mut self, writer: Writer, delay: Duration) {
        let name = writer.slot().role.name.clone();
        self.stop(&name);
        writer.slot().record_tick(self.ctx.heartbeat.now());
        let ctx = self.ctx.clone();
        let task = self.tasks.spawn(async move {
            tokio::time::sleep(delay).await;
            refresh(writer, ctx).await;
        });
        self.names.insert(task.id(), name.clone());
        self.running.insert(name, task);
    }
}

/// Makes a function that has the roles of a source retry at once, where they failed because of the
/// source.
pub fn retry_roles_of_source(slots: Arc<Slots>) -> impl Fn(&SourceName) {
    move |source| {
        for slot in slots.load().slots.values().filter(|slot| slot.lacks_source()) {
            if matches!(&slot.role.request.base, Base::Source(base) if base.name == *source) {
                slot.request_refresh();
            }
        }
    }
}

/// Returns true for a failing role that a reload makes try again: somebody has just changed
/// something. After a restart only those try that waited for a person, since the rest may fail for
/// all of a fleet that is upgraded.
fn tries_at_once<S>(slot: &Slot, change: &Change<'_, S>) -> bool {
    slot.state().failures().is_some_and(|failures| match change {
        Change::Start => failures.error.class.needs_a_person(),
        Change::Keep(_) | Change::Amend(_) | Change::Restart => true,
    })
}

/// Returns the state of a role that is removed, unless its owner wants credentials dropped when in
/// doubt.
fn capture(slot: &Arc<Slot>) -> Option<(RoleName, (Arc<Role>, RestoredRole))> {
    let state = RestoredRole { state: RoleState::clone(&slot.state()), used: slot.was_used() };
    let keeps = slot.role.terms.on_denied == OnDenied::Keep;
    keeps.then(|| (slot.role.name.clone(), (slot.role.clone(), state)))
}

/// Makes a slot that goes on from the state of `before`, under other settings.
fn successor(before: &Slot, role: &Arc<Role>) -> (Arc<Slot>, Writer) {
    let state = RoleState::clone(&before.state()).presented_for(role);
    let (slot, writer) = Slot::new(role.clone(), state, before.counts.clone(), before.was_used());
    if before.refresh_requested() {
        slot.request_refresh();
    }
    (slot, writer)
}

fn with_writer((slot, writer): (Arc<Slot>, Writer)) -> (Arc<Slot>, Option<Writer>) {
    (slot, Some(writer))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use aws_smithy_async::time::SharedTimeSource;

    use super::*;
    use crate::metrics::Metrics;
    use crate::simulated::{Scripted, Wall, config, error};
    use crate::sts_queue::Queue;
    use roletap_core::budget::Limits;
    use roletap_core::failure::{Class, IssueError};
    use roletap_core::lifecycle::Phase;
    use roletap_core::snapshot::Snapshot;

    const HOUR: u64 = 3600;
    const LIMITS: Limits = Limits { max_in_flight: 8, max_requests_per_second: 10 };

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
            let issuer = Arc::new(Scripted::new(clock.clone(), Duration::from_millis(50), script));
            let config = config(names, duration, "");
            Self::with(wall, issuer, &config, BTreeMap::new())
        }

        /// What a later process makes of what this one has in hand.
        fn restarted(self, names: &[&str], duration: u32) -> Self {
            let mut snapshot = Snapshot::new(1, None, Tokens::default());
            for slot in self.slots.load().slots.values() {
                snapshot.add(&slot.role, &slot.state(), slot.was_used());
            }
            let kept = Snapshot::decode(&snapshot.encode().unwrap()).unwrap();
            let config = config(names, duration, "");
            let now = self.clock.now();
            let inherited = config
                .roles
                .iter()
                .filter_map(|(name, role)| Some((name.clone(), kept.restore(role, now)?.ok()?)))
                .collect();
            Self::with(self.wall, self.issuer, &config, inherited)
        }

        fn with(
            wall: Wall,
            issuer: Arc<Scripted>,
            config: &Config,
            inherited: BTreeMap<RoleName, RestoredRole>,
        ) -> Self {
            let clock = wall.shared();
            let ctx = RefreshContext {
                issuer: issuer.clone(),
                attempt_deadline: Duration::from_secs(16),
                queue: Queue::new(LIMITS),
                clock: clock.clone(),
                metrics: Arc::new(Metrics::new().unwrap()),
                heartbeat: Arc::default(),
            };
            let slots = Arc::new(Slots::default());
            let mut fleet = Fleet::new(ctx, slots.clone());
            fleet.inherit(inherited);
            fleet.apply(config, &Tokens::default(), None);
            Self { wall, clock, slots, issuer, fleet }
        }

        /// Lets simulated time pass, and mends what ends.
        async fn pass(&mut self, seconds: u64) {
            let _ =
                tokio::time::timeout(Duration::from_secs(seconds), self.fleet.supervise()).await;
        }

        fn phase(&self, role: &str) -> Phase {
            self.slots.find(role).unwrap().state().phase(self.clock.now())
        }

        fn seconds_left(&self, role: &str) -> u64 {
            let state = self.slots.find(role).unwrap();
            let state = state.state();
            let end = state.credentials().unwrap().expires_at();
            end.duration_since(self.clock.now()).unwrap_or_default().as_secs()
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
        assert!((ideal - 60..=ideal + 60).contains(&world.calls()), "{} calls", world.calls());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_with_more_min_remaining_holds_at_once_for_all_that_is_vended() {
        let names = ["a", "b", "c"];
        let mut world = World::new(&names, 3600, hourly);
        world.pass(5 * HOUR).await;
        let before = world.calls();
        let config = config(&names, 3600, "min_remaining = \"45m\"");
        world.fleet.apply(&config, &Tokens::default(), None);
        assert_eq!(world.calls(), before, "nothing is dropped for it");
        world.pass(5).await;
        for _ in 0..24 * 60 {
            for role in names {
                let left = world.seconds_left(role);
                assert!(left >= 2700, "{role} has {left} s left");
            }
            world.pass(60).await;
        }
        let ideal = 3 * 24 * 3600 / 660;
        let calls = world.calls() - before;
        assert!((ideal - 40..=ideal + 40).contains(&calls), "{calls} calls");
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
    async fn one_role_that_fails_delays_no_other() {
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
    async fn an_outage_costs_one_probe_per_host_and_ends_for_all_at_once() {
        let names: Vec<String> = (0..100).map(|number| format!("role-{number:04}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (begin, end) = (60, 60 + 6 * HOUR);
        let mut world = World::new(&names, 3600, move |_, now| {
            if (begin..end).contains(&now) {
                Err(error(Class::Network))
            } else {
                Ok(Duration::from_secs(HOUR))
            }
        });
        world.pass(begin + 2 * HOUR).await;
        let calls = world.calls();
        world.pass(4 * HOUR).await;
        let probes = world.calls() - calls;
        // A hundred roles by themselves would call 48,000 times.
        assert!((480..2_000).contains(&probes), "{probes} calls in four hours");
        world.pass(75).await;
        for name in names {
            assert_eq!(world.phase(name), Phase::Fresh, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_by_itself_waits_for_no_probe_but_its_own() {
        let mut world = World::new(&["a"], 3600, |_, _| Err(error(Class::Network)));
        world.pass(4 * HOUR).await;
        // Every 15 s on average. Two waits drawn apart, of which the longer counts, would make it every 20 s: 720 calls.
        assert!((840..1_100).contains(&world.calls()), "{}", world.calls());
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_somebody_wants_now_waits_for_no_probe() {
        let mut world = World::new(&["a", "b"], 3600, |_, _| Err(error(Class::Network)));
        world.pass(600).await;
        let calls = world.calls();
        world.slots.find("a").unwrap().request_refresh();
        world.pass(0).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert!(world.calls() > calls);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_role_pauses_the_host_and_is_not_hammered() {
        let mut world = World::new(&["a", "b", "c", "d"], 3600, |_, now| {
            if now < 600 { Err(error(Class::Throttled)) } else { Ok(Duration::from_secs(HOUR)) }
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
            assert!(!(300..2900).contains(&now), "a bug in the refresher, as scripted");
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
        assert!(world.fleet.context().metrics.refresher_restarts() > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn restarts_move_no_call_and_add_none() {
        let names = ["a", "b", "c"];
        let calls = |world: &World| world.issuer.calls.lock().unwrap().clone();
        fastrand::seed(7);
        let mut steady = World::new(&names, 3600, hourly);
        steady.pass(60).await;
        let due: Vec<_> = names
            .map(|name| steady.slots.find(name).unwrap())
            .map(|slot| slot.state().next_attempt(steady.clock.now()))
            .into();
        let before = calls(&steady).len();
        let mut world = steady;
        // One every minute, up to the first refresh.
        loop {
            let soonest = due.iter().min().unwrap();
            if *soonest < world.clock.now() + Duration::from_secs(90) {
                break;
            }
            world = world.restarted(&names, 3600);
            for (name, due) in names.iter().zip(&due) {
                let slot = world.slots.find(name).unwrap();
                assert_eq!(slot.state().next_attempt(world.clock.now()), *due);
            }
            world.pass(60).await;
        }
        assert_eq!(calls(&world).len(), before);
        world.pass(HOUR).await;
        for name in names {
            assert_eq!(world.phase(name), Phase::Fresh, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_tries_at_once_only_what_waited_for_a_person() {
        let mut world = World::new(&["waits", "denied"], 3600, |role, now| {
            if now < 60 {
                return Ok(Duration::from_secs(HOUR));
            }
            Err(error(if role.name.as_str() == "denied" { Class::Denied } else { Class::Source }))
        });
        world.pass(60).await;
        // Until both have failed often, and wait for long.
        world.pass(HOUR - 600).await;
        let count = |world: &World, role: &str| {
            let calls = world.issuer.calls.lock().unwrap();
            calls.iter().filter(|(name, _)| name == role).count()
        };
        let due = |world: &World, role: &str| {
            let slot = world.slots.find(role).unwrap();
            slot.state().next_attempt(world.clock.now())
        };
        let waits = due(&world, "waits");
        assert!(waits > world.clock.now() + Duration::from_secs(1));
        let before = (count(&world, "waits"), count(&world, "denied"));
        let mut world = world.restarted(&["waits", "denied"], 3600);
        assert_eq!(due(&world, "waits"), waits);
        let _ = tokio::time::timeout(Duration::from_millis(900), world.fleet.supervise()).await;
        let after = (count(&world, "waits"), count(&world, "denied"));
        assert_eq!(after, (before.0, before.1 + 1));
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
    async fn a_clock_set_back_by_less_than_a_session_costs_one_nap_too() {
        // Fresh, and so old that the step alone tells nothing; failing, with a retry planned in the old time.
        for (age, step, fails_from) in [(1_550, -1_500, u64::MAX), (300, -600, 200)] {
            let mut world = World::new(&["a"], 3600, move |_, now| {
                if now >= fails_from {
                    Err(error(Class::Denied))
                } else {
                    Ok(Duration::from_secs(HOUR))
                }
            });
            world.pass(60).await;
            if fails_from < u64::MAX {
                world.pass(fails_from - 50).await;
                world.slots.find("a").unwrap().request_refresh();
            }
            world.pass(age - 60).await;
            let calls = world.calls();
            world.wall.step(step);
            world.pass(31).await;
            assert!(world.calls() > calls, "{step}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_a_reload_removes_and_the_next_brings_back_has_what_it_had() {
        let mut world = World::new(&["a", "b"], 3600, hourly);
        world.pass(60).await;
        let key = |world: &World| {
            let slot = world.slots.find("b").unwrap();
            let state = slot.state();
            state.credentials().map(|held| held.access_key_id().to_owned())
        };
        let (before, calls) = (key(&world), world.calls());
        let apply = |world: &mut World, names: &[&str], more: &str| {
            let config = config(names, 3600, more);
            world.fleet.apply(&config, &Tokens::default(), None);
        };
        apply(&mut world, &["a"], "");
        assert!(world.slots.find("b").is_none());
        world.pass(60).await;
        apply(&mut world, &["a", "b"], "");
        assert_eq!(key(&world), before);
        assert_eq!(world.calls(), calls);
        // Not under another request, and not after its end.
        apply(&mut world, &["a"], "");
        apply(&mut world, &["a", "b"], "external_id = \"other\"");
        assert_eq!(key(&world), None);
        world.pass(60).await;
        apply(&mut world, &["a"], "external_id = \"other\"");
        world.pass(2 * HOUR).await;
        apply(&mut world, &["a", "b"], "external_id = \"other\"");
        assert_eq!(key(&world), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_roles_start_within_the_budget() {
        let names: Vec<String> = (0..1000).map(|number| format!("role-{number:04}")).collect();
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
        world.slots.find("role-0199").unwrap().mark_used();
        world.pass(3).await;
        assert_eq!(world.phase("role-0199"), Phase::Fresh);
        assert!(world.calls() < 60);
    }
}
