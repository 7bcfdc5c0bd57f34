//! Every metric name. Call sites say what happened and know none.
//!
//! What concerns single roles is not stored here: it is read from the slots when Prometheus asks, so that nothing can
//! drift, a removed role's series vanish with it, and a thousand roles cost nothing until then. Those families are
//! written as text directly; the rest lives in one registry. All counters are born at zero.

mod roles;
mod text;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::slots::{RoleCounters, Table, VendResult};
use roletap_core::failure::Class;
use roletap_core::lifecycle::Phase;

use self::text::Family;

/// The registry and its handles.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    refresh_duration: HistogramVec,
    sts_requests: IntCounterVec,
    vend_duration: Histogram,
    reloads: IntCounterVec,
    last_reload_successful: IntGauge,
    config_loaded: Gauge,
    refresher_restarts: IntCounter,
    connections: IntGaugeVec,
    connections_limit: IntGaugeVec,
    regions: Mutex<RegionLabels>,
    /// Requests that belong to no role.
    unknown: RoleCounters,
}

/// The configured regions of STS and the active one.
#[derive(Debug, Default)]
struct RegionLabels {
    all: Vec<String>,
    asked: String,
}

/// The values that are read when Prometheus scrapes.
#[derive(Debug)]
pub struct ScrapeSnapshot<'a> {
    /// The state of every role.
    pub table: &'a Table,
    /// The instant that phases are about.
    pub now: SystemTime,
    /// Calls that wait for a turn.
    pub queue_depth: usize,
    /// This host stays away from STS.
    pub paused: bool,
    /// Server minus local clock, seconds.
    pub clock_skew: Option<f64>,
    /// Each source: its name, whether it is up, and when its credentials expire.
    pub sources: Vec<(String, bool, Option<SystemTime>)>,
}

/// Something that can happen to a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The new configuration is in force.
    Applied,
    /// A problem was found, and everything is as it was.
    Refused,
}

/// The listeners, as label values.
pub const LISTENERS: [&str; 3] = ["credentials", "admin", "imds"];

