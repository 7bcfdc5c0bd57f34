//! The paths of production code, however they are written: in imports with or without braces, in expressions, in macros.

use std::collections::BTreeMap;

use proc_macro2::Delimiter;

use crate::tokens::Tree;

/// A module: what it names, and what it imports under which name.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) names: Vec<Named>,
    pub(crate) imports: BTreeMap<String, Vec<String>>,
    /// The modules that lie in the same file.
    pub(crate) inline: Vec<(String, Self)>,
    /// The modules that lie in files of their own.
    pub(crate) outside: Vec<String>,
}

/// A path as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) imported: bool,
}

impl Module {
    pub(crate) fn of(trees: &[Tree]) -> Self {
        let mut found = Self::default();
        found.walk(trees);
        found
    }

    fn walk(&mut self, trees: &[Tree]) {
        let mut at = 0;
        while let Some(tree) = trees.get(at) {
            at += match tree {
                Tree::Word(word) if word == "use" => 1 + self.import(&trees[at + 1..], &[]),
                Tree::Word(word) if word == "mod" => self.module(&trees[at..]),
                // Being seen by a module is not using it.
                Tree::Word(word) if word == "pub" && is_visibility(trees.get(at + 1)) => 2,
                // A range, or the rest of a struct: what follows may be a path.
                Tree::Sign('.') if matches!(trees.get(at + 1), Some(Tree::Sign('.'))) => 2,
                // A field, a method or a lifetime is no path.
                Tree::Sign('.' | '\'') if matches!(trees.get(at + 1), Some(Tree::Word(_))) => 2,
                Tree::Word(_) => self.path(&trees[at..]),
                Tree::Group(_, inner) => {
                    self.walk(inner);
                    1
                }
                Tree::Sign(_) | Tree::Text(_) | Tree::Other => 1,
            };
        }
    }

    fn module(&mut self, trees: &[Tree]) -> usize {
        match trees {
            [_, Tree::Word(name), Tree::Sign(';'), ..] => {
                self.outside.push(name.clone());
                3
            }
            [_, Tree::Word(name), Tree::Group(Delimiter::Brace, inner), ..] => {
                self.inline.push((name.clone(), Self::of(inner)));
                3
            }
            _ => 1,
        }
    }

    fn path(&mut self, trees: &[Tree]) -> usize {
        let mut segments = Vec::new();
        let mut at = 0;
        while let Some(Tree::Word(word)) = trees.get(at) {
            segments.push(word.clone());
            at += 1;
            match &trees[at..] {
                [Tree::Sign(':'), Tree::Sign(':'), Tree::Word(_), ..] => at += 2,
                _ => break,
            }
        }
        self.names.push(Named { segments, imported: false });
        at
    }

    /// One tree of imports, up to its comma or semicolon: how many tokens it has.
    fn import(&mut self, trees: &[Tree], before: &[String]) -> usize {
        let mut segments = before.to_vec();
        let mut at = 0;
        while let Some(tree) = trees.get(at) {
            at += 1;
            match tree {
                Tree::Word(word) if word == "as" => {
                    if let Some(Tree::Word(name)) = trees.get(at) {
                        self.imported(&segments, name);
                        return at + 1;
                    }
                }
                Tree::Word(word) if word == "self" && !before.is_empty() => {}
                Tree::Word(word) => segments.push(word.clone()),
                Tree::Sign(':') => {}
                Tree::Sign('*') => {
                    self.names.push(Named { segments, imported: true });
                    return at;
                }
                Tree::Group(Delimiter::Brace, inner) => {
                    let mut rest = &inner[..];
                    while !rest.is_empty() {
                        let read = self.import(rest, &segments);
                        rest = rest.get(read..).unwrap_or_default();
                        if let [Tree::Sign(','), ..] = rest {
                            rest = &rest[1..];
                        }
                    }
                    return at;
                }
                // `use<'a>` in a type is no import.
                Tree::Sign(_) | Tree::Text(_) | Tree::Other | Tree::Group(..) => {
                    at -= 1;
                    break;
                }
            }
        }
        if let Some(name) = segments.last().cloned() {
            self.imported(&segments, &name);
        }
        at.max(1)
    }

    fn imported(&mut self, segments: &[String], name: &str) {
        self.names.push(Named { segments: segments.to_vec(), imported: true });
        self.imports.insert(name.to_owned(), segments.to_vec());
    }
}

/// True of the `(super)` and the `(in path)` after `pub`, and not of a tuple.
fn is_visibility(after: Option<&Tree>) -> bool {
    let Some(Tree::Group(Delimiter::Parenthesis, inner)) = after else { return false };
    match &inner[..] {
        [Tree::Word(word)] => matches!(word.as_str(), "crate" | "self" | "super"),
        [Tree::Word(word), ..] => word == "in",
        _ => false,
    }
}
