//! A checkpoint's safetensors files.
//!
//! A file's header is checked against its length before a tensor is allocated, and each tensor is read when it
//! is asked for: nothing is mapped, so a file that shrinks while it is read is an error and not a signal. Numbers come block by
//! block, on all cores, straight to where they are kept.
//!
//! - [`mod@file`]: one file. [`shards`]: a component's, one or several.
//! - `reading`: from bytes to numbers.
//! - `wrapper`: keys that a wrapper of PyTorch gave another name.
//! - [`error`]: what can be wrong.

pub mod error;
pub mod file;
mod reading;
pub mod shards;
mod wrapper;

pub use error::WeightsError;
pub use file::WeightsFile;
pub use shards::Shards;

use super::ledger::{LoadReport, Parameter};
use super::probe::Path;
use candle_core::{DType, Device, Tensor, WithDType};
use error::Result;
use half::{bf16, f16};
use reading::{Kept, Stored};
use safetensors::Dtype;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What matrices and kernels of `dims` dimensions are kept as that are stored as `stored`, when models compute in `dtype` on
/// `device`. Layers on the CPU take weights of 16 bits as they are, and widen them where they are used: to the same numbers, in
/// half the memory. Those of 8 bits become f16, which has every number of theirs.
pub fn kept_as(stored: Dtype, dims: usize, dtype: DType, device: &Device) -> DType {
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

/// A place in a checkpoint's tensors, as candle's `VarBuilder` is: descends by name, and knows the probe path
/// of the module that is being loaded from there.
#[derive(Debug, Clone)]
pub struct Weights {
    files: Arc<Shards>,
    /// Where we are in the file's keys: `down_blocks.0`.
    key: Path,
    /// Where we are in the pipeline's modules: `unet.down_blocks.0`.
    path: Path,
    dtype: DType,
    device: Device,
    ledger: Option<Arc<LoadReport>>,
    /// How often a pass runs the module here.
    times: usize,
    /// Whether everything comes as `dtype`.
    is_widened: bool,
}

impl Weights {
    /// The root of `files`, whose modules are called `component.…`; tensors come as `dtype` on `device`.
    pub fn new(files: impl Into<Shards>, component: &str, dtype: DType, device: &Device) -> Self {
        let (key, path) = (Path::new(""), Path::new(component));
        let (files, device) = (Arc::new(files.into()), device.clone());
        Self { files, key, path, dtype, device, ledger: None, times: 1, is_widened: false }
    }

    /// These, with every tensor as `dtype`, those too that layers could take as they are stored: to compare with.
    pub fn widened(self) -> Self {
        Self { is_widened: true, ..self }
    }

    /// These, with every module and every byte noted in `ledger`.
    pub fn noted_in(self, ledger: &Arc<LoadReport>) -> Self {
        ledger.expect(self.files.data_len());
        Self { ledger: Some(Arc::clone(ledger)), ..self }
    }

    /// Descends into the submodule `name`.
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Self { key: self.key.join(&name), path: self.path.join(&name), ..self.clone() }
    }

    /// Descends into the submodule `name` that the file calls `stored`.
    pub fn pp_stored_as(&self, name: &str, stored: &str) -> Self {
        Self { key: self.key.join(stored), path: self.path.join(name), ..self.clone() }
    }

    /// Descends in the file's keys alone: for a prefix that the modules do not have.
    pub fn pp_in_file(&self, stored: &str) -> Self {
        Self { key: self.key.join(stored), ..self.clone() }
    }

    /// The same place, whose module a pass runs so many times, as one activation does in several places.
    pub fn run_times(&self, times: usize) -> Self {
        Self { times, ..self.clone() }
    }

    /// The probe path of the module here, which is loaded with it: called once for every module.
    pub fn path(&self) -> Path {
        if let Some(ledger) = &self.ledger {
            ledger.module(&self.path, self.times);
        }
        self.path.clone()
    }

    /// The file's name, or that of the index of several, for messages.
    pub fn file(&self) -> &str {
        self.files.name()
    }

    /// The files.
    pub fn files(&self) -> &Shards {
        &self.files
    }

    /// The keys that no module has asked for so far, sorted. Nothing of files without a ledger.
    pub fn unread(&self) -> Vec<String> {
        let Some(ledger) = &self.ledger else { return vec![] };
        let is_ours = |parameter: &Parameter| {
            let below = parameter.module.as_str().strip_prefix(self.path.as_str());
            below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
        };
        let read: BTreeSet<_> =
            ledger.parameters().into_iter().filter(is_ours).map(|parameter| parameter.key).collect();
        let keys: BTreeSet<_> = self.files.tensors().map(|(key, _)| key).collect();
        keys.difference(&read).cloned().collect()
    }

    /// The dtype that tensors come in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device that tensors come to.
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
    /// When it is missing, has another shape, cannot be read, or holds what is no finite number.
    pub fn get(&self, shape: &[usize], name: &str) -> Result<Tensor> {
        self.get_as(shape, name, |_| self.dtype)
    }

    /// The tensor `name` here for a layer that takes it as [`kept_as`] says: of 16 bits, where it is stored so.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_narrow(&self, shape: &[usize], name: &str) -> Result<Tensor> {
        self.get_as(shape, name, |stored| match self.is_widened {
            true => self.dtype,
            false => kept_as(stored, shape.len(), self.dtype, &self.device),
        })
    }

    fn get_as(&self, shape: &[usize], name: &str, dtype: impl FnOnce(Dtype) -> DType) -> Result<Tensor> {
        let key = self.key.join(name).to_string();
        let Some((file, info)) = self.files.find(&key) else {
            return Err(wrapper::missing(&self.files, key, shape));
        };
        let name_of_file = || file.name().to_string();
        if info.shape != shape {
            let (file, found) = (name_of_file(), info.shape.clone());
            return Err(WeightsError::Shape { file, key, found, expected: shape.into() });
        }
        let Some(stored) = Stored::of(info.dtype) else {
            return Err(WeightsError::Dtype { file: name_of_file(), key, found: info.dtype });
        };
        let (start, end) = info.data_offsets;
        let read = Read { file, stored, start: start as u64, shape, key: &key };
        let tensor = match dtype(info.dtype) {
            DType::F16 => read.tensor::<f16>(),
            DType::BF16 => read.tensor::<bf16>(),
            DType::F32 => read.tensor::<f32>(),
            other => read.tensor::<f32>().and_then(|t| t.to_dtype(other).map_err(|e| read.failed(e))),
        }?;
        if let Some(ledger) = &self.ledger {
            ledger.read((end - start) as u64);
            let (module, shape) = (self.path.clone(), shape.to_vec());
            ledger.parameter(Parameter { module, name: name.into(), key: key.clone(), shape });
        }
        // Converted on the host: a device gets the bytes it will keep.
        tensor.to_device(&self.device).map_err(|e| read.failed(e))
    }
}

/// A tensor to be read.
struct Read<'a> {
    file: &'a WeightsFile,
    stored: Stored,
    start: u64,
    shape: &'a [usize],
    key: &'a str,
}

impl Read<'_> {
    fn tensor<T: Kept + WithDType>(&self) -> Result<Tensor> {
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
