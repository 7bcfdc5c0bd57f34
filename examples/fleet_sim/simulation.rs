//! A fleet of hosts against one STS quota, event by event in virtual time.
//!
//! What decides is the daemon's own code: each host has a real [`Budget`], each of its roles a real [`RoleState`]. What is
//! imitated is the ten lines of shell around them (`refresher.rs` and `budget/queue.rs`): wait until due, wait for a turn,
//! attempt, conclude.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roletap_core::budget::{Answer, Budget, Limits, Need, Turn};
use roletap_core::config::{Config, ConfigFile, FixedHost, Forecast, STS_QUOTA_PER_SECOND};
use roletap_core::credentials::{Credentials, Grant, Secret};
use roletap_core::failure::{Class, IssueError};
use roletap_core::lifecycle::{Jitter, RoleState};
use roletap_core::role::Role;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Nothing happens: credentials of all ages are refreshed.
    Steady,
    /// All hosts start within one second, with empty slots.
    Restart,
    /// Nobody reaches STS for twenty minutes.
    Outage,
}

/// The size of it, and how it ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fleet {
    pub(crate) scenario: Scenario,
    pub(crate) hosts: usize,
    pub(crate) roles: usize,
    /// Calls per second that STS lets in, from all hosts together; also the burst.
    pub(crate) quota: f64,
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    pub(crate) control: Control,
}

/// A policy broken on purpose: what a measurement that cannot fail would not notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// The policy as it is.
    None,
    /// Every draw comes out in the middle: no host differs from any other.
    NoSpread,
    /// A throttled answer is taken for any other failure: no pause.
    NoPause,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) fleet: Fleet,
    /// The rate that `roletap check --hosts N` forecasts.
    pub(crate) forecast: f64,
    /// Per second of virtual time.
    pub(crate) seconds: Vec<Second>,
    /// When the last empty slot was filled.
    pub(crate) all_filled: Option<f64>,
    /// For each role that a workload asked for: from the restart until it had credentials.
    pub(crate) asked_filled: Vec<f64>,
    pub(crate) expired_role_seconds: f64,
    /// The least that was left of any credentials when they were replaced.
    pub(crate) least_left: f64,
    /// When the last refresh that the outage had held up was made, after its end.
    pub(crate) caught_up: Option<f64>,
}

/// Calls by how they ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Second {
    pub(crate) issued: u32,
    pub(crate) throttled: u32,
    pub(crate) unreachable: u32,
}

impl Second {
    /// What STS sees.
    pub(crate) fn arrived(self) -> u32 {
        self.issued + self.throttled
    }
}

/// The start and the end of the total outage.
pub(crate) const OUTAGE: Range<u64> = 600..1800;
const SESSION: u64 = 3600;
const LIMITS: Limits = Limits { max_in_flight: 8, max_requests_per_second: 10 };
/// Some time in 2026; the wall begins here.
const DAWN: u64 = 1_790_000_000;
/// How many roles of a host a workload asks for, in the first minute.
const ASKED_SHARE: f64 = 0.1;

type Micros = u64;
const SECOND: Micros = 1_000_000;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Due(u32, u16),
    Asked(u32, u16),
    Wake(u32),
    /// And when the call got its turn.
    Answered(u32, u16, Reply, Micros),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reply {
    Issued,
    Throttled,
    Unreachable,
}

struct Host {
    budget: Budget,
    roles: Vec<OneRole>,
    waiting: Vec<u16>,
    wake_at: Micros,
}

struct OneRole {
    state: RoleState,
    asked: bool,
    /// When the refresh was planned, however late it comes.
    due_at: Micros,
}

/// The bucket at STS.
struct Quota {
    rate: f64,
    tokens: f64,
    at: Micros,
}

struct World {
    fleet: Fleet,
    role: Arc<Role>,
    hosts: Vec<Host>,
    events: BinaryHeap<Reverse<(Micros, Event)>>,
    quota: Quota,
    random: fastrand::Rng,
    origin: Instant,
    empty: usize,
    measured: Measured,
}

