//! What is accepted but deserves a look. Offline and certain only: a lint that guesses teaches people to skip lints.
//!
//! Each lint has an id that stays the same over releases.

use std::collections::BTreeMap;

use super::problem::{Place, Problem};
use super::reading::Reading;
use super::section::Section;
use super::{Config, chains, credentials_file, files, hint, imds, policy};
use crate::role::{InvalidValue, Role, RoleName};

/// What `accept_warnings` of a role may name: each lint about a role.
const ABOUT_ROLES: [&str; 13] = [
    "arns-differ-in-case",
    "comma-in-role-arn",
    "credentials-file-in-open-directory",
    "credentials-file-on-disk",
    "host-name-in-foreign-account",
    "identical-requests",
    "imds-open-to-every-process",
    "long-chain",
    "missing-external-id",
    "parent-ends-early",
    "policy-size",
    "session-below-aws-minimum",
    "short-session",
];
/// Sessions of 3000 s are refreshed with 25 minutes left, which keeps every SDK content.
const SHORT_SESSION: u32 = 3000;

pub(super) fn lint(config: &Config, reading: &Reading<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    for (file, source) in reading.sources.iter().enumerate() {
        found.extend(no_final_newline(file, source));
    }
    found.extend(endpoint_without_tls(config, reading));
    let mut about_roles: Vec<(&Role, Problem)> = Vec::new();
    for role in config.roles.values().map(AsRef::as_ref) {
        let one = [
            short_session(config, role, reading),
            comma_in_role_arn(role, reading),
            policy_size(role, reading),
            missing_external_id(config, role, reading),
            host_name_in_foreign_account(config, role, "role_session_name", reading),
            host_name_in_foreign_account(config, role, "source_identity", reading),
        ];
        about_roles.extend(one.into_iter().flatten().map(|problem| (role, problem)));
    }
    about_roles.extend(arns_differ_in_case(config, reading));
    about_roles.extend(identical_requests(config, reading));
    about_roles.extend(chains::lint(config, reading));
    about_roles.extend(imds::lint(config, reading));
    about_roles.extend(credentials_file::lint(config, reading));
    found.extend(
        about_roles
            .into_iter()
            .filter(|(role, problem)| !is_accepted(role, problem, reading))
            .map(|(_, problem)| problem),
    );
    found.extend(chains::unused(config, reading));
    found
}

/// `accept_warnings`: somebody has looked, and means it so.
pub(super) fn read_accepted(name: &RoleName, section: &mut Section<'_>, reading: &mut Reading<'_>) {
    let Some(found) = section.strings("accept_warnings", reading) else {
        return;
    };
    for item in &found.value {
        if ABOUT_ROLES.contains(&item.value) {
            let accepted = (name.to_string(), item.value.to_owned());
            reading.accepted.insert(accepted);
            continue;
        }
        let help = match hint::nearest(item.value, ABOUT_ROLES) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("expected some of {}", ABOUT_ROLES.join(", ")),
        };
        let what =
            format!("names `{}`, which is no warning about a role", item.value.escape_debug());
        reading.refuse(&item.at, "`accept_warnings`", &InvalidValue::new(what, help));
    }
}

fn is_accepted(role: &Role, problem: &Problem, reading: &Reading<'_>) -> bool {
    let id = problem.id().unwrap_or_default();
    let key = (role.name.to_string(), id.to_owned());
    reading.accepted.contains(&key)
}

/// `missing-external-id`. Whose an account is, only the operator can say.
fn missing_external_id(config: &Config, role: &Role, reading: &Reading<'_>) -> Option<Problem> {
    let account = role.request.role_arn.account_id();
    let foreign = config.sts.is_foreign(account) == Some(true);
    (foreign && role.request.external_id.is_none()).then(|| {
        Problem::warning(
            "missing-external-id",
            place(role, "role_arn", reading),
            format!("no external id for a role of the account {account}, which is not one of ours"),
        )
        .help(
            "agree on one with its owner and set external_id: otherwise whoever can hand us an ARN can have us use \
             theirs; if the account is ours, add it to sts.own_account_ids",
        )
    })
}

/// `host-name-in-foreign-account`.
fn host_name_in_foreign_account(
    config: &Config,
    role: &Role,
    key: &'static str,
    reading: &Reading<'_>,
) -> Option<Problem> {
    let foreign = config.sts.is_foreign(role.request.role_arn.account_id()) == Some(true);
    let names_host = (role.name.to_string(), key);
    (foreign && reading.names_host.contains(&names_host)).then(|| {
        // Nobody wrote the default; what brings it up is that there are accounts of others.
        let at =
            place(role, key, reading).or_else(|| reading.place("sts", "own_account_ids").cloned());
        Problem::warning(
            "host-name-in-foreign-account",
            at,
            format!(
                "`{key}` tells the names of our hosts to the owners of roles in other accounts"
            ),
        )
        .help(
            "their CloudTrail records it: use {instance_id} instead; or, if that is meant, \
             accept_warnings = [\"host-name-in-foreign-account\"]",
        )
    })
}

