//! Resolves each role's `source` to a source or another role. What AWS would refuse of a chain is refused here first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::min_remaining;
use crate::config::diagnostics::{Diagnostics, Place, Problem, nearest, suggest};
use crate::config::keys::roles::Draft;
use crate::config::keys::sources::NamedSources;
use crate::config::keys::tags::is_same_key;
use crate::role::{Base, Role, RoleName, SessionDuration, SourceName};

/// The most roles of a chain: more than anybody means, and little enough for every walk along it.
const LONGEST_CHAIN: usize = 16;

struct ChainResolver<'r> {
    drafts: BTreeMap<RoleName, Draft>,
    resolved: BTreeMap<RoleName, Arc<Role>>,
    sources: &'r NamedSources,
    /// Every role that is there, sound or not.
    names: &'r BTreeSet<RoleName>,
    /// All files could be read, so a name that is not found is not there.
    is_complete: bool,
    diagnostics: &'r Diagnostics<'r>,
}

/// Resolves all of them. A role whose base has a problem is left out; the problem is told.
pub(crate) fn resolve(
    drafts: BTreeMap<RoleName, Draft>,
    sources: &NamedSources,
    names: &BTreeSet<RoleName>,
    is_complete: bool,
    diagnostics: &Diagnostics<'_>,
) -> BTreeMap<RoleName, Arc<Role>> {
    let order: Vec<RoleName> = drafts.keys().cloned().collect();
    let resolved = BTreeMap::new();
    let mut resolver = ChainResolver { drafts, resolved, sources, names, is_complete, diagnostics };
    for name in &order {
        resolver.resolve(name, &mut Vec::new());
    }
    resolver.resolved
}

impl ChainResolver<'_> {
    /// Resolves a role after all that it is chained to; `hops` are the roles that led here, each with its `source`.
    fn resolve(&mut self, name: &RoleName, hops: &mut Vec<(RoleName, Place)>) -> Option<Arc<Role>> {
        if let Some(role) = self.resolved.get(name) {
            return Some(role.clone());
        }
        if let Some(start) = hops.iter().position(|(hop, _)| hop == name) {
            let ring = hops.get(start..).unwrap_or_default();
            self.diagnostics.emit(ring_problem(ring));
            // Told once: none of them is looked at again.
            for (hop, _) in ring {
                self.drafts.remove(hop);
            }
            return None;
        }
        if let Some((_, at)) = hops.last().filter(|_| hops.len() >= LONGEST_CHAIN) {
            self.diagnostics.emit(too_long(name, *at));
            self.drafts.remove(name);
            return None;
        }
        let draft = self.drafts.get(name)?;
        let source_at = draft.source.as_ref().map(|source| source.at);
        let base = match (draft.token.clone(), draft.source.clone()) {
            (Some(token), _) => Some(Base::Token(token)),
            (None, None) => self.default_source(),
            (None, Some(source)) => match source.value.strip_prefix(SourceName::ROLE_PREFIX) {
                None => self.source(&source.value, source.at),
                Some(parent) => self.parent(parent, source.at).and_then(|parent| {
                    hops.push((name.clone(), source.at));
                    let role = self.resolve(&parent, hops);
                    hops.pop();
                    role.map(Base::Role)
                }),
            },
        };
        // Gone if it was found to be one of a ring.
        let mut role = self.drafts.remove(name)?.role;
        role.request.base = base?;
        if role.ancestors().count() >= LONGEST_CHAIN {
            self.diagnostics.emit(too_long(name, source_at?));
            return None;
        }
        check(&role, self.diagnostics);
        let role = Arc::new(role);
        self.resolved.insert(name.clone(), role.clone());
        Some(role)
    }

    fn default_source(&self) -> Option<Base> {
        let mut named = self.sources.iter();
        let (_, source) = named.find(|(name, _)| name.as_str() == SourceName::DEFAULT)?;
        source.clone().map(Base::Source)
    }

    fn source(&self, text: &str, at: Place) -> Option<Base> {
        if let Some((_, found)) = self.sources.iter().find(|(name, _)| name.as_str() == text) {
            return found.clone().map(Base::Source);
        }
        if self.is_complete {
            let shown = text.escape_debug();
            let help = match self.names.iter().any(|name| name.as_str() == text) {
                true => {
                    format!("to chain to that role, write \"{}{shown}\"", SourceName::ROLE_PREFIX)
                }
                false => suggest(
                    text,
                    self.sources.keys().map(SourceName::as_str),
                    format!("add [source.{shown}], or leave `source` out for the default one"),
                ),
            };
            let message = format!("`source` is \"{shown}\", and there is no such source");
            self.diagnostics.emit(Problem::new(at, message).help(help));
        }
        None
    }

    fn parent(&self, text: &str, at: Place) -> Option<RoleName> {
        let found = self.names.iter().find(|name| name.as_str() == text);
        if found.is_none() && self.is_complete {
            let shown = text.escape_debug();
            let prefix = SourceName::ROLE_PREFIX;
            let help = match nearest(text, self.names.iter().map(RoleName::as_str)) {
                Some(near) => format!("did you mean \"{prefix}{near}\"?"),
                None => format!(
                    "add [{prefix}{shown}]: it may be chained to without a workload that uses it"
                ),
            };
            let message = format!("`source` is \"{prefix}{shown}\", and there is no such role");
            self.diagnostics.emit(Problem::new(at, message).help(help));
        }
        found.cloned()
    }
}

