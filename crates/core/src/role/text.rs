//! Rules for texts, and types that hold a text which keeps its rule.

use super::{
    ExternalId, InvalidValue, ProfileName, RoleArn, RoleName, SessionName, SourceIdentity, refuse,
};
use super::{SourceName, UnitName};

macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl $name {
            /// The text, as it was configured.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )+};
}

macro_rules! display {
    ($($name:ident),+) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

/// A `Debug` that does not show what is within.
macro_rules! hidden {
    ($name:ident) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

pub(crate) use {display, hidden};

as_text!(
    ExternalId,
    ProfileName,
    RoleArn,
    RoleName,
    SessionName,
    SourceIdentity,
    SourceName,
    UnitName
);
display!(RoleArn, RoleName, SourceName);

/// The characters of role and session names: `[\w+=,.@-]`, where AWS means ASCII by `\w`.
pub(crate) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)
}

/// Refuses the first character that is not allowed.
pub(crate) fn check_characters(
    text: &str,
    is_allowed: impl Fn(char) -> bool,
    expected: impl Into<String>,
) -> Result<(), InvalidValue> {
    match text.chars().find(|&c| !is_allowed(c)) {
        Some(odd) => refuse(format!("holds {odd:?}"), expected),
        None => Ok(()),
    }
}

/// The rule for the names that an operator gives to roles and sources.
pub(super) fn check_name(text: &str) -> Result<(), InvalidValue> {
    const EXPECTED: &str =
        "expected 1 to 63 letters, digits, `.`, `_` and `-`, and a letter or digit first";
    let Some(first) = text.chars().next() else {
        return refuse("is empty", EXPECTED);
    };
    check_characters(text, |c| c.is_ascii_alphanumeric() || "._-".contains(c), EXPECTED)?;
    if !first.is_ascii_alphanumeric() {
        return refuse(format!("begins with `{first}`"), EXPECTED);
    }
    if text.len() > 63 {
        return refuse(format!("has {} characters", text.len()), EXPECTED);
    }
    Ok(())
}

pub(super) fn check_text(text: &str, most: usize, marks: &str) -> Result<(), InvalidValue> {
    let expected = || format!("expected 2 to {most} letters, digits and {marks}");
    let found = text.chars().count();
    if text.trim() != text {
        return refuse("has blanks at its ends", "remove them");
    }
    if !(2..=most).contains(&found) {
        let s = if found == 1 { "" } else { "s" };
        return refuse(format!("has {found} character{s}"), expected());
    }
    check_characters(text, |c| c.is_ascii_alphanumeric() || marks.contains(c), expected())
}
