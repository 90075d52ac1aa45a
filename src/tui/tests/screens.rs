//! Screens after inputs, in `snapshots/`, and the effects of keys and the mouse.

use super::recorded::{self, STEPS};
use super::screen::{NARROW, Screen, WIDE, check};
use crate::debugger::record::NamedPicture;
use crate::debugger::view::ModelLine;
use crate::debugger::view::Viewer;
use crate::debugger::{Event, Outcome};
use crate::picture::Picture;
use crate::pipeline::Stage;
use crate::tui::Error;
use crate::tui::app::{Effect, Mode};
use crate::tui::canvas::Target;
use crate::tui::view::ViewId;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEventKind};
use image::RgbImage;
use std::sync::Arc;

const CTRL_C: KeyEvent = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
const PRESS: MouseEventKind = MouseEventKind::Down(MouseButton::Left);

/// The running command is done.
fn done(mut screen: Screen, message: &str) -> Screen {
    let outcome = Outcome { messages: vec![message.into()], ..Outcome::default() };
    let view = recorded::view(&screen.session, &mut screen.viewer);
    screen.received(Event::Done(outcome.into(), view))
}

fn failed(screen: Screen, command: &str, error: &str) -> Screen {
    screen.received(Event::Failed { command: command.into(), error: error.into(), view: None })
}

/// The VAE's picture of a tensor of the record before the cursor.
fn preview(screen: Screen, name: &'static str) -> Screen {
    let record = screen.app.state.record().unwrap().id;
    let picture = Picture { image: Arc::new(RgbImage::new(128, 128)), label: "decoded by the VAE".into() };
    screen.received(Event::Preview { record, picture: NamedPicture { name, picture } })
}

#[test]
fn loading() {
    check("loading", Screen::new(NARROW));
    check("loading", Screen::new(WIDE).pressed(KeyCode::Char('n')));
}

#[test]
fn start() {
    check("start", Screen::after(NARROW, 0));
    check("start", Screen::after(WIDE, 0));
}

#[test]
fn overview() {
    for size in [NARROW, WIDE] {
        check("encode_prompt", Screen::after(size, 2).ran("back"));
        check("get_latent", Screen::after(size, 3).ran("goto denoise 0"));
        check("denoise", preview(Screen::after(size, 12), "pred_original_sample"));
        check("earlier", Screen::after(size, 15).ran("goto denoise 3"));
        check("complete", Screen::after(size, STEPS + 3));
    }
}

#[test]
fn a_pane_zoomed_and_a_picture_alone() {
    let screen = || Screen::after(NARROW, 12).pressed(KeyCode::Tab);
    check("zoomed", screen().pressed(KeyCode::Char('z')));
    check("enlarged", screen().pressed(KeyCode::Enter).pressed(KeyCode::Enter));
}

#[test]
fn latents_in_three_renderings() {
    let seen = |screen: &mut Screen| screen.text().matches("decoded").count();
    let mut screen = preview(preview(Screen::after(WIDE, 12), "pred_original_sample"), "latents");
    assert_eq!(seen(&mut screen), 2);
    let mut screen = screen.pressed(KeyCode::Char('v'));
    assert_eq!(seen(&mut screen), 0);
    let mut screen = screen.pressed(KeyCode::Char('v'));
    assert!(screen.text().contains("4 channels, -3 to 3"), "{}", screen.text());
    assert_eq!(seen(&mut screen.pressed(KeyCode::Char('v'))), 2);
}

#[test]
fn an_interrupted_step() {
    let mut screen = Screen::after(NARROW, 6).pressed(KeyCode::Char('n')).pressed(CTRL_C);
    assert!(matches!(screen.effects[..], [Effect::Interrupt]));
    let outcome = Outcome {
        command: "next".into(),
        messages: vec!["denoise 3 done (t = 801, 93 ms); next: denoise 4".into()],
        stopped: Some("interrupted before unet.mid_block".into()),
        ..Outcome::default()
    };
    let view = recorded::view(&screen.session, &mut screen.viewer);
    check("interrupted", screen.received(Event::Done(outcome.into(), view)));
}

