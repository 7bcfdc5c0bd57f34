//! The laws of the house, kept by tests: who may know whom, where each concern lives, and the form of it all.
//!
//! They read production code as the compiler does, by tokens and paths: without comments, without tests, and however an
//! import is written. `laws.rs` says what they demand; `cargo test --test house figures -- --nocapture` prints where it
//! stands; `imports.rs` shows that no way of writing an import escapes.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and prints what it has measured"
)]

mod form;
mod imports;
mod laws;
mod paths;
mod rooms;
mod tokens;
mod words;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};

use form::{Docs, declared_twice, long, of_the_daemon, percent};
use laws::{
    CIRCLES, CORE, DECLARED_TWICE, ENDED, FIXTURES, HALVES_PERCENT, IMPURE, LONG_FUNCTION,
    LONG_FUNCTIONS_PERCENT, LONGEST_FILE, LONGEST_FUNCTION, NOWHERE, ONLY_IN, RUNTIMES,
    SCRAPS_PERCENT, STOREYS,
};
use rooms::{arrows, as_named_in, circles, of_whole_modules, storeys};
use tokens::Tree;
use words::spoken;
use workspace::WORKSPACE;

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_room_uses_what_its_row_says() {
    let workspace = &*WORKSPACE;
    let mut wrong = Vec::new();
    for (from, uses) in arrows(workspace) {
        let (krate, room) = from.split_once("::").unwrap();
        let found: Vec<String> = uses.iter().map(|to| as_named_in(krate, to)).collect();
        let row = format!("{room}: {}", found.join(" "));
        let rows = storeys(krate);
        let Some((_, listed)) = rows.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("STOREYS has no row for {from}; as it is: {row}"));
            continue;
        };
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        for to in found.difference(listed) {
            wrong.push(format!("{from} may not use {to}; as it is: {row}"));
        }
        for to in listed.difference(&found) {
            wrong.push(format!("{from} no longer uses {to}; as it is: {row}"));
        }
    }
    let arrows = arrows(workspace);
    for (krate, _) in STOREYS {
        for (room, _) in storeys(krate) {
            if !arrows.contains_key(&format!("{krate}::{room}")) {
                wrong.push(format!("there is no room {krate}::{room}: take its row from STOREYS"));
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_arrow_points_down() {
    let crates: BTreeMap<&str, usize> =
        STOREYS.iter().enumerate().map(|(place, (name, _))| (*name, place)).collect();
    let places: BTreeMap<String, usize> = STOREYS
        .iter()
        .flat_map(|(krate, _)| {
            storeys(krate).into_iter().map(move |(room, _)| format!("{krate}::{room}"))
        })
        .enumerate()
        .map(|(place, room)| (room, place))
        .collect();
    let mut wrong = Vec::new();
    for (from, uses) in arrows(&WORKSPACE) {
        for to in uses {
            let down = match (places.get(&from), places.get(&to)) {
                (Some(from), Some(to)) => from < to,
                // A room without a row has its own law; its crate has a place.
                _ => {
                    let place = |room: &str| crates.get(room.split("::").next().unwrap()).copied();
                    place(&from).zip(place(&to)).is_none_or(|(from, to)| from <= to)
                }
            };
            if !down {
                wrong.push(format!("{from} stands below {to}, and uses it"));
            }
        }
    }
    none(&wrong);
}

#[test]
fn no_rooms_use_each_other() {
    let arrows = arrows(&WORKSPACE);
    let rooms = circles(&arrows);
    assert!(rooms.is_empty(), "circles of rooms: {rooms:#?}");
    let whole = of_whole_modules(&arrows);
    let found = circles(&whole);
    let known: BTreeSet<BTreeSet<String>> = CIRCLES
        .iter()
        .map(|circle| circle.iter().map(|&module| module.to_owned()).collect())
        .collect();
    assert_eq!(found, known, "circles of whole modules, against CIRCLES");
}

#[test]
fn each_concern_lives_in_one_place() {
    let workspace = &*WORKSPACE;
    let spoken = spoken(workspace);
    let mut wrong = Vec::new();
    let is_in = |file: &str, home: &str| {
        file == home || file.starts_with(&format!("{home}/")) || file == format!("{home}.rs")
    };
    for (pattern, homes, _) in ONLY_IN {
        let holds = |home: &str| {
            spoken.iter().any(|(file, said)| is_in(file, home) && said.holds(*pattern))
        };
        let empty = homes.iter().filter(|home| !holds(home));
        wrong.extend(empty.map(|home| format!("{pattern:?} is not in {home}: mend ONLY_IN")));
    }
    for file in of_the_daemon(workspace) {
        let said = &spoken[file.name.as_str()];
        for (pattern, homes, why) in ONLY_IN {
            let home = homes.iter().any(|home| is_in(&file.name, home));
            if !home && said.holds(*pattern) {
                wrong.push(format!("{pattern:?} in {}: {why}", file.name));
            }
        }
        for (pattern, why) in NOWHERE {
            if said.holds(*pattern) {
                wrong.push(format!("{pattern:?} in {}: {why}", file.name));
            }
        }
    }
    none(&wrong);
}

#[test]
fn no_production_code_knows_of_tests() {
    let workspace = &*WORKSPACE;
    let branching = workspace.files.iter().filter(|file| branches_on_test(&file.production.trees));
    let wrong: Vec<String> =
        branching.map(|file| format!("{}: `cfg(test)` belongs on a module", file.name)).collect();
    none(&wrong);
}

fn branches_on_test(trees: &[Tree]) -> bool {
    trees.iter().enumerate().any(|(at, tree)| match tree {
        Tree::Word(word) if word == "cfg" || word == "cfg_attr" => match &trees[at + 1..] {
            [Tree::Group(_, inner), ..] | [Tree::Sign('!'), Tree::Group(_, inner), ..] => {
                says_test(inner)
            }
            _ => false,
        },
        Tree::Group(_, inner) => branches_on_test(inner),
        Tree::Word(_) | Tree::Sign(_) | Tree::Text(_) | Tree::Other => false,
    })
}

fn says_test(trees: &[Tree]) -> bool {
    trees.iter().any(|tree| match tree {
        Tree::Word(word) => word == "test",
        Tree::Group(_, inner) => says_test(inner),
        Tree::Sign(_) | Tree::Text(_) | Tree::Other => false,
    })
}

#[test]
fn the_core_is_pure() {
    let workspace = &*WORKSPACE;
    let spoken = spoken(workspace);
    let mut wrong = Vec::new();
    for (file, said) in spoken.iter().filter(|(file, _)| file.starts_with(CORE)) {
        let impure = IMPURE.iter().filter(|pattern| said.holds(**pattern));
        wrong.extend(impure.map(|pattern| format!("{pattern:?} in {file}")));
    }
    none(&wrong);
}

#[test]
fn the_core_builds_without_a_runtime() {
    let below = dependencies("roletap-core", "{p}");
    assert!(below.iter().any(|package| package.starts_with("toml ")), "no tree: {below:?}");
    let is_runtime = |package: &&String| {
        let name = package.split(' ').next().unwrap_or_default();
        RUNTIMES
            .iter()
            .any(|runtime| name == *runtime || runtime.ends_with('-') && name.starts_with(runtime))
    };
    let wrong: Vec<String> =
        below.iter().filter(is_runtime).map(|package| format!("below {CORE}: {package}")).collect();
    none(&wrong);
}

#[test]
fn no_program_holds_fixtures() {
    let below = dependencies("roletap", "{p} {f}");
    let core: Vec<&String> =
        below.iter().filter(|package| package.starts_with("roletap-core ")).collect();
    assert!(!core.is_empty(), "no tree: {below:?}");
    assert!(!core.iter().any(|package| package.contains(FIXTURES)), "{core:?}");
}

/// All that a package is built with, as Cargo resolves it, without what only its tests use.
fn dependencies(package: &str, format: &str) -> BTreeSet<String> {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none"])
        .args(["--package", package, "--format", format])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    String::from_utf8(tree.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn every_file_has_one_subject() {
    let workspace = &*WORKSPACE;
    let long = workspace.files.iter().filter(|file| file.production.lines.len() > LONGEST_FILE);
    let wrong: Vec<String> = long
        .map(|file| {
            format!(
                "{} has {} lines of code: two subjects?",
                file.name,
                file.production.lines.len()
            )
        })
        .collect();
    none(&wrong);
}

#[test]
fn functions_are_short() {
    let functions: Vec<_> = WORKSPACE.files.iter().flat_map(|file| &file.functions).collect();
    let long = long(&functions);
    let share = percent(long.len(), functions.len());
    let wrong: Vec<String> = long
        .iter()
        .filter(|function| function.lines > LONGEST_FUNCTION || share > LONG_FUNCTIONS_PERCENT)
        .map(|function| format!("{} has {} lines", function.place, function.lines))
        .collect();
    none(&wrong);
}

#[test]
fn doc_comments_are_sentences() {
    let docs = Docs::of(&WORKSPACE);
    let (halves, scraps) = (docs.percent(&docs.halves), docs.percent(&docs.scraps));
    println!(
        "{} doc comments begin with a relative pronoun:\n{}\n",
        docs.halves.len(),
        docs.halves.join("\n")
    );
    println!("{} have two words or fewer:\n{}\n", docs.scraps.len(), docs.scraps.join("\n"));
    assert!(halves <= HALVES_PERCENT, "{halves:.1} % begin with a relative pronoun");
    assert!(scraps <= SCRAPS_PERCENT, "{scraps:.1} % have two words or fewer");
}

#[test]
fn a_name_is_one_type() {
    let found = declared_twice(&WORKSPACE);
    let mut wrong: Vec<String> = found
        .iter()
        .filter(|(name, _)| !DECLARED_TWICE.iter().any(|(listed, _)| listed == name))
        .map(|(name, places)| format!("(\"{name}\", \"\"), // {}", places.join(", ")))
        .collect();
    let bare = DECLARED_TWICE.iter().filter(|(_, why)| why.is_empty());
    wrong.extend(bare.map(|(name, _)| format!("{name} is declared twice: why is that good?")));
    let gone = DECLARED_TWICE.iter().filter(|(name, _)| !found.contains_key(*name));
    wrong.extend(
        gone.map(|(name, _)| format!("{name} is declared once: take it from DECLARED_TWICE")),
    );
    none(&wrong);
}

#[test]
fn what_has_expired_is_called_so() {
    let workspace = &*WORKSPACE;
    let spoken = spoken(workspace);
    let mut wrong = Vec::new();
    let mut met = BTreeSet::new();
    for file in of_the_daemon(workspace) {
        let texts = &spoken[file.name.as_str()].texts;
        for text in texts.iter().filter(|text| says(text, "ended")) {
            match ENDED.iter().position(|(part, _)| text.contains(part)) {
                Some(row) => {
                    met.insert(row);
                }
                None => wrong.push(format!("({text:?}, \"\"), // {}", file.name)),
            }
        }
    }
    let bare = ENDED.iter().filter(|(_, why)| why.is_empty());
    wrong.extend(bare.map(|(part, _)| format!("{part:?} is about expiry: say expired")));
    let gone = ENDED.iter().enumerate().filter(|(row, _)| !met.contains(row));
    wrong.extend(gone.map(|(_, (part, _))| format!("nothing says {part:?}: take it from ENDED")));
    none(&wrong);
}

fn says(text: &str, word: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric()).any(|found| found == word)
}

#[test]
fn the_house_in_figures() {
    let workspace = &*WORKSPACE;
    let lines = |krate: &str| -> usize {
        let files = workspace.files.iter().filter(|file| krate.is_empty() || file.krate == krate);
        files.map(|file| file.production.lines.len()).sum()
    };
    let arrows = arrows(workspace);
    let whole = of_whole_modules(&arrows);
    let found = circles(&whole);
    println!(
        "rooms: {}, arrows: {}, circles: {}; whole modules: {}, arrows: {}, circles: {} of {} modules",
        arrows.len(),
        arrows.values().map(BTreeSet::len).sum::<usize>(),
        circles(&arrows).len(),
        whole.len(),
        whole.values().map(BTreeSet::len).sum::<usize>(),
        found.len(),
        found.iter().map(BTreeSet::len).sum::<usize>(),
    );
    let mut sizes: Vec<(usize, &str)> = workspace
        .files
        .iter()
        .map(|file| (file.production.lines.len(), file.name.as_str()))
        .collect();
    sizes.sort_unstable();
    let (longest, name) = sizes[sizes.len() - 1];
    println!(
        "files: {}; median {} lines; longest {longest}: {name}",
        sizes.len(),
        sizes[sizes.len() / 2].0
    );
    for krate in workspace.crates() {
        println!("lines of {krate}: {}", lines(krate));
    }
    println!("lines in all: {}", lines(""));
    let docs = Docs::of(workspace);
    println!(
        "doc comments: {}; {:.1} % begin with a relative pronoun, {:.1} % have two words or fewer",
        docs.all,
        docs.percent(&docs.halves),
        docs.percent(&docs.scraps)
    );
    let functions: Vec<_> = workspace.files.iter().flat_map(|file| &file.functions).collect();
    let long = long(&functions);
    println!(
        "functions: {}; {} over {LONG_FUNCTION} lines ({:.1} %)",
        functions.len(),
        long.len(),
        percent(long.len(), functions.len())
    );
    for function in long {
        println!("    {} {}", function.lines, function.place);
    }
    println!("type names declared more than once: {}", declared_twice(workspace).len());
}
