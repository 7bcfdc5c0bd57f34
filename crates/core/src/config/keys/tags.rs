//! Session tags.

use super::text::refuse_duplicates;
use crate::config::diagnostics::{Diagnostics, Problem};
use crate::config::toml::{Located, Section};

/// `tagListType` and `tagKeyListType`.
const MAX_TAGS: usize = 50;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

/// Reads `tags`, in the order of their keys.
pub(crate) fn read(section: &Section<'_>) -> Vec<(String, String)> {
    let Some(table) = section.string_table("tags") else {
        return Vec::new();
    };
    let diagnostics = section.diagnostics;
    if table.value.len() > MAX_TAGS {
        let message = format!("`tags` has {} entries", table.value.len());
        let help = format!("expected at most {MAX_TAGS}");
        diagnostics.emit(Problem::new(table.at, message).help(help));
    }
    for (key, value) in &table.value {
        check("key", key, MAX_KEY, diagnostics);
        check("value", value, MAX_VALUE, diagnostics);
        if key.value.to_ascii_lowercase().starts_with("aws:") {
            let message = "`tags` has a key that begins with `aws:`";
            let help = "AWS keeps that prefix for itself";
            diagnostics.emit(Problem::new(key.at, message).help(help));
        }
    }
    refuse_duplicates(
        section,
        table.value.iter().map(|(key, _)| key),
        is_same_key,
        "`tags` has two keys that differ only in case",
        "AWS takes them for the same key: remove one",
    );
    table.value.iter().map(|(key, value)| (key.value.to_owned(), value.value.to_owned())).collect()
}

/// Reads `transitive_tag_keys`, each of which must be the key of a tag.
pub(crate) fn read_transitive(section: &Section<'_>, tags: &[(String, String)]) -> Vec<String> {
    let keys = section.strings("transitive_tag_keys").map(|keys| keys.value).unwrap_or_default();
    for key in keys.iter().filter(|key| !tags.iter().any(|(tag, _)| is_same_key(tag, key.value))) {
        let (shown, section_name) = (key.value.escape_debug(), section.name());
        let message =
            format!("`transitive_tag_keys` names `{shown}`, which is no tag of [{section_name}]");
        let help = "add it to `tags`, or remove it here";
        section.diagnostics.emit(Problem::new(key.at, message).help(help));
    }
    let message = "`transitive_tag_keys` names a key twice";
    refuse_duplicates(section, &keys, is_same_key, message, "remove one");
    keys.iter().map(|key| key.value.to_owned()).collect()
}

/// AWS compares the keys of tags without regard to case.
pub(crate) fn is_same_key(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

fn check(part: &str, text: &Located<&str>, most: usize, diagnostics: &Diagnostics<'_>) {
    let refuse = |message: String, help: String| {
        diagnostics.emit(Problem::new(text.at, message).help(help));
    };
    let found = text.value.chars().count();
    if found > most {
        let message = format!("`tags` has a {part} of {found} characters");
        refuse(message, format!("expected at most {most}"));
    } else if found == 0 && part == "key" {
        refuse("`tags` has an empty key".to_owned(), "name it".to_owned());
    }
    if let Some(odd) = text.value.chars().find(|&c| !is_tag_char(c)) {
        refuse(
            format!("`tags` has a {part} that holds {odd:?}"),
            "expected letters, digits, blanks and _.:/=+-@".to_owned(),
        );
    }
}

/// AWS's `[\p{L}\p{Z}\p{N}_.:/=+\-@]`, as near as the standard library knows it. It knows some marks as letters
/// which AWS does not; those few are left for AWS to refuse.
fn is_tag_char(c: char) -> bool {
    c.is_alphabetic()
        || c.is_numeric()
        || (c.is_whitespace() && !c.is_control())
        || "_.:/=+-@".contains(c)
}
