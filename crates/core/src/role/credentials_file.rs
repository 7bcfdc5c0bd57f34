//! The shared credentials file that a role is written to, for clients that can only read one.

use std::path::{Component, Path, PathBuf};

use super::{InvalidValue, check_characters, refuse};

/// The file that a role's credentials are written to, its profile and its readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsFile {
    /// An absolute path without `..`, with a file name.
    pub path: PathBuf,
    /// The name of the one profile in it.
    pub profile: ProfileName,
    /// The group that may read it, beside roletap's own user.
    pub group: Option<CredentialsFileGroup>,
}

/// A group, and the key that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsFileGroup {
    /// The name of the group.
    pub name: String,
    /// The key: `credentials_file_group`, or `token_group` where that stands in for it.
    pub key: &'static str,
}

/// The name of a profile: 1 to 64 of `[A-Za-z0-9_./%@:+-]`, which every SDK's parser takes for one. Not `DEFAULT`, which is no
/// profile to botocore (configparser), and not `__proto__`, which is none to JavaScript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileName(pub(super) String);

/// File systems allow 255 bytes, and the name of an unfinished file has a few more.
const LONGEST_NAME: usize = 200;

impl CredentialsFile {
    /// Parses the absolute path of a file; refuses `..`, so that two paths can be compared.
    pub fn path(text: &str) -> Result<PathBuf, InvalidValue> {
        const EXPECTED: &str =
            "expected the absolute path of a file, such as \"/run/roletap/files/NAME\"";
        let path = Path::new(text);
        if text.trim().is_empty() {
            return refuse("is empty", EXPECTED);
        }
        if !path.is_absolute() {
            return refuse("is a relative path", EXPECTED);
        }
        if text.chars().any(char::is_control) {
            return refuse("holds a control character", EXPECTED);
        }
        if path.components().any(|part| matches!(part, Component::ParentDir)) {
            return refuse("holds `..`", EXPECTED);
        }
        match path.file_name() {
            Some(_) if text.ends_with('/') || text.ends_with("/.") => {
                refuse("is a directory", EXPECTED)
            }
            None => refuse("is a directory", EXPECTED),
            Some(name) if name.len() > LONGEST_NAME => {
                refuse(format!("has a file name of {} bytes", name.len()), EXPECTED)
            }
            Some(_) => Ok(path.components().collect()),
        }
    }
}

impl ProfileName {
    /// Returns `default`, which clients read unless they are told another.
    pub fn usual() -> Self {
        Self("default".to_owned())
    }

    /// Parses a name, and refuses one that not every SDK's parser takes.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        const MARKS: &str = "_./%@:+-";
        let expected = format!("expected 1 to 64 letters, digits and {MARKS}");
        if ["DEFAULT", "__proto__"].contains(&text) {
            let what = format!("is `{text}`, which not every SDK takes for a profile");
            return refuse(what, "expected another name");
        }
        check_characters(text, |c| c.is_ascii_alphanumeric() || MARKS.contains(c), &expected)?;
        match text.len() {
            1..=64 => Ok(Self(text.to_owned())),
            length => refuse(format!("has {length} characters"), expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_and_can_be_compared() {
        for (text, path) in
            [("/run/a", "/run/a"), ("/run//./a", "/run/a"), ("/run/a.b c", "/run/a.b c")]
        {
            assert_eq!(CredentialsFile::path(text).unwrap(), Path::new(path));
        }
        let long = format!("/run/{}", "x".repeat(201));
        for bad in [
            "", " ", "a", "./a", "~/a", "/", "/run/", "/run/.", "/run/..", "/a/../b", "/a\n", &long,
        ] {
            assert!(CredentialsFile::path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_profile_is_what_every_parser_takes_for_one() {
        for good in ["default", "Orders-2.eu/west:1@x+%_", &"x".repeat(64)] {
            assert_eq!(ProfileName::parse(good).unwrap().as_str(), good);
        }
        for good in ["Default", "DEFAULTS"] {
            assert!(ProfileName::parse(good).is_ok(), "{good:?}");
        }
        for bad in
            ["DEFAULT", "__proto__", "", "a b", "a]", "a\n[b]", "é", "a=b", "#a", &"x".repeat(65)]
        {
            assert!(ProfileName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
