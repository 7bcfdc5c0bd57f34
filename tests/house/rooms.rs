//! Who knows whom: the rooms of each crate, and the arrows between them that the code really has.

use std::collections::{BTreeMap, BTreeSet};

use crate::laws::STOREYS;
use crate::workspace::Workspace;

/// From each room, as `crate::room`, to those that it uses.
pub(crate) type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The arrows between rooms. A crate's root and a program's `main` name everything, and are no rooms.
pub(crate) fn arrows(workspace: &Workspace) -> Arrows {
    let mut arrows = Arrows::new();
    for (module, content) in &workspace.modules {
        let Some(from) = room(workspace, &split(module)) else { continue };
        let uses = arrows.entry(from.clone()).or_default();
        for named in &content.names {
            let path = workspace.resolve(module, &named.segments);
            let Some(to) = room(workspace, &path) else { continue };
            // Another crate shows the modules at its root, and how they are divided is its own affair.
            let to = if path.first() == Some(&split(module)[0]) { to } else { outermost(&to) };
            // A parent may name what lies in it: that is how it is made.
            if to != from && !to.starts_with(&format!("{from}::")) {
                uses.insert(to);
            }
        }
    }
    arrows
}

/// The room of a whole path: the narrowest that [`STOREYS`] lists, else the module at the crate's root.
fn room(workspace: &Workspace, path: &[String]) -> Option<String> {
    let krate = path.first()?;
    let top = path.get(1)?;
    if top == "main" || !workspace.modules.contains_key(&format!("{krate}::{top}")) {
        return None;
    }
    let narrowest = storeys(krate)
        .into_iter()
        .map(|(room, _)| split(room))
        .filter(|room| path[1..].starts_with(room))
        .max_by_key(Vec::len);
    let room = narrowest.map_or_else(|| top.clone(), |room| room.join("::"));
    Some(format!("{krate}::{room}"))
}

/// The rows of a crate, from the roof to the cellar.
pub(crate) fn storeys(krate: &str) -> Vec<(&'static str, BTreeSet<&'static str>)> {
    let text = STOREYS.iter().find(|(name, _)| *name == krate).map_or("", |(_, text)| *text);
    let mut rows: Vec<(&str, BTreeSet<&str>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        if !line.starts_with(' ') {
            let room = words.next().and_then(|word| word.strip_suffix(':'));
            rows.push((room.unwrap_or_else(|| panic!("no room: {line}")), BTreeSet::new()));
        }
        if let Some((_, row)) = rows.last_mut() {
            row.extend(words);
        }
    }
    rows
}

/// The same between the modules at the crates' roots.
pub(crate) fn of_whole_modules(arrows: &Arrows) -> Arrows {
    let mut whole = Arrows::new();
    for (from, uses) in arrows {
        let from = outermost(from);
        let found = whole.entry(from.clone()).or_default();
        found.extend(uses.iter().map(|to| outermost(to)).filter(|to| *to != from));
    }
    whole
}

fn outermost(room: &str) -> String {
    split(room)[..2].join("::")
}

/// The sets of rooms that all reach each other.
pub(crate) fn circles(arrows: &Arrows) -> BTreeSet<BTreeSet<String>> {
    let reached: Arrows =
        arrows.keys().map(|room| (room.clone(), reached_from(arrows, room))).collect();
    let circle = |room: &String| -> BTreeSet<String> {
        let back = |other: &&String| reached.get(*other).is_some_and(|back| back.contains(room));
        reached[room].iter().filter(back).cloned().collect()
    };
    arrows.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

fn reached_from(arrows: &Arrows, room: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next = vec![room.to_owned()];
    while let Some(room) = next.pop() {
        for to in arrows.get(&room).into_iter().flatten() {
            if reached.insert(to.clone()) {
                next.push(to.clone());
            }
        }
    }
    reached
}

/// As a row of [`STOREYS`] names it: without the crate in the crate itself.
pub(crate) fn as_named_in(krate: &str, room: &str) -> String {
    room.strip_prefix(&format!("{krate}::")).unwrap_or(room).to_owned()
}

fn split(path: &str) -> Vec<String> {
    path.split("::").map(str::to_owned).collect()
}
