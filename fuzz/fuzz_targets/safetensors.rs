//! A safetensors file: its header, whose length is put before it, 0xFF, and its data. Without a 0xFF the bytes are the file.
#![no_main]

use candle_core::{DType, Device};
use diffuscope::nn::Weights;
use diffuscope::nn::weights::WeightsFile;
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::sync::LazyLock;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fuzz_target!(|data: &[u8]| {
    let file = FOLDER.path().join("m.safetensors");
    match data.iter().position(|byte| *byte == 0xff) {
        Some(end) => {
            let size = (end as u64).to_le_bytes();
            fs::write(&file, [&size, &data[..end], &data[end + 1..]].concat()).unwrap();
        }
        None => fs::write(&file, data).unwrap(),
    }
    let Ok(weights) = WeightsFile::open(&file) else { return };
    let tensors: Vec<_> = weights.tensors().map(|(key, info)| (key, info.shape.clone())).collect();
    let weights = Weights::new(weights, "unet", DType::F32, &Device::Cpu);
    for (key, shape) in tensors {
        if let Ok(tensor) = weights.get(&shape, &key) {
            assert_eq!(tensor.dims(), shape);
        }
    }
});
