//! What keys do, in one list. Most are a line of the command language: a key does what the typed line does.

use super::view::Tab;
use crate::debugger::Command;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a key does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Gives a line of the command language.
    Run(Cow<'static, str>),
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
    /// Gives keys to the lesson, or to the view.
    Lesson,
    /// Comes back to where the lesson was.
    ComeBack,
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
    /// Does nothing: a key that a reader took away.
    Nothing,
}

impl Action {
    /// The actions that a reader's own keys can be given by name, beside lines of the command language.
    const NAMED: [(&'static str, Self); 29] = [
        ("overview", Self::Show(Tab::Overview)),
        ("tensors", Self::Show(Tab::Tensors)),
        ("residuals", Self::Show(Tab::Residuals)),
        ("scheduler", Self::Show(Tab::Scheduler)),
        ("prompt", Self::Show(Tab::Prompt)),
        ("charts", Self::Show(Tab::Charts)),
        ("source", Self::Show(Tab::Source)),
        ("timelines", Self::Show(Tab::Timelines)),
        ("compare", Self::Show(Tab::Compare)),
        ("model", Self::Show(Tab::Model)),
        ("attention", Self::Show(Tab::Attention)),
        ("focus-next", Self::FocusNext),
        ("focus-previous", Self::FocusPrevious),
        ("zoom", Self::Zoom),
        ("look-back", Self::LookBack),
        ("look-on", Self::LookOn),
        ("look-first", Self::LookFirst),
        ("look-last", Self::LookLast),
        ("play", Self::Play),
        ("lesson", Self::Lesson),
        ("come-back", Self::ComeBack),
        ("filter", Self::Filter),
        ("copy", Self::CopySelected),
        ("mouse", Self::Mouse),
        ("console", Self::Type("")),
        ("last-output", Self::LastOutput),
        ("help", Self::Help),
        ("quit", Self::Quit),
        ("none", Self::Nothing),
    ];

    /// The action of that name, or the line of the command language.
    fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, action)) = Self::NAMED.into_iter().find(|(name, _)| *name == text) {
            return Ok(action);
        }
        match Command::parse(text) {
            Ok(Some(_)) => Ok(Self::Run(text.to_string().into())),
            Ok(None) => Err("nothing; expected a command or an action, or `none`".into()),
            Err(e) => {
                let names = Self::NAMED.map(|(name, _)| name).join(", ");
                Err(format!("{e}; or one of the interface's actions: {names}"))
            }
        }
    }
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
    ComeBack, CopySelected, Filter, FocusNext, FocusPrevious, Help, LastOutput, Lesson, LookBack, LookFirst,
    LookLast, LookOn, Mouse, Play, Quit, Show, Type, Zoom,
};
use KeyCode::{BackTab, Char, End, F, Home, Left, Right, Tab as TabKey};

