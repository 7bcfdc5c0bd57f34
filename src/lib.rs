//! AWS role credentials on tap: the map of the crate, in reading order.
//!
//! The library exists for the binary and for its tests; it promises nothing to others. See `ARCHITECTURE.md`.

// What is configured.
pub mod config;
pub mod role;

// What is in hand, and what follows from it. Pure.
pub mod backoff;
pub mod budget;
pub mod credentials;
pub mod credentials_file;
pub mod failure;
pub mod lifecycle;
pub mod reload;
pub mod snapshot;
pub mod token_digest;

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
pub mod policy;

// How workloads get them.
pub mod atomic_file;
pub mod audit;
pub mod caller;
pub mod consumers;
pub mod credentials_file_io;
pub mod listeners;
pub mod server;
pub mod tokens;

// The process.
pub mod aws_hosts;
pub mod cli;
pub mod daemon;
pub mod doctor;
pub mod fd_store;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod signals;
pub mod systemd;
pub mod xml;

#[cfg(test)]
mod simulated;
