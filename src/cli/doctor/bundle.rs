//! What a helper needs to know, in one file, without secrets.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::Value;

use super::inspect;
use crate::cli::Failure;
use crate::cli::fetch::DaemonResponse;
use crate::tokens;
use roletap_core::config::{Config, redacted};
use roletap_core::doctor::Diagnosis;

/// In the place of a secret.
const HIDDEN: &str = "[hidden]";

/// The file, before anything is asked of anybody: readable for this user alone. One that is there already is left alone.
pub(super) fn open(path: &Path) -> Result<File, Failure> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::io(error, format!("cannot write {}", path.display()))
}

/// Writes the support bundle, without secrets.
pub(super) fn write(
    (path, mut file): (&Path, File),
    config_path: &Path,
    config: &Config,
    report: &Diagnosis,
    overview: Option<&Value>,
    metrics: Option<DaemonResponse>,
) -> Result<(), Failure> {
    let mut text = format!(
        "# roletap {} on {}, a report without secrets\n\n# findings\n\n{}\n{:#}\n\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        report.text(),
        report.json()
    );
    for path in config_files(config_path) {
        let content = std::fs::read_to_string(&path).unwrap_or_default();
        text.push_str(&format!("# {}\n\n{}\n", path.display(), redacted(&content)));
    }
    let none = || "the daemon did not answer".to_owned();
    let overview = overview.map_or_else(none, |overview| format!("{overview:#}"));
    let metrics =
        metrics.map_or_else(none, |answer| String::from_utf8_lossy(&answer.body).into_owned());
    text.push_str(&format!("# /roles\n\n{overview}\n\n# /metrics\n\n{metrics}\n"));
    for secret in secrets(config) {
        text = text.replace(&secret, HIDDEN);
    }
    file.write_all(text.as_bytes()).map_err(|error| cannot(path, &error))
}

/// The file, and those of conf.d beside it.
fn config_files(path: &Path) -> Vec<std::path::PathBuf> {
    let directory = path.parent().map(|parent| parent.join("conf.d"));
    let entries = directory.and_then(|directory| std::fs::read_dir(directory).ok());
    let mut files: Vec<_> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files.insert(0, path.to_owned());
    files
}

/// Every secret that can be known here, in case one stands where nobody expects it.
fn secrets(config: &Config) -> Vec<String> {
    let roles = || config.roles.values();
    let ids = roles().filter_map(|role| role.request.external_id.as_ref());
    let ids = ids.map(|id| id.as_str().to_owned());
    let paths = roles().filter_map(|role| tokens::path_of(config, role));
    let tokens = paths.filter_map(|path| inspect::token_text(&path));
    let tokens = tokens.map(|text| text.trim().to_owned());
    let base = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    let base = base.into_iter().filter_map(|name| std::env::var(name).ok());
    let mut secrets: Vec<String> = ids.chain(tokens).chain(base).collect();
    // A longer one may hold a shorter one; an empty one is everywhere.
    secrets.retain(|secret| secret.len() >= 2);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}
