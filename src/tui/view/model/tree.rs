//! The tree of modules, a row each.

use super::Known;
use super::statistic::{Heat, Statistic, count, time};
use crate::debugger::text::shape;
use crate::model::anatomy::{Module, is_within};
use crate::nn::pattern::Pattern;
use crate::tui::canvas::Canvas;
use crate::tui::list::ListView;
use crate::tui::text;
use crate::tui::widget::heat::ink;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tr::tr;

/// Rows of the pane without a module: the heading, and the line of keys.
pub const OTHER_ROWS: u16 = 2;

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The module's index in the tree's list.
    pub module: usize,
    /// Whether its submodules are listed; `None` if it has none.
    pub open: Option<bool>,
}

/// The visible rows. Without a filter: the submodules of open modules. With a filter: modules whose path contains it,
/// or
/// matches it if it has a `*`.
pub fn rows(all: &[Module], filter: &str, is_open: &dyn Fn(&Module) -> bool) -> Vec<Row> {
    if !filter.is_empty() {
        let pattern = Pattern::parse(filter).ok().filter(|pattern| !pattern.is_one());
        let matches = |module: &Module| match &pattern {
            Some(pattern) => pattern.matches(&module.path),
            None => module.path.contains(filter),
        };
        let found = all.iter().enumerate().filter(|(_, module)| matches(module));
        return found.map(|(module, _)| Row { module, open: None }).collect();
    }
    let mut rows = vec![];
    // The depth of the closed module whose submodules are being skipped.
    let mut closed: Option<usize> = None;
    for (index, module) in all.iter().enumerate() {
        if closed.is_some_and(|depth| module.depth > depth) {
            continue;
        }
        let has_parts = all.get(index + 1).is_some_and(|next| next.parent == Some(index));
        let open = has_parts.then(|| is_open(module));
        closed = (open == Some(false)).then_some(module.depth);
        rows.push(Row { module: index, open });
    }
    rows
}

/// The selected row. A module that is not listed is represented by its listed ancestor.
fn place(rows: &[Row], selected: &str, known: &Known<'_>) -> Option<usize> {
    rows.iter().rposition(|row| is_within(selected, &known.all[row.module].path))
}

/// The list with the selected module.
pub fn list(rows: &[Row], selected: &str, known: &Known<'_>) -> ListView {
    ListView::at(place(rows, selected, known).unwrap_or(0))
}

/// The number of modules that an area of `height` shows.
pub fn visible(height: u16) -> usize {
    height.saturating_sub(OTHER_ROWS).into()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Class,
    Parameters,
    Inputs,
    Output,
    Time,
    Heat,
}

/// From left to right, after the name.
const COLUMNS: [Column; 6] =
    [Column::Class, Column::Parameters, Column::Inputs, Column::Output, Column::Time, Column::Heat];
/// Columns in the order in which they are dropped, the least informative first.
const GIVE_WAY: [Column; 5] =
    [Column::Inputs, Column::Class, Column::Time, Column::Parameters, Column::Output];
/// The columns that a name should have.
const NAME: u16 = 22;
const NARROW_NAME: u16 = 20;

impl Column {
    fn width(self) -> u16 {
        match self {
            Self::Class => 24,
            Self::Parameters => 6,
            Self::Inputs => 26,
            Self::Output => 12,
            Self::Time => 7,
            Self::Heat => 8,
        }
    }

    fn heading(self, statistic: Statistic) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Parameters => "params",
            Self::Inputs => "in",
            Self::Output => "out",
            Self::Time => "time",
            Self::Heat => statistic.name(),
        }
    }

    fn cell(self, module: &Module, known: &Known<'_>, statistic: Statistic) -> String {
        let run = known.run_of(&module.path);
        match (self, run) {
            (Self::Class, _) => module.class.into(),
            (Self::Parameters, _) => module.parameters.map_or(String::new(), count),
            (Self::Inputs, Some(run)) => {
                run.inputs.iter().map(|input| shape(input)).collect::<Vec<_>>().join(" ")
            }
            (Self::Output, Some(run)) => shape(&run.output),
            (Self::Time, Some(run)) => run.took.map_or(String::new(), |took| time(took.as_secs_f64())),
            (Self::Heat, Some(run)) => statistic.formatted(run, known.loras),
            (_, None) => String::new(),
        }
    }
}

