//! The plan from one configuration to the next. Pure.
//!
//! A reload applies the whole file or nothing of it, and the same file twice changes nothing. The
//! plan is carried out as it is: nobody decides again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Config, Imds};
use crate::role::{Role, RoleName};

/// The change that a reload makes to each role. `S` is what runs for a role.
#[derive(Debug)]
pub struct Plan<'p, S> {
    /// The change of every role of the new configuration.
    pub changes: Vec<(&'p Arc<Role>, Change<'p, S>)>,
    /// Roles that the new configuration lacks.
    pub stop: Vec<&'p S>,
}

/// The change that a reload makes to one role.
#[derive(Debug)]
pub enum Change<'p, S> {
    /// The role is the same: slot, credentials, schedule and refresher go on.
    Keep(&'p S),
    /// The request to STS is the same, other settings differ: credentials and schedule go on in a
    /// new slot.
    Amend(&'p S),
    /// The request to STS differs: credentials of the old one must not be vended under the new one.
    Restart,
    /// The role is new: its refresher starts.
    Start,
}

/// The number of roles with each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Number of roles that go on with their slot.
    pub kept: usize,
    /// Number of roles that go on in a new slot.
    pub amended: usize,
    /// Number of roles that ask STS for something else.
    pub restarted: usize,
    /// Number of new roles.
    pub started: usize,
    /// Number of removed roles.
    pub stopped: usize,
}

/// Returns the keys that differ and cannot change while the process runs.
pub fn not_reloadable(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    let mut differs = |key: &str, differs: bool| keys.extend(differs.then(|| key.to_owned()));
    differs("server.listen", old.server.listen != new.server.listen);
    differs("server.max_connections", old.server.max_connections != new.server.max_connections);
    differs("admin.listen", old.admin.listen != new.admin.listen);
    differs("log.format", old.log.format != new.log.format);
    differs("log.level", old.log.level != new.log.level);
    differs("log.audit", old.log.audit != new.log.audit);
    let names: BTreeSet<_> = old.imds.keys().chain(new.imds.keys()).collect();
    for name in names {
        let (before, after) = (old.imds.get(name), new.imds.get(name));
        let listen = |imds: Option<&Imds>| imds.map(|imds| imds.listen.clone());
        let hops = |imds: Option<&Imds>| imds.map(|imds| imds.hop_limit);
        let socket = |imds: Option<&Imds>| imds.map(|imds| imds.socket);
        if listen(before) != listen(after) {
            differs(&format!("imds.{name}.listen"), true);
        } else {
            differs(&format!("imds.{name}.hop_limit"), hops(before) != hops(after));
            differs(&format!("imds.{name}.socket"), socket(before) != socket(after));
        }
    }
    keys
}

/// Plans the way from what runs to `new`.
pub fn plan<'p, S>(
    running: &'p BTreeMap<RoleName, S>,
    role_of: impl Fn(&S) -> &Role,
    new: &'p BTreeMap<RoleName, Arc<Role>>,
) -> Plan<'p, S> {
    let change = |(name, role): (_, &'p Arc<Role>)| {
        let change = match running.get(name) {
            None => Change::Start,
            Some(old) if role_of(old) == role.as_ref() => Change::Keep(old),
            Some(old) if role_of(old).same_request(role) => Change::Amend(old),
            Some(_) => Change::Restart,
        };
        (role, change)
    };
    let gone = running.iter().filter(|(name, _)| !new.contains_key(*name));
    Plan { changes: new.iter().map(change).collect(), stop: gone.map(|(_, old)| old).collect() }
}

impl<S> Plan<'_, S> {
    /// Counts the changes of the plan by kind.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary { stopped: self.stop.len(), ..Summary::default() };
        for (_, change) in &self.changes {
            *match change {
                Change::Keep(_) => &mut summary.kept,
                Change::Amend(_) => &mut summary.amended,
                Change::Restart => &mut summary.restarted,
                Change::Start => &mut summary.started,
            } += 1;
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::config;

    /// The roles that are kept, amended, restarted, started and stopped.
    fn plan(old: &Config, new: &Config) -> [Vec<String>; 5] {
        let plan = super::plan(&old.roles, AsRef::as_ref, &new.roles);
        let mut lists: [Vec<String>; 5] = Default::default();
        for (role, change) in &plan.changes {
            let list = match change {
                Change::Keep(_) => 0,
                Change::Amend(_) => 1,
                Change::Restart => 2,
                Change::Start => 3,
            };
            lists[list].push(role.name.to_string());
        }
        lists[4] = plan.stop.iter().map(|role| role.name.to_string()).collect();
        let Summary { kept, amended, restarted, started, stopped } = plan.summary();
        let counts = [kept, amended, restarted, started, stopped];
        assert_eq!(lists.each_ref().map(Vec::len), counts);
        lists
    }

    #[test]
    fn the_same_file_twice_changes_nothing() {
        let same = config(&["a", "b"], 3600, "");
        let [kept, others @ ..] = plan(&same, &same);
        assert_eq!(kept, ["a", "b"]);
        assert!(others.iter().all(Vec::is_empty), "{others:?}");
    }

    #[test]
    fn every_role_has_one_fate() {
        let old = config(&["a", "b", "c"], 3600, "");
        let new = config(&["b", "c", "d"], 3600, "");
        let [kept, amended, restarted, started, stopped] = plan(&old, &new);
        assert_eq!(
            (kept, started, stopped),
            (vec!["b".into(), "c".into()], vec!["d".into()], vec!["a".into()])
        );
        assert!(amended.is_empty() && restarted.is_empty());
    }

    #[test]
    fn another_request_starts_anew_and_other_settings_do_not() {
        let old = config(&["a"], 3600, "");
        for (more, restarts) in [
            ("external_id = \"ws-1\"", true),
            ("role_session_name = \"other\"", true),
            (
                "policy = '{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"*\"}]}'",
                true,
            ),
            ("tags = { Team = \"x\" }", true),
            ("source_identity = \"someone\"", true),
            ("account_id = true", false),
            ("on_denied = \"drop\"", false),
            ("min_remaining = \"40m\"", false),
            ("required = false", false),
            ("token_group = \"x\"", false),
            ("credentials_file = \"/run/roletap/files/a\"", false),
        ] {
            let [_, amended, restarted, ..] = plan(&old, &config(&["a"], 3600, more));
            let (is_one, is_none) =
                if restarts { (restarted, amended) } else { (amended, restarted) };
            assert_eq!(is_one, ["a"], "{more}");
            assert!(is_none.is_empty(), "{more}");
        }
        assert_eq!(plan(&old, &config(&["a"], 7200, ""))[1], ["a"]);
    }
}
