//! AccessDenied in all its forms.

use super::When::{Action, Else, Explicit, Implicit, Says};
use super::{
    AWS_DOES_NOT_SAY, BASE_ADMINISTRATORS, BASE_ORGANISATION, KEEPER, NETWORK_TEAM, OPERATOR,
    OWNER, ROLE_ORGANISATION, Row, likely, told,
};
use crate::failure::explain::denial::PolicyKind::{
    Boundary, Endpoint, Identity, Resource, ResourceControl, ServiceControl, Session,
};

/// First by the kind of the policy, where AWS names it; then by the action.
pub(super) const ROWS: &[Row] = &[
    told(
        Implicit(Identity),
        "no policy of {base} itself allows {action}",
        BASE_ADMINISTRATORS,
        "allow {action} on {role_arn} in a policy of {principal}{or_drop}",
    ),
    told(
        Explicit(Identity),
        "a policy of {base} itself{policy} denies {action}",
        BASE_ADMINISTRATORS,
        "find the statement that denies {action} on {role_arn}, and narrow it{or_drop}",
    ),
    told(
        Implicit(Resource),
        "the trust policy of {role_arn} does not let {principal} in {external_id}",
        OWNER,
        "allow {action} for {principal} in the trust policy of {role_arn}{or_drop}",
    ),
    told(
        Explicit(Resource),
        "the trust policy of {role_arn} denies {action} to {base}",
        OWNER,
        "find the statement in the trust policy that denies it, and narrow it{or_drop}",
    ),
    told(
        Implicit(Boundary),
        "the permissions boundary of {base} does not reach to {action}",
        BASE_ADMINISTRATORS,
        "allow {action} on {role_arn} in the boundary too{or_drop}",
    ),
    told(
        Explicit(Boundary),
        "the permissions boundary of {base}{policy} denies {action}",
        BASE_ADMINISTRATORS,
        "find the statement that denies {action} on {role_arn}, and narrow it{or_drop}",
    ),
    told(
        Implicit(Session),
        "the session policy that {base} was issued with does not reach to {action}",
        "whoever makes the session that source `{source}` hands to roletap",
        "allow {action} on {role_arn} in the session policy, or pass none{or_drop}",
    ),
    told(
        Explicit(Session),
        "the session policy that {base} was issued with denies {action}",
        "whoever makes the session that source `{source}` hands to roletap",
        "find the statement that denies {action} on {role_arn}, and narrow it{or_drop}",
    ),
    told(
        Implicit(ServiceControl),
        "no service control policy of the organisation of {base_account} allows {action}",
        BASE_ORGANISATION,
        "allow {action} on {role_arn} for {base_account}{or_drop}",
    ),
    told(
        Explicit(ServiceControl),
        "a service control policy of the organisation of {base_account}{policy} keeps {base} from {action} (AWS calls it explicit even where the allow is only missing)",
        BASE_ORGANISATION,
        "allow {action} on {role_arn} for {base_account}, or narrow the statement that denies it{or_drop}",
    ),
    told(
        Implicit(ResourceControl),
        "no resource control policy of the role's organisation allows {action}",
        ROLE_ORGANISATION,
        "allow {principal} to {action} on {role_arn}{or_drop}",
    ),
    told(
        Explicit(ResourceControl),
        "a resource control policy of the role's organisation{policy} denies {action} to identities such as {base}",
        ROLE_ORGANISATION,
        "except {principal} from the statement that denies {action} on {role_arn}{or_drop}",
    ),
    told(
        Implicit(Endpoint),
        "the policy of the VPC endpoint for STS does not let {action} through",
        NETWORK_TEAM,
        "allow {action} on {role_arn} in the policy of the interface endpoint, or take another route to STS{or_drop}",
    ),
    told(
        Explicit(Endpoint),
        "the policy of the VPC endpoint for STS{policy} denies {action}",
        NETWORK_TEAM,
        "find the statement that denies {action} on {role_arn}, and narrow it{or_drop}",
    ),
    likely(
        Action("sts:TagSession"),
        "AWS does not say which of the two policies",
        "the tags are refused: the trust policy of {role_arn}, or a policy of {base}, lacks sts:TagSession",
        "the owner of account {account}, and the administrators of {base_account}",
        "allow sts:TagSession beside sts:AssumeRole in both{or_drop}",
    ),
    likely(
        Action("sts:SetSourceIdentity"),
        "AWS does not say which of the two policies",
        "the source identity is refused: the trust policy of {role_arn}, or a policy of {base}, lacks sts:SetSourceIdentity",
        "the owner of account {account}, and the administrators of {base_account}",
        "allow sts:SetSourceIdentity beside sts:AssumeRole in both{or_drop}",
    ),
    likely(
        Says(&[], "sts:AssumeRoleWithWebIdentity"),
        "AWS does not say which",
        "the trust policy of {role_arn} does not accept the token: no such OpenID Connect provider among its federated principals, a condition on `aud` or `sub` that the token does not meet, or no such role",
        OWNER,
        "compare issuer, audience and subject of the token with the provider and the conditions in the trust policy",
    ),
    told(
        Says(&[], "MultiFactorAuthentication"),
        "{role_arn} demands MFA, and no daemon can give a code",
        OWNER,
        "take the condition on aws:MultiFactorAuthPresent out of the trust policy (`Require MFA` in the console)",
    ),
    told(
        Says(&[], "root accounts"),
        "the base credentials are those of an account's root, which cannot assume roles",
        KEEPER,
        "put the keys of a user, or better a role, in their place, and delete the root keys",
    ),
    told(
        Says(&[], "session credentials"),
        "this call takes the keys of a user, and the base credentials are a session",
        KEEPER,
        "use the keys of an IAM user as source `{source}`",
    ),
    told(
        Says(&[], "source identity is already set"),
        "the base session carries a source identity already, and it cannot be changed in a chain",
        OPERATOR,
        "take `source_identity` out of this role, or set it to what the base session has",
    ),
    likely(
        Else,
        AWS_DOES_NOT_SAY,
        "one of: the trust policy of {role_arn} does not let {principal} in {external_id}; no policy of {base} allows sts:AssumeRole on it; the role does not exist (names are matched by case and path), or is in another partition",
        OWNER,
        "compare the trust policy with what is configured here (`roletap doctor --probe` narrows it down); changes in IAM take a minute or two to be seen",
    ),
];
