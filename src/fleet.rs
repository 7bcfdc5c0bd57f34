//! The running refreshers, one per role.
//!
//! A refresher that ends or is stuck is a bug, and an outage in forty minutes: it is noticed, logged, counted and
//! replaced, with its slot as it was.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use crate::issuer::Issuer;
use crate::lifecycle::RoleState;
use crate::metrics::CounterRegistry;
use crate::refresher::{Surroundings, refresh};
use crate::reload::{self, Plan};
use crate::role::{OnDenied, Role, RoleName};
use crate::slots::{Slot, Slots, Table, Writer};
use crate::snapshot::RestoredRole;
use crate::token_digest::Tokens;

/// How long a refresher that ended stays down, so that one that always ends does not spin.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// How often the fleet looks at its refreshers.
const INSPECT_EVERY: Duration = Duration::from_secs(30);
/// A refresher turns at least every nap of 30 s, and an attempt ends within 71 s (the longest `attempt_timeout`, and a
/// source that is slow to load): one that has not turned for this long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(180);

/// Starts, stops and restarts refreshers.
#[derive(Debug)]
pub struct Fleet<I> {
    around: Arc<Surroundings<I>>,
    slots: Arc<Slots>,
    ledger: CounterRegistry,
    tasks: JoinSet<()>,
    running: HashMap<RoleName, AbortHandle>,
    names: HashMap<Id, RoleName>,
    inspect_at: Instant,
    /// What an earlier process left, until it is taken.
    inherited: BTreeMap<RoleName, RestoredRole>,
    /// What roles had in hand when a reload removed them, until it ends: a file that was read half written comes back whole.
    departed: BTreeMap<RoleName, (Arc<Role>, RestoredRole)>,
}

