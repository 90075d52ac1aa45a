//! What the words of a step are looked at from, and what they do: with the bundled model, against the published definition.

use crate::fixture::Fixture;
use crate::models::{BACKEND, BUNDLED};
use crate::support::program::{batch, diffuscope};
use candle_core::{Device, IndexOp, Tensor};
use diffuscope::debugger::inspect::InspectError;
use diffuscope::debugger::inspect::attention::{attention, effect, point};
use diffuscope::debugger::language::attention::AttentionFilter;
use diffuscope::debugger::session::Session;
use diffuscope::debugger::{InspectQuery, Inspection};
use diffuscope::nn::pattern::Pattern;
use diffuscope::nn::{Path, Probe, Recorder, Unwatched};
use diffuscope::pipeline::attention::{CrossAttention, Layer, Split};
use diffuscope::pipeline::{Request, Snapshot, StageRecord, advance};
use diffuscope::tensor::bicubic::resized;
use diffuscope::tensor::compare::relative_difference;
use serde_json::Value;
use std::sync::Arc;

/// DAAM's maps against the definition in numpy, of the largest value.
const DAAM: f32 = 1e-3;
/// What watching may change.
const WATCHED: f32 = 1e-5;

/// The run before step `step` of 96×160 pixels: latents of 12×20.
fn before(prompt: &str, step: usize) -> Snapshot {
    let fixture = Fixture::open("daam");
    let set = |key: &str| fixture.setting(&format!("run/{key}")).parse::<f64>().unwrap();
    let request = Request {
        prompt: prompt.into(),
        negative_prompt: fixture.setting("run/negative_prompt").into(),
        height: set("height") as usize,
        width: set("width") as usize,
        num_inference_steps: set("num_inference_steps") as usize,
        guidance_scale: set("guidance_scale"),
        seed: (set("seed") as i64).into(),
        ..Request::default()
    };
    let mut snapshot = Snapshot::start(request, &BUNDLED).unwrap();
    for _ in 0..step + 2 {
        snapshot = advance(&snapshot, &BUNDLED, &mut Unwatched).unwrap();
    }
    snapshot
}

const PROMPT: &str = "red apple on a blue background";

fn focus(layer: &str) -> AttentionFilter {
    AttentionFilter { layer: Some(Pattern::parse(layer).unwrap()), head: None }
}

fn furthest(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0., f32::max)
}

#[test]
fn the_maps_are_daams() {
    let fixture = Fixture::open("daam");
    assert_eq!(fixture.setting("run/prompt"), PROMPT);
    let all: Vec<Snapshot> = (0..4).map(|step| before(PROMPT, step)).collect();
    let agree = |steps: &[Snapshot], focus: &AttentionFilter, key: &str| {
        let run = attention(&BACKEND, steps, focus, Split::Whole, &mut Unwatched).unwrap();
        assert_eq!((run.size, run.maps[0].tokens), ((12, 20), 77));
        let theirs = fixture.f32(key);
        let most = theirs.iter().fold(0f32, |most, v| most.max(*v));
        for token in 0..77 {
            let ours = run.maps[0].of(&[token]);
            let off = furthest(&ours, &theirs[token * 240..][..240]);
            assert!(off <= DAAM * most, "{key}, token {token}: {off} of {most}");
        }
        run
    };
    let run = agree(&all, &AttentionFilter::default(), "maps.all");
    let layers: Vec<&str> = run.layers.iter().map(|layer| layer.path.as_str()).collect();
    let theirs: Vec<&str> = fixture.setting("layers").split_whitespace().collect();
    let sorted = |mut paths: Vec<&str>| {
        paths.sort_unstable();
        paths.join(" ")
    };
    assert_eq!(sorted(layers), sorted(theirs));
    agree(&all[..1], &AttentionFilter::default(), "maps.step.0");
    agree(&all[2..3], &AttentionFilter::default(), "maps.step.2");
    agree(&all, &focus("unet.mid_block"), "mid.all");
}

