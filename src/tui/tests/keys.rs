//! The keys that views declare: each does something, and help and hints list them.

use super::recorded;
use super::screen::{Screen, WIDE};
use crate::tui::app::App;
use crate::tui::keymap::{self, ViewKeys};
use crate::tui::list::Step;
use crate::tui::view::{Reply, VIEWS, ViewId, Views};
use crossterm::event::KeyCode;
use ratatui::layout::{Rect, Size};

/// Screens in which there is something to do in every view: after a step, with two timelines, with a comparison, in a module.
fn screens() -> Vec<Screen> {
    vec![
        Screen::after(WIDE, 12),
        Screen::of(WIDE, recorded::forked()),
        Screen::of(WIDE, recorded::comparison(&[1., 7.5], 8)),
    ]
}

/// Whether the key does something in one of the view's panes, perhaps after `x`, which shows a point of attention.
fn does_something(app: &App, id: ViewId, keys: &ViewKeys, key: KeyCode) -> bool {
    let room = Size::new(100, 30);
    let fresh = Views::default();
    let panes = fresh.of(id).panes(&app.state, Rect::from(room));
    panes.iter().filter(|pane| keys.belong_to(pane.name)).any(|pane| {
        [None, Some(KeyCode::Char('x'))].into_iter().any(|before| {
            let mut views = Views::default();
            let view = views.of_mut(id);
            before.into_iter().for_each(|key| drop(view.key(pane.name, key.into(), room, &app.state)));
            view.key(pane.name, key.into(), room, &app.state) != Reply::Unknown
        })
    })
}

#[test]
fn every_key_that_a_view_declares_does_something() {
    let screens = screens();
    for view in VIEWS {
        for keys in Views::default().of(view.id).bindings() {
            for key in keys.keys {
                let works = screens.iter().any(|screen| does_something(&screen.app, view.id, keys, *key));
                assert!(works, "{key:?} does nothing in {}", view.name);
                assert_eq!(Step::of(*key), None, "{key:?} of {} moves in lists", view.name);
            }
        }
    }
}

#[test]
fn help_and_hints_list_the_keys_of_views() {
    let mut screen = Screen::after(WIDE, 12);
    let page = crate::tui::view::help_page(&screen.app, 400);
    let help = page.text();
    for view in VIEWS {
        let bindings = screen.app.views.of(view.id).bindings();
        for keys in bindings {
            let line = format!("{:<13}{}", keymap::names(keys.keys), keys.summary);
            assert!(help.contains(&line), "{line}");
        }
        screen = screen.pressed(KeyCode::Char(view.key));
        let pane = screen.app.focused();
        let hinted = bindings.iter().find(|keys| !keys.hint.is_empty() && keys.belong_to(pane));
        if let Some(keys) = hinted {
            let hint = format!("{} {}", keymap::names(keys.keys), keys.hint);
            assert!(screen.text().contains(&hint), "{hint} in {}", view.name);
        }
    }
}
