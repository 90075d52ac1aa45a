//! Attention and the effects of words, as text and as JSON.

use super::{Outcome, Shown, aligned, number};
use crate::debugger::inspect::{AttentionRun, EffectRun, PointRun};
use crate::debugger::prompt::{TokenKind, TokenView, chunks};
use crate::model::tokenizer::MODEL_MAX_LENGTH;
use crate::pipeline::ablation::Agreement;
use crate::pipeline::attention::{Layer, Size};
use serde::Serialize;
use tr::tr;

/// What words or a point look at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttentionReport {
    /// The steps that it is of.
    pub steps: Vec<usize>,
    /// What was asked for: a word, a point, or all.
    pub subject: String,
    /// The positions of the word's tokens; none of a point.
    pub positions: Vec<usize>,
    /// Height and width of the latents.
    pub size: [usize; 2],
    /// The layers that were looked into.
    pub layers: Vec<LayerRow>,
    /// Every token of the prompt.
    pub tokens: Vec<TokenRow>,
    /// Where the map is largest, and its centre.
    pub peak: Option<Peak>,
    /// Whether the tokens are listed in text too.
    #[serde(skip)]
    pub is_listed: bool,
    /// The map, row by row: of a word the sum over heads, layers and steps (DAAM), of a point 1 in all.
    pub map: Vec<Vec<f32>>,
}

/// A layer that was looked into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerRow {
    /// The attention's path.
    pub path: String,
    /// Its heads that were read.
    pub heads: usize,
    /// Height and width.
    pub size: [usize; 2],
}

/// A token with its share of the attention.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenRow {
    /// Its position.
    pub position: usize,
    /// Its text; `<start>`, `<end>`, `<pad>`.
    pub token: String,
    /// Whether it is a further vector of a concept, which the prompt itself does not have.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub inserted: bool,
    /// Its weight, if one of the prompt's is not 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
    /// The number of its chunk of 77, from 0, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk: Option<usize>,
    /// The sum of its map.
    pub total: f64,
    /// Of the sum of all.
    pub share: f64,
    /// Where its map is largest, and its centre.
    pub peak: Option<Peak>,
}

/// Where a map is largest, and its centre of mass: columns and rows of the latents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Peak {
    /// The largest value.
    pub value: f32,
    /// Its column.
    pub x: usize,
    /// Its row.
    pub y: usize,
    /// The centre of mass: column and row.
    pub centre: [f64; 2],
}

impl Peak {
    /// Of a map (height, width). `None` where nothing of it is finite and above 0.
    pub fn of(map: &[f32], (_, width): Size) -> Option<Self> {
        let finite = map.iter().enumerate().filter(|(_, value)| value.is_finite());
        let (at, value) = finite.clone().max_by(|a, b| a.1.total_cmp(b.1))?;
        let (mut mass, mut centre) = (0., [0.; 2]);
        for (at, value) in finite {
            let value = f64::from(*value);
            mass += value;
            centre[0] += value * (at % width) as f64;
            centre[1] += value * (at / width) as f64;
        }
        let centre = centre.map(|sum| sum / mass);
        (mass > 0.).then_some(Self { value: *value, x: at % width, y: at / width, centre })
    }
}

/// What a word does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectReport {
    /// The step.
    pub step: usize,
    /// The word.
    pub word: String,
    /// The positions of its tokens, whose embeddings were replaced.
    pub positions: Vec<usize>,
    /// By the embedding at this position.
    pub replaced_by: usize,
    /// Height and width of the latents.
    pub size: [usize; 2],
    /// What became other.
    pub effects: Vec<EffectRow>,
    /// DAAM's map of the word.
    pub attention: Vec<Vec<f32>>,
}

/// How other a tensor is without the word.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectRow {
    /// The tensor.
    pub tensor: &'static str,
    /// ‖without − with‖ / ‖with‖.
    pub relative: f64,
    /// How alike the map of the difference is to the attention's.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// Where the map is largest, and its centre.
    pub peak: Option<Peak>,
    /// The norm of the difference at each pixel, row by row.
    pub map: Vec<Vec<f32>>,
}

/// What a token is called: its text, or what it is for.
pub fn name(token: &TokenView) -> String {
    match token.kind {
        TokenKind::Start => "<start>".into(),
        TokenKind::End => "<end>".into(),
        TokenKind::Padding => "<pad>".into(),
        TokenKind::Word => token.text.clone(),
    }
}

fn rows(map: &[f32], (_, width): Size) -> Vec<Vec<f32>> {
    map.chunks(width.max(1)).map(<[f32]>::to_vec).collect()
}

