//! `credentials_file`: a role's credentials in a file, for clients that can only read one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::host::Directory;
use super::problem::Problem;
use super::reading::Reading;
use super::roles::group_name;
use super::section::Section;
use super::{Config, Server, lint};
use crate::role::{
    CallerPolicy, CredentialsFile, CredentialsFileGroup, ProfileName, Role, RoleName, TokenSource,
};

const KEY: &str = "credentials_file";
const GROUP: &str = "credentials_file_group";
const PROFILE: &str = "credentials_file_profile";

/// `None` where the role has none.
pub(super) fn read(
    section: &mut Section<'_>,
    token: &TokenSource,
    callers: &CallerPolicy,
    reading: &mut Reading<'_>,
) -> Option<CredentialsFile> {
    let group = section.text(GROUP, reading, group_name);
    let profile = section.text(PROFILE, reading, ProfileName::parse);
    // What [defaults] say is told once: see `refuse_in_defaults`.
    if section.key_place(KEY).is_none() {
        section.knows(KEY);
        for key in [GROUP, PROFILE] {
            if let Some(at) = section.key_place(key) {
                let help = format!("add {KEY} = \"/run/roletap/files/NAME\", or remove it");
                let message = format!("`{key}` is set, but there is no `{KEY}`");
                reading.problem(Problem::new(at, message).help(help));
            }
        }
        return None;
    }
    let path = section.text(KEY, reading, CredentialsFile::path)?;
    for demand in callers.keys() {
        let message = format!("`{KEY}` and `{demand}` exclude each other");
        let problem = Problem::new(path.at.clone(), message);
        let problem = match reading.place(section.name(), demand) {
            Some(other) => problem.and("this one", other.clone(), "the other one"),
            None => problem,
        };
        reading.problem(problem.help(format!(
            "a file does not know who reads it: keep one of them; {demand} = [\"*\"] takes back what [defaults] demand"
        )));
    }
    Some(CredentialsFile {
        path: path.value,
        profile: profile.map_or_else(ProfileName::usual, |found| found.value),
        group: match (group, token) {
            (Some(group), _) => Some(CredentialsFileGroup { name: group.value, key: GROUP }),
            (None, TokenSource::Generated { group }) => {
                group.clone().map(|name| CredentialsFileGroup { name, key: "token_group" })
            }
            (None, TokenSource::File(_) | TokenSource::None) => None,
        },
    })
}

/// One path for all roles is no role's.
pub(super) fn refuse_in_defaults(defaults: &Section<'_>, reading: &mut Reading<'_>) {
    if let Some(at) = defaults.key_place(KEY) {
        reading.problem(
            Problem::new(at, format!("`{KEY}` in [defaults] would give every role the same file"))
                .help(
                    "give each [role.NAME] that needs one its own; group and profile may stay here",
                ),
        );
    }
}

