//! Charts of measures over the recorded steps.

use super::pane::{self, Pane, Reply};
use super::welcome;
use crate::debugger::View;
use crate::debugger::record::RecordId;
use crate::pipeline::Stage;
use crate::scheduler::step::timestep_text;
use crate::tensor::compare::{cosine, distance};
use crate::tui::canvas::Canvas;
use crate::tui::state::State;
use crate::tui::theme::Theme;
use crate::tui::widget::plot::{Plot, Series, Stroke, short};
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

/// A chart: its pane's name, its title, and its lines.
struct Chart {
    pane: &'static str,
    title: &'static str,
    lines: &'static [Measure],
}

/// A measure of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    LatentsStd,
    UncondNorm,
    TextNorm,
    Cosine,
    Change,
    Distance,
}

use Measure::{Change, Cosine, Distance, LatentsStd, TextNorm, UncondNorm};

const CHARTS: [Chart; 5] = [
    Chart { pane: "std", title: "std of latents", lines: &[LatentsStd] },
    Chart { pane: "norms", title: "norms of the residuals", lines: &[UncondNorm, TextNorm] },
    Chart { pane: "cosine", title: "cosine of the residuals", lines: &[Cosine] },
    Chart { pane: "change", title: "‖Δlatents‖ of each step", lines: &[Change] },
    Chart { pane: "distance", title: "distance of latents to the end", lines: &[Distance] },
];

const MEASURES: [Measure; 6] = [LatentsStd, UncondNorm, TextNorm, Cosine, Change, Distance];

impl Measure {
    fn name(self) -> &'static str {
        match self {
            LatentsStd => "latents.std",
            UncondNorm => "‖uncond_residual‖",
            TextNorm => "‖text_cond_residual‖",
            Cosine => "cos(uncond_residual, text_cond_residual)",
            Change => "‖latents − previous latents‖",
            Distance => "‖latents − latents at the end‖",
        }
    }
}

/// The measures of all recorded steps.
#[derive(Debug)]
struct Measured {
    /// The measured records.
    records: Vec<RecordId>,
    complete: bool,
    /// The timestep and the measures of each step, in the order of [`MEASURES`].
    steps: Vec<(f64, [f64; MEASURES.len()])>,
}

/// The charts.
#[derive(Debug, Default)]
pub struct Charts {
    /// Measured once, and again when the recorded steps change.
    measured: RefCell<Option<Rc<Measured>>>,
}

impl pane::View for Charts {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        if steps_recorded(state) == 0 {
            return vec![Pane::new("charts", "charts", area)];
        }
        // Three columns on wide terminals, two on narrow ones; the last row is stretched.
        let columns = if area.width >= 150 { 3 } else { 2 };
        let rows = CHARTS.len().div_ceil(columns);
        let bands = Layout::vertical(vec![Constraint::Fill(1); rows]).split(area);
        let mut panes = vec![];
        for (band, charts) in bands.iter().zip(CHARTS.chunks(columns)) {
            let cells = Layout::horizontal(vec![Constraint::Fill(1); charts.len()]).spacing(1).split(*band);
            panes.extend(
                cells.iter().zip(charts).map(|(cell, chart)| Pane::new(chart.pane, chart.title, *cell)),
            );
        }
        panes
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let state = canvas.state;
        let (Some(view), Some(chart)) = (&state.view, CHARTS.iter().find(|chart| chart.pane == pane)) else {
            return welcome::draw_text(
                "Charts need steps: the std of latents, the norms of both residuals and their cosine, how far each \
                 step moves the latents, and, once the run is complete, how far each step still is from its end. \
                 n runs the next stage, c runs to the end.",
                canvas,
                area,
            );
        };
        let measured = self.measured(view);
        let [top, drawn] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
        if chart.pane == "distance" && !measured.complete {
            return welcome::draw_text("Drawn once the run is complete: c runs to the end.", canvas, area);
        }
        legend(chart, &measured, state, canvas.theme, area.width).render(top, canvas.buf);
        plot(chart, &measured, state, canvas.theme).render(drawn, canvas.buf);
    }

    fn press(&mut self, pane: &str, at: Position, room: Size, state: &State) -> Reply {
        let (Some(view), Some(chart)) = (&state.view, CHARTS.iter().find(|chart| chart.pane == pane)) else {
            return Reply::Unknown;
        };
        let plot = plot(chart, &self.measured(view), state, &Theme::default());
        let step = plot.x_at(at.x, Rect::from(room)).map(|x| x.round().max(0.) as usize);
        step.map_or(Reply::Taken, |step| Reply::Look(step + FIRST))
    }

    fn selected(&self, _: &str, state: &State) -> Option<String> {
        let view = state.view.as_ref()?;
        let measured = self.measured(view);
        let mut text = String::from("step\ttimestep");
        MEASURES.iter().for_each(|measure| text.extend(["\t", measure.name()]));
        for (step, (timestep, values)) in measured.steps.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{}\t{}", view.request.steps().start + step, timestep_text(*timestep));
            for value in values {
                let _ = write!(text, "\t{value}");
            }
        }
        Some(text)
    }
}

