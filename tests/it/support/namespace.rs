//! Another network namespace: sockets that lie in it, whoever holds them.
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::net::{AddressFamily, SocketType};

/// A network namespace with loopback.
#[derive(Debug)]
pub(crate) struct Namespace(File);

impl Namespace {
    /// A new one; `None`, said aloud, where the machine allows none.
    pub(crate) fn new() -> Option<Self> {
        let made = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("unshare: {errno}"))?;
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
            if !up.as_ref().is_ok_and(|status| status.success()) {
                return Err(format!("ip: {up:?}"));
            }
            File::open("/proc/thread-self/ns/net").map_err(|error| error.to_string())
        });
        match made {
            Ok(namespace) => Some(Self(namespace)),
            Err(why) => {
                println!("SKIPPED: this machine allows no network namespace: {why}");
                None
            }
        }
    }

    /// What this is, seen from inside.
    pub(crate) fn inside<T: Send>(&self, look: impl FnOnce() -> T + Send) -> T {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("to go there");
            look()
        })
    }

    /// A connection of somebody in there, who has chosen their own address.
    pub(crate) fn connect(&self, from: SocketAddr, to: SocketAddr) -> TcpStream {
        self.inside(|| {
            let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)
                .expect("a socket");
            rustix::net::bind(&socket, &from).expect("a free port");
            rustix::net::connect(&socket, &to).expect("somebody who listens");
            socket.into()
        })
    }
}

/// A thread belongs to one namespace; the others stay where they are.
fn on_a_thread<T: Send>(what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(what).join().expect("a thread that ends"))
}
