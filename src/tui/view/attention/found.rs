//! The results of a step's attention inspections, and the queries for them.

use super::{Attention, strip::By};
use crate::debugger::inspect::{AttentionRun, EffectRun};
use crate::debugger::language::attention::AttentionFilter;
use crate::debugger::outcome::attention as attended;
use crate::debugger::prompt::word;
use crate::debugger::prompt::{TokenKind, TokenView};
use crate::debugger::record::{RecordId, RecordView};
use crate::debugger::{Examination, InspectQuery, Inspection};
use crate::nn::pattern::Pattern;
use crate::picture::Picture;
use crate::pipeline::Stage;
use crate::pipeline::attention::{Layer, Size, Split};
use crate::tui::state::{Activity, State};
use crate::tui::text;
use std::borrow::Cow;
use tr::tr;

/// A token and its share of the attention.
pub struct Row {
    pub token: TokenView,
    /// More than one for the padding.
    pub counts: usize,
    /// The share of all attention; `None` while it is unknown.
    pub share: Option<f64>,
}

impl Row {
    pub fn name(&self) -> String {
        attended::name(&self.token)
    }
}

/// Why a result is missing: `Ok` while it is being computed, `Err` when it cannot be.
pub type Waiting = Result<String, String>;
/// A map with its height and width.
pub type Mapped<'a> = Result<(Cow<'a, [f32]>, Size), Waiting>;

/// The known results of a step.
pub struct Found<'a> {
    state: &'a State,
    pub step: &'a RecordView,
    /// Every recorded step, with the number of finished stages after it.
    pub steps: Vec<(usize, &'a RecordView)>,
    pub rows: Vec<Row>,
    /// The selected row.
    pub at: usize,
    /// The rows of the selected word.
    pub positions: Vec<usize>,
    /// The selected layer.
    pub layer: Option<&'a Layer>,
    head: Option<usize>,
    point: Option<(usize, usize)>,
}

impl<'a> Found<'a> {
    pub fn of(state: &'a State, step: &'a RecordView, view: &Attention) -> Self {
        let records = state.view.as_ref().map_or(&[][..], |view| &view.records[..]);
        let steps = records.iter().enumerate().filter(|(_, r)| matches!(r.stage, Stage::Denoise { .. }));
        let mut found = Self {
            state,
            step,
            steps: steps.map(|(index, record)| (index + 1, &**record)).collect(),
            rows: vec![],
            at: 0,
            positions: vec![],
            layer: None,
            head: view.head,
            point: view.point,
        };
        found.rows = match found.whole(step.id) {
            Ok(run) => {
                let shares = run.maps.first().map_or(vec![], |maps| maps.shares());
                let last = run.tokens.len().saturating_sub(1);
                let row = |(at, token): (usize, &TokenView)| Row {
                    token: token.clone(),
                    counts: if at == last { run.last_counts } else { 1 },
                    share: shares.get(at).copied(),
                };
                run.tokens.iter().enumerate().map(row).collect()
            }
            // Until then, the prompt as encoded.
            Err(_) => {
                let prompt = records.first().and_then(|record| record.prompts.first());
                prompt.map_or(vec![], |prompt| folded(&prompt.tokens))
            }
        };
        found.at = view.at(&found.rows);
        let tokens: Vec<TokenView> = found.rows.iter().map(|row| row.token.clone()).collect();
        let word = word::words(&tokens).into_iter().find(|(_, positions)| positions.contains(&found.at));
        found.positions = word.map_or(vec![found.at], |(_, positions)| positions);
        if let (Some(chosen), Ok(run)) = (view.layer, found.layers()) {
            found.layer = run.layers.get(chosen);
        }
        found
    }

