//! What a person has to know beside a policy: whose it is, how it is applied, what to look at.

use std::fmt::Write as _;

use super::cloudformation::path_and_name;
use super::{Bucket, Language, Policy, SessionNames};
use crate::role::{Principal, PrincipalKind, Role};

/// The longest trust policy that IAM takes by default, in characters without blanks.
const TRUST_LIMIT: usize = 2048;
const MANAGED_LIMIT: usize = 6144;

/// Sentences and commands, for standard error.
pub(super) fn of(policy: &Policy<'_>, language: Language) -> String {
    let label = policy.label();
    let mut out = match policy {
        Policy::Trust { role, .. } => trust(role, &label, language),
        Policy::Caller { roles, principal } => caller(roles, *principal, &label, language),
        Policy::Bucket { role, bucket } => permissions(role, bucket, &label, language),
    };
    let notes = match policy {
        Policy::Trust { role, principal, session_names, own } => {
            notes_on_trust(role, principal, *session_names, *own)
        }
        Policy::Caller { roles, .. } => notes_on_caller(roles),
        Policy::Bucket { role, bucket } => notes_on_bucket(role, bucket),
    };
    let (limit, kind) = match policy {
        Policy::Trust { .. } => (TRUST_LIMIT, "a trust policy, unless the quota was raised"),
        Policy::Caller { .. } | Policy::Bucket { .. } => (MANAGED_LIMIT, "a managed policy"),
    };
    let size = policy.written().size();
    let too_large = (size > limit).then(|| {
        format!(
            "IAM takes {limit} characters for {kind}, and this has {size}: it has to be divided."
        )
    });
    for note in notes.into_iter().chain(too_large) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "note: {note}");
    }
    out
}

fn trust(role: &Role, label: &str, language: Language) -> String {
    let (path, name) = path_and_name(role);
    let (in_shell, name) = (shell(&path), shell(&name));
    let seconds = role.duration.as_secs();
    let long = seconds > 3600;
    let how = match language {
        Language::Json => {
            let path = match path.as_str() {
                "/" => String::new(),
                _ => format!(" --path {in_shell}"),
            };
            let duration = format!(" --max-session-duration {seconds}");
            let longer = format!("  aws iam update-role --role-name {name}{duration}\n");
            let [duration, longer] =
                [duration, longer].map(|text| if long { text } else { String::new() });
            format!(
                "Save it as {label}.json. A new role:\n  \
                 aws iam create-role --role-name {name}{path}{duration} --assume-role-policy-document file://{label}.json\n\
                 A role that is there already:\n  \
                 aws iam update-assume-role-policy --role-name {name} --policy-document file://{label}.json\n{longer}"
            )
        }
        Language::Terraform => {
            let (gap, duration) = match long {
                true => ("  ", format!("  max_session_duration = {seconds}\n")),
                false => ("", String::new()),
            };
            format!(
                "In the resource \"aws_iam_role\" of {name}:\n  \
                 assume_role_policy{gap} = data.aws_iam_policy_document.{label}.json\n{duration}"
            )
        }
        Language::CloudFormation => format!(
            "It makes the role:\n  {}\
             Where the role is there already, take only its AssumeRolePolicyDocument.\n",
            deploy(label)
        ),
    };
    let account = account(role.request.role_arn.account_id());
    format!("Trust policy of {}, for the owner of {account}.\n{how}", role.request.role_arn)
}

fn caller(
    roles: &[&Role],
    principal: Option<&Principal>,
    label: &str,
    language: Language,
) -> String {
    let whose = match principal {
        Some(principal) => principal.to_string(),
        None => "the user or role that roletap signs as".to_owned(),
    };
    let (kind, name) = match principal.map(|principal| (principal.kind(), principal.name())) {
        Some((PrincipalKind::User, name)) => ("user", name),
        Some((PrincipalKind::Role | PrincipalKind::RoleOfSession, name)) => ("role", name),
        Some((PrincipalKind::Account | PrincipalKind::FederatedUser, _)) | None => ("role", "NAME"),
    };
    let name = shell(name);
    let how = match language {
        Language::Json => format!(
            "Save it as {label}.json:\n  \
             aws iam put-{kind}-policy --{kind}-name {name} --policy-name roletap --policy-document file://{label}.json\n"
        ),
        Language::Terraform => format!(
            "In a resource \"aws_iam_{kind}_policy\":\n  \
             policy = data.aws_iam_policy_document.{label}.json\n"
        ),
        Language::CloudFormation => format!("A managed policy:\n  {}", deploy(label)),
    };
    let count = match roles {
        [role] => role.request.role_arn.to_string(),
        roles => format!("{} roles", roles.len()),
    };
    format!("Permissions of {whose}, for its owner: to assume {count}.\n{how}")
}

