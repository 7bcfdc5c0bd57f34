//! Files that we write for others: whole or not at all, for one group, and never in place of what is not ours.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Group, Uid, User, fchown};

/// The middle of a temporary file's name: `.NAME.new-PID`, hidden, beside the file that it becomes.
const UNFINISHED: &str = ".new-";

/// Whole or not at all: a reader never sees half of it. What lay at `path` is replaced, a link too, and never followed.
pub fn write(path: &Path, content: &[u8], mode: u32, gid: Option<Gid>) -> io::Result<()> {
    let beside = path.with_file_name(format!("{}{}", unfinished(path), std::process::id()));
    let _ = fs::remove_file(&beside);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        if let Some(gid) = gid {
            fchown(&file, None, Some(gid))?;
        }
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Removes what processes before this one were writing when they were killed; in a container they had the same pid. Before
/// this process writes to `path` for the first time.
pub fn remove_leftovers(path: &Path) {
    let (Some(dir), unfinished) = (path.parent(), unfinished(path)) else {
        return;
    };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let writer = name.to_str().and_then(|name| name.strip_prefix(&unfinished));
        let is_left = |pid: &str| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
        if writer.is_some_and(is_left) && plain_file_of_ours(&entry.path()).is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Fails unless `path` is a regular file of this user or root.
fn plain_file_of_ours(path: &Path) -> io::Result<()> {
    is_plain_and_ours(&fs::symlink_metadata(path)?)
}

/// The same, opened to be read: what was looked at is what is read. Follows no link, and waits for no writer of a pipe.
pub fn open_regular_owned(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A link, a socket.
        Err(error) if matches!(errno(&error), Some(Errno::ELOOP | Errno::ENXIO)) => {
            return Err(not_ours());
        }
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    is_plain_and_ours(&metadata)?;
    Ok(Some((file, metadata)))
}

fn is_plain_and_ours(metadata: &Metadata) -> io::Result<()> {
    let ours = metadata.uid() == Uid::effective().as_raw() || metadata.uid() == 0;
    if metadata.is_file() && ours { Ok(()) } else { Err(not_ours()) }
}

fn not_ours() -> io::Error {
    io::Error::other(NotOurs)
}

/// Tells whether an error of this module means that something else is at that path.
pub fn is_not_ours(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<NotOurs>())
}

/// Something else lies there.
#[derive(Debug, thiserror::Error)]
#[error("it is not a regular file of roletap's user or root; remove it")]
struct NotOurs;

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

/// The group that `key` of the configuration names; else a sentence.
pub fn group_id(key: &str, name: &str) -> Result<Gid, String> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => {
            Err(format!("{key} `{name}` does not exist on this host: create it, or name another"))
        }
        Err(error) => Err(format!("cannot look up {key} `{name}`: {error}")),
    }
}

/// Returns advice if `error` means that this user is not in `group`, which `key` of the configuration names.
pub fn not_in_group(error: &io::Error, key: &str, group: &str) -> Option<String> {
    (errno(error) == Some(Errno::EPERM)).then(|| {
        format!(
            "{user} is not in {key} `{group}`: run `usermod --append --groups {group} {name}`, and restart roletap",
            user = whoami(),
            name = own_name().unwrap_or_else(|| "USER".to_owned()),
        )
    })
}

/// Returns this process's user for a sentence: `user NAME` or `uid 0`.
pub fn whoami() -> String {
    own_name().map_or_else(|| format!("uid {}", Uid::effective()), |name| format!("user {name}"))
}

/// Returns the name of this process's user, if it has one.
pub fn own_name() -> Option<String> {
    let user = User::from_uid(Uid::effective()).ok()??;
    Some(user.name)
}

fn unfinished(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}{UNFINISHED}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_replaced_and_what_it_leads_to_is_not_touched() {
        let home = tempfile::tempdir().unwrap();
        let (link, target) = (home.path().join("link"), home.path().join("target"));
        fs::write(&target, "theirs").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(plain_file_of_ours(&link).is_err());
        assert!(open_regular_owned(&link).is_err());
        write(&link, b"ours", 0o640, None).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
        assert_eq!(fs::read_to_string(&link).unwrap(), "ours");
        let mode = fs::symlink_metadata(&link).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
    }

    #[test]
    fn only_what_was_left_unfinished_for_this_file_is_swept() {
        let home = tempfile::tempdir().unwrap();
        let own = format!(".a.new-{}", std::process::id());
        for name in ["a", ".a.new-1", ".a.new-x", ".a.new-", ".b.new-1", &own] {
            fs::write(home.path().join(name), "").unwrap();
        }
        remove_leftovers(&home.path().join("a"));
        let mut left: Vec<_> = fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [".a.new-", ".a.new-x", ".b.new-1", "a"]);
    }
}
