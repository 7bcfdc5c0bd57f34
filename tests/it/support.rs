//! What the tests share.
pub(crate) mod client;
pub(crate) mod hanging;
pub mod harness;
pub(crate) mod namespace;
pub mod signature;
pub(crate) mod silence;
pub mod tls;
pub mod witness;
