//! Reads `allow_users` and `allow_units`: who may have a role, beside showing its token.

use super::problem::Problem;
use super::reading::Reading;
use super::section::Section;
use super::value::At;
use crate::role::{Callers, InvalidValue, OVERFLOW_UID, UnitName, User};

/// Takes back what [defaults] demand.
const ANYBODY: &str = "*";

pub(super) fn read(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Callers {
    Callers {
        users: demand(section, "allow_users", user, reading),
        units: demand(section, "allow_units", |text, _| UnitName::parse(text), reading),
    }
}

/// One list. An empty one could mean everybody or nobody, so it means neither.
fn demand<T>(
    section: &mut Section<'_>,
    key: &'static str,
    parse: impl Fn(&str, &mut Reading<'_>) -> Result<T, InvalidValue>,
    reading: &mut Reading<'_>,
) -> Option<Vec<T>> {
    let found = section.strings(key, reading)?;
    match found.value.as_slice() {
        [] => {
            reading.problem(Problem::new(found.at, format!("`{key}` is empty")).help(format!(
                "leave it out, or write {key} = [\"{ANYBODY}\"], if the token is all it takes"
            )));
            None
        }
        [At { value, .. }] if *value == ANYBODY => None,
        several => {
            let mut all = Vec::with_capacity(several.len());
            for item in several {
                match parse(item.value, reading) {
                    Ok(one) => all.push(one),
                    Err(refused) => reading.refuse(&item.at, &format!("`{key}`"), &refused),
                }
            }
            Some(all)
        }
    }
}

/// A name that the host knows, or a number.
fn user(name: &str, reading: &mut Reading<'_>) -> Result<User, InvalidValue> {
    let uid = match reading.users.get(name) {
        Some(known) => known.clone(),
        None => {
            let found = user_id(name, reading);
            reading.users.insert(name.to_owned(), found.clone());
            found
        }
    }?;
    Ok(User { name: name.to_owned(), uid })
}

fn user_id(name: &str, reading: &Reading<'_>) -> Result<u32, InvalidValue> {
    let shown = name.escape_debug();
    if name == ANYBODY {
        return Err(InvalidValue::new(
            "names `*` among others",
            "write it alone, for everybody, or remove it",
        ));
    }
    let number = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    let uid = if number {
        name.parse().map_err(|_| {
            InvalidValue::new(format!("names the user {shown}"), "expected 0 to 4294967294")
        })?
    } else {
        let found = reading.host.user_id(name).map_err(|error| {
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
        OVERFLOW_UID => Err(InvalidValue::new(
            format!("names `{shown}`, as whom the kernel shows all whom it cannot name"),
            "run the workload as a user of its own",
        )),
        // What the kernel takes for no user at all.
        u32::MAX => {
            Err(InvalidValue::new(format!("names the user {shown}"), "expected 0 to 4294967294"))
        }
        uid => Ok(uid),
    }
}