/// Every key, in the order in which the help lists them.
pub const BINDINGS: &[Binding] = &[
    run(&[Char('n')], "next", "next", "run the next stage, or pass a recorded one; inside, the module"),
    run(&[Char('s')], "step", "step", "go into the stage, its lines, their modules: 7 shows the source"),
    run(&[Char('f')], "finish", "", "run on out of the module at hand, or of the stage"),
    run(&[Char('b')], "back", "back", "go back over a stage; nothing is computed"),
    run(&[Char('c')], "continue", "continue", "go on until a breakpoint or the end"),
    run(&[Char('r')], "reverse-continue", "", "go back until a breakpoint or the start"),
    run(&[Char('R')], "restart", "", "go to the start and drop what is recorded"),
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
    key(&[Char('8')], Show(Tab::Timelines), "", "timelines: where each branched off"),
    key(&[Char('9')], Show(Tab::Compare), "", "compare: variants side by side"),
    key(&[Char('0')], Show(Tab::Model), "", "model: every module from inside, and what it makes"),
    key(&[Char('a')], Show(Tab::Attention), "", "attention: what looks at each word, and what the word does"),
    key(&[TabKey], FocusNext, "pane", "give keys to the next pane"),
    key(&[BackTab], FocusPrevious, "", "give keys to the pane before"),
    key(&[Char('z')], Zoom, "zoom", "show one pane alone, or all again"),
    key(
        &[Char('L')],
        Lesson,
        "",
        "in a lesson: give keys to it, or to the view; on a narrow screen it covers that",
    ),
    key(&[Char('w')], ComeBack, "", "in a lesson: come back to where it was; what you did is kept"),
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
    key(&[Char('C')], Type("compare "), "", "compare variants: opens the console"),
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
    (
        "v Enter",
        "in the overview: latents decoded by the VAE, as the linear estimate, as channels; a picture alone",
    ),
    ("Enter < > .", "in the tensors: open one, sort by the column before or behind, turn the order"),
    ("h l [ ]", "where numbers are of one element: another one; in the code, sideways"),
    ("Enter", "in the source: into the function that the line calls; in the timelines: go to the one chosen"),
    (
        "h l Enter =",
        "in the comparison: choose a variant, open it, tell the others from it; v what is charted",
    ),
    (
        "h l v d u B",
        "in the model: close and open a module; what is told as heat; how its channels are drawn, of which row; a breakpoint \
         at it",
    ),
    (
        "h l v x",
        "in attention: choose a small map; steps, layers or heads; what a point looks at, which arrows and the mouse move",
    ),
    ("Enter x h", "in the lesson: run the next line; all of them, or a task's solution; one more hint"),
    ("a b c …", "in the lesson: answer a question; nothing runs before"),
    ("mouse", "select, scroll, go to a stage; beside a stage, set a breakpoint; twice on a pane, zoom it"),
];

const fn key(keys: &'static [KeyCode], action: Action, hint: &'static str, summary: &'static str) -> Binding {
    Binding { keys, action, hint, summary }
}

/// A key that gives a line of the command language.
const fn run(
    keys: &'static [KeyCode],
    line: &'static str,
    hint: &'static str,
    summary: &'static str,
) -> Binding {
    key(keys, Action::Run(Cow::Borrowed(line)), hint, summary)
}

/// What keys do: [`BINDINGS`], and before them the reader's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keymap {
    own: Vec<(Key, Action)>,
}

/// A key with its modifiers; a capital letter needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    code: KeyCode,
    modifiers: KeyModifiers,
}

/// Why a reader's own keys are none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeymapError {
    /// There is no such key.
    #[error("`{0}` is no key; expected a character or one of {names}, such as `x`, `f5`, `ctrl-n`, `alt-enter`", names = NAMES.map(|(name, _)| name).join(", "))]
    Key(String),
    /// The key does something of its own on every screen.
    #[error(
        "`{0}` cannot be given: esc closes what is open, ctrl-c stops, ctrl-l draws anew, ctrl-z suspends, on every screen; \
         expected another key"
    )]
    Reserved(String),
    /// Nothing does that.
    #[error("{key} = \"{action}\": {why}")]
    Action {
        /// The key.
        key: String,
        /// What it should do.
        action: String,
        /// Why it cannot.
        why: String,
    },
}

