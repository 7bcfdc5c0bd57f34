//! The files that a configuration is read from: the main file, and `conf.d/*.toml` beside it.
//!
//! A file that cannot be read is kept with its reason, so that it takes its place in the one report.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::role::InvalidValue;

/// No honest configuration is larger: 1,000 roles with every key are about 500 KiB.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

/// One file's path and text.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigFile {
    path: PathBuf,
    text: Result<String, InvalidValue>,
}

impl ConfigFile {
    /// A text that is at hand already. `path` is what reports call it.
    pub fn text(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self::bytes(path, Ok(text.into_bytes()))
    }

    /// What reading a file gave, in whatever state that is.
    pub fn bytes(path: impl Into<PathBuf>, bytes: io::Result<Vec<u8>>) -> Self {
        Self { path: path.into(), text: bytes.map_err(|error| unreadable(&error)).and_then(decode) }
    }

    /// As given on the command line, or found in `conf.d`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn contents(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    pub(super) fn failure(&self) -> Option<&InvalidValue> {
        self.text.as_ref().err()
    }
}

/// Without the text: somebody may have put a secret in it.
impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Reads the main file, then `conf.d/*.toml` beside it in the order of their names.
/// Hidden files, and those that an editor leaves behind, do not end in `.toml` or begin with a dot.
pub(super) fn read_all(main: &Path) -> Vec<ConfigFile> {
    let mut sources = vec![ConfigFile::bytes(main, read_capped(main))];
    let dir = main.parent().unwrap_or(Path::new("")).join("conf.d");
    match list(&dir) {
        Ok(paths) => sources.extend(paths.into_iter().map(|path| {
            let bytes = read_capped(&path);
            ConfigFile::bytes(path, bytes)
        })),
        // A link that leads nowhere is not the same as no directory: somebody meant to have roles there.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && std::fs::symlink_metadata(&dir).is_err() => {}
        Err(error) => sources.push(ConfigFile::bytes(dir, Err(error))),
    }
    sources
}

/// Reads a file, but never more than one byte over the limit, which is how the caller knows that it is too large.
pub(super) fn read_capped(path: &Path) -> io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // Opening one waits for a writer, and a reload must not wait.
    if kind.is_fifo() || kind.is_socket() {
        return Err(io::Error::other("it is a pipe or a socket, not a file"));
    }
    let file = std::fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The reason as a phrase that follows "the file", and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "the list is the standard library's and grows")]
pub(super) fn unreadable(error: &io::Error) -> InvalidValue {
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
    if bytes.len() as u64 > MAX_BYTES {
        return Err(InvalidValue::new(
            "is larger than 1 MiB",
            "split it into files in conf.d, or check that this is the right file",
        ));
    }
    if bytes.contains(&0) {
        return Err(InvalidValue::new(
            "holds zero bytes",
            "it was not written completely, or is not text: write it again",
        ));
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
    fn conf_d_is_read_in_the_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("roletap.toml");
        std::fs::write(&main, "a").unwrap();
        std::fs::create_dir(dir.path().join("conf.d")).unwrap();
        let shuffled = ["30", "10", "60", "20", "50", "40"].map(|name| format!("{name}.toml"));
        let others = [".05.toml", "70.toml~", "README"].map(str::to_owned);
        for name in shuffled.iter().chain(&others) {
            std::fs::write(dir.path().join("conf.d").join(name), name).unwrap();
        }
        let texts: Vec<String> = read_all(&main).iter().map(|s| s.contents().to_owned()).collect();
        let sorted = ["10", "20", "30", "40", "50", "60"].map(|name| format!("{name}.toml"));
        assert_eq!(texts[0], "a");
        assert_eq!(texts[1..], sorted);
    }

    #[test]
    fn a_conf_d_that_cannot_be_read_is_not_taken_for_an_absent_one() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("roletap.toml");
        std::fs::write(&main, "a").unwrap();
        assert_eq!(read_all(&main).len(), 1);
        std::os::unix::fs::symlink("nowhere", dir.path().join("conf.d")).unwrap();
        let found = read_all(&main);
        assert_eq!(found[1].failure().unwrap().what, "does not exist");
        assert!(found[1].path().ends_with("conf.d"));
    }

    #[test]
    fn every_way_of_not_being_a_text_has_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let reason = |source: &ConfigFile| source.failure().unwrap().what.clone();
        assert_eq!(reason(&read_all(&dir.path().join("absent.toml"))[0]), "does not exist");
        assert_eq!(reason(&read_all(dir.path())[0]), "is a directory");
        let huge = ConfigFile::text("x", "#".repeat(MAX_BYTES as usize + 1));
        assert_eq!(reason(&huge), "is larger than 1 MiB");
        assert!(ConfigFile::text("x", "#".repeat(MAX_BYTES as usize)).failure().is_none());
        assert_eq!(reason(&ConfigFile::text("x", "a\0b")), "holds zero bytes");
        let latin1 = ConfigFile::bytes("x", Ok(b"# one\n# gr\xfc\xdfe\n".to_vec()));
        assert!(reason(&latin1).starts_with("is not UTF-8: line 2"));
    }
}
