//! Lints about who signs.

use std::collections::BTreeSet;

use super::{LintInput, LintWarning};
use crate::config::diagnostics::Problem;
use crate::lifecycle::refresh_lead;
use crate::role::{Role, Source, SourceName};

/// A chain of more hops is most likely a mistake: each is one more session that has to be there.
const LONG_CHAIN: usize = 3;

pub(super) fn long(all: &LintInput<'_>, role: &Role) -> Option<Problem> {
    let roles = role.ancestors().count() + 1;
    (roles > LONG_CHAIN + 1).then(|| {
        let message = format!("{} is at the end of a chain of {roles} roles", role.name);
        Problem::new(all.place(role, "source"), message).help(
            "each hop is one more session that has to be there: let the role trust an earlier one",
        )
    })
}

pub(super) fn parent_expires_early(all: &LintInput<'_>, role: &Role) -> Option<Problem> {
    let parent = role.request.base.parent()?;
    let lead = refresh_lead(role.duration.as_duration(), role.terms.min_remaining);
    (parent.duration.as_duration() < lead).then(|| {
        let message = format!(
            "sessions of {} last {} s, but {} is refreshed {} s before it expires",
            parent.name,
            parent.duration.as_secs(),
            role.name,
            lead.as_secs()
        );
        Problem::new(all.place(parent, "duration_seconds"), message)
            .help("in an outage the first expires before the second can: give it as long a session")
    })
}

pub(super) fn unused_sources<'f>(all: &LintInput<'f>) -> Vec<LintWarning<'f>> {
    let used: BTreeSet<&SourceName> = all
        .roles()
        .filter_map(|role| role.request.base.source())
        .map(|source| &source.name)
        .collect();
    // An empty [source.default] says what is true anyway.
    let default = Source::default_chain();
    let sources = all.config.sources.values();
    let unused = sources.filter(|source| !used.contains(&source.name) && ***source != default);
    let found = unused.filter_map(|source| {
        let name = &source.name;
        let place = all.places.get(&format!("source.{name}"), "")?;
        let message = format!("no role uses the source {name}, so it is never loaded");
        let help = format!("set source = \"{name}\" in a role, or remove it");
        Some(LintWarning { role: None, problem: Problem::new(place, message).help(help) })
    });
    found.collect()
}
