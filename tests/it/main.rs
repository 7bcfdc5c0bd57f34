//! The one integration binary.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests look at real clocks, and fail by panicking"
)]

mod config;
mod fake_sts;
mod fleet;
mod identity;
mod issue;
mod network;
mod outage;
mod policy;
mod process;
mod readme;
mod regions;
mod reload;
mod secrets;
mod sources;
mod support;
mod tidy;
mod vend;
