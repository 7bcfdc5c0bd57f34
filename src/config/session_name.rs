//! Names that are made from a template: `role_session_name` and `source_identity`.
//!
//! A name is the same at every refresh: it is part of the session's ARN, and trust policies pin it. So no variable
//! tells the time. What the template yields is made to fit STS: foreign characters become `-`, and a long name keeps
//! its beginning and ends with a hash of the whole.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::hint;
use super::host::Host;
use super::secret;
use crate::role::{self, InvalidValue, RoleArn, RoleName};

/// What STS takes.
const MAX_LENGTH: usize = 64;
/// `-` and eight hexadecimal digits leave this much of a long name.
const KEPT: usize = 55;

const VARIABLES: [&str; 6] = ["hostname", "fqdn", "instance_id", "role", "role_name", "account_id"];

/// Fills in a template for one role, or for a source, on one host.
pub(super) fn expand(
    template: &str,
    name: Option<&RoleName>,
    arn: Option<&RoleArn>,
    host: &dyn Host,
) -> Result<String, InvalidValue> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((variable, after)) = after.split_once('}') else {
            return Err(InvalidValue::new("has a `{` without a `}`", "close it, or remove it"));
        };
        out.push_str(&value(variable, name, arn, host)?);
        rest = after;
    }
    if rest.contains('}') {
        return Err(InvalidValue::new("has a `}` without a `{`", "remove it"));
    }
    out.push_str(rest);
    Ok(fit(&out))
}

/// Whether what comes out tells the name of this host.
pub(super) fn names_host(template: &str) -> bool {
    template.contains("{hostname}") || template.contains("{fqdn}")
}

fn value(
    variable: &str,
    name: Option<&RoleName>,
    arn: Option<&RoleArn>,
    host: &dyn Host,
) -> Result<String, InvalidValue> {
    if let Some(name) = variable.strip_prefix("env:") {
        return from_environment(name, host);
    }
    let value = match variable {
        "hostname" => host.hostname(),
        "fqdn" => host.fqdn(),
        "instance_id" => match host.machine_id() {
            Some(id) => id.chars().take(12).collect(),
            None => {
                return Err(InvalidValue::new(
                    "asks for {instance_id}, but this host has no /etc/machine-id",
                    "run `systemd-machine-id-setup`, or use {hostname}",
                ));
            }
        },
        "role" => match name {
            Some(name) => name.as_str().to_owned(),
            None => {
                return Err(InvalidValue::new(
                    "asks for {role}, but a source is of many roles",
                    "use {role_name}, the name in its `role_arn`, or {hostname}",
                ));
            }
        },
        "role_name" => arn.map(|arn| arn.role_name().to_owned()).unwrap_or_default(),
        "account_id" => arn.map(|arn| arn.account_id().to_owned()).unwrap_or_default(),
        unknown => {
            let all = VARIABLES.map(|name| format!("{{{name}}}")).join(" ");
            let help = match hint::nearest(unknown, VARIABLES) {
                Some(near) => format!("did you mean `{{{near}}}`?"),
                None => format!("expected one of {all} {{env:NAME}}"),
            };
            return Err(InvalidValue::new(
                format!("has an unknown variable `{{{}}}`", unknown.escape_debug()),
                help,
            ));
        }
    };
    Ok(value)
}

fn from_environment(name: &str, host: &dyn Host) -> Result<String, InvalidValue> {
    if secret::is_secret_key(name) {
        return Err(InvalidValue::new(
            format!("asks for {{env:{}}}, which looks like a secret", name.escape_debug()),
            "this name is written to the logs of both accounts: choose another variable",
        ));
    }
    match host.env(name) {
        Some(value) if !value.is_empty() => Ok(value),
        Some(_) | None => Err(InvalidValue::new(
            format!("asks for {{env:{}}}, which is not set", name.escape_debug()),
            "set it in the daemon's environment, or use another variable",
        )),
    }
}

fn fit(full: &str) -> String {
    let clean: String = full.chars().map(|c| if role::is_name_char(c) { c } else { '-' }).collect();
    if clean.len() <= MAX_LENGTH {
        return clean;
    }
    let digest = Sha256::digest(full.as_bytes());
    // All of it is ASCII by now, so bytes are characters.
    let mut short = clean.get(..KEPT).unwrap_or(&clean).to_owned();
    short.push('-');
    for byte in digest.iter().take(4) {
        // Writing to a string cannot fail.
        let _ = write!(short, "{byte:02x}");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FixedHost;

    fn expanded(template: &str) -> Result<String, InvalidValue> {
        let name = RoleName::parse("orders").unwrap();
        let arn = RoleArn::parse("arn:aws:iam::111122223333:role/team/orders-sink", false).unwrap();
        let mut host = FixedHost::default();
        host.env.insert("CELL".to_owned(), "eu 1/ü".to_owned());
        host.env.insert("EMPTY".to_owned(), String::new());
        host.env.insert("DB_PASSWORD".to_owned(), "sentinel".to_owned());
        expand(template, Some(&name), Some(&arn), &host)
    }

    #[test]
    fn every_variable() {
        for (template, name) in [
            ("{role}-{hostname}", "orders-web-1"),
            ("{fqdn}", "web-1.example.com"),
            ("{instance_id}", "0123456789ab"),
            ("{role_name}@{account_id}", "orders-sink@111122223333"),
            ("{env:CELL}", "eu-1--"),
            ("plain", "plain"),
        ] {
            assert_eq!(expanded(template).unwrap(), name);
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_refused() {
        for template in
            ["{role", "role}", "{}", "{time}", "{env:UNSET}", "{env:EMPTY}", "{env:DB_PASSWORD}"]
        {
            let refused = expanded(template).unwrap_err();
            assert!(!refused.to_string().contains("sentinel"));
        }
        assert!(expanded("{hostnam}").unwrap_err().expected.contains("{hostname}"));
    }

    #[test]
    fn a_long_name_is_cut_and_stays_distinct() {
        let just = "a".repeat(64);
        assert_eq!(expanded(&just).unwrap(), just);
        let one = expanded(&"a".repeat(65)).unwrap();
        let two = expanded(&"a".repeat(66)).unwrap();
        assert_eq!((one.len(), two.len()), (64, 64));
        assert_ne!(one, two);
        assert_eq!(one, expanded(&"a".repeat(65)).unwrap());
        assert!(one.starts_with(&format!("{}-", "a".repeat(55))));
        // Distinct before the foreign characters were replaced means distinct after.
        let (x, y) = ("é".repeat(70), "è".repeat(70));
        assert_ne!(expanded(&x).unwrap(), expanded(&y).unwrap());
    }
}
