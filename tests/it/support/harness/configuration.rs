//! The text of the configuration, and its changes while the daemon runs.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::{Daemon, arn};

/// What the configuration says beside addresses and paths; each field is TOML.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text {
    pub(crate) server: String,
    pub(crate) log: String,
    pub(crate) sts: String,
    pub(crate) defaults: String,
    /// Whole `[source.*]` tables.
    pub(crate) sources: String,
    /// Whole `[imds.*]` tables.
    pub(crate) fronts: String,
    /// By name, in order.
    pub(crate) roles: Vec<(String, String)>,
}

impl Text {
    /// Adds the role, or replaces its keys.
    pub(crate) fn set_role(&mut self, name: &str, keys: &str) {
        let keys = if keys.contains("role_arn") {
            format!("{keys}\n")
        } else {
            format!("role_arn = \"{}\"\n{keys}\n", arn(name))
        };
        match self.roles.iter_mut().find(|(known, _)| known == name) {
            Some((_, before)) => *before = keys,
            None => self.roles.push((name.to_owned(), keys)),
        }
    }

    /// Takes the role out.
    pub(crate) fn remove_role(&mut self, name: &str) {
        self.roles.retain(|(known, _)| known != name);
    }
}

impl Daemon {
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.home.path().join("roletap.toml")
    }

    pub(crate) fn token_path(&self, role: &str) -> PathBuf {
        self.home.path().join("tokens").join(role)
    }

    pub(crate) fn rendered(&self) -> String {
        let mut out = format!(
            "[server]\nlisten = [{}]\ntoken_dir = \"{}\"\n{}\n[admin]\nlisten = [\"{}\"]\n\n[log]\n{}\n[sts]\n\
             region = \"eu-central-1\"\nendpoint_url = \"{}\"\n{}\n[defaults]\n{}\n",
            self.listen,
            self.home.path().join("tokens").display(),
            self.text.server,
            self.admin.address,
            self.text.log,
            self.endpoint,
            self.text.sts,
            self.text.defaults,
        );
        out.push_str(&self.text.sources);
        out.push_str(&self.text.fronts);
        for (name, keys) in &self.text.roles {
            let _ = writeln!(out, "[role.{name}]\n{keys}");
        }
        out
    }

    pub(crate) fn write_config(&self) {
        std::fs::write(self.config_path(), self.rendered()).expect("to write the configuration");
    }

    /// Another STS, from the next configuration on.
    pub(crate) fn set_endpoint(&mut self, url: &str) {
        url.clone_into(&mut self.endpoint);
    }

    /// Writes the configuration and reloads it, which must be applied.
    pub(crate) fn reload(&self) {
        self.write_config();
        self.reload_as_it_is("applied");
    }

    /// SIGHUP, and waits until it has had this result.
    pub(crate) fn reload_as_it_is(&self, result: &str) {
        let count = |daemon: &Self| {
            daemon.metric("roletap_config_reloads_total", &[("result", result)]).unwrap_or_default()
        };
        let before = count(self);
        self.signal(Signal::SIGHUP);
        self.wait_until(&format!("the reload is {result}"), |daemon| {
            let now = count(daemon);
            (now > before).then_some(()).ok_or_else(|| format!("{before}, then {now}"))
        });
    }
}