#[test]
fn watching_sees_softmaxes_and_changes_nothing() {
    let before = before(PROMPT, 1);
    let plain = advance(&before, &BUNDLED, &mut Unwatched).unwrap();
    let mut all = Recorder::new(|path: &Path| path.as_str().ends_with(".attention_probs"));
    let watched = advance(&before, &BUNDLED, &mut all).unwrap();
    assert_eq!(all.seen.len(), 14);
    for (path, probs) in &all.seen {
        let sums: Vec<f32> = probs.sum(3).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.).abs() < 1e-5), "{path}");
    }
    let any = |_: &str| true;
    let mut folding = CrossAttention::new((12, 20), &any, None, Split::Whole);
    let folded = advance(&before, &BUNDLED, &mut folding).unwrap();
    assert_eq!(folding.layers().len(), 7);
    let values = |run: &Snapshot| {
        run.last().unwrap().tensor("latents").unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    for run in [&watched, &folded] {
        assert!(relative_difference(&values(run), &values(&plain)) <= WATCHED.into());
    }
}

#[test]
fn layers_and_heads_make_the_whole() {
    let before = [before(PROMPT, 2)];
    let layer = focus("unet.up_blocks.1.attentions.0");
    let run =
        |focus: &AttentionFilter, split| attention(&BACKEND, &before, focus, split, &mut Unwatched).unwrap();
    let (heads, mean) = (run(&layer, Split::Heads), run(&layer, Split::Layers));
    let whole = run(&layer, Split::Whole);
    let Layer { heads: count, size, .. } = whole.layers[0];
    assert_eq!(
        (whole.layers.len(), heads.maps.len(), heads.maps[0].size, mean.maps[0].size),
        (1, count, size, size)
    );
    let mut sum = vec![0f32; size.0 * size.1];
    for maps in &heads.maps {
        maps.of(&[2]).iter().zip(&mut sum).for_each(|(value, sum)| *sum += value / count as f32);
        // All that a pixel looks at is 1 in all.
        assert!(maps.of(&(0..77).collect::<Vec<_>>()).iter().all(|all| (all - 1.).abs() < 1e-4));
    }
    assert!(furthest(&sum, &mean.maps[0].of(&[2])) < 1e-6);
    let mut large = resized(&heads.maps[1].of(&[2]), 1, size, (12, 20)).unwrap();
    large.iter_mut().for_each(|value| *value = value.max(0.));
    let second = AttentionFilter { head: Some(1), ..layer };
    assert!(furthest(&run(&second, Split::Whole).maps[0].of(&[2]), &large) < 1e-6);
    // The whole, folded, has the words as they are and the padding in one.
    let folded = whole.folded();
    assert_eq!((folded.tokens.len(), folded.last_counts), (9, 69));
    assert_eq!(folded.maps[0].of(&[5]), whole.maps[0].of(&[5]));
    let padding: Vec<usize> = (8..77).collect();
    assert!(furthest(&folded.maps[0].of(&[8]), &whole.maps[0].of(&padding)) < 1e-4);
}

#[test]
fn a_point_looks_somewhere() {
    let before = [before(PROMPT, 2)];
    for at in [(0, 0), (19, 11), (7, 3)] {
        let run = point(&BACKEND, &before, at, &AttentionFilter::default(), &mut Unwatched).unwrap();
        assert_eq!((run.size, run.layers.len(), run.map.len()), ((12, 20), 7, 240));
        assert!((run.map.iter().sum::<f32>() - 1.).abs() < 1e-4 && run.map.iter().all(|v| *v >= 0.));
    }
    // The same from what all pixels look at.
    let mut all = Recorder::new(|path: &Path| path.as_str().ends_with(".attn1.attention_probs"));
    advance(&before[0], &BUNDLED, &mut all).unwrap();
    for (path, probs) in &all.seen {
        let layer = path.as_str().strip_suffix(".attention_probs").unwrap();
        let run = point(&BACKEND, &before, (7, 3), &focus(layer), &mut Unwatched).unwrap();
        let Layer { heads, size: (height, width), .. } = run.layers[0];
        assert_eq!((probs.dim(1).unwrap(), probs.dim(2).unwrap()), (heads, height * width), "{path}");
        let row = probs.i((1, .., 3 * height / 12 * width + 7 * width / 20)).unwrap().mean(0).unwrap();
        let mut large = resized(&row.to_vec1().unwrap(), 1, (height, width), (12, 20)).unwrap();
        large.iter_mut().for_each(|value| *value = value.max(0.));
        let sum: f32 = large.iter().sum();
        large.iter_mut().for_each(|value| *value /= sum);
        assert!(furthest(&run.map, &large) < 1e-6, "{path}");
    }
    let said = |at| {
        point(&BACKEND, &before, at, &AttentionFilter::default(), &mut Unwatched).unwrap_err().to_string()
    };
    assert!(said((20, 0)).contains("expected X 0 to 19, Y 0 to 11"), "{}", said((20, 0)));
    assert!(said((0, 12)).contains("0,12 is no point"));
}

