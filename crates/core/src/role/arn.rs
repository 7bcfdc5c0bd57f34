//! The ARN of an IAM role, and a precise complaint about everything that is not one.

use super::{InvalidValue, refuse};

/// An IAM role's ARN, taken apart.
///
/// The text is kept as configured, letter by letter: AssumeRole compares role names case-sensitively.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoleArn(pub(super) String);

/// The end of every complaint that knows no better.
const EXPECTED: &str = "expected arn:PARTITION:iam::ACCOUNT:role/PATH/NAME, such as arn:aws:iam::111122223333:role/team/orders";
/// The longest ARN, in characters: `arnType` in the service model.
const MAX_LENGTH: usize = 2048;

impl RoleArn {
    /// Parses `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`.
    /// An empty account is accepted when `relaxed` (an `endpoint_url` that is not AWS, such as Ceph).
    pub fn parse(text: &str, relaxed: bool) -> Result<Self, InvalidValue> {
        if text.is_empty() {
            return refuse("is empty", EXPECTED);
        }
        if text.trim() != text {
            return refuse("has blanks at its ends", "remove them");
        }
        if text.len() > MAX_LENGTH {
            let what = format!("has {} characters", text.len());
            return refuse(what, format!("expected at most {MAX_LENGTH}"));
        }
        if let Some(odd) = text.chars().find(|c| !('\x21'..='\x7e').contains(c)) {
            return refuse(format!("holds {}", describe(odd)), EXPECTED);
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let &[prefix, partition, service, region, account, resource] = parts.as_slice() else {
            return match text.contains([':', '/']) {
                _ if text.starts_with("arn:") => refuse("stops before the role's name", EXPECTED),
                true => refuse("is not an ARN", EXPECTED),
                false => refuse(
                    "is a bare name, not an ARN",
                    "give the whole ARN, arn:aws:iam::ACCOUNT:role/NAME: a name alone does not say whose account",
                ),
            };
        };
        if prefix != "arn" {
            return refuse("does not begin with `arn:`", EXPECTED);
        }
        if !is_partition(partition) {
            let expected = "expected aws, aws-cn, aws-us-gov or another that begins with `aws-`";
            return refuse(format!("names the partition `{partition}`"), expected);
        }
        if service == "sts" && resource.starts_with("assumed-role/") {
            return Err(assumed_role(partition, account, resource));
        }
        if service != "iam" {
            return refuse(format!("names the service `{service}`, not `iam`"), EXPECTED);
        }
        if !region.is_empty() {
            let expected = "roles have no region: expected two colons after `iam`";
            return refuse(format!("names the region `{region}`"), expected);
        }
        check_account(account, relaxed)?;
        check_resource(resource)?;
        Ok(Self(text.to_owned()))
    }

    /// The partition: `aws`, `aws-cn`, `aws-us-gov`, …
    pub fn partition(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }

    /// The 12 digits of the account, or empty where `relaxed` allowed it.
    pub fn account_id(&self) -> &str {
        self.0.split(':').nth(4).unwrap_or_default()
    }

    /// The last part of the path: the role's own name.
    pub fn role_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

pub(super) fn is_partition(text: &str) -> bool {
    text == "aws"
        || text.strip_prefix("aws-").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        })
}

pub(super) fn check_account(account: &str, relaxed: bool) -> Result<(), InvalidValue> {
    match account.len() {
        0 if relaxed => Ok(()),
        0 => refuse(
            "has no account",
            "expected 12 digits before `:role/`; only a custom sts.endpoint_url allows none",
        ),
        _ if !account.bytes().all(|b| b.is_ascii_digit()) => {
            refuse(format!("names the account `{account}`"), "expected 12 digits, without dashes")
        }
        12 => Ok(()),
        found => refuse(
            format!("has an account of {found} digits"),
            "expected 12: count them, a leading zero is easily lost",
        ),
    }
}

