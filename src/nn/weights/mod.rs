//! A checkpoint's safetensors files.
//!
//! A file's header is checked against its length before a tensor is allocated. Each tensor is read when it is asked for, block by
//! block, on all cores, straight to its destination. Files are not mapped, so that a file that shrinks while it is read is an
//! error and not a signal.
//!
//! - [`mod@file`]: one file. [`shards`]: the files of a component, one or several.
//! - `reading`: bytes to numbers.
//! - [`view`]: a file's tensors under other keys.
//! - `wrapper`: keys that a wrapper in PyTorch renamed.
//! - [`error`]: errors in weights files.

pub mod error;
pub mod file;
mod reading;
pub mod shards;
pub mod view;
mod wrapper;

pub use error::WeightsError;
pub use file::WeightsFile;
pub use shards::Shards;

use super::load_report::{LoadReport, Norm, Parameter};
use super::probe::Path;
use candle_core::{DType, Device, Tensor, WithDType};
use candle_nn::Conv2dConfig;
use error::Result;
use half::{bf16, f16};
use reading::{Element, Stored};
use safetensors::Dtype;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The dtype in memory of a weight with `dims` dimensions that a file stores as `stored`, when models compute in `dtype` on
/// `device`. CPU layers take 16-bit matrices and kernels as they are and widen them when they use them: the same numbers in
/// half the memory. 8-bit weights become f16, which represents them exactly.
pub fn storage_dtype(stored: Dtype, dims: usize, dtype: DType, device: &Device) -> DType {
    match stored {
        Dtype::F16 | Dtype::F8_E4M3 | Dtype::F8_E5M2
            if dims > 1 && dtype == DType::F32 && device.is_cpu() =>
        {
            DType::F16
        }
        Dtype::BF16 if dims > 1 && dtype == DType::F32 && device.is_cpu() => DType::BF16,
        _ => dtype,
    }
}

/// A prefix in a checkpoint's keys, like candle's `VarBuilder`. It also knows the path of the module that is loaded from there.
#[derive(Debug, Clone)]
pub struct Weights {
    files: Arc<Shards>,
    /// The prefix of the file's keys: `down_blocks.0`.
    key: Path,
    /// The module's path in the pipeline: `unet.down_blocks.0`.
    path: Path,
    dtype: DType,
    device: Device,
    report: Option<Arc<LoadReport>>,
    /// How often a forward pass runs the module.
    times: usize,
    /// Whether every tensor is converted to `dtype`.
    is_widened: bool,
}

impl Weights {
    /// The root of `files`. Module paths begin with `component`; tensors are loaded as `dtype` on `device`.
    pub fn new(files: impl Into<Shards>, component: &str, dtype: DType, device: &Device) -> Self {
        let (key, path) = (Path::new(""), Path::new(component));
        let (files, device) = (Arc::new(files.into()), device.clone());
        Self { files, key, path, dtype, device, report: None, times: 1, is_widened: false }
    }

    /// The same, with every tensor converted to `dtype`. Tests compare with it.
    pub fn widened(self) -> Self {
        Self { is_widened: true, ..self }
    }

    /// The same, with every module and every byte added to `report`.
    pub fn with_report(self, report: &Arc<LoadReport>) -> Self {
        report.expect(self.files.data_len());
        Self { report: Some(Arc::clone(report)), ..self }
    }

