//! A reload, carried out: read, plan, swap once, start and stop.

use std::sync::Arc;

use super::{Daemon, limits, surroundings};
use crate::config::{Config, Loaded};
use crate::lifecycle::RoleState;
use crate::metrics::Reload;
use crate::reload;
use crate::role::Role;
use crate::slots::{Slot, Table, Writer};
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
                self.metrics.config_loaded(self.clock.now());
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
            Tokens::prepare(&new.config, &self.tokens, self.clock.now()).map_err(|problems| {
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
        let plan = reload::plan(&self.loaded.config, &new.config);
        if plan.reissue {
            let queue = self.fleet.surroundings().queue.clone();
            queue.limit(limits(&new.config.sts));
            let (source, skew) = (&self.source, &self.skew);
            self.fleet.surround(surroundings(
                &new.config.sts,
                source,
                &self.clock,
                skew,
                &self.metrics,
                queue,
            ));
        }
        self.source.rebuild();
        let old = self.slots.load();
        let mut table = Table::default();
        let mut writers = Vec::new();
        for (name, role) in &new.config.roles {
            let before = old.slots.get(name);
            let (slot, writer) = match before {
                Some(slot) if plan.keep.contains(name) && !plan.reissue => (slot.clone(), None),
                Some(slot) if !plan.restart.contains(name) => self.successor(slot, role),
                _ => self.newcomer(role),
            };
            table.slots.insert(name.clone(), slot);
            writers.extend(writer);
        }
        table.open_with(&tokens);
        drop(old);
        let failing: Vec<Arc<Slot>> = table
            .slots
            .values()
            .filter(|slot| slot.state().failures().is_some())
            .cloned()
            .collect();
        self.slots.publish(table);
        for name in &plan.stop {
            self.fleet.stop(name);
        }
        writers
            .into_iter()
            .for_each(|writer| self.fleet.start(writer));
        // Somebody has just mended something: roles that fail try again at once.
        failing.iter().for_each(|slot| slot.hurry());
        self.vend.set_pending_wait(new.config.server.pending_wait);
        self.loaded = new;
        self.tokens = tokens;
        plan
    }

    /// A slot that goes on where `before` is, under other settings.
    fn successor(&self, before: &Slot, role: &Arc<Role>) -> (Arc<Slot>, Option<Writer>) {
        let state = RoleState::clone(&before.state()).presented_for(role);
        let (slot, writer) = Slot::new(
            role.clone(),
            state,
            before.counts.clone(),
            before.was_asked(),
        );
        (slot, Some(writer))
    }

    fn newcomer(&self, role: &Arc<Role>) -> (Arc<Slot>, Option<Writer>) {
        let counts = self.ledger.of(role.name.as_str());
        let (slot, writer) = Slot::new(role.clone(), RoleState::Pending, counts, false);
        (slot, Some(writer))
    }
}
