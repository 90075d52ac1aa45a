//! A chart of one measure over the steps, with a line for each variant.

use crate::debugger::record::RecordId;
use crate::debugger::view::{ComparisonView, VariantView};
use crate::pipeline::Stage;
use crate::scheduler::step::timestep_text;
use crate::tensor::compare::{cosine, relative_difference};
use crate::tui::canvas::Canvas;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widget::plot::{Plot, Series, Stroke, short};
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use std::collections::HashMap;
use std::fmt::Write;

/// The charted measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    #[default]
    Difference,
    Std,
    UncondNorm,
    TextNorm,
    Cosine,
}

use Measure::{Cosine, Difference, Std, TextNorm, UncondNorm};

const ALL: [Measure; 5] = [Difference, Std, UncondNorm, TextNorm, Cosine];

impl Measure {
    /// The next measure.
    pub fn next(self) -> Self {
        let place = ALL.iter().position(|known| *known == self).unwrap_or(0);
        ALL[(place + 1) % ALL.len()]
    }

    /// The measure's name.
    pub fn name(self) -> &'static str {
        match self {
            Difference => "relative difference of latents from the base",
            Std => "std of latents",
            UncondNorm => "‖uncond_residual‖",
            TextNorm => "‖text_cond_residual‖",
            Cosine => "cosine of the residuals",
        }
    }
}

/// A cache of measures.
#[derive(Debug, Default)]
pub struct Measured {
    /// By the records of a variant and of the base.
    differences: HashMap<(RecordId, RecordId), f64>,
    cosines: HashMap<RecordId, f64>,
}

impl Measured {
    /// Measures the new records of a comparison.
    pub fn learn(&mut self, comparison: &ComparisonView) {
        for variant in &comparison.variants {
            for tick in 0..=comparison.ticks() {
                let Some(record) = comparison.record(variant, tick) else { continue };
                let residuals = record.tensor("uncond_residual").zip(record.tensor("text_cond_residual"));
                if let Some((uncond, text)) = residuals {
                    let measure = || cosine(text.values.data(), uncond.values.data());
                    self.cosines.entry(record.id).or_insert_with(measure);
                }
                let base = comparison.variants.get(comparison.base);
                let Some(base) = base.and_then(|base| comparison.record(base, tick)) else { continue };
                if let (Some(ours), Some(theirs)) = (record.compared(), base.compared())
                    && ours.shape() == theirs.shape()
                {
                    let measure = || relative_difference(ours.data(), theirs.data());
                    self.differences.entry((record.id, base.id)).or_insert_with(measure);
                }
            }
        }
    }

    /// A measure of a variant after a number of ticks.
    fn get(&self, comparison: &ComparisonView, variant: &VariantView, tick: usize, measure: Measure) -> f64 {
        let Some(record) = comparison.record(variant, tick) else { return f64::NAN };
        let norm = |name| record.tensor(name).map_or(f64::NAN, |tensor| tensor.row.summary.l2);
        let known = match measure {
            Difference => {
                let base = comparison.variants.get(comparison.base);
                let base = base.and_then(|base| comparison.record(base, tick));
                base.and_then(|base| self.differences.get(&(record.id, base.id))).copied()
            }
            Std => record.tensor("latents").map(|tensor| tensor.row.summary.std),
            UncondNorm => Some(norm("uncond_residual")),
            TextNorm => Some(norm("text_cond_residual")),
            Cosine => self.cosines.get(&record.id).copied(),
        };
        known.unwrap_or(f64::NAN)
    }
}

/// The charted ticks: those of the steps.
fn steps(comparison: &ComparisonView) -> std::ops::Range<usize> {
    3..comparison.ticks()
}

