//! `roletap refresh`

use std::path::Path;

use super::fetch::ask_admin;
use super::{Failure, load, print, role};

/// Asks the daemon for an attempt now.
pub fn refresh(config: &Path, name: &str) -> Result<(), Failure> {
    let loaded = load(config, "nothing was asked")?;
    let role = role(&loaded.config, name)?;
    let answer = ask_admin(&loaded.config, "POST", &format!("/roles/{}/refresh", role.name))?;
    answer.expect(202, &format!("cannot refresh role {name}"))?;
    print(&format!(
        "asked for new credentials of role {name}; `roletap status` shows what came of it\n"
    ))
}
