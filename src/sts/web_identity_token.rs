//! A web identity token. The token is secret, but messages may show its claims.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sts::operation::assume_role_with_web_identity::builders::AssumeRoleWithWebIdentityFluentBuilder;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use zeroize::Zeroizing;

use roletap_core::credentials::rfc3339;
use roletap_core::role::{RoleArn, SessionName};

/// The length of a token that STS accepts, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 4..=20_000;
/// The longest text of a claim that is shown, in characters.
const CLAIM_LIMIT: usize = 200;

/// A token as it was read from its file. It cannot be printed, and it is wiped when dropped.
pub struct Token {
    text: Zeroizing<String>,
    file: PathBuf,
    changed_at: Option<SystemTime>,
}

/// The claims of a token, to compare them with a trust policy. roletap does not verify them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// The issuer of the token (`iss`).
    pub issuer: Option<String>,
    /// The audience of the token (`aud`). Several are joined by commas.
    pub audience: Option<String>,
    /// The subject of the token (`sub`).
    pub subject: Option<String>,
    /// The time at which the token expires (`exp`).
    pub expires_at: Option<SystemTime>,
}

impl Token {
    /// Takes the text of `file`, which changed at `changed_at`. The error does not contain the
    /// text.
    pub fn new(
        text: Zeroizing<String>,
        file: PathBuf,
        changed_at: Option<SystemTime>,
    ) -> Result<Self, String> {
        if LENGTHS.contains(&text.len()) {
            return Ok(Self { text, file, changed_at });
        }
        Err(format!(
            "the token in {} has {} characters, but STS accepts {} to {}",
            file.display(),
            text.len(),
            LENGTHS.start(),
            LENGTHS.end()
        ))
    }

    /// Returns the claims if the token is a JSON Web Token. Some old providers issue other tokens.
    pub fn claims(&self) -> Option<Claims> {
        Claims::read(&self.text)
    }

    /// Builds an AssumeRoleWithWebIdentity request with this token. **Secret**: only this method
    /// gives the token away.
    pub(super) fn request(
        &self,
        client: &aws_sdk_sts::Client,
        role_arn: &RoleArn,
        session_name: &SessionName,
    ) -> AssumeRoleWithWebIdentityFluentBuilder {
        client
            .assume_role_with_web_identity()
            .role_arn(role_arn.as_str())
            .role_session_name(session_name.as_str())
            .web_identity_token(self.text.as_str())
    }

    /// Replaces the token in a text that may quote it.
    pub fn redact(&self, text: &str) -> String {
        text.replace(self.text.as_str(), "…")
    }

    /// Describes the token by its file and its claims, to compare it with a trust policy.
    pub(super) fn description(&self) -> String {
        let mut said = vec![format!("the token is from {}", self.file.display())];
        if let Some(at) = self.changed_at {
            said.push(format!("written at {}", rfc3339(at)));
        }
        match self.claims() {
            None => said.push("it is not a JSON Web Token".to_owned()),
            Some(claims) => {
                let expiry = claims.expires_at.map(rfc3339);
                let claims = [claims.issuer, claims.audience, claims.subject, expiry];
                said.extend(
                    ["iss", "aud", "sub", "exp"]
                        .iter()
                        .zip(claims)
                        .filter_map(|(name, value)| value.map(|value| format!("{name} `{value}`"))),
                );
            }
        }
        said.join(", ")
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

/// Returns a string, or the strings of an array, without control characters.
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
    fn the_claims_of_a_token_are_read() {
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
    fn a_text_that_is_no_token_has_no_claims() {
        for text in ["", "opaque", "a.b.c", "..", &token("[]"), &token("nonsense")] {
            assert_eq!(Claims::read(text), None, "{text}");
        }
        let strange = Claims::read(&token(r#"{"iss":7,"aud":[],"exp":-1,"sub":"a\nb"}"#)).unwrap();
        assert_eq!(strange.subject.as_deref(), Some("ab"));
        assert_eq!((strange.issuer, strange.audience, strange.expires_at), (None, None, None));
    }
}
