//! A reload: read the files, and apply them in one store of the table.
//!
//! Reading happens on a thread of its own. A file on a network mount may hang for hours, and
//! meanwhile roles have to be refreshed, signals taken and Prometheus answered.

use std::path::Path;

use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::oneshot;

use super::{Daemon, callers, used_sources};
use crate::config_host;
use crate::metrics::Reload;
use crate::systemd;
use crate::tokens;
use roletap_core::config::{Config, Loaded};
use roletap_core::reload::{self, Summary};
use roletap_core::token_digest::Tokens;

/// Ends the report of a reload that changed nothing.
const UNCHANGED: &str = "everything goes on as it was";

/// The reload that is reading files, if there is one.
#[derive(Debug, Default)]
pub(super) struct Reading {
    outcome: Option<oneshot::Receiver<Outcome>>,
    /// True if another reload was asked for meanwhile: what is being read may be older than the
    /// files.
    again: bool,
}

/// The files of a reload, or the report of what is wrong with them.
pub(super) type Outcome = Result<(Loaded, Tokens), String>;

impl Reading {
    /// Waits until the files have been read; for ever, if none are being read. Cancel-safe.
    pub(super) async fn ended(&mut self) -> Outcome {
        let Some(outcome) = &mut self.outcome else {
            return std::future::pending().await;
        };
        let outcome = outcome.await;
        self.outcome = None;
        outcome.unwrap_or_else(|_| Err(format!("the configuration could not be read: {UNCHANGED}")))
    }
}

impl Daemon {
    /// Begins to read the configuration again; [`Daemon::reloaded`] applies it.
    pub(super) fn reload(&mut self) {
        self.audit.reopen();
        if self.reading.outcome.is_some() {
            tracing::warn!(
                "the files of the previous reload are still being read: check the file system of {}; this reload follows",
                self.path.display()
            );
            self.reading.again = true;
            return;
        }
        if self.ready {
            systemd::reloading();
        }
        tracing::info!(path = %self.path.display(), "reading the configuration again");
        let (send, outcome) = oneshot::channel();
        let (path, config) = (self.path.clone(), self.loaded.config.clone());
        let (tokens, clock) = (self.tokens.clone(), self.shared.local.clone());
        let (peers, inherited) = (self.shared.peers.clone(), self.inherited.clone());
        let reader = std::thread::Builder::new().name("reload".to_owned());
        // A thread that cannot be started drops its sender, which is an outcome, too.
        let _ = reader.spawn(move || {
            let outcome = read(&path, &config, &tokens, &clock);
            if let Ok((new, _)) = &outcome {
                callers::log_unknown_callers(&peers, &new.config, &inherited);
            }
            // Nobody listens to it any more when the daemon is on its way out.
            let _ = send.send(outcome);
        });
        self.reading.outcome = Some(outcome);
    }

    /// Applies what was read, whole. If anything is wrong with it, nothing changes.
    pub(super) fn reloaded(&mut self, outcome: Outcome) {
        match outcome {
            Ok((new, tokens)) => {
                if !new.warnings.is_empty() {
                    tracing::warn!("{}", new.warnings.render("", false).trim_end());
                }
                let Summary { kept, amended, restarted, started, stopped } =
                    self.apply(new, tokens);
                self.shared.metrics.reloaded(Reload::Applied);
                self.shared.metrics.config_loaded(self.shared.local.now());
                tracing::info!(kept, amended, restarted, started, stopped, "reloaded");
            }
            Err(report) => {
                self.shared.metrics.reloaded(Reload::Refused);
                tracing::error!("the configuration was not reloaded:\n{}", report.trim_end());
            }
        }
        if self.ready {
            systemd::ready(&self.summary());
        }
        if std::mem::take(&mut self.reading.again) {
            self.reload();
        }
    }

    fn apply(&mut self, new: Loaded, tokens: Tokens) -> Summary {
        let config = &new.config;
        let ctx =
            (self.loaded.config.sts != config.sts).then(|| self.shared.change_sts(&config.sts));
        // Before the roles: new ones sign with new sources.
        self.shared.sources.apply(used_sources(config));
        let summary = self.fleet.apply(config, &tokens, ctx);
        if let Some(snapshotter) = &self.snapshotter {
            snapshotter.set_tokens(tokens.clone());
        }
        self.shared.heartbeat.record_change();
        self.loaded = new;
        self.tokens = tokens;
        summary
    }
}

/// Reads all files of a reload. Changes nothing that runs.
fn read(path: &Path, old: &Config, tokens: &Tokens, clock: &SharedTimeSource) -> Outcome {
    let new = config_host::load(path).map_err(|report| report.render(UNCHANGED, false))?;
    let fixed = reload::not_reloadable(old, &new.config);
    if !fixed.is_empty() {
        let report = |key: &String| {
            let what = format!("`{key}` cannot change while roletap runs");
            new.problem_at(key, what, "restart the service, or put the old value back")
                .render(UNCHANGED, false)
        };
        return Err(fixed.iter().map(report).collect());
    }
    let tokens = tokens::prepare(&new.config, tokens, clock.now()).map_err(|problems| {
        let lines = problems.iter().map(|problem| format!("error: {problem}\n"));
        lines.chain([format!("{UNCHANGED}\n")]).collect::<String>()
    })?;
    Ok((new, tokens))
}
