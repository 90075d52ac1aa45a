//! `trace.json`: what was run, and which stages are recorded. `docs/trace.md` specifies it.

use super::TraceError;
use crate::nn::error::abridged;
use crate::nn::text;
use crate::pipeline::Stage;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tr::tr;

/// The file's name.
pub const FILE: &str = "trace.json";
/// The value of `format`.
pub const FORMAT: &str = "diffuscope trace";
/// The version that this program reads and writes.
pub const VERSION: u64 = 1;
/// The largest `trace.json`, in bytes. A thousand steps with every module have about 200 MB.
const MAX_BYTES: u64 = 1 << 30;

/// The contents of `trace.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u64,
    /// Whether the last stage is recorded.
    #[serde(default)]
    pub complete: bool,
    /// Why the run or its record ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The program that wrote the trace, and versions of libraries.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub producer: Map<String, Value>,
    /// The checkpoint's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The dtype of the UNet, in torch's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// The order of dimensions of tensors of four dimensions.
    #[serde(default)]
    pub layout: Layout,
    /// The settings under diffusers' names.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
    /// The scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<SchedulerEntry>,
    /// The VAE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<VaeEntry>,
    /// Evidence about modules, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub modules: BTreeMap<String, ModuleEntry>,
    /// The recorded stages, in the order of the run.
    pub stages: Vec<StageEntry>,
}

/// The order of dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Layout {
    /// Batch, channels, height, width: torch's.
    #[default]
    #[serde(rename = "NCHW")]
    Nchw,
    /// Batch, height, width, channels: MLX's and TensorFlow's.
    #[serde(rename = "NHWC")]
    Nhwc,
}

/// The scheduler of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchedulerEntry {
    /// Its class in diffusers.
    pub class: String,
    /// Its configuration.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// The timesteps of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timesteps: Vec<f64>,
}

/// What a run needs to know of a VAE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VaeEntry {
    /// The factor from the VAE's latents to those of the UNet.
    pub scaling_factor: f64,
}

/// Evidence about a module.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModuleEntry {
    /// Its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Its numbers, flags and texts.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
    /// Digests of its own weights.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, String>,
}

/// A recorded stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageEntry {
    /// Its key: `denoise.003`.
    pub name: String,
    /// The file of its tensors, without a folder.
    pub file: String,
    /// The timestep that the UNet gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestep: Option<f64>,
    /// What the rows of a batch are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Row>,
    /// The recorded calls of modules, in the order of completion.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Call>,
    /// Tensors that are stored under another key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub same: BTreeMap<String, String>,
}

/// A row of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Row {
    /// The negative prompt's.
    Uncond,
    /// The prompt's.
    Text,
}

/// A call of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The module's path.
    pub path: String,
    /// The number of the call of this path in this stage.
    #[serde(default)]
    pub call: usize,
    /// The number of calls in this stage that began before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entered: Option<usize>,
    /// The rows of this call, if not those of the stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Row>,
}

impl Call {
    /// The prefix of its tensors' keys: `denoise.003/unet.conv_in#0/`.
    pub fn prefix(&self, stage: &str) -> String {
        format!("{stage}/{}#{}/", self.path, self.call)
    }
}

impl Manifest {
    /// An empty one, as this program begins it.
    pub fn new() -> Self {
        let producer = [("name", "diffuscope"), ("version", env!("CARGO_PKG_VERSION"))];
        Self {
            format: FORMAT.into(),
            version: VERSION,
            complete: false,
            stopped: None,
            producer: producer.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            model: None,
            device: None,
            dtype: None,
            layout: Layout::Nchw,
            settings: Map::new(),
            scheduler: None,
            vae: None,
            modules: BTreeMap::new(),
            stages: vec![],
        }
    }

    /// Reads and checks the file in `folder`.
    ///
    /// # Errors
    /// [`TraceError::Unreadable`] and [`TraceError::Value`].
    pub fn read(folder: &Path) -> Result<Self, TraceError> {
        let file = folder.join(FILE);
        let name = file.display().to_string();
        let unreadable = |reason: String| TraceError::Unreadable { file: name.clone(), reason };
        match folder.metadata() {
            Err(e) => {
                return Err(TraceError::Unreadable {
                    file: folder.display().to_string(),
                    reason: e.to_string(),
                });
            }
            Ok(found) if !found.is_dir() => {
                return Err(TraceError::Unreadable {
                    file: folder.display().to_string(),
                    reason: tr!("it is a file"),
                });
            }
            Ok(_) => {}
        }
        let mut bytes = vec![];
        let opened = File::open(&file).map_err(|e| unreadable(e.to_string()))?;
        opened.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| unreadable(e.to_string()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(unreadable(tr!("it has more than {MAX_BYTES} bytes", MAX_BYTES)));
        }
        Self::parse(&name, &bytes)
    }

