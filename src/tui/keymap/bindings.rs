//! Keys and their actions, in one list, with the views' keys from [`VIEWS`] and the keys that a view handles itself.

use super::Action::{
    self, ComeBack, CopySelected, Filter, FocusNext, FocusPrevious, Help, LastOutput, Lesson, LookBack,
    LookFirst, LookLast, LookOn, Mouse, Play, Quit, Show, Type, Zoom,
};
use crate::phrase::{Phrase, phrase};
use crate::tui::view::VIEWS;
use KeyCode::{BackTab, Char, End, F, Home, Left, Right, Tab as TabKey};
use crossterm::event::KeyCode;
use std::borrow::Cow;

/// Keys and their action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The keys.
    pub keys: &'static [KeyCode],
    /// Their action.
    pub action: Action,
    /// Two or three words for the line of hints; empty for keys that only the help lists.
    pub hint: Phrase,
    /// A one-line description.
    pub summary: Phrase,
}

impl Binding {
    /// Whether they run a line of the command language.
    pub fn moves(&self) -> bool {
        matches!(self.action, Action::Run(_))
    }
}

/// Keys that a view handles itself. They take precedence over [`bindings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewKeys {
    /// The keys.
    pub keys: &'static [KeyCode],
    /// The panes that handle them; empty for every pane of the view.
    pub panes: &'static [&'static str],
    /// A word or two for the line of hints; empty for keys that only the help lists.
    pub hint: Phrase,
    /// A one-line description.
    pub summary: Phrase,
}

impl ViewKeys {
    /// Keys of every pane.
    pub const fn new(keys: &'static [KeyCode], hint: Phrase, summary: Phrase) -> Self {
        Self { keys, panes: &[], hint, summary }
    }

    /// The same keys of these panes only.
    pub const fn within(self, panes: &'static [&'static str]) -> Self {
        Self { panes, ..self }
    }

    /// Whether a pane handles a key.
    pub fn take(&self, pane: &str, key: KeyCode) -> bool {
        self.keys.contains(&key) && self.belong_to(pane)
    }

    /// Whether a pane has these keys.
    pub fn belong_to(&self, pane: &str) -> bool {
        self.panes.is_empty() || self.panes.contains(&pane)
    }
}

/// Every key of the interface, in the order in which the help lists them.
pub fn bindings() -> impl Iterator<Item = Binding> {
    let shows = VIEWS.iter().map(|view| key(view.keys, Show(view.id), Phrase::NONE, view.summary));
    RUNNING.iter().cloned().chain(shows).chain(SCREEN.iter().cloned())
}

/// Keys that run stages, or choose the shown stage.
const RUNNING: &[Binding] = &[
    run(
        &[Char('n')],
        "next",
        phrase("next"),
        phrase("run the next stage, or pass a recorded one; inside a stage, the module"),
    ),
    run(
        &[Char('s')],
        "step",
        phrase("step"),
        phrase("step into the stage, its lines and modules: 7 shows the source"),
    ),
    run(&[Char('f')], "finish", Phrase::NONE, phrase("run out of the current module, or of the stage")),
    run(&[Char('b')], "back", phrase("back"), phrase("go back one stage; nothing is computed")),
    run(&[Char('c')], "continue", phrase("continue"), phrase("run until a breakpoint or the end")),
    run(&[Char('r')], "reverse-continue", Phrase::NONE, phrase("go back until a breakpoint or the start")),
    run(&[Char('R')], "restart", Phrase::NONE, phrase("go to the start and drop what is recorded")),
    run(
        &[Char('U')],
        "undo",
        Phrase::NONE,
        phrase("undo the last change, or a restart; `:redo` does it again"),
    ),
    key(
        &[Left],
        LookBack,
        Phrase::NONE,
        phrase("show the previous recorded stage, also while something runs"),
    ),
    key(&[Right], LookOn, Phrase::NONE, phrase("show the next recorded stage")),
    key(&[Home], LookFirst, Phrase::NONE, phrase("show the start")),
    key(&[End], LookLast, Phrase::NONE, phrase("show the newest stage")),
    key(&[Char(' ')], Play, phrase("play"), phrase("play the recorded stages, or stop")),
];

/// Keys of the screen and of the console.
const SCREEN: &[Binding] = &[
    key(&[TabKey], FocusNext, phrase("pane"), phrase("give keys to the next pane")),
    key(&[BackTab], FocusPrevious, Phrase::NONE, phrase("give keys to the previous pane")),
    key(&[Char('z')], Zoom, phrase("zoom"), phrase("show one pane alone, or all again")),
    key(
        &[Char('L')],
        Lesson,
        Phrase::NONE,
        phrase("in a lesson: give keys to the lesson or to the view; on a narrow screen it covers the view"),
    ),
    key(
        &[Char('w')],
        ComeBack,
        Phrase::NONE,
        phrase("in a lesson: return to its place; your changes are kept"),
    ),
    key(&[Char('/')], Filter, Phrase::NONE, phrase("show only rows that contain a text")),
    key(&[Char('y')], CopySelected, Phrase::NONE, phrase("copy the selection")),
    key(&[Char('m')], Mouse, Phrase::NONE, phrase("release the mouse, to select text; or capture it again")),
    key(&[Char('B')], Type("break "), Phrase::NONE, phrase("set a breakpoint: opens the console")),
    key(&[Char('g')], Type("goto "), Phrase::NONE, phrase("go to a stage: opens the console")),
    key(&[Char('p')], Type("print "), Phrase::NONE, phrase("show a tensor or expression: opens the console")),
    key(&[Char('e')], Type("set "), Phrase::NONE, phrase("change a setting: opens the console")),
    key(&[Char('C')], Type("compare "), Phrase::NONE, phrase("compare variants: opens the console")),
    key(&[Char('o')], LastOutput, Phrase::NONE, phrase("show the last output again")),
    key(&[Char(':')], Type(""), phrase("console"), phrase("type a command")),
    key(&[Char('?'), F(1)], Help, phrase("help"), phrase("this page")),
    key(&[Char('q')], Quit, phrase("quit"), phrase("quit")),
];

/// Keys with the same meaning everywhere, for the help.
pub const EVERYWHERE: &[(&str, Phrase)] = &[
    ("Ctrl-C", phrase("interrupt the running command; when none runs, twice quits")),
    ("Esc", phrase("close the console, a page or a zoomed pane")),
    ("Ctrl-L", phrase("redraw the screen")),
    ("Ctrl-Z", phrase("suspend the program; `fg` in the shell resumes it")),
    ("↑ ↓ k j PgUp PgDn", phrase("scroll or select in the focused pane; in the console, earlier lines")),
    (
        "mouse",
        phrase("select, scroll, go to a stage; left of a stage, set a breakpoint; twice on a pane, zoom it"),
    ),
];

const fn key(keys: &'static [KeyCode], action: Action, hint: Phrase, summary: Phrase) -> Binding {
    Binding { keys, action, hint, summary }
}

/// A key that runs a line of the command language.
const fn run(keys: &'static [KeyCode], line: &'static str, hint: Phrase, summary: Phrase) -> Binding {
    key(keys, Action::Run(Cow::Borrowed(line)), hint, summary)
}
