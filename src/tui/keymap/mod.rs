//! Keys and their actions. Most actions are a line of the command language, with the same effect as typing it.
//!
//! - [`mod@bindings`]: every key. `key`: keys and their names. [`Held`]: keys that are held down.
//! - [`Keymap`]: the bindings, and before them the user's own.

pub mod bindings;
mod held;
mod key;

pub use bindings::{Binding, EVERYWHERE, ViewKeys, bindings};
pub use held::Held;
pub use key::{first_named, name, names};

use super::view::{VIEWS, ViewId};
use crate::debugger::Command;
use crossterm::event::{KeyEvent, KeyModifiers};
use key::{Key, NAMES};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tr::tr;

/// The action of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Runs a line of the command language.
    Run(Cow<'static, str>),
    /// Opens the console with the beginning of a line.
    Type(&'static str),
    /// Shows a view.
    Show(ViewId),
    /// Gives keys to the next pane of the view.
    FocusNext,
    /// Gives keys to the previous pane.
    FocusPrevious,
    /// Shows the focused pane alone, or all again.
    Zoom,
    /// Shows the previous recorded stage.
    LookBack,
    /// Shows the next recorded stage.
    LookOn,
    /// Shows the start.
    LookFirst,
    /// Shows the newest stage.
    LookLast,
    /// Plays the recorded stages, or stops.
    Play,
    /// Focuses the lesson, or the view.
    Lesson,
    /// Returns to where the lesson was.
    ComeBack,
    /// Opens the line that filters the pane.
    Filter,
    /// Copies the selection.
    CopySelected,
    /// Releases the mouse to the terminal, or captures it again.
    Mouse,
    /// Shows the last output again.
    LastOutput,
    /// Shows every key and every command.
    Help,
    /// Quits.
    Quit,
    /// Does nothing: a key that the user unbound.
    Nothing,
}

impl Action {
    /// The actions that have a name in `config.toml`, except for showing a view, which has the view's name.
    const NAMED: [(&'static str, Self); 18] = [
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

    /// Every action with a name.
    fn named() -> impl Iterator<Item = (&'static str, Self)> {
        VIEWS.iter().map(|view| (view.name, Self::Show(view.id))).chain(Self::NAMED)
    }

    /// The action of that name, or the line of the command language.
    fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, action)) = Self::named().find(|(name, _)| *name == text) {
            return Ok(action);
        }
        match Command::parse(text) {
            Ok(Some(_)) => Ok(Self::Run(text.to_string().into())),
            Ok(None) => Err(tr!("empty; expected a command or an action, or `none`")),
            Err(e) => {
                let names: Vec<&str> = Self::named().map(|(name, _)| name).collect();
                let names = names.join(", ");
                Err(tr!("{e}; or one of the interface's actions: {names}", e, names))
            }
        }
    }
}

/// Keys and their actions: [`bindings()`], and before them the user's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keymap {
    own: Vec<(Key, Action)>,
}

/// An error in the user's own keys.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeymapError {
    /// The key does not exist.
    #[error("{}", tr!(
        "`{0}` is not a key; expected a character or one of {names}, such as `x`, `f5`, `ctrl-n`, `alt-enter`",
        .0, names = NAMES.map(|(name, _)| name).join(", ")
    ))]
    Key(String),
    /// The key has a fixed meaning on every screen.
    #[error(
        "{}", tr!(
            "`{0}` cannot be bound: esc closes what is open, ctrl-c stops, ctrl-l redraws, ctrl-z suspends, on every screen; \
         expected another key",
            .0
        ))]
    Reserved(String),
    /// The action does not exist.
    #[error("{key} = \"{action}\": {why}")]
    Action {
        /// The key.
        key: String,
        /// The action as written.
        action: String,
        /// The reason.
        why: String,
    },
}

impl Keymap {
    /// The bindings with the user's own before them.
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

    /// The action of a key while no line is being typed and no page is open.
    pub fn action(&self, key: KeyEvent) -> Option<Action> {
        let modifiers = key.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
        let pressed = Key { code: key.code, modifiers };
        if let Some((_, action)) = self.own.iter().find(|(own, _)| *own == pressed) {
            return Some(action.clone());
        }
        let plain = modifiers.is_empty();
        let binding = bindings().find(|binding| plain && binding.keys.contains(&key.code));
        binding.map(|binding| binding.action)
    }

    /// The user's own keys and their actions, for the help.
    pub fn own(&self) -> impl Iterator<Item = (String, String)> {
        let named = |action: &Action| match action {
            Action::Run(line) => format!("`{line}`"),
            other => Action::named()
                .find(|(_, known)| known == other)
                .map_or(String::new(), |(name, _)| name.into()),
        };
        self.own.iter().map(move |(key, action)| (key.name(), named(action)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Action::Zoom;
    use KeyCode::{Char, F};
    use crossterm::event::KeyCode;

    #[test]
    fn every_key_runs_a_command_that_exists() {
        for binding in bindings() {
            if let Action::Run(line) = &binding.action {
                assert!(Command::parse(line).unwrap().is_some(), "{line}");
            }
        }
    }

    #[test]
    fn the_user_s_own_keys_come_first() {
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
    fn keys_with_a_fixed_meaning_are_refused() {
        let with = |key: &str| Keymap::with(&[(key.to_string(), "next".to_string())].into());
        for key in ["ctrl-c", "ctrl-l", "ctrl-z", "ctrl-alt-c", "esc", "alt-esc"] {
            assert_eq!(with(key), Err(KeymapError::Reserved(key.into())));
        }
        for key in ["alt-c", "c", "l", "ctrl-n"] {
            assert!(with(key).is_ok(), "{key}");
        }
    }

    #[test]
    fn no_key_has_two_bindings() {
        let mut seen = vec![];
        for key in bindings().flat_map(|binding| binding.keys) {
            assert!(!seen.contains(key), "{key:?}");
            seen.push(*key);
        }
    }
}
