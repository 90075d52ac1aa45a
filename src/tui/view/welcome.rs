//! What is shown instead of pictures: an introduction to the stages, and the keys to start with.

use crate::pipeline::Stage;
use crate::tui::canvas::Canvas;
use crate::tui::state::Activity;
use crate::tui::text;
use crate::tui::theme::Theme;
use ratatui::layout::{Margin, Rect};
use ratatui::text::{Line, Span};

/// The stages, described for a first-time user.
const STAGES: [(&str, &str); 4] = [
    ("encode_prompt", "the prompt becomes token ids, and these become embeddings"),
    ("get_latent", "the seed becomes noise: the first latents"),
    (
        "denoise",
        "the UNet predicts the noise in the latents, the scheduler removes part of it; once per step",
    ),
    ("vae_decode", "the VAE decodes the last latents into the picture"),
];

/// What a residual is that is no noise.
const V_PREDICTION: (&str, &str) =
    ("v-prediction", "the UNet of this model predicts v, noise and picture mixed; 3 shows it");

/// Draws the introduction.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect) {
    let theme = canvas.theme;
    let area = area.inner(Margin::new(1, 1));
    let first = if canvas.state.activity == Activity::Loading {
        "The model is loading. Then n runs a stage, c all of them; ? explains what is on the screen. Four stages make a \
         picture from a prompt:"
    } else {
        "Nothing has run yet: n runs a stage, c all of them, b goes back; ? explains what is on the screen. Four stages \
         make a picture from the prompt:"
    };
    let mut lines = entry("", first, theme, area.width);
    lines.push(Line::default());
    for (name, what) in STAGES {
        lines.extend(entry(&format!("{name:<15}"), what, theme, area.width));
    }
    let prediction = canvas.state.model.as_ref().map(|model| model.prediction_type);
    if prediction == Some("v_prediction") {
        let (name, what) = V_PREDICTION;
        lines.push(Line::default());
        lines.extend(entry(&format!("{name:<15}"), what, theme, area.width));
    }
    canvas.lines(&lines, area);
}

/// Explains why `stage` shows no picture.
pub fn draw_without_pictures(stage: Stage, canvas: &mut Canvas<'_>, area: Rect) {
    let why = match stage {
        Stage::EncodePrompt => {
            "encode_prompt makes token ids and embeddings, not a picture. Every step of denoise attends to the \
             embeddings of both prompts. The next stage, get_latent, draws the noise."
        }
        _ => "This stage has no picture.",
    };
    draw_text(why, canvas, area);
}

/// Draws a wrapped text.
pub fn draw_text(what: &'static str, canvas: &mut Canvas<'_>, area: Rect) {
    let lines = entry("", what, canvas.theme, area.width);
    canvas.lines(&lines, area);
}

/// Draws a text, and below it commands with their purposes.
pub fn draw_examples(
    what: &'static str,
    examples: &[(&'static str, &'static str)],
    canvas: &mut Canvas<'_>,
    area: Rect,
) {
    let theme = canvas.theme;
    let widest = examples.iter().map(|(line, _)| text::width(line) + 2).max().unwrap_or(0);
    let mut lines = entry("", what, theme, area.width);
    lines.push(Line::default());
    for (line, purpose) in examples {
        lines.extend(entry(&format!("{line:<widest$}"), purpose, theme, area.width));
    }
    canvas.lines(&lines, area);
}

/// `name` and `what`; `what` is wrapped within its column.
fn entry(name: &str, what: &'static str, theme: &Theme, width: u16) -> Vec<Line<'static>> {
    let indent = text::width(name);
    let lines = text::wrapped(what, usize::from(width).saturating_sub(indent));
    let first = |index| if index == 0 { name.to_string() } else { " ".repeat(indent) };
    let line = |(index, line)| Line::from(vec![Span::styled(first(index), theme.tensor), Span::raw(line)]);
    lines.into_iter().enumerate().map(line).collect()
}
