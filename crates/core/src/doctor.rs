//! What `roletap doctor` concludes from what was found: facts in, findings out. Pure.
//!
//! Gathering is the command's business. Each file here is about one thing that can be looked at.

pub mod consumer;
pub mod daemon;
pub mod environment;
pub mod file;
pub mod fronts;
pub mod host;
pub mod roles;
pub mod storage;

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::failure::explain::Advice;

/// How a finding counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The inspected part fails, or will fail.
    Failed,
    /// The inspected part is as it should be.
    Good,
    /// The finding is worth knowing, and neither good nor bad.
    Note,
    /// It works, and may not always.
    Warning,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The weight of the finding.
    pub mark: Mark,
    /// The stable name of the check, for programs.
    pub check: &'static str,
    /// A sentence that says what was found.
    pub what: String,
    /// The meaning, the person to ask and the change to make.
    pub advice: Option<Box<Advice>>,
}

/// A finding that needs advice, of which the change to make comes last.
#[derive(Debug)]
pub struct Unadvised {
    finding: Finding,
    advice: Advice,
}

/// The findings of `roletap doctor` about one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiagnosisSection {
    /// The subject, such as `this host`.
    pub title: String,
    /// In the order of looking.
    pub findings: Vec<Finding>,
}

/// All findings of `roletap doctor`, subject by subject.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnosis {
    /// In the order of looking.
    pub sections: Vec<DiagnosisSection>,
}

/// Characters that a finding has at most.
const LONGEST: usize = 2000;

/// The person at the keyboard.
pub const OPERATOR: &str = "the operator of this host";

impl Finding {
    /// Makes a finding about a part that is as it should be.
    pub fn good(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(Mark::Good, check, what)
    }

    /// Makes a finding that is worth knowing, and neither good nor bad.
    pub fn note(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(Mark::Note, check, what)
    }

    /// Begins a finding that works today and may not tomorrow.
    pub fn warning(check: &'static str, what: impl Into<String>) -> Unadvised {
        Unadvised::new(Mark::Warning, check, what)
    }

    /// Begins a finding that fails, or will.
    pub fn failed(check: &'static str, what: impl Into<String>) -> Unadvised {
        Unadvised::new(Mark::Failed, check, what)
    }

    fn new(mark: Mark, check: &'static str, what: impl Into<String>) -> Self {
        Self { mark, check, what: plain(&what.into()), advice: None }
    }
}

impl Unadvised {
    fn new(mark: Mark, check: &'static str, what: impl Into<String>) -> Self {
        let advice = Advice { ask: OPERATOR.to_owned(), ..Advice::default() };
        Self { finding: Finding::new(mark, check, what), advice }
    }

    /// Says the meaning of the finding.
    #[must_use]
    pub fn means(mut self, meaning: impl Into<String>) -> Self {
        self.advice.meaning = meaning.into();
        self
    }

    /// Names the person to ask, where that is not the operator of this host.
    #[must_use]
    pub fn ask(mut self, ask: impl Into<String>) -> Self {
        self.advice.ask = ask.into();
        self
    }

    /// Says the change to make, which completes the advice.
    pub fn change(mut self, change: impl Into<String>) -> Finding {
        self.advice.change = change.into();
        Finding { advice: Some(Box::new(self.advice)), ..self.finding }
    }

    /// Takes advice that somebody else has given.
    pub fn advised(self, advice: Box<Advice>) -> Finding {
        Finding { advice: Some(advice), ..self.finding }
    }
}

/// Without what a terminal obeys and in one line, for it may tell what a stranger answered; as much as a person reads.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut plain: String = text.chars().take(LONGEST).map(shown).collect();
    if text.chars().nth(LONGEST).is_some() {
        plain.push('…');
    }
    plain
}

impl Mark {
    /// As it stands in JSON, and before a line for people.
    fn shown(self) -> (&'static str, char) {
        match self {
            Self::Failed => ("failed", '✗'),
            Self::Good => ("good", '✓'),
            Self::Note => ("note", '·'),
            Self::Warning => ("warning", '!'),
        }
    }
}

