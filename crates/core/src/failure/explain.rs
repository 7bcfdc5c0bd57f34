//! Advice about a failure: its meaning, the people to ask, and the change to ask for. Pure.
//!
//! It is derived by one [`table`] from a role and an [`IssueError`], whenever it is shown. Where
//! AWS does not name the cause, the advice lists the possible causes and does not choose one.

use std::fmt;

use serde::Serialize;

use self::denial::{Denial, Reason};
use self::table::{Certainty, When};
use super::IssueError;
use crate::role::Role;

pub mod denial;
pub mod table;

/// The identity that signs requests to STS, where AWS does not name it.
const BASE: &str = "roletap's base identity";

/// The meaning of a failure and the way to repair it. `/roles` shows the fields by these names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Advice {
    /// The meaning; it begins with "most likely" where roletap concludes it.
    pub meaning: String,
    /// The people who can make the change.
    pub ask: String,
    /// The change to ask them for.
    pub change: String,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { meaning, ask, change } = self;
        write!(f, "{meaning}. Ask {ask}: {change}")
    }
}

/// Explains a failure to issue credentials for `role`.
pub fn advice(role: &Role, failure: &IssueError) -> Advice {
    let said = failure.aws_message.as_deref().unwrap_or(&failure.message);
    let denial = Denial::parse(said);
    let rows = table::rows(failure.class);
    let found = rows.iter().find(|row| row.when.fits(failure, said, denial.as_ref()));
    // The last row of a class fits always.
    let Some(row) = found.or(rows.last()) else {
        return Advice::default();
    };
    let facts = Facts { role, failure, denial };
    let meaning = facts.fill(row.meaning);
    Advice {
        meaning: match row.certainty {
            Certainty::Told => meaning,
            Certainty::Likely(why) => format!("most likely {meaning}. {why}"),
        },
        ask: facts.fill(row.ask),
        change: facts.fill(row.change),
    }
}

impl When {
    fn fits(&self, failure: &IssueError, said: &str, denial: Option<&Denial<'_>>) -> bool {
        let code = failure.code.as_deref().unwrap_or_default();
        let reason = denial.map(|denial| denial.reason);
        match self {
            Self::Code(codes) => codes.contains(&code),
            Self::Implicit(kind) => reason == Some(Reason::Implicit(*kind)),
            Self::Explicit(kind) => {
                matches!(reason, Some(Reason::Explicit { kind: found, .. }) if found == *kind)
            }
            Self::Action(action) => denial.is_some_and(|denial| denial.action == *action),
            Self::Cause(cause) => failure.cause == Some(*cause),
            Self::Says(codes, phrase) => {
                (codes.is_empty() || codes.contains(&code)) && said.contains(phrase)
            }
            Self::Status(range) => {
                failure.code.is_none()
                    && failure.status.is_some_and(|status| range.contains(&status))
            }
            Self::Else => true,
        }
    }
}

/// The values for the placeholders of the templates.
struct Facts<'a> {
    role: &'a Role,
    failure: &'a IssueError,
    denial: Option<Denial<'a>>,
}

