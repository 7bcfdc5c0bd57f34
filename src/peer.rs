//! Asks the kernel who opened the other end of a connection: `NETLINK_SOCK_DIAG`, one exact
//! question, 3 µs.
//!
//! Nothing waits: the kernel has answered before `sendto` returns. A connection of roletap to
//! itself shows first whether the kernel tells at all; a kernel without `tcp_diag` answers as if it
//! had no such socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrStorage,
    getsockname, getsockopt, recvfrom, sendto, socket, sockopt,
};
use nix::sys::stat::fstat;
use nix::unistd::Uid;

use roletap_core::caller::inet_diag::{self, SocketInfo};
use roletap_core::caller::{Caller, PeerError};
use roletap_core::role::UnitName;

use self::units::Units;

mod units;

/// The most datagrams that are passed over before the answer.
const PASSED_OVER: usize = 16;

/// The time for a connection of roletap to itself, which a firewall may drop.
const TRIAL: Duration = Duration::from_secs(1);

/// The kernel's address in netlink.
const KERNEL: u32 = 0;

/// Looks up who opened a connection.
#[derive(Debug, Default)]
pub struct PeerLookup {
    netlink: Mutex<Socket>,
    /// Inherited sockets that the kernel has shown in roletap's network namespace. They never leave
    /// it.
    here: Mutex<Vec<InheritedSocket>>,
    units: Units,
}

/// A listening socket that roletap inherited. It may lie in another network namespace with its
/// callers; there the kernel would name strangers with the same addresses in roletap's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InheritedSocket {
    address: SocketAddr,
    /// No two sockets of a host have the same at once.
    inode: u64,
    /// The interface that it is bound to (`BindToDevice=`), or any.
    interface: u32,
}

/// The netlink socket that asks the kernel, once it was opened.
#[derive(Debug, Default)]
enum Socket {
    /// No role asks for callers so far.
    #[default]
    Untried,
    /// The kernel has told who opened a connection of roletap.
    Ready(OwnedFd),
    /// The kernel does not tell, for this reason.
    Unavailable(String),
}

impl PeerLookup {
    /// Tries whether the kernel tells who opened a connection, unless it has told before. The error
    /// says why it does not.
    pub fn open(&self) -> Result<(), String> {
        if let Socket::Ready(_) = *self.netlink() {
            return Ok(());
        }
        // Without the lock: requests must not wait for the trial.
        let (netlink, answer) = match Socket::open_and_try() {
            Ok(open) => (open, Ok(())),
            Err(why) => (Socket::Unavailable(why.clone()), Err(why)),
        };
        *self.netlink() = netlink;
        answer
    }

    /// Returns if the kernel tells who opened a connection, and else why not; `None` if it was not
    /// tried.
    pub fn availability(&self) -> Option<Result<(), String>> {
        match &*self.netlink() {
            Socket::Untried => None,
            Socket::Ready(_) => Some(Ok(())),
            Socket::Unavailable(why) => Some(Err(why.clone())),
        }
    }

    /// Returns who opened the socket at `client` that is connected to `server`. `inherited` is the
    /// socket that the connection was accepted from, if roletap inherited it.
    pub fn caller(
        &self,
        client: SocketAddr,
        server: SocketAddr,
        inherited: Option<InheritedSocket>,
    ) -> Result<Caller, PeerError> {
        let netlink = self.netlink();
        let netlink = netlink.open().ok_or(PeerError::Unavailable)?;
        if let Some(inherited) = inherited {
            let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
            if !here.contains(&inherited) {
                find_here(netlink, inherited)?;
                here.push(inherited);
            }
        }
        caller(netlink, client, server)
    }

    /// Returns true if the socket certainly lies in another network namespace than roletap.
    pub fn is_in_foreign_namespace(&self, inherited: InheritedSocket) -> bool {
        let netlink = self.netlink();
        let seen = netlink.open().map(|netlink| find_here(netlink, inherited));
        seen == Some(Err(PeerError::ForeignNamespace))
    }

