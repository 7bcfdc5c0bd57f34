//! A configuration as it may be shown to others: what was parsed, written anew, without its private values.
//!
//! Not its lines: a key may be written with escapes, a value may go over many lines, and a comment may say anything.

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};
use serde_json::Value as Json;

use super::secret::{is_private_key, shown_part};

const HIDDEN: &str = "[hidden]";
const PROCESS: &str = "credential_process";

/// The text of a file without what is private in it, and without its comments.
pub fn redacted(text: &str) -> String {
    let mut written = String::new();
    match DeTable::parse(text) {
        Ok(table) => write_table(&mut written, "", table.get_ref()),
        Err(_) => written.push_str("[hidden: it is not TOML]\n"),
    }
    written
}

fn write_table(written: &mut String, path: &str, table: &DeTable<'_>) {
    let is_table = |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Table(_));
    for (key, value) in table.iter().filter(|(_, value)| !is_table(value)) {
        let name = key.get_ref();
        let shown = value_of(name, value.get_ref());
        let line = format!("{} = {shown}", quoted_key(name));
        match shown_part(&line).and_then(|shown| line.get(..shown)) {
            // A private key's value is hidden already, but for the program that is started.
            Some(shown) if !is_private_key(name) => written.push_str(&format!("{shown} {HIDDEN}")),
            Some(_) | None => written.push_str(&line),
        }
        written.push('\n');
    }
    for (key, value) in table {
        let DeValue::Table(inner) = value.get_ref() else {
            continue;
        };
        let name = key.get_ref();
        let below = match path {
            "" => quoted_key(name),
            path => format!("{path}.{}", quoted_key(name)),
        };
        // Roles and sources are named by the operator: their names are no keys.
        let named = matches!(path, "role" | "source");
        if is_private_key(name) && !named {
            written.push_str(&format!("{below} = {HIDDEN}\n"));
            continue;
        }
        written.push_str(&format!("\n[{below}]\n"));
        write_table(written, &below, inner);
    }
}

fn value_of(key: &str, value: &DeValue<'_>) -> String {
    if key == PROCESS {
        let command = value.as_str().unwrap_or_default();
        let program = command.split_whitespace().next().unwrap_or_default();
        // What has other signs in it may be more than a program.
        let is_path = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        if program.chars().all(is_path) {
            return format!("{program} {HIDDEN}");
        }
    }
    if is_private_key(key) {
        return HIDDEN.to_owned();
    }
    match value {
        DeValue::String(text) => Json::from(text.as_ref()).to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(at) => at.to_string(),
        DeValue::Array(values) => {
            let values = values.iter().map(|value| value_of("", value.get_ref()));
            format!("[{}]", values.collect::<Vec<_>>().join(", "))
        }
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| {
                let key = key.get_ref();
                format!("{} = {}", quoted_key(key), value_of(key, value.get_ref()))
            });
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match !key.is_empty() && key.chars().all(is_bare) {
        true => key.to_owned(),
        false => Json::from(key).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_values_are_hidden_however_they_are_written() {
        let text = r#"
            # the external id is sentinel-0
            [source.legacy]
            credential_process = "/opt/vault --password sentinel-1"
            [source.other]
            "credential\u005fprocess" = """FOO=sentinel-2 \
              prog"""
            [role.token]
            role_arn = "arn:aws:iam::123456789012:role/orders"
            "external\u005fid" = "sentinel-3"
            duration = 3600
            policy_arns = ["arn:aws:iam::aws:policy/ReadOnly"]
            policy = '''
            [
            {"Condition": {"StringEquals": {"sts:ExternalId":
            [
            "sentinel-4"]}}}]'''
            [role.more]
            tags = { external_id = "sentinel-5", team = "blue" }
            url = "https://me:sentinel-6@host/"
        "#;
        let written = redacted(text);
        assert!(!written.contains("sentinel"), "{written}");
        for part in [
            "[source.legacy]\ncredential_process = /opt/vault [hidden]\n",
            "[role.token]\n",
            "role_arn = \"arn:aws:iam::123456789012:role/orders\"\n",
            "external_id = [hidden]\n",
            "duration = 3600\n",
            "policy_arns = [\"arn:aws:iam::aws:policy/ReadOnly\"]\n",
            "policy = [hidden]\n",
            "[role.more.tags]\nexternal_id = [hidden]\nteam = \"blue\"\n",
        ] {
            assert!(written.contains(part), "{part}: {written}");
        }
        assert_eq!(redacted("a = sentinel"), "[hidden: it is not TOML]\n");
    }
}
