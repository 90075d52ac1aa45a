//! What stands where there are no pictures: what the stages will do, and which key starts.

use crate::pipeline::Stage;
use crate::tui::app::App;
use crate::tui::{text, theme};
use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

/// The stages, in the words of a reader who meets them for the first time.
const STAGES: [(&str, &str); 4] = [
    ("encode_prompt", "the prompt becomes token ids, and these become embeddings"),
    ("get_latent", "the seed becomes noise: the first latents"),
    (
        "denoise",
        "the UNet predicts the noise in the latents, the scheduler takes a share of it away; again and again",
    ),
    ("vae_decode", "the VAE makes the picture of the last latents"),
];

const KEYS: [(&str, &str); 4] =
    [("n", "run the next stage"), ("c", "run to the end"), ("b", "go back"), ("?", "all keys and commands")];

/// Draws what the stages will do.
pub fn draw(app: &App, area: Rect, buf: &mut Buffer) {
    let area = area.inner(Margin::new(1, 1));
    let first = if app.is_loading() {
        "The models are being loaded. Then four stages make a picture of a prompt:"
    } else {
        "Nothing has run yet. Four stages make a picture of the prompt:"
    };
    let mut lines = told("", first, area.width);
    lines.push(Line::default());
    for (name, what) in STAGES {
        lines.extend(told(&format!("{name:<15}"), what, area.width));
    }
    lines.push(Line::default());
    for (key, what) in KEYS {
        lines.extend(told(&format!("{key:<15}"), what, area.width));
    }
    super::draw_lines(&lines, area, buf);
}

/// Says why `stage` shows no picture.
pub fn draw_without_pictures(stage: Stage, area: Rect, buf: &mut Buffer) {
    let why = match stage {
        Stage::EncodePrompt => {
            "encode_prompt made no picture, but token ids and embeddings: every step of denoise attends to the \
             embeddings of both prompts. get_latent comes next and draws the noise."
        }
        _ => "What this stage made is no picture.",
    };
    for (line, row) in told("", why, area.width).into_iter().zip(area.rows()) {
        line.render(row, buf);
    }
}

/// `name` and `what`, wrapped so that `what` stays in its column.
fn told(name: &str, what: &'static str, width: u16) -> Vec<Line<'static>> {
    let indent = text::width(name);
    let lines = text::wrapped(what, usize::from(width).saturating_sub(indent));
    let first = |index| if index == 0 { name.to_string() } else { " ".repeat(indent) };
    let line = |(index, line)| Line::from(vec![Span::styled(first(index), theme::TENSOR), Span::raw(line)]);
    lines.into_iter().enumerate().map(line).collect()
}
