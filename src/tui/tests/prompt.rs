//! View 5: tokens and embeddings.

use super::screen::{NARROW, Screen, WIDE, check};
use crate::debugger::Event;
use crate::debugger::prompt::{TokenKind, TokenView};
use crate::debugger::view::Viewer;
use crate::model::prompt_syntax::PromptSyntax;
use crossterm::event::KeyCode;

fn prompt(size: (u16, u16), done: usize) -> Screen {
    Screen::after(size, done).pressed(KeyCode::Char('5'))
}

#[test]
fn prompts_as_text() {
    check("prompt-start", prompt(NARROW, 0));
    for size in [NARROW, WIDE] {
        check("prompt", prompt(size, 5).pressed(KeyCode::Down).pressed(KeyCode::Down));
    }
    let cosines = prompt(NARROW, 1).pressed(KeyCode::Tab).pressed(KeyCode::Char('z'));
    check("prompt-cosines", cosines);
}

#[test]
fn wide_tokens_and_parts_of_words_line_up() {
    let session = super::recorded::session_of("青い空 strawberries");
    let view = super::recorded::view(&session, &mut Viewer::default());
    let words: Vec<&TokenView> =
        view.records[0].prompts[0].tokens.iter().filter(|token| token.kind == TokenKind::Word).collect();
    assert!(words.len() > 3 && words.iter().any(|token| !token.ends_word));
    let screen = prompt(NARROW, 1).received(Event::StageDone(view));
    check("prompt-japanese", screen);
}

#[test]
fn weights_and_chunks_have_their_places() {
    let text = "a (red:1.3) apple BREAK a [blue] (table:0.5)";
    let session = super::recorded::session_in(PromptSyntax::A1111, text);
    let view = super::recorded::view(&session, &mut Viewer::default());
    let [prompt_view, negative] = &view.records[0].prompts[..] else { panic!("there are two prompts") };
    assert_eq!((prompt_view.tokens.len(), prompt_view.weights.len(), negative.weights.len()), (154, 154, 0));
    check("prompt-weights", prompt(NARROW, 1).received(Event::StageDone(view)));
}
