//! roletap's base identity to STS, and the principal that a trust policy has to name for it.

use std::fmt;

use super::arn::{check_account, describe, is_partition};
use super::{InvalidValue, RoleArn, is_name_char, refuse};

/// The end of every complaint about a principal that knows no better.
const EXPECTED: &str = "expected the ARN of a role or a user, such as arn:aws:iam::444455556666:role/sinks or arn:aws:iam::444455556666:user/sinks";
/// IAM Identity Center keeps its roles below this path.
const IDENTITY_CENTER: &str = "AWSReservedSSO_";

/// An answer of `GetCallerIdentity`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerIdentity {
    arn: String,
    principal: Principal,
}

impl CallerIdentity {
    /// Parses the `Arn` of an answer. Emulators leave the account out.
    pub fn parse(arn: &str) -> Result<Self, InvalidValue> {
        Ok(Self { arn: arn.to_owned(), principal: Principal::parse(arn, true)? })
    }

    /// The ARN that STS answered: for a role it is that of the session.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The 12 digits of the account, or empty where an emulator said nothing.
    pub fn account_id(&self) -> &str {
        self.principal.account_id()
    }

    /// The partition: `aws`, `aws-cn`, `aws-us-gov`, …
    pub fn partition(&self) -> &str {
        self.principal.partition()
    }

    /// The principal that a trust policy names for this identity.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// True for a session of a role. Roles that it assumes are chained, and STS grants an hour at most.
    pub fn is_role_session(&self) -> bool {
        match self.principal.kind {
            PrincipalKind::RoleOfSession => true,
            PrincipalKind::User
            | PrincipalKind::Role
            | PrincipalKind::Account
            | PrincipalKind::FederatedUser => false,
        }
    }
}

/// A principal that a policy can name as `{"AWS": …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    arn: String,
    kind: PrincipalKind,
}

/// The kind of a principal, which decides about its caveat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalKind {
    /// An IAM user.
    User,
    /// A role, by its own ARN.
    Role,
    /// A role, found from the ARN of a session, which does not tell the role's path.
    RoleOfSession,
    /// A whole account: `:root`.
    Account,
    /// A federated user, as `GetFederationToken` yields.
    FederatedUser,
}

impl Principal {
    /// Parses the ARN of a user, a role, a role's session, an account's root or a federated user.
    /// A session becomes its role: `sts::A:assumed-role/N/S` → `iam::A:role/N`.
    /// An empty account is accepted when `relaxed` (an `endpoint_url` that is not AWS).
    pub fn parse(text: &str, relaxed: bool) -> Result<Self, InvalidValue> {
        if text == "*" {
            return refuse(
                "is everybody in the world",
                "name the one role or user that may come in",
            );
        }
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            return refuse(
                "is a whole account",
                format!(
                    "name the role or user that signs; if all of the account is meant, say arn:aws:iam::{text}:root"
                ),
            );
        }
        if let Some(odd) = text.chars().find(|c| !('\x21'..='\x7e').contains(c)) {
            return refuse(format!("holds {}", describe(odd)), EXPECTED);
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let &["arn", partition, service, "", account, resource] = parts.as_slice() else {
            return refuse("is not the ARN of a principal", EXPECTED);
        };
        if !is_partition(partition) {
            return refuse(format!("names the partition `{partition}`"), EXPECTED);
        }
        check_account(account, relaxed)?;
        let (kind, name) = resource.split_once('/').unwrap_or((resource, ""));
        let as_it_is = |kind| Ok(Self { arn: text.to_owned(), kind });
        match (service, kind) {
            ("iam", "root") if name.is_empty() => as_it_is(PrincipalKind::Account),
            ("iam", "user") if is_path_and_name(name) => as_it_is(PrincipalKind::User),
            ("iam", "role") => {
                RoleArn::parse(text, relaxed)?;
                as_it_is(PrincipalKind::Role)
            }
            ("sts", "federated-user") if is_name(name) => as_it_is(PrincipalKind::FederatedUser),
            ("sts", "assumed-role") => match name.split_once('/') {
                Some((role, session)) if is_name(role) && is_name(session) => Ok(Self {
                    arn: format!("arn:{partition}:iam::{account}:role/{role}"),
                    kind: PrincipalKind::RoleOfSession,
                }),
                Some(_) | None => {
                    refuse("names a session without a role's name and its own", EXPECTED)
                }
            },
            _ => refuse("names neither a role nor a user", EXPECTED),
        }
    }

    /// The ARN that stands in the policy.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The user's or role's own name: what follows the last slash.
    pub fn name(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }

    /// The kind of the principal.
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The 12 digits of the account, or empty where `relaxed` allowed it.
    pub fn account_id(&self) -> &str {
        self.arn.split(':').nth(4).unwrap_or_default()
    }

    /// The partition: `aws`, `aws-cn`, `aws-us-gov`, …
    pub fn partition(&self) -> &str {
        self.arn.split(':').nth(1).unwrap_or_default()
    }

