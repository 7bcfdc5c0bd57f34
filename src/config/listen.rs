//! Addresses to listen on, and which of them stay within the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::problem::{Place, Problem};
use super::reading::Reading;
use super::section::Section;
use crate::role::InvalidValue;

/// An address, and where it was written unless it is a default.
#[derive(Debug, Clone)]
pub(super) struct Listen {
    pub(super) addr: SocketAddr,
    pub(super) at: Option<Place>,
}

/// Reads `listen` and `unsafe_listen_beyond_host` of a section.
pub(super) fn read(
    section: &mut Section<'_>,
    default_port: u16,
    reading: &mut Reading<'_>,
) -> Vec<Listen> {
    let kept = Kept { default_port, stays_within_host, needed: section.name() == "server" };
    read_as(section, &kept, reading).unwrap_or_else(|| {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, default_port));
        vec![Listen { addr, at: None }]
    })
}

/// The same of an instance metadata service: it has no default, and link-local addresses are its home.
pub(super) fn read_imds(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Vec<Listen> {
    let kept = Kept { default_port: 80, stays_within_host: is_local_or_link_local, needed: true };
    read_as(section, &kept, reading).unwrap_or_else(|| {
        let help = "add listen = \"169.254.169.254:80\", or \"127.0.0.1:PORT\" for clients that can be told where";
        section.missing("listen", help, reading);
        Vec::new()
    })
}

/// What a section demands of its addresses.
struct Kept {
    default_port: u16,
    stays_within_host: fn(IpAddr) -> bool,
    /// At least one.
    needed: bool,
}

/// `None` where nothing is written.
fn read_as(
    section: &mut Section<'_>,
    kept: &Kept,
    reading: &mut Reading<'_>,
) -> Option<Vec<Listen>> {
    let beyond_host =
        section.boolean("unsafe_listen_beyond_host", reading).is_some_and(|found| found.value);
    let present = section.has("listen");
    let Some(found) = section.strings_or_one("listen", reading) else {
        return present.then(Vec::new);
    };
    if found.value.is_empty() && kept.needed {
        reading.problem(Problem::new(found.at, "`listen` is empty").help(format!(
            "expected at least one address, such as \"127.0.0.1:{}\"",
            kept.default_port
        )));
        return Some(Vec::new());
    }
    let mut all = Vec::new();
    for item in found.value {
        let addr = match parse(item.value, kept.default_port) {
            Ok(addr) => addr,
            Err(refused) => {
                reading.refuse(&item.at, "`listen`", &refused);
                continue;
            }
        };
        if !beyond_host && !(kept.stays_within_host)(addr.ip()) {
            reading.problem(
                Problem::new(item.at.clone(), format!("`listen` opens {addr} to other hosts"))
                    .help(format!(
                        "use a loopback address, or set unsafe_listen_beyond_host = true in [{}]",
                        section.name()
                    )),
            );
        }
        all.push(Listen { addr, at: Some(item.at) });
    }
    Some(all)
}

/// Every two addresses that cannot both be bound make a problem.
pub(super) fn check_distinct(all: &[(&str, &Listen)], reading: &mut Reading<'_>) {
    for (i, (key, listen)) in all.iter().enumerate() {
        let Some((other_key, other)) =
            all.iter().take(i).find(|(_, other)| clash(other.addr, listen.addr))
        else {
            continue;
        };
        let problem = match (&listen.at, &other.at) {
            (Some(at), Some(other_at)) => Problem::new(
                at.clone(),
                "two listeners want the same address",
            )
            .and("this one", other_at.clone(), "the other one"),
            (Some(at), None) | (None, Some(at)) => {
                let default = if listen.at.is_none() { key } else { other_key };
                Problem::new(at.clone(), format!("this is also the default of {default}"))
            }
            (None, None) => continue,
        };
        reading.problem(problem.help("give each its own port"));
    }
}

fn parse(text: &str, port: u16) -> Result<SocketAddr, InvalidValue> {
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    let shown = text.escape_debug();
    let refuse = |what: String, expected: String| Err(InvalidValue::new(what, expected));
    let last = text.rsplit_once(':').filter(|(_, port)| port.len() == 4 || port.len() == 5);
    if let Some((host, port)) = last
        && host.parse::<Ipv6Addr>().is_ok()
        && port.parse::<u16>().is_ok()
    {
        return refuse(
            format!("has an IPv6 address without brackets in `{shown}`"),
            format!("expected \"[{host}]:{port}\""),
        );
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return refuse(
            format!("has no port in `{shown}`"),
            format!("expected \"{}\"", SocketAddr::new(ip, port)),
        );
    }
    if text.contains("://") {
        return refuse(
            format!("holds the URL `{shown}`"),
            "expected an address and a port only".to_owned(),
        );
    }
    if text.starts_with('/') || text.starts_with("unix:") {
        return refuse(
            format!("holds the path `{shown}`"),
            "SDKs fetch over TCP only: expected an IP address and a port".to_owned(),
        );
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && port.parse::<u16>().is_ok()
    {
        return if host.is_empty() || host == "*" {
            refuse(format!("has no address in `{shown}`"), format!("expected \"127.0.0.1:{port}\""))
        } else {
            refuse(
                format!("holds the name `{shown}`"),
                format!(
                    "names may resolve to anything: expected an IP address, such as \"127.0.0.1:{port}\""
                ),
            )
        };
    }
    refuse(
        format!("holds `{shown}`"),
        format!("expected an IP address and a port, such as \"127.0.0.1:{port}\""),
    )
}

/// Loopback, and the three addresses that SDKs take for a container's own metadata service.
fn stays_within_host(ip: IpAddr) -> bool {
    const EKS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || matches!(ip.octets(), [169, 254, 170, 2 | 23]),
        IpAddr::V6(ip) => ip.is_loopback() || ip == EKS,
    }
}

/// Where an instance metadata service may be: an address that no router forwards.
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