fn layer_rows(layers: &[Layer]) -> Vec<LayerRow> {
    let row = |layer: &Layer| LayerRow {
        path: layer.path.clone(),
        heads: layer.heads,
        size: [layer.size.0, layer.size.1],
    };
    let mut rows: Vec<LayerRow> = layers.iter().map(row).collect();
    // A layer runs once in each step.
    let mut known = std::collections::HashSet::new();
    rows.retain(|row| known.insert(row.path.clone()));
    rows
}

/// `step 3`, `steps 0 to 19`.
fn of_steps(steps: &[usize]) -> String {
    match steps {
        [] => tr!("no step"),
        [step] => format!("denoise {step}"),
        [first, .., last] => tr!("{} steps, denoise {first} to {last}", steps.len(), first, last),
    }
}

impl Outcome {
    /// What was asked of attention.
    pub fn attention(&self) -> Option<&AttentionReport> {
        self.shown
            .iter()
            .find_map(|shown| if let Shown::Attention(report) = shown { Some(report) } else { None })
    }
}

impl AttentionReport {
    /// Of words: of the tokens at `positions`, or of none.
    pub fn of_words(subject: &str, positions: &[usize], run: &AttentionRun) -> Self {
        let maps = run.maps.first();
        let map = maps.map_or(vec![], |maps| maps.of(positions));
        let shares = maps.map_or(vec![], |maps| maps.shares());
        let token = |(position, token): (usize, &TokenView)| {
            let map = maps.map_or(vec![], |maps| maps.of(&[position]));
            TokenRow {
                position,
                token: name(token),
                inserted: token.is_inserted,
                weight: run.weights.get(position).copied(),
                chunk: (chunks(run.tokens.len()) > 1).then_some(position / MODEL_MAX_LENGTH),
                total: map.iter().map(|value| f64::from(*value)).sum(),
                share: shares.get(position).copied().unwrap_or(f64::NAN),
                peak: Peak::of(&map, run.size),
            }
        };
        Self {
            steps: run.steps.clone(),
            subject: subject.into(),
            positions: positions.into(),
            size: [run.size.0, run.size.1],
            layers: layer_rows(&run.layers),
            tokens: run.tokens.iter().enumerate().map(token).collect(),
            peak: Peak::of(&map, run.size),
            is_listed: true,
            map: if positions.is_empty() { vec![] } else { rows(&map, run.size) },
        }
    }

    /// Of a point.
    pub fn of_point(subject: &str, run: &PointRun) -> Self {
        Self {
            steps: run.steps.clone(),
            subject: subject.into(),
            positions: vec![],
            size: [run.size.0, run.size.1],
            layers: layer_rows(&run.layers),
            tokens: vec![],
            peak: Peak::of(&run.map, run.size),
            is_listed: false,
            map: rows(&run.map, run.size),
        }
    }

    /// What there is to say, in a line.
    pub fn line(&self) -> String {
        let heads: usize = self.layers.iter().map(|layer| layer.heads).sum();
        let layers = tr!("{} layers, {heads} heads", self.layers.len(), heads);
        let of = of_steps(&self.steps);
        let peak = self.peak.map_or(String::new(), |peak| {
            let [x, y] = peak.centre;
            tr!(
                "; most at {},{}, centre {x},{y} of {}×{}",
                peak.x,
                peak.y,
                self.size[1],
                self.size[0],
                x = format_args!("{:.1}", x),
                y = format_args!("{:.1}", y)
            )
        });
        let share: f64 = self.positions.iter().filter_map(|p| Some(self.tokens.get(*p)?.share)).sum();
        match self.positions.is_empty() {
            true => format!("{} in {of} ({layers}){peak}", self.subject),
            false => {
                tr!(
                    "{} in {of} ({layers}): {} % of the attention{peak}",
                    self.subject,
                    format_args!("{:.2}", 100. * share),
                    of,
                    layers,
                    peak
                )
            }
        }
    }

    /// Its tokens as a table, the padding in one row.
    pub fn table(&self) -> String {
        if !self.is_listed {
            return String::new();
        }
        let has_weights = self.tokens.iter().any(|row| row.weight.is_some());
        let mut heads = vec!["", "token", "share", "most at", "centre"];
        if has_weights {
            heads.push("weight");
        }
        let is_padding = |row: &&TokenRow| row.token == "<pad>";
        let cells = |mark: &str, token: String, share: f64, peak: Option<Peak>| {
            let at = peak.map_or("–".into(), |peak| format!("{},{}", peak.x, peak.y));
            let centre = peak.map_or("–".into(), |Peak { centre: [x, y], .. }| format!("{x:.1},{y:.1}"));
            vec![mark.to_string(), token, format!("{:.2} %", 100. * share), at, centre]
        };
        let row = |row: &TokenRow| {
            let mark = if self.positions.contains(&row.position) { "▸" } else { "" };
            let position = row.position;
            let mut cells = cells(&format!("{mark}{position:>3}"), row.token.clone(), row.share, row.peak);
            cells.extend(row.weight.map(|weight| format!("{weight:.2}")));
            cells
        };
        let mut table: Vec<Vec<String>> =
            self.tokens.iter().filter(|row| !is_padding(row)).map(row).collect();
        let padding: Vec<&TokenRow> = self.tokens.iter().filter(is_padding).collect();
        if !padding.is_empty() {
            let share = padding.iter().map(|row| row.share).sum();
            let mut cells = cells("", format!("<pad> ×{}", padding.len()), share, None);
            cells.extend(has_weights.then(String::new));
            table.push(cells);
        }
        aligned(&heads, 2, &table)
    }
}

