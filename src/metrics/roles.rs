//! What is told of each role, read from the slots when Prometheus asks.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use super::{ScrapeSnapshot, family, outcome, seconds};
use crate::issuer::Class;
use crate::slots::{Counts, Filed, Slot, VendResult};

/// Every family about roles; `unknown` counts the requests that belong to none.
pub(super) fn render(out: &mut String, scene: &ScrapeSnapshot<'_>, unknown: &Counts) {
    let slots = || scene.table.slots.values();
    let gauge = |out: &mut String, name: &str, help: &str, value: &dyn Fn(&Slot) -> Option<f64>| {
        family(out, name, "gauge", help);
        for slot in slots() {
            if let Some(value) = value(slot) {
                let _ = writeln!(out, "{name}{{role=\"{}\"}} {value}", slot.role.name);
            }
        }
    };
    gauge(
        out,
        "roletap_credentials_expiry_timestamp_seconds",
        "When the credentials in hand expire.",
        &|slot| slot.state().credentials().map(|credentials| seconds(credentials.expires_at())),
    );
    gauge(
        out,
        "roletap_credentials_issued_timestamp_seconds",
        "When the credentials in hand were issued.",
        &|slot| slot.state().credentials().map(|credentials| seconds(credentials.issued_at())),
    );
    gauge(
        out,
        "roletap_next_attempt_timestamp_seconds",
        "When the next attempt is due.",
        &|slot| Some(seconds(slot.state().next_attempt(scene.now).max(UNIX_EPOCH))),
    );
    gauge(out, "roletap_session_token_bytes", "Size of the session token in hand.", &|slot| {
        slot.state().credentials().map(|credentials| credentials.session_token_bytes() as f64)
    });
    gauge(
        out,
        "roletap_session_token_utilization_ratio",
        "Share of the largest session token that STS allows, where STS says it.",
        &|slot| {
            slot.state()
                .credentials()?
                .session_token_utilization()
                .map(|percent| f64::from(percent) / 100.0)
        },
    );
    family(out, "roletap_refresh_attempts_total", "counter", "Concluded attempts by outcome.");
    for slot in slots() {
        let mut line = |outcome: &str, count: u64| {
            let _ = writeln!(
                out,
                "roletap_refresh_attempts_total{{role=\"{}\",outcome=\"{outcome}\"}} {count}",
                slot.role.name
            );
        };
        line(outcome(None), slot.counts.issued.load(Ordering::Relaxed));
        for (class, count) in Class::ALL.iter().zip(&slot.counts.failed) {
            line(outcome(Some(*class)), count.load(Ordering::Relaxed));
        }
    }
    family(out, "roletap_vend_requests_total", "counter", "Requests for credentials by result.");
    let mut tallies = |role: &str, counts: &Counts, about_a_role: bool| {
        for result in
            VendResult::ALL.iter().filter(|result| result.is_about_a_role() == about_a_role)
        {
            let count = counts.tally(*result).count.load(Ordering::Relaxed);
            let _ = writeln!(
                out,
                "roletap_vend_requests_total{{role=\"{role}\",result=\"{}\"}} {count}",
                result.as_str()
            );
        }
    };
    for slot in slots() {
        tallies(slot.role.name.as_str(), &slot.counts, true);
    }
    tallies("unknown", unknown, false);
    family(
        out,
        "roletap_token_previous_uses_total",
        "counter",
        "Requests with a token that has been replaced.",
    );
    for slot in slots() {
        let uses = slot.counts.previous_token_uses.load(Ordering::Relaxed);
        let _ = writeln!(
            out,
            "roletap_token_previous_uses_total{{role=\"{}\"}} {uses}",
            slot.role.name
        );
    }
    gauge(
        out,
        "roletap_stale_consumers",
        "Consumers that were given credentials which have expired, and have not asked since.",
        &|slot| {
            let consumers = &slot.counts.consumers;
            Some(consumers.stale(&slot.role.callers, scene.now) as f64)
        },
    );
    family(
        out,
        "roletap_credentials_file_writes_total",
        "counter",
        "Writes of the credentials file of roles that have one; a removal that failed counts, too, and each 30 s of one that does not end.",
    );
    for slot in slots().filter(|slot| slot.role.credentials_file.is_some()) {
        for (outcome, count) in Filed::ALL.iter().zip(&slot.counts.filed) {
            let _ = writeln!(
                out,
                "roletap_credentials_file_writes_total{{role=\"{}\",outcome=\"{}\"}} {}",
                slot.role.name,
                outcome.as_str(),
                count.load(Ordering::Relaxed)
            );
        }
    }
}
