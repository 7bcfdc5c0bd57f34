//! The rows of [`Class::Denied`](crate::failure::Class::Denied): AccessDenied in all its forms.

use super::When::{Action, Else, Explicit, Implicit, Says};
use super::{
    BASE_ADMINISTRATORS, BASE_ORGANIZATION, KEEPER, NETWORK_TEAM, OPERATOR, OWNER,
    REMOVE_SOURCE_IDENTITY, ROLE_ORGANIZATION, Row, SOURCE_IDENTITY_IS_SET, when,
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
    when(Implicit(Identity), BASE_ADMINISTRATORS)
        .means("no identity-based policy of {base} allows {action}")
        .change("allow {action} on {role_arn} in a policy of {principal}{or_drop}"),
    when(Explicit(Identity), BASE_ADMINISTRATORS)
        .means("an identity-based policy{policy} of {base} denies {action}")
        .change(NARROW),
    when(Implicit(Resource), OWNER)
        .means("the trust policy of {role_arn} does not allow {action} for {principal}. {external_id}")
        .change("allow {action} for {principal} in the trust policy of {role_arn}{or_drop}"),
    when(Explicit(Resource), OWNER)
        .means("the trust policy of {role_arn} denies {action} to {base}")
        .change("find the statement in the trust policy that denies {action}, and narrow it{or_drop}"),
    when(Implicit(Boundary), BASE_ADMINISTRATORS)
        .means("the permissions boundary of {base} does not allow {action}")
        .change("allow {action} on {role_arn} in the permissions boundary too{or_drop}"),
    when(Explicit(Boundary), BASE_ADMINISTRATORS)
        .means("the permissions boundary{policy} of {base} denies {action}")
        .change(NARROW),
    when(Implicit(Session), SESSION_CREATOR)
        .means("the session policy of {base} does not allow {action}")
        .change("allow {action} on {role_arn} in the session policy. Or use no session policy{or_drop}"),
    when(Explicit(Session), SESSION_CREATOR)
        .means("the session policy of {base} denies {action}")
        .change(NARROW),
    when(Implicit(ServiceControl), BASE_ORGANIZATION)
        .means("no service control policy (SCP) of the organization of {base_account} allows {action}")
        .change("allow {action} on {role_arn} for this account in an SCP{or_drop}"),
    when(Explicit(ServiceControl), BASE_ORGANIZATION)
        .means("a service control policy (SCP) of the organization of {base_account}{policy} prevents {action}. AWS also says \"explicit deny\" if no statement of the SCP allows the action")
        .change("allow {action} on {role_arn} for this account. Or narrow the SCP statement that denies it{or_drop}"),
    when(Implicit(ResourceControl), ROLE_ORGANIZATION)
        .means("no resource control policy (RCP) of the organization of account {account} allows {action}")
        .change("allow {action} on {role_arn} for {principal} in an RCP{or_drop}"),
    when(Explicit(ResourceControl), ROLE_ORGANIZATION)
        .means("a resource control policy (RCP) of the organization of account {account}{policy} denies {action} to {base}")
        .change("exclude {principal} from the statement that denies {action} on {role_arn}{or_drop}"),
    when(Implicit(Endpoint), NETWORK_TEAM)
        .means("the VPC endpoint policy for STS does not allow {action}")
        .change("allow {action} on {role_arn} in the VPC endpoint policy, or use another route to STS{or_drop}"),
    when(Explicit(Endpoint), NETWORK_TEAM)
        .means("the VPC endpoint policy for STS{policy} denies {action}")
        .change(NARROW),
    when(Action("sts:TagSession"), OWNER_AND_BASE)
        .means("the trust policy of {role_arn}, or a policy of {base}, does not allow sts:TagSession. AWS therefore refuses the session tags")
        .likely(WHICH_OF_TWO)
        .change("allow sts:TagSession and sts:AssumeRole in both policies{or_drop}"),
    when(Action("sts:SetSourceIdentity"), OWNER_AND_BASE)
        .means("the trust policy of {role_arn}, or a policy of {base}, does not allow sts:SetSourceIdentity. AWS therefore refuses the source identity")
        .likely(WHICH_OF_TWO)
        .change("allow sts:SetSourceIdentity and sts:AssumeRole in both policies{or_drop}"),
    when(Says(&[], "sts:AssumeRoleWithWebIdentity"), OWNER)
        .means("the trust policy of {role_arn} does not accept the token, or the role does not exist. The trust policy may not name the OpenID Connect provider of the token. Or its condition on `aud` or `sub` may not match the token")
        .likely("AWS does not say which of these is the cause")
        .change("compare the issuer, audience and subject of the token with the provider and the conditions in the trust policy"),
    when(Says(&[], "MultiFactorAuthentication"), OWNER)
        .means("the trust policy of {role_arn} requires MFA, and a daemon cannot give an MFA code")
        .change("remove the condition on aws:MultiFactorAuthPresent from the trust policy (`Require MFA` in the console)"),
    when(Says(&[], "root accounts"), KEEPER)
        .means("roletap's base credentials (source `{source}`) belong to the root user of an account. A root user cannot assume roles")
        .change("replace them with the keys of an IAM user or, better, with a role. Delete the keys of the root user"),
    when(Says(&[], "session credentials"), KEEPER)
        .means("this call requires the keys of an IAM user, but source `{source}` gives temporary credentials")
        .change("use the keys of an IAM user as source `{source}`"),
    when(Says(&[], "source identity is already set"), OPERATOR)
        .means(SOURCE_IDENTITY_IS_SET)
        .change(REMOVE_SOURCE_IDENTITY),
    when(Else, OWNER)
        .means("one of these three is the cause. (1) The trust policy of {role_arn} does not allow {principal}. {external_id}. (2) No policy of {base} allows sts:AssumeRole on this role. (3) The role does not exist in this partition: its name and its path are case-sensitive")
        .likely("AWS does not say which, because it hides the reason from other accounts")
        .change("compare the trust policy with roletap's configuration (`roletap doctor --probe` narrows the cause down). A change in IAM takes effect after one or two minutes"),
];
