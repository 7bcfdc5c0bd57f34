//! `[imds.NAME]`: one role, in the manner of EC2's instance metadata service, for clients that know no other.
//!
//! A session token of version 2 says nothing about who asks. It keeps out a server that can be made to fetch a URL, and
//! nothing else: whoever reaches the address gets the role, so the address has to be the guard.
//!
//! How a refusal is chosen, by what real clients do with it (`docs/fronts.md`): 503 while nothing is in hand and it may
//! pass, which the SDKs for Rust and Go try again; 403 where a person is needed, which nobody repeats; never 404 about
//! credentials, which the SDK for Rust takes for "no role here" and goes on without. A request for a session token is
//! refused only for its own faults, because the SDK for JavaScript gives up version 2 after a 403, 404 or 405.

mod session;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, request};

pub use self::session::{LONGEST_SESSION, SessionKey};
use super::guard::direct;
use super::reply::{self, Refusal};
use super::vend::Ruling;
use crate::role::RoleName;
use crate::slots::{Slots, VendResult};

const TOKEN: &str = "latest/api/token";
const CREDENTIALS: &str = "latest/meta-data/iam/security-credentials";
/// What newer SDKs ask first. Where it is not there, they ask for the other.
const EXTENDED: &str = "latest/meta-data/iam/security-credentials-extended";
const REGION: &str = "latest/meta-data/placement/region";
const IDENTITY: &str = "latest/dynamic/instance-identity/document";
const SESSION_HEADER: &str = "x-aws-ec2-metadata-token";
pub(super) const LIFETIME_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// Where clients believe to be, whatever a rule of the firewall makes of it.
const EC2: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// What one front may say, and of which role.
#[derive(Debug)]
pub struct ImdsEndpoint {
    hosts: Vec<IpAddr>,
    session: SessionKey,
    settings: ArcSwap<Settings>,
}

/// What a reload may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whose credentials.
    pub role: RoleName,
    /// Version 1 is answered, too.
    pub without_session: bool,
    /// Where the clients are told that they are.
    pub region: Option<String>,
    /// Whose they were before. In the moment of a reload the table of slots is the old one or the new one.
    before: Option<RoleName>,
}

impl Settings {
    /// Of a front that has just been started.
    pub fn new(role: RoleName, without_session: bool, region: Option<String>) -> Self {
        Self { role, without_session, region, before: None }
    }
}

impl ImdsEndpoint {
    /// Behind these addresses; its session tokens are made with this key.
    pub fn new(listen: &[SocketAddr], session: SessionKey, settings: Settings) -> Self {
        Self {
            hosts: listen.iter().map(SocketAddr::ip).chain(EC2).collect(),
            session,
            settings: ArcSwap::from_pointee(settings),
        }
    }

    /// Other settings. Has to be called before the table of slots is replaced.
    pub fn set(&self, mut settings: Settings) {
        settings.before = Some(self.settings.load().role.clone());
        self.settings.store(Arc::new(settings));
    }

    /// What becomes of a request.
    pub(super) fn rule(&self, slots: &Slots, head: &request::Parts, now: SystemTime) -> Ruling {
        if direct(head, &self.hosts).is_none() {
            return Ruling::Refused(VendResult::Forbidden, Refusal::Forbidden);
        }
        let not_served = |refusal| Ruling::Refused(VendResult::NotServed, refusal);
        // Some clients put a slash between an endpoint that ends with one and a path that begins with one.
        let path = head.uri.path().trim_start_matches('/');
        if path == TOKEN {
            return if head.method == Method::PUT {
                match lifetime(head) {
                    Some(seconds) => {
                        Ruling::Aside(reply::session(&self.session.issue(now, seconds), seconds))
                    }
                    None => not_served(Refusal::NoSessionLifetime(LONGEST_SESSION)),
                }
            } else {
                not_served(Refusal::PutOnly)
            };
        }
        if head.method != Method::GET && head.method != Method::HEAD {
            return not_served(Refusal::MethodNotAllowed);
        }
        let settings = self.settings.load();
        let session = head.headers.get(SESSION_HEADER).map(HeaderValue::as_bytes);
        if !session.map_or(settings.without_session, |text| self.session.opens(text, now)) {
            return Ruling::Refused(VendResult::Unauthorized, Refusal::NoSession);
        }
        self.served(&settings, slots, path)
            .unwrap_or_else(|| not_served(Refusal::NoSuchMetadata(settings.role.clone())))
    }

    /// What there is at `path`.
    fn served(&self, settings: &Settings, slots: &Slots, path: &str) -> Option<Ruling> {
        let path = path.strip_suffix('/').unwrap_or(path);
        match (path, &settings.region) {
            (REGION, Some(region)) => return Some(Ruling::Aside(reply::metadata(region.clone()))),
            (IDENTITY, Some(region)) => return Some(Ruling::Aside(reply::identity(region))),
            _ => {}
        }
        let table = slots.load();
        let of = |role: &RoleName| table.slots.get(role);
        let Some(slot) = of(&settings.role).or_else(|| of(settings.before.as_ref()?)) else {
            let refusal = Refusal::Pending(settings.role.clone());
            return Some(Ruling::Refused(VendResult::Pending, refusal));
        };
        let rest = match path.strip_prefix(EXTENDED) {
            // It exists to tell the account.
            Some(rest) if slot.role.account_id => rest,
            Some(_) => return None,
            None => path.strip_prefix(CREDENTIALS)?,
        };
        let name = slot.role.name.as_str();
        if rest.is_empty() {
            // Without a newline: reqsign makes it part of the next path.
            return Some(Ruling::Aside(reply::metadata(name.to_owned())));
        }
        (rest.strip_prefix('/') == Some(name)).then(|| Ruling::Role(slot.clone()))
    }
}

/// What the client asks for, if it is in bounds.
fn lifetime(head: &request::Parts) -> Option<u32> {
    let text = head.headers.get(LIFETIME_HEADER)?.to_str().ok()?;
    let seconds: u32 = text.trim().parse().ok()?;
    (1..=LONGEST_SESSION).contains(&seconds).then_some(seconds)
}