    /// Descends into the submodule `name`.
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Self { key: self.key.join(&name), path: self.path.join(&name), ..self.clone() }
    }

    /// Descends into the submodule `name` that the file calls `stored`.
    pub fn pp_stored_as(&self, name: &str, stored: &str) -> Self {
        Self { key: self.key.join(stored), path: self.path.join(name), ..self.clone() }
    }

    /// Descends in the file's keys only: for a prefix that the modules lack.
    pub fn pp_in_file(&self, stored: &str) -> Self {
        Self { key: self.key.join(stored), ..self.clone() }
    }

    /// The same prefix for a module that a forward pass runs `times` times, such as a shared activation.
    pub fn run_times(&self, times: usize) -> Self {
        Self { times, ..self.clone() }
    }

    /// The path of the module. Called once for every module, when it is loaded.
    pub fn path(&self) -> Path {
        if let Some(report) = &self.report {
            report.module(&self.path, self.times);
        }
        self.path.clone()
    }

    /// The name of the file, or of the index of several, for messages.
    pub fn file(&self) -> &str {
        self.files.name()
    }

    /// The component whose weights these are: `unet`.
    pub fn component(&self) -> &str {
        self.path.as_str().split('.').next().unwrap_or_default()
    }

    /// The files.
    pub fn files(&self) -> &Shards {
        &self.files
    }

    /// Adds the normalization here to the report.
    pub(super) fn report_norm(&self, norm: Norm) {
        if let Some(report) = &self.report {
            report.norm(&self.path, norm);
        }
    }

    /// Adds the convolution here to the report.
    pub(super) fn report_conv(&self, config: Conv2dConfig) {
        if let Some(report) = &self.report {
            report.conv(&self.path, config);
        }
    }

    /// The keys that no module has read, sorted. Empty without a report.
    pub fn unread(&self) -> Vec<String> {
        let Some(report) = &self.report else { return vec![] };
        let is_ours = |parameter: &Parameter| {
            let below = parameter.module.as_str().strip_prefix(self.path.as_str());
            below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
        };
        let read: BTreeSet<_> =
            report.parameters().into_iter().filter(is_ours).map(|parameter| parameter.key).collect();
        let keys: BTreeSet<_> = self.files.tensors().map(|(key, _)| key).collect();
        keys.difference(&read).cloned().collect()
    }

    /// The dtype of loaded tensors.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device of loaded tensors.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the file has the tensor `name` here.
    pub fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    /// The stored shape of the tensor `name` here.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.files.find(self.key.join(name).as_str()).map(|(_, info)| info.shape.as_slice())
    }

    /// The tensor `name` here, which must have `shape`.
    ///
    /// # Errors
    /// When it is missing, has another shape, cannot be read, or has values that are not finite.
    pub fn get(&self, shape: &[usize], name: &str) -> Result<Tensor> {
        self.get_as(shape, name, |_| self.dtype)
    }

    /// The tensor `name` here in its [`storage_dtype`], for a layer that takes 16-bit weights.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_narrow(&self, shape: &[usize], name: &str) -> Result<Tensor> {
        self.get_as(shape, name, |stored| match self.is_widened {
            true => self.dtype,
            false => storage_dtype(stored, shape.len(), self.dtype, &self.device),
        })
    }

    fn get_as(&self, shape: &[usize], name: &str, dtype: impl FnOnce(Dtype) -> DType) -> Result<Tensor> {
        let key = self.key.join(name).to_string();
        let Some((file, info)) = self.files.find(&key) else {
            return Err(wrapper::missing(&self.files, key, shape));
        };
        let name_of_file = || file.name().to_string();
        let key_in_file = file.stored_key(&key);
        if info.shape != shape {
            let (in_file, key, found, expected) =
                (name_of_file(), key_in_file, info.shape.clone(), shape.into());
            return Err(match file.is_view() {
                true => WeightsError::ShapeAmongOthers { file: in_file, key, found, expected },
                false => WeightsError::Shape { file: in_file, key, found, expected },
            });
        }
        let Some(stored) = Stored::of(info.dtype) else {
            return Err(WeightsError::Dtype { file: name_of_file(), key: key_in_file, found: info.dtype });
        };
        let (start, end) = info.data_offsets;
        let read = Read { file, stored, start: start as u64, shape, key: &key_in_file };
        let tensor = match dtype(info.dtype) {
            DType::F16 => read.tensor::<f16>(),
            DType::BF16 => read.tensor::<bf16>(),
            DType::F32 => read.tensor::<f32>(),
            other => read.tensor::<f32>().and_then(|t| t.to_dtype(other).map_err(|e| read.failed(e))),
        }?;
        if let Some(report) = &self.report {
            report.read((end - start) as u64);
            let (module, shape) = (self.path.clone(), shape.to_vec());
            report.parameter(Parameter { module, name: name.into(), key: key.clone(), shape });
        }
        // Converted on the host, so that only the final bytes are copied to the device.
        tensor.to_device(&self.device).map_err(|e| read.failed(e))
    }
}

/// A tensor to read.
struct Read<'a> {
    file: &'a WeightsFile,
    stored: Stored,
    start: u64,
    shape: &'a [usize],
    key: &'a str,
}

impl Read<'_> {
    fn tensor<T: Element + WithDType>(&self) -> Result<Tensor> {
        let of = self.shape.iter().product();
        let (file, key) = (self.file.name().to_string(), self.key.to_string());
        let numbers = reading::read::<T>(self.file, self.stored, self.start, of).map_err(|e| {
            WeightsError::Unreadable { file: file.clone(), reason: format!("tensor `{key}`: {e}") }
        })?;
        if numbers.not_finite > 0 {
            return Err(WeightsError::NotFinite { file, key, count: numbers.not_finite, of });
        }
        if numbers.too_large > 0 {
            return Err(WeightsError::TooLarge { file, key, count: numbers.too_large, of, dtype: T::DTYPE });
        }
        Tensor::from_vec(numbers.numbers, self.shape, &Device::Cpu).map_err(|e| self.failed(e))
    }

    fn failed(&self, e: candle_core::Error) -> WeightsError {
        let source = super::error::without_backtrace(e).into();
        WeightsError::Device { file: self.file.name().into(), key: self.key.into(), source }
    }
}
