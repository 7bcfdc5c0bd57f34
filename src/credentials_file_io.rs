//! Looks at a file of credentials, writes it, takes it away. Blocks for as long as the file system likes.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::atomic_file::{self, whoami};
use roletap_core::credentials::Credentials;
use roletap_core::credentials_file::{FileHeader, OnDisk, text};
use roletap_core::role::{CredentialsFile, CredentialsFileGroup, Role};

/// Readable for the group, and for nobody else.
const MODE: u32 = 0o640;
/// Longer than any first line that roletap writes.
const LONGEST_LINE: u64 = 512;

/// To a unit with `ProtectHome=`, whatever their permissions are (systemd.exec(5)).
const CLOSED: [&str; 3] = ["/home", "/root", "/run/user"];

/// One operation on one credentials file.
#[derive(Debug)]
pub struct Job {
    /// The path of the credentials file.
    pub path: PathBuf,
    /// The operation to carry out on the file.
    pub what: FileOperation,
    /// This is the first operation of this process on the file: leftovers of killed processes are removed.
    pub first: bool,
    /// The time at which the operation began.
    pub at: SystemTime,
}

/// An operation on a credentials file.
#[derive(Debug)]
pub enum FileOperation {
    /// Read the first line.
    Look,
    /// Write these credentials of this role.
    Write(Arc<Role>, Arc<Credentials>),
    /// Remove the file, if roletap wrote it.
    Remove,
}

enum ExistingFile {
    Nothing,
    Ours(FileHeader),
    Theirs(&'static str),
}

/// Does it, and says what is known of the file then; or what was being done, what was found, and what to do next.
pub fn carry_out(job: &Job) -> Result<OnDisk, String> {
    let path = job.path.as_path();
    if job.first {
        atomic_file::remove_leftovers(path);
    }
    let refused = |doing: &str, error: io::Error| {
        let advice = advice(&error, path, None);
        format!("cannot {doing} {}: {error}{advice}", path.display())
    };
    match &job.what {
        FileOperation::Look => match found(path).map_err(|error| refused("read", error))? {
            ExistingFile::Ours(header) => Ok(OnDisk::Ours(header)),
            // What is not ours is told when it is to be replaced.
            ExistingFile::Nothing | ExistingFile::Theirs(_) => Ok(OnDisk::Absent),
        },
        FileOperation::Write(role, credentials) => match &role.credentials_file {
            Some(file) => write(job, file, role, credentials),
            None => Ok(OnDisk::Unknown),
        },
        FileOperation::Remove => {
            if let ExistingFile::Ours(_) = found(path).map_err(|error| refused("read", error))? {
                gone(fs::remove_file(path)).map_err(|error| refused("remove", error))?;
            }
            Ok(OnDisk::Absent)
        }
    }
}

fn write(
    job: &Job,
    file: &CredentialsFile,
    role: &Role,
    credentials: &Credentials,
) -> Result<OnDisk, String> {
    let (path, group) = (job.path.as_path(), file.group.as_ref());
    let doing = || format!("cannot write {}", path.display());
    let refused = |error: io::Error| format!("{}: {error}{}", doing(), advice(&error, path, group));
    let before = found(path).map_err(refused)?;
    if let ExistingFile::Theirs(what) = before {
        return Err(format!("{}: {what}; move it away, or name another file", doing()));
    }
    let gid = group
        .map(|group| atomic_file::group_id(group.key, &group.name))
        .transpose()
        .map_err(|what| format!("{}: {what}", doing()));
    let text = text(file, role, credentials);
    let written = gid
        .and_then(|gid| atomic_file::write(path, text.as_bytes(), MODE, gid).map_err(refused))
        .map(|()| OnDisk::Ours(FileHeader::of(role, credentials)));
    // What cannot be replaced goes at its end all the same.
    if let (Err(_), ExistingFile::Ours(header)) = (&written, &before)
        && header.has_expired(job.at)
    {
        let _ = fs::remove_file(path);
    }
    written
}

fn found(path: &Path) -> io::Result<ExistingFile> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return Ok(ExistingFile::Theirs("it is a symbolic link"));
    }
    let file = match atomic_file::open_regular_owned(path) {
        Ok(Some((file, _))) => file,
        Ok(None) => return Ok(ExistingFile::Nothing),
        Err(error) if atomic_file::is_not_ours(&error) => {
            return Ok(ExistingFile::Theirs("it is not a regular file of roletap's user or root"));
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Ok(ExistingFile::Theirs("roletap's user may not read it"));
        }
        Err(error) => return Err(error),
    };
    // Behind the first line begin secrets.
    let mut start = Zeroizing::new(Vec::with_capacity(LONGEST_LINE as usize));
    file.take(LONGEST_LINE).read_to_end(&mut start)?;
    if start.is_empty() {
        return Ok(ExistingFile::Nothing);
    }
    let line = start.split(|byte| *byte == b'\n').next();
    let line = line.and_then(|line| std::str::from_utf8(line).ok());
    Ok(match line.and_then(FileHeader::parse) {
        Some(header) => ExistingFile::Ours(header),
        None => ExistingFile::Theirs("it holds what roletap has not written"),
    })
}

/// Takes a file that is already gone for removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the list is the standard library's and grows")]
fn advice(error: &io::Error, path: &Path, group: Option<&CredentialsFileGroup>) -> String {
    let dir = path.parent().unwrap_or(Path::new("/")).display();
    if let Some(advice) =
        group.and_then(|group| atomic_file::not_in_group(error, group.key, &group.name))
    {
        return format!("; {advice}");
    }
    match error.kind() {
        ErrorKind::NotFound => format!(
            "; make the directory, writable for {} and with passage for the readers: `install -d -m 0755 -o {} {dir}`",
            whoami(),
            atomic_file::own_name().unwrap_or_else(|| "USER".to_owned()),
        ),
        ErrorKind::NotADirectory => format!("; {dir} has to be a directory"),
        ErrorKind::PermissionDenied if CLOSED.iter().any(|home| path.starts_with(home)) => format!(
            "; under systemd that is closed (ProtectHome=): name a file in /run/roletap/files; else {dir} has to be writable for {}",
            whoami()
        ),
        ErrorKind::PermissionDenied => format!(
            "; {dir} has to be writable for {}, and every directory above it passable",
            whoami()
        ),
        ErrorKind::ReadOnlyFilesystem => format!(
            "; under systemd only /run/roletap is writable: name a file in /run/roletap/files, or add ReadWritePaths=-{dir}"
        ),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!("; make room on the file system of {dir}")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_is_one_that_can_be_followed() {
        let advised =
            |kind: ErrorKind, path: &str| advice(&io::Error::from(kind), Path::new(path), None);
        // Without the dash the unit does not start where the directory is missing.
        let read_only = advised(ErrorKind::ReadOnlyFilesystem, "/var/lib/sink/a");
        assert!(read_only.ends_with("ReadWritePaths=-/var/lib/sink"), "{read_only}");
        let home = advised(ErrorKind::PermissionDenied, "/home/sink/.aws/credentials");
        assert!(home.contains("ProtectHome="), "{home}");
        let other = advised(ErrorKind::PermissionDenied, "/homes/a");
        assert!(!other.contains("ProtectHome="), "{other}");
    }
}
