//! One TOML table that is asked for keys, and then closed.
//!
//! Each key is written once, beside the parser that gives it meaning. A key that nobody asked for is a problem:
//! see [`hint`](super::hint) for what is said about it.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::DeValue;

use super::problem::{Place, Problem};
use super::reading::{Reading, Unknown};
use super::value::{At, Layer, Pair, type_of};
use crate::role::InvalidValue;

/// A table, or none: the defaults of an absent section are found by the same questions.
pub(super) struct Section<'a> {
    kind: &'static str,
    name: String,
    /// The table itself, then those whose keys stand in for missing ones.
    layers: Vec<Layer<'a>>,
    asked: BTreeSet<&'static str>,
}

struct Found<'a> {
    at: Place,
    value: &'a DeValue<'a>,
}

impl<'a> Section<'a> {
    /// `kind` is `role` for every `[role.*]`; `name` is `role.orders`.
    pub(super) fn new(kind: &'static str, name: impl Into<String>, layers: Vec<Layer<'a>>) -> Self {
        Self { kind, name: name.into(), layers, asked: BTreeSet::new() }
    }

    pub(super) fn string(
        &mut self,
        key: &'static str,
        reading: &mut Reading<'_>,
    ) -> Option<At<&'a str>> {
        let found = self.find(key, reading)?;
        match found.value.as_str() {
            Some(value) => Some(At { value, at: found.at }),
            None => {
                let help = match found.value {
                    DeValue::Integer(_)
                    | DeValue::Float(_)
                    | DeValue::Boolean(_)
                    | DeValue::Datetime(_) => "put it in quotes",
                    DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_) => {
                        "expected a string in quotes"
                    }
                };
                wrong_type(key, "a string", &found, help, reading);
                None
            }
        }
    }

    /// A string, through a parser.
    pub(super) fn text<T>(
        &mut self,
        key: &'static str,
        reading: &mut Reading<'_>,
        parse: impl FnOnce(&str) -> Result<T, InvalidValue>,
    ) -> Option<At<T>> {
        let found = self.string(key, reading)?;
        parsed(key, found.at, parse(found.value), reading)
    }

    /// A whole number, through a parser.
    pub(super) fn integer<T>(
        &mut self,
        key: &'static str,
        reading: &mut Reading<'_>,
        parse: impl FnOnce(i64) -> Result<T, InvalidValue>,
    ) -> Option<At<T>> {
        let found = self.find(key, reading)?;
        let Some(integer) = found.value.as_integer() else {
            let help = match found.value {
                DeValue::String(_) => "write it without quotes and without a unit",
                DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_)
                | DeValue::Table(_) => "expected digits only",
            };
            wrong_type(key, "a whole number", &found, help, reading);
            return None;
        };
        let value = i64::from_str_radix(integer.as_str(), integer.radix())
            .map_err(|_| {
                InvalidValue::new("is out of every range", "expected a number of reasonable size")
            })
            .and_then(parse);
        parsed(key, found.at, value, reading)
    }

    pub(super) fn boolean(
        &mut self,
        key: &'static str,
        reading: &mut Reading<'_>,
    ) -> Option<At<bool>> {
        let found = self.find(key, reading)?;
        match found.value.as_bool() {
            Some(value) => Some(At { value, at: found.at }),
            None => {
                wrong_type(
                    key,
                    "true or false",
                    &found,
                    "write true or false without quotes",
                    reading,
                );
                None
            }
        }
    }

    /// An array of strings.
    pub(super) fn strings(
        &mut self,
        key: &'static str,
        reading: &mut Reading<'_>,
    ) -> Option<At<Vec<At<&'a str>>>> {
        let found = self.find(key, reading)?;
        let Some(array) = found.value.as_array() else {
            let help = format!("write it in brackets: {key} = [\"…\"]");
            wrong_type(key, "an array of strings", &found, &help, reading);
            return None;
        };
        let mut strings = Vec::with_capacity(array.len());
        for item in array.iter() {
            let at = Place::new(found.at.file, item.span());
            match item.get_ref().as_str() {
                Some(value) => strings.push(At { value, at }),
                None => reading.problem(
                    Problem::new(at, format!("`{key}` holds {}", type_of(item.get_ref())))
                        .help("expected strings in quotes only"),
                ),
            }
        }
        Some(At { value: strings, at: found.at })
    }

    /// An array of strings; a single string counts as an array of one.
    pub(super) fn strings_or_one(
        &mut self,
        key: &'static str,
        reading: &mut Reading<'_>,
    ) -> Option<At<Vec<At<&'a str>>>> {
        match self.peek(key).map(|value| value.is_str()) {
            Some(true) => {
                let one = self.string(key, reading)?;
                Some(At { at: one.at.clone(), value: vec![one] })
            }
            Some(false) | None => self.strings(key, reading),
        }
    }

    /// A table of strings: each key, where it stands, its value.
    pub(super) fn string_table(
        &mut self,
        key: &'static str,
        reading: &mut Reading<'_>,
    ) -> Option<At<Vec<Pair<'a>>>> {
        let found = self.find(key, reading)?;
        let Some(table) = found.value.as_table() else {
            let help = format!("write it in braces: {key} = {{ Key = \"value\" }}");
            wrong_type(key, "a table", &found, &help, reading);
            return None;
        };
        let mut pairs = Vec::with_capacity(table.len());
        for (name, value) in table.iter() {
            let name_at = Place::new(found.at.file, name.span());
            let at = Place::new(found.at.file, value.span());
            match value.get_ref().as_str() {
                Some(text) => pairs.push((
                    At { value: name.get_ref().as_ref(), at: name_at },
                    At { value: text, at },
                )),
                None => reading.problem(
                    Problem::new(
                        at,
                        format!(
                            "`{key}` holds {} for `{}`",
                            type_of(value.get_ref()),
                            name.get_ref().escape_debug()
                        ),
                    )
                    .help("expected strings only: put it in quotes"),
                ),
            }
        }
        Some(At { value: pairs, at: found.at })
    }

    /// Says that a key which must be there is not.
    pub(super) fn missing(&self, key: &'static str, help: &str, reading: &mut Reading<'_>) {
        let message = format!("`{key}` is missing from [{}]", self.name);
        let problem = match self.layers.first() {
            Some(layer) => Problem::new(layer.header.clone(), message),
            None => Problem::of_file(0, message),
        };
        reading.missing.push((key, problem.help(help)));
    }

    /// A table below this one.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        reading: &mut Reading<'_>,
    ) -> Option<Layer<'a>> {
        let found = self.find(key, reading)?;
        match found.value.as_table() {
            Some(table) => Some(Layer { header: found.at, table }),
            None => {
                wrong_type(
                    key,
                    "a table",
                    &found,
                    &format!("write it as a section: [{key}]"),
                    reading,
                );
                None
            }
        }
    }

    /// A section of the main file, empty if it is absent.
    pub(super) fn section(&mut self, key: &'static str, reading: &mut Reading<'_>) -> Self {
        let layer = self.table(key, reading);
        if let Some(layer) = &layer {
            reading.places.insert((key.to_owned(), String::new()), layer.header.clone());
        }
        Self::new(key, key, layer.into_iter().collect())
    }

    /// At most one of these keys may be given. Those of an outer layer are set aside where an inner one has any:
    /// `[defaults] external_id` does not clash with a role's `external_id_file`.
    pub(super) fn one_of(
        &mut self,
        keys: &[&'static str],
        reading: &mut Reading<'_>,
    ) -> Option<&'static str> {
        self.asked.extend(keys);
        let layer = self.layers.iter().find(|layer| keys.iter().any(|key| is_given(layer, key)))?;
        let mut given: Vec<(&'static str, Place)> = keys
            .iter()
            .filter_map(|key| {
                let (name, _) = layer.table.get_key_value(*key).filter(|_| is_given(layer, key))?;
                Some((*key, Place::new(layer.header.file, name.span())))
            })
            .collect();
        given.sort_by(|a, b| a.1.cmp(&b.1));
        let (first, first_at) = given.first()?.clone();
        for (second, at) in given.into_iter().skip(1) {
            reading.problem(
                Problem::new(at, format!("`{second}` and `{first}` exclude each other"))
                    .and("this one", first_at.clone(), "the other one")
                    .help("keep one of them"),
            );
        }
        Some(first)
    }

    /// Whether the key is there, in whatever shape.
    pub(super) fn has(&self, key: &str) -> bool {
        self.peek(key).is_some()
    }

    /// Where the key itself stands in the table, not its value.
    pub(super) fn key_place(&self, key: &str) -> Option<Place> {
        let layer = self.layers.first()?;
        let (name, _) = layer.table.get_key_value(key)?;
        Some(Place::new(layer.header.file, name.span()))
    }

    /// Marks a key as known without reading it.
    pub(super) fn knows(&mut self, key: &'static str) {
        self.asked.insert(key);
    }

    /// Records every key of the table itself that nobody asked for. The layers below are closed by their owner.
    pub(super) fn finish(self, reading: &mut Reading<'_>) {
        if let Some(layer) = self.layers.first() {
            for (key, _) in layer.table.iter() {
                if !self.asked.contains(key.get_ref().as_ref()) {
                    reading.unknown.push(Unknown {
                        kind: self.kind,
                        section: self.name.clone(),
                        header: layer.header.clone(),
                        key: key.get_ref().clone().into_owned(),
                        at: Place::new(layer.header.file, key.span()),
                    });
                }
            }
        }
        reading.known.entry(self.kind).or_default().extend(self.asked);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn peek(&self, key: &str) -> Option<&'a DeValue<'a>> {
        self.layers.iter().find_map(|layer| layer.table.get(key)).map(Spanned::get_ref)
    }

    fn find(&mut self, key: &'static str, reading: &mut Reading<'_>) -> Option<Found<'a>> {
        self.asked.insert(key);
        let (layer, value) =
            self.layers.iter().find_map(|layer| Some((layer, layer.table.get(key)?)))?;
        let at = Place::new(layer.header.file, value.span());
        reading.places.insert((self.name.clone(), key.to_owned()), at.clone());
        Some(Found { at, value: value.get_ref() })
    }
}

/// `key = false` says no more than its absence.
fn is_given(layer: &Layer<'_>, key: &str) -> bool {
    layer.table.get(key).is_some_and(|value| value.get_ref().as_bool() != Some(false))
}

fn parsed<T>(
    key: &str,
    at: Place,
    value: Result<T, InvalidValue>,
    reading: &mut Reading<'_>,
) -> Option<At<T>> {
    match value {
        Ok(value) => Some(At { value, at }),
        Err(refused) => {
            reading.refuse(&at, &format!("`{key}`"), &refused);
            None
        }
    }
}

fn wrong_type(key: &str, expected: &str, found: &Found<'_>, help: &str, reading: &mut Reading<'_>) {
    let message = format!("`{key}` is {}, not {expected}", type_of(found.value));
    reading.problem(Problem::new(found.at.clone(), message).help(help));
}
