//! The rows of [`Class::Misconfigured`](crate::failure::Class::Misconfigured): only a change of
//! roletap's configuration or of an AWS account helps.

use super::When::{Code, Else, Says, Status};
use super::{
    NETWORK_TEAM, OPERATOR, OWNER, REMOVE_SOURCE_IDENTITY, Row, SOURCE_IDENTITY_IS_SET,
    TOKEN_ISSUER, likely, told,
};

const NOT_STS: &str = "the server that answers is not STS";

pub(super) const ROWS: &[Row] = &[
    told(
        Says(&[], "returns the credentials that roletap vends"),
        "source `{source}` gives roletap the credentials that roletap itself vends. Each session would be shorter than the one before. After the last session expires, roletap could issue no new one",
        OPERATOR,
        "find the way from source `{source}` to roletap's endpoint, such as a redirected metadata address or a helper program. Configure another source",
    ),
    told(
        Says(&[], "is already a session of"),
        "source `{source}` is already a session of this role",
        OPERATOR,
        "use another source. If this is intended, set `allow_self_assume = true`",
    ),
    told(
        Says(&["ValidationError"], "MaxSessionDuration"),
        "the role {role_arn} does not allow sessions of {duration} s",
        "the operator of this host, or the owner of account {account}",
        "lower `duration_seconds` in roletap's configuration. Or raise the maximum session duration of the role in IAM",
    ),
    told(
        Says(&["ValidationError"], "role chaining"),
        "roletap's base identity (source `{source}`) is itself an assumed role. AWS limits the sessions of chained roles to one hour",
        OPERATOR,
        "set `duration_seconds = 3600` or less, or use a source that is not a role",
    ),
    told(
        Says(&["ValidationError"], "source identity is already set"),
        SOURCE_IDENTITY_IS_SET,
        OPERATOR,
        REMOVE_SOURCE_IDENTITY,
    ),
    told(
        Says(&["ValidationError"], "failed to satisfy constraint"),
        "STS refuses a value that `roletap check` accepted. This is a bug in roletap",
        OPERATOR,
        "correct the value that the message names, and report the bug to the authors of roletap",
    ),
    likely(
        Says(&["ValidationError"], "ARN"),
        "AWS does not say what is wrong with the ARN",
        "{role_arn} is not a role for this STS endpoint. The ARN contains a mistake, or it belongs to another partition",
        OPERATOR,
        "compare `role_arn` with the ARN from the owner of account {account}. Compare its partition with Region {region}",
    ),
    told(
        Says(&[], "transitive tag key"),
        "the session of roletap's base identity (source `{source}`) already has one of the transitive tags of this role",
        OPERATOR,
        "remove this tag from `tags` and `transitive_tag_keys` of this role. The role inherits it",
    ),
    told(
        Says(&[], "Duplicate tag keys"),
        "two tag keys differ only in upper and lower case. AWS treats them as the same key",
        OPERATOR,
        "keep one of the two in `tags`",
    ),
    told(
        Code(&["MalformedPolicyDocument"]),
        "AWS does not accept the session policy. The message names the wrong element",
        OPERATOR,
        "correct `policy` or `policy_file` of this role",
    ),
    told(
        Code(&["PackedPolicyTooLarge"]),
        "the session tags and session policies, with those that are inherited, do not fit into a session token",
        OPERATOR,
        "use fewer or shorter `tags`, and `policy_arns` instead of `policy`. The metric `roletap_session_token_utilization_ratio` shows how full the token is",
    ),
    told(
        Code(&["RegionDisabledException"]),
        "account {account} has deactivated the STS endpoint of Region {region}",
        OWNER,
        "activate STS in {region} (IAM console, account settings). Or set another `sts.region` in roletap's configuration",
    ),
    told(
        Code(&["OptInRequired"]),
        "the Region or the account is not enabled for this request. The Region may be an opt-in Region",
        "the administrators of {base_account}, and the owner of account {account}",
        "enable {region} in both accounts. Or set another `sts.region` in roletap's configuration",
    ),
    told(
        Code(&["NoSuchEntity"]),
        "the role {role_arn} does not exist at this STS endpoint",
        OWNER,
        "create the role, or correct `role_arn` in roletap's configuration",
    ),
    told(
        Says(&["InvalidIdentityToken"], "No OpenIDConnect provider"),
        "account {account} has no OpenID Connect provider for the issuer of the token",
        OWNER,
        "create the OpenID Connect provider in account {account}, with the URL in the message",
    ),
    told(
        Says(&["InvalidIdentityToken"], "audience"),
        "the OpenID Connect provider in account {account} does not accept the audience of the token",
        OWNER,
        "add the `aud` of the token to the provider in account {account}, or use tokens for another audience",
    ),
    likely(
        Code(&["InvalidIdentityToken"]),
        "The message has the details",
        "AWS does not accept the web identity token",
        TOKEN_ISSUER,
        "compare the token's issuer, audience and keys with the provider in account {account}",
    ),
    told(
        Code(&["IDPRejectedClaim"]),
        "the identity provider rejected the web identity token. The token is invalid, has expired or was revoked",
        TOKEN_ISSUER,
        "write a new token",
    ),
    likely(
        Code(&[
            "IncompleteSignature",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
        ]),
        "STS did not receive what roletap sent",
        "a proxy or another device between this host and STS removes headers from the request",
        NETWORK_TEAM,
        "let the proxy forward the headers `Authorization` and `X-Amz-*`. Or add the endpoint to NO_PROXY in the daemon's environment",
    ),
    told(
        Code(&[
            "InvalidAction",
            "UnknownOperation",
            "UnknownOperationException",
            "MethodNotAllowed",
        ]),
        NOT_STS,
        OPERATOR,
        "correct `sts.endpoint_url`, or remove it",
    ),
    likely(
        Status(404..=405),
        "STS never gives such an answer",
        NOT_STS,
        OPERATOR,
        "correct `sts.endpoint_url`, or remove it. Check HTTPS_PROXY too",
    ),
    likely(
        Else,
        "roletap does not know this answer",
        "STS does not accept the request",
        OPERATOR,
        "compare roletap's configuration with the values from the owner of account {account}. Check that `sts.endpoint_url` is an STS endpoint",
    ),
];
