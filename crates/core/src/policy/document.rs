//! A policy document: statements, and the tree that they are written from.

/// The version of the policy language. An older one knows no policy variables.
const VERSION: &str = "2012-10-17";

/// A policy document of IAM, as AWS reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub(super) statements: Vec<Statement>,
}

/// One `Allow`. Ours never deny.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) sid: &'static str,
    pub(super) principal: Option<String>,
    pub(super) actions: Vec<&'static str>,
    pub(super) resources: Vec<String>,
    pub(super) conditions: Vec<Condition>,
}

/// A condition of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) operator: &'static str,
    pub(super) key: &'static str,
    pub(super) values: Vec<String>,
}

/// A value that JSON, Terraform and CloudFormation can write. A map keeps its order: IAM's own, which is also the reader's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Text(String),
    Number(u32),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Statement {
    pub(super) fn allow(sid: &'static str, actions: &[&'static str]) -> Self {
        Self {
            sid,
            principal: None,
            actions: actions.to_vec(),
            resources: Vec::new(),
            conditions: Vec::new(),
        }
    }

    pub(super) fn to(mut self, principal: &str) -> Self {
        self.principal = Some(principal.to_owned());
        self
    }

    pub(super) fn on(mut self, resources: &[&str]) -> Self {
        self.resources = owned(resources);
        self
    }

    pub(super) fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }
}

impl Condition {
    pub(super) fn equals(key: &'static str, values: &[&str]) -> Self {
        Self::new("StringEquals", key, values)
    }

    pub(super) fn like(key: &'static str, values: &[&str]) -> Self {
        Self::new("StringLike", key, values)
    }

    /// For a key that has many values: each of them must be one of these.
    pub(super) fn all_equal(key: &'static str, values: &[&str]) -> Self {
        Self::new("ForAllValues:StringEquals", key, values)
    }

    fn new(operator: &'static str, key: &'static str, values: &[&str]) -> Self {
        Self { operator, key, values: owned(values) }
    }
}

impl Document {
    pub(super) fn of(statements: Vec<Statement>) -> Self {
        Self { statements }
    }

    /// As the AWS CLI takes it.
    pub fn json(&self) -> String {
        let mut out = String::new();
        write_json(&self.tree(), 0, &mut out);
        out.push('\n');
        out
    }

    /// How many characters count against IAM's limits: all but blanks.
    pub fn size(&self) -> usize {
        self.json().chars().filter(|c| !c.is_whitespace()).count()
    }

    pub(super) fn tree(&self) -> Node {
        Node::map([
            ("Version", Node::text(VERSION)),
            ("Statement", Node::List(self.statements.iter().map(statement).collect())),
        ])
    }
}

impl Node {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
        Self::Map(entries.collect())
    }

    /// IAM takes one thing bare, and people write it so.
    fn one_or_more(texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut texts: Vec<Self> = texts.into_iter().map(Self::text).collect();
        match texts.len() {
            1 => texts.remove(0),
            _ => Self::List(texts),
        }
    }
}

fn statement(statement: &Statement) -> Node {
    let mut entries = vec![
        ("Sid".to_owned(), Node::text(statement.sid)),
        ("Effect".to_owned(), Node::text("Allow")),
    ];
    if let Some(principal) = &statement.principal {
        let principal = Node::map([("AWS", Node::text(principal))]);
        entries.push(("Principal".to_owned(), principal));
    }
    let actions = Node::one_or_more(statement.actions.iter().copied());
    entries.push(("Action".to_owned(), actions));
    if !statement.resources.is_empty() {
        let resources = Node::one_or_more(&statement.resources);
        entries.push(("Resource".to_owned(), resources));
    }
    if !statement.conditions.is_empty() {
        let conditions = statement.conditions.iter().map(|condition| {
            let values = Node::one_or_more(&condition.values);
            (condition.operator, Node::map([(condition.key, values)]))
        });
        entries.push(("Condition".to_owned(), Node::map(conditions)));
    }
    Node::Map(entries)
}

fn write_json(node: &Node, depth: usize, out: &mut String) {
    match node {
        Node::Text(text) => out.push_str(&quoted(text)),
        Node::Number(number) => out.push_str(&number.to_string()),
        Node::List(items) => {
            write_lines(items, ['[', ']'], depth, out, |item, out| {
                write_json(item, depth + 1, out);
            });
        }
        Node::Map(entries) => {
            write_lines(entries, ['{', '}'], depth, out, |(key, value), out| {
                out.push_str(&quoted(key));
                out.push_str(": ");
                write_json(value, depth + 1, out);
            });
        }
    }
}

fn write_lines<T>(
    items: &[T],
    [open, close]: [char; 2],
    depth: usize,
    out: &mut String,
    write: impl Fn(&T, &mut String),
) {
    out.push(open);
    for (at, item) in items.iter().enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        write(item, out);
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(close);
}

/// In double quotes, with escapes that JSON, YAML and HCL read alike.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str(r"\\"),
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            '\t' => out.push_str(r"\t"),
            c if is_unseen(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Tells whether a character breaks a line in YAML, is refused by it, or turns or hides the text beside it.
///
/// All of them have four digits.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fffe}'
                | '\u{ffff}'
        )
}

pub(super) fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_language_would_take_for_a_line_break_is_written_by_its_number() {
        assert_eq!(quoted("a \"b\" \\ é 日本 😀"), r#""a \"b\" \\ é 日本 😀""#);
        for odd in [
            '\0', '\u{8}', '\u{c}', '\u{7f}', '\u{85}', '\u{61c}', '\u{200b}', '\u{200e}',
            '\u{2028}', '\u{2029}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{feff}', '\u{ffff}',
        ] {
            let text = quoted(&format!("a{odd}b"));
            assert_eq!(text, format!("\"a\\u{:04x}b\"", u32::from(odd)));
            let read: String = serde_json::from_str(&text).unwrap();
            assert_eq!(read, format!("a{odd}b"));
        }
    }
}
