//! View 2: every tensor, and one of them opened.

use super::recorded::{self, STEPS};
use super::screen::{NARROW, Screen, WIDE, check};
use crate::debugger::Event;
use crate::debugger::view::Viewer;
use crate::tui::view::ViewId;
use crossterm::event::{KeyCode, MouseButton, MouseEventKind};

fn tensors(size: (u16, u16), done: usize) -> Screen {
    Screen::after(size, done).pressed(KeyCode::Char('2'))
}

#[test]
fn tensors_as_text() {
    check("tensors-start", tensors(NARROW, 0));
    for size in [NARROW, WIDE] {
        check("tensors", tensors(size, 8));
        check("tensors-opened", tensors(size, 8).pressed(KeyCode::Down).pressed(KeyCode::Enter));
    }
    check("tensors-sorted", tensors(NARROW, 8).typed(">>>."));
    check("tensors-filtered", tensors(NARROW, 8).typed("/resid").pressed(KeyCode::Enter));
    let values = tensors(NARROW, 2).typed("/embeds").pressed(KeyCode::Enter).pressed(KeyCode::Enter);
    check("tensors-values", values.pressed(KeyCode::Tab).typed("jjll").pressed(KeyCode::Char('z')));
}

#[test]
fn the_selection_stays_with_the_name() {
    let select = |screen: &Screen| {
        screen.app.views.of(ViewId::Tensors).selected("histogram", &screen.app.state).unwrap()
    };
    let screen = tensors(NARROW, 8).pressed(KeyCode::PageDown).pressed(KeyCode::Up);
    let before = select(&screen);
    let screen = screen.pressed(KeyCode::Left).looked();
    let after = select(&screen);
    let name = |text: &str| text.lines().nth(1).unwrap().split('\t').next().unwrap().to_string();
    assert_eq!(name(&before), name(&after));
}

#[test]
fn a_press_on_a_heading_sorts() {
    let press = MouseEventKind::Down(MouseButton::Left);
    let mut screen = tensors(NARROW, STEPS + 2).mouse(press, (2, 4));
    assert!(screen.text().contains("name▲"), "{}", screen.text());
    let mut screen = screen.mouse(press, (60, 10)).mouse(press, (2, 4));
    assert!(screen.text().contains("name▼"), "{}", screen.text());
}

#[test]
fn what_is_not_finite_is_marked() {
    let session = recorded::session_with_nan();
    let screen =
        Screen::after(NARROW, 3).told(Event::StageDone(recorded::view(&session, &mut Viewer::default())));
    let mut screen = screen.pressed(KeyCode::Char('2'));
    let text = screen.text();
    assert!(text.contains("latents"), "{text}");
    let alarm = screen.app.theme.alarm;
    let cells = screen.terminal.backend().buffer().content();
    let alarming = cells.iter().filter(|cell| cell.style().bg == alarm.bg);
    assert!(alarming.map(|cell| cell.symbol()).collect::<String>().contains("latents"));
}