impl<I: Issuer> Fleet<I> {
    /// No refreshers yet; the queue begins to give turns. The fleet is what publishes into `slots`.
    pub fn new(around: Surroundings<I>, slots: Arc<Slots>) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(around.queue.clone().run());
        Self {
            around: Arc::new(around),
            slots,
            ledger: CounterRegistry::default(),
            tasks,
            running: HashMap::new(),
            names: HashMap::new(),
            inspect_at: Instant::now() + INSPECT_EVERY,
            inherited: BTreeMap::new(),
            departed: BTreeMap::new(),
        }
    }

    /// Roles that begin next go on from here.
    pub fn inherit(&mut self, inherited: BTreeMap<RoleName, RestoredRole>) {
        self.inherited = inherited;
    }

    /// What the refreshers share.
    pub fn surroundings(&self) -> &Arc<Surroundings<I>> {
        &self.around
    }

    /// Goes over to these roles and tokens, in one swap. Roles that ask for the same keep their credentials and their
    /// schedule; `around`, if given, replaces what all refreshers share.
    pub fn reshape(
        &mut self,
        roles: &BTreeMap<RoleName, Arc<Role>>,
        tokens: &Tokens,
        around: Option<Surroundings<I>>,
    ) -> Plan {
        let everyone = around.is_some();
        if let Some(around) = around {
            self.around = Arc::new(around);
        }
        let now = self.around.clock.now();
        self.departed.retain(|_, (_, left)| left.state.vend(now).is_ok());
        let old = self.slots.load();
        let plan = reload::plan(
            |name| old.slots.get(name).map(|slot| slot.role.as_ref()),
            old.slots.keys(),
            roles,
        );
        let mut table = Table::default();
        let mut writers = Vec::new();
        for (name, role) in roles {
            let before = old.slots.get(name);
            let (slot, writer) = match before.filter(|slot| slot.role.same_request(role)) {
                Some(slot) if slot.role == *role && !everyone => (slot.clone(), None),
                Some(slot) => some_writer(successor(slot, role)),
                None => {
                    let counts = self.ledger.of(name.as_str());
                    let departed = self.departed.remove(name);
                    let departed = departed.filter(|(before, _)| before.same_request(role));
                    let back = departed.map(|(_, inherited)| inherited);
                    let (state, asked) = match self.inherited.remove(name).or(back) {
                        Some(RestoredRole { state, used }) => (state.presented_for(role), used),
                        None => (RoleState::Pending, false),
                    };
                    some_writer(Slot::new(role.clone(), state, counts, asked))
                }
            };
            table.slots.insert(name.clone(), slot);
            writers.extend(writer);
        }
        self.departed.extend(plan.stop.iter().filter_map(|name| left(old.slots.get(name)?)));
        drop(old);
        table.open_with(tokens);
        table.tie_chains();
        self.slots.publish(table);
        for name in &plan.stop {
            self.stop(name);
        }
        // In random order: hosts with the same file must not ask for the same roles at the same instant.
        fastrand::shuffle(&mut writers);
        for writer in writers {
            self.start_after(writer, Duration::ZERO);
        }
        self.inherited.clear();
        // Somebody has just mended something: roles that fail try again at once. After a restart only those that waited
        // for a person, since the rest may have failed for all of a fleet that is upgraded.
        let began: HashSet<&RoleName> = plan.start.iter().collect();
        for (name, slot) in &self.slots.load().slots {
            let mended = slot.state().failures().is_some_and(|failures| {
                !began.contains(name) || failures.error.class.needs_a_person()
            });
            if mended {
                slot.hurry();
            }
        }
        plan
    }

    /// Waits until a refresher ends by itself or is stuck, and restarts it; for ever. Cancel-safe.
    pub async fn mend(&mut self) {
        loop {
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => match ended {
                    Ok((id, ())) => self.replace(id, "it returned"),
                    Err(error) if error.is_panic() => self.replace(error.id(), "it panicked"),
                    // Stopped on purpose.
                    Err(_) => {}
                },
                () = tokio::time::sleep_until(self.inspect_at) => {
                    self.inspect_at = Instant::now() + INSPECT_EVERY;
                    self.inspect();
                }
            }
        }
    }

    fn replace(&mut self, id: Id, why: &str) {
        self.around.metrics.refresher_restarted();
        match self.names.remove(&id) {
            Some(name) => self.revive(&name, why),
            None => {
                tracing::error!(why, "the queue to STS ended; starting it again");
                self.tasks.spawn(self.around.queue.clone().run());
            }
        }
    }

    fn inspect(&mut self) {
        let now = self.around.progress.now();
        let table = self.slots.load();
        let is_stuck = |slot: &&Arc<Slot>| now.saturating_sub(slot.last_turn()) > STUCK_AFTER;
        for slot in table.slots.values().filter(is_stuck) {
            self.around.metrics.refresher_restarted();
            self.revive(&slot.role.name, "it was stuck");
        }
    }

    fn revive(&mut self, name: &RoleName, why: &str) {
        tracing::error!(
            role = name.as_str(),
            why,
            "a refresher had to be replaced; its credentials are as they were"
        );
        if let Some(slot) = self.slots.find(name.as_str()) {
            slot.turn(self.around.progress.now());
            self.start_after(Slot::writer_after_death(&slot), RESTART_DELAY);
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
        writer.slot().turn(self.around.progress.now());
        let around = self.around.clone();
        let task = self.tasks.spawn(async move {
            tokio::time::sleep(delay).await;
            refresh(writer, around).await;
        });
        self.names.insert(task.id(), name.clone());
        self.running.insert(name, task);
    }
}

/// What a role that is removed has in hand. What its owner wants dropped when in doubt is not kept.
fn left(slot: &Arc<Slot>) -> Option<(RoleName, (Arc<Role>, RestoredRole))> {
    let left = RestoredRole { state: RoleState::clone(&slot.state()), used: slot.was_asked() };
    let kept = slot.role.terms.on_denied == OnDenied::Keep;
    kept.then(|| (slot.role.name.clone(), (slot.role.clone(), left)))
}

/// A slot that goes on where `before` is, under other settings.
fn successor(before: &Slot, role: &Arc<Role>) -> (Arc<Slot>, Writer) {
    let state = RoleState::clone(&before.state()).presented_for(role);
    let (slot, writer) = Slot::new(role.clone(), state, before.counts.clone(), before.was_asked());
    // What somebody asked for is not forgotten.
    if before.is_hurried() {
        slot.hurry();
    }
    (slot, writer)
}

