use super::*;
use crate::model::prompt_syntax::PromptSyntax;
use crate::pipeline::Request;
use proptest::prelude::*;
use serde_json::json;

fn never(_: &str) -> bool {
    false
}

/// The plain graph of text to image, with a LoRA and a skipped layer.
fn plain() -> Value {
    json!({
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "boats/lakes.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 640, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a wooden boat", "clip": ["11", 0]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "people", "clip": ["11", 0]}},
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 18_446_744_073_709_551_615_u64, "steps": 24, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras",
            "denoise": 1.0, "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
        }},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "boat", "images": ["8", 0]}},
        "10": {"class_type": "LoraLoader", "inputs": {
            "lora_name": "ink.safetensors", "strength_model": 0.8, "strength_clip": 1, "model": ["4", 0], "clip": ["4", 1],
        }},
        "11": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["10", 1]}},
    })
}

/// The plain graph with an input or a node changed.
fn with(pointer: &str, value: Value) -> Value {
    let mut graph = plain();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = graph.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
    parent.insert(key.into(), value);
    graph
}

fn of(graph: &Value) -> Found {
    found(&graph.to_string(), &never).unwrap()
}

fn request_of(found: &Found) -> Request {
    let mut request = Request::default();
    found.apply(false, &mut request).unwrap();
    request
}

#[test]
fn the_plain_graph_gives_its_settings() {
    let found = of(&plain());
    assert_eq!((found.source, found.source.prompt_syntax()), (Source::ComfyUi, Some("comfy")));
    let request = request_of(&found);
    assert_eq!(request.prompt_syntax, PromptSyntax::Comfy);
    assert_eq!((request.prompt.as_str(), request.negative_prompt.as_str()), ("a wooden boat", "people"));
    assert_eq!((request.width, request.height, request.num_inference_steps), (512, 640, 24));
    assert_eq!((request.guidance_scale, request.clip_skip), (6.5, 1));
    assert_eq!(request.seed.to_string(), "18446744073709551615");
    assert_eq!(request.scheduler.name(), "dpm++2m-karras");
    assert_eq!(found.model.unwrap().name, "boats/lakes.safetensors");
    let loras: Vec<_> = found.loras.iter().map(|lora| (lora.name.as_str(), lora.scale)).collect();
    assert_eq!(loras, [("ink", 0.8)]);
    let left =
        "LoRA ink.safetensors: strength_clip 1: here a LoRA has one scale, for the UNet and the text encoder";
    assert_eq!(found.left, [left]);
}

#[test]
fn an_advanced_sampler_is_plain_if_it_does_all_steps() {
    let sampler = |change: (&str, Value)| {
        let mut graph = plain();
        let inputs = graph["3"]["inputs"].as_object_mut().unwrap();
        for (key, value) in [
            ("noise_seed", json!(7)),
            ("add_noise", json!("enable")),
            ("start_at_step", json!(0)),
            ("end_at_step", json!(10_000)),
            ("return_with_leftover_noise", json!("disable")),
            change,
        ] {
            inputs.insert(key.into(), value);
        }
        inputs.remove("seed");
        inputs.remove("denoise");
        graph["3"]["class_type"] = "KSamplerAdvanced".into();
        of(&graph)
    };
    let found = sampler(("noise_seed", json!(8)));
    assert_eq!((request_of(&found).seed, found.left.len()), (8.into(), 1));
    for (key, value) in [
        ("add_noise", json!("disable")),
        ("start_at_step", json!(3)),
        ("end_at_step", json!(20)),
        ("return_with_leftover_noise", json!("enable")),
    ] {
        let found = sampler((key, value.clone()));
        let line = format!(
            "node 3 (KSamplerAdvanced) {key} {}: a run from noise",
            value.to_string().trim_matches('"')
        );
        assert!(found.left.iter().any(|left| left.starts_with(&line)), "{line}: {:?}", found.left);
    }
}

#[test]
fn what_cannot_be_taken_is_noted() {
    let class = |class: &str, inputs: Value| json!({"class_type": class, "inputs": inputs});
    for (graph, expected) in [
        (with("/3/inputs/denoise", json!(0.5)), "node 3 (KSampler) denoise 0.5: a run from noise"),
        (
            with("/3/inputs/sampler_name", json!("dpm_2")),
            "node 3 (KSampler) sampler_name dpm_2: there is no such",
        ),
        (
            with("/3/inputs/scheduler", json!("kl_optimal")),
            "node 3 (KSampler) scheduler kl_optimal: there is no",
        ),
        (
            with("/3/inputs/sampler_name", json!("ddim")),
            "node 3 (KSampler) scheduler: DDIMScheduler has no `use_karras",
        ),
        (with("/3/inputs/sampler_name", json!("dpmpp_2m_sde_gpu")), "the noise of the steps: dpm++2m-sde"),
        (
            with("/5/inputs/width", json!(500)),
            "node 5 (EmptyLatentImage) size 500x640: expected multiples of 8",
        ),
        (with("/5/inputs/batch_size", json!(4)), "node 5 (EmptyLatentImage) batch_size 4: the noise here"),
        (with("/3/inputs/seed", json!(["9", 0])), "node 3 (KSampler) seed: node 9 (SaveImage) computes it"),
        (with("/12", class("VAELoader", json!({"vae_name": "kl.pt"}))), "VAE kl.pt: its file is not"),
        (
            with("/12", class("FreeU", json!({"model": ["4", 0]}))),
            "node 12 (FreeU): this node is not understood",
        ),
        (with("/5", class("LoadImage", json!({}))), "node 5 (LoadImage): this node is not understood"),
        (
            with("/5", class("LoadImage", json!({}))),
            "node 3 (KSampler) latent_image: no node EmptyLatentImage",
        ),
        (with("/6", class("Flux", json!({}))), "node 3 (KSampler) positive: no node CLIPTextEncode"),
        (
            with("/12", plain()["3"].clone()),
            "node 12 (KSampler): the settings are those of node 3 (KSampler)",
        ),
    ] {
        let found = of(&graph);
        assert!(found.left.iter().any(|line| line.starts_with(expected)), "{expected}: {:?}", found.left);
    }
}

