//! View 6: numbers over the steps.

use super::recorded::STEPS;
use super::screen::{NARROW, Screen, WIDE, check};
use crossterm::event::{KeyCode, MouseButton, MouseEventKind};

fn charts(size: (u16, u16), done: usize) -> Screen {
    Screen::after(size, done).pressed(KeyCode::Char('6'))
}

#[test]
fn charts_as_text() {
    check("charts-start", charts(NARROW, 2));
    for size in [NARROW, WIDE] {
        check("charts-halfway", charts(size, 12).ran("back 3"));
        check("charts-complete", charts(size, STEPS + 3));
    }
    check("charts-zoomed", charts(NARROW, STEPS + 3).pressed(KeyCode::Tab).pressed(KeyCode::Char('z')));
}

#[test]
fn a_press_looks_at_the_step() {
    let screen = charts(NARROW, STEPS + 3);
    let screen = screen.mouse(MouseEventKind::Down(MouseButton::Left), (20, 6)).looked();
    let cursor = screen.app.state.cursor();
    assert!((4..12).contains(&cursor), "{cursor}");
}

#[test]
fn the_table_can_be_copied() {
    let text = charts(NARROW, 6)
        .app
        .views
        .of(crate::tui::view::ViewId::Charts)
        .selected("std", &charts(NARROW, 6).app.state);
    let text = text.unwrap();
    assert_eq!(text.lines().count(), 1 + 4, "a heading, and four steps");
    assert!(text.starts_with("step\ttimestep\tlatents.std"));
}