/// Runs it to its end.
pub(crate) fn simulate(fleet: Fleet) -> Measured {
    let config = config(fleet.roles);
    let forecast = Forecast::new(&config, fleet.hosts as u64).calls_per_second;
    let role =
        config.roles.into_values().next().unwrap_or_else(|| unreachable!("at least one role"));
    let mut world = World::new(fleet, role, forecast);
    while let Some(Reverse((now, event))) = world.events.pop() {
        if now >= fleet.seconds * SECOND {
            break;
        }
        world.happen(event, now);
    }
    world.end()
}

fn config(roles: usize) -> Config {
    let mut text = String::from("[sts]\nregion = \"eu-central-1\"\n");
    for role in 0..roles {
        text.push_str(&format!(
            "[role.r{role}]\nrole_arn = \"arn:aws:iam::111122223333:role/r\"\nduration_seconds = {SESSION}\n"
        ));
    }
    match Config::parse(vec![ConfigFile::text("roletap.toml", text)], &FixedHost::default()) {
        Ok(loaded) => loaded.config,
        Err(report) => panic!("{}", report.render("", false)),
    }
}

impl World {
    fn new(fleet: Fleet, role: Arc<Role>, forecast: f64) -> Self {
        let measured = Measured {
            fleet,
            forecast,
            seconds: vec![Second::default(); fleet.seconds as usize + 1],
            all_filled: None,
            asked_filled: Vec::new(),
            expired_role_seconds: 0.0,
            least_left: f64::INFINITY,
            caught_up: None,
        };
        let mut world = Self {
            fleet,
            role,
            hosts: Vec::with_capacity(fleet.hosts),
            events: BinaryHeap::new(),
            quota: Quota { rate: fleet.quota, tokens: fleet.quota, at: 0 },
            random: fastrand::Rng::with_seed(fleet.seed),
            origin: tokio::time::Instant::now().into_std(),
            empty: 0,
            measured,
        };
        for number in 0..fleet.hosts {
            world.add_host(number as u32);
        }
        world
    }

    fn add_host(&mut self, number: u32) {
        let started = self.random.u64(0..SECOND);
        let mut roles = Vec::with_capacity(self.fleet.roles);
        // The daemon, too, starts its roles in random order.
        let mut order: Vec<u16> = (0..self.fleet.roles as u16).collect();
        self.random.shuffle(&mut order);
        for (place, role) in order.into_iter().enumerate() {
            let asked = self.random.f64() < ASKED_SHARE;
            let (state, due_at) = match self.fleet.scenario {
                Scenario::Restart => (RoleState::Pending, started + place as u64),
                Scenario::Steady | Scenario::Outage => self.in_steady_state(),
            };
            let asked_from_the_start = asked && self.fleet.scenario != Scenario::Restart;
            if asked && !asked_from_the_start {
                let at = self.random.u64(started..60 * SECOND);
                self.push(at, Event::Asked(number, role));
            }
            self.empty += usize::from(state.credentials().is_none());
            self.push(due_at, Event::Due(number, role));
            roles.push((role, OneRole { state, asked: asked_from_the_start, due_at }));
        }
        roles.sort_by_key(|(role, _)| *role);
        self.hosts.push(Host {
            budget: Budget::new(LIMITS, self.monotonic(started)),
            roles: roles.into_iter().map(|(_, role)| role).collect(),
            waiting: Vec::new(),
            wake_at: Micros::MAX,
        });
    }

    /// Refreshed on time for ever: its interval is one that the policy draws, and it is anywhere in it.
    fn in_steady_state(&mut self) -> (RoleState, Micros) {
        let begin = wall(0) - Duration::from_secs(SESSION);
        let long_ago = RoleState::Pending.after(
            Ok(self.credentials(begin)),
            self.role.terms,
            begin,
            Jitter::LATEST,
        );
        let jitter = self.draw();
        let planned = long_ago.next_attempt(begin);
        let state = long_ago.after(Ok(self.credentials(planned)), self.role.terms, planned, jitter);
        let interval = state.next_attempt(planned).duration_since(planned).unwrap_or_default();
        let due = interval.mul_f64(self.random.f64());
        let issued = wall(0) + due - interval;
        let state = RoleState::Issued {
            credentials: Arc::new(self.credentials(issued)),
            refresh_at: wall(0) + due,
            failures: state.failures().cloned(),
        };
        (state, due.as_micros() as Micros)
    }