fn permissions(role: &Role, bucket: &Bucket, label: &str, language: Language) -> String {
    let (_, name) = path_and_name(role);
    let name = shell(&name);
    let how = match language {
        Language::Json => format!(
            "Save it as {label}.json:\n  \
             aws iam put-role-policy --role-name {name} --policy-name {} --policy-document file://{label}.json\n",
            shell(&format!("s3-{}", bucket.name))
        ),
        Language::Terraform => format!(
            "In a resource \"aws_iam_role_policy\" of {name}:\n  \
             policy = data.aws_iam_policy_document.{label}.json\n"
        ),
        Language::CloudFormation => {
            format!("A managed policy, attached to the role:\n  {}", deploy(label))
        }
    };
    let below = match &bucket.prefix {
        Some(prefix) => format!("below {prefix}/ in the bucket {}", bucket.name),
        None => format!("in all of the bucket {}", bucket.name),
    };
    format!(
        "Permissions of {} {below}, for the owner of {}.\n{how}",
        role.request.role_arn,
        account(role.request.role_arn.account_id())
    )
}

fn notes_on_trust(
    role: &Role,
    principal: &Principal,
    session_names: Option<&SessionNames>,
    own: bool,
) -> Vec<String> {
    let mut notes: Vec<String> = principal.caveat().into_iter().collect();
    let same = principal.account_id() == role.request.role_arn.account_id();
    // Trust in an account as a whole leaves the choice to that account's policies.
    if same && principal.kind() != PrincipalKind::Account {
        notes.push(
            "Role and principal are of one account: with this trust the principal needs no policy of its own."
                .to_owned(),
        );
    } else {
        notes.push(format!(
            "The principal needs a policy of its own, too: `roletap policy {} --kind caller`.",
            role.name
        ));
        if !same && !own && role.request.external_id.is_none() {
            notes.push(format!(
                "No external id is asked for. If another company owns the role, agree on one and set `external_id` of role \
                 {}: otherwise whoever can hand roletap an ARN can have it use theirs (the confused deputy).",
                role.name
            ));
        }
    }
    let session = role.request.session_name.as_str();
    if session_names.is_some_and(|names| !names.lets_in(session)) {
        notes.push(format!(
            "The session name of this host, {session}, does not fit the pattern: it would be refused."
        ));
    }
    notes
}

fn notes_on_caller(roles: &[&Role]) -> Vec<String> {
    if let [role] = roles
        && let Some(parent) = role.request.base.parent()
    {
        return vec![
            format!(
                "role.{} signs for role {}: this belongs to the permissions of {}, and not to those of the identity that \
                 signs for the chain's first role.",
                parent.name, role.name, parent.request.role_arn
            ),
            format!(
                "If it is of another account, the role has to trust its parent, too: `roletap policy {} --kind trust`.",
                role.name
            ),
        ];
    }
    vec![
        "A role of another account has to trust roletap's base identity, too: `roletap policy ROLE --kind trust`."
            .to_owned(),
    ]
}

fn notes_on_bucket(role: &Role, bucket: &Bucket) -> Vec<String> {
    let mut notes = Vec::new();
    if bucket.prefix.is_none() {
        notes.push("It covers the whole bucket: `--prefix` narrows it.".to_owned());
    }
    notes.push(
        "If the bucket is of another account than the role, its bucket policy has to allow the same."
            .to_owned(),
    );
    if let Some(key) = &bucket.kms_key {
        let other = match key.account_id() == role.request.role_arn.account_id() {
            true => "",
            false => ", which is of another account,",
        };
        notes.push(format!("The policy of the KMS key{other} has to let the role use it, too."));
    }
    notes
}

/// One word of a command, whatever it holds. Labels are such words by themselves.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@/:-".contains(c);
    match text.is_empty() || !text.chars().all(plain) {
        true => format!("'{}'", text.replace('\'', r"'\''")),
        false => text.to_owned(),
    }
}

fn deploy(label: &str) -> String {
    let stack = label.replace('_', "-");
    format!(
        "aws cloudformation deploy --stack-name {stack} --capabilities CAPABILITY_NAMED_IAM --template-file {label}.yaml\n"
    )
}

fn account(id: &str) -> String {
    match id {
        "" => "its account".to_owned(),
        id => format!("the account {id}"),
    }
}
