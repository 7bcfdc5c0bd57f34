//! A question to the kernel's `sock_diag` and its answer, as bytes. Pure.
//!
//! The layouts are those of `linux/netlink.h`, `linux/sock_diag.h` and `linux/inet_diag.h`. Numbers
//! are in host byte order, ports and addresses in network byte order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Caller, PeerError};

const HEADER: usize = 16;
/// The header and a `struct inet_diag_req_v2`.
const QUESTION: usize = HEADER + 56;
/// The header and a `struct inet_diag_msg`, before its attributes.
const ANSWER: usize = HEADER + 72;

const ERROR: u16 = 2;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const INET: u8 = 2;
const INET6: u8 = 10;
const TCP: u8 = 6;
/// The attribute `INET_DIAG_CGROUP_ID`, which comes unasked.
const GROUP: u16 = 21;
const ENOENT: i32 = -2;

/// The states of a connected socket. The kernel also finds a socket that *listens* on the port of
/// the caller, if none is connected; it may be anybody's.
const CONNECTED: [u8; 4] = [1, 4, 5, 8];

/// The state of a socket that listens.
const LISTENING: u8 = 10;

/// A socket, as the kernel describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketInfo {
    local: (IpAddr, u16),
    peer: (IpAddr, u16),
    state: u8,
    uid: u32,
    inode: u32,
    group: Option<u64>,
}

/// The number that stands for every interface.
pub const ANY_INTERFACE: u32 = 0;

