//! A recorded run, compared: every module and line with its difference, the reason of the first one, and both outputs of the
//! selected one.

use super::pane::{self, Pane, Reply};
use super::pictures::{self, Captioned};
use super::welcome;
use crate::debugger::inspect::difference::Difference as Compared;
use crate::debugger::record::RecordId;
use crate::debugger::{Examination, InspectQuery, Inspection};
use crate::phrase::phrase;
use crate::picture::features::Row as BatchRow;
use crate::trace::diff::text::reasons;
use crate::trace::diff::{Kind, Row};
use crate::tui::canvas::Canvas;
use crate::tui::findings::Finding;
use crate::tui::keymap::ViewKeys;
use crate::tui::list::{ListView, Step};
use crate::tui::state::State;
use crate::tui::text;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use ratatui::text::{Line, Span};
use std::sync::Arc;
use tr::tr;

const ROWS: &str = "rows";
const REASON: &str = "reason";
const SIDES: &str = "sides";

/// A recorded run, compared.
#[derive(Debug, Default)]
pub struct Difference {
    list: ListView,
    /// Whether rows that are equal are listed too.
    all: bool,
    /// Whether the pictures have the whole view.
    enlarged: bool,
    /// The row of the batch.
    row: BatchRow,
}

fn compared(state: &State) -> Option<&Arc<Compared>> {
    state.view.as_ref()?.difference.as_ref()
}

impl Difference {
    /// The listed rows with their indices.
    fn rows<'a>(&self, compared: &'a Compared) -> Vec<(usize, &'a Row)> {
        let rows = compared.comparison.rows.iter().enumerate();
        rows.filter(|(_, row)| self.all || row.is_beyond()).collect()
    }

    fn query(&self, compared: &Compared) -> Option<Examination> {
        let rows = self.rows(compared);
        let (row, _) = rows.get(self.list.selected(rows.len()))?;
        let asked = InspectQuery::Sides { difference: compared.number, row: *row, of: self.row };
        Some(Examination { record: RecordId(0), asked })
    }

    fn draw_rows(&self, compared: &Compared, canvas: &mut Canvas<'_>, area: Rect) {
        let rows = self.rows(compared);
        let theme = canvas.theme;
        if rows.is_empty() {
            let count = compared.comparison.rows.len();
            let told = match compared.comparison.uncompared[..] {
                [] => tr!("Nothing differs: {count} compared. v lists them.", count),
                _ => tr!(
                    "Nothing of the {count} compared differs; some parts could not be compared. v lists them.",
                    count
                ),
            };
            return paragraph(&told, canvas, area);
        }
        let selected = self.list.selected(rows.len());
        let window = self.list.window(rows.len(), area.height.into());
        let line = |(at, (_, row)): (usize, &(usize, &Row))| {
            let difference = row.shapes.as_ref().map_or_else(|| row.difference(), |_| tr!("shape"));
            let style = if row.is_beyond() { theme.alarm } else { theme.done };
            let room = usize::from(area.width).saturating_sub(text::width(&difference) + 3);
            let named = name(row);
            let shown = ellipsed(&named, room);
            let gap = " ".repeat(room.saturating_sub(text::width(&shown)) + 1);
            let (mark, of_name) = if at == selected { ("▸", theme.focus) } else { (" ", theme.plain) };
            Line::from(vec![
                Span::styled(mark, theme.here),
                Span::styled(shown, of_name),
                Span::raw(gap),
                Span::styled(difference, style),
            ])
        };
        let lines: Vec<Line<'_>> =
            rows.iter().enumerate().skip(window.start).take(window.len()).map(line).collect();
        canvas.lines(&lines, area);
    }

    fn draw_reason(compared: &Compared, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let comparison = &compared.comparison;
        let mut told = vec![];
        match comparison.first() {
            Some(first) => {
                let what =
                    if first.isolated { tr!("on the same inputs") } else { tr!("on inputs that may differ") };
                told.push((tr!("{} in {}, {what}", first.path, first.stage, what), theme.strong));
                if let Kind::Wiring { child, input } = &first.kind {
                    told.push((tr!("what it gives to {child} as {input}", child, input), theme.plain));
                }
            }
            None if comparison.uncompared.is_empty() => {
                told.push((tr!("nothing differs beyond rounding"), theme.done));
            }
            None => {
                let parts = comparison.uncompared.join(", ");
                told.push((
                    tr!("nothing of what was compared differs; not compared: {parts}", parts),
                    theme.strong,
                ));
            }
        }
        told.extend(reasons(&comparison.causes).into_iter().map(|line| (line, theme.plain)));
        told.extend(comparison.notes.iter().map(|note| (note.clone(), theme.faint)));
        let lines: Vec<Line<'_>> = told
            .into_iter()
            .flat_map(|(line, style)| {
                text::wrapped(&line, area.width.into()).into_iter().map(move |line| Line::styled(line, style))
            })
            .collect();
        canvas.lines(&lines, area);
    }

    fn draw_sides(&self, compared: &Compared, canvas: &mut Canvas<'_>, area: Rect) {
        let state = canvas.state;
        let finding = self.query(compared).and_then(|asked| state.findings.get(&asked));
        match finding.map(Finding::as_deref) {
            Some(Ok(Inspection::Sides([found, reference, heat]))) => {
                let [drawn, below] =
                    Layout::vertical([Constraint::Min(0), Constraint::Length(2)]).areas(area);
                let captioned = |picture, caption: String| Captioned { picture, caption, smooth: false };
                let shown = [
                    captioned(found, short(&compared.found)),
                    captioned(reference, short(&compared.reference)),
                    captioned(heat, tr!("distance")),
                ];
                let used = pictures::row(&shown, canvas, drawn);
                let below = Rect { y: area.y + used, ..below };
                let faint = canvas.theme.faint;
                let lines = [found, heat]
                    .map(|picture| Line::styled(text::shortened(&picture.label, area.width.into()), faint));
                canvas.lines(&lines, below);
            }
            Some(Err(why)) => paragraph(why, canvas, area),
            None if self.rows(compared).is_empty() => {}
            _ => paragraph(&tr!("both outputs are computed …"), canvas, area),
        }
    }
}

