//! `[imds.NAME]`: one role, in the manner of EC2's instance metadata service, for clients that know
//! no other.
//!
//! A session token of version 2 says nothing about who asks. It keeps out a server that can be made
//! to fetch a URL, and nothing else: whoever reaches the address gets the role, so access to the
//! address is the guard.
//!
//! How a refusal is chosen, by what real clients do with it (`docs/fronts.md`): 503 while nothing
//! is in hand and it may pass, which the SDKs for Rust and Go try again; 403 where a person is
//! needed, which nobody repeats; never 404 about credentials, which the SDK for Rust takes for "no
//! role here" and goes on without. A request for a session token is refused only for its own
//! faults, because the SDK for JavaScript gives up version 2 after a 403, 404 or 405.

mod session;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::SystemTime;

use http::{HeaderValue, Method, request};

pub use self::session::{LONGEST_SESSION, SessionKey};
use super::guard::{Admitted, direct};
use super::reply::{self, LIFETIME_HEADER, Refusal};
use crate::slots::{ImdsSettings, Table};
use roletap_core::config::{Imds, ImdsName};

const TOKEN: &str = "latest/api/token";
const CREDENTIALS: &str = "latest/meta-data/iam/security-credentials";
/// Newer SDKs ask for this path first, and for the other one where it is not served.
const EXTENDED: &str = "latest/meta-data/iam/security-credentials-extended";
const REGION: &str = "latest/meta-data/placement/region";
const IDENTITY: &str = "latest/dynamic/instance-identity/document";
const SESSION_HEADER: &str = "x-aws-ec2-metadata-token";

/// The addresses that clients send requests to, wherever a firewall rule takes them.
const EC2: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// One `[imds.NAME]`. Its settings that a reload may change are in the [`Table`].
#[derive(Debug)]
pub struct ImdsEndpoint {
    name: ImdsName,
    hosts: Vec<IpAddr>,
    session: SessionKey,
}

impl ImdsEndpoint {
    /// Makes the endpoint, whose session tokens are sealed with `session`.
    pub fn new(imds: &Imds, session: SessionKey) -> Self {
        let hosts = imds.listen.iter().map(SocketAddr::ip).chain(EC2).collect();
        Self { name: imds.name.clone(), hosts, session }
    }

    /// Decides what a request may have.
    pub(super) fn access(
        &self,
        table: &Table,
        head: &request::Parts,
        now: SystemTime,
    ) -> Result<Admitted, Refusal> {
        direct(head, &self.hosts).ok_or(Refusal::Forbidden)?;
        // Some clients put a slash between an endpoint that ends with one and a path that begins
        // with one.
        let path = head.uri.path().trim_start_matches('/');
        if path == TOKEN {
            return self.issue_session(head, now);
        }
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(Refusal::MethodNotAllowed);
        }
        // There as long as the process: a reload can neither add nor remove an endpoint.
        let settings = table.imds.get(&self.name).ok_or(Refusal::NotFound)?;
        let session = head.headers.get(SESSION_HEADER).map(HeaderValue::as_bytes);
        if !session.map_or(settings.allows_version_1, |text| self.session.opens(text, now)) {
            return Err(Refusal::NoSession);
        }
        served(settings, path)
            .ok_or_else(|| Refusal::NoSuchMetadata(settings.slot.role.name.clone()))
    }

    fn issue_session(&self, head: &request::Parts, now: SystemTime) -> Result<Admitted, Refusal> {
        if head.method != Method::PUT {
            return Err(Refusal::PutOnly);
        }
        let seconds = lifetime(head).ok_or(Refusal::NoSessionLifetime(LONGEST_SESSION))?;
        Ok(Admitted::Answered(reply::session(&self.session.issue(now, seconds), seconds)))
    }
}

/// Returns what is served at `path`, if anything is.
fn served(settings: &ImdsSettings, path: &str) -> Option<Admitted> {
    let path = path.strip_suffix('/').unwrap_or(path);
    match (path, &settings.region) {
        (REGION, Some(region)) => return Some(Admitted::Answered(reply::metadata(region.clone()))),
        (IDENTITY, Some(region)) => return Some(Admitted::Answered(reply::identity(region))),
        _ => {}
    }
    let role = &settings.slot.role;
    let rest = match path.strip_prefix(EXTENDED) {
        // The extended path exists to tell the account.
        Some(rest) if role.account_id => rest,
        Some(_) => return None,
        None => path.strip_prefix(CREDENTIALS)?,
    };
    let name = role.name.as_str();
    if rest.is_empty() {
        // Without a newline: reqsign makes it part of the next path.
        return Some(Admitted::Answered(reply::metadata(name.to_owned())));
    }
    (rest.strip_prefix('/') == Some(name)).then(|| Admitted::Role(settings.slot.clone()))
}

/// Returns the lifetime that the client asks for, in seconds, if it is in bounds.
fn lifetime(head: &request::Parts) -> Option<u32> {
    let text = head.headers.get(LIFETIME_HEADER)?.to_str().ok()?;
    let seconds: u32 = text.trim().parse().ok()?;
    (1..=LONGEST_SESSION).contains(&seconds).then_some(seconds)
}
