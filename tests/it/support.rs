//! What the tests share.
pub(crate) mod client;
pub(crate) mod hanging;
pub(crate) mod harness;
pub(crate) mod namespace;
pub(crate) mod signature;
pub(crate) mod silence;
pub(crate) mod tls;
pub(crate) mod witness;
