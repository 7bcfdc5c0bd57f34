//! Recognizes secrets by their looks, so that no report repeats one.
//!
//! A report shows source lines, and reports end up in logs and tickets. The rule goes by the text of a line alone,
//! because a line with a syntax error has no keys yet. It errs on the side of hiding.

/// True if a key's name says that its value is a secret.
pub(crate) fn is_secret_key(key: &str) -> bool {
    let key: String =
        key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let names_a_place = ["file", "dir", "group", "arn", "path", "name", "size"]
        .iter()
        .any(|end| key.ends_with(end));
    let says_no_token = key == "unsafenotoken";
    let says_secret =
        ["secret", "password", "passwd", "passphrase", "token", "privatekey", "apikey", "bearer"]
            .iter()
            .any(|word| key.contains(word));
    says_secret && !names_a_place && !says_no_token
}

/// Keys whose values AWS does not call secret, but which no log shall hold.
fn is_private_key_name(key: &str) -> bool {
    let key = key.trim();
    ["external_id", "sts:ExternalId", "credential_process"]
        .iter()
        .any(|name| key.eq_ignore_ascii_case(name))
        // What an escape spells is not known here.
        || key.contains('\\')
}

/// Keys whose values nobody else needs to see. An excerpt shows a policy, because it points into it.
pub(crate) fn is_private_key(key: &str) -> bool {
    is_secret_key(key) || is_private_key_name(key) || key == "policy"
}

/// For each line of `text`: how many of its bytes may be shown, if not all.
/// Text after a hidden line without being a `key = value` or a `[header]` of its own belongs to the hidden value.
pub(crate) fn hidden_lines(text: &str) -> Vec<Option<usize>> {
    let mut within = false;
    text.split_inclusive('\n')
        .map(|line| {
            let shown = shown_part(line);
            if shown.is_some() {
                // A comment ends with its line.
                within |= !line.trim_start().starts_with('#');
                return shown;
            }
            within = within && !starts_something(line);
            within.then_some(0)
        })
        .collect()
}

/// The part of a line up to and with the `=` of its first secret key.
pub(crate) fn shown_part(line: &str) -> Option<usize> {
    let mut start = 0;
    for (at, c) in line.char_indices() {
        let rest = line.get(at + c.len_utf8()..).unwrap_or_default();
        match c {
            // A colon in the middle of a word is a part of it, as in an ARN.
            ':' if !rest
                .starts_with(|next: char| next.is_whitespace() || matches!(next, '"' | '\'')) => {}
            '=' | ':' => {
                let key = line.get(start..at).unwrap_or_default();
                let key = key.rsplit('.').next().unwrap_or_default();
                let key = key.trim().trim_matches(['"', '\'']);
                if is_secret_key(key) || is_private_key_name(key) {
                    return Some(at + 1);
                }
                start = at + 1;
            }
            '{' | ',' | '#' | '[' | '(' | ';' => start = at + c.len_utf8(),
            _ => {}
        }
    }
    user_info(line).or_else(|| bare_secret(line))
}

/// The name and password of a URL.
fn user_info(line: &str) -> Option<usize> {
    let at = line.find("://")? + 3;
    let authority = line.get(at..)?.split(['/', '"', '\'', ' ']).next()?;
    authority.contains('@').then_some(at)
}

/// A quoted run that has the length and alphabet of a secret access key (40) or a session token (over 100).
fn bare_secret(line: &str) -> Option<usize> {
    let mut at = 0;
    for piece in line.split(['"', '\'']) {
        let base64 =
            piece.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        let mixed = piece.bytes().any(|b| b.is_ascii_digit())
            && piece.bytes().any(|b| b.is_ascii_uppercase())
            && piece.bytes().any(|b| b.is_ascii_lowercase());
        if base64 && mixed && (piece.len() == 40 || piece.len() > 100) {
            return Some(at);
        }
        at += piece.len() + 1;
    }
    None
}

fn starts_something(line: &str) -> bool {
    let line = line.trim_start();
    if line.starts_with('[') {
        return true;
    }
    line.split_once('=').is_some_and(|(key, value)| {
        let key = key.trim();
        !key.is_empty()
            && key.bytes().all(|b| {
                b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'"' | b'\'')
            })
            && value.trim_start().starts_with(|c: char| {
                matches!(c, '"' | '\'' | '[' | '{') || c.is_ascii_digit() || c == 't' || c == 'f'
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_hold_secrets() {
        for key in [
            "aws_secret_access_key",
            "secretAccessKey",
            "session_token",
            "token",
            "AWS_SESSION_TOKEN",
            "password",
            "api-key",
        ] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in [
            "token_dir",
            "token_file",
            "token_group",
            "unsafe_no_token",
            "role_arn",
            "web_identity_token_file",
        ] {
            assert!(!is_secret_key(key), "{key}");
        }
    }

    #[test]
    fn values_of_secret_keys_are_hidden_wherever_they_stand() {
        let text = concat!(
            "a = 1\n",
            "token = \"\"\"\n",
            "c2VudGluZWw=\n",
            "\"\"\"\n",
            "b = 2\n",
            "# password = x\n",
            "[role.x]\n",
            "s = { secret_key = 'x' }\n",
            "role_arn = \"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\"\n",
            "tags.\"external_id\" = 1\n",
            "\n",
            "# token = 1\n",
            "x = = \"arn:aws:secretsmanager:eu\"\n",
            "u = \"https://me:pw@host/\"\n",
        );
        assert_eq!(
            hidden_lines(text),
            [
                None,
                Some(7),
                Some(0),
                Some(0),
                None,
                Some(12),
                None,
                Some(18),
                Some(12),
                Some(20),
                Some(0),
                Some(9),
                Some(0),
                Some(13),
            ]
        );
    }
}
