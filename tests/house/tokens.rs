//! Rust text as trees of tokens: what production code says, without comments and without tests.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};

use crate::laws::FIXTURES;

/// A token, or several between delimiters.
#[derive(Debug)]
pub(crate) enum Tree {
    Word(String),
    Sign(char),
    /// The value of a string literal, plain, raw or of bytes.
    Text(String),
    /// A number, a character.
    Other,
    Group(Delimiter, Vec<Self>),
}

/// The production code of one file.
#[derive(Debug, Default)]
pub(crate) struct Production {
    pub(crate) trees: Vec<Tree>,
    /// The lines that hold code, in order, each once.
    pub(crate) lines: Vec<usize>,
    /// The doc comments of items: line, text.
    pub(crate) docs: Vec<(usize, String)>,
    /// The modules of other files that are declared for tests alone.
    pub(crate) test_modules: Vec<String>,
}

impl Production {
    pub(crate) fn of(stream: TokenStream) -> Self {
        let mut found = Self::default();
        found.trees = found.walk(stream);
        found.lines.sort_unstable();
        found.lines.dedup();
        found
    }

    /// The lines of code from `first` to `last`.
    pub(crate) fn lines_between(&self, first: usize, last: usize) -> usize {
        self.lines.iter().filter(|line| (first..=last).contains(*line)).count()
    }

    fn walk(&mut self, stream: TokenStream) -> Vec<Tree> {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut trees = Vec::new();
        let mut at = 0;
        // The end of the doc comment before this place.
        let mut after_doc = None;
        while at < tokens.len() {
            if let Some((length, text)) = doc(&tokens[at..]) {
                if let Some(text) = text {
                    match self.docs.last_mut() {
                        Some((_, whole)) if after_doc == Some(at) => {
                            whole.push('\n');
                            whole.push_str(&text);
                        }
                        _ => self.docs.push((line(tokens[at].span()), text)),
                    }
                    after_doc = Some(at + length);
                }
                at += length;
                continue;
            }
            if let Some((length, outside)) = test_module(&tokens[at..]) {
                self.test_modules.extend(outside);
                at += length;
                continue;
            }
            trees.push(self.tree(tokens[at].clone()));
            at += 1;
        }
        trees
    }

    fn tree(&mut self, token: TokenTree) -> Tree {
        match token {
            TokenTree::Group(group) => {
                self.lines.push(line(group.span_open()));
                self.lines.push(line(group.span_close()));
                Tree::Group(group.delimiter(), self.walk(group.stream()))
            }
            TokenTree::Ident(word) => {
                self.lines.push(line(word.span()));
                Tree::Word(word.to_string())
            }
            TokenTree::Punct(sign) => {
                self.lines.push(line(sign.span()));
                Tree::Sign(sign.as_char())
            }
            TokenTree::Literal(literal) => {
                let span = literal.span();
                self.lines.extend(span.start().line..=span.end().line);
                match syn::parse_str(&literal.to_string()) {
                    Ok(syn::Lit::Str(text)) => Tree::Text(text.value()),
                    Ok(syn::Lit::ByteStr(text)) => {
                        Tree::Text(String::from_utf8_lossy(&text.value()).into_owned())
                    }
                    _ => Tree::Other,
                }
            }
        }
    }
}

fn line(span: Span) -> usize {
    span.start().line
}

/// A line of a doc comment here: how many tokens, and the text unless it is a module's.
fn doc(tokens: &[TokenTree]) -> Option<(usize, Option<String>)> {
    let inner = usize::from(is_sign(tokens.get(1)?, '!'));
    let content = attribute(&tokens[0], tokens.get(1 + inner)?)?;
    let [name, equals, TokenTree::Literal(text)] = &content[..] else { return None };
    if !is_word(name, "doc") || !is_sign(equals, '=') {
        return None;
    }
    let text = syn::parse_str::<syn::LitStr>(&text.to_string()).ok()?.value();
    Some((2 + inner, (inner == 0).then(|| text.trim().to_owned())))
}

/// A module for tests alone: how many tokens, and its name if it is in another file.
fn test_module(tokens: &[TokenTree]) -> Option<(usize, Option<String>)> {
    let content = attribute(tokens.first()?, tokens.get(1)?)?;
    let [cfg, TokenTree::Group(condition)] = &content[..] else { return None };
    if !is_word(cfg, "cfg") || !is_for_tests(&condition.stream()) {
        return None;
    }
    let mut at = 2;
    while attribute(tokens.get(at)?, tokens.get(at + 1)?).is_some() {
        at += 2;
    }
    if is_word(&tokens[at], "pub") {
        at += if matches!(tokens.get(at + 1)?, TokenTree::Group(_)) { 2 } else { 1 };
    }
    let [keyword, TokenTree::Ident(name), end] = tokens.get(at..at + 3)? else { return None };
    let outside = is_sign(end, ';').then(|| name.to_string());
    is_word(keyword, "mod").then_some((at + 3, outside))
}

/// True of the two conditions that no program is built with: `test`, and the core's fixtures for the tests of others.
pub(crate) fn is_for_tests(condition: &TokenStream) -> bool {
    let condition = condition.to_string().replace(' ', "");
    condition == "test" || condition == format!("any(test,feature=\"{FIXTURES}\")")
}

/// The content of `#[…]`.
fn attribute(hash: &TokenTree, group: &TokenTree) -> Option<Vec<TokenTree>> {
    let TokenTree::Group(group) = group else { return None };
    (is_sign(hash, '#') && group.delimiter() == Delimiter::Bracket)
        .then(|| group.stream().into_iter().collect())
}

fn is_sign(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == sign)
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(found) if found == word)
}
