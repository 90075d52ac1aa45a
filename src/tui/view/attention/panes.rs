//! Draws the panes: the tokens, the map, the word's effect.

use super::found::Found;
use super::{Attention, MAP};
use crate::debugger::outcome::attention as attended;
use crate::debugger::outcome::attention::Peak;
use crate::debugger::prompt::TokenKind;
use crate::picture::heat;
use crate::picture::scale::sequential;
use crate::tui::canvas::{Canvas, Target};
use crate::tui::list::ListView;
use crate::tui::text;
use crate::tui::view::pictures::{self, Captioned};
use image::Rgb;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use tr::tr;

/// Rows below a picture and its caption: the scale and the text, on low and on high terminals.
const TEXT_ROWS: [u16; 2] = [2, 4];
/// From this many rows on, a terminal is high.
const TALL: u16 = 16;
/// The maximum columns of a scale.
const SCALE: usize = 24;
/// The colour that marks the selected point.
const MARK: Rgb<u8> = Rgb([80, 200, 255]);

fn rgb(Rgb([r, g, b]): Rgb<u8>) -> Color {
    Color::Rgb(r, g, b)
}

const EIGHTHS: [&str; 9] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];

/// A bar of at most `columns`.
fn bar(share: f64, columns: usize) -> String {
    let eighths = (share.clamp(0., 1.) * (columns * 8) as f64).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// A row per token: its name, and its share of the attention.
pub(super) fn draw_tokens(found: &Found<'_>, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    let most = found.rows.iter().filter_map(|row| row.share).fold(0f64, f64::max);
    let names = usize::from(area.width / 3).clamp(7, 14);
    let bars = usize::from(area.width).saturating_sub(names + 14);
    let first = ListView::at(found.at).window(found.rows.len(), area.height.into()).start;
    let lines = found.rows.iter().enumerate().skip(first).map(|(position, row)| {
        let here = found.positions.contains(&position);
        let name = text::shortened(&text::clean(&row.name()), names);
        let pad = " ".repeat(names - text::width(&name));
        let style = match row.token.kind {
            _ if here => theme.strong,
            TokenKind::Word => theme.plain,
            _ => theme.faint,
        };
        let number = if row.counts > 1 { format!("×{}", row.counts) } else { position.to_string() };
        let share = row.share.map_or("     – ".into(), |share| format!("{:>5.1} %", 100. * share));
        let of_most = row.share.map_or(0., |share| share / most);
        let heat = Style::new().fg(rgb(sequential(0.25 + 0.7 * of_most as f32)));
        Line::from(vec![
            Span::styled(if position == found.at { "▸" } else { " " }, theme.focus),
            Span::styled(format!("{number:>3} "), theme.faint),
            Span::styled(name + &pad, style),
            Span::styled(share, if here { theme.strong } else { theme.plain }),
            Span::raw(" "),
            Span::styled(bar(of_most, bars), heat),
        ])
    });
    let lines: Vec<Line<'_>> = lines.take(area.height.into()).collect();
    canvas.lines(&lines, area);
}

/// A colour scale with its ends, as `label` formats them.
fn draw_scale(scale: &heat::Scale, label: fn(f32) -> String, canvas: &mut Canvas<'_>, area: Rect) {
    let (low, high) = (label(*scale.start()) + " ", String::from(" ") + &label(*scale.end()));
    let ends = text::width(&low) + text::width(&high);
    let bar = usize::from(area.width).saturating_sub(ends).min(SCALE);
    if bar < 4 {
        return;
    }
    let mut line = vec![Span::styled(low, canvas.theme.faint)];
    line.extend((0..bar).map(|column| {
        let share = |half: usize| ((2 * column + half) as f32 + 0.5) / (2 * bar) as f32;
        let style = Style::new().fg(rgb(sequential(share(0)))).bg(rgb(sequential(share(1))));
        Span::styled("▌", style)
    }));
    line.push(Span::styled(high, canvas.theme.faint));
    canvas.lines(&[Line::from(line)], area);
}

/// Attention as a percentage.
fn percent(value: f32) -> String {
    format!("{:.1} %", 100. * value)
}

/// The area of a picture with its caption, and the area below it: the same split in every pane of that height.
fn shared(area: Rect) -> [Rect; 2] {
    let below = if area.height < TALL { TEXT_ROWS[0] } else { TEXT_ROWS[1] };
    Layout::vertical([Constraint::Min(0), Constraint::Length(below)]).areas(area)
}

impl Attention {
    /// The selected word's map over the picture, or the point's self-attention.
    pub(super) fn draw_map(&self, found: &Found<'_>, canvas: &mut Canvas<'_>, area: Rect) {
        let mapped = match self.point {
            Some(_) => found.point_map(),
            None => found.map(),
        };
        let (values, size) = match mapped {
            Ok(mapped) => mapped,
            Err(waiting) => return draw_waiting(&waiting, canvas, area),
        };
        let Some(below) = found.below() else { return };
        let scale = heat::scale([&values[..]]);
        let mut drawn = self.drawn.borrow_mut();
        let Some(mut picture) = drawn.over(below, &values, size, &scale) else { return };
        if let Some(point) = self.point {
            picture = drawn.marked(&picture, point, size, MARK);
        }
        drop(drawn);
        let caption = match self.point {
            Some(_) => tr!("self-attention, 100 % in all"),
            None => found.focus_name(self),
        };
        let [above, below] = shared(area);
        let shown = [Captioned { picture: &picture, caption, smooth: true }];
        let rows = pictures::row(&shown, canvas, above);
        let place = pictures::place(&picture, canvas, above);
        canvas.hit(place, Target::Part(MAP, 0));
        let below = Rect { y: area.y + rows, ..below }.intersection(area);
        draw_scale(&scale, percent, canvas, below);
        let line = Peak::of(&values, size).map_or(String::new(), |peak| {
            let most = tr!("max at {},{}", peak.x, peak.y);
            let all = format!("{most}, centre {:.1},{:.1}", peak.centre[0], peak.centre[1]);
            if text::width(&all) <= area.width.into() { all } else { most }
        });
        draw_lines(vec![line], canvas.theme.faint, canvas, below);
    }

    /// The effect of removing the word.
    pub(super) fn draw_effect(&self, found: &Found<'_>, canvas: &mut Canvas<'_>, area: Rect) {
        let run = match found.effect() {
            Ok(run) => run,
            Err(waiting) => return draw_waiting(&waiting, canvas, area),
        };
        let Some(effect) = run.effects.iter().find(|effect| effect.name == "pred_original_sample") else {
            return;
        };
        let scale = heat::scale([&effect.map.values[..]]);
        let [was, without] = &run.pictures;
        let changes = self.drawn.borrow_mut().over(was, &effect.map.values, run.size, &scale);
        let Some(changes) = changes else { return };
        let shown = [
            Captioned { picture: &changes, caption: "difference".into(), smooth: true },
            Captioned { picture: without, caption: tr!("without it"), smooth: true },
            Captioned { picture: was, caption: tr!("with it"), smooth: true },
        ];
        let [above, below] = shared(area);
        // All three when they are as large as the first alone.
        let alone = pictures::place(&changes, canvas, above).width;
        let count = if 3 * (alone + 1) <= area.width { 3 } else { 1 };
        let rows = pictures::row(&shown[..count], canvas, above);
        let below = Rect { y: area.y + rows, ..below }.intersection(area);
        draw_scale(&scale, heat::short, canvas, below);
        let percent = 100. * effect.relative;
        let long = tr!(
            "pred_original_sample changes by {percent} %: {}",
            attended::verdict(&effect.agreement, effect.relative),
            percent = format_args!("{:.1}", percent)
        );
        let room = usize::from(below.height.saturating_sub(1));
        let mut lines = text::wrapped(&long, area.width.into());
        if lines.len() > room {
            let short = format!("{percent:.1} %, correlation {:+.2}", effect.agreement.correlation);
            lines = vec![text::shortened(&short, area.width.into())];
        }
        draw_lines(lines, canvas.theme.plain, canvas, below);
    }

    /// The picture with and without the word.
    pub(super) fn draw_pair(found: &Found<'_>, canvas: &mut Canvas<'_>, area: Rect) {
        let run = match found.effect() {
            Ok(run) => run,
            Err(waiting) => return draw_waiting(&waiting, canvas, area),
        };
        let [was, without] = &run.pictures;
        let of = |picture, caption: &str| Captioned { picture, caption: caption.into(), smooth: true };
        pictures::row(&[of(was, "with it"), of(without, "without it")], canvas, area);
    }
}

/// The lines below the first row, which is the scale.
fn draw_lines(lines: Vec<String>, style: Style, canvas: &mut Canvas<'_>, below: Rect) {
    let lines: Vec<Line<'_>> = lines.into_iter().map(|line| Line::styled(line, style)).collect();
    canvas.lines(&lines, Rect { y: below.y + 1, height: below.height.saturating_sub(1), ..below });
}

/// Explains a result that is missing.
pub(super) fn draw_waiting(waiting: &Result<String, String>, canvas: &mut Canvas<'_>, area: Rect) {
    let (lines, style) = match waiting {
        Ok(wait) => (wait, canvas.theme.faint),
        Err(why) => (why, canvas.theme.warning),
    };
    let lines = text::wrapped(lines, area.width.into());
    let lines: Vec<Line<'_>> = lines.into_iter().map(|line| Line::styled(line, style)).collect();
    canvas.lines(&lines, area);
}
