//! The part of roletap that decides.
//!
//! Everything here is a function of its arguments: the configuration as text, the time as `now`, random numbers as
//! [`backoff::Jitter`]. Nothing waits, asks a network, reads a file or looks at a clock. The daemon, package
//! `roletap`, does that. Cargo keeps this law: the manifest names no async runtime, no AWS crate and no `nix`.

#![warn(missing_docs)]

// The configuration.
pub mod config;
pub mod role;

// The credentials in hand, and what follows from them.
pub mod backoff;
pub mod budget;
pub mod credentials;
pub mod credentials_file;
pub mod lifecycle;
pub mod regions;
pub mod reload;
pub mod snapshot;
pub mod token_digest;

// Failures, and the advice on them.
pub mod doctor;
pub mod failure;
pub mod xml;

// The callers of the endpoints.
pub mod caller;
pub mod consumers;

// The policies that others have to allow.
pub mod policy;

#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
