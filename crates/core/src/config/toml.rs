//! TOML documents, and tables that are asked for keys.

mod documents;
mod named;
mod section;
mod value;

pub(crate) use documents::{FileTable, parse};
pub(crate) use named::tables;
pub(crate) use section::Section;
pub(crate) use value::{Layer, Located};
