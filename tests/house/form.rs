//! How long things are, what they are called, and how they are described.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use crate::laws::{DOUBLES, HALVES, LONG_FUNCTION};
use crate::tokens::{Production, is_for_tests};
use crate::workspace::{File, Workspace};

/// A function: where, and how many lines of production code.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) place: String,
    pub(crate) lines: usize,
}

/// The functions and the types of one file.
pub(crate) fn declared(
    name: &str,
    syntax: &syn::File,
    production: &Production,
) -> (Vec<Function>, Vec<(String, usize)>) {
    let mut seen = Seen { name, production, functions: Vec::new(), types: Vec::new() };
    seen.visit_file(syntax);
    (seen.functions, seen.types)
}

pub(crate) fn long<'a>(functions: &[&'a Function]) -> Vec<&'a Function> {
    let mut long: Vec<&Function> =
        functions.iter().copied().filter(|function| function.lines > LONG_FUNCTION).collect();
    long.sort_by_key(|function| std::cmp::Reverse(function.lines));
    long
}

/// The names of types that are declared more than once, with the places.
pub(crate) fn declared_twice(workspace: &Workspace) -> BTreeMap<String, Vec<String>> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &workspace.files {
        for (name, line) in &file.types {
            places.entry(name.clone()).or_default().push(format!("{}:{line}", file.name));
        }
    }
    places.retain(|_, places| places.len() > 1);
    places
}

/// The doc comments of items, and those among them that say half a sentence or less.
#[derive(Debug, Default)]
pub(crate) struct Docs {
    pub(crate) all: usize,
    pub(crate) halves: Vec<String>,
    pub(crate) scraps: Vec<String>,
}

impl Docs {
    pub(crate) fn of(workspace: &Workspace) -> Self {
        let mut found = Self::default();
        for file in &workspace.files {
            for (line, text) in &file.production.docs {
                found.all += 1;
                let mut words = text.split_whitespace();
                let first = words.next().unwrap_or_default();
                let first = first.trim_matches(|sign: char| !sign.is_alphanumeric());
                let first = first.split('\'').next().unwrap_or_default();
                let shown = || format!("{}:{line}: {}", file.name, text.replace('\n', " "));
                if HALVES.contains(&first) {
                    found.halves.push(shown());
                }
                if text.split_whitespace().count() <= 2 {
                    found.scraps.push(shown());
                }
            }
        }
        found
    }

    pub(crate) fn percent(&self, of: &[String]) -> f64 {
        percent(of.len(), self.all)
    }
}

pub(crate) fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// Files of the daemon, without those of its doubles.
pub(crate) fn of_the_daemon(workspace: &Workspace) -> impl Iterator<Item = &File> {
    workspace.files.iter().filter(|file| !DOUBLES.contains(&file.krate.as_str()))
}

struct Seen<'a> {
    name: &'a str,
    production: &'a Production,
    functions: Vec<Function>,
    types: Vec<(String, usize)>,
}

impl Seen<'_> {
    fn function(&mut self, sig: &syn::Signature, block: &syn::Block) {
        let (first, last) =
            (sig.fn_token.span.start().line, block.brace_token.span.close().end().line);
        let lines = self.production.lines_between(first, last);
        self.functions
            .push(Function { place: format!("{}:{first} {}", self.name, sig.ident), lines });
    }

    fn declare(&mut self, name: &syn::Ident) {
        self.types.push((name.to_string(), name.span().start().line));
    }
}

impl<'ast> Visit<'ast> for Seen<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let test = module.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute.meta.require_list().is_ok_and(|list| is_for_tests(&list.tokens))
        });
        if !test {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.function(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.declare(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.declare(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_union(&mut self, item: &'ast syn::ItemUnion) {
        self.declare(&item.ident);
        visit::visit_item_union(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.declare(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.declare(&item.ident);
        visit::visit_item_type(self, item);
    }
}
