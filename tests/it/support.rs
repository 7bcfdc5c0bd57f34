//! What the tests share.
pub(crate) mod client;
pub(crate) mod hanging;
pub mod harness;
pub(crate) mod namespace;
pub mod patience;
pub(crate) mod s3;
pub mod signature;
pub(crate) mod silence;
pub mod sts;
pub mod supervisor;
pub mod tls;
pub mod witness;