fn check_resource(resource: &str) -> Result<(), InvalidValue> {
    let (kind, rest) = resource.split_once('/').unwrap_or((resource, ""));
    let not_a_role = match kind {
        "role" => None,
        "user" | "group" | "policy" => Some(format!("names a {kind}, not a role")),
        "root" => Some("names a whole account, not a role".to_owned()),
        "instance-profile" => {
            return refuse(
                "names an instance profile, not a role",
                "give the role inside it: `aws iam get-instance-profile` shows its ARN, which has `:role/`",
            );
        }
        other => Some(format!("names `{other}`, not a role")),
    };
    if let Some(what) = not_a_role {
        return refuse(what, EXPECTED);
    }
    let name = rest.rsplit('/').next().unwrap_or_default();
    if name.is_empty() {
        return refuse("has no role name after `role/`", EXPECTED);
    }
    if name.len() > 64 {
        let what = format!("has a role name of {} characters", name.len());
        return refuse(what, "expected at most 64");
    }
    if let Some(odd) = name.chars().find(|&c| !super::is_name_char(c)) {
        let what = format!("has {} in the role's name", describe(odd));
        return refuse(what, "expected letters, digits and _+=,.@-");
    }
    if rest.contains("//") || rest.starts_with('/') {
        return refuse("has an empty step in its path", EXPECTED);
    }
    Ok(())
}

/// People copy this from `aws sts get-caller-identity`. The role's path is not in it.
fn assumed_role(partition: &str, account: &str, resource: &str) -> InvalidValue {
    let name = resource.split('/').nth(1).unwrap_or_default();
    InvalidValue::new(
        "names a session of a role, not the role",
        format!(
            "the role is likely arn:{partition}:iam::{account}:role/{name}; if it has a path, add it: a session's ARN does not tell"
        ),
    )
}

pub(super) fn describe(odd: char) -> String {
    match odd {
        ' ' => "a blank".to_owned(),
        '\t' => "a tab".to_owned(),
        '\n' | '\r' => "a line break".to_owned(),
        c if c.is_control() => format!("the control character U+{:04X}", u32::from(c)),
        c => format!("`{c}` (U+{:04X})", u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_itself_apart() {
        let arn =
            RoleArn::parse("arn:aws-us-gov:iam::111122223333:role/a/b/Orders,x@y", false).unwrap();
        assert_eq!(arn.partition(), "aws-us-gov");
        assert_eq!(arn.account_id(), "111122223333");
        assert_eq!(arn.role_name(), "Orders,x@y");
        assert_eq!(arn.to_string(), "arn:aws-us-gov:iam::111122223333:role/a/b/Orders,x@y");
    }

    #[test]
    fn no_account_only_when_relaxed() {
        let ceph = "arn:aws:iam:::role/x";
        assert_eq!(RoleArn::parse(ceph, true).unwrap().account_id(), "");
        assert!(RoleArn::parse(ceph, false).is_err());
        assert!(RoleArn::parse("arn:aws:iam::12:role/x", true).is_err());
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, what) in [
            ("", "is empty"),
            (" arn:aws:iam::111122223333:role/x", "has blanks at its ends"),
            ("orders", "is a bare name, not an ARN"),
            ("role/orders", "is not an ARN"),
            ("arn:aws:iam::111122223333", "stops before the role's name"),
            ("arn:aws:iam::11112222333:role/x", "has an account of 11 digits"),
            ("arn:aws:iam::1111222233334:role/x", "has an account of 13 digits"),
            ("arn:aws:iam::1111-2222-3333:role/x", "names the account `1111-2222-3333`"),
            ("arn:aws:iam::111122223333:user/x", "names a user, not a role"),
            ("arn:aws:iam::111122223333:root", "names a whole account, not a role"),
            ("arn:aws:iam::111122223333:role/", "has no role name after `role/`"),
            ("arn:aws:iam::111122223333:role//x", "has an empty step in its path"),
            ("arn:aws:iam::111122223333:role/a b", "holds a blank"),
            ("arn:aws:iam::111122223333:role/a:b", "has `:` (U+003A) in the role's name"),
            ("arn:AWS:iam::111122223333:role/x", "names the partition `AWS`"),
            ("arn:aws:iam:eu-west-1:111122223333:role/x", "names the region `eu-west-1`"),
            ("arn:aws:s3:::bucket", "names the service `s3`, not `iam`"),
            ("urn:aws:iam::111122223333:role/x", "does not begin with `arn:`"),
        ] {
            assert_eq!(RoleArn::parse(text, false).unwrap_err().what, what, "{text}");
        }
        let session = RoleArn::parse("arn:aws:sts::111122223333:assumed-role/Orders/i-0abc", false)
            .unwrap_err();
        assert!(session.expected.contains("arn:aws:iam::111122223333:role/Orders"), "{session}");
    }

    #[test]
    fn limits_are_inclusive() {
        let name = "n".repeat(64);
        assert!(RoleArn::parse(&format!("arn:aws:iam::111122223333:role/{name}"), false).is_ok());
        assert!(RoleArn::parse(&format!("arn:aws:iam::111122223333:role/{name}n"), false).is_err());
    }
}
