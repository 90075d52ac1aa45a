//! A variant's column: its values, its predicted picture, its residuals, its numbers.

use crate::debugger::record::{RecordId, RecordView};
use crate::debugger::timeline::comparison::StepMetrics;
use crate::debugger::view::ComparisonView;
use crate::picture::{Picture, residual};
use crate::scheduler::step::timestep_text;
use crate::tensor::PlainTensor;
use crate::tensor::compare::relative_difference;
use crate::tui::canvas::Canvas;
use crate::tui::text;
use crate::tui::widget::plot::short;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use tr::tr;

/// The small pictures of a step, and their labels.
const SMALL: [(&str, &str); 3] =
    [("uncond_residual", "uncond"), ("text_cond_residual", "text"), ("from base", "Δ base")];
/// The limit of the cache.
const MOST: usize = 512;
/// Smaller pictures have no label.
const LOW: u16 = 4;
/// The rows that pictures get before numbers get any.
const FEWEST: u16 = 6;
/// Rows of the heading: the values, the stage.
const HEADING: u16 = 2;

/// A cache of pictures on a common scale, by record, base, name, and the bits of the scale.
#[derive(Debug, Default)]
pub struct Drawn(HashMap<(RecordId, Option<RecordId>, &'static str, u32), Picture>);

impl Drawn {
    fn picture(
        &mut self,
        key: (RecordId, Option<RecordId>, &'static str),
        values: &PlainTensor,
        reach: f32,
    ) -> Option<Picture> {
        if self.0.len() > MOST {
            self.0.clear();
        }
        let key = (key.0, key.1, key.2, reach.to_bits());
        Some(match self.0.entry(key) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(free) => free.insert(residual::diverging(values, reach)?).clone(),
        })
    }
}

/// The newest record of each variant after a number of ticks.
fn records(comparison: &ComparisonView, tick: usize) -> impl Iterator<Item = &RecordView> {
    comparison
        .variants
        .iter()
        .filter_map(move |variant| comparison.record(variant, tick))
        .map(|record| &**record)
}

fn base(comparison: &ComparisonView, tick: usize) -> Option<&RecordView> {
    let base = comparison.variants.get(comparison.base)?;
    comparison.record(base, tick).map(|record| &**record)
}

/// The common scale of all variants' residuals.
fn reach(comparison: &ComparisonView, tick: usize) -> f32 {
    let residuals = |record| ["uncond_residual", "text_cond_residual"].map(|name| tensor(record, name));
    let tensors = records(comparison, tick).flat_map(residuals).flatten();
    tensors.map(residual::reach).fold(0., f32::max)
}

/// The common scale of the differences from the base.
fn reach_from_base(comparison: &ComparisonView, tick: usize) -> f32 {
    let Some(base) = base(comparison, tick) else { return 0. };
    let differences = records(comparison, tick).filter_map(|record| from_base(record, base));
    differences.map(|difference| residual::reach(&difference)).fold(0., f32::max)
}

/// The scales of the small pictures, for the pane's title.
pub fn reaches(comparison: &ComparisonView, tick: usize) -> String {
    match reach(comparison, tick) {
        0. => String::new(),
        reach => format!(
            " · residuals ±{}, Δ ±{}",
            short(f64::from(reach)),
            short(f64::from(reach_from_base(comparison, tick)))
        ),
    }
}

fn tensor<'a>(record: &'a RecordView, name: &str) -> Option<&'a PlainTensor> {
    record.tensor(name).map(|tensor| &tensor.values)
}

/// The difference of a record's tensor from the base's.
fn from_base(record: &RecordView, base: &RecordView) -> Option<PlainTensor> {
    let (ours, theirs) = (record.compared()?, base.compared()?);
    let values = ours.data().iter().zip(theirs.data()).map(|(a, b)| a - b).collect();
    (ours.shape() == theirs.shape()).then(|| PlainTensor::from_values(ours.shape(), values)).flatten()
}

/// Draws the variant at `index`.
pub fn draw(
    comparison: &ComparisonView,
    index: usize,
    tick: usize,
    is_chosen: bool,
    drawn: &mut Drawn,
    canvas: &mut Canvas<'_>,
    area: Rect,
) {
    let theme = canvas.theme;
    let variant = &comparison.variants[index];
    let record = comparison.record(variant, tick).map(|record| &**record);
    let width = usize::from(area.width);
    let is_base = index == comparison.base;
    let values = text::clean(&variant.member.values.join(" · "));
    let mark = if is_base { " ◆ base" } else { "" };
    let heading = text::shortened(&values, width.saturating_sub(text::width(mark)));
    let stage = record.map_or(tr!("at the start"), |record| match &record.step {
        Some(step) => format!("{}  t = {}", record.stage, timestep_text(step.timestep)),
        None => record.stage.to_string(),
    });
    let head = [
        Line::from(vec![
            Span::styled(heading, if is_chosen { theme.selected } else { theme.strong }),
            Span::styled(mark, theme.here),
        ]),
        Line::styled(text::shortened(&stage, width), theme.faint),
    ];
    let numbers =
        record.map_or(vec![], |record| numbers(record, base(comparison, tick).filter(|_| !is_base), width));
    let numbers: Vec<Line<'_>> = numbers
        .into_iter()
        .map(|(name, value)| {
            Line::from(vec![Span::styled(format!("{name:<9}"), theme.faint), Span::raw(value)])
        })
        .collect();
    // Pictures get most of the rows. The last number, which is what is compared, is always shown.
    let rows = (numbers.len() as u16).min(area.height.saturating_sub(HEADING + FEWEST));
    let [above, pictures, below] =
        Layout::vertical([Constraint::Length(HEADING), Constraint::Min(0), Constraint::Length(rows)])
            .areas(area);
    canvas.lines(&head, above);
    canvas.lines(&numbers[numbers.len() - usize::from(rows)..], below);
    if let Some(record) = record {
        draw_pictures(comparison, record, tick, drawn, canvas, pictures);
    }
}

