//! A reload, carried out: read, plan, swap once, start and stop.

use super::{Daemon, limits, surroundings};
use crate::config::{Config, Loaded};
use crate::metrics::Reload;
use crate::reload;
use crate::systemd;
use crate::tokens::Tokens;

impl Daemon {
    /// One swap, or nothing: whatever is wrong with the new file, what runs goes on as it was.
    pub(super) fn reload(&mut self) {
        if self.ready {
            systemd::reloading();
        }
        self.audit.reopen();
        match self.try_reload() {
            Ok(plan) => {
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
    }

    fn try_reload(&mut self) -> Result<reload::Plan, String> {
        let unchanged = "everything goes on as it was";
        let new = Config::load(&self.path).map_err(|report| report.render(unchanged, false))?;
        let fixed = reload::not_reloadable(&self.loaded.config, &new.config);
        if !fixed.is_empty() {
            let report = |key: &&str| {
                let what = format!("`{key}` cannot change while roletap runs");
                new.problem_at(key, what, "restart the service, or put the old value back")
                    .render(unchanged, false)
            };
            return Err(fixed.iter().map(report).collect());
        }
        let tokens =
            Tokens::prepare(&new.config, &self.tokens, self.local.now()).map_err(|problems| {
                let lines = problems.iter().map(|problem| format!("error: {problem}\n"));
                lines.chain([format!("{unchanged}\n")]).collect::<String>()
            })?;
        let warnings = new.warnings.render("", false);
        if !new.warnings.is_empty() {
            tracing::warn!("{}", warnings.trim_end());
        }
        Ok(self.apply(new, tokens))
    }

    fn apply(&mut self, new: Loaded, tokens: Tokens) -> reload::Plan {
        let around = (self.loaded.config.sts != new.config.sts).then(|| {
            let running = self.fleet.surroundings();
            let (queue, progress) = (running.queue.clone(), running.progress.clone());
            queue.limit(limits(&new.config.sts));
            let (source, skew) = (&self.source, &self.skew);
            surroundings(
                &new.config.sts,
                source,
                &self.local,
                skew,
                &self.metrics,
                queue,
                progress,
            )
        });
        self.source.rebuild();
        let plan = self.fleet.reshape(&new.config.roles, &tokens, around);
        self.vend.set_pending_wait(new.config.server.pending_wait);
        if let Some(keeping) = &self.keeping {
            keeping.reshaped(tokens.clone());
        }
        self.loaded = new;
        self.tokens = tokens;
        plan
    }
}
