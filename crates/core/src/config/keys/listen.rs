//! Addresses to listen on, and which of them stay within the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::diagnostics::{Diagnostics, Place, Problem};
use crate::config::toml::Section;
use crate::role::{InvalidValue, refuse};

/// An address, and where it was written unless it is a default.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listen {
    pub(crate) addr: SocketAddr,
    pub(crate) at: Option<Place>,
}

/// Reads `listen` and `unsafe_listen_beyond_host` of a section.
pub(crate) fn read(section: &Section<'_>, default_port: u16) -> Vec<Listen> {
    let rules = Rules { default_port, stays_within_host, is_required: section.name() == "server" };
    read_as(section, &rules).unwrap_or_else(|| {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, default_port));
        vec![Listen { addr, at: None }]
    })
}

/// The same of an instance metadata service: it has no default, and link-local addresses are its home.
pub(crate) fn read_imds(section: &Section<'_>) -> Vec<Listen> {
    let rules =
        Rules { default_port: 80, stays_within_host: is_local_or_link_local, is_required: true };
    read_as(section, &rules).unwrap_or_else(|| {
        section.missing("listen", "add listen = \"169.254.169.254:80\", or \"127.0.0.1:PORT\" for clients that can be told where");
        Vec::new()
    })
}

pub(crate) fn addresses(all: &[Listen]) -> Vec<SocketAddr> {
    all.iter().map(|listen| listen.addr).collect()
}

/// The demands of a section on its addresses.
struct Rules {
    default_port: u16,
    stays_within_host: fn(IpAddr) -> bool,
    /// At least one address has to be there.
    is_required: bool,
}

/// `None` where nothing is written.
fn read_as(section: &Section<'_>, rules: &Rules) -> Option<Vec<Listen>> {
    let diagnostics = section.diagnostics;
    let beyond_host = section.flag("unsafe_listen_beyond_host");
    let present = section.has("listen");
    let Some(found) = section.strings_or_one("listen") else {
        return present.then(Vec::new);
    };
    if found.value.is_empty() && rules.is_required {
        diagnostics.emit(Problem::new(found.at, "`listen` is empty").help(format!(
            "expected at least one address, such as \"127.0.0.1:{}\"",
            rules.default_port
        )));
    }
    let mut all = Vec::new();
    for item in found.value {
        let addr = parse(item.value, rules.default_port);
        let Some(addr) = diagnostics.accept(item.at, "`listen`", addr) else {
            continue;
        };
        if !beyond_host && !(rules.stays_within_host)(addr.ip()) {
            let message = format!("`listen` opens {addr} to other hosts");
            diagnostics.emit(Problem::new(item.at, message).help(format!(
                "use a loopback address, or set unsafe_listen_beyond_host = true in [{}]",
                section.name()
            )));
        }
        all.push(Listen { addr, at: Some(item.at) });
    }
    Some(all)
}

/// Every two addresses that cannot both be bound make a problem.
pub(crate) fn check_distinct(all: &[(&str, &Listen)], diagnostics: &Diagnostics<'_>) {
    for (i, (key, listen)) in all.iter().enumerate() {
        let clashing = all.iter().take(i).find(|(_, other)| clash(other.addr, listen.addr));
        let Some((other_key, other)) = clashing else {
            continue;
        };
        let problem = match (listen.at, other.at) {
            (Some(at), Some(other)) => {
                Problem::new(at, "two listeners want the same address").beside(other)
            }
            (Some(at), None) => {
                Problem::new(at, format!("this is also the default of {other_key}"))
            }
            (None, Some(at)) => Problem::new(at, format!("this is also the default of {key}")),
            (None, None) => continue,
        };
        diagnostics.emit(problem.help("give each its own port"));
    }
}

fn parse(text: &str, port: u16) -> Result<SocketAddr, InvalidValue> {
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    let shown = text.escape_debug();
    let (what, expected) = match (text.parse::<IpAddr>(), text.rsplit_once(':')) {
        (_, Some((host, port)))
            if matches!(port.len(), 4 | 5)
                && host.parse::<Ipv6Addr>().is_ok()
                && port.parse::<u16>().is_ok() =>
        {
            let what = format!("has an IPv6 address without brackets in `{shown}`");
            (what, format!("expected \"[{host}]:{port}\""))
        }
        (Ok(ip), _) => {
            let what = format!("has no port in `{shown}`");
            (what, format!("expected \"{}\"", SocketAddr::new(ip, port)))
        }
        _ if text.contains("://") => {
            let expected = "expected an address and a port only";
            (format!("holds the URL `{shown}`"), expected.to_owned())
        }
        _ if text.starts_with('/') || text.starts_with("unix:") => {
            let expected = "SDKs fetch over TCP only: expected an IP address and a port";
            (format!("holds the path `{shown}`"), expected.to_owned())
        }
        (_, Some(("" | "*", port))) if port.parse::<u16>().is_ok() => {
            (format!("has no address in `{shown}`"), format!("expected \"127.0.0.1:{port}\""))
        }
        (_, Some((_, port))) if port.parse::<u16>().is_ok() => (
            format!("holds the name `{shown}`"),
            format!(
                "names may resolve to anything: expected an IP address, such as \"127.0.0.1:{port}\""
            ),
        ),
        _ => (
            format!("holds `{shown}`"),
            format!("expected an IP address and a port, such as \"127.0.0.1:{port}\""),
        ),
    };
    refuse(what, expected)
}

/// True for loopback, and the three addresses that SDKs take for a container's own metadata service.
fn stays_within_host(ip: IpAddr) -> bool {
    const EKS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || matches!(ip.octets(), [169, 254, 170, 2 | 23]),
        IpAddr::V6(ip) => ip.is_loopback() || ip == EKS,
    }
}

/// True for an address that an instance metadata service may have: no router forwards it.
fn is_local_or_link_local(ip: IpAddr) -> bool {
    const EC2: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip == EC2,
    }
}

fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let same_ip = a.ip().to_canonical() == b.ip().to_canonical();
    let covers = same_family && (a.ip().is_unspecified() || b.ip().is_unspecified());
    a.port() == b.port() && a.port() != 0 && (same_ip || covers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_within_the_host() {
        for (ip, within) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("169.254.170.2", true),
            ("169.254.170.23", true),
            ("fd00:ec2::23", true),
            ("169.254.169.254", false),
            ("fd00:ec2::24", false),
            ("0.0.0.0", false),
            ("::", false),
            ("::ffff:10.0.0.1", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(stays_within_host(ip.parse().unwrap()), within, "{ip}");
        }
    }

    #[test]
    fn where_an_instance_metadata_service_may_be() {
        for (ip, home) in [
            ("127.0.0.1", true),
            ("169.254.169.254", true),
            ("::1", true),
            ("fe80::1", true),
            ("fd00:ec2::254", true),
            ("fd00:ec2::23", false),
            ("0.0.0.0", false),
            ("172.17.0.1", false),
        ] {
            assert_eq!(is_local_or_link_local(ip.parse().unwrap()), home, "{ip}");
        }
    }

    #[test]
    fn port_zero_never_clashes() {
        let a = "127.0.0.1:0".parse().unwrap();
        assert!(!clash(a, a));
        assert!(clash("0.0.0.0:1".parse().unwrap(), "127.0.0.1:1".parse().unwrap()));
        assert!(!clash("0.0.0.0:1".parse().unwrap(), "[::1]:1".parse().unwrap()));
    }
}
