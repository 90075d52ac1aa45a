//! LoRAs of formula tensors, in every layout of `tests/fixtures/lora.json`.

use crate::support::{fixture, formula};
use candle_core::{Device, Tensor};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The tensors of a LoRA in a layout: `kohya`, `ldm`, `comfy`, `diffusers`, `peft`, `peft metadata`, `attention processors`.
pub fn tensors(layout: &str) -> HashMap<String, Tensor> {
    let table = fixture::json("lora");
    let mut tensors = HashMap::new();
    for row in table["keys"][layout].as_array().unwrap() {
        let texts: Vec<&str> = row.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        let module = &table["modules"][texts[0]];
        for (role, key) in ["down", "up"].iter().zip(&texts[1..]) {
            let shape: Vec<usize> = serde_json::from_value(module[role].clone()).unwrap();
            tensors.insert(key.to_string(), matrix(texts[0], role, &shape));
        }
        if let Some(key) = texts.get(3) {
            let alpha = module["alpha"].as_f64().unwrap() as f32;
            tensors.insert(key.to_string(), Tensor::new(alpha, &Device::Cpu).unwrap());
        }
    }
    tensors
}

/// The matrix `down` or `up` of a module.
pub fn matrix(module: &str, role: &str, shape: &[usize]) -> Tensor {
    let numbers = formula::uniform(&format!("lora/{module}/{role}")).take(shape.iter().product());
    Tensor::from_vec(numbers.map(|u| u * 0.25).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}

/// Writes a LoRA to `folder` and returns its path.
pub fn write(
    folder: &Path,
    name: &str,
    tensors: &HashMap<String, Tensor>,
    metadata: Option<&str>,
) -> PathBuf {
    let path = folder.join(format!("{name}.safetensors"));
    let metadata =
        metadata.map(|text| HashMap::from([("lora_adapter_metadata".to_string(), text.to_string())]));
    let views: Vec<(&String, &Tensor)> = tensors.iter().collect();
    safetensors::serialize_to_file(views, metadata, &path).unwrap();
    path
}

/// Writes the LoRA of a layout.
pub fn file(folder: &Path, layout: &str) -> PathBuf {
    let table: Value = fixture::json("lora");
    let metadata = (layout == "peft metadata").then(|| table["metadata"]["unet"].as_str().unwrap());
    write(folder, &layout.replace(' ', "-"), &tensors(layout), metadata)
}
