//! Reads one `[role.NAME]`, with `[defaults]` standing in for what it leaves out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chains::Draft;
use super::host::Host;
use super::problem::{Place, Problem};
use super::reading::Reading;
use super::region::partition_of;
use super::section::Section;
use super::value::At;
use super::{
    callers, credentials_file, files, lint, operation, policy, remaining, session_name, tags,
};
use crate::role::{
    AssumeRole, Base, ExternalId, InvalidValue, OnDenied, Role, RoleArn, RoleName, SessionDuration,
    SessionName, Source, SourceIdentity, Terms, TokenSource,
};

/// What a role must know of `[sts]` to be checked.
#[derive(Debug, Default)]
pub(super) struct StsFacts {
    pub(super) region: Option<At<String>>,
    /// There is an `endpoint_url`: what answers may not be AWS.
    pub(super) custom_endpoint: bool,
    pub(super) unsafe_short_sessions: bool,
}

const DEFAULT_DURATION: i64 = 3600;
const DEFAULT_SESSION_NAME: &str = "{role}-{hostname}";

/// Reads a role. `None` where something without a default is missing or wrong; the reading knows what.
pub(super) fn read(
    name: &RoleName,
    section: &mut Section<'_>,
    sts: &StsFacts,
    reading: &mut Reading<'_>,
) -> Option<Draft> {
    let arn = read_arn(section, sts, reading);
    let role_arn = arn.as_ref().map(|arn| &arn.value);
    let session_name = read_session_name(name, role_arn, section, reading);
    let source_identity =
        section.text("source_identity", reading, not_reserved).and_then(|template| {
            named("source_identity", &template, name, role_arn, SourceIdentity::parse, reading)
        });
    let duration = section
        .integer("duration_seconds", reading, |seconds| {
            SessionDuration::from_secs(seconds, sts.unsafe_short_sessions)
        })
        .map(|found| found.value)
        .or_else(|| SessionDuration::from_secs(DEFAULT_DURATION, false).ok());
    let external_id = read_external_id(section, reading);
    let policy = read_policy(section, reading);
    let policy_arns = read_policy_arns(role_arn, section, reading);
    let tags = tags::read(section, reading);
    let transitive_tag_keys = tags::read_transitive(section, &tags, reading);
    let (source, base_token) = operation::read(section, policy.as_deref(), &policy_arns, reading);
    let required = section.boolean("required", reading).is_none_or(|found| found.value);
    let on_denied = section
        .text("on_denied", reading, |text| match text {
            "keep" => Ok(OnDenied::Keep),
            "drop" => Ok(OnDenied::Drop),
            other => Err(InvalidValue::new(
                format!("is `{}`", other.escape_debug()),
                "expected \"keep\" (vend until expiry) or \"drop\" (a revoked trust bites at once)",
            )),
        })
        .map(|found| found.value)
        .unwrap_or_default();
    let min_remaining = remaining::read(section, reading);
    let account_id = read_account_id(role_arn, section, reading);
    let token = read_token(section, reading);
    let callers = callers::read(section, reading);
    let credentials_file = credentials_file::read(section, &token, &callers, reading);
    lint::read_accepted(name, section, reading);
    let minimum_session_token_size =
        section.integer("minimum_session_token_size", reading, token_size).map(|found| found.value);
    let allow_self_assume =
        section.boolean("allow_self_assume", reading).is_some_and(|found| found.value);
    let role = Role {
        name: name.clone(),
        request: AssumeRole {
            role_arn: arn?.value,
            session_name: session_name?,
            external_id,
            policy,
            policy_arns,
            tags,
            transitive_tag_keys,
            source_identity,
            base: Base::Source(Arc::new(Source::default_chain())),
        },
        duration: duration?,
        required,
        terms: Terms { on_denied, min_remaining },
        account_id,
        minimum_session_token_size,
        allow_self_assume,
        token,
        callers,
        credentials_file,
    };
    Some(Draft { role, source, token: base_token })
}

