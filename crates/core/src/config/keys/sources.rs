//! `[source.*]`: where the identities come from that sign for roles.
//!
//! A source has one kind, and the key that stands in it says which. Without any it is the SDK's chain.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Context;
use super::session_name::TemplateVariables;
use super::text::plain;
use crate::config::diagnostics::{Diagnostics, Problem};
use crate::config::toml::{self, FileTable, Section};
use crate::role::{
    CommandLine, InvalidValue, Origin, RoleArn, SessionName, Source, SourceName, WebIdentity,
    refuse,
};

const DEFAULT_SESSION_NAME: &str = "roletap-{hostname}";

/// The key that makes a source what it is, and those that go with it.
const KINDS: [(&str, &[&str]); 6] = [
    ("environment", &[]),
    ("profile", &["config_file", "shared_credentials_file"]),
    ("web_identity_token_file", &["role_arn", "role_session_name"]),
    ("imds", &["imds_endpoint"]),
    ("credential_process", &[]),
    ("access_key_id_file", &["secret_access_key_file", "session_token_file"]),
];

/// Every source by its name; `None` where it is there but has a problem.
pub(crate) type NamedSources = BTreeMap<SourceName, Option<Arc<Source>>>;

/// Reads all of them, and the one that is there without being written.
pub(crate) fn read<'a>(
    documents: &'a [FileTable<'a>],
    context: &Context<'_>,
    diagnostics: &'a Diagnostics<'a>,
) -> NamedSources {
    let mut sources = NamedSources::new();
    for (name, layer) in toml::tables(documents, "source", SourceName::parse, diagnostics) {
        let section = Section::new(diagnostics, "source", format!("source.{name}"), [layer]);
        let origin = read_origin(section, context);
        let source = origin.map(|origin| Arc::new(Source { name: name.clone(), origin }));
        sources.insert(name, source);
    }
    let default = Source::default_chain();
    sources.entry(default.name.clone()).or_insert_with(|| Some(Arc::new(default)));
    sources
}

/// Learns the keys of a source where there is none, so that a report can name them.
pub(crate) fn learn_keys(context: &Context<'_>, scratch: &Diagnostics<'_>) {
    read_origin(Section::new(scratch, "source", "source", None), context);
}

fn read_origin(section: Section<'_>, context: &Context<'_>) -> Option<Origin> {
    let kind = section.one_of(&KINDS.map(|(kind, _)| kind));
    refuse_strays(kind, &section);
    // All are read, so that their types are checked and their places known, whichever of them counts.
    let path = |key| section.path(key, plain);
    let environment = switched_on("environment", &section);
    let profile = section.text("profile", plain);
    let config_file = path("config_file");
    let shared_credentials_file = path("shared_credentials_file");
    let token_file = path("web_identity_token_file");
    let (role_arn, session_name) = read_role(kind, &section, context);
    let imds = switched_on("imds", &section);
    let imds_endpoint = section.text("imds_endpoint", metadata_endpoint);
    let command = section.text("credential_process", CommandLine::parse);
    let access_key_id = path("access_key_id_file");
    let secret_access_key = path("secret_access_key_file");
    let session_token = path("session_token_file");
    if kind == Some("access_key_id_file") {
        section.require(
            "secret_access_key_file",
            "add the path of the file that holds the secret access key, and nothing else",
        );
    }
    section.finish();
    Some(match kind {
        None => Origin::Chain,
        Some("environment") => environment.map(|()| Origin::Environment)?,
        Some("profile") => Origin::Profile { name: profile?, config_file, shared_credentials_file },
        Some("web_identity_token_file") => Origin::WebIdentity(WebIdentity {
            token_file: token_file?,
            role_arn: role_arn?,
            session_name: session_name?,
        }),
        Some("imds") => imds.map(|()| Origin::InstanceMetadata { endpoint: imds_endpoint })?,
        Some("credential_process") => Origin::Process(command?),
        Some(_) => Origin::KeyFiles {
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?,
            session_token,
        },
    })
}

/// Keys that go with a kind which is not this source's.
fn refuse_strays(kind: Option<&str>, section: &Section<'_>) {
    for (owner, companions) in KINDS {
        section.knows(companions);
        for companion in companions.iter().filter(|_| kind != Some(owner)) {
            let help = match kind {
                None => format!("add `{owner}`, or remove it"),
                Some(kind) => format!("this source is one of `{kind}`: remove it"),
            };
            let message = format!("`{companion}` says nothing without `{owner}`");
            section.refuse_key(companion, message, help);
        }
    }
}

/// The role that a web identity token is traded for.
fn read_role(
    kind: Option<&str>,
    section: &Section<'_>,
    context: &Context<'_>,
) -> (Option<RoleArn>, Option<SessionName>) {
    let wanted = kind == Some("web_identity_token_file");
    if wanted {
        section.require("role_arn", "add the role that the token is traded for");
    }
    let arn = section.text("role_arn", |text| RoleArn::parse(text, context.custom_endpoint));
    let given = section.string("role_session_name");
    let name = wanted.then(|| {
        let variables = TemplateVariables { role: None, arn: arn.as_ref(), host: context.host };
        match given {
            None => variables.default_name(DEFAULT_SESSION_NAME, section),
            Some(template) => {
                let name = variables.expand(template.value);
                let name = name.and_then(|text| SessionName::parse(&text));
                section.diagnostics.accept(template.at, "`role_session_name`", name)
            }
        }
    });
    (arn, name.flatten())
}

/// A key whose presence makes the source what it is, and which cannot turn it off.
fn switched_on(key: &'static str, section: &Section<'_>) -> Option<()> {
    let found = section.boolean(key)?;
    if !found.value {
        section.diagnostics.emit(
            Problem::new(found.at, format!("`{key} = false` makes no source"))
                .help(format!("write `{key} = true`, or remove it")),
        );
    }
    found.value.then_some(())
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
        return refuse("is not the root of a metadata service", EXPECTED);
    }
    Ok(text.trim_end_matches('/').to_owned())
}
