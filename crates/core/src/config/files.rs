//! The texts that a configuration is parsed from: the main file, and `conf.d/*.toml` beside it.
//!
//! A file that cannot be read is kept with its reason, so that it takes its place in the one report.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::role::{InvalidValue, refuse};

/// One file's path and text.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigFile {
    path: PathBuf,
    text: Result<String, InvalidValue>,
}

impl ConfigFile {
    /// The most bytes of a file. No honest one is larger: 1,000 roles with every key are about 500 KiB.
    pub const MAX_BYTES: u64 = 1024 * 1024;

    /// A text that is at hand already. `path` is what reports call it.
    pub fn text(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self::bytes(path, Ok(text.into_bytes()))
    }

    /// The outcome of reading a file.
    pub fn bytes(path: impl Into<PathBuf>, bytes: io::Result<Vec<u8>>) -> Self {
        Self { path: path.into(), text: bytes.map_err(|error| unreadable(&error)).and_then(decode) }
    }

    /// As given on the command line, or found in `conf.d`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text; empty where the file has none.
    pub fn contents(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// The reason why the file has no text.
    pub fn failure(&self) -> Option<&InvalidValue> {
        self.text.as_ref().err()
    }
}

/// Without the text: somebody may have put a secret in it.
impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The reason as a phrase that follows "the file", and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "the list is the standard library's and grows")]
pub(crate) fn unreadable(error: &io::Error) -> InvalidValue {
    let (what, then) = match error.kind() {
        io::ErrorKind::NotFound => ("does not exist", "create it, or name another path"),
        io::ErrorKind::PermissionDenied => (
            "may not be read by this user",
            "let the user that roletap runs as read it, and every directory above it",
        ),
        io::ErrorKind::IsADirectory => ("is a directory", "name the file inside it"),
        _ => {
            let what = format!("cannot be read: {error}");
            return InvalidValue::new(what, "check the path and the file system");
        }
    };
    InvalidValue::new(what, then)
}

fn decode(bytes: Vec<u8>) -> Result<String, InvalidValue> {
    if bytes.len() as u64 > ConfigFile::MAX_BYTES {
        return refuse(
            "is larger than 1 MiB",
            "split it into files in conf.d, or check that this is the right file",
        );
    }
    if bytes.contains(&0) {
        return refuse(
            "holds zero bytes",
            "it was not written completely, or is not text: write it again",
        );
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(valid).filter(|&&b| b == b'\n').count();
        InvalidValue::new(
            format!(
                "is not UTF-8: line {line} holds another encoding, or the file is cut off there"
            ),
            "save it as UTF-8",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_not_being_a_text_has_a_reason() {
        let reason = |file: &ConfigFile| file.failure().unwrap().what.clone();
        let most = ConfigFile::MAX_BYTES as usize;
        assert_eq!(reason(&ConfigFile::text("x", "#".repeat(most + 1))), "is larger than 1 MiB");
        assert!(ConfigFile::text("x", "#".repeat(most)).failure().is_none());
        assert_eq!(reason(&ConfigFile::text("x", "a\0b")), "holds zero bytes");
        let latin1 = ConfigFile::bytes("x", Ok(b"# one\n# gr\xfc\xdfe\n".to_vec()));
        assert!(reason(&latin1).starts_with("is not UTF-8: line 2"));
    }
}
