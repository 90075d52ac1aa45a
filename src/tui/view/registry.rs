//! The views, in one table.
//!
//! An entry gives a view its names, its key and its type. The table drives the names at the top of the screen, the keys, the names of
//! actions in `config.toml`, the help, and the views that a lesson can show.

use super::pane::View;
use super::{
    attention, charts, compare, lesson, model, overview, prompt, residuals, scheduler, source, tensors,
    timelines,
};
use crossterm::event::KeyCode;

/// A view as the table has it.
#[derive(Debug)]
pub struct Entry {
    /// Which one.
    pub id: ViewId,
    /// Its name.
    pub name: &'static str,
    /// The beginning of the name, for narrow screens.
    pub short: &'static str,
    /// The name in three or four letters, so that all of them fit eighty columns.
    pub shortest: &'static str,
    /// The key that shows it.
    pub key: char,
    /// The same, as a binding has it.
    pub keys: &'static [KeyCode],
    /// Name and contents, for the help.
    pub summary: &'static str,
    create: fn() -> Box<dyn View>,
}

macro_rules! views {
    ($($id:ident($module:ident) {
        name: $name:literal, short: $short:literal, shortest: $shortest:literal, key: $key:literal, summary: $summary:literal,
    })*) => {
        /// A view.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ViewId {
            $(#[doc = concat!("`", $name, "`: ", $summary, ".")] $id,)*
        }

        /// Every view, in the order of their names on the screen. The first is shown at the start.
        pub const VIEWS: &[Entry] = &[$(Entry {
            id: ViewId::$id,
            name: $name,
            short: $short,
            shortest: $shortest,
            key: $key,
            keys: &[KeyCode::Char($key)],
            summary: concat!($name, ": ", $summary),
            create: || Box::<$module::$id>::default(),
        },)*];
    };
}

views! {
    Overview(overview) {
        name: "overview", short: "over", shortest: "over", key: '1',
        summary: "the stage at a glance",
    }
    Tensors(tensors) {
        name: "tensors", short: "tens", shortest: "tens", key: '2',
        summary: "every tensor so far, and one opened",
    }
    Residuals(residuals) {
        name: "residuals", short: "resid", shortest: "res", key: '3',
        summary: "both residuals and their guided sum",
    }
    Scheduler(scheduler) {
        name: "scheduler", short: "sched", shortest: "sch", key: '4',
        summary: "the step in formulas",
    }
    Prompt(prompt) {
        name: "prompt", short: "prompt", shortest: "prom", key: '5',
        summary: "tokens and embeddings",
    }
    Charts(charts) {
        name: "charts", short: "charts", shortest: "char", key: '6',
        summary: "numbers over the steps",
    }
    Source(source) {
        name: "source", short: "source", shortest: "src", key: '7',
        summary: "the code of the stage",
    }
    Timelines(timelines) {
        name: "timelines", short: "times", shortest: "time", key: '8',
        summary: "the tree of timelines",
    }
    Compare(compare) {
        name: "compare", short: "comp", shortest: "comp", key: '9',
        summary: "variants side by side",
    }
    Model(model) {
        name: "model", short: "model", shortest: "mod", key: '0',
        summary: "every module and its output",
    }
    Attention(attention) {
        name: "attention", short: "attn", shortest: "attn", key: 'a',
        summary: "where the picture attends to each word, and the word's effect",
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

/// The views, each with what it remembers.
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
        let columns: usize = VIEWS.iter().map(|view| view.shortest.len() + 4).sum();
        assert!(columns <= 80 + 11, "{columns} columns");
    }
}
