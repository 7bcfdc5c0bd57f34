//! A host that drops our packets, without leaving loopback: the kernel ignores who comes to a full backlog.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Nobody reacts there while this lives.
#[derive(Debug)]
pub(crate) struct FullBacklog {
    address: SocketAddr,
    _listener: std::net::TcpListener,
    _held: Vec<TcpStream>,
}

impl FullBacklog {
    pub(crate) fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _within = runtime.enter();
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let listener = socket.listen(1).expect("to listen");
        let address = listener.local_addr().expect("an address");
        let mut held = Vec::new();
        while let Ok(connection) = TcpStream::connect_timeout(&address, Duration::from_millis(200))
        {
            held.push(connection);
            assert!(held.len() < 100, "the backlog does not fill");
        }
        Self { address, _listener: listener.into_std().expect("a listener"), _held: held }
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }
}
