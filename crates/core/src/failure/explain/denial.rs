//! A parser for the sentence that AWS refuses an action with. Pure.
//!
//! ```text
//! User: ARN is not authorized to perform: ACTION[ on resource: ARN]
//!     [ because no KIND [policy ]allows the ACTION action | with an explicit deny in a|an|the KIND[ policy][: ARN]]
//! ```
//!
//! STS adds the second line only within one account or organization. Other services add it more
//! often.

use std::fmt;

/// A parsed refusal: the caller, the action, the resource and the policy, as far as AWS names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial<'a> {
    /// The ARN of the identity that asked.
    pub caller: &'a str,
    /// The action, such as `sts:AssumeRole`.
    pub action: &'a str,
    /// The ARN of the resource.
    pub resource: Option<&'a str>,
    /// The kind of policy that refused, as far as AWS names it.
    pub reason: Reason<'a>,
}

/// The reason why AWS refused an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason<'a> {
    /// A statement denies the action.
    Explicit {
        /// The kind of the policy with the statement.
        kind: PolicyKind,
        /// The ARN of the policy, where AWS names it.
        policy: Option<&'a str>,
    },
    /// No policy of this kind allows the action.
    Implicit(PolicyKind),
    /// The sentence continues with words that this parser does not know.
    Unknown(&'a str),
    /// AWS does not say: it hides the reason from other accounts.
    Unsaid,
}

/// The kind of a policy. It tells who can change the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    /// A permissions boundary: the largest permissions that an identity may have.
    Boundary,
    /// The policy of an interface endpoint in a VPC.
    Endpoint,
    /// A policy that is attached to the caller.
    Identity,
    /// A policy of the resource: a role's trust policy, a bucket policy.
    Resource,
    /// A resource control policy (RCP) of the organization of the resource.
    ResourceControl,
    /// A service control policy (SCP) of the organization of the caller.
    ServiceControl,
    /// A policy that was passed when the caller's session was issued.
    Session,
}

/// The kinds as AWS writes them. The longer name first: `session policy` ends many others.
const KINDS: &[(&str, PolicyKind)] = &[
    ("VPC endpoint policy", PolicyKind::Endpoint),
    ("identity-based policy", PolicyKind::Identity),
    ("permissions boundary", PolicyKind::Boundary),
    ("resource control policy", PolicyKind::ResourceControl),
    ("resource-based policy", PolicyKind::Resource),
    ("role trust policy", PolicyKind::Resource),
    ("service control policy", PolicyKind::ServiceControl),
    ("session policy", PolicyKind::Session),
    ("trust policy", PolicyKind::Resource),
];

impl<'a> Denial<'a> {
    /// Parses the sentence. Returns `None` for any other sentence.
    pub fn parse(message: &'a str) -> Option<Self> {
        let rest = message.trim().strip_prefix("User: ")?;
        let (caller, rest) = rest.split_once(" is not authorized to perform: ")?;
        let (action, rest) = word(rest);
        let (resource, rest) = match rest.strip_prefix(" on resource: ") {
            Some(rest) => {
                let (resource, rest) = word(rest);
                (Some(resource.trim_matches('"')), rest)
            }
            None => (None, rest),
        };
        Some(Self { caller, action, resource, reason: Reason::parse(rest.trim()) })
    }

    /// Returns the principal that a policy has to name for this caller. For a session it is the
    /// role.
    pub fn principal(&self) -> String {
        let parts: Vec<&str> = self.caller.splitn(6, ':').collect();
        match parts.as_slice() {
            [_, partition, "sts", _, account, resource] => {
                match resource.split('/').collect::<Vec<_>>().as_slice() {
                    ["assumed-role", name, _] => {
                        format!("arn:{partition}:iam::{account}:role/{name} (plus its path)")
                    }
                    _ => self.caller.to_owned(),
                }
            }
            _ => self.caller.to_owned(),
        }
    }

    /// Returns the account ID of the caller.
    pub fn caller_account(&self) -> Option<&'a str> {
        let account = self.caller.split(':').nth(4)?;
        (!account.is_empty()).then_some(account)
    }
}

