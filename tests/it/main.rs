//! The one integration binary: one link, shared support.

mod config;