#[test]
fn a_word_does_something_and_padding_nothing() {
    let before = before(PROMPT, 1);
    let run = |positions: &[usize]| effect(&BACKEND, &before, positions, false, &mut Unwatched).unwrap();
    let padding = run(&(8..77).collect::<Vec<_>>());
    assert_eq!(padding.effects.len(), 3);
    assert!(padding.effects.iter().all(|effect| effect.relative == 0.));
    let apple = run(&[2]);
    assert!((apple.replaced_by, apple.by_padding) == (8, true));
    assert!(apple.effects.iter().all(|effect| effect.relative > 1e-4 && effect.map.size == (12, 20)));
    assert_ne!(apple.pictures[0], apple.pictures[1]);
    // The same by hand: the embedding is replaced, and the step runs.
    let embeds = before.tensor("prompt_embeds").unwrap().1;
    let rows: Vec<Tensor> =
        (0..77).map(|i| embeds.narrow(1, if i == 2 { 8 } else { i }, 1).unwrap()).collect();
    let other = before.with_tensor("prompt_embeds", Tensor::cat(&rows, 1).unwrap(), "by hand").unwrap();
    let [was, is] = [&before, &other].map(|before| {
        let run = advance(before, &BUNDLED, &mut Unwatched).unwrap();
        run.last().unwrap().tensor("guided_noise_residual").unwrap().clone()
    });
    let norm = |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
    let relative = f64::from(norm(&(&is - &was).unwrap()) / norm(&was));
    assert!((apple.effects[0].relative / relative - 1.).abs() < 1e-3);
}

#[test]
fn a_prompt_without_padding_says_so() {
    let long = "apple ".repeat(90);
    let mut session = Session::new(
        Arc::clone(&BUNDLED),
        Request { prompt: long, num_inference_steps: 2, ..Request::for_models(&BUNDLED, "") },
    )
    .unwrap();
    session.run_line("goto denoise 1", &mut Unwatched).unwrap();
    let outcome = session.run_line("show effect apple#3", &mut Unwatched).unwrap().unwrap();
    assert!(outcome.warnings[0].contains("fills all 77"), "{:?}", outcome.warnings);
    assert_eq!(outcome.effect().unwrap().replaced_by, 76);
}

/// Answers a query about the inside of a record of `session`.
fn answer(
    query: &InspectQuery,
    session: &Session,
    record: &Arc<StageRecord>,
    host: &mut dyn Probe,
) -> std::result::Result<Inspection, InspectError> {
    query.carry_out(session.timelines(), session.backend(), record, &mut None, host)
}