fn paragraph(told: &str, canvas: &mut Canvas<'_>, area: Rect) {
    let lines = text::wrapped(told, area.width.into()).into_iter();
    let lines: Vec<Line<'_>> = lines.map(|line| Line::styled(line, canvas.theme.faint)).collect();
    canvas.lines(&lines, area);
}

/// A row in a few words.
fn name(row: &Row) -> String {
    let call = if row.call > 0 { format!("#{}", row.call) } else { String::new() };
    let given = match &row.kind {
        Kind::Module => String::new(),
        Kind::Wiring { child, .. } => format!(" → {}", child.rsplit('.').next().unwrap_or_default()),
    };
    // A line's path names its stage; a module's does not.
    match row.stage {
        crate::pipeline::Stage::Denoise { step } => format!("{step}  {}{call}{given}", row.path),
        _ => format!("   {}{call}{given}", row.path),
    }
}

/// A path in `room` columns: its end says more than its beginning.
fn ellipsed(path: &str, room: usize) -> String {
    let count = path.chars().count();
    match count <= room {
        true => path.into(),
        false => {
            let (head, keep) = (3.min(room), room.saturating_sub(4));
            let start: String = path.chars().take(head).collect();
            let end: String = path.chars().skip(count - keep.min(count)).collect();
            format!("{start}…{end}")
        }
    }
}

/// The last part of a path.
fn short(name: &str) -> String {
    name.trim_end_matches('/').rsplit('/').next().unwrap_or(name).into()
}

