//! A record of what was loaded from a checkpoint: its progress, modules and parameters.

use super::Path;
use candle_nn::Conv2dConfig;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Called with the bytes read and the total, at most once per percent.
pub type ProgressFn = Box<dyn Fn(u64, u64) + Send + Sync>;

/// What has been loaded.
pub struct LoadReport {
    on_progress: ProgressFn,
    total: AtomicU64,
    read: AtomicU64,
    modules: Mutex<Vec<(Path, usize)>>,
    parameters: Mutex<Vec<Parameter>>,
    norms: Mutex<HashMap<Path, Norm>>,
    convs: Mutex<HashMap<Path, Conv2dConfig>>,
}

/// The constants of a normalization.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Norm {
    /// A group normalization.
    Group {
        /// The number of groups.
        groups: usize,
        /// What is added to the variance.
        eps: f64,
    },
    /// A layer normalization.
    Layer {
        /// What is added to the variance.
        eps: f64,
    },
}

/// A parameter of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The module's path.
    pub module: Path,
    /// Its name in the module: `weight`, `bias`.
    pub name: String,
    /// Its key in the file.
    pub key: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl LoadReport {
    /// An empty report.
    pub fn new(on_progress: ProgressFn) -> Self {
        Self {
            on_progress,
            total: AtomicU64::new(0),
            read: AtomicU64::new(0),
            modules: Mutex::default(),
            parameters: Mutex::default(),
            norms: Mutex::default(),
            convs: Mutex::default(),
        }
    }

    /// Adds a parameter.
    pub fn parameter(&self, parameter: Parameter) {
        self.parameters.lock().unwrap_or_else(PoisonError::into_inner).push(parameter);
    }

    /// All parameters.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.parameters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a normalization.
    pub fn norm(&self, path: &Path, norm: Norm) {
        self.norms.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), norm);
    }

    /// The normalizations by path.
    pub fn norms(&self) -> HashMap<Path, Norm> {
        self.norms.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a convolution.
    pub fn conv(&self, path: &Path, config: Conv2dConfig) {
        self.convs.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), config);
    }

    /// The strides and paddings of the convolutions by path.
    pub fn convs(&self) -> HashMap<Path, Conv2dConfig> {
        self.convs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds to the total of bytes to read.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds to the bytes read.
    pub fn read(&self, bytes: u64) {
        let total = self.total.load(Ordering::Relaxed).max(1);
        let before = self.read.fetch_add(bytes, Ordering::Relaxed);
        if before * 100 / total != (before + bytes) * 100 / total {
            (self.on_progress)(before + bytes, total);
        }
    }

    /// Adds a module that one forward pass runs `times` times.
    pub fn module(&self, path: &Path, times: usize) {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).push((path.clone(), times));
    }

    /// The paths of all modules in loading order, each with how often a forward pass runs it.
    pub fn modules(&self) -> Vec<(Path, usize)> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadReport")
            .field("read", &self.read)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn progress_is_reported_once_per_percent() {
        let calls = Arc::new(Mutex::new(vec![]));
        let sink = Arc::clone(&calls);
        let report = LoadReport::new(Box::new(move |read, total| sink.lock().unwrap().push((read, total))));
        report.expect(1000);
        (0..1000).for_each(|_| report.read(1));
        let calls = calls.lock().unwrap();
        assert_eq!((calls.len(), calls[0], calls[99]), (100, (10, 1000), (1000, 1000)));
    }
}
