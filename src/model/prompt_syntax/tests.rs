use super::*;
use crate::checkpoint::ModelSource;
use proptest::prelude::*;
use std::sync::LazyLock;

static TOKENIZER: LazyLock<ClipTokenizer> =
    LazyLock::new(|| ClipTokenizer::load(&ModelSource::Bundled, 49408).unwrap());
const OTHERS: [PromptSyntax; 3] = [PromptSyntax::A1111, PromptSyntax::Comfy, PromptSyntax::Compel];

fn refused(syntax: PromptSyntax, text: &str) -> String {
    syntax.tokenize(["", text], &TOKENIZER).unwrap_err().to_string()
}

proptest! {
    #[test]
    fn no_text_panics_and_weights_are_finite(
        text in "\\PC{0,40}|([ab ,.:|<>#_\\n\"]|[()\\[\\]\\\\+-]|1.5|:0.5|BREAK|AND|<lora:a>|embedding:|withLora\\(a\\)|.attend\\(){0,30}"
    ) {
        for (syntax, ..) in ALL {
            for side in [Side::Negative, Side::Prompt] {
                match syntax.parse(&text, side) {
                    Ok(parsed) => {
                        prop_assert!(!parsed.pieces.is_empty());
                        for piece in parsed.pieces {
                            if let Piece::Text(_, weight) | Piece::Embedding(_, weight) = piece {
                                prop_assert!(weight.abs() <= MOST_WEIGHT);
                            }
                        }
                    }
                    Err(e) => prop_assert!(!e.to_string().contains('\n')),
                }
            }
            if let Ok(made) = syntax.tokenize([&text, "a"], &TOKENIZER) {
                let [negative, prompt] = made.of_both;
                prop_assert_eq!(negative.input_ids.len(), prompt.input_ids.len());
                prop_assert!(prompt.input_ids.len() % 77 == 0 && prompt.chunks() > 0);
                for of in [negative, prompt] {
                    prop_assert_eq!(of.weights.len(), of.input_ids.len());
                    prop_assert!(of.input_ids.iter().step_by(77).all(|id| *id == made.special_ids[0]));
                    prop_assert!(of.reduced.iter().all(|(span, _)| span.end <= of.input_ids.len()));
                }
            }
        }
    }

    #[test]
    fn text_without_syntax_is_one_piece_with_the_ids_of_plain(text in "[a-zA-Z0-9 éü,;!?']{0,60}") {
        prop_assume!(!text.contains("AND") && !text.contains("BREAK"));
        let plain = PromptSyntax::Plain.tokenize(["", &text], &TOKENIZER).unwrap();
        for syntax in OTHERS {
            let pieces = syntax.parse(&text, Side::Prompt).unwrap().pieces;
            prop_assert!(matches!(&pieces[..], [Piece::Text(_, 1.)]), "{} {:?}", syntax, pieces);
            // compel puts a space after each comma, which parts it from other punctuation.
            if syntax != PromptSyntax::Compel || !text.contains(',') {
                let made = syntax.tokenize(["", &text], &TOKENIZER).unwrap();
                prop_assert_eq!(&made.of_both[1].input_ids, &plain.of_both[1].input_ids);
                prop_assert!(!made.of_both[1].is_weighted());
            }
        }
    }
}

#[test]
fn names_are_those_of_the_table() {
    for (syntax, name, _) in ALL {
        assert_eq!(PromptSyntax::named(name), Ok(syntax));
        assert_eq!(serde_json::to_value(syntax).unwrap(), name);
    }
    assert_eq!(
        PromptSyntax::named("A1111").unwrap_err(),
        "cannot be `A1111`; expected plain, a1111, comfy, compel"
    );
}

