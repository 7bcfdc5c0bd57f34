//! Policies for others to apply: who may assume a role, whom we may assume, what a sink may do in a bucket. Pure.
//!
//! A policy says one thing in three languages; its text comes from one tree, so that none of them says more than another.
//! Nothing here widens: principals, roles, buckets and prefixes are exact, and whatever IAM would read as a pattern is
//! refused before it gets here.

mod bucket;
mod cloudformation;
mod document;
mod terraform;
mod words;

use std::collections::BTreeSet;

pub use bucket::{Access, Bucket, BucketName, KmsKey, Prefix};
pub use document::Document;
use document::{Condition, Statement};

use crate::role::{InvalidValue, Principal, Role, check_characters, is_name_char, refuse};

/// A policy, and the account that it is for.
#[derive(Debug, Clone)]
pub enum Policy<'a> {
    /// The trust policy of a role: who may assume it. For the role's owner.
    Trust {
        /// The role that the policy is about.
        role: &'a Role,
        /// The principal that may assume the role.
        principal: &'a Principal,
        /// Names of sessions that are let in; others are not.
        session_names: Option<&'a SessionNames>,
        /// The role's account is in `own_account_ids`.
        own: bool,
    },
    /// The identity policy of roletap's base identity, for its owner.
    Caller {
        /// The roles that may be assumed.
        roles: Vec<&'a Role>,
        /// The identity, if it is known.
        principal: Option<&'a Principal>,
    },
    /// The permissions of a role in a bucket, for the role's owner.
    Bucket {
        /// The role that the policy is about.
        role: &'a Role,
        /// The bucket, and how much of it.
        bucket: &'a Bucket,
    },
}

/// In which language a policy is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// The document itself, as the AWS CLI takes it.
    Json,
    /// A data source of Terraform's AWS provider.
    Terraform,
    /// A CloudFormation template, YAML.
    CloudFormation,
}

/// A pattern of session names, for `StringLike`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionNames(String);

impl SessionNames {
    /// Names of sessions as STS takes them, with `*` and `?` standing for other characters.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        const EXPECTED: &str =
            "expected a name such as orders-web-1, or a pattern such as orders-*";
        check_characters(text, |c| is_name_char(c) || matches!(c, '*' | '?'), EXPECTED)?;
        match text.len() {
            0 => refuse("is empty", EXPECTED),
            1..=64 => Ok(Self(text.to_owned())),
            length => refuse(
                format!("has {length} characters"),
                "expected at most 64: no session has a longer name",
            ),
        }
    }

    /// Tells whether a session of this name is allowed.
    pub fn lets_in(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut read) = (0, 0);
        // Where the last `*` stands, and how much it has eaten.
        let mut star = None;
        while read < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, read));
                    at += 1;
                }
                Some(&c) if c == b'?' || c == name[read] => (at, read) = (at + 1, read + 1),
                Some(_) | None => match star {
                    Some((place, eaten)) => {
                        star = Some((place, eaten + 1));
                        (at, read) = (place + 1, eaten + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|&c| c == b'*')
    }
}

/// Refuses an ARN that IAM would read as a pattern or with a variable in it: the policy would then say more than was meant.
pub fn check_exact(arn: &str) -> Result<(), InvalidValue> {
    match arn.chars().find(|c| "*?${}".contains(*c)) {
        Some(odd) => refuse(
            format!("holds `{odd}`"),
            "IAM reads that as a pattern or a variable, so no policy is written with it: use a path without `* ? $ { }`",
        ),
        None => Ok(()),
    }
}

