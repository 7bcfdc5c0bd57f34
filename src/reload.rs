//! The plan between two configurations. Pure.
//!
//! A reload is whole or nothing, and the same file twice changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Config, Imds};
use crate::role::{Role, RoleName};

/// What a reload does to each role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// As before in every respect: slot, credentials, schedule and refresher go on.
    pub keep: Vec<RoleName>,
    /// The same request to STS under other settings: credentials and schedule go on in a new slot.
    pub amend: Vec<RoleName>,
    /// Another request to STS: what was issued for the old one must not be vended under the new.
    pub restart: Vec<RoleName>,
    /// New.
    pub start: Vec<RoleName>,
    /// Gone.
    pub stop: Vec<RoleName>,
}

/// What cannot change while the process runs.
pub fn not_reloadable(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    let mut differs = |key: &str, differs: bool| keys.extend(differs.then(|| key.to_owned()));
    differs("server.listen", old.server.listen != new.server.listen);
    differs("server.max_connections", old.server.max_connections != new.server.max_connections);
    differs("admin.listen", old.admin.listen != new.admin.listen);
    differs("log.format", old.log.format != new.log.format);
    differs("log.level", old.log.level != new.log.level);
    differs("log.audit", old.log.audit != new.log.audit);
    let fronts: BTreeSet<_> = old.imds.keys().chain(new.imds.keys()).collect();
    for name in fronts {
        let (before, after) = (old.imds.get(name), new.imds.get(name));
        let listen = |front: Option<&Imds>| front.map(|front| front.listen.clone());
        let hops = |front: Option<&Imds>| front.map(|front| front.hop_limit);
        let socket = |front: Option<&Imds>| front.map(|front| front.socket);
        if listen(before) != listen(after) {
            differs(&format!("imds.{name}.listen"), true);
        } else {
            differs(&format!("imds.{name}.hop_limit"), hops(before) != hops(after));
            differs(&format!("imds.{name}.socket"), socket(before) != socket(after));
        }
    }
    keys
}

/// What has to be done to get from `old` to `new`.
pub fn plan<'r>(
    old: impl Fn(&RoleName) -> Option<&'r Role>,
    old_names: impl Iterator<Item = &'r RoleName>,
    new: &BTreeMap<RoleName, Arc<Role>>,
) -> Plan {
    let mut plan = Plan::default();
    for (name, role) in new {
        let list = match old(name) {
            None => &mut plan.start,
            Some(before) if before == role.as_ref() => &mut plan.keep,
            Some(before) if before.same_request(role) => &mut plan.amend,
            Some(_) => &mut plan.restart,
        };
        list.push(name.clone());
    }
    plan.stop = old_names.filter(|name| !new.contains_key(*name)).cloned().collect();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::config;

    fn plan(old: &Config, new: &Config) -> Plan {
        super::plan(|name| old.roles.get(name).map(AsRef::as_ref), old.roles.keys(), &new.roles)
    }

    fn names(list: &[RoleName]) -> Vec<&str> {
        list.iter().map(RoleName::as_str).collect()
    }

    #[test]
    fn the_same_file_twice_changes_nothing() {
        let same = config(&["a", "b"], 3600, "");
        let plan = plan(&same, &same);
        assert_eq!(names(&plan.keep), ["a", "b"]);
        assert_eq!(plan, Plan { keep: plan.keep.clone(), ..Plan::default() });
    }

    #[test]
    fn every_role_has_one_fate() {
        let old = config(&["a", "b", "c"], 3600, "");
        let new = config(&["b", "c", "d"], 3600, "");
        let plan = plan(&old, &new);
        assert_eq!(names(&plan.keep), ["b", "c"]);
        assert_eq!(names(&plan.start), ["d"]);
        assert_eq!(names(&plan.stop), ["a"]);
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
            let plan = plan(&old, &config(&["a"], 3600, more));
            assert_eq!(names(&plan.restart), if restarts { vec!["a"] } else { vec![] }, "{more}");
            assert_eq!(names(&plan.amend), if restarts { vec![] } else { vec!["a"] }, "{more}");
        }
        assert_eq!(names(&plan(&old, &config(&["a"], 7200, "")).amend), ["a"]);
    }
}
