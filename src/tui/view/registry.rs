//! The views, in one table.
//!
//! An entry gives a view its names, its key and its type. The table drives the tabs, the keys, the names of actions in
//! `config.toml`, the help, and the views that a lesson can show.

use super::pane::View;
use super::{
    attention, charts, compare, difference, lesson, model, overview, prompt, residuals, scheduler, source,
    tensors, timelines,
};
use crate::phrase::{Phrase, phrase};
use crossterm::event::KeyCode;

/// An entry of the table.
#[derive(Debug)]
pub struct Entry {
    /// The view.
    pub id: ViewId,
    /// Its name, as it is typed.
    pub name: &'static str,
    /// Its name, as it is shown.
    pub title: Phrase,
    /// The beginning of the name, for narrow screens.
    pub short: Phrase,
    /// The name in three or four letters, so that all of them fit eighty columns.
    pub shortest: Phrase,
    /// The key that shows it.
    pub key: char,
    /// The same key, as a binding.
    pub keys: &'static [KeyCode],
    /// Name and contents, for the help.
    pub summary: Phrase,
    create: fn() -> Box<dyn View>,
}

macro_rules! views {
    ($($id:ident($module:ident) {
        name: phrase($name:literal), short: phrase($short:literal), shortest: phrase($shortest:literal), key: $key:literal,
        summary: phrase($summary:literal),
    })*) => {
        /// A view.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ViewId {
            $(#[doc = concat!("The view ", $summary, ".")] $id,)*
        }

        /// Every view, in the order of the tabs. The first is shown at the start.
        pub const VIEWS: &[Entry] = &[$(Entry {
            id: ViewId::$id,
            name: $name,
            title: phrase($name),
            short: phrase($short),
            shortest: phrase($shortest),
            key: $key,
            keys: &[KeyCode::Char($key)],
            summary: phrase($summary),
            create: || Box::<$module::$id>::default(),
        },)*];
    };
}

views! {
    Overview(overview) {
        name: phrase("overview"), short: phrase("over"), shortest: phrase("over"), key: '1',
        summary: phrase("overview: the stage at a glance"),
    }
    Tensors(tensors) {
        name: phrase("tensors"), short: phrase("tens"), shortest: phrase("tens"), key: '2',
        summary: phrase("tensors: every recorded tensor, and the selected one"),
    }
    Residuals(residuals) {
        name: phrase("residuals"), short: phrase("resid"), shortest: phrase("res"), key: '3',
        summary: phrase("residuals: both residuals and their guided sum"),
    }
    Scheduler(scheduler) {
        name: phrase("scheduler"), short: phrase("sched"), shortest: phrase("sch"), key: '4',
        summary: phrase("scheduler: the step in formulas"),
    }
    Prompt(prompt) {
        name: phrase("prompt"), short: phrase("prompt"), shortest: phrase("prom"), key: '5',
        summary: phrase("prompt: tokens and embeddings"),
    }
    Charts(charts) {
        name: phrase("charts"), short: phrase("charts"), shortest: phrase("char"), key: '6',
        summary: phrase("charts: measures over the steps"),
    }
    Source(source) {
        name: phrase("source"), short: phrase("source"), shortest: phrase("src"), key: '7',
        summary: phrase("source: the code of the stage"),
    }
    Timelines(timelines) {
        name: phrase("timelines"), short: phrase("times"), shortest: phrase("time"), key: '8',
        summary: phrase("timelines: the tree of timelines"),
    }
    Compare(compare) {
        name: phrase("compare"), short: phrase("comp"), shortest: phrase("comp"), key: '9',
        summary: phrase("compare: variants side by side"),
    }
    Model(model) {
        name: phrase("model"), short: phrase("model"), shortest: phrase("mod"), key: '0',
        summary: phrase("model: every module and its output"),
    }
    Attention(attention) {
        name: phrase("attention"), short: phrase("attn"), shortest: phrase("attn"), key: 'a',
        summary: phrase("attention: where the picture attends to each word, and the word's effect"),
    }
    Difference(difference) {
        name: phrase("difference"), short: phrase("diff"), shortest: phrase("diff"), key: 'D',
        summary: phrase("difference: where a recorded run first differs, and why"),
    }
}

impl ViewId {
    /// The view's entry.
    pub fn entry(self) -> &'static Entry {
        &VIEWS[self.index()]
    }

    /// The view of that name.
    pub fn named(name: &str) -> Option<Self> {
        VIEWS.iter().find(|view| view.name == name).map(|view| view.id)
    }

    /// The view's place in [`VIEWS`].
    pub fn index(self) -> usize {
        self as usize
    }
}

impl Default for ViewId {
    fn default() -> Self {
        VIEWS[0].id
    }
}

/// The views, each with its own state.
#[derive(Debug)]
pub struct Views {
    all: Vec<Box<dyn View>>,
    /// The lesson, next to any of them.
    pub lesson: lesson::Lesson,
}

impl Default for Views {
    fn default() -> Self {
        Self { all: VIEWS.iter().map(|view| (view.create)()).collect(), lesson: lesson::Lesson::default() }
    }
}

impl Views {
    /// A view.
    pub fn of(&self, id: ViewId) -> &dyn View {
        &*self.all[id.index()]
    }

    /// A view, to handle a key.
    pub fn of_mut(&mut self, id: ViewId) -> &mut dyn View {
        &mut *self.all[id.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_ids_and_every_key_is_another() {
        for (index, view) in VIEWS.iter().enumerate() {
            assert_eq!((view.id.index(), ViewId::named(view.name)), (index, Some(view.id)));
            assert!(VIEWS.iter().filter(|other| other.key == view.key).count() == 1, "{}", view.name);
        }
        let columns: usize = VIEWS.iter().map(|view| view.shortest.english().len() + 4).sum();
        assert!(columns <= 80 + 12, "{columns} columns");
    }
}
