//! Output of a comparison: a contact sheet, an animation, metrics.

use crate::debugger::language::plan::Axis;
use crate::debugger::language::plan::Plan;
use crate::debugger::session::Session;
use crate::debugger::timeline::comparison::Comparison;
use crate::debugger::timeline::comparison::StepMetrics;
use crate::debugger::timeline::comparison::metrics;
use crate::debugger::timeline::tree::Branch;
use crate::nn::Unwatched;
use crate::picture::sheet::{Row, Sheet};
use crate::picture::{animation, decoded};
use crate::pipeline::init_image::file_name;
use crate::pipeline::{self, Setting, Stage, StageRecord, stages};
use crate::tensor::PlainTensor;
use anyhow::Context;
use candle_core::Tensor;
use image::RgbImage;
use serde_json::json;
use std::sync::Arc;
use tr::tr;

/// Images per row on a sheet with one axis.
const ACROSS: usize = 8;

/// The output of a comparison.
pub struct Pictures<'a> {
    /// The session with the runs.
    pub session: &'a Session,
    /// The comparison of its timelines.
    pub comparison: &'a Comparison,
}

impl Pictures<'_> {
    fn branches(&self) -> impl Iterator<Item = &Branch> {
        let of = |id| self.session.timelines().get(id);
        self.comparison.members.iter().filter_map(move |member| of(member.branch))
    }

    /// The last record of each variant after `tick` ticks.
    fn records(&self, tick: usize) -> Vec<Option<Arc<StageRecord>>> {
        let lineup = self.comparison.lineup();
        let done = self.comparison.members.iter().map(|member| lineup.done(member, tick));
        let record = |(branch, done): (&Branch, usize)| {
            let records = branch.timeline.records();
            records.get(..done.min(records.len()))?.last().cloned()
        };
        self.branches().zip(done).map(record).collect()
    }

    /// The image of a stage: that of `vae_decode`, or the decoded `pred_original_sample`.
    fn picture(&self, record: &StageRecord) -> anyhow::Result<Option<RgbImage>> {
        let image = match (record.tensor("image"), record.tensor("pred_original_sample"), record.stage) {
            (Some(image), ..) => image.clone(),
            (_, Some(latents), _) => self.decode(latents)?,
            (_, _, Stage::GetLatent) => match record.tensor("latents") {
                Some(latents) => self.decode(latents)?,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(decoded::picture(&PlainTensor::of(&image)?).map(|picture| (*picture.image).clone()))
    }

    /// Decodes latents, even after an interruption: the first Ctrl-C still writes the sheet.
    fn decode(&self, latents: &Tensor) -> Result<Tensor, pipeline::Error> {
        stages::vae_decode(self.session.backend().models()?, latents, &mut Unwatched)
    }

    fn pictures(&self, tick: usize) -> anyhow::Result<Vec<Option<RgbImage>>> {
        let mut pictures = vec![];
        for record in self.records(tick) {
            pictures.push(match record {
                Some(record) => self.picture(&record)?,
                None => None,
            });
        }
        Ok(pictures)
    }

    /// The ticks on a sheet or in an animation: after every `every`-th step, and the last.
    fn shown(&self, every: usize) -> Vec<usize> {
        let last = self.comparison.tick();
        let steps =
            (2 + every..).step_by(every).take_while(|tick| *tick < last.min(self.comparison.ticks() - 1));
        steps.chain([last]).collect()
    }

    /// The contact sheet: an image of each variant; with `every`, a row for every `every`-th step. `stopped` is the number of ticks
    /// after which the runs were interrupted.
    ///
    /// # Errors
    /// When the device fails.
    pub fn sheet(
        &self,
        plan: &Plan,
        every: Option<usize>,
        stopped: Option<usize>,
    ) -> anyhow::Result<RgbImage> {
        let captions = self.captions(plan);
        let mut sheet = Sheet { title: self.title(plan, stopped), legend: legend(plan), ..Sheet::default() };
        if let Some(every) = every {
            (sheet.across, sheet.down) = (plan.to_string(), "step".into());
            for tick in self.shown(every) {
                let tiles = captions.iter().cloned().zip(self.pictures(tick)?).collect();
                sheet.rows.push(Row { heading: self.step_name(tick), tiles });
            }
            return Ok(sheet.draw());
        }
        (sheet.across, sheet.down) = axes(plan);
        sheet.rows = self.rows(plan, self.comparison.tick())?;
        Ok(sheet.draw())
    }

    /// An image of each variant after `tick` ticks. With two axes, a row for each value of the second; with one, rows of
    /// [`ACROSS`] images.
    fn rows(&self, plan: &Plan, tick: usize) -> anyhow::Result<Vec<Row>> {
        let pictures = self.pictures(tick)?;
        let Some(second) = plan.axes.get(1) else {
            let tiles: Vec<_> = self.captions(plan).into_iter().zip(pictures).collect();
            let rows = tiles.chunks(ACROSS);
            return Ok(rows.map(|tiles| Row { heading: String::new(), tiles: tiles.to_vec() }).collect());
        };
        let across = numbered(&plan.axes[0]);
        let rows = numbered(second).into_iter().zip(pictures.chunks(across.len()));
        let row = |(heading, pictures): (String, &[Option<RgbImage>])| Row {
            heading,
            tiles: across.iter().cloned().zip(pictures.iter().cloned()).collect(),
        };
        Ok(rows.map(row).collect())
    }

    /// The caption of each variant: its value, or the number of a text in the legend.
    fn captions(&self, plan: &Plan) -> Vec<String> {
        let numbers: Vec<Vec<String>> = plan.axes.iter().map(numbered).collect();
        let caption = |values: &Vec<String>| {
            let of = |(place, value): (usize, &String)| {
                let known = plan.axes[place].values.iter().position(|known| known == value);
                known.map_or_else(|| value.clone(), |index| numbers[place][index].clone())
            };
            values.iter().enumerate().map(of).collect::<Vec<_>>().join(" · ")
        };
        self.comparison.members.iter().map(|member| caption(&member.values)).collect()
    }

    /// The common settings.
    fn title(&self, plan: &Plan, stopped: Option<usize>) -> Vec<String> {
        // If a word is swapped, the first variant has the original prompt.
        let varied = |name: &str| plan.axes.iter().any(|axis| axis.name() == name);
        let Some(request) = self.branches().next().map(|b| b.timeline.here().request().clone()) else {
            return vec![];
        };
        let mut title = vec![];
        if !varied("prompt") {
            title.push(request.prompt.clone());
        }
        if !varied("negative_prompt") && !request.negative_prompt.is_empty() {
            title.push(format!("not: {}", request.negative_prompt));
        }
        // The prompts stand above, and the size is the pictures'.
        let stands_elsewhere =
            |name: &str| ["prompt", "negative_prompt", "width", "height"].contains(&name) || varied(name);
        let counts = |setting: &Setting| {
            let by_its_picture = setting.name() == "strength" && varied("init_image");
            by_its_picture || setting.is_in_short_texts(&request)
        };
        let common = Setting::of(&request).into_iter();
        let common = common.filter(|setting| !stands_elsewhere(setting.name()) && counts(setting));
        let told = common.map(|setting| format!("{setting} {}", setting.get(&request).without_folder()));
        title.push(told.collect::<Vec<_>>().join("  "));
        if let Some(tick) = stopped {
            title.push(format!("interrupted: {}", self.step_name(tick)));
        }
        title
    }

    fn step_name(&self, tick: usize) -> String {
        // Ticks count the steps of the variant with the most.
        let most = self.branches().map(|branch| branch.timeline.here().request().steps());
        let most = most.reduce(|most, other| if other.len() > most.len() { other } else { most });
        match Stage::at(tick.saturating_sub(1), &most.unwrap_or_default()) {
            Some(Stage::Denoise { step }) => tr!("after denoise {step}", step),
            Some(stage) if tick > 0 => format!("after {stage}"),
            _ => tr!("at the start"),
        }
    }

    /// The steps as frames of a GIF. `on_progress` is called after each frame.
    ///
    /// # Errors
    /// When the device or the encoder fails.
    pub fn animation(
        &self,
        plan: &Plan,
        every: usize,
        on_progress: impl Fn(usize, usize),
    ) -> anyhow::Result<Vec<u8>> {
        let ticks = self.shown(every);
        let (across, down) = axes(plan);
        animation::gif(ticks.len(), |index| {
            let sheet = Sheet {
                title: vec![format!("{plan}: {}", self.step_name(ticks[index]))],
                across: across.clone(),
                down: down.clone(),
                rows: self.rows(plan, ticks[index])?,
                legend: legend(plan),
            };
            on_progress(index + 1, ticks.len());
            Ok(sheet.draw())
        })
    }

    /// The metrics of every step of every variant, and the differences from the base.
    ///
    /// # Errors
    /// When the device fails.
    pub fn json(&self, plan: &Plan) -> anyhow::Result<String> {
        let lineup = self.comparison.lineup();
        let base: Vec<_> = self.branches().nth(self.comparison.base).map_or(vec![], |b| b.timeline.records());
        let base_member = self.comparison.members.get(self.comparison.base).context("no base")?;
        let mut variants = vec![];
        for (member, branch) in self.comparison.members.iter().zip(self.branches()) {
            let mut steps = vec![];
            for (done, record) in branch.timeline.records().iter().enumerate() {
                if record.tensor("latents").or_else(|| record.tensor("image")).is_none() {
                    continue;
                }
                // The base's record at the same tick.
                let tick = (0..=lineup.ticks()).find(|tick| lineup.done(member, *tick) == done + 1);
                let beside = tick.and_then(|tick| base.get(lineup.done(base_member, tick).checked_sub(1)?));
                let difference = beside.map(|base| metrics::difference(record, base)).transpose()?.flatten();
                let mut step = serde_json::to_value(StepMetrics::of_record(record)?)?;
                step["stage"] = record.stage.key().into();
                step["timestep"] = record.step.as_ref().map(|step| step.timestep).into();
                step["difference"] = difference.into();
                steps.push(step);
            }
            variants.push(json!({
                "timeline": branch.name,
                "values": member.values,
                "request": branch.timeline.tip().request(),
                "steps": steps,
            }));
        }
        let rows = self.comparison.rows();
        Ok(serde_json::to_string_pretty(&json!({
            "axes": plan.axes.iter().map(|axis| axis.name()).collect::<Vec<_>>(),
            "variants": variants,
            "embeds": self.session.embeds_apart()?,
            "rows": { "computed": rows.computed, "apart": rows.apart, "at_once": self.comparison.rows_at_once() },
        }))?)
    }
}

/// The headings of a sheet's columns and rows, with arrows if there are both.
fn axes(plan: &Plan) -> (String, String) {
    match &plan.axes[..] {
        [across, down] => (format!("{} →", across.name()), format!("{} ↓", down.name())),
        axes => (axes.first().map_or(String::new(), |axis| axis.name().into()), String::new()),
    }
}

/// The headings of an axis's values: the values, or the numbers of texts.
fn numbered(axis: &Axis) -> Vec<String> {
    let value = |(index, value): (usize, &String)| {
        if axis.is_text() { format!("{}", index + 1) } else { value.clone() }
    };
    axis.values.iter().enumerate().map(value).collect()
}

/// The legend: every number with its text.
fn legend(plan: &Plan) -> Vec<String> {
    let texts = plan.axes.iter().filter(|axis| axis.is_text());
    let lines = texts.flat_map(|axis| {
        let named = |(index, value): (usize, &String)| {
            // Sheets are shared: only the file's name of a path is shown.
            let value = if axis.setting.is_file() { file_name(value) } else { value };
            let value = if value.is_empty() { "(empty)" } else { value };
            format!("{} {}  {value}", axis.name(), index + 1)
        };
        axis.values.iter().enumerate().map(named).collect::<Vec<_>>()
    });
    lines.collect()
}
