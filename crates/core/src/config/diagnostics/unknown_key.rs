//! Explains keys that no reader asked for: each is a secret, a refusal for good, or a slip.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::{Place, Problem};
use super::secret;

/// The kind of the top level of a file in `conf.d`, which knows fewer keys than that of the main file.
pub(crate) const CONF_D: &str = "conf.d";
const MAIN_ONLY: [&str; 6] = ["server", "admin", "imds", "log", "sts", "defaults"];

/// The keys that each kind of section knows.
pub(crate) type KnownKeys = BTreeMap<&'static str, BTreeSet<&'static str>>;

/// Spellings that people bring from AWS's own files and from other tools, each with roletap's.
const OTHER_SPELLINGS: &[(&str, &str)] = &[
    ("arn", "role_arn"),
    ("session_name", "role_session_name"),
    ("duration", "duration_seconds"),
    ("session_duration", "duration_seconds"),
    ("max_session_duration", "duration_seconds"),
    ("ttl", "duration_seconds"),
    ("session_policy", "policy"),
    ("managed_policy_arns", "policy_arns"),
    ("session_tags", "tags"),
    ("transitive_tags", "transitive_tag_keys"),
    ("group", "token_group"),
    ("users", "allow_users"),
    ("units", "allow_units"),
    ("endpoint", "endpoint_url"),
    ("aws_region", "region"),
    ("sts_region", "region"),
    ("rate", "max_requests_per_second"),
    ("use_fips_endpoint", "use_fips"),
    ("use_dualstack", "use_dual_stack"),
    ("use_dualstack_endpoint", "use_dual_stack"),
    ("listen_addr", "listen"),
    ("listen_address", "listen"),
    ("address", "listen"),
    ("bind", "listen"),
    ("timeout", "attempt_timeout"),
    ("roles", "role"),
    ("default", "defaults"),
    ("logging", "log"),
    ("metrics", "admin"),
    ("sources", "source"),
    ("imds_v1", "http_tokens"),
    ("http_put_response_hop_limit", "hop_limit"),
    ("port", "listen"),
];

const MFA: &str =
    "MFA needs a person at every refresh: let the role trust an identity without MFA instead";
const STATIC_KEYS: &str =
    "keys do not belong in this file: name a profile, or files of their own, in a [source.*]";

/// Keys that exist at AWS and never will here, and why.
const NEVER: &[(&str, &str)] = &[
    ("serial_number", MFA),
    ("mfa_serial", MFA),
    ("token_code", MFA),
    ("aws_access_key_id", STATIC_KEYS),
    ("access_key_id", STATIC_KEYS),
    ("access_key", STATIC_KEYS),
    (
        "provided_contexts",
        "trusted identity propagation acts for a person; roletap acts for a host",
    ),
    (
        "credential_source",
        "name a [source.*] with `source`; without it the SDK's chain is asked, but for the container provider",
    ),
];

/// A key that no reader asked for.
pub(crate) struct UnknownKey {
    /// `role`, for whichever role.
    pub(crate) kind: &'static str,
    /// The name of its section: `role.orders`.
    pub(crate) section: String,
    /// The place of the section's header.
    pub(crate) header: Place,
    pub(crate) key: String,
    pub(crate) at: Place,
}

impl UnknownKey {
    /// The problem that it makes, and the key that was meant by it if that is clear.
    pub(crate) fn explain(self, known: &KnownKeys) -> (Problem, Option<&'static str>) {
        let Self { kind, section, key, at, .. } = self;
        if kind == CONF_D && MAIN_ONLY.contains(&key.as_str()) {
            let message = format!("[{key}] may stand in the main file only");
            let help =
                "files in conf.d add [role.*] and [source.*]: move the section to the main file";
            return (Problem::new(at, message).help(help), None);
        }
        let shown = key.escape_debug();
        let plain = normalized(&key);
        if let Some((_, why)) = NEVER.iter().find(|(name, _)| *name == plain) {
            return (Problem::new(at, format!("`{shown}` is not supported")).help(*why), None);
        }
        if secret::is_secret_key(&key) {
            let message =
                format!("`{shown}` looks like a secret, and no secret may be written here");
            let help = "remove the line and replace the secret: whoever can read this file has it";
            return (Problem::new(at, message).help(help), None);
        }
        let message = match section.as_str() {
            "" => format!("unknown key `{shown}`"),
            section => format!("unknown key `{shown}` in [{section}]"),
        };
        let meant = meant(kind, &key, known);
        let help = match (meant, known.get(kind)) {
            (Some((of, word)), _) if of == kind && is_top(kind) => {
                format!("did you mean {}?", header(word))
            }
            (Some((of, word)), _) if of == kind => format!("did you mean `{word}`?"),
            (Some((_, word)), _) => {
                let others = known
                    .iter()
                    .filter(|(of, keys)| !is_top(of) && **of != kind && keys.contains(word));
                let others: Vec<String> = others.map(|(of, _)| header(of)).collect();
                format!("`{word}` is a key of {}", others.join(" and "))
            }
            (None, Some(keys)) => {
                format!("expected one of {}", keys.iter().copied().collect::<Vec<_>>().join(", "))
            }
            (None, None) => "remove it".to_owned(),
        };
        (Problem::new(at, message).help(help), meant.map(|(_, word)| word))
    }
}

