//! Keys and their names: `x`, `f5`, `ctrl-n`, `alt-enter` in `config.toml`, `Ctrl-n` on the screen.

use KeyCode::{BackTab, Char, End, F, Home, Left, Right, Tab as TabKey};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key with its modifiers; a capital letter needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub code: KeyCode,
    /// Control and Alt.
    pub modifiers: KeyModifiers,
}

/// Keys with a name.
pub const NAMES: [(&str, KeyCode); 15] = [
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

impl Key {
    /// `x`, `X`, `f5`, `ctrl-n`, `alt-enter`.
    pub fn parse(text: &str) -> Option<Self> {
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

    /// Whether the key has a fixed meaning, so that the keymap never sees it.
    pub fn is_reserved(self) -> bool {
        let control = self.modifiers.contains(KeyModifiers::CONTROL);
        self.code == KeyCode::Esc || control && matches!(self.code, Char('c' | 'l' | 'z'))
    }

    /// The key's name on the screen.
    pub fn name(self) -> String {
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

/// The first key of a hint: of `h l` it is `h`, of `a–i` it is `a`.
pub fn first_named(names: &str) -> Option<KeyEvent> {
    let first = names.split(' ').next()?;
    let named = |key: &KeyCode| name(*key) == first;
    let arrows = [('↑', KeyCode::Up), ('↓', KeyCode::Down), ('←', Left), ('→', Right)];
    let arrow = arrows.into_iter().find(|(arrow, _)| first.starts_with(*arrow)).map(|(_, key)| key);
    let known = NAMES.into_iter().map(|(_, key)| key).chain((1..=12).map(F)).find(named);
    let character =
        || first.chars().next().filter(|_| first.chars().count() == 1 || first.contains('–')).map(Char);
    let plain = |code| Key { code, modifiers: KeyModifiers::NONE };
    let key = known
        .or(arrow)
        .map(plain)
        .or_else(|| Key::parse(&first.to_lowercase()).filter(|key| !key.modifiers.is_empty()));
    let key = key.or_else(|| character().map(plain))?;
    Some(KeyEvent::new(key.code, key.modifiers))
}

/// The names of several keys: `h l`, `a–i`.
pub fn names(keys: &[KeyCode]) -> String {
    if let ([Char(first), _, _, .., Char(last)], true) = (keys, are_consecutive(keys)) {
        return format!("{first}–{last}");
    }
    keys.iter().copied().map(name).collect::<Vec<_>>().join(" ")
}

fn are_consecutive(keys: &[KeyCode]) -> bool {
    keys.windows(2).all(|pair| matches!(pair, [Char(a), Char(b)] if *b as u32 == *a as u32 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_its_first_key() {
        let key = |names| first_named(names).map(|key| (key.code, key.modifiers));
        for (names, code) in [
            ("n", Char('n')),
            ("? F1", Char('?')),
            (":", Char(':')),
            ("Space", Char(' ')),
            ("h l", Char('h')),
            ("a–i", Char('a')),
            ("PgUp PgDn", KeyCode::PageUp),
            ("↑↓", KeyCode::Up),
            ("←→", Left),
            ("Esc", KeyCode::Esc),
            ("Enter", KeyCode::Enter),
            ("Tab", TabKey),
        ] {
            assert_eq!(key(names), Some((code, KeyModifiers::NONE)), "{names}");
        }
        assert_eq!(key("Ctrl-C"), Some((Char('c'), KeyModifiers::CONTROL)));
        assert_eq!(key("mouse"), None);
    }

    #[test]
    fn several_keys_are_named_in_short() {
        assert_eq!(names(&[Char('a'), Char('b'), Char('c'), Char('d')]), "a–d");
        assert_eq!(names(&[Char('h'), Char('l')]), "h l");
        assert_eq!(names(&[Char('?'), F(1)]), "? F1");
    }
}
