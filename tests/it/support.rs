//! What the tests share.
pub mod harness;
pub mod sts;
pub mod witness;
