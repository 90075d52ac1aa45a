//! Reading `tests/fixtures/`.

use std::path::{Path, PathBuf};

/// A file or folder of `tests/fixtures/`.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// `tests/fixtures/NAME.json`.
pub fn json(name: &str) -> serde_json::Value {
    let file = path(&format!("{name}.json"));
    let bytes = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}