/// What was done to a run is done once more; what is recorded stays.
#[test]
fn a_step_is_examined_as_it_ran() {
    let request = Request { num_inference_steps: 3, eta: 0.5, ..Request::for_models(&BUNDLED, PROMPT) };
    let mut session = Session::new(Arc::clone(&BUNDLED), request).unwrap();
    for line in ["goto denoise 1", "fork other", "set prompt yellow lemon", "next", "next"] {
        session.run_line(line, &mut Unwatched).unwrap();
    }
    let records = session.timeline().records();
    let of = |index: usize| {
        let asked = InspectQuery::Attention(AttentionFilter::default(), Split::Whole);
        match answer(&asked, &session, &records[index], &mut Unwatched).unwrap() {
            Inspection::Attention(run) => run.tokens[1].text.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((of(2), of(3)), ("red".to_string(), "yellow".to_string()));
    let again = session.timeline().records();
    assert!(records.iter().zip(&again).all(|(a, b)| Arc::ptr_eq(a, b)));
}

fn png(file: &std::path::Path) -> (u32, u32) {
    image::open(file).unwrap().into_rgb8().dimensions()
}

#[test]
fn commands_in_a_batch_with_json_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let path = |name: &str| file(name).display().to_string();
    let commands = format!(
        "goto denoise 2\nshow attention\nshow attention apple step 0 layer up_blocks head 1\nshow attention at 3,4\n\
         show effect blue\nsave attention \"red apple\" \"{}\"\nsave attention apple {}\nsave effect apple {}\n\
         save attention at 8,8 {} over-steps\ninfo tensors\n",
        path("a b.png"),
        path("a.gif"),
        path("e.png"),
        path("p.safetensors"),
    );
    let outcomes = batch(&["--steps", "3", "--prompt", PROMPT], &commands);
    let all = &outcomes[1]["attention"];
    assert_eq!(all["tokens"].as_array().unwrap().len(), 77);
    let shares: f64 = all["tokens"].as_array().unwrap().iter().map(|t| t["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.).abs() < 1e-6 && all["map"].as_array().unwrap().is_empty());
    assert_eq!((&all["tokens"][2]["token"], &all["tokens"][8]["token"]), (&"apple".into(), &"<pad>".into()));
    let apple = &outcomes[2]["attention"];
    assert_eq!((&apple["steps"], &apple["positions"]), (&serde_json::json!([0]), &serde_json::json!([2])));
    assert!(
        apple["layers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|layer| { layer["path"].as_str().unwrap().starts_with("unet.up_blocks.") })
    );
    let map: Vec<Vec<f64>> = serde_json::from_value(apple["map"].clone()).unwrap();
    assert_eq!((map.len(), map[0].len()), (16, 16));
    let (x, y) = (apple["peak"]["x"].as_u64().unwrap(), apple["peak"]["y"].as_u64().unwrap());
    assert!(map.iter().flatten().all(|value| *value <= map[y as usize][x as usize]));
    let point = outcomes[3]["attention"]["map"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()));
    assert!((point.sum::<f64>() - 1.).abs() < 1e-4);
    let effects = outcomes[4]["effect"]["effects"].as_array().unwrap();
    let names: Vec<&Value> = effects.iter().map(|effect| &effect["tensor"]).collect();
    assert_eq!(names, ["guided_noise_residual", "pred_original_sample", "latents"]);
    assert!(effects.iter().all(|effect| effect["correlation"].as_f64().unwrap().abs() <= 1.));
    assert_eq!(png(&file("a b.png")), (256, 256));
    assert!(png(&file("e.png")).0 > 1024);
    let gif = std::fs::read(file("a.gif")).unwrap();
    let decoder = image::codecs::gif::GifDecoder::new(std::io::Cursor::new(gif)).unwrap();
    assert_eq!(image::AnimationDecoder::into_frames(decoder).count(), 2);
    let saved = candle_core::safetensors::load(file("p.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(saved["attention"].dims(), [16, 16]);
    // It only looked.
    assert_eq!(outcomes[9]["position"], "denoise 2");
}

#[test]
fn what_is_not_there_is_told() {
    for (line, said) in [
        (
            "show attention cat",
            "`cat` is not in the prompt; expected red, apple, on, a, blue, background; <start>",
        ),
        ("show attention apple#2", "the prompt has it 1 times"),
        ("show attention 77", "there is no token 77; expected 0 to 76"),
        ("show attention at 16,0", "expected X 0 to 15, Y 0 to 15"),
        (
            "show attention apple layer down_blocks.9",
            "no cross-attention is in `down_blocks.9`; expected one of unet.",
        ),
        ("show attention apple head 99", "no layer there has a head 99"),
        (
            "show attention apple step 2",
            "denoise 2 is not recorded; expected one of denoise 0 to denoise 0, or run it",
        ),
        ("show effect", "no word named"),
        (
            "save attention apple x.jpg",
            "x.jpg: nothing is known of its ending; expected .png, .gif, .safetensors",
        ),
        ("save effect apple x.gif", "expected .png"),
        ("save attention apple no/such/folder/x.png", "no/such/folder"),
        ("save attention apple x.gif step 0", "every recorded step"),
    ] {
        let commands = format!("goto denoise 1\n{line}\n");
        let ran = diffuscope(&["debug", "--batch", "-x", "-", "--steps", "3", "--prompt", PROMPT], &commands);
        assert_eq!(ran.code, Some(1), "{line}");
        let stderr = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(stderr.contains(said), "{line}: {stderr}");
    }
    let ran =
        diffuscope(&["debug", "--batch", "-x", "-", "--steps", "3"], "goto denoise 0\nshow attention\n");
    assert!(ran.stderr.contains("no step of denoise is recorded here; `goto denoise 1`"), "{}", ran.stderr);
}
