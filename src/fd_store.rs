//! A snapshot between two processes: in a sealed memory file that systemd's file descriptor store holds.
//!
//! Sealed, so that what was checked is what is read; never on a disk. Not `memfd_secret`: it cannot be sealed, and can be
//! read only through memory that somebody else may change. There are two names, taken in turn: the new snapshot is handed over
//! before the old one is let go, and a process that dies between the two leaves both, of which the later counts.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use zeroize::Zeroizing;

use crate::systemd;
use roletap_core::snapshot::{EncodedSnapshot, SNAPSHOT_LIMIT, Snapshot, SnapshotError};

/// The names of the descriptors in systemd's store.
const NAMES: [&str; 2] = ["state-1", "state-2"];
/// `MFD_NOEXEC_SEAL`: never to be executed. Unknown to kernels before 6.3.
const NOEXEC_SEAL: u32 = 0x8;

/// The right to put snapshots into systemd's file descriptor store.
#[derive(Debug)]
pub struct FdStore {
    serial: u64,
    /// The index in [`NAMES`] of the last snapshot.
    place: usize,
}

/// Why a descriptor holds no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum FdStoreError {
    /// Somebody could still change it, or it is something else.
    #[error("it is not a sealed memory file")]
    Unsealed,
    /// The kernel refused to read it.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It was read, but is no snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl FdStore {
    /// Takes the descriptors of the store out of `handed`, and decodes the newest snapshot that is whole. Why another one
    /// is not used stands in the log.
    pub fn open(handed: &mut Vec<(String, OwnedFd)>) -> (Self, Option<Snapshot>) {
        let (ours, others) = std::mem::take(handed)
            .into_iter()
            .partition::<Vec<_>, _>(|(name, _)| NAMES.contains(&name.as_str()));
        *handed = others;
        let mut found: Option<(usize, Snapshot)> = None;
        for (name, descriptor) in ours {
            let place = NAMES.iter().position(|known| *known == name).unwrap_or(0);
            match read(descriptor) {
                Ok(read) if found.as_ref().is_none_or(|(_, best)| best.serial <= read.serial) => {
                    found = Some((place, read));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(
                    "what an earlier process left is not used, and every role is assumed anew: {error}"
                ),
            }
        }
        let place = found.as_ref().map_or(0, |(place, _)| *place);
        let snapshot = found.map(|(_, snapshot)| snapshot);
        (Self { serial: snapshot.as_ref().map_or(0, |snapshot| snapshot.serial), place }, snapshot)
    }

    /// Returns the serial number of the next snapshot.
    pub fn next_serial(&self) -> u64 {
        self.serial.wrapping_add(1)
    }

    /// Puts a snapshot into the store, in place of the one before.
    pub fn put(&mut self, encoded: &EncodedSnapshot) -> io::Result<()> {
        if encoded.len() > SNAPSHOT_LIMIT {
            return Err(io::Error::other(format!(
                "{} bytes are more than the {SNAPSHOT_LIMIT} that a later process would read",
                encoded.len()
            )));
        }
        let sealed = sealed(encoded)?;
        let place = 1 - self.place;
        let [name, old] = [place, self.place].map(|place| NAMES.get(place).copied().unwrap_or(""));
        // Left over from a process that died between storing and letting go.
        systemd::forget(name);
        systemd::store(name, &sealed)?;
        systemd::forget(old);
        self.place = place;
        self.serial = self.next_serial();
        Ok(())
    }
}

/// Makes a memory file with these bytes, which nobody can change any more.
fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let create = |flags| memfd_create("roletap", flags);
    let descriptor = match create(flags | MFdFlags::from_bits_retain(NOEXEC_SEAL)) {
        Err(nix::errno::Errno::EINVAL) => create(flags)?,
        created => created?,
    };
    let mut file = File::from(descriptor);
    file.write_all(bytes)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(needed_seals() | SealFlag::F_SEAL_SEAL))?;
    Ok(file.into())
}

/// With these, what was read once is what it will always be.
fn needed_seals() -> SealFlag {
    SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK
}

fn read(descriptor: OwnedFd) -> Result<Snapshot, FdStoreError> {
    let seals = fcntl(&descriptor, FcntlArg::F_GET_SEALS).map_err(|_| FdStoreError::Unsealed)?;
    if !SealFlag::from_bits_retain(seals).contains(needed_seals()) {
        return Err(FdStoreError::Unsealed);
    }
    let file = File::from(descriptor);
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length > SNAPSHOT_LIMIT {
        return Err(SnapshotError::TooLong(length).into());
    }
    let mut encoded = Zeroizing::new(vec![0; length]);
    // The place to read from is shared with whoever else holds it: read from the beginning, wherever that is.
    file.read_exact_at(&mut encoded, 0)?;
    Ok(Snapshot::decode(&encoded)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_can_be_read_and_never_changed() {
        let descriptor = sealed(b"roletap\n").unwrap();
        let file = File::from(descriptor.try_clone().unwrap());
        assert!(file.write_all_at(b"x", 0).is_err());
        assert!(file.set_len(0).is_err());
        assert!(file.set_len(100).is_err());
        assert!(matches!(
            read(descriptor),
            Err(FdStoreError::Snapshot(SnapshotError::TooShort(8)))
        ));
    }

    #[test]
    fn what_is_not_sealed_is_not_read() {
        let open = memfd_create("x", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        assert!(matches!(read(open), Err(FdStoreError::Unsealed)));
        let half = memfd_create("x", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        let seals = SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK;
        fcntl(&half, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        assert!(matches!(read(half), Err(FdStoreError::Unsealed)));
        let plain = tempfile::tempfile().unwrap();
        assert!(matches!(read(plain.into()), Err(FdStoreError::Unsealed)));
        let (pipe, _writer) = io::pipe().unwrap();
        assert!(matches!(read(pipe.into()), Err(FdStoreError::Unsealed)));
    }

    #[test]
    fn of_two_snapshots_the_newer_counts() {
        let snapshot = |serial| {
            let snapshot = Snapshot::new(serial, None, Default::default());
            sealed(&snapshot.encode().unwrap()).unwrap()
        };
        let damaged = || sealed(b"roletap\n and no more").unwrap();
        for (first, second, serial, place) in [(7, 8, 8, 1), (9, 8, 9, 0)] {
            let mut handed = vec![
                ("credentials".to_owned(), damaged()),
                ("state-1".to_owned(), snapshot(first)),
                ("state-2".to_owned(), damaged()),
                ("state-2".to_owned(), snapshot(second)),
            ];
            let (store, newest) = FdStore::open(&mut handed);
            assert_eq!(newest.map(|newest| newest.serial), Some(serial));
            assert_eq!((store.place, store.next_serial()), (place, serial + 1));
            assert_eq!(handed.len(), 1, "what is not ours is left");
        }
        let (store, newest) = FdStore::open(&mut vec![("state-1".to_owned(), damaged())]);
        assert!(newest.is_none());
        assert_eq!(store.next_serial(), 1);
    }
}
