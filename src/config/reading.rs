//! What one reading of the files has gathered so far. Every reader adds to it, none looks back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::files::ConfigFile;
use super::host::{Directory, Host};
use super::problem::{Place, Problem};
use crate::role::InvalidValue;

/// What a reading of the files gathers on its way.
pub(super) struct Reading<'h> {
    pub(super) host: &'h dyn Host,
    pub(super) sources: &'h [ConfigFile],
    pub(super) problems: Vec<Problem>,
    /// Where each key's value was found: by section and key. The key "" is the section's header.
    pub(super) places: BTreeMap<(String, String), Place>,
    /// The keys that each kind of section knows.
    pub(super) known: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// Keys that nobody asked for.
    pub(super) unknown: Vec<Unknown>,
    /// Keys that are not there. Told only if none of the unknown ones was meant for it.
    pub(super) missing: Vec<(&'static str, Problem)>,
    /// Lints that somebody has looked at: by role and id.
    pub(super) accepted: BTreeSet<(String, String)>,
    /// Templates that name this host: by role and key.
    pub(super) names_host: BTreeSet<(String, &'static str)>,
    /// Users that were looked up, so that a thousand roles ask once.
    pub(super) users: BTreeMap<String, Result<u32, InvalidValue>>,
    /// Directories of files to be written, as far as they are there: looked at once, for a thousand roles too.
    pub(super) directories: BTreeMap<PathBuf, Directory>,
}

/// A key that nobody asked for.
pub(super) struct Unknown {
    /// `role`, for whichever role.
    pub(super) kind: &'static str,
    /// `role.orders`.
    pub(super) section: String,
    /// The section's own place.
    pub(super) header: Place,
    pub(super) key: String,
    pub(super) at: Place,
}

impl<'h> Reading<'h> {
    pub(super) fn new(host: &'h dyn Host, sources: &'h [ConfigFile]) -> Self {
        Self {
            host,
            sources,
            problems: Vec::new(),
            places: BTreeMap::new(),
            known: BTreeMap::new(),
            unknown: Vec::new(),
            missing: Vec::new(),
            accepted: BTreeSet::new(),
            names_host: BTreeSet::new(),
            users: BTreeMap::new(),
            directories: BTreeMap::new(),
        }
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(super) fn refuse(&mut self, at: &Place, subject: &str, refused: &InvalidValue) {
        self.problem(
            Problem::new(at.clone(), format!("{subject} {}", refused.what)).help(&refused.expected),
        );
    }

    pub(super) fn place(&self, section: &str, key: &str) -> Option<&Place> {
        self.places.get(&(section.to_owned(), key.to_owned()))
    }
}