    /// Parses and checks the contents of the file `name`.
    ///
    /// # Errors
    /// [`TraceError::Unreadable`] and [`TraceError::Value`].
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, TraceError> {
        let unreadable = |reason: String| TraceError::Unreadable { file: name.into(), reason };
        let wrong = |key: &str, found: String, expected: String| TraceError::Value {
            file: name.into(),
            key: key.into(),
            found,
            expected,
        };
        let text = text::utf8(bytes).map_err(unreadable)?;
        // The version first: another one may have other keys.
        let value: Value = serde_json::from_str(text)
            .map_err(|e| unreadable(tr!("it is not JSON ({})", abridged(&e.to_string()))))?;
        let shown = |key: &str| value.get(key).map_or(tr!("absent"), |found| abridged(&found.to_string()));
        if value.get("format").and_then(Value::as_str) != Some(FORMAT) {
            return Err(wrong("format", shown("format"), format!("\"{FORMAT}\"")));
        }
        if value.get("version").and_then(Value::as_u64) != Some(VERSION) {
            let expected = tr!("{VERSION}, the version that this program reads", VERSION);
            return Err(wrong("version", shown("version"), expected));
        }
        drop(value);
        let deserializer = &mut serde_json::Deserializer::from_str(text);
        let manifest: Self = serde_path_to_error::deserialize(deserializer).map_err(|e| {
            let key = e.path().to_string();
            let reason = abridged(&e.into_inner().to_string());
            wrong(&key, tr!("not readable ({reason})", reason), tr!("what docs/trace.md says of version 1"))
        })?;
        manifest.check(&wrong)?;
        Ok(manifest)
    }

    fn check(&self, wrong: &dyn Fn(&str, String, String) -> TraceError) -> Result<(), TraceError> {
        let (mut stages, mut files) = (HashSet::new(), HashSet::new());
        let mut last = None;
        for (i, entry) in self.stages.iter().enumerate() {
            let key = |name: &str| format!("stages[{i}].{name}");
            let quoted = |text: &str| format!("\"{}\"", abridged(text));
            let stage = Stage::of_key(&entry.name).filter(|stage| stage.key() == entry.name);
            let Some(stage) = stage else {
                let expected = tr!("encode_prompt, get_latent, denoise.000 and so on, or vae_decode");
                return Err(wrong(&key("name"), quoted(&entry.name), expected));
            };
            if !stages.insert(stage) || last.is_some_and(|last| last > stage) {
                let expected = tr!("each stage once, in the order of the run");
                return Err(wrong(&key("name"), quoted(&entry.name), expected));
            }
            last = Some(stage);
            let is_name = !entry.file.is_empty()
                && !entry.file.contains(['/', '\\', ':', '\0'])
                && !entry.file.starts_with('.')
                && entry.file != FILE;
            if !is_name || !files.insert(&entry.file) {
                let expected = tr!("a file of its own in the trace's folder, without a path");
                return Err(wrong(&key("file"), quoted(&entry.file), expected));
            }
            if entry.rows.len() > 2 || entry.timestep.is_some_and(|t| !t.is_finite()) {
                let expected = tr!("two rows at most and a finite timestep");
                return Err(wrong(&key("rows"), entry.rows.len().to_string(), expected));
            }
            let mut calls = HashSet::new();
            for (n, call) in entry.calls.iter().enumerate() {
                let key = || format!("stages[{i}].calls[{n}]");
                if call.path.is_empty() || call.path.contains(['/', '#']) || call.rows.len() > 2 {
                    let expected = tr!("the path of a module, such as unet.conv_in");
                    return Err(wrong(&format!("{}.path", key()), quoted(&call.path), expected));
                }
                if !calls.insert((&call.path, call.call)) {
                    let found = format!("\"{}#{}\"", abridged(&call.path), call.call);
                    return Err(wrong(&key(), found, tr!("each call once")));
                }
            }
        }
        Ok(())
    }

    /// The file's text.
    ///
    /// # Errors
    /// When a number is not finite.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

impl Default for Manifest {
    fn default() -> Self {
        Self::new()
    }
}