/// The number of stages up to and including `denoise 0`.
const FIRST: usize = 3;

fn steps_recorded(state: &State) -> usize {
    let records = state.view.iter().flat_map(|view| &view.records);
    records.filter(|record| matches!(record.stage, Stage::Denoise { .. })).count()
}

/// The index of the shown step among those that run.
fn here(state: &State) -> Option<usize> {
    match state.record()?.stage {
        Stage::Denoise { step } => step.checked_sub(state.view.as_ref()?.request.steps().start),
        Stage::VaeDecode => steps_recorded(state).checked_sub(1),
        _ => None,
    }
}

impl Charts {
    fn measured(&self, view: &View) -> Rc<Measured> {
        let same = |measured: &&Rc<Measured>| {
            measured.records.len() == view.records.len()
                && measured.records.iter().zip(&view.records).all(|(id, record)| *id == record.id)
        };
        let mut kept = self.measured.borrow_mut();
        if let Some(known) = kept.as_ref().filter(same) {
            return Rc::clone(known);
        }
        let measured = Rc::new(measure(view));
        *kept = Some(Rc::clone(&measured));
        measured
    }
}

fn measure(view: &View) -> Measured {
    let complete = view.recorded() == view.stages.len();
    let latents: Vec<_> = view.records.iter().filter_map(|record| record.tensor("latents")).collect();
    let end = latents.last();
    let mut steps = vec![];
    for record in &view.records {
        let (Some(step), Some(latents_now)) = (&record.step, record.tensor("latents")) else { continue };
        let norm = |name| record.tensor(name).map_or(f64::NAN, |tensor| tensor.row.summary.l2);
        let residuals = record.tensor("uncond_residual").zip(record.tensor("text_cond_residual"));
        // The noise of `get_latent` comes first.
        let before = latents.get(steps.len());
        let now = latents_now.values.data();
        let to = |other: Option<&&crate::debugger::record::TensorView>| {
            other.map_or(f64::NAN, |other| distance(now, other.values.data()))
        };
        let values = [
            latents_now.row.summary.std,
            norm("uncond_residual"),
            norm("text_cond_residual"),
            residuals.map_or(f64::NAN, |(a, b)| cosine(a.values.data(), b.values.data())),
            to(before),
            if complete { to(end) } else { f64::NAN },
        ];
        steps.push((step.timestep, values));
    }
    let records = view.records.iter().map(|record| record.id).collect();
    Measured { records, complete, steps }
}

/// The legend: names with their marks, and the values at the shown step, in `width` columns.
fn legend(chart: &Chart, measured: &Measured, state: &State, theme: &Theme, width: u16) -> Line<'static> {
    let here = here(state).and_then(|step| measured.steps.get(step));
    let mut line = Line::default();
    for (index, measure) in chart.lines.iter().enumerate() {
        let mark = format!("{} ", Stroke::of(index, theme.series.len()).mark());
        if index > 0 {
            line.push_span("  ");
        }
        line.push_span(Span::styled(mark, theme.series[index]));
        let column = MEASURES.iter().position(|known| known == measure);
        let value = here.zip(column).map(|((_, values), column)| values[column]).filter(|v| !v.is_nan());
        let name = match (*measure, chart.lines.len()) {
            (UncondNorm, _) => "uncond",
            (TextNorm, _) => "text",
            _ => "",
        };
        let named = if name.is_empty() { String::new() } else { format!("{name} ") };
        line.push_span(Span::styled(named, theme.faint));
        line.push_span(Span::raw(value.map_or(String::new(), short)));
    }
    if let Some((timestep, _)) = here {
        let label = format!("  at t = {}", timestep_text(*timestep));
        // A timestep that is cut off would read as another one.
        if line.width() + label.len() <= usize::from(width) {
            line.push_span(Span::styled(label, theme.faint));
        }
    }
    line
}

fn plot(chart: &Chart, measured: &Measured, state: &State, theme: &Theme) -> Plot {
    let all = state.view.as_ref().map_or(0, |view| view.schedule.timesteps.len());
    let line = |(index, measure): (usize, &Measure)| {
        let column = MEASURES.iter().position(|known| known == measure).unwrap_or(0);
        let point =
            |(step, (_, values)): (usize, &(f64, [f64; MEASURES.len()]))| (step as f64, values[column]);
        let points = measured.steps.iter().enumerate().map(point).collect();
        Series {
            points,
            style: theme.series[index],
            stroke: Stroke::of(index, theme.series.len()),
            has_marks: false,
        }
    };
    let timestep =
        |timestep: Option<&f64>| timestep.map_or(String::new(), |t| format!("t = {}", timestep_text(*t)));
    let timesteps = state.view.as_ref().map_or(&[][..], |view| &view.schedule.timesteps);
    Plot {
        series: chart.lines.iter().enumerate().map(line).collect(),
        x: [0., all.saturating_sub(1) as f64],
        here: here(state).map(|step| step as f64),
        ends: [timestep(timesteps.first()), timestep(timesteps.last())],
        faint: theme.faint,
    }
}
