//! A reload, carried out: read, plan, swap once, start and stop.
//!
//! Reading happens on a thread of its own. A file on a network mount may hang for hours, and meanwhile roles have to be
//! refreshed, signals taken and Prometheus answered.

use std::path::Path;

use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::oneshot;

use super::{Daemon, Shared, callers, limits, surroundings, used_sources};
use crate::config::{Config, Loaded};
use crate::config_host;
use crate::metrics::Reload;
use crate::reload;
use crate::systemd;
use crate::tokens::Tokens;

/// Said of every reload that comes to nothing.
const UNCHANGED: &str = "everything goes on as it was";

/// A reload that is reading, or none.
#[derive(Debug, Default)]
pub(super) struct Reading {
    outcome: Option<oneshot::Receiver<Outcome>>,
    /// Somebody asked again meanwhile: what was read may be older than what they mean.
    again: bool,
}

/// What a reload has read, or the report of what is wrong with it.
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
    /// Begins to read the configuration again; [`Daemon::reloaded`] ends it.
    pub(super) fn reload(&mut self) {
        self.audit.reopen();
        if self.reading.outcome.is_some() {
            tracing::warn!(
                "the files of the last reload are still being read: is their file system well? This reload follows it"
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
        let (tokens, clock) = (self.tokens.clone(), self.local.clone());
        let (kernel, entrances) = (self.kernel.clone(), self.entrances.clone());
        let reader = std::thread::Builder::new().name("reload".to_owned());
        // A thread that cannot be started drops its sender, which is an outcome, too.
        let _ = reader.spawn(move || {
            let outcome = read(&path, &config, &tokens, &clock);
            if let Ok((new, _)) = &outcome {
                callers::look(&kernel, &new.config, &entrances);
            }
            // Nobody listens to it any more when the daemon is on its way out.
            let _ = send.send(outcome);
        });
        self.reading.outcome = Some(outcome);
    }

    /// One swap, or nothing: whatever is wrong with the new file, what runs goes on as it was.
    pub(super) fn reloaded(&mut self, outcome: Outcome) {
        match outcome {
            Ok((new, tokens)) => {
                if !new.warnings.is_empty() {
                    tracing::warn!("{}", new.warnings.render("", false).trim_end());
                }
                let plan = self.apply(new, tokens);
                self.metrics.reloaded(Reload::Applied);
                self.metrics.config_loaded(self.local.now());
                let (kept, amended, restarted) =
                    (plan.keep.len(), plan.amend.len(), plan.restart.len());
                tracing::info!(
                    kept,
                    amended,
                    restarted,
                    started = plan.start.len(),
                    stopped = plan.stop.len(),
                    "reloaded"
                );
            }
            Err(report) => {
                self.metrics.reloaded(Reload::Refused);
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

    fn apply(&mut self, new: Loaded, tokens: Tokens) -> reload::Plan {
        let around = (self.loaded.config.sts != new.config.sts).then(|| {
            let running = self.fleet.surroundings();
            let (queue, progress) = (running.queue.clone(), running.progress.clone());
            queue.limit(limits(&new.config.sts));
            let shared = Shared {
                sources: self.sources.clone(),
                slots: self.slots.clone(),
                local: self.local.clone(),
                skew: self.skew.clone(),
                metrics: self.metrics.clone(),
            };
            surroundings(&new.config.sts, shared, queue, progress)
        });
        // Before the roles: those that are new sign with what is new.
        self.sources.reshape(used_sources(&new.config));
        self.fronts.reshape(&new.config);
        let plan = self.fleet.reshape(&new.config.roles, &tokens, around);
        self.vend.set_pending_wait(new.config.server.pending_wait);
        if let Some(keeping) = &self.keeping {
            keeping.retoken(tokens.clone());
        }
        self.fleet.surroundings().progress.concluded();
        self.loaded = new;
        self.tokens = tokens;
        plan
    }
}

/// Everything of a reload that may wait for a file, and nothing that changes what runs.
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
    let tokens = Tokens::prepare(&new.config, tokens, clock.now()).map_err(|problems| {
        let lines = problems.iter().map(|problem| format!("error: {problem}\n"));
        lines.chain([format!("{UNCHANGED}\n")]).collect::<String>()
    })?;
    Ok((new, tokens))
}
