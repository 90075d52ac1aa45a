//! Both residuals, and the effect of guidance on them.
//!
//! - [`guidance`]: the numbers of guidance, and their meaning in words.

mod guidance;

use super::pane::{Pane, Reply, View, previews_of};
use super::pictures::{self, Captioned};
use super::welcome;
use crate::debugger::Preview;
use crate::debugger::record::RecordView;
use crate::debugger::record::pictures::end;
use crate::phrase::phrase;
use crate::tensor::compare::distance;
use crate::tui::canvas::Canvas;
use crate::tui::keymap::ViewKeys;
use crate::tui::list::{Scroll, Step};
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widget::heat;
use crate::tui::widget::plot::short;
use crossterm::event::{KeyCode, KeyEvent};
use guidance::Guidance;
use ratatui::layout::{Constraint, Layout, Rect, Size};
use ratatui::text::{Line, Span};
use tr::tr;

const RESIDUALS: &str = "residuals";
const GUIDANCE: &str = "guidance";
const X0: &str = "x0";

/// Names of pictures, and their captions with enough columns and with fewer.
const SHOWN: [(&str, &str, &str); 4] = [
    ("uncond_residual", "uncond_residual", "uncond"),
    ("text_cond_residual", "text_cond_residual", "text_cond"),
    ("difference", "text − uncond", "text − uncond"),
    ("guided_noise_residual", "guided_noise_residual", "guided"),
];

/// The same for the `pred_original_sample` of each residual.
const X0_SHOWN: [(&str, &str); 3] = [
    ("pred_original_sample.uncond", "uncond"),
    ("pred_original_sample.text", "text"),
    ("pred_original_sample", "guided"),
];

/// Both residuals, and the effect of guidance on them.
#[derive(Debug, Default)]
pub struct Residuals {
    /// The scroll position of the numbers.
    scroll: Scroll,
    /// Whether all residuals are drawn on the scale of the largest.
    one_scale: bool,
}

/// The shown step; after `vae_decode`, the last one.
fn step(state: &State) -> Option<&RecordView> {
    state.step().map(|(step, _)| step)
}

impl View for Residuals {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let Some(record) = step(state) else { return vec![Pane::new(RESIDUALS, "residuals", area)] };
        let what = match state.model.as_ref().map(|model| model.prediction_type) {
            Some("v_prediction") => "v-prediction model",
            Some("sample") => "sample-prediction model",
            _ => "epsilon-prediction model",
        };
        let [above, below] = Layout::vertical([Constraint::Fill(5), Constraint::Fill(6)]).areas(area);
        // The x0 get the rows that the text leaves, as many as they can fill.
        let filled = X0_SHOWN.len() as u16 * (2 * below.height.saturating_sub(X0_LINES + 2) + 1);
        let least = area.width * 4 / 9;
        let wide = filled.min(area.width.saturating_sub(WORDS + 1)).max(least);
        let [description, x0] =
            Layout::horizontal([Constraint::Min(0), Constraint::Length(wide)]).spacing(1).areas(below);
        let named =
            if x0.width < 50 { tr!("x̂₀ from each") } else { tr!("pred_original_sample from each") };
        vec![
            // The first has the keys at first: only the numbers scroll.
            Pane::new(GUIDANCE, tr!("guidance_scale {}", record.guidance_scale), description),
            Pane::new(RESIDUALS, tr!("residuals of {}: {what}", record.stage, what), above),
            Pane::new(X0, named, x0),
        ]
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let state = canvas.state;
        let Some(record) = step(state) else {
            return welcome::draw_text(
                "Residuals are the UNet's predictions in a step of denoise, without the prompt and with it. This view \
                 shows them side by side, with the guided residual, and the picture that each alone would \
                 lead to. `:goto denoise 0` goes to the first step, n runs it.",
                canvas,
                area,
            );
        };
        match pane {
            RESIDUALS => draw_residuals(record, self.one_scale, canvas, area),
            X0 => draw_x0(record, canvas, area),
            _ => {
                let prediction = state.model.as_ref().map_or("", |model| model.prediction_type);
                let lines = description(record, prediction, canvas.theme, area.width);
                let top = self.scroll.top(lines.len(), area.height.into());
                canvas.scrolled(&lines, top, area);
            }
        }
    }

    fn bindings(&self) -> &'static [ViewKeys] {
        const {
            &[ViewKeys::new(
                &[KeyCode::Char('v')],
                phrase("scale"),
                phrase("draw the residuals each on its own scale, or all on the largest"),
            )]
        }
    }

    fn key(&mut self, _: &str, key: KeyEvent, _: Size, _: &State) -> Reply {
        if key.code != KeyCode::Char('v') {
            return Reply::Unknown;
        }
        self.one_scale = !self.one_scale;
        Reply::Taken
    }

    fn step(&mut self, pane: &str, by: Step, room: Size, state: &State) -> Reply {
        let Some(record) = step(state).filter(|_| pane == GUIDANCE) else { return Reply::Unknown };
        let prediction = state.model.as_ref().map_or("", |model| model.prediction_type);
        let lines = description(record, prediction, &Theme::default(), room.width).len();
        self.scroll = self.scroll.step(by, lines, room.height.into());
        Reply::Taken
    }

    fn decodes(&self) -> &'static [&'static str] {
        &["pred_original_sample", "pred_original_sample.uncond", "pred_original_sample.text"]
    }

    fn previews(&self, state: &State) -> Vec<Preview> {
        // After the end of the run the view still shows the last step.
        step(state).map_or(vec![], |record| previews_of(record, self.decodes()))
    }

    fn selected(&self, _: &str, state: &State) -> Option<String> {
        let guidance = Guidance::of(step(state)?)?;
        Some(guidance.words(state.model.as_ref().map_or("", |model| model.prediction_type)))
    }
}

