//! Lints about what a role asks of STS.

use std::collections::BTreeMap;

use super::{LintInput, LintWarning};
use crate::config::diagnostics::Problem;
use crate::config::keys::policy;
use crate::role::{RequestIdentity, Role, SessionDuration};

/// Sessions of 3000 s are refreshed with 25 minutes left, which keeps every SDK content.
const SHORT_SESSION: u32 = 3000;

pub(super) fn short_session(all: &LintInput<'_>, role: &Role) -> Option<Problem> {
    let seconds = role.duration.as_secs();
    // An emulator's sessions are meant to be short.
    (seconds < SHORT_SESSION && !all.config.sts.unsafe_short_sessions).then(|| {
        let message = format!("sessions of {seconds} seconds make some clients fetch on every request");
        Problem::new(all.place(role, "duration_seconds"), message)
            .help("botocore, the SDKs for Java and .NET, and s3fs renew 15 to 20 minutes ahead: ask for 3000 seconds or more")
    })
}

pub(super) fn below_aws_minimum(all: &LintInput<'_>, role: &Role) -> Option<Problem> {
    let sts = &all.config.sts;
    let seconds = role.duration.as_secs();
    (seconds < SessionDuration::SHORTEST && sts.endpoint_url(&sts.region).is_none()).then(|| {
        let message = format!("sessions of {seconds} seconds are refused by AWS");
        Problem::new(all.place(role, "duration_seconds"), message)
            .help("set sts.endpoint_url to the emulator that this is meant for, or ask for 900 seconds or more")
    })
}

pub(super) fn comma_in_arn(all: &LintInput<'_>, role: &Role) -> Option<Problem> {
    role.request.role_arn.as_str().contains(',').then(|| {
        Problem::new(all.place(role, "role_arn"), "a comma in the role's ARN breaks s3fs")
            .help("s3fs splits the answer at commas; other clients do not mind")
    })
}

pub(super) fn policy_size(all: &LintInput<'_>, role: &Role) -> Option<Problem> {
    let size = policy::size(role.request.policy.as_deref(), &role.request.policy_arns);
    (size > policy::DOCUMENTED_MAX).then(|| {
        let place = policy::KEYS.iter().find_map(|key| all.place(role, key));
        let message = format!("the session policy and its ARNs have {size} characters");
        Problem::new(place, message).help(format!(
            "AWS documents {} at most: if STS refuses it, move statements into policy_arns",
            policy::DOCUMENTED_MAX
        ))
    })
}

/// Only the operator can say whose an account is.
pub(super) fn missing_external_id(all: &LintInput<'_>, role: &Role) -> Option<Problem> {
    let account = role.request.role_arn.account_id();
    (is_foreign(all, role) && role.request.external_id.is_none()).then(|| {
        let message = format!(
            "no external id for a role of the account {account}, which is not in sts.own_account_ids"
        );
        Problem::new(all.place(role, "role_arn"), message).help(
            "agree on one with its owner and set external_id: otherwise whoever can hand roletap an ARN can have it use \
             theirs; if the account is yours, add it to sts.own_account_ids",
        )
    })
}

pub(super) fn host_name_in_foreign_account<'f>(all: &LintInput<'f>) -> Vec<LintWarning<'f>> {
    let mut found = Vec::new();
    for role in all.roles().filter(|role| is_foreign(all, role)) {
        let keys = all.notes.get(&role.name).map(|notes| notes.names_host.as_slice());
        for key in keys.unwrap_or_default() {
            // Nobody wrote the default; what brings it up is that there are accounts of others.
            let place = all.place(role, key).or_else(|| all.places.get("sts", "own_account_ids"));
            let message = format!(
                "`{key}` tells the names of hosts to the owners of roles in other accounts"
            );
            let problem = Problem::new(place, message).help(
                "their CloudTrail records it: use {instance_id} instead; or, if that is meant, \
                 accept_warnings = [\"host-name-in-foreign-account\"]",
            );
            found.push(LintWarning { role: Some(role), problem });
        }
    }
    found
}

pub(super) fn arns_differ_in_case<'f>(all: &LintInput<'f>) -> Vec<LintWarning<'f>> {
    let mut seen: BTreeMap<String, &Role> = BTreeMap::new();
    let mut found = Vec::new();
    for role in all.roles_by_place() {
        let lower = role.request.role_arn.as_str().to_ascii_lowercase();
        let first = *seen.entry(lower).or_insert(role);
        if first.request.role_arn != role.request.role_arn {
            let message =
                format!("the role ARNs of {} and {} differ only in case", first.name, role.name);
            let problem = Problem::new(all.place(role, "role_arn"), message)
                .beside(all.place(first, "role_arn"))
                .help("an account has at most one role of that name, and AssumeRole looks at case: one of them will be denied");
            found.push(LintWarning { role: Some(role), problem });
        }
    }
    found
}

pub(super) fn identical<'f>(all: &LintInput<'f>) -> Vec<LintWarning<'f>> {
    let mut seen: BTreeMap<(RequestIdentity, SessionDuration), &Role> = BTreeMap::new();
    let mut found = Vec::new();
    for role in all.roles_by_place() {
        let request = RequestIdentity::new(&role.request);
        let first = *seen.entry((request, role.duration)).or_insert(role);
        if first.name != role.name {
            let message = format!("{} and {} ask STS for the same thing", first.name, role.name);
            let problem = Problem::new(all.place(role, ""), message)
                .beside(all.place(first, ""))
                .help("one role may serve many consumers; or tell the sessions apart by role_session_name");
            found.push(LintWarning { role: Some(role), problem });
        }
    }
    found
}

fn is_foreign(all: &LintInput<'_>, role: &Role) -> bool {
    all.config.sts.is_foreign(role.request.role_arn.account_id()) == Some(true)
}
