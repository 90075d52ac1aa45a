//! The reports on LoRAs: what they cover, and what they do in a step.

use super::attention::Peak;
use crate::debugger::inspect::lora::{LoraRun, ModuleChange, TensorChange};
use crate::debugger::text::aligned;
use crate::model::lora::{Coverage, Lora};
use serde::Serialize;
use tr::tr;

/// A LoRA of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoraReport {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Its scale in the run.
    pub scale: f64,
    /// What it does by its weights.
    #[serde(flatten)]
    pub coverage: Coverage,
}

/// What LoRAs do in a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoraEffect {
    /// The step.
    pub stage: String,
    /// The LoRAs and their scales.
    pub loras: Vec<(String, f64)>,
    /// The tensors that change.
    pub tensors: Vec<TensorRow>,
    /// The modules, in the order in which they finish.
    pub modules: Vec<ModuleRow>,
}

/// How other a tensor is with the LoRAs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorRow {
    /// The tensor.
    pub tensor: &'static str,
    /// ‖with − without‖ / ‖without‖.
    pub relative: f64,
    /// Where the difference is largest, and its centre.
    pub peak: Option<Peak>,
    /// The norm of the difference at each pixel, row by row.
    pub map: Vec<Vec<f32>>,
}

/// How other a module is with the LoRAs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModuleRow {
    /// Its path.
    pub module: String,
    /// ‖ΔW‖ / ‖W‖; `None` if its own weight stays.
    pub weight: Option<f64>,
    /// ‖with − without‖ / ‖without‖ of its output.
    pub output: f64,
}

/// The modules that a table of a step shows.
const SHOWN: usize = 8;

impl LoraReport {
    /// Of a LoRA with the scale that it has in a run.
    pub fn of(lora: &Lora, scale: f64) -> Self {
        let (name, file, coverage) = (lora.name.clone(), lora.file.clone(), lora.coverage.clone());
        Self { name, file, scale, coverage }
    }

    /// What it covers, a line each; with every module if `all`.
    pub fn lines(&self, all: bool) -> Vec<String> {
        let Self { name, file, scale, coverage } = self;
        let mut lines = vec![tr!("{name}: scale {scale}, {file}", name, scale, file)];
        lines.extend(coverage.lines().into_iter().map(|line| format!("  {line}")));
        for left in &coverage.left_over {
            lines.push(format!("  {}: {}", left.key, left.why));
        }
        if all {
            let heads = ["module", "rank", "alpha", "‖ΔW‖", "‖W‖", "‖ΔW‖/‖W‖"];
            let rows: Vec<Vec<String>> = coverage
                .modules
                .iter()
                .map(|touched| {
                    vec![
                        touched.path.clone(),
                        touched.rank.to_string(),
                        touched.alpha.to_string(),
                        format!("{:.3e}", touched.change),
                        format!("{:.3e}", touched.weight),
                        percent(touched.ratio()),
                    ]
                })
                .collect();
            lines.extend(aligned(&heads, 1, &rows).lines().map(String::from));
        }
        lines
    }
}

impl LoraEffect {
    /// Of a step with and without them.
    pub fn of(run: &LoraRun) -> Self {
        let tensor = |change: &TensorChange| TensorRow {
            tensor: change.name,
            relative: change.relative,
            peak: Peak::of(&change.map.values, change.map.size),
            map: change.map.values.chunks(change.map.size.1.max(1)).map(<[f32]>::to_vec).collect(),
        };
        let module = |change: &ModuleChange| ModuleRow {
            module: change.path.clone(),
            weight: change.weight,
            output: change.output,
        };
        Self {
            stage: run.stage.to_string(),
            loras: run.loras.clone(),
            tensors: run.changes.iter().map(tensor).collect(),
            modules: run.modules.iter().map(module).collect(),
        }
    }

    /// What is compared, and what changes most, a line each.
    pub fn lines(&self) -> Vec<String> {
        let named: Vec<String> =
            self.loras.iter().map(|(name, scale)| tr!("{name} at scale {scale}", name, scale)).collect();
        let mut lines = vec![tr!("{}: with {} against without", self.stage, named.join(", "))];
        let mut own: Vec<&ModuleRow> = self.modules.iter().filter(|row| row.weight.is_some()).collect();
        let count = own.len();
        own.sort_by(|a, b| b.output.total_cmp(&a.output));
        if let Some(first) = own.first() {
            let (module, most) = (&first.module, percent(first.output));
            lines.push(match count {
                1 => tr!("of the modules that run here it changes {module}, whose output changes by {most}", module, most),
                _ => tr!(
                    "of the {count} modules that it changes and that run here, the output of {module} changes most: by {most}",
                    count,
                    module,
                    most
                ),
            });
        }
        lines
    }

    /// The tensors, and the modules whose output changes most.
    pub fn table(&self) -> String {
        let row = |row: &TensorRow| {
            let at = row.peak.map_or("–".into(), |peak| format!("{},{}", peak.x, peak.y));
            vec![row.tensor.into(), percent(row.relative), at]
        };
        let tensors =
            aligned(&["tensor", "change", "most at"], 1, &self.tensors.iter().map(row).collect::<Vec<_>>());
        let mut own: Vec<&ModuleRow> = self.modules.iter().filter(|row| row.weight.is_some()).collect();
        own.sort_by(|a, b| b.output.total_cmp(&a.output));
        let row = |row: &&ModuleRow| {
            vec![row.module.clone(), row.weight.map_or("–".into(), percent), percent(row.output)]
        };
        let modules: Vec<_> = own.iter().take(SHOWN).map(row).collect();
        format!("{tensors}{}", aligned(&["module", "‖ΔW‖/‖W‖", "output"], 1, &modules))
    }
}

/// A ratio in percent with three digits.
fn percent(ratio: f64) -> String {
    let percent = 100. * ratio;
    match percent.abs() {
        p if p >= 100. => format!("{percent:.0} %"),
        p if p >= 10. => format!("{percent:.1} %"),
        p if p >= 0.01 || p == 0. => format!("{percent:.2} %"),
        _ => format!("{percent:.1e} %"),
    }
}
