//! journald's own protocol: a line is a datagram of fields, so that `journalctl ROLE=orders` finds it.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The socket of journald.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// A field is cut here: a datagram has to fit into the socket's buffer, which has 208 KiB.
const FIELD_LIMIT: usize = 48 * 1024;
/// So are all of them together.
const ENTRY_LIMIT: usize = 160 * 1024;
/// A journald that stalls costs lines, not threads.
const STALLED: Duration = Duration::from_secs(5);

/// How much a line matters, as syslog counts.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Priority {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

/// One line, as fields.
#[derive(Debug)]
pub struct Entry(Vec<u8>);

impl Entry {
    /// A line with what `journalctl` shows of it.
    pub fn new(priority: Priority, message: &str) -> Self {
        let mut entry = Self(Vec::with_capacity(512));
        entry.add("MESSAGE", message);
        entry.add("PRIORITY", &(priority as u8).to_string());
        entry.add("SYSLOG_IDENTIFIER", "roletap");
        entry
    }

    /// One more field. Its name becomes one that journald takes: upper case, digits and underscores.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let taken = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name: String = name.chars().map(taken).collect();
        // journald keeps names that begin otherwise for itself.
        let name = name.trim_start_matches(|c: char| !c.is_ascii_uppercase());
        if !name.is_empty() {
            self.add(name, value);
        }
        self
    }

    /// As it goes to journald.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn add(&mut self, name: &str, value: &str) {
        let value = cut(value);
        if self.0.len() + name.len() + value.len() + 10 > ENTRY_LIMIT {
            return;
        }
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

/// The socket. Each write is one line.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Finds out whether journald is there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(STALLED))?;
        // journald ignores it.
        socket.send_to(&[], path)?;
        Ok(Self { socket, path: path.to_owned() })
    }
}

impl Write for Journal {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.socket.send_to(entry, &self.path)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(FIELD_LIMIT);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_fields_and_a_value_of_several_lines_has_its_length() {
        let entry = Entry::new(Priority::Warning, "two\nlines")
            .with("role", "orders")
            .with("_request-id", "x=1")
            .with("4", "no name is left");
        let mut expected = b"MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\n".to_vec();
        expected.extend_from_slice(
            b"PRIORITY=4\nSYSLOG_IDENTIFIER=roletap\nROLE=orders\nREQUEST_ID=x=1\n",
        );
        assert_eq!(String::from_utf8_lossy(entry.as_bytes()), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn the_largest_line_is_one_that_a_socket_takes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        assert!(Journal::open(&path).is_err());
        let journald = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(journald.recv(&mut [0; 1]).unwrap(), 0);
        let long = "ü".repeat(FIELD_LIMIT);
        let mut entry = Entry::new(Priority::Info, &long);
        for number in 0..10 {
            entry = entry.with(&format!("FIELD_{number}"), &long);
        }
        journal.write_all(entry.as_bytes()).unwrap();
        let mut received = vec![0; 1 << 20];
        let length = journald.recv(&mut received).unwrap();
        assert_eq!(&received[..length], entry.as_bytes());
        assert!(std::str::from_utf8(&received[..length]).is_ok());
    }
}
