//! The table of `src/lib.rs` is true: a file imports only from its own room and from lower layers. Rooms that share a
//! layer may know each other one way, except in layer 2, whose rooms are strangers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Layers = BTreeMap<String, u32>;

/// An import: the file's room, the room it names, and where.
struct Import {
    from: String,
    to: String,
    place: String,
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// `| 4 | [`plan`]: … |` gives 4 for `plan`.
fn layers() -> Layers {
    let text = std::fs::read_to_string(source().join("lib.rs")).unwrap();
    let mut layers = Layers::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("//! | ")) {
        let Some((number, rooms)) = line.split_once(" | ") else { continue };
        let Ok(number) = number.parse() else { continue };
        for room in rooms.split("[`").skip(1) {
            layers.insert(room.split('`').next().unwrap().to_owned(), number);
        }
    }
    layers
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false if path.extension().is_some_and(|e| e == "rs") => found.push(path),
            false => {}
        }
    }
}

/// The text before the first `#[cfg(test)]` module, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines.take_while(|(_, l)| *l != "#[cfg(test)]").filter(|(_, l)| !l.trim_start().starts_with("//"))
}

/// The rooms that one line names after `crate::`, one level of braces included.
fn named(line: &str) -> Vec<String> {
    let word = |t: &str| t.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = Vec::new();
    for (_, rest) in line.match_indices("crate::").map(|(at, m)| line.split_at(at + m.len())) {
        match rest.strip_prefix('{') {
            Some(list) => {
                rooms.extend(list.split([',', '}']).map(|t| word(t.trim())).filter(|w| !w.is_empty()));
            }
            None => rooms.push(word(rest)),
        }
    }
    rooms
}

fn imports() -> Vec<Import> {
    let mut paths = Vec::new();
    files(&source(), &mut paths);
    let mut imports = Vec::new();
    for path in paths {
        let inner = path.strip_prefix(source()).unwrap();
        let first = inner.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let from = first.trim_end_matches(".rs").to_owned();
        if matches!(from.as_str(), "lib" | "main") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in code(&text) {
            for to in named(line).into_iter().filter(|to| *to != from) {
                let place = format!("src/{}:{}", inner.display(), number + 1);
                imports.push(Import { from: from.clone(), to, place });
            }
        }
    }
    imports
}

#[test]
fn every_room_is_in_the_table() {
    let layers = layers();
    let declared = std::fs::read_to_string(source().join("lib.rs")).unwrap();
    let declared: BTreeSet<String> = declared
        .lines()
        .filter_map(|l| l.strip_prefix("pub mod ").and_then(|l| l.strip_suffix(';')))
        .map(str::to_owned)
        .collect();
    assert_eq!(declared, layers.keys().cloned().collect());
    assert_eq!(layers.values().collect::<BTreeSet<_>>().len(), 10);
}

#[test]
fn a_file_imports_only_from_its_own_room_and_lower_layers() {
    let layers = layers();
    let all = imports();
    assert!(all.len() > 100, "the imports were not found: {}", all.len());
    let mut wrong = Vec::new();
    for Import { from, to, place } in &all {
        let Some(target) = layers.get(to) else {
            wrong.push(format!("{place}: `{to}` is no room"));
            continue;
        };
        let own = layers[from];
        if *target > own || (*target == own && own == 2) {
            wrong.push(format!("{place}: `{from}` (layer {own}) knows `{to}` (layer {target})"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_of_one_layer_do_not_know_each_other_both_ways() {
    let layers = layers();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Import { from, to, .. } in imports() {
        if layers.get(&from) == layers.get(&to) {
            edges.entry(from).or_default().insert(to);
        }
    }
    // Rooms without an unvisited import are taken away until none is left; what stays is a ring.
    while let Some(leaf) = edges.iter().find(|(_, to)| to.iter().all(|t| !edges.contains_key(t))) {
        let leaf = leaf.0.clone();
        edges.remove(&leaf);
    }
    assert!(edges.is_empty(), "these rooms import each other in a ring: {edges:?}");
}

#[test]
fn imports_are_found_in_every_form() {
    assert_eq!(named("use crate::diag::{Diagnostic, Span};"), ["diag"]);
    assert_eq!(named("use crate::{app, call::Call};"), ["app", "call"]);
    assert_eq!(named("    let help = crate::name::did_you_mean(crate::units::x());"), ["name", "units"]);
    assert_eq!(code("use crate::a;\n// crate::b\n#[cfg(test)]\nuse crate::c;").count(), 1);
}
