//! Problems, where they are, and the one report that shows them all.
//!
//! Rendering never prints a line that [`secret`](super::secret) hides, whatever the problem points at.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::excerpt::Excerpt;
use crate::config::ConfigFile;

/// A range of bytes in one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The file's index, in the order they were read.
    pub(crate) file: usize,
    /// The bytes, within that file's text.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Place {
    pub(crate) fn new(file: usize, span: Range<usize>) -> Self {
        Self { file, start: span.start, end: span.end }
    }
}

/// The severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is accepted, but somebody should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    severity: Severity,
    /// A lint's stable name.
    id: Option<&'static str>,
    message: String,
    help: Option<String>,
    file: usize,
    place: Option<Place>,
    label: Option<&'static str>,
    also: Vec<(Place, &'static str)>,
}

impl Problem {
    /// A problem without a place is one of the main file as a whole.
    pub(crate) fn new(place: impl Into<Option<Place>>, message: impl Into<String>) -> Self {
        let place = place.into();
        Self {
            severity: Severity::Error,
            id: None,
            message: message.into(),
            help: None,
            file: place.map_or(0, |place| place.file),
            place,
            label: None,
            also: Vec::new(),
        }
    }

    /// About a file as a whole.
    pub(crate) fn for_file(file: usize, message: impl Into<String>) -> Self {
        Self { file, ..Self::new(None::<Place>, message) }
    }

    /// Turns it into the warning of a lint.
    pub(crate) fn into_warning(self, id: &'static str) -> Self {
        Self { severity: Severity::Warning, id: Some(id), ..self }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Points at a second place, if it is known; each of the two gets its label.
    pub(crate) fn and(
        mut self,
        label: &'static str,
        other: impl Into<Option<Place>>,
        other_label: &'static str,
    ) -> Self {
        if let Some(other) = other.into() {
            self.label = Some(label);
            self.also.push((other, other_label));
        }
        self
    }

    /// Points at a second place which is like the first.
    pub(crate) fn beside(self, other: impl Into<Option<Place>>) -> Self {
        self.and("this one", other, "the other one")
    }

    pub(crate) fn is_at(&self, place: Place) -> bool {
        self.place == Some(place)
    }

    /// Returns the severity: error or warning.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The stable name of a lint; `None` for errors.
    pub fn id(&self) -> Option<&'static str> {
        self.id
    }

    /// The problem itself, in one phrase.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// A remedy, or the values that would be accepted.
    pub fn hint(&self) -> Option<&str> {
        self.help.as_deref()
    }

    fn order(&self) -> (usize, usize) {
        (self.file, self.place.as_ref().map_or(0, |place| place.start))
    }
}

/// All problems of all files, in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    files: Arc<[ConfigFile]>,
    problems: Vec<Problem>,
}

impl Report {
    /// Puts the problems in the order of the files. The same problem found twice, as when two roles
    /// inherit one bad default, is told once.
    pub(crate) fn new(files: Arc<[ConfigFile]>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(Problem::order);
        let mut told: Vec<Problem> = Vec::with_capacity(problems.len());
        for problem in problems {
            let same_place = told.iter().rev().take_while(|other| other.order() == problem.order());
            if !same_place.into_iter().any(|other| *other == problem) {
                told.push(problem);
            }
        }
        Self { files, problems: told }
    }

    /// The problems, in the order of the files.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// True if there is no problem at all.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The report for people. `tail` says what follows from it, such as "nothing was started".
    pub fn render(&self, tail: &str, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let excerpts: Vec<Excerpt> =
            self.files.iter().map(|s| Excerpt::new(s.contents())).collect();
        let mut out = String::new();
        for problem in &self.problems {
            out.push_str(&self.render_one(problem, &excerpts, &renderer));
            out.push_str("\n\n");
        }
        out.push_str(&self.count());
        if !tail.is_empty() {
            out.push_str("; ");
            out.push_str(tail);
        }
        out.push('\n');
        out
    }