/// No file of credentials is another's, or a token's.
pub(super) fn check(
    roles: &BTreeMap<RoleName, Arc<Role>>,
    server: &Server,
    reading: &mut Reading<'_>,
) {
    let mut filed: Vec<(&Role, &Path)> = roles.values().filter_map(|role| of(role)).collect();
    let dirs: BTreeSet<&Path> = filed.iter().map(|(_, path)| dir(path)).collect();
    look(&dirs, &server.token_dir, reading);
    // The second as it is written is the one that is wrong.
    filed.sort_by_key(|(role, _)| lint::place(role, KEY, reading));
    let mut seen: BTreeMap<(Home<'_>, Option<&OsStr>), &Role> = BTreeMap::new();
    for (role, path) in filed {
        let home = Home::of(dir(path), reading);
        let in_token_dir =
            path.starts_with(&server.token_dir) || home == Home::of(&server.token_dir, reading);
        if let Some(first) = seen.insert((home, path.file_name()), role) {
            let message = format!("`{KEY}` of {} is that of {}, too", role.name, first.name);
            let problem = problem(role, message, reading);
            let problem = match lint::place(first, KEY, reading) {
                Some(other) => problem.and("this one", other, "the other one"),
                None => problem,
            };
            let by_link = first.credentials_file.as_ref().is_some_and(|file| file.path != path);
            reading.problem(problem.help(if by_link {
                "both names lead to one directory: give each role a file of its own"
            } else {
                "give each role a file of its own"
            }));
        }
        let is_brought =
            |other: &&Arc<Role>| matches!(&other.token, TokenSource::File(token) if token == path);
        if let Some(other) = roles.values().find(is_brought) {
            let message = format!("`{KEY}` of {} is the `token_file` of {}", role.name, other.name);
            let help = "name another file: this one holds a token";
            reading.problem(problem(role, message, reading).help(help));
        } else if in_token_dir {
            let message = format!("`{KEY}` of {} lies in `server.token_dir`", role.name);
            let help = "name another directory: each name in that one is for a token";
            reading.problem(problem(role, message, reading).help(help));
        }
    }
}

/// Looks at each directory once. After one that hangs at no more: a start must not wait for each of them.
fn look(dirs: &BTreeSet<&Path>, token_dir: &Path, reading: &mut Reading<'_>) {
    let token_dir = (!dirs.is_empty()).then_some(token_dir);
    for dir in dirs.iter().copied().chain(token_dir) {
        match reading.host.directory(dir) {
            Ok(directory) => {
                reading.directories.insert(dir.to_owned(), directory);
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => return,
            Err(_) => {}
        }
    }
}

/// A directory on this host, which a link may have given two names, or one that is known by its name alone.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Home<'p> {
    Here((u64, u64)),
    Named(&'p Path),
}

impl<'p> Home<'p> {
    fn of(dir: &'p Path, reading: &Reading<'_>) -> Self {
        let known = reading.directories.get(dir);
        known.map_or(Self::Named(dir), |known| Self::Here(known.identity))
    }
}

/// `credentials-file-on-disk`, `credentials-file-in-open-directory`. A directory that is not there says nothing: the file may
/// be meant for another host, and the daemon tells where it is missing.
pub(super) fn lint<'c>(config: &'c Config, reading: &Reading<'_>) -> Vec<(&'c Role, Problem)> {
    let mut found = Vec::new();
    for role in config.roles.values() {
        let Some((role, path)) = of(role) else {
            continue;
        };
        let dir = dir(path);
        let Some(&Directory { mode, in_memory, .. }) = reading.directories.get(dir) else {
            continue;
        };
        let mut warn = |id, message: String, help: &str| {
            let at = lint::place(role, KEY, reading);
            found.push((role, Problem::warning(id, at, message).help(help)));
        };
        let dir = dir.display();
        if !in_memory {
            warn(
                "credentials-file-on-disk",
                format!("credentials would lie on a disk: {dir} is no tmpfs"),
                "name a file on a tmpfs, such as /run/roletap/files/NAME: what is deleted on a disk is not gone",
            );
        }
        if mode & 0o0002 != 0 {
            // A sticky bit keeps what lies there, and the first to come is not always us.
            let (what, help) = match mode & 0o1000 {
                0 => ("replace what lies", "take write permission from others (`chmod o-w`)"),
                _ => (
                    "put a file of their own",
                    "name a file in a directory of roletap's, such as /run/roletap/files",
                ),
            };
            warn(
                "credentials-file-in-open-directory",
                format!("every user of this host may {what} in {dir}"),
                &format!("a client could be led to another's credentials: {help}"),
            );
        }
    }
    found
}

fn of(role: &Arc<Role>) -> Option<(&Role, &Path)> {
    Some((role, role.credentials_file.as_ref()?.path.as_path()))
}

fn dir(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn problem(role: &Role, message: String, reading: &Reading<'_>) -> Problem {
    match lint::place(role, KEY, reading) {
        Some(at) => Problem::new(at, message),
        None => Problem::of_file(0, message),
    }
}
