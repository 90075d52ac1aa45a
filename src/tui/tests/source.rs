//! The view of the code.

use super::screen::{NARROW, Screen, WIDE, check};
use crate::debugger::Event;
use crate::pipeline::Stage;
use crate::tui::app::Effect;
use crossterm::event::KeyCode;

fn source(size: (u16, u16), done: usize) -> Screen {
    let mut screen = Screen::after(size, done).pressed(KeyCode::Char('7'));
    screen.draw();
    screen
}

#[test]
fn the_code_of_each_stage() {
    for size in [NARROW, WIDE] {
        check("source-encode_prompt", source(size, 0));
        check("source-denoise", source(size, 12));
        let running = source(size, 12).pressed(KeyCode::Char('n'));
        check(
            "source-running",
            running.received(Event::Progress(Stage::Denoise { step: 10 }, "denoise.scheduler_step")),
        );
    }
    check("source-complete", source(NARROW, 23));
}

#[test]
fn into_the_scheduler_and_back() {
    let running = || {
        let screen = source(WIDE, 12).pressed(KeyCode::Char('n'));
        let screen = screen.received(Event::Progress(Stage::Denoise { step: 10 }, "denoise.scheduler_step"));
        screen.pressed(KeyCode::Down).pressed(KeyCode::Enter)
    };
    check("source-step", running());
    assert!(running().text().contains("src/scheduler/ddim.rs"));
    assert!(running().pressed(KeyCode::Esc).text().contains("denoise 10 is running"));
}

#[test]
fn stepping_marks_the_current_line() {
    for size in [NARROW, WIDE] {
        let screen = Screen::after(size, 5).pressed(KeyCode::Char('7'));
        let mut screen = screen.computed("step");
        check("source-stepping", {
            let text = screen.text();
            assert!(text.contains("▶ is next: s into, n over, f finish"), "{text}");
            screen
        });
    }
}

#[test]
fn stepping_goes_on_into_modules() {
    for size in [NARROW, WIDE] {
        let screen = Screen::after(size, 5).pressed(KeyCode::Char('7'));
        let mut screen =
            screen.computed("tbreak unet.mid_block.attentions.0").computed("continue").computed("step");
        check("source-inside", {
            let text = screen.text();
            assert!(
                text.contains("src/model/unet/transformer.rs")
                    && text.contains("mid_block › attentions.0 › norm"),
                "{text}"
            );
            screen
        });
    }
}

#[test]
fn showing_another_place_keeps_a_paused_stage() {
    let looks = |screen: &Screen| screen.effects.iter().any(|effect| matches!(effect, Effect::Look(_)));
    let screen = Screen::after(NARROW, 5).computed("step").pressed(KeyCode::Left);
    assert!(!looks(&screen) && screen.app.state.cursor() == 4 && screen.app.state.is_inside());
    let screen = screen.pressed(KeyCode::Right);
    assert!(!looks(&screen) && screen.app.state.cursor() == 5);
    // A message meanwhile does not move the run to the shown place.
    let screen = screen.pressed(KeyCode::Left).computed("info frame");
    assert!(!looks(&screen) && screen.app.state.is_inside());
    // A command continues where the stage is paused.
    let screen = screen.pressed(KeyCode::Char('s'));
    assert_eq!((screen.orders(), screen.app.state.cursor()), (vec!["step"], 5));
}
