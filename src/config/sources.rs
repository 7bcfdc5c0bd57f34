//! Reads `[source.*]`: where the identities come from that sign for roles.
//!
//! A source has one kind, and the key that stands in it says which. Without any it is the SDK's chain.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::documents::Document;
use super::problem::{Place, Problem};
use super::reading::Reading;
use super::roles::{self, StsFacts};
use super::section::Section;
use super::value::At;
use super::{named, session_name};
use crate::role::{
    CommandLine, InvalidValue, Origin, RoleArn, SessionName, Source, SourceName, WebIdentity,
};

const DEFAULT_SESSION_NAME: &str = "roletap-{hostname}";

/// The key that makes a source what it is, and those that go with it.
const KINDS: &[(&str, &[&str])] = &[
    ("environment", &[]),
    ("profile", &["config_file", "shared_credentials_file"]),
    ("web_identity_token_file", &["role_arn", "role_session_name"]),
    ("imds", &["imds_endpoint"]),
    ("credential_process", &[]),
    ("access_key_id_file", &["secret_access_key_file", "session_token_file"]),
];

/// Every source by its name; `None` where it is there but has a problem.
pub(super) type Sources = BTreeMap<SourceName, Option<Arc<Source>>>;

/// Reads all of them, and the one that is there without being written.
pub(super) fn read<'a>(
    documents: &'a [Document<'a>],
    sts: &StsFacts,
    reading: &mut Reading<'_>,
) -> Sources {
    let mut sources = Sources::new();
    for (name, layer) in named::tables::<SourceName>(documents, reading) {
        let mut section = Section::new("source", format!("source.{name}"), vec![layer]);
        let origin = read_origin(&mut section, sts, reading);
        section.finish(reading);
        let source = origin.map(|origin| Arc::new(Source { name: name.clone(), origin }));
        sources.insert(name, source);
    }
    let default = Source::default_chain();
    sources.entry(default.name.clone()).or_insert_with(|| Some(Arc::new(default)));
    sources
}

/// Learns the keys of a source where there is none, so that a report can name them.
pub(super) fn learn_keys(sts: &StsFacts, reading: &mut Reading<'_>) {
    let mut scratch = Reading::new(reading.host, reading.sources);
    let mut any = Section::new("source", "source", Vec::new());
    read_origin(&mut any, sts, &mut scratch);
    any.finish(&mut scratch);
    for (kind, keys) in scratch.known {
        reading.known.entry(kind).or_default().extend(keys);
    }
}

fn read_origin(
    section: &mut Section<'_>,
    sts: &StsFacts,
    reading: &mut Reading<'_>,
) -> Option<Origin> {
    let kinds: Vec<&'static str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    let kind = section.one_of(&kinds, reading);
    refuse_strays(kind, section, reading);
    // All are read, so that their types are checked and their places known, whichever of them counts.
    let environment = switched_on("environment", section, reading);
    let profile = section.text("profile", reading, not_blank);
    let config_file = path("config_file", section, reading);
    let shared_credentials_file = path("shared_credentials_file", section, reading);
    let token_file = path("web_identity_token_file", section, reading);
    let (role_arn, session_name) = read_role(kind, section, sts, reading);
    let imds = switched_on("imds", section, reading);
    let imds_endpoint = section.text("imds_endpoint", reading, metadata_endpoint);
    let command = section.text("credential_process", reading, CommandLine::parse);
    let access_key_id = path("access_key_id_file", section, reading);
    let secret_access_key = path("secret_access_key_file", section, reading);
    let session_token = path("session_token_file", section, reading);
    match kind {
        None => Some(Origin::Chain),
        Some("environment") => environment.map(|()| Origin::Environment),
        Some("profile") => {
            Some(Origin::Profile { name: profile?.value, config_file, shared_credentials_file })
        }
        Some("web_identity_token_file") => Some(Origin::WebIdentity(WebIdentity {
            token_file: token_file?,
            role_arn: role_arn?,
            session_name: session_name?,
        })),
        Some("imds") => imds.map(|()| Origin::InstanceMetadata {
            endpoint: imds_endpoint.map(|found| found.value),
        }),
        Some("credential_process") => Some(Origin::Process(command?.value)),
        Some(_) => {
            if !section.has("secret_access_key_file") {
                section.missing(
                    "secret_access_key_file",
                    "add the path of the file that holds the secret access key, and nothing else",
                    reading,
                );
            }
            Some(Origin::KeyFiles {
                access_key_id: access_key_id?,
                secret_access_key: secret_access_key?,
                session_token,
            })
        }
    }
}

