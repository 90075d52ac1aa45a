//! What is typed, held down, pasted and pressed with the mouse, and the search in a page.

use super::recorded::{self, STEPS};
use super::screen::{NARROW, Screen, WIDE};
use crate::debugger::outcome::Shown;
use crate::debugger::outcome::attention::AttentionReport;
use crate::debugger::{Event, Outcome};
use crate::tui::app::{Effect, Input, Mode};
use crate::tui::canvas::Target;
use crate::tui::view::{VIEWS, ViewId};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind};

fn pasted(mut screen: Screen, text: &str) -> Screen {
    screen.effects = screen.app.handle(Input::Paste(text.into()));
    screen
}

fn held(key: char) -> KeyEvent {
    KeyEvent { kind: KeyEventKind::Repeat, ..KeyEvent::from(KeyCode::Char(key)) }
}

/// The lines that run, one after the other, until none waits.
fn all_orders(mut screen: Screen) -> Vec<String> {
    let mut orders = vec![];
    while !screen.orders().is_empty() {
        orders.extend(screen.orders().iter().map(|line| line.to_string()));
        let view = recorded::view(&screen.session, &mut screen.viewer);
        screen = screen.received(Event::Done(Outcome::default().into(), view));
    }
    orders
}

#[test]
fn keys_typed_fast_are_queued_in_order_and_shown() {
    let mut screen = Screen::after(NARROW, 4).pressed(KeyCode::Char('n'));
    let first: Vec<String> = screen.orders().iter().map(|line| line.to_string()).collect();
    screen = screen.typed("nnnnnnnnnbbnnc");
    assert!(screen.text().contains("(+14 waiting, Esc drops them)"), "{}", screen.text());
    let view = recorded::view(&screen.session, &mut screen.viewer);
    let screen = screen.received(Event::Done(Outcome::default().into(), view));
    let lines = [&first[..], &all_orders(screen)].concat();
    let wanted = "nnnnnnnnnnbbnnc".chars().map(|key| match key {
        'n' => "next",
        'b' => "back",
        _ => "continue",
    });
    assert_eq!(lines, wanted.collect::<Vec<_>>());
}

#[test]
fn a_key_that_is_held_down_counts_once_while_it_computes() {
    let screen = Screen::after(NARROW, 4).pressed(KeyCode::Char('n'));
    let screen = screen.pressed(held('n')).pressed(held('n')).pressed(KeyCode::Char('b'));
    assert_eq!(screen.app.state.waiting.len(), 1);
    // What computes nothing moves on.
    let screen = Screen::after(NARROW, 6)
        .pressed(KeyCode::Left)
        .pressed(KeyEvent { kind: KeyEventKind::Repeat, ..KeyEvent::from(KeyCode::Left) });
    assert_eq!(screen.app.state.place(), 4);
}

