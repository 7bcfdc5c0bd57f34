//! Ties each role to what signs for it: a source, or another role. What AWS would say of a chain is said here first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::hint;
use super::problem::{Place, Problem};
use super::reading::Reading;
use super::sources::{self, Sources};
use super::tags::same_key;
use super::value::At;
use super::{Config, lint, remaining};
use crate::lifecycle::refresh_lead;
use crate::role::{Base, Role, RoleName, Source, SourceName, TokenIdentity};

/// AWS's own cap for a role that is assumed by a role.
pub(super) const LONGEST_CHAINED: u32 = 3600;
/// More hops than this are most likely a mistake: each is one more session that has to be there.
const LONG_CHAIN: usize = 3;
/// More than anybody means, and little enough for every walk along a chain.
const LONGEST_CHAIN: usize = 16;

/// A role that does not know yet who signs for it.
pub(super) struct Draft {
    /// Its base is the default source until it is tied.
    pub(super) role: Role,
    /// `source`, as written.
    pub(super) source: Option<At<String>>,
    /// A token in place of a source.
    pub(super) token: Option<TokenIdentity>,
}

/// What is known while roles are tied.
struct Tying<'t> {
    drafts: BTreeMap<RoleName, Draft>,
    tied: BTreeMap<RoleName, Arc<Role>>,
    sources: &'t Sources,
    /// Every role that is there, sound or not.
    names: &'t BTreeSet<RoleName>,
    /// All files could be read, so what is not found is not there.
    whole: bool,
}

/// Ties all of them. A role whose base has a problem is left out; the problem is told.
pub(super) fn tie(
    drafts: BTreeMap<RoleName, Draft>,
    sources: &Sources,
    names: &BTreeSet<RoleName>,
    whole: bool,
    reading: &mut Reading<'_>,
) -> BTreeMap<RoleName, Arc<Role>> {
    let order: Vec<RoleName> = drafts.keys().cloned().collect();
    let mut tying = Tying { drafts, tied: BTreeMap::new(), sources, names, whole };
    for name in &order {
        let mut hops = Vec::new();
        tying.tie(name, &mut hops, reading);
    }
    tying.tied
}

impl Tying<'_> {
    /// Ties a role after all that it is chained to; `hops` are the roles that led here, each with its `source`.
    fn tie(
        &mut self,
        name: &RoleName,
        hops: &mut Vec<(RoleName, Place)>,
        reading: &mut Reading<'_>,
    ) -> Option<Arc<Role>> {
        if let Some(role) = self.tied.get(name) {
            return Some(role.clone());
        }
        if let Some(start) = hops.iter().position(|(hop, _)| hop == name) {
            let ring = hops.get(start..).unwrap_or_default();
            reading.problem(ring_problem(ring));
            // Told once: none of them is looked at again.
            for (hop, _) in ring {
                self.drafts.remove(hop);
            }
            return None;
        }
        if let Some((_, at)) = hops.last().filter(|_| hops.len() >= LONGEST_CHAIN) {
            reading.problem(too_long(name, at));
            self.drafts.remove(name);
            return None;
        }
        if self.drafts.get(name)?.token.is_some() {
            let Draft { mut role, token, .. } = self.drafts.remove(name)?;
            role.request.base = Base::Token(token?);
            remaining::check(&role, reading);
            let role = Arc::new(role);
            self.tied.insert(name.clone(), role.clone());
            return Some(role);
        }
        let source = match self.drafts.get(name)?.source.clone() {
            None => At { value: SourceName::DEFAULT.to_owned(), at: Place::new(0, 0..0) },
            Some(source) => source,
        };
        let base = match source.value.strip_prefix(SourceName::ROLE_PREFIX) {
            None => self.source(&source, reading).map(Base::Source),
            Some(parent) => {
                let parent = self.parent(parent, &source, reading);
                parent.and_then(|parent| {
                    hops.push((name.clone(), source.at.clone()));
                    let role = self.tie(&parent, hops, reading);
                    hops.pop();
                    role.map(Base::Role)
                })
            }
        };
        let Draft { mut role, .. } = self.drafts.remove(name)?;
        role.request.base = base?;
        if role.ancestors().count() >= LONGEST_CHAIN {
            reading.problem(too_long(name, &source.at));
            return None;
        }
        check(&role, reading);
        let role = Arc::new(role);
        self.tied.insert(name.clone(), role.clone());
        Some(role)
    }

    fn source(&self, source: &At<String>, reading: &mut Reading<'_>) -> Option<Arc<Source>> {
        let text = source.value.as_str();
        let found = self.sources.iter().find(|(name, _)| name.as_str() == text);
        if let Some((_, found)) = found {
            return found.clone();
        }
        if !self.whole {
            return None;
        }
        let shown = text.escape_debug();
        let near = hint::nearest(text, self.sources.keys().map(SourceName::as_str));
        let help = match near {
            _ if self.names.iter().any(|name| name.as_str() == text) => {
                format!("to chain to that role, write \"{}{shown}\"", SourceName::ROLE_PREFIX)
            }
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("add [source.{shown}], or leave `source` out for the default one"),
        };
        let message = format!("`source` is \"{shown}\", and there is no such source");
        reading.problem(Problem::new(source.at.clone(), message).help(help));
        None
    }

    fn parent(
        &self,
        text: &str,
        source: &At<String>,
        reading: &mut Reading<'_>,
    ) -> Option<RoleName> {
        let found = self.names.iter().find(|name| name.as_str() == text);
        if found.is_none() && self.whole {
            let shown = text.escape_debug();
            let prefix = SourceName::ROLE_PREFIX;
            let help = match hint::nearest(text, self.names.iter().map(RoleName::as_str)) {
                Some(near) => format!("did you mean \"{prefix}{near}\"?"),
                None => format!(
                    "add [{prefix}{shown}]: it may be chained to without a workload that uses it"
                ),
            };
            let message = format!("`source` is \"{prefix}{shown}\", and there is no such role");
            reading.problem(Problem::new(source.at.clone(), message).help(help));
        }
        found.cloned()
    }
}