/// The predicted picture, and the small ones below it or beside it.
fn draw_pictures(
    comparison: &ComparisonView,
    record: &RecordView,
    tick: usize,
    drawn: &mut Drawn,
    canvas: &mut Canvas<'_>,
    area: Rect,
) {
    let named = ["image", "pred_original_sample", "latents"].iter().find_map(|name| record.picture(name));
    let Some(named) = named else { return };
    let large = canvas.state.best(record, named).picture.image.clone();
    let small = small(comparison, record, tick, drawn);
    let (cell_width, cell_height) = canvas.pictures.graphics().cell();
    let ratio = f64::from(large.height() * cell_width) / f64::from((large.width() * cell_height).max(1));
    // Rows of a picture of a number of columns, and the reverse.
    let tall = |width: u16| ((f64::from(width) * ratio).round() as u16).max(1);
    let wide = |height: u16| (f64::from(height) / ratio.max(1e-6)).floor() as u16;
    let count = small.len() as u16;
    if count == 0 {
        let width = area.width.min(wide(area.height));
        return canvas.picture(&large, true, Rect { width, height: tall(width).min(area.height), ..area });
    }
    // Below it: a row of small pictures with labels; beside it: a column of them.
    let across = area.width.saturating_sub(count - 1) / count;
    let under = area.width.min(wide(area.height.saturating_sub(tall(across) + 1)));
    let low = area.height / count;
    let strip = wide(low).min(area.width / 3);
    let beside = (area.width.saturating_sub(strip + 1)).min(wide(area.height));
    if under >= beside {
        let height = tall(under).min(area.height);
        canvas.picture(&large, true, Rect { width: under, height, ..area });
        for (place, (caption, picture)) in (0..).zip(small) {
            let x = area.x + place * (across + 1);
            let at = Rect { x, y: area.y + height, width: across, height: tall(across) };
            canvas.picture(&picture.image, false, at.intersection(area));
            let line = Line::styled(text::shortened(caption, across.into()), canvas.theme.tensor);
            let below = Rect { y: at.bottom(), height: 1, ..at };
            canvas.lines(&[line], below.intersection(area));
        }
    } else {
        canvas.picture(&large, true, Rect { width: beside, height: tall(beside).min(area.height), ..area });
        for (place, (caption, picture)) in (0..).zip(small) {
            // Low pictures have no labels, and are recognized by their order.
            let named = u16::from(low >= LOW);
            let at = Rect {
                x: area.x + beside + 1,
                y: area.y + place * low,
                width: wide(low - named).min(strip),
                height: low - named,
            };
            canvas.picture(&picture.image, false, at.intersection(area));
            if named > 0 {
                let line = Line::styled(text::shortened(caption, strip.into()), canvas.theme.tensor);
                let below = Rect { y: at.bottom(), height: 1, width: strip, ..at };
                canvas.lines(&[line], below.intersection(area));
            }
        }
    }
}

/// Both residuals, and the difference from the base, on scales that all variants share.
fn small(
    comparison: &ComparisonView,
    record: &RecordView,
    tick: usize,
    drawn: &mut Drawn,
) -> Vec<(&'static str, Picture)> {
    let (shared, from) = (reach(comparison, tick), reach_from_base(comparison, tick));
    let base = base(comparison, tick);
    let picture = |(name, caption): (&'static str, &'static str)| {
        let picture = match (tensor(record, name), base) {
            (Some(values), _) => drawn.picture((record.id, None, name), values, shared),
            (None, Some(base)) if name == "from base" && base.step.is_some() => {
                drawn.picture((record.id, Some(base.id), name), &from_base(record, base)?, from)
            }
            _ => None,
        };
        Some((caption, picture?))
    };
    SMALL.into_iter().filter_map(picture).collect()
}

/// The numbers of a record, the most important last.
fn numbers(record: &RecordView, base: Option<&RecordView>, width: usize) -> Vec<(&'static str, String)> {
    let figures = StepMetrics::of(|name| tensor(record, name).cloned());
    let mut numbers = vec![];
    let mut add = |name, value: Option<f64>| numbers.extend(value.map(|value| (name, short(value))));
    add("std", figures.std);
    add("‖uncond‖", figures.uncond_norm);
    add("‖text‖", figures.text_norm);
    add("cosine", figures.cosine);
    let difference = base.and_then(|base| {
        let (ours, theirs) = (record.compared()?, base.compared()?);
        (ours.shape() == theirs.shape()).then(|| relative_difference(ours.data(), theirs.data()))
    });
    let from = if width >= 22 { " from base" } else { "" };
    // The base has the row too, so that all columns align.
    let difference =
        difference.map_or("–".into(), |difference| format!("{} %{from}", short(difference * 100.)));
    numbers.push(("Δ", difference));
    numbers
}
