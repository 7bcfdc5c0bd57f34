//! Where the image of `keep.rs` lies between two processes: in a sealed memory file that systemd holds.
//!
//! Sealed, so that what was checked is what is read; never on a disk. Not `memfd_secret`: it cannot be sealed, and can be
//! read only through memory that somebody else may change. There are two names, taken in turn: the new image is handed over
//! before the old one is let go, and a process that dies between the two leaves both, of which the later counts.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use zeroize::Zeroizing;

use crate::keep::{Doubt, IMAGE_LIMIT, Image, Kept};
use crate::systemd;

/// What the descriptors are called in systemd's store.
const NAMES: [&str; 2] = ["state-1", "state-2"];
/// `MFD_NOEXEC_SEAL`: never to be executed. Unknown to kernels before 6.3.
const NOEXEC_SEAL: u32 = 0x8;

/// The right to hand images over.
#[derive(Debug)]
pub struct Store {
    /// Of the last image.
    serial: u64,
    /// The name in [`NAMES`] that it bears.
    place: usize,
}

/// Why a descriptor holds no image for us.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// Somebody could still change it, or it is something else.
    #[error("it is not a sealed memory file")]
    Unsealed,
    /// The kernel refused.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Its bytes are not an image of ours.
    #[error(transparent)]
    Doubt(#[from] Doubt),
}

impl Store {
    /// Takes from `handed` what an earlier process left, and gives it if it is whole; what is not is named in the log and
    /// let go.
    pub fn open(handed: &mut Vec<(String, OwnedFd)>) -> (Self, Option<Kept>) {
        let (ours, others) = std::mem::take(handed)
            .into_iter()
            .partition::<Vec<_>, _>(|(name, _)| NAMES.contains(&name.as_str()));
        *handed = others;
        let mut found: Option<(usize, Kept)> = None;
        for (name, descriptor) in ours {
            let place = NAMES.iter().position(|known| *known == name).unwrap_or(0);
            match read(descriptor) {
                Ok(kept) if found.as_ref().is_none_or(|(_, best)| best.serial <= kept.serial) => {
                    found = Some((place, kept));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(
                    "what an earlier process left is not used, and every role is assumed anew: {error}"
                ),
            }
        }
        let place = found.as_ref().map_or(0, |(place, _)| *place);
        let store = Self { serial: found.as_ref().map_or(0, |(_, kept)| kept.serial), place };
        (store, found.map(|(_, kept)| kept))
    }

    /// The serial of the next image.
    pub fn next_serial(&self) -> u64 {
        self.serial.wrapping_add(1)
    }

    /// Hands an image over, in place of the one before.
    pub fn put(&mut self, image: &Image) -> io::Result<()> {
        if image.len() > IMAGE_LIMIT {
            return Err(io::Error::other(format!(
                "{} bytes are more than the {IMAGE_LIMIT} that a later process would read",
                image.len()
            )));
        }
        let sealed = sealed(image)?;
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

/// A memory file with these bytes, which nobody can change any more.
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

fn read(descriptor: OwnedFd) -> Result<Kept, Unread> {
    let seals = fcntl(&descriptor, FcntlArg::F_GET_SEALS).map_err(|_| Unread::Unsealed)?;
    if !SealFlag::from_bits_retain(seals).contains(needed_seals()) {
        return Err(Unread::Unsealed);
    }
    let file = File::from(descriptor);
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length > IMAGE_LIMIT {
        return Err(Doubt::Long(length).into());
    }
    let mut image = Zeroizing::new(vec![0; length]);
    // The place to read from is shared with whoever else holds it: read from the beginning, wherever that is.
    file.read_exact_at(&mut image, 0)?;
    Ok(Kept::read(&image)?)
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
        assert!(matches!(read(descriptor), Err(Unread::Doubt(Doubt::Short(8)))));
    }

    #[test]
    fn what_is_not_sealed_is_not_read() {
        let open = memfd_create("x", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        assert!(matches!(read(open), Err(Unread::Unsealed)));
        let half = memfd_create("x", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        let seals = SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK;
        fcntl(&half, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        assert!(matches!(read(half), Err(Unread::Unsealed)));
        let plain = tempfile::tempfile().unwrap();
        assert!(matches!(read(plain.into()), Err(Unread::Unsealed)));
        let (pipe, _writer) = io::pipe().unwrap();
        assert!(matches!(read(pipe.into()), Err(Unread::Unsealed)));
    }

    #[test]
    fn of_two_images_the_later_counts() {
        use crate::slots::Table;
        use crate::tokens::Tokens;

        let image = |serial| {
            sealed(&crate::keep::image(&Table::default(), &Tokens::default(), None, serial))
                .unwrap()
        };
        let damaged = || sealed(b"roletap\n and no more").unwrap();
        for (first, second, serial, place) in [(7, 8, 8, 1), (9, 8, 9, 0)] {
            let mut handed = vec![
                ("credentials".to_owned(), damaged()),
                ("state-1".to_owned(), image(first)),
                ("state-2".to_owned(), damaged()),
                ("state-2".to_owned(), image(second)),
            ];
            let (store, kept) = Store::open(&mut handed);
            assert_eq!(kept.map(|kept| kept.serial), Some(serial));
            assert_eq!((store.place, store.next_serial()), (place, serial + 1));
            assert_eq!(handed.len(), 1, "what is not ours is left");
        }
        let (store, kept) = Store::open(&mut vec![("state-1".to_owned(), damaged())]);
        assert!(kept.is_none());
        assert_eq!(store.next_serial(), 1);
    }
}
