//! One TOML table that is asked for keys, and then closed.
//!
//! Each key is written once, beside the parser that gives it meaning. A key that no reader asked for is a problem:
//! see [`UnknownKey`].

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ::toml::Spanned;
use ::toml::de::DeValue;

use super::value::{Layer, Located, Pair, type_of};
use crate::config::diagnostics::{Diagnostics, Place, Problem, UnknownKey};
use crate::role::InvalidValue;

/// A table, or none: the defaults of an absent section are found by the same questions.
pub(crate) struct Section<'a> {
    pub(crate) diagnostics: &'a Diagnostics<'a>,
    kind: &'static str,
    name: String,
    /// The table itself, then those whose keys stand in for missing ones.
    layers: Vec<Layer<'a>>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Section<'a> {
    /// `kind` is `role` for every `[role.*]`; `name` is `role.orders`.
    pub(crate) fn new(
        diagnostics: &'a Diagnostics<'a>,
        kind: &'static str,
        name: impl Into<String>,
        layers: impl IntoIterator<Item = Layer<'a>>,
    ) -> Self {
        let layers = layers.into_iter().collect();
        Self { diagnostics, kind, name: name.into(), layers, asked: RefCell::default() }
    }

    pub(crate) fn string(&self, key: &'static str) -> Option<Located<&'a str>> {
        let help = |found: &DeValue<'_>| match found {
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => "put it in quotes".to_owned(),
            DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_) => {
                "expected a string in quotes".to_owned()
            }
        };
        self.typed(key, "a string", DeValue::as_str, help)
    }

    /// A string, through a parser.
    pub(crate) fn text<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        Some(self.text_at(key, parse)?.value)
    }

    /// As [`Self::text`], and where it stands.
    pub(crate) fn text_at<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, InvalidValue>,
    ) -> Option<Located<T>> {
        let Located { value, at } = self.string(key)?;
        let value = self.diagnostics.accept(at, &format!("`{key}`"), parse(value))?;
        Some(Located { value, at })
    }

    /// One of some words. `expected` lists them for people.
    pub(crate) fn choice<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&str, T)],
        expected: &str,
    ) -> Option<T> {
        self.text(key, |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| *value).ok_or_else(|| InvalidValue::not_one_of(text, expected))
        })
    }

    /// A path, through a parser; a relative one is meant from the file that it stands in.
    pub(crate) fn path(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<String, InvalidValue>,
    ) -> Option<PathBuf> {
        let Located { value, at } = self.text_at(key, parse)?;
        Some(self.diagnostics.resolve(&value, at))
    }

    /// A whole number, through a parser.
    pub(crate) fn integer<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(i64) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        let help = |found: &DeValue<'_>| match found.is_str() {
            true => "write it without quotes and without a unit".to_owned(),
            false => "expected digits only".to_owned(),
        };
        let found = self.typed(key, "a whole number", DeValue::as_integer, help)?;
        let value = i64::from_str_radix(found.value.as_str(), found.value.radix())
            .map_err(|_| {
                InvalidValue::new("is out of every range", "expected a number of reasonable size")
            })
            .and_then(parse);
        self.diagnostics.accept(found.at, &format!("`{key}`"), value)
    }

    /// A whole number within a range. `unit` follows the range in reports.
    pub(crate) fn number<T: TryFrom<i64>>(
        &self,
        key: &'static str,
        range: RangeInclusive<i64>,
        unit: &str,
    ) -> Option<T> {
        self.integer(key, |value| {
            let within = Some(value).filter(|value| range.contains(value));
            within.and_then(|value| T::try_from(value).ok()).ok_or_else(|| {
                let expected = format!("expected {} to {}{unit}", range.start(), range.end());
                InvalidValue::new(format!("is {value}"), expected)
            })
        })
    }

    /// False where it is absent.
    pub(crate) fn flag(&self, key: &'static str) -> bool {
        self.boolean(key).is_some_and(|found| found.value)
    }

    pub(crate) fn boolean(&self, key: &'static str) -> Option<Located<bool>> {
        let help = |_: &DeValue<'_>| "write true or false without quotes".to_owned();
        self.typed(key, "true or false", DeValue::as_bool, help)
    }

    /// Returns the array of strings at `key`, if there is one.
    pub(crate) fn strings(&self, key: &'static str) -> Option<Located<Vec<Located<&'a str>>>> {
        let help = |_: &DeValue<'_>| format!("write it in brackets: {key} = [\"…\"]");
        let found = self.typed(key, "an array of strings", DeValue::as_array, help)?;
        let mut strings = Vec::with_capacity(found.value.len());
        for item in found.value.iter() {
            let at = Place::new(found.at.file, item.span());
            match item.get_ref().as_str() {
                Some(value) => strings.push(Located { value, at }),
                None => self.diagnostics.emit(
                    Problem::new(at, format!("`{key}` holds {}", type_of(item.get_ref())))
                        .help("expected strings in quotes only"),
                ),
            }
        }
        Some(Located { value: strings, at: found.at })
    }

    /// The items of an array, each through a parser; `subject` begins what is said of one that is refused.
    pub(crate) fn accept_each<T>(
        &self,
        items: &[Located<&str>],
        subject: &str,
        parse: impl Fn(&str) -> Result<T, InvalidValue>,
    ) -> Vec<T> {
        let accept =
            |item: &Located<&str>| self.diagnostics.accept(item.at, subject, parse(item.value));
        items.iter().filter_map(accept).collect()
    }

    /// An array of strings; a single string counts as an array of one.
    pub(crate) fn strings_or_one(
        &self,
        key: &'static str,
    ) -> Option<Located<Vec<Located<&'a str>>>> {
        if !self.peek(key).is_some_and(DeValue::is_str) {
            return self.strings(key);
        }
        let one = self.string(key)?;
        Some(Located { at: one.at, value: vec![one] })
    }

    /// A table of strings: each key, where it stands, its value.
    pub(crate) fn string_table(&self, key: &'static str) -> Option<Located<Vec<Pair<'a>>>> {
        let help = |_: &DeValue<'_>| format!("write it in braces: {key} = {{ Key = \"value\" }}");
        let found = self.typed(key, "a table", DeValue::as_table, help)?;
        let mut pairs = Vec::with_capacity(found.value.len());
        for (name, value) in found.value.iter() {
            let located = |text, span| Located { value: text, at: Place::new(found.at.file, span) };
            let name = located(name.get_ref().as_ref(), name.span());
            match value.get_ref().as_str() {
                Some(text) => pairs.push((name, located(text, value.span()))),
                None => {
                    let (kind, name) = (type_of(value.get_ref()), name.value.escape_debug());
                    let at = Place::new(found.at.file, value.span());
                    self.diagnostics.emit(
                        Problem::new(at, format!("`{key}` holds {kind} for `{name}`"))
                            .help("expected strings only: put it in quotes"),
                    );
                }
            }
        }
        Some(Located { value: pairs, at: found.at })
    }

    /// Says that a key which must be there is not.
    pub(crate) fn missing(&self, key: &'static str, help: impl Into<String>) {
        let message = format!("`{key}` is missing from [{}]", self.name);
        let header = self.layers.first().map(|layer| layer.header);
        self.diagnostics.missing(key, Problem::new(header, message).help(help));
    }

    /// Demands that a key is there, in whatever shape.
    pub(crate) fn require(&self, key: &'static str, help: &str) {
        if !self.has(key) {
            self.missing(key, help);
        }
    }

    /// A table below this one.
    pub(crate) fn table(&self, key: &'static str) -> Option<Layer<'a>> {
        let help = |_: &DeValue<'_>| format!("write it as a section: [{key}]");
        let found = self.typed(key, "a table", DeValue::as_table, help)?;
        Some(Layer { header: found.at, table: found.value })
    }

    /// A section of the main file, empty if it is absent.
    pub(crate) fn section(&self, key: &'static str) -> Self {
        let layer = self.table(key);
        if let Some(layer) = &layer {
            self.diagnostics.found(key, "", layer.header);
        }
        Self::new(self.diagnostics, key, key, layer)
    }

    /// At most one of these keys may be given. Those of an outer layer are set aside where an inner one has any:
    /// `[defaults] external_id` does not clash with a role's `external_id_file`.
    pub(crate) fn one_of(&self, keys: &[&'static str]) -> Option<&'static str> {
        self.asked.borrow_mut().extend(keys);
        let layer = self.layers.iter().find(|layer| keys.iter().any(|key| is_given(layer, key)))?;
        let given = keys.iter().filter(|key| is_given(layer, key));
        let mut given: Vec<(Place, &'static str)> =
            given.filter_map(|key| Some((layer.key_place(key)?, *key))).collect();
        given.sort();
        let (first_at, first) = *given.first()?;
        for (at, second) in given.into_iter().skip(1) {
            let message = format!("`{second}` and `{first}` exclude each other");
            let problem = Problem::new(at, message).beside(first_at).help("keep one of them");
            self.diagnostics.emit(problem);
        }
        Some(first)
    }

    /// True if the key is there, in whatever shape.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.peek(key).is_some()
    }

    /// The place of a key itself in the table, not of its value.
    pub(crate) fn key_place(&self, key: &str) -> Option<Place> {
        self.layers.first()?.key_place(key)
    }

    /// The place of a value that has been read.
    pub(crate) fn place(&self, key: &str) -> Option<Place> {
        self.diagnostics.place(&self.name, key)
    }

    /// A problem with a key of the table itself, if it is there.
    pub(crate) fn refuse_key(&self, key: &str, message: String, help: impl Into<String>) {
        if let Some(at) = self.key_place(key) {
            self.diagnostics.emit(Problem::new(at, message).help(help));
        }
    }

    /// Marks keys as known without reading them.
    pub(crate) fn knows(&self, keys: &[&'static str]) {
        self.asked.borrow_mut().extend(keys);
    }

    /// Records every key of the table itself that no reader asked for. The layers below are closed by their owner.
    pub(crate) fn finish(self) {
        let asked = self.asked.into_inner();
        if let Some(layer) = self.layers.first() {
            for (key, _) in layer.table.iter() {
                if asked.contains(key.get_ref().as_ref()) {
                    continue;
                }
                self.diagnostics.unknown(UnknownKey {
                    kind: self.kind,
                    section: self.name.clone(),
                    header: layer.header,
                    key: key.get_ref().clone().into_owned(),
                    at: Place::new(layer.header.file, key.span()),
                });
            }
        }
        self.diagnostics.known(self.kind, asked);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn peek(&self, key: &str) -> Option<&'a DeValue<'a>> {
        self.layers.iter().find_map(|layer| layer.table.get(key)).map(Spanned::get_ref)
    }

    /// The value of a key as one type; a value of another type is a problem.
    fn typed<T>(
        &self,
        key: &'static str,
        expected: &str,
        take: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
        help: impl FnOnce(&DeValue<'_>) -> String,
    ) -> Option<Located<T>> {
        self.asked.borrow_mut().insert(key);
        let (layer, value) =
            self.layers.iter().find_map(|layer| Some((layer, layer.table.get(key)?)))?;
        let at = Place::new(layer.header.file, value.span());
        self.diagnostics.found(&self.name, key, at);
        let found = value.get_ref();
        let value = take(found);
        if value.is_none() {
            let message = format!("`{key}` is {}, not {expected}", type_of(found));
            self.diagnostics.emit(Problem::new(at, message).help(help(found)));
        }
        Some(Located { value: value?, at })
    }
}

/// `key = false` says no more than its absence.
fn is_given(layer: &Layer<'_>, key: &str) -> bool {
    layer.table.get(key).is_some_and(|value| value.get_ref().as_bool() != Some(false))
}
