//! Reads `operation` of a role, and what belongs to each: who signs, or which token is shown.

use super::policy;
use super::text::not_blank;
use crate::config::diagnostics::Problem;
use crate::config::toml::{Located, Section};
use crate::role::{InvalidValue, TokenIdentity, refuse};

/// The operation of STS that yields a role's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    AssumeRole,
    WithWebIdentity,
}

/// The name of the one that a token belongs to.
const WITH_TOKEN: &str = "assume_role_with_web_identity";
/// Parameters of AssumeRole that AssumeRoleWithWebIdentity does not have.
const OF_ASSUME_ROLE: [&str; 5] =
    ["external_id", "external_id_file", "tags", "transitive_tag_keys", "source_identity"];

/// Operations of STS that a role cannot name, and why.
const REFUSED: &[(&str, &str)] = &[
    (
        "assume_root",
        "root of a member account is for a person who mends it: sessions last 15 minutes, and no sink needs one",
    ),
    (
        "assume_role_with_saml",
        "an assertion is made for a person who logs in, and it expires in minutes: let the role trust a role or an OIDC provider",
    ),
    (
        "get_delegated_access_token",
        "its token can be traded once, so nothing can be refreshed: let the role trust roletap's base identity",
    ),
    (
        "get_federation_token",
        "it needs keys of a user that last, and its sessions may not call STS: let a role trust roletap's base identity",
    ),
    (
        "get_session_token",
        "it yields the same user again, with MFA if at all: name the user's keys in a [source.*]",
    ),
    (
        "get_web_identity_token",
        "its token is for services outside of AWS, and roletap vends AWS credentials",
    ),
];

/// The source, as written, or the token that is shown in place of a signature.
pub(crate) fn read(
    section: &Section<'_>,
    policy: Option<&str>,
    policy_arns: &[String],
) -> (Option<Located<String>>, Option<TokenIdentity>) {
    let operation = section.text("operation", parse);
    let source = section.text_at("source", not_blank);
    let token_file = section.path("web_identity_token_file", not_blank);
    let provider_id = section.text("provider_id", provider);
    if operation != Some(Operation::WithWebIdentity) {
        for key in ["web_identity_token_file", "provider_id"] {
            let message = format!("`{key}` says nothing without `operation = \"{WITH_TOKEN}\"`");
            let help = "add it, and the token is shown in place of a signature; a token that signs for several roles \
                        belongs in a [source.*]";
            section.refuse_key(key, message, help);
        }
        return (source, None);
    }
    section.refuse_key(
        "source",
        format!("`source` says nothing with `operation = \"{WITH_TOKEN}\"`"),
        "nobody signs it: the token is all it takes. Remove it",
    );
    for key in OF_ASSUME_ROLE {
        let message = format!("`{key}` is no parameter of AssumeRoleWithWebIdentity");
        section.refuse_key(key, message, "what the token says takes its place: remove it");
    }
    check_size(section, policy, policy_arns);
    section.require(
        "web_identity_token_file",
        "add the path of the file that the identity provider's token is written to",
    );
    (None, token_file.map(|token_file| TokenIdentity { token_file, provider_id }))
}

/// The service model has a maximum for this operation, unlike for AssumeRole.
fn check_size(section: &Section<'_>, policy: Option<&str>, policy_arns: &[String]) {
    let size = policy::size(policy, policy_arns);
    if size > policy::DOCUMENTED_MAX {
        let place = policy::KEYS.iter().find_map(|key| section.place(key));
        let message = format!("the session policy and its ARNs have {size} characters");
        let most = policy::DOCUMENTED_MAX;
        let help = format!("AssumeRoleWithWebIdentity takes {most} at most: shorten it");
        section.diagnostics.emit(Problem::new(place, message).help(help));
    }
}

fn parse(text: &str) -> Result<Operation, InvalidValue> {
    // `AssumeRole`, `assume-role` and `assume_role` are the same.
    let plain: String =
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let is = |name: &str| name.replace('_', "") == plain;
    if let Some((_, why)) = REFUSED.iter().find(|(name, _)| is(name)) {
        return refuse(
            format!("is \"{}\", which roletap does not ask for", text.escape_debug()),
            *why,
        );
    }
    match text {
        "assume_role" => Ok(Operation::AssumeRole),
        WITH_TOKEN => Ok(Operation::WithWebIdentity),
        other => refuse(
            format!("is \"{}\"", other.escape_debug()),
            format!("expected \"assume_role\" or \"{WITH_TOKEN}\""),
        ),
    }
}

/// `urlType`: the two providers of OAuth 2.0 that AWS knows are named without a scheme.
fn provider(text: &str) -> Result<String, InvalidValue> {
    if !(4..=2048).contains(&text.chars().count()) {
        return refuse(
            format!("has {} characters", text.chars().count()),
            "expected 4 to 2048, such as www.amazon.com or graph.facebook.com",
        );
    }
    if text.contains("://") || text.contains(char::is_whitespace) {
        return refuse(
            "is not the bare name of a provider",
            "expected www.amazon.com or graph.facebook.com; a token of OpenID Connect names its provider itself",
        );
    }
    Ok(text.to_owned())
}
