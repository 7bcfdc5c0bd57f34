//! Reads the files as a whole: which tables there are, and what becomes of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use super::documents::{self, Document};
use super::files::{self, ConfigFile};
use super::host::{Host, ThisHost};
use super::problem::{Place, Problem, Report};
use super::reading::Reading;
use super::roles::{self, StsFacts};
use super::section::Section;
use super::value::Layer;
use super::{
    Admin, Config, Parsed, chains, credentials_file, hint, imds, lint, named, settings, sources,
};
use crate::role::RoleName;

/// A configuration, what deserves a look in it, and where each of its keys was written.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Lints; often empty.
    pub warnings: Report,
    sources: Arc<[ConfigFile]>,
    places: BTreeMap<(String, String), Place>,
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
        let place =
            |section: &str, name: &str| self.places.get(&(section.to_owned(), name.to_owned()));
        let problem = match place(section, name).or_else(|| place(section, "")) {
            Some(place) => Problem::new(place.clone(), message),
            None => Problem::of_file(0, message),
        };
        Report::new(self.sources.clone(), vec![problem.help(help)])
    }

    /// The files this was read from, the main file first.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(ConfigFile::path)
    }
}

impl Config {
    /// Reads the file at `path`, and `conf.d/*.toml` beside it, on this machine.
    pub fn load(path: &Path) -> Result<Loaded, Report> {
        Self::parse(files::read_all(path), &ThisHost)
    }

    /// Reads texts; the first is the main file. Every problem of all of them is in the one report.
    pub fn parse(sources: Vec<ConfigFile>, host: &dyn Host) -> Result<Loaded, Report> {
        let sources: Arc<[ConfigFile]> = sources.into();
        let mut reading = Reading::new(host, &sources);
        let documents = documents::parse(&sources, &mut reading);
        let config = read_config(&documents, &mut reading);
        explain_unknown_keys(&mut reading);
        match config {
            Some(config) if reading.problems.is_empty() => {
                let warnings = lint::lint(&config, &reading);
                let places = reading.places;
                Ok(Loaded {
                    config,
                    warnings: Report::new(sources.clone(), warnings),
                    places,
                    sources,
                })
            }
            Some(_) | None => {
                let problems = reading.problems;
                Err(Report::new(sources, problems))
            }
        }
    }
}

fn read_config<'a>(documents: &'a [Document<'a>], reading: &mut Reading<'_>) -> Option<Config> {
    let whole = documents.iter().all(Option::is_some);
    let main = documents.first().and_then(Option::as_ref);
    let mut top = Section::new("", "", main.map(|table| layer(0, table)).into_iter().collect());
    let mut server = top.section("server", reading);
    let mut admin = top.section("admin", reading);
    let log = top.section("log", reading);
    let mut sts = top.section("sts", reading);
    let defaults = top.table("defaults", reading);
    top.knows("imds");
    top.knows("role");
    top.knows("source");
    top.finish(reading);

    let mut facts = settings::read_sts_facts(&mut sts, reading);
    if main.is_none() {
        // What the broken file says of STS is unknown: do not hold it against the roles of other files.
        facts.custom_endpoint = true;
        facts.unsafe_short_sessions = true;
    }
    let fronts = imds::read(documents, &facts, reading);
    let listeners = settings::Listeners::read(&mut server, &mut admin, &fronts, reading);
    let server = settings::read_server(server, listeners.server, reading);
    admin.finish(reading);
    let log = settings::read_log(log, reading);
    let sts = settings::read_sts(sts, &facts, main.is_some(), reading);

    for (file, document) in documents.iter().enumerate().skip(1) {
        if let Some(document) = document {
            refuse_keys_of_main(file, document, reading);
        }
    }
    let sources = sources::read(documents, &facts, reading);
    let tables = named::tables::<RoleName>(documents, reading);
    // Where there was an attempt at a role, the problem with it has been told.
    let attempted = |document: &Spanned<DeTable<'_>>| {
        let role = document.get_ref().get("role").map(Spanned::get_ref);
        role.is_some_and(|role| role.as_table().is_none_or(|roles| !roles.is_empty()))
    };
    if whole && !documents.iter().flatten().any(attempted) {
        reading.missing.push(("role", no_role()));
    }
    let names = tables.iter().map(|(name, _)| name.clone()).collect();
    let mut drafts = BTreeMap::new();
    for (name, own) in tables {
        let layers = [Some(own), defaults.clone()].into_iter().flatten().collect();
        let mut section = Section::new("role", format!("role.{name}"), layers);
        if let Some(draft) = roles::read(&name, &mut section, &facts, reading) {
            drafts.insert(name, draft);
        }
        section.finish(reading);
    }
    if whole {
        fronts.check_roles(&names, reading);
    }
    let roles = chains::tie(drafts, &sources, &names, whole, reading);
    credentials_file::check(&roles, &server, reading);
    sources::learn_keys(&facts, reading);
    imds::learn_keys(&facts, reading);
    close_defaults(defaults, &facts, reading);
    Some(Config {
        server,
        admin: Admin { listen: listeners.admin },
        log,
        imds: fronts.all,
        sts: sts?,
        sources: sources.into_iter().filter_map(|(name, source)| Some((name, source?))).collect(),
        roles,
        _parsed: Parsed,
    })
}

