//! A room uses only rooms listed before it. This holds for the top rooms and for the debugger's sub-rooms.
//!
//! The check parses every file under `src/` and follows every path to the file that defines the item. Unit tests follow the
//! same order: one that needs a higher room would make the rooms impossible to test alone, and belongs in `tests/`.
//!
//! - [`rooms`]: the order, as data. [`list`]: the known violations, in `violations.txt`, which only shrinks.
//! - [`reader`]: the paths in the sources. [`tree`]: what they lead to. [`arrows`]: which of them the order forbids.
//! - [`planted`]: a planted violation of each kind, which the check must find.
//!
//! Two other checks of the sources stand beside it: [`words`], plain English, and [`messages`], which are marked for translation.

mod arrows;
mod list;
mod messages;
mod planted;
mod reader;
mod rooms;
mod tree;
mod words;

use reader::Sources;
use rooms::{LEVELS, Placement};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under `src/`.
fn sources() -> Sources {
    let src = root().join("src");
    let named = |path: &PathBuf| slashed(path.strip_prefix(&src).unwrap());
    files(&src, "rs").iter().map(|path| (named(path), fs::read_to_string(path).unwrap())).collect()
}

/// Every file below `folder` whose name ends in `.extension`.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (vec![], vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found
}

fn slashed(path: &Path) -> String {
    path.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join("/")
}

#[test]
fn a_room_uses_only_rooms_before_it() {
    let file = root().join("tests/architecture/violations.txt");
    let report = arrows::check(&sources(), LEVELS);
    let mut listed = list::lines(&fs::read_to_string(&file).unwrap());
    if env::var_os("UPDATE_VIOLATIONS").is_some() {
        match list::shrunk(&report, &listed) {
            Ok(text) => {
                fs::write(&file, &text).unwrap();
                listed = list::lines(&text);
            }
            Err(why) => eprintln!("violations.txt stays unchanged, because of\n{}\n", why.join("\n")),
        }
    }
    if let Some(complaint) = list::complaint(&report, &listed) {
        panic!("{complaint}");
    }
}

#[test]
fn the_architecture_page_lists_the_rooms_in_this_order() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let drawn: Vec<&str> = page
        .lines()
        .filter_map(|l| l.strip_prefix("| `src/")?.split_once("/`"))
        .map(|(room, _)| room)
        .collect();
    let sources = sources();
    let has_files = |room: &&str| sources.keys().any(|file| file.starts_with(&format!("{room}/")));
    let rooms: Vec<&str> = LEVELS[0].rooms.iter().copied().filter(has_files).collect();
    assert_eq!(drawn, rooms);
    assert_eq!(LEVELS[0].placement("lib.rs"), Placement::Facade);
    let (_, below) = page.split_once("## The debugger's rooms").unwrap();
    let (table, _) = below.split_once("\n## ").unwrap();
    let drawn = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let drawn: Vec<&str> =
        drawn.map(|(room, _)| room.trim_end_matches('/').trim_end_matches(".rs")).collect();
    assert_eq!(drawn, LEVELS[1].rooms);
}
