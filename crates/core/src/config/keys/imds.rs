//! `[imds.NAME]`: instance metadata services for clients that know no other, each with one role.

use std::collections::{BTreeMap, BTreeSet};

use super::listen::{self, Listen};
use super::{Context, region};
use crate::config::diagnostics::{Diagnostics, suggest};
use crate::config::toml::{self, FileTable, Section};
use crate::config::{FrontSocket, HttpTokens, Imds, ImdsName};
use crate::role::{InvalidValue, RoleName, display};

/// All `[imds.NAME]` sections that were read, and every address of them, so that no two clash.
#[derive(Default)]
pub(crate) struct ImdsEndpoints {
    pub(crate) all: BTreeMap<ImdsName, Imds>,
    listens: Vec<(String, Listen)>,
}

impl ImdsEndpoints {
    pub(crate) fn listens(&self) -> impl Iterator<Item = (&str, &Listen)> {
        self.listens.iter().map(|(key, listen)| (key.as_str(), listen))
    }

    /// Each has to serve a role that there is.
    pub(crate) fn check_roles(&self, roles: &BTreeSet<RoleName>, diagnostics: &Diagnostics<'_>) {
        for (name, endpoint) in &self.all {
            let role = &endpoint.role;
            let place = diagnostics.place(&format!("imds.{name}"), "role");
            if let Some(at) = place.filter(|_| !roles.contains(role)) {
                let otherwise = format!("add [role.{role}], or name another");
                let help = suggest(role.as_str(), roles.iter().map(RoleName::as_str), otherwise);
                let what = format!("names `{role}`, which is no configured role");
                diagnostics.invalid(at, "`role`", &InvalidValue::new(what, help));
            }
        }
    }
}

/// Reads all of them. They stand in the main file: that they stand in others is told elsewhere.
pub(crate) fn read<'a>(
    documents: &'a [FileTable<'a>],
    context: &Context<'_>,
    diagnostics: &'a Diagnostics<'a>,
) -> ImdsEndpoints {
    let mut endpoints = ImdsEndpoints::default();
    let main = documents.get(..1).unwrap_or_default();
    for (name, layer) in toml::tables(main, "imds", ImdsName::parse, diagnostics) {
        let section = Section::new(diagnostics, "imds", format!("imds.{name}"), [layer]);
        let (endpoint, listens) = read_one(&name, section, context);
        let key = format!("imds.{name}.listen");
        endpoints.listens.extend(listens.into_iter().map(|listen| (key.clone(), listen)));
        endpoints.all.extend(endpoint.map(|endpoint| (name, endpoint)));
    }
    endpoints
}

/// Learns the keys of an endpoint where there is none, so that a report can name them.
pub(crate) fn learn_keys(context: &Context<'_>, scratch: &Diagnostics<'_>) {
    let name = ImdsName("any".to_owned());
    read_one(&name, Section::new(scratch, "imds", "imds", None), context);
}

fn read_one(
    name: &ImdsName,
    section: Section<'_>,
    context: &Context<'_>,
) -> (Option<Imds>, Vec<Listen>) {
    const HTTP_TOKENS: &[(&str, HttpTokens)] =
        &[("required", HttpTokens::Required), ("optional", HttpTokens::Optional)];
    let listens = listen::read_imds(&section);
    section.require(
        "role",
        "add role = \"NAME\": it serves one role, since its clients cannot say which they mean",
    );
    let role = section.text("role", RoleName::parse);
    let socket = section.choice(
        "socket",
        &[("systemd", FrontSocket::Systemd)],
        "\"systemd\" (never opened by roletap itself), or leave it out",
    );
    let http_tokens = section.choice(
        "http_tokens",
        HTTP_TOKENS,
        "\"required\" (version 2 only) or \"optional\" (version 1 too)",
    );
    let hop_limit = section.number("hop_limit", 1..=64, "");
    let region = section.text("region", |text| region::region(text, context.custom_endpoint));
    section.finish();
    let endpoint = role.map(|role| Imds {
        name: name.clone(),
        listen: listen::addresses(&listens),
        socket: socket.unwrap_or(FrontSocket::Whoever),
        role,
        http_tokens: http_tokens.unwrap_or(HttpTokens::Required),
        hop_limit: hop_limit.unwrap_or(1),
        region,
    });
    (endpoint, listens)
}

impl ImdsName {
    /// Reads the name of an `[imds.NAME]`; the rules for role names apply.
    fn parse(text: &str) -> Result<Self, InvalidValue> {
        RoleName::parse(text).map(|name| Self(name.to_string()))
    }

    /// The name, as it stands in `[imds.NAME]`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

display!(ImdsName);
