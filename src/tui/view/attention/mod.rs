//! What the words of a step are looked at from, and beside it what they do.
//!
//! - [`found`]: what was found out, and what is to be; [`drawn`]: pictures of maps, made once; [`strip`]: small maps beside
//!   each other.

mod drawn;
mod found;
mod strip;

use super::panes::{Pane, Panes, Reply, previews_of};
use super::pictures::{self, Captioned};
use super::welcome;
use crate::debugger::outcome::attention as attended;
use crate::debugger::outcome::attention::Peak;
use crate::debugger::prompt::TokenKind;
use crate::debugger::{Examination, Preview};
use crate::picture::scale::sequential;
use crate::picture::{Picture, heat};
use crate::tui::canvas::Canvas;
use crate::tui::state::State;
use crate::tui::text;
use crossterm::event::{KeyCode, KeyEvent};
use drawn::Drawn;
use found::{Found, Row};
use image::Rgb;
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use strip::{By, Strip};

const TOKENS: &str = "tokens";
const MAP: &str = "map";
const EFFECT: &str = "effect";
const PICTURES: &str = "pictures";
const STRIP: &str = "strip";

/// Columns of the tokens, where there is little room and where there is much.
const NARROW: u16 = 24;
const WIDE: u16 = 34;
/// From this many columns on there is much.
const MUCH: u16 = 100;
/// How much of the height the strip has.
const STRIP_ROWS: (u16, u16) = (1, 4);
/// Rows of the strip, at least and at most: its rule, the maps, two captions.
const STRIP_LIMITS: [u16; 2] = [6, 12];
/// Rows below a picture and its caption: the scale, and what there is to say; where there are few rows, and many.
const TOLD: [u16; 2] = [2, 4];
/// From this many rows on there are many.
const TALL: u16 = 16;
/// Columns of a scale, at most.
const SCALE: usize = 24;
/// Rows below the tokens from which on the picture is shown there with and without the word.
const PAIR: u16 = 10;
/// The point that a picture of what it looks at begins with is marked in this colour.
const MARK: Rgb<u8> = Rgb([80, 200, 255]);

/// What the words of a step are looked at from, and what they do.
#[derive(Debug, Default)]
pub struct Attention {
    /// The token that is selected, by its position; the first word without.
    selected: Option<usize>,
    /// What the small maps are of.
    by: By,
    /// The layer that is chosen in the strip, of those there are; all without.
    layer: Option<usize>,
    /// The head that is chosen in the strip.
    head: Option<usize>,
    /// The point whose own view is shown, column and row of the latents.
    point: Option<(usize, usize)>,
    /// Pictures that were made.
    drawn: RefCell<Drawn>,
    /// Where the map lies within its pane, for the mouse: its place, and the latents' height and width.
    placed: Cell<Option<(Rect, (usize, usize))>>,
    /// Where the small maps lie within their pane.
    cells: RefCell<Vec<Rect>>,
}

impl Attention {
    fn found<'a>(&'a self, state: &'a State) -> Option<Found<'a>> {
        let (step, _) = state.step()?;
        Some(Found::of(state, step, self))
    }

    /// The position of the token that is selected.
    fn at(&self, rows: &[Row]) -> usize {
        let first_word = || rows.iter().position(|row| row.token.kind == TokenKind::Word).unwrap_or(0);
        self.selected.unwrap_or_else(first_word).min(rows.len().saturating_sub(1))
    }
}

