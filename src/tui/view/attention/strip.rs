//! Small maps beside each other: over the steps, by layer, by head.

use super::Attention;
use super::STRIP;
use super::found::{Found, Waiting, short};
use crate::picture::heat;
use crate::pipeline::Stage;
use crate::pipeline::attention::Size;
use crate::tui::canvas::{Canvas, Target};
use crate::tui::list::ListView;
use crate::tui::text;
use ratatui::layout::Rect;
use ratatui::text::Line;

/// What the small maps are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// Every recorded step.
    #[default]
    Steps,
    /// Every layer of the step.
    Layers,
    /// Every head of the layer that is chosen.
    Heads,
}

impl By {
    pub fn next(self) -> Self {
        match self {
            Self::Steps => Self::Layers,
            Self::Layers => Self::Heads,
            Self::Heads => Self::Steps,
        }
    }
}

/// Columns of a small map, at least.
const LEAST: u16 = 6;

/// A small map.
struct Cell {
    /// Lines below it.
    caption: [String; 2],
    /// None while it is not known.
    map: Option<(Vec<f32>, Size)>,
}

/// Small maps beside each other.
pub struct Strip {
    cells: Vec<Cell>,
    /// Which of them is chosen.
    pub chosen: usize,
    /// Why there is none.
    waiting: Option<Waiting>,
    /// Whether all are on one scale: layers and heads differ by far more than steps.
    one_scale: bool,
}

/// What stands above the strip.
pub fn title(found: &Found<'_>, view: &Attention, width: u16) -> String {
    let of = match view.by {
        By::Steps => "over the steps",
        By::Layers => "by layer",
        By::Heads => "by head",
    };
    let layer = match (view.by, found.layer) {
        (By::Heads, Some(layer)) => format!(" of {}", short(&layer.path)),
        _ => String::new(),
    };
    let keys = match width {
        super::MUCH.. => "h l choose one, v steps, layers or heads, x what a point looks at",
        _ => "h l choose, v others, x a point",
    };
    format!("{} {of}{layer}: {keys}", found.word())
}

impl Strip {
    pub fn of(found: &Found<'_>, view: &Attention) -> Self {
        match view.by {
            By::Steps => Self::of_steps(found),
            By::Layers => Self::of_parts(found, view, found.layers(), view.layer),
            By::Heads => Self::of_parts(found, view, found.heads(), view.head),
        }
    }

    pub fn count(&self) -> usize {
        self.cells.len()
    }

    fn of_steps(found: &Found<'_>) -> Self {
        let cell = |(_, step): &(usize, &crate::debugger::record::RecordView)| {
            let map = found.mean(step.id).ok();
            let number = match step.stage {
                Stage::Denoise { step } => step.to_string(),
                other => other.to_string(),
            };
            Cell { caption: [number, String::new()], map }
        };
        let chosen = found.steps.iter().position(|(_, step)| step.id == found.step.id).unwrap_or(0);
        Self { cells: found.steps.iter().map(cell).collect(), chosen, waiting: None, one_scale: true }
    }

    /// All of them, and each.
    fn of_parts(
        found: &Found<'_>,
        view: &Attention,
        run: Result<&crate::debugger::inspect::AttentionRun, Waiting>,
        chosen: Option<usize>,
    ) -> Self {
        let run = match run {
            Ok(run) => run,
            Err(waiting) => {
                return Self { cells: vec![], chosen: 0, waiting: Some(waiting), one_scale: true };
            }
        };
        let mut cells = vec![Cell { caption: ["all".into(), String::new()], map: None }];
        for (part, maps) in run.maps.iter().enumerate() {
            let caption = match (view.by, run.layers.get(part)) {
                (By::Layers, Some(layer)) => {
                    // `down_blocks.1.attentions.0` as `down.1` and `att.0`.
                    let name = short(&layer.path).replace("_blocks", "").replace("_block", "");
                    match name.split_once(".attentions") {
                        Some((block, rest)) => [block.to_string(), format!("att{rest}")],
                        None => [name, String::new()],
                    }
                }
                _ => [part.to_string(), String::new()],
            };
            cells.push(Cell { caption, map: Some((maps.of(&found.positions), maps.size)) });
        }
        // All together: of layers what DAAM makes of them, of heads their mean.
        cells[0].map = match view.by {
            By::Layers => found.mean(found.step.id).ok(),
            _ => run.maps.first().map(|first| {
                let mut mean = vec![0.; first.size.0 * first.size.1];
                for maps in &run.maps {
                    let each = maps.of(&found.positions);
                    mean.iter_mut().zip(each).for_each(|(sum, value)| *sum += value / run.maps.len() as f32);
                }
                (mean, first.size)
            }),
        };
        let chosen = chosen.map_or(0, |chosen| chosen + 1).min(cells.len() - 1);
        Self { cells, chosen, waiting: None, one_scale: false }
    }

    /// The maps, as many as there is room for around the one that is chosen.
    pub fn draw(&self, view: &Attention, canvas: &mut Canvas<'_>, area: Rect) {
        if let Some(waiting) = &self.waiting {
            return super::panes::draw_waiting(waiting, canvas, area);
        }
        let captions = if self.cells.iter().any(|cell| !cell.caption[1].is_empty()) { 2 } else { 1 };
        let high = area.height.saturating_sub(captions);
        if high == 0 || area.width < LEAST {
            return;
        }
        let size = self.cells.iter().find_map(|cell| cell.map.as_ref()).map_or((1, 1), |(_, size)| *size);
        let (cell_width, cell_height) = canvas.pictures.graphics().cell();
        let ratio = size.1 as f64 * f64::from(cell_height) / (size.0 as f64 * f64::from(cell_width)).max(1.);
        let wide = ((f64::from(high) * ratio).round() as u16).clamp(LEAST, area.width);
        let shown = usize::from((area.width + 1) / (wide + 1)).max(1);
        let first = ListView::at(self.chosen).window(self.cells.len(), shown).start;
        let maps = self.cells.iter().filter_map(|cell| cell.map.as_ref());
        let scale = heat::scale(maps.map(|(values, _)| &values[..]));
        for (place, (index, cell)) in self.cells.iter().enumerate().skip(first).take(shown).enumerate() {
            let x = area.x + place as u16 * (wide + 1);
            let at = Rect { x, y: area.y, width: wide, height: high };
            let picture = cell.map.as_ref().and_then(|(values, size)| {
                let own = heat::scale([&values[..]]);
                let scale = if self.one_scale { &scale } else { &own };
                view.drawn.borrow_mut().map(values, *size, scale)
            });
            match picture {
                Some(picture) => canvas.picture(&picture.image, true, at.intersection(area)),
                None => canvas.lines(&[Line::styled("…", canvas.theme.faint)], at.intersection(area)),
            }
            let here = index == self.chosen;
            let style = if here { canvas.theme.strong } else { canvas.theme.faint };
            let [name, more] = &cell.caption;
            let name = if here { format!("▸{name}") } else { name.clone() };
            let lines =
                [&name, more].map(|caption| Line::styled(text::shortened(caption, wide.into()), style));
            let below = Rect { y: at.bottom(), height: captions, ..at };
            canvas.lines(&lines[..captions.into()], below.intersection(area));
            canvas.hit(Rect { height: area.height, ..at }.intersection(area), Target::Part(STRIP, index));
        }
    }
}
