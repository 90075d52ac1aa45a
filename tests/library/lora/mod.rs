//! LoRAs in every layout against diffusers with merged weights, and against diffusers' own loader.

mod layouts;

use crate::differences::Differences;
use crate::fixture::Fixture;
use crate::support::checkpoint::{Checkpoint, checkpoint};
use crate::support::fixture::json as fixture;
use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::changed::Changes;
use diffuscope::checkpoint::lora::LoraFile;
use diffuscope::checkpoint::lora::diffusers::{Difference, differences};
use diffuscope::checkpoint::{LoadError, ModelSource};
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::{Lockstep, Models, Request, Setting, Snapshot, advance};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tempfile::tempdir;

/// A whole run against diffusers.
const RUN: f64 = 1e-3;
const LAYOUTS: [&str; 7] =
    ["kohya", "ldm", "comfy", "diffusers", "peft", "peft metadata", "attention processors"];

fn load(base: &Checkpoint, loras: &[(&Path, f64)]) -> Result<Models, LoadError> {
    let open = |(path, scale): &(&Path, f64)| LoraFile::open(path, *scale);
    let loras = loras.iter().map(open).collect::<Result<_, _>>()?;
    let source =
        ModelSource::parse_changed(base.path().to_str().unwrap(), &Changes { loras, ..Changes::default() })?;
    Models::load(source, Device::Cpu, DType::F32)
}

fn request(models: &Models, fixture: &Fixture) -> Request {
    let setting = |key: &str| fixture.setting(key).to_string();
    Request {
        negative_prompt: setting("negative_prompt"),
        height: setting("height").parse().unwrap(),
        width: setting("width").parse().unwrap(),
        num_inference_steps: setting("num_inference_steps").parse().unwrap(),
        guidance_scale: setting("guidance_scale").parse().unwrap(),
        seed: setting("seed").parse().unwrap(),
        ..Request::for_models(models, setting("prompt"))
    }
}

/// The prompt's embeddings in three rows, and the last latents.
fn run(models: &Models, request: Request) -> (Tensor, Tensor) {
    let mut snapshot = Snapshot::start(request, models).unwrap();
    let steps = snapshot.request().num_inference_steps;
    for _ in 0..steps + 2 {
        snapshot = advance(&snapshot, models, &mut Unwatched).unwrap();
    }
    results(&snapshot)
}

