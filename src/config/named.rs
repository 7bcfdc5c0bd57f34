//! Tables that have a name each, such as every `[role.NAME]` of every file.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::DeTable;

use super::documents::Document;
use super::problem::{Place, Problem};
use super::reading::Reading;
use super::value::{Layer, type_of};
use crate::role::{InvalidValue, RoleName, SourceName};

/// The name of a table of a kind.
pub(super) trait Name: Clone + PartialEq + fmt::Display {
    const KIND: &'static str;

    fn parse(text: &str) -> Result<Self, InvalidValue>;
}

impl Name for RoleName {
    const KIND: &'static str = "role";

    fn parse(text: &str) -> Result<Self, InvalidValue> {
        Self::parse(text)
    }
}

impl Name for SourceName {
    const KIND: &'static str = "source";

    fn parse(text: &str) -> Result<Self, InvalidValue> {
        Self::parse(text)
    }
}

/// All tables of a kind, of all files, each name once.
pub(super) fn tables<'a, N: Name>(
    documents: &'a [Document<'a>],
    reading: &mut Reading<'_>,
) -> Vec<(N, Layer<'a>)> {
    let kind = N::KIND;
    let mut named: Vec<(N, Place, Layer<'a>)> = Vec::new();
    for (file, document) in documents.iter().enumerate() {
        let Some(all) = subtables(kind, file, document.as_ref(), reading) else {
            continue;
        };
        for (key, value) in all.iter() {
            let key_at = Place::new(file, key.span());
            let Some(table) = value.get_ref().as_table() else {
                let shown = key.get_ref().escape_debug();
                reading.problem(
                    Problem::new(
                        key_at,
                        format!("`{shown}` stands in [{kind}], but belongs to one {kind}"),
                    )
                    .help(format!("give the {kind} a name: [{kind}.NAME]")),
                );
                continue;
            };
            let name = match N::parse(key.get_ref()) {
                Ok(name) => name,
                Err(refused) => {
                    let subject = format!("the {kind} name `{}`", key.get_ref().escape_debug());
                    reading.refuse(&key_at, &subject, &refused);
                    continue;
                }
            };
            let header = Place::new(file, value.span());
            named.push((name, key_at, Layer { header, table }));
        }
    }
    named.sort_by(|a, b| a.1.cmp(&b.1));
    let mut first: BTreeMap<String, (N, Place)> = BTreeMap::new();
    let mut distinct = Vec::with_capacity(named.len());
    for (name, at, layer) in named {
        let lower = name.to_string().to_ascii_lowercase();
        if let Some((other, other_at)) = first.get(&lower) {
            let message = if *other == name {
                format!("the {kind} {name} is configured twice")
            } else {
                format!("the {kind} names {other} and {name} differ only in case")
            };
            reading.problem(
                Problem::new(at, message)
                    .and("this one", other_at.clone(), "the other one")
                    .help("rename one, or remove it"),
            );
            continue;
        }
        first.insert(lower, (name.clone(), at));
        let section = (format!("{kind}.{name}"), String::new());
        reading.places.insert(section, layer.header.clone());
        distinct.push((name, layer));
    }
    distinct
}

/// The table that holds all tables of a kind, such as every `[role.*]` of one file.
fn subtables<'a>(
    kind: &str,
    file: usize,
    document: Option<&'a Spanned<DeTable<'a>>>,
    reading: &mut Reading<'_>,
) -> Option<&'a DeTable<'a>> {
    let value = document?.get_ref().get(kind)?;
    let table = value.get_ref().as_table();
    if table.is_none() {
        reading.problem(
            Problem::new(
                Place::new(file, value.span()),
                format!("`{kind}` is {}, not tables with names", type_of(value.get_ref())),
            )
            .help(format!("write [{kind}.NAME] for each")),
        );
    }
    table
}
