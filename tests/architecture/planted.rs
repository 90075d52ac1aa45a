//! Plants a violation of each kind in small sources, and checks that it is found. The same forms are allowed downwards.

use crate::arrows::{Report, check};
use crate::list::{complaint, lines, shrunk};
use crate::reader::Sources;
use crate::rooms::Level;
use std::collections::BTreeSet;

const LEVELS: &[Level] = &[
    Level { folder: "", rooms: &["low", "mid", "high"], misplaced: &[] },
    Level { folder: "mid", rooms: &["ground", "upper"], misplaced: &[] },
];

/// A crate of three rooms, the middle one with two sub-rooms. It breaks no rule.
const BASE: &[(&str, &str)] = &[
    ("lib.rs", "pub mod low; pub mod mid; pub mod high; pub use high::Hi as Top;"),
    ("low/mod.rs", "pub mod part; pub struct Low; pub enum Kinds { A } pub fn run() {}"),
    ("low/part.rs", "pub struct Part;"),
    ("mid/mod.rs", "pub mod ground; pub mod upper; pub use upper::Up; pub struct Own;"),
    ("mid/ground.rs", "pub struct Ground;"),
    ("mid/upper.rs", "pub struct Up; pub fn run() {}"),
    (
        "high/mod.rs",
        "pub mod part; pub mod shown { pub fn deep() {} } pub use part::*; pub use part::Part as Renamed;
         pub use crate::low::Low as Lower; pub struct Hi; pub enum Kinds { A } pub trait Rises {} pub fn run() {}
         pub type run_type = Hi; pub const N: usize = 1; made!(Made);
         #[macro_export] macro_rules! shout { () => {} }",
    ),
    ("high/part.rs", "pub struct Part; pub struct Globbed;"),
];

fn sources(changed: &[(&str, &str)]) -> Sources {
    let own = |(file, text): &(&str, &str)| ((*file).to_owned(), (*text).to_owned());
    BASE.iter().chain(changed).map(own).collect()
}

fn violations(report: &Report) -> Vec<String> {
    report.violations.keys().map(ToString::to_string).collect()
}

/// The violations with one file changed; there are no faults.
fn found(file: &str, text: &str) -> Vec<String> {
    let report = check(&sources(&[(file, text)]), LEVELS);
    assert!(report.faults.is_empty(), "{text}: {:?}", report.faults);
    violations(&report)
}

fn faults(changed: &[(&str, &str)]) -> Vec<String> {
    check(&sources(changed), LEVELS).faults
}

#[test]
fn the_base_is_in_order() {
    let report = check(&sources(&[]), LEVELS);
    assert_eq!(complaint(&report, &BTreeSet::new()), None);
    assert!(report.cycles.is_empty());
}

