//! The production code of every crate of the workspace, module by module.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::form::{Function, declared};
use crate::paths::Module;
use crate::tokens::Production;

/// One file of production code.
#[derive(Debug)]
pub(crate) struct File {
    /// The library's name, as in paths.
    pub(crate) krate: String,
    /// The path below the root of the workspace.
    pub(crate) name: String,
    /// By crate and path, with those that lie within it.
    pub(crate) modules: Vec<String>,
    pub(crate) production: Production,
    pub(crate) functions: Vec<Function>,
    /// The types that are declared here: name, line.
    pub(crate) types: Vec<(String, usize)>,
}

/// Every crate, as far as it is no test.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) files: Vec<File>,
    /// By crate and path: `roletap::issuer::sts`.
    pub(crate) modules: BTreeMap<String, Module>,
}

/// As it is on disk, read once for all laws.
pub(crate) static WORKSPACE: LazyLock<Workspace> = LazyLock::new(Workspace::read);

impl Workspace {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Self { files: Vec::new(), modules: BTreeMap::new() };
        found.add_crate(root, root);
        let mut folders: Vec<PathBuf> =
            fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        for folder in folders.iter().filter(|folder| folder.join("Cargo.toml").exists()) {
            found.add_crate(root, folder);
        }
        assert!(found.files.len() > 20, "the sources have moved");
        found.files.sort_by(|one, other| one.name.cmp(&other.name));
        found
    }

    /// The crates' names.
    pub(crate) fn crates(&self) -> BTreeSet<&str> {
        self.files.iter().map(|file| file.krate.as_str()).collect()
    }

    fn add_crate(&mut self, root: &Path, folder: &Path) {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")).unwrap();
        let krate = name.trim_end_matches('"').replace('-', "_");
        let source = folder.join("src");
        let mut read = BTreeSet::new();
        for (start, module) in [("lib.rs", krate.clone()), ("main.rs", format!("{krate}::main"))] {
            if source.join(start).exists() {
                self.add_file(root, &krate, &source.join(start), &source, &module, &mut read);
            }
        }
        let below = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
        let lost: Vec<String> = rust_files(&source)
            .iter()
            .filter(|path| !read.iter().any(|read| path.starts_with(read)))
            .map(|path| below(path))
            .collect();
        assert!(lost.is_empty(), "no module declares {lost:?}");
    }

    /// Reads a module's file and those of the modules that it declares. What is read or is of tests is noted in `read`.
    fn add_file(
        &mut self,
        root: &Path,
        krate: &str,
        path: &Path,
        children: &Path,
        module: &str,
        read: &mut BTreeSet<PathBuf>,
    ) {
        read.insert(path.to_owned());
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let text = fs::read_to_string(path).unwrap();
        let production = Production::of(text.parse().unwrap_or_else(|why| panic!("{name}: {why}")));
        let syntax = syn::parse_file(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
        for test in &production.test_modules {
            read.extend([children.join(format!("{test}.rs")), children.join(test)]);
        }
        let found = Module::of(&production.trees);
        let outside = found.outside.clone();
        let mut modules = Vec::new();
        self.add_module(module.to_owned(), found, &mut modules);
        let (functions, types) = declared(&name, &syntax, &production);
        self.files.push(File {
            krate: krate.to_owned(),
            name,
            modules,
            production,
            functions,
            types,
        });
        for child in outside {
            let (file, folder) = (children.join(format!("{child}.rs")), children.join(&child));
            let file = if file.exists() { file } else { folder.join("mod.rs") };
            self.add_file(root, krate, &file, &folder, &format!("{module}::{child}"), read);
        }
    }

    fn add_module(&mut self, path: String, mut module: Module, added: &mut Vec<String>) {
        for (name, inline) in std::mem::take(&mut module.inline) {
            self.add_module(format!("{path}::{name}"), inline, added);
        }
        added.push(path.clone());
        self.modules.insert(path, module);
    }

    /// The whole path of what `module` means by `segments`, through imports and re-exports.
    pub(crate) fn resolve(&self, module: &str, segments: &[String]) -> Vec<String> {
        self.resolve_within(module, segments, 0)
    }

    fn resolve_within(&self, module: &str, segments: &[String], depth: usize) -> Vec<String> {
        let krate = module.split("::").next().unwrap_or_default();
        let Some((first, rest)) = segments.split_first().filter(|_| depth < 16) else {
            return segments.to_vec();
        };
        // A program's own root is its `main` here.
        let root = if module.split("::").nth(1) == Some("main") {
            format!("{krate}::main")
        } else {
            krate.to_owned()
        };
        let start = match first.as_str() {
            "crate" => return self.descend(&root, rest, depth),
            "self" => return self.descend(module, rest, depth),
            "super" => {
                let parent = module.rsplit_once("::").map_or(module, |(parent, _)| parent);
                return if rest.first().is_some_and(|next| next == "super") {
                    self.resolve_within(parent, rest, depth + 1)
                } else {
                    self.descend(parent, rest, depth)
                };
            }
            first => first,
        };
        if self.modules.contains_key(&format!("{module}::{start}")) {
            return self.descend(module, segments, depth);
        }
        if let Some(import) = self.modules.get(module).and_then(|here| here.imports.get(start))
            && import.first() != Some(first)
        {
            let whole: Vec<String> = import.iter().chain(rest).cloned().collect();
            return self.resolve_within(module, &whole, depth + 1);
        }
        if self.modules.contains_key(start) {
            return self.descend(start, rest, depth);
        }
        segments.to_vec()
    }

    /// Walks down from a module, through what it re-exports.
    fn descend(&self, module: &str, segments: &[String], depth: usize) -> Vec<String> {
        let mut at = module.to_owned();
        for (place, next) in segments.iter().enumerate() {
            let child = format!("{at}::{next}");
            if self.modules.contains_key(&child) {
                at = child;
                continue;
            }
            if let Some(import) = self.modules.get(&at).and_then(|here| here.imports.get(next))
                && depth < 16
            {
                let whole: Vec<String> =
                    import.iter().chain(&segments[place + 1..]).cloned().collect();
                return self.resolve_within(&at, &whole, depth + 1);
            }
            let mut whole: Vec<String> = at.split("::").map(str::to_owned).collect();
            whole.extend(segments[place..].iter().cloned());
            return whole;
        }
        at.split("::").map(str::to_owned).collect()
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
