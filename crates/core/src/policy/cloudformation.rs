//! A policy as a CloudFormation template, YAML.
//!
//! Every text is in double quotes: a bare `2012-10-17` would be a date, and a bare `on` a truth value.

use super::Policy;
use super::document::{Node, quoted};
use crate::role::{Principal, PrincipalKind, Role};

/// Renders the whole template that holds a policy.
pub(super) fn template(policy: &Policy<'_>) -> String {
    let document = policy.written().tree();
    let (id, kind, properties) = match policy {
        Policy::Trust { role, .. } => {
            let (path, name) = path_and_name(role);
            let mut properties = vec![
                ("RoleName", Node::text(name)),
                ("Path", Node::text(path)),
                ("AssumeRolePolicyDocument", document),
            ];
            // Without it a role's sessions last an hour at most.
            if role.duration.as_secs() > 3600 {
                let seconds = Node::Number(role.duration.as_secs());
                properties.insert(2, ("MaxSessionDuration", seconds));
            }
            (logical_id(role, "Role"), "AWS::IAM::Role", properties)
        }
        Policy::Bucket { role, .. } => (
            logical_id(role, "S3Policy"),
            "AWS::IAM::ManagedPolicy",
            vec![
                ("PolicyDocument", document),
                ("Roles", Node::List(vec![Node::text(path_and_name(role).1)])),
            ],
        ),
        Policy::Caller { roles, principal } => {
            let mut properties = vec![("PolicyDocument", document)];
            properties.extend(principal.and_then(attachment));
            let id = match roles.as_slice() {
                [role] => logical_id(role, "CallerPolicy"),
                _ => "AllRolesCallerPolicy".to_owned(),
            };
            (id, "AWS::IAM::ManagedPolicy", properties)
        }
    };
    let resource = Node::map([("Type", Node::text(kind)), ("Properties", Node::map(properties))]);
    let template = Node::map([
        ("AWSTemplateFormatVersion", Node::text("2010-09-09")),
        ("Resources", Node::map([(id, resource)])),
    ]);
    let mut out = String::new();
    write_yaml(&template, 0, &mut out);
    out
}

/// `/team/` and `orders`, of `role/team/orders`.
pub(super) fn path_and_name(role: &Role) -> (String, String) {
    let arn = &role.request.role_arn;
    let name = arn.role_name();
    let path = arn
        .as_str()
        .split_once(":role")
        .and_then(|(_, rest)| rest.strip_suffix(name))
        .unwrap_or("/");
    (path.to_owned(), name.to_owned())
}

/// Returns the principal to attach a managed policy to; an account or a federated user takes none.
fn attachment(principal: &Principal) -> Option<(&'static str, Node)> {
    let names = Node::List(vec![Node::text(principal.name())]);
    match principal.kind() {
        PrincipalKind::User => Some(("Users", names)),
        PrincipalKind::Role | PrincipalKind::RoleOfSession => Some(("Roles", names)),
        PrincipalKind::Account | PrincipalKind::FederatedUser => None,
    }
}

/// Letters and digits, each word with a capital.
fn logical_id(role: &Role, kind: &str) -> String {
    let words = role.name.as_str().split(['.', '_', '-']).filter(|word| !word.is_empty());
    let mut id = String::new();
    for word in words {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    id + kind
}

fn write_yaml(node: &Node, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match node {
        Node::Text(text) => {
            out.push_str(&quoted(text));
            out.push('\n');
        }
        Node::Number(number) => {
            out.push_str(&number.to_string());
            out.push('\n');
        }
        Node::List(items) => {
            for item in items {
                out.push_str(&indent);
                out.push_str("- ");
                // The first line of a map stands beside its dash.
                let mut block = String::new();
                write_yaml(item, depth + 1, &mut block);
                out.push_str(block.trim_start());
            }
        }
        Node::Map(entries) => {
            for (key, value) in entries {
                out.push_str(&indent);
                match key.contains(':') {
                    true => out.push_str(&quoted(key)),
                    false => out.push_str(key),
                }
                out.push_str(match value {
                    Node::Text(_) | Node::Number(_) => ": ",
                    Node::List(_) | Node::Map(_) => ":\n",
                });
                write_yaml(value, depth + 1, out);
            }
        }
    }
}
