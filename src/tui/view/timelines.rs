//! The tree of timelines: where each branched off, what changed there, and what its newest stage made.

use super::pane::{self, Pane, Reply, previews_of};
use super::welcome;
use crate::debugger::Preview;
use crate::debugger::record::{NamedPicture, RecordView};
use crate::debugger::view::{TimelineView, View};
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

const TREE: &str = "tree";
/// Rows of a timeline: its name, its track, what changed, and one that is empty; where there is room, its picture has
/// more.
const ROWS: u16 = 4;
const MOST_ROWS: u16 = 11;
/// Columns that a timeline stands further in than the one that it branched off.
const INDENT: u16 = 2;
/// The deepest that is drawn.
const DEEPEST: usize = 6;

/// Lines that a reader may begin with.
const EXAMPLES: [(&str, &str); 5] = [
    (":goto denoise 5", "go back; b goes back over one stage"),
    (":set guidance_scale 12", "change something: from here on it is another timeline"),
    (":fork calmer", "one with nothing changed yet"),
    (":switch main", "look at another one"),
    (":diff main", "from where on this one differs, and by how much"),
];

/// The tree of timelines.
#[derive(Debug, Default)]
pub struct Timelines {
    /// The one that is chosen; the one that is looked at, until another is.
    chosen: Option<String>,
}

impl pane::View for Timelines {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let count = state.view.as_ref().map_or(0, |view| view.timelines.len());
        let title = match count {
            0 | 1 => "timelines".to_string(),
            _ => format!("{count} timelines: ↑ ↓ select, Enter switches"),
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
        if view.timelines.len() == 1 {
            welcome::draw_examples(
                "One timeline so far. A setting that is changed behind the newest stage branches another one off, and \
                 this one stays as it is:",
                &EXAMPLES,
                canvas,
                rest,
            );
        }
    }

    fn bindings(&self) -> &'static [ViewKeys] {
        const KEYS: &[ViewKeys] = &[ViewKeys {
            keys: &[KeyCode::Enter],
            panes: &[],
            hint: "switch",
            summary: "switch to the selected timeline",
        }];
        KEYS
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

/// The rows that each timeline takes, and the timelines that are visible.
fn shown(timelines: &[TimelineView], list: ListView, rows: u16) -> (u16, Range<usize>) {
    let all = timelines.len().max(1);
    let high = (usize::from(rows) / all.max(FEWEST)).clamp(ROWS.into(), MOST_ROWS.into()) as u16;
    let count = usize::from((rows / high).max(1));
    (high, list.window(timelines.len(), count))
}

/// Pictures are no larger than if there were so many timelines: there is something to be told of one alone.
const FEWEST: usize = 3;

fn depth(timeline: &TimelineView) -> u16 {
    timeline.depth.min(DEEPEST) as u16
}

/// Draws which timeline the one at `index` branched off, left of its picture: `└─`, and `│` where one further below
/// did so.
fn draw_branches(timelines: &[TimelineView], index: usize, canvas: &mut Canvas<'_>, area: Rect) {
    let own = depth(&timelines[index]);
    let theme = canvas.theme;
    for level in 1..=own {
        // Whether the line goes on: until something branches off further up.
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
    // A square one, of as many columns as its rows ask for.
    let wide = (u32::from(high) * cell_height / cell_width.max(1)).clamp(2, 4 * u32::from(MOST_ROWS)) as u16;
    let in_by = INDENT * depth(timeline);
    // What is told of all of them stands below each other, so that places on the tracks can be compared.
    let behind = INDENT * deepest - in_by.min(INDENT * deepest);
    let [_, left, _, told] = Layout::horizontal([
        Constraint::Length(in_by + 1),
        Constraint::Length(wide),
        Constraint::Length(behind + 1),
        Constraint::Min(0),
    ])
    .areas(area);
    if let Some(named) = timeline.tip.as_deref().and_then(|tip| tip_picture(tip, canvas.state)) {
        let height = high.min(left.height);
        canvas.picture(&named.picture.image, true, Rect { height, ..left });
    }
    let width = usize::from(told.width);
    canvas.lines(
        &[
            name_line(timeline, is_chosen, theme, width),
            track(timeline, theme, width),
            Line::styled(text::shortened(&branched(timeline), width), theme.faint),
        ],
        told,
    );
}

/// The picture that tells most of what the newest stage made.
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
    let ahead =
        if recorded > cursor { format!(", {} recorded ahead", recorded - cursor) } else { String::new() };
    let name = text::shortened(&timeline.name, width.saturating_sub(mark.len()));
    let told = text::shortened(
        &format!("  {position}{ahead}"),
        width.saturating_sub(text::width(mark) + text::width(&name)),
    );
    Line::from(vec![
        Span::styled(mark, theme.here),
        Span::styled(name, style),
        Span::styled(told, theme.faint),
    ])
}

/// Columns that a stage has on the track, where there is room.
const COLUMNS_OF_A_STAGE: usize = 4;

/// The stages as a line: `┄` is the other timeline's, `┝` is where this one branched off, `━` is its own, `·` is to come,
/// `●` is where it is looked at.
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
    let Some(branched) = &timeline.branched else { return "  from the start".into() };
    let changes = match branched.changes.as_slice() {
        [] => "nothing changed".into(),
        changes => changes.join(", "),
    };
    text::clean(&format!("  from {} before {}: {changes}", branched.parent, branched.before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debugger::view::runs::Branched;

    #[test]
    fn a_track_tells_what_is_shared_and_what_is_its_own() {
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