#[test]
fn long_texts_deep_brackets_and_huge_weights_are_one_line() {
    let words = "cat ".repeat(25_000);
    let deep = ["(".repeat(50_000), ")".repeat(50_000)].concat();
    let open = "(".repeat(100_000);
    for syntax in OTHERS {
        assert_eq!(
            refused(syntax, &words),
            "prompt: 334 chunks of 75 tokens; expected at most 64: a shorter prompt"
        );
        let mixed = ["[".repeat(50_000), ")".repeat(50_000)].concat();
        let angles = ["<".repeat(99_000), ">".into()].concat();
        for text in [
            &mixed,
            &angles,
            &"<a:".repeat(33_000),
            &"BREAK ".repeat(16_000),
            &deep,
            &open,
            &"(a".repeat(33_000),
            &"[a".repeat(33_000),
            &"\"a ".repeat(33_000),
        ] {
            if let Err(e) = syntax.tokenize(["", text], &TOKENIZER) {
                assert!(e.to_string().len() < 300, "{e}");
            }
        }
    }
    let said = refused(PromptSyntax::A1111, &format!("{}a", "(".repeat(100)));
    assert!(said.starts_with("prompt: the weight of `a` is 13780.6"), "{said}");
    assert_eq!(
        refused(PromptSyntax::A1111, "(a:1001)"),
        "prompt: the weight of `a` is 1001; expected a number from -1000 to 1000"
    );
    assert!(PromptSyntax::A1111.tokenize(["", &format!("{}a", "[".repeat(100_000))], &TOKENIZER).is_ok());
    assert!(
        refused(PromptSyntax::Compel, &format!("a{}", "+".repeat(99_999)))
            .contains("the weight of `a` is inf")
    );
    let many = "(a)0.5 (b)0.6 ".repeat(150);
    assert_eq!(
        refused(PromptSyntax::Compel, &many),
        "prompt: compel encodes the prompt again for each piece with a weight below 1: 300 more chunks; expected at most 256"
    );
}

/// A1111 and ComfyUI repeat both prompts up to a common length, compel appends empty ones.
#[test]
fn both_prompts_get_the_same_length() {
    let [two, three] = ["cat ".repeat(100), "dog ".repeat(200)];
    let [bos, eos, _] = TOKENIZER.special_ids();
    for syntax in OTHERS {
        let made = syntax.tokenize([&two, &three], &TOKENIZER).unwrap();
        let [negative, prompt] = &made.of_both;
        let chunk = |of: &Tokenized, chunk: usize| of.input_ids[chunk * 77..][..77].to_vec();
        match syntax {
            PromptSyntax::Compel => {
                assert_eq!((negative.chunks(), prompt.chunks()), (3, 3));
                assert_eq!(chunk(negative, 2)[..3], [bos, eos, eos]);
            }
            _ => {
                assert_eq!((negative.chunks(), prompt.chunks()), (6, 6));
                assert_eq!(chunk(negative, 4), chunk(negative, 0));
                assert_eq!(chunk(prompt, 5), chunk(prompt, 2));
            }
        }
    }
    let [nine, eight] = ["cat ".repeat(650), "cat ".repeat(600)];
    let error = PromptSyntax::Comfy.tokenize([&nine, &eight], &TOKENIZER).unwrap_err().to_string();
    assert_eq!(
        error,
        "prompt: 72 chunks of 75 tokens, the common multiple of the prompt's 8 and the negative prompt's 9; expected at \
         most 64: a shorter prompt"
    );
}

#[test]
fn what_a_prompt_names_and_lacks_is_told() {
    let made = PromptSyntax::Comfy.tokenize(["", "a embedding:x b"], &TOKENIZER).unwrap();
    assert_eq!(
        made.of_both[1].warnings,
        ["there is no embedding `x`, so embedding:x is left out, as in ComfyUI: --embedding FILE:x adds it"]
    );
    assert_eq!(
        made.of_both[1].input_ids,
        PromptSyntax::Plain.tokenize(["", "a b"], &TOKENIZER).unwrap().of_both[1].input_ids
    );
}
