//! The rows of [`Class::Misconfigured`](crate::failure::Class::Misconfigured): only a change of
//! roletap's configuration or of an AWS account helps.

use super::When::{Code, Else, Says, Status};
use super::{
    NETWORK_TEAM, OPERATOR, OWNER, REMOVE_SOURCE_IDENTITY, Row, SOURCE_IDENTITY_IS_SET,
    TOKEN_ISSUER, when,
};

const NOT_STS: &str = "the server that answers is not STS";

const OPERATOR_OR_OWNER: &str = "the operator of this host, or the owner of account {account}";
const HEADERS_LOST: &[&str] =
    &["IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException"];
const NO_SUCH_ACTION: &[&str] =
    &["InvalidAction", "UnknownOperation", "UnknownOperationException", "MethodNotAllowed"];

pub(super) const ROWS: &[Row] = &[
    when(Says(&[], "returns the credentials that roletap vends"), OPERATOR)
        .means("source `{source}` gives roletap the credentials that roletap itself vends. Each session would be shorter than the one before. After the last session expires, roletap could issue no new one")
        .change("find the way from source `{source}` to roletap's endpoint, such as a redirected metadata address or a helper program. Configure another source"),
    when(Says(&[], "is already a session of"), OPERATOR)
        .means("source `{source}` is already a session of this role")
        .change("use another source. If this is intended, set `allow_self_assume = true`"),
    when(Says(&["ValidationError"], "MaxSessionDuration"), OPERATOR_OR_OWNER)
        .means("the role {role_arn} does not allow sessions of {duration} s")
        .change("lower `duration_seconds` in roletap's configuration. Or raise the maximum session duration of the role in IAM"),
    when(Says(&["ValidationError"], "role chaining"), OPERATOR)
        .means("roletap's base identity (source `{source}`) is itself an assumed role. AWS limits the sessions of chained roles to one hour")
        .change("set `duration_seconds = 3600` or less, or use a source that is not a role"),
    when(Says(&["ValidationError"], "source identity is already set"), OPERATOR)
        .means(SOURCE_IDENTITY_IS_SET)
        .change(REMOVE_SOURCE_IDENTITY),
    when(Says(&["ValidationError"], "failed to satisfy constraint"), OPERATOR)
        .means("STS refuses a value that `roletap check` accepted. This is a bug in roletap")
        .change("correct the value that the message names, and report the bug to the authors of roletap"),
    when(Says(&["ValidationError"], "ARN"), OPERATOR)
        .means("{role_arn} is not a role for this STS endpoint. The ARN contains a mistake, or it belongs to another partition")
        .likely("AWS does not say what is wrong with the ARN")
        .change("compare `role_arn` with the ARN from the owner of account {account}. Compare its partition with Region {region}"),
    when(Says(&[], "transitive tag key"), OPERATOR)
        .means("the session of roletap's base identity (source `{source}`) already has one of the transitive tags of this role")
        .change("remove this tag from `tags` and `transitive_tag_keys` of this role. The role inherits it"),
    when(Says(&[], "Duplicate tag keys"), OPERATOR)
        .means("two tag keys differ only in upper and lower case. AWS treats them as the same key")
        .change("keep one of the two in `tags`"),
    when(Code(&["MalformedPolicyDocument"]), OPERATOR)
        .means("AWS does not accept the session policy. The message names the wrong element")
        .change("correct `policy` or `policy_file` of this role"),
    when(Code(&["PackedPolicyTooLarge"]), OPERATOR)
        .means("the session tags and session policies, with those that are inherited, do not fit into a session token")
        .change("use fewer or shorter `tags`, and `policy_arns` instead of `policy`. The metric `roletap_session_token_utilization_ratio` shows how full the token is"),
    when(Code(&["RegionDisabledException"]), OWNER)
        .means("account {account} has deactivated the STS endpoint of Region {region}")
        .change("activate STS in {region} (IAM console, account settings). Or set another `sts.region` in roletap's configuration"),
    when(Code(&["OptInRequired"]), "the administrators of {base_account}, and the owner of account {account}")
        .means("the Region or the account is not enabled for this request. The Region may be an opt-in Region")
        .change("enable {region} in both accounts. Or set another `sts.region` in roletap's configuration"),
    when(Code(&["NoSuchEntity"]), OWNER)
        .means("the role {role_arn} does not exist at this STS endpoint")
        .change("create the role, or correct `role_arn` in roletap's configuration"),
    when(Says(&["InvalidIdentityToken"], "No OpenIDConnect provider"), OWNER)
        .means("account {account} has no OpenID Connect provider for the issuer of the token")
        .change("create the OpenID Connect provider in account {account}, with the URL in the message"),
    when(Says(&["InvalidIdentityToken"], "audience"), OWNER)
        .means("the OpenID Connect provider in account {account} does not accept the audience of the token")
        .change("add the `aud` of the token to the provider in account {account}, or use tokens for another audience"),
    when(Code(&["InvalidIdentityToken"]), TOKEN_ISSUER)
        .means("AWS does not accept the web identity token")
        .likely("The message has the details")
        .change("compare the token's issuer, audience and keys with the provider in account {account}"),
    when(Code(&["IDPRejectedClaim"]), TOKEN_ISSUER)
        .means("the identity provider rejected the web identity token. The token is invalid, has expired or was revoked")
        .change("write a new token"),
    when(Code(HEADERS_LOST), NETWORK_TEAM)
        .means("a proxy or another device between this host and STS removes headers from the request")
        .likely("STS did not receive what roletap sent")
        .change("let the proxy forward the headers `Authorization` and `X-Amz-*`. Or add the endpoint to NO_PROXY in the daemon's environment"),
    when(Code(NO_SUCH_ACTION), OPERATOR)
        .means(NOT_STS)
        .change("correct `sts.endpoint_url`, or remove it"),
    when(Status(404..=405), OPERATOR)
        .means(NOT_STS)
        .likely("STS never gives such an answer")
        .change("correct `sts.endpoint_url`, or remove it. Check HTTPS_PROXY too"),
    when(Else, OPERATOR)
        .means("STS does not accept the request")
        .likely("roletap does not know this answer")
        .change("compare roletap's configuration with the values from the owner of account {account}. Check that `sts.endpoint_url` is an STS endpoint"),
];
