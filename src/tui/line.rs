//! The input line on which a command is typed.

use super::text;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// An input line.
#[derive(Debug, Clone, Default)]
pub struct Line {
    text: String,
    /// The cursor in bytes, always between two characters.
    cursor: usize,
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
        Self { text: text.into(), cursor: text.len(), recalled: None }
    }

    /// The text typed so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text before the cursor.
    pub fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Replaces the text from byte `from` to the cursor with `word`.
    pub fn replace_word(&mut self, from: usize, word: &str) {
        if self.text.is_char_boundary(from) && from <= self.cursor {
            self.text.replace_range(from..self.cursor, word);
            self.cursor = from + word.len();
        }
    }

    /// Inserts text at the cursor, without control characters.
    pub fn insert(&mut self, text: &str) {
        let text = text::clean(text.trim_end_matches(['\r', '\n']));
        if self.text.len() + text.len() <= LONGEST {
            self.text.insert_str(self.cursor, &text);
            self.cursor += text.len();
        }
    }

    /// Handles a key; `history` has the lines that were entered earlier, the newest last.
    pub fn key(&mut self, key: KeyEvent, history: &[String]) -> Typed {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Typed::Entered(std::mem::take(&mut self.text)),
            KeyCode::Esc => return Typed::Left,
            KeyCode::Backspace if self.text.is_empty() => return Typed::Left,
            KeyCode::Backspace => self.cut(self.previous(), self.cursor),
            KeyCode::Delete => self.cut(self.cursor, self.following()),
            KeyCode::Left => self.cursor = self.previous(),
            KeyCode::Right => self.cursor = self.following(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Up => self.recall(self.recalled.as_ref().map_or(0, |(at, _)| at + 1), history),
            KeyCode::Down => match self.recalled.take() {
                Some((0, draft)) => *self = Self::new(&draft),
                Some((at, draft)) => {
                    self.recalled = Some((at, draft));
                    self.recall(at - 1, history);
                }
                None => {}
            },
            KeyCode::Char('a') if control => self.cursor = 0,
            KeyCode::Char('e') if control => self.cursor = self.text.len(),
            KeyCode::Char('u') if control => self.cut(0, self.cursor),
            KeyCode::Char('k') if control => self.cut(self.cursor, self.text.len()),
            KeyCode::Char('w') if control => {
                let word = self.before_cursor().trim_end().rfind(' ').map_or(0, |space| space + 1);
                self.cut(word, self.cursor);
            }
            KeyCode::Char(c) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
                self.insert(c.encode_utf8(&mut [0; 4]));
            }
            _ => {}
        }
        Typed::On
    }

    fn recall(&mut self, at: usize, history: &[String]) {
        let Some(line) = history.iter().rev().nth(at) else { return };
        let draft = self.recalled.take().map_or_else(|| std::mem::take(&mut self.text), |(_, draft)| draft);
        *self = Self { recalled: Some((at, draft)), ..Self::new(line) };
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
    }

    /// The position one character before the cursor.
    fn previous(&self) -> usize {
        self.before_cursor().char_indices().next_back().map_or(0, |(at, _)| at)
    }

    /// The position one character after the cursor.
    fn following(&self) -> usize {
        self.text[self.cursor..].chars().next().map_or(self.cursor, |c| self.cursor + c.len_utf8())
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
