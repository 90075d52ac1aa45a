//! The inside of the models: the tree of their modules with each one's output in the shown stage, the flow through them
//! drawn to scale, and pictures of the selected module's output.
//!
//! - [`tree`]: the rows of the tree. [`flow`]: the hourglass. [`opened`]: one module.
//! - [`statistic`]: the statistic of each module that is shown as heat.

mod flow;
mod opened;
mod statistic;
mod tree;

use super::pane::{self, Pane, Reply};
use super::welcome;
use crate::debugger::inspect::{LoraRun, ModuleRun, ModulesRun};
use crate::debugger::language::features::FeatureQuery;
use crate::debugger::view::{InsideView, View};
use crate::debugger::{Examination, InspectQuery, Inspection};
use crate::model::anatomy::{Module, is_within};
use crate::phrase::{Phrase, phrase};
use crate::picture::features::{Drawn, Row};
use crate::pipeline::Stage;
use crate::tui::canvas::Canvas;
use crate::tui::findings::Finding;
use crate::tui::keymap::ViewKeys;
use crate::tui::list::Step;
use crate::tui::state::State;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use statistic::Statistic;
use std::collections::HashSet;
use std::sync::Arc;
use tr::tr;

const TREE: &str = "tree";
const FLOW: &str = "flow";
const OPENED: &str = "opened";

/// The columns of the tree on wide screens.
const TREE_WIDTH: u16 = 60;
/// The tree's share of a narrow screen.
const NARROW_TREE: u16 = 45;
/// From this many columns on, the rows of a batch are side by side.
const ALL_ROWS: u16 = 50;
/// From this many columns on, a screen is wide.
const WIDE: u16 = 104;

/// The inside of the models.
#[derive(Debug, Default)]
pub struct Model {
    /// The selected path; `None` is the stage's model.
    selected: Option<String>,
    /// Modules whose open or closed state differs from the initial one.
    turned: HashSet<String>,
    /// The filter on paths; if it is not empty, the tree becomes a list.
    filter: String,
    /// The statistic shown as heat.
    statistic: Statistic,
    /// How the selected module's channels are drawn.
    drawn: Drawn,
    /// The row of the batch; `None` is all rows side by side, if they fit.
    row: Option<Row>,
    /// Whether pictures take the place of the flow too.
    enlarged: bool,
}

/// The models, and the modules of the last finished stage.
struct Known<'a> {
    all: &'a [Module],
    view: Option<&'a View>,
    /// The stage, and the model that ran in it.
    stage: Option<(Stage, &'static str)>,
    /// The inspection of its modules; `None` while it is computed.
    finding: Option<&'a Finding>,
    run: Option<&'a ModulesRun>,
    /// What the run's LoRAs do to each module, if their statistic is shown and it is known.
    loras: Option<&'a LoraRun>,
}

impl<'a> Known<'a> {
    fn of(state: &'a State, statistic: Statistic) -> Self {
        let all: &[Module] = state.model.as_ref().map_or(&[], |model| &model.anatomy);
        let stage = state.record().and_then(|record| Some((record.stage, ran_in(record.stage)?)));
        let finding = query(state, InspectQuery::Modules).and_then(|asked| state.findings.get(&asked));
        let run = finding.and_then(|finding| match finding.as_deref() {
            Ok(Inspection::Modules(run)) => Some(run),
            _ => None,
        });
        let asked = query(state, InspectQuery::Loras).filter(|_| statistic.is_of_loras());
        let loras = asked.and_then(|asked| state.findings.get(&asked));
        let loras = loras.and_then(|finding| match finding.as_deref() {
            Ok(Inspection::Loras(run)) => Some(run),
            _ => None,
        });
        Self { all, view: state.view.as_deref(), stage, finding, run, loras }
    }

