//! Texts of tables go through translation where they are shown: the help, the hints of keys, the tabs, completion.

use super::screen::Screen;
use crate::debugger::language::complete::{Names, complete};
use crate::debugger::language::verbs::{COMMENTS, VERBS};
use crate::phrase::Phrase;
use crate::tui::keymap::{EVERYWHERE, bindings};
use crate::tui::view::{Entry, VIEWS, help_page};
use crossterm::event::KeyCode;
use std::borrow::Cow;
use std::env;
use std::process::Command;

/// A language in which every text is itself in brackets.
struct Bracketed;

impl tr::Translator for Bracketed {
    fn translate<'a>(&'a self, text: &'a str, _: Option<&'a str>) -> Cow<'a, str> {
        Cow::Owned(format!("«{text}»"))
    }

    fn ntranslate<'a>(&'a self, n: u64, one: &'a str, many: &'a str, _: Option<&'a str>) -> Cow<'a, str> {
        Cow::Owned(format!("«{}»", if n == 1 { one } else { many }))
    }
}

/// Set in the process that the test starts.
const ALONE: &str = "DIFFUSCOPE_TEST_TRANSLATION";

/// A translator is that of the whole process, so this test runs itself again in another one.
#[test]
fn texts_of_tables_are_translated_where_they_are_shown() {
    if env::var_os(ALONE).is_some() {
        return in_another_language();
    }
    let name = "tui::tests::translation::texts_of_tables_are_translated_where_they_are_shown";
    let run =
        Command::new(env::current_exe().unwrap()).args([name, "--exact"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

fn in_another_language() {
    tr::set_translator!(Bracketed);
    let mut screen = Screen::after((700, 60), 12);

    // The help. What is wrapped is joined again.
    let help = help_page(&screen.app, 600).text();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let of_views = VIEWS.iter().flat_map(|view| screen.app.views.of(view.id).bindings());
    let mut phrases: Vec<Phrase> = vec![COMMENTS];
    phrases.extend(VERBS.iter().map(|verb| verb.summary));
    phrases.extend(EVERYWHERE.iter().map(|(_, summary)| *summary));
    phrases.extend(bindings().map(|keys| keys.summary).chain(of_views.map(|keys| keys.summary)));
    for phrase in phrases {
        let translated = phrase.to_string();
        assert_eq!(translated, format!("«{}»", phrase.english()));
        assert!(help.contains(&translated), "{translated}\n{help}");
    }

    // The tabs, and the hints of every view.
    for view in VIEWS {
        screen = screen.pressed(KeyCode::Char(view.key));
        let text = screen.text();
        let has_tab =
            |other: &&Entry| other.id == view.id || screen.app.views.of(other.id).has_tab(&screen.app.state);
        for other in VIEWS.iter().filter(has_tab) {
            assert!(text.contains(&format!("«{}»", other.name)), "{}\n{text}", other.name);
        }
        let pane = screen.app.focused();
        let own = screen.app.of_pane(pane).hints(pane, &screen.app.state);
        let everywhere = bindings().map(|keys| keys.hint).filter(|hint| !hint.is_empty());
        for hint in own.into_iter().map(|(_, hint)| hint).chain(everywhere) {
            assert!(text.contains(&format!(" {hint}")), "{hint}\n{text}");
        }
    }

    // Completion.
    let known = complete("", 0, &Names::default()).candidates;
    assert!(known.len() == VERBS.len() && known.iter().all(|candidate| candidate.help.starts_with('«')));
    let settings = complete("set ", 4, &Names::default()).candidates;
    assert!(settings.iter().all(|candidate| candidate.help.starts_with('«')), "{settings:?}");
}
