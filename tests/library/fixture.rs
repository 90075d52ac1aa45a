//! The tensors of `tests/fixtures/`.

use crate::support::fixture::path;
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use std::collections::HashMap;

/// `tests/fixtures/NAME.safetensors`, read whole.
pub struct Fixture {
    name: String,
    tensors: HashMap<String, Tensor>,
    metadata: HashMap<String, String>,
}

impl Fixture {
    pub fn open(name: &str) -> Self {
        let file = path(&format!("{name}.safetensors"));
        let bytes = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        Self {
            name: name.into(),
            tensors: candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap(),
            metadata: header.metadata().clone().unwrap_or_default(),
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.tensors.contains_key(key)
    }

    pub fn tensor(&self, key: &str) -> &Tensor {
        self.tensors.get(key).unwrap_or_else(|| panic!("fixture {} has no tensor `{key}`", self.name))
    }

    pub fn shape(&self, key: &str) -> &[usize] {
        self.tensor(key).dims()
    }

    pub fn f32(&self, key: &str) -> Vec<f32> {
        self.tensor(key).flatten_all().unwrap().to_vec1().unwrap()
    }

    pub fn f64(&self, key: &str) -> Vec<f64> {
        self.tensor(key).flatten_all().unwrap().to_vec1().unwrap()
    }

    pub fn i64(&self, key: &str) -> Vec<i64> {
        self.tensor(key).flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Token ids as the text encoder takes them: `u32`, in the shape that they have here.
    pub fn ids(&self, key: &str) -> Tensor {
        self.tensor(key).to_dtype(DType::U32).unwrap()
    }

    /// A setting of the file's metadata: `run/prompt`.
    pub fn setting(&self, key: &str) -> &str {
        self.metadata.get(key).unwrap_or_else(|| panic!("fixture {} has no setting `{key}`", self.name))
    }
}