    fn happen(&mut self, event: Event, now: Micros) {
        let number = match event {
            Event::Due(number, role) => {
                self.hosts[number as usize].waiting.push(role);
                number
            }
            Event::Asked(number, role) => {
                let asked = &mut self.hosts[number as usize].roles[usize::from(role)];
                asked.asked = true;
                if asked.state.credentials().is_some() {
                    self.measured.asked_filled.push(seconds(now));
                }
                number
            }
            Event::Wake(number) => {
                let host = &mut self.hosts[number as usize];
                if host.wake_at == now {
                    host.wake_at = Micros::MAX;
                }
                number
            }
            Event::Answered(number, role, reply, begun) => {
                self.conclude(number, role, reply, begun, now);
                number
            }
        };
        self.give_turns(number, now);
    }

    /// As the queue does.
    fn give_turns(&mut self, number: u32, now: Micros) {
        let monotonic = self.monotonic(now);
        loop {
            let host = &mut self.hosts[number as usize];
            let needs: Vec<Need> = host
                .waiting
                .iter()
                .map(|role| {
                    let role = &host.roles[usize::from(*role)];
                    Need::of(&role.state, role.asked, false, wall(now))
                })
                .collect();
            match host.budget.turn(&needs, monotonic) {
                Turn::Of(position) => {
                    let role = host.waiting.remove(position);
                    self.call(number, role, now);
                }
                Turn::NotBefore(at) => {
                    let wait = at.saturating_duration_since(monotonic).as_micros() as Micros;
                    let at = now + wait.max(1);
                    if at < host.wake_at {
                        host.wake_at = at;
                        self.push(at, Event::Wake(number));
                    }
                    return;
                }
                Turn::Nobody => return,
            }
        }
    }

    fn call(&mut self, number: u32, role: u16, now: Micros) {
        let second = &mut self.measured.seconds[(now / SECOND) as usize];
        let away = self.fleet.scenario == Scenario::Outage && OUTAGE.contains(&(now / SECOND));
        let reply = if away {
            second.unreachable += 1;
            Reply::Unreachable
        } else if self.quota.lets_in(now) {
            second.issued += 1;
            Reply::Issued
        } else {
            second.throttled += 1;
            Reply::Throttled
        };
        let latency = self.random.u64(40_000..60_000);
        self.push(now + latency, Event::Answered(number, role, reply, now));
    }

    /// As the refresher does.
    fn conclude(&mut self, number: u32, role: u16, reply: Reply, begun: Micros, now: Micros) {
        let outcome = match reply {
            Reply::Issued => Ok(self.credentials(wall(now))),
            Reply::Throttled => Err(error(Class::Throttled)),
            Reply::Unreachable => Err(error(Class::Network)),
        };
        let answer = match (Answer::from(&outcome), self.fleet.control) {
            (Answer::Throttled(_), Control::NoPause) => Answer::Unknown,
            (answer, _) => answer,
        };
        let jitter = self.draw();
        let (begun, monotonic) = (self.monotonic(begun), self.monotonic(now));
        let terms = self.role.terms;
        let host = &mut self.hosts[number as usize];
        host.budget.conclude(answer, begun, monotonic, jitter);
        let before = std::mem::take(&mut host.roles[usize::from(role)].state);
        if outcome.is_ok() {
            self.measure(&before, number, role, now);
        }
        let after = before.after(outcome, terms, wall(now), jitter);
        let due = after.next_attempt(wall(now));
        let due_at = micros(due).max(now);
        let role_at = &mut self.hosts[number as usize].roles[usize::from(role)];
        role_at.state = after;
        if matches!(reply, Reply::Issued) {
            role_at.due_at = due_at;
        }
        self.push(due_at, Event::Due(number, role));
    }

