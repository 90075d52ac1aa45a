//! View 4: the scheduler's step in formulas.

use super::recorded::{self, STEPS};
use super::screen::{NARROW, Screen, WIDE, check};
use crate::debugger::Event;
use crate::debugger::view::ModelLine;
use crossterm::event::{KeyCode, MouseButton, MouseEventKind};

fn scheduler(size: (u16, u16), done: usize) -> Screen {
    Screen::after(size, done).pressed(KeyCode::Char('4'))
}

#[test]
fn the_step_as_text() {
    check("scheduler-start", scheduler(NARROW, 2));
    for size in [NARROW, WIDE] {
        check("scheduler", scheduler(size, 8));
    }
    check("scheduler-zoomed", scheduler(NARROW, STEPS + 2).pressed(KeyCode::Char('z')));
    check("scheduler-complete", scheduler(WIDE, STEPS + 3));
}

/// A method of one step, two multistep ones, a stochastic one, and one with two calls of the UNet a step.
#[test]
fn the_formulas_of_other_schedulers() {
    for name in ["euler", "dpm++3m-karras", "unipc", "euler-a", "heun", "pndm"] {
        for size in [NARROW, WIDE] {
            let screen = Screen::of(size, recorded::session_with(name, 7)).pressed(KeyCode::Char('4'));
            check(&format!("scheduler-{name}"), screen);
        }
    }
    // σ of two spacings, with a mark at each call.
    for name in ["euler", "dpm++2m-karras"] {
        let screen = Screen::of(WIDE, recorded::session_with(name, 7)).pressed(KeyCode::Char('4'));
        check(&format!("scheduler-sigma-{name}"), screen.pressed(KeyCode::Tab).pressed(KeyCode::Char('v')));
    }
    // PNDM's first step is two calls, and the rail says so.
    check("rail-pndm", Screen::of(WIDE, recorded::session_with("pndm", 4)).pressed(KeyCode::Char('1')));
}

/// With a checkpoint that was saved with another scheduler.
#[test]
fn the_title_names_the_scheduler_that_ddim_replaces() {
    for (name, size, done) in [("start", NARROW, 2), ("step", NARROW, 8), ("step", WIDE, 8)] {
        let mut screen = scheduler(size, done);
        let view = recorded::view(&screen.session, &mut screen.viewer);
        let note = "FOLDER/scheduler/scheduler_config.json: DDIM stands in for DPMSolverMultistepScheduler";
        let line = ModelLine {
            stands_in_for: Some("DPMSolverMultistep".into()),
            notes: vec![note.into()],
            remarks: vec![],
            ..screen.session.backend().info().into()
        };
        screen = screen.received(Event::Ready(line, view));
        check(&format!("scheduler-stands-in-{name}"), screen);
    }
}

#[test]
fn the_numbers_are_those_of_the_formula() {
    let mut screen = scheduler(WIDE, 8).pressed(KeyCode::Char(']')).pressed(KeyCode::Char('l'));
    let text = screen.text();
    assert!(text.contains("[0, 0, 1, 1]"), "{text}");
    // `a · (b) + …` has the result that it shows.
    let line = text.lines().find(|line| line.contains(" − ") && line.contains("all: mean")).unwrap();
    let numbers: Vec<f64> = line
        .split("all")
        .next()
        .unwrap()
        .replace(['(', ')'], "")
        .replace('−', "-")
        .split(&['·', '=', ' '][..])
        .filter_map(|word| word.parse().ok())
        .collect();
    let [a, x, b, v, x0] = numbers[..] else { panic!("{line}: {numbers:?}") };
    assert!((a * x - b * v - x0).abs() < 1e-3, "{line}");
}

#[test]
fn a_press_on_the_ruler_shows_the_step() {
    let screen = scheduler(NARROW, STEPS + 2);
    let press = MouseEventKind::Down(MouseButton::Left);
    let screen = screen.mouse(press, (42, 17)).looked();
    assert_eq!(screen.app.state.cursor(), 3, "the first step");
}

#[test]
fn a_step_shows_the_formula_that_it_used() {
    let screen = scheduler(WIDE, 8).computed("set fault epsilon_for_v");
    // With a residual that was used as noise by mistake, also after the mistake is corrected.
    let mut screen = screen.computed("next").computed("set fault off");
    let text = screen.text();
    assert!(
        text.contains("(x_t − √(1−ᾱ_t) · ε) / √ᾱ_t") && text.contains("pred_epsilon = model_output"),
        "{text}"
    );
    assert!(!text.contains("then bounded to"), "nothing bounds it: {text}");
    let text = screen.computed("set latents[0,0,0,0] = 9").text();
    assert!(text.contains("then changed by hand to 9.0000"), "{text}");
}
