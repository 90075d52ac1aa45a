//! The title: the program, the model, the settings and the prompt.

use crate::debugger::view::ModelLine;
use crate::pipeline::Request;
use crate::tui::app::App;
use crate::tui::text;
use ratatui::text::{Line, Span};
use tr::tr;

/// The prompt moves to its own line when the first line has less room than this for it.
const ENOUGH_FOR_A_PROMPT: usize = 28;
/// The maximum length of a folder's name.
const LONGEST_MODEL: usize = 28;

/// One line, or two on a narrow terminal.
pub fn lines(app: &App, width: u16) -> Vec<Line<'static>> {
    let (width, theme) = (usize::from(width), &app.theme);
    let name = Span::styled("diffuscope", theme.strong);
    let (Some(model), Some(view)) = (&app.state.model, &app.state.view) else {
        return vec![Line::from(vec![name, Span::styled(" · loading the model…", theme.faint)])];
    };
    // With several timelines, the current one is named.
    let on = view.timelines.iter().find(|timeline| timeline.is_current && view.timelines.len() > 1);
    let on = on.map_or(String::new(), |timeline| format!(" · on {}", timeline.name));
    let facts = format!("{on} · {} · {}", about_model(model), about_request(&view.request));
    let fault = view.request.fault.map_or(String::new(), |fault| format!(" · FAULT {fault}"));
    let facts = text::shortened(&facts, width.saturating_sub(name.width() + text::width(&fault)));
    let mut first = Line::from(vec![name, Span::styled(fault, theme.alarm), Span::raw(facts)]);
    let prompts = prompts(&view.request);
    let residual = Span::styled(residual(model.prediction_type), theme.strong);

    let (used, wanted) = (first.width() + 3, residual.width() + 2);
    let room = width.saturating_sub(used + wanted);
    if room >= text::width(&prompts).min(ENOUGH_FOR_A_PROMPT) {
        first.push_span(" · ");
        return vec![beside(first, &prompts, residual, width)];
    }
    vec![first, beside(Line::default(), &prompts, residual, width)]
}

/// `line` with the prompt, shortened so that `residual` fits at the right.
fn beside(mut line: Line<'static>, prompts: &str, residual: Span<'static>, width: usize) -> Line<'static> {
    let room = width.saturating_sub(line.width() + residual.width() + 2);
    line.push_span(text::shortened(prompts, room));
    if line.width() + residual.width() < width {
        line.push_span(" ".repeat(width - line.width() - residual.width()));
        line.push_span(residual);
    }
    line
}

/// The prediction type, when it is not the usual epsilon.
fn residual(prediction_type: &str) -> &'static str {
    match prediction_type {
        "v_prediction" => "v-prediction model",
        "sample" => "sample-prediction model",
        _ => "",
    }
}

fn about_model(model: &ModelLine) -> String {
    // The last part of a path.
    let name = model.name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
    let name = text::shortened(&text::clean(name), LONGEST_MODEL);
    format!("{name} · {} · {}", text::clean(&model.device), model.dtype)
}

fn about_request(request: &Request) -> String {
    let Request {
        num_inference_steps: steps,
        guidance_scale,
        seed,
        width,
        height,
        eta,
        init_image,
        strength,
        scheduler,
        ..
    } = request;
    let from = init_image.as_ref().map_or(String::new(), |image| {
        let name = text::clean(image.file_name());
        tr!(" · from {} at {strength}", text::shortened(&name, LONGEST_MODEL), strength)
    });
    let eta = if *eta == 0. { String::new() } else { format!(" · eta {eta}") };
    let s = if *steps == 1 { "" } else { "s" };
    let calls = scheduler.config().class.num_calls(scheduler.config(), *steps);
    // Heun and PNDM call the UNet more often than once a step.
    let calls = if calls == *steps { String::new() } else { tr!(" ({calls} calls)", calls) };
    let name = if scheduler.is_own() { String::new() } else { format!(" · {}", scheduler.name()) };
    tr!(
        "{steps} step{s}{calls}{name} · guidance {guidance_scale}{eta} · seed {seed} · {width}×{height}{from}",
        steps,
        s,
        calls,
        name,
        guidance_scale,
        eta,
        seed,
        width,
        height,
        from
    )
}

fn prompts(request: &Request) -> String {
    let not = match &request.negative_prompt {
        none if none.is_empty() => String::new(),
        negative => format!(" · not “{}”", text::clean(negative)),
    };
    format!("“{}”{not}", text::clean(&request.prompt))
}
