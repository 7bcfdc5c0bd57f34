//! The laws on trial: each way of naming another module draws the same arrow.

use std::collections::BTreeSet;

use crate::paths::Module;
use crate::rooms::{arrows, circles};
use crate::tokens::Production;
use crate::workspace::Workspace;

/// A house of two crates. `lent::low::deep` holds `text`.
fn house(text: &str) -> Workspace {
    let mut workspace = Workspace { files: Vec::new(), modules: Default::default() };
    let lib = "pub use lent_core::rules; pub use high::Thing;";
    for (path, text) in [
        ("lent", lib),
        ("lent::high", "use crate::low::deep::Deep; pub struct Thing;"),
        ("lent::high::inner", ""),
        ("lent::low", ""),
        ("lent::low::deep", text),
        ("lent_core", ""),
        ("lent_core::rules", ""),
    ] {
        let production = Production::of(text.parse().unwrap());
        workspace.modules.insert(path.to_owned(), Module::of(&production.trees));
    }
    workspace
}

fn used(text: &str) -> Vec<String> {
    arrows(&house(text))["lent::low"].iter().cloned().collect()
}

#[test]
fn however_an_import_is_written_it_is_one() {
    for text in [
        "use crate::high::Thing;",
        "use crate::{low::Other, high::{self, Thing as T}};",
        "use super::super::high;",
        "use super::super::{high::inner::*};",
        "use crate::Thing;",
        "use lent::high::Thing;",
        "fn f() { let x = crate::high::Thing; }",
        "fn f(x: super::super::high::Thing) {}",
        "fn f() { say!(\"{}\", crate::high::NUMBER) }",
        "fn f() { let y = Y { ..crate::high::Y::default() }; }",
        "fn f() { use crate::high as up; up::g(); }",
        "#[derive(crate::high::Derive)] struct S;",
        "impl<T: crate::high::Trait> S<T> {}",
        "struct S(pub (crate::high::Thing, u8));",
        "mod within { use super::super::super::high::Thing; }",
    ] {
        let found = if text.starts_with("mod") { within(text) } else { used(text) };
        assert_eq!(found, ["lent::high"], "{text}");
    }
}

/// What a module in the same file uses.
fn within(text: &str) -> Vec<String> {
    let mut house = house(text);
    let deep = house.modules.get_mut("lent::low::deep").unwrap();
    for (name, inline) in std::mem::take(&mut deep.inline) {
        house.modules.insert(format!("lent::low::deep::{name}"), inline);
    }
    arrows(&house)["lent::low"].iter().cloned().collect()
}

#[test]
fn an_import_from_another_crate_is_one_also_by_way_of_a_re_export() {
    for text in ["use lent_core::rules::Rule;", "use crate::rules::Rule;", "use crate::{rules};"] {
        assert_eq!(used(text), ["lent_core::rules"], "{text}");
    }
}

#[test]
fn comments_tests_fields_and_neighbours_are_no_imports() {
    for text in [
        "// use crate::high::Thing;",
        "/// See [`crate::high::Thing`].\nstruct S;",
        "#[cfg(test)] mod tests { use crate::high::Thing; }",
        "fn f(x: X) { x.high.inner(); }",
        "use super::Other; use self::more::X; use std::high::Y;",
        "const S: &str = \"crate::high\";",
        "pub(in crate::high) struct S(pub(in crate::high) u8);",
    ] {
        assert_eq!(used(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_circle_is_seen() {
    assert_eq!(circles(&arrows(&house(""))), BTreeSet::new());
    let found = circles(&arrows(&house("use crate::{high::Thing};")));
    let circle = ["lent::high", "lent::low"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from([BTreeSet::from(circle)]));
}
