//! The files of a tokenizer, one after the other with 0xFF between them; a byte that no text in UTF-8 has.
#![no_main]

use diffuscope::model::ClipTokenizer;
use diffuscope::checkpoint::ModelSource;
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::sync::LazyLock;
use tempfile::TempDir;

const FILES: [&str; 6] = [
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "added_tokens.json",
];

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tokenizer")).unwrap();
    folder
});

fuzz_target!(|data: &[u8]| {
    let mut texts = data.split(|byte| *byte == 0xff);
    for file in FILES {
        let path = FOLDER.path().join("tokenizer").join(file);
        match texts.next() {
            Some(text) if !text.is_empty() => fs::write(path, text).unwrap(),
            _ => drop(fs::remove_file(path)),
        }
    }
    match ClipTokenizer::load(&ModelSource::Folder(FOLDER.path().into()), 1000) {
        Ok(tokenizer) => {
            if let Ok(encoded) = tokenizer.encode("a red apple, 林檎 <|endoftext|>!") {
                assert!(encoded.input_ids.iter().all(|id| *id < 1000));
                tokenizer.decode(&encoded.input_ids);
            }
        }
        Err(e) => assert!(e.to_string().len() < 2000, "longer than anybody reads: {e}"),
    }
});