const MAIN_ONLY: [&str; 6] = ["server", "admin", "imds", "log", "sts", "defaults"];

fn refuse_keys_of_main<'a>(
    file: usize,
    document: &'a Spanned<DeTable<'a>>,
    reading: &mut Reading<'_>,
) {
    let mut section = Section::new(hint::CONF_D, "", vec![layer(file, document)]);
    section.knows("role");
    section.knows("source");
    for key in MAIN_ONLY {
        if let Some((name, _)) = document.get_ref().get_key_value(key) {
            reading.problem(
                Problem::new(Place::new(file, name.span()), format!("[{key}] may stand in the main file only"))
                    .help("files in conf.d add [role.*] and [source.*]: move the section to the main file"),
            );
        }
    }
    section.finish(reading);
    reading.unknown.retain(|unknown| {
        unknown.kind != hint::CONF_D || !MAIN_ONLY.contains(&unknown.key.as_str())
    });
}

/// Each role has read the values in `[defaults]`. What is left is to find the keys that no role knows,
/// and to learn the keys of a role where there is none.
fn close_defaults(defaults: Option<Layer<'_>>, facts: &StsFacts, reading: &mut Reading<'_>) {
    let Ok(name) = RoleName::parse("defaults") else {
        return;
    };
    // Read as a role for its questions alone; the problems were told by the roles themselves.
    let mut scratch = Reading::new(reading.host, reading.sources);
    let mut any_role = Section::new("role", "role", Vec::new());
    roles::read(&name, &mut any_role, facts, &mut scratch);
    any_role.finish(reading);
    let Some(defaults) = defaults else { return };
    if let Some((name, _)) = defaults.table.get_key_value("role_arn") {
        reading.problem(
            Problem::new(
                Place::new(defaults.header.file, name.span()),
                "`role_arn` in [defaults] would make every role the same",
            )
            .help("give each [role.NAME] its own"),
        );
    }
    let mut section = Section::new("defaults", "defaults", vec![defaults]);
    credentials_file::refuse_in_defaults(&section, reading);
    roles::read(&name, &mut section, facts, &mut scratch);
    section.finish(reading);
}

fn no_role() -> Problem {
    Problem::of_file(0, "no role is configured, so there is nothing to vend").help(concat!(
        "add these three lines, with your own name, ARN and external id if the role asks for one:\n",
        "[role.orders]\n",
        "role_arn = \"arn:aws:iam::111122223333:role/orders\"\n",
        "external_id = \"…\"",
    ))
}

fn layer<'a>(file: usize, table: &'a Spanned<DeTable<'a>>) -> Layer<'a> {
    Layer { header: Place::new(file, table.span()), table: table.get_ref() }
}

fn explain_unknown_keys(reading: &mut Reading<'_>) {
    let mut missing = std::mem::take(&mut reading.missing);
    for unknown in std::mem::take(&mut reading.unknown) {
        let (header, at_top) = (unknown.header.clone(), unknown.kind.is_empty());
        let (problem, meant) = hint::problem(unknown, &reading.known);
        // One slip, one problem: `arn` is a misspelt `role_arn`, not that and a missing one.
        missing.retain(|(key, missing)| Some(*key) != meant || !(at_top || missing.is_at(&header)));
        reading.problem(problem);
    }
    reading.problems.extend(missing.into_iter().map(|(_, problem)| problem));
}
