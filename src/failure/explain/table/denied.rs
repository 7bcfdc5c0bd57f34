//! AccessDenied in all its forms.

use super::Certainty::{Likely, Told};
use super::When::{Action, Else, Explicit, Implicit, Says};
use super::{
    AWS_DOES_NOT_SAY, KEEPER, NETWORK_TEAM, OPERATOR, OUR_ADMINISTRATORS, OUR_ORGANISATION, OWNER,
    Row, THEIR_ORGANISATION, row,
};
use crate::failure::explain::denial::PolicyKind::{
    Boundary, Endpoint, Identity, Resource, ResourceControl, ServiceControl, Session,
};

/// First by the kind of the policy, where AWS names it; then by the action.
pub(super) const ROWS: &[Row] = &[
    row(
        Implicit(Identity),
        Told,
        "no policy of {base} itself allows {action}",
        OUR_ADMINISTRATORS,
        "allow {action} on {role_arn} in a policy of {principal}{or_drop}",
    ),
    row(
        Explicit(Identity),
        Told,
        "a policy of {base} itself{policy} denies {action}",
        OUR_ADMINISTRATORS,
        "find the statement that denies {action} on {role_arn}, and narrow it{or_drop}",
    ),
    row(
        Implicit(Resource),
        Told,
        "the trust policy of {role_arn} does not let {principal} in {external_id}",
        OWNER,
        "allow {action} for {principal} in the trust policy of {role_arn}{or_drop}",
    ),
    row(
        Explicit(Resource),
        Told,
        "the trust policy of {role_arn} denies {action} to {base}",
        OWNER,
        "find the statement in the trust policy that denies it, and narrow it{or_drop}",
    ),
    row(
        Implicit(Boundary),
        Told,
        "the permissions boundary of {base} does not reach to {action}",
        OUR_ADMINISTRATORS,
        "allow {action} on {role_arn} in the boundary too{or_drop}",
    ),
    row(
        Explicit(Boundary),
        Told,
        "the permissions boundary of {base}{policy} denies {action}",
        OUR_ADMINISTRATORS,
        "find the statement that denies {action} on {role_arn}, and narrow it{or_drop}",
    ),
    row(
        Implicit(Session),
        Told,
        "the session policy that {base} was issued with does not reach to {action}",
        "whoever makes the session that source `{source}` hands to roletap",
        "allow {action} on {role_arn} in the session policy, or pass none{or_drop}",
    ),
    row(
        Explicit(Session),
        Told,
        "the session policy that {base} was issued with denies {action}",
        "whoever makes the session that source `{source}` hands to roletap",
        "find the statement that denies {action} on {role_arn}, and narrow it{or_drop}",
    ),
    row(
        Implicit(ServiceControl),
        Told,
        "no service control policy of the organisation of {base_account} allows {action}",
        OUR_ORGANISATION,
        "allow {action} on {role_arn} for {base_account}{or_drop}",
    ),
    row(
        Explicit(ServiceControl),
        Told,
        "a service control policy of the organisation of {base_account}{policy} keeps {base} from {action} (AWS calls it explicit even where the allow is only missing)",
        OUR_ORGANISATION,
        "allow {action} on {role_arn} for {base_account}, or narrow the statement that denies it{or_drop}",
    ),
    row(
        Implicit(ResourceControl),
        Told,
        "no resource control policy of the role's organisation allows {action}",
        THEIR_ORGANISATION,
        "allow {principal} to {action} on {role_arn}{or_drop}",
    ),
    row(
        Explicit(ResourceControl),
        Told,
        "a resource control policy of the role's organisation{policy} denies {action} to identities such as {base}",
        THEIR_ORGANISATION,
        "except {principal} from the statement that denies {action} on {role_arn}{or_drop}",
    ),
    row(
        Implicit(Endpoint),
        Told,
        "the policy of the VPC endpoint for STS does not let {action} through",
        NETWORK_TEAM,
        "allow {action} on {role_arn} in the policy of the interface endpoint, or take another route to STS{or_drop}",
    ),
    row(
        Explicit(Endpoint),
        Told,
        "the policy of the VPC endpoint for STS{policy} denies {action}",
        NETWORK_TEAM,
        "find the statement that denies {action} on {role_arn}, and narrow it{or_drop}",
    ),
    row(
        Action("sts:TagSession"),
        Likely("AWS does not say which of the two policies"),
        "the tags are refused: the trust policy of {role_arn}, or a policy of {base}, lacks sts:TagSession",
        "the owner of account {account}, and the administrators of {base_account}",
        "allow sts:TagSession beside sts:AssumeRole in both{or_drop}",
    ),
    row(
        Action("sts:SetSourceIdentity"),
        Likely("AWS does not say which of the two policies"),
        "the source identity is refused: the trust policy of {role_arn}, or a policy of {base}, lacks sts:SetSourceIdentity",
        "the owner of account {account}, and the administrators of {base_account}",
        "allow sts:SetSourceIdentity beside sts:AssumeRole in both{or_drop}",
    ),
    row(
        Says(&[], "sts:AssumeRoleWithWebIdentity"),
        Likely("AWS does not say which"),
        "the trust policy of {role_arn} does not accept the token: no such OpenID Connect provider among its federated principals, a condition on `aud` or `sub` that the token does not meet, or no such role",
        OWNER,
        "compare issuer, audience and subject of the token with the provider and the conditions in the trust policy",
    ),
    row(
        Says(&[], "MultiFactorAuthentication"),
        Told,
        "{role_arn} demands MFA, and no daemon can give a code",
        OWNER,
        "take the condition on aws:MultiFactorAuthPresent out of the trust policy (`Require MFA` in the console)",
    ),
    row(
        Says(&[], "root accounts"),
        Told,
        "the base credentials are those of an account's root, which cannot assume roles",
        KEEPER,
        "put the keys of a user, or better a role, in their place, and delete the root keys",
    ),
    row(
        Says(&[], "session credentials"),
        Told,
        "this call takes the keys of a user, and the base credentials are a session",
        KEEPER,
        "use the keys of an IAM user as source `{source}`",
    ),
    row(
        Says(&[], "source identity is already set"),
        Told,
        "the base session carries a source identity already, and it cannot be changed in a chain",
        OPERATOR,
        "take `source_identity` out of this role, or set it to what the base session has",
    ),
    row(
        Else,
        Likely(AWS_DOES_NOT_SAY),
        "one of: the trust policy of {role_arn} does not let {principal} in {external_id}; no policy of {base} allows sts:AssumeRole on it; the role does not exist (names are matched by case and path), or is in another partition",
        OWNER,
        "compare the trust policy with what is configured here (`roletap doctor --probe` narrows it down); changes in IAM take a minute or two to be seen",
    ),
];