#[test]
fn nodes_on_the_way_are_passed_through() {
    let mut graph = plain();
    graph["20"] = json!({"class_type": "ControlNetApplyAdvanced", "inputs": {"positive": ["6", 0], "negative": ["7", 0]}});
    graph["21"] = json!({"class_type": "LatentUpscale", "inputs": {"samples": ["3", 0]}});
    graph["22"] = graph["3"].clone();
    graph["22"]["inputs"]["seed"] = 5.into();
    graph["22"]["inputs"]["latent_image"] = json!(["21", 0]);
    graph["3"]["inputs"]["positive"] = json!(["20", 0]);
    graph["8"]["inputs"]["samples"] = json!(["22", 0]);
    let found = of(&graph);
    let request = request_of(&found);
    assert_eq!((request.prompt.as_str(), request.width), ("a wooden boat", 512));
    assert_eq!(request.seed.to_string(), "18446744073709551615", "the first pass's");
    let left = found.left.join("\n");
    for words in [
        "node 20 (ControlNetApplyAdvanced): this",
        "node 21 (LatentUpscale): this",
        "node 22 (KSampler): there is no second",
    ] {
        assert!(left.contains(words), "{words}: {left}");
    }
}

#[test]
fn broken_graphs_are_refused_with_their_node() {
    let loop_of = |a: &str, b: &str| {
        let mut graph = plain();
        for (id, to) in [(a, b), (b, a)] {
            graph[id] = json!({"class_type": "Reroute", "inputs": {"samples": [to, 0], "model": [to, 0], "clip": [to, 0]}});
        }
        graph
    };
    let mut circle = loop_of("30", "31");
    circle["3"]["inputs"]["latent_image"] = json!(["30", 0]);
    let mut models = loop_of("30", "31");
    models["3"]["inputs"]["model"] = json!(["30", 0]);
    let mut own = plain();
    own["3"]["inputs"]["latent_image"] = json!(["3", 0]);
    let no_sampler = json!({"2": {"class_type": "SamplerCustom", "inputs": {}}, "1": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}}});
    for (text, expected) in [
        ("{".to_string(), "ComfyUI's graph: "),
        ("[]".into(), "ComfyUI's graph: "),
        ("{\"1\": 2}".into(), "expected a node with a class_type and inputs"),
        ("{\"1\": {\"inputs\": {}}}".into(), "expected a node with a class_type and inputs"),
        ("{}".into(), "ComfyUI's graph: no sampler; expected a node KSampler"),
        (no_sampler.to_string(), "not understood: node 2 (SamplerCustom)"),
        (circle.to_string(), "node 30 (Reroute) is linked to itself"),
        (models.to_string(), "node 30 (Reroute) is linked to itself"),
        (own.to_string(), "node 3 (KSampler) is linked to itself"),
        (
            with("/3/inputs/positive", json!(["99", 0])).to_string(),
            "`positive` of node 3 (KSampler) is a link to node 99;",
        ),
        (
            with("/3/inputs/model", json!([99, 0])).to_string(),
            "`model` of node 3 (KSampler) is a link to node 99;",
        ),
        (
            plain().to_string().replace("18446744073709551615", "18446744073709551616"),
            "`node 3 (KSampler) seed`: cannot be",
        ),
        (
            plain().to_string().replace("18446744073709551615", "NaN"),
            "`node 3 (KSampler) seed`: cannot be `NaN`",
        ),
        (with("/3/inputs/steps", json!(-1)).to_string(), "`node 3 (KSampler) steps`: cannot be `-1`"),
        (with("/3/inputs/steps", json!(2.5)).to_string(), "`node 3 (KSampler) steps`: cannot be `2.5`"),
        (with("/3/inputs/cfg", json!({})).to_string(), "`node 3 (KSampler) cfg`: cannot be `{}`"),
        (
            with("/5/inputs/height", json!("tall")).to_string(),
            "`node 5 (EmptyLatentImage) size`: cannot be `tall`",
        ),
        (
            with("/11/inputs/stop_at_clip_layer", json!(2)).to_string(),
            "stop_at_clip_layer`: cannot be `2`; expected a layer",
        ),
    ] {
        let error = found(&text, &never).unwrap_err().to_string();
        assert!(error.contains(expected) && error.starts_with("ComfyUI's graph: "), "{expected}: {error}");
        assert!(!error.contains('\n') && error.len() < 400, "{error}");
    }
}

proptest! {
    #[test]
    fn no_graph_panics(
        links in proptest::collection::vec((0usize..12, 0usize..6, 0usize..14), 0..12),
        classes in proptest::collection::vec((0usize..12, 0usize..14), 0..4),
    ) {
        let mut graph = plain();
        for (node, class) in classes {
            let class = KNOWN.get(class).copied().unwrap_or("Reroute");
            graph[node.to_string()] = json!({"class_type": class, "inputs": {"samples": ["3", 0], "clip": ["6", 0]}});
        }
        let inputs = ["model", "clip", "positive", "latent_image", "samples", "images"];
        for (node, input, target) in links {
            if let Some(node) = graph.get_mut(node.to_string()) {
                node["inputs"][inputs[input]] = json!([target.to_string(), 0]);
            }
        }
        let _ = found(&graph.to_string(), &never);
    }
}
