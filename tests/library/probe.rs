//! The one seam: everything that a run computes announces itself, can be stopped, and can be changed.

use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::ModelSource;
use diffuscope::checkpoint::layout::Precision;
use diffuscope::nn::attention::ATTENTION_PROBS;
use diffuscope::nn::{Error, Path, Probe, Recorder, Result, Unwatched};
use diffuscope::pipeline::stages::{Run, text_to_image};
use diffuscope::pipeline::{self, InitImage, Models, Request, Snapshot, advance, lines};
use diffuscope::tensor::compare::relative_difference;
use std::collections::BTreeSet;

fn models() -> Models {
    Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap()
}

fn request(models: &Models) -> Request {
    Request { num_inference_steps: 1, ..Request::for_models(models, "red apple") }
}

fn start(models: &Models) -> Snapshot {
    Snapshot::start(request(models), models).unwrap()
}

/// Runs every stage under `probe`.
fn run(models: &Models, probe: &mut dyn Probe) -> std::result::Result<Snapshot, pipeline::Error> {
    run_from(start(models), models, probe)
}

fn run_from(
    mut snapshot: Snapshot,
    models: &Models,
    probe: &mut dyn Probe,
) -> std::result::Result<Snapshot, pipeline::Error> {
    while snapshot.position().is_some() {
        snapshot = advance(&snapshot, models, probe)?;
    }
    Ok(snapshot)
}

fn image(snapshot: &Snapshot) -> Vec<f32> {
    snapshot.tensor("image").unwrap().1.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn text_to_image_makes_the_picture_that_advance_makes() {
    let models = models();
    for (eta, init_image) in [(0., None), (0.7, None), (0.3, Some(InitImage::open("sample:house").unwrap()))]
    {
        let request = Request { num_inference_steps: 3, eta, init_image, ..request(&models) };
        let start = Snapshot::start(request.clone(), &models).unwrap();
        let run = Run { models: &models, request: &request, scheduler: start.scheduler() };
        let whole: Vec<f32> =
            text_to_image(run, &mut Unwatched).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let stages = image(&run_from(start.clone(), &models, &mut Unwatched).unwrap());
        assert!(whole.iter().zip(&stages).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert_eq!(whole.len(), stages.len());
    }
}

/// Supplies zeros as the latents of every step.
struct Supplying;

impl Probe for Supplying {
    fn wants(&self, path: &Path) -> bool {
        *path == *lines::SCHEDULER_STEP
    }
    fn intercept(&mut self, _: &Path, inputs: &[&Tensor]) -> Result<Option<Tensor>> {
        Ok(Some(inputs[2].zeros_like()?))
    }
}

#[test]
fn a_step_whose_latents_are_supplied_keeps_its_other_values() {
    let models = models();
    let (usual, supplied) = (run(&models, &mut Unwatched).unwrap(), run(&models, &mut Supplying).unwrap());
    let values = |snapshot: &Snapshot, name: &str| -> Vec<f32> {
        snapshot.tensor(name).unwrap().1.flatten_all().unwrap().to_vec1().unwrap()
    };
    assert!(values(&supplied, "latents").iter().all(|x| *x == 0.));
    let of_step = "pred_original_sample";
    assert_eq!(values(&supplied, of_step), values(&usual, of_step));
}

#[test]
fn every_module_with_weights_and_every_line_is_seen_under_its_diffusers_path() {
    let models = models();
    let mut recorder = Recorder::new(|_: &Path| true);
    run(&models, &mut recorder).unwrap();
    // A run from a picture encodes it.
    let init_image = Some(InitImage::open("sample:house").unwrap());
    let from_picture = Request { init_image, strength: 1., ..request(&models) };
    run_from(Snapshot::start(from_picture, &models).unwrap(), &models, &mut recorder).unwrap();
    let seen: BTreeSet<String> = recorder.seen.iter().map(|(path, _)| path.to_string()).collect();

    for line in lines::ALL {
        assert!(seen.contains(*line), "the line {line} was not seen");
    }
    for component in ["text_encoder", "unet", "vae"] {
        let file = ModelSource::Bundled.weights(component, Precision::Full).unwrap();
        let mut modules = 0;
        for (key, _) in file.tensors() {
            let module = key.strip_suffix(".weight").or(key.strip_suffix(".bias")).unwrap();
            let module = module.strip_prefix("text_model.").unwrap_or(module);
            assert!(seen.contains(&format!("{component}.{module}")), "{component}.{module} was not seen");
            modules += 1;
        }
        assert!(modules > 10, "{component} has only {modules}");
    }
    for block in [
        "unet",
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2",
        "unet.up_blocks.2.resnets.1",
        "vae.decoder.up_blocks.3",
    ] {
        assert!(seen.contains(block), "{block} was not seen");
    }
}

#[test]
fn watching_changes_nothing() {
    let models = models();
    let unwatched = image(&run(&models, &mut Unwatched).unwrap());
    // An attention that is asked what it attends to writes it out, and is computed plainly.
    let is_plain = |path: &Path| path.as_str().ends_with(ATTENTION_PROBS);
    let watched = image(&run(&models, &mut Recorder::new(|path: &Path| !is_plain(path))).unwrap());
    assert_eq!(watched, unwatched);
    let watched = image(&run(&models, &mut Recorder::new(|_: &Path| true)).unwrap());
    assert!(relative_difference(&watched, &unwatched) < 1e-5);
}

/// Fails at one piece, as an interruption does.
struct StopAt(&'static str);

impl Probe for StopAt {
    fn wants(&self, path: &Path) -> bool {
        path.as_str() == self.0
    }
    fn enter(&mut self, path: &Path, _: &[&Tensor]) -> Result<()> {
        Err(Error::Interrupted(path.clone()))
    }
}

#[test]
fn an_interruption_leaves_the_snapshot_as_it_was() {
    let models = models();
    let mut snapshot = start(&models);
    for _ in 0..2 {
        snapshot = advance(&snapshot, &models, &mut Unwatched).unwrap();
    }
    let stopped = advance(&snapshot, &models, &mut StopAt("unet.mid_block"));
    assert!(
        matches!(stopped, Err(pipeline::Error::Forward(Error::Interrupted(path))) if path.as_str() == "unet.mid_block")
    );
    assert_eq!(snapshot.records().len(), 2);
    let after = advance(&snapshot, &models, &mut Unwatched).unwrap();
    let whole = run(&models, &mut Unwatched).unwrap();
    let latents = |s: &Snapshot| {
        s.tensor("denoise.000/latents").unwrap().1.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(latents(&after), latents(&whole));
}

/// Puts zeros in the place of one output.
struct Zero(&'static str);

impl Probe for Zero {
    fn wants(&self, path: &Path) -> bool {
        path.as_str() == self.0
    }
    fn exit(&mut self, _: &Path, output: Tensor) -> Result<Tensor> {
        Ok(output.zeros_like()?)
    }
}

#[test]
fn what_a_probe_returns_is_used_instead() {
    let models = models();
    let whole = image(&run(&models, &mut Unwatched).unwrap());
    for path in ["unet.mid_block", "denoise.guidance", "denoise.scheduler_step", "vae.decoder.conv_in"] {
        let edited = image(&run(&models, &mut Zero(path)).unwrap());
        assert_ne!(whole, edited, "{path}");
    }
    // Nothing left of the picture: gray is 0.5 after denormalize.
    let gray = image(&run(&models, &mut Zero("vae_decode.decode")).unwrap());
    assert!(gray.iter().all(|&v| v == 0.5));
}