#[test]
fn a_long_operation_has_a_progress_bar() {
    let start = std::time::Instant::now();
    let tick = |screen: &mut Screen, seconds| {
        let later = start + std::time::Duration::from_secs(seconds);
        screen.effects = screen.app.handle(crate::tui::app::Input::Tick(later));
    };
    let mut screen = Screen::after(NARROW, 4).pressed(KeyCode::Char('n'));
    tick(&mut screen, 0);
    let mut screen = screen.received(Event::Progress(Stage::Denoise { step: 2 }, "denoise.unet"));
    tick(&mut screen, 1);
    let modules = Event::Modules { done: 120, total: Some(480), path: "unet.down_blocks.1.resnets.0".into() };
    let mut screen = screen.received(modules);
    tick(&mut screen, 5);
    check("gauge", screen);
    let mut screen = Screen::new(NARROW);
    tick(&mut screen, 0);
    let mut screen = screen.received(Event::Loading { read: 3_000, total: 4_000 });
    tick(&mut screen, 9);
    check("gauge-loading", screen);
}

#[test]
fn while_a_step_runs() {
    let screen = Screen::after(NARROW, 4).pressed(KeyCode::Char('c'));
    let screen = screen.received(Event::Started("continue".into()));
    check("running", screen.received(Event::Progress(Stage::Denoise { step: 2 }, "denoise.unet")));
}

#[test]
fn an_error_is_shown() {
    check("error", Screen::after(NARROW, 5).ran("walk"));
}

#[test]
fn help_lists_every_key_and_command() {
    check("help", Screen::after(NARROW, 0).pressed(KeyCode::Char('?')));
    check("help", Screen::after(WIDE, 0).pressed(KeyCode::Char('?')));
    check("help-end", Screen::after(NARROW, 0).pressed(KeyCode::Char('?')).pressed(KeyCode::End));
}

#[test]
fn the_console() {
    check("typing", Screen::after(NARROW, 5).typed(":set prompt 青い背景の赤いりんご"));
}

#[test]
fn the_console_completes_words() {
    let screen = Screen::after(NARROW, 5).typed(":re");
    check("completing", Screen::after(NARROW, 5).typed(":print latents.").pressed(KeyCode::Tab));
    let line = |screen: &Screen| match &screen.app.mode {
        Mode::Typing(line, _) => line.text().to_string(),
        _ => String::new(),
    };
    let screen = screen.pressed(KeyCode::Tab);
    assert_eq!(line(&screen), "reverse-continue");
    let screen = (0..4).fold(screen, |screen, _| screen.pressed(KeyCode::Tab));
    assert_eq!(line(&screen), "re", "after the last candidate comes the typed text");
    let screen = (0..3).fold(screen, |screen, _| screen.pressed(KeyCode::BackTab)).typed(" ");
    assert_eq!(line(&screen), "restart ");
    assert_eq!(screen.pressed(KeyCode::Enter).orders(), ["restart"]);
}

#[test]
fn an_error_points_at_the_word_and_stays_until_the_next_key() {
    let screen = Screen::after(NARROW, 5).ran("print norm(latnts) + 1.0");
    assert!(matches!(screen.app.mode, Mode::Walk), "the console is closed after an error too");
    check("pointing", screen);
    let screen = Screen::after(NARROW, 5).ran("print norm(latnts) + 1.0").pressed(KeyCode::Tab);
    assert!(screen.app.state.messages.is_empty());
}

#[test]
fn displayed_expressions_stay_on_the_screen() {
    let screen = Screen::after(NARROW, 5).ran("display latents.std").ran("display step").ran("back");
    check("displays", screen);
}

#[test]
fn a_picture_is_shown_as_large_as_possible() {
    let screen = Screen::after(NARROW, 5).ran("show difference");
    assert!(matches!(screen.app.mode, Mode::Showing(_)));
    check("showing", screen);
    let closed = Screen::after(NARROW, 5).ran("show difference").pressed(KeyCode::Esc);
    assert!(matches!(closed.app.mode, Mode::Walk));
}

#[test]
fn output_of_many_lines_has_a_page() {
    check("output", Screen::after(NARROW, 4).ran("info tensors"));
}

#[test]
fn a_long_prompt_in_japanese_and_the_prediction_type() {
    let ready = |size| {
        let screen = Screen::new(size);
        let session = recorded::session(5);
        let mut view = recorded::view(&session, &mut Viewer::default());
        view.request.prompt =
            "青い背景の上に置かれた、つやつやと光る赤いりんごの油絵。柔らかな朝の光、静物画、傑作".into();
        view.request.negative_prompt = "ぼやけた\x1b[2J写真".into();
        let name = "/home/me/モデル/stable-diffusion-2".into();
        screen.received(Event::Ready(ModelLine { name, ..session.backend().info().into() }, view))
    };
    check("japanese", ready(NARROW));
    check("japanese", ready(WIDE));
}

#[test]
fn the_smallest_and_smaller() {
    check("smallest", Screen::after((60, 16), 12));
    check("too-small", Screen::after((59, 15), 12));
    check("too-small", Screen::after((9, 3), 12));
}