fn columns(width: u16, statistic: Statistic) -> Vec<Column> {
    let mut columns = COLUMNS.to_vec();
    if statistic == Statistic::Time {
        columns.retain(|column| *column != Column::Time);
    }
    let total = |columns: &[Column]| columns.iter().map(|column| column.width() + 1).sum::<u16>();
    for column in GIVE_WAY {
        let name = if width < 50 { NARROW_NAME } else { NAME };
        if total(&columns) + name <= width {
            break;
        }
        columns.retain(|known| *known != column);
    }
    columns
}

/// Draws the tree; a `flat` list shows whole paths.
pub fn draw(
    rows: &[Row],
    selected: &str,
    statistic: Statistic,
    known: &Known<'_>,
    flat: bool,
    canvas: &mut Canvas<'_>,
    area: Rect,
) {
    let theme = canvas.theme;
    let [heading, body, keys] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(area);
    let columns = columns(area.width, statistic);
    let name_width =
        usize::from(area.width.saturating_sub(columns.iter().map(|column| column.width() + 1).sum::<u16>()));
    let mut line = Line::styled(padded("    module", name_width), theme.faint);
    for column in &columns {
        let text = column.heading(statistic);
        line.push_span(Span::styled(cell(*column, text), theme.faint));
    }
    line.render(heading, canvas.buf);

    let heat = known.run.map(|run| Heat::of(statistic, run, known.loras));
    let top = list(rows, selected, known).window(rows.len(), visible(area.height)).start;
    let at = place(rows, selected, known);
    for ((index, row), place) in rows.iter().enumerate().skip(top).zip(body.rows()) {
        let module = &known.all[row.module];
        let run = known.run_of(&module.path);
        let here = at == Some(index);
        if here {
            canvas.buf.set_style(place, theme.selected);
        }
        // A closed module represents its submodules.
        let is_current = known.current_module().is_some_and(|current_module| {
            current_module == module.path
                || (row.open == Some(false) && is_within(current_module, &module.path))
        });
        let (mark, style) = match known.breakpoint(&module.path) {
            _ if is_current => ("▶", theme.here),
            Some(_) => ("●", theme.breakpoint),
            None if here => ("▸", theme.focus),
            None => (" ", theme.plain),
        };
        let fold = match row.open {
            Some(true) => "▾",
            Some(false) => "▸",
            None => " ",
        };
        let (indent, name) = match flat {
            true => (0, compact(&module.path, name_width.saturating_sub(5))),
            false => (module.depth, module.name(known.all).to_string()),
        };
        let name = format!("{}{fold} {name}", " ".repeat(indent));
        let name = match flat {
            // The end of a path is the most informative.
            true => text::skipped(&name, text::width(&name).saturating_sub(name_width.saturating_sub(3))),
            false => text::shortened(&name, name_width.saturating_sub(3)),
        };
        let name_style = match (here, run) {
            (true, _) => Style::new().patch(theme.strong),
            (_, Some(run)) if run.summary.nan + run.summary.inf > 0 => theme.alarm,
            (_, Some(_)) => theme.tensor,
            (_, None) => theme.faint,
        };
        let mut line = Line::from(vec![
            Span::styled(format!("{mark} "), style),
            Span::styled(padded(&name, name_width.saturating_sub(2)), name_style),
        ]);
        for column in &columns {
            let text = column.cell(module, known, statistic);
            let style = match (column, run, heat) {
                (Column::Heat, Some(run), Some(heat)) => {
                    let ground = statistic.colour(run, known.loras, &heat);
                    // The gap between columns has no heat.
                    line.push_span(Span::raw(" "));
                    Style::new().bg(ground).fg(ink(ground))
                }
                (Column::Class | Column::Parameters, _, _) => theme.faint,
                _ => Style::new(),
            };
            let text = cell(*column, &text);
            let is_hot = *column == Column::Heat && run.is_some();
            line.push_span(Span::styled(if is_hot { text[1..].to_string() } else { text }, style));
        }
        line.render(place, canvas.buf);
    }
    let hints = match (known.finding, known.stage) {
        (Some(Err(why)), _) => why.clone(),
        (None, Some((stage, _))) => tr!("{stage} is re-run to inspect it …", stage),
        _ if area.width < 50 => tr!("h l fold  v heat  / B  Enter maps"),
        _ => tr!("h l fold  v heat  / filter  B break  Enter pictures"),
    };
    canvas.lines(&[Line::styled(text::shortened(&hints, keys.width.into()), theme.faint)], keys);
}

