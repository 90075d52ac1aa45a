//! The tree of timelines: where each branched off, the settings that changed there, and its newest stage.

use super::pane::{self, Pane, Reply, previews_of};
use super::welcome;
use crate::debugger::Preview;
use crate::debugger::record::{NamedPicture, RecordView};
use crate::debugger::view::{TimelineView, View};
use crate::phrase::phrase;
use crate::tui::canvas::Canvas;
use crate::tui::keymap::ViewKeys;
use crate::tui::list::{ListView, Step};
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::theme::Theme;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use ratatui::text::{Line, Span};
use std::ops::Range;
use tr::tr;

const TREE: &str = "tree";
/// Rows of a timeline: its name, its track, its changes, and an empty row; pictures have more when there is room.
const ROWS: u16 = 4;
const MOST_ROWS: u16 = 11;
/// The indentation of a timeline, relative to its parent.
const INDENT: u16 = 2;
/// The maximum depth that is drawn.
const DEEPEST: usize = 6;

/// Commands for a user who has one timeline.
const EXAMPLES: [(&str, &str); 5] = [
    (":goto denoise 5", "go back; b goes back one stage"),
    (":set guidance_scale 12", "change a setting: this starts a new timeline"),
    (":fork calmer", "start a timeline without a change"),
    (":switch main", "show another timeline"),
    (":diff main", "where this one begins to differ, and by how much"),
];

/// The tree of timelines.
#[derive(Debug, Default)]
pub struct Timelines {
    /// The selected timeline; the current one until another is selected.
    chosen: Option<String>,
}

impl pane::View for Timelines {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let count = state.view.as_ref().map_or(0, |view| view.timelines.len());
        let title = match count {
            0 | 1 => "timelines".to_string(),
            _ => tr!("{count} timelines: ↑ ↓ select, Enter switches", count),
        };
        vec![Pane::new(TREE, title, area)]
    }

    fn draw(&self, _: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let state = canvas.state;
        let Some(view) = state.view.as_deref() else { return welcome::draw(canvas, area) };
        let chosen = self.place(view);
        let (high, window) = shown(&view.timelines, self.list(view), area.height);
        let deepest = view.timelines.iter().map(depth).max().unwrap_or(0);
        let mut rest = area;
        for (index, timeline) in view.timelines.iter().enumerate().skip(window.start).take(window.len()) {
            let [own, below] = Layout::vertical([Constraint::Length(high), Constraint::Min(0)]).areas(rest);
            draw_branches(&view.timelines, index, canvas, own);
            draw_timeline(timeline, index == chosen, deepest, canvas, own);
            rest = below;
        }
        // A recorded run stays alone.
        let is_recorded = canvas.state.model.as_ref().is_some_and(|model| model.is_recorded);
        if view.timelines.len() == 1 && !is_recorded {
            welcome::draw_examples(
                "One timeline so far. Changing a setting at an earlier stage starts a new timeline; this one is kept:",
                &EXAMPLES,
                canvas,
                rest,
            );
        }
    }

    fn bindings(&self) -> &'static [ViewKeys] {
        const { &[ViewKeys::new(&[KeyCode::Enter], phrase("switch"), phrase("switch to the selected timeline"))] }
    }

    fn step(&mut self, _: &str, step: Step, room: Size, state: &State) -> Reply {
        let Some(view) = state.view.as_deref() else { return Reply::Unknown };
        let count = view.timelines.len();
        let (_, window) = shown(&view.timelines, self.list(view), room.height);
        let list = self.list(view).step(step, count, window.len());
        self.chosen = view.timelines.get(list.selected(count)).map(|timeline| timeline.name.clone());
        Reply::Taken
    }

    fn key(&mut self, _: &str, _: KeyEvent, _: Size, state: &State) -> Reply {
        state.view.as_deref().map_or(Reply::Unknown, |view| self.open(view))
    }

    fn press(&mut self, _: &str, at: Position, room: Size, state: &State) -> Reply {
        let Some(view) = state.view.as_deref() else { return Reply::Unknown };
        let (high, window) = shown(&view.timelines, self.list(view), room.height);
        let pressed = window.start + usize::from(at.y / high);
        match view.timelines.get(pressed) {
            Some(timeline) if pressed == self.place(view) && !timeline.is_current => self.open(view),
            Some(timeline) => {
                self.chosen = Some(timeline.name.clone());
                Reply::Taken
            }
            None => Reply::Taken,
        }
    }

    fn previews(&self, state: &State) -> Vec<Preview> {
        let tips = state.view.iter().flat_map(|view| &view.timelines).filter_map(|line| line.tip.as_ref());
        tips.flat_map(|tip| previews_of(tip, &["pred_original_sample"])).collect()
    }

    fn selected(&self, _: &str, state: &State) -> Option<String> {
        let view = state.view.as_deref()?;
        Some(view.timelines.get(self.place(view))?.name.clone())
    }
}

