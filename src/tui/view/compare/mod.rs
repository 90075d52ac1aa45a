//! Variants side by side, a column each, and a chart with a line for each variant.
//!
//! - [`column`]: a variant's pictures and numbers.
//! - [`chart`]: a measure over the steps.

mod chart;
mod column;

use super::pane::{Pane, Reply, View, previews_of};
use super::welcome;
use crate::debugger::Preview;
use crate::debugger::record::RecordView;
use crate::debugger::view::ComparisonView;
use crate::phrase::phrase;
use crate::tui::canvas::Canvas;
use crate::tui::keymap::ViewKeys;
use crate::tui::list::{ListView, Step};
use crate::tui::state::State;
use chart::{Measure, Measured};
use column::Drawn;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use std::cell::RefCell;
use tr::tr;

const VARIANTS: &str = "variants";
const CHART: &str = "chart";
/// The minimum columns of a variant, with the gap after it.
const NARROWEST: u16 = 19;
/// Rows of the chart with its rule, on low terminals and on high ones.
const CHART_ROWS: [u16; 2] = [6, 11];
/// From this many rows on, a terminal is high.
const HIGH: u16 = 28;

/// Commands for a user who has no comparison.
const EXAMPLES: [(&str, &str); 8] = [
    (":compare guidance_scale 1,3,7.5,15", "four scales, from the start"),
    (":compare guidance_scale 1,7.5 here", "two, from the current stage"),
    (":compare seed 1-8", "eight noises; columns that do not fit go to further pages"),
    (":compare num_inference_steps 5,10,20", "aligned by noise level"),
    (":compare prompt \"a cat\" | \"a dog\"", "two prompts"),
    (":compare word apple: pear | orange", "replace one word of the prompt"),
    (":compare guidance_scale 1,9 by seed 1-3", "two axes: six columns"),
    (":sweep guidance_scale 1 here-to-end", "from which step on does it no longer matter?"),
];

/// Variants side by side.
#[derive(Debug, Default)]
pub struct Compare {
    /// The selected variant.
    chosen: ListView,
    /// The charted measure.
    measure: Measure,
    /// A cache of pictures on a scale that all variants share.
    drawn: RefCell<Drawn>,
    /// A cache of differences from the base.
    measured: RefCell<Measured>,
}

/// The variants of a page, and their column widths.
struct Page {
    first: usize,
    count: usize,
    width: u16,
}

impl Compare {
    /// The page of the selected variant, with as many columns as fit.
    fn page(&self, comparison: &ComparisonView, width: u16) -> Page {
        let all = comparison.variants.len().max(1);
        let fit = usize::from(((width + 1) / NARROWEST).max(1)).min(all);
        let first = self.chosen.selected(all) / fit * fit;
        // At most as many as fit on a terminal.
        Page { first, count: fit.min(all - first), width: (width + 1) / fit as u16 }
    }

    fn choose(&mut self, comparison: &ComparisonView, by: isize) -> Reply {
        self.chosen = self.chosen.step(Step::Rows(by), comparison.variants.len(), 1);
        Reply::Taken
    }

    /// Runs a command on the selected variant.
    fn about(&self, comparison: &ComparisonView, verb: &str) -> Reply {
        match comparison.variants.get(self.chosen.selected(comparison.variants.len())) {
            Some(variant) => Reply::Run(format!("{verb} {}", variant.name)),
            None => Reply::Taken,
        }
    }
}

/// The comparison, and the number of ticks at the shown place.
fn compared(state: &State) -> Option<(&ComparisonView, usize)> {
    let comparison = state.view.as_deref()?.comparison.as_ref()?;
    Some((comparison, state.place()))
}