/// The columns that the numbers of guidance need.
const WORDS: u16 = 60;
/// The columns of a name with its number.
const NUMBERS: usize = 27;
/// The lines below the x0.
const X0_LINES: u16 = 3;

fn draw_residuals(record: &RecordView, one_scale: bool, canvas: &mut Canvas<'_>, area: Rect) {
    let [drawn, scale] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(area);
    let scales = &record.residual_scales;
    let pictures = if one_scale { &record.on_one_scale } else { &record.pictures };
    let column = usize::from(area.width) / SHOWN.len();
    let shown = SHOWN.iter().filter_map(|(name, caption, short)| {
        let end = if one_scale { String::new() } else { format!(" {}", end(scales.reach(name))) };
        let caption = [caption, short].map(|caption| format!("{caption}{end}"));
        Some(Captioned {
            picture: &pictures.iter().find(|picture| picture.name == *name)?.picture,
            caption: caption.iter().find(|text| text::width(text) < column).unwrap_or(&caption[1]).clone(),
            smooth: false,
        })
    });
    pictures::row(&shown.collect::<Vec<_>>(), canvas, drawn);
    let faint = canvas.theme.faint;
    if !one_scale {
        let factor = |reach| scales.guided_to(reach).map(|factor| format!("{factor:.1}"));
        let colours = tr!("blue < 0 < red");
        let line = match (factor(scales.pair), factor(scales.difference)) {
            (Some(pair), Some(difference)) => tr!(
                "{colours}; guided reaches {pair} × as far as the pair, {difference} × the difference",
                colours,
                pair,
                difference
            ),
            (Some(pair), None) => tr!("{colours}; guided reaches {pair} × as far as the pair", colours, pair),
            _ => colours,
        };
        return canvas.lines(&[Line::styled(text::shortened(&line, area.width.into()), faint)], scale);
    }
    let label = tr!("one scale for all four: ");
    let width = text::width(&label) as u16;
    let [below, bar] = Layout::horizontal([Constraint::Length(width), Constraint::Min(0)]).areas(scale);
    canvas.lines(&[Line::styled(label, faint)], below);
    heat::scale(scales.largest(), faint, bar, canvas.buf);
}

fn draw_x0(record: &RecordView, canvas: &mut Canvas<'_>, area: Rect) {
    let state = canvas.state;
    let [drawn, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(X0_LINES)]).areas(area);
    let mut linear = false;
    let shown: Vec<_> = X0_SHOWN
        .iter()
        .filter_map(|(name, caption)| {
            let named = state.best(record, record.picture(name)?);
            let decoded = named.picture.label.starts_with("decoded");
            linear |= !decoded;
            Some(Captioned { picture: &named.picture, caption: caption.to_string(), smooth: decoded })
        })
        .collect();
    let rows = pictures::row(&shown, canvas, drawn);
    let below = Rect { y: area.y + rows, ..below };
    let values = |name| record.tensor(name).map(|tensor| tensor.values.data());
    let (Some(uncond), Some(in_text), Some(guided)) =
        (values(X0_SHOWN[0].0), values(X0_SHOWN[1].0), values(X0_SHOWN[2].0))
    else {
        return;
    };
    // The number matters more than the words before it.
    let narrow = area.width < 35;
    let line = |name: &str, value: f64| {
        let name = tr!(
            "{}uncond to {name}  ",
            if narrow { "" } else { "distance " },
            name = format_args!("{:<6}", name)
        );
        Line::from(vec![Span::styled(name, canvas.theme.faint), Span::raw(short(value))])
    };
    let made = match (linear, narrow) {
        (false, _) => "decoded by the VAE",
        (true, _) if area.width < 40 => "linear estimates",
        (true, _) => "linear estimates until the VAE is done",
    };
    let lines = [
        Line::styled(text::shortened(made, area.width.into()), canvas.theme.faint),
        line("text", distance(uncond, in_text)),
        line("guided", distance(uncond, guided)),
    ];
    canvas.lines(&lines, below);
}

/// The effect of guidance in words, and then in numbers.
fn description(record: &RecordView, prediction: &str, theme: &Theme, width: u16) -> Vec<Line<'static>> {
    let Some(guidance) = Guidance::of(record) else { return vec![] };
    let words = text::wrapped(&guidance.words(prediction), width.into());
    let mut lines: Vec<Line<'static>> =
        words.into_iter().map(|line| Line::styled(line, theme.plain)).collect();
    lines.extend(guidance.rows().into_iter().map(|(name, value, more)| {
        let more = text::shortened(&more, usize::from(width).saturating_sub(NUMBERS));
        Line::from(vec![
            Span::styled(format!("{name:<17}"), theme.tensor),
            Span::raw(format!("{value:>8}  ")),
            Span::styled(more, theme.faint),
        ])
    }));
    lines
}
