//! View 3: both residuals, and the effect of guidance on them.

use super::recorded::STEPS;
use super::screen::{NARROW, Screen, WIDE, check};
use crossterm::event::KeyCode;

fn residuals(size: (u16, u16), done: usize) -> Screen {
    Screen::after(size, done).pressed(KeyCode::Char('3'))
}

#[test]
fn residuals_as_text() {
    check("residuals-start", residuals(NARROW, 2));
    for size in [NARROW, WIDE] {
        check("residuals", residuals(size, 8));
    }
    check("residuals-zoomed", residuals(NARROW, STEPS + 2).pressed(KeyCode::Tab).pressed(KeyCode::Char('z')));
}