fn too_long(name: &RoleName, at: &Place) -> Problem {
    let message = format!("{name} is part of a chain of more than {LONGEST_CHAIN} roles");
    Problem::new(at.clone(), message).help(
        "each hop is one more session that has to be there: let the roles trust an earlier one",
    )
}

/// Roles that wait for each other.
fn ring_problem(ring: &[(RoleName, Place)]) -> Problem {
    let names: Vec<&str> = ring.iter().map(|(name, _)| name.as_str()).collect();
    let (Some(first), Some((_, at))) = (names.first(), ring.first()) else {
        return Problem::of_file(0, "roles wait for each other");
    };
    if names.len() == 1 {
        return Problem::new(at.clone(), format!("the role {first} is its own source")).help(
            "name a [source.*] or another role, or leave `source` out for the default source",
        );
    }
    let mut problem = Problem::new(
        at.clone(),
        format!("these roles wait for each other: {} needs {first}", names.join(" needs ")),
    )
    .help("the first of a chain needs a [source.*]: leave its `source` out for the default one");
    for (_, hop) in ring.iter().skip(1) {
        problem = problem.and("one hop", hop.clone(), "the next");
    }
    problem
}

/// What AWS refuses of a role that is assumed by a role.
fn check(role: &Role, reading: &mut Reading<'_>) {
    duration(role, reading);
    remaining::check(role, reading);
    source_identity(role, reading);
    tags(role, reading);
    itself(role, reading);
}

fn duration(role: &Role, reading: &mut Reading<'_>) {
    let seconds = role.duration.as_secs();
    if seconds <= LONGEST_CHAINED || !role.request.base.is_role_session() {
        return;
    }
    let by = match &role.request.base {
        Base::Role(parent) => format!("by the role {}", parent.name),
        Base::Source(source) => format!("by a role, that of the source {}", source.name),
        Base::Token(_) => return,
    };
    report(
        role,
        "duration_seconds",
        format!("`duration_seconds` is {seconds}, but {} is assumed {by}", role.name),
        "AWS grants an hour at most to a role that is assumed by a role: set duration_seconds = 3600 for it",
        reading,
    );
}

fn source_identity(role: &Role, reading: &mut Reading<'_>) {
    let Some(identity) = &role.request.source_identity else {
        return;
    };
    let first = role.ancestors().find(|parent| parent.request.source_identity.is_some());
    let Some(parent) = first else {
        return;
    };
    if parent.request.source_identity.as_ref() != Some(identity) {
        report_beside(
            role,
            parent,
            "source_identity",
            format!(
                "`source_identity` of {} is not that of {}, by which it is assumed",
                role.name, parent.name
            ),
            "it stays the same along a chain: leave it out here, or make both the same",
            reading,
        );
    }
}

fn tags(role: &Role, reading: &mut Reading<'_>) {
    for parent in role.ancestors() {
        for key in &parent.request.transitive_tag_keys {
            if role.request.tags.iter().any(|(tag, _)| same_key(tag, key)) {
                report_beside(
                    role,
                    parent,
                    "tags",
                    format!(
                        "`tags` of {} sets `{}`, which it inherits from {}",
                        role.name,
                        key.escape_debug(),
                        parent.name
                    ),
                    "a transitive tag cannot be set again: leave it out here",
                    reading,
                );
            }
        }
    }
}