/// Keys that go with a kind which is not this source's.
fn refuse_strays(kind: Option<&str>, section: &mut Section<'_>, reading: &mut Reading<'_>) {
    for (owner, companions) in KINDS {
        for companion in *companions {
            section.knows(companion);
            if kind == Some(*owner) || !section.has(companion) {
                continue;
            }
            let Some(at) = section.key_place(companion) else {
                continue;
            };
            let help = match kind {
                None => format!("add `{owner}`, or remove it"),
                Some(kind) => format!("this source is one of `{kind}`: remove it"),
            };
            reading.problem(
                Problem::new(at, format!("`{companion}` says nothing without `{owner}`"))
                    .help(help),
            );
        }
    }
}

/// The role that a web identity token is traded for.
fn read_role(
    kind: Option<&str>,
    section: &mut Section<'_>,
    sts: &StsFacts,
    reading: &mut Reading<'_>,
) -> (Option<RoleArn>, Option<SessionName>) {
    let wanted = kind == Some("web_identity_token_file");
    if wanted && !section.has("role_arn") {
        section.missing("role_arn", "add the role that the token is traded for", reading);
    }
    let arn = section
        .text("role_arn", reading, |text| RoleArn::parse(text, sts.custom_endpoint))
        .map(|found| found.value);
    let given = section.string("role_session_name", reading);
    if !wanted {
        return (arn, None);
    }
    let template = given.as_ref().map_or(DEFAULT_SESSION_NAME, |found| found.value);
    let expanded = session_name::expand(template, None, arn.as_ref(), reading.host)
        .and_then(|text| SessionName::parse(&text));
    match (expanded, given) {
        (Ok(name), _) => (arn, Some(name)),
        (Err(refused), Some(given)) => {
            reading.refuse(&given.at, "`role_session_name`", &refused);
            (arn, None)
        }
        (Err(refused), None) => {
            let help = format!("the default {DEFAULT_SESSION_NAME} {refused}");
            section.missing("role_session_name", &help, reading);
            (arn, None)
        }
    }
}

/// A key whose presence makes the source what it is, and which cannot turn it off.
fn switched_on(
    key: &'static str,
    section: &mut Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<()> {
    let At { value, at } = section.boolean(key, reading)?;
    if !value {
        reading.problem(
            Problem::new(at, format!("`{key} = false` makes no source"))
                .help(format!("write `{key} = true`, or remove it")),
        );
    }
    value.then_some(())
}

fn path(
    key: &'static str,
    section: &mut Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<PathBuf> {
    let At { value, at } = section.text(key, reading, not_blank)?;
    Some(roles::resolve(Path::new(&value), &at, reading))
}

fn not_blank(text: &str) -> Result<String, InvalidValue> {
    if text.trim().is_empty() {
        return Err(InvalidValue::new("is empty", "fill it in, or leave the key out"));
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidValue::new("holds a control character", "expected plain text"));
    }
    Ok(text.to_owned())
}

fn metadata_endpoint(text: &str) -> Result<String, InvalidValue> {
    const EXPECTED: &str = "expected http://HOST or http://HOST:PORT";
    let uri: http::Uri = text.parse().map_err(|_| InvalidValue::new("is not a URL", EXPECTED))?;
    let plain = uri.scheme_str() == Some("http")
        && uri.host().is_some_and(|host| !host.is_empty())
        && matches!(uri.path(), "" | "/")
        && uri.query().is_none()
        && !text.contains('@');
    if !plain {
        return Err(InvalidValue::new("is not the root of a metadata service", EXPECTED));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Where a source of this name was written, to point at.
pub(super) fn place(name: &SourceName, reading: &Reading<'_>) -> Option<Place> {
    reading.place(&format!("source.{name}"), "").cloned()
}
