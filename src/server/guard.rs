//! Lets in only requests that come straight from this host.
//!
//! Together with loopback this keeps out DNS rebinding, and server-side request forgery through a
//! proxy.

use std::net::IpAddr;
use std::sync::Arc;

use http::request;

use super::reply::Reply;
use crate::slots::Slot;

/// The right of a request, before the state of the role is looked at.
#[derive(Debug)]
pub(super) enum Admitted {
    /// The request is not about credentials, and this answers it.
    Answered(Reply),
    /// The request may have the credentials of this role.
    Role(Arc<Slot>),
}

/// Returns the token of a request, if it has one; `None` if the request was forwarded, made by a
/// browser, or names a foreign host.
pub fn direct<'a>(head: &'a request::Parts, hosts: &[IpAddr]) -> Option<Option<&'a [u8]>> {
    if head.uri.authority().is_some_and(|authority| !is_ours(authority.host(), hosts)) {
        return None;
    }
    let mut token = None;
    for (name, value) in &head.headers {
        match name.as_str() {
            "authorization" => token = Some(bare(value.as_bytes())),
            "host" if value.to_str().is_ok_and(|host| is_ours(without_port(host), hosts)) => {}
            "host" | "origin" | "forwarded" => return None,
            name if name.starts_with("x-forwarded-") || name.starts_with("sec-fetch-") => {
                return None;
            }
            _ => {}
        }
    }
    Some(token)
}

fn is_ours(host: &str, hosts: &[IpAddr]) -> bool {
    // Nearly every client sends this.
    if host == "127.0.0.1" {
        return true;
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || hosts.contains(&ip) || CONTAINER_ENDPOINTS.contains(&host),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// The addresses at which SDKs expect ECS and EKS to answer over plain HTTP.
const CONTAINER_ENDPOINTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        host.split_inclusive(']').next().unwrap_or(host)
    } else {
        host.split(':').next().unwrap_or(host)
    }
}

/// Returns the token, raw or after `Bearer`: generations of clients differ.
fn bare(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value.split_at_checked(6) {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case(b"bearer")
                && rest.first().is_some_and(u8::is_ascii_whitespace) =>
        {
            rest.trim_ascii()
        }
        _ => value,
    }
}