#[test]
fn escape_and_ctrl_c_empty_the_queue() {
    let waiting = || Screen::after(NARROW, 4).typed("nnnb");
    let mut screen = waiting().pressed(KeyCode::Esc);
    assert!(screen.app.state.waiting.is_empty() && screen.effects.is_empty());
    assert!(screen.text().contains("3 waiting commands dropped"), "{}", screen.text());
    let screen = waiting().pressed(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(screen.app.state.waiting.is_empty());
    assert!(matches!(screen.effects[..], [Effect::Interrupt]));
}

#[test]
fn pasted_lines_run_as_lines() {
    let screen = pasted(Screen::after(NARROW, 4).typed(":"), "break denoise 3\r\nnext 2\nprint lat");
    assert!(matches!(&screen.app.mode, Mode::Typing(line, _) if line.text() == "print lat"));
    assert_eq!(all_orders(screen), ["break denoise 3", "next 2"]);
    let mut screen = pasted(Screen::after(NARROW, 4).typed(":"), "walk\nnext\nback\n");
    assert!(screen.orders().is_empty() && screen.app.state.waiting.is_empty());
    let text = screen.text();
    assert!(text.contains("`walk` is no command") && text.contains("2 pasted lines after this"), "{text}");
    // As keys it would run commands.
    let mut screen = pasted(Screen::after(NARROW, 4), "next\nR\n");
    assert!(screen.orders().is_empty() && screen.text().contains("pasted text is for the console"));
}

#[test]
fn a_second_tab_keeps_the_only_completion() {
    let screen = Screen::after(NARROW, 4).typed(":set gui").pressed(KeyCode::Tab).pressed(KeyCode::Tab);
    let line = |screen: &Screen| match &screen.app.mode {
        Mode::Typing(line, _) => line.text().to_string(),
        _ => String::new(),
    };
    assert_eq!(line(&screen), "set guidance_scale ");
}

#[test]
fn the_mouse_presses_what_is_drawn_as_a_key() {
    let press = |mut screen: Screen, key: KeyCode| {
        screen.draw();
        let wanted = Target::Key(key.into());
        let hit = screen.app.hits.iter().find(|hit| hit.target == wanted).copied().unwrap();
        screen.mouse(MouseEventKind::Down(MouseButton::Left), (hit.area.right() - 1, hit.area.y))
    };
    assert_eq!(press(Screen::after(NARROW, 4), KeyCode::Char('n')).orders(), ["next"]);
    let console = press(Screen::after(NARROW, 4), KeyCode::Char(':'));
    assert!(matches!(console.app.mode, Mode::Typing(..)));
    assert!(matches!(press(console, KeyCode::Esc).app.mode, Mode::Walk));
    let help = press(Screen::after(NARROW, 4), KeyCode::Char('?'));
    assert!(matches!(press(help, KeyCode::Esc).app.mode, Mode::Walk));
}

#[test]
fn letters_in_the_help_page_do_nothing_and_it_is_searched() {
    let screen = Screen::after(NARROW, STEPS + 3).typed("?/sweep").pressed(KeyCode::Enter);
    assert!(matches!(screen.app.mode, Mode::Reading(_)) && screen.effects.is_empty());
    let mut screen = screen.typed("Resc4");
    assert!(screen.orders().is_empty() && screen.text().contains("sweep"), "{}", screen.text());
    let screen = Screen::after(NARROW, 4).typed("?Resc4").pressed(KeyCode::Esc);
    assert!(matches!(screen.app.mode, Mode::Walk) && screen.app.tab == ViewId::Overview);
}

#[test]
fn help_begins_with_the_view_where_it_was_asked_for() {
    for view in VIEWS {
        let mut screen = Screen::after(WIDE, 12).typed(&format!("{}?", view.key));
        let text = screen.text();
        let [answers, ..] = view.about;
        let first: String = answers.to_string().chars().take(40).collect();
        let line = text.lines().position(|line| line.contains(&first));
        assert!(line.is_some_and(|line| line < 8), "{}: {text}", view.name);
    }
}

#[test]
fn the_pictures_of_the_last_step_are_decoded_after_the_end_too() {
    let screen = Screen::after(NARROW, STEPS + 3).typed("3");
    let previews = screen.effects.iter().find_map(|effect| match effect {
        Effect::Previews(previews) => Some(previews.iter().map(|preview| preview.name).collect::<Vec<_>>()),
        _ => None,
    });
    let previews = previews.unwrap();
    assert!(previews.contains(&"pred_original_sample.uncond"), "{previews:?}");
}

#[test]
fn residuals_have_a_scale_each_or_one_for_all() {
    let mut screen = Screen::after(WIDE, 3).typed("3");
    let text = screen.text();
    assert!(text.contains("× as far as the pair") && !text.contains("one scale for all four"), "{text}");
    let text = screen.typed("v").text();
    assert!(text.contains("one scale for all four"), "{text}");
}

#[test]
fn the_finished_picture_is_alone_and_v_shows_when_its_pixels_settled() {
    let mut screen = Screen::after(WIDE, STEPS + 3);
    assert!(!screen.text().contains("timemap"));
    let mut screen = screen.typed("v");
    assert!(screen.text().contains("timemap"), "{}", screen.text());
    assert!(!screen.typed("v").text().contains("timemap"));
}

#[test]
fn space_at_the_end_plays_from_the_start() {
    let screen = Screen::after(NARROW, STEPS + 3).pressed(KeyCode::Char(' '));
    assert!(screen.app.playing);
    assert_eq!(screen.app.state.place(), 1);
}

#[test]
fn quitting_asks_when_more_than_ten_seconds_would_be_lost() {
    // The recorded steps took two seconds together.
    let screen = Screen::after(NARROW, STEPS + 3).pressed(KeyCode::Char('q'));
    assert!(matches!(screen.effects[..], [Effect::End(Ok(()))]));
    let long = |mut screen: Screen| {
        for line in &mut screen.app.state.view.as_mut().unwrap().stages {
            line.took = Some(std::time::Duration::from_secs(1));
        }
        screen
    };
    let mut asked = long(Screen::after(NARROW, STEPS + 3)).pressed(KeyCode::Char('q'));
    assert!(asked.effects.is_empty() && asked.text().contains("q again quits"), "{}", asked.text());
    assert!(matches!(asked.pressed(KeyCode::Char('q')).effects[..], [Effect::End(Ok(()))]));
    let other = long(Screen::after(NARROW, STEPS + 3)).pressed(KeyCode::Char('q')).pressed(KeyCode::Left);
    assert!(other.pressed(KeyCode::Char('q')).effects.is_empty());
}

#[test]
fn a_paused_stage_is_shown_in_the_source() {
    let mut screen = Screen::after(NARROW, 4);
    let view = |inside| {
        let mut view = recorded::view(&recorded::session(4), &mut crate::debugger::view::Viewer::default());
        view.inside = inside;
        view
    };
    let inside = crate::debugger::view::InsideView {
        stage: crate::pipeline::Stage::Denoise { step: 2 },
        line: "denoise.unet",
        module: None,
        ran: false,
        frames: vec![],
        call: None,
        given: vec![],
        values: vec![],
    };
    screen = screen.received(Event::Done(Outcome::default().into(), view(Some(inside))));
    assert_eq!(screen.app.tab, ViewId::Source);
}

#[test]
fn the_attention_view_follows_the_word_that_was_asked_for() {
    let report = AttentionReport {
        steps: vec![5],
        subject: "blue".into(),
        positions: vec![5],
        size: [16, 16],
        layers: vec![],
        tokens: vec![],
        peak: None,
        is_listed: true,
        map: vec![],
    };
    let mut screen = Screen::after(WIDE, 8);
    let outcome = Outcome::default().showing(Shown::Attention(report));
    let view = recorded::view(&screen.session, &mut screen.viewer);
    let mut screen = screen.received(Event::Done(outcome.into(), view)).pressed(KeyCode::Esc).typed("a");
    assert!(screen.text().contains("blue: attended to by"), "{}", screen.text());
}

#[test]
fn the_legend_of_a_comparison_is_of_what_its_lines_show() {
    let legend = |screen: &mut Screen| {
        let text = screen.text();
        text.lines().find(|line| line.contains("7.5: ")).map(String::from).unwrap_or(text)
    };
    let mut end = Screen::of(WIDE, recorded::finished_comparison(&[1., 7.5]));
    let at_end = legend(&mut end);
    assert_eq!(end.app.state.place(), STEPS + 3);
    let mut before = end.pressed(KeyCode::Left).looked();
    assert_eq!(at_end, legend(&mut before));
}
