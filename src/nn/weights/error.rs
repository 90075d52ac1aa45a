//! Errors in weights files.

use crate::nn::probe::Path;
use candle_core::DType;
use safetensors::Dtype;
use tr::tr;

/// An error in a weights file, or in a tensor of it.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be opened or read.
    #[error("{}", tr!(
        "{file}: {reason}; expected a readable safetensors file",
        file = .file, reason = .reason
    ))]
    Unreadable {
        /// Path of the file.
        file: String,
        /// The system's message, or what is there instead of a file.
        reason: String,
    },
    /// The file is not a complete safetensors file.
    #[error("{}", tr!(
        "{file}: not a whole safetensors file: {reason}; fetch or copy it again",
        file = .file, reason = .reason
    ))]
    Corrupt {
        /// Path of the file.
        file: String,
        /// The inconsistency.
        reason: String,
    },
    /// A tensor that the configuration asks for is not in the file.
    #[error("{}", tr!(
        "{file}: tensor `{key}` is missing; expected one of shape {expected}",
        file = .file, key = .key, expected = format_args!("{:?}", .expected)
    ))]
    MissingKey {
        /// Path of the file.
        file: String,
        /// The tensor's key.
        key: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor that was asked for by its key is not in the file.
    #[error("{}", tr!("{file}: there is no tensor `{key}`", file = .file, key = .key))]
    NoTensor {
        /// Path of the file.
        file: String,
        /// The tensor's key.
        key: String,
    },
    /// A tensor has a name that a wrapper in PyTorch gave it.
    #[error(
        "{}", tr!(
            "{file}: tensor `{key}` is missing; the file has `{found}`, the name that {wrapper} gives it; {advice}",
            file = .file, key = .key, found = .found, wrapper = .wrapper, advice = .advice
        ))]
    Wrapped {
        /// Path of the file.
        file: String,
        /// The tensor's key.
        key: String,
        /// The key in the file.
        found: String,
        /// The wrapper.
        wrapper: &'static str,
        /// How to save the model without the wrapper.
        advice: &'static str,
    },
    /// A tensor has a shape that does not fit the configuration.
    #[error("{}", tr!(
        "{file}: tensor `{key}` has shape {found}; config.json asks for {expected}",
        file = .file, key = .key, found = format_args!("{:?}", .found), expected = format_args!("{:?}", .expected)
    ))]
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
    /// A tensor has a shape that does not fit the other tensors of a file without a configuration.
    #[error("{}", tr!(
        "{file}: tensor `{key}` has shape {found}; the file's other tensors ask for {expected}",
        file = .file, key = .key, found = format_args!("{:?}", .found), expected = format_args!("{:?}", .expected)
    ))]
    ShapeAmongOthers {
        /// Path of the file.
        file: String,
        /// The tensor's key.
        key: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that the other tensors ask for.
        expected: Vec<usize>,
    },
    /// A tensor is stored in an unsupported type.
    #[error(
        "{}", tr!(
            "{file}: tensor `{key}` is stored as {found}; expected F16, BF16, F32, F64, F8_E4M3 or F8_E5M2",
            file = .file, key = .key, found = format_args!("{:?}", .found)
        ))]
    Dtype {
        /// Path of the file.
        file: String,
        /// The tensor's key.
        key: String,
        /// The type in the file.
        found: Dtype,
    },
    /// A tensor has values that are not finite.
    #[error(
        "{}", tr!(
            "{file}: tensor `{key}` has {count} of {of} values that are NaN or infinite; expected finite weights: fetch or convert it again",
            file = .file, key = .key, count = .count, of = .of
        ))]
    NotFinite {
        /// Path of the file.
        file: String,
        /// The tensor's key.
        key: String,
        /// How many are not finite.
        count: usize,
        /// How many there are.
        of: usize,
    },
    /// A tensor has values outside the range of the run's dtype.
    #[error("{}", tr!(
        "{file}: tensor `{key}` has {count} of {of} values outside the range of {dtype}; expected a dtype that holds them: --dtype bf16 or f32",
        file = .file, key = .key, count = .count, of = .of, dtype = dtype.as_str()
    ))]
    TooLarge {
        /// Path of the file.
        file: String,
        /// The tensor's key.
        key: String,
        /// How many are too large.
        count: usize,
        /// How many there are.
        of: usize,
        /// The run's dtype.
        dtype: DType,
    },
    /// The index of a sharded model is wrong.
    #[error("{file}: {found}; expected {expected}")]
    Index {
        /// Path of the index.
        file: String,
        /// What was found.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A normalization's groups do not divide its channels.
    #[error("{}", tr!(
        "{file}: `{path}`: {groups} groups do not divide {channels} channels",
        file = .file, path = .path, groups = .groups, channels = .channels
    ))]
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
    /// A tensor could not be copied to the device.
    #[error("{file}: tensor `{key}`: {source}")]
    Device {
        /// Path of the file.
        file: String,
        /// The tensor's key.
        key: String,
        /// candle's error.
        source: Box<candle_core::Error>,
    },
}

/// The result of a step of loading.
pub(super) type Result<T> = std::result::Result<T, WeightsError>;
