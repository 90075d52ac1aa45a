use super::*;
use proptest::prelude::*;

fn names() -> Names {
    Names {
        tensors: vec!["latents".into(), "prompt_embeds".into()],
        pictures: vec!["latents".into(), "difference".into()],
        breakpoints: vec![1, 12],
        displays: vec![3],
        timelines: vec!["main".into(), "wilder".into()],
        words: vec!["red".into(), "apple".into()],
        modules: [
            "unet.conv_in",
            "unet.mid_block",
            "unet.mid_block.attentions.0",
            "unet.mid_block.resnets.0",
        ]
        .map(String::from)
        .into(),
    }
}

fn words(line: &str) -> Vec<String> {
    complete(line, line.len(), &names()).candidates.into_iter().map(|c| c.text).collect()
}

#[test]
fn attention_is_of_words_and_layers() {
    assert_eq!(words("show attention a"), ["apple", "at"]);
    assert_eq!(words("save effect r"), ["red"]);
    assert_eq!(words("show attention apple layer unet.c"), ["unet.conv_in"]);
    assert_eq!(words("save attention apple a.png head 1 s"), ["step"]);
    assert!(words("show attention apple head ").is_empty() && words("save attention apple ").is_empty());
}

#[test]
fn words_go_on() {
    assert_eq!(words("re"), ["reverse-continue", "restart", "redo", "rename"]);
    assert_eq!(words("  cont"), ["continue"]);
    assert_eq!(words("goto "), ["encode_prompt", "get_latent", "denoise", "vae_decode"]);
    assert_eq!(words("b den"), ["denoise"]);
    // A path goes on name by name.
    assert_eq!(words("b un"), ["unet."]);
    assert_eq!(words("break unet."), ["unet.conv_in", "unet.mid_block"]);
    assert_eq!(words("break unet.mid_block"), ["unet.mid_block.attentions.0", "unet.mid_block.resnets.0"]);
    assert_eq!(words("patch unet.mid_block from "), ["main", "wilder"]);
    assert_eq!(words("break denoise 5 "), ["if"]);
    assert_eq!(words("break denoise if lat"), ["latents"]);
    assert_eq!(words("print latents.s"), ["shape", "std"]);
    assert_eq!(words("p norm(prompt_e"), ["prompt_embeds"]);
    assert_eq!(words("set gui"), ["guidance_scale"]);
    assert_eq!(words("set init_image sample:a"), ["sample:apple"]);
    assert_eq!(words("set prompt_embeds = em"), ["embed("]);
    assert_eq!(words("print lerp(prompt_embeds, o"), ["order", "of("]);
    assert_eq!(words("set preview "), ["every", "off"]);
    assert_eq!(words("delete 1"), ["12"]);
    assert_eq!(words("show d"), ["difference"]);
    assert_eq!(words("show features unet.m"), ["unet.mid_block"]);
    assert_eq!(words("show features unet.mid_block p"), ["pca"]);
    assert_eq!(words("save features unet.mid_block f.png unc"), ["uncond"]);
    assert_eq!(words("info mod"), ["modules"]);
    assert_eq!(words("save timemap t.png w"), ["within"]);
    assert_eq!(words("switch w"), ["wilder"]);
    assert_eq!(words("delete timeline "), ["main", "wilder"]);
    assert_eq!(words("compare gui"), ["guidance_scale"]);
    assert_eq!(words("compare guidance_scale 1,3 "), ["by", "here"]);
    assert_eq!(words("fork x at d"), ["denoise"]);
    assert!(words("walk ").is_empty() && words("quit ").is_empty());
}

#[test]
fn the_word_at_fault_is_found() {
    let line = "break denoise if latnts.std > 1";
    let error = "`latnts.std > 1`: `latnts` is not there; expected one of latents";
    assert_eq!(&line[error_span(line, error).unwrap()], "latnts");
    assert_eq!(error_span("walk", "`walk` is no command; expected one of next"), Some(0..4));
    assert_eq!(error_span("next", "the run is complete"), None);
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(line in "\\PC{0,60}", cursor in 0usize..80) {
        let completions = complete(&line, cursor, &names());
        prop_assert!(line.is_char_boundary(completions.from));
    }

    #[test]
    fn what_is_completed_begins_with_what_was_typed(
        verb in 0..VERBS.len(), rest in "[a-z_.(]{0,8}( [a-z_.(]{0,8})?",
    ) {
        let line = format!("{} {rest}", VERBS[verb].name);
        let completions = complete(&line, line.len(), &names());
        for candidate in completions.candidates {
            prop_assert!(candidate.text.starts_with(&line[completions.from..]));
        }
    }

    #[test]
    fn any_error_points_into_the_line(line in "\\PC{0,40}", error in "\\PC{0,60}") {
        if let Some(range) = error_span(&line, &error) {
            prop_assert!(line.get(range).is_some());
        }
    }
}
