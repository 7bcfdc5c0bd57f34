//! AWS role credentials on tap: the map of the crate, in reading order.
//!
//! The library exists for the binary and for its tests; it promises nothing to others. See `ARCHITECTURE.md`.

// What is configured.
pub mod config;
pub mod config_host;
pub mod role;

// What is in hand, and what follows from it. Pure.
pub mod budget;
pub mod credentials;
pub mod credentials_file;
pub mod keep;
pub mod lifecycle;
pub mod reload;

// Where credentials come from, and how they are kept.
pub mod clock;
pub mod fleet;
pub mod issuer;
pub mod refresher;
pub mod slots;
pub mod source;

// What others have to allow.
pub mod policy;

// How workloads get them.
pub mod audit;
pub mod caller;
pub mod consumers;
pub mod files;
pub mod listeners;
pub mod server;
pub mod tokens;

// The process.
pub mod cli;
pub mod daemon;
pub mod doctor;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod signals;
pub mod store;
pub mod systemd;

#[cfg(test)]
mod simulated;
