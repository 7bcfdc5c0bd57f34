//! What only a change of configuration mends, here or there.

use super::When::{Code, Else, Says, Status};
use super::{NETWORK_TEAM, OPERATOR, OWNER, Row, likely, told};

pub(super) const ROWS: &[Row] = &[
    told(
        Says(&[], "gives back what roletap itself vends"),
        "the daemon would sign with what it vends itself: sessions would shrink, and none could be issued once they have expired",
        OPERATOR,
        "find what leads from source `{source}` to roletap's own endpoint (a redirected metadata address, a helper), and name another source",
    ),
    told(
        Says(&[], "is already a session of"),
        "source `{source}` is a session of the very role",
        OPERATOR,
        "sign with another source, or set `allow_self_assume = true` if it is meant",
    ),
    told(
        Says(&["ValidationError"], "MaxSessionDuration"),
        "{role_arn} does not allow sessions of {duration} s",
        "the operator of this host, or the owner of account {account}",
        "lower `duration_seconds` here, or raise the maximum session duration of the role",
    ),
    told(
        Says(&["ValidationError"], "role chaining"),
        "roletap's base identity (source `{source}`) is itself an assumed role, and AWS caps such sessions at one hour",
        OPERATOR,
        "set `duration_seconds = 3600` or less, or use a source that is no role",
    ),
    told(
        Says(&["ValidationError"], "source identity is already set"),
        "the base session carries a source identity already, and it cannot be changed in a chain",
        OPERATOR,
        "take `source_identity` out of this role, or set it to what the base session has",
    ),
    told(
        Says(&["ValidationError"], "failed to satisfy constraint"),
        "STS refuses a value that `roletap check` let through, which is a mistake in roletap",
        OPERATOR,
        "correct the value that the message names, and tell the makers of roletap",
    ),
    likely(
        Says(&["ValidationError"], "ARN"),
        "the message does not say what is wrong with it",
        "{role_arn} is not a role for this endpoint: another partition, or a mistake in it",
        OPERATOR,
        "compare `role_arn` with what the owner of account {account} says, and its partition with region {region}",
    ),
    told(
        Says(&[], "transitive tag key"),
        "a transitive tag of this role is one that the base session already carries",
        OPERATOR,
        "take it out of `tags` and `transitive_tag_keys` of this role: it is inherited",
    ),
    told(
        Says(&[], "Duplicate tag keys"),
        "two tags differ only in case, and AWS compares without it",
        OPERATOR,
        "keep one of them in `tags`",
    ),
    told(
        Code(&["MalformedPolicyDocument"]),
        "the session policy is not one that AWS accepts; the message names the element",
        OPERATOR,
        "correct `policy` or `policy_file` of this role",
    ),
    told(
        Code(&["PackedPolicyTooLarge"]),
        "tags, session policies and what is inherited do not fit into a session token",
        OPERATOR,
        "use fewer or shorter `tags`, and `policy_arns` in place of `policy`; `roletap_session_token_utilization_ratio` shows how much is left",
    ),
    told(
        Code(&["RegionDisabledException"]),
        "account {account} has turned the STS endpoint of {region} off",
        OWNER,
        "activate STS in {region} (IAM console, account settings); or set another `sts.region` here",
    ),
    told(
        Code(&["OptInRequired"]),
        "the region, or the account, is not enabled for this",
        "the administrators of {base_account}, and the owner of account {account}",
        "enable {region} in both accounts, or set another `sts.region` here",
    ),
    told(
        Code(&["NoSuchEntity"]),
        "there is no role {role_arn} at this endpoint",
        OWNER,
        "create it, or correct `role_arn` here",
    ),
    told(
        Says(&["InvalidIdentityToken"], "No OpenIDConnect provider"),
        "account {account} does not know the issuer of the token",
        OWNER,
        "create the OpenID Connect provider in account {account} itself, by the URL in the message",
    ),
    told(
        Says(&["InvalidIdentityToken"], "audience"),
        "the audience of the token is not among those of the provider",
        OWNER,
        "add the token's `aud` to the provider in account {account}, or have the token made for another audience",
    ),
    likely(
        Code(&["InvalidIdentityToken"]),
        "the message has the details",
        "the web identity token is not one that AWS accepts",
        "whoever issues the tokens of this host",
        "compare issuer, audience and keys with the provider in account {account}",
    ),
    told(
        Code(&["IDPRejectedClaim"]),
        "the identity provider does not stand by the token: it is invalid, has expired or was revoked",
        "whoever issues the tokens of this host",
        "write a new token",
    ),
    likely(
        Code(&[
            "IncompleteSignature",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
        ]),
        "what arrived was not what roletap sent",
        "something between this host and STS takes headers away",
        NETWORK_TEAM,
        "let the proxy pass `Authorization` and `X-Amz-*` on, or name the endpoint in NO_PROXY in the daemon's environment",
    ),
    told(
        Code(&[
            "InvalidAction",
            "UnknownOperation",
            "UnknownOperationException",
            "MethodNotAllowed",
        ]),
        "what answers is not STS",
        OPERATOR,
        "correct `sts.endpoint_url`, or leave it out",
    ),
    likely(
        Status(404..=405),
        "STS itself never answers so",
        "what answers is not STS",
        OPERATOR,
        "correct `sts.endpoint_url`, or leave it out; check HTTPS_PROXY too",
    ),
    likely(
        Else,
        "roletap does not know this answer",
        "STS does not accept the request as it is",
        OPERATOR,
        "compare what is configured here with what the owner of account {account} says, and see that `sts.endpoint_url` is an STS endpoint",
    ),
];