/// Code that a file in the lowest room must not contain, and the item in the highest room that it uses.
const PLANTED: &[(&str, &str)] = &[
    // `use`.
    ("use crate::high::Hi;", "Hi"),
    ("pub use crate::high::Hi;", "Hi"),
    ("use crate::{high::{Hi}, low};", "Hi"),
    ("use {crate::{low::{self}, high::{Hi as Other}}};", "Hi"),
    ("use crate::high::Hi as _;", "Hi"),
    ("use crate::high::Kinds::A;", "Kinds"),
    ("use crate::high::shown::deep;", "shown::deep"),
    ("use crate::high;", "mod high"),
    ("use crate::high::{self};", "mod high"),
    ("use crate::high::shown;", "mod shown"),
    ("use super::super::high::Hi;", "Hi"),
    ("use self::super::super::high::Hi;", "Hi"),
    ("fn f() { use crate::high::Hi; }", "Hi"),
    ("fn f() { if true { use super::super::high::Hi; } }", "Hi"),
    ("mod inner { use super::super::super::high::Hi; }", "Hi"),
    ("#[cfg(test)] mod tests { use super::*; use crate::high::Hi; }", "Hi"),
    ("use crate::high::Made;", "Made"),
    // Paths in the code.
    ("fn f() { crate::high::run(); }", "run"),
    ("fn f() { super::super::high::run(); }", "run"),
    ("fn f(hi: &crate::high::Hi) {}", "Hi"),
    ("fn f() -> Vec<crate::high::Hi> { Vec::new() }", "Hi"),
    ("fn f() { g::<crate::high::Hi>(); }", "Hi"),
    ("fn f() { crate::high::Hi::new(); }", "Hi"),
    ("fn f() { <u8 as crate::high::Rises>::f(); }", "Rises"),
    ("fn f() { <crate::high::Hi>::new(); }", "Hi"),
    ("fn f(x: u8) { match x { crate::high::Kinds::A => {} } }", "Kinds"),
    ("fn f() { let x = crate::high::Hi { a: 1 }; }", "Hi"),
    ("struct S { hi: [crate::high::Hi; 2] }", "Hi"),
    ("struct S([u8; crate::high::N]);", "N"),
    ("struct S; impl crate::high::Rises for S {}", "Rises"),
    ("fn f<T: crate::high::Rises>(t: T) {}", "Rises"),
    ("fn f<T>(t: T) where T: crate::high::Rises {}", "Rises"),
    ("fn f(t: &dyn crate::high::Rises) {}", "Rises"),
    ("type T = crate::high::run_type;", "run_type"),
    ("#[value(parser = crate::high::run)] struct S;", "run"),
    ("#[serde(with = \"crate::high::shown\")] struct S;", "mod shown"),
    ("struct S { #[serde(default = \"super::super::high::run\")] a: u8 }", "run"),
    // Through a re-export.
    ("use crate::Top;", "Hi"),
    ("fn f() { crate::Top::new(); }", "Hi"),
    ("fn f() { super::super::Top::new(); }", "Hi"),
    // In a macro.
    ("fn f() { vec![crate::high::run()]; }", "run"),
    ("fn f() { println!(\"{}\", super::super::high::N); }", "N"),
    ("properties! { fn f() { use crate::high::Hi; } }", "Hi"),
    ("properties! { fn f() { use crate::high::{Hi as Other}; } }", "Hi"),
    ("fn f() { list!(crate::high::{Hi}); }", "Hi"),
    ("macro_rules! m { ($a:expr) => { $crate::high::run($a) } }", "run"),
    ("macro_rules! m { ($a:expr) => {{ use $crate::high::Hi; Hi }} }", "Hi"),
    ("fn f() { crate::shout!(); }", "shout"),
    // Through a glob within the room.
    ("mod inner { pub use crate::high::Hi as Way; } use inner::*; fn f() { Way::new(); }", "Hi"),
];

#[test]
fn a_planted_violation_of_each_kind_is_found() {
    for (text, item) in PLANTED {
        let expected = format!("low/part.rs -> high/mod.rs: {item}");
        assert_eq!(found("low/part.rs", text), [expected], "{text}");
        let report = check(&sources(&[("low/part.rs", text)]), LEVELS);
        let complaint = complaint(&report, &BTreeSet::new()).unwrap_or_default();
        assert!(complaint.contains("src/low/part.rs:1: "), "{complaint}");
    }
}

#[test]
fn the_same_forms_are_allowed_downwards() {
    for (text, item) in PLANTED {
        // `Top` and `shout` stay the highest room's own.
        let text = text.replace("high::", "low::").replace("crate::high", "crate::low");
        assert_eq!(found("high/part.rs", &text), [""; 0], "{text}: {item}");
    }
}

