//! Keys that are held down.

use crossterm::event::{KeyEvent, KeyEventKind};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The time between two repeats of a key that is held down. Keyboards repeat 20 to 50 times a second. A person is slower;
/// keys that a program types, or that a slow connection delivers together, come sooner.
const REPEAT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(70);

/// Recognises keys that are held down. Most terminals report each repeat as another press.
#[derive(Debug, Default)]
pub struct Held {
    last: Option<(KeyEvent, Instant)>,
}

impl Held {
    /// `key`, pressed at `now`; a repeat is marked as [`KeyEventKind::Repeat`].
    pub fn marked(&mut self, key: KeyEvent, now: Instant) -> KeyEvent {
        let before = self.last.replace((key, now));
        let is_repeat = before.is_some_and(|(last, then)| {
            last.code == key.code
                && last.modifiers == key.modifiers
                && REPEAT.contains(&now.duration_since(then))
        });
        match key.kind {
            KeyEventKind::Press if is_repeat => KeyEvent { kind: KeyEventKind::Repeat, ..key },
            _ => key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use KeyEventKind::{Press, Repeat};
    use crossterm::event::KeyCode::Char;

    #[test]
    fn a_key_that_comes_again_at_the_pace_of_a_keyboard_is_held_down() {
        let (mut held, start) = (Held::default(), Instant::now());
        let mut kind = |key, after| held.marked(key, start + Duration::from_millis(after)).kind;
        let n = KeyEvent::from(Char('n'));
        let pressed = [(n, 0), (n, 400), (n, 433), (n, 466), (Char('b').into(), 490), (n, 510), (n, 512)];
        let kinds = pressed.map(|(key, after)| kind(key, after));
        assert_eq!(kinds, [Press, Press, Repeat, Repeat, Press, Press, Press]);
    }
}
