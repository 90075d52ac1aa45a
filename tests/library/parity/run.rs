//! Runs against diffusers' `StableDiffusionPipeline`: whole ones, and stage by stage on the reference's own inputs.

use crate::differences::Differences;
use crate::fixture::Fixture;
use crate::support::checkpoint::checkpoint;
use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::ModelSource;
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::stages::{self, FirstLatents, Run};
use diffuscope::pipeline::{InitImage, Models, Request, Snapshot, advance};
use diffuscope::scheduler::{History, StepInput};
use diffuscope::tensor::Generator;

/// A stage on the reference's own input, in f32 on the CPU.
const STAGE: f64 = 1e-4;
/// The scheduler's step alone.
const SCHEDULER_STEP: f64 = 1e-5;
/// Noise put on the reference's own latents, and the noise itself.
const ADD_NOISE: f64 = 1e-6;
/// A whole run, in which every difference is carried on.
const RUN: f64 = 1e-3;
/// A pixel of the picture, in 255ths.
const PIXEL: f32 = 2.;

#[test]
fn pocket() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket");
    agree("pocket", &ModelSource::parse(folder).unwrap(), "run");
}

#[test]
fn sd1() {
    let folder = checkpoint("sd1");
    agree("sd1", &folder.source(), "run");
    // With eta over 0: every step draws fresh noise from the generator that drew the latents.
    agree("sd1", &folder.source(), "run_eta");
}

#[test]
fn sd2() {
    agree("sd2", &checkpoint("sd2").source(), "run");
}

/// 72×40 pixels, so latents of 9×5.
#[test]
fn odd() {
    agree("odd", &checkpoint("odd").source(), "run");
}

/// PNDM's files, as Stable Diffusion 1 and BK-SDM-Tiny have them, with DDIM in the place of PNDM.
#[test]
fn old_and_tiny() {
    agree("old", &checkpoint("old").source(), "run");
    agree("tiny", &checkpoint("tiny").source(), "run");
}

/// SD-Turbo's preset, which diffusers is given by hand: one step that ends at the picture, and no guidance; and four. DDIM takes
/// the place of Euler.
#[test]
fn turbo() {
    let folder = checkpoint("turbo");
    let models = Models::load(folder.source(), Device::Cpu, DType::F32).unwrap();
    let wanted = request(&Fixture::open("turbo"), "run");
    let usual = Request::for_models(&models, wanted.prompt.clone());
    assert_eq!(Request { seed: wanted.seed, scheduler: wanted.scheduler.clone(), ..usual }, wanted);
    agree("turbo", &folder.source(), "run");
    agree("turbo", &folder.source(), "run_four");
}

/// A latent consistency model, whose UNet takes the guidance scale: the checkpoint's own scheduler, and no factor afterwards.
#[test]
fn lcm() {
    let models = Models::load(checkpoint("lcm").source(), Device::Cpu, DType::F32).unwrap();
    let fixture = Fixture::open("lcm");
    for run in ["run", "run_three"] {
        let request = Request { scheduler: models.scheduler.clone(), ..request(&fixture, run) };
        let theirs = |key: &str| fixture.tensor(&format!("{run}/{key}"));
        let mut embedding = Differences::default();
        let timestep_cond = stages::timestep_cond(&models, request.guidance_scale).unwrap().unwrap();
        embedding.note(&timestep_cond, theirs("timestep_cond"), "timestep_cond");
        embedding.assert_within(STAGE);

        let scheduler = request.check(&models).unwrap();
        let timesteps: Vec<i64> = scheduler.timesteps().iter().map(|&t| t as i64).collect();
        assert_eq!(timesteps, fixture.i64(&format!("{run}/timesteps")));
        whole(&models, &fixture, request, run, &["latents", "uncond_residual", "guided_noise_residual"]);
    }
    assert!(models.modules.iter().any(|path| path.as_str() == "unet.time_embedding.cond_proj"));
    let cond_proj =
        models.anatomy.iter().find(|module| module.path == "unet.time_embedding.cond_proj").unwrap();
    assert_eq!((cond_proj.class, cond_proj.parameters), ("Linear", Some(32 * 8)));
}

