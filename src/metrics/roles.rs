//! The families about single roles, read from the slots when Prometheus scrapes.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::text::Family;
use super::{ScrapeSnapshot, outcome, seconds};
use crate::slots::{FileWriteResult, RoleCounters, Slot, VendResult};
use roletap_core::failure::Class;

struct RoleGauge {
    name: &'static str,
    help: &'static str,
    value: fn(&Slot, SystemTime) -> Option<f64>,
}

const CREDENTIALS: [RoleGauge; 5] = [
    RoleGauge {
        name: "roletap_credentials_expiry_timestamp_seconds",
        help: "When the credentials in hand expire.",
        value: |slot, _| Some(seconds(slot.state().credentials()?.expires_at())),
    },
    RoleGauge {
        name: "roletap_credentials_issued_timestamp_seconds",
        help: "When the credentials in hand were issued.",
        value: |slot, _| Some(seconds(slot.state().credentials()?.issued_at())),
    },
    RoleGauge {
        name: "roletap_next_attempt_timestamp_seconds",
        help: "When the next attempt is due.",
        value: |slot, now| Some(seconds(slot.state().next_attempt(now).max(UNIX_EPOCH))),
    },
    RoleGauge {
        name: "roletap_session_token_bytes",
        help: "Size of the session token in hand.",
        value: |slot, _| Some(slot.state().credentials()?.session_token_bytes() as f64),
    },
    RoleGauge {
        name: "roletap_session_token_utilization_ratio",
        help: "Share of the largest session token that STS allows, where STS says it.",
        value: |slot, _| {
            let percent = slot.state().credentials()?.session_token_utilization()?;
            Some(f64::from(percent) / 100.0)
        },
    },
];

const STALE_CONSUMERS: RoleGauge = RoleGauge {
    name: "roletap_stale_consumers",
    help: "Consumers that were given credentials which have expired, and have not asked since.",
    value: |slot, now| Some(slot.counts.consumers.stale(&slot.role.callers, now) as f64),
};

/// Writes every family about roles; `unknown` counts the requests that belong to none.
pub(super) fn render(out: &mut String, scrape: &ScrapeSnapshot<'_>, unknown: &RoleCounters) {
    for gauge in &CREDENTIALS {
        gauge.render(out, scrape);
    }
    refresh_attempts(out, scrape);
    vend_requests(out, scrape, unknown);
    previous_tokens(out, scrape);
    STALE_CONSUMERS.render(out, scrape);
    credentials_files(out, scrape);
}

impl RoleGauge {
    fn render(&self, out: &mut String, scrape: &ScrapeSnapshot<'_>) {
        let values = scrape.table.slots.values().filter_map(|slot| {
            let value = (self.value)(slot, scrape.now)?;
            Some((slot.role.name.as_str(), value))
        });
        Family::gauge(out, self.name, self.help).samples("role", values);
    }
}

fn refresh_attempts(out: &mut String, scrape: &ScrapeSnapshot<'_>) {
    let help = "Concluded attempts by outcome.";
    let mut family = Family::counter(out, "roletap_refresh_attempts_total", help);
    for slot in scrape.table.slots.values() {
        let failed = Class::ALL.map(Some).into_iter().zip(&slot.counts.failed);
        for (class, count) in std::iter::once((None, &slot.counts.issued)).chain(failed) {
            let labels = [("role", slot.role.name.as_str()), ("outcome", outcome(class))];
            family.sample(&labels, count.load(Ordering::Relaxed));
        }
    }
}

fn vend_requests(out: &mut String, scrape: &ScrapeSnapshot<'_>, unknown: &RoleCounters) {
    let help = "Requests for credentials by result.";
    let mut family = Family::counter(out, "roletap_vend_requests_total", help);
    let mut add = |role: &str, counts: &RoleCounters, about_a_role: bool| {
        for result in VendResult::ALL {
            if result.is_about_a_role() == about_a_role {
                let count = counts.answers(result).count.load(Ordering::Relaxed);
                family.sample(&[("role", role), ("result", result.as_str())], count);
            }
        }
    };
    for slot in scrape.table.slots.values() {
        add(slot.role.name.as_str(), &slot.counts, true);
    }
    add("unknown", unknown, false);
}

fn previous_tokens(out: &mut String, scrape: &ScrapeSnapshot<'_>) {
    let help = "Requests with a token that has been replaced.";
    let uses = |slot: &Slot| slot.counts.previous_token_uses.load(Ordering::Relaxed);
    let uses = scrape.table.slots.values().map(|slot| (slot.role.name.as_str(), uses(slot)));
    Family::counter(out, "roletap_token_previous_uses_total", help).samples("role", uses);
}

fn credentials_files(out: &mut String, scrape: &ScrapeSnapshot<'_>) {
    let help = "Writes of the credentials file of roles that have one; a removal that failed counts, too, and each 30 s of one that does not end.";
    let mut family = Family::counter(out, "roletap_credentials_file_writes_total", help);
    let has_file = |slot: &&std::sync::Arc<Slot>| slot.role.credentials_file.is_some();
    for slot in scrape.table.slots.values().filter(has_file) {
        for (outcome, count) in FileWriteResult::ALL.iter().zip(&slot.counts.filed) {
            let labels = [("role", slot.role.name.as_str()), ("outcome", outcome.as_str())];
            family.sample(&labels, count.load(Ordering::Relaxed));
        }
    }
}
