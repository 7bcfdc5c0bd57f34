//! The machine, as far as a configuration depends on it.
//!
//! The parser gets all of it through [`Host`], so it stays a pure function: tests give a [`FixedHost`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The machine, as far as a configuration depends on it.
pub trait Host {
    /// Returns the short host name.
    fn hostname(&self) -> String;
    /// The full host name, or the short one where no other is known without asking the network.
    fn fqdn(&self) -> String;
    /// `/etc/machine-id`, if there is one.
    fn machine_id(&self) -> Option<String>;
    /// A variable of roletap's own environment.
    fn env(&self, name: &str) -> Option<String>;
    /// The contents of a file that the configuration names.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The number of a user; `None` if there is none of this name.
    fn user_id(&self, name: &str) -> io::Result<Option<u32>>;
    /// A directory that files are to be written to; `TimedOut` where its file system hangs.
    fn directory(&self, path: &Path) -> io::Result<Directory>;
}

/// The properties of a directory that matter for files written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directory {
    /// The permission bits of its inode.
    pub mode: u32,
    /// True if nothing in it is ever written to a disk.
    pub in_memory: bool,
    /// Device and inode, which are the same for all its names.
    pub identity: (u64, u64),
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
