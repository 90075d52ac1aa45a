//! The flow through a model, drawn to scale: for the UNet an hourglass with its skip connections.
//!
//! Each part is a bar: its height is the image size that it works on, its width the number of channels.

use super::Known;
use super::statistic::{Heat, Statistic};
use crate::debugger::inspect::ModuleRun;
use crate::model::anatomy::{Module, is_within};
use crate::picture::scale::sequential;
use crate::tui::canvas::Canvas;
use crate::tui::text;
use crate::tui::widget::{heat, plot::short};
use ratatui::layout::{Position, Rect, Size};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tr::tr;

/// Rows below the bars: names, channels and sizes, and the colour scale if it fits.
const LABELS: u16 = 3;
/// The minimum rows for all of them.
const ROOMY: u16 = 12;
/// The columns of a label with a space, on wide and on narrow panes.
const LABEL: [u16; 2] = [5, 4];

/// How a part changes the image size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Down,
    Up,
    Same,
}

/// A part of a model.
#[derive(Debug, Clone, PartialEq)]
struct Part<'a> {
    module: &'a Module,
    label: String,
    kind: Kind,
    channels: usize,
    /// The image size that it works on, relative to the largest.
    size: f64,
    /// The number of skip connections that end in it.
    skips: usize,
}

/// Rows of the pane, with its rule.
pub fn rows(room: Rect) -> u16 {
    (room.height * 9 / 20).max(room.height.min(11)).min(20)
}

pub fn title(known: &Known<'_>) -> String {
    match part_at(known) {
        "unet" => tr!("hourglass of unet: height is size, width channels"),
        "text_encoder" => tr!("flow through text_encoder: width is channels"),
        part => tr!("flow through {part}: height is size, width channels", part),
    }
}

/// The model to draw.
fn part_at(known: &Known<'_>) -> &'static str {
    known.stage.map_or("unet", |(_, part)| part)
}

/// The parts in the order in which they run.
fn parts<'a>(known: &Known<'a>) -> Vec<Part<'a>> {
    let whole = part_at(known);
    let below = |path: &str, name: &str| {
        let has =
            |module: &&Module| module.path.strip_prefix(path).is_some_and(|rest| rest.starts_with(name));
        known.all.iter().filter(has).filter(|module| module.path.len() > path.len() + name.len()).count()
    };
    let outputs =
        |path: &str| known.all.iter().find(|module| module.path == path).and_then(|module| module.outputs);
    let mut parts: Vec<(usize, Part<'a>)> = vec![];
    for module in known.all {
        let Some(name) = module.path.strip_prefix(whole).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        let (group, index) = name.rsplit_once('.').unwrap_or((name, ""));
        if index.parse::<usize>().is_err() && !index.is_empty() {
            continue;
        }
        let (order, label, kind) = match group {
            "conv_in" => (0, "in".to_string(), Kind::Same),
            "down_blocks" => (1, format!("d{index}"), Kind::Down),
            "mid_block" => (2, "mid".into(), Kind::Same),
            "up_blocks" => (3, format!("u{index}"), Kind::Up),
            "encoder.layers" => (3, index.to_string(), Kind::Same),
            "conv_out" => (4, "out".into(), Kind::Same),
            _ => continue,
        };
        let ends = ["", ".resnets.0.conv1", ".mlp.fc2"].map(|end| outputs(&format!("{}{end}", module.path)));
        let skips = if whole == "unet" && kind == Kind::Up {
            (0..).take_while(|i| outputs(&format!("{}.resnets.{i}.conv1", module.path)).is_some()).count()
        } else {
            0
        };
        let channels = ends.into_iter().flatten().next().unwrap_or(1);
        parts.push((order, Part { module, label, kind, channels, size: 1., skips }));
    }
    parts.sort_by_key(|(order, _)| *order);
    let mut parts: Vec<Part<'a>> = parts.into_iter().map(|(_, part)| part).collect();
    let mut size = 1.;
    for part in &mut parts {
        part.size = size;
        match part.kind {
            Kind::Down if below(&part.module.path, ".downsamplers.") > 0 => size /= 2.,
            Kind::Up if below(&part.module.path, ".upsamplers.") > 0 => size *= 2.,
            _ => {}
        }
    }
    let most = parts.iter().map(|part| part.size).fold(0., f64::max);
    parts.iter_mut().for_each(|part| part.size /= most);
    parts
}

/// A part's bar, and the columns reserved for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    x: u16,
    width: u16,
    bar: u16,
}

impl Slot {
    fn bar_x(self) -> u16 {
        self.x + (self.width - self.bar) / 2
    }

    fn middle(self) -> u16 {
        self.bar_x() + self.bar / 2
    }
}