impl EffectReport {
    /// Of a word.
    pub fn of(word: &str, run: &EffectRun) -> Self {
        let effects = run.effects.iter().map(|effect| EffectRow {
            tensor: effect.name,
            relative: effect.relative,
            agreement: effect.agreement,
            peak: Peak::of(&effect.map.values, run.size),
            map: rows(&effect.map.values, run.size),
        });
        Self {
            step: run.step,
            word: word.into(),
            positions: run.positions.clone(),
            replaced_by: run.replaced_by,
            size: [run.size.0, run.size.1],
            effects: effects.collect(),
            attention: rows(&run.attention, run.size),
        }
    }

    /// What there is to say, a line each.
    pub fn lines(&self) -> Vec<String> {
        let positions = ranges(&self.positions);
        let mut lines = vec![tr!(
            "{} in denoise {}: without it, the embedding of token {positions} replaced by that of {}",
            self.word,
            self.step,
            self.replaced_by,
            positions
        )];
        if let Some(effect) = self.effects.iter().find(|effect| effect.tensor == "pred_original_sample") {
            lines.push(verdict(&effect.agreement, effect.relative));
        }
        lines
    }

    /// What became other, as a table.
    pub fn table(&self) -> String {
        let heads = ["tensor", "change", "correlation", "cosine", "overlap", "most at"];
        let row = |row: &EffectRow| {
            let at = row.peak.map_or("–".into(), |peak| format!("{},{}", peak.x, peak.y));
            let Agreement { correlation, cosine, overlap } = row.agreement;
            let change = format!("{:.2} %", 100. * row.relative);
            vec![row.tensor.into(), change, number(correlation), number(cosine), number(overlap), at]
        };
        aligned(&heads, 1, &self.effects.iter().map(row).collect::<Vec<_>>())
    }
}

/// `2`, `2, 3, 8–76`: three and more one after another as a range.
fn ranges(positions: &[usize]) -> String {
    let runs = positions.chunk_by(|a, b| a + 1 == *b);
    let run = |run: &[usize]| match run {
        [first, _, .., last] => format!("{first}–{last}"),
        few => few.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    };
    runs.map(run).collect::<Vec<_>>().join(", ")
}

/// A change below which a word does nothing, of a tensor's length.
const NOTHING: f64 = 1e-6;

/// In words, how alike two maps are: where the picture attends to a word, and what the word changes.
pub fn verdict(agreement: &Agreement, relative: f64) -> String {
    let alike = match agreement.correlation {
        _ if relative < NOTHING => return tr!("the word does nothing here"),
        c if c.is_nan() => return tr!("one of the maps is flat: nothing to compare"),
        c if c >= 0.7 => "the map tells where the word acts",
        c if c >= 0.3 => "the map tells in part where the word acts",
        c if c > -0.3 => "the map does not tell where the word acts",
        _ => "the word acts where it is not looked at from",
    };
    tr!(
        "{alike} (correlation {}, overlap {} %)",
        format_args!("{:+.2}", agreement.correlation),
        format_args!("{:.0}", 100. * agreement.overlap),
        alike
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_and_a_centre() {
        let peak = Peak::of(&[0., 1., 0., 3., 0., f32::NAN], (2, 3)).unwrap();
        assert_eq!((peak.x, peak.y, peak.value), (0, 1, 3.));
        assert_eq!(peak.centre, [0.25, 0.75]);
        assert_eq!(Peak::of(&[0., f32::NAN], (1, 2)), None);
    }

    #[test]
    fn positions_are_told_in_short() {
        assert_eq!(ranges(&[2, 3, 5, 8, 9, 10, 76]), "2, 3, 5, 8–10, 76");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn verdicts() {
        let of = |correlation| Agreement { correlation, cosine: 0.5, overlap: 0.5 };
        assert!(verdict(&of(0.9), 0.1).starts_with("the map tells where"));
        assert!(verdict(&of(0.), 0.1).contains("does not tell"));
        assert!(verdict(&of(-0.8), 0.1).contains("where it is not looked at"));
        assert!(verdict(&of(f64::NAN), 0.1).contains("flat"));
        assert!(verdict(&of(0.9), 0.).contains("nothing"));
    }
}