impl Facts<'_> {
    fn fill(&self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                break;
            };
            out.push_str(before);
            out.push_str(&self.value(name));
            rest = after;
        }
        out + rest
    }

    fn value(&self, name: &str) -> String {
        let request = &self.role.request;
        let denial = self.denial.as_ref();
        let base = || format!("{BASE} (source `{}`)", request.base);
        match name {
            "role_arn" => request.role_arn.to_string(),
            "account" => request.role_arn.account_id().to_owned(),
            "source" => request.base.to_string(),
            "region" => self.failure.region.as_deref().unwrap_or("`sts.region`").to_owned(),
            "duration" => self.role.duration.as_secs().to_string(),
            "skew" => match self.failure.skew_seconds.unwrap_or_default() {
                0 => "differs from".to_owned(),
                behind @ 1.. => format!("is {behind} s behind"),
                ahead => format!("is {} s ahead of", ahead.unsigned_abs()),
            },
            "base" => denial.map_or_else(base, |denial| denial.caller.to_owned()),
            "principal" => denial.map_or_else(base, Denial::principal),
            "base_account" => match denial.and_then(Denial::caller_account) {
                Some(account) => format!("account {account} (the account of {BASE})"),
                None => format!("the account of {BASE}"),
            },
            "action" => denial.map_or("sts:AssumeRole", |denial| denial.action).to_owned(),
            "policy" => match denial.map(|denial| denial.reason) {
                Some(Reason::Explicit { policy: Some(policy), .. }) => format!(" ({policy})"),
                Some(_) | None => String::new(),
            },
            "external_id" => match request.external_id {
                Some(_) => {
                    "The request has the external ID of this role's configuration".to_owned()
                }
                None => "The request has no external ID, but the trust policy may require one"
                    .to_owned(),
            },
            "or_drop" => match denial.map(|denial| denial.action) {
                Some("sts:TagSession") => ". Or remove `tags` from this role".to_owned(),
                Some("sts:SetSourceIdentity") => {
                    ". Or remove `source_identity` from this role".to_owned()
                }
                Some(_) | None => String::new(),
            },
            // A mistake in the table, which a test finds by its braces.
            _ => format!("{{{name}}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::role;

    use crate::failure::Class;

    fn denied(message: &str) -> Advice {
        let failure = IssueError {
            code: Some("AccessDenied".into()),
            aws_message: Some(message.into()),
            ..IssueError::new(Class::Denied, "as scripted")
        };
        advice(&role("orders", 3600), &failure)
    }

    #[test]
    fn every_template_can_be_filled_in_and_the_last_row_of_each_class_fits_always() {
        let role = role("orders", 3600);
        for class in Class::ALL {
            let failure = IssueError::new(class, "as scripted");
            let facts = Facts { role: &role, failure: &failure, denial: None };
            let rows = table::rows(class);
            assert!(matches!(rows.last().unwrap().when, When::Else), "{class}");
            let always = rows.iter().filter(|row| matches!(row.when, When::Else));
            assert_eq!(always.count(), 1, "{class}: rows below the last say nothing");
            for row in rows {
                for template in [row.meaning, row.ask, row.change] {
                    let filled = facts.fill(template);
                    assert!(!filled.is_empty(), "{:?} lacks a text", row.when);
                    assert!(!filled.contains(['{', '}']), "{filled}");
                    assert!(!filled.ends_with('.'), "{filled}");
                }
            }
        }
    }

    #[test]
    fn no_sentence_of_the_table_has_more_than_25_words() {
        let role = role("orders", 3600);
        let tail = "on resource: arn:aws:iam::111122223333:role/orders";
        let said = format!(
            "User: arn:aws:iam::999988887777:user/us is not authorized to perform: sts:TagSession {tail}"
        );
        for class in Class::ALL {
            let failure = IssueError::new(class, "as scripted");
            for denial in [None, Denial::parse(&said)] {
                let facts = Facts { role: &role, failure: &failure, denial };
                for row in table::rows(class) {
                    let [meaning, ask, change] =
                        [row.meaning, row.ask, row.change].map(|template| facts.fill(template));
                    let why = match row.certainty {
                        Certainty::Told => "",
                        Certainty::Likely(why) => why,
                    };
                    let text = format!("most likely {meaning}. {why}. Ask {ask}: {change}");
                    for sentence in text.split(". ") {
                        let words = sentence.split_whitespace().count();
                        assert!(words <= 25, "{words} words: {sentence}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_aws_said_stands_in_the_advice() {
        let advice = denied(
            "User: arn:aws:iam::999988887777:user/us is not authorized to perform: sts:TagSession on resource: \
             arn:aws:iam::111122223333:role/orders with an explicit deny in an identity-based policy: \
             arn:aws:iam::999988887777:policy/no-tags",
        );
        assert_eq!(
            advice.meaning,
            "an identity-based policy (arn:aws:iam::999988887777:policy/no-tags) of \
             arn:aws:iam::999988887777:user/us denies sts:TagSession"
        );
        assert_eq!(
            advice.ask,
            "the administrators of account 999988887777 (the account of roletap's base identity)"
        );
        assert!(advice.change.ends_with(". Or remove `tags` from this role"), "{advice}");
    }

    #[test]
    fn a_key_that_aws_does_not_know_is_the_business_of_this_host() {
        let failure = IssueError {
            code: Some("InvalidClientTokenId".into()),
            aws_message: Some("The security token included in the request is invalid".into()),
            ..IssueError::new(Class::Source, "as scripted")
        };
        let advice = advice(&role("orders", 3600), &failure);
        assert!(advice.meaning.contains("The trust policy is not the cause"), "{advice}");
        assert!(advice.ask.contains("roletap's base credentials"), "{advice}");
    }

    #[test]
    fn a_denial_without_a_reason_is_not_given_one() {
        for message in [
            "",
            "You do not have permission to perform this action.",
            "User: arn:aws:iam::999988887777:user/us is not authorized to perform: sts:AssumeRole on resource: \
             arn:aws:iam::111122223333:role/trust-policy",
        ] {
            let advice = denied(message);
            assert!(
                advice.meaning.starts_with("most likely one of these three is the cause. "),
                "{advice}"
            );
        }
    }
}
