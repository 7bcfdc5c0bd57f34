//! Texts that several keys share: one that is not blank, the name of a group, the contents of a file.

use crate::config::diagnostics::Problem;
use crate::config::files::{self, ConfigFile};
use crate::config::keys::Context;
use crate::config::toml::{Located, Section};
use crate::role::{InvalidValue, check_characters, refuse};

pub(crate) fn not_blank(text: &str) -> Result<String, InvalidValue> {
    if text.trim().is_empty() {
        return refuse("is empty", "fill it in, or leave the key out");
    }
    Ok(text.to_owned())
}

/// As [`not_blank`], without control characters.
pub(crate) fn plain(text: &str) -> Result<String, InvalidValue> {
    let text = not_blank(text)?;
    if text.chars().any(char::is_control) {
        return refuse("holds a control character", "expected plain text");
    }
    Ok(text)
}

/// A group's name or number. Only the start asks if there is such a group.
pub(crate) fn group_name(text: &str) -> Result<String, InvalidValue> {
    let allowed = |c: char| !(c.is_whitespace() || c.is_control() || ":,/".contains(c));
    check_characters(text, allowed, "expected the name of one group")?;
    not_blank(text)
}

/// A value that stands under the first key, or in the file that the second one names.
pub(crate) fn inline_or_file<T>(
    section: &Section<'_>,
    [inline, file]: [&'static str; 2],
    what: &str,
    context: &Context<'_>,
    parse: impl Fn(&str) -> Result<T, InvalidValue>,
    parse_file: impl Fn(&str) -> Result<T, InvalidValue>,
) -> Option<T> {
    if section.one_of(&[inline, file])? == inline {
        return section.text(inline, parse);
    }
    let Located { value: path, at } = section.string(file)?;
    let diagnostics = section.diagnostics;
    let contents = read_file(&diagnostics.resolve(path, at), context);
    let contents = diagnostics.accept(at, &format!("the file that `{file}` names"), contents)?;
    diagnostics.accept(at, &format!("the {what} in `{file}`"), parse_file(&contents))
}

fn read_file(path: &std::path::Path, context: &Context<'_>) -> Result<String, InvalidValue> {
    let bytes = context.host.read(path).map_err(|error| files::unreadable(&error))?;
    if bytes.len() as u64 > ConfigFile::MAX_BYTES {
        return refuse("is larger than 1 MiB", "check that this is the right file");
    }
    String::from_utf8(bytes).map_err(|_| InvalidValue::new("is not UTF-8", "save it as UTF-8"))
}

/// A problem for each text that stands there twice.
pub(crate) fn refuse_duplicates<'t>(
    section: &Section<'_>,
    texts: impl IntoIterator<Item = &'t Located<&'t str>>,
    is_same: impl Fn(&str, &str) -> bool,
    message: &str,
    help: &str,
) {
    let mut seen: Vec<&Located<&str>> = Vec::new();
    for text in texts {
        match seen.iter().find(|other| is_same(other.value, text.value)) {
            Some(other) => {
                let (first, second) = (other.at.min(text.at), other.at.max(text.at));
                section.diagnostics.emit(Problem::new(second, message).beside(first).help(help));
            }
            None => seen.push(text),
        }
    }
}
