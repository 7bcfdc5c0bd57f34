//! Problems: collecting them, saying where they are, and the report that shows them all.

mod collector;
mod excerpt;
mod problem;
mod redacted;
mod secret;
mod unknown_key;

pub(crate) use collector::{Diagnostics, Places};
pub(crate) use problem::Place;
pub use problem::{Problem, Report, Severity};
pub use redacted::redacted;
pub(crate) use secret::is_secret_key;
pub(crate) use unknown_key::{CONF_D, UnknownKey, nearest, suggest};
