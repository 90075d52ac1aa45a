//! `--prompt-syntax`: prompts with weights and long prompts, as a user runs them.

use crate::support::program::{Ran, batch, diffuscope};
use crate::support::single::Single;
use serde_json::Value;

const FLAGS: [&str; 6] = ["--steps", "2", "--width", "64", "--height", "64"];

/// The debugger's lines in a batch, as text.
fn debug(args: &[&str], lines: &str) -> Ran {
    diffuscope(&[&["debug", "--batch", "-x", "-"], args, &FLAGS[..]].concat(), lines)
}

fn long() -> String {
    format!("a (red:1.3) [apple], {}", "and a table ".repeat(30))
}

fn refused(syntax: &str, prompt: &str) -> String {
    let ran = diffuscope(&["run", "--prompt-syntax", syntax, "--prompt", prompt, "--steps", "1"], "");
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(1), 1), "{}", ran.stderr);
    ran.stderr
}

#[test]
fn what_is_not_carried_out_is_refused_by_name() {
    for (syntax, prompt, expected) in [
        ("a1111", "a [cat:dog:0.5]", "prompt: `[cat:dog:0.5]` changes the prompt during the run in A1111"),
        ("a1111", "a [cat|dog]", "prompt: `[cat|dog]` alternates from step to step"),
        ("a1111", "cat AND dog", "prompt: `AND dog` combines several prompts"),
        ("a1111", "<hypernet:x:1>", "an extra network of the kind `hypernet`"),
        ("a1111", "(a:1.2.3)", "the weight of `a` is 1.2.3"),
        ("comfy", "(a:1e999)", "the weight of `a` is inf; expected a number from -1000 to 1000"),
        ("comfy", "(a:nan)", "the weight of `a` is NaN"),
        ("compel", "(\"a\", \"b\").blend(1, 1)", "blends the embeddings of several prompts"),
        ("compel", "a cat.swap(dog)", "exchanges words by attention control"),
    ] {
        let said = refused(syntax, prompt);
        assert!(said.starts_with("error: ") && said.contains(expected), "{said}");
    }
    let usage = diffuscope(&["run", "--prompt-syntax", "webui"], "");
    assert_eq!(usage.code, Some(2));
    assert!(usage.stderr.contains("expected plain, a1111, comfy, compel"), "{}", usage.stderr);
    let long = "cat ".repeat(24_000);
    assert!(refused("a1111", &long).contains("320 chunks of 75 tokens; expected at most 64"));
}

#[test]
fn a_long_prompt_goes_through_the_debugger() {
    // compel splits after the colon too.
    for (syntax, rows) in [("a1111", 154), ("comfy", 154), ("compel", 231)] {
        let lines = "next 4\nprint prompt_embeds\nshow attention table#30\nshow effect red\nprint at(0, \"unet.mid_block\")\nback\nset prompt_syntax plain\nnext";
        let prompt = long();
        let ran = debug(&["--prompt", &prompt, "--prompt-syntax", syntax], lines);
        assert_eq!(ran.code, Some(0), "{syntax}: {}", ran.stderr);
        assert!(ran.stdout.contains(&format!("1×{rows}×")), "{}", ran.stdout);
        assert!(
            ran.stdout.contains("the prompt is encoded again before the next stage runs"),
            "{}",
            ran.stdout
        );
    }
}

#[test]
fn attention_lists_weights_and_chunks() {
    let prompt = long();
    let args = [&["--prompt", &prompt, "--prompt-syntax", "a1111"][..], &FLAGS].concat();
    let last = batch(&args, "next 3\nshow attention red").pop().unwrap();
    let tokens = last["attention"]["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 154);
    let weight = |token: &Value| (token["weight"].as_f64().unwrap() * 1e4).round() / 1e4;
    assert_eq!([weight(&tokens[1]), weight(&tokens[2]), weight(&tokens[3])], [1., 1.3, 0.9091]);
    assert_eq!((&tokens[76]["chunk"], &tokens[77]["chunk"]), (&0.into(), &1.into()));
    // A prompt without either lists neither.
    let last =
        batch(&[&["--prompt", "a cat"][..], &FLAGS].concat(), "next 3\nshow attention cat").pop().unwrap();
    let token = &last["attention"]["tokens"][1];
    assert!(token.get("weight").is_none() && token.get("chunk").is_none(), "{token}");
}

#[test]
fn a_recorded_run_with_chunks_opens_and_differs_in_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (syntax, rows) in [("a1111", "1×154"), ("compel", "1×231")] {
        let trace = folder.path().join(format!("{syntax}.trace"));
        let trace = trace.to_str().unwrap();
        let prompt = format!("{} (fruit)0.5", long());
        let args =
            ["run", "--prompt", &prompt, "--prompt-syntax", syntax, "--record", trace, "--modules", "all"];
        let ran = diffuscope(&[&args[..], &FLAGS].concat(), "");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let same = diffuscope(&["diff", trace], "");
        assert_eq!(same.code, Some(0), "{}", same.stdout);
        assert!(same.stdout.contains("nothing differs"), "{}", same.stdout);
        let lines = "next 3\ninfo request\nprint prompt_weights\nshow attention red";
        let opened = diffuscope(&["open", trace, "--batch", "-x", "-"], lines);
        assert_eq!(opened.code, Some(0), "{}", opened.stderr);
        for expected in [&*format!("prompt_syntax = {syntax}"), rows, "▸  2  red"] {
            assert!(opened.stdout.contains(expected), "{expected}: {}", opened.stdout);
        }
    }
}

