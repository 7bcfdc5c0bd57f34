//! Roles, credentials and errors for tests, of this crate and of the daemon.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made is a failed test")]
#![cfg_attr(
    not(test),
    expect(clippy::panic, reason = "a fixture that cannot be made is a failed test")
)]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::{Config, ConfigFile, FixedHost};
use crate::credentials::{Credentials, Grant, Secret};
use crate::failure::{Class, IssueError};
use crate::role::{CallerPolicy, Role, UnitName, User};

/// The start of every simulation, in seconds since 1970.
pub const DAWN: u64 = 1_790_000_000;

/// The time `seconds` after [`DAWN`].
pub fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(DAWN + seconds)
}

/// A configuration of these `[role.*]` names, one account, `duration_seconds` each.
pub fn config(names: &[&str], duration_seconds: u32, more: &str) -> Config {
    let mut text = String::from("[sts]\nregion = \"eu-central-1\"\nunsafe_short_sessions = true\n");
    for name in names {
        text.push_str(&format!(
            "[role.{name}]\nrole_arn = \"arn:aws:iam::111122223333:role/{name}\"\nduration_seconds = {duration_seconds}\n{more}\n"
        ));
    }
    Config::parse(vec![ConfigFile::text("roletap.toml", text)], &FixedHost::default())
        .unwrap_or_else(|report| panic!("{}", report.render("", false)))
        .config
}

/// A role with `duration_seconds`.
pub fn role(name: &str, duration_seconds: u32) -> Arc<Role> {
    config(&[name], duration_seconds, "").roles.into_values().next().unwrap()
}

/// Credentials that STS would issue at `now` for `lifetime`.
pub fn credentials(role: &Role, now: SystemTime, lifetime: Duration, serial: u64) -> Credentials {
    Credentials::new(&grant(serial, Some(now + lifetime)), role, now).unwrap()
}

/// A grant of STS whose access key id ends with `serial`.
pub fn grant(serial: u64, expires_at: Option<SystemTime>) -> Grant {
    Grant {
        access_key_id: format!("ASIA{serial:016}"),
        secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
        session_token: Secret::new("FwoGZXIvYXdzEJr//".repeat(50)),
        expires_at,
        session_token_utilization: Some(25),
    }
}

/// A failure of `class`, with the status that such an answer has.
pub fn error(class: Class) -> IssueError {
    let answered = !matches!(class, Class::Network | Class::Source);
    IssueError { status: answered.then_some(403), ..IssueError::new(class, "as scripted") }
}

/// A policy for these users and units; an empty list demands nothing.
pub fn callers(users: &[u32], units: &[&str]) -> CallerPolicy {
    let user = |uid: &u32| User { name: uid.to_string(), uid: *uid };
    let unit = |name: &&str| UnitName::parse(name).unwrap();
    CallerPolicy {
        users: (!users.is_empty()).then(|| users.iter().map(user).collect()),
        units: (!units.is_empty()).then(|| units.iter().map(unit).collect()),
    }
}
