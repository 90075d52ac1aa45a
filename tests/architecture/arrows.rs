//! Which file uses which, and which of these uses the order of the rooms forbids.

use crate::reader::{Kind, Reading, Sources, Use, read};
use crate::rooms::{Level, Placement};
use crate::tree::{Found, Id, Target, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The result of the check.
#[derive(Debug, Default)]
pub struct Report {
    /// Uses that the order forbids, each with the places where it is written: `FILE:LINE: PATH`.
    pub violations: BTreeMap<Arrow, BTreeSet<String>>,
    /// Errors that cannot be listed as violations, each with its file: globs across rooms, files in no room, unreadable code.
    pub faults: Vec<String>,
    /// Rooms that use each other in a cycle, one line per cycle.
    pub cycles: Vec<String>,
}

/// A file uses an item of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// The file that uses it.
    pub from: String,
    /// The file that defines it, or re-exports it.
    pub to: String,
    /// The item; `mod NAME` for a module; with ` (re-export)`, if it is defined elsewhere.
    pub item: String,
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}: {}", self.from, self.to, self.item)
    }
}

/// Checks the sources against the order on every level.
pub fn check(sources: &Sources, levels: &[Level]) -> Report {
    let Reading { tree, uses, faults } = read(sources);
    let mut report = Report { faults, ..Report::default() };
    let mut edges = vec![BTreeSet::new(); levels.len()];
    for level in levels {
        let name = level.name();
        for file in sources.keys().filter(|f| *f != "main.rs" && level.placement(f) == Placement::Unassigned)
        {
            report
                .faults
                .push(format!("{file}: in no room of {name}; add one to tests/architecture/rooms.rs"));
        }
        for entry in level.stale_entries(sources.keys().map(String::as_str)) {
            report
                .faults
                .push(format!("{entry}: not in {name} any more; delete it from tests/architecture/rooms.rs"));
        }
    }
    for written in &uses {
        let from = &tree.modules[written.scope].file;
        for (to, item) in ends(&tree, written) {
            let place = format!("{from}:{}: {}", written.line, written.path.join("::"));
            for (level, edges) in levels.iter().zip(&mut edges) {
                let Some((a, b)) = level.crossing(from, &to) else { continue };
                if written.kind == Kind::Glob {
                    report
                        .faults
                        .push(format!("{place}::*: a glob across rooms hides what is used; name the items"));
                    break;
                }
                if let (Placement::Room(a), Placement::Room(b)) = (a, b) {
                    edges.insert((a, b));
                }
                if level.forbids(from, &to) {
                    let arrow = Arrow { from: from.clone(), to: to.clone(), item: item.clone() };
                    report.violations.entry(arrow).or_default().insert(place.clone());
                }
            }
        }
    }
    for (level, edges) in levels.iter().zip(&edges) {
        for cycle in cycles(level.rooms.len(), edges) {
            let names: Vec<_> = cycle.iter().map(|room| level.rooms[*room]).collect();
            report.cycles.push(format!("{}: {}", level.name(), names.join(", ")));
        }
    }
    report
}

/// The files that a path leads to, each with the item: the file that defines it, and those that re-export it on the way,
/// unless an enclosing module does.
fn ends(tree: &Tree, written: &Use) -> BTreeSet<(String, String)> {
    let mut found = tree.resolve(written.scope, &written.path);
    let is_item = |f: &Found| matches!(f.target, Target::Item(..));
    if written.kind == Kind::Inline && found.iter().any(is_item) {
        // A path in code ends in a type or a value. A module of the same name is not meant.
        found.retain(is_item);
    }
    let mut ends = BTreeSet::new();
    for f in found {
        ends.insert(match &f.target {
            Target::Module(id) => (tree.modules[*id].file.clone(), format!("mod {}", module_name(tree, *id))),
            Target::Item(id, name) => (tree.modules[*id].file.clone(), item_name(tree, *id, name)),
        });
        for (id, name) in f.via.iter().filter(|(id, _)| !tree.encloses(*id, written.scope)) {
            ends.insert((tree.modules[*id].file.clone(), item_name(tree, *id, name) + " (re-export)"));
        }
    }
    ends
}

fn item_name(tree: &Tree, module: Id, name: &str) -> String {
    tree.modules[module].inline.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("::")
}

fn module_name(tree: &Tree, module: Id) -> String {
    let module = &tree.modules[module];
    if module.inline.is_empty() {
        let stem = module.file.trim_end_matches(".rs").trim_end_matches("/mod");
        stem.rsplit('/').next().unwrap_or(stem).to_owned()
    } else {
        module.inline.join("::")
    }
}

/// Groups of rooms in which each uses every other, directly or through others.
fn cycles(rooms: usize, edges: &BTreeSet<(usize, usize)>) -> Vec<Vec<usize>> {
    let mut reaches = vec![vec![false; rooms]; rooms];
    edges.iter().for_each(|(a, b)| reaches[*a][*b] = true);
    for via in 0..rooms {
        for from in 0..rooms {
            for to in 0..rooms {
                reaches[from][to] |= reaches[from][via] && reaches[via][to];
            }
        }
    }
    let cycle = |a: usize| (0..rooms).filter(|b| reaches[a][*b] && reaches[*b][a]).collect::<Vec<_>>();
    (0..rooms)
        .map(cycle)
        .enumerate()
        .filter(|(a, c)| c.first() == Some(a) && c.len() > 1)
        .map(|(_, c)| c)
        .collect()
}
