//! An open trace. Tensors are read when they are asked for, whole or in pieces.

use super::TraceError;
use super::manifest::{Call, Layout, Manifest, Row};
use super::on_disk::OnDisk;
use crate::nn::weights::WeightsFile;
use crate::pipeline::Stage;
use crate::tensor::PlainTensor;
use candle_core::DType;
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::path::Path;
use tr::tr;

/// The state of torch's generator, a tensor of `get_latent` that is no part of the run.
pub const GENERATOR_STATE: &str = "generator_state";

/// The first of several tensors that a call makes.
const FIRST: &str = "out.0";

/// An open trace. The headers of its files are read and checked.
#[derive(Debug)]
pub struct Trace {
    name: String,
    pub(super) manifest: Manifest,
    pub(super) stages: Vec<TraceStage>,
}

/// A recorded stage of an open trace.
#[derive(Debug)]
pub struct TraceStage {
    /// The stage.
    pub stage: Stage,
    /// What the rows of its batches are; empty if the trace does not say.
    pub rows: Vec<Row>,
    /// The timestep that the UNet gets.
    pub timestep: Option<f64>,
    /// The calls of modules, in the order of completion. Paths have no `text_model`.
    pub calls: Vec<RecordedCall>,
    key: String,
    file: WeightsFile,
    layout: Layout,
    same: BTreeMap<String, String>,
}

/// A recorded call of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCall {
    /// The module's path, without `text_model`.
    pub path: String,
    /// The number of the call of this path in this stage.
    pub call: usize,
    /// The number of calls in this stage that began before it.
    pub entered: Option<usize>,
    /// What the rows of its batches are; empty if the trace does not say.
    pub rows: Vec<Row>,
    /// The prefix of its tensors' keys.
    prefix: String,
    /// The names of its inputs, such as `hidden_states`, in the order of the file.
    pub inputs: Vec<String>,
    /// Whether its output is recorded: as one tensor, or as several of which the first counts, as a down block's hidden states.
    pub has_output: bool,
    /// The name of its output among its tensors.
    output: &'static str,
}

impl Trace {
    /// Opens the trace in `folder`.
    ///
    /// # Errors
    /// [`TraceError`], with the file and the key.
    pub fn open(folder: &Path) -> Result<Self, TraceError> {
        let mut manifest = Manifest::read(folder)?;
        let entries = std::mem::take(&mut manifest.stages);
        let mut stages = vec![];
        for (i, entry) in entries.iter().enumerate() {
            let wrong = |key: &str, found: String, expected: String| TraceError::Value {
                file: folder.join(super::manifest::FILE).display().to_string(),
                key: format!("stages[{i}].{key}"),
                found,
                expected,
            };
            let file = WeightsFile::open(&folder.join(&entry.file))?;
            for (from, to) in &entry.same {
                if file.info(to).is_none() || file.info(from).is_some() {
                    let expected = tr!("the key of a tensor in {}, and of no other", entry.file);
                    return Err(wrong("same", format!("{from} -> {to}"), expected));
                }
            }
            let Some(stage) = Stage::of_key(&entry.name) else { continue };
            let mut stage = TraceStage {
                stage,
                rows: entry.rows.clone(),
                timestep: entry.timestep,
                calls: vec![],
                key: entry.name.clone(),
                file,
                layout: manifest.layout,
                same: entry.same.clone(),
            };
            stage.calls = stage.recorded(&entry.calls);
            stages.push(stage);
        }
        Ok(Self { name: folder.display().to_string(), manifest, stages })
    }

    /// The folder, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `trace.json` says, without the stages.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The recorded stages, in the order of the run.
    pub fn stages(&self) -> &[TraceStage] {
        &self.stages
    }

    /// A recorded stage.
    pub fn stage(&self, stage: Stage) -> Option<&TraceStage> {
        self.stages.iter().find(|known| known.stage == stage)
    }

    /// A tensor of a stage, such as `latents`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tensor(&self, stage: Stage, name: &str) -> Result<Option<PlainTensor>, TraceError> {
        self.stage(stage).map_or(Ok(None), |stage| stage.tensor(name))
    }
}