/// Image to image, against `StableDiffusionImg2ImgPipeline`: the encoder's draw, the noise, the steps that are left.
#[test]
fn pocket_img2img() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket");
    let models = Models::load(ModelSource::parse(folder).unwrap(), Device::Cpu, DType::F32).unwrap();
    let fixture = Fixture::open("pocket_img2img");
    // In the second every step draws fresh noise, after what the encoder and the noise drew.
    for run in ["run", "run_eta"] {
        let setting = |key: &str| fixture.setting(&format!("{run}/{key}"));
        let request = Request {
            init_image: Some(InitImage::open(&format!("sample:{}", setting("sample"))).unwrap()),
            strength: setting("strength").parse().unwrap(),
            ..request(&fixture, run)
        };
        noised(&models, &fixture, &request, run);
        whole(&models, &fixture, request, run, &["latents", "guided_noise_residual", "pred_original_sample"]);
    }
}

/// `get_latent` of a run that starts from a picture, and its last line fed with what diffusers fed its own.
fn noised(models: &Models, fixture: &Fixture, request: &Request, name: &str) {
    let theirs = |key: &str| fixture.tensor(&format!("{name}/{key}"));
    let scheduler = request.check(models).unwrap();
    let run = Run { models, request, scheduler: &*scheduler };
    let timesteps = &scheduler.timesteps()[request.steps()];
    let expected: Vec<f64> =
        fixture.i64(&format!("{name}/timesteps")).into_iter().map(|t| t as f64).collect();
    assert_eq!(timesteps, expected);

    let made = stages::get_latent(run, &mut Unwatched).unwrap();
    let mut stage = Differences::default();
    stage.note(&made.init_latents.unwrap(), theirs("init_latents"), "init_latents");
    stage.note(&made.latents, theirs("latents"), "noised latents");
    stage.assert_within(STAGE);

    let mut alone = Differences::default();
    alone.note(&made.noise, theirs("noise"), "noise");
    let noisy = scheduler.add_noise(theirs("init_latents"), theirs("noise"), request.steps().start).unwrap();
    alone.note(&noisy, theirs("latents"), "add_noise");
    alone.assert_within(ADD_NOISE);
}

fn agree(name: &str, source: &ModelSource, run: &str) {
    let models = Models::load(source.clone(), Device::Cpu, DType::F32).unwrap();
    let fixture = Fixture::open(name);
    let ddim = models.scheduler.named("ddim").unwrap();
    let config = match name {
        "turbo" => ddim.config().with("set_alpha_to_one", "true").unwrap(),
        _ => ddim.config().clone(),
    };
    let request = Request { scheduler: ddim.with_config(config), ..request(&fixture, run) };
    stage_by_stage(&models, &fixture, &request, run);
    let of_steps =
        ["latents", "uncond_residual", "text_cond_residual", "guided_noise_residual", "pred_original_sample"];
    whole(&models, &fixture, request, run, &of_steps);
}

/// The fixture's settings.
fn request(fixture: &Fixture, run: &str) -> Request {
    let setting = |key: &str| fixture.setting(&format!("{run}/{key}")).to_string();
    Request {
        prompt: setting("prompt"),
        negative_prompt: setting("negative_prompt"),
        height: setting("height").parse().unwrap(),
        width: setting("width").parse().unwrap(),
        num_inference_steps: setting("num_inference_steps").parse().unwrap(),
        guidance_scale: setting("guidance_scale").parse().unwrap(),
        seed: setting("seed").parse().unwrap(),
        eta: setting("eta").parse().unwrap(),
        ..Request::default()
    }
}

