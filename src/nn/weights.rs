//! A checkpoint's safetensors files.
//!
//! A file's header is checked against its length before a tensor is allocated, and each tensor is read when it
//! is asked for: nothing is mapped, so a file that shrinks while it is read is an error and not a signal.

use super::error::abridged;
use super::ledger::{Ledger, Parameter};
use super::probe::Path;
use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

/// What is wrong with a weights file, or with a tensor in it.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be opened or read.
    #[error("{file}: {reason}; expected a readable safetensors file")]
    Unreadable {
        /// Path of the file.
        file: String,
        /// What the system says, or what stands there instead of a file.
        reason: String,
    },
    /// The file is not a whole safetensors file.
    #[error("{file}: not a whole safetensors file: {reason}; fetch or copy it again")]
    Corrupt {
        /// Path of the file.
        file: String,
        /// What does not add up.
        reason: String,
    },
    /// A tensor that the configuration asks for is not in the file.
    #[error("{file}: tensor `{key}` is missing; expected one of shape {expected:?}")]
    MissingKey {
        /// Path of the file.
        file: String,
        /// The tensor's key.
        key: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor has a shape that does not fit the configuration.
    #[error("{file}: tensor `{key}` has shape {found:?}; config.json asks for {expected:?}")]
    Shape {
        /// Path of the file.
        file: String,
        /// The tensor's key.
        key: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor is stored in a type that weights do not have.
    #[error("{file}: tensor `{key}` is stored as {found:?}; expected F16, BF16, F32 or F64")]
    Dtype {
        /// Path of the file.
        file: String,
        /// The tensor's key.
        key: String,
        /// The type in the file.
        found: Dtype,
    },
    /// A normalization's groups do not divide its channels.
    #[error("{file}: `{path}`: {groups} groups do not divide {channels} channels")]
    Groups {
        /// Path of the file.
        file: String,
        /// The module.
        path: Path,
        /// How many groups the configuration asks for.
        groups: usize,
        /// How many channels there are.
        channels: usize,
    },
    /// The device could not take a tensor.
    #[error("{file}: tensor `{key}`: {source}")]
    Device {
        /// Path of the file.
        file: String,
        /// The tensor's key.
        key: String,
        /// What candle says.
        source: Box<candle_core::Error>,
    },
}

type Result<T> = std::result::Result<T, WeightsError>;

/// Where a file's bytes are.
#[derive(Debug)]
enum Bytes {
    Embedded(&'static [u8]),
    OnDisk(File),
}

/// An open safetensors file whose header has been checked.
#[derive(Debug)]
pub struct WeightsFile {
    name: String,
    bytes: Bytes,
    /// Where the tensors' data begin.
    data_start: u64,
    header: Metadata,
}

/// No header of a real checkpoint comes near this; safetensors itself has the same bound.
const MAX_HEADER: u64 = 100_000_000;

impl WeightsFile {
    /// A file that is part of the program.
    ///
    /// # Errors
    /// [`WeightsError::Corrupt`].
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self> {
        let header = check_header(name, bytes.len() as u64, bytes)?;
        Ok(Self { name: name.into(), bytes: Bytes::Embedded(bytes), data_start: header.0, header: header.1 })
    }

    /// Opens the file at `path` and checks its header.
    ///
    /// # Errors
    /// [`WeightsError::Unreadable`] and [`WeightsError::Corrupt`].
    pub fn open(path: &std::path::Path) -> Result<Self> {
        let name = path.display().to_string();
        let unreadable =
            |e: std::io::Error| WeightsError::Unreadable { file: name.clone(), reason: e.to_string() };
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            let reason = if metadata.is_dir() { "a folder" } else { "not a regular file" };
            return Err(WeightsError::Unreadable { file: name, reason: reason.into() });
        }
        let mut file = File::open(path).map_err(unreadable)?;
        let (data_start, header) = check_header(&name, metadata.len(), &mut file)?;
        Ok(Self { name, bytes: Bytes::OnDisk(file), data_start, header })
    }

    /// The file's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every tensor's key, stored dtype and shape, in the file's order.
    pub fn tensors(&self) -> impl Iterator<Item = (String, &TensorInfo)> {
        self.header.offset_keys().into_iter().filter_map(|key| self.header.info(&key).map(|info| (key, info)))
    }

    fn read(&self, info: &TensorInfo) -> std::io::Result<Vec<u8>> {
        let (start, end) = info.data_offsets;
        match &self.bytes {
            Bytes::Embedded(bytes) => {
                let data = &bytes[self.data_start as usize..];
                Ok(data[start..end].to_vec())
            }
            Bytes::OnDisk(file) => {
                let mut file = file;
                file.seek(SeekFrom::Start(self.data_start + start as u64))?;
                let mut data = vec![0; end - start];
                file.read_exact(&mut data)?;
                Ok(data)
            }
        }
    }
}

/// Reads the header of a file of `len` bytes: where its data begin, and what is there. Every offset has been
/// checked to lie inside the file, in order, without gap or overlap, as long as its shape and dtype say.
fn check_header(name: &str, len: u64, mut bytes: impl Read) -> Result<(u64, Metadata)> {
    let corrupt = |reason: String| WeightsError::Corrupt { file: name.into(), reason };
    let unreadable =
        |e: std::io::Error| WeightsError::Unreadable { file: name.into(), reason: e.to_string() };
    if len < 8 {
        return Err(corrupt(format!("it holds {len} bytes, fewer than the 8 of a header's length")));
    }
    let mut size = [0; 8];
    bytes.read_exact(&mut size).map_err(unreadable)?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER || size > len - 8 {
        return Err(corrupt(format!("its header claims {size} bytes and the file has {len}")));
    }
    let mut header = vec![0; size as usize];
    bytes.read_exact(&mut header).map_err(unreadable)?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|e| corrupt(format!("its header: {}", abridged(&e.to_string()))))?;
    let expected = 8 + size + header.data_len() as u64;
    if expected != len {
        return Err(corrupt(format!("its header describes {expected} bytes and the file has {len}")));
    }
    Ok((8 + size, header))
}