/// Encodes the question for the socket at `local` that is connected to `peer`, else for one that
/// listens at `local`. The kernel finds a socket that is bound to an interface only if the question
/// names it.
pub fn ask(sequence: u32, local: SocketAddr, peer: SocketAddr, interface: u32) -> [u8; QUESTION] {
    let mut bytes = [0; QUESTION];
    let mut write = Cursor(&mut bytes);
    write.put(&(QUESTION as u32).to_ne_bytes());
    write.put(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    write.put(&NLM_F_REQUEST.to_ne_bytes());
    write.put(&sequence.to_ne_bytes());
    write.put(&[0; 4]);
    let family = if local.is_ipv4() { INET } else { INET6 };
    write.put(&[family, TCP, 0, 0]);
    // Sockets in every state.
    write.put(&u32::MAX.to_ne_bytes());
    write.put(&local.port().to_be_bytes());
    write.put(&peer.port().to_be_bytes());
    write.put(&octets(local.ip()));
    write.put(&octets(peer.ip()));
    write.put(&interface.to_ne_bytes());
    // Any cookie.
    write.put(&[0xff; 8]);
    bytes
}

/// Decodes an answer; `None` if it belongs to another question.
pub fn read(bytes: &[u8], sequence: u32) -> Option<Result<SocketInfo, PeerError>> {
    let length = u32::from_ne_bytes(at(bytes, 0)?) as usize;
    let kind = u16::from_ne_bytes(at(bytes, 4)?);
    if u32::from_ne_bytes(at(bytes, 8)?) != sequence {
        return None;
    }
    let bytes = bytes.get(..length)?;
    match kind {
        ERROR => Some(Err(match at(bytes, HEADER).map(i32::from_ne_bytes) {
            Some(ENOENT) => PeerError::NotFound,
            Some(_) | None => PeerError::NoReply,
        })),
        SOCK_DIAG_BY_FAMILY => Some(socket(bytes).ok_or(PeerError::NoReply)),
        _ => None,
    }
}

impl SocketInfo {
    /// Returns who opened the socket, if it is the one at `client` that is connected to `server`.
    pub fn caller(self, client: SocketAddr, server: SocketAddr) -> Result<Caller, PeerError> {
        let asked_for = self.local == plain(client) && self.peer == plain(server);
        if !asked_for || !CONNECTED.contains(&self.state) {
            return Err(PeerError::NotFound);
        }
        if self.inode == 0 {
            return Err(PeerError::Closed);
        }
        Ok(Caller { uid: self.uid, group: self.group })
    }

    /// Returns true if it is the socket with this inode that listens at `address`.
    pub fn is_listener(self, address: SocketAddr, inode: u64) -> bool {
        let asked_for = self.local == plain(address) && u64::from(self.inode) == inode;
        asked_for && self.state == LISTENING && inode != 0
    }
}

fn socket(bytes: &[u8]) -> Option<SocketInfo> {
    let [family, state] = at(bytes, HEADER)?;
    let end = |port: usize, ip: usize| {
        let port = u16::from_be_bytes(at(bytes, HEADER + port)?);
        let ip = match family {
            INET => IpAddr::V4(Ipv4Addr::from(at::<4>(bytes, HEADER + ip)?)),
            INET6 => IpAddr::V6(Ipv6Addr::from(at::<16>(bytes, HEADER + ip)?)),
            _ => return None,
        };
        Some(plain(SocketAddr::new(ip, port)))
    };
    Some(SocketInfo {
        local: end(4, 8)?,
        peer: end(6, 24)?,
        state,
        uid: u32::from_ne_bytes(at(bytes, HEADER + 64)?),
        inode: u32::from_ne_bytes(at(bytes, HEADER + 68)?),
        group: bytes.get(ANSWER..).and_then(group),
    })
}

/// Drops scope and flow of an address, and unmaps IPv4.
fn plain(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

/// Returns the control group among the attributes.
fn group(mut attributes: &[u8]) -> Option<u64> {
    loop {
        let length = usize::from(u16::from_ne_bytes(at(attributes, 0)?));
        let kind = u16::from_ne_bytes(at(attributes, 2)?);
        if kind == GROUP && length == 12 {
            return at(attributes, 4).map(u64::from_ne_bytes);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// Writes fields one after another; the sizes are known at compile time.
struct Cursor<'b>(&'b mut [u8]);

impl Cursor<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some((here, rest)) = std::mem::take(&mut self.0).split_at_mut_checked(bytes.len()) {
            here.copy_from_slice(bytes);
            self.0 = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// What a kernel would answer about a socket at `client` connected to `server`.
    fn answer(client: &str, server: &str, state: u8, uid: u32, inode: u32) -> Vec<u8> {
        let (client, server) = (address(client), address(server));
        let mut bytes = ask(7, client, server, ANY_INTERFACE)[..HEADER].to_vec();
        bytes.extend([if client.is_ipv4() { INET } else { INET6 }, state, 0, 0]);
        bytes.extend(client.port().to_be_bytes());
        bytes.extend(server.port().to_be_bytes());
        bytes.extend(octets(client.ip()));
        bytes.extend(octets(server.ip()));
        bytes.extend([0; 24]);
        bytes.extend(uid.to_ne_bytes());
        bytes.extend(inode.to_ne_bytes());
        // Another attribute of an odd length first.
        bytes.extend([5, 0, 8, 0, 1, 0, 0, 0]);
        bytes.extend([12, 0, 21, 0]);
        bytes.extend(1013_u64.to_ne_bytes());
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }

    const CLIENT: &str = "127.0.0.1:40000";
    const SERVER: &str = "127.0.0.1:5169";

    fn understood(bytes: &[u8]) -> Option<Result<Caller, PeerError>> {
        let socket = read(bytes, 7)?;
        Some(socket.and_then(|socket| socket.caller(address(CLIENT), address(SERVER))))
    }

    #[test]
    fn an_answer_is_read() {
        let caller = Caller { uid: 1001, group: Some(1013) };
        for state in CONNECTED {
            let bytes = answer(CLIENT, SERVER, state, 1001, 5);
            assert_eq!(understood(&bytes), Some(Ok(caller)));
        }
        // A client that speaks IPv4 by way of an IPv6 socket.
        let bytes = answer("[::ffff:127.0.0.1]:40000", "[::ffff:127.0.0.1]:5169", 1, 1001, 5);
        assert_eq!(understood(&bytes), Some(Ok(caller)));
    }

    #[test]
    fn what_is_not_the_callers_own_connected_socket_is_nobody() {
        for state in (0..=255).filter(|state| !CONNECTED.contains(state)) {
            let bytes = answer(CLIENT, SERVER, state, 1001, 5);
            assert_eq!(understood(&bytes), Some(Err(PeerError::NotFound)), "{state}");
        }
        for (client, server) in [
            ("127.0.0.1:40001", SERVER),
            ("127.0.0.2:40000", SERVER),
            (CLIENT, "127.0.0.1:5170"),
            (CLIENT, "0.0.0.0:0"),
            ("[::]:40000", "[::]:0"),
        ] {
            let bytes = answer(client, server, 1, 1001, 5);
            assert_eq!(understood(&bytes), Some(Err(PeerError::NotFound)), "{client}");
        }
        // Kernels before 6.2 say root of a socket that nobody holds.
        let bytes = answer(CLIENT, SERVER, 5, 0, 0);
        assert_eq!(understood(&bytes), Some(Err(PeerError::Closed)));
    }

    #[test]
    fn an_answer_that_is_none_is_not_taken_for_one() {
        let sound = answer(CLIENT, SERVER, 1, 1001, 5);
        let mut other = sound.clone();
        other[8] = 8;
        assert_eq!(understood(&other), None, "to another question");
        for end in 0..sound.len() {
            let cut = understood(&sound[..end]);
            assert!(!matches!(cut, Some(Ok(_))), "cut at {end}: {cut:?}");
        }
        let mut error = sound[..HEADER].to_vec();
        error[..4].copy_from_slice(&20_u32.to_ne_bytes());
        error[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        for (number, unseen) in [(-2, PeerError::NotFound), (-22, PeerError::NoReply)] {
            let mut error = error.clone();
            error.extend(i32::to_ne_bytes(number));
            assert_eq!(understood(&error), Some(Err(unseen)));
        }
        // Attributes of impossible lengths end the search.
        for length in [0_u16, 1, 3, 11, u16::MAX] {
            let mut odd = sound.clone();
            odd[ANSWER..ANSWER + 2].copy_from_slice(&length.to_ne_bytes());
            assert!(matches!(understood(&odd), Some(Ok(_))), "{length}");
        }
    }

    #[test]
    fn a_listener_is_known_by_its_address_and_its_number() {
        let listener = |state, inode| {
            let bytes = answer(SERVER, "0.0.0.0:0", state, 0, inode);
            read(&bytes, 7).unwrap().unwrap()
        };
        assert!(listener(LISTENING, 5).is_listener(address(SERVER), 5));
        // The number alone may come round; nothing has the number 0.
        for (socket, address, inode) in [
            (listener(LISTENING, 5), SERVER, 6),
            (listener(LISTENING, 5), CLIENT, 5),
            (listener(1, 5), SERVER, 5),
            (listener(LISTENING, 0), SERVER, 0),
        ] {
            assert!(!socket.is_listener(address.parse().unwrap(), inode));
        }
    }
}
