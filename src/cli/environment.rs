//! Our own environment, made safe before anything that signs starts.
//!
//! Without our own endpoint in it: else the daemon, or a helper that is started, would assume roles with what it vends. And with
//! loopback and the metadata addresses spared from any proxy: what goes there is no proxy's business, and holds secrets.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{CONTAINER_VARIABLES, Failure};

/// The names of the removed variables, for the process after re-execution.
const REMOVED: &str = "ROLETAP_REMOVED_VARIABLES";
/// The original NO_PROXY and no_proxy, as JSON, for the process after re-execution.
const SPARED_BEFORE: &str = "ROLETAP_NO_PROXY_BEFORE";
const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const LISTS: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// Hosts that must not be reached through a proxy.
const SPARED: [&str; 5] = ["localhost", "127.0.0.0/8", "::1", "169.254.169.254", "fd00:ec2::254"];

#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    remove: Vec<&'static str>,
    no_proxy: Option<String>,
}

/// Becomes the same process in a safe environment, unless it is safe already. Becoming oneself anew is the one way to
/// change an environment that is safe beside threads.
pub(super) fn reexec_sanitized() -> Result<(), Failure> {
    let changes = changes(&|name| std::env::var(name).ok());
    if changes == Changes::default() {
        return Ok(());
    }
    let cannot = |error| {
        let (unset, spared) = (CONTAINER_VARIABLES.join(", "), SPARED.join(", "));
        let cannot = "cannot change the environment of this process";
        Failure::io(&error, format!("{cannot}: unset {unset}, and spare {spared} by NO_PROXY"))
    };
    let mut again = Command::new(std::env::current_exe().map_err(cannot)?);
    again.args(std::env::args_os().skip(1));
    if !changes.remove.is_empty() {
        again.env(REMOVED, changes.remove.join(", "));
    }
    for name in &changes.remove {
        again.env_remove(name);
    }
    if let Some(no_proxy) = &changes.no_proxy {
        let before = LISTS.map(|name| std::env::var(name).ok());
        again
            .env(SPARED_BEFORE, serde_json::json!(before).to_string())
            .env("NO_PROXY", no_proxy)
            .env("no_proxy", no_proxy);
    }
    Err(cannot(again.exec()))
}

/// Returns the names of the variables that were removed, if there were any.
pub(super) fn removed_variables() -> Option<String> {
    std::env::var(REMOVED).ok()
}

/// Returns the variables of this process as they were before [`reexec_sanitized`] changed them.
pub(super) fn original() -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let lists = variables.remove(SPARED_BEFORE);
    let lists = lists.and_then(|text| serde_json::from_str::<[Option<String>; 2]>(&text).ok());
    for (name, list) in LISTS.into_iter().zip(lists.into_iter().flatten()) {
        match list {
            Some(list) => variables.insert(name.to_owned(), list),
            None => variables.remove(name),
        };
    }
    variables
}

fn changes(variable: &dyn Fn(&str) -> Option<String>) -> Changes {
    let is_set = |name: &&&str| variable(name).is_some();
    let remove = CONTAINER_VARIABLES.iter().filter(is_set).copied().collect();
    let proxied = PROXIES.iter().any(|name| variable(name).is_some_and(|value| !value.is_empty()));
    // The SDK reads the first of these that is set; helpers may read the other.
    let lists: Vec<String> = LISTS.into_iter().filter_map(variable).collect();
    let spares_all = |list: &String| {
        let spared: Vec<&str> = list.split(',').map(str::trim).collect();
        SPARED.iter().all(|name| spared.contains(name))
    };
    let safe = !proxied || (lists.len() == 2 && lists.iter().all(spares_all));
    Changes {
        remove,
        no_proxy: (!safe).then(|| {
            let own = lists.iter().flat_map(|list| list.split(','));
            let own = own.map(str::trim).filter(|name| !name.is_empty());
            let mut all: Vec<&str> = Vec::new();
            for name in own.chain(SPARED) {
                if !all.contains(&name) {
                    all.push(name);
                }
            }
            all.join(",")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(environment: &[(&str, &str)]) -> Changes {
        changes(&|name| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_safe_environment_is_left_alone_and_an_unsafe_one_is_safe_after_one_change() {
        assert_eq!(changed(&[("PATH", "/bin"), ("NO_PROXY", "x")]), Changes::default());
        let list =
            changed(&[("HTTPS_PROXY", "http://proxy"), ("no_proxy", "intra.example")]).no_proxy;
        let list = list.unwrap();
        assert!(list.starts_with("intra.example,localhost,127.0.0.0/8"), "{list}");
        let after = [("HTTPS_PROXY", "http://proxy"), ("NO_PROXY", &*list), ("no_proxy", &*list)];
        assert_eq!(changed(&after), Changes::default());
        let both = changed(&[
            ("HTTPS_PROXY", "http://proxy"),
            ("NO_PROXY", "one.example,two.example"),
            ("no_proxy", "two.example, three.example"),
        ]);
        let both = both.no_proxy.unwrap();
        let expected = "one.example,two.example,three.example,localhost,";
        assert!(both.starts_with(expected), "{both}");
        let removed = changed(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "x")]).remove;
        assert_eq!(removed, ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]);
    }
}
