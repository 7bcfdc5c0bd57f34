//! Session tokens that need no memory: each carries its expiry, sealed.
//!
//! The key outlives the process (`tokens::imds_key`). reqsign and the SDK for Rust keep a session
//! token for six hours, and do not ask for another when it is refused.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The longest lifetime of a session token in EC2, in seconds.
pub const LONGEST_SESSION: u32 = 21_600;

/// Bytes of a token before its seal: its expiry, in seconds since 1970.
const END: usize = size_of::<u64>();

/// The key with which one endpoint seals its session tokens.
#[derive(Clone)]
pub struct SessionKey(Hmac<Sha256>);

impl SessionKey {
    /// Derives the key of one endpoint: it does not accept the tokens of another.
    pub fn of(host_key: &[u8; 32], front: &str) -> Self {
        // HMAC's own padding, written out: a key of the block's size cannot be refused.
        let mut block = Zeroizing::new([0; 64]);
        block[..host_key.len()].copy_from_slice(host_key);
        let mut seal = Hmac::<Sha256>::new((&*block).into());
        seal.update(b"roletap imds session\0");
        seal.update(front.as_bytes());
        seal.update(b"\0");
        Self(seal)
    }

    /// Makes a token that expires after this many seconds.
    pub fn issue(&self, now: SystemTime, seconds: u32) -> String {
        let end = since_1970(now + Duration::from_secs(seconds.into())).to_be_bytes();
        let seal = self.0.clone().chain_update(end).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([end.as_slice(), &seal].concat())
    }

    /// Returns true for an unexpired token of this endpoint. The time that it takes says nothing
    /// about the seal.
    pub fn opens(&self, token: &[u8], now: SystemTime) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(token.trim_ascii()) else {
            return false;
        };
        let Some((end, seal)) = bytes.split_first_chunk::<END>() else {
            return false;
        };
        let sealed = self.0.clone().chain_update(end).verify_slice(seal).is_ok();
        sealed && since_1970(now) < u64::from_be_bytes(*end)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::at;

    #[test]
    fn a_token_opens_its_front_until_its_end() {
        let key = SessionKey::of(&[7; 32], "sink");
        let token = key.issue(at(0), 60);
        assert!(token.bytes().all(|b| b.is_ascii_graphic()));
        assert!(key.opens(token.as_bytes(), at(59)));
        assert!(!key.opens(token.as_bytes(), at(60)));
        assert!(SessionKey::of(&[7; 32], "sink").opens(token.as_bytes(), at(0)));
        assert!(!SessionKey::of(&[7; 32], "other").opens(token.as_bytes(), at(0)));
        assert!(!SessionKey::of(&[8; 32], "sink").opens(token.as_bytes(), at(0)));
    }

    #[test]
    fn no_other_text_opens_anything() {
        let key = SessionKey::of(&[7; 32], "sink");
        let token = key.issue(at(0), LONGEST_SESSION);
        for place in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[place] = if other[place] == b'A' { b'B' } else { b'A' };
            assert!(!key.opens(&other, at(0)), "{place}");
        }
        for text in ["", "A", "AAAAAAAAAAA", &token[1..], &token[..20], "\u{e9}"] {
            assert!(!key.opens(text.as_bytes(), at(0)), "{text}");
        }
    }
}
