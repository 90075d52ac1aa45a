//! What a view is: panes, laid out, drawn, and given keys.

use super::{
    attention, charts, compare, lesson, model, overview, prompt, residuals, scheduler, source, tensors,
    timelines,
};
use crate::debugger::record::{RecordView, decodable};
use crate::debugger::{Examination, Preview};
use crate::lesson::reading::Act;
use crate::tui::canvas::Canvas;
use crate::tui::state::State;
use crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect, Size};

/// A view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tab {
    /// The stage at the cursor at a glance.
    #[default]
    Overview,
    /// Every tensor there is, and one of them opened.
    Tensors,
    /// Both residuals, and what guidance made of them.
    Residuals,
    /// The scheduler's step in formulas.
    Scheduler,
    /// Tokens and embeddings.
    Prompt,
    /// Numbers over the steps.
    Charts,
    /// The code of the stage.
    Source,
    /// The tree of timelines.
    Timelines,
    /// Variants side by side.
    Compare,
    /// The models from inside.
    Model,
    /// What the words of a step are looked at from, and what they do.
    Attention,
}

impl Tab {
    /// Every view, in the order of their names on the screen.
    pub const ALL: [Self; 11] = [
        Self::Overview,
        Self::Tensors,
        Self::Residuals,
        Self::Scheduler,
        Self::Prompt,
        Self::Charts,
        Self::Source,
        Self::Timelines,
        Self::Compare,
        Self::Model,
        Self::Attention,
    ];

    /// The view's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Tensors => "tensors",
            Self::Residuals => "residuals",
            Self::Scheduler => "scheduler",
            Self::Prompt => "prompt",
            Self::Charts => "charts",
            Self::Source => "source",
            Self::Timelines => "timelines",
            Self::Compare => "compare",
            Self::Model => "model",
            Self::Attention => "attention",
        }
    }

    /// The beginning of the name, where there is no room for all.
    pub fn short(self) -> &'static str {
        match self {
            Self::Overview => "over",
            Self::Tensors => "tens",
            Self::Residuals => "resid",
            Self::Scheduler => "sched",
            Self::Timelines => "times",
            Self::Compare => "comp",
            Self::Attention => "attn",
            other => other.name(),
        }
    }

    /// The name in three or four letters, so that all of them fit eighty columns.
    pub fn shortest(self) -> &'static str {
        match self {
            Self::Residuals => "res",
            Self::Scheduler => "sch",
            Self::Prompt => "prom",
            Self::Charts => "char",
            Self::Source => "src",
            Self::Timelines => "time",
            Self::Model => "mod",
            other => other.short(),
        }
    }

    /// The view of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tab| tab.name() == name)
    }

    /// The key that shows it.
    pub fn key(self) -> char {
        match self {
            Self::Model => '0',
            Self::Attention => 'a',
            other => char::from_digit(other.index() as u32 + 1, 10).unwrap_or(' '),
        }
    }

    /// The view's place in [`ALL`](Self::ALL).
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A part of a view that keys can go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pane {
    /// No other pane of the view has this name.
    pub name: &'static str,
    /// What stands on the rule above it; without a title there is no rule.
    pub title: String,
    /// Where it is, with its rule.
    pub area: Rect,
}

impl Pane {
    /// A pane.
    pub fn new(name: &'static str, title: impl Into<String>, area: Rect) -> Self {
        Self { name, title: title.into(), area }
    }
}

/// What became of a key or a press of the mouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The pane knows nothing of it.
    Unknown,
    /// The pane took it.
    Taken,
    /// The pane asks for a line of the command language.
    Run(String),
    /// The pane wants to look at where so many stages are done, of those that are recorded.
    Look(usize),
    /// The pane wants a view to be shown.
    Show(Tab),
    /// The reader does something in the lesson.
    Lesson(Act),
    /// The pane wants to look at a place: as many ticks of a comparison.
    Place(usize),
}