impl Diagnosis {
    /// One more section, unless nothing was looked at.
    pub fn add(&mut self, title: impl Into<String>, findings: Vec<Finding>) {
        if !findings.is_empty() {
            self.sections.push(DiagnosisSection { title: title.into(), findings });
        }
    }

    /// How many findings count so.
    pub fn count(&self, mark: Mark) -> usize {
        let findings = self.sections.iter().flat_map(|section| &section.findings);
        findings.filter(|finding| finding.mark == mark).count()
    }

    /// Renders the report for people.
    pub fn text(&self) -> String {
        // Writing to a string cannot fail.
        let mut out = String::new();
        for section in &self.sections {
            let _ = writeln!(out, "{}", section.title);
            for finding in &section.findings {
                let _ = writeln!(out, "  {} {}", finding.mark.shown().1, finding.what);
                if let Some(advice) = &finding.advice {
                    let _ = writeln!(out, "      means:  {}", advice.meaning);
                    let _ = writeln!(out, "      ask:    {}", advice.ask);
                    let _ = writeln!(out, "      change: {}", advice.change);
                }
            }
            out.push('\n');
        }
        let sum = match (self.count(Mark::Failed), self.count(Mark::Warning)) {
            (0, 0) => "all is well".to_owned(),
            (0, warnings) => format!("nothing fails; to look at: {warnings}"),
            (failed, 0) => format!("failed: {failed}"),
            (failed, warnings) => format!("failed: {failed}; to look at: {warnings}"),
        };
        out + &sum + "\n"
    }

    /// For programs. Keys are added, never taken away or given another meaning; `format` says so if that must change.
    pub fn json(&self) -> Value {
        let finding = |finding: &Finding| {
            let advice = finding.advice.as_deref();
            json!({
                "check": finding.check,
                "result": finding.mark.shown().0,
                "what": finding.what,
                "meaning": advice.map(|advice| &advice.meaning),
                "ask": advice.map(|advice| &advice.ask),
                "change": advice.map(|advice| &advice.change),
            })
        };
        let sections: Vec<Value> = self
            .sections
            .iter()
            .map(|section| {
                let findings: Vec<Value> = section.findings.iter().map(finding).collect();
                json!({ "title": section.title, "findings": findings })
            })
            .collect();
        json!({
            "format": 1,
            "version": env!("CARGO_PKG_VERSION"),
            "failed": self.count(Mark::Failed),
            "warnings": self.count(Mark::Warning),
            "sections": sections,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_answered_moves_no_cursor_and_fills_no_screen() {
        let what = format!("it says\n  ✓ \u{1b}]0;x\u{7}{}", "A".repeat(100_000));
        let found = Finding::note("front", what).what;
        assert!(found.starts_with("it says\u{fffd}  ✓ \u{fffd}]0;x\u{fffd}AAA"), "{found}");
        assert_eq!(found.chars().count(), LONGEST + 1);
        assert!(found.ends_with('…'));
    }

    #[test]
    fn a_report_is_the_same_for_people_and_programs() {
        let mut report = Diagnosis::default();
        report.add("nothing", Vec::new());
        report.add(
            "the house",
            vec![
                Finding::good("roof", "the roof is tight"),
                Finding::failed("door", "the door is open")
                    .means("anybody comes in")
                    .ask("whoever has the key")
                    .change("shut it"),
            ],
        );
        assert_eq!(
            report.text(),
            "the house\n  ✓ the roof is tight\n  ✗ the door is open\n      means:  anybody comes in\n      \
             ask:    whoever has the key\n      change: shut it\n\nfailed: 1\n"
        );
        let json = report.json();
        assert_eq!(json["failed"], 1);
        assert_eq!(json["sections"][0]["findings"][1]["result"], "failed");
        assert_eq!(json["sections"][0]["findings"][0]["meaning"], Value::Null);
    }
}
