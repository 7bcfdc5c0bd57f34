//! The doubles that tests, examples and benches share: [`FakeSts`], an S3, a systemd, and the patience to wait for them.
//!
//! They write raw bytes to real sockets, and fail by panicking. Nothing here knows roletap or an AWS SDK.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "doubles look at real clocks, fail by panicking, and a fault concerns one step of an answer"
)]

pub mod patience;
pub mod s3;
mod sts;
pub mod supervisor;

pub use sts::{
    CatalogueRow, ErrorForm, Expiry, FakeSts, Fault, Field, Issued, Received, RoleScripts, Script,
    Scripts, catalogue, oddities,
};