/// A place in a checkpoint's tensors, as candle's `VarBuilder` is: descends by name, and knows the probe path
/// of the module that is being loaded from there.
#[derive(Debug, Clone)]
pub struct Weights {
    file: Arc<WeightsFile>,
    /// Where we are in the file's keys: `down_blocks.0`.
    key: Path,
    /// Where we are in the pipeline's modules: `unet.down_blocks.0`.
    path: Path,
    dtype: DType,
    device: Device,
    ledger: Option<Arc<Ledger>>,
    /// How often a pass runs the module here.
    times: usize,
}

impl Weights {
    /// The root of `file`, whose modules are called `component.…`; tensors come as `dtype` on `device`.
    pub fn new(file: WeightsFile, component: &str, dtype: DType, device: &Device) -> Self {
        let (key, path) = (Path::new(""), Path::new(component));
        Self { file: Arc::new(file), key, path, dtype, device: device.clone(), ledger: None, times: 1 }
    }

    /// These, with every module and every byte noted in `ledger`.
    pub fn noted_in(self, ledger: &Arc<Ledger>) -> Self {
        ledger.expect(self.file.header.data_len() as u64);
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

    /// The file's name, for messages.
    pub fn file(&self) -> &str {
        &self.file.name
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
        self.file.header.info(self.key.join(name).as_str()).map(|info| info.shape.as_slice())
    }

    /// The tensor `name` here, which must have `shape`.
    ///
    /// # Errors
    /// When it is missing, has another shape, or cannot be read.
    pub fn get(&self, shape: &[usize], name: &str) -> Result<Tensor> {
        let (key, file) = (self.key.join(name).to_string(), self.file.name.clone());
        let Some(info) = self.file.header.info(&key) else {
            return Err(WeightsError::MissingKey { file, key, expected: shape.into() });
        };
        if info.shape != shape {
            return Err(WeightsError::Shape { file, key, found: info.shape.clone(), expected: shape.into() });
        }
        let stored = match info.dtype {
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            found => return Err(WeightsError::Dtype { file, key, found }),
        };
        let data = self.file.read(info).map_err(|e| {
            let reason = format!("tensor `{key}`: {e}");
            WeightsError::Unreadable { file: file.clone(), reason }
        })?;
        if let Some(ledger) = &self.ledger {
            ledger.read(data.len() as u64);
            let (module, shape) = (self.path.clone(), shape.to_vec());
            ledger.parameter(Parameter { module, name: name.into(), key: key.clone(), shape });
        }
        // Converted on the host: a device gets the bytes it will keep.
        Tensor::from_raw_buffer(&data, stored, shape, &Device::Cpu)
            .and_then(|t| t.to_dtype(self.dtype)?.to_device(&self.device))
            .map_err(|e| WeightsError::Device {
                file,
                key,
                source: super::error::without_backtrace(e).into(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file_of(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    }

    fn check(bytes: &[u8]) -> Result<(u64, Metadata)> {
        check_header("m.safetensors", bytes.len() as u64, bytes)
    }

    #[test]
    fn a_header_must_fit_its_file() {
        let said = |bytes: &[u8]| check(bytes).unwrap_err().to_string();
        assert!(said(b"abc").contains("3 bytes, fewer than the 8"));
        assert!(said(&(1u64 << 60).to_le_bytes()).contains("claims 1152921504606846976 bytes"));
        let two = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
        assert!(said(&file_of(two, 12)).contains("offset"), "{}", said(&file_of(two, 12)));
        let huge =
            r#"{"a":{"dtype":"F32","shape":[144115188075855872],"data_offsets":[0,576460752303423488]}}"#;
        assert!(said(&file_of(huge, 8)).contains("describes"), "{}", said(&file_of(huge, 8)));
        let more =
            r#"{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4611686018427387904]}}"#;
        assert!(said(&file_of(more, 8)).contains("overflow"), "{}", said(&file_of(more, 8)));
        let one = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        assert!(said(&file_of(one, 7)).contains("describes"));
        assert!(check(&file_of(one, 8)).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = check(&bytes);
        }

        #[test]
        fn no_header_makes_it_panic(header in r#"\{("a":\{("dtype":"F(16|32)",?)?("shape":\[[0-9,]{0,24}\],?)?("data_offsets":\[[0-9]{1,20},[0-9]{1,20}\])?\})?\}"#, data in 0usize..32) {
            let _ = check(&file_of(&header, data));
        }
    }
}
