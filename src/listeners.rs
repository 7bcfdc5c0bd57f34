//! The listening sockets of an endpoint: inherited from systemd, which holds them open over
//! restarts, or bound by roletap.
//!
//! The configuration names the addresses. An address that systemd holds is inherited, another is
//! bound. An address that only a socket unit names is not served, since nobody has checked it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use nix::sys::socket::{SockType, getsockopt, setsockopt, sockopt};
use tokio::net::TcpSocket;

/// Connections that wait to be accepted. With 16, a burst of 500 delays some of them by a second.
const BACKLOG: u32 = 1024;
/// Milliseconds until the kernel drops a client that reads no answers while it sends requests. A
/// timer in roletap would have to be set for every answer.
const WRITE_TIMEOUT: u32 = 5_000;

/// The hops that answers may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopLimit {
    /// One hop on loopback, so that nothing leaves this host by a mistaken route; elsewhere as many
    /// as the kernel sets.
    ByAddress,
    /// This many hops, whatever the address.
    AtMost(u8),
}

/// The policy for an address that systemd does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindPolicy {
    /// roletap binds the address itself.
    BindIfMissing,
    /// roletap must not bind it: it may be meant for another network namespace.
    InheritedOnly,
}

/// The reason why an endpoint cannot be opened.
#[derive(Debug)]
pub enum CannotOpen {
    /// The kernel refuses the address.
    Bind(SocketAddr, io::Error),
    /// systemd holds no socket for the address, and roletap must not bind it.
    NotHeld(SocketAddr),
}

/// The listening sockets of one endpoint.
#[derive(Debug)]
pub struct Listeners<L = TcpListener> {
    /// Bound by roletap, and closed when it ends.
    pub bound: Vec<L>,
    /// Held by systemd too: connections that come while roletap is away wait there for the next
    /// process.
    pub inherited: Vec<L>,
}

impl Listeners {
    /// Opens every one of `addresses`, so that a taken port is found before anything is issued.
    /// `from_systemd` are the sockets of this endpoint that systemd holds; messages name the setting
    /// by `key`.
    pub fn open(
        key: &str,
        addresses: &[SocketAddr],
        from_systemd: Vec<TcpListener>,
        hops: HopLimit,
        policy: BindPolicy,
    ) -> Result<Self, CannotOpen> {
        let mut inherited = Vec::new();
        for listener in from_systemd {
            match listener.local_addr() {
                Ok(address) if addresses.contains(&address) => {
                    tune(&listener, hops)
                        .and_then(|()| listener.set_nonblocking(true))
                        .map_err(|error| CannotOpen::Bind(address, error))?;
                    inherited.push(listener);
                }
                Ok(address) => tracing::warn!(
                    %address,
                    "systemd holds {address} open for roletap, but `{key}` does not name it, so nobody answers there: \
                     change ListenStream= of the socket unit, or `{key}`"
                ),
                Err(error) => {
                    tracing::warn!(%error, "systemd handed over a socket without an address for `{key}`; it is not used");
                }
            }
        }
        let held: Vec<SocketAddr> =
            inherited.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let missing: Vec<SocketAddr> =
            addresses.iter().copied().filter(|address| !held.contains(address)).collect();
        if let (BindPolicy::InheritedOnly, Some(address)) = (policy, missing.first()) {
            return Err(CannotOpen::NotHeld(*address));
        }
        let bound = bind_all(&missing, !held.is_empty(), hops)
            .map_err(|(address, error)| CannotOpen::Bind(address, error))?;
        if !held.is_empty() {
            for address in missing {
                tracing::warn!(
                    %address,
                    "systemd does not hold {address} open, so connections there are refused during a restart: add \
                     ListenStream={address} to the socket unit"
                );
            }
        }
        Ok(Self { bound, inherited })
    }

    /// Registers the sockets with the current tokio runtime.
    pub fn into_tokio(self) -> io::Result<Listeners<tokio::net::TcpListener>> {
        let all = |listeners: Vec<TcpListener>| {
            let each = listeners.into_iter();
            each.map(tokio::net::TcpListener::from_std).collect::<io::Result<Vec<_>>>()
        };
        Ok(Listeners { bound: all(self.bound)?, inherited: all(self.inherited)? })
    }

    /// Returns all sockets, and whether each is inherited.
    pub fn iter(&self) -> impl Iterator<Item = (&TcpListener, bool)> {
        let bound = self.bound.iter().map(|listener| (listener, false));
        bound.chain(self.inherited.iter().map(|listener| (listener, true)))
    }
}

/// Takes the listening TCP sockets with this name out of what systemd handed over.
pub fn named(name: &str, handed: &mut Vec<(String, OwnedFd)>) -> Vec<TcpListener> {
    let (named, others) = std::mem::take(handed).into_iter().partition(|(known, _)| known == name);
    *handed = others;
    let listening = |(_, socket): (String, OwnedFd)| {
        let stream = getsockopt(&socket, sockopt::SockType) == Ok(SockType::Stream);
        let accepts = getsockopt(&socket, sockopt::AcceptConn) == Ok(true);
        if !(stream && accepts) {
            tracing::warn!(
                name,
                "what systemd handed over as `{name}` is no listening TCP socket; it is not used"
            );
            return None;
        }
        Some(TcpListener::from(socket))
    };
    named.into_iter().filter_map(listening).collect()
}