    /// The problems for programs: an array of objects with `file`, `line`, `column`, `severity`, `id`, `message`, `help`, `related`.
    pub fn to_json(&self) -> Value {
        self.problems.iter().map(|problem| self.one_to_json(problem)).collect()
    }

    /// Each problem's place as file, line and column, both from 1 and in characters.
    pub fn position(&self, problem: &Problem) -> (String, Option<(usize, usize)>) {
        let place = problem.place.as_ref();
        (self.path_of(problem.file), place.map(|place| self.line_and_column(place)))
    }

    fn render_one(&self, problem: &Problem, excerpts: &[Excerpt], renderer: &Renderer) -> String {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut title = level.primary_title(&problem.message);
        if let Some(id) = problem.id {
            title = title.id(id);
        }
        let mut elements: Vec<Element<'_>> = Vec::new();
        // One snippet per file, the problem's own first; in each, the lines which are pointed at.
        let mut marks: Vec<(&Place, Option<&str>, AnnotationKind)> = Vec::new();
        if let Some(place) = &problem.place {
            marks.push((place, problem.label, AnnotationKind::Primary));
        }
        for (place, label) in &problem.also {
            marks.push((place, Some(label), AnnotationKind::Context));
        }
        let mut files: Vec<usize> = marks.iter().map(|(place, ..)| place.file).collect();
        files.dedup();
        for file in files {
            let Some(excerpt) = excerpts.get(file) else {
                continue;
            };
            let spans: Vec<_> = marks
                .iter()
                .filter(|(place, ..)| place.file == file)
                .map(|(place, label, kind)| (excerpt.map(place.start..place.end), *label, *kind))
                .collect();
            let window = excerpt.window(spans.iter().map(|(span, ..)| span));
            let mut snippet =
                Snippet::source(window.text).line_start(window.first_line).path(self.path_of(file));
            for (span, label, kind) in spans {
                let span = span.start - window.start..span.end - window.start;
                snippet = snippet.annotation(kind.span(span).label(label));
            }
            elements.push(snippet.into());
        }
        if elements.is_empty() {
            elements.push(Origin::path(self.path_of(problem.file)).into());
        }
        if let Some(help) = &problem.help {
            elements.push(Level::HELP.message(help).into());
        }
        let rendered = renderer.render(&[title.elements(elements)]);
        // The renderer pads some lines with blanks.
        rendered.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    fn one_to_json(&self, problem: &Problem) -> Value {
        let (file, position) = self.position(problem);
        let related: Vec<Value> = problem
            .also
            .iter()
            .map(|(place, label)| {
                let (line, column) = self.line_and_column(place);
                json!({ "file": self.path_of(place.file), "line": line, "column": column, "message": label })
            })
            .collect();
        json!({
            "file": file,
            "line": position.map(|(line, _)| line),
            "column": position.map(|(_, column)| column),
            "severity": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "id": problem.id,
            "message": problem.message,
            "help": problem.help,
            "related": related,
        })
    }

    fn count(&self) -> String {
        let files = self.problems.iter().map(|p| p.file).collect::<BTreeSet<_>>().len();
        let errors = self.problems.iter().filter(|p| p.severity == Severity::Error).count();
        let warnings = self.problems.len() - errors;
        let counted = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let what = match (errors, warnings) {
            (0, warnings) => counted(warnings, "warning"),
            (errors, 0) => counted(errors, "problem"),
            (errors, warnings) => {
                format!("{} and {}", counted(errors, "problem"), counted(warnings, "warning"))
            }
        };
        format!("{what} in {}", counted(files, "file"))
    }

    fn path_of(&self, file: usize) -> String {
        self.files.get(file).map(|source| source.path().display().to_string()).unwrap_or_default()
    }

    fn line_and_column(&self, place: &Place) -> (usize, usize) {
        let text = self.files.get(place.file).map(ConfigFile::contents).unwrap_or_default();
        debug_assert!(text.get(place.start..place.end).is_some(), "{place:?} is not in the text");
        let before = text.get(..place.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

impl fmt::Display for Report {
    /// Without a tail and without colour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render("", false).trim_end())
    }
}

impl std::error::Error for Report {}
