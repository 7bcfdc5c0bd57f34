//! A web identity token: secret as a whole, but what it says of its owner is for people.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{SourceError, files};

/// What STS takes.
const LENGTHS: std::ops::RangeInclusive<usize> = 4..=20_000;
/// More of a claim helps nobody, and it is somebody else's text.
const CLAIM_LIMIT: usize = 200;

/// A token as it was read. Cannot be printed, and is wiped when dropped.
pub struct Token {
    text: Zeroizing<String>,
    file: PathBuf,
    changed_at: Option<SystemTime>,
}

/// What a token says of itself, for people who compare it with a trust policy. Nobody has verified it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// Who made it.
    pub issuer: Option<String>,
    /// For whom.
    pub audience: Option<String>,
    /// About whom.
    pub subject: Option<String>,
    /// Until when.
    pub expires_at: Option<SystemTime>,
}

impl Token {
    /// Reads it anew, without the blanks at its ends.
    pub(super) async fn read(path: &Path) -> Result<Self, SourceError> {
        let text = files::value(path).await?;
        if !LENGTHS.contains(&text.len()) {
            return Err(SourceError::new(format!(
                "the token in {} has {} characters, and STS takes {} to {}",
                path.display(),
                text.len(),
                LENGTHS.start(),
                LENGTHS.end()
            )));
        }
        Ok(Self { text, file: path.to_owned(), changed_at: files::changed_at(path).await })
    }

    /// The token itself. **Secret**: it goes to STS and nowhere else.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Where it was read.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// When its file was last written.
    pub fn changed_at(&self) -> Option<SystemTime> {
        self.changed_at
    }

    /// Whether it is a JSON web token, as every provider but a few old ones makes.
    pub fn claims(&self) -> Option<Claims> {
        Claims::read(&self.text)
    }
}

impl Claims {
    fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
        let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        let payload: Value = serde_json::from_slice(&payload).ok()?;
        let payload = payload.as_object()?;
        let text = |key: &str| payload.get(key).and_then(words);
        Some(Self {
            issuer: text("iss"),
            audience: text("aud"),
            subject: text("sub"),
            expires_at: payload
                .get("exp")
                .and_then(Value::as_f64)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .and_then(|since| UNIX_EPOCH.checked_add(since)),
        })
    }
}

/// A string, or the strings of an array, fit for a log line.
fn words(value: &Value) -> Option<String> {
    let plain = |text: &str| -> String {
        let plain = text.chars().filter(|c| !c.is_control());
        plain.take(CLAIM_LIMIT).collect()
    };
    match value {
        Value::String(text) => Some(plain(text)),
        Value::Array(all) => {
            let all: Vec<String> = all.iter().filter_map(Value::as_str).map(plain).collect();
            (!all.is_empty()).then(|| all.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn what_a_token_says_of_itself() {
        let claims = Claims::read(&token(
            r#"{"iss":"https://oidc.example","aud":["sts.amazonaws.com","b"],"sub":"system:x","exp":1800000000}"#,
        ))
        .unwrap();
        assert_eq!(claims.issuer.as_deref(), Some("https://oidc.example"));
        assert_eq!(claims.audience.as_deref(), Some("sts.amazonaws.com, b"));
        assert_eq!(claims.subject.as_deref(), Some("system:x"));
        let end = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(claims.expires_at, Some(end));
    }

    #[test]
    fn what_is_no_token_says_nothing() {
        for text in ["", "opaque", "a.b.c", "..", &token("[]"), &token("nonsense")] {
            assert_eq!(Claims::read(text), None, "{text}");
        }
        let strange = Claims::read(&token(r#"{"iss":7,"aud":[],"exp":-1,"sub":"a\nb"}"#)).unwrap();
        assert_eq!(strange.subject.as_deref(), Some("ab"));
        assert_eq!((strange.issuer, strange.audience, strange.expires_at), (None, None, None));
    }

    #[tokio::test]
    async fn a_token_is_read_without_its_blanks_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "  sentinel-token\r\n\n").unwrap();
        let read = Token::read(&path).await.unwrap();
        assert_eq!(read.reveal(), "sentinel-token");
        assert!(!format!("{read:?}").contains("sentinel"));
        for (text, why) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("a b", "more than one word"),
            ("abc", "3 characters"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Token::read(&path).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
