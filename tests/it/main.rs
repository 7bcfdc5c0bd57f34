//! The one integration binary.
mod fake_sts;
mod issue;
mod support;
mod vend;