fn results(snapshot: &Snapshot) -> (Tensor, Tensor) {
    let tensor = |name: &str| snapshot.tensor(name).unwrap().1.clone();
    let rows = Tensor::new(&[0u32, 5, 76], &Device::Cpu).unwrap();
    let embeds = tensor("prompt_embeds").squeeze(0).unwrap().index_select(&rows, 0).unwrap();
    (embeds, tensor("latents"))
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

fn assert_near((embeds, latents): (Tensor, Tensor), fixture: &Fixture, name: &str) {
    let mut differences = Differences::default();
    differences.note(&embeds, fixture.tensor(&format!("{name}/prompt_embeds")), &format!("{name}: embeds"));
    differences.note(&latents, fixture.tensor(&format!("{name}/latents")), &format!("{name}: latents"));
    differences.assert_within(RUN);
}

#[test]
fn every_layout_is_as_merged_weights() {
    let (base, folder, fixture) = (checkpoint("sd1"), tempdir().unwrap(), Fixture::open("lora"));
    let table = crate::support::fixture::json("lora");
    for layout in LAYOUTS {
        let path = layouts::file(folder.path(), layout);
        let models = load(&base, &[(&path, 1.)]).unwrap();
        let coverage = &models.loras[0].coverage;
        assert_eq!(coverage.left_over, [], "{layout}");
        let expected: BTreeSet<&str> =
            table["keys"][layout].as_array().unwrap().iter().map(|row| row[0].as_str().unwrap()).collect();
        let found: BTreeSet<&str> = coverage.modules.iter().map(|touched| touched.path.as_str()).collect();
        assert_eq!(found, expected, "{layout}");
        if ["kohya", "ldm", "comfy"].contains(&layout) {
            for touched in &coverage.modules {
                let ratio = table["modules"][&touched.path]["ratio"].as_f64().unwrap();
                let ours = touched.ratio();
                assert!((ours / ratio - 1.).abs() < 1e-4, "{layout} {}: {ours} for {ratio}", touched.path);
            }
        }
        let name = match layout {
            "kohya" | "ldm" | "comfy" => "kohya 1".into(),
            "peft" => "diffusers 1".into(),
            other => format!("{other} 1"),
        };
        assert_near(run(&models, request(&models, &fixture)), &fixture, &name);
    }
}

#[test]
fn every_scale_is_as_merged_weights_and_0_is_the_base_to_the_bit() {
    let (base, folder, fixture) = (checkpoint("sd1"), tempdir().unwrap(), Fixture::open("lora"));
    let path = layouts::file(folder.path(), "kohya");
    let models = load(&base, &[(&path, 1.)]).unwrap();
    let of_scale = |scale: &str| {
        let mut request = request(&models, &fixture);
        Setting::find("lora.kohya").unwrap().parse_into(scale, &mut request).unwrap();
        request
    };
    for scale in ["-1", "0.5", "1", "2"] {
        assert_near(run(&models, of_scale(scale)), &fixture, &format!("kohya {scale}"));
    }
    let plain = load(&base, &[]).unwrap();
    let (embeds, latents) = run(&plain, request(&plain, &fixture));
    let (embeds_0, latents_0) = run(&models, of_scale("0"));
    assert_eq!((bits(&embeds), bits(&latents)), (bits(&embeds_0), bits(&latents_0)));
    assert_near((embeds, latents), &fixture, "base");
    // In lockstep, runs of other scales share nothing that differs.
    let scales = ["0", "0.5", "0.5", "2"];
    let mut all: Vec<Snapshot> =
        scales.iter().map(|scale| Snapshot::start(of_scale(scale), &models).unwrap()).collect();
    let mut lockstep = Lockstep::new(&models, (8, 8), Some(8));
    for _ in 0..5 {
        all = lockstep.advance(&all.iter().collect::<Vec<_>>(), &models, &mut Unwatched).unwrap();
    }
    for (scale, snapshot) in scales.iter().zip(&all) {
        let name = if *scale == "0" { "base".into() } else { format!("kohya {scale}") };
        assert_near(results(snapshot), &fixture, &name);
    }
    // Two runs are the same, two of each step's eight rows.
    assert_eq!((lockstep.rows().computed, lockstep.rows().apart), (3 * 6, 3 * 8));
}

#[test]
fn two_at_once() {
    let (base, folder, fixture) = (checkpoint("sd1"), tempdir().unwrap(), Fixture::open("lora"));
    let paths = ["kohya", "attention processors"].map(|layout| layouts::file(folder.path(), layout));
    let models = load(&base, &[(&paths[0], 0.7), (&paths[1], -0.5)]).unwrap();
    assert_near(run(&models, request(&models, &fixture)), &fixture, "two");
    // Of the same name, the second gets a number.
    let models = load(&base, &[(&paths[0], 0.7), (&paths[0], -0.7)]).unwrap();
    let names: Vec<&str> = models.loras.iter().map(|lora| lora.name.as_str()).collect();
    assert_eq!(names, ["kohya", "kohya-2"]);
    assert_near(run(&models, request(&models, &fixture)), &fixture, "base");
}

/// A scale that changes mid-run: the steps before are the base's, those after are not, and the prompt is encoded again.
#[test]
fn a_scale_changes_in_the_middle_of_a_run() {
    let (base, folder, fixture) = (checkpoint("sd1"), tempdir().unwrap(), Fixture::open("lora"));
    let path = layouts::file(folder.path(), "kohya");
    let models = load(&base, &[(&path, 0.)]).unwrap();
    let mut snapshot = Snapshot::start(request(&models, &fixture), &models).unwrap();
    for _ in 0..3 {
        snapshot = advance(&snapshot, &models, &mut Unwatched).unwrap();
    }
    let mut changed = snapshot.request().clone();
    Setting::find("lora.kohya").unwrap().parse_into("2", &mut changed).unwrap();
    let fork = snapshot.with_request(changed, &models).unwrap();
    assert!(!fork.is_encoded() && snapshot.is_encoded());
    let next = |snapshot: &Snapshot| results(&advance(snapshot, &models, &mut Unwatched).unwrap());
    let ((embeds, latents), (embeds_0, latents_0)) = (next(&fork), next(&snapshot));
    assert!(bits(&embeds) != bits(&embeds_0) && bits(&latents) != bits(&latents_0));
    let mut differences = Differences::default();
    differences.note(&embeds, fixture.tensor("kohya 2/prompt_embeds"), "embeds");
    differences.assert_within(RUN);
}

/// What diffusers' loader was seen to do, module by module, is what we say of it.
#[test]
fn what_diffusers_does_otherwise_is_said() {
    let folder = tempdir().unwrap();
    let table = fixture("lora");
    let told = |path: &Path| -> BTreeMap<String, Option<f64>> {
        let file = LoraFile::open(path, 1.).unwrap();
        let of = |(place, difference): (usize, Difference)| {
            let update = &file.updates[place];
            let factor = match difference {
                Difference::Factor(factor) => Some(factor),
                Difference::Dropped => None,
            };
            (format!("{}.{}", update.component.unwrap().name(), update.module), factor)
        };
        differences(&file).into_iter().map(of).collect()
    };
    let seen = |layout: &str| -> BTreeMap<String, Option<f64>> {
        let rows = table["diffusers"][layout].as_object().unwrap().iter();
        let name = |module: &str| {
            let (component, module) = module.split_once('.').unwrap();
            let text_model = if component == "text_encoder" { "text_model_" } else { "" };
            format!("{component}.{text_model}{}", module.replace('.', "_"))
        };
        rows.map(|(module, factors)| (name(module), factors[0].as_f64())).collect()
    };
    for layout in ["kohya", "diffusers", "peft", "peft metadata"] {
        assert_eq!(told(&layouts::file(folder.path(), layout)), seen(layout), "{layout}");
    }
    assert_eq!(seen("kohya").len(), 8);
    let mut tensors = layouts::tensors("kohya");
    tensors.retain(|key, _| !key.contains("out_proj") && !key.ends_with(".alpha"));
    assert_eq!(told(&layouts::write(folder.path(), "x", &tensors, None)), seen("without out_proj"));
    // The factor that is ours is the file's.
    let file = LoraFile::open(&layouts::file(folder.path(), "kohya"), 1.).unwrap();
    for (module, factors) in table["diffusers"]["kohya"].as_object().unwrap() {
        let end = module.split_once('.').unwrap().1.replace('.', "_");
        let update = file.updates.iter().find(|update| update.module.ends_with(&end)).unwrap();
        assert_eq!(Value::from(update.factor), factors[1], "{module}");
    }
}
