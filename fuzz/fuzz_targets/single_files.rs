//! A checkpoint in one file: lines of a key and a shape, of which a safetensors file of zeros is made. It is read as a model and as a VAE.
#![no_main]

use diffuscope::checkpoint::ModelSource;
use diffuscope::checkpoint::layout::Precision;
use diffuscope::checkpoint::single::vae::Vae;
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::sync::LazyLock;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
/// The largest number of values of a tensor.
const LARGEST: usize = 1 << 16;

fuzz_target!(|lines: &str| {
    let (mut entries, mut end) = (vec![], 0);
    for line in lines.lines().take(2000) {
        let (key, shape) = line.split_once(' ').unwrap_or((line, ""));
        let shape: Vec<usize> = shape.split(',').filter_map(|size| size.parse().ok()).collect();
        let size = shape.iter().try_fold(1usize, |size, n| size.checked_mul(*n));
        let Some(size) = size.filter(|size| *size <= LARGEST) else { return };
        let key: String = key.chars().filter(|c| !c.is_control() && !['"', '\\'].contains(c)).collect();
        let offsets = [end, end + size];
        entries.push(format!(r#""{key}":{{"dtype":"U8","shape":{shape:?},"data_offsets":{offsets:?}}}"#));
        end += size;
    }
    let header = format!("{{{}}}", entries.join(","));
    let path = FOLDER.path().join("model.safetensors");
    let size = (header.len() as u64).to_le_bytes();
    fs::write(&path, [&size[..], header.as_bytes(), &vec![0; end]].concat()).unwrap();
    let path = path.to_str().unwrap();
    if let Ok(source) = ModelSource::parse(path) {
        for component in ["text_encoder", "unet", "vae"] {
            let weights = source.weights(component, Precision::Full).unwrap();
            for (key, info) in weights.tensors() {
                let (file, _) = weights.find(&key).unwrap();
                let count: usize = info.shape.iter().product();
                assert_eq!(file.values(&key, 0..usize::MAX).unwrap().len(), count);
            }
        }
    }
    let _ = Vae::parse(path);
});
