//! What a GPU's driver says when something fails, and what that means.
//!
//! candle hands on the driver's own words, `DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")`. Its types are there only
//! in a build with CUDA, so the words are what is looked at: every build reads them, and every build tests that.

/// Why a GPU did not do what was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It has no room left.
    OutOfMemory,
    /// There is none.
    NoDevice,
    /// There is none of that number.
    NoSuchDevice,
    /// The driver is older than the CUDA that this program was built with.
    OldDriver,
    /// The GPU is older or newer than those that this program was built for.
    OtherGpu,
    /// A computation went wrong on it before: nothing more can be computed in this process.
    Lost,
}

/// The driver's words, and cuBLAS's and cuRAND's; Metal has none that are known.
const WORDS: [(&str, Trouble); 20] = [
    ("CUDA_ERROR_OUT_OF_MEMORY", Trouble::OutOfMemory),
    ("CUBLAS_STATUS_ALLOC_FAILED", Trouble::OutOfMemory),
    ("CURAND_STATUS_ALLOCATION_FAILED", Trouble::OutOfMemory),
    ("CUDNN_STATUS_ALLOC_FAILED", Trouble::OutOfMemory),
    ("CUDA_ERROR_NO_DEVICE", Trouble::NoDevice),
    ("CUDA_ERROR_STUB_LIBRARY", Trouble::NoDevice),
    ("CUDA_ERROR_NOT_INITIALIZED", Trouble::NoDevice),
    ("CUDA_ERROR_INVALID_DEVICE", Trouble::NoSuchDevice),
    ("CUDA_ERROR_UNSUPPORTED_PTX_VERSION", Trouble::OldDriver),
    ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", Trouble::OldDriver),
    ("CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", Trouble::OldDriver),
    // cuBLAS looks at the driver itself.
    ("CUBLAS_STATUS_NOT_INITIALIZED", Trouble::OldDriver),
    ("CUDA_ERROR_NO_BINARY_FOR_GPU", Trouble::OtherGpu),
    ("CUDA_ERROR_INVALID_PTX", Trouble::OtherGpu),
    ("CUBLAS_STATUS_ARCH_MISMATCH", Trouble::OtherGpu),
    ("CUDA_ERROR_ILLEGAL_ADDRESS", Trouble::Lost),
    ("CUDA_ERROR_LAUNCH_FAILED", Trouble::Lost),
    ("CUDA_ERROR_LAUNCH_TIMEOUT", Trouble::Lost),
    ("CUDA_ERROR_ECC_UNCORRECTABLE", Trouble::Lost),
    ("CUDA_ERROR_DEVICE_UNAVAILABLE", Trouble::Lost),
];

impl Trouble {
    /// What an error's text tells of a GPU; `None` where it is about something else.
    pub fn told_by(text: &str) -> Option<Self> {
        // A name may be the beginning of a longer one.
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let mut names = text.split(|c| !is_name(c));
        names.find_map(|name| WORDS.iter().find(|(word, _)| *word == name)).map(|(_, trouble)| *trouble)
    }

    /// What it is, and what to do, in a line.
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
            Self::OtherGpu => {
                "this program was built for GPUs of another compute capability: build it on this machine, or with \
                 CUDA_COMPUTE_CAP as `nvidia-smi --query-gpu=compute_cap --format=csv` says it"
            }
            Self::Lost => {
                "the GPU stopped in an earlier computation and takes no more in this process: start the program again"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_words_are_understood() {
        let oom = r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#;
        assert_eq!(Trouble::told_by(oom), Some(Trouble::OutOfMemory));
        assert_eq!(Trouble::told_by("CublasError(CUBLAS_STATUS_ALLOC_FAILED)"), Some(Trouble::OutOfMemory));
        let ptx = r#"DriverError(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "…") when loading unary"#;
        assert_eq!(Trouble::told_by(ptx), Some(Trouble::OldDriver));
        let context = "CUDA_ERROR_INVALID_DEVICE_X, CUDA_ERROR_NO_DEVICES";
        assert_eq!(Trouble::told_by(context), None, "other names that begin so");
        assert_eq!(Trouble::told_by("shape mismatch in matmul, out of memory"), None);
        assert_eq!(Trouble::told_by(""), None);
    }

    #[test]
    fn every_word_is_found_in_a_message() {
        for (word, trouble) in WORDS {
            assert_eq!(Trouble::told_by(&format!("DriverError({word}, \"why\")")), Some(trouble), "{word}");
        }
    }
}
