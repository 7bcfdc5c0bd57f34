//! HTTP by hand: bytes of our own, and every answer as it came.

use std::fmt::{Debug, Write as _};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use fake_sts::patience::PATIENCE;
use serde_json::Value;

/// A request's head.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> String {
    let mut out = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        let _ = write!(out, "Host: {address}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    out + "\r\n"
}

/// One HTTP answer.
#[derive(Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let first = all.next().map(|(_, value)| value.as_str());
        assert!(all.next().is_none(), "{name} twice: {self:?}");
        first
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} {:?} {:?}",
            self.version,
            self.status,
            self.headers,
            String::from_utf8_lossy(&self.body)
        )
    }
}

/// A connection, byte by byte.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    /// How it ended, unless in order.
    broken: Option<std::io::Error>,
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("a connection"))
    }

    /// One that somebody has made.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, read: Vec::new(), broken: None }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("to send");
    }

    /// Sends what the other side may not want to read any more.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next answer, whole.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.header("content-length").map(|text| text.parse().expect("a length"));
        let length: usize = length.unwrap_or(0);
        while self.read.len() < length {
            assert!(self.more() > 0, "the body ends early: {answer:?}");
        }
        answer.body = self.read.drain(..length).collect();
        answer
    }

    /// The next answer's head; of a HEAD request that is all.
    pub(crate) fn head(&mut self) -> Answer {
        self.try_head().unwrap_or_else(|| {
            panic!("closed without an answer ({:?}); got {:?}", self.broken, self.seen())
        })
    }

    /// The same; `None` if the connection ends first.
    pub(crate) fn try_head(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if self.more() == 0 {
                return None;
            }
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("a head of text");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap_or_default().to_owned();
        let mut words = status_line.split(' ');
        Some(Answer {
            version: words.next().unwrap_or_default().to_owned(),
            status: words.next().and_then(|code| code.parse().ok()).expect("a status"),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: Vec::new(),
        })
    }

    /// Whether the other side has closed, once it has or the time is over.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.read.is_empty() && self.more() == 0
    }

    /// Whether something has come, or the end.
    pub(crate) fn has_something(&mut self) -> bool {
        let _ = self.stream.set_nonblocking(true);
        let something = self.stream.peek(&mut [0]).is_ok();
        let _ = self.stream.set_nonblocking(false);
        something
    }

    /// What was read and not yet asked for.
    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// Reads once; 0 at the end of the connection, however it came about.
    fn more(&mut self) -> usize {
        let mut buffer = [0; 16 * 1024];
        loop {
            return match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.read.extend_from_slice(&buffer[..count]);
                    count
                }
                // A process that was stopped and goes on is interrupted in every read that has a deadline.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("nothing comes; got {:?}", self.seen())
                }
                Err(error) => {
                    self.broken = Some(error);
                    0
                }
            };
        }
    }
}

/// The sum of the series of this name that have these labels; `None` where there is none.
pub(crate) fn metric_in(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let series = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (has, value) = rest.rsplit_once(' ')?;
        let ours = (has.is_empty() || has.starts_with('{'))
            && labels.iter().all(|(label, value)| has.contains(&format!("{label}=\"{value}\"")));
        ours.then(|| value.parse::<f64>().ok()).flatten()
    });
    series.fold(None, |sum, value| Some(sum.unwrap_or_default() + value))
}