impl Metrics {
    /// Makes a registry with everything at zero. Fails only if two metrics were given one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let version =
            [env!("CARGO_PKG_VERSION"), option_env!("ROLETAP_REVISION").unwrap_or("unknown")];
        registered(&registry, gauges("roletap_build_info", "Always 1.", &["version", "revision"]))?
            .with_label_values(&version)
            .set(1);
        let buckets = vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let refresh_duration = HistogramOpts::new(
            "roletap_refresh_duration_seconds",
            "How long attempts took, by outcome.",
        )
        .buckets(buckets);
        let buckets =
            vec![0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.01, 0.1, 0.5];
        let vend_duration = HistogramOpts::new(
            "roletap_vend_duration_seconds",
            "From the request's head to the answer, waiting included.",
        )
        .buckets(buckets);
        let metrics = Self {
            refresh_duration: registered(
                &registry,
                HistogramVec::new(refresh_duration, &["outcome"]),
            )?,
            sts_requests: registered(
                &registry,
                counters(
                    "roletap_sts_requests_total",
                    "Requests sent to STS.",
                    &["operation", "region", "outcome"],
                ),
            )?,
            vend_duration: registered(&registry, Histogram::with_opts(vend_duration))?,
            reloads: registered(
                &registry,
                counters("roletap_config_reloads_total", "Reloads by result.", &["result"]),
            )?,
            last_reload_successful: registered(
                &registry,
                IntGauge::new(
                    "roletap_config_last_reload_successful",
                    "0 while what runs is not what the files say: the last reload was refused.",
                ),
            )?,
            config_loaded: registered(
                &registry,
                Gauge::new(
                    "roletap_config_loaded_timestamp_seconds",
                    "When the configuration in force was loaded.",
                ),
            )?,
            refresher_restarts: registered(
                &registry,
                IntCounter::new(
                    "roletap_refresher_restarts_total",
                    "Refreshers that ended and were started again; any is a bug.",
                ),
            )?,
            connections: registered(
                &registry,
                gauges("roletap_connections", "Open connections.", &["listener"]),
            )?,
            connections_limit: registered(
                &registry,
                gauges(
                    "roletap_connections_limit",
                    "For how many connections there is room; others wait.",
                    &["listener"],
                ),
            )?,
            registry,
            regions: Mutex::default(),
            unknown: RoleCounters::default(),
        };
        metrics.begin_series();
        Ok(metrics)
    }

    /// Starts every series whose labels are known, so that the first event is an increase.
    fn begin_series(&self) {
        self.last_reload_successful.set(1);
        for outcome in outcomes() {
            self.refresh_duration.with_label_values(&[outcome]);
        }
        for result in [Reload::Applied, Reload::Refused] {
            self.reloads.with_label_values(&[result.as_str()]);
        }
        for listener in LISTENERS {
            self.connections.with_label_values(&[listener]);
            self.connections_limit.with_label_values(&[listener]);
        }
    }

    /// Counts a concluded attempt for a role.
    pub fn attempt_concluded(&self, counts: &RoleCounters, class: Option<Class>, took: Duration) {
        counts.attempt(class);
        self.refresh_duration.with_label_values(&[outcome(class)]).observe(took.as_secs_f64());
    }

    /// Counts a request to STS.
    pub fn sts_request(&self, operation: &str, region: &str, class: Option<Class>) {
        self.sts_requests.with_label_values(&[operation, region, outcome(class)]).inc();
    }

    /// These regions are configured, and the first is asked. Their series are born at zero.
    pub fn sts_regions<'a>(&self, regions: impl Iterator<Item = &'a str>) {
        let all: Vec<String> = regions.map(str::to_owned).collect();
        for region in &all {
            for outcome in outcomes() {
                for operation in ["AssumeRole", "AssumeRoleWithWebIdentity"] {
                    self.sts_requests.with_label_values(&[operation, region, outcome]);
                }
            }
        }
        let asked = all.first().cloned().unwrap_or_default();
        *self.regions() = RegionLabels { all, asked };
    }

    /// STS is asked in this region now.
    pub fn sts_asked_in(&self, region: &str) {
        let mut regions = self.regions();
        if regions.asked != region {
            region.clone_into(&mut regions.asked);
        }
    }

    /// The region in which STS is asked.
    pub fn sts_region(&self) -> String {
        self.regions().asked.clone()
    }

    /// The region that is asked whenever it answers.
    pub fn sts_home_region(&self) -> String {
        self.regions().all.first().cloned().unwrap_or_default()
    }

    fn regions(&self) -> std::sync::MutexGuard<'_, RegionLabels> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A workload was answered.
    pub fn answered(&self, counts: &RoleCounters, result: VendResult, took: Duration) {
        counts.answers(result).count.fetch_add(1, Ordering::Relaxed);
        self.vend_duration.observe(took.as_secs_f64());
    }

    /// Counts a reload.
    pub fn reloaded(&self, result: Reload) {
        self.reloads.with_label_values(&[result.as_str()]).inc();
        self.last_reload_successful.set(i64::from(result == Reload::Applied));
    }

    /// A configuration is in force since `now`.
    pub fn config_loaded(&self, now: SystemTime) {
        self.config_loaded.set(seconds(now));
    }

    /// Counts a refresher that stopped and was started again.
    pub fn refresher_restarted(&self) {
        self.refresher_restarts.inc();
    }

    /// How many refreshers have been started again.
    pub fn refresher_restarts(&self) -> u64 {
        self.refresher_restarts.get()
    }

    /// The open connections of one of [`LISTENERS`], which has room for so many more from now on.
    pub fn connections(&self, listener: &str, room: usize) -> Connections {
        self.connections_limit
            .with_label_values(&[listener])
            .add(i64::try_from(room).unwrap_or(i64::MAX));
        Connections(self.connections.with_label_values(&[listener]))
    }

    /// Returns the counters of requests that belong to no role.
    pub fn unknown_role(&self) -> &RoleCounters {
        &self.unknown
    }

    /// Renders everything in the text format of Prometheus.
    pub fn render(&self, scrape: &ScrapeSnapshot<'_>) -> String {
        let mut out = String::with_capacity(4096 + scrape.table.slots.len() * 2048);
        // Encoding into a string fails only on families without series, and those are not gathered.
        let _ = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut out);
        self.render_host(&mut out, scrape);
        roles::render(&mut out, scrape, &self.unknown);
        out
    }

    fn render_host(&self, out: &mut String, scrape: &ScrapeSnapshot<'_>) {
        Family::gauge(out, "roletap_sts_queue_depth", "Calls that wait for their turn.")
            .sample(&[], scrape.queue_depth);
        let help = "1 while the host stays away from STS after a throttled answer.";
        Family::gauge(out, "roletap_sts_paused", help).sample(&[], u8::from(scrape.paused));
        let help = "1 for the region in which STS is asked, 0 for those that stand by.";
        let mut family = Family::gauge(out, "roletap_sts_region_active", help);
        let regions = self.regions();
        for region in &regions.all {
            family.sample(&[("region", region)], u8::from(*region == regions.asked));
        }
        drop(regions);
        if let Some(skew) = scrape.clock_skew {
            let help = "Clock of STS minus that of this host, by the Date of its last answer.";
            Family::gauge(out, "roletap_clock_skew_seconds", help).sample(&[], skew);
        }
        let help = "1 while a base identity holds usable credentials.";
        let mut family = Family::gauge(out, "roletap_source_up", help);
        for (source, up, _) in &scrape.sources {
            family.sample(&[("source", source)], u8::from(*up));
        }
        let help = "When base credentials expire; absent if they do not.";
        let mut family = Family::gauge(out, "roletap_source_expiry_timestamp_seconds", help);
        for (source, _, expires_at) in &scrape.sources {
            if let Some(at) = expires_at {
                family.sample(&[("source", source)], seconds(*at));
            }
        }
        let mut family = Family::gauge(out, "roletap_roles", "Roles by phase.");
        let phases = scrape.table.slots.values().map(|slot| slot.state().phase(scrape.now));
        let phases: Vec<Phase> = phases.collect();
        for phase in Phase::ALL {
            let count = phases.iter().filter(|found| **found == phase).count();
            family.sample(&[("phase", phase.as_str())], count);
        }
    }
}

