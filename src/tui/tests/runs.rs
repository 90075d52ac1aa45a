//! Views 8 and 9: the tree of timelines, and variants side by side.

use super::recorded::{self, STEPS};
use super::screen::{NARROW, Screen, WIDE, check};
use crate::nn::Unwatched;
use crate::tui::app::Input;
use crate::tui::canvas::{Hit, Target};
use crate::tui::view::ViewId;
use crossterm::event::{KeyCode, MouseButton, MouseEventKind};
use std::time::Instant;

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
    assert_eq!(screen.app.tab, ViewId::Compare);
    let screen = screen.pressed(KeyCode::Char('l')).pressed(KeyCode::Enter);
    let orders = format!("{:?}", screen.effects);
    assert!(orders.contains("switch guidance_scale=7.5"), "{orders}");
    let screen = screen.settled().ran("switch guidance_scale=7.5");
    assert_eq!(screen.app.tab, ViewId::Overview);
}

/// Two variants of 2 and 8 steps, all recorded, with the one of 2 as the base.
fn uneven() -> Screen {
    let mut session = recorded::session(0);
    session.run_line("compare num_inference_steps 2,8", &mut Unwatched).unwrap();
    let records = recorded::records_at(7.5, 2);
    session.record("num_inference_steps=2", &records[..2 + 3]);
    session.record("num_inference_steps=8", &records[..8 + 3]);
    Screen::of(NARROW, session)
}

#[test]
fn a_base_of_fewer_steps_does_not_hold_the_reader_back() {
    let mut screen = uneven();
    let mut seen = vec![];
    for _ in 0..11 {
        screen = screen.pressed(KeyCode::Right).looked();
        seen.push(screen.app.state.place());
    }
    assert_eq!(seen, (1..=11).collect::<Vec<_>>());
    assert_eq!(screen.viewer.view(&screen.session).unwrap().place(), 11);
    let mut screen = screen.pressed(KeyCode::Left).looked().pressed(KeyCode::Left).looked();
    assert!(screen.text().contains("(9 of 11)"), "{}", screen.text());
    check("compare-uneven", screen);
    // a stage of the base, by its row on the rail of another view, is where it comes to it
    let mut screen = uneven().pressed(KeyCode::Char('1'));
    screen.draw();
    let stage = |hit: &&Hit| hit.target == Target::Stage(3);
    let area = screen.app.hits.iter().find(stage).unwrap().area;
    let mut screen =
        screen.mouse(MouseEventKind::Down(MouseButton::Left), (area.right() - 1, area.y)).looked();
    let comparison = screen.viewer.view(&screen.session).unwrap().comparison.unwrap();
    assert_eq!((screen.app.state.cursor(), comparison.tick), (3, comparison.tick_of(3)));
}

#[test]
fn what_is_played_goes_tick_by_tick() {
    let mut screen = uneven().pressed(KeyCode::Char(' '));
    let mut seen = vec![];
    while screen.app.playing {
        screen.effects = screen.app.handle(Input::Tick(Instant::now()));
        screen = screen.looked();
        seen.push(screen.app.state.place());
    }
    seen.dedup();
    assert_eq!(seen, (1..=11).collect::<Vec<_>>());
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
    let text = screen.app.views.of(ViewId::Compare).selected("variants", &screen.app.state).unwrap();
    assert_eq!(text.lines().count(), 1 + 4 * 3);
}
