//! Sees at start and at each reload whether the kernel tells who is calling, where a role demands to know.

use super::PreparedImds;
use crate::caller::peer::{InheritedSocket, PeerLookup};
use crate::config::{Config, ImdsName};
use crate::listeners::Listeners;

/// A socket that was handed to us, and the front that it is of; else it is of the credentials endpoint.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    handed: InheritedSocket,
    front: Option<ImdsName>,
}

/// Those by which credentials are had.
pub(super) fn entrances(credentials: &Listeners, fronts: &[PreparedImds]) -> Vec<Entrance> {
    let of_front = |front: &PreparedImds| (Some(front.imds.name.clone()), handed(&front.listeners));
    let fronts = fronts.iter().map(of_front);
    let all = [(None, handed(credentials))].into_iter().chain(fronts);
    all.flat_map(|(front, handed)| {
        handed.into_iter().map(move |handed| Entrance { handed, front: front.clone() })
    })
    .collect()
}

fn handed(listeners: &Listeners) -> Vec<InheritedSocket> {
    listeners.inherited.iter().map(InheritedSocket::of).collect()
}

/// Says so where it does not: what is refused to everybody must not look like a mistake of its callers.
pub(super) fn look(kernel: &PeerLookup, config: &Config, entrances: &[Entrance]) {
    let demanding = |key: &str| -> Vec<&str> {
        let some = config
            .roles
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
    if let Some(why) = PeerLookup::no_units().filter(|_| !names.is_empty()) {
        tracing::error!(
            roles = names.join(", "),
            "roles with `allow_units` are refused to everybody: {why}"
        );
    }
    for entrance in entrances {
        let of_front = |front| config.imds.get(front).map(|front| front.role.as_str());
        let mut names = demanding("");
        if let Some(front) = &entrance.front {
            names.retain(|name| of_front(front) == Some(*name));
        }
        if !names.is_empty() && kernel.is_in_foreign_namespace(entrance.handed) {
            tracing::warn!(
                address = %entrance.handed.address(),
                roles = names.join(", "),
                "roles with `allow_users` or `allow_units` are refused to everybody who comes by this socket: systemd holds it in \
                 another network namespace, where the kernel does not show roletap who is calling"
            );
        }
    }
}