    fn run_of(&self, path: &str) -> Option<&'a ModuleRun> {
        self.run?.module(path)
    }

    /// The current module of a stage that is paused inside a model.
    fn current_module(&self) -> Option<&'a str> {
        current_module(self.view?.inside.as_ref()?)
    }

    /// The number of a breakpoint at the module.
    fn breakpoint(&self, path: &str) -> Option<usize> {
        let known = self.view?.module_breakpoints.iter().find(|(_, pattern)| pattern.matches(path));
        known.map(|(id, _)| *id)
    }
}

/// The current module of a paused stage: the one it is paused at, or the model that the current line runs.
fn current_module(inside: &InsideView) -> Option<&str> {
    let of_line = || match inside.line {
        "encode_prompt.text_encoder" => Some("text_encoder"),
        "get_latent.encode" => Some("vae.encoder"),
        "denoise.unet" => Some("unet"),
        "vae_decode.decode" => Some("vae.decoder"),
        _ => None,
    };
    inside.module.as_deref().or_else(of_line)
}

/// The part of the models that runs in a stage.
fn ran_in(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::EncodePrompt => Some("text_encoder"),
        Stage::GetLatent => None,
        Stage::Denoise { .. } => Some("unet"),
        Stage::VaeDecode => Some("vae.decoder"),
    }
}

/// A query about the last finished stage.
fn query(state: &State, asked: InspectQuery) -> Option<Examination> {
    let record = state.record().filter(|record| ran_in(record.stage).is_some())?;
    Some(Examination { record: record.id, asked })
}

impl Model {
    /// The selected path.
    fn selected<'a>(&'a self, known: &Known<'a>) -> &'a str {
        let there = |path: &&str| known.all.iter().any(|module| module.path == *path);
        let chosen = self.selected.as_deref().filter(there);
        chosen.or(known.stage.map(|(_, part)| part)).unwrap_or("unet")
    }

    /// The queries that draw the selected module in `width` columns; none if it did not run.
    fn features(&self, state: &State, known: &Known<'_>, width: u16) -> Vec<(Row, Examination)> {
        let path = self.selected(known);
        let Some((_, part)) = known.stage else { return vec![] };
        if !is_within(path, part) && (part != "vae.decoder" || !is_within(path, "vae.post_quant_conv")) {
            return vec![];
        }
        let has_rows = part == "unet" || part == "text_encoder";
        let rows = match self.row {
            _ if !has_rows => vec![Row::Text],
            Some(row) => vec![row],
            None if width < ALL_ROWS => vec![Row::Text],
            None => Row::ALL.map(|(_, row)| row).into(),
        };
        let features = |row| FeatureQuery { path: path.into(), drawn: self.drawn, row };
        rows.into_iter()
            .filter_map(|row| Some((row, query(state, InspectQuery::Features(features(row)))?)))
            .collect()
    }

    fn rows(&self, known: &Known<'_>) -> Vec<tree::Row> {
        tree::rows(known.all, &self.filter, &|module: &Module| {
            let at_first = known.stage.is_some_and(|(_, part)| is_within(part, &module.path))
                || (known.stage.is_none() && module.path == "unet");
            at_first != self.turned.contains(&module.path)
        })
    }

    fn choose(&mut self, rows: &[tree::Row], known: &Known<'_>, to: usize) -> Reply {
        if let Some(row) = rows.get(to.min(rows.len().saturating_sub(1))) {
            self.selected = Some(known.all[row.module].path.clone());
        }
        Reply::Taken
    }

    /// Opens or closes a module.
    fn turn(&mut self, path: &str) {
        if !self.turned.remove(path) {
            self.turned.insert(path.into());
        }
    }

    /// Opens the selected module; or closes it, or selects its parent.
    fn unfold(&mut self, opens: bool, rows: &[tree::Row], at: usize, known: &Known<'_>) -> Reply {
        let Some(row) = rows.get(at) else { return Reply::Taken };
        let module = &known.all[row.module];
        match (opens, row.open) {
            (true, Some(false)) | (false, Some(true)) => self.turn(&module.path),
            (true, _) => return self.choose(rows, known, at + usize::from(row.open == Some(true))),
            (false, _) => {
                let parent = module.parent.map(|parent| known.all[parent].path.clone());
                self.selected = parent.or(self.selected.take());
            }
        }
        Reply::Taken
    }

