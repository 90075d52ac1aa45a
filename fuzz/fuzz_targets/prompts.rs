//! A prompt in each language, and its chunks.
#![no_main]

use diffuscope::checkpoint::ModelSource;
use diffuscope::model::ClipTokenizer;
use diffuscope::model::prompt_syntax::{ALL, MOST_WEIGHT, Piece, Side};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static TOKENIZER: ClipTokenizer = ClipTokenizer::load(&ModelSource::Bundled, 49408).unwrap();
}

fuzz_target!(|text: &str| {
    for (syntax, ..) in ALL {
        for side in [Side::Negative, Side::Prompt] {
            match syntax.parse(text, side) {
                Ok(parsed) => {
                    for piece in parsed.pieces {
                        if let Piece::Text(_, weight) | Piece::Embedding(_, weight) = piece {
                            assert!(weight.abs() <= MOST_WEIGHT);
                        }
                    }
                }
                Err(e) => assert!(!e.to_string().is_empty()),
            }
        }
        TOKENIZER.with(|tokenizer| match syntax.tokenize([text, "a (cat:1.2)"], tokenizer) {
            Ok(made) => {
                let [negative, prompt] = &made.of_both;
                assert_eq!(negative.input_ids.len(), prompt.input_ids.len());
                assert_eq!(prompt.input_ids.len() % 77, 0);
            }
            Err(e) => assert!(!e.to_string().is_empty()),
        });
    }
});
