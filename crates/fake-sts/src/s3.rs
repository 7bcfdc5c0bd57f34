//! An S3 over a real loopback socket that answers to order, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// One request that the double has read.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The HTTP method, such as `PUT`.
    pub method: String,
    /// The path with its query string.
    pub target: String,
    /// The request line and the header lines, verbatim.
    pub head: String,
}

/// Status, more header lines, body.
pub type S3Reply = (u16, String, String);

/// Runs until the test ends.
#[derive(Debug)]
pub struct FakeS3 {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeS3 {
    /// Starts on a free loopback port; `answer` decides every reply.
    pub fn start(answer: impl Fn(&Asked) -> S3Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &answer, &log);
            }
        });
        Self { address, asked }
    }

    /// The `http://` URL of the endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, in order of arrival.
    pub fn asked(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

fn serve(mut stream: TcpStream, answer: &impl Fn(&Asked) -> S3Reply, log: &Mutex<Vec<Asked>>) {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    while read.len() < end + length {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
    let mut words = head.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let asked = Asked { method: word(), target: word(), head: head.clone() };
    let (status, headers, body) = answer(&asked);
    log.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nx-amz-request-id: S3REQ1\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}