/// The lines; of a sweep one line, over the stage at which the change starts.
fn plot(
    comparison: &ComparisonView,
    tick: usize,
    measure: Measure,
    measured: &Measured,
    theme: &Theme,
) -> Plot {
    if comparison.is_sweep {
        let end = comparison.ticks() - 1;
        let changed = comparison.variants.iter().enumerate().filter(|(index, _)| *index != comparison.base);
        let last = comparison.variants.len().saturating_sub(2);
        let points = changed
            .zip(0..)
            .map(|((_, variant), place)| (f64::from(place), measured.get(comparison, variant, end, measure)));
        let named = |index: usize| {
            let variant =
                comparison.variants.iter().filter(|v| v.name != comparison.variants[comparison.base].name);
            variant.map(|variant| variant.member.values.join(" ")).nth(index).unwrap_or_default()
        };
        return Plot {
            series: vec![Series {
                points: points.collect(),
                style: theme.series[0],
                stroke: Stroke::Solid,
                has_marks: false,
            }],
            x: [0., last as f64],
            here: None,
            ends: [named(0), named(last)],
            faint: theme.faint,
        };
    }
    let ticks = steps(comparison);
    let line = |(index, variant): (usize, &VariantView)| Series {
        points: ticks
            .clone()
            .map(|tick| (tick as f64, measured.get(comparison, variant, tick, measure)))
            .collect(),
        style: theme.series[index % theme.series.len()],
        stroke: Stroke::of(index, theme.series.len()),
        has_marks: false,
    };
    let timesteps = comparison.lineup().timesteps();
    let timestep = |t: Option<&f64>| t.map_or(String::new(), |t| format!("t = {}", timestep_text(*t)));
    Plot {
        series: comparison.variants.iter().enumerate().map(line).collect(),
        x: [ticks.start as f64, (ticks.end - 1) as f64],
        here: (tick >= ticks.start).then(|| tick.min(ticks.end - 1) as f64),
        ends: [timestep(timesteps.first()), timestep(timesteps.last())],
        faint: theme.faint,
    }
}

/// Draws the chart with its legend above.
pub fn draw(
    comparison: &ComparisonView,
    tick: usize,
    measure: Measure,
    measured: &Measured,
    canvas: &mut Canvas<'_>,
    area: Rect,
) {
    // After vae_decode the legend keeps the numbers of the last step, which the lines end with.
    let tick = tick.min(comparison.ticks().saturating_sub(1));
    // A sweep's only line needs no legend.
    let rows = u16::from(!comparison.is_sweep);
    let [top, drawn] = Layout::vertical([Constraint::Length(rows), Constraint::Min(0)]).areas(area);
    let theme = canvas.theme;
    let mut line = Line::default();
    if !comparison.is_sweep {
        for (index, variant) in comparison.variants.iter().enumerate() {
            let mark = format!("{} ", Stroke::of(index, theme.series.len()).mark());
            let value = measured.get(comparison, variant, tick, measure);
            let value = if value.is_nan() { String::new() } else { format!(": {}", short(value)) };
            line.push_span(Span::styled(mark, theme.series[index % theme.series.len()]));
            line.push_span(Span::raw(text::clean(&variant.member.values.join(" · "))));
            line.push_span(Span::styled(format!("{value}  "), theme.faint));
        }
    }
    canvas.lines(&[line], top);
    plot(comparison, tick, measure, measured, theme).render(drawn, canvas.buf);
}

/// The number of ticks at a column of the chart.
pub fn tick_at(comparison: &ComparisonView, at: Position, room: Rect) -> Option<usize> {
    if comparison.is_sweep {
        return None;
    }
    let plot = plot(comparison, 0, Measure::default(), &Measured::default(), &Theme::default());
    Some(plot.x_at(at.x, room)?.round().max(0.) as usize)
}

/// Every measure of every step of every variant, as tab-separated text.
pub fn table(comparison: &ComparisonView, measured: &Measured) -> String {
    let mut text = String::from("variant\tstage");
    ALL.iter().for_each(|measure| text.extend(["\t", measure.name()]));
    for variant in &comparison.variants {
        for tick in steps(comparison) {
            let Some(record) = comparison.record(variant, tick) else { continue };
            if !matches!(record.stage, Stage::Denoise { .. }) {
                continue;
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{}\t{}", variant.name, record.stage);
            for measure in ALL {
                let _ = write!(text, "\t{}", measured.get(comparison, variant, tick, measure));
            }
        }
    }
    text
}