    fn measure(&mut self, before: &RoleState, number: u32, role: u16, now: Micros) {
        let role = &self.hosts[number as usize].roles[usize::from(role)];
        let Some(held) = before.credentials() else {
            self.empty -= 1;
            if self.empty == 0 {
                self.measured.all_filled = Some(seconds(now));
            }
            if role.asked {
                self.measured.asked_filled.push(seconds(now));
            }
            return;
        };
        let left = seconds(micros(held.expires_at())) - seconds(now);
        self.measured.least_left = self.measured.least_left.min(left);
        self.measured.expired_role_seconds += (-left).max(0.0);
        let end = OUTAGE.end * SECOND;
        if self.fleet.scenario == Scenario::Outage && role.due_at < end && now >= end {
            self.measured.caught_up = Some(seconds(now - end));
        }
    }

    fn end(mut self) -> Measured {
        let end = self.fleet.seconds as f64;
        for role in self.hosts.iter().flat_map(|host| &host.roles) {
            if let Some(held) = role.state.credentials() {
                let left = seconds(micros(held.expires_at())) - end;
                self.measured.expired_role_seconds += (-left).max(0.0);
            }
        }
        if self.empty > 0 {
            self.measured.all_filled = None;
        }
        self.measured.asked_filled.sort_by(f64::total_cmp);
        self.measured
    }

    /// Short ones: half a million fit in memory.
    fn credentials(&self, now: SystemTime) -> Credentials {
        let grant = Grant {
            access_key_id: "ASIA".to_owned(),
            secret_access_key: Secret::new("s".to_owned()),
            session_token: Secret::new("t".to_owned()),
            expires_at: Some(now + Duration::from_secs(SESSION)),
            session_token_utilization: None,
        };
        match Credentials::new(&grant, &self.role, now) {
            Ok(credentials) => credentials,
            Err(unusable) => panic!("{unusable}"),
        }
    }

    fn draw(&mut self) -> Jitter {
        match self.fleet.control {
            Control::NoSpread => Jitter::new(0.5),
            Control::None | Control::NoPause => Jitter::new(self.random.f64()),
        }
    }

    fn push(&mut self, at: Micros, event: Event) {
        self.events.push(Reverse((at, event)));
    }

    fn monotonic(&self, now: Micros) -> Instant {
        self.origin + Duration::from_micros(now)
    }
}

