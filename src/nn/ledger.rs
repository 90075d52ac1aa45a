//! What is loaded of a checkpoint: told while it is, and counted for who will watch it run.

use super::Path;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Told of bytes read and bytes in all, at most once a hundredth.
pub type ProgressFn = Box<dyn Fn(u64, u64) + Send + Sync>;

/// What is loaded so far.
pub struct LoadReport {
    tell: ProgressFn,
    total: AtomicU64,
    read: AtomicU64,
    modules: Mutex<Vec<(Path, usize)>>,
    parameters: Mutex<Vec<Parameter>>,
}

/// A tensor of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The module that it is of.
    pub module: Path,
    /// Its name there: `weight`, `bias`.
    pub name: String,
    /// Its name in the file.
    pub key: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl LoadReport {
    /// With nothing loaded yet.
    pub fn new(tell: ProgressFn) -> Self {
        Self {
            tell,
            total: AtomicU64::new(0),
            read: AtomicU64::new(0),
            modules: Mutex::default(),
            parameters: Mutex::default(),
        }
    }

    /// A tensor of weights is loaded.
    pub fn parameter(&self, parameter: Parameter) {
        self.parameters.lock().unwrap_or_else(PoisonError::into_inner).push(parameter);
    }

    /// All tensors of weights that were loaded.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.parameters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// So many bytes more are to be read.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes more were read.
    pub fn read(&self, bytes: u64) {
        let total = self.total.load(Ordering::Relaxed).max(1);
        let before = self.read.fetch_add(bytes, Ordering::Relaxed);
        if before * 100 / total != (before + bytes) * 100 / total {
            (self.tell)(before + bytes, total);
        }
    }

    /// A module is loaded that will be watched by this path, so many times in a pass.
    pub fn module(&self, path: &Path, times: usize) {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).push((path.clone(), times));
    }

    /// The paths of all modules in the order in which they were loaded, each with how often a pass runs it.
    pub fn modules(&self) -> Vec<(Path, usize)> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("read", &self.read).field("total", &self.total).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn it_is_told_once_a_hundredth() {
        let told = Arc::new(Mutex::new(vec![]));
        let teller = Arc::clone(&told);
        let ledger = LoadReport::new(Box::new(move |read, total| teller.lock().unwrap().push((read, total))));
        ledger.expect(1000);
        (0..1000).for_each(|_| ledger.read(1));
        let told = told.lock().unwrap();
        assert_eq!((told.len(), told[0], told[99]), (100, (10, 1000), (1000, 1000)));
    }
}