fn too_long(name: &RoleName, at: Place) -> Problem {
    let message = format!("{name} is part of a chain of more than {LONGEST_CHAIN} roles");
    Problem::new(at, message).help(
        "each hop is one more session that has to be there: let the roles trust an earlier one",
    )
}

/// Roles that wait for each other.
fn ring_problem(ring: &[(RoleName, Place)]) -> Problem {
    let names: Vec<&str> = ring.iter().map(|(name, _)| name.as_str()).collect();
    let (Some(first), Some((_, at))) = (names.first(), ring.first()) else {
        return Problem::for_file(0, "roles wait for each other");
    };
    if names.len() == 1 {
        return Problem::new(*at, format!("the role {first} is its own source")).help(
            "name a [source.*] or another role, or leave `source` out for the default source",
        );
    }
    let mut problem = Problem::new(
        *at,
        format!("these roles wait for each other: {} needs {first}", names.join(" needs ")),
    )
    .help("the first of a chain needs a [source.*]: leave its `source` out for the default one");
    for (_, hop) in ring.iter().skip(1) {
        problem = problem.and("one hop", *hop, "the next");
    }
    problem
}

/// Refuses what AWS refuses of a role that is assumed by a role.
fn check(role: &Role, diagnostics: &Diagnostics<'_>) {
    check_duration(role, diagnostics);
    min_remaining::check(role, diagnostics);
    check_source_identity(role, diagnostics);
    check_tags(role, diagnostics);
    check_self_assume(role, diagnostics);
}

fn check_duration(role: &Role, diagnostics: &Diagnostics<'_>) {
    let seconds = role.duration.as_secs();
    if seconds <= SessionDuration::LONGEST_CHAINED || !role.request.base.is_role_session() {
        return;
    }
    let by = match &role.request.base {
        Base::Role(parent) => format!("by the role {}", parent.name),
        Base::Source(source) => format!("by a role, that of the source {}", source.name),
        Base::Token(_) => return,
    };
    let message = format!("`duration_seconds` is {seconds}, but {} is assumed {by}", role.name);
    let help = "AWS grants an hour at most to a role that is assumed by a role: set duration_seconds = 3600 for it";
    emit(role, None, "duration_seconds", message, help, diagnostics);
}

fn check_source_identity(role: &Role, diagnostics: &Diagnostics<'_>) {
    let identity = &role.request.source_identity;
    let first = role.ancestors().find(|parent| parent.request.source_identity.is_some());
    if let Some(parent) = first.filter(|_| identity.is_some())
        && parent.request.source_identity != *identity
    {
        let message = format!(
            "`source_identity` of {} is not that of {}, by which it is assumed",
            role.name, parent.name
        );
        let help = "it stays the same along a chain: leave it out here, or make both the same";
        emit(role, Some(parent), "source_identity", message, help, diagnostics);
    }
}

fn check_tags(role: &Role, diagnostics: &Diagnostics<'_>) {
    for parent in role.ancestors() {
        for key in &parent.request.transitive_tag_keys {
            if role.request.tags.iter().any(|(tag, _)| is_same_key(tag, key)) {
                let key = key.escape_debug();
                let message = format!(
                    "`tags` of {} sets `{key}`, which it inherits from {}",
                    role.name, parent.name
                );
                let help = "a transitive tag cannot be set again: leave it out here";
                emit(role, Some(parent), "tags", message, help, diagnostics);
            }
        }
    }
}

/// A role that is assumed by itself: allowed by some trust policies, meant by nearly nobody.
fn check_self_assume(role: &Role, diagnostics: &Diagnostics<'_>) {
    let arn = &role.request.role_arn;
    let by = match &role.request.base {
        Base::Role(parent) if parent.request.role_arn == *arn => {
            format!("the role {}", parent.name)
        }
        Base::Source(source) if source.origin.role_arn() == Some(arn) => {
            format!("the source {}", source.name)
        }
        Base::Source(_) | Base::Role(_) | Base::Token(_) => return,
    };
    if !role.allow_self_assume {
        let message =
            format!("{} is assumed by {by}, which is a session of the same role", role.name);
        let help = "if the role really is to assume itself, set allow_self_assume = true";
        emit(role, None, "role_arn", message, help, diagnostics);
    }
}

/// A problem with a role's key, and with its parent's where that plays a part.
fn emit(
    role: &Role,
    parent: Option<&Role>,
    key: &str,
    message: String,
    help: &str,
    diagnostics: &Diagnostics<'_>,
) {
    let place = |role: &Role| {
        let place = diagnostics.role_place(&role.name, key);
        place.or_else(|| diagnostics.role_place(&role.name, ""))
    };
    let here = place(role);
    let there = parent.and_then(place).filter(|there| Some(*there) != here);
    diagnostics.emit(Problem::new(here, message).beside(there).help(help));
}
