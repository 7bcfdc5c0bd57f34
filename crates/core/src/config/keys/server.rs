//! `[server]` and `[admin]`.

use std::path::{Path, PathBuf};

use super::durations::duration;
use super::imds::ImdsEndpoints;
use super::listen::{self, Listen};
use crate::config::toml::Section;
use crate::config::{Admin, Server};
use crate::role::{InvalidValue, refuse};

const SERVER_PORT: u16 = 5169;
const ADMIN_PORT: u16 = 5170;
const TOKEN_DIR: &str = "/run/roletap/tokens";

/// Reads both, and looks at all addresses at once, since none may clash with another.
pub(crate) fn read(
    server: Section<'_>,
    admin: Section<'_>,
    imds: &ImdsEndpoints,
) -> (Server, Admin) {
    let server_listen = listen::read(&server, SERVER_PORT);
    let admin_listen = listen::read(&admin, ADMIN_PORT);
    let own = server_listen.iter().map(|listen| ("server.listen", listen));
    let all: Vec<_> = own
        .chain(admin_listen.iter().map(|listen| ("admin.listen", listen)))
        .chain(imds.listens())
        .collect();
    listen::check_distinct(&all, server.diagnostics);
    admin.finish();
    (read_server(server, &server_listen), Admin { listen: listen::addresses(&admin_listen) })
}

fn read_server(section: Section<'_>, listen: &[Listen]) -> Server {
    let token_dir = section.text("token_dir", absolute_path);
    let server = Server {
        listen: listen::addresses(listen),
        token_dir: token_dir.unwrap_or_else(|| PathBuf::from(TOKEN_DIR)),
        // The smallest timeout of a client is 1 s, and some of it is the client's own.
        pending_wait: duration(&section, "pending_wait", 400, 0..=1000).0,
        max_connections: section.number("max_connections", 1..=65_536, "").unwrap_or(1024),
        shutdown_grace: duration(&section, "shutdown_grace", 10_000, 0..=300_000).0,
    };
    section.finish();
    server
}

pub(crate) fn absolute_path(text: &str) -> Result<PathBuf, InvalidValue> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return refuse(
            "is not an absolute path",
            "expected one that begins with `/`: the daemon may be started anywhere",
        );
    }
    if text.chars().any(char::is_control) {
        return refuse("holds a control character", "expected a plain path");
    }
    Ok(path.to_owned())
}
