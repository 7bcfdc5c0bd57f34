//! The one integration binary.
mod config;
mod fake_sts;
mod support;
mod tidy;
