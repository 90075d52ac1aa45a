//! Why a forward pass stopped.

use super::gpu::GpuFailure;
use super::probe::Path;
use tr::tr;

/// A forward pass that did not reach its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A probe stopped the run before this module or stage line.
    #[error("{}", tr!("interrupted before {0}", .0))]
    Interrupted(Path),
    /// A probe failed at this module or stage line.
    #[error("{path}: {message}")]
    Probe {
        /// The module or stage line.
        path: Path,
        /// What was found and what would be right.
        message: String,
    },
    /// An input does not fit the model: which, what was found and what would be right.
    #[error("{0}")]
    Input(String),
    /// The GPU has no memory left for a tensor.
    #[error(
        "{}", tr!(
            "out of memory on the GPU: {0}; expected a smaller width and height, --dtype f16, or --device cpu",
            .0
        ))]
    OutOfMemory(String),
    /// A GPU failed in another known way.
    #[error("{advice} ({message})")]
    Gpu {
        /// What the failure means, and what to do.
        advice: &'static str,
        /// The driver's message.
        message: String,
    },
    /// A tensor operation failed: a device's error, or a mistake in this program.
    #[error("{0}")]
    Tensor(candle_core::Error),
}

/// The result of a forward pass.
pub type Result<T> = std::result::Result<T, Error>;

impl From<candle_core::Error> for Error {
    /// Removes the backtraces, which candle prints with the message, and recognises a GPU's failures.
    fn from(error: candle_core::Error) -> Self {
        let error = without_backtrace(error);
        let message = error.to_string();
        match GpuFailure::from_message(&message) {
            Some(GpuFailure::OutOfMemory) => Self::OutOfMemory(abridged(&message)),
            Some(failure) => Self::Gpu { advice: failure.advice(), message: abridged(&message) },
            None => Self::Tensor(error),
        }
    }
}

/// Text from a file as a message shows it: one line of at most 80 characters.
pub fn abridged(text: &str) -> String {
    cut(text, 80)
}

/// The key of a tensor as a message shows it: one line of at most 160 characters, as its end says the most.
pub fn abridged_key(key: &str) -> String {
    cut(key, 160)
}

fn cut(text: &str, length: usize) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let end = if text.chars().nth(length).is_some() { "…" } else { "" };
    line.take(length).chain(end.chars()).collect()
}

/// The error without the backtraces that candle wraps around it when `RUST_BACKTRACE` is set.
pub fn without_backtrace(error: candle_core::Error) -> candle_core::Error {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => without_backtrace(*inner),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str) -> Error {
        candle_core::Error::Msg(message.into()).bt().into()
    }

    #[test]
    fn gpu_failures_are_recognised() {
        let oom = of(r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#);
        assert!(matches!(&oom, Error::OutOfMemory(_)), "{oom}");
        assert!(oom.to_string().contains("--dtype f16"), "{oom}");
        let lost = of(r#"DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access")"#);
        assert!(lost.to_string().contains("start the program again (DriverError"), "{lost}");
        let other = of("shape mismatch");
        assert!(matches!(&other, Error::Tensor(_)), "{other}");
        assert!(!other.to_string().contains('\n'), "a backtrace: {other}");
    }
}
