//! Credentials files among each other: no file is another role's, or a token's.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::diagnostics::{Diagnostics, Problem};
use crate::config::keys::credentials_file::KEY;
use crate::config::{Directory, Host, Server};
use crate::role::{Role, RoleName, TokenSource};

/// Directories of credentials files, as far as they are there: each is looked at once.
pub(crate) type Directories = BTreeMap<PathBuf, Directory>;

/// Looks at the directories and compares all files.
pub(crate) fn check(
    roles: &BTreeMap<RoleName, Arc<Role>>,
    server: &Server,
    host: &dyn Host,
    diagnostics: &Diagnostics<'_>,
) -> Directories {
    let files = roles.values().filter_map(|role| Some((role, path_of(role)?)));
    let mut files: Vec<(&Arc<Role>, &Path)> = files.collect();
    let directories = look_at(&files, &server.token_dir, host);
    // The second as it is written is the one that is wrong.
    files.sort_by_key(|(role, _)| diagnostics.role_place(&role.name, KEY));
    let mut seen: BTreeMap<(DirectoryId<'_>, Option<&OsStr>), &Role> = BTreeMap::new();
    for (role, path) in files {
        let place = diagnostics.role_place(&role.name, KEY);
        let emit = |what: String, other, help: &str| {
            let message = format!("`{KEY}` of {} {what}", role.name);
            diagnostics.emit(Problem::new(place, message).beside(other).help(help));
        };
        let directory = DirectoryId::new(directory_of(path), &directories);
        let in_token_dir = path.starts_with(&server.token_dir)
            || directory == DirectoryId::new(&server.token_dir, &directories);
        if let Some(first) = seen.insert((directory, path.file_name()), role) {
            let other = diagnostics.role_place(&first.name, KEY);
            let help = match path_of(first) == Some(path) {
                true => "give each role a file of its own",
                false => "both names lead to one directory: give each role a file of its own",
            };
            emit(format!("is that of {}, too", first.name), other, help);
        }
        let is_token =
            |other: &&Arc<Role>| matches!(&other.token, TokenSource::File(token) if token == path);
        if let Some(other) = roles.values().find(is_token) {
            let what = format!("is the `token_file` of {}", other.name);
            emit(what, None, "name another file: this one holds a token");
        } else if in_token_dir {
            let help = "name another directory: each name in that one is for a token";
            emit("lies in `server.token_dir`".to_owned(), None, help);
        }
    }
    directories
}

/// The path of a role's credentials file.
pub(crate) fn path_of(role: &Role) -> Option<&Path> {
    Some(&role.credentials_file.as_ref()?.path)
}

pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// After one that hangs it looks at no more: a start must not wait for each of them.
fn look_at(files: &[(&Arc<Role>, &Path)], token_dir: &Path, host: &dyn Host) -> Directories {
    let names: BTreeSet<&Path> = files.iter().map(|(_, path)| directory_of(path)).collect();
    let token_dir = (!names.is_empty()).then_some(token_dir);
    let mut directories = Directories::new();
    for name in names.into_iter().chain(token_dir) {
        match host.directory(name) {
            Ok(directory) => {
                directories.insert(name.to_owned(), directory);
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => break,
            Err(_) => {}
        }
    }
    directories
}

/// A directory on this host, which a link may have given two names, or one that is known by its name alone.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum DirectoryId<'p> {
    Inode((u64, u64)),
    Name(&'p Path),
}

impl<'p> DirectoryId<'p> {
    fn new(name: &'p Path, known: &Directories) -> Self {
        known.get(name).map_or(Self::Name(name), |known| Self::Inode(known.identity))
    }
}