impl<'a> Reason<'a> {
    fn parse(tail: &'a str) -> Self {
        if tail.trim_end_matches('.').is_empty() {
            return Self::Unsaid;
        }
        let implicit = tail.strip_prefix("because no ").and_then(|rest| {
            let (kind, rest) = PolicyKind::at_the_start_of(rest)?;
            rest.starts_with(" allows the ").then_some(Self::Implicit(kind))
        });
        let explicit = || {
            let rest = tail.strip_prefix("with an explicit deny in ")?;
            let (_article, rest) = rest.split_once(' ')?;
            let (kind, rest) = PolicyKind::at_the_start_of(rest)?;
            let policy = rest.strip_prefix(": ").map(|rest| word(rest).0);
            Some(Self::Explicit { kind, policy })
        };
        implicit.or_else(explicit).unwrap_or(Self::Unknown(tail))
    }
}

impl PolicyKind {
    fn at_the_start_of(text: &str) -> Option<(Self, &str)> {
        KINDS.iter().find_map(|(name, kind)| Some((*kind, text.strip_prefix(name)?)))
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(_, kind)| kind == self);
        f.write_str(name.map_or("policy", |(name, _)| name))
    }
}

/// Splits a text at its first space.
fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(' ').unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "User: arn:aws:iam::999988887777:user/roletap is not authorized to perform: sts:AssumeRole";
    const ROLE: &str = "arn:aws:iam::111122223333:role/orders";

    fn reason(tail: &str) -> String {
        let text = format!("{HEAD} on resource: {ROLE}{tail}");
        format!("{:?}", Denial::parse(&text).unwrap().reason)
    }

    #[test]
    fn the_head_names_caller_action_and_resource() {
        let text = format!("{HEAD} on resource: {ROLE}");
        let denial = Denial::parse(&text).unwrap();
        assert_eq!(denial.caller, "arn:aws:iam::999988887777:user/roletap");
        assert_eq!(denial.caller_account(), Some("999988887777"));
        assert_eq!(denial.action, "sts:AssumeRole");
        assert_eq!(denial.resource, Some(ROLE));
        assert_eq!(denial.reason, Reason::Unsaid);
        assert_eq!(Denial::parse(HEAD).unwrap().resource, None);
    }

    #[test]
    fn a_policy_names_the_role_of_a_session() {
        let of = |caller: &str| {
            let text = format!("User: {caller} is not authorized to perform: sts:AssumeRole");
            Denial::parse(&text).unwrap().principal()
        };
        assert!(
            of("arn:aws-cn:sts::1:assumed-role/base/i-1")
                .starts_with("arn:aws-cn:iam::1:role/base (")
        );
        for same in ["arn:aws:iam::1:user/path/us", "arn:aws:sts::1:federated-user/us", "us"] {
            assert_eq!(of(same), same);
        }
    }

    #[test]
    fn s3_quotes_what_it_is_about() {
        let text = "User: arn:aws:sts::1:assumed-role/a/b is not authorized to perform: s3:PutObject on resource: \
                    \"arn:aws:s3:::b/k\" because no identity-based policy allows the s3:PutObject action";
        let denial = Denial::parse(text).unwrap();
        assert_eq!(denial.resource, Some("arn:aws:s3:::b/k"));
        assert_eq!(denial.reason, Reason::Implicit(PolicyKind::Identity));
    }

    #[test]
    fn every_kind_is_read_in_both_forms() {
        for (name, kind) in KINDS {
            let implicit = reason(&format!(" because no {name} allows the sts:AssumeRole action"));
            assert_eq!(implicit, format!("{:?}", Reason::Implicit(*kind)));
            for article in ["a", "an", "the"] {
                let policy = None;
                assert_eq!(
                    reason(&format!(" with an explicit deny in {article} {name}")),
                    format!("{:?}", Reason::Explicit { kind: *kind, policy })
                );
            }
            let policy = Some("arn:aws:iam::999988887777:policy/no");
            assert_eq!(
                reason(&format!(
                    " with an explicit deny in a {name}: arn:aws:iam::999988887777:policy/no"
                )),
                format!("{:?}", Reason::Explicit { kind: *kind, policy })
            );
        }
    }

    #[test]
    fn unknown_sentences_are_not_guessed_at() {
        let new = " because no moon phase policy allows the sts:AssumeRole action";
        assert_eq!(reason(new), format!("{:?}", Reason::Unknown(new.trim())));
        assert_eq!(Denial::parse("Roles may not be assumed by root accounts."), None);
        // Not by position in the text: the words of a role's name decide nothing.
        let text = HEAD.to_owned() + " on resource: arn:aws:iam::1:role/identity-based-policy";
        assert_eq!(Denial::parse(&text).unwrap().reason, Reason::Unsaid);
    }
}