/// A role that is assumed by itself: allowed by some trust policies, meant by nearly nobody.
fn itself(role: &Role, reading: &mut Reading<'_>) {
    if role.allow_self_assume {
        return;
    }
    let arn = &role.request.role_arn;
    let by_parent = role
        .request
        .base
        .parent()
        .filter(|parent| parent.request.role_arn == *arn)
        .map(|parent| format!("the role {}", parent.name));
    let by_source = match &role.request.base {
        Base::Source(source) if source.origin.role_arn() == Some(arn) => {
            Some(format!("the source {}", source.name))
        }
        Base::Source(_) | Base::Role(_) | Base::Token(_) => None,
    };
    if let Some(by) = by_parent.or(by_source) {
        report(
            role,
            "role_arn",
            format!("{} is assumed by {by}, which is a session of the same role", role.name),
            "if the role really is to assume itself, set allow_self_assume = true",
            reading,
        );
    }
}

fn report(role: &Role, key: &str, message: String, help: &str, reading: &mut Reading<'_>) {
    let problem = match place_or_section(role, key, reading) {
        Some(at) => Problem::new(at, message),
        None => Problem::of_file(0, message),
    };
    reading.problem(problem.help(help));
}

fn report_beside(
    role: &Role,
    parent: &Role,
    key: &str,
    message: String,
    help: &str,
    reading: &mut Reading<'_>,
) {
    let here = place_or_section(role, key, reading);
    let there = place_or_section(parent, key, reading).filter(|there| Some(there) != here.as_ref());
    let problem = match here {
        Some(at) => Problem::new(at, message),
        None => Problem::of_file(0, message),
    };
    let problem = match there {
        Some(there) => problem.and("this one", there, "the other one"),
        None => problem,
    };
    reading.problem(problem.help(help));
}

fn place_or_section(role: &Role, key: &str, reading: &Reading<'_>) -> Option<Place> {
    lint::place(role, key, reading).or_else(|| lint::place(role, "", reading))
}

/// `long-chain`, `parent-ends-early`.
pub(super) fn lint<'c>(config: &'c Config, reading: &Reading<'_>) -> Vec<(&'c Role, Problem)> {
    let roles = || config.roles.values().map(AsRef::as_ref);
    let long = roles().filter_map(|role| Some((role, long_chain(role, reading)?)));
    let early = roles().filter_map(|role| Some((role, parent_ends_early(role, reading)?)));
    long.chain(early).collect()
}

fn long_chain(role: &Role, reading: &Reading<'_>) -> Option<Problem> {
    let roles = role.ancestors().count() + 1;
    (roles > LONG_CHAIN + 1).then(|| {
        Problem::warning(
            "long-chain",
            lint::place(role, "source", reading),
            format!("{} is at the end of a chain of {roles} roles", role.name),
        )
        .help(
            "each hop is one more session that has to be there: let the role trust an earlier one",
        )
    })
}

fn parent_ends_early(role: &Role, reading: &Reading<'_>) -> Option<Problem> {
    let parent = role.request.base.parent()?;
    let lead = refresh_lead(role.duration.as_duration(), role.terms.min_remaining);
    (parent.duration.as_duration() < lead).then(|| {
        Problem::warning(
            "parent-ends-early",
            lint::place(parent, "duration_seconds", reading),
            format!(
                "sessions of {} last {} s, but {} is refreshed {} s before its end",
                parent.name,
                parent.duration.as_secs(),
                role.name,
                lead.as_secs()
            ),
        )
        .help("in an outage the first ends before the second can: give it as long a session")
    })
}

/// `unused-source`.
pub(super) fn unused(config: &Config, reading: &Reading<'_>) -> Vec<Problem> {
    let used: BTreeSet<&SourceName> = config
        .roles
        .values()
        .filter_map(|role| role.request.base.source())
        .map(|source| &source.name)
        .collect();
    // An empty [source.default] says what is true anyway.
    let default = Source::default_chain();
    let unused = config
        .sources
        .values()
        .filter(|source| !used.contains(&source.name) && ***source != default);
    unused
        .filter_map(|source| {
            let name = &source.name;
            let at = sources::place(name, reading)?;
            let message = format!("no role uses the source {name}, so it is never loaded");
            let problem = Problem::warning("unused-source", Some(at), message);
            Some(problem.help(format!("set source = \"{name}\" in a role, or remove it")))
        })
        .collect()
}
