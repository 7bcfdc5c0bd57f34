//! The collector of everything that one reading of the files finds. Every reader adds to it, and none looks back.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::problem::{Place, Problem};
use super::unknown_key::{KnownKeys, UnknownKey};
use crate::config::ConfigFile;
use crate::role::{InvalidValue, RoleName};

/// The place of each key's value, by section and key. The key "" is the section's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(BTreeMap<(String, String), Place>);

impl Places {
    pub(crate) fn get(&self, section: &str, key: &str) -> Option<Place> {
        self.0.get(&(section.to_owned(), key.to_owned())).copied()
    }

    pub(crate) fn of_role(&self, role: &RoleName, key: &str) -> Option<Place> {
        self.get(&format!("role.{role}"), key)
    }
}

/// Collects problems behind a shared reference, so that every reader can hold one.
#[derive(Default)]
pub(crate) struct Diagnostics<'f> {
    files: &'f [ConfigFile],
    problems: RefCell<Vec<Problem>>,
    places: RefCell<Places>,
    known: RefCell<KnownKeys>,
    unknown: RefCell<Vec<UnknownKey>>,
    /// Told only if none of the unknown keys was meant for it.
    missing: RefCell<Vec<(&'static str, Problem)>>,
}

impl<'f> Diagnostics<'f> {
    pub(crate) fn new(files: &'f [ConfigFile]) -> Self {
        Self { files, ..Self::default() }
    }

    pub(crate) fn emit(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// `subject` is what the two phrases of `invalid` are about: mostly a key in backticks.
    pub(crate) fn invalid(&self, at: Place, subject: &str, invalid: &InvalidValue) {
        let message = format!("{subject} {}", invalid.what);
        self.emit(Problem::new(at, message).help(&invalid.expected));
    }

    /// The value, or `None` and a problem.
    pub(crate) fn accept<T>(
        &self,
        at: Place,
        subject: &str,
        value: Result<T, InvalidValue>,
    ) -> Option<T> {
        value.map_err(|invalid| self.invalid(at, subject, &invalid)).ok()
    }

    pub(crate) fn missing(&self, key: &'static str, problem: Problem) {
        self.missing.borrow_mut().push((key, problem));
    }

    pub(crate) fn found(&self, section: &str, key: &str, at: Place) {
        self.places.borrow_mut().0.insert((section.to_owned(), key.to_owned()), at);
    }

    pub(crate) fn place(&self, section: &str, key: &str) -> Option<Place> {
        self.places.borrow().get(section, key)
    }

    /// The place of a role's key.
    pub(crate) fn role_place(&self, role: &RoleName, key: &str) -> Option<Place> {
        self.places.borrow().of_role(role, key)
    }

    pub(crate) fn known(&self, kind: &'static str, keys: BTreeSet<&'static str>) {
        self.known.borrow_mut().entry(kind).or_default().extend(keys);
    }

    pub(crate) fn unknown(&self, key: UnknownKey) {
        self.unknown.borrow_mut().push(key);
    }

    /// A relative path is meant from the file that it is written in, wherever the daemon was started.
    pub(crate) fn resolve(&self, path: &str, at: Place) -> PathBuf {
        let base = self.files.get(at.file).and_then(|file| file.path().parent());
        base.unwrap_or(Path::new("")).join(path)
    }

    /// A collector for a reading that only asks which keys there are: see [`Self::adopt_keys`].
    pub(crate) fn scratch(&self) -> Self {
        Self::new(self.files)
    }

    /// Takes over the known and unknown keys of a scratch collector, and drops its problems.
    pub(crate) fn adopt_keys(&self, scratch: Diagnostics<'_>) {
        for (kind, keys) in scratch.known.into_inner() {
            self.known(kind, keys);
        }
        self.unknown.borrow_mut().extend(scratch.unknown.into_inner());
    }

    /// Everything that was found, with a problem for each unknown and each missing key.
    pub(crate) fn finish(self) -> (Vec<Problem>, Places) {
        let mut problems = self.problems.into_inner();
        let mut missing = self.missing.into_inner();
        let known = self.known.into_inner();
        for unknown in self.unknown.into_inner() {
            let (header, at_top) = (unknown.header, unknown.kind.is_empty());
            let (problem, meant) = unknown.explain(&known);
            // One slip, one problem: `arn` is a misspelt `role_arn`, not that and a missing one.
            missing
                .retain(|(key, missing)| Some(*key) != meant || !(at_top || missing.is_at(header)));
            problems.push(problem);
        }
        problems.extend(missing.into_iter().map(|(_, problem)| problem));
        (problems, self.places.into_inner())
    }
}
