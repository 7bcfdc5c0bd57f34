//! Everything that can only be said once all roles and sources are known.

pub(super) mod chains;
pub(super) mod credentials_file;
mod min_remaining;
