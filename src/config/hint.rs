//! What to say about a key that nobody asked for: a secret, a refusal for good, or a slip.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::Problem;
use super::reading::Unknown;
use super::secret;

/// The kind of the top level of a file in `conf.d`, which knows fewer keys than that of the main file.
pub(super) const CONF_D: &str = "conf.d";

type Known = BTreeMap<&'static str, BTreeSet<&'static str>>;

/// Spellings that people bring from AWS's own files and from other tools, with ours.
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

/// Keys that exist at AWS and never will here, and why.
const NEVER: &[(&str, &str)] = &[
    (
        "serial_number",
        "MFA needs a person at every refresh: let the role trust an identity without MFA instead",
    ),
    (
        "mfa_serial",
        "MFA needs a person at every refresh: let the role trust an identity without MFA instead",
    ),
    (
        "token_code",
        "MFA needs a person at every refresh: let the role trust an identity without MFA instead",
    ),
    (
        "aws_access_key_id",
        "keys do not belong in this file: name a profile, or files of their own, in a [source.*]",
    ),
    (
        "access_key_id",
        "keys do not belong in this file: name a profile, or files of their own, in a [source.*]",
    ),
    (
        "access_key",
        "keys do not belong in this file: name a profile, or files of their own, in a [source.*]",
    ),
    (
        "provided_contexts",
        "trusted identity propagation acts for a person; roletap acts for a host",
    ),
    (
        "credential_source",
        "name a [source.*] with `source`; without it the SDK's chain is asked, but for the container provider",
    ),
];

/// The problem that an unknown key makes, and the key that was meant by it if that is clear.
pub(super) fn problem(unknown: Unknown, known: &Known) -> (Problem, Option<&'static str>) {
    let Unknown { kind, section, key, at, .. } = unknown;
    let shown = key.escape_debug();
    let plain = normalized(&key);
    if let Some((_, why)) = NEVER.iter().find(|(name, _)| *name == plain) {
        return (Problem::new(at, format!("`{shown}` is not supported")).help(*why), None);
    }
    if secret::is_secret_key(&key) {
        let problem = Problem::new(
            at,
            format!("`{shown}` looks like a secret, and no secret may be written here"),
        )
        .help("remove the line and replace the secret: whoever can read this file has it");
        return (problem, None);
    }
    let whose = if section.is_empty() {
        format!("unknown key `{shown}`")
    } else {
        format!("unknown key `{shown}` in [{section}]")
    };
    let meant = meant(kind, &key, known);
    let help = match &meant {
        Some((of, word)) if *of == kind && is_top(kind) => {
            format!("did you mean {}?", header(word))
        }
        Some((of, word)) if *of == kind => format!("did you mean `{word}`?"),
        Some((_, word)) => {
            let whose: Vec<String> = known
                .iter()
                .filter(|(of, keys)| !is_top(of) && **of != kind && keys.contains(word))
                .map(|(of, _)| header(of))
                .collect();
            format!("`{word}` is a key of {}", whose.join(" and "))
        }
        None => match known.get(kind) {
            Some(keys) => {
                format!("expected one of {}", keys.iter().copied().collect::<Vec<_>>().join(", "))
            }
            None => "remove it".to_owned(),
        },
    };
    (Problem::new(at, whose).help(help), meant.map(|(_, word)| word))
}

/// The nearest of some words, if one is near.
pub(super) fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let most = 1 + word.chars().count() / 4;
    words
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

fn is_top(kind: &str) -> bool {
    kind.is_empty() || kind == CONF_D
}

/// The section and the key which somebody meant: in this section if possible, else in another, as when it stands
/// below the wrong header.
fn meant(kind: &'static str, key: &str, known: &Known) -> Option<(&'static str, &'static str)> {
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

/// Damerau-Levenshtein with adjacent swaps. Long words are not worth the time: nobody mistypes 64 letters.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let mut least =
                (at(&last, j + 1) + 1).min(at(&row, j) + 1).min(at(&last, j) + usize::from(x != y));
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(&y) && b.get(j - 1) == Some(&x);
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("listen", "listne", 1),
            ("duraton_seconds", "duration_seconds", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

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