    /// Returns the unit that a control group belongs to.
    pub fn unit_of(&self, group: u64) -> Option<UnitName> {
        self.units.of(group)
    }

    /// Returns the reason why units cannot be told apart on this host, if there is one.
    pub fn no_units() -> Option<&'static str> {
        units::root().is_none().then_some(
            "no control groups of version 2 below /sys/fs/cgroup, by which units are told apart: mount them there",
        )
    }

    fn netlink(&self) -> MutexGuard<'_, Socket> {
        self.netlink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InheritedSocket {
    /// Describes a socket. A value that cannot be read matches nothing.
    pub fn of(listener: &(impl AsFd + AsRawFd)) -> Self {
        let address = getsockname::<SockaddrStorage>(listener.as_raw_fd()).ok();
        let address = address.and_then(|address| {
            let four = address.as_sockaddr_in().map(|four| (*four).into());
            four.map(SocketAddr::V4)
                .or_else(|| Some(SocketAddr::V6((*address.as_sockaddr_in6()?).into())))
        });
        Self {
            address: address.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into()),
            inode: fstat(listener).map_or(0, |found| found.st_ino),
            interface: interface_of(listener).unwrap_or(inet_diag::ANY_INTERFACE),
        }
    }

    /// Returns the address that it listens on.
    pub fn address(self) -> SocketAddr {
        self.address
    }
}

/// Returns the interface, by its name: there is no safe way to its number. In another network
/// namespace the name may be another's; what is found by it has another inode.
fn interface_of(listener: &impl AsFd) -> Option<u32> {
    let name = getsockopt(listener, sockopt::BindToDevice).ok()?;
    if_nametoindex(name.as_os_str()).ok()
}

impl Socket {
    fn open(&self) -> Option<&OwnedFd> {
        match self {
            Self::Ready(socket) => Some(socket),
            Self::Untried | Self::Unavailable(_) => None,
        }
    }

    /// Opens a socket, and tries it with a connection of roletap to itself.
    fn open_and_try() -> Result<Self, String> {
        let socket = netlink_socket().map_err(|errno| {
            if errno == Errno::EAFNOSUPPORT {
                "no netlink socket may be opened: add AF_NETLINK to RestrictAddressFamilies= of the unit"
                    .to_owned()
            } else {
                format!("no netlink socket can be opened: {errno}")
            }
        })?;
        let cannot =
            |error: io::Error| format!("roletap cannot connect to itself to try it: {error}");
        let (_client, accepted) = loopback().map_err(cannot)?;
        let (peer, local) = accepted
            .peer_addr()
            .and_then(|peer| Ok((peer, accepted.local_addr()?)))
            .map_err(cannot)?;
        match caller(&socket, peer, local) {
            Ok(caller) if caller.uid == Uid::effective().as_raw() => Ok(Self::Ready(socket)),
            Ok(caller) => Err(format!(
                "the kernel says that a connection of roletap is of user {}, and roletap runs as user {}",
                caller.uid,
                Uid::effective()
            )),
            Err(PeerError::NotFound) => Err(
                "the kernel does not find a connection of roletap: it lacks the module tcp_diag (`modprobe tcp_diag`; \
                 for every start, name it in a file of /etc/modules-load.d)"
                    .to_owned(),
            ),
            Err(unseen @ (PeerError::Unavailable | PeerError::ForeignNamespace | PeerError::Closed | PeerError::NoReply)) => Err(format!(
                "asked about a connection of roletap, the kernel knows only: {unseen}"
            )),
        }
    }
}

fn netlink_socket() -> nix::Result<OwnedFd> {
    socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkSockDiag,
    )
}

