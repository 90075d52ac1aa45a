//! The values of a function's names: tensors of the run, numbers of the scheduler's step.

use super::{Source, inside};
use crate::debugger::record::{RecordView, TensorRow};
use crate::debugger::source::{self, Function};
use crate::debugger::text::{number, shape};
use crate::debugger::view::InsideView;
use crate::scheduler::step::timestep_text;
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::theme::Theme;
use ratatui::text::{Line, Span};
use tr::tr;

/// The minimum columns for a tensor's shape.
const WIDE_VALUES: u16 = 52;
/// The columns of the longest name whose value is shown.
const NAME: usize = 24;
/// The same on a narrow pane.
const NARROW_NAME: usize = 21;
/// The columns of a mean and a standard deviation: names are cut before them.
const SHORT: usize = 16;

impl Source {
    /// The values of the function's names.
    pub(super) fn values(&self, state: &State, theme: &Theme, width: u16) -> Vec<Line<'static>> {
        let function = self.function(state);
        let (_, text) = function.text();
        let mut names: Vec<&str> = vec![];
        for name in text.iter().flat_map(|line| source::bound(line)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        // On a narrow pane the shape is left out: the numbers are what changes.
        let narrow = width < WIDE_VALUES;
        let line = |name: &str, statistics: String| {
            let columns =
                if narrow { NARROW_NAME.min(usize::from(width).saturating_sub(SHORT + 1)) } else { NAME };
            let statistics = text::shortened(&statistics, usize::from(width).saturating_sub(columns + 1));
            Line::from(vec![
                Span::styled(format!("{:<columns$} ", text::shortened(name, columns)), theme.tensor),
                Span::raw(statistics),
            ])
        };
        let row = |name: &str, tensor: &TensorRow| {
            let s = &tensor.summary;
            let short = format!("{} ± {}", number(s.mean), number(s.std));
            line(name, if narrow { short } else { statistics(tensor) })
        };
        let mut lines = vec![];
        // The current module's inputs, and the last output.
        if let Some(inside) = inside(state).filter(|_| self.inside.is_empty()) {
            lines.extend(inside.given.iter().map(|tensor| row(&tensor.name, tensor)));
        }
        for name in names {
            if let Some(tensor) = known(state, function, name) {
                lines.push(row(name, tensor));
            } else if let Some(value) = coefficient(state, function, name) {
                lines.push(line(name, value));
            }
        }
        if lines.is_empty() {
            lines.push(Line::styled("no values yet", theme.faint));
        }
        lines
    }
}

/// The newest tensor of that name at the shown place.
pub(super) fn known<'a>(state: &'a State, function: Function, name: &str) -> Option<&'a TensorRow> {
    if let Some(row) = inside(state).and_then(|inside| inside.values.iter().find(|row| row.name == name)) {
        return Some(row);
    }
    // A tensor that the stage has yet to make is not the one of the previous stage.
    let is_to_come = |inside: &InsideView| {
        name == "prev_sample" || name != "latents" && source::made_from(inside.line).any(|made| made == name)
    };
    if inside(state).is_some_and(is_to_come) {
        return None;
    }
    let name = match name {
        "prev_sample" => "latents",
        "model_output" => "guided_noise_residual",
        // A step's input is in the record before it.
        "sample" if function.is_step() => return before(state)?.tensor("latents").map(|tensor| &tensor.row),
        name => name,
    };
    let records = state.view.as_ref()?.records.get(..state.cursor())?;
    records.iter().rev().find_map(|record| record.tensor(name)).map(|tensor| &tensor.row)
}

/// The record of the stage before the last finished one.
fn before(state: &State) -> Option<&RecordView> {
    let records = &state.view.as_ref()?.records;
    records.get(state.cursor().checked_sub(2)?).map(|record| &**record)
}

pub(super) fn statistics(row: &TensorRow) -> String {
    tr!("{}  mean {}  std {}", shape(&row.shape), number(row.summary.mean), number(row.summary.std))
}

/// A number of the scheduler's last step.
fn coefficient(state: &State, function: Function, name: &str) -> Option<String> {
    let of = state.record().filter(|_| function.is_step())?.step.as_ref()?;
    match name {
        "timestep" => Some(timestep_text(of.timestep)),
        "prev_timestep" => Some(timestep_text(of.prev_timestep)),
        name => of.number(name).map(number),
    }
}
