//! Patterns over tokens and paths.

use std::collections::BTreeMap;

use crate::tokens::Tree;
use crate::workspace::{File, Workspace};

/// What a law looks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pattern {
    /// A crate, at the beginning of a path.
    Crate(&'static str),
    /// These segments in a path, one after the other, after imports are followed.
    Path(&'static str),
    /// A method or an associated function that is called or handed on.
    Method(&'static str),
    /// A word anywhere.
    Word(&'static str),
    /// The beginning of a string literal.
    Text(&'static str),
    /// A call at the end of a path whose result is called upon: `Instant::now().`
    CalledUpon(&'static str),
}

/// What is found of a file.
#[derive(Debug)]
pub(crate) struct Spoken {
    /// The paths, whole, and if they are more than a word.
    paths: Vec<(Vec<String>, bool)>,
    words: Vec<String>,
    methods: Vec<String>,
    pub(crate) texts: Vec<String>,
    called_upon: Vec<String>,
}

/// By the file's name.
pub(crate) fn spoken(workspace: &Workspace) -> BTreeMap<&str, Spoken> {
    workspace.files.iter().map(|file| (file.name.as_str(), Spoken::of(workspace, file))).collect()
}

impl Spoken {
    fn of(workspace: &Workspace, file: &File) -> Self {
        let mut found = Self {
            paths: Vec::new(),
            words: Vec::new(),
            methods: Vec::new(),
            texts: Vec::new(),
            called_upon: Vec::new(),
        };
        for module in &file.modules {
            for named in &workspace.modules[module].names {
                let path = workspace.resolve(module, &named.segments);
                found.paths.push((path, named.imported || named.segments.len() > 1));
            }
        }
        found.walk(&file.production.trees);
        found
    }

    fn walk(&mut self, trees: &[Tree]) {
        for (at, tree) in trees.iter().enumerate() {
            match tree {
                Tree::Word(word) => {
                    self.words.push(word.clone());
                    let before = &trees[..at];
                    let called = match before {
                        [.., Tree::Sign('.')] => {
                            matches!(trees.get(at + 1), Some(Tree::Group(..) | Tree::Sign(':')))
                        }
                        [.., Tree::Word(owner), Tree::Sign(':'), Tree::Sign(':')] => {
                            owner.starts_with(|letter: char| letter.is_ascii_uppercase())
                        }
                        [.., Tree::Sign('>'), Tree::Sign(':'), Tree::Sign(':')] => true,
                        _ => false,
                    };
                    if called {
                        self.methods.push(word.clone());
                    }
                    if let [
                        Tree::Word(owner),
                        Tree::Sign(':'),
                        Tree::Sign(':'),
                        Tree::Word(name),
                        Tree::Group(_, arguments),
                        Tree::Sign('.'),
                        ..,
                    ] = &trees[at..]
                        && arguments.is_empty()
                    {
                        self.called_upon.push(format!("{owner}::{name}"));
                    }
                }
                Tree::Text(text) => self.texts.push(text.clone()),
                Tree::Group(_, inner) => self.walk(inner),
                Tree::Sign(_) | Tree::Other => {}
            }
        }
    }

    pub(crate) fn holds(&self, pattern: Pattern) -> bool {
        match pattern {
            Pattern::Crate(name) => self
                .paths
                .iter()
                .any(|(path, more)| *more && path.first().is_some_and(|first| first == name)),
            Pattern::Path(path) => {
                let wanted: Vec<&str> = path.split("::").collect();
                self.paths
                    .iter()
                    .any(|(path, _)| path.windows(wanted.len()).any(|part| part == wanted))
            }
            Pattern::Method(name) => self.methods.iter().any(|method| method == name),
            Pattern::Word(name) => self.words.iter().any(|word| word == name),
            Pattern::Text(start) => self.texts.iter().any(|text| text.starts_with(start)),
            Pattern::CalledUpon(call) => self.called_upon.iter().any(|found| found == call),
        }
    }
}
