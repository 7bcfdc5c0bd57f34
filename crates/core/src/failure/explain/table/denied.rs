//! The rows of [`Class::Denied`](crate::failure::Class::Denied): AccessDenied in all its forms.

use super::When::{Action, Else, Explicit, Implicit, Says};
use super::{
    BASE_ADMINISTRATORS, BASE_ORGANIZATION, KEEPER, NETWORK_TEAM, OPERATOR, OWNER,
    REMOVE_SOURCE_IDENTITY, ROLE_ORGANIZATION, Row, SOURCE_IDENTITY_IS_SET, likely, told,
};
use crate::failure::explain::denial::PolicyKind::{
    Boundary, Endpoint, Identity, Resource, ResourceControl, ServiceControl, Session,
};

const SESSION_CREATOR: &str =
    "the owner of the program that creates the session of source `{source}`";
const OWNER_AND_BASE: &str =
    "the owner of account {account}, and the administrators of {base_account}";
const WHICH_OF_TWO: &str = "AWS does not say which of the two policies";
const NARROW: &str =
    "find the statement that denies {action} on {role_arn}, and narrow it{or_drop}";

/// First by the kind of the policy, where AWS names it; then by the action.
pub(super) const ROWS: &[Row] = &[
    told(
        Implicit(Identity),
        "no identity-based policy of {base} allows {action}",
        BASE_ADMINISTRATORS,
        "allow {action} on {role_arn} in a policy of {principal}{or_drop}",
    ),
    told(
        Explicit(Identity),
        "an identity-based policy{policy} of {base} denies {action}",
        BASE_ADMINISTRATORS,
        NARROW,
    ),
    told(
        Implicit(Resource),
        "the trust policy of {role_arn} does not allow {action} for {principal}. {external_id}",
        OWNER,
        "allow {action} for {principal} in the trust policy of {role_arn}{or_drop}",
    ),
    told(
        Explicit(Resource),
        "the trust policy of {role_arn} denies {action} to {base}",
        OWNER,
        "find the statement in the trust policy that denies {action}, and narrow it{or_drop}",
    ),
    told(
        Implicit(Boundary),
        "the permissions boundary of {base} does not allow {action}",
        BASE_ADMINISTRATORS,
        "allow {action} on {role_arn} in the permissions boundary too{or_drop}",
    ),
    told(
        Explicit(Boundary),
        "the permissions boundary{policy} of {base} denies {action}",
        BASE_ADMINISTRATORS,
        NARROW,
    ),
    told(
        Implicit(Session),
        "the session policy of {base} does not allow {action}",
        SESSION_CREATOR,
        "allow {action} on {role_arn} in the session policy. Or use no session policy{or_drop}",
    ),
    told(
        Explicit(Session),
        "the session policy of {base} denies {action}",
        SESSION_CREATOR,
        NARROW,
    ),
    told(
        Implicit(ServiceControl),
        "no service control policy (SCP) of the organization of {base_account} allows {action}",
        BASE_ORGANIZATION,
        "allow {action} on {role_arn} for this account in an SCP{or_drop}",
    ),
    told(
        Explicit(ServiceControl),
        "a service control policy (SCP) of the organization of {base_account}{policy} prevents {action}. AWS also says \"explicit deny\" if no statement of the SCP allows the action",
        BASE_ORGANIZATION,
        "allow {action} on {role_arn} for this account. Or narrow the SCP statement that denies it{or_drop}",
    ),
    told(
        Implicit(ResourceControl),
        "no resource control policy (RCP) of the organization of account {account} allows {action}",
        ROLE_ORGANIZATION,
        "allow {action} on {role_arn} for {principal} in an RCP{or_drop}",
    ),
    told(
        Explicit(ResourceControl),
        "a resource control policy (RCP) of the organization of account {account}{policy} denies {action} to {base}",
        ROLE_ORGANIZATION,
        "exclude {principal} from the statement that denies {action} on {role_arn}{or_drop}",
    ),
    told(
        Implicit(Endpoint),
        "the VPC endpoint policy for STS does not allow {action}",
        NETWORK_TEAM,
        "allow {action} on {role_arn} in the VPC endpoint policy, or use another route to STS{or_drop}",
    ),
    told(
        Explicit(Endpoint),
        "the VPC endpoint policy for STS{policy} denies {action}",
        NETWORK_TEAM,
        NARROW,
    ),
    likely(
        Action("sts:TagSession"),
        WHICH_OF_TWO,
        "the trust policy of {role_arn}, or a policy of {base}, does not allow sts:TagSession. AWS therefore refuses the session tags",
        OWNER_AND_BASE,
        "allow sts:TagSession and sts:AssumeRole in both policies{or_drop}",
    ),
    likely(
        Action("sts:SetSourceIdentity"),
        WHICH_OF_TWO,
        "the trust policy of {role_arn}, or a policy of {base}, does not allow sts:SetSourceIdentity. AWS therefore refuses the source identity",
        OWNER_AND_BASE,
        "allow sts:SetSourceIdentity and sts:AssumeRole in both policies{or_drop}",
    ),
    likely(
        Says(&[], "sts:AssumeRoleWithWebIdentity"),
        "AWS does not say which of these is the cause",
        "the trust policy of {role_arn} does not accept the token, or the role does not exist. The trust policy may not name the OpenID Connect provider of the token. Or its condition on `aud` or `sub` may not match the token",
        OWNER,
        "compare the issuer, audience and subject of the token with the provider and the conditions in the trust policy",
    ),
    told(
        Says(&[], "MultiFactorAuthentication"),
        "the trust policy of {role_arn} requires MFA, and a daemon cannot give an MFA code",
        OWNER,
        "remove the condition on aws:MultiFactorAuthPresent from the trust policy (`Require MFA` in the console)",
    ),
    told(
        Says(&[], "root accounts"),
        "roletap's base credentials (source `{source}`) belong to the root user of an account. A root user cannot assume roles",
        KEEPER,
        "replace them with the keys of an IAM user or, better, with a role. Delete the keys of the root user",
    ),
    told(
        Says(&[], "session credentials"),
        "this call requires the keys of an IAM user, but source `{source}` gives temporary credentials",
        KEEPER,
        "use the keys of an IAM user as source `{source}`",
    ),
    told(
        Says(&[], "source identity is already set"),
        SOURCE_IDENTITY_IS_SET,
        OPERATOR,
        REMOVE_SOURCE_IDENTITY,
    ),
    likely(
        Else,
        "AWS does not say which, because it hides the reason from other accounts",
        "one of these three is the cause. (1) The trust policy of {role_arn} does not allow {principal}. {external_id}. (2) No policy of {base} allows sts:AssumeRole on this role. (3) The role does not exist in this partition: its name and its path are case-sensitive",
        OWNER,
        "compare the trust policy with roletap's configuration (`roletap doctor --probe` narrows the cause down). A change in IAM takes effect after one or two minutes",
    ),
];