impl Panes for Attention {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let Some(found) = self.found(state) else { return vec![Pane::new(TOKENS, "attention", area)] };
        let [least, most] = STRIP_LIMITS;
        let high = (area.height * STRIP_ROWS.0 / STRIP_ROWS.1).clamp(least, most);
        let [above, strip] = Layout::vertical([Constraint::Min(0), Constraint::Length(high)]).areas(area);
        let wide = if area.width >= MUCH { WIDE } else { NARROW };
        let [tokens, maps] =
            Layout::horizontal([Constraint::Length(wide), Constraint::Min(0)]).spacing(1).areas(above);
        let [map, effect] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(1).areas(maps);
        let word = found.word();
        let looked = match self.point {
            Some((x, y)) => format!("what point {x},{y} looks at"),
            None => format!("{word}: looked at from"),
        };
        let listed = found.rows.len() as u16 + 2;
        let pair = tokens.height.saturating_sub(listed) >= PAIR;
        let [tokens, pictures] = match pair {
            true => Layout::vertical([Constraint::Length(listed), Constraint::Min(0)]).areas(tokens),
            false => [tokens, Rect::default()],
        };
        let mut panes = vec![
            Pane::new(TOKENS, format!("{}: looked at", found.step.stage), tokens),
            Pane::new(MAP, looked, map),
            Pane::new(EFFECT, format!("{word}: what it does"), effect),
            Pane::new(STRIP, strip::title(&found, self, area.width), strip),
        ];
        if pair {
            let title = format!("{} with {word}, without", found.step.stage);
            panes.insert(1, Pane::new(PICTURES, title, pictures));
        }
        panes
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let state = canvas.state;
        let Some(found) = self.found(state) else {
            return welcome::draw_text(
                "Every pixel of a step of denoise looks at the words of the prompt. Here each word is shown with the \
                 places that look at it, and beside that what becomes of the step without the word: the two are not \
                 always the same. `:goto denoise 0` goes to before the first step, n runs it.",
                canvas,
                area,
            );
        };
        match pane {
            TOKENS => draw_tokens(&found, canvas, area),
            MAP => self.draw_map(&found, canvas, area),
            EFFECT => self.draw_effect(&found, canvas, area),
            PICTURES => Self::draw_pair(&found, canvas, area),
            _ => Strip::of(&found, self).draw(self, canvas, area),
        }
    }

    fn key(&mut self, pane: &str, key: KeyEvent, room: Size, state: &State) -> Reply {
        let Some(found) = self.found(state) else { return Reply::Unknown };
        let (at, rows, size) = (found.at, found.rows.len(), found.size());
        let by = self.by;
        let step = |by: usize, forth: bool, count: usize| {
            (if forth { by + 1 } else { by.saturating_sub(1) }).min(count.saturating_sub(1))
        };
        match key.code {
            KeyCode::Char('v') => {
                self.by = by.next();
                return Reply::Taken;
            }
            KeyCode::Char('h' | 'l') if self.point.is_none() || pane != MAP => {
                return self.choose(key.code == KeyCode::Char('l'), state);
            }
            KeyCode::Char('x') => {
                self.point = match (self.point, size) {
                    (None, Some((height, width))) => Some((width / 2, height / 2)),
                    _ => None,
                };
                return Reply::Taken;
            }
            KeyCode::Esc if self.point.is_some() => {
                self.point = None;
                return Reply::Taken;
            }
            _ => {}
        }
        match (pane, self.point, size) {
            (MAP, Some((x, y)), Some((height, width))) => {
                self.point = Some(match key.code {
                    KeyCode::Left | KeyCode::Char('h') => (step(x, false, width), y),
                    KeyCode::Right | KeyCode::Char('l') => (step(x, true, width), y),
                    KeyCode::Up | KeyCode::Char('k') => (x, step(y, false, height)),
                    KeyCode::Down | KeyCode::Char('j') => (x, step(y, true, height)),
                    _ => return Reply::Unknown,
                });
            }
            _ => {
                let page = usize::from(room.height).max(1);
                let next = match key.code {
                    KeyCode::Up | KeyCode::Char('k') => step(at, false, rows),
                    KeyCode::Down | KeyCode::Char('j') => step(at, true, rows),
                    KeyCode::PageUp => at.saturating_sub(page),
                    KeyCode::PageDown => (at + page).min(rows.saturating_sub(1)),
                    _ => return Reply::Unknown,
                };
                self.selected = Some(next);
            }
        }
        Reply::Taken
    }

    fn press(&mut self, pane: &str, at: Position, room: Size, state: &State) -> Reply {
        let Some(found) = self.found(state) else { return Reply::Unknown };
        match pane {
            TOKENS => {
                let pressed = top(found.at, found.rows.len(), room.height) + usize::from(at.y);
                let last = found.rows.len().saturating_sub(1);
                self.selected = Some(pressed.min(last));
            }
            MAP => {
                let Some((place, (height, width))) = self.placed.get() else { return Reply::Unknown };
                if !place.contains(at) {
                    return Reply::Unknown;
                }
                // The middle of the cell.
                let share = |at: u16, from: u16, all: u16, count: usize| {
                    (2 * usize::from(at - from) + 1) * count / (2 * usize::from(all)).max(1)
                };
                let x = share(at.x, place.x, place.width, width).min(width - 1);
                let y = share(at.y, place.y, place.height, height).min(height - 1);
                self.point = Some((x, y));
            }
            STRIP => {
                let pressed = self.cells.borrow().iter().position(|cell| cell.contains(at));
                let Some(pressed) = pressed else { return Reply::Unknown };
                return self.choose_cell(pressed, state);
            }
            _ => return Reply::Unknown,
        }
        Reply::Taken
    }

    fn wheel(&mut self, pane: &str, rows: i16, room: Size, state: &State) -> Reply {
        let code = if rows < 0 { KeyCode::Up } else { KeyCode::Down };
        self.key(pane, code.into(), room, state)
    }

    fn previews(&self, state: &State) -> Vec<Preview> {
        state.step().map_or(vec![], |(step, _)| previews_of(step, &["pred_original_sample"]))
    }

    fn examines(&self, state: &State) -> Vec<Examination> {
        self.found(state).map_or(vec![], |found| found.examinations(self))
    }

    fn selected(&self, _: &str, state: &State) -> Option<String> {
        let found = self.found(state)?;
        let mut text = String::from("position\ttoken\tshare\n");
        for (position, row) in found.rows.iter().enumerate() {
            let share = row.share.map_or(String::new(), |share| share.to_string());
            text.push_str(&format!("{position}\t{}\t{share}\n", row.name()));
        }
        Some(text)
    }
}

