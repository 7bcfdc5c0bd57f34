//! The one integration binary.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests look at real clocks, and fail by panicking"
)]

mod callers;
mod config;
mod credentials_file;
mod doctor;
mod errors;
mod host;
mod identity;
mod imds;
mod issue;
mod logs;
mod network;
mod outage;
mod policy;
mod process;
mod readme;
mod regions;
mod reload;
mod restart;
mod secrets;
mod sources;
mod support;
mod systemd;
mod vend;
