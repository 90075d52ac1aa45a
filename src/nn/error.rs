//! Why a forward pass stopped.

use super::gpu::Trouble;
use super::probe::Path;

/// A forward pass that did not reach its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A probe asked for a stop before this piece ran.
    #[error("interrupted before {0}")]
    Interrupted(Path),
    /// A probe could not do its work at this piece.
    #[error("{path}: {message}")]
    Probe {
        /// Where.
        path: Path,
        /// What was found and what would be right.
        message: String,
    },
    /// An input does not fit the model: which, what was found and what would be right.
    #[error("{0}")]
    Input(String),
    /// The GPU has no memory left for a tensor.
    #[error(
        "out of memory on the GPU: {0}; expected a smaller width and height, --dtype f16, or --device cpu"
    )]
    OutOfMemory(String),
    /// A GPU failed otherwise: what it said, and what to do.
    #[error("{advice} ({said})")]
    Gpu {
        /// What that means, and what to do.
        advice: &'static str,
        /// What the driver said.
        said: String,
    },
    /// A tensor operation failed: a device's error, or a mistake in this program.
    #[error("{0}")]
    Tensor(candle_core::Error),
}

/// The result of a forward pass.
pub type Result<T> = std::result::Result<T, Error>;

impl From<candle_core::Error> for Error {
    /// Takes the backtraces off: candle prints them with the message, and a user's terminal is no place for them. What a GPU
    /// says is understood, where it can be.
    fn from(error: candle_core::Error) -> Self {
        let error = without_backtrace(error);
        let said = error.to_string();
        match Trouble::told_by(&said) {
            Some(Trouble::OutOfMemory) => Self::OutOfMemory(abridged(&said)),
            Some(trouble) => Self::Gpu { advice: trouble.advice(), said: abridged(&said) },
            None => Self::Tensor(error),
        }
    }
}

/// A text out of a file as a message shows it: one line, and of a megabyte the beginning.
pub fn abridged(text: &str) -> String {
    const LENGTH: usize = 80;
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let end = if text.chars().nth(LENGTH).is_some() { "…" } else { "" };
    line.take(LENGTH).chain(end.chars()).collect()
}

/// The error inside the backtraces that candle wraps around it where `RUST_BACKTRACE` is set.
pub fn without_backtrace(error: candle_core::Error) -> candle_core::Error {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => without_backtrace(*inner),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(said: &str) -> Error {
        candle_core::Error::Msg(said.into()).bt().into()
    }

    #[test]
    fn what_a_gpu_says_is_understood() {
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
