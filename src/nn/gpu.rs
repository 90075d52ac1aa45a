//! A GPU's failures, recognised by the error codes in candle's messages.
//!
//! candle passes the driver's message on: `DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")`. Its error types exist only
//! in a build with CUDA, so the text is matched, which every build can test.

/// Why a GPU failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuFailure {
    /// Its memory is full.
    OutOfMemory,
    /// There is no GPU.
    NoDevice,
    /// There is no GPU of that number.
    NoSuchDevice,
    /// The driver is older than the CUDA that this program was built with.
    OldDriver,
    /// The GPU is older or newer than those that this program was built for.
    UnsupportedGpu,
    /// An earlier computation failed, and this process cannot use the GPU any more.
    Lost,
}

/// Error codes of the driver, cuBLAS, cuRAND and cuDNN. Metal has no known ones.
const CODES: [(&str, GpuFailure); 20] = [
    ("CUDA_ERROR_OUT_OF_MEMORY", GpuFailure::OutOfMemory),
    ("CUBLAS_STATUS_ALLOC_FAILED", GpuFailure::OutOfMemory),
    ("CURAND_STATUS_ALLOCATION_FAILED", GpuFailure::OutOfMemory),
    ("CUDNN_STATUS_ALLOC_FAILED", GpuFailure::OutOfMemory),
    ("CUDA_ERROR_NO_DEVICE", GpuFailure::NoDevice),
    ("CUDA_ERROR_STUB_LIBRARY", GpuFailure::NoDevice),
    ("CUDA_ERROR_NOT_INITIALIZED", GpuFailure::NoDevice),
    ("CUDA_ERROR_INVALID_DEVICE", GpuFailure::NoSuchDevice),
    ("CUDA_ERROR_UNSUPPORTED_PTX_VERSION", GpuFailure::OldDriver),
    ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", GpuFailure::OldDriver),
    ("CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", GpuFailure::OldDriver),
    // cuBLAS checks the driver's version itself.
    ("CUBLAS_STATUS_NOT_INITIALIZED", GpuFailure::OldDriver),
    ("CUDA_ERROR_NO_BINARY_FOR_GPU", GpuFailure::UnsupportedGpu),
    ("CUDA_ERROR_INVALID_PTX", GpuFailure::UnsupportedGpu),
    ("CUBLAS_STATUS_ARCH_MISMATCH", GpuFailure::UnsupportedGpu),
    ("CUDA_ERROR_ILLEGAL_ADDRESS", GpuFailure::Lost),
    ("CUDA_ERROR_LAUNCH_FAILED", GpuFailure::Lost),
    ("CUDA_ERROR_LAUNCH_TIMEOUT", GpuFailure::Lost),
    ("CUDA_ERROR_ECC_UNCORRECTABLE", GpuFailure::Lost),
    ("CUDA_ERROR_DEVICE_UNAVAILABLE", GpuFailure::Lost),
];

impl GpuFailure {
    /// The failure whose code is in `text`; `None` if there is none.
    pub fn from_message(text: &str) -> Option<Self> {
        // Whole names only: one code may be the beginning of a longer one.
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let mut names = text.split(|c| !is_name(c));
        names.find_map(|name| CODES.iter().find(|(code, _)| *code == name)).map(|(_, failure)| *failure)
    }

    /// What it means and what to do, in one line.
    pub fn advice(self) -> &'static str {
        match self {
            Self::OutOfMemory => "the GPU has no memory left",
            Self::NoDevice => {
                "there is no NVIDIA GPU that can be used; `nvidia-smi` lists those that the driver sees"
            }
            Self::NoSuchDevice => "there is no GPU of this number; they count from cuda:0",
            Self::OldDriver => {
                "the NVIDIA driver is older than the CUDA that this program was built with: update the driver, or build \
                 with the CUDA that `nvidia-smi` names"
            }
            Self::UnsupportedGpu => {
                "this program was built for GPUs of another compute capability: build it on this machine, or with \
                 CUDA_COMPUTE_CAP as `nvidia-smi --query-gpu=compute_cap --format=csv` reports it"
            }
            Self::Lost => {
                "the GPU failed in an earlier computation and cannot be used in this process any more: start the program again"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_are_recognised() {
        let oom = r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#;
        assert_eq!(GpuFailure::from_message(oom), Some(GpuFailure::OutOfMemory));
        assert_eq!(
            GpuFailure::from_message("CublasError(CUBLAS_STATUS_ALLOC_FAILED)"),
            Some(GpuFailure::OutOfMemory)
        );
        let ptx = r#"DriverError(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "…") when loading unary"#;
        assert_eq!(GpuFailure::from_message(ptx), Some(GpuFailure::OldDriver));
        let context = "CUDA_ERROR_INVALID_DEVICE_X, CUDA_ERROR_NO_DEVICES";
        assert_eq!(GpuFailure::from_message(context), None, "other names that begin so");
        assert_eq!(GpuFailure::from_message("shape mismatch in matmul, out of memory"), None);
        assert_eq!(GpuFailure::from_message(""), None);
    }

    #[test]
    fn every_code_is_found_in_a_message() {
        for (code, failure) in CODES {
            let message = format!("DriverError({code}, \"why\")");
            assert_eq!(GpuFailure::from_message(&message), Some(failure), "{code}");
        }
    }
}
