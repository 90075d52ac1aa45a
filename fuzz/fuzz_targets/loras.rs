//! A LoRA's file: lines of a key and a shape, of which a safetensors file of zeros is made, with peft's settings in the first line.
#![no_main]

use diffuscope::checkpoint::lora::LoraFile;
use diffuscope::checkpoint::lora::diffusers::differences;
use diffuscope::checkpoint::lora::names::{Blocks, Names};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use std::fs;
use std::sync::LazyLock;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let attends = vec![true, true, true, false];
    let blocks = Blocks { layers: 2, down_attends: attends.clone(), up_attends: attends };
    let modules = [
        "unet.conv_out",
        "unet.down_blocks.0.downsamplers.0.conv",
        "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
        "text_encoder.encoder.layers.0.self_attn.q_proj",
    ];
    Names::new(modules, Some(&blocks))
});
/// The largest number of values of a tensor.
const LARGEST: usize = 1 << 12;

fuzz_target!(|text: &str| {
    let (metadata, lines) = text.split_once('\n').unwrap_or(("", text));
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), json!({ "lora_adapter_metadata": metadata }));
    }
    let mut end = 0;
    for line in lines.lines().take(500) {
        let (key, shape) = line.split_once(' ').unwrap_or((line, ""));
        let shape: Vec<usize> = shape.split(',').filter_map(|size| size.parse().ok()).collect();
        let size = shape.iter().try_fold(1usize, |size, n| size.checked_mul(*n));
        let Some(size) = size.filter(|size| *size <= LARGEST) else { return };
        let entry = json!({ "dtype": "F16", "shape": shape, "data_offsets": [end, end + 2 * size] });
        if header.insert(key.into(), entry).is_none() {
            end += 2 * size;
        } else {
            return;
        }
    }
    let header = Value::Object(header).to_string();
    let path = FOLDER.path().join("lora.safetensors");
    let size = (header.len() as u64).to_le_bytes();
    fs::write(&path, [&size[..], header.as_bytes(), &vec![0; end]].concat()).unwrap();
    if let Ok(file) = LoraFile::open(&path, 1.) {
        assert!(file.updates.iter().all(|update| update.factor.is_finite() && update.rank > 0));
        assert!(differences(&file).iter().all(|(place, _)| *place < file.updates.len()));
        for update in &file.updates {
            let _ = NAMES.find(update.component, &update.module);
        }
    }
});