fn read_arn(
    section: &mut Section<'_>,
    sts: &StsFacts,
    reading: &mut Reading<'_>,
) -> Option<At<RoleArn>> {
    if !section.has("role_arn") {
        section.knows("role_arn");
        section.missing("role_arn", "add role_arn = \"arn:aws:iam::ACCOUNT:role/NAME\"", reading);
        return None;
    }
    let arn =
        section.text("role_arn", reading, |text| RoleArn::parse(text, sts.custom_endpoint))?;
    if let Some(region) = &sts.region
        && let Some(partition) = partition_of(&region.value)
        && partition != arn.value.partition()
    {
        reading.problem(
            Problem::new(
                arn.at.clone(),
                format!(
                    "`role_arn` is of the partition `{}`, but the region {} is of `{partition}`",
                    arn.value.partition(),
                    region.value
                ),
            )
            .and("this role", region.at.clone(), "this region")
            .help("a session cannot cross partitions: correct one of them"),
        );
    }
    Some(arn)
}

fn read_session_name(
    name: &RoleName,
    arn: Option<&RoleArn>,
    section: &mut Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<SessionName> {
    match section.string("role_session_name", reading) {
        Some(template) => {
            named("role_session_name", &template, name, arn, SessionName::parse, reading)
        }
        None => {
            let key = (name.to_string(), "role_session_name");
            reading.names_host.insert(key);
            let default = session_name::expand(DEFAULT_SESSION_NAME, Some(name), arn, reading.host)
                .and_then(|text| SessionName::parse(&text));
            match default {
                Ok(name) => Some(name),
                // A role must never be left out in silence, even if no host is known to get here.
                Err(refused) => {
                    let help = format!("the default {DEFAULT_SESSION_NAME} {refused}");
                    section.missing("role_session_name", &help, reading);
                    None
                }
            }
        }
    }
}

/// Said of the template, since filling it in replaces the colon.
fn not_reserved(template: &str) -> Result<String, InvalidValue> {
    if template.starts_with("aws:") {
        return Err(InvalidValue::new("begins with `aws:`", "AWS keeps that prefix for itself"));
    }
    Ok(template.to_owned())
}

/// Fills in a template and parses what comes out.
fn named<T>(
    key: &'static str,
    template: &At<impl AsRef<str>>,
    name: &RoleName,
    arn: Option<&RoleArn>,
    parse: impl FnOnce(&str) -> Result<T, InvalidValue>,
    reading: &mut Reading<'_>,
) -> Option<T> {
    let template_text = template.value.as_ref();
    if session_name::names_host(template_text) {
        reading.names_host.insert((name.to_string(), key));
    }
    let text = match session_name::expand(template_text, Some(name), arn, reading.host) {
        Ok(text) => text,
        Err(refused) => {
            reading.refuse(&template.at, &format!("`{key}`"), &refused);
            return None;
        }
    };
    // Without an ARN two variables are empty; what that does to the name is no second problem.
    arn?;
    match parse(&text) {
        Ok(parsed) => Some(parsed),
        Err(refused) => {
            let subject = if text == template_text {
                format!("`{key}`")
            } else {
                format!("`{key}` becomes `{text}` for the role {name}, which")
            };
            reading.refuse(&template.at, &subject, &refused);
            None
        }
    }
}

fn read_external_id(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<ExternalId> {
    if section.one_of(&["external_id", "external_id_file"], reading)? == "external_id" {
        return Some(section.text("external_id", reading, ExternalId::parse)?.value);
    }
    let path = section.string("external_id_file", reading)?;
    let text = read_file("external_id_file", &path, reading)?;
    // Editors and `echo` end a file with a newline that nobody means.
    match ExternalId::parse(text.trim_end_matches(['\n', '\r'])) {
        Ok(id) => Some(id),
        Err(refused) => {
            reading.refuse(&path.at, "the text in `external_id_file`", &refused);
            None
        }
    }
}

fn read_policy(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<String> {
    if section.one_of(&["policy", "policy_file"], reading)? == "policy" {
        return Some(section.text("policy", reading, policy::session_policy)?.value);
    }
    let path = section.string("policy_file", reading)?;
    let text = read_file("policy_file", &path, reading)?;
    match policy::session_policy(&text) {
        Ok(policy) => Some(policy),
        Err(refused) => {
            reading.refuse(&path.at, "the policy in `policy_file`", &refused);
            None
        }
    }
}

fn read_policy_arns(
    role: Option<&RoleArn>,
    section: &mut Section<'_>,
    reading: &mut Reading<'_>,
) -> Vec<String> {
    let Some(found) = section.strings("policy_arns", reading) else {
        return Vec::new();
    };
    if found.value.len() > policy::MAX_POLICY_ARNS {
        reading.problem(
            Problem::new(found.at, format!("`policy_arns` has {} entries", found.value.len()))
                .help(format!("expected at most {}", policy::MAX_POLICY_ARNS)),
        );
    }
    let mut arns: Vec<String> = Vec::with_capacity(found.value.len());
    let mut places: Vec<(&str, &Place)> = Vec::new();
    for item in &found.value {
        if let Some((_, first)) = places.iter().find(|(text, _)| *text == item.value) {
            reading.problem(
                Problem::new(item.at.clone(), "`policy_arns` holds the same policy twice")
                    .and("this one", (*first).clone(), "the other one")
                    .help("remove one"),
            );
        }
        places.push((item.value, &item.at));
        match policy::policy_arn(item.value, role) {
            Ok(arn) => arns.push(arn),
            Err(refused) => reading.refuse(&item.at, "`policy_arns`", &refused),
        }
    }
    arns
}

fn read_account_id(
    role: Option<&RoleArn>,
    section: &mut Section<'_>,
    reading: &mut Reading<'_>,
) -> bool {
    let Some(found) = section.boolean("account_id", reading) else {
        return false;
    };
    if found.value && role.is_some_and(|role| role.account_id().is_empty()) {
        reading.problem(
            Problem::new(found.at, "`account_id` is true, but the role's ARN has no account")
                .help("remove it: there is nothing to put in the answer"),
        );
    }
    found.value
}

fn read_token(section: &mut Section<'_>, reading: &mut Reading<'_>) -> TokenSource {
    let given = section.one_of(&["token_group", "token_file", "unsafe_no_token"], reading);
    let no_token = section.boolean("unsafe_no_token", reading).is_some_and(|found| found.value);
    match given {
        Some("unsafe_no_token") if no_token => TokenSource::None,
        Some("token_file") => {
            let path = section.text("token_file", reading, not_blank);
            let path = path.map(|path| resolve(Path::new(&path.value), &path.at, reading));
            TokenSource::File(path.unwrap_or_default())
        }
        Some(_) | None => TokenSource::Generated {
            group: section.text("token_group", reading, group_name).map(|found| found.value),
        },
    }
}

/// A group's name or number. Whether there is such a group is a question for the start, not for the file.
pub(super) fn group_name(text: &str) -> Result<String, InvalidValue> {
    let odd =
        text.chars().find(|c| c.is_whitespace() || c.is_control() || matches!(c, ':' | ',' | '/'));
    match odd {
        Some(odd) => {
            Err(InvalidValue::new(format!("holds {odd:?}"), "expected the name of one group"))
        }
        None => not_blank(text),
    }
}

/// `minimumSessionTokenSizeType`.
fn token_size(bytes: i64) -> Result<u32, InvalidValue> {
    const MOST: i64 = 4096;
    u32::try_from(bytes).ok().filter(|_| bytes <= MOST).ok_or_else(|| {
        InvalidValue::new(format!("is {bytes}"), format!("expected 0 to {MOST} bytes"))
    })
}

pub(super) fn not_blank(text: &str) -> Result<String, InvalidValue> {
    if text.trim().is_empty() {
        return Err(InvalidValue::new("is empty", "fill it in, or leave the key out"));
    }
    Ok(text.to_owned())
}

fn read_file(key: &str, path: &At<&str>, reading: &mut Reading<'_>) -> Option<String> {
    let full = resolve(Path::new(path.value), &path.at, reading);
    let refused = match Host::read(reading.host, &full) {
        Ok(bytes) if bytes.len() as u64 > files::MAX_BYTES => {
            InvalidValue::new("is larger than 1 MiB", "check that this is the right file")
        }
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => return Some(text),
            Err(_) => InvalidValue::new("is not UTF-8", "save it as UTF-8"),
        },
        Err(error) => files::unreadable(&error),
    };
    reading.refuse(&path.at, &format!("the file that `{key}` names"), &refused);
    None
}

/// A relative path is meant from the file that it is written in, wherever the daemon was started.
pub(super) fn resolve(path: &Path, at: &Place, reading: &Reading<'_>) -> PathBuf {
    let base = reading.sources.get(at.file).and_then(|source| source.path().parent());
    base.map_or_else(|| path.to_owned(), |base| base.join(path))
}
