//! A trace that is being written, stage by stage. Each file is written beside its place and renamed, the stage's tensors before
//! `trace.json`: a crash leaves every finished stage.

use super::TraceError;
use super::manifest::{FILE, FORMAT, Manifest, ModuleEntry, Row, SchedulerEntry, StageEntry, VaeEntry};
use super::reader::GENERATOR_STATE;
use super::recording::Recorded;
use crate::pipeline::dump::{WriteError, write_beside};
use crate::pipeline::{Models, Setting, Snapshot, Stage, StageRecord};
use crate::tensor::Generator;
use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, View};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tr::tr;

/// A trace that is being written.
#[derive(Debug)]
pub struct TraceWriter {
    folder: PathBuf,
    manifest: Manifest,
    /// The state of the generator before the first draw.
    generator: Vec<u8>,
}

impl TraceWriter {
    /// Checks that a trace can be written to `folder`, which is new, empty or a trace.
    ///
    /// # Errors
    /// [`TraceError::Occupied`], and when the folder cannot be read.
    pub fn check(folder: &Path) -> Result<(), TraceError> {
        let path = || folder.display().to_string();
        let occupied = |found: String| TraceError::Occupied { path: path(), found };
        let entries = match std::fs::read_dir(folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(occupied(tr!("it is a file")));
            }
            Err(e) => return Err(TraceError::Unreadable { file: path(), reason: e.to_string() }),
            Ok(entries) => entries,
        };
        let is_trace = Self::is_trace(folder);
        if !is_trace && entries.flatten().next().is_some() {
            return Err(occupied(tr!("it is a folder with other files")));
        }
        Ok(())
    }

    /// Whether `folder` has a `trace.json` of this format, whatever its version.
    fn is_trace(folder: &Path) -> bool {
        let text = crate::pipeline::dump::read_text(&folder.join(FILE));
        let value = text.ok().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
        let large = || Manifest::read(folder).is_ok();
        value.map_or_else(large, |value| value.get("format").is_some_and(|format| format == FORMAT))
    }

    /// Begins a trace of `run` in `folder`. An older trace there is removed: its files that `trace.json` names, and no others.
    ///
    /// # Errors
    /// As [`check`](Self::check), and when the folder cannot be made.
    pub fn begin(folder: &Path, run: &Snapshot, models: &Models) -> Result<Self, TraceError> {
        Self::check(folder)?;
        let failed = |path: &Path, e: std::io::Error| WriteError::File {
            path: path.display().to_string(),
            reason: e.to_string(),
        };
        if let Ok(old) = Manifest::read(folder) {
            // Its index first, so that no reader finds it without its files.
            let names =
                std::iter::once(FILE.to_string()).chain(old.stages.into_iter().map(|stage| stage.file));
            for file in names.map(|name| folder.join(name)) {
                match std::fs::remove_file(&file) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&file, e).into()),
                    _ => {}
                }
            }
        }
        std::fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
        let generator = Generator::manual_seed(run.request().seed.folded()).state();
        let writer = Self { folder: folder.into(), manifest: manifest(run, models), generator };
        writer.write_manifest()?;
        Ok(writer)
    }

    /// Adds a finished stage with the modules that were recorded in it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn stage(&mut self, record: &StageRecord, recorded: Recorded) -> Result<(), TraceError> {
        let key = record.stage.key();
        let own = record.tensors.iter().map(|(name, tensor)| (format!("{key}/{name}"), tensor));
        let modules = recorded.tensors.iter().map(|(key, tensor)| (key.clone(), tensor));
        let file = format!("{key}.safetensors");
        let path = self.folder.join(&file);
        let generator = match record.stage {
            Stage::GetLatent => {
                let state = Tensor::new(self.generator.as_slice(), &Device::Cpu);
                let name = format!("{key}/{GENERATOR_STATE}");
                Some((name.clone(), state.map_err(|source| WriteError::Tensor { name, source })?))
            }
            _ => None,
        };
        let generator = generator.iter().map(|(name, state)| (name.clone(), state));
        write_tensors(own.chain(modules).chain(generator).collect(), &path)?;
        let timestep = match record.stage {
            Stage::Denoise { step } => record.scheduler.timesteps().get(step).copied(),
            _ => None,
        };
        let rows = match record.stage {
            Stage::EncodePrompt | Stage::Denoise { .. } => vec![Row::Uncond, Row::Text],
            Stage::GetLatent | Stage::VaeDecode => vec![],
        };
        let Recorded { calls, same, .. } = recorded;
        self.manifest.stages.push(StageEntry { name: key, file, timestep, rows, calls, same });
        self.manifest.complete = record.stage == Stage::VaeDecode;
        self.write_manifest()
    }

    /// The number of calls of modules that were recorded.
    pub fn calls(&self) -> usize {
        self.manifest.stages.iter().map(|stage| stage.calls.len()).sum()
    }

    fn write_manifest(&self) -> Result<(), TraceError> {
        let path = self.folder.join(FILE);
        let json = self
            .manifest
            .to_json()
            .map_err(|e| WriteError::Format { path: path.display().to_string(), reason: e.to_string() })?;
        Ok(write_beside(&path, &json)?)
    }
}

