//! One module: its class, its inputs and output, and pictures of the output.

use super::statistic::{count, time};
use super::{Known, picture, refusal};
use crate::debugger::text::{grouped, shape};
use crate::picture::Picture;
use crate::picture::features::{Drawn, Row};
use crate::tui::canvas::Canvas;
use crate::tui::findings::Finding;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::view::pictures::{self, Captioned};
use crate::tui::widget::plot::short;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use tr::tr;

/// The minimum rows for the full description of the module.
const ROOMY: u16 = 14;

/// Draws the module. `findings` are its pictures by row: empty if it did not run in the stage, `None` while one is
/// computed.
pub fn draw(
    path: &str,
    known: &Known<'_>,
    findings: &[(Row, Option<&Finding>)],
    (drawn, row): (Drawn, Option<Row>),
    canvas: &mut Canvas<'_>,
    area: Rect,
) {
    let theme = canvas.theme;
    let mut description = description(path, known, theme, area.width);
    description.truncate(if area.height >= ROOMY { description.len() } else { 1 });
    let [above, body, keys] = Layout::vertical([
        Constraint::Length(description.len() as u16),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    canvas.lines(&description, above);
    let pictures: Vec<(Row, &Picture)> =
        findings.iter().filter_map(|(row, finding)| Some((*row, picture((*finding)?)?))).collect();
    let refused = findings.iter().find_map(|(_, finding)| refusal((*finding)?));
    let stage = known.stage.map_or(String::new(), |(stage, _)| stage.to_string());
    let said = match (refused, findings.is_empty()) {
        (Some(why), _) => why.to_string(),
        (None, true) if stage.is_empty() => {
            tr!("n runs the next stage; this pane then shows the module's output")
        }
        (None, true) => tr!("it did not run in {stage}", stage),
        (None, false) if pictures.is_empty() => tr!("{stage} is re-run to draw it …", stage),
        (None, false) => {
            draw_pictures(&pictures, canvas, body);
            String::new()
        }
    };
    let lines =
        text::wrapped(&said, body.width.into()).into_iter().map(|line| Line::styled(line, theme.faint));
    canvas.lines(&lines.collect::<Vec<_>>(), body);
    if !findings.is_empty() {
        let rows = known.run_of(path).and_then(|run| run.output.first().copied()).unwrap_or(2);
        canvas.lines(&[ways((drawn, row), rows > 1, theme, keys.width)], keys);
    }
}

/// One picture with its description below, or one for each row of the batch, with the rows' names.
fn draw_pictures(pictures: &[(Row, &Picture)], canvas: &mut Canvas<'_>, area: Rect) {
    let label = pictures.first().map_or("", |(_, picture)| picture.label.as_str());
    let caption = |row: &Row| match pictures.len() {
        1 => text::clean(label),
        _ => row.name().to_string(),
    };
    let captioned = pictures.iter().map(|(row, picture)| (*picture, caption(row)));
    let shown: Vec<Captioned<'_>> =
        captioned.map(|(picture, caption)| Captioned { picture, caption, smooth: false }).collect();
    if shown.len() == 1 {
        pictures::row(&shown, canvas, area);
        return;
    }
    let [above, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(area);
    let rows = pictures::row(&shown, canvas, above);
    let below = Rect { y: (above.y + rows).min(below.y), ..below };
    let label = text::shortened(&text::clean(label), below.width.into());
    canvas.lines(&[Line::styled(label, canvas.theme.faint)], below);
}

/// The module's description in lines.
fn description(path: &str, known: &Known<'_>, theme: &Theme, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![];
    let module = known.all.iter().find(|module| module.path == path);
    let run = known.run_of(path);
    let class = module.map_or("", |module| module.class);
    let parameters = module.and_then(|module| module.parameters).unwrap_or(0);
    let mut first = vec![Span::styled(class, theme.strong)];
    if parameters > 0 {
        let description = if width < 50 { count(parameters) } else { grouped(parameters) };
        let gap = if class.is_empty() { "" } else { "  " };
        first.push(Span::raw(format!("{gap}{description} parameters")));
    }
    if let Some(took) = run.and_then(|run| run.took) {
        first.push(Span::styled(format!("  {}", time(took.as_secs_f64())), theme.faint));
    }
    lines.push(Line::from(first));
    let Some(run) = run else { return lines };
    let inputs = run.inputs.iter().map(|input| shape(input)).collect::<Vec<_>>().join(", ");
    let calls = if run.calls > 1 { tr!(", the last of {} calls", run.calls) } else { String::new() };
    let flows = format!("{inputs} → {} {}{calls}", shape(&run.output), run.dtype);
    lines.extend(text::wrapped(&flows, width.into()).into_iter().map(Line::raw));
    let s = &run.summary;
    let [mean, std, min, max] = [s.mean, s.std, s.min, s.max].map(short);
    let mut numbers = vec![Span::raw(tr!("mean {mean}  std {std}", mean, std))];
    let ends = tr!("min {min}  max {max}", min, max);
    if numbers[0].width() + 2 + text::width(&ends) > width.into() {
        lines.push(Line::from(std::mem::take(&mut numbers)));
    } else {
        numbers.push(Span::raw("  "));
    }
    numbers.push(Span::raw(ends));
    if s.nan + s.inf > 0 {
        numbers.push(Span::styled(tr!("  {} NaN, {} Inf", s.nan, s.inf), theme.alarm));
    }
    lines.push(Line::from(numbers));
    lines
}

/// The keys with their choices; the current one is highlighted.
fn ways((drawn, row): (Drawn, Option<Row>), has_rows: bool, theme: &Theme, width: u16) -> Line<'static> {
    let mut spans = vec![Span::styled("d", theme.key)];
    let listed = |spans: &mut Vec<Span<'static>>, names: Vec<(&'static str, bool)>| {
        for (name, chosen) in names {
            spans.push(Span::styled(format!(" {name}"), if chosen { theme.focus } else { theme.faint }));
        }
    };
    listed(&mut spans, Drawn::ALL.iter().map(|(name, way)| (*name, *way == drawn)).collect());
    if has_rows {
        spans.push(Span::styled("  u", theme.key));
        let one = Row::ALL.iter().map(|(name, known)| (*name, row == Some(*known)));
        let all = std::iter::once(("all", row.is_none())).chain(one);
        // On a narrow pane, only the current choice.
        listed(&mut spans, all.filter(|(_, chosen)| *chosen || width >= 50).collect());
    }
    Line::from(spans)
}
