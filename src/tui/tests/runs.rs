//! Views 8 and 9: the tree of timelines, and variants side by side.

use super::recorded::{self, STEPS};
use super::screen::{NARROW, Screen, WIDE, check};
use crate::tui::view::Tab;
use crossterm::event::{KeyCode, MouseButton, MouseEventKind};

fn compared(size: (u16, u16), scales: &[f64], steps: usize) -> Screen {
    Screen::of(size, recorded::comparison(scales, steps))
}

const FOUR: [f64; 4] = [1., 3., 7.5, 15.];

#[test]
fn the_comparison_as_text() {
    check("compare-nothing", Screen::after(NARROW, 3).pressed(KeyCode::Char('9')));
    for size in [NARROW, WIDE] {
        check("compare-two", compared(size, &[1., 7.5], 8));
        check("compare-four", compared(size, &FOUR, 8));
    }
    let zoomed = compared(NARROW, &FOUR, STEPS).pressed(KeyCode::Char('l')).pressed(KeyCode::Char('z'));
    check("compare-zoomed", zoomed);
    check("compare-pages", compared(NARROW, &[1., 2., 3., 4., 5., 6.], 5).pressed(KeyCode::PageDown));
}

#[test]
fn the_tree_as_text() {
    check("timelines-one", Screen::of(NARROW, recorded::session(5)).pressed(KeyCode::Char('8')));
    for size in [NARROW, WIDE] {
        check("timelines", Screen::of(size, recorded::forked()).pressed(KeyCode::Char('8')));
    }
}

#[test]
fn a_comparison_comes_to_the_front_and_a_variant_opens() {
    let screen = Screen::after(NARROW, 0).ran("compare guidance_scale 1,7.5");
    assert_eq!(screen.app.tab, Tab::Compare);
    let screen = screen.pressed(KeyCode::Char('l')).pressed(KeyCode::Enter);
    let orders = format!("{:?}", screen.effects);
    assert!(orders.contains("switch guidance_scale=7.5"), "{orders}");
    let screen = screen.settled().ran("switch guidance_scale=7.5");
    assert_eq!(screen.app.tab, Tab::Overview);
}

#[test]
fn keys_and_the_mouse_choose_a_variant() {
    let screen = compared(NARROW, &FOUR, 8).mouse(MouseEventKind::Down(MouseButton::Left), (65, 8));
    let screen = screen.pressed(KeyCode::Char('='));
    let orders = format!("{:?}", screen.effects);
    assert!(orders.contains("compare base guidance_scale=15"), "{orders}");
}

#[test]
fn what_was_measured_can_be_copied() {
    let screen = compared(NARROW, &FOUR, 3);
    let text = screen.app.views.of(Tab::Compare).selected("variants", &screen.app.state).unwrap();
    assert_eq!(text.lines().count(), 1 + 4 * 3);
}