fn manifest(run: &Snapshot, models: &Models) -> Manifest {
    let request = run.request();
    let settings = Setting::of(request).into_iter().filter(|setting| setting.applies(request));
    let settings = settings.filter(|setting| !setting.name().starts_with("scheduler"));
    let config = request.scheduler.config();
    Manifest {
        model: Some(models.source.name()),
        device: Some(device(&models.device).into()),
        dtype: Some(dtype(models.dtype).into()),
        settings: settings.map(|setting| (setting.to_string(), setting.get(request).json())).collect(),
        scheduler: Some(SchedulerEntry {
            class: config.class.name().into(),
            config: config.json(),
            timesteps: run.scheduler().timesteps().to_vec(),
        }),
        vae: Some(VaeEntry { scaling_factor: models.vae.config().scaling_factor }),
        modules: evidence(models),
        ..Manifest::new()
    }
}

/// What a reader without the weights needs to compute attention: the heads of the UNet's attentions.
fn evidence(models: &Models) -> BTreeMap<String, ModuleEntry> {
    let attribute = |name: &str, value: usize| [(name.to_string(), value.into())].into_iter().collect();
    let attention = |path: &str| {
        let heads = models.heads_at(path)?;
        let class = Some("Attention".to_string());
        Some((
            path.to_string(),
            ModuleEntry { class, attributes: attribute("heads", heads), ..ModuleEntry::default() },
        ))
    };
    let paths = models.modules.iter().map(|path| path.as_str());
    let is_attention = |path: &&str| matches!(path.rsplit('.').next(), Some("attn1" | "attn2"));
    let mut entries: BTreeMap<_, _> = paths.filter(is_attention).filter_map(attention).collect();
    if let Some(dim) = models.unet.config().time_cond_proj_dim {
        let attributes = attribute("time_cond_proj_dim", dim);
        entries.insert("unet".into(), ModuleEntry { attributes, ..ModuleEntry::default() });
    }
    entries
}

fn device(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "mps",
    }
}

/// torch's name of a dtype.
fn dtype(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        _ => "float32",
    }
}

/// A tensor on the CPU as the library that writes it sees it: its bytes are made when they are written.
struct Bytes<'a> {
    tensor: Cow<'a, Tensor>,
    dtype: Dtype,
}

impl<'a> Bytes<'a> {
    fn of(tensor: &'a Tensor) -> candle_core::Result<Self> {
        let tensor = match tensor.device() {
            Device::Cpu => Cow::Borrowed(tensor),
            _ => Cow::Owned(tensor.to_device(&Device::Cpu)?),
        };
        let dtype = match tensor.dtype() {
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::F64 => Dtype::F64,
            DType::I64 => Dtype::I64,
            DType::U32 => Dtype::U32,
            DType::U8 => Dtype::U8,
            _ => Dtype::F32,
        };
        Ok(Self { tensor, dtype })
    }

    fn bytes(&self) -> candle_core::Result<Vec<u8>> {
        let flat = self.tensor.flatten_all()?;
        fn raw<T: candle_core::WithDType, const N: usize>(
            flat: &Tensor,
            bytes: impl Fn(T) -> [u8; N],
        ) -> candle_core::Result<Vec<u8>> {
            Ok(flat.to_vec1::<T>()?.into_iter().flat_map(bytes).collect())
        }
        match self.dtype {
            Dtype::F16 => raw(&flat, half::f16::to_le_bytes),
            Dtype::BF16 => raw(&flat, half::bf16::to_le_bytes),
            Dtype::F64 => raw(&flat, f64::to_le_bytes),
            Dtype::I64 => raw(&flat, i64::to_le_bytes),
            Dtype::U32 => raw(&flat, u32::to_le_bytes),
            Dtype::U8 => flat.to_vec1(),
            _ => raw(&flat.to_dtype(DType::F32)?, f32::to_le_bytes),
        }
    }
}

impl View for Bytes<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.tensor.dims()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // It is on the CPU and has its own dtype, so that nothing can fail; the length would be wrong, and the reader would say so.
        Cow::Owned(self.bytes().unwrap_or_default())
    }

    fn data_len(&self) -> usize {
        self.tensor.elem_count() * self.dtype.bitsize() / 8
    }
}

fn write_tensors(tensors: Vec<(String, &Tensor)>, path: &Path) -> Result<(), WriteError> {
    let named = |name: &str, source| WriteError::Tensor { name: name.into(), source };
    let views: Vec<(String, Bytes<'_>)> = tensors
        .into_iter()
        .map(|(name, tensor)| {
            let bytes = Bytes::of(tensor).map_err(|e| named(&name, e))?;
            Ok((name, bytes))
        })
        .collect::<Result<_, WriteError>>()?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = Path::new(&beside);
    // safetensors writes files for their owner only.
    let index = path.with_file_name(FILE);
    let readable =
        || index.metadata().and_then(|index| std::fs::set_permissions(beside, index.permissions()));
    let written = safetensors::serialize_to_file(views, None, beside)
        .map_err(|e| e.to_string())
        .and_then(|()| readable().map_err(|e| e.to_string()))
        .and_then(|()| std::fs::rename(beside, path).map_err(|e| e.to_string()));
    written.map_err(|reason| {
        // The first error is the one to report.
        let _ = std::fs::remove_file(beside);
        WriteError::File { path: path.display().to_string(), reason }
    })
}
