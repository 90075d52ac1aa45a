//! Checkpoints in one file: the miniatures of `tests/fixtures/single/`, their weights filled in by [`formula`](super::formula).

use super::{fixture, formula};
use candle_core::{DType, Tensor};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A tensor of a file: its dtype, its shape, its bytes.
pub type Stored = (&'static str, Vec<usize>, Vec<u8>);

/// A file to load or to break.
pub struct Single {
    folder: TempDir,
    pub tensors: BTreeMap<String, Stored>,
    pub metadata: BTreeMap<String, String>,
}

/// The miniature `name` (`sd1`, `sd2`) in f32, without averaged weights.
pub fn single(name: &str) -> Single {
    let table = fixture::json(&format!("single/{name}"));
    let mut single = Single::empty();
    for (key, shape) in table["shapes"].as_object().unwrap() {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        single.add(key, &formula::weight("single", key, &shape));
    }
    single
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

impl Single {
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), tensors: BTreeMap::new(), metadata: BTreeMap::new() }
    }

    /// Adds or replaces a tensor in f32.
    pub fn add(&mut self, key: &str, tensor: &Tensor) {
        let numbers: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        self.tensors.insert(key.into(), ("F32", tensor.dims().to_vec(), bytes(&numbers)));
    }

    /// Adds or replaces a tensor of one number.
    pub fn put(&mut self, key: &str, shape: &[usize], number: f32) {
        let numbers = vec![number; shape.iter().product()];
        self.tensors.insert(key.into(), ("F32", shape.to_vec(), bytes(&numbers)));
    }

    pub fn shape(&self, key: &str) -> Vec<usize> {
        self.tensors[key].1.clone()
    }

    /// Adds the averaged weights of the UNet, other numbers than the plain ones.
    pub fn with_averages(mut self) -> Self {
        for key in self.tensors.keys().cloned().collect::<Vec<_>>() {
            if let Some(rest) = key.strip_prefix("model.") {
                let averaged = format!("model_ema.{}", rest.replace('.', ""));
                let shape = self.shape(&key);
                self.add(&averaged, &formula::weight("single", &averaged, &shape));
            }
        }
        self
    }

    /// The same numbers in another dtype.
    pub fn cast(mut self, name: &'static str) -> Self {
        let dtype = match name {
            "F16" => DType::F16,
            "BF16" => DType::BF16,
            "F8_E4M3" => DType::F8E4M3,
            other => panic!("{other}"),
        };
        for (stored, shape, bytes) in self.tensors.values_mut() {
            let numbers: Vec<f32> = bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
            let tensor = Tensor::from_vec(numbers, shape.as_slice(), &candle_core::Device::Cpu).unwrap();
            let mut cast = vec![];
            tensor.to_dtype(dtype).unwrap().write_bytes(&mut cast).unwrap();
            (*stored, *bytes) = (name, cast);
        }
        self
    }

    /// The whole file.
    pub fn bytes(&self) -> Vec<u8> {
        let (mut header, mut data) = (Map::new(), vec![]);
        if !self.metadata.is_empty() {
            header.insert("__metadata__".into(), json!(self.metadata));
        }
        for (key, (dtype, shape, bytes)) in &self.tensors {
            let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [data.len(), data.len() + bytes.len()] });
            header.insert(key.clone(), entry);
            data.extend(bytes);
        }
        let header = Value::Object(header).to_string().into_bytes();
        [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
    }

    /// Writes the file; its path lives as long as this does.
    pub fn write(&self) -> PathBuf {
        self.write_as("model.safetensors", &self.bytes())
    }

    pub fn write_as(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}
