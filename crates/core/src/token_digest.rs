//! Digests of the tokens that open roles. Pure.
//!
//! roletap keeps only the SHA-256 of a token. Looking a token up by its digest takes the same time whatever was guessed.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::role::{RoleName, hidden};

/// The valid tokens of every role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Tokens by role; a role without a token (`unsafe_no_token`) is not here.
    pub roles: BTreeMap<RoleName, RoleTokens>,
}

/// The valid tokens of one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleTokens {
    /// The token that the token file holds.
    pub current: Digest,
    /// Replaced tokens, and until when each still opens the role.
    pub previous: Vec<(Digest, SystemTime)>,
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

/// A map by digest. A digest is as good as random, so its first bytes are the hash.
pub type ByDigest<V> = HashMap<Digest, V, BuildHasherDefault<FirstBytes>>;

/// The hasher of [`ByDigest`].
#[derive(Debug, Default)]
pub struct FirstBytes(u64);

impl Digest {
    /// Computes the digest of a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Returns the 32 bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).ok()?;
        Some(Self(digest))
    }

    /// Returns 64 hexadecimal digits. A digest is no secret.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

hidden!(Digest);

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (first, _) = self.0.split_first_chunk().unwrap_or((&[0; 8], &[]));
        state.write_u64(u64::from_ne_bytes(*first));
    }
}

impl Hasher for FirstBytes {
    fn write_u64(&mut self, first: u64) {
        self.0 = first;
    }

    fn write(&mut self, _: &[u8]) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
