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

use roletap::budget::{Answer, Budget, Limits, Need, Turn};
use roletap::config::{Config, FixedHost, Forecast, Source};
use roletap::credentials::{Credentials, Grant, Secret};
use roletap::issuer::{Class, IssueError};
use roletap::lifecycle::{Jitter, RoleState};
use roletap::role::Role;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Nothing happens: credentials of all ages are refreshed.
    Steady,
    /// All hosts start within one second, with empty slots.
    Restart,
    /// Nobody reaches STS for twenty minutes.
    Outage,
}

/// The size of it, and how it ends.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    pub scenario: Scenario,
    pub hosts: usize,
    pub roles: usize,
    /// Calls per second that STS lets in, from all hosts together; also the burst.
    pub quota: f64,
    pub seconds: u64,
    pub seed: u64,
    pub control: Control,
}

/// A policy broken on purpose: what a measurement that cannot fail would not notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The policy as it is.
    None,
    /// Every draw comes out in the middle: no host differs from any other.
    NoSpread,
    /// A throttled answer is taken for any other failure: no pause.
    NoPause,
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    pub fleet: Fleet,
    /// The rate that `roletap check --hosts N` forecasts.
    pub forecast: f64,
    /// Per second of virtual time.
    pub seconds: Vec<Second>,
    /// When the last empty slot was filled.
    pub all_filled: Option<f64>,
    /// For each role that a workload asked for: from the restart until it had credentials.
    pub asked_filled: Vec<f64>,
    /// From when it was asked for until it had credentials.
    pub asked_waited: Vec<f64>,
    pub expired_role_seconds: f64,
    /// The least that was left of any credentials when they were replaced.
    pub least_left: f64,
    /// When the last refresh that the outage had held up was made, after its end.
    pub caught_up: Option<f64>,
}

/// Calls by how they ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Second {
    pub issued: u32,
    pub throttled: u32,
    pub unreachable: u32,
}

impl Second {
    /// What STS sees.
    pub fn arrived(self) -> u32 {
        self.issued + self.throttled
    }
}

