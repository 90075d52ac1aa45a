//! Whatever comes in, and whatever the size: nothing panics.

use super::fake;
use crate::debugger::Event;
use crate::pipeline::Stage;
use crate::tui::app::{App, Effect, Input};
use crate::tui::pictures::{Graphics, Pictures};
use crate::tui::view;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;

fn key() -> impl Strategy<Value = Input> {
    const CODES: &[KeyCode] = &[
        KeyCode::Esc,
        KeyCode::Enter,
        KeyCode::Tab,
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
        proptest::sample::select("nbcrRiIBgpsoq:? xkuwaelh".chars().collect::<Vec<_>>())
            .prop_map(KeyCode::Char),
    ];
    let modifiers = prop_oneof![
        6 => Just(KeyModifiers::NONE), 1 => Just(KeyModifiers::CONTROL), 1 => Just(KeyModifiers::SHIFT)
    ];
    (code, modifiers).prop_map(|(code, modifiers)| Input::Key(KeyEvent::new(code, modifiers)))
}

fn told() -> impl Strategy<Value = Input> {
    let all = fake::STEPS + 4;
    (0..9, 0..all, 0..all, "\\PC{0,200}|[\\x00-\\x7f]{0,40}").prop_map(|(kind, a, b, text)| {
        let view = fake::view(a.min(b), a.max(b).min(fake::STEPS + 3));
        Input::Worker(match kind {
            0 => fake::ready(view),
            1 => Event::Started(text),
            2 => Event::Progress(Stage::Denoise { step: a }, "denoise.unet"),
            3 => Event::StageDone(view.into()),
            4 => fake::moved("next", view, &text),
            5 => fake::answered(&text, view, &[&text, "second line\tand\rmore"]),
            6 => fake::failed(&text, &text),
            7 => fake::preview(a, "latents"),
            _ => {
                let mut view = fake::broken(a);
                view.request.prompt = text;
                Event::StageDone(view.into())
            }
        })
    })
}

fn input() -> impl Strategy<Value = Input> {
    let size = (1u16..200, 1u16..70).prop_map(|(width, height)| Input::Resize(Size { width, height }));
    let pasted = "[\\x00-\\x7f]{0,20}".prop_map(Input::Paste);
    prop_oneof![6 => key(), 4 => told(), 3 => size, 1 => pasted]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(inputs in prop::collection::vec(input(), 1..40)) {
        let mut app = App::new(Size::new(80, 24));
        let mut pictures = Pictures::new(Graphics::HalfBlocks);
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        for input in inputs {
            if let Input::Resize(size) = input {
                terminal.backend_mut().resize(size.width, size.height);
            }
            for effect in app.handle(input) {
                if let Effect::Order(line) = effect {
                    prop_assert!(!line.trim().is_empty());
                }
            }
            terminal.draw(|frame| view::draw(&app, &mut pictures, frame)).unwrap();
        }
    }

    #[test]
    fn every_small_size_is_drawn(width in 1u16..60, height in 1u16..20, cursor in 0usize..6) {
        let mut app = App::new(Size { width, height });
        app.handle(Input::Worker(fake::ready(fake::view(cursor, 6))));
        let mut pictures = Pictures::new(Graphics::HalfBlocks);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view::draw(&app, &mut pictures, frame)).unwrap();
    }
}
