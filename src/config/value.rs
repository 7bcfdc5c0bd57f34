//! TOML values, and where they stand.

use toml::de::{DeTable, DeValue};

use super::problem::Place;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: Place,
}

/// A key and its value, in a table of strings.
pub(super) type Pair<'a> = (At<&'a str>, At<&'a str>);

/// A table, and the place of its header.
#[derive(Clone)]
pub(super) struct Layer<'a> {
    pub(super) header: Place,
    pub(super) table: &'a DeTable<'a>,
}

/// What a report calls the type of a value.
pub(super) fn type_of(value: &DeValue<'_>) -> &'static str {
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