/// Binds every address. A host without IPv6 is a warning as long as another address remains.
fn bind_all(
    addresses: &[SocketAddr],
    others_remain: bool,
    hops: HopLimit,
) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let mut listeners = Vec::new();
    let mut absent = None;
    for address in addresses {
        match bind(*address, hops) {
            Ok(listener) => listeners.push(listener),
            Err(error) if address.is_ipv6() && is_absent_family(&error) => {
                tracing::warn!(%address, %error, "this host has no IPv6; not listening there");
                absent = Some((*address, error));
            }
            Err(error) => return Err((*address, error)),
        }
    }
    match absent {
        Some(absent) if listeners.is_empty() && !others_remain => Err(absent),
        _ => Ok(listeners),
    }
}

fn bind(address: SocketAddr, hops: HopLimit) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?.into_std()?;
    tune(&listener, hops)?;
    Ok(listener)
}

/// Sets options that accepted sockets inherit: no delay, the write timeout, and the hops of their
/// packets.
fn tune(listener: &TcpListener, hops: HopLimit) -> io::Result<()> {
    setsockopt(listener, sockopt::TcpNoDelay, &true)?;
    setsockopt(listener, sockopt::TcpUserTimeout, &WRITE_TIMEOUT)?;
    let address = listener.local_addr()?.ip();
    let most = match hops {
        HopLimit::ByAddress => address.is_loopback().then_some(1),
        HopLimit::AtMost(most) => Some(most),
    };
    if let Some(most) = most {
        if address.is_ipv4() {
            listener.set_ttl(most.into())?;
        } else {
            setsockopt(listener, sockopt::Ipv6Ttl, &most.into())?;
        }
    }
    Ok(())
}

fn is_absent_family(error: &io::Error) -> bool {
    use io::ErrorKind;
    error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    use super::*;

    fn free(address: impl Into<std::net::IpAddr>) -> SocketAddr {
        SocketAddr::new(address.into(), 0)
    }

    /// How many hops a packet of an accepted connection may make.
    fn hops(listener: &TcpListener) -> u32 {
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(getsockopt(&accepted, sockopt::TcpNoDelay), Ok(true));
        if address.is_ipv4() {
            accepted.ttl().unwrap()
        } else {
            u32::try_from(getsockopt(&accepted, sockopt::Ipv6Ttl).unwrap()).unwrap()
        }
    }

    // tokio's sockets want a runtime.
    #[tokio::test]
    async fn what_is_accepted_on_loopback_cannot_leave_the_host() {
        let handed = TcpListener::bind(free(Ipv4Addr::LOCALHOST)).unwrap();
        let address = handed.local_addr().unwrap();
        let all = Listeners::open(
            "server.listen",
            &[address, free(Ipv4Addr::LOCALHOST)],
            vec![handed],
            HopLimit::ByAddress,
            BindPolicy::BindIfMissing,
        )
        .unwrap();
        assert_eq!((all.bound.len(), all.inherited.len()), (1, 1));
        for (listener, _) in all.iter() {
            assert_eq!(hops(listener), 1);
        }
        // Where there is IPv6.
        if let Ok(six) = bind(free(Ipv6Addr::LOCALHOST), HopLimit::ByAddress) {
            assert_eq!(hops(&six), 1);
        }
        let three = bind(free(Ipv4Addr::LOCALHOST), HopLimit::AtMost(3)).unwrap();
        assert_eq!(hops(&three), 3);
        let wide = bind(free(Ipv4Addr::UNSPECIFIED), HopLimit::ByAddress).unwrap();
        let port = wide.local_addr().unwrap().port();
        let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        wide.set_nonblocking(false).unwrap();
        assert!(wide.accept().unwrap().0.ttl().unwrap() > 1);
    }

    #[test]
    fn only_listening_sockets_of_the_name_are_taken() {
        let listener = || OwnedFd::from(TcpListener::bind(free(Ipv4Addr::LOCALHOST)).unwrap());
        let named_so = |name: &str, descriptor| (name.to_owned(), descriptor);
        let mut handed = vec![
            named_so("admin", listener()),
            named_so("credentials", listener()),
            named_so("credentials", io::pipe().unwrap().0.into()),
        ];
        assert_eq!(named("credentials", &mut handed).len(), 1);
        assert_eq!(handed.len(), 1);
        assert_eq!(handed[0].0, "admin");
    }

    #[tokio::test]
    async fn what_only_systemd_may_open_is_not_opened_by_us() {
        let handed = TcpListener::bind(free(Ipv4Addr::LOCALHOST)).unwrap();
        let held = handed.local_addr().unwrap();
        let other = free(Ipv4Addr::LOCALHOST);
        let open = |addresses: &[SocketAddr]| {
            let handed = vec![handed.try_clone().unwrap()];
            let key = "imds.files.listen";
            Listeners::open(key, addresses, handed, HopLimit::ByAddress, BindPolicy::InheritedOnly)
        };
        assert_eq!(open(&[held]).unwrap().inherited.len(), 1);
        for addresses in [&[other][..], &[held, other]] {
            let refused = open(addresses).unwrap_err();
            assert!(matches!(refused, CannotOpen::NotHeld(address) if address == other));
        }
    }
}
