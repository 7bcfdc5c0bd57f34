//! The one integration binary.
#![allow(clippy::disallowed_methods, reason = "tests look at real clocks")]

mod config;
mod fake_sts;
mod support;
mod tidy;
