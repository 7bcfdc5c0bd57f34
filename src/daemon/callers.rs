//! Sees at start and at each reload whether the kernel tells who is calling, where a role demands to know.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::caller::kernel::Kernel;
use crate::role::{Role, RoleName};

/// Says so where it does not: what is refused to everybody must not look like a mistake of its callers.
pub(super) fn look(kernel: &Kernel, roles: &BTreeMap<RoleName, Arc<Role>>) {
    let demanding = |key: &str| -> Vec<&str> {
        let some = roles
            .values()
            .filter(|role| role.callers.keys().any(|own| key.is_empty() || own == key));
        some.map(|role| role.name.as_str()).collect()
    };
    let names = demanding("");
    if names.is_empty() {
        return;
    }
    if let Err(why) = kernel.open() {
        tracing::error!(
            roles = names.join(", "),
            "roles with `allow_users` or `allow_units` are refused to everybody, since roletap cannot see who is calling: \
             {why}; then reload"
        );
        return;
    }
    let names = demanding("allow_units");
    if let Some(why) = Kernel::no_units().filter(|_| !names.is_empty()) {
        tracing::error!(
            roles = names.join(", "),
            "roles with `allow_units` are refused to everybody: {why}"
        );
    }
}
