//! Whatever comes in, and whatever the size: nothing panics.

use super::recorded;
use crate::debugger::expr::Answer;
use crate::debugger::record::{NamedPicture, RecordId};
use crate::debugger::view::Viewer;
use crate::debugger::{Event, Outcome, View};
use crate::lesson::{LessonProgress, Reading};
use crate::picture::Picture;
use crate::pipeline::Stage;
use crate::tui::app::{App, Effect, Input};
use crate::tui::pictures::{Graphics, Pictures};
use crate::tui::view;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use image::RgbImage;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

fn key() -> impl Strategy<Value = Input> {
    const CODES: &[KeyCode] = &[
        KeyCode::Esc,
        KeyCode::Enter,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::F(1),
        KeyCode::Char('り'),
    ];
    let code = prop_oneof![
        proptest::sample::select(CODES),
        proptest::sample::select("nbcrR123456789zy/mBCgpeoq:? jkhlvt=<>[]xawL".chars().collect::<Vec<_>>())
            .prop_map(KeyCode::Char),
    ];
    let modifiers = prop_oneof![
        6 => Just(KeyModifiers::NONE), 1 => Just(KeyModifiers::CONTROL), 1 => Just(KeyModifiers::SHIFT)
    ];
    (code, modifiers).prop_map(|(code, modifiers)| Input::Key(KeyEvent::new(code, modifiers)))
}

/// Comparisons and a tree of timelines, as an interface has them.
static RUNS: LazyLock<Vec<View>> = LazyLock::new(|| {
    let compared = [(&[1., 7.5][..], 0), (&[1., 7.5], 4), (&[1., 2., 3., 4., 5., 6., 7.], 20)];
    let compared = compared.map(|(scales, steps)| recorded::comparison(scales, steps));
    compared
        .into_iter()
        .chain([recorded::forked()])
        .map(|session| *recorded::view(&session, &mut Viewer::default()))
        .collect()
});

fn told() -> impl Strategy<Value = Input> {
    let all = recorded::STEPS + 4;
    (0..12, 0..all, 0..all, "\\PC{0,200}|[\\x00-\\x7f]{0,40}").prop_map(|(kind, a, b, text)| {
        let mut session = recorded::session(a.max(b).min(recorded::STEPS + 3));
        session.look(a.min(b));
        let mut view = match a % 4 {
            0 => Box::new(RUNS[b % RUNS.len()].clone()),
            _ => recorded::view(&session, &mut Viewer::default()),
        };
        let record = view.record().map_or(RecordId(a), |record| record.id);
        let answer = |lines: &[&str]| {
            let messages = lines.iter().map(|line| line.to_string()).collect();
            Box::new(Outcome { command: text.clone(), messages, ..Outcome::default() })
        };
        Input::Worker(match kind {
            0 => recorded::ready(&session, &mut Viewer::default()),
            1 => Event::Started(text),
            2 => Event::Progress(Stage::Denoise { step: a }, "denoise.unet"),
            3 => Event::StageDone(view),
            4 => Event::Done(answer(&[&text]), view),
            5 => Event::Done(answer(&[&text, "second line\tand\rmore"]), view),
            6 => Event::Failed { command: text.clone(), error: text, view: None },
            10 => {
                let answers = [Ok(Answer::Bool(a % 2 == 0)), Ok(Answer::Number(b as f64)), Err(text)];
                Event::Evaluated(b % 9, answers.iter().cycle().take(a).cloned().collect())
            }
            7 => {
                let picture = Picture { image: Arc::new(RgbImage::new(8, 8)), label: text };
                Event::Preview { record, picture: NamedPicture { name: "latents", picture } }
            }
            8 => Event::Modules { done: a * b, total: (a % 3 > 0).then_some(b), path: text },
            9 => Event::Loading { read: a as u64, total: b as u64 },
            _ => {
                view.request.prompt = text;
                Event::Looked(view)
            }
        })
    })
}

fn mouse() -> impl Strategy<Value = Input> {
    let kinds = vec![
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::Drag(MouseButton::Left),
        MouseEventKind::Up(MouseButton::Left),
        MouseEventKind::Down(MouseButton::Right),
        MouseEventKind::ScrollDown,
        MouseEventKind::ScrollUp,
        MouseEventKind::Moved,
    ];
    (proptest::sample::select(kinds), 0u16..200, 0u16..70).prop_map(|(kind, column, row)| {
        let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
        Input::Mouse(event, Instant::now())
    })
}

fn input() -> impl Strategy<Value = Input> {
    let size = (1u16..200, 1u16..70).prop_map(|(width, height)| Input::Resize(Size { width, height }));
    let pasted = "[\\x00-\\x7f]{0,20}".prop_map(Input::Paste);
    let tick = Just(()).prop_map(|()| Input::Tick(Instant::now()));
    prop_oneof![12 => key(), 4 => told(), 3 => size, 1 => pasted, 4 => mouse(), 1 => tick]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(inputs in prop::collection::vec(input(), 1..=200), done in prop::option::of(0usize..6)) {
        let mut app = App::new(Size::new(80, 24));
        if let Some(done) = done {
            let before = LessonProgress { done, of: 4, finished: false, answers: vec![Some(done)] };
            app.open_lesson(Reading::new(super::lesson::lesson("ja"), Some(&before)));
        }
        let mut pictures = Pictures::new(Graphics::HalfBlocks);
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        for input in inputs {
            if let Input::Resize(size) = input {
                terminal.backend_mut().resize(size.width, size.height);
            }
            for effect in app.handle(input) {
                if let Effect::Order(line) = effect {
                    prop_assert!(!line.text.trim().is_empty());
                }
            }
            let mut hits = vec![];
            terminal.draw(|frame| hits = view::draw(&app, &mut pictures, frame)).unwrap();
            app.hits = hits;
        }
    }

    #[test]
    fn every_small_size_is_drawn(width in 1u16..60, height in 1u16..20, cursor in 0usize..6) {
        let mut app = App::new(Size { width, height });
        let mut session = recorded::session(6);
        session.look(cursor);
        app.handle(Input::Worker(recorded::ready(&session, &mut Viewer::default())));
        let mut pictures = Pictures::new(Graphics::HalfBlocks);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| drop(view::draw(&app, &mut pictures, frame))).unwrap();
    }
}
