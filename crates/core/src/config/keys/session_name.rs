//! Names that are made from a template: `role_session_name` and `source_identity`.
//!
//! A name is the same at every refresh: it is part of the session's ARN, and trust policies pin it. So no variable
//! tells the time. What the template yields is made to fit STS: foreign characters become `-`, and a long name keeps
//! its beginning and ends with a hash of the whole.

use sha2::{Digest, Sha256};

use crate::config::Host;
use crate::config::diagnostics::{is_secret_key, nearest};
use crate::config::toml::Section;
use crate::role::{self, InvalidValue, RoleArn, RoleName, SessionName, refuse};

/// The longest name that STS takes, in characters.
const MAX_LENGTH: usize = 64;
/// `-` and eight hexadecimal digits leave this much of a long name.
const KEPT: usize = 55;

const NAMES: [&str; 6] = ["hostname", "fqdn", "instance_id", "role", "role_name", "account_id"];

/// The values of a template's variables: those of one role, or of a source, on one host.
pub(crate) struct TemplateVariables<'v> {
    pub(crate) role: Option<&'v RoleName>,
    pub(crate) arn: Option<&'v RoleArn>,
    pub(crate) host: &'v dyn Host,
}

impl TemplateVariables<'_> {
    /// Fills the variables of a template with their values.
    pub(crate) fn expand(&self, template: &str) -> Result<String, InvalidValue> {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let Some((variable, after)) = after.split_once('}') else {
                return refuse("has a `{` without a `}`", "close it, or remove it");
            };
            out.push_str(&self.value(variable)?);
            rest = after;
        }
        if rest.contains('}') {
            return refuse("has a `}` without a `{`", "remove it");
        }
        out.push_str(rest);
        Ok(fit(&out))
    }

    /// The session name that a default template yields. A host may have a name that does not fit.
    pub(crate) fn default_name(
        &self,
        template: &str,
        section: &Section<'_>,
    ) -> Option<SessionName> {
        let name = self.expand(template).and_then(|text| SessionName::parse(&text));
        let missing = |invalid| {
            section.missing("role_session_name", format!("the default {template} {invalid}"))
        };
        name.map_err(missing).ok()
    }

    fn value(&self, variable: &str) -> Result<String, InvalidValue> {
        if let Some(name) = variable.strip_prefix("env:") {
            return self.environment_variable(name);
        }
        let arn_part =
            |part: fn(&RoleArn) -> &str| self.arn.map(part).unwrap_or_default().to_owned();
        match variable {
            "hostname" => Ok(self.host.hostname()),
            "fqdn" => Ok(self.host.fqdn()),
            "instance_id" => match self.host.machine_id() {
                Some(id) => Ok(id.chars().take(12).collect()),
                None => refuse(
                    "asks for {instance_id}, but this host has no /etc/machine-id",
                    "run `systemd-machine-id-setup`, or use {hostname}",
                ),
            },
            "role" => match self.role {
                Some(name) => Ok(name.to_string()),
                None => refuse(
                    "asks for {role}, but a source is of many roles",
                    "use {role_name}, the name in its `role_arn`, or {hostname}",
                ),
            },
            "role_name" => Ok(arn_part(RoleArn::role_name)),
            "account_id" => Ok(arn_part(RoleArn::account_id)),
            unknown => {
                let all = NAMES.map(|name| format!("{{{name}}}")).join(" ");
                let help = match nearest(unknown, NAMES) {
                    Some(near) => format!("did you mean `{{{near}}}`?"),
                    None => format!("expected one of {all} {{env:NAME}}"),
                };
                let what = format!("has an unknown variable `{{{}}}`", unknown.escape_debug());
                refuse(what, help)
            }
        }
    }

    fn environment_variable(&self, name: &str) -> Result<String, InvalidValue> {
        let shown = name.escape_debug();
        if is_secret_key(name) {
            return refuse(
                format!("asks for {{env:{shown}}}, which looks like a secret"),
                "this name is written to the logs of both accounts: choose another variable",
            );
        }
        self.host.env(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            InvalidValue::new(
                format!("asks for {{env:{shown}}}, which is not set"),
                "set it in the daemon's environment, or use another variable",
            )
        })
    }
}

/// True if the name that comes out tells the name of this host.
pub(crate) fn names_host(template: &str) -> bool {
    template.contains("{hostname}") || template.contains("{fqdn}")
}

fn fit(full: &str) -> String {
    let clean: String = full.chars().map(|c| if role::is_name_char(c) { c } else { '-' }).collect();
    if clean.len() <= MAX_LENGTH {
        return clean;
    }
    let digest = Sha256::digest(full.as_bytes());
    let (kept, hash) = (clean.get(..KEPT).unwrap_or(&clean), hex::encode(digest));
    format!("{kept}-{}", hash.get(..8).unwrap_or(&hash))
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
        TemplateVariables { role: Some(&name), arn: Some(&arn), host: &host }.expand(template)
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
