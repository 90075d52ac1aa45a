//! What keys do, in one list. Most are a line of the command language: a key does what the typed line does.

use super::view::Tab;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Gives a line of the command language.
    Run(&'static str),
    /// Opens the command line with the beginning of a line on it.
    Type(&'static str),
    /// Shows a view.
    Show(Tab),
    /// Gives keys to the next pane of the view.
    FocusNext,
    /// Gives keys to the pane before.
    FocusPrevious,
    /// Shows the pane that keys go to alone, or all again.
    Zoom,
    /// Looks at the recorded stage before.
    LookBack,
    /// Looks at the next recorded stage.
    LookOn,
    /// Looks at the start.
    LookFirst,
    /// Looks at the newest stage.
    LookLast,
    /// Plays what is recorded, or stops.
    Play,
    /// Types what the pane shall be filtered by.
    Filter,
    /// Copies what is selected.
    CopySelected,
    /// Leaves the mouse to the terminal, or takes it again.
    Mouse,
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

use Action::{
    CopySelected, Filter, FocusNext, FocusPrevious, Help, LastOutput, LookBack, LookFirst, LookLast, LookOn,
    Mouse, Play, Quit, Run, Show, Type, Zoom,
};
use KeyCode::{BackTab, Char, End, F, Home, Left, Right, Tab as TabKey};

/// Every key, in the order in which the help lists them.
pub const BINDINGS: &[Binding] = &[
    key(&[Char('n')], Run("next"), "next", "run the next stage, or pass a recorded one"),
    key(&[Char('b')], Run("back"), "back", "go back over a stage; nothing is computed"),
    key(&[Char('c')], Run("continue"), "continue", "go on until a breakpoint or the end"),
    key(&[Char('r')], Run("reverse-continue"), "", "go back until a breakpoint or the start"),
    key(&[Char('R')], Run("restart"), "", "go to the start and drop what is recorded"),
    key(&[Left], LookBack, "", "look at the recorded stage before, also while something runs"),
    key(&[Right], LookOn, "", "look at the next recorded stage"),
    key(&[Home], LookFirst, "", "look at the start"),
    key(&[End], LookLast, "", "look at the newest stage"),
    key(&[Char(' ')], Play, "play", "play what is recorded, or stop"),
    key(&[Char('1')], Show(Tab::Overview), "", "overview: the stage at a glance"),
    key(&[Char('2')], Show(Tab::Tensors), "", "tensors: every one, and one opened"),
    key(&[Char('3')], Show(Tab::Residuals), "", "residuals: what guidance made of them"),
    key(&[Char('4')], Show(Tab::Scheduler), "", "scheduler: the step in formulas"),
    key(&[Char('5')], Show(Tab::Prompt), "", "prompt: tokens and embeddings"),
    key(&[Char('6')], Show(Tab::Charts), "", "charts: numbers over the steps"),
    key(&[Char('7')], Show(Tab::Source), "", "source: the code of the stage"),
    key(&[TabKey], FocusNext, "pane", "give keys to the next pane"),
    key(&[BackTab], FocusPrevious, "", "give keys to the pane before"),
    key(&[Char('z')], Zoom, "zoom", "show one pane alone, or all again"),
    key(&[Char('/')], Filter, "", "show only what a text occurs in"),
    key(&[Char('y')], CopySelected, "", "copy what is selected"),
    key(
        &[Char('m')],
        Mouse,
        "",
        "leave the mouse to the terminal, so that it selects text; or take it again",
    ),
    key(&[Char('B')], Type("break "), "", "set a breakpoint: opens the console"),
    key(&[Char('g')], Type("goto "), "", "go to a stage: opens the console"),
    key(&[Char('p')], Type("print "), "", "show a tensor or expression: opens the console"),
    key(&[Char('e')], Type("set "), "", "change a setting: opens the console"),
    key(&[Char('o')], LastOutput, "", "show the last output once more"),
    key(&[Char(':')], Type(""), "console", "type a command"),
    key(&[Char('?'), F(1)], Help, "help", "this page"),
    key(&[Char('q')], Quit, "quit", "leave"),
];

/// Keys that mean the same wherever they are pressed, for the help.
pub const EVERYWHERE: &[(&str, &str)] = &[
    ("Ctrl-C", "interrupt the command that runs; when none runs, twice leaves"),
    ("Esc", "close what is open: the console, a page, a zoomed pane"),
    ("Ctrl-L", "draw the screen anew"),
    ("Ctrl-Z", "stop and give the shell its screen; the shell's `fg` goes on"),
    ("↑ ↓ PgUp PgDn", "scroll or select in the pane that keys go to; in the console, earlier lines"),
    ("mouse", "select, scroll, go to a stage; beside a stage, set a breakpoint; twice on a pane, zoom it"),
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
        KeyCode::PageUp => "PgUp".into(),
        KeyCode::PageDown => "PgDn".into(),
        BackTab => "Shift-Tab".into(),
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
