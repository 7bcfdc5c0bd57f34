//! Asks each front of `[imds.*]` as its clients do.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::cli::fetch::{DaemonResponse, fetch_nothing, fetch_with};
use roletap_core::config::{Config, FrontSocket, Imds};
use roletap_core::doctor::Finding;
use roletap_core::doctor::fronts::{Front, Seen, finding};
use roletap_core::role::Role;

const TOKEN: &str = "/latest/api/token";
const LIST: &str = "/latest/meta-data/iam/security-credentials/";
/// It is on this host, or it is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// Reports on the IMDS endpoints that serve the `wanted` roles.
pub(super) fn findings(config: &Config, wanted: &[&Role], daemon_runs: bool) -> Vec<Finding> {
    let is_wanted = |front: &&Imds| wanted.iter().any(|role| role.name == front.role);
    let mut findings = Vec::new();
    for front in config.imds.values().filter(is_wanted) {
        for address in &front.listen {
            findings.push(finding(&Front {
                name: front.name.as_str(),
                role: front.role.as_str(),
                address: *address,
                is_systemds: front.socket == FrontSocket::Systemd,
                daemon_runs,
                seen: look(*address, front.role.as_str()),
            }));
        }
    }
    findings
}

fn look(address: SocketAddr, role: &str) -> Seen {
    if !is_here(address.ip()) {
        return Seen::NotHere;
    }
    if let Err(error) = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
        return Seen::Silent(error.to_string());
    }
    let ask = |method: &str, path: &str, header: (&str, &str)| {
        fetch_with(method, &format!("http://{address}{path}"), &[header])
    };
    let lifetime = ("X-aws-ec2-metadata-token-ttl-seconds", "60");
    let session = match ask("PUT", TOKEN, lifetime) {
        Ok(answer) if answer.status == 200 => text(&answer),
        Ok(answer) => return stranger(&answer),
        Err(failure) => return Seen::Silent(super::words(&failure).to_owned()),
    };
    let header = ("X-aws-ec2-metadata-token", session.as_str());
    match ask("GET", LIST, header) {
        Ok(answer) if answer.status == 200 && text(&answer) == role => {}
        Ok(answer) if answer.status == 200 => return Seen::OtherRole(text(&answer)),
        Ok(answer) => return stranger(&answer),
        Err(failure) => return Seen::Silent(super::words(&failure).to_owned()),
    }
    match fetch_nothing(&format!("http://{address}{LIST}{role}"), &[header]) {
        Ok(answer) => Seen::Answered { status: answer.status, code: super::code_of(&answer) },
        Err(failure) => Seen::Silent(super::words(&failure).to_owned()),
    }
}

/// Tells whether an interface of this host has this address: only then it can be bound.
fn is_here(ip: IpAddr) -> bool {
    let bound = TcpListener::bind((ip, 0));
    !bound.is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

fn stranger(answer: &DaemonResponse) -> Seen {
    Seen::Stranger(match answer.text("message") {
        Some(message) => format!("HTTP {}: {message}", answer.status),
        None => format!("HTTP {}", answer.status),
    })
}

fn text(answer: &DaemonResponse) -> String {
    String::from_utf8_lossy(&answer.body).trim().to_owned()
}