#[test]
fn a_key_runs_its_command_and_later_ones_wait() {
    let screen = Screen::after(NARROW, 0).pressed(KeyCode::Char('n'));
    assert_eq!(screen.orders(), ["next"]);
    let screen = screen.pressed(KeyCode::Char('n')).pressed(KeyCode::Char('b'));
    assert!(screen.effects.is_empty());
    let screen = done(screen, "");
    assert_eq!(screen.orders(), ["next"]);
    assert_eq!(done(screen, "").orders(), ["back"]);
}

#[test]
fn a_key_that_runs_a_stage_closes_output() {
    let screen = Screen::after(NARROW, 4).ran("info tensors").pressed(KeyCode::Down);
    assert!(screen.effects.is_empty());
    assert_eq!(screen.pressed(KeyCode::Char('n')).orders(), ["next"]);
}

#[test]
fn a_failure_drops_waiting_commands() {
    let screen = Screen::after(NARROW, 0).pressed(KeyCode::Char('n')).pressed(KeyCode::Char('n'));
    let screen = failed(screen, "next", "no");
    assert!(screen.effects.is_empty() && screen.app.state.waiting.is_empty());
}

#[test]
fn a_wrong_line_is_reported_at_once_and_waiting_commands_still_run() {
    let screen = Screen::after(NARROW, 0).pressed(KeyCode::Char('n')).pressed(KeyCode::Char('n'));
    let screen = screen.typed(":walk").pressed(KeyCode::Enter);
    assert!(screen.orders().is_empty());
    let messages = &screen.app.state.messages;
    assert!(messages.iter().any(|message| message.text.contains("`walk` is no command")), "{messages:?}");
    assert_eq!(done(screen, "").orders(), ["next"]);
}

#[test]
fn the_history_has_commands_as_they_are_written_and_wrong_lines_as_typed() {
    let screen = Screen::after(NARROW, 0).typed(":n").pressed(KeyCode::Enter);
    assert_eq!(screen.orders(), ["n"]);
    let screen = screen.typed(":walk").pressed(KeyCode::Enter);
    assert_eq!(screen.app.history, ["next", "walk"]);
}

#[test]
fn escape_only_closes_things() {
    let screen = Screen::after(NARROW, 0).pressed(KeyCode::Char('c')).pressed(KeyCode::Esc);
    assert!(screen.effects.is_empty());
    let zoomed = Screen::after(NARROW, 3).pressed(KeyCode::Char('z'));
    assert!(zoomed.app.zoomed && !zoomed.pressed(KeyCode::Esc).app.zoomed);
}

#[test]
fn ctrl_c_interrupts_and_twice_quits_when_nothing_runs() {
    let running =
        Screen::after(NARROW, 0).pressed(KeyCode::Char('c')).pressed(KeyCode::Char('n')).pressed(CTRL_C);
    assert!(matches!(running.effects[..], [Effect::Interrupt]));
    assert!(running.app.state.waiting.is_empty());
    let asked = Screen::after(NARROW, 0).pressed(CTRL_C);
    assert!(asked.effects.is_empty());
    assert!(matches!(asked.pressed(CTRL_C).effects[..], [Effect::End(Ok(()))]));
    let other = Screen::after(NARROW, 0).pressed(CTRL_C).pressed(KeyCode::Tab).pressed(CTRL_C);
    assert!(other.effects.is_empty());
}

#[test]
fn a_typed_line_goes_to_the_worker_and_quit_ends() {
    let screen = Screen::after(NARROW, 0).typed("::break denoise 3").pressed(KeyCode::Enter);
    assert_eq!(screen.orders(), ["break denoise 3"]);
    let screen = Screen::after(NARROW, 0).typed(":quit").pressed(KeyCode::Enter);
    assert!(matches!(screen.effects[..], [Effect::End(Ok(()))]));
}

#[test]
fn models_that_do_not_load_end_it() {
    let screen = Screen::new(NARROW).received(Event::LoadFailed("no such folder".into()));
    assert!(matches!(&screen.effects[..], [Effect::End(Err(Error::Load(why)))] if why == "no such folder"));
}

#[test]
fn a_decoded_picture_replaces_the_linear_estimate() {
    let label = |screen: &Screen| {
        let record = screen.app.state.record().unwrap();
        screen.app.state.best(record, record.picture("latents").unwrap()).picture.label.clone()
    };
    let screen = preview(Screen::after(NARROW, 6), "latents");
    assert_eq!(label(&screen), "decoded by the VAE");
    let screen = screen.pressed(KeyCode::Left).looked();
    assert_eq!(label(&screen), "linear estimate");
    // It is kept for when the place is shown again.
    assert_eq!(label(&screen.pressed(KeyCode::Right).looked()), "decoded by the VAE");
}