/// The nearest of some words, if one is near.
pub(crate) fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    // Nobody mistypes 64 letters, and a longer word is not worth the time.
    let word: String = word.chars().take(64).collect();
    let most = 1 + word.chars().count() / 4;
    let near = words.into_iter().map(|other| (strsim::osa_distance(&word, other), other));
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, other)| other)
}

/// Asks whether the nearest of some words was meant; else says what else to do.
pub(crate) fn suggest<'w>(
    word: &str,
    words: impl IntoIterator<Item = &'w str>,
    otherwise: impl Into<String>,
) -> String {
    match nearest(word, words) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => otherwise.into(),
    }
}

fn is_top(kind: &str) -> bool {
    kind.is_empty() || kind == CONF_D
}

/// The section and the key which somebody meant: in this section if possible, else in another, as when it stands
/// below the wrong header.
fn meant(kind: &'static str, key: &str, known: &KnownKeys) -> Option<(&'static str, &'static str)> {
    let plain = normalized(key);
    let in_section = |of: &str, words: &[&str]| -> Option<&'static str> {
        let keys = known.get(of)?;
        words.iter().find_map(|word| keys.get::<str>(word).copied())
    };
    let exact = OTHER_SPELLINGS.iter().find(|(from, _)| *from == plain).map(|(_, to)| *to);
    let words: Vec<&str> = [Some(plain.as_str()), exact].into_iter().flatten().collect();
    if let Some(word) = in_section(kind, &words) {
        return Some((kind, word));
    }
    let here = known.get(kind).into_iter().flatten().copied();
    if let Some(word) = nearest(&plain, here) {
        return in_section(kind, &[word]).map(|word| (kind, word));
    }
    let others =
        || known.keys().copied().filter(|of| !is_top(of) && *of != kind && *of != "defaults");
    if let Some(found) = others().find_map(|of| in_section(of, &words).map(|word| (of, word))) {
        return Some(found);
    }
    // A slip in another spelling, and last a slip in another section's key.
    if let Some(from) = nearest(&plain, OTHER_SPELLINGS.iter().map(|(from, _)| *from)) {
        let to = OTHER_SPELLINGS.iter().find(|(other, _)| *other == from).map(|(_, to)| *to);
        if let Some(word) = to.and_then(|to| in_section(kind, &[to])) {
            return Some((kind, word));
        }
    }
    others().find_map(|of| {
        let keys = known.get(of)?.iter().copied().filter(|word| word.len() > 4);
        nearest(&plain, keys).and_then(|word| in_section(of, &[word])).map(|word| (of, word))
    })
}

fn header(kind: &str) -> String {
    match kind {
        "role" => "`[role.NAME]`".to_owned(),
        "source" => "`[source.NAME]`".to_owned(),
        "imds" => "`[imds.NAME]`".to_owned(),
        other => format!("`[{other}]`"),
    }
}

/// `roleArn`, `RoleArn` and `role-arn` are `role_arn`.
fn normalized(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    let mut after_lower = false;
    for c in key.chars() {
        if c.is_ascii_uppercase() && after_lower {
            out.push('_');
        }
        after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        out.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_but_not_far() {
        assert_eq!(nearest("lisen", ["listen", "level"]), Some("listen"));
        assert_eq!(nearest("xyz", ["listen", "level"]), None);
    }

    #[test]
    fn other_ways_to_write_a_key() {
        for key in ["roleArn", "RoleArn", "role-arn", "ROLE_ARN"] {
            assert_eq!(normalized(key), "role_arn");
        }
    }
}
