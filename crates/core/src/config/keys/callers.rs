//! `allow_users` and `allow_units`: who may have a role, beside showing its token.

use super::Context;
use crate::config::Host;
use crate::config::diagnostics::Problem;
use crate::config::toml::{Located, Section};
use crate::role::{CallerPolicy, InvalidValue, OVERFLOW_UID, UnitName, User, refuse};

/// Takes back what [defaults] demand.
const ANYBODY: &str = "*";

pub(crate) fn read(section: &Section<'_>, context: &Context<'_>) -> CallerPolicy {
    let user = |name: &str| {
        let uid = context.user(name, |host| user_id(name, host))?;
        Ok(User { name: name.to_owned(), uid })
    };
    CallerPolicy {
        users: read_list(section, "allow_users", user),
        units: read_list(section, "allow_units", UnitName::parse),
    }
}

/// An empty list could mean everybody or nobody, so it means neither.
fn read_list<T>(
    section: &Section<'_>,
    key: &'static str,
    parse: impl Fn(&str) -> Result<T, InvalidValue>,
) -> Option<Vec<T>> {
    let found = section.strings(key)?;
    match found.value.as_slice() {
        [] => {
            section.diagnostics.emit(Problem::new(found.at, format!("`{key}` is empty")).help(
                format!(
                    "leave it out, or write {key} = [\"{ANYBODY}\"], if the token is all it takes"
                ),
            ));
            None
        }
        [Located { value, .. }] if *value == ANYBODY => None,
        several => Some(section.accept_each(several, &format!("`{key}`"), parse)),
    }
}

/// A name that the host knows, or a number.
fn user_id(name: &str, host: &dyn Host) -> Result<u32, InvalidValue> {
    let shown = name.escape_debug();
    let out_of_range =
        || InvalidValue::new(format!("names the user {shown}"), "expected 0 to 4294967294");
    if name == ANYBODY {
        return refuse("names `*` among others", "write it alone, for everybody, or remove it");
    }
    let number = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    let uid = if number {
        name.parse().map_err(|_| out_of_range())?
    } else {
        let found = host.user_id(name).map_err(|error| {
            InvalidValue::new(
                format!("names `{shown}`, which cannot be looked up: {error}"),
                "give the user's number in quotes, or see why (`getent passwd`)",
            )
        })?;
        found.ok_or_else(|| {
            InvalidValue::new(
                format!("names `{shown}`, which is no user of this host"),
                "create the user first, or give its number in quotes; for a unit with DynamicUser=, name the unit in allow_units",
            )
        })?
    };
    match uid {
        OVERFLOW_UID => refuse(
            format!("names `{shown}`, as whom the kernel shows all whom it cannot name"),
            "run the workload as a user of its own",
        ),
        // The kernel takes it for no user at all.
        u32::MAX => Err(out_of_range()),
        uid => Ok(uid),
    }
}
