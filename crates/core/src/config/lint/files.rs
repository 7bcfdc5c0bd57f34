//! Lints about files: the configuration's own, and those that credentials are written to.

use std::path::Path;

use super::{LintInput, LintWarning};
use crate::config::Directory;
use crate::config::diagnostics::Problem;
use crate::config::keys::credentials_file::KEY;
use crate::config::resolve::credentials_file::{directory_of, path_of};
use crate::role::Role;

/// A copy that was cut short may still parse: `duration_seconds = 36` for 3600.
pub(super) fn no_final_newline<'f>(all: &LintInput<'f>) -> Vec<LintWarning<'f>> {
    let files = all.files.iter().enumerate();
    let cut =
        files.filter(|(_, file)| !matches!(file.contents().as_bytes().last(), None | Some(b'\n')));
    let found = cut.map(|(file, _)| {
        let problem = Problem::for_file(file, "the file does not end with a newline")
            .help("check that it is complete, and end its last line");
        LintWarning { role: None, problem }
    });
    found.collect()
}

pub(super) fn on_disk(all: &LintInput<'_>, role: &Role) -> Option<Problem> {
    let (name, directory) = directory(all, role)?;
    (!directory.in_memory).then(|| {
        let message = format!("credentials would lie on a disk: {} is no tmpfs", name.display());
        Problem::new(all.place(role, KEY), message).help(
            "name a file on a tmpfs, such as /run/roletap/files/NAME: what is deleted on a disk is not gone",
        )
    })
}

pub(super) fn in_open_directory(all: &LintInput<'_>, role: &Role) -> Option<Problem> {
    let (name, directory) = directory(all, role)?;
    (directory.mode & 0o0002 != 0).then(|| {
        // A sticky bit keeps what lies there, and the first to come is not always roletap.
        let (may, help) = match directory.mode & 0o1000 {
            0 => ("replace what lies", "take write permission from others (`chmod o-w`)"),
            _ => (
                "put a file of their own",
                "name a file in a directory of roletap's, such as /run/roletap/files",
            ),
        };
        let message = format!("every user of this host may {may} in {}", name.display());
        Problem::new(all.place(role, KEY), message)
            .help(format!("a client could be led to another's credentials: {help}"))
    })
}

/// A directory that is not there says nothing: the file may be meant for another host, and the daemon tells where it is
/// missing.
fn directory<'f>(all: &LintInput<'f>, role: &'f Role) -> Option<(&'f Path, Directory)> {
    let name = directory_of(path_of(role)?);
    Some((name, *all.directories.get(name)?))
}
