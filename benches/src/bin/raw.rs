//! The floor: one thread, epoll, no parsing beyond the blank line, one write of fixed bytes per answer.
//!
//! `raw PORT BODY_FILE`

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Tells the listener from connections, which are known by their descriptor.
const LISTENER: u64 = u64::MAX;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or("raw PORT BODY_FILE")?.parse()?;
    let body = std::fs::read(arguments.next().ok_or("raw PORT BODY_FILE")?)?;
    let stay = answer(&body, "");
    let close = answer(&body, "connection: close\r\n");

    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut events = [EpollEvent::empty(); 256];
    let mut head = [0; 8192];
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            if event.data() == LISTENER {
                accept(&listener, &epoll, &mut connections)?;
                continue;
            }
            let place = &mut connections[usize::try_from(event.data())?];
            let Some(stream) = place else { continue };
            // Blocking sockets: epoll has said that there is something to read, and the answer fits the send buffer.
            let read = stream.read(&mut head).unwrap_or(0);
            let head = &head[..read];
            if read == 0 {
                *place = None;
            } else if head.ends_with(b"\r\n\r\n") {
                let wish = b"connection: close";
                let closing = head
                    .windows(wish.len())
                    .any(|window| window.eq_ignore_ascii_case(wish));
                let written = stream.write_all(if closing { &close } else { &stay });
                if closing || written.is_err() {
                    *place = None;
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<TcpStream>>,
) -> Result<(), Box<dyn Error>> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let place = usize::try_from(stream.as_raw_fd())?;
        epoll.add(
            &stream,
            EpollEvent::new(EpollFlags::EPOLLIN, u64::try_from(place)?),
        )?;
        if connections.len() <= place {
            connections.resize_with(place + 1, || None);
        }
        connections[place] = Some(stream);
    }
}

fn answer(body: &[u8], extra: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\n{extra}content-length: {}\r\n\
         date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
