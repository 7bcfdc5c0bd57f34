//! TOML values, and where they stand.

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};

use crate::config::diagnostics::Place;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) at: Place,
}

impl<T> Located<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: change(self.value), at: self.at }
    }
}

/// A key and its value, in a table of strings.
pub(crate) type Pair<'a> = (Located<&'a str>, Located<&'a str>);

/// A table, and the place of its header.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    pub(crate) header: Place,
    pub(crate) table: &'a DeTable<'a>,
}

impl<'a> Layer<'a> {
    /// The top level of a file.
    pub(crate) fn from_document(file: usize, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self { header: Place::new(file, table.span()), table: table.get_ref() }
    }

    /// The place of a key itself, not of its value.
    pub(crate) fn key_place(&self, key: &str) -> Option<Place> {
        let (name, _) = self.table.get_key_value(key)?;
        Some(Place::new(self.header.file, name.span()))
    }
}

/// The name of a value's type in reports.
pub(crate) fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
