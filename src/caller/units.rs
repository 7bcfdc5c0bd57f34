//! From a control group's number to the unit whose processes are in it.
//!
//! systemd names a unit's group after it, below the groups of slices. What a unit makes of the inside of its own group is
//! its business: the first name that is no slice's counts, so that nobody can call a group of theirs by another's name.
//!
//! A number is a group's for as long as the host is up, and a group's name never changes: what was found once stays true.

use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::role::UnitName;

/// Where version 2 of the hierarchy is: alone, or beside version 1.
const PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Directories that one search may read. It takes some microseconds for each, and requests wait meanwhile.
const MOST: usize = 4096;
/// What was found is remembered for this many groups; each restart of a unit makes a new one.
const REMEMBERED: usize = 1024;

/// The units of this host.
#[derive(Debug, Default)]
pub(super) struct Units(Mutex<HashMap<u64, UnitName>>);

impl Units {
    /// The unit that this group belongs to, if there is one and we can see it.
    pub(super) fn of(&self, group: u64) -> Option<UnitName> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unit) = known.get(&group) {
            return Some(unit.clone());
        }
        let unit = search(&root()?, group)?;
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(group, unit.clone());
        Some(unit)
    }
}

/// Where the groups are, with numbers that the kernel names callers by.
pub(super) fn root() -> Option<PathBuf> {
    let is_version_2 = |path: &&Path| {
        statfs(*path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
    };
    PLACES
        .iter()
        .map(Path::new)
        .find(is_version_2)
        .map(Path::to_owned)
}

/// Slices first, then the insides of units: what is near the root is found soon.
fn search(root: &Path, group: u64) -> Option<UnitName> {
    let mut slices = VecDeque::from([root.to_owned()]);
    let mut insides: VecDeque<(PathBuf, UnitName)> = VecDeque::new();
    for _ in 0..MOST {
        let (directory, unit) = match slices.pop_front() {
            Some(slice) => (slice, None),
            None => insides
                .pop_front()
                .map(|(directory, unit)| (directory, Some(unit)))?,
        };
        // A group that ended meanwhile is not it.
        let entries = std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let unit = unit.clone().or_else(|| unit_name(name));
            if entry.ino() == group {
                return unit;
            }
            match unit {
                Some(unit) => insides.push_back((entry.path(), unit)),
                None if name.ends_with(".slice") => slices.push_back(entry.path()),
                // Made by something else than systemd.
                None => {}
            }
        }
    }
    None
}

/// systemd puts an underscore before what would look like a file of the kernel's.
fn unit_name(directory: &str) -> Option<UnitName> {
    UnitName::parse(directory.strip_prefix('_').unwrap_or(directory)).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// Any file system has numbers.
    fn found(root: &Path, path: &str) -> Option<String> {
        let group = fs::metadata(root.join(path)).unwrap().ino();
        search(root, group).map(|unit| unit.as_str().to_owned())
    }

    #[test]
    fn the_first_name_that_is_no_slices_is_the_unit() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for path in [
            "system.slice/sink.service",
            "system.slice/sink.service/workers/1",
            "system.slice/system-worker.slice/worker@1.service",
            "system.slice/_memory.service",
            "user.slice/user-1000.slice/user@1000.service/app.slice/sink.service",
            "user.slice/user-1000.slice/session-3.scope",
            "docker/0123/sink.service",
            "init.scope",
        ] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        fs::write(root.join("system.slice/cgroup.procs"), "").unwrap();
        for (path, unit) in [
            ("system.slice/sink.service", Some("sink.service")),
            ("system.slice/sink.service/workers/1", Some("sink.service")),
            (
                "system.slice/system-worker.slice/worker@1.service",
                Some("worker@1.service"),
            ),
            ("system.slice/_memory.service", Some("memory.service")),
            // Whatever a user calls what is theirs.
            (
                "user.slice/user-1000.slice/user@1000.service/app.slice/sink.service",
                Some("user@1000.service"),
            ),
            (
                "user.slice/user-1000.slice/session-3.scope",
                Some("session-3.scope"),
            ),
            ("init.scope", Some("init.scope")),
            ("system.slice", None),
            ("system.slice/cgroup.procs", None),
            ("docker/0123/sink.service", None),
        ] {
            assert_eq!(found(root, path).as_deref(), unit, "{path}");
        }
        assert_eq!(search(root, 1), None);
    }

    #[test]
    fn what_was_found_is_remembered() {
        let units = Units::default();
        let sink = UnitName::parse("sink.service").unwrap();
        units.0.lock().unwrap().insert(u64::MAX, sink.clone());
        assert_eq!(units.of(u64::MAX), Some(sink));
        assert_eq!(units.of(u64::MAX - 1), None);
    }
}
