//! Session tags.

use super::problem::Problem;
use super::reading::Reading;
use super::section::Section;
use super::value::At;

/// `tagListType` and `tagKeyListType`.
const MAX_TAGS: usize = 50;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

/// Reads `tags`, in the order of their keys.
pub(super) fn read(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Vec<(String, String)> {
    let Some(table) = section.string_table("tags", reading) else {
        return Vec::new();
    };
    if table.value.len() > MAX_TAGS {
        reading.problem(
            Problem::new(table.at, format!("`tags` has {} entries", table.value.len()))
                .help(format!("expected at most {MAX_TAGS}")),
        );
    }
    let mut seen: Vec<&At<&str>> = Vec::new();
    for (key, value) in &table.value {
        check("key", key, MAX_KEY, reading);
        check("value", value, MAX_VALUE, reading);
        if key.value.to_ascii_lowercase().starts_with("aws:") {
            reading.problem(
                Problem::new(key.at.clone(), "`tags` has a key that begins with `aws:`")
                    .help("AWS keeps that prefix for itself"),
            );
        }
        match seen.iter().find(|other| same_key(other.value, key.value)) {
            Some(other) => {
                let (first, second) =
                    if other.at < key.at { (&other.at, &key.at) } else { (&key.at, &other.at) };
                reading.problem(
                    Problem::new(second.clone(), "`tags` has two keys that differ only in case")
                        .and("this one", first.clone(), "the other one")
                        .help("AWS takes them for the same key: remove one"),
                );
            }
            None => seen.push(key),
        }
    }
    table.value.iter().map(|(key, value)| (key.value.to_owned(), value.value.to_owned())).collect()
}

/// Reads `transitive_tag_keys`, each of which must be the key of a tag.
pub(super) fn read_transitive(
    section: &mut Section<'_>,
    tags: &[(String, String)],
    reading: &mut Reading<'_>,
) -> Vec<String> {
    let keys =
        section.strings("transitive_tag_keys", reading).map(|keys| keys.value).unwrap_or_default();
    let mut seen: Vec<&At<&str>> = Vec::new();
    for key in &keys {
        if !tags.iter().any(|(tag, _)| same_key(tag, key.value)) {
            reading.problem(
                Problem::new(
                    key.at.clone(),
                    format!(
                        "`transitive_tag_keys` names `{}`, which is no tag of [{}]",
                        key.value.escape_debug(),
                        section.name()
                    ),
                )
                .help("add it to `tags`, or remove it here"),
            );
        }
        match seen.iter().find(|other| same_key(other.value, key.value)) {
            Some(other) => reading.problem(
                Problem::new(key.at.clone(), "`transitive_tag_keys` names a key twice")
                    .and("this one", other.at.clone(), "the other one")
                    .help("remove one"),
            ),
            None => seen.push(key),
        }
    }
    keys.iter().map(|key| key.value.to_owned()).collect()
}

/// AWS compares the keys of tags without regard to case.
pub(super) fn same_key(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

fn check(part: &str, text: &At<&str>, most: usize, reading: &mut Reading<'_>) {
    let found = text.value.chars().count();
    if found > most {
        reading.problem(
            Problem::new(text.at.clone(), format!("`tags` has a {part} of {found} characters"))
                .help(format!("expected at most {most}")),
        );
    } else if found == 0 && part == "key" {
        reading.problem(Problem::new(text.at.clone(), "`tags` has an empty key").help("name it"));
    }
    if let Some(odd) = text.value.chars().find(|&c| !is_tag_char(c)) {
        reading.problem(
            Problem::new(text.at.clone(), format!("`tags` has a {part} that holds {odd:?}"))
                .help("expected letters, digits, blanks and _.:/=+-@"),
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
