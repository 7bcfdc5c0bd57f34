//! Why a source gives nothing, in words without secrets.

use std::error::Error;

/// Why there is no base identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SourceError {
    reason: String,
}

impl SourceError {
    /// From a lower-case fragment without secrets.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// The `Display`s of an error and its sources; never its `Debug`, which may hold secrets.
pub fn chain_of(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        if !parts.iter().any(|earlier| earlier.contains(&part)) {
            parts.push(part);
        }
        next = error.source();
    }
    parts.join(": ")
}
