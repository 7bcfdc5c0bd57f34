//! `roletap exec`

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::env::{NO_PROXY, Settings, UNSET};
use super::fetch::DaemonResponse;
use super::{ExitStatus, Failure, load, role};

/// Between two looks at a role that is not there yet.
const PAUSE: Duration = Duration::from_millis(200);

/// Becomes the command, with a role.
pub fn exec(config: &Path, name: &str, wait: u64, command: &[OsString]) -> Result<(), Failure> {
    let loaded = load(config, "nothing was run")?;
    let role = role(&loaded.config, name)?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::usage("no command: `roletap exec ROLE -- CMD`"));
    };
    let settings = wait_for_settings(&loaded.config, role, Duration::from_secs(wait))?;
    let mut child = Command::new(program);
    child.args(arguments);
    for name in UNSET {
        child.env_remove(name);
    }
    for (name, value) in settings.variables() {
        if name.eq_ignore_ascii_case("NO_PROXY") {
            match std::env::var(name).unwrap_or_default() {
                before if before.is_empty() => child.env(name, NO_PROXY),
                before => child.env(name, format!("{before},{NO_PROXY}")),
            };
        } else {
            child.env(name, value.as_str());
        }
    }
    // Returns only if it failed.
    let error = child.exec();
    Err(Failure::io(&error, format!("cannot run {}", program.display())))
}

/// Some clients never ask twice: the command starts when its credentials are there.
fn wait_for_settings(
    config: &roletap_core::config::Config,
    role: &roletap_core::role::Role,
    wait: Duration,
) -> Result<Settings, Failure> {
    let deadline = tokio::time::Instant::now() + wait;
    let give_up = || tokio::time::Instant::now() >= deadline;
    loop {
        let failure = match Settings::of(config, role) {
            Ok(settings) if wait.is_zero() => return Ok(settings),
            Ok(settings) => match settings.ask() {
                Ok(DaemonResponse { status: 200, .. }) => return Ok(settings),
                Ok(answer) => answer.failure(&format!("no credentials of role {}", role.name)),
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        if give_up() || failure.status != ExitStatus::Unavailable {
            return Err(failure);
        }
        super::fetch::pause(PAUSE);
    }
}