impl Timelines {
    fn place(&self, view: &View) -> usize {
        let named = |name: &String| view.timelines.iter().position(|timeline| timeline.name == *name);
        let current = || view.timelines.iter().position(|timeline| timeline.is_current);
        self.chosen.as_ref().and_then(named).or_else(current).unwrap_or(0)
    }

    fn list(&self, view: &View) -> ListView {
        ListView::at(self.place(view))
    }

    fn open(&mut self, view: &View) -> Reply {
        match view.timelines.get(self.place(view)) {
            Some(timeline) => Reply::Run(format!("switch {}", timeline.name)),
            None => Reply::Taken,
        }
    }
}

/// The rows of each timeline, and the visible timelines.
fn shown(timelines: &[TimelineView], list: ListView, rows: u16) -> (u16, Range<usize>) {
    let all = timelines.len().max(1);
    let high = (usize::from(rows) / all.max(FEWEST)).clamp(ROWS.into(), MOST_ROWS.into()) as u16;
    let count = usize::from((rows / high).max(1));
    (high, list.window(timelines.len(), count))
}

/// Pictures are no larger than with this many timelines: a single one needs room for the examples.
const FEWEST: usize = 3;

fn depth(timeline: &TimelineView) -> u16 {
    timeline.depth.min(DEEPEST) as u16
}

/// Draws the branches left of a timeline's picture: `└─` to its parent, and `│` where a later timeline branched off
/// the same parent.
fn draw_branches(timelines: &[TimelineView], index: usize, canvas: &mut Canvas<'_>, area: Rect) {
    let own = depth(&timelines[index]);
    let theme = canvas.theme;
    for level in 1..=own {
        // The line continues until a timeline of lower depth branches off.
        let below = timelines[index + 1..].iter().map(depth).find(|other| *other <= level);
        let goes_on = below == Some(level);
        let (first, others) = match (level == own, goes_on) {
            (true, true) => ("├─", "│"),
            (true, false) => ("└─", ""),
            (false, true) => ("│", "│"),
            (false, false) => continue,
        };
        for (place, row) in area.rows().enumerate() {
            let sign = Line::styled(if place == 0 { first } else { others }, theme.faint);
            let x = row.x + INDENT * (level - 1) + 1;
            canvas.lines(&[sign], Rect { x, width: INDENT, ..row }.intersection(area));
        }
    }
}

fn draw_timeline(
    timeline: &TimelineView,
    is_chosen: bool,
    deepest: u16,
    canvas: &mut Canvas<'_>,
    area: Rect,
) {
    let theme = canvas.theme;
    let (cell_width, cell_height) = canvas.pictures.graphics().cell();
    let high = area.height.saturating_sub(1);
    // A square, as wide as its rows allow.
    let wide = (u32::from(high) * cell_height / cell_width.max(1)).clamp(2, 4 * u32::from(MOST_ROWS)) as u16;
    let in_by = INDENT * depth(timeline);
    // All names start in the same column, so that positions on the tracks can be compared.
    let rest = INDENT * deepest - in_by.min(INDENT * deepest);
    let [_, left, _, details] = Layout::horizontal([
        Constraint::Length(in_by + 1),
        Constraint::Length(wide),
        Constraint::Length(rest + 1),
        Constraint::Min(0),
    ])
    .areas(area);
    if let Some(named) = timeline.tip.as_deref().and_then(|tip| tip_picture(tip, canvas.state)) {
        let height = high.min(left.height);
        canvas.picture(&named.picture.image, true, Rect { height, ..left });
    }
    let width = usize::from(details.width);
    canvas.lines(
        &[
            name_line(timeline, is_chosen, theme, width),
            track(timeline, theme, width),
            Line::styled(text::shortened(&branched(timeline), width), theme.faint),
        ],
        details,
    );
}

