//! Finds the unit of a control group.
//!
//! systemd names the group of a unit after it, below the groups of slices. A unit may name groups
//! inside its own as it likes, so the first name that is not a slice's counts.
//!
//! A number belongs to one group for as long as the host is up, and a group of version 2 is neither
//! renamed nor moved. So an answer stays true.

use std::collections::{HashMap, VecDeque};
use std::io::{
    self,
    ErrorKind::{NotFound, PermissionDenied},
};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use parking_lot::Mutex;
use tokio::time::Instant;

use roletap_core::role::UnitName;

/// The mount points of version 2, alone or beside version 1.
const PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// The most directories that one search reads. Each takes some microseconds, and requests wait
/// meanwhile.
const MOST: usize = 4096;
/// The most groups that are remembered; each restart of a unit makes a new one.
const REMEMBERED: usize = 1024;
/// A group without a unit is looked up again after this time: the search may have been cut short.
const BELIEVED: Duration = Duration::from_secs(10);

/// The units of this host, by control group.
#[derive(Debug, Default)]
pub(super) struct Units(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    units: HashMap<u64, UnitName>,
    /// Apart, so that callers from ever new groups drive no unit out.
    nobodys: HashMap<u64, Instant>,
}

impl Units {
    /// Returns the unit that this group belongs to, if roletap can see it.
    pub(super) fn of(&self, group: u64) -> Option<UnitName> {
        self.recall_or(group, Instant::now(), || match root() {
            Some(root) => search(&root, group),
            None => Ok(None),
        })
    }

    /// Returns the remembered unit, or searches for it. Others do not wait for the search.
    fn recall_or(
        &self,
        group: u64,
        now: Instant,
        search: impl FnOnce() -> io::Result<Option<UnitName>>,
    ) -> Option<UnitName> {
        let memory = self.0.lock();
        if let Some(unit) = memory.units.get(&group) {
            return Some(unit.clone());
        }
        let since = memory.nobodys.get(&group);
        if since.is_some_and(|since| now.duration_since(*since) < BELIEVED) {
            return None;
        }
        drop(memory);
        // Without descriptors nothing was looked at; that is not remembered.
        let found = search().ok()?;
        let mut memory = self.0.lock();
        match &found {
            Some(unit) => keep(&mut memory.units, group, unit.clone()),
            None => keep(&mut memory.nobodys, group, now),
        }
        found
    }
}

/// Inserts into a map, which is emptied when it is full.
fn keep<V>(known: &mut HashMap<u64, V>, group: u64, value: V) {
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(group, value);
}

/// Returns the root of the control groups of version 2, by whose numbers the kernel names callers.
pub(super) fn root() -> Option<PathBuf> {
    let is_version_2 = |path: &&Path| {
        statfs(*path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
    };
    PLACES.iter().map(Path::new).find(is_version_2).map(Path::to_owned)
}

/// Searches slices first, then the insides of units: groups near the root are found soon. An error
/// means that it could not be searched.
fn search(root: &Path, group: u64) -> io::Result<Option<UnitName>> {
    let mut slices = VecDeque::from([root.to_owned()]);
    let mut insides: VecDeque<(PathBuf, UnitName)> = VecDeque::new();
    for _ in 0..MOST {
        let (directory, unit) = match slices.pop_front() {
            Some(slice) => (slice, None),
            None => match insides.pop_front() {
                Some((directory, unit)) => (directory, Some(unit)),
                None => break,
            },
        };
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            // The group was removed meanwhile, or is closed to roletap.
            Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => continue,
            Err(error) => return Err(error),
        };
        let entries = entries.flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let unit = unit.clone().or_else(|| unit_name(name));
            if entry.ino() == group {
                return Ok(unit);
            }
            match unit {
                Some(unit) => insides.push_back((entry.path(), unit)),
                None if name.ends_with(".slice") => slices.push_back(entry.path()),
                // Made by something else than systemd.
                None => {}
            }
        }
    }
    Ok(None)
}

/// Removes the underscore that systemd puts before a name that looks like a file of the kernel.
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
        search(root, group).unwrap().map(|unit| unit.as_str().to_owned())
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
            ("system.slice/system-worker.slice/worker@1.service", Some("worker@1.service")),
            ("system.slice/_memory.service", Some("memory.service")),
            // Whatever a user calls what is theirs.
            (
                "user.slice/user-1000.slice/user@1000.service/app.slice/sink.service",
                Some("user@1000.service"),
            ),
            ("user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
            ("init.scope", Some("init.scope")),
            ("system.slice", None),
            ("system.slice/cgroup.procs", None),
            ("docker/0123/sink.service", None),
        ] {
            assert_eq!(found(root, path).as_deref(), unit, "{path}");
        }
        assert_eq!(search(root, 1).unwrap(), None);
    }

    /// What is said of a group, and whether it was searched for.
    fn recalled(
        units: &Units,
        group: u64,
        now: Instant,
        found: io::Result<Option<UnitName>>,
    ) -> (Option<UnitName>, bool) {
        let mut searched = false;
        let unit = units.recall_or(group, now, || {
            searched = true;
            found
        });
        (unit, searched)
    }

    #[test]
    fn what_was_found_is_remembered_and_what_was_not_for_a_while() {
        let (units, start) = (Units::default(), Instant::now());
        let sink = Some(UnitName::parse("sink.service").unwrap());
        let later = start + BELIEVED * 1000;
        assert_eq!(recalled(&units, 7, start, Ok(sink.clone())), (sink.clone(), true));
        assert_eq!(recalled(&units, 7, later, Ok(None)), (sink.clone(), false));
        assert_eq!(recalled(&units, 8, start, Ok(None)), (None, true));
        let soon = start + BELIEVED - Duration::from_millis(1);
        assert_eq!(recalled(&units, 8, soon, Ok(sink.clone())), (None, false));
        let then = start + BELIEVED;
        assert_eq!(recalled(&units, 8, then, Ok(sink.clone())), (sink.clone(), true));
        // Who could not look has seen nothing.
        let full = io::Error::from_raw_os_error(nix::errno::Errno::EMFILE as i32);
        assert_eq!(recalled(&units, 9, start, Err(full)), (None, true));
        assert_eq!(recalled(&units, 9, start, Ok(sink.clone())), (sink, true));
    }

    #[test]
    fn groups_without_a_unit_drive_none_out_and_are_not_remembered_without_end() {
        let (units, now) = (Units::default(), Instant::now());
        let sink = Some(UnitName::parse("sink.service").unwrap());
        recalled(&units, 7, now, Ok(sink.clone()));
        for group in 100..100 + 3 * REMEMBERED as u64 {
            recalled(&units, group, now, Ok(None));
        }
        assert_eq!(recalled(&units, 7, now, Ok(None)), (sink, false));
        assert!(units.0.lock().nobodys.len() <= REMEMBERED);
    }

    #[test]
    fn a_search_that_could_not_look_says_so() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(search(&file, 1).is_err());
        assert_eq!(search(&root.path().join("gone"), 1).unwrap(), None);
    }
}