/// The start and the end of the total outage.
pub const OUTAGE: Range<u64> = 600..1800;
const SESSION: u64 = 3600;
const LIMITS: Limits = Limits {
    max_in_flight: 8,
    max_requests_per_second: 10,
};
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
    Answered(u32, u16, Reply),
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
    asked_at: Option<Micros>,
    /// Due, waiting or in flight.
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
pub fn simulate(fleet: Fleet) -> Measured {
    let config = config(fleet.roles);
    let forecast = Forecast::new(&config, fleet.hosts as u64).calls_per_second;
    let role = config
        .roles
        .into_values()
        .next()
        .unwrap_or_else(|| unreachable!("at least one role"));
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
    match Config::parse(
        vec![Source::text("roletap.toml", text)],
        &FixedHost::default(),
    ) {
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
            asked_waited: Vec::new(),
            expired_role_seconds: 0.0,
            least_left: f64::INFINITY,
            caught_up: None,
        };
        let mut world = Self {
            fleet,
            role,
            hosts: Vec::with_capacity(fleet.hosts),
            events: BinaryHeap::new(),
            quota: Quota {
                rate: fleet.quota,
                tokens: fleet.quota,
                at: 0,
            },
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
            let asked_at = match self.fleet.scenario {
                Scenario::Restart if asked => {
                    let at = self.random.u64(started..60 * SECOND);
                    self.push(at, Event::Asked(number, role));
                    None
                }
                Scenario::Steady | Scenario::Outage if asked => Some(0),
                Scenario::Restart | Scenario::Steady | Scenario::Outage => None,
            };
            self.empty += usize::from(state.credentials().is_none());
            self.push(due_at, Event::Due(number, role));
            roles.push((
                role,
                OneRole {
                    state,
                    asked_at,
                    due_at,
                },
            ));
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
            self.role.on_denied,
            begin,
            Jitter::LATEST,
        );
        let jitter = self.draw();
        let planned = long_ago.next_attempt(begin);
        let state = long_ago.after(
            Ok(self.credentials(planned)),
            self.role.on_denied,
            planned,
            jitter,
        );
        let interval = state
            .next_attempt(planned)
            .duration_since(planned)
            .unwrap_or_default();
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
                asked.asked_at = Some(now);
                if asked.state.credentials().is_some() {
                    self.measured.asked_filled.push(seconds(now));
                    self.measured.asked_waited.push(0.0);
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
            Event::Answered(number, role, reply) => {
                self.conclude(number, role, reply, now);
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
                    Need::of(&role.state, role.asked_at.is_some(), wall(now))
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
        self.push(now + latency, Event::Answered(number, role, reply));
    }

    /// As the refresher does.
    fn conclude(&mut self, number: u32, role: u16, reply: Reply, now: Micros) {
        let outcome = match reply {
            Reply::Issued => Ok(self.credentials(wall(now))),
            Reply::Throttled => Err(error(Class::Throttled)),
            Reply::Unreachable => Err(error(Class::Network)),
        };
        let answer = match (Answer::from(&outcome), self.fleet.control) {
            (Answer::Throttled(_), Control::NoPause) => Answer::Unknown,
            (answer, _) => answer,
        };
        let (one, other) = (self.draw(), self.draw());
        let (monotonic, on_denied) = (self.monotonic(now), self.role.on_denied);
        let host = &mut self.hosts[number as usize];
        host.budget.conclude(answer, monotonic, one);
        let before = std::mem::take(&mut host.roles[usize::from(role)].state);
        if outcome.is_ok() {
            self.measure(&before, number, role, now);
        }
        let after = before.after(outcome, on_denied, wall(now), other);
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
            if let Some(asked_at) = role.asked_at {
                self.measured.asked_filled.push(seconds(now));
                self.measured.asked_waited.push(seconds(now - asked_at));
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
        self.measured.asked_waited.sort_by(f64::total_cmp);
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
    wall.duration_since(UNIX_EPOCH + Duration::from_secs(DAWN))
        .unwrap_or_default()
        .as_micros() as Micros
}

fn seconds(micros: Micros) -> f64 {
    micros as f64 / SECOND as f64
}

fn error(class: Class) -> IssueError {
    IssueError {
        class,
        code: None,
        status: None,
        request_id: None,
        what: String::new(),
        advice: String::new(),
        retry_after: None,
    }
}

impl Measured {
    /// All that STS saw in these seconds.
    pub fn arrived(&self, seconds: Range<u64>) -> u64 {
        self.sum(seconds, Second::arrived)
    }

    /// All that it throttled.
    pub fn throttled(&self, seconds: Range<u64>) -> u64 {
        self.sum(seconds, |second| second.throttled)
    }

    /// Calls into the outage.
    pub fn unreachable(&self) -> u64 {
        self.sum(0..self.fleet.seconds, |second| second.unreachable)
    }

    /// The calls of a fleet that knows the future: one for each slot that is empty, and one per interval of the rule.
    pub fn ideal(&self) -> f64 {
        let first = match self.fleet.scenario {
            Scenario::Restart => (self.fleet.hosts * self.fleet.roles) as f64,
            Scenario::Steady | Scenario::Outage => 0.0,
        };
        first + self.forecast * self.fleet.seconds as f64
    }

    /// Calls of the fleet over those of the ideal one.
    pub fn calls_to_ideal(&self) -> f64 {
        self.arrived(0..self.fleet.seconds) as f64 / self.ideal()
    }

    /// The busiest `window` seconds within `seconds`, in calls per second.
    pub fn peak(&self, seconds: Range<u64>, window: u64) -> f64 {
        (seconds.start..seconds.end.saturating_sub(window - 1))
            .map(|start| self.arrived(start..start + window) as f64 / window as f64)
            .fold(0.0, f64::max)
    }

    /// Mean calls per second.
    pub fn mean(&self, seconds: Range<u64>) -> f64 {
        let length = seconds.end - seconds.start;
        self.arrived(seconds) as f64 / length as f64
    }

    /// What a role asked for first should not exceed: a minute, and twice what the quota needs for all of them.
    pub fn limit_for_asked(&self) -> f64 {
        60.0 + 2.0 * self.asked_filled.len() as f64 / self.fleet.quota
    }

    fn sum(&self, seconds: Range<u64>, of: impl Fn(Second) -> u32) -> u64 {
        let (start, end) = (seconds.start as usize, seconds.end as usize);
        self.seconds[start.min(end)..end.min(self.seconds.len())]
            .iter()
            .map(|second| u64::from(of(*second)))
            .sum()
    }
}

/// The value below which this share of sorted `values` lies.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * share).ceil() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}
