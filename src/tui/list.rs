//! Selection and scrolling, the same in every list, table and text of the interface.
//!
//! A [`ListView`] has a selected row, a [`Scroll`] a first visible line. Both may be out of range after the list changed: every
//! method takes the current number of rows and stays within it.

use crossterm::event::KeyCode;
use std::ops::Range;

/// A move in a list or a text, by a key or by the mouse's wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// By this many rows, down.
    Rows(isize),
    /// By this many pages, down.
    Pages(isize),
}

impl Step {
    /// The keys that move, in every list.
    pub const KEYS: &[KeyCode] = &[
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Char('k'),
        KeyCode::Char('j'),
    ];

    /// The move that a key makes.
    pub fn of(key: KeyCode) -> Option<Self> {
        match key {
            KeyCode::Up | KeyCode::Char('k') => Some(Self::Rows(-1)),
            KeyCode::Down | KeyCode::Char('j') => Some(Self::Rows(1)),
            KeyCode::PageUp => Some(Self::Pages(-1)),
            KeyCode::PageDown => Some(Self::Pages(1)),
            _ => None,
        }
    }

    /// Rows down, where a page has `rows`.
    pub fn rows(self, rows: usize) -> isize {
        match self {
            Self::Rows(by) => by,
            Self::Pages(by) => by.saturating_mul(isize::try_from(rows.max(1)).unwrap_or(isize::MAX)),
        }
    }
}

/// A list with a selected row, which is always visible: in the middle, except near the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListView {
    selected: usize,
}

impl ListView {
    /// A list whose row `selected` is selected.
    pub fn at(selected: usize) -> Self {
        Self { selected }
    }

    /// The selected row of `count`; 0 in an empty list.
    pub fn selected(self, count: usize) -> usize {
        self.selected.min(count.saturating_sub(1))
    }

    /// The list after a move, where `rows` of its `count` rows are visible.
    #[must_use]
    pub fn step(self, step: Step, count: usize, rows: usize) -> Self {
        let selected = self.selected(count).saturating_add_signed(step.rows(rows));
        Self { selected: selected.min(count.saturating_sub(1)) }
    }

    /// The visible rows of `count`, where there is room for `rows`.
    pub fn window(self, count: usize, rows: usize) -> Range<usize> {
        let top = self.selected(count).saturating_sub(rows / 2).min(count.saturating_sub(rows));
        top..count.min(top.saturating_add(rows))
    }

    /// The row of the list that is drawn in row `y` of the window.
    pub fn row_at(self, y: usize, count: usize, rows: usize) -> Option<usize> {
        let window = self.window(count, rows);
        Some(window.start.saturating_add(y)).filter(|row| window.contains(row))
    }
}

/// A text of which some lines are visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scroll {
    top: usize,
}

impl Scroll {
    /// A text whose line `top` is the first that is visible.
    pub fn at(top: usize) -> Self {
        Self { top }
    }

    /// The first visible line of `lines`, where there is room for `rows`.
    pub fn top(self, lines: usize, rows: usize) -> usize {
        self.top.min(lines.saturating_sub(rows))
    }

    /// The text after a move. A page leaves one line of the last one visible.
    #[must_use]
    pub fn step(self, step: Step, lines: usize, rows: usize) -> Self {
        let top = self.top(lines, rows).saturating_add_signed(step.rows(rows.saturating_sub(1)));
        Self { top: top.min(lines.saturating_sub(rows)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![any::<isize>(), -3..4isize]
            .prop_flat_map(|by| prop_oneof![Just(Step::Rows(by)), Just(Step::Pages(by))])
    }

    proptest! {
        /// The list may grow and shrink, and the window too, between any two moves.
        #[test]
        fn the_selected_row_exists_and_is_visible(
            moves in prop::collection::vec((steps(), 0..40usize, 0..12usize), 0..30),
            start in any::<usize>(),
        ) {
            let (mut list, mut text) = (ListView::at(start), Scroll::at(start));
            for (step, count, rows) in moves {
                list = list.step(step, count, rows);
                text = text.step(step, count, rows);
                let (selected, window) = (list.selected(count), list.window(count, rows));
                prop_assert!(selected < count.max(1));
                prop_assert!(window.end <= count && window.len() == rows.min(count));
                prop_assert!(rows == 0 || count == 0 || window.contains(&selected));
                for y in 0..rows {
                    prop_assert_eq!(list.row_at(y, count, rows), window.clone().nth(y));
                }
                prop_assert!(text.top(count, rows) + rows.min(count) <= count);
            }
        }
    }

    #[test]
    fn pages_move_by_the_visible_rows_and_stop_at_the_ends() {
        let list = ListView::default().step(Step::Pages(1), 30, 10);
        assert_eq!((list.selected(30), list.window(30, 10)), (10, 5..15));
        assert_eq!(list.step(Step::Pages(9), 30, 10).window(30, 10), 20..30);
        assert_eq!(list.step(Step::Rows(-99), 30, 10), ListView::default());
        assert_eq!(ListView::at(9).selected(4), 3);
        let text = Scroll::default().step(Step::Pages(1), 30, 10);
        assert_eq!((text.top(30, 10), text.step(Step::Rows(1), 30, 10).top(30, 10)), (9, 10));
        assert_eq!(text.step(Step::Pages(9), 30, 10).top(30, 10), 20);
    }

    #[test]
    fn every_key_that_moves_makes_a_step() {
        assert!(Step::KEYS.iter().all(|key| Step::of(*key).is_some()));
        assert_eq!(Step::of(KeyCode::Enter), None);
    }
}
