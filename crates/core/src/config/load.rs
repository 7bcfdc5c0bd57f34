//! Reads the files as a whole: which tables there are, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::diagnostics::{CONF_D, Diagnostics, Places, Problem, Report};
use super::keys::roles::Notes;
use super::keys::{Context, credentials_file, imds, log, roles, server, sources, sts};
use super::lint::{self, LintInput};
use super::resolve::credentials_file::Directories;
use super::toml::{self, FileTable, Layer, Section};
use super::{Config, ConfigFile, Host, Parsed, resolve};
use crate::role::RoleName;

/// A configuration, its warnings, and the place of each of its keys.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration itself.
    pub config: Config,
    /// The findings of all lints; often none.
    pub warnings: Report,
    files: Arc<[ConfigFile]>,
    places: Places,
}

impl Loaded {
    /// A report of one problem with a key, such as `server.listen`: for refusals that only the caller can know of.
    /// Points at the key's value, else at its section, else at the main file.
    pub fn problem_at(
        &self,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Report {
        let (section, name) = key.rsplit_once('.').unwrap_or((key, ""));
        let place = self.places.get(section, name).or_else(|| self.places.get(section, ""));
        let problem = Problem::new(place, message).help(help);
        Report::new(self.files.clone(), vec![problem])
    }

    /// The files this was read from, the main file first.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(ConfigFile::path)
    }
}

impl Config {
    /// Reads texts; the first is the main file. Every problem of all of them is in the one report.
    pub fn parse(files: Vec<ConfigFile>, host: &dyn Host) -> Result<Loaded, Report> {
        let files: Arc<[ConfigFile]> = files.into();
        let diagnostics = Diagnostics::new(&files);
        let documents = toml::parse(&files, &diagnostics);
        let read = read_config(&documents, host, &diagnostics);
        drop(documents);
        let (problems, places) = diagnostics.finish();
        let Some((config, notes, directories)) = read.filter(|_| problems.is_empty()) else {
            return Err(Report::new(files, problems));
        };
        let warnings = lint::run(&LintInput {
            config: &config,
            files: &files,
            places: &places,
            notes: &notes,
            directories: &directories,
        });
        Ok(Loaded { config, warnings: Report::new(files.clone(), warnings), files, places })
    }
}

type Read = (Config, BTreeMap<RoleName, Notes>, Directories);

fn read_config<'a>(
    documents: &'a [FileTable<'a>],
    host: &dyn Host,
    diagnostics: &'a Diagnostics<'a>,
) -> Option<Read> {
    let is_complete = documents.iter().all(Option::is_some);
    let main = documents.first().and_then(Option::as_ref).map(|main| Layer::from_document(0, main));
    let top = Section::new(diagnostics, "", "", main);
    let [server, admin, log, sts] = ["server", "admin", "log", "sts"].map(|key| top.section(key));
    let defaults = top.table("defaults");
    top.knows(&["imds", "role", "source"]);
    top.finish();

    let context = Context::read(host, &sts, main.is_some());
    let imds = imds::read(documents, &context, diagnostics);
    let (server, admin) = server::read(server, admin, &imds);
    let log = log::read(log);
    let sts = sts::read(sts, &context, main.is_some());
    for (file, document) in documents.iter().enumerate().skip(1) {
        let layer = document.as_ref().map(|document| Layer::from_document(file, document));
        let section = Section::new(diagnostics, CONF_D, "", layer);
        section.knows(&["role", "source"]);
        section.finish();
    }
    let sources = sources::read(documents, &context, diagnostics);
    let tables = toml::tables(documents, "role", RoleName::parse, diagnostics);
    // Where there was an attempt at a role, the problem with it has been told.
    let attempts = |document: &FileTable<'_>| {
        let role = document.as_ref().and_then(|table| table.get_ref().get("role"));
        let roles = role.map(|role| role.get_ref().as_table());
        roles.is_some_and(|roles| roles.is_none_or(|roles| !roles.is_empty()))
    };
    if is_complete && !documents.iter().any(attempts) {
        diagnostics.missing("role", no_role());
    }
    let names: BTreeSet<RoleName> = tables.iter().map(|(name, _)| name.clone()).collect();
    let (mut drafts, mut notes) = (BTreeMap::new(), BTreeMap::new());
    for (name, own) in tables {
        let layers = [Some(own), defaults].into_iter().flatten();
        let section = Section::new(diagnostics, "role", format!("role.{name}"), layers);
        let (draft, noted) = roles::read(&name, section, &context);
        notes.insert(name.clone(), noted);
        drafts.extend(draft.map(|draft| (name, draft)));
    }
    lint::check_accepted(&notes, diagnostics);
    if is_complete {
        imds.check_roles(&names, diagnostics);
    }
    let roles = resolve::chains::resolve(drafts, &sources, &names, is_complete, diagnostics);
    let directories = resolve::credentials_file::check(&roles, &server, host, diagnostics);
    learn_keys(defaults, &context, diagnostics);
    let sources = sources.into_iter().filter_map(|(name, source)| Some((name, source?))).collect();
    let config =
        Config { server, admin, log, imds: imds.all, sts: sts?, sources, roles, _parsed: Parsed };
    Some((config, notes, directories))
}

/// Learns the keys of the sections that each kind may have, so that a report can name them, and finds the keys of
/// `[defaults]` that no role knows. The problems with the values in it were told by the roles themselves.
fn learn_keys(defaults: Option<Layer<'_>>, context: &Context<'_>, diagnostics: &Diagnostics<'_>) {
    let scratch = diagnostics.scratch();
    sources::learn_keys(context, &scratch);
    imds::learn_keys(context, &scratch);
    roles::learn_keys(Section::new(&scratch, "role", "role", None), context);
    if let Some(layer) = defaults {
        let section = Section::new(diagnostics, "defaults", "defaults", [layer]);
        section.refuse_key(
            "role_arn",
            "`role_arn` in [defaults] would make every role the same".to_owned(),
            "give each [role.NAME] its own",
        );
        credentials_file::refuse_in_defaults(&section);
        roles::learn_keys(Section::new(&scratch, "defaults", "defaults", [layer]), context);
    }
    diagnostics.adopt_keys(scratch);
}

fn no_role() -> Problem {
    Problem::for_file(0, "no role is configured, so there is nothing to vend").help(concat!(
        "add these three lines, with your own name, ARN and external id if the role asks for one:\n",
        "[role.orders]\n",
        "role_arn = \"arn:aws:iam::111122223333:role/orders\"\n",
        "external_id = \"…\"",
    ))
}
