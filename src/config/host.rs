//! What a configuration may ask of the machine it is read on.
//!
//! The parser gets all of it through [`Host`], so it stays a pure function: tests give a [`FixedHost`].

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

/// Memory, as tmpfs is, and never swapped (linux/magic.h; nix has no name for it).
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
/// A directory in a file system that hangs tells nothing, and keeps no start and no reload waiting for longer.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// The machine, as far as a configuration depends on it.
pub trait Host {
    /// The short host name.
    fn hostname(&self) -> String;
    /// The full host name, or the short one where no other is known without asking the network.
    fn fqdn(&self) -> String;
    /// `/etc/machine-id`, if there is one.
    fn machine_id(&self) -> Option<String>;
    /// A variable of our own environment.
    fn env(&self, name: &str) -> Option<String>;
    /// The contents of a file that the configuration names.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The number of a user; `None` if there is none of this name.
    fn user_id(&self, name: &str) -> io::Result<Option<u32>>;
    /// A directory that files are to be written to; `TimedOut` where its file system hangs.
    fn directory(&self, path: &Path) -> io::Result<Directory>;
}

/// A directory, as far as it matters for what is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directory {
    /// Its permissions.
    pub mode: u32,
    /// Whether what lies in it is never on a disk.
    pub in_memory: bool,
    /// Device and inode: the same for all its names.
    pub identity: (u64, u64),
}

/// The machine we run on.
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
        super::files::read_capped(path)
    }

    fn user_id(&self, name: &str) -> io::Result<Option<u32>> {
        let user = nix::unistd::User::from_name(name)?;
        Ok(user.map(|user| user.uid.as_raw()))
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

/// A machine that is made up, for tests and for trying a configuration meant for elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what the methods of `Host` answer from")]
pub struct FixedHost {
    pub hostname: String,
    pub fqdn: String,
    pub machine_id: Option<String>,
    pub env: BTreeMap<String, String>,
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    pub users: BTreeMap<String, u32>,
    pub directories: BTreeMap<PathBuf, Directory>,
}

impl Default for FixedHost {
    fn default() -> Self {
        Self {
            hostname: "web-1".to_owned(),
            fqdn: "web-1.example.com".to_owned(),
            machine_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            env: BTreeMap::new(),
            files: BTreeMap::new(),
            users: BTreeMap::new(),
            directories: BTreeMap::new(),
        }
    }
}

impl Host for FixedHost {
    fn hostname(&self) -> String {
        self.hostname.clone()
    }

    fn fqdn(&self) -> String {
        self.fqdn.clone()
    }

    fn machine_id(&self) -> Option<String> {
        self.machine_id.clone()
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn user_id(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(self.users.get(name).copied())
    }

    fn directory(&self, path: &Path) -> io::Result<Directory> {
        let known = self.directories.get(path).copied();
        known.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn kernel_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}