impl TraceStage {
    /// The stage's key, such as `denoise.003`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The path of a call as `trace.json` has it.
    pub(super) fn written_path<'a>(&self, call: &'a RecordedCall) -> &'a str {
        let path = call.prefix.strip_prefix(&self.key).and_then(|path| path.strip_prefix('/'));
        path.and_then(|path| path.rsplit_once('#')).map_or(&call.path, |(path, _)| path)
    }

    /// The names of its tensors, such as `latents`, in the order of the run; not those of modules, and not [`GENERATOR_STATE`].
    pub fn names(&self) -> Vec<String> {
        let keys = self.keys();
        let own = keys.filter_map(|key| key.strip_prefix(&self.key)?.strip_prefix('/').map(String::from));
        let mut names: Vec<String> =
            own.filter(|name| !name.contains('/') && name != GENERATOR_STATE).collect();
        let place = |name: &String| crate::pipeline::snapshot::tensor_names().position(|known| known == name);
        names.sort_by_key(|name| (place(name).unwrap_or(usize::MAX), name.clone()));
        names
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tensor(&self, name: &str) -> Result<Option<PlainTensor>, TraceError> {
        self.read(&format!("{}/{name}", self.key))
    }

    /// The output of a call, if it is recorded as one tensor.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn output(&self, call: &RecordedCall) -> Result<Option<PlainTensor>, TraceError> {
        self.read(&format!("{}{}", call.prefix, call.output))
    }

    /// An input of a call by its name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn input(&self, call: &RecordedCall, name: &str) -> Result<Option<PlainTensor>, TraceError> {
        self.read(&format!("{}in.{name}", call.prefix))
    }

    /// A tensor of the stage in its file.
    pub fn on_disk(&self, name: &str) -> Option<OnDisk<'_>> {
        self.find(&format!("{}/{name}", self.key))
    }

    /// The output of a call in the stage's file, if it is recorded as one tensor.
    pub fn output_on_disk(&self, call: &RecordedCall) -> Option<OnDisk<'_>> {
        self.find(&format!("{}{}", call.prefix, call.output))
    }

    /// An input of a call in the stage's file.
    pub fn input_on_disk(&self, call: &RecordedCall, name: &str) -> Option<OnDisk<'_>> {
        self.find(&format!("{}in.{name}", call.prefix))
    }

    fn find(&self, key: &str) -> Option<OnDisk<'_>> {
        OnDisk::find(&self.file, self.stored(key), self.layout)
    }

    fn stored<'a>(&'a self, key: &'a str) -> &'a str {
        self.same.get(key).map_or(key, String::as_str)
    }

    fn keys(&self) -> impl Iterator<Item = String> {
        self.file.tensors().map(|(key, _)| key).chain(self.same.keys().cloned())
    }

    fn read(&self, key: &str) -> Result<Option<PlainTensor>, TraceError> {
        let stored = self.stored(key);
        let Some(info) = self.file.info(stored) else { return Ok(None) };
        let values = self.file.values(stored, 0..usize::MAX)?;
        let (shape, values) = match (self.layout, &info.shape[..]) {
            (Layout::Nhwc, &[n, h, w, c]) => (vec![n, c, h, w], channels_first(&values, [n, h, w, c])),
            _ => (info.shape.clone(), values),
        };
        Ok(PlainTensor::stored(&shape, dtype(info.dtype), values))
    }

    fn recorded(&self, calls: &[Call]) -> Vec<RecordedCall> {
        // Keys of one call, found in one pass: a stage can have thousands.
        let mut tensors: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for key in self.keys() {
            if let Some((prefix, name)) = key.rsplit_once('/') {
                tensors.entry(format!("{prefix}/")).or_default().push(name.into());
            }
        }
        let recorded = |call: &Call| {
            let prefix = call.prefix(&self.key);
            let names = tensors.get(&prefix).map_or(&[][..], Vec::as_slice);
            let inputs = names.iter().filter_map(|name| name.strip_prefix("in.").map(String::from));
            RecordedCall {
                path: without_text_model(&call.path),
                call: call.call,
                entered: call.entered,
                rows: if call.rows.is_empty() { self.rows.clone() } else { call.rows.clone() },
                inputs: inputs.collect(),
                has_output: names.iter().any(|name| name == "out" || name == FIRST),
                output: if names.iter().any(|name| name == FIRST) { FIRST } else { "out" },
                prefix,
            }
        };
        calls.iter().map(recorded).collect()
    }
}

/// transformers 4 has a module `text_model` around the text encoder's parts; transformers 5 has not.
pub(super) fn without_text_model(path: &str) -> String {
    match path.strip_prefix("text_encoder.text_model") {
        Some(rest) => ["text_encoder", rest].concat(),
        None => path.into(),
    }
}

pub(super) fn shape_in(layout: Layout, shape: &[usize]) -> Vec<usize> {
    match (layout, shape) {
        (Layout::Nhwc, &[n, h, w, c]) => vec![n, c, h, w],
        _ => shape.into(),
    }
}

pub(super) fn channels_first(values: &[f32], [n, h, w, c]: [usize; 4]) -> Vec<f32> {
    let mut turned = Vec::with_capacity(values.len());
    if values.is_empty() {
        // One dimension is 0, and another one may be any number.
        return turned;
    }
    for image in 0..n {
        for channel in 0..c {
            let pixels = (0..h * w).map(|pixel| (image * h * w + pixel) * c + channel);
            turned.extend(pixels.map(|at| values[at]));
        }
    }
    turned
}

/// The dtype in memory of a tensor that is stored as `stored`.
pub fn dtype(stored: Dtype) -> DType {
    match stored {
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F64 => DType::F64,
        Dtype::I64 | Dtype::U64 => DType::I64,
        Dtype::I32 | Dtype::U32 | Dtype::I16 | Dtype::U16 => DType::I32,
        Dtype::U8 | Dtype::I8 | Dtype::BOOL => DType::U8,
        _ => DType::F32,
    }
}
