//! Accepted configurations that deserve a look. Offline and certain only: a lint that guesses teaches people to skip
//! lints.
//!
//! Each lint has an id that stays the same over releases.

mod chains;
mod endpoints;
mod files;
mod requests;

use std::collections::BTreeMap;

use super::diagnostics::{Diagnostics, Place, Places, Problem, suggest};
use super::keys::roles::Notes;
use super::resolve::credentials_file::Directories;
use super::{Config, ConfigFile};
use crate::role::{InvalidValue, Role, RoleName};

/// A finished configuration, and where it was written.
pub(super) struct LintInput<'f> {
    pub(super) config: &'f Config,
    pub(super) files: &'f [ConfigFile],
    pub(super) places: &'f Places,
    pub(super) notes: &'f BTreeMap<RoleName, Notes>,
    pub(super) directories: &'f Directories,
}

struct Lint {
    id: &'static str,
    about: Subject,
    run: for<'f> fn(&LintInput<'f>) -> Vec<LintWarning<'f>>,
}

/// The subject of a lint. A warning about a role can be accepted in the role.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Role,
    Whole,
}

struct LintWarning<'f> {
    role: Option<&'f Role>,
    problem: Problem,
}

const LINTS: &[Lint] = &[
    whole("no-final-newline", files::no_final_newline),
    whole("endpoint-without-tls", endpoints::without_tls),
    role("short-session", |all| each_role(all, requests::short_session)),
    role("session-below-aws-minimum", |all| each_role(all, requests::below_aws_minimum)),
    role("comma-in-role-arn", |all| each_role(all, requests::comma_in_arn)),
    role("policy-size", |all| each_role(all, requests::policy_size)),
    role("missing-external-id", |all| each_role(all, requests::missing_external_id)),
    role("host-name-in-foreign-account", requests::host_name_in_foreign_account),
    role("arns-differ-in-case", requests::arns_differ_in_case),
    role("identical-requests", requests::identical),
    role("long-chain", |all| each_role(all, chains::long)),
    role("parent-ends-early", |all| each_role(all, chains::parent_expires_early)),
    role("imds-open-to-every-process", endpoints::open_to_every_process),
    role("credentials-file-on-disk", |all| each_role(all, files::on_disk)),
    role("credentials-file-in-open-directory", |all| each_role(all, files::in_open_directory)),
    whole("unused-source", chains::unused_sources),
];

type Run = for<'f> fn(&LintInput<'f>) -> Vec<LintWarning<'f>>;

const fn role(id: &'static str, run: Run) -> Lint {
    Lint { id, about: Subject::Role, run }
}

const fn whole(id: &'static str, run: Run) -> Lint {
    Lint { id, about: Subject::Whole, run }
}

/// Runs every lint, and leaves out the warnings that a role accepts.
pub(super) fn run(all: &LintInput<'_>) -> Vec<Problem> {
    let findings = LINTS.iter().flat_map(|lint| {
        (lint.run)(all)
            .into_iter()
            .filter(|finding| !all.accepts(finding.role, lint.id))
            .map(|finding| finding.problem.into_warning(lint.id))
    });
    findings.collect()
}

/// Refuses `accept_warnings` that name no lint about a role.
pub(super) fn check_accepted(notes: &BTreeMap<RoleName, Notes>, diagnostics: &Diagnostics<'_>) {
    let about_roles = LINTS.iter().filter(|lint| lint.about == Subject::Role);
    let mut ids: Vec<&str> = about_roles.map(|lint| lint.id).collect();
    ids.sort_unstable();
    let accepted = notes.values().flat_map(|notes| &notes.accepted);
    for id in accepted.filter(|id| !ids.contains(&id.value.as_str())) {
        let otherwise = format!("expected some of {}", ids.join(", "));
        let help = suggest(&id.value, ids.iter().copied(), otherwise);
        let shown = id.value.escape_debug();
        let what = format!("names `{shown}`, which is no warning about a role");
        diagnostics.invalid(id.at, "`accept_warnings`", &InvalidValue::new(what, help));
    }
}

impl<'f> LintInput<'f> {
    fn roles(&self) -> impl Iterator<Item = &'f Role> + use<'f> {
        self.config.roles.values().map(AsRef::as_ref)
    }

    /// In the order they are written, so that "the first" is what a reader would call it.
    fn roles_by_place(&self) -> Vec<&'f Role> {
        let mut roles: Vec<&Role> = self.roles().collect();
        roles.sort_by_key(|role| self.place(role, ""));
        roles
    }

    fn place(&self, role: &Role, key: &str) -> Option<Place> {
        self.places.of_role(&role.name, key)
    }

    fn accepts(&self, role: Option<&Role>, id: &str) -> bool {
        let notes = role.and_then(|role| self.notes.get(&role.name));
        notes.is_some_and(|notes| notes.accepted.iter().any(|accepted| accepted.value == id))
    }
}

fn each_role<'f>(
    all: &LintInput<'f>,
    check: impl Fn(&LintInput<'f>, &'f Role) -> Option<Problem>,
) -> Vec<LintWarning<'f>> {
    let found = |role| Some(LintWarning { role: Some(role), problem: check(all, role)? });
    all.roles().filter_map(found).collect()
}
