//! Reads `[imds.NAME]`: instance metadata services for clients that know no other, each with one role.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::documents::Document;
use super::hint;
use super::listen::{self, Listen};
use super::named::{self, Name};
use super::problem::Problem;
use super::reading::Reading;
use super::region;
use super::roles::StsFacts;
use super::section::Section;
use super::{FrontSocket, HttpTokens, Imds, ImdsName};
use crate::role::{InvalidValue, RoleName};

/// What was read, and every address of it, so that no two clash.
pub(super) struct Fronts {
    pub(super) all: BTreeMap<ImdsName, Imds>,
    listens: Vec<(String, Listen)>,
}

impl Fronts {
    pub(super) fn listens(&self) -> impl Iterator<Item = (&str, &Listen)> {
        self.listens.iter().map(|(key, listen)| (key.as_str(), listen))
    }

    /// Each has to serve a role that there is.
    pub(super) fn check_roles(&self, roles: &BTreeSet<RoleName>, reading: &mut Reading<'_>) {
        for (name, front) in &self.all {
            if roles.contains(&front.role) {
                continue;
            }
            let Some(at) = reading.place(&format!("imds.{name}"), "role").cloned() else {
                continue;
            };
            let help = match hint::nearest(front.role.as_str(), roles.iter().map(RoleName::as_str))
            {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("add [role.{}], or name another", front.role),
            };
            let refused = InvalidValue::new(
                format!("names `{}`, which is no configured role", front.role),
                help,
            );
            reading.refuse(&at, "`role`", &refused);
        }
    }
}

/// Reads all of them. They stand in the main file: that they stand in others has been told.
pub(super) fn read<'a>(
    documents: &'a [Document<'a>],
    sts: &StsFacts,
    reading: &mut Reading<'_>,
) -> Fronts {
    let mut fronts = Fronts { all: BTreeMap::new(), listens: Vec::new() };
    let main = documents.get(..1).unwrap_or_default();
    for (name, layer) in named::tables::<ImdsName>(main, reading) {
        let mut section = Section::new(ImdsName::KIND, format!("imds.{name}"), vec![layer]);
        let (front, listens) = read_one(&name, &mut section, sts, reading);
        section.finish(reading);
        let key = format!("imds.{name}.listen");
        fronts.listens.extend(listens.into_iter().map(|listen| (key.clone(), listen)));
        if let Some(front) = front {
            fronts.all.insert(name, front);
        }
    }
    fronts
}

/// Learns the keys of a front where there is none, so that a report can name them.
pub(super) fn learn_keys(sts: &StsFacts, reading: &mut Reading<'_>) {
    let Ok(name) = ImdsName::parse("any") else {
        return;
    };
    let mut scratch = Reading::new(reading.host, reading.sources);
    let mut any = Section::new(ImdsName::KIND, ImdsName::KIND, Vec::new());
    read_one(&name, &mut any, sts, &mut scratch);
    any.finish(reading);
}

fn read_one(
    name: &ImdsName,
    section: &mut Section<'_>,
    sts: &StsFacts,
    reading: &mut Reading<'_>,
) -> (Option<Imds>, Vec<Listen>) {
    let listens = listen::read_imds(section, reading);
    if !section.has("role") {
        let help =
            "add role = \"NAME\": it serves one role, since its clients cannot say which they mean";
        section.missing("role", help, reading);
    }
    let role = section.text("role", reading, RoleName::parse);
    let socket = section.text("socket", reading, |text| match text {
        "systemd" => Ok(FrontSocket::Systemd),
        other => Err(InvalidValue::new(
            format!("is `{}`", other.escape_debug()),
            "expected \"systemd\" (never opened by roletap itself), or leave it out",
        )),
    });
    let http_tokens = section.text("http_tokens", reading, |text| match text {
        "required" => Ok(HttpTokens::Required),
        "optional" => Ok(HttpTokens::Optional),
        other => Err(InvalidValue::new(
            format!("is `{}`", other.escape_debug()),
            "expected \"required\" (version 2 only) or \"optional\" (version 1 too)",
        )),
    });
    let hop_limit = section.integer("hop_limit", reading, |hops| {
        u8::try_from(hops)
            .ok()
            .filter(|hops| (1..=64).contains(hops))
            .ok_or_else(|| InvalidValue::new(format!("is {hops}"), "expected 1 to 64"))
    });
    let region = section.text("region", reading, |text| region::region(text, sts.custom_endpoint));
    let front = role.map(|role| Imds {
        name: name.clone(),
        listen: listens.iter().map(|listen| listen.addr).collect(),
        socket: socket.map_or(FrontSocket::Whoever, |found| found.value),
        role: role.value,
        http_tokens: http_tokens.map_or(HttpTokens::Required, |found| found.value),
        hop_limit: hop_limit.map_or(1, |found| found.value),
        region: region.map(|found| found.value),
    });
    (front, listens)
}

/// `imds-open-to-every-process`: unless the role says whose processes it is for.
pub(super) fn lint<'c>(
    config: &'c super::Config,
    reading: &Reading<'_>,
) -> Vec<(&'c crate::role::Role, Problem)> {
    let fronts = config.imds.values();
    fronts
        .filter_map(|front| {
            let role = config.roles.get(&front.role)?;
            if !role.callers.demand_nothing() {
                return None;
            }
            let at = reading.place(&format!("imds.{}", front.name), "listen");
            let problem = Problem::warning(
                "imds-open-to-every-process",
                at.cloned(),
                format!(
                    "every process that reaches this address gets the role {}: clients of instance metadata have no token",
                    role.name
                ),
            )
            .help(
                "say in the role whose processes it is for (allow_users, allow_units), or keep the address in a network \
                 namespace of the one workload; once that is so, accept_warnings = [\"imds-open-to-every-process\"] in the role",
            );
            Some((role.as_ref(), problem))
        })
        .collect()
}

impl ImdsName {
    /// As a role's name.
    fn parse(text: &str) -> Result<Self, InvalidValue> {
        RoleName::parse(text).map(|name| Self(name.to_string()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Name for ImdsName {
    const KIND: &'static str = "imds";

    fn parse(text: &str) -> Result<Self, InvalidValue> {
        Self::parse(text)
    }
}

impl fmt::Display for ImdsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