impl Policy<'_> {
    /// Builds the policy document.
    pub fn written(&self) -> Document {
        Document::of(match self {
            Self::Trust { role, principal, session_names, own: _ } => {
                trust(role, principal, *session_names)
            }
            Self::Caller { roles, .. } => caller(roles),
            Self::Bucket { role, bucket } => bucket.statements(role.request.role_arn.partition()),
        })
    }

    /// The document in a language, with a line break at its end.
    pub fn text(&self, language: Language) -> String {
        match language {
            Language::Json => self.written().json(),
            Language::Terraform => terraform::data_source(&self.label(), &self.written()),
            Language::CloudFormation => cloudformation::template(self),
        }
    }

    /// For the person: whose it is, how it is applied, and what to look at.
    pub fn words(&self, language: Language) -> String {
        words::of(self, language)
    }

    /// Returns the name for Terraform and for files.
    fn label(&self) -> String {
        match self {
            Self::Trust { role, .. } => format!("{}_trust", terraform::name(role.name.as_str())),
            Self::Bucket { role, .. } => format!("{}_s3", terraform::name(role.name.as_str())),
            Self::Caller { roles, .. } => match roles.as_slice() {
                [role] => format!("{}_caller", terraform::name(role.name.as_str())),
                _ => "all_roles_caller".to_owned(),
            },
        }
    }
}

/// One statement for each action: `sts:ExternalId` is known when a role is assumed, and not documented for the two
/// others, where the comparison would then never hold.
fn trust(
    role: &Role,
    principal: &Principal,
    session_names: Option<&SessionNames>,
) -> Vec<Statement> {
    let request = &role.request;
    let lets = |sid, action| Statement::allow(sid, &[action]).to(principal.arn());
    let mut assume = lets("RoletapAssumes", "sts:AssumeRole");
    if let Some(id) = &request.external_id {
        assume = assume.when(Condition::equals("sts:ExternalId", &[id.as_str()]));
    }
    if let Some(names) = session_names {
        assume = assume.when(Condition::like("sts:RoleSessionName", &[&names.0]));
    }
    let mut statements = vec![assume];
    let keys = tag_keys(role);
    if !keys.is_empty() {
        // Other keys than these are not ours to set.
        let only = Condition::all_equal("aws:TagKeys", &keys);
        statements.push(lets("RoletapTags", "sts:TagSession").when(only));
    }
    if has_source_identity(role) {
        statements.push(lets("RoletapNamesItself", "sts:SetSourceIdentity"));
    }
    statements
}

/// Of the tags of its session: its own, and the transitive ones of the roles it is chained to.
fn tag_keys(role: &Role) -> Vec<&str> {
    let own = role.request.tags.iter().map(|(key, _)| key);
    let inherited = role.ancestors().flat_map(|ancestor| &ancestor.request.transitive_tag_keys);
    let mut keys: Vec<&str> = Vec::new();
    for key in own.chain(inherited) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    keys
}

/// A source identity stays with a chain once it is set, and each further role has to allow it.
fn has_source_identity(role: &Role) -> bool {
    role.request.source_identity.is_some()
        || role.ancestors().any(|ancestor| ancestor.request.source_identity.is_some())
}

fn caller(roles: &[&Role]) -> Vec<Statement> {
    let of = |sid, action, wanted: fn(&Role) -> bool| {
        let arns: BTreeSet<&str> = roles
            .iter()
            .filter(|role| wanted(role))
            .map(|role| role.request.role_arn.as_str())
            .collect();
        (!arns.is_empty()).then(|| {
            let arns: Vec<&str> = arns.into_iter().collect();
            Statement::allow(sid, &[action]).on(&arns)
        })
    };
    [
        of("RoletapAssumes", "sts:AssumeRole", |_| true),
        of("RoletapTags", "sts:TagSession", |role| !tag_keys(role).is_empty()),
        of("RoletapNamesItself", "sts:SetSourceIdentity", has_source_identity),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_session_names() {
        for (pattern, name, lets_in) in [
            ("orders-web-1", "orders-web-1", true),
            ("orders-web-1", "orders-web-12", false),
            ("orders-*", "orders-web-1", true),
            ("orders-*", "orders-", true),
            ("orders-*", "billing-web-1", false),
            ("*-web-?", "orders-web-1", true),
            ("*-web-?", "orders-web-12", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            let names = SessionNames::parse(pattern).unwrap();
            assert_eq!(names.lets_in(name), lets_in, "{pattern} {name}");
        }
        for bad in ["", "a b", "${aws:username}", &"a".repeat(65)] {
            assert!(SessionNames::parse(bad).is_err(), "{bad}");
        }
    }
}