#[test]
fn languages_are_compared_and_their_embeddings_are_apart() {
    let ran = debug(&["--prompt", "a (red:1.3) apple"], "compare prompt_syntax plain,a1111,comfy\nnext");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let pairs: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("prompt_embeds of ")).collect();
    assert_eq!(pairs.len(), 3, "{}", ran.stdout);
    for pair in pairs {
        let (_, difference) = pair.split_once("relative difference ").unwrap();
        let difference: f64 = difference.split(' ').next().unwrap().parse().unwrap();
        assert!(difference > 1e-3, "{pair}");
    }
    let args = ["compare", "prompt_syntax", "a1111,comfy", "--json", "--prompt", "a (red:1.3) apple"];
    let ran = diffuscope(&[&args[..], &FLAGS].concat(), "");
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["embeds"][0]["rows"], serde_json::json!([77, 77]));
    assert!(json["embeds"][0]["difference"].as_f64().unwrap() > 1e-3);
}

#[test]
fn a_picture_tells_the_language_of_its_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.png");
    let file = file.to_str().unwrap();
    let args = ["run", "--prompt", "a (red:1.3) apple <lora:x:0.5>", "--prompt-syntax", "a1111", "-o", file];
    let ran = diffuscope(&[&args[..], &FLAGS].concat(), "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("the prompt names the LoRA x, which is not loaded"), "{}", ran.stderr);
    let bytes = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
    assert!(bytes.contains("Prompt syntax: a1111") && bytes.contains(r#""prompt_syntax":"a1111""#));
}

/// A LoRA that the prompt names is found in the folder, and the prompt says its scale until something else does.
#[test]
fn the_loras_of_a_prompt_are_found_in_a_folder() {
    const MODULE: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k";
    let folder = tempfile::tempdir().unwrap();
    let mut file = Single::empty();
    file.put(&format!("{MODULE}.lora_down.weight"), &[4, 128], 0.1);
    file.put(&format!("{MODULE}.lora_up.weight"), &[160, 4], 0.1);
    let below = folder.path().join("styles");
    std::fs::create_dir(&below).unwrap();
    std::fs::copy(file.write(), below.join("ink wash.safetensors")).unwrap();
    let prompt = "a boat <lora:ink wash:0.5> <lora:gone:1>";
    let args = [
        "debug",
        "--batch",
        "--json",
        "-x",
        "-",
        "--prompt-syntax",
        "a1111",
        "--prompt",
        prompt,
        "--lora-dir",
    ];
    let args = [&args[..], &[folder.path().to_str().unwrap()], &FLAGS].concat();
    let commands = "print lora(\"ink_wash\")\nnext\nset lora ink_wash 0.25\nprint lora(\"ink_wash\")\n\
                    set prompt \"a cat\"\nprint lora(\"ink_wash\")\n\
                    set prompt \"a cat <lora:ink wash:2> <lora:ink wash:1>\"\nprint lora(\"ink_wash\")";
    let ran = diffuscope(&args, commands);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let outcomes: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |at: usize| outcomes[at]["messages"][0].to_string();
    assert!(told(0).contains("0.5"), "{}", told(0));
    let warning = outcomes[1]["warnings"].to_string();
    assert!(warning.contains("the LoRA gone, which is not loaded") && !warning.contains("ink"), "{warning}");
    assert!(told(3).contains("0.25") && told(5).contains('0') && told(7).contains('3'), "{outcomes:?}");
}

/// A run in chunks with a LoRA of the text encoder, compared with the models that have it; at another scale the record's counts.
#[test]
fn a_recorded_run_with_a_lora_of_the_text_encoder_is_right() {
    const MODULE: &str = "lora_te_text_model_encoder_layers_0_self_attn_q_proj";
    let folder = tempfile::tempdir().unwrap();
    let mut file = Single::empty();
    file.put(&format!("{MODULE}.lora_down.weight"), &[2, 128], 0.1);
    file.put(&format!("{MODULE}.lora_up.weight"), &[128, 2], 0.1);
    let lora = folder.path().join("ink.safetensors");
    std::fs::copy(file.write(), &lora).unwrap();
    let (lora, trace) = (lora.to_str().unwrap(), folder.path().join("a.trace"));
    let trace = trace.to_str().unwrap();
    for syntax in ["plain", "a1111"] {
        let args = ["run", "--prompt", "a (red:1.3) apple", "--prompt-syntax", syntax, "--record", trace];
        let ran =
            diffuscope(&[&args[..], &FLAGS, &["--lora", lora, "--modules", "text_encoder.*"]].concat(), "");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let same = diffuscope(&["diff", trace, "--lora", &format!("{lora}:0.5")], "");
        assert_eq!(same.code, Some(0), "{syntax}: {}", same.stdout);
        let note = "the LoRA ink runs at the recorded scale 1, not at 0.5";
        assert!(same.stdout.contains(note) && same.stdout.contains("nothing differs"), "{}", same.stdout);
        let without = diffuscope(&["diff", trace], "");
        assert_eq!(without.code, Some(1), "{syntax}: {}", without.stdout);
        assert!(
            without.stdout.contains("which is not loaded here; `--lora FILE:1` adds it"),
            "{}",
            without.stdout
        );
    }
    let ran = diffuscope(&[&["run", "--prompt", "a <lora:ink:1>"], &FLAGS[..]].concat(), "");
    assert!(ran.stderr.contains("`--prompt-syntax a1111` reads it as a LoRA"), "{}", ran.stderr);
}