/// The most informative picture of the newest stage.
fn tip_picture<'a>(tip: &'a RecordView, state: &'a State) -> Option<&'a NamedPicture> {
    let picture = ["image", "pred_original_sample", "latents"].iter().find_map(|name| tip.picture(name))?;
    Some(state.best(tip, picture))
}

fn name_line(timeline: &TimelineView, is_chosen: bool, theme: &Theme, width: usize) -> Line<'static> {
    let mark = if timeline.is_current { "▶ " } else { "  " };
    let style = match (is_chosen, timeline.is_current) {
        (true, _) => theme.selected,
        (_, true) => theme.here,
        _ => theme.strong,
    };
    let position = timeline.position.map_or("complete".into(), |stage| format!("before {stage}"));
    let [cursor, recorded, _] = timeline.done;
    let ahead = if recorded > cursor { tr!(", {} recorded ahead", recorded - cursor) } else { String::new() };
    let name = text::shortened(&timeline.name, width.saturating_sub(mark.len()));
    let details = text::shortened(
        &format!("  {position}{ahead}"),
        width.saturating_sub(text::width(mark) + text::width(&name)),
    );
    Line::from(vec![
        Span::styled(mark, theme.here),
        Span::styled(name, style),
        Span::styled(details, theme.faint),
    ])
}

/// The columns of a stage on the track, if they fit.
const COLUMNS_OF_A_STAGE: usize = 4;

/// The stages as a line: `┄` is shared with the parent, `┝` is where this one branched off, `━` is its own, `·` is to
/// come, `●` is the cursor.
fn track(timeline: &TimelineView, theme: &Theme, width: usize) -> Line<'static> {
    let [cursor, recorded, all] = timeline.done;
    let columns = width.saturating_sub(2).min(all * COLUMNS_OF_A_STAGE).max(1);
    let place = |done: usize| done * columns.saturating_sub(1) / all.max(1);
    let branched = timeline.branched.as_ref().map(|branched| branched.done);
    let mut line = Line::from("  ");
    for column in 0..columns {
        line.push_span(match column {
            _ if column == place(cursor) => Span::styled("●", theme.here),
            _ if branched.is_some_and(|done| column < place(done)) => Span::styled("┄", theme.faint),
            _ if branched.is_some_and(|done| column == place(done)) => Span::styled("┝", theme.strong),
            _ if column <= place(recorded) => Span::styled("━", theme.done),
            _ => Span::styled("·", theme.faint),
        });
    }
    line
}

/// `  from main before denoise 3: guidance_scale 7.5 → 12`.
fn branched(timeline: &TimelineView) -> String {
    let Some(branched) = &timeline.branched else { return tr!("  from the start") };
    let changes = match branched.changes.as_slice() {
        [] => tr!("nothing changed"),
        changes => changes.join(", "),
    };
    text::clean(&tr!("  from {} before {}: {changes}", branched.parent, branched.before, changes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debugger::view::runs::Branched;

    #[test]
    fn a_track_marks_shared_and_own_stages() {
        let timeline = TimelineView {
            name: "fork".into(),
            depth: 1,
            is_current: false,
            branched: Some(Branched {
                parent: "main".into(),
                before: "denoise 2".into(),
                done: 4,
                changes: vec![],
            }),
            done: [6, 8, 10],
            position: None,
            tip: None,
        };
        assert_eq!(
            track(&timeline, &Theme::default(), 80).to_string(),
            format!("  {}┝{}●{}{}", "┄".repeat(15), "━".repeat(7), "━".repeat(8), "·".repeat(8))
        );
        assert_eq!(branched(&timeline), "  from main before denoise 2: nothing changed");
    }
}
