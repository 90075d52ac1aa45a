//! The device and the dtype of a run.

use super::gpu::GpuFailure;
use candle_core::{DType, Device};
use std::str::FromStr;
use tr::tr;

/// The value of `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU if the program was built for one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
    /// Apple's GPU.
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || tr!("`{text}` is not a device; expected auto, cpu, cuda, cuda:N or metal", text);
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => {
                let number = text.strip_prefix("cuda:").ok_or_else(expected)?;
                number.parse().map(Self::Cuda).map_err(|_| expected())
            }
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

/// The value of `--dtype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DTypeChoice {
    /// f32 on the CPU; on a GPU f16, unless the files ask for another.
    #[default]
    Auto,
    /// 32 bits.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16: 16 bits with the range of f32.
    Bf16,
}

impl FromStr for DTypeChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            _ => Err(tr!("`{text}` is not a dtype; expected auto, f32, f16 or bf16", text)),
        }
    }
}

impl std::fmt::Display for DTypeChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// A device that was asked for and is not available.
#[derive(Debug, thiserror::Error)]
#[error("--device {choice}: {reason}; expected a device of this machine: `--device cpu` always works")]
pub struct DeviceError {
    choice: DeviceChoice,
    reason: String,
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// When the device does not exist, or the program was built without it. [`DeviceChoice::Auto`] falls back to the CPU.
    pub fn open(self) -> Result<Device, DeviceError> {
        let unavailable = |e: candle_core::Error| {
            let reason = match super::error::without_backtrace(e) {
                candle_core::Error::NotCompiledWithCudaSupport => {
                    tr!("this program was built without CUDA (cargo feature `cuda`)")
                }
                candle_core::Error::NotCompiledWithMetalSupport => {
                    tr!("this program was built without Metal (cargo feature `metal`)")
                }
                other => self.explain(&other.to_string()),
            };
            DeviceError { choice: self, reason }
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(n) => Device::new_cuda(n).map_err(unavailable),
            Self::Metal => Device::new_metal(0).map_err(unavailable),
            Self::Auto if cfg!(feature = "cuda") => Ok(Device::new_cuda(0).unwrap_or(Device::Cpu)),
            Self::Auto if cfg!(feature = "metal") => Ok(Device::new_metal(0).unwrap_or(Device::Cpu)),
            Self::Auto => Ok(Device::Cpu),
        }
    }

    /// Why `device` is the CPU although [`DeviceChoice::Auto`] looked for a GPU.
    pub fn why_not_a_gpu(self, device: &Device) -> Option<String> {
        let gpu = match self {
            Self::Auto if cfg!(feature = "cuda") => Self::Cuda(0),
            Self::Auto if cfg!(feature = "metal") => Self::Metal,
            _ => return None,
        };
        let error = gpu.open().err().filter(|_| device.is_cpu())?;
        Some(tr!("computed on the CPU, because no GPU can be used: {}", error.reason))
    }

    /// What the driver's message means for this choice.
    fn explain(self, message: &str) -> String {
        let line = message.lines().next().unwrap_or_default();
        match (GpuFailure::from_message(message), self) {
            // The driver does not say how many there are.
            (Some(GpuFailure::NoSuchDevice), Self::Cuda(n)) => {
                match (0..n).take_while(|&n| Device::new_cuda(n).is_ok()).count() {
                    0 => GpuFailure::NoDevice.advice().into(),
                    1 => tr!("there is one GPU, cuda:0"),
                    count => tr!("there are {count} GPUs, cuda:0 to cuda:{}", count - 1, count),
                }
            }
            (Some(failure), _) => format!("{} ({line})", failure.advice()),
            (None, _) => line.into(),
        }
    }
}

impl DTypeChoice {
    /// The dtype of computation on `device`, without regard to the files; [`ModelSource::dtype`](crate::checkpoint::ModelSource::dtype)
    /// regards them.
    pub fn on(self, device: &Device) -> DType {
        match self {
            Self::Auto if device.is_cpu() => DType::F32,
            Self::Auto | Self::F16 => DType::F16,
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// The device's name: `cpu`, `cuda:0`, `metal`.
pub fn name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".into(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { .. } => "metal".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_and_parse_round_trip() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3), DeviceChoice::Metal] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(text.parse::<DeviceChoice>().unwrap_err().contains("expected auto, cpu"), "{text}");
        }
    }

    #[test]
    fn driver_errors_are_explained() {
        let explain = |message| DeviceChoice::Cuda(0).explain(message);
        let none = explain("DriverError(CUDA_ERROR_NO_DEVICE, \"no CUDA-capable device is detected\")");
        assert!(none.starts_with("there is no NVIDIA GPU that can be used"), "{none}");
        assert!(none.contains("CUDA_ERROR_NO_DEVICE"), "{none}");
        let old = explain("DriverError(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, \"…\") when loading unary");
        assert!(old.contains("driver is older") && old.contains("nvidia-smi"), "{old}");
        assert_eq!(explain("Something\nelse"), "Something");
    }

    /// In a build without CUDA there are no GPUs.
    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_number_that_does_not_exist() {
        let message = "DriverError(CUDA_ERROR_INVALID_DEVICE, \"invalid device ordinal\")";
        let reason = DeviceChoice::Cuda(3).explain(message);
        assert!(reason.starts_with("there is no NVIDIA GPU"), "{reason}");
    }

    #[test]
    fn only_an_automatic_choice_of_the_cpu_is_explained() {
        assert_eq!(DeviceChoice::Cpu.why_not_a_gpu(&Device::Cpu), None);
        let is_for_a_gpu = cfg!(any(feature = "cuda", feature = "metal"));
        let device = DeviceChoice::Auto.open().unwrap();
        let reason = DeviceChoice::Auto.why_not_a_gpu(&device);
        assert_eq!(reason.is_some(), is_for_a_gpu && device.is_cpu(), "{reason:?}");
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn an_absent_gpu_is_named() {
        let error = DeviceChoice::Cuda(0).open().unwrap_err().to_string();
        assert!(error.starts_with("--device cuda:0: this program was built without CUDA"), "{error}");
    }
}
