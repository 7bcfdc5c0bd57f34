//! A policy document as a data source of Terraform's AWS provider, in the shape that `terraform fmt` leaves alone.

use std::fmt::Write as _;

use super::document::{Document, Statement, owned};

/// `data "aws_iam_policy_document" "LABEL"`.
pub(super) fn data_source(label: &str, document: &Document) -> String {
    let blocks: Vec<String> = document.statements.iter().map(statement).collect();
    format!("data \"aws_iam_policy_document\" \"{label}\" {{\n{}}}\n", blocks.join("\n"))
}

/// An identifier of Terraform's.
pub(super) fn name(text: &str) -> String {
    let name = text.replace('.', "_");
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("role_{name}") } else { name }
}

fn statement(statement: &Statement) -> String {
    let mut out = String::from("  statement {\n");
    let actions = owned(&statement.actions);
    let mut arguments = vec![
        ("sid", quoted(statement.sid)),
        ("effect", quoted("Allow")),
        ("actions", list(&actions, 4)),
    ];
    if !statement.resources.is_empty() {
        arguments.push(("resources", list(&statement.resources, 4)));
    }
    write_arguments(&arguments, 4, &mut out);
    if let Some(principal) = &statement.principal {
        let arguments =
            [("type", quoted("AWS")), ("identifiers", list(std::slice::from_ref(principal), 6))];
        write_block("principals", &arguments, &mut out);
    }
    for condition in &statement.conditions {
        let arguments = [
            ("test", quoted(condition.operator)),
            ("variable", quoted(condition.key)),
            ("values", list(&condition.values, 6)),
        ];
        write_block("condition", &arguments, &mut out);
    }
    out.push_str("  }\n");
    out
}

fn write_block(name: &str, arguments: &[(&str, String)], out: &mut String) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "\n    {name} {{");
    write_arguments(arguments, 6, out);
    out.push_str("    }\n");
}

/// Neighbours have their equals signs in one column; a value of several lines stands apart.
fn write_arguments(arguments: &[(&str, String)], indent: usize, out: &mut String) {
    let stands_apart = |(_, value): &(&str, String)| value.contains('\n');
    let groups = arguments.chunk_by(|one, next| !stands_apart(one) && !stands_apart(next));
    for (at, group) in groups.enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let width = group.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in group {
            let _ = writeln!(out, "{:indent$}{name:width$} = {value}", "");
        }
    }
}

fn list(items: &[String], indent: usize) -> String {
    match items {
        [item] => format!("[{}]", quoted(item)),
        items => {
            let mut out = String::from("[\n");
            for item in items {
                let _ = writeln!(out, "{:indent$}  {},", "", quoted(item));
            }
            let _ = write!(out, "{:indent$}]", "");
            out
        }
    }
}

/// In Terraform `${` and `%{` begin a template.
fn quoted(text: &str) -> String {
    super::document::quoted(text).replace("${", "$${").replace("%{", "%%{")
}
