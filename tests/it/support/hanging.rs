//! A file that hangs.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// A file whose reading ends when somebody says so, as one on a network mount may: a terminal without a person.
pub(crate) struct Hanging {
    terminal: File,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Without anybody at the other side its reading would fail at once.
    _other_side: File,
}

impl Hanging {
    /// One that says nothing yet.
    pub(crate) fn new() -> Self {
        let pair = nix::pty::openpty(None, None).expect("a terminal");
        let path = nix::unistd::ttyname(&pair.slave).expect("its name");
        Self { terminal: pair.master.into(), path, _other_side: pair.slave.into() }
    }

    /// Says this and ends, with control-D.
    pub(crate) fn say(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).expect("to type");
        self.terminal.write_all(b"\x04").expect("to end");
    }
}
