//! Tables that have a name each, such as every `[role.NAME]` of every file.

use std::collections::BTreeMap;
use std::fmt;

use ::toml::Spanned;
use ::toml::de::DeTable;

use super::documents::FileTable;
use super::value::{Layer, type_of};
use crate::config::diagnostics::{Diagnostics, Place, Problem};
use crate::role::InvalidValue;

/// All tables of a kind, of all files, each name once.
pub(crate) fn tables<'a, N: Clone + PartialEq + fmt::Display>(
    documents: &'a [FileTable<'a>],
    kind: &str,
    parse: impl Fn(&str) -> Result<N, InvalidValue>,
    diagnostics: &Diagnostics<'_>,
) -> Vec<(N, Layer<'a>)> {
    let mut named: Vec<(N, Place, Layer<'a>)> = Vec::new();
    for (file, document) in documents.iter().enumerate() {
        let all = document.as_ref().and_then(|table| subtables(kind, file, table, diagnostics));
        for (key, value) in all.into_iter().flatten() {
            let key_at = Place::new(file, key.span());
            let shown = key.get_ref().escape_debug();
            let Some(table) = value.get_ref().as_table() else {
                let message = format!("`{shown}` stands in [{kind}], but belongs to one {kind}");
                let help = format!("give the {kind} a name: [{kind}.NAME]");
                diagnostics.emit(Problem::new(key_at, message).help(help));
                continue;
            };
            let subject = format!("the {kind} name `{shown}`");
            if let Some(name) = diagnostics.accept(key_at, &subject, parse(key.get_ref())) {
                let header = Place::new(file, value.span());
                named.push((name, key_at, Layer { header, table }));
            }
        }
    }
    named.sort_by_key(|(_, at, _)| *at);
    let mut first: BTreeMap<String, (N, Place)> = BTreeMap::new();
    let mut distinct = Vec::with_capacity(named.len());
    for (name, at, layer) in named {
        let lower = name.to_string().to_ascii_lowercase();
        if let Some((other, other_at)) = first.get(&lower) {
            let message = match *other == name {
                true => format!("the {kind} {name} is configured twice"),
                false => format!("the {kind} names {other} and {name} differ only in case"),
            };
            let problem = Problem::new(at, message).beside(*other_at);
            diagnostics.emit(problem.help("rename one, or remove it"));
            continue;
        }
        first.insert(lower, (name.clone(), at));
        diagnostics.found(&format!("{kind}.{name}"), "", layer.header);
        distinct.push((name, layer));
    }
    distinct
}

/// The table that holds all tables of a kind, such as every `[role.*]` of one file.
fn subtables<'a>(
    kind: &str,
    file: usize,
    document: &'a Spanned<DeTable<'a>>,
    diagnostics: &Diagnostics<'_>,
) -> Option<&'a DeTable<'a>> {
    let value = document.get_ref().get(kind)?;
    let table = value.get_ref().as_table();
    if table.is_none() {
        let message = format!("`{kind}` is {}, not tables with names", type_of(value.get_ref()));
        let problem = Problem::new(Place::new(file, value.span()), message);
        diagnostics.emit(problem.help(format!("write [{kind}.NAME] for each")));
    }
    table
}