/// A view: what it remembers of how it is looked at, which panes it has, and how each is drawn.
///
/// What it shows is all in the [`State`]; what it remembers (a row selected, how far it is scrolled) may be out of range
/// when the state changed meanwhile, and is brought back when it is drawn.
pub trait Panes {
    /// The panes in `area`. The first is focused at first. Never empty.
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane>;

    /// Draws what is inside of a pane.
    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect);

    /// Gives a key to a pane whose inside is as large as `room`.
    fn key(&mut self, pane: &str, key: KeyEvent, room: Size, state: &State) -> Reply {
        let _ = (pane, key, room, state);
        Reply::Unknown
    }

    /// The mouse was pressed on a pane, at a place of its inside.
    fn press(&mut self, pane: &str, at: Position, room: Size, state: &State) -> Reply {
        let _ = (pane, at, room, state);
        Reply::Unknown
    }

    /// The mouse's wheel was turned over a pane, by `rows` down.
    fn wheel(&mut self, pane: &str, rows: i16, room: Size, state: &State) -> Reply {
        let _ = (pane, rows, room, state);
        Reply::Unknown
    }

    /// The tensors whose pictures the VAE shall make while this view is shown, the first first: of
    /// [`decodable`](crate::debugger::record::decodable).
    fn decodes(&self) -> &'static [&'static str] {
        &[]
    }

    /// The pictures that the VAE shall make while this view is shown, the first first.
    fn previews(&self, state: &State) -> Vec<Preview> {
        state.record().map_or(vec![], |record| previews_of(record, self.decodes()))
    }

    /// What this view wants to know of the inside of recorded stages while it is shown, the first first.
    fn examines(&self, state: &State) -> Vec<Examination> {
        let _ = state;
        vec![]
    }

    /// Shows only what `text` occurs in. False where there is nothing to filter.
    fn filter(&mut self, text: &str) -> bool {
        let _ = text;
        false
    }

    /// What is selected, as text to be copied.
    fn selected(&self, pane: &str, state: &State) -> Option<String> {
        let _ = (pane, state);
        None
    }
}

/// The pictures of a record that the VAE can make, of those that are named.
pub(super) fn previews_of(record: &RecordView, names: &[&'static str]) -> Vec<Preview> {
    let decodable = decodable(record.stage).iter().filter(|name| names.contains(name));
    decodable.map(|name| Preview { record: record.id, name }).collect()
}

/// The views.
#[derive(Debug, Default)]
pub struct Views {
    overview: overview::Overview,
    tensors: tensors::Tensors,
    residuals: residuals::Residuals,
    scheduler: scheduler::Scheduler,
    prompt: prompt::Prompt,
    charts: charts::Charts,
    source: source::Source,
    timelines: timelines::Timelines,
    compare: compare::Compare,
    model: model::Model,
    attention: attention::Attention,
    /// The lesson, which stands beside any of them.
    pub lesson: lesson::Lesson,
}

impl Views {
    /// A view.
    pub fn of(&self, tab: Tab) -> &dyn Panes {
        match tab {
            Tab::Overview => &self.overview,
            Tab::Tensors => &self.tensors,
            Tab::Residuals => &self.residuals,
            Tab::Scheduler => &self.scheduler,
            Tab::Prompt => &self.prompt,
            Tab::Charts => &self.charts,
            Tab::Source => &self.source,
            Tab::Timelines => &self.timelines,
            Tab::Compare => &self.compare,
            Tab::Model => &self.model,
            Tab::Attention => &self.attention,
        }
    }

    /// A view, to be given a key.
    pub fn of_mut(&mut self, tab: Tab) -> &mut dyn Panes {
        match tab {
            Tab::Overview => &mut self.overview,
            Tab::Tensors => &mut self.tensors,
            Tab::Residuals => &mut self.residuals,
            Tab::Scheduler => &mut self.scheduler,
            Tab::Prompt => &mut self.prompt,
            Tab::Charts => &mut self.charts,
            Tab::Source => &mut self.source,
            Tab::Timelines => &mut self.timelines,
            Tab::Compare => &mut self.compare,
            Tab::Model => &mut self.model,
            Tab::Attention => &mut self.attention,
        }
    }
}
