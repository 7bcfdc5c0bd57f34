//! From texts to TOML tables, with every syntax error of every file.

use std::ops::Range;

use ::toml::Spanned;
use ::toml::de::DeTable;

use crate::config::ConfigFile;
use crate::config::diagnostics::{Diagnostics, Place, Problem};

/// A file's table, or `None` where the file has no sound one.
pub(crate) type FileTable<'a> = Option<Spanned<DeTable<'a>>>;

pub(crate) fn parse<'a>(
    files: &'a [ConfigFile],
    diagnostics: &Diagnostics<'_>,
) -> Vec<FileTable<'a>> {
    let mut documents = Vec::with_capacity(files.len());
    for (file, source) in files.iter().enumerate() {
        if let Some(invalid) = source.failure() {
            let message = format!("the configuration file {}", invalid.what);
            diagnostics.emit(Problem::for_file(file, message).help(&invalid.expected));
            documents.push(None);
            continue;
        }
        let text = source.contents();
        let (table, errors) = DeTable::parse_recoverable(text);
        // After an open bracket the rest of the file makes no sense: the first complaint is the one to act on.
        let unclosed = errors.iter().any(is_unclosed);
        let first = errors.iter().filter_map(|error| error.span().map(|span| span.start)).min();
        for error in &errors {
            if !unclosed {
                diagnostics.emit(syntax_problem(file, text, error));
            } else if error.span().map(|span| span.start) == first {
                let problem = syntax_problem(file, text, error);
                diagnostics.emit(problem.help("a `[` or `{` before this place is not closed"));
            }
        }
        // A table that was recovered from a broken file is a guess, and problems with a guess help nobody.
        documents.push(errors.is_empty().then_some(table));
    }
    documents
}

/// A value's bracket or brace that nothing closes. A header's is over at the end of its line.
fn is_unclosed(error: &::toml::de::Error) -> bool {
    let message = error.message();
    message.starts_with("unclosed array") || message.starts_with("unclosed inline table")
}

fn syntax_problem(file: usize, text: &str, error: &::toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(text.len()..text.len());
    let at_end = !text.get(span.start..).unwrap_or_default().contains('\n');
    let first = first_of_two(text, span.start);
    let problem = Problem::new(Place::new(file, span), format!("not TOML: {}", error.message()));
    if error.message().starts_with("invalid boolean") {
        return problem.help("if it is meant as text, put it in quotes");
    }
    match (error.message(), first) {
        ("duplicate key", Some(first)) => problem
            .beside(Place::new(file, first))
            .help("write each table and each key once: merge the two, or rename one"),
        _ if at_end && !text.ends_with('\n') => problem
            .help("the file ends in the middle of a line: if it is still being written, write it aside and rename it"),
        _ => problem,
    }
}

/// For the line at `second`: the earlier line with the same header, or the same key below the same header.
fn first_of_two(text: &str, second: usize) -> Option<Range<usize>> {
    let subject = |line: &'_ str| -> String {
        let line = line.trim();
        let end = if line.starts_with('[') { line.find(']') } else { line.find('=') };
        line.get(..end.unwrap_or(line.len())).unwrap_or_default().trim().to_owned()
    };
    let mut start = 0;
    let mut seen: Vec<(String, Range<usize>)> = Vec::new();
    for line in text.split_inclusive('\n') {
        let this = subject(line);
        let is_header = this.starts_with('[');
        if start + line.len() > second {
            return seen.into_iter().find(|(other, _)| *other == this).map(|(_, span)| span);
        }
        if is_header {
            seen.retain(|(other, _)| other.starts_with('['));
        }
        if !this.is_empty() && !this.starts_with('#') {
            let from = start + line.len() - line.trim_start().len();
            let len = this.len() + usize::from(is_header);
            seen.push((this, from..from + len));
        }
        start += line.len();
    }
    None
}
