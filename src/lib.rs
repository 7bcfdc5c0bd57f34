//! AWS role credentials on tap: the map of the crate, in reading order.
//!
//! The library exists for the binary and for its tests; it promises nothing to others. See `ARCHITECTURE.md`.

// What is configured.
pub mod config_host;

// What is in hand, and what follows from it. Pure.

// Where credentials come from, and how they are kept.
pub mod clock;
pub mod fleet;
pub mod issuer;
pub mod refresher;
pub mod slots;
pub mod source;
pub mod sts;
pub mod sts_queue;

// What others have to allow.

// How workloads get them.
pub mod atomic_file;
pub mod audit;
pub mod credentials_file_io;
pub mod listeners;
pub mod peer;
pub mod server;
pub mod tokens;

// The process.
pub mod aws_hosts;
pub mod cli;
pub mod daemon;
pub mod fd_store;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod signals;
pub mod systemd;

#[cfg(test)]
mod simulated;
