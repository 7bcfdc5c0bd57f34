//! What the tests share.
pub mod harness;
pub mod signature;
pub mod sts;
pub mod supervisor;
pub mod tls;
pub mod witness;