/// Keys that have a name.
const NAMES: [(&str, KeyCode); 15] = [
    ("space", Char(' ')),
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", TabKey),
    ("shift-tab", BackTab),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("left", Left),
    ("right", Right),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("home", Home),
    ("end", End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
];

impl Keymap {
    /// The keys with the reader's own, each with what it does.
    ///
    /// # Errors
    /// [`KeymapError`] names the key and what would be right.
    pub fn with(own: &BTreeMap<String, String>) -> Result<Self, KeymapError> {
        let binding = |(name, action): (&String, &String)| {
            let key = Key::parse(name).ok_or_else(|| KeymapError::Key(name.clone()))?;
            if key.is_reserved() {
                return Err(KeymapError::Reserved(name.clone()));
            }
            let action = Action::parse(action.trim()).map_err(|why| KeymapError::Action {
                key: name.clone(),
                action: action.clone(),
                why,
            })?;
            Ok((key, action))
        };
        Ok(Self { own: own.iter().map(binding).collect::<Result<_, _>>()? })
    }

    /// What a key does where no line is being typed and no page is open.
    pub fn action(&self, key: KeyEvent) -> Option<Action> {
        let modifiers = key.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
        let pressed = Key { code: key.code, modifiers };
        if let Some((_, action)) = self.own.iter().find(|(own, _)| *own == pressed) {
            return Some(action.clone());
        }
        let plain = modifiers.is_empty();
        let binding = BINDINGS.iter().find(|binding| plain && binding.keys.contains(&key.code));
        binding.map(|binding| binding.action.clone())
    }

    /// The reader's own keys, with what they do, for the help.
    pub fn own(&self) -> impl Iterator<Item = (String, String)> {
        let named = |action: &Action| match action {
            Action::Run(line) => format!("`{line}`"),
            other => Action::NAMED
                .into_iter()
                .find(|(_, known)| known == other)
                .map_or(String::new(), |(name, _)| name.into()),
        };
        self.own.iter().map(move |(key, action)| (key.name(), named(action)))
    }
}

impl Key {
    /// `x`, `X`, `f5`, `ctrl-n`, `alt-enter`.
    fn parse(text: &str) -> Option<Self> {
        let (mut rest, mut modifiers) = (text, KeyModifiers::NONE);
        loop {
            (rest, modifiers) = match (rest.strip_prefix("ctrl-"), rest.strip_prefix("alt-")) {
                (Some(rest), _) => (rest, modifiers | KeyModifiers::CONTROL),
                (_, Some(rest)) => (rest, modifiers | KeyModifiers::ALT),
                _ => break,
            };
        }
        let named = NAMES.into_iter().find(|(name, _)| *name == rest).map(|(_, code)| code);
        let function =
            rest.strip_prefix('f').and_then(|n| n.parse().ok()).filter(|n| (1..=12).contains(n)).map(F);
        let mut characters = rest.chars();
        let character =
            characters.next().filter(|c| characters.next().is_none() && !c.is_control()).map(Char);
        Some(Self { code: named.or(function).or(character)?, modifiers })
    }

    /// Whether it never comes to the keymap.
    fn is_reserved(self) -> bool {
        let control = self.modifiers.contains(KeyModifiers::CONTROL);
        self.code == KeyCode::Esc || control && matches!(self.code, Char('c' | 'l' | 'z'))
    }

    fn name(self) -> String {
        let control = if self.modifiers.contains(KeyModifiers::CONTROL) { "Ctrl-" } else { "" };
        let alt = if self.modifiers.contains(KeyModifiers::ALT) { "Alt-" } else { "" };
        format!("{control}{alt}{}", name(self.code))
    }
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

    #[test]
    fn every_key_runs_a_command_that_exists() {
        for binding in BINDINGS {
            if let Action::Run(line) = &binding.action {
                assert!(Command::parse(line).unwrap().is_some(), "{line}");
            }
        }
    }

    #[test]
    fn a_reader_s_own_keys_come_first() {
        let own = [("ctrl-n", "next 5"), ("x", "zoom"), ("c", "none"), ("alt-f5", "continue")];
        let own = own.map(|(key, action)| (key.to_string(), action.to_string())).into();
        let keymap = Keymap::with(&own).unwrap();
        let action = |code, modifiers| keymap.action(KeyEvent::new(code, modifiers));
        let run = |line: &'static str| Some(Action::Run(line.into()));
        assert_eq!(action(Char('n'), KeyModifiers::CONTROL), run("next 5"));
        assert_eq!(action(Char('n'), KeyModifiers::NONE), run("next"));
        assert_eq!(action(Char('x'), KeyModifiers::NONE), Some(Zoom));
        assert_eq!(action(Char('c'), KeyModifiers::NONE), Some(Action::Nothing));
        assert_eq!(action(F(5), KeyModifiers::ALT), run("continue"));
        assert_eq!(action(F(5), KeyModifiers::NONE), None);
        assert!(keymap.own().any(|own| own == ("Ctrl-n".into(), "`next 5`".into())));
    }

    #[test]
    fn keys_that_would_never_come_are_refused() {
        let with = |key: &str| Keymap::with(&[(key.to_string(), "next".to_string())].into());
        for key in ["ctrl-c", "ctrl-l", "ctrl-z", "ctrl-alt-c", "esc", "alt-esc"] {
            assert_eq!(with(key), Err(KeymapError::Reserved(key.into())));
        }
        for key in ["alt-c", "c", "l", "ctrl-n"] {
            assert!(with(key).is_ok(), "{key}");
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