    /// Sentences that a person has to know before it stands in a policy.
    pub fn caveat(&self) -> Option<String> {
        let name = self.name();
        match self.kind {
            PrincipalKind::User | PrincipalKind::Role => None,
            PrincipalKind::RoleOfSession if name.starts_with(IDENTITY_CENTER) => Some(format!(
                "The role {name} belongs to IAM Identity Center, so its path is aws-reserved/sso.amazonaws.com/, mostly with \
                 a region after it. A session's ARN does not tell: add the path to the principal by hand. \
                 `aws iam get-role --role-name {name}` shows the whole ARN."
            )),
            PrincipalKind::RoleOfSession => Some(format!(
                "If the role {name} has a path, add it to the principal by hand: a session's ARN does not tell. \
                 `aws iam get-role --role-name {name}` shows the whole ARN."
            )),
            PrincipalKind::Account => Some(
                "The principal is a whole account: whoever its administrators allow may come in. \
                 Name the one role or user instead; root itself cannot assume roles."
                    .to_owned(),
            ),
            PrincipalKind::FederatedUser => Some(
                "A federated user cannot assume roles: sign with a user or a role instead."
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_name_char)
}

fn is_path_and_name(text: &str) -> bool {
    !text.contains("//")
        && !text.starts_with('/')
        && is_name(text.rsplit('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusts_what_can_be_trusted() {
        for (found, trusted, kind) in [
            (
                "arn:aws:iam::444455556666:user/team/sinks",
                "arn:aws:iam::444455556666:user/team/sinks",
                PrincipalKind::User,
            ),
            (
                "arn:aws-cn:sts::444455556666:assumed-role/Sinks/i-0abc",
                "arn:aws-cn:iam::444455556666:role/Sinks",
                PrincipalKind::RoleOfSession,
            ),
            (
                "arn:aws-us-gov:iam::444455556666:role/a/b/Sinks",
                "arn:aws-us-gov:iam::444455556666:role/a/b/Sinks",
                PrincipalKind::Role,
            ),
            (
                "arn:aws:iam::444455556666:root",
                "arn:aws:iam::444455556666:root",
                PrincipalKind::Account,
            ),
            (
                "arn:aws:sts::444455556666:federated-user/bob",
                "arn:aws:sts::444455556666:federated-user/bob",
                PrincipalKind::FederatedUser,
            ),
        ] {
            let principal = Principal::parse(found, false).unwrap();
            assert_eq!(principal.arn(), trusted);
            assert_eq!(principal.kind(), kind, "{found}");
            assert_eq!(principal.account_id(), "444455556666");
            let plain = matches!(kind, PrincipalKind::User | PrincipalKind::Role);
            assert_eq!(principal.caveat().is_none(), plain, "{found}");
        }
    }

    #[test]
    fn refuses_everybody_and_everything_else() {
        for (text, what) in [
            ("*", "is everybody in the world"),
            ("444455556666", "is a whole account"),
            ("", "is not the ARN of a principal"),
            ("sinks", "is not the ARN of a principal"),
            ("arn:aws:iam::444455556666:user/*", "names neither a role nor a user"),
            ("arn:aws:iam::444455556666:user/", "names neither a role nor a user"),
            ("arn:aws:iam::444455556666:group/x", "names neither a role nor a user"),
            ("arn:aws:iam::444455556666:role/*", "has `*` (U+002A) in the role's name"),
            ("arn:aws:iam::44445555666:user/x", "has an account of 11 digits"),
            ("arn:aws:iam:::user/x", "has no account"),
            ("arn:aws:iam::444455556666:user/a b", "holds a blank"),
            ("arn:aws:iam::444455556666:user/a\nb", "holds a line break"),
            ("arn:aws:s3:::bucket", "has no account"),
            (
                "arn:aws:sts::444455556666:assumed-role/Sinks",
                "names a session without a role's name and its own",
            ),
            ("arn:evil:iam::444455556666:user/x", "names the partition `evil`"),
        ] {
            let refused = Principal::parse(text, false).unwrap_err();
            assert_eq!(refused.what, what, "{text:?}");
        }
        let sso = "arn:aws:sts::444455556666:assumed-role/AWSReservedSSO_Admin_0123/bob";
        let caveat = Principal::parse(sso, false).unwrap().caveat().unwrap();
        assert!(caveat.contains("aws-reserved/sso.amazonaws.com/"), "{caveat}");
    }

    #[test]
    fn an_identity_knows_account_partition_and_whether_it_is_a_role() {
        let session = "arn:aws-cn:sts::444455556666:assumed-role/Sinks/i-0abc";
        let identity = CallerIdentity::parse(session).unwrap();
        assert_eq!(identity.arn(), session);
        assert_eq!(identity.account_id(), "444455556666");
        assert_eq!(identity.partition(), "aws-cn");
        assert!(identity.is_role_session());
        let user = CallerIdentity::parse("arn:aws:iam:::user/ceph").unwrap();
        assert_eq!(user.account_id(), "");
        assert!(!user.is_role_session());
    }
}
