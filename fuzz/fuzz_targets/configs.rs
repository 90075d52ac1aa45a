//! A checkpoint whose configurations are all right but one: the first byte says which, the rest is its text.
#![no_main]

use diffuscope::checkpoint::ModelSource;
use diffuscope::pipeline::models::Configs;
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;

const FILES: [&str; 5] = [
    "model_index.json",
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
    "scheduler/scheduler_config.json",
];

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    FILES.iter().for_each(|file| mend(folder.path(), file));
    folder
});

/// Puts the right file there.
fn mend(folder: &Path, file: &str) {
    let right = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/sd2").join(file);
    fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
    fs::copy(right, folder.join(file)).unwrap();
}

fuzz_target!(|data: &[u8]| {
    let [which, text @ ..] = data else { return };
    let (folder, file) = (FOLDER.path(), FILES[usize::from(*which) % FILES.len()]);
    fs::write(folder.join(file), text).unwrap();
    let read = Configs::load(&ModelSource::Folder(folder.into()));
    if let Err(e) = read {
        assert!(e.to_string().len() < 2000, "longer than anybody reads: {e}");
    }
    mend(folder, file);
});
