//! Session policies, checked as far as that is possible without asking AWS.

use serde_json::Value;

use crate::role::{InvalidValue, RoleArn, refuse};

/// The service model has no maximum for AssumeRole, but the prose still says this for the policy and its ARNs together.
pub(crate) const DOCUMENTED_MAX: usize = 2048;
/// AWS's prose; the model has no maximum.
pub(crate) const MAX_POLICY_ARNS: usize = 10;

/// The keys that a session policy and its ARNs stand in.
pub(crate) const KEYS: [&str; 3] = ["policy", "policy_file", "policy_arns"];

/// The characters of a session policy and its ARNs together.
pub(crate) fn size(policy: Option<&str>, policy_arns: &[String]) -> usize {
    let texts = policy.into_iter().chain(policy_arns.iter().map(String::as_str));
    texts.map(|text| text.chars().count()).sum()
}

/// Checks a session policy and takes out the blanks, which count against its size.
/// The rest stays as written: order, numbers and escapes are the author's.
pub(crate) fn session_policy(text: &str) -> Result<String, InvalidValue> {
    let policy: Value = serde_json::from_str(text).map_err(|error| {
        InvalidValue::new(
            format!(
                "is not JSON, at line {} column {} of the policy",
                error.line(),
                error.column()
            ),
            "expected a policy document, { \"Version\": \"2012-10-17\", \"Statement\": [ … ] }",
        )
    })?;
    let Value::Object(policy) = policy else {
        return refuse(
            "is JSON, but not an object",
            "expected { \"Version\": …, \"Statement\": … }",
        );
    };
    if let Some(odd) = text.chars().find(|&c| c > '\u{ff}') {
        return refuse(
            format!("holds `{odd}` (U+{:04X})", u32::from(odd)),
            "STS takes characters up to U+00FF; write others as \\u escapes",
        );
    }
    const EMPTY: &str =
        "a session with an empty policy may do nothing: leave the policy out, or add statements";
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) if statements.is_empty() => {
            return refuse("has an empty `Statement`", EMPTY);
        }
        Some(Value::Array(statements)) => statements.as_slice(),
        Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
        Some(_) => {
            return refuse(
                "has a `Statement` that is neither object nor array",
                "expected an array of objects",
            );
        }
        None => return refuse("has no `Statement`", EMPTY),
    };
    for key in ["Principal", "NotPrincipal"] {
        if statements.iter().any(|statement| statement.get(key).is_some()) {
            return refuse(
                format!("has a `{key}`"),
                "a session policy is about its own session: remove it (a trust policy has one)",
            );
        }
    }
    Ok(minified(text))
}

/// Checks the ARN of a managed policy, for a session of `role`.
pub(crate) fn policy_arn(text: &str, role: Option<&RoleArn>) -> Result<String, InvalidValue> {
    const EXPECTED: &str =
        "expected arn:PARTITION:iam::ACCOUNT:policy/NAME, or arn:PARTITION:iam::aws:policy/NAME";
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let &["arn", partition, "iam", "", account, resource] = parts.as_slice() else {
        return refuse("holds something that is not the ARN of an IAM policy", EXPECTED);
    };
    if text.len() > 2048 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return refuse(
            "holds an ARN with blanks or foreign characters, or a far too long one",
            EXPECTED,
        );
    }
    if !resource
        .strip_prefix("policy/")
        .is_some_and(|name| !name.is_empty() && !name.ends_with('/'))
    {
        return refuse("holds an ARN that names no policy", EXPECTED);
    }
    if let Some(role) = role {
        if partition != role.partition() {
            return refuse(
                format!("holds a policy of the partition `{partition}`"),
                format!("expected the role's own, `{}`", role.partition()),
            );
        }
        if account != "aws" && account != role.account_id() {
            return refuse(
                format!("holds a policy of the account `{account}`"),
                format!("expected one of the role's account, {}, or of AWS", role.account_id()),
            );
        }
    }
    Ok(text.to_owned())
}

fn minified(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut in_string = false;
    let mut escaped = false;
    for c in json.chars() {
        if in_string {
            in_string = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
        } else if c == '"' {
            in_string = true;
        } else if c.is_ascii_whitespace() {
            continue;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blanks_between_tokens_go() {
        let policy = "{ \"Statement\" : [ { \"Sid\" : \"a \\\" b \\\\\" ,\n\t\"n\" : 1.0 } ] }";
        let small = session_policy(policy).unwrap();
        assert_eq!(small, "{\"Statement\":[{\"Sid\":\"a \\\" b \\\\\",\"n\":1.0}]}");
        assert_eq!(session_policy(&small).unwrap(), small);
        let same: Value = serde_json::from_str(policy).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&small).unwrap(), same);
    }
}