/// The first row that is shown so that `selected` is.
fn top(selected: usize, all: usize, rows: u16) -> usize {
    let rows = usize::from(rows);
    selected.saturating_sub(rows / 2).min(all.saturating_sub(rows))
}

fn rgb(Rgb([r, g, b]): Rgb<u8>) -> Color {
    Color::Rgb(r, g, b)
}

const EIGHTHS: [&str; 9] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];

/// A bar of at most `columns`.
fn bar(share: f64, columns: usize) -> String {
    let eighths = (share.clamp(0., 1.) * (columns * 8) as f64).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// A row a token: what it is, and how much it is looked at.
fn draw_tokens(found: &Found<'_>, canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    let most = found.rows.iter().filter_map(|row| row.share).fold(0f64, f64::max);
    let names = usize::from(area.width / 3).clamp(7, 14);
    let bars = usize::from(area.width).saturating_sub(names + 14);
    let first = top(found.at, found.rows.len(), area.height);
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
        let told = row.share.map_or("     – ".into(), |share| format!("{:>5.1} %", 100. * share));
        let of_most = row.share.map_or(0., |share| share / most);
        let heat = Style::new().fg(rgb(sequential(0.25 + 0.7 * of_most as f32)));
        Line::from(vec![
            Span::styled(if position == found.at { "▸" } else { " " }, theme.focus),
            Span::styled(format!("{number:>3} "), theme.faint),
            Span::styled(name + &pad, style),
            Span::styled(told, if here { theme.strong } else { theme.plain }),
            Span::raw(" "),
            Span::styled(bar(of_most, bars), heat),
        ])
    });
    let lines: Vec<Line<'_>> = lines.take(area.height.into()).collect();
    canvas.lines(&lines, area);
}

