use super::*;

fn is_at(pattern: &str, path: &str) -> bool {
    matches(pattern.split('.'), path.split('.'))
}

#[test]
fn a_pattern_is_of_names() {
    for (pattern, path) in [
        ("unet", "unet"),
        ("unet.down_blocks.*", "unet.down_blocks.10"),
        ("**.resnets.*", "vae.decoder.mid_block.resnets.0"),
        ("vae.**.attentions.*", "vae.attentions.0"),
        ("text_encoder.**", "text_encoder.final_layer_norm"),
        ("**.ff.net.0", "unet.ff.ff.net.0"),
    ] {
        assert!(is_at(pattern, path), "{pattern} {path}");
    }
    for (pattern, path) in [
        ("unet", "unet.conv_in"),
        ("unet.*", "unet"),
        ("unet.down_blocks.*", "unet.down_blocks.1.resnets.0"),
        ("**.resnets.*", "unet.mid_block.resnets"),
        ("**.act", "unet.conv_act"),
    ] {
        assert!(!is_at(pattern, path), "{pattern} {path}");
    }
}

#[test]
fn a_module_has_a_class_by_its_path_and_weight() {
    let name = |path, rank, attends| Class::of(path, rank).map_or("", |class| class.name(attends));
    assert_eq!(name("unet.up_blocks.1", None, false), "UpBlock2D");
    assert_eq!(name("unet.up_blocks.1", None, true), "CrossAttnUpBlock2D");
    assert_eq!(name("text_encoder.embeddings.token_embedding", Some(2), false), "Embedding");
    assert_eq!(name("unet.time_embedding.linear_1", Some(2), false), "Linear");
    assert_eq!(name("text_encoder.final_layer_norm", Some(1), false), "LayerNorm");
    assert_eq!(name("unet.mid_block.attentions.0.norm", Some(1), false), "GroupNorm");
    assert_eq!(name("unet.mid_block.attentions.0.transformer_blocks.0.norm1", Some(1), false), "LayerNorm");
    assert_eq!(name("vae.encoder.mid_block.attentions.0", None, false), "Attention");
    assert_eq!(name("unet.elsewhere", None, false), "");
}

#[test]
fn every_forward_pass_is_in_its_file_once() {
    let mut owners: Vec<&str> = vec![];
    for forward in CLASSES.iter().filter_map(|class| class.forward) {
        let (_, text) = forward.file.content();
        assert!(text.contains(&format!("impl {} {{", forward.owner)), "{forward:?}");
        assert!(!forward.reference.is_empty() && !forward.paper.is_empty(), "{forward:?}");
        assert!(!owners.contains(&forward.owner), "{forward:?}");
        owners.push(forward.owner);
    }
}

/// The table in docs/modules.md. `DIFFUSCOPE_WRITE=1` writes it.
#[test]
fn the_page_has_the_table() {
    let mut table =
        "| modules | class | here | elsewhere | inputs | published |\n|---|---|---|---|---|---|\n"
            .to_string();
    for class in CLASSES {
        let Some(forward) = class.forward else { continue };
        let code =
            |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let names: Vec<&str> = std::iter::once(class.name).chain(class.with_attentions).collect();
        let file = forward.file.content().0;
        table += &format!(
            "| {} | {} | [`{}`](../{file}) | `{}` | {} | {} |\n",
            code(class.paths),
            code(&names),
            forward.owner,
            forward.source,
            code(forward.inputs),
            forward.paper
        );
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/modules.md");
    let mut page = std::fs::read_to_string(file).unwrap();
    let mark = "<!-- classes -->\n";
    let start = page.find(mark).unwrap() + mark.len();
    let end = start + page[start..].find("<!-- end -->").unwrap();
    if std::env::var_os("DIFFUSCOPE_WRITE").is_some() {
        page.replace_range(start..end, &table);
        std::fs::write(file, page).unwrap();
    } else {
        assert_eq!(&page[start..end], table);
    }
}