fn some_writer((slot, writer): (Arc<Slot>, Writer)) -> (Arc<Slot>, Option<Writer>) {
    (slot, Some(writer))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use aws_smithy_async::time::SharedTimeSource;

    use super::*;
    use crate::budget::Limits;
    use crate::issuer::{Class, IssueError};
    use crate::lifecycle::Phase;
    use crate::metrics::Metrics;
    use crate::refresher::Progress;
    use crate::simulated::{Scripted, Wall, config, error};
    use crate::snapshot::Snapshot;
    use crate::sts_queue::Queue;

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
            let roles = config(names, duration, "").roles;
            Self::with(wall, issuer, &roles, BTreeMap::new())
        }

        /// What a later process makes of what this one has in hand.
        fn restarted(self, names: &[&str], duration: u32) -> Self {
            let mut snapshot = Snapshot::new(1, None, Tokens::default());
            for slot in self.slots.load().slots.values() {
                snapshot.add(&slot.role, &slot.state(), slot.was_asked());
            }
            let kept = Snapshot::decode(&snapshot.encode().unwrap()).unwrap();
            let roles = config(names, duration, "").roles;
            let now = self.clock.now();
            let inherited = roles
                .iter()
                .filter_map(|(name, role)| Some((name.clone(), kept.restore(role, now)?.ok()?)))
                .collect();
            Self::with(self.wall, self.issuer, &roles, inherited)
        }

        fn with(
            wall: Wall,
            issuer: Arc<Scripted>,
            roles: &BTreeMap<RoleName, Arc<Role>>,
            inherited: BTreeMap<RoleName, RestoredRole>,
        ) -> Self {
            let clock = wall.shared();
            let around = Surroundings {
                issuer: issuer.clone(),
                attempt_deadline: Duration::from_secs(16),
                queue: Queue::new(LIMITS),
                clock: clock.clone(),
                metrics: Arc::new(Metrics::new().unwrap()),
                progress: Arc::new(Progress::default()),
            };
            let slots = Arc::new(Slots::default());
            let mut fleet = Fleet::new(around, slots.clone());
            fleet.inherit(inherited);
            fleet.reshape(roles, &Tokens::default(), None);
            Self { wall, clock, slots, issuer, fleet }
        }

        /// Lets simulated time pass, and mends what ends.
        async fn pass(&mut self, seconds: u64) {
            let _ = tokio::time::timeout(Duration::from_secs(seconds), self.fleet.mend()).await;
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
        let roles = config(&names, 3600, "min_remaining = \"45m\"").roles;
        world.fleet.reshape(&roles, &Tokens::default(), None);
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
        world.slots.find("a").unwrap().hurry();
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
        assert!(world.fleet.surroundings().metrics.refresher_restarts() > 0);
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
        let _ = tokio::time::timeout(Duration::from_millis(900), world.fleet.mend()).await;
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
                world.slots.find("a").unwrap().hurry();
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
        let reshape = |world: &mut World, names: &[&str], more: &str| {
            let roles = config(names, 3600, more).roles;
            world.fleet.reshape(&roles, &Tokens::default(), None);
        };
        reshape(&mut world, &["a"], "");
        assert!(world.slots.find("b").is_none());
        world.pass(60).await;
        reshape(&mut world, &["a", "b"], "");
        assert_eq!(key(&world), before);
        assert_eq!(world.calls(), calls);
        // Not under another request, and not after its end.
        reshape(&mut world, &["a"], "");
        reshape(&mut world, &["a", "b"], "external_id = \"other\"");
        assert_eq!(key(&world), None);
        world.pass(60).await;
        reshape(&mut world, &["a"], "external_id = \"other\"");
        world.pass(2 * HOUR).await;
        reshape(&mut world, &["a", "b"], "external_id = \"other\"");
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
        world.slots.find("role-0199").unwrap().ask();
        world.pass(3).await;
        assert_eq!(world.phase("role-0199"), Phase::Fresh);
        assert!(world.calls() < 60);
    }
}
