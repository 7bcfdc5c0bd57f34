//! The key that session tokens of instance metadata are sealed with. It lies beside the role's tokens and lives as long.

use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{Digest, create, put_right, token_file_at};
use crate::atomic_file::write;

/// No role is called so: its name would begin with a letter or a digit.
const NAME: &str = ".imds";

/// Reads it from `token_dir`, or makes it.
pub fn imds_key(token_dir: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let path = token_dir.join(NAME);
    let there = token_file_at(&path)?;
    if let Some(there) = there.as_ref().filter(|there| there.token.is_some()) {
        put_right(&path, there, 0o600, None)?;
    }
    let text = match there.and_then(|there| there.token) {
        Some(text) => text,
        None => {
            let mut bytes = Zeroizing::new([0_u8; 32]);
            getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
            let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
            create(token_dir)?;
            write(&path, text.as_bytes(), 0o600, None)?;
            text
        }
    };
    Ok(Zeroizing::new(Digest::of(text.as_bytes()).to_bytes()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_us_alone() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("tokens");
        let key = imds_key(&dir).unwrap();
        let mode = || fs::metadata(dir.join(NAME)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(dir.join(NAME), Permissions::from_mode(0o644)).unwrap();
        assert_eq!(*imds_key(&dir).unwrap(), *key);
        assert_eq!(mode(), 0o600);
        fs::write(dir.join(NAME), "").unwrap();
        assert_ne!(*imds_key(&dir).unwrap(), *key);
    }
}
