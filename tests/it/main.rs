//! The one integration binary.
mod fake_sts;
mod support;
mod vend;