/// `short-session`, and `session-below-aws-minimum`.
fn short_session(config: &Config, role: &Role, reading: &Reading<'_>) -> Option<Problem> {
    let seconds = role.duration.as_secs();
    let at = place(role, "duration_seconds", reading);
    if config.sts.unsafe_short_sessions {
        // An emulator's sessions are meant to be short. AWS refuses them.
        return (seconds < 900 && config.sts.endpoint_url(&config.sts.region).is_none()).then(|| {
            Problem::warning(
                "session-below-aws-minimum",
                at,
                format!("sessions of {seconds} seconds are refused by AWS"),
            )
            .help("set sts.endpoint_url to the emulator that this is meant for, or ask for 900 seconds or more")
        });
    }
    (seconds < SHORT_SESSION).then(|| {
        Problem::warning(
            "short-session",
            at,
            format!("sessions of {seconds} seconds make some clients fetch on every request"),
        )
        .help("botocore, the SDKs for Java and .NET, and s3fs renew 15 to 20 minutes ahead: ask for 3000 seconds or more")
    })
}

/// `comma-in-role-arn`.
fn comma_in_role_arn(role: &Role, reading: &Reading<'_>) -> Option<Problem> {
    role.request.role_arn.as_str().contains(',').then(|| {
        Problem::warning(
            "comma-in-role-arn",
            place(role, "role_arn", reading),
            "a comma in the role's ARN breaks s3fs",
        )
        .help("s3fs splits the answer at commas; other clients do not mind")
    })
}

/// `policy-size`.
fn policy_size(role: &Role, reading: &Reading<'_>) -> Option<Problem> {
    let request = &role.request;
    let policy = request.policy.as_deref().unwrap_or_default().chars().count();
    let arns: usize = request.policy_arns.iter().map(|arn| arn.chars().count()).sum();
    (policy + arns > policy::DOCUMENTED_MAX).then(|| {
        let at = place(role, "policy", reading)
            .or_else(|| place(role, "policy_file", reading))
            .or_else(|| place(role, "policy_arns", reading));
        Problem::warning(
            "policy-size",
            at,
            format!("the session policy and its ARNs have {} characters", policy + arns),
        )
        .help(format!(
            "AWS documents {} at most: if STS refuses it, move statements into policy_arns",
            policy::DOCUMENTED_MAX
        ))
    })
}

/// `arns-differ-in-case`.
fn arns_differ_in_case<'c>(config: &'c Config, reading: &Reading<'_>) -> Vec<(&'c Role, Problem)> {
    let mut seen: BTreeMap<String, &Role> = BTreeMap::new();
    let mut found = Vec::new();
    for role in by_place(config, reading) {
        let lower = role.request.role_arn.as_str().to_ascii_lowercase();
        let first = *seen.entry(lower).or_insert(role);
        if first.request.role_arn != role.request.role_arn {
            found.push((
                role,
                with_other(
                    Problem::warning(
                        "arns-differ-in-case",
                        place(role, "role_arn", reading),
                        format!("the role ARNs of {} and {} differ only in case", first.name, role.name),
                    ),
                    place(first, "role_arn", reading),
                )
                .help("an account has at most one role of that name, and AssumeRole looks at case: one of them will be denied"),
            ));
        }
    }
    found
}

/// `identical-requests`.
fn identical_requests<'c>(config: &'c Config, reading: &Reading<'_>) -> Vec<(&'c Role, Problem)> {
    let mut seen: BTreeMap<&str, Vec<&Role>> = BTreeMap::new();
    let mut found = Vec::new();
    for role in by_place(config, reading) {
        let of_this_arn = seen.entry(role.request.role_arn.as_str()).or_default();
        let same = |other: &&&Role| other.same_request(role) && other.duration == role.duration;
        if let Some(first) = of_this_arn.iter().find(same) {
            found.push((
                role,
                with_other(
                    Problem::warning(
                        "identical-requests",
                        place(role, "", reading),
                        format!("{} and {} ask STS for the same thing", first.name, role.name),
                    ),
                    place(first, "", reading),
                )
                .help("one role may serve many consumers; or tell the sessions apart by role_session_name"),
            ));
        } else {
            of_this_arn.push(role);
        }
    }
    found
}

/// `endpoint-without-tls`.
fn endpoint_without_tls(config: &Config, reading: &Reading<'_>) -> Option<Problem> {
    let url = config.sts.endpoint_url(&config.sts.region)?;
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let local =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    (uri.scheme_str() == Some("http") && !local).then(|| {
        Problem::warning(
            "endpoint-without-tls",
            reading.place("sts", "endpoint_url").cloned(),
            "credentials will cross the network in the clear",
        )
        .help("use https")
    })
}

/// `no-final-newline`. A copy that was cut short may still parse: `duration_seconds = 36` for 3600.
fn no_final_newline(file: usize, source: &files::ConfigFile) -> Option<Problem> {
    let text = source.contents();
    (!text.is_empty() && !text.ends_with('\n')).then(|| {
        Problem::warning("no-final-newline", None, "the file does not end with a newline")
            .in_file(file)
            .help("check that it is complete, and end its last line")
    })
}

pub(super) fn place(role: &Role, key: &str, reading: &Reading<'_>) -> Option<Place> {
    reading.place(&format!("role.{}", role.name), key).cloned()
}

fn with_other(problem: Problem, other: Option<Place>) -> Problem {
    match other {
        Some(other) => problem.and("this one", other, "the other one"),
        None => problem,
    }
}

/// In the order they are written, so that "the first" is what a reader would call it.
fn by_place<'c>(config: &'c Config, reading: &Reading<'_>) -> Vec<&'c Role> {
    let mut roles: Vec<&Role> = config.roles.values().map(AsRef::as_ref).collect();
    roles.sort_by_key(|role| place(role, "", reading));
    roles
}
