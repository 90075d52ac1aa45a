//! One module: its class, what it takes and makes, and that as pictures.

use super::statistic::{count, time};
use super::{Known, picture, refusal};
use crate::debugger::report::{grouped, shape};
use crate::picture::features::{Drawn, Row};
use crate::tui::canvas::Canvas;
use crate::tui::findings::Finding;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::view::pictures::{self, Captioned};
use crate::tui::widget::plot::short;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

/// Rows from which on all is told of the module, and not only what it makes.
const ROOMY: u16 = 14;

/// Draws what is known of the module; `finding` is its picture, `None` where it did not run in the stage, and `Some(None)`
/// while it is being made.
pub fn draw(
    path: &str,
    known: &Known<'_>,
    finding: Option<Option<&Finding>>,
    drawn: (Drawn, Row),
    canvas: &mut Canvas<'_>,
    area: Rect,
) {
    let theme = canvas.theme;
    let mut told = told(path, known, theme, area.width);
    told.truncate(if area.height >= ROOMY { told.len() } else { 1 });
    let [above, body, keys] =
        Layout::vertical([Constraint::Length(told.len() as u16), Constraint::Min(0), Constraint::Length(1)])
            .areas(area);
    canvas.lines(&told, above);
    let said = match finding {
        Some(Some(finding)) => match picture(finding) {
            Some(picture) => {
                let caption = text::clean(&picture.label);
                pictures::row(&[Captioned { picture, caption, smooth: false }], canvas, body);
                String::new()
            }
            None => refusal(finding).unwrap_or_default().to_string(),
        },
        Some(None) => {
            format!("{} runs again to draw it …", known.stage.map_or(String::new(), |(s, _)| s.to_string()))
        }
        None => match known.stage {
            Some((stage, _)) => format!("it did not run in {stage}"),
            None => "n runs the next stage; what a module makes there is drawn here".into(),
        },
    };
    let lines =
        text::wrapped(&said, body.width.into()).into_iter().map(|line| Line::styled(line, theme.faint));
    canvas.lines(&lines.collect::<Vec<_>>(), body);
    if finding.is_some() {
        let rows = known.run_of(path).and_then(|run| run.output.first().copied()).unwrap_or(2);
        canvas.lines(&[ways(drawn, rows > 1, theme, keys.width)], keys);
    }
}

/// What is known of it in lines.
fn told(path: &str, known: &Known<'_>, theme: &Theme, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![];
    let module = known.all.iter().find(|module| module.path == path);
    let run = known.run_of(path);
    let class = module.map_or("", |module| module.class);
    let parameters = module.map_or(0, |module| module.parameters);
    let mut first = vec![Span::styled(class, theme.strong)];
    if parameters > 0 {
        let told = if width < 50 { count(parameters) } else { grouped(parameters) };
        let gap = if class.is_empty() { "" } else { "  " };
        first.push(Span::raw(format!("{gap}{told} parameters")));
    }
    if let Some(run) = run {
        first.push(Span::styled(format!("  {}", time(run.took.as_secs_f64())), theme.faint));
    }
    lines.push(Line::from(first));
    let Some(run) = run else { return lines };
    let inputs = run.inputs.iter().map(|input| shape(input)).collect::<Vec<_>>().join(", ");
    let calls = if run.calls > 1 { format!(", the last of {} calls", run.calls) } else { String::new() };
    let flows = format!("{inputs} → {} {}{calls}", shape(&run.output), run.dtype);
    lines.extend(text::wrapped(&flows, width.into()).into_iter().map(Line::raw));
    let s = &run.summary;
    let [mean, std, min, max] = [s.mean, s.std, s.min, s.max].map(short);
    let mut numbers = vec![Span::raw(format!("mean {mean}  std {std}  min {min}  max {max}"))];
    if s.nan + s.inf > 0 {
        numbers.push(Span::styled(format!("  {} NaN, {} Inf", s.nan, s.inf), theme.alarm));
    }
    lines.push(Line::from(numbers));
    lines
}

/// The keys with what they choose from; what is chosen stands out.
fn ways(drawn: (Drawn, Row), has_rows: bool, theme: &Theme, width: u16) -> Line<'static> {
    let mut spans = vec![Span::styled("d", theme.key)];
    let listed = |spans: &mut Vec<Span<'static>>, names: Vec<(&'static str, bool)>| {
        for (name, chosen) in names {
            spans.push(Span::styled(format!(" {name}"), if chosen { theme.focus } else { theme.faint }));
        }
    };
    listed(&mut spans, Drawn::ALL.iter().map(|(name, way)| (*name, *way == drawn.0)).collect());
    if has_rows {
        spans.push(Span::styled("  u", theme.key));
        let all = Row::ALL.iter().map(|(name, row)| (*name, *row == drawn.1));
        // Where there is little room, only what is chosen.
        listed(&mut spans, all.filter(|(_, chosen)| *chosen || width >= 50).collect());
    }
    Line::from(spans)
}
