//! The input line on which a command is typed.

use super::text;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use tui_input::backend::crossterm::to_input_request;
use tui_input::{Input, InputRequest};

/// An input line.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// The text and the cursor.
    input: Input,
    /// The history entry that is shown, counted from the newest, and the text typed before it.
    recalled: Option<(usize, String)>,
}

/// The result of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// The line is still being typed.
    On,
    /// The line was entered.
    Entered(String),
    /// The line was abandoned.
    Left,
}

/// The length limit: longer than any command, shorter than a file that is pasted by mistake.
const LONGEST: usize = 4096;

impl Line {
    /// A line with `text` on it.
    pub fn new(text: &str) -> Self {
        Self { input: Input::new(text.into()), recalled: None }
    }

    /// The text typed so far.
    pub fn text(&self) -> &str {
        self.input.value()
    }

    /// The text before the cursor.
    pub fn before_cursor(&self) -> &str {
        let text = self.text();
        text.char_indices().nth(self.input.cursor()).map_or(text, |(at, _)| &text[..at])
    }

    /// Replaces the text from byte `from` to the cursor with `word`.
    pub fn replace_word(&mut self, from: usize, word: &str) {
        let cursor = self.before_cursor().len();
        if self.text().is_char_boundary(from) && from <= cursor {
            let (before, after) = (&self.text()[..from], &self.text()[cursor..]);
            let cursor = before.chars().count() + word.chars().count();
            self.input = Input::new(format!("{before}{word}{after}")).with_cursor(cursor);
        }
    }

    /// Inserts text at the cursor, without control characters.
    pub fn insert(&mut self, text: &str) {
        let text = text::clean(text.trim_end_matches(['\r', '\n']));
        if self.text().len() + text.len() <= LONGEST {
            for c in text.chars() {
                self.input.handle(InputRequest::InsertChar(c));
            }
        }
    }

    /// Handles a key; `history` has the lines that were entered earlier, the newest last.
    pub fn key(&mut self, key: KeyEvent, history: &[String]) -> Typed {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Typed::Entered(self.input.value_and_reset()),
            KeyCode::Esc => return Typed::Left,
            KeyCode::Backspace if self.text().is_empty() => return Typed::Left,
            KeyCode::Up => self.recall(self.recalled.as_ref().map_or(0, |(at, _)| at + 1), history),
            KeyCode::Down => match self.recalled.take() {
                Some((0, draft)) => *self = Self::new(&draft),
                Some((at, draft)) => {
                    self.recalled = Some((at, draft));
                    self.recall(at - 1, history);
                }
                None => {}
            },
            // As in a shell; tui-input clears the whole line.
            KeyCode::Char('u') if control => {
                self.input.handle(InputRequest::DeleteFromStart);
            }
            _ => match to_input_request(&Event::Key(key)) {
                Some(InputRequest::InsertChar(c)) => self.insert(c.encode_utf8(&mut [0; 4])),
                Some(request) => {
                    self.input.handle(request);
                }
                None => {}
            },
        }
        Typed::On
    }

    fn recall(&mut self, at: usize, history: &[String]) {
        let Some(line) = history.iter().rev().nth(at) else { return };
        let draft = self.recalled.take().map_or_else(|| self.text().into(), |(_, draft)| draft);
        *self = Self { recalled: Some((at, draft)), ..Self::new(line) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use KeyCode::{Backspace, Char, Delete, Down, Left, Up};

    fn press(line: &mut Line, keys: &[KeyCode], history: &[String]) {
        for &key in keys {
            line.key(key.into(), history);
        }
    }

    #[test]
    fn wide_characters_are_one_step() {
        let mut line = Line::new("りんご");
        press(&mut line, &[Left, Backspace, Char('x'), Delete], &[]);
        assert_eq!((line.text(), line.before_cursor()), ("りx", "りx"));
    }

    #[test]
    fn what_looks_like_one_character_is_one_step() {
        // An e with a combining accent, and an emoji of three code points.
        let mut line = Line::new("e\u{301}👩\u{200d}🎨");
        press(&mut line, &[Left, Backspace], &[]);
        assert_eq!((line.text(), line.before_cursor()), ("👩\u{200d}🎨", ""));
        press(&mut line, &[Delete], &[]);
        assert_eq!(line.text(), "");
    }

    #[test]
    fn a_word_is_replaced_before_the_cursor_only() {
        let mut line = Line::new("赤 lat.std");
        press(&mut line, &[Left; 4], &[]);
        line.replace_word("赤 ".len(), "latents");
        assert_eq!((line.text(), line.before_cursor()), ("赤 latents.std", "赤 latents"));
    }

    #[test]
    fn ctrl_u_cuts_to_the_start_and_long_texts_are_refused() {
        let mut line = Line::new("next 5");
        press(&mut line, &[Left], &[]);
        line.key(KeyEvent::new(Char('u'), KeyModifiers::CONTROL), &[]);
        assert_eq!(line.text(), "5");
        line.insert(&"x".repeat(LONGEST));
        assert_eq!(line.text(), "5");
        line.insert("a\x1bb\n");
        assert!(!line.text().contains('\x1b') && line.before_cursor().ends_with('b'));
    }

    #[test]
    fn earlier_lines_come_back_and_the_draft_is_kept() {
        let history = ["next".to_string(), "back".to_string()];
        let mut line = Line::new("pri");
        press(&mut line, &[Up, Up, Up], &history);
        assert_eq!(line.text(), "next");
        press(&mut line, &[Down], &history);
        assert_eq!(line.text(), "back");
        press(&mut line, &[Down, Down], &history);
        assert_eq!(line.text(), "pri");
    }

    #[test]
    fn ctrl_w_takes_a_word() {
        let mut line = Line::new("print latents.std ");
        line.key(KeyEvent::new(Char('w'), KeyModifiers::CONTROL), &[]);
        assert_eq!(line.text(), "print ");
    }

    #[test]
    fn an_emptied_line_is_left() {
        assert_eq!(Line::new("").key(Backspace.into(), &[]), Typed::Left);
    }
}