/// The widest bars that fit, with one number of channels per column.
fn slots(channels: &[usize], width: u16) -> Vec<Slot> {
    let most = channels.iter().copied().max().unwrap_or(1).max(1) as f64;
    let laid_out = |widest: u16, label: u16| {
        let mut x = 0;
        let slots = channels.iter().map(|channels| {
            let bar = ((*channels as f64 / most * f64::from(widest)).round() as u16).max(1);
            let slot = Slot { x, width: bar.max(label - 1), bar };
            x += slot.width + 1;
            slot
        });
        let slots: Vec<Slot> = slots.collect();
        (x.saturating_sub(1), slots)
    };
    for label in LABEL {
        if let Some((used, slots)) =
            (1..=width).rev().map(|widest| laid_out(widest, label)).find(|(used, _)| *used <= width)
        {
            let left = (width - used) / 2;
            return slots.into_iter().map(|slot| Slot { x: slot.x + left, ..slot }).collect();
        }
    }
    vec![]
}

/// The part at a position of the pane.
pub fn at(known: &Known<'_>, place: Position, room: Size) -> Option<String> {
    let parts = parts(known);
    let slots = slots(&parts.iter().map(|part| part.channels).collect::<Vec<_>>(), room.width);
    let found = slots.iter().position(|slot| (slot.x..=slot.x + slot.width).contains(&place.x))?;
    Some(parts[found].module.path.clone())
}

/// Draws the flow. The bars' colours show their statistic.
pub fn draw(selected: &str, statistic: Statistic, known: &Known<'_>, canvas: &mut Canvas<'_>, area: Rect) {
    let parts = parts(known);
    let slots = slots(&parts.iter().map(|part| part.channels).collect::<Vec<_>>(), area.width);
    let roomy = area.height >= ROOMY;
    // One inside the other, a row each.
    let arcs: Vec<(usize, usize)> = {
        let downs = parts.iter().enumerate().filter(|(_, part)| part.kind == Kind::Down).map(|(at, _)| at);
        let ups = parts.iter().enumerate().filter(|(_, part)| part.skips > 0).map(|(at, _)| at).rev();
        downs.zip(ups).collect()
    };
    let below = if roomy { LABELS + 2 } else { LABELS - 1 };
    let above = arcs.len() as u16;
    if slots.is_empty() || area.height < above + below + 2 {
        let label = "too small here; z shows it alone";
        return canvas
            .lines(&[Line::styled(text::shortened(label, area.width.into()), canvas.theme.faint)], area);
    }
    let bars = Rect { y: area.y + above, height: area.height - above - below, ..area };
    let heat = known.run.map(|run| Heat::of(statistic, run, known.loras));
    for (part, slot) in parts.iter().zip(&slots) {
        let run = known.run_of(&part.module.path);
        let colour = match (run, heat) {
            (Some(run), Some(heat)) => statistic.colour(run, known.loras, &heat),
            _ => canvas.theme.rule.fg.unwrap_or(Color::Reset),
        };
        let is_selected = is_within(selected, &part.module.path);
        draw_bar(part, *slot, colour, is_selected, canvas, bars);
        let own = Rect { x: area.x + slot.x, y: bars.bottom(), width: slot.width, height: 1 };
        let style = match known.current_module() {
            Some(current_module) if is_within(current_module, &part.module.path) => canvas.theme.here,
            _ if is_selected => canvas.theme.selected,
            _ => canvas.theme.plain,
        };
        let mark = if known.breakpoint(&part.module.path).is_some() { "●" } else { "" };
        centred(&format!("{mark}{}", part.label), style, own, canvas);
        let size = run.and_then(worked_on).unwrap_or_default();
        let channels = part.channels.to_string();
        let label =
            if roomy { vec![channels, size] } else { vec![if size.is_empty() { channels } else { size }] };
        for (row, label) in (1..).zip(label) {
            centred(&label, canvas.theme.faint, Rect { y: own.y + row, ..own }, canvas);
        }
    }
    for (row, (down, up)) in arcs.iter().enumerate() {
        draw_arc(row as u16, (&parts[*down], slots[*down]), (&parts[*up], slots[*up]), canvas, area, bars);
    }
    if let (true, Some(heat)) = (roomy, heat) {
        draw_scale(statistic, heat, canvas, Rect { y: area.bottom() - 1, height: 1, ..area });
    }
}

/// The first half row of a bar, and the one after its last.
fn halves(part: &Part<'_>, room: u16) -> (u16, u16) {
    let high = ((f64::from(2 * room) * part.size).round() as u16).clamp(1, 2 * room);
    let first = (2 * room - high) / 2;
    (first, first + high)
}

