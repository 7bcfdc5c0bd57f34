//! AssumeRoleWithWebIdentity: nobody signs it, a token is shown.

use aws_sdk_sts::operation::assume_role_with_web_identity::builders::AssumeRoleWithWebIdentityFluentBuilder;

use super::endpoints::Endpoint;
use crate::credentials::rfc3339;
use crate::role::{RoleArn, SessionName};
use crate::source::Token;

pub(super) const OPERATION: &str = "AssumeRoleWithWebIdentity";

pub(super) fn request(
    endpoint: &Endpoint,
    token: &Token,
    role_arn: &RoleArn,
    session_name: &SessionName,
) -> AssumeRoleWithWebIdentityFluentBuilder {
    endpoint
        .client()
        .assume_role_with_web_identity()
        .role_arn(role_arn.as_str())
        .role_session_name(session_name.as_str())
        .web_identity_token(token.reveal())
}

/// What no message may repeat.
pub(super) fn private(token: &Token) -> [&str; 1] {
    [token.reveal()]
}

/// What the token says of itself, to be held beside the trust policy and the clock. Never the token.
pub(super) fn described(token: &Token) -> String {
    let mut said = vec![format!("the token is that of {}", token.file().display())];
    if let Some(at) = token.changed_at() {
        said.push(format!("written at {}", rfc3339(at)));
    }
    match token.claims() {
        None => said.push("it is no JSON web token".to_owned()),
        Some(claims) => {
            let mut claim = |name: &str, value: Option<String>| {
                if let Some(value) = value {
                    said.push(format!("{name} `{value}`"));
                }
            };
            claim("iss", claims.issuer);
            claim("aud", claims.audience);
            claim("sub", claims.subject);
            claim("exp", claims.expires_at.map(rfc3339));
        }
    }
    said.join(", ")
}
