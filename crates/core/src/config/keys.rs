//! The keys of each section, each beside the parser that gives it meaning.

mod callers;
mod context;
pub(super) mod credentials_file;
mod durations;
pub(super) mod imds;
pub(super) mod listen;
pub(super) mod log;
mod operation;
pub(super) mod policy;
pub(super) mod region;
pub(super) mod roles;
pub(super) mod server;
mod session_name;
pub(super) mod sources;
pub(super) mod sts;
pub(super) mod tags;
mod text;

pub(super) use context::Context;
pub(super) use durations::spoken;
