//! The real binary as a child process, a configuration for it, and what a test asks of it over real sockets.
//!
//! Nothing here sleeps for a while in the hope that something has happened: [`Daemon::wait_until`] polls a value and, when
//! it gives up, prints the last one with the log.

mod commands;
mod configuration;
mod http;
mod log;
mod operator;
mod process;
mod setup;
mod workload;

use serde_json::Value;

pub(crate) use commands::{Finished, finish, unshared};
pub(crate) use fake_sts::patience::{PATIENCE, pause, wait_for};
pub(crate) use http::{Answer, Connection, metric_in, request};
pub(crate) use process::{Daemon, Supervised};
pub(crate) use setup::{Port, Setup, with};

/// What signs requests to STS.
pub(crate) const BASE_KEY: &str = "AKIAROLETAPBASEKEY22";
/// Its secret, which must be seen nowhere.
pub(crate) const BASE_SECRET: &str = "kBase5ecretOf+the/wire0tier1234567890abc";

/// A role's ARN, from its name.
pub(crate) fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

/// A JSON string's text.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
