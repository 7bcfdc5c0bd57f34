//! Reads the configuration from this machine: its files, and what it asks of the host.

use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

use roletap_core::config::{Config, ConfigFile, Directory, Host, Loaded, Report};

/// Memory, as tmpfs is, and never swapped (linux/magic.h; nix has no name for it).
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
/// A directory in a file system that hangs tells nothing, and keeps no start and no reload waiting for longer.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Reads the file at `path`, and `conf.d/*.toml` beside it, on this machine.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    Config::parse(read_all(path), &ThisHost)
}

/// The machine that roletap runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThisHost;

impl Host for ThisHost {
    fn hostname(&self) -> String {
        let full = kernel_name();
        full.split('.').next().unwrap_or_default().to_owned()
    }

    /// The kernel's own name if it has dots, else the first longer form of it in `/etc/hosts`. Never DNS.
    fn fqdn(&self) -> String {
        let name = kernel_name();
        if name.contains('.') {
            return name;
        }
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let longer = format!("{name}.");
        hosts
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .flat_map(|line| line.split_whitespace().skip(1))
            .find(|alias| alias.starts_with(&longer))
            .map_or(name, str::to_owned)
    }

    fn machine_id(&self) -> Option<String> {
        let id = std::fs::read_to_string("/etc/machine-id").ok()?;
        let id = id.trim();
        (!id.is_empty()).then(|| id.to_owned())
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // Opening a pipe that nobody writes to would wait for ever.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        read_capped(path)
    }

    fn user_id(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(nix::unistd::User::from_name(name)?.map(|user| user.uid.as_raw()))
    }

    fn directory(&self, path: &Path) -> io::Result<Directory> {
        let (send, seen) = mpsc::sync_channel(1);
        let path = path.to_owned();
        std::thread::Builder::new().name("directory".to_owned()).spawn(move || {
            // Nobody listens any more where it took too long.
            let _ = send.send(directory(&path));
        })?;
        seen.recv_timeout(LONGEST_LOOK).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn directory(path: &Path) -> io::Result<Directory> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let kind = statfs(path)?.filesystem_type();
    Ok(Directory {
        mode: metadata.mode(),
        in_memory: kind == TMPFS_MAGIC || kind == RAMFS_MAGIC,
        identity: (metadata.dev(), metadata.ino()),
    })
}

/// Reads the main file, then `conf.d/*.toml` beside it in the order of their names.
/// Hidden files, and those that an editor leaves behind, do not end in `.toml` or begin with a dot.
fn read_all(main: &Path) -> Vec<ConfigFile> {
    let mut files = vec![ConfigFile::bytes(main, read_capped(main))];
    let dir = directory_beside(main);
    match list(&dir) {
        Ok(paths) => {
            files.extend(paths.iter().map(|path| ConfigFile::bytes(path, read_capped(path))));
        }
        // A link that leads nowhere is not the same as no directory: somebody meant to have roles there.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && std::fs::symlink_metadata(&dir).is_err() => {}
        Err(error) => files.push(ConfigFile::bytes(dir, Err(error))),
    }
    files
}

/// Reads a file, but never more than one byte over the limit, which is how the caller knows that it is too large.
fn read_capped(path: &Path) -> io::Result<Vec<u8>> {
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
    file.take(ConfigFile::MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the directory of further files beside the main one.
pub(crate) fn directory_beside(main: &Path) -> PathBuf {
    main.parent().unwrap_or(Path::new("")).join("conf.d")
}

/// Returns the files in `conf.d` that are read, in order.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
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

fn kernel_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
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
    fn a_file_that_cannot_be_read_has_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let reason = |path: &Path| read_all(path)[0].failure().unwrap().what.clone();
        assert_eq!(reason(&dir.path().join("absent.toml")), "does not exist");
        assert_eq!(reason(dir.path()), "is a directory");
    }
}
