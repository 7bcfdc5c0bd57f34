//! AWS role credentials on tap.
pub mod config;
pub mod role;
