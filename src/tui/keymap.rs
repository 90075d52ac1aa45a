//! What keys do, in one list. Most are a line of the command language: a key does what the typed line does.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Gives a line of the command language.
    Run(&'static str),
    /// Opens the command line with the beginning of a line on it.
    Type(&'static str),
    /// Shows one picture as large as there is room; then the next; then all.
    Enlarge,
    /// Shows what the last command had to say once more.
    LastOutput,
    /// Shows every key and every command.
    Help,
    /// Leaves.
    Quit,
}

/// Keys with what they do.
#[derive(Debug)]
pub struct Binding {
    /// The keys.
    pub keys: &'static [KeyCode],
    /// What they do.
    pub action: Action,
    /// Two or three words for the line of hints; empty for keys that only the help lists.
    pub hint: &'static str,
    /// What they do, in a line.
    pub summary: &'static str,
}

use Action::{Enlarge, Help, LastOutput, Quit, Run, Type};
use KeyCode::{Char, End, F, Home, Left, PageDown, PageUp, Right, Tab};

/// Every key, in the order in which the help lists them.
pub const BINDINGS: &[Binding] = &[
    key(&[Char('n'), Char(' '), Right], Run("next"), "next", "run the next stage, or pass a recorded one"),
    key(&[Char('b'), Left], Run("back"), "back", "go back over a stage; nothing is computed"),
    key(&[Char('c')], Run("continue"), "continue", "go on until a breakpoint or the end"),
    key(&[Char('r')], Run("reverse-continue"), "reverse", "go back until a breakpoint or the start"),
    key(&[PageDown], Run("next 10"), "", "ten stages on"),
    key(&[PageUp], Run("back 10"), "", "ten stages back"),
    key(&[Home], Run("goto encode_prompt"), "", "go to the start; what is recorded stays"),
    key(&[End], Run("goto vae_decode"), "", "go to before vae_decode, running on the way"),
    key(&[Char('R')], Run("restart"), "", "go to the start and drop what is recorded"),
    key(&[Char('i')], Run("info tensors"), "", "list every tensor so far"),
    key(&[Char('I')], Run("info request"), "", "list the settings"),
    key(&[Char('B')], Type("break "), "", "set a breakpoint: opens the command line"),
    key(&[Char('g')], Type("goto "), "", "go to a stage: opens the command line"),
    key(&[Char('p')], Type("print "), "", "show a tensor or expression: opens the command line"),
    key(&[Char('s')], Type("set "), "", "change a setting: opens the command line"),
    key(&[Char('o')], LastOutput, "", "show the last output once more"),
    key(&[Tab], Enlarge, "picture", "enlarge one picture, then the next, then show all"),
    key(&[Char(':')], Type(""), "command", "type a command"),
    key(&[Char('?'), F(1)], Help, "help", "this page"),
    key(&[Char('q')], Quit, "quit", "leave"),
];

/// Keys that mean the same wherever they are pressed, for the help.
pub const EVERYWHERE: &[(&str, &str)] = &[
    ("Esc", "interrupt the command that runs; leave the command line or a page"),
    ("Ctrl-C", "interrupt the command that runs; when none runs, twice leaves"),
    ("Ctrl-L", "draw the screen anew"),
    ("↑ ↓", "on the command line: earlier lines; on a page: scroll"),
];

const fn key(keys: &'static [KeyCode], action: Action, hint: &'static str, summary: &'static str) -> Binding {
    Binding { keys, action, hint, summary }
}

/// What a key does where no line is being typed and no page is open.
pub fn action(key: KeyEvent) -> Option<Action> {
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return None;
    }
    BINDINGS.iter().find(|binding| binding.keys.contains(&key.code)).map(|binding| binding.action)
}

/// A key's name on the screen.
pub fn name(key: KeyCode) -> String {
    match key {
        Char(' ') => "Space".into(),
        Char(c) => c.into(),
        Left => "←".into(),
        Right => "→".into(),
        PageUp => "PgUp".into(),
        PageDown => "PgDn".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debugger::Command;

    #[test]
    fn every_key_runs_a_command_that_exists() {
        for binding in BINDINGS {
            if let Run(line) = binding.action {
                assert!(Command::parse(line).unwrap().is_some(), "{line}");
            }
        }
    }

    #[test]
    fn no_key_means_two_things() {
        let mut seen = vec![];
        for key in BINDINGS.iter().flat_map(|binding| binding.keys) {
            assert!(!seen.contains(key), "{key:?}");
            seen.push(*key);
        }
    }
}