    /// Sets a breakpoint at the module, or deletes it.
    fn breakpoint(path: &str, known: &Known<'_>) -> Reply {
        let own = known.view.and_then(|view| {
            view.module_breakpoints.iter().find(|(_, pattern)| pattern.is_one() && pattern.matches(path))
        });
        Reply::Run(match own {
            Some((id, _)) => format!("delete {id}"),
            None => format!("break {path}"),
        })
    }
}

impl pane::View for Model {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let known = Known::of(state, self.statistic);
        let tree_width = match area.width >= WIDE {
            true => Constraint::Length(TREE_WIDTH),
            false => Constraint::Percentage(NARROW_TREE),
        };
        let [tree, rest] = Layout::horizontal([tree_width, Constraint::Min(0)]).spacing(1).areas(area);
        let high = if self.enlarged { 0 } else { flow::rows(rest) };
        let [flow, opened] = Layout::vertical([Constraint::Length(high), Constraint::Min(0)]).areas(rest);
        let title = match (&known.stage, self.filter.as_str()) {
            (_, filter) if !filter.is_empty() => tr!("modules with `{filter}`", filter),
            (Some((stage, _)), _) => tr!("modules of {stage}: {}", self.statistic.name(), stage),
            (None, _) => "modules".to_string(),
        };
        let mut panes = vec![Pane::new(TREE, title, tree)];
        if !self.enlarged {
            panes.push(Pane::new(FLOW, flow::title(&known), flow));
        }
        panes.push(Pane::new(OPENED, self.selected(&known), opened));
        panes
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let state = canvas.state;
        let known = Known::of(state, self.statistic);
        if known.all.is_empty() {
            return welcome::draw(canvas, area);
        }
        let selected = self.selected(&known);
        match pane {
            TREE => {
                let rows = self.rows(&known);
                tree::draw(&rows, selected, self.statistic, &known, !self.filter.is_empty(), canvas, area);
            }
            FLOW => flow::draw(selected, self.statistic, &known, canvas, area),
            _ => {
                let features = self.features(state, &known, area.width);
                let findings: Vec<(Row, Option<&Finding>)> =
                    features.iter().map(|(row, asked)| (*row, state.findings.get(asked))).collect();
                opened::draw(selected, &known, &findings, (self.drawn, self.row), canvas, area);
            }
        }
    }

    fn bindings(&self) -> &'static [ViewKeys] {
        const {
            &[
                ViewKeys::new(
                    &[KeyCode::Char('h'), KeyCode::Char('l')],
                    phrase("close open"),
                    phrase("close the module, or go to the one that contains it; open the module"),
                ),
                ViewKeys::new(&[KeyCode::Enter], phrase("enlarge"), phrase("show its output alone")),
                ViewKeys::new(
                    &[KeyCode::Char('v')],
                    phrase("heat"),
                    phrase("show the next statistic as heat"),
                ),
                ViewKeys::new(
                    &[KeyCode::Char('d')],
                    phrase("drawing"),
                    phrase("draw its channels the next way"),
                ),
                ViewKeys::new(
                    &[KeyCode::Char('u')],
                    Phrase::NONE,
                    phrase("draw the unconditional row, the text-conditioned one, or their difference"),
                ),
                ViewKeys::new(
                    &[KeyCode::Char('B')],
                    phrase("break"),
                    phrase("set or delete a breakpoint at the module"),
                ),
            ]
        }
    }

    fn step(&mut self, pane: &str, step: Step, room: Size, state: &State) -> Reply {
        if pane == OPENED {
            return Reply::Unknown;
        }
        let known = Known::of(state, self.statistic);
        let rows = self.rows(&known);
        let list = tree::list(&rows, self.selected(&known), &known);
        let list = list.step(step, rows.len(), tree::visible(room.height));
        self.choose(&rows, &known, list.selected(rows.len()))
    }

    fn key(&mut self, _: &str, key: KeyEvent, _: Size, state: &State) -> Reply {
        let known = Known::of(state, self.statistic);
        let rows = self.rows(&known);
        let selected = self.selected(&known).to_string();
        let at = rows.iter().position(|row| known.all[row.module].path == selected).unwrap_or(0);
        match key.code {
            KeyCode::Char('l') => self.unfold(true, &rows, at, &known),
            KeyCode::Char('h') => self.unfold(false, &rows, at, &known),
            KeyCode::Enter => {
                self.enlarged = !self.enlarged;
                Reply::Taken
            }
            KeyCode::Esc if self.enlarged => {
                self.enlarged = false;
                Reply::Taken
            }
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                Reply::Taken
            }
            KeyCode::Char('v') => {
                self.statistic = self.statistic.next(has_loras(state));
                Reply::Taken
            }
            KeyCode::Char('d') => {
                let place = Drawn::ALL.iter().position(|(_, drawn)| *drawn == self.drawn).unwrap_or(0);
                self.drawn = Drawn::ALL[(place + 1) % Drawn::ALL.len()].1;
                Reply::Taken
            }
            KeyCode::Char('u') => {
                let next =
                    self.row.map_or(0, |row| 1 + Row::ALL.iter().position(|(_, r)| *r == row).unwrap_or(0));
                self.row = Row::ALL.get(next).map(|(_, row)| *row);
                Reply::Taken
            }
            KeyCode::Char('B') => Self::breakpoint(&selected, &known),
            _ => Reply::Unknown,
        }
    }

    fn press(&mut self, pane: &str, at: Position, room: Size, state: &State) -> Reply {
        let known = Known::of(state, self.statistic);
        match pane {
            TREE => {
                let rows = self.rows(&known);
                let selected = self.selected(&known).to_string();
                let list = tree::list(&rows, &selected, &known);
                let row = usize::from(at.y).checked_sub(1);
                let row = row.and_then(|row| list.row_at(row, rows.len(), tree::visible(room.height)));
                let Some(pressed) = row.and_then(|row| rows.get(row)) else { return Reply::Taken };
                let path = known.all[pressed.module].path.clone();
                // A second press on the same row opens or closes it.
                if path == selected && pressed.open.is_some() {
                    self.turn(&path);
                }
                self.selected = Some(path);
                Reply::Taken
            }
            FLOW => {
                if let Some(path) = flow::at(&known, at, room) {
                    self.selected = Some(path);
                }
                Reply::Taken
            }
            _ => Reply::Unknown,
        }
    }

    fn examines(&self, state: &State) -> Vec<Examination> {
        let known = Known::of(state, self.statistic);
        // Rows that do not fit cost little: the stage runs once for all.
        let features = self.features(state, &known, u16::MAX).into_iter().map(|(_, asked)| asked);
        let loras = query(state, InspectQuery::Loras).filter(|_| self.statistic.is_of_loras());
        query(state, InspectQuery::Modules).into_iter().chain(loras).chain(features).collect()
    }

    fn filter(&mut self, text: &str) -> bool {
        self.filter = text.into();
        true
    }

    fn selected(&self, pane: &str, state: &State) -> Option<String> {
        let known = Known::of(state, self.statistic);
        match pane {
            TREE => Some(tree::tsv(&self.rows(&known), &known)),
            _ => Some(self.selected(&known).to_string()),
        }
    }
}

/// Whether the run has a LoRA that is on.
fn has_loras(state: &State) -> bool {
    let request = state.view.as_ref().map(|view| &view.request);
    request.is_some_and(|request| request.loras.iter().any(|lora| lora.scale != 0.))
}

/// The inspection, if it is a picture.
fn picture(finding: &Finding) -> Option<&crate::picture::Picture> {
    match finding.as_deref() {
        Ok(Inspection::Picture(picture)) => Some(picture),
        _ => None,
    }
}

/// An inspection's result.
fn refusal(finding: &Result<Arc<Inspection>, String>) -> Option<&str> {
    finding.as_ref().err().map(String::as_str)
}