impl pane::View for Difference {
    fn has_tab(&self, state: &State) -> bool {
        compared(state).is_some()
    }

    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let Some(compared) = compared(state) else { return vec![Pane::new(ROWS, tr!("difference"), area)] };
        let rows = self.rows(compared);
        let selected =
            rows.get(self.list.selected(rows.len())).map_or(String::new(), |(_, row)| row.path.clone());
        if self.enlarged {
            return vec![Pane::new(SIDES, selected, area)];
        }
        let (beyond, all) = (compared.comparison.beyond(), compared.comparison.rows.len());
        let [list, rest] =
            Layout::horizontal([Constraint::Percentage(48), Constraint::Min(0)]).spacing(1).areas(area);
        let (found, reference) = (short(&compared.found), short(&compared.reference));
        let counts = tr!("{beyond} of {all} differ", beyond, all);
        let titles = [
            tr!("{found} against {reference}: {beyond} of {all}", found, reference, beyond, all),
            tr!("{counts} from {reference}", counts, reference),
        ];
        // The names are below the pictures too.
        let fits = |title: &String| text::width(title) + 3 <= list.width.into();
        let title = titles.into_iter().find(fits).unwrap_or(counts);
        let [sides, reason] = Layout::vertical([Constraint::Fill(3), Constraint::Fill(2)]).areas(rest);
        vec![
            Pane::new(ROWS, title, list),
            Pane::new(SIDES, selected, sides),
            Pane::new(REASON, tr!("the first difference"), reason),
        ]
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let Some(compared) = compared(canvas.state).cloned() else {
            return welcome::draw_text(
                "A recorded run is compared module by module: `:diff FOLDER`, with a trace that `run --record` or \
                 diffuscope_trace wrote. The first wrong module and its reason are shown here, with both outputs.",
                canvas,
                area,
            );
        };
        match pane {
            ROWS => self.draw_rows(&compared, canvas, area),
            REASON => Self::draw_reason(&compared, canvas, area),
            _ => self.draw_sides(&compared, canvas, area),
        }
    }

    fn bindings(&self) -> &'static [ViewKeys] {
        const {
            &[
                ViewKeys::new(&[KeyCode::Enter], phrase("both"), phrase("show both outputs alone")),
                ViewKeys::new(
                    &[KeyCode::Char('v')],
                    phrase("all"),
                    phrase("list every row that was compared, or those that differ"),
                ),
                ViewKeys::new(
                    &[KeyCode::Char('u')],
                    phrase("row"),
                    phrase("draw the text-conditioned row, the unconditional one, or their difference"),
                ),
            ]
        }
    }

    fn step(&mut self, _: &str, step: Step, room: Size, state: &State) -> Reply {
        let Some(compared) = compared(state) else { return Reply::Unknown };
        self.list = self.list.step(step, self.rows(compared).len(), room.height.into());
        Reply::Taken
    }

    fn key(&mut self, _: &str, key: KeyEvent, _: Size, state: &State) -> Reply {
        match key.code {
            KeyCode::Enter => self.enlarged = !self.enlarged,
            KeyCode::Esc if self.enlarged => self.enlarged = false,
            KeyCode::Char('v') => {
                let Some(compared) = compared(state) else { return Reply::Taken };
                let listed = self.rows(compared);
                let selected = listed.get(self.list.selected(listed.len())).map(|(index, _)| *index);
                self.all = !self.all;
                // The selected row stays selected where it is still listed.
                let place = self.rows(compared).iter().position(|(index, _)| Some(*index) == selected);
                self.list = ListView::at(place.unwrap_or(0));
            }
            KeyCode::Char('u') => {
                let place = BatchRow::ALL.iter().position(|(_, row)| *row == self.row).unwrap_or(0);
                self.row = BatchRow::ALL[(place + 1) % BatchRow::ALL.len()].1;
            }
            _ => return Reply::Unknown,
        }
        Reply::Taken
    }

    fn press(&mut self, pane: &str, at: Position, room: Size, state: &State) -> Reply {
        let Some(compared) = compared(state).filter(|_| pane == ROWS) else { return Reply::Unknown };
        let count = self.rows(compared).len();
        if let Some(row) = self.list.row_at(at.y.into(), count, room.height.into()) {
            self.list = ListView::at(row);
        }
        Reply::Taken
    }

    fn examines(&self, state: &State) -> Vec<Examination> {
        compared(state).and_then(|compared| self.query(compared)).into_iter().collect()
    }

    fn selected(&self, _: &str, state: &State) -> Option<String> {
        let compared = compared(state)?;
        let rows = self.rows(compared);
        rows.get(self.list.selected(rows.len())).map(|(_, row)| row.path.clone())
    }
}