impl Quota {
    fn lets_in(&mut self, now: Micros) -> bool {
        let earned = seconds(now - self.at) * self.rate;
        self.tokens = (self.tokens + earned).min(self.rate);
        self.at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

fn wall(now: Micros) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(DAWN) + Duration::from_micros(now)
}

fn micros(wall: SystemTime) -> Micros {
    wall.duration_since(UNIX_EPOCH + Duration::from_secs(DAWN)).unwrap_or_default().as_micros()
        as Micros
}

fn seconds(micros: Micros) -> f64 {
    micros as f64 / SECOND as f64
}

fn error(class: Class) -> IssueError {
    IssueError::new(class, "")
}

impl Measured {
    /// A line of the table, in the order of [`HEAD`].
    pub(crate) fn row(&self) -> String {
        let quota = self.fleet.quota;
        let rate = |rate: f64| format!("{:.0} %", rate / quota * 100.0);
        let or_none = |value: Option<f64>, text: &str| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}{text}"))
        };
        let asked = |share| or_none(quantile(&self.asked_filled, share), "");
        let (wave, steady) = (self.wave(), self.last_hour());
        format!(
            "| {} | {:.2} | {:.2} | {} | {} / {} / {} | {} / {} | {} / {} | {:.0} s | {:.0} |",
            self.fleet.scenario.as_str(),
            self.calls_to_ideal(),
            self.calls_per_issue_in_need(),
            or_none(self.need_ended(), " s"),
            asked(0.5),
            asked(0.99),
            asked(1.0),
            rate(self.peak(wave.clone(), 1)),
            rate(self.peak(wave, 10)),
            rate(self.peak(steady.clone(), 1)),
            rate(self.peak(steady, 10)),
            self.least_left,
            self.expired_role_seconds,
        )
    }

    /// Calls of the fleet over those of one that knows the future: that fills its empty slots at the rate of the quota
    /// and refreshes each once per interval of the rule.
    pub(crate) fn calls_to_ideal(&self) -> f64 {
        let seconds = self.fleet.seconds as f64;
        let ideal = match self.fleet.scenario {
            Scenario::Restart => {
                let slots = (self.fleet.hosts * self.fleet.roles) as f64;
                slots + self.forecast * (seconds - slots / self.fleet.quota / 2.0)
            }
            Scenario::Steady | Scenario::Outage => self.forecast * seconds,
        };
        self.sum(0..self.fleet.seconds, Second::arrived) as f64 / ideal
    }

    /// Calls for each that was let in, while the fleet needs more than the quota gives.
    pub(crate) fn calls_per_issue_in_need(&self) -> f64 {
        let need = 0..self.need_ended().map_or(self.fleet.seconds, |end| end as u64)
            + match self.fleet.scenario {
                Scenario::Outage => OUTAGE.end,
                Scenario::Steady | Scenario::Restart => 0,
            };
        let issued = self.sum(need.clone(), |second| second.issued);
        self.sum(need, Second::arrived) as f64 / issued as f64
    }

    /// When the last slot was filled; when the last refresh that an outage had held up was made, from the outage's end.
    pub(crate) fn need_ended(&self) -> Option<f64> {
        self.all_filled.or(self.caught_up)
    }

    /// What should bound the wait of a role that is asked for first: a minute, and twice what the quota needs for all.
    pub(crate) fn limit_for_asked(&self) -> f64 {
        60.0 + 2.0 * self.asked_filled.len() as f64 / self.fleet.quota
    }

    /// From when all is well again.
    pub(crate) fn wave(&self) -> Range<u64> {
        let end = self.last_hour().start;
        let start = self.need_ended().unwrap_or_default() as u64
            + match self.fleet.scenario {
                Scenario::Steady => 0,
                Scenario::Restart => 60,
                Scenario::Outage => OUTAGE.end + 60,
            };
        start.min(end)..end
    }

    /// When everything should have settled.
    pub(crate) fn last_hour(&self) -> Range<u64> {
        self.fleet.seconds.saturating_sub(3600)..self.fleet.seconds
    }

    /// The busiest `window` seconds within `seconds`, in calls per second.
    pub(crate) fn peak(&self, seconds: Range<u64>, window: u64) -> f64 {
        (seconds.start..seconds.end.saturating_sub(window - 1))
            .map(|start| self.mean(start..start + window))
            .fold(0.0, f64::max)
    }

    /// Calls per second.
    pub(crate) fn mean(&self, seconds: Range<u64>) -> f64 {
        let length = seconds.end.saturating_sub(seconds.start).max(1);
        self.sum(seconds, Second::arrived) as f64 / length as f64
    }

    /// Of something, over these seconds.
    pub(crate) fn sum(&self, seconds: Range<u64>, of: impl Fn(Second) -> u32) -> u64 {
        let end = (seconds.end as usize).min(self.seconds.len());
        let start = (seconds.start as usize).min(end);
        self.seconds[start..end].iter().map(|second| u64::from(of(*second))).sum()
    }
}

/// Names the columns of [`Measured::row`]; peaks in shares of the quota, over 1 s and over 10 s.
pub(crate) const HEAD: &str = "\
| scenario | calls / ideal | calls per issue while short | all filled, caught up | asked for: p50 / p99 / max, s | peak of the wave after | peak in the last hour | least left | expired role-seconds |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |";

/// The value below which this share of sorted `values` lies.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    values.get((last as f64 * share).ceil() as usize).copied()
}

impl Scenario {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Restart => "restart",
            Self::Outage => "outage",
        }
    }
}

impl Fleet {
    /// Against as much of 600 calls per second as this fleet is of one of 10,000 hosts with 50 roles.
    pub(crate) fn new(scenario: Scenario, hosts: usize, roles: usize, seed: u64) -> Self {
        Self {
            scenario,
            hosts,
            roles,
            quota: STS_QUOTA_PER_SECOND * (hosts * roles) as f64 / 500_000.0,
            seconds: 3 * 3600,
            seed,
            control: Control::None,
        }
    }
}