impl Reload {
    fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
        }
    }
}

/// The open connections of a listener.
#[derive(Debug, Clone)]
pub struct Connections(IntGauge);

/// One open connection: counted until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(IntGauge);

impl Connections {
    /// Counts one more connection until the returned guard is dropped.
    pub fn open(&self) -> OpenConnection {
        self.0.inc();
        OpenConnection(self.0.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counters by role name. They live as long as the process, so a reload takes nothing back.
#[derive(Debug, Default)]
pub struct CounterRegistry(RwLock<std::collections::BTreeMap<String, Arc<RoleCounters>>>);

impl CounterRegistry {
    /// Returns the counters of a role.
    pub fn of(&self, role: &str) -> Arc<RoleCounters> {
        let mut counts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        counts.entry(role.to_owned()).or_default().clone()
    }
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    made: Result<C, prometheus::Error>,
) -> Result<C, prometheus::Error> {
    let metric = made?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

fn outcomes() -> impl Iterator<Item = &'static str> {
    std::iter::once(outcome(None)).chain(Class::ALL.map(|class| outcome(Some(class))))
}

fn outcome(class: Option<Class>) -> &'static str {
    class.map_or("issued", Class::as_str)
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use super::*;
    use crate::simulated::{at, config, credentials};
    use crate::slots::Slot;
    use roletap_core::lifecycle::{Jitter, RoleState};
    use roletap_core::role::RefreshPolicy;

    /// A table with one role that has credentials.
    fn table() -> Table {
        let file = "credentials_file = \"/run/roletap/files/orders\"";
        let roles = config(&["orders"], 3600, file).roles;
        let role = roles.into_values().next().unwrap();
        let held = credentials(&role, at(0), Duration::from_secs(3600), 1);
        let state =
            RoleState::Pending.after(Ok(held), RefreshPolicy::default(), at(0), Jitter::new(0.5));
        let (slot, _) = Slot::new(role.clone(), state, Arc::default(), false);
        let mut table = Table::default();
        table.slots.insert(role.name.clone(), slot);
        table
    }

    fn rendered(metrics: &Metrics) -> String {
        metrics.sts_regions(["eu-central-1", "eu-west-1"].into_iter());
        metrics.render(&ScrapeSnapshot {
            table: &table(),
            now: at(60),
            queue_depth: 0,
            paused: false,
            clock_skew: Some(0.0),
            sources: vec![("default".to_owned(), true, Some(at(3600)))],
        })
    }

    /// `docs/metrics.md` is made from what is served: a renamed metric is a visible line in a diff.
    #[test]
    fn the_documented_metrics_are_those_that_are_served() {
        let text = rendered(&Metrics::new().unwrap());
        let (mut help, mut kind) = (BTreeMap::new(), BTreeMap::new());
        let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for line in text.lines() {
            if let Some((name, words)) =
                line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
            {
                assert!(help.insert(name, words).is_none(), "{name} twice");
            } else if let Some((name, word)) =
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
            {
                kind.insert(name, word);
            } else if let Some((series, rest)) = line.split_once('{') {
                let name =
                    ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end));
                let name = name.filter(|name| help.contains_key(name)).unwrap_or(series);
                let pairs = rest
                    .split("\",")
                    .filter_map(|pair| pair.split_once("=\"").map(|(label, _)| label));
                labels.entry(name).or_default().extend(pairs.filter(|label| *label != "le"));
            }
        }
        let mut page = String::from(
            "# Metrics\n\nServed at `/metrics` of the admin endpoint. Counters are born at zero; times are timestamps, not \
             ages.\nMade from what is served by the test `the_documented_metrics_are_those_that_are_served`.\n\n\
             | name | type | labels | meaning |\n| --- | --- | --- | --- |\n",
        );
        for (name, words) in &help {
            let labels =
                labels.get(name).map(|set| set.iter().copied().collect::<Vec<_>>().join(", "));
            let _ = writeln!(
                page,
                "| `{name}` | {} | {} | {words} |",
                kind[name],
                labels.unwrap_or_default()
            );
        }
        page.push_str(
            "\n`outcome` is `issued` or the class of the failure, and of `roletap_credentials_file_writes_total` `written` or \
             `failed`;\n`result` of `roletap_vend_requests_total` is one of \
             `vended`,\n`pending`, `unavailable`, `assume_role_failed`, `caller_not_allowed` for a role, and of `unauthorized`, \
             `role_not_found`,\n`forbidden`, `not_served` for `role=\"unknown\"`.\n",
        );
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap_or_default(),
            page,
            "run again with UPDATE_GOLDEN=1"
        );
    }

    /// An alert about a metric that nobody serves is silent for ever. (`tests/prometheus` tries them all, where it can.)
    #[test]
    fn the_alerts_are_about_metrics_that_are_served() {
        let text = rendered(&Metrics::new().unwrap());
        let rules =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/roletap.rules.yml");
        let rules = std::fs::read_to_string(rules).unwrap();
        let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names: BTreeSet<&str> = words.filter(|word| word.starts_with("roletap_")).collect();
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
        }
    }

    #[test]
    fn counters_are_born_at_zero() {
        let text = rendered(&Metrics::new().unwrap());
        for series in [
            "roletap_refresh_attempts_total{role=\"orders\",outcome=\"denied\"} 0",
            "roletap_vend_requests_total{role=\"orders\",result=\"vended\"} 0",
            "roletap_vend_requests_total{role=\"unknown\",result=\"unauthorized\"} 0",
            "roletap_token_previous_uses_total{role=\"orders\"} 0",
            "roletap_credentials_file_writes_total{role=\"orders\",outcome=\"written\"} 0",
            "roletap_credentials_file_writes_total{role=\"orders\",outcome=\"failed\"} 0",
            "roletap_sts_requests_total{operation=\"AssumeRole\",outcome=\"issued\",region=\"eu-central-1\"} 0",
            "roletap_sts_requests_total{operation=\"AssumeRole\",outcome=\"network\",region=\"eu-west-1\"} 0",
            "roletap_sts_region_active{region=\"eu-central-1\"} 1",
            "roletap_sts_region_active{region=\"eu-west-1\"} 0",
            "roletap_config_reloads_total{result=\"refused\"} 0",
            "roletap_config_last_reload_successful 1",
            "roletap_refresher_restarts_total 0",
            "roletap_connections{listener=\"admin\"} 0",
            "roletap_roles{phase=\"expired\"} 0",
            "roletap_roles{phase=\"fresh\"} 1",
        ] {
            assert!(text.contains(&format!("{series}\n")), "{series} not in\n{text}");
        }
    }

    #[test]
    fn times_are_timestamps() {
        let text = rendered(&Metrics::new().unwrap());
        let end = seconds(at(3600));
        assert!(text.contains(&format!(
            "roletap_credentials_expiry_timestamp_seconds{{role=\"orders\"}} {end}\n"
        )));
        assert!(text.contains("roletap_session_token_utilization_ratio{role=\"orders\"} 0.25\n"));
    }
}