/// A scale of heat with its ends, as `said` tells them.
fn draw_scale(scale: &heat::Scale, said: fn(f32) -> String, canvas: &mut Canvas<'_>, area: Rect) {
    let (low, high) = (said(*scale.start()) + " ", String::from(" ") + &said(*scale.end()));
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

/// What a pixel gives of its attention.
fn percent(value: f32) -> String {
    format!("{:.1} %", 100. * value)
}

/// Where a picture with its caption is, and what is told below it: as high in every pane of that height.
fn shared(area: Rect) -> [Rect; 2] {
    let told = if area.height < TALL { TOLD[0] } else { TOLD[1] };
    Layout::vertical([Constraint::Min(0), Constraint::Length(told)]).areas(area)
}

impl Attention {
    /// The map of what is selected over the picture, or what a point looks at.
    fn draw_map(&self, found: &Found<'_>, canvas: &mut Canvas<'_>, area: Rect) {
        self.placed.set(None);
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
            Some(_) => "self-attention, 100 % in all".to_string(),
            None => found.focus_name(self),
        };
        let [above, told] = shared(area);
        let shown = [Captioned { picture: &picture, caption, smooth: true }];
        let rows = pictures::row(&shown, canvas, above);
        let place = pictures::place(&picture, canvas, above);
        let relative = Rect { x: place.x - area.x, y: place.y - area.y, ..place };
        // A layer may be smaller than the latents, which a point is of.
        self.placed.set(found.size().map(|latents| (relative, latents)));
        let told = Rect { y: area.y + rows, ..told }.intersection(area);
        draw_scale(&scale, percent, canvas, told);
        let line = Peak::of(&values, size).map_or(String::new(), |peak| {
            let most = format!("most at {},{}", peak.x, peak.y);
            let all = format!("{most}, centre {:.1},{:.1}", peak.centre[0], peak.centre[1]);
            if text::width(&all) <= area.width.into() { all } else { most }
        });
        draw_lines(vec![line], canvas.theme.faint, canvas, told);
    }

    /// What becomes of the step without what is selected.
    fn draw_effect(&self, found: &Found<'_>, canvas: &mut Canvas<'_>, area: Rect) {
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
            Captioned { picture: &changes, caption: "what it changes".into(), smooth: true },
            Captioned { picture: without, caption: "without it".into(), smooth: true },
            Captioned { picture: was, caption: "with it".into(), smooth: true },
        ];
        let [above, told] = shared(area);
        // All of them where they are as large as the one alone.
        let alone = pictures::place(&changes, canvas, above).width;
        let count = if 3 * (alone + 1) <= area.width { 3 } else { 1 };
        let rows = pictures::row(&shown[..count], canvas, above);
        let told = Rect { y: area.y + rows, ..told }.intersection(area);
        draw_scale(&scale, heat::short, canvas, told);
        let percent = 100. * effect.relative;
        let long = format!(
            "pred_original_sample changes by {percent:.1} %: {}",
            attended::verdict(&effect.agreement, effect.relative)
        );
        let room = usize::from(told.height.saturating_sub(1));
        let mut said = text::wrapped(&long, area.width.into());
        if said.len() > room {
            let short = format!("{percent:.1} %, correlation {:+.2}", effect.agreement.correlation);
            said = vec![text::shortened(&short, area.width.into())];
        }
        draw_lines(said, canvas.theme.plain, canvas, told);
    }

    /// The picture as it was, and without what is selected.
    fn draw_pair(found: &Found<'_>, canvas: &mut Canvas<'_>, area: Rect) {
        let run = match found.effect() {
            Ok(run) => run,
            Err(waiting) => return draw_waiting(&waiting, canvas, area),
        };
        let [was, without] = &run.pictures;
        let of = |picture, caption: &str| Captioned { picture, caption: caption.into(), smooth: true };
        pictures::row(&[of(was, "with it"), of(without, "without it")], canvas, area);
    }

    /// The next of the small maps, or the one before.
    fn choose(&mut self, forth: bool, state: &State) -> Reply {
        let Some(found) = self.found(state) else { return Reply::Unknown };
        let strip = Strip::of(&found, self);
        let (at, count) = (strip.chosen, strip.count());
        let next = if forth { at + 1 } else { at.saturating_sub(1) };
        self.choose_cell(next.min(count.saturating_sub(1)), state)
    }

    fn choose_cell(&mut self, cell: usize, state: &State) -> Reply {
        let Some(found) = self.found(state) else { return Reply::Unknown };
        match self.by {
            By::Steps => return found.steps.get(cell).map_or(Reply::Taken, |(done, _)| Reply::Look(*done)),
            By::Layers => {
                self.layer = cell.checked_sub(1);
                self.head = None;
            }
            By::Heads => self.head = cell.checked_sub(1),
        }
        Reply::Taken
    }
}

/// Lines below the first row, which is the scale's.
fn draw_lines(said: Vec<String>, style: Style, canvas: &mut Canvas<'_>, told: Rect) {
    let lines: Vec<Line<'_>> = said.into_iter().map(|line| Line::styled(line, style)).collect();
    canvas.lines(&lines, Rect { y: told.y + 1, height: told.height.saturating_sub(1), ..told });
}

/// What is not there yet, or why it never will be.
fn draw_waiting(waiting: &Result<String, String>, canvas: &mut Canvas<'_>, area: Rect) {
    let (said, style) = match waiting {
        Ok(wait) => (wait, canvas.theme.faint),
        Err(why) => (why, canvas.theme.warning),
    };
    let lines = text::wrapped(said, area.width.into());
    let lines: Vec<Line<'_>> = lines.into_iter().map(|line| Line::styled(line, style)).collect();
    canvas.lines(&lines, area);
}

/// A picture that may be shared.
type Shared = Arc<image::RgbImage>;

/// A picture of pixels that were made here.
fn picture(image: Shared, of: &Picture) -> Picture {
    Picture { image, label: of.label.clone() }
}