#[test]
fn visible_pictures_are_requested_once_from_the_vae() {
    let asked = |screen: &Screen| {
        let previews = screen.effects.iter().find_map(|effect| match effect {
            Effect::Previews(previews) => Some(previews.clone()),
            _ => None,
        });
        previews.map(|previews| previews.iter().map(|preview| preview.name).collect::<Vec<_>>())
    };
    let screen = Screen::after(NARROW, 6);
    assert_eq!(asked(&screen).unwrap(), ["pred_original_sample", "latents"]);
    let screen = screen.pressed(KeyCode::Tab);
    assert_eq!(asked(&screen), None);
    let screen = preview(screen, "pred_original_sample");
    assert_eq!(asked(&screen), None);
    assert_eq!(asked(&screen.pressed(KeyCode::Home)), None, "nothing is there to be decoded");
    let off = Screen::after(NARROW, 6).ran("set preview every 3").pressed(KeyCode::Left);
    assert_eq!(asked(&off), None, "denoise 2 is none of every third");
}

#[test]
fn showing_an_earlier_stage_waits_for_nothing() {
    let screen = Screen::after(NARROW, 6).pressed(KeyCode::Left);
    assert_eq!(screen.app.state.cursor(), 5);
    assert!(screen.effects.iter().any(|effect| matches!(effect, Effect::Look(5))));
    // While a command runs, no request is sent to the worker; it moves there afterwards.
    let screen = Screen::after(NARROW, 6).pressed(KeyCode::Char('n')).pressed(KeyCode::Home);
    assert_eq!(screen.app.state.cursor(), 0);
    assert!(!screen.effects.iter().any(|effect| matches!(effect, Effect::Look(_))));
    let screen = done(screen, "denoise 4 done");
    assert_eq!(screen.app.state.cursor(), 0);
    assert!(screen.effects.iter().any(|effect| matches!(effect, Effect::Look(0))));
}

#[test]
fn recorded_stages_are_played() {
    let mut screen = Screen::after(NARROW, 4).pressed(KeyCode::Char(' ')).looked();
    let mut seen = vec![screen.app.state.cursor()];
    while screen.app.playing {
        screen.effects = screen.app.handle(crate::tui::app::Input::Tick(std::time::Instant::now()));
        screen = screen.looked();
        seen.push(screen.app.state.cursor());
    }
    assert_eq!(seen, [1, 2, 3, 4, 4]);
}

#[test]
fn the_mouse_selects_moves_and_zooms() {
    let press = |target| {
        let mut screen = Screen::after(NARROW, 6);
        screen.draw();
        let hit = screen.app.hits.iter().find(|hit| hit.target == target).copied().unwrap();
        let place = (hit.area.right() - 1, hit.area.y);
        (screen.mouse(PRESS, place), place)
    };
    assert_eq!(press(Target::Tab(ViewId::Tensors)).0.app.tab, ViewId::Tensors);
    assert_eq!(press(Target::Stage(3)).0.looked().app.state.cursor(), 3);
    assert_eq!(press(Target::Place(1)).0.looked().app.state.cursor(), 1);
    assert_eq!(press(Target::Gutter(4)).0.orders(), ["break denoise 2"]);
    // A stage to come cannot be shown; the message explains how to get there.
    let (mut screen, _) = press(Target::Stage(8));
    assert!(screen.effects.is_empty());
    assert!(screen.text().contains("denoise 6 is still to come: `:until denoise 6` runs up to it"));
    let (screen, place) = press(Target::Pane("tensors"));
    assert_eq!(screen.app.focused(), "tensors");
    assert!(screen.mouse(PRESS, place).app.zoomed);
}

#[test]
fn the_wheel_scrolls_a_page() {
    let top = |screen: &mut Screen| screen.text().lines().nth(4).unwrap().to_string();
    let mut screen = Screen::after(NARROW, 3).typed("?");
    let first = top(&mut screen);
    let mut screen = screen.mouse(MouseEventKind::ScrollDown, (10, 10));
    assert_ne!(top(&mut screen), first);
    assert_eq!(top(&mut screen.mouse(MouseEventKind::ScrollUp, (10, 10))), first);
}

#[test]
fn every_view_is_drawn_at_every_stage() {
    for done in [0, 1, 2, 8, STEPS + 2, STEPS + 3] {
        for tab in '1'..='9' {
            Screen::after(NARROW, done).pressed(KeyCode::Char(tab)).draw();
        }
    }
}