#[test]
fn paths_may_begin_with_an_imported_name() {
    let both = |item: &str, module: &str| {
        vec![
            format!("low/part.rs -> high/mod.rs: mod {module}"),
            format!("low/part.rs -> high/mod.rs: {item}"),
        ]
    };
    for text in [
        "use crate::high; fn f() { high::run(); }",
        "use crate::high as house; fn f() { house::run(); }",
        "fn f() { use crate::high as house; house::run(); }",
        "fn f() { use crate::high as house; assert!(house::run()); }",
        "properties! { use crate::high as house; fn f() { house::run(); } }",
        "mod inner { pub use crate::high as house; } fn f() { inner::house::run(); }",
        "mod inner { use crate::high as house; } fn f() { self::inner::house::run(); }",
        "use crate::high; mod tests { use super::*; fn f() { high::run(); } }",
    ] {
        assert_eq!(found("low/part.rs", text), both("run", "high"), "{text}");
    }
    let text = "use crate as house; fn f() { house::high::run(); }";
    assert_eq!(
        found("low/part.rs", text),
        ["low/part.rs -> high/mod.rs: run", "low/part.rs -> lib.rs: mod lib"]
    );
    // A name holds within its block. A macro's variable and another crate are other names.
    for text in [
        "fn f() { use crate::high as house; } fn g() { use crate::low as house; house::run(); }",
        "use crate::high; macro_rules! m { ($high:ident) => { $high::run() } }",
        "use crate::high; fn f() { assert!(::high::run()); }",
    ] {
        assert_eq!(found("low/part.rs", text), ["low/part.rs -> high/mod.rs: mod high"], "{text}");
    }
    // Without the `use`, the same name means another crate.
    for text in
        ["fn f() { high::run(); }", "fn f() { { use crate::low as high; } high::run(); }", "use ::high::Hi;"]
    {
        assert_eq!(found("low/part.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn re_exports_lead_to_the_file_that_defines() {
    let both = |name: &str, item: &str| {
        let facade = format!("low/part.rs -> high/mod.rs: {name} (re-export)");
        vec![facade, format!("low/part.rs -> high/part.rs: {item}")]
    };
    assert_eq!(found("low/part.rs", "use crate::high::Renamed;"), both("Renamed", "Part"));
    assert_eq!(found("low/part.rs", "fn f() { crate::high::Renamed::new(); }"), both("Renamed", "Part"));
    assert_eq!(found("low/part.rs", "use crate::high::Globbed;"), both("Globbed", "Globbed"));
    // The item belongs to this room, but the path leads through a higher one.
    let expected = ["low/part.rs -> high/mod.rs: Lower (re-export)"];
    assert_eq!(found("low/part.rs", "use crate::high::Lower;"), expected);
    // A cycle of imports ends.
    assert_eq!(
        found("low/part.rs", "mod a { pub use super::b::x; } mod b { pub use super::a::x; } use a::x;"),
        [""; 0]
    );
}

#[test]
fn sub_rooms_are_held_to_their_order() {
    let upward = |item: &str| vec![format!("mid/ground.rs -> mid/upper.rs: {item}")];
    for text in [
        "use super::upper::Up;",
        "use crate::mid::upper::Up;",
        "use crate::mid::Up;",
        "use super::Up;",
        "fn f() { super::Up::new(); }",
        "fn f() { assert!(crate::mid::Up::new()); }",
        "mod tests { use super::super::Up; }",
    ] {
        assert_eq!(found("mid/ground.rs", text), upward("Up"), "{text}");
    }
    assert_eq!(found("mid/ground.rs", "fn f() { super::upper::run(); }"), upward("run"));
    assert_eq!(found("mid/ground.rs", "use super::upper;"), upward("mod upper"));
    // The folder's own module ranks above its rooms.
    assert_eq!(found("mid/ground.rs", "use super::Own;"), ["mid/ground.rs -> mid/mod.rs: Own"]);
    assert_eq!(found("mid/ground.rs", "use crate::mid;"), ["mid/ground.rs -> mid/mod.rs: mod mid"]);
    assert_eq!(found("mid/upper.rs", "use super::ground::Ground; pub struct Up;"), [""; 0]);
    assert_eq!(found("mid/ground.rs", "use crate::low::Low; use super::ground::Ground as Me;"), [""; 0]);
    // A violation among the top rooms may lead into a sub-room.
    assert_eq!(
        found("low/part.rs", "use crate::mid::ground::Ground;"),
        ["low/part.rs -> mid/ground.rs: Ground"]
    );
    let facade = ["low/part.rs -> mid/mod.rs: Up (re-export)", "low/part.rs -> mid/upper.rs: Up"];
    assert_eq!(found("low/part.rs", "use crate::mid::Up;"), facade);
}

#[test]
fn a_facade_may_name_its_rooms() {
    let text = "mod ground; mod upper; pub use upper::Up; pub use ground::Ground; fn f() { upper::run(); }";
    assert_eq!(found("mid/mod.rs", text), [""; 0]);
    assert_eq!(
        found("mid/mod.rs", "mod ground; mod upper; pub use crate::high::Hi;"),
        ["mid/mod.rs -> high/mod.rs: Hi"]
    );
}

#[test]
fn globs_across_rooms_are_refused() {
    for (file, text) in [
        ("low/part.rs", "use crate::high::*;"),
        ("low/part.rs", "use super::super::high::*;"),
        ("low/part.rs", "use crate::{high::{shown::*}};"),
        ("low/part.rs", "use crate::high::Kinds::*;"),
        ("low/part.rs", "fn f() { use crate::high::*; }"),
        ("low/part.rs", "properties! { fn f() { use crate::high::*; } }"),
        ("low/part.rs", "fn f() { list!(crate::high::*); }"),
        ("low/part.rs", "use crate::*;"),
        ("high/part.rs", "use crate::low::*;"),
        ("high/part.rs", "use crate::low::Kinds::*;"),
        ("high/part.rs", "use crate::low as house; use house::*;"),
        ("mid/ground.rs", "use super::upper::*;"),
        ("mid/upper.rs", "use super::ground::*;"),
        ("mid/ground.rs", "use super::*;"),
        ("mid/mod.rs", "mod ground; mod upper; pub use upper::*;"),
        ("lib.rs", "mod low; mod mid; mod high; pub use low::*;"),
    ] {
        let faults = faults(&[(file, text)]);
        assert!(
            matches!(&faults[..], [f] if f.starts_with(file) && f.contains("glob across rooms")),
            "{text}: {faults:?}"
        );
    }
    for (file, text) in [
        ("low/part.rs", "use super::*;"),
        ("low/part.rs", "use proptest::prelude::*;"),
        ("low/part.rs", "mod inner { use super::*; } use inner::*; enum E { A } fn f() { use E::*; }"),
        ("low/mod.rs", "pub mod part; pub use part::*;"),
        ("mid/ground.rs", "mod tests { use super::*; use proptest::prelude::*; }"),
    ] {
        assert!(faults(&[(file, text)]).is_empty(), "{text}: {:?}", faults(&[(file, text)]));
    }
}

#[test]
fn what_is_not_a_use_is_ignored() {
    for text in [
        "//! [`crate::high::Hi`]\n/// [`super::super::high::Hi`]\npub(in crate::low) struct S; // crate::high::Hi",
        "fn f() { let text = \"crate::high::Hi\"; }",
        "macro_rules! m { ($crate_name:ident) => { $crate_name::high::run() } }",
        "fn f() { assert!(::high::run(), Self::high(), x.high::<u8>()); }",
        "#[serde(rename = \"high\")] struct S;",
    ] {
        assert_eq!(found("low/part.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn modules_are_found_where_the_compiler_finds_them() {
    let planted = "use crate::high::Hi;";
    for (file, declared) in [
        ("low/other.rs", "mod other;"),
        ("low/other/mod.rs", "mod other;"),
        ("low/odd.rs", "#[path = \"odd.rs\"] mod other;"),
        ("low/inner/other.rs", "mod inner { mod other; }"),
        ("low/inner/odd.rs", "mod inner { #[path = \"odd.rs\"] mod other; }"),
        ("low/part/other.rs", "pub mod part { mod other; }"),
    ] {
        let text = format!("{declared} pub struct Low; pub fn run() {{}}");
        let report = check(&sources(&[("low/mod.rs", &text), (file, planted)]), LEVELS);
        assert_eq!(violations(&report), [format!("{file} -> high/mod.rs: Hi")], "{declared}");
    }
    let report = check(&sources(&[("low/part.rs", "mod deep;"), ("low/part/deep.rs", planted)]), LEVELS);
    assert_eq!(violations(&report), ["low/part/deep.rs -> high/mod.rs: Hi"]);
}

#[test]
fn what_cannot_be_checked_is_a_fault() {
    for (changed, fault) in [
        (("low/lost.rs", ""), "low/lost.rs: no module declares this file"),
        (
            ("low/part.rs", "mod lost;"),
            "low/part/lost/mod.rs: a module is declared, but there is no such file",
        ),
        (("low/part.rs", "fn f( {"), "low/part.rs:1: "),
        (("low/part.rs", "\ninclude!(\"x.rs\");"), "low/part.rs:2: include! hides code"),
        (
            ("low/part.rs", "\n#[macro_use] mod inner {}"),
            "low/part.rs:2: #[macro_use] brings macros without a path",
        ),
        (
            ("low/part.rs", "extern crate self as house;"),
            "low/part.rs:1: the crate has one name here, `crate`",
        ),
        (("lib.rs", "mod low; mod mid; mod high; mod attic;"), "attic/mod.rs: a module is declared"),
    ] {
        let faults = faults(&[changed]);
        assert!(matches!(&faults[..], [f] if f.starts_with(fault)), "{changed:?}: {faults:?}");
    }
    let lib = ("lib.rs", "mod low; mod mid; mod high; mod attic; pub use high::Hi as Top;");
    let expected = "attic.rs: in no room of src/; add one to tests/architecture/rooms.rs";
    assert_eq!(faults(&[lib, ("attic.rs", "")]), [expected]);
    let report = check(&sources(&[(lib.0, lib.1), ("attic.rs", "")]), LEVELS);
    assert!(
        complaint(&report, &BTreeSet::new())
            .is_some_and(|text| text.starts_with(&format!("src/{expected}\n")))
    );
}

#[test]
fn a_misplaced_file_is_held_to_the_room_it_belongs_to() {
    let levels = |misplaced| [Level { folder: "", rooms: &["low", "mid", "high"], misplaced }];
    let sources = sources(&[("high/part.rs", "use super::Hi; pub struct Part; pub struct Globbed;")]);
    let report = check(&sources, &levels(&[("high/part.rs", "low")]));
    assert_eq!(violations(&report), ["high/part.rs -> high/mod.rs: Hi"]);
    let report = check(&sources, &levels(&[("mid/", "low"), ("mid/upper.rs", "high")]));
    assert_eq!(violations(&report), ["mid/mod.rs -> mid/upper.rs: Up"]);
    let report = check(&sources, &levels(&[("mid/gone.rs", "low")]));
    let expected = "mid/gone.rs: not in src/ any more; delete it from tests/architecture/rooms.rs";
    assert_eq!(report.faults, [expected]);
    let level = Level { folder: "mid", rooms: &["ground", "upper"], misplaced: &[("gone/", "ground")] };
    let expected = "mid/gone/: not in src/mid any more; delete it from tests/architecture/rooms.rs";
    assert_eq!(check(&sources, &[level]).faults, [expected]);
}

#[test]
fn cycles_are_reported() {
    let upper = ("mid/upper.rs", "use super::ground::Ground; pub struct Up; pub fn run() {}");
    let report = check(&sources(&[upper, ("mid/ground.rs", "use super::Up; pub struct Ground;")]), LEVELS);
    assert_eq!(report.cycles, ["src/mid: ground, upper"]);
    let complaint = complaint(&report, &BTreeSet::new()).unwrap();
    assert!(complaint.contains("in a cycle:\n    src/mid: ground, upper"), "{complaint}");
    assert!(check(&sources(&[upper]), LEVELS).cycles.is_empty());
    // Through a third room.
    let low = ("low/part.rs", "use crate::high::Hi;");
    let mid = ("mid/ground.rs", "use crate::low::Low;");
    let high = ("high/part.rs", "use crate::mid::ground; pub struct Part; pub struct Globbed;");
    assert_eq!(check(&sources(&[low, mid, high]), LEVELS).cycles, ["src/: low, mid, high"]);
}

#[test]
fn the_list_only_shrinks() {
    let report = |text: &str| check(&sources(&[("low/part.rs", text)]), LEVELS);
    let (hi, run) = ("low/part.rs -> high/mod.rs: Hi", "low/part.rs -> high/mod.rs: run");
    let both = report("use crate::high::Hi; fn f() { crate::high::run(); }");
    let one = report("use crate::high::Hi;");
    let listed = |lines: &[&str]| lines.iter().map(|l| (*l).to_owned()).collect::<BTreeSet<_>>();

    // Exactly what is listed.
    assert_eq!(complaint(&both, &listed(&[hi, run])), None);
    // One that is not listed, and one that is gone.
    let text = complaint(&both, &listed(&[hi])).unwrap();
    assert!(
        text.starts_with(&format!("new violation: {run}\n    src/low/part.rs:1: crate::high::run\n")),
        "{text}"
    );
    let text = complaint(&one, &listed(&[hi, run])).unwrap();
    assert!(
        text.starts_with(&format!("listed, but gone: {run}\n")) && text.contains("UPDATE_VIOLATIONS=1"),
        "{text}"
    );

    // Rewriting removes lines and never adds one.
    assert_eq!(lines(&shrunk(&one, &listed(&[hi, run])).unwrap()), listed(&[hi]));
    assert_eq!(shrunk(&both, &listed(&[hi])), Err(vec![run.to_owned()]));
    assert_eq!(shrunk(&one, &listed(&[run])), Err(vec![hi.to_owned()]));
    // A file that moves keeps its lines, and gets no more.
    assert_eq!(lines(&shrunk(&one, &listed(&["low/old.rs -> high/mod.rs: Hi"])).unwrap()), listed(&[hi]));
    let two = check(
        &sources(&[("low/part.rs", "use crate::Top;"), ("low/mod.rs", "mod part; use crate::Top;")]),
        LEVELS,
    );
    assert_eq!(shrunk(&two, &listed(&["low/old.rs -> high/mod.rs: Hi"])), Err(vec![hi.to_owned()]));
    // Unreadable code shows no violations, so nothing is removed.
    assert!(shrunk(&report("fn f( {"), &listed(&[hi])).is_err());
}
