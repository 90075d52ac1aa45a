//! Completion candidates of the line being typed, and the selected one.

use super::line::Line;
use super::state::State;
use crate::debugger::language::complete;
use crate::debugger::language::complete::{Candidate, Names};

/// The candidates for the word before the cursor.
#[derive(Debug, Default)]
pub struct Completion {
    /// All candidates.
    pub candidates: Vec<Candidate>,
    /// The selected candidate; none while the word is being typed.
    pub chosen: Option<usize>,
    /// Where the word begins, and what was typed of it.
    from: usize,
    typed: String,
}

impl Completion {
    /// The completions of `line`.
    pub fn of(line: &Line, state: &State) -> Self {
        let mut names = state.view.as_deref().map_or_else(Names::default, Names::from);
        if let Some(model) = &state.model {
            names.modules = model.anatomy.iter().map(|module| module.path.clone()).collect();
        }
        let before = line.before_cursor();
        let found = complete::complete(line.text(), before.len(), &names);
        let typed = before.get(found.from..).unwrap_or_default().to_string();
        Self { candidates: found.candidates, chosen: None, from: found.from, typed }
    }

    /// Whether the only candidate is on the line: there is nothing else to choose.
    pub fn is_settled(&self) -> bool {
        self.candidates.len() == 1 && self.chosen == Some(0)
    }

    /// Puts the next or the previous candidate on the line. After the last candidate comes the text that was typed.
    pub fn choose(&mut self, line: &mut Line, by: isize) {
        // One more entry: the text that was typed.
        let places = self.candidates.len() + 1;
        let now = self.chosen.unwrap_or(self.candidates.len());
        let next = (now + places).saturating_add_signed(by) % places;
        self.chosen = Some(next).filter(|next| *next < self.candidates.len());
        let word = self.chosen.map_or(&self.typed, |chosen| &self.candidates[chosen].text);
        line.replace_word(self.from, word);
    }
}