/// A path in about `columns` columns: long names are abbreviated.
fn compact(path: &str, width: usize) -> String {
    const SHORT: [(&str, &str); 6] = [
        ("transformer_blocks", "tr"),
        ("_blocks", ""),
        ("mid_block", "mid"),
        ("attentions", "att"),
        ("resnets", "res"),
        ("samplers", ""),
    ];
    let mut path = path.to_string();
    for (long, short) in SHORT {
        if text::width(&path) <= width {
            break;
        }
        path = path.replace(long, short);
    }
    path
}

/// A cell with a column of space before it: names to the left, numbers to the right.
fn cell(column: Column, text: &str) -> String {
    let width = usize::from(column.width());
    let text = text::shortened(text, width);
    let pad = " ".repeat(width.saturating_sub(text::width(&text)));
    match column {
        Column::Class | Column::Inputs => format!(" {text}{pad}"),
        _ => format!(" {pad}{text}"),
    }
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text::width(text))))
}

/// The rows as tab-separated text.
pub fn tsv(rows: &[Row], known: &Known<'_>) -> String {
    let mut formatted =
        String::from("module\tclass\tparameters\tin\tout\tseconds\tmean\tstd\tmin\tmax\tnan\tinf\n");
    for row in rows {
        let module = &known.all[row.module];
        let mut cells = vec![
            module.path.clone(),
            module.class.into(),
            module.parameters.map_or(String::new(), |count| count.to_string()),
        ];
        if let Some(run) = known.run_of(&module.path) {
            let s = &run.summary;
            cells.push(run.inputs.iter().map(|input| shape(input)).collect::<Vec<_>>().join(" "));
            cells.push(shape(&run.output));
            cells.push(run.took.map_or(String::new(), |took| took.as_secs_f64().to_string()));
            cells.extend([s.mean, s.std, s.min, s.max].map(|v| v.to_string()));
            cells.extend([s.nan, s.inf].map(|v| v.to_string()));
        }
        formatted.push_str(&(cells.join("\t") + "\n"));
    }
    formatted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, parent: Option<usize>, depth: usize) -> Module {
        Module { path: path.into(), class: "", parameters: Some(0), outputs: None, parent, depth }
    }

    #[test]
    fn closed_modules_hide_their_submodules() {
        let all = [
            module("unet", None, 0),
            module("unet.a", Some(0), 1),
            module("unet.a.x", Some(1), 2),
            module("unet.b", Some(0), 1),
            module("vae", None, 0),
        ];
        let listed = |filter: &str, open: &[&str]| -> Vec<&str> {
            let rows = rows(&all, filter, &|module| open.contains(&module.path.as_str()));
            rows.iter().map(|row| all[row.module].path.as_str()).collect()
        };
        assert_eq!(listed("", &[]), ["unet", "vae"]);
        assert_eq!(listed("", &["unet"]), ["unet", "unet.a", "unet.b", "vae"]);
        assert_eq!(listed("", &["unet.a"]), ["unet", "vae"]);
        assert_eq!(listed("", &["unet", "unet.a"]).len(), 5);
        assert_eq!(listed("a.x", &[]), ["unet.a.x"]);
        assert_eq!(listed("*.b", &[]), ["unet.b"]);
        assert!(listed("nothing", &[]).is_empty());
    }

    #[test]
    fn a_long_path_is_abbreviated() {
        let path = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2";
        assert_eq!(compact(path, 80), path);
        assert_eq!(compact(path, 30), "unet.down.1.att.0.tr.0.attn2");
        assert_eq!(compact("unet.mid_block.resnets.1.conv1", 26), "unet.mid.resnets.1.conv1");
    }
}
