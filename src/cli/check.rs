//! The command `roletap check`.

use std::path::Path;

use super::{CheckFormat, ExitStatus, Failure, in_color, load, print};
use crate::config_host;
use crate::peer::PeerLookup;
use roletap_core::config::{Check, Config, refusal_json};

/// Reports every problem, or what was understood.
pub fn check(config: &Path, format: CheckFormat, hosts: u64) -> Result<(), Failure> {
    match format {
        CheckFormat::Text => {
            let loaded = load(config, "roletap would not start with this configuration")?;
            print(&Check::new(&loaded, hosts).text(in_color(std::io::stdout())))?;
            match callers_unseen(&loaded.config) {
                Some(why) => print(&format!("warning: {why}\n")),
                None => Ok(()),
            }
        }
        CheckFormat::Json => match config_host::load(config) {
            Ok(loaded) => {
                let mut found = Check::new(&loaded, hosts).json();
                found["callers_error"] = callers_unseen(&loaded.config).into();
                print(&format!("{found:#}\n"))
            }
            Err(report) => {
                print(&format!("{:#}\n", refusal_json(&report)))?;
                Err(Failure { status: ExitStatus::Config, message: String::new() })
            }
        },
    }
}

/// The reason why roles with demands on callers would be refused to everybody on this host, if there is one.
pub(super) fn callers_unseen(config: &Config) -> Option<String> {
    let mut keys = config.roles.values().flat_map(|role| role.callers.keys());
    let key = keys.next()?;
    let units = key == "allow_units" || keys.any(|key| key == "allow_units");
    let no_units = || PeerLookup::no_units().filter(|_| units).map(str::to_owned);
    let why = PeerLookup::default().open().err().or_else(no_units)?;
    Some(format!(
        "roles with `allow_users` or `allow_units` would be refused to everybody here: {why}"
    ))
}