    fn ask(&self, record: RecordId, asked: InspectQuery) -> Result<&'a Inspection, Waiting> {
        let asked = Examination { record, asked };
        match self.state.findings.get(&asked) {
            Some(Ok(examined)) => Ok(&**examined),
            Some(Err(why)) => Err(Err(why.clone())),
            None => {
                if self.state.model.as_ref().is_some_and(|model| model.is_recorded) {
                    return Err(Ok(tr!("not recorded")));
                }
                let running = self.state.activity != Activity::Idle;
                let waits = if running { ", when the session is idle" } else { "" };
                Err(Ok(tr!("{} is re-run to inspect it{waits} …", self.step.stage, waits)))
            }
        }
    }

    fn attention(
        &self,
        record: RecordId,
        focus: AttentionFilter,
        split: Split,
    ) -> Result<&'a AttentionRun, Waiting> {
        match self.ask(record, InspectQuery::Attention(focus, split))? {
            Inspection::Attention(run) => Ok(run),
            _ => Err(Err(tr!("unexpected result"))),
        }
    }

    /// All layers and heads of a step.
    pub fn whole(&self, record: RecordId) -> Result<&'a AttentionRun, Waiting> {
        self.attention(record, AttentionFilter::default(), Split::Whole)
    }

    /// Each layer of the step.
    pub fn layers(&self) -> Result<&'a AttentionRun, Waiting> {
        self.attention(self.step.id, AttentionFilter::default(), Split::Layers)
    }

    /// Each head of the selected layer.
    pub fn heads(&self) -> Result<&'a AttentionRun, Waiting> {
        match self.layer {
            Some(layer) => self.attention(self.step.id, of_layer(layer), Split::Heads),
            None => Err(Ok(tr!("select a layer first: v shows them, h and l select"))),
        }
    }

    /// The latents' height and width.
    pub fn size(&self) -> Option<Size> {
        let (height, width, _) = self.step.tensor("latents")?.values.plane(0)?;
        Some((height, width))
    }

    /// The selected word.
    pub fn word(&self) -> String {
        let names = self.positions.iter().filter_map(|at| self.rows.get(*at)).map(Row::name);
        text::clean(&names.collect::<String>())
    }

    /// The layers and heads of the map.
    pub fn focus_name(&self, view: &Attention) -> String {
        match (self.layer, view.head.filter(|_| view.by == By::Heads)) {
            (None, _) => tr!("all layers and heads"),
            (Some(layer), None) => short(&layer.path),
            (Some(layer), Some(head)) => format!("{}, head {head}", short(&layer.path)),
        }
    }

    /// Each pixel's attention to the word in the whole step: the mean over layers and heads, where DAAM takes the sum.
    pub fn mean(&self, record: RecordId) -> Result<(Vec<f32>, Size), Waiting> {
        let run = self.whole(record)?;
        let Some(maps) = run.maps.first() else { return Err(Err(tr!("this map does not exist"))) };
        let heads: usize = run.layers.iter().map(|layer| layer.heads).sum();
        let mut mean = maps.of(&self.positions);
        mean.iter_mut().for_each(|value| *value /= heads.max(1) as f32);
        Ok((mean, maps.size))
    }

    /// Where the word is attended to: by all layers, one, or one head of it.
    pub fn map(&self) -> Mapped<'a> {
        let of = |run: &AttentionRun, part: usize| match run.maps.get(part) {
            Some(maps) => Ok((Cow::Owned(maps.of(&self.positions)), maps.size)),
            None => Err(Err(tr!("this map does not exist"))),
        };
        match (self.layer, self.head) {
            (None, _) => self.mean(self.step.id).map(|(values, size)| (Cow::Owned(values), size)),
            (Some(_), Some(head)) => of(self.heads()?, head),
            (Some(layer), None) => {
                let run = self.layers()?;
                let part = run.layers.iter().position(|known| known == layer).unwrap_or(usize::MAX);
                of(run, part)
            }
        }
    }

    /// The self-attention of the point.
    pub fn point_map(&self) -> Mapped<'a> {
        let Some(asked) = self.point_asked() else { return Err(Ok(String::new())) };
        match self.ask(self.step.id, asked)? {
            Inspection::Point(run) => Ok((Cow::Borrowed(&run.map), run.size)),
            _ => Err(Err(tr!("unexpected result"))),
        }
    }

    fn point_asked(&self) -> Option<InspectQuery> {
        Some(InspectQuery::Point(self.point?, AttentionFilter::default()))
    }

    /// The word's effect on the step.
    pub fn effect(&self) -> Result<&'a EffectRun, Waiting> {
        match self.ask(self.step.id, self.effect_asked())? {
            Inspection::Effect(run) => Ok(run),
            _ => Err(Err(tr!("unexpected result"))),
        }
    }

    /// The padding's row stands for all padding tokens.
    fn effect_asked(&self) -> InspectQuery {
        let all = self.positions.iter().filter_map(|at| Some((*at, self.rows.get(*at)?)));
        InspectQuery::Effect(all.flat_map(|(at, row)| at..at + row.counts).collect())
    }

    /// The step's predicted picture.
    pub fn below(&self) -> Option<&'a Picture> {
        let named = self.step.picture("pred_original_sample")?;
        Some(&self.state.best(self.step, named).picture)
    }

    /// The queries, in the order of their importance on the screen.
    pub fn examinations(&self, view: &Attention) -> Vec<Examination> {
        let of = |record, asked| Examination { record, asked };
        let here = |asked| of(self.step.id, asked);
        let whole = || InspectQuery::Attention(AttentionFilter::default(), Split::Whole);
        let mut wanted = vec![here(whole())];
        wanted.extend(self.point_asked().map(here));
        if view.layer.is_some() || view.by == By::Layers {
            wanted.push(here(InspectQuery::Attention(AttentionFilter::default(), Split::Layers)));
        }
        if let Some(layer) = self.layer.filter(|_| view.by == By::Heads || view.head.is_some()) {
            wanted.push(here(InspectQuery::Attention(of_layer(layer), Split::Heads)));
        }
        // The tokens are known at this point.
        if self.whole(self.step.id).is_ok() {
            wanted.push(here(self.effect_asked()));
        }
        if view.by == By::Steps {
            // Nearest steps first.
            let here = self.steps.iter().position(|(_, step)| step.id == self.step.id).unwrap_or(0);
            let mut others: Vec<usize> = (0..self.steps.len()).filter(|index| *index != here).collect();
            others.sort_by_key(|index| index.abs_diff(here));
            wanted.extend(others.into_iter().map(|index| of(self.steps[index].1.id, whole())));
        }
        wanted
    }
}

/// One layer alone.
fn of_layer(layer: &Layer) -> AttentionFilter {
    // A module's path is a pattern that matches only itself.
    AttentionFilter { layer: Pattern::parse(&layer.path).ok(), head: None }
}

/// A layer's path without its common parts: `up_blocks.1.attentions.0`.
pub fn short(path: &str) -> String {
    let bare = path.strip_prefix("unet.").unwrap_or(path);
    let bare = bare.strip_suffix(".attn2").unwrap_or(bare);
    bare.strip_suffix(".transformer_blocks.0").unwrap_or(bare).into()
}

/// Tokens with the padding as one row, without results.
fn folded(tokens: &[TokenView]) -> Vec<Row> {
    let words = tokens.iter().rposition(|token| token.kind != TokenKind::Padding);
    let padding = tokens.len() - words.map_or(0, |last| last + 1);
    let shown = tokens.len() - padding.saturating_sub(1);
    let row = |(at, token): (usize, &TokenView)| Row {
        token: token.clone(),
        counts: if at + 1 == shown { padding.max(1) } else { 1 },
        share: None,
    };
    tokens.iter().take(shown).enumerate().map(row).collect()
}