/// Returns both ends of a connection of roletap to itself.
fn loopback() -> io::Result<(TcpStream, TcpStream)> {
    connection_to(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
}

fn connection_to(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect_timeout(&listener.local_addr()?, TRIAL)?;
    loop {
        let (accepted, peer) = listener.accept()?;
        // Any process may connect to a port that listens.
        if peer == client.local_addr()? {
            return Ok((client, accepted));
        }
    }
}

fn caller(netlink: &OwnedFd, client: SocketAddr, server: SocketAddr) -> Result<Caller, PeerError> {
    // A client that came to an IPv6 listener by IPv4 has a socket of IPv4.
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (client, server) = (canonical(client), canonical(server));
    let found = ask(netlink, client, server, inet_diag::ANY_INTERFACE)?;
    found.caller(client, server)
}

/// Returns no error if the socket lies in roletap's network namespace. There is no safe way to
/// `SO_NETNS_COOKIE`, and kernels before 5.14 lack it; a socket that the kernel shows *is* in this
/// namespace.
fn find_here(netlink: &OwnedFd, inherited: InheritedSocket) -> Result<(), PeerError> {
    let nobody = match inherited.address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    match ask(netlink, inherited.address, (nobody, 0).into(), inherited.interface) {
        Ok(found) if found.is_listener(inherited.address, inherited.inode) => Ok(()),
        Ok(_) | Err(PeerError::NotFound) => Err(PeerError::ForeignNamespace),
        Err(unseen) => Err(unseen),
    }
}

fn ask(
    netlink: &OwnedFd,
    local: SocketAddr,
    peer: SocketAddr,
    interface: u32,
) -> Result<SocketInfo, PeerError> {
    // Unguessable: a process that may send to this socket must not answer in the kernel's place.
    let sequence = getrandom::u32().map_err(|_| PeerError::NoReply)?;
    let question = inet_diag::ask(sequence, local, peer, interface);
    sendto(netlink.as_raw_fd(), &question, &NetlinkAddr::new(KERNEL, 0), MsgFlags::empty())
        .map_err(|_| PeerError::NoReply)?;
    answer(netlink, sequence)
}

/// Returns the kernel's answer. Answers to earlier questions and datagrams of others are passed
/// over.
fn answer(netlink: &OwnedFd, sequence: u32) -> Result<SocketInfo, PeerError> {
    let mut bytes = [0; 4096];
    for _ in 0..PASSED_OVER {
        let (length, sender) = recvfrom::<NetlinkAddr>(netlink.as_raw_fd(), &mut bytes)
            .map_err(|_| PeerError::NoReply)?;
        if sender.map(|sender| sender.pid()) != Some(KERNEL) {
            continue;
        }
        let answer = bytes.get(..length).unwrap_or_default();
        if let Some(known) = inet_diag::read(answer, sequence) {
            return known;
        }
    }
    Err(PeerError::NoReply)
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use nix::sys::socket::{Backlog, listen, setsockopt};

    use super::*;

    /// `None`, said aloud, on a kernel that does not tell.
    fn kernel() -> Option<PeerLookup> {
        let kernel = PeerLookup::default();
        match kernel.open() {
            Ok(()) => Some(kernel),
            Err(why) => {
                println!("SKIPPED: {why}");
                None
            }
        }
    }

    fn ends(
        listener: &TcpListener,
        to: SocketAddr,
    ) -> (TcpStream, TcpStream, SocketAddr, SocketAddr) {
        let client = TcpStream::connect(to).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let local = accepted.local_addr().unwrap();
        (client, accepted, peer, local)
    }

    #[test]
    fn where_a_socket_lies_is_asked_once() {
        let Some(kernel) = kernel() else { return };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (_client, _accepted, peer, local) = ends(&listener, listener.local_addr().unwrap());
        let seen = InheritedSocket::of(&listener);
        let ask = |inherited| kernel.caller(peer, local, Some(inherited)).map(|found| found.uid);
        assert_eq!(ask(seen), Ok(we()));
        // The kernel would not find it any more.
        drop(listener);
        assert_eq!(ask(seen), Ok(we()));
        let another = InheritedSocket { inode: seen.inode + 1, ..seen };
        assert_eq!(ask(another), Err(PeerError::ForeignNamespace));
    }

    fn we() -> u32 {
        Uid::effective().as_raw()
    }

    #[test]
    fn nobody_is_seen_before_it_was_tried() {
        let kernel = PeerLookup::default();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        assert_eq!(kernel.caller(address, address, None), Err(PeerError::Unavailable));
        assert_eq!(kernel.availability(), None);
    }

    #[test]
    fn our_own_connections_are_seen_by_either_family() {
        let Some(kernel) = kernel() else { return };
        let four = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (_client, _accepted, peer, local) = ends(&four, four.local_addr().unwrap());
        assert_eq!(kernel.caller(peer, local, None).unwrap().uid, we());
        let Ok(six) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
            return;
        };
        let (_client, _accepted, peer, local) = ends(&six, six.local_addr().unwrap());
        assert_eq!(kernel.caller(peer, local, None).unwrap().uid, we());
        // By IPv4 to a listener of both.
        let both = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let port = both.local_addr().unwrap().port();
        let (_client, _accepted, peer, local) = ends(&both, (Ipv4Addr::LOCALHOST, port).into());
        assert!(peer.is_ipv6(), "{peer}");
        assert_eq!(kernel.caller(peer, local, None).unwrap().uid, we());
    }

    #[test]
    fn who_is_gone_is_nobody() {
        let Some(kernel) = kernel() else { return };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (client, accepted, peer, local) = ends(&listener, listener.local_addr().unwrap());
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(kernel.caller(peer, local, None).unwrap().uid, we(), "it still listens to us");
        drop(client);
        let unseen = kernel.caller(peer, local, None).unwrap_err();
        assert!(matches!(unseen, PeerError::Closed | PeerError::NotFound), "{unseen:?}");
        drop(accepted);
    }

    /// The kernel falls back to who *listens* on the caller's port, and that may be whom the role is for: a caller in another
    /// network namespace chooses its port.
    #[test]
    fn who_listens_on_the_callers_port_is_not_the_caller() {
        let Some(kernel) = kernel() else { return };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let other = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let local = listener.local_addr().unwrap();
        for ip in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 11, 12, 13)] {
            let found = kernel.caller((ip, port).into(), local, None);
            assert_eq!(found, Err(PeerError::NotFound));
        }
    }

    #[test]
    fn an_answer_that_finds_no_room_is_no_answer_and_harms_no_later_one() {
        let Some(kernel) = kernel() else { return };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (_client, _accepted, peer, local) = ends(&listener, listener.local_addr().unwrap());
        if let Socket::Ready(socket) = &*kernel.netlink() {
            setsockopt(socket, sockopt::RcvBuf, &1).unwrap();
            // Nobody reads these, until there is no room.
            for _ in 0..64 {
                let question = inet_diag::ask(1, peer, local, inet_diag::ANY_INTERFACE);
                let _ = sendto(
                    socket.as_raw_fd(),
                    &question,
                    &NetlinkAddr::new(KERNEL, 0),
                    MsgFlags::empty(),
                );
            }
        }
        let answers: Vec<_> = (0..8).map(|_| kernel.caller(peer, local, None)).collect();
        assert_eq!(answers.last().unwrap().unwrap().uid, we(), "{answers:?}");
        for answer in answers {
            assert!(
                answer.is_ok_and(|caller| caller.uid == we()) || answer == Err(PeerError::NoReply)
            );
        }
    }

    /// Only who may administer the network can send to the netlink socket of another; they must not be able to say who is calling.
    #[test]
    fn nobody_answers_in_the_kernels_place() {
        let Some(kernel) = kernel() else { return };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (_client, _accepted, peer, local) = ends(&listener, listener.local_addr().unwrap());
        let netlink = kernel.netlink();
        let Socket::Ready(ours) = &*netlink else { panic!() };
        let number = getsockname::<NetlinkAddr>(ours.as_raw_fd()).unwrap().pid();
        let theirs = netlink_socket().unwrap();
        // A true answer with another user in it.
        let question = inet_diag::ask(9, peer, local, inet_diag::ANY_INTERFACE);
        let ask = || {
            let kernel = NetlinkAddr::new(KERNEL, 0);
            sendto(ours.as_raw_fd(), &question, &kernel, MsgFlags::empty()).unwrap();
        };
        ask();
        let mut forged = [0; 4096];
        let (length, _) = recvfrom::<NetlinkAddr>(ours.as_raw_fd(), &mut forged).unwrap();
        forged[80..84].copy_from_slice(&(we() + 1).to_ne_bytes());
        for _ in 1..PASSED_OVER {
            let sent = sendto(
                theirs.as_raw_fd(),
                &forged[..length],
                &NetlinkAddr::new(number, 0),
                MsgFlags::empty(),
            );
            if let Err(errno) = sent {
                println!("SKIPPED: we cannot send to another's socket here: {errno}");
                return;
            }
        }
        // As if they had guessed the number of the question.
        ask();
        let found = answer(ours, 9).unwrap().caller(peer, local);
        assert_eq!(found.unwrap().uid, we());
    }

    #[test]
    fn an_answer_to_a_question_that_was_not_asked_is_passed_over() {
        let Some(kernel) = kernel() else { return };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (_client, _accepted, peer, local) = ends(&listener, listener.local_addr().unwrap());
        let netlink = kernel.netlink();
        let Socket::Ready(netlink) = &*netlink else { panic!() };
        let question = inet_diag::ask(1, peer, local, inet_diag::ANY_INTERFACE);
        sendto(netlink.as_raw_fd(), &question, &NetlinkAddr::new(KERNEL, 0), MsgFlags::empty())
            .unwrap();
        assert_eq!(answer(netlink, 2), Err(PeerError::NoReply));
    }

    #[test]
    fn a_socket_that_was_handed_over_is_here_if_the_kernel_shows_it_here() {
        let Some(kernel) = kernel() else { return };
        let addresses = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            (Ipv4Addr::UNSPECIFIED, 0).into(),
            (Ipv6Addr::LOCALHOST, 0).into(),
            (Ipv6Addr::UNSPECIFIED, 0).into(),
        ];
        for listener in addresses.into_iter().flat_map(TcpListener::bind) {
            let inherited = InheritedSocket::of(&listener);
            assert_eq!(inherited.address(), listener.local_addr().unwrap());
            let (_client, _accepted, peer, local) = ends(&listener, inherited.address);
            assert_eq!(kernel.caller(peer, local, Some(inherited)).unwrap().uid, we());
            assert!(!kernel.is_in_foreign_namespace(inherited));
            let mut other = inherited;
            other.inode += 1;
            assert_eq!(kernel.caller(peer, local, Some(other)), Err(PeerError::ForeignNamespace));
            assert!(kernel.is_in_foreign_namespace(other));
            drop(listener);
            assert!(kernel.is_in_foreign_namespace(inherited), "it is gone");
        }
        // Nobody may be sent off by a kernel that does not tell.
        assert!(!PeerLookup::default().is_in_foreign_namespace(InheritedSocket {
            address: addresses[0],
            inode: 1,
            interface: inet_diag::ANY_INTERFACE,
        }));
    }

    #[test]
    fn a_connection_to_ourselves_that_is_dropped_is_not_waited_for_long() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // Full with one, and then the kernel drops what comes, as a firewall does.
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let first = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let error = connection_to(&listener).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(first);
    }

    #[test]
    fn a_socket_that_is_bound_to_an_interface_is_seen_here() {
        let Some(kernel) = kernel() else { return };
        let addresses = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        ];
        for listener in addresses.into_iter().flat_map(TcpListener::bind) {
            // As systemd does before it binds the address; the kernel allows it to everybody since 5.7.
            if let Err(errno) = setsockopt(&listener, sockopt::BindToDevice, &"lo".into()) {
                println!("SKIPPED: {errno}");
                return;
            }
            let inherited = InheritedSocket::of(&listener);
            let (_client, _accepted, peer, local) = ends(&listener, inherited.address);
            assert_eq!(kernel.caller(peer, local, Some(inherited)).unwrap().uid, we());
            assert!(!kernel.is_in_foreign_namespace(inherited));
        }
    }
}