impl View for Compare {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let Some((comparison, tick)) = compared(state) else {
            return vec![Pane::new(VARIANTS, "compare", area)];
        };
        let rows = CHART_ROWS[usize::from(area.height >= HIGH)];
        let [above, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(rows)]).areas(area);
        let page = self.page(comparison, area.width);
        let mut title = tr!("{} variants of {}", comparison.variants.len(), comparison.title);
        if page.count < comparison.variants.len() {
            title = tr!("{} to {} of {title}", page.first + 1, page.first + page.count, title);
        }
        if comparison.is_uneven {
            title.push_str(", aligned by noise level");
        }
        let rows = comparison.rows;
        if rows.apart > 0 {
            title.push_str(&tr!(" · UNet rows {} of {}", rows.computed, rows.apart));
        }
        let residuals = column::reaches(comparison, tick);
        let charted = if comparison.is_sweep {
            "at the end, by the stage where the change starts"
        } else {
            "over the steps"
        };
        vec![
            Pane::new(VARIANTS, format!("{title}{residuals}"), above),
            Pane::new(CHART, format!("{} {charted} (v: next)", self.measure.name()), below),
        ]
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let Some((comparison, tick)) = compared(canvas.state) else {
            return welcome::draw_examples(
                "No comparison yet. Variants run in lockstep, side by side, a column each; what two of them share \
                 is computed once. C begins such a command:",
                &EXAMPLES,
                canvas,
                area,
            );
        };
        if pane == CHART {
            self.measured.borrow_mut().learn(comparison);
            return chart::draw(comparison, tick, self.measure, &self.measured.borrow(), canvas, area);
        }
        let page = self.page(comparison, area.width);
        for index in page.first..page.first + page.count {
            let x = area.x + (index - page.first) as u16 * page.width;
            let own = Rect { x, width: page.width - 1, ..area }.intersection(area);
            let is_chosen = index == self.chosen.selected(comparison.variants.len());
            column::draw(comparison, index, tick, is_chosen, &mut self.drawn.borrow_mut(), canvas, own);
        }
    }

    fn bindings(&self) -> &'static [ViewKeys] {
        const {
            &[
                ViewKeys::new(
                    &[KeyCode::Char('h'), KeyCode::Char('l')],
                    phrase("variant"),
                    phrase("select the previous or next variant; PgUp and PgDn a screen of them"),
                ),
                ViewKeys::new(&[KeyCode::Enter], phrase("open"), phrase("switch to the variant's timeline")),
                ViewKeys::new(
                    &[KeyCode::Char('=')],
                    phrase("base"),
                    phrase("compare the other variants with the selected one"),
                ),
                ViewKeys::new(
                    &[KeyCode::Char('v')],
                    phrase("measure"),
                    phrase("draw the next measure in the chart"),
                ),
            ]
        }
    }

    fn step(&mut self, _: &str, step: Step, room: Size, state: &State) -> Reply {
        match (compared(state), step) {
            (Some((comparison, _)), Step::Pages(_)) => {
                let page = self.page(comparison, room.width).count;
                self.choose(comparison, step.rows(page))
            }
            _ => Reply::Unknown,
        }
    }

    fn key(&mut self, _: &str, key: KeyEvent, _: Size, state: &State) -> Reply {
        let Some((comparison, _)) = compared(state) else { return Reply::Unknown };
        match key.code {
            KeyCode::Char('h') => self.choose(comparison, -1),
            KeyCode::Char('l') => self.choose(comparison, 1),
            KeyCode::Enter => self.about(comparison, "switch"),
            KeyCode::Char('=') => self.about(comparison, "compare base"),
            KeyCode::Char('v') => {
                self.measure = self.measure.next();
                Reply::Taken
            }
            _ => Reply::Unknown,
        }
    }

    fn press(&mut self, pane: &str, at: Position, room: Size, state: &State) -> Reply {
        let Some((comparison, _)) = compared(state) else { return Reply::Unknown };
        if pane == CHART {
            let tick = chart::tick_at(comparison, at, Rect::from(room));
            return tick.map_or(Reply::Taken, Reply::Place);
        }
        let page = self.page(comparison, room.width);
        self.chosen = ListView::at(page.first + usize::from(at.x / page.width.max(1)).min(page.count - 1));
        Reply::Taken
    }

    fn wheel(&mut self, pane: &str, rows: i16, _: Size, state: &State) -> Reply {
        match compared(state) {
            Some((comparison, _)) if pane == VARIANTS => self.choose(comparison, rows.signum().into()),
            _ => Reply::Unknown,
        }
    }

    fn previews(&self, state: &State) -> Vec<Preview> {
        let Some((comparison, tick)) = compared(state) else { return vec![] };
        let records = comparison.variants.iter().filter_map(|variant| comparison.record(variant, tick));
        records
            .flat_map(|record: &std::sync::Arc<RecordView>| previews_of(record, &["pred_original_sample"]))
            .collect()
    }

    fn selected(&self, _: &str, state: &State) -> Option<String> {
        let (comparison, _) = compared(state)?;
        let mut measured = self.measured.borrow_mut();
        measured.learn(comparison);
        Some(chart::table(comparison, &measured))
    }
}
