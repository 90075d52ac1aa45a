//! Checkpoint folders: the miniatures of `tests/fixtures/`, their weights filled in by [`formula`](super::formula).

use super::{fixture, formula};
use candle_core::{Device, Tensor};
use diffuscope::checkpoint::ModelSource;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A checkpoint's folder, which lives as long as this does.
pub struct Checkpoint {
    folder: TempDir,
}

/// The miniature checkpoint `name` (`sd1`, `sd2`, `odd`, `old`, `tiny`, `turbo`, `lcm`), written out whole.
pub fn checkpoint(name: &str) -> Checkpoint {
    let checkpoint = Checkpoint { folder: tempfile::tempdir().unwrap() };
    copy_folder(&fixture::path(name), checkpoint.path());
    copy_vocabulary(checkpoint.path());
    let table = fixture::json(&format!("{name}/weights"));
    for (component, keys) in table.as_object().unwrap() {
        let tensors = keys.as_object().unwrap().iter().map(|(key, shape)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            (key.clone(), formula::weight(component, key, &shape))
        });
        checkpoint.write_weights(component, &tensors.collect());
    }
    checkpoint
}

/// The folder `name` of `tests/fixtures/` as the folder `into` of a checkpoint, with CLIP's vocabulary and without weights.
pub fn from_fixture(name: &str, into: &str) -> Checkpoint {
    let checkpoint = Checkpoint { folder: tempfile::tempdir().unwrap() };
    copy_folder(&fixture::path(name), &checkpoint.file(into));
    copy_vocabulary(checkpoint.path());
    checkpoint
}

/// The vocabulary of every CLIP, which the repository holds once, with the bundled model.
fn copy_vocabulary(folder: &Path) {
    let pocket = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pocket");
    for file in ["tokenizer/vocab.json", "tokenizer/merges.txt"] {
        fs::copy(pocket.join(file), folder.join(file)).unwrap();
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The name of a component's weights file.
pub fn weights_file(component: &str) -> String {
    let stem = if component == "text_encoder" { "model" } else { "diffusion_pytorch_model" };
    format!("{component}/{stem}.safetensors")
}

impl Checkpoint {
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The checkpoint as `--model` would name it.
    pub fn source(&self) -> ModelSource {
        ModelSource::parse(self.path().to_str().unwrap()).unwrap()
    }

    /// The path of a file, by its name inside the checkpoint.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.file(name), bytes).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Sets a key of a JSON file.
    pub fn set(&self, name: &str, key: &str, value: Value) {
        let mut json = self.json(name);
        json[key] = value;
        self.write(name, json.to_string());
    }

    /// Every tensor of a component.
    pub fn weights(&self, component: &str) -> HashMap<String, Tensor> {
        candle_core::safetensors::load(self.file(&weights_file(component)), &Device::Cpu).unwrap()
    }

    pub fn write_weights(&self, component: &str, tensors: &HashMap<String, Tensor>) {
        candle_core::safetensors::save(tensors, self.file(&weights_file(component))).unwrap();
    }
}