fn draw_bar(
    part: &Part<'_>,
    slot: Slot,
    colour: Color,
    is_selected: bool,
    canvas: &mut Canvas<'_>,
    bars: Rect,
) {
    let (first, end) = halves(part, bars.height);
    for row in first / 2..end.div_ceil(2) {
        let symbol = match (first <= 2 * row, end > 2 * row + 1) {
            (true, true) => "█",
            (true, false) => "▀",
            _ => "▄",
        };
        let cell = Rect { x: bars.x + slot.bar_x(), y: bars.y + row, width: slot.bar, height: 1 };
        let line = Line::styled(symbol.repeat(slot.bar.into()), Style::new().fg(colour));
        line.render(cell.intersection(bars), canvas.buf);
    }
    if is_selected {
        // The selected bar is marked at both sides, whatever its colour.
        let middle = bars.y + (first + end) / 4;
        for (x, mark) in [(slot.bar_x().checked_sub(1), "▸"), (Some(slot.bar_x() + slot.bar), "◂")] {
            let Some(x) = x else { continue };
            let place = Rect { x: bars.x + x, y: middle.min(bars.bottom() - 1), width: 1, height: 1 };
            Line::styled(mark, canvas.theme.focus).render(place.intersection(bars), canvas.buf);
        }
    }
}

/// The skip connections between two parts.
fn draw_arc(
    row: u16,
    (down, from): (&Part<'_>, Slot),
    (up, to): (&Part<'_>, Slot),
    canvas: &mut Canvas<'_>,
    area: Rect,
    bars: Rect,
) {
    let theme = canvas.theme;
    let (left, right) = (from.middle(), to.middle());
    if right <= left + 1 {
        return;
    }
    let across = usize::from(right - left - 1);
    let label = format!(" {} skips ", up.skips);
    let label = if text::width(&label) + 2 <= across { label } else { String::new() };
    let before = (across - text::width(&label)) / 2;
    let after = across - text::width(&label) - before;
    let line = Line::from(vec![
        Span::styled(format!("╭{}", "─".repeat(before)), theme.rule),
        Span::styled(label, theme.faint),
        Span::styled(format!("{}╮", "─".repeat(after)), theme.rule),
    ]);
    let place = Rect { x: area.x + left, y: area.y + row, width: right - left + 1, height: 1 };
    line.render(place.intersection(area), canvas.buf);
    for (part, x, end) in [(down, left, "│"), (up, right, "▼")] {
        let top = bars.y + halves(part, bars.height).0 / 2;
        for y in area.y + row + 1..top {
            let symbol = if y + 1 == top { end } else { "│" };
            let place = Rect { x: area.x + x, y, width: 1, height: 1 };
            Line::styled(symbol, theme.rule).render(place.intersection(area), canvas.buf);
        }
    }
}

/// The pixels or tokens that a part works on: `16²`, `16×12`.
fn worked_on(run: &ModuleRun) -> Option<String> {
    match *run.inputs.first()?.as_slice() {
        [_, _, h, w] if h == w => Some(format!("{h}²")),
        [_, _, h, w] => Some(format!("{h}×{w}")),
        [_, n, _] => Some(n.to_string()),
        _ => None,
    }
}

fn centred(label: &str, style: Style, area: Rect, canvas: &mut Canvas<'_>) {
    // A label may use the gap beside it.
    let width = text::width(label) as u16;
    let x = (area.x + area.width / 2).saturating_sub(width / 2);
    let place = Rect { x, width: width.min(area.width + 1), ..area };
    Line::styled(label.to_string(), style).render(place.intersection(canvas.buf.area), canvas.buf);
}

/// The colour scale with its ends.
fn draw_scale(statistic: Statistic, heat: Heat, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    let (least, most) = heat.ends();
    if statistic == Statistic::Mean {
        let name = Rect { width: 6.min(area.width), ..area };
        Line::styled("mean", theme.faint).render(name, canvas.buf);
        let rest = Rect { x: name.right(), width: area.width - name.width, ..area };
        return heat::scale(most as f32, theme.faint, rest, canvas.buf);
    }
    if statistic == Statistic::NotFinite || most <= least {
        return;
    }
    const STEPS: usize = 24;
    let label = |value: f64| match statistic {
        Statistic::Time => super::statistic::time(value),
        _ => short(value),
    };
    let mut line = Line::styled(format!("{}  {} ", statistic.name(), label(least)), theme.faint);
    for step in 0..STEPS {
        let [r, g, b] = sequential(step as f32 / (STEPS - 1) as f32).0;
        line.push_span(Span::styled("█", Style::new().fg(Color::Rgb(r, g, b))));
    }
    line.push_span(Span::styled(format!(" {}, logarithmic", label(most)), theme.faint));
    line.render(area, canvas.buf);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bars_stay_inside_and_apart(channels in prop::collection::vec(1usize..2000, 1..14), width in 0u16..200) {
            let slots = slots(&channels, width);
            prop_assert!(slots.is_empty() || slots.len() == channels.len());
            for slot in &slots {
                prop_assert!(slot.bar >= 1 && slot.bar <= slot.width && slot.x + slot.width <= width);
            }
            for pair in slots.windows(2) {
                prop_assert!(pair[0].x + pair[0].width < pair[1].x);
            }
        }

        #[test]
        fn more_channels_are_no_narrower(a in 1usize..2000, b in 1usize..2000, width in 20u16..200) {
            let slots = slots(&[a, b], width);
            prop_assert!(a > b || slots[0].bar <= slots[1].bar);
        }
    }
}
