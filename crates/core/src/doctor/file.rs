//! Who may read a file, by owner, group and mode of it and of the directories above.

use std::path::PathBuf;

/// A file or directory, as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// The path of the file.
    pub path: PathBuf,
    /// The user id of the owner.
    pub uid: u32,
    /// The group ID of the file.
    pub gid: u32,
    /// The permission bits of the file, as in `chmod`.
    pub mode: u32,
}

/// The ids by which the kernel decides what a process may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// The name by which findings call the process.
    pub name: String,
    /// The user ID of the process.
    pub uid: u32,
    /// The groups, the first and the others.
    pub gids: Vec<u32>,
}

const READ: u32 = 4;
const SEARCH: u32 = 1;

/// Returns what keeps the reader from the file; `None` if nothing does. `above` are the directories from the root down.
/// ACLs and capabilities other than those of root are not looked at.
pub fn obstacle<'e>(
    reader: &Reader,
    file: &'e FileStat,
    above: &'e [FileStat],
) -> Option<&'e FileStat> {
    above
        .iter()
        .find(|directory| !reader.may(SEARCH, directory))
        .or_else(|| (!reader.may(READ, file)).then_some(file))
}

impl Reader {
    fn may(&self, what: u32, entry: &FileStat) -> bool {
        let shift = match () {
            () if self.uid == 0 => return true,
            () if self.uid == entry.uid => 6,
            () if self.gids.contains(&entry.gid) => 3,
            () => 0,
        };
        (entry.mode >> shift) & what != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(uid: u32, gid: u32, mode: u32) -> FileStat {
        FileStat { path: "/x".into(), uid, gid, mode }
    }

    fn reader(uid: u32, gids: &[u32]) -> Reader {
        Reader { name: "sink".to_owned(), uid, gids: gids.to_vec() }
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        for (uid, gids, mode, may) in [
            (0, &[][..], 0o000, true),
            (7, &[], 0o400, true),
            // The owner's class, though the group's would allow it.
            (7, &[8], 0o040, false),
            (9, &[1, 8], 0o640, true),
            (9, &[1], 0o640, false),
            (9, &[1], 0o604, true),
        ] {
            let file = entry(7, 8, mode);
            let found = obstacle(&reader(uid, gids), &file, &[]);
            assert_eq!(found.is_none(), may, "{uid} {gids:?} {mode:o}");
        }
    }

    #[test]
    fn a_directory_above_has_to_let_one_through() {
        let file = entry(7, 8, 0o644);
        let above = [entry(0, 0, 0o755), entry(7, 8, 0o750)];
        assert_eq!(obstacle(&reader(9, &[8]), &file, &above), None);
        assert_eq!(obstacle(&reader(9, &[9]), &file, &above), Some(&above[1]));
    }
}