/// Every stage once, fed with what diffusers fed its own.
fn stage_by_stage(models: &Models, fixture: &Fixture, request: &Request, name: &str) {
    let theirs = |key: &str| fixture.tensor(&format!("{name}/{key}"));
    let scheduler = request.check(models).unwrap();
    let run = Run { models, request, scheduler: &*scheduler };
    let timesteps: Vec<i64> = scheduler.timesteps().iter().map(|&t| t as i64).collect();
    assert_eq!(timesteps, fixture.i64(&format!("{name}/timesteps")));
    let (mut stage, mut step_alone) = (Differences::default(), Differences::default());

    let encoded = stages::encode_prompt(run, &mut Unwatched).unwrap();
    stage.note(&encoded.prompt_embeds, theirs("prompt_embeds"), "prompt_embeds");
    stage.note(&encoded.negative_prompt_embeds, theirs("negative_prompt_embeds"), "negative_prompt_embeds");
    let FirstLatents { latents, mut generator, .. } = stages::get_latent(run, &mut Unwatched).unwrap();
    step_alone.note(&latents, theirs("latents"), "the first latents");

    let embeds = (theirs("negative_prompt_embeds"), theirs("prompt_embeds"));
    let mut latents = theirs("latents").clone();
    let history = History::default();
    for step in 0..request.num_inference_steps {
        let at = |key: &str| theirs(&format!("denoise.{step:03}/{key}"));
        let before = generator.clone();
        let made =
            stages::denoise(run, step, &latents, embeds, &history, &mut generator, &mut Unwatched).unwrap();
        stage.note(&made.uncond_residual, at("uncond_residual"), "uncond_residual");
        stage.note(&made.text_cond_residual, at("text_cond_residual"), "text_cond_residual");

        let noise = fresh_noise(before, &latents, request.eta);
        let model_output = at("guided_noise_residual");
        let input = StepInput { index: step, model_output, sample: &latents, noise: noise.as_ref() };
        let alone = scheduler.step(input, &history).unwrap();
        for name in ["pred_original_sample", "pred_epsilon"] {
            step_alone.note(alone.tensor(name).unwrap(), at(name), name);
        }
        step_alone.note(&alone.prev_sample, at("latents"), "prev_sample");
        latents = at("latents").clone();
    }
    let image = stages::vae_decode(models, &latents, &mut Unwatched).unwrap();
    stage.note(&image, theirs("image"), "image");
    stage.assert_within(STAGE);
    step_alone.assert_within(SCHEDULER_STEP);
}

/// The noise of a step, where eta asks for some.
fn fresh_noise(mut generator: Generator, latents: &Tensor, eta: f64) -> Option<Tensor> {
    let draw =
        || Tensor::from_vec(generator.randn(latents.elem_count()), latents.dims(), &Device::Cpu).unwrap();
    (eta > 0.).then(draw)
}

/// A run of our own from the settings to the picture, with these tensors of each step.
fn whole(models: &Models, fixture: &Fixture, request: Request, name: &str, of_steps: &[&str]) {
    let mut snapshot = Snapshot::start(request, models).unwrap();
    while snapshot.position().is_some() {
        snapshot = advance(&snapshot, models, &mut Unwatched).unwrap();
    }
    let mut differences = Differences::default();
    let ours = |key: &str| snapshot.tensor(key).unwrap_or_else(|| panic!("{key} was not made")).1;
    for step in snapshot.request().steps() {
        for tensor in of_steps {
            let key = format!("denoise.{step:03}/{tensor}");
            differences.note(ours(&key), fixture.tensor(&format!("{name}/{key}")), &key);
        }
    }
    differences.assert_within(RUN);

    let bytes = |image: &Tensor| -> Vec<f32> {
        let values: Vec<f32> = image.flatten_all().unwrap().to_vec1().unwrap();
        values.into_iter().map(|v| (v * 255.).round_ties_even()).collect()
    };
    let (ours, theirs) = (bytes(ours("image")), bytes(fixture.tensor(&format!("{name}/image"))));
    assert_eq!(ours.len(), theirs.len());
    let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
    println!("{:40} {worst}/255", "largest difference of a pixel");
    assert!(worst <= PIXEL, "a pixel differs by {worst}/255");
}
