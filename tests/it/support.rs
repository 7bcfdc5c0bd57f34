//! What the tests share.
pub mod sts;
