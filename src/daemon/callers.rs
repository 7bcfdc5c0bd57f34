//! Checks, at start and at each reload, that the kernel tells who is calling, where a role asks for
//! it.

use super::endpoints::PreparedEndpoints;
use crate::listeners::Listeners;
use crate::peer::{InheritedSocket, PeerLookup};
use roletap_core::config::{Config, ImdsName};
use roletap_core::role::Role;

/// A socket that roletap inherited, and the IMDS endpoint that it is of; `None` is the credentials
/// endpoint.
#[derive(Debug, Clone)]
pub(super) struct InheritedListener {
    socket: InheritedSocket,
    imds: Option<ImdsName>,
}

/// Returns the inherited sockets of all endpoints that vend credentials.
pub(super) fn inherited_listeners(endpoints: &PreparedEndpoints) -> Vec<InheritedListener> {
    let of = |listeners: &Listeners, imds: Option<&ImdsName>| -> Vec<InheritedListener> {
        let sockets = listeners.inherited.iter().map(InheritedSocket::of);
        sockets.map(|socket| InheritedListener { socket, imds: imds.cloned() }).collect()
    };
    let imds = endpoints.imds.iter();
    let imds = imds.flat_map(|endpoint| of(&endpoint.listeners, Some(&endpoint.imds.name)));
    of(&endpoints.credentials, None).into_iter().chain(imds).collect()
}

/// Logs which roles are refused to everybody because the kernel does not tell who is calling: it
/// must not look like a mistake of the callers.
pub(super) fn log_unknown_callers(
    peers: &PeerLookup,
    config: &Config,
    inherited: &[InheritedListener],
) {
    let names = |of_role: &dyn Fn(&Role) -> bool| {
        let roles = config.roles.values().filter(|role| of_role(role));
        roles.map(|role| role.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let roles = names(&|role| !role.callers.is_empty());
    if roles.is_empty() {
        return;
    }
    if let Err(why) = peers.open() {
        tracing::error!(
            roles,
            "roles with `allow_users` or `allow_units` are refused to everybody, since roletap cannot see who is calling: \
             {why}; then reload"
        );
        return;
    }
    let roles = names(&|role| role.callers.units.is_some());
    if let Some(why) = PeerLookup::no_units().filter(|_| !roles.is_empty()) {
        tracing::error!(roles, "roles with `allow_units` are refused to everybody: {why}");
    }
    for InheritedListener { socket, imds } in inherited {
        let served = imds.as_ref().map(|name| config.imds.get(name).map(|imds| &imds.role));
        let roles = names(&|role| {
            !role.callers.is_empty() && served.is_none_or(|served| served == Some(&role.name))
        });
        if !roles.is_empty() && peers.is_in_foreign_namespace(*socket) {
            tracing::warn!(
                address = %socket.address(),
                roles,
                "roles with `allow_users` or `allow_units` are refused to everybody who comes by this socket: systemd holds it in \
                 another network namespace, where the kernel does not show roletap who is calling"
            );
        }
    }
}
