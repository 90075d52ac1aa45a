//! The whole pipeline: prompts → embeddings, seed → noise, noise → latents of an image, latents → image.
//!
//! Names follow diffusers' `StableDiffusionPipeline` and the article that this program is based on.

use super::{Error, Models, Request, lines};
use crate::model::unet::embeddings::get_guidance_scale_embedding;
use crate::nn::{Probe, watch};
use crate::scheduler::{History, Scheduler, Step, StepInput};
use crate::tensor::Generator;
use candle_core::{DType, Tensor};

/// The context of every stage: models, settings, and the scheduler of these settings.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The models.
    pub models: &'a Models,
    /// The settings.
    pub request: &'a Request,
    /// The scheduler.
    pub scheduler: &'a dyn Scheduler,
}

/// The whole run: prompts → an image (1, 3, H, W) with values from 0 to 1. `advance` runs the same stages one at a time, with a
/// bit-identical result.
///
/// # Errors
/// Those of the stages.
pub fn text_to_image(run: Run<'_>, probe: &mut dyn Probe) -> Result<Tensor, Error> {
    let prompt = encode_prompt(run, probe)?;
    let FirstLatents { mut latents, mut generator, .. } = get_latent(run, probe)?;
    let embeds = (&prompt.negative_prompt_embeds, &prompt.prompt_embeds);
    let mut history = History::default();
    for step in run.request.steps() {
        let denoised = denoise(run, step, &latents, embeds, &history, &mut generator, probe)?;
        Step { prev_sample: latents, history, .. } = denoised.step;
    }
    vae_decode(run.models, &latents, probe)
}

/// The result of [`encode_prompt`].
pub struct EncodedPrompt {
    /// Ids of the prompt: (1, 77), or with a syntax that splits long prompts (1, 77·n).
    pub input_ids: Tensor,
    /// Ids of the negative prompt: as many.
    pub negative_input_ids: Tensor,
    /// Embeddings of the prompt: (1, 77·n, C).
    pub prompt_embeds: Tensor,
    /// Embeddings of the negative prompt: (1, 77·n, C).
    pub negative_prompt_embeds: Tensor,
    /// The weights of the tokens of the prompt, and of the negative prompt, if one is not 1: (1, 77·n).
    pub weights: Option<[Tensor; 2]>,
    /// The text of the prompt, and of the negative prompt, that did not fit.
    pub cut: [Option<String>; 2],
    /// The tokenizer's warnings about the prompt, and about the negative prompt.
    pub warnings: [Vec<String>; 2],
}

/// The prompt and the negative prompt → the embeddings to which the UNet attends: (1, 77, C) each. With another `prompt_syntax`
/// than `plain`, n chunks of 77 are concatenated, and words have weights.
///
/// # Errors
/// When a prompt cannot be tokenized, or the text encoder fails.
pub fn encode_prompt(run: Run<'_>, probe: &mut dyn Probe) -> Result<EncodedPrompt, Error> {
    let Run { models, request, .. } = run;
    let texts = [&*request.negative_prompt, &*request.prompt];
    let prompts = request.prompt_syntax.tokenize(texts, &models.tokenizer)?;

    let input_ids = watch(probe, &lines::TOKENIZE, &[], |_| Ok(prompts.input_ids(&models.device)?))?;

    // One row for each prompt; with another syntax than `plain` a row for each chunk of 77 ids, and those that weights need.
    let rows = prompts.rows(&input_ids, request.clip_skip, &models.text_encoder)?;
    let embeds = watch(probe, &lines::TEXT_ENCODER, &[&input_ids], |probe| {
        let (input_ids, mask, clip_skip) = rows.inputs();
        let hidden = models.text_encoder.forward(input_ids, mask, clip_skip, probe)?;
        Ok(rows.embeddings(&hidden)?)
    })?;

    let weights = prompts.weights(&models.device)?;
    let [negative, prompt] = prompts.of_both;

    Ok(EncodedPrompt {
        negative_input_ids: input_ids.narrow(0, 0, 1)?,
        input_ids: input_ids.narrow(0, 1, 1)?,
        negative_prompt_embeds: embeds.narrow(0, 0, 1)?,
        prompt_embeds: embeds.narrow(0, 1, 1)?,
        weights,
        cut: [prompt.cut, negative.cut],
        warnings: [prompt.warnings, negative.warnings],
    })
}

/// The result of [`get_latent`].
pub struct FirstLatents {
    /// The start image, if any, with values from 0 to 1: (1, 3, H, W).
    pub init_image: Option<Tensor>,
    /// The latents of the start image: (1, 4, h, w).
    pub init_latents: Option<Tensor>,
    /// The noise drawn from the seed: (1, 4, h, w).
    pub noise: Tensor,
    /// The input of the first step: (1, 4, h, w).
    pub latents: Tensor,
    /// The generator after these draws.
    pub generator: Generator,
}

/// A seed → noise of an eighth of the image's height and width: (1, 4, h, w). With a start image, its latents at the noise level
/// of the first step (diffusers `StableDiffusionImg2ImgPipeline`).
///
/// # Errors
/// When the device fails.
pub fn get_latent(run: Run<'_>, probe: &mut dyn Probe) -> Result<FirstLatents, Error> {
    let Run { models, request, scheduler } = run;
    let mut generator = Generator::manual_seed(request.seed.folded());
    let (channels, scale) = (models.vae.config().latent_channels, models.vae.config().scale_factor());
    let shape = [1, channels, request.height / scale, request.width / scale];

    // Image to image: sample from the encoder's distribution of latents, with the generator's first numbers.
    let image = request.init_image.as_ref();
    let init_image =
        image.map(|image| image.tensor(request.height, request.width, &models.device)).transpose()?;
    let init_latents = match &init_image {
        Some(init_image) => {
            let sample = randn(&mut generator, &shape, models)?;
            Some(watch(probe, &lines::ENCODE, &[init_image], |probe| {
                let x = ((init_image * 2.)? - 1.)?.to_dtype(models.dtype)?;
                let latent_dist = models.vae.encode(&x, probe)?;
                Ok((latent_dist.sample(&sample)? * models.vae.config().scaling_factor)?)
            })?)
        }
        None => None,
    };

    let noise = watch(probe, &lines::RANDN, &[], |_| Ok(randn(&mut generator, &shape, models)?))?;

    let latents = match (&init_latents, request.steps().next()) {
        // Text to image: noise alone.
        (None, _) => (&noise * scheduler.init_noise_sigma())?,
        (Some(init_latents), Some(t_start)) => {
            let timestep = timestep(scheduler.timesteps()[t_start], models)?;
            watch(probe, &lines::ADD_NOISE, &[init_latents, &noise, &timestep], |_| {
                Ok(scheduler.add_noise(init_latents, &noise, t_start)?)
            })?
        }
        // Strength 0: no step follows that could remove noise.
        (Some(init_latents), None) => init_latents.clone(),
    };
    Ok(FirstLatents { init_image, init_latents, noise, latents, generator })
}

/// The result of [`denoise`]: (1, 4, h, w) each.
pub struct Denoised {
    /// The UNet's prediction without the prompt: the noise ε, or v for a v-prediction model.
    pub uncond_residual: Tensor,
    /// The UNet's prediction with the prompt.
    pub text_cond_residual: Tensor,
    /// The combination of both by classifier-free guidance; of a latent consistency model `text_cond_residual` alone.
    pub guided_noise_residual: Tensor,
    /// The scheduler's step with its intermediate values. `prev_sample` is the next step's latents.
    pub step: Step,
}

/// One call of the UNet and the scheduler's step: latents → less noisy latents, both (1, 4, h, w). `history` is what the scheduler
/// remembers of the steps before.
///
/// # Errors
/// When the device fails.
pub fn denoise(
    run: Run<'_>,
    step: usize,
    latents: &Tensor,
    (negative_prompt_embeds, prompt_embeds): (&Tensor, &Tensor),
    history: &History,
    generator: &mut Generator,
    probe: &mut dyn Probe,
) -> Result<Denoised, Error> {
    let Run { models, request, scheduler } = run;
    let t = scheduler.timesteps()[step];

    // The UNet predicts twice in one batch: without the prompt and with it.
    let latent_model_input = scheduler.scale_model_input(latents, step)?;
    let latent_model_input =
        Tensor::cat(&[&latent_model_input, &latent_model_input], 0)?.to_dtype(models.dtype)?;
    let prompt_embeds = Tensor::cat(&[negative_prompt_embeds, prompt_embeds], 0)?;
    let timestep_cond = timestep_cond(models, request.guidance_scale)?;
    let mut inputs = vec![&latent_model_input, &prompt_embeds];
    inputs.extend(&timestep_cond);
    let residual = watch(probe, &lines::UNET, &inputs, |probe| {
        let residual =
            models.unet.forward(&latent_model_input, t, &prompt_embeds, timestep_cond.as_ref(), probe)?;
        Ok(residual.to_dtype(DType::F32)?)
    })?;
    let (uncond_residual, text_cond_residual) = (residual.narrow(0, 0, 1)?, residual.narrow(0, 1, 1)?);

    // Classifier-free guidance (Ho and Salimans, 2022, equation 6); the paper's weight is w = guidance_scale − 1.
    let guided_noise_residual =
        watch(probe, &lines::GUIDANCE, &[&uncond_residual, &text_cond_residual], |_| {
            // A latent consistency model was trained to predict the guided residual: the scale was an input, and is no factor.
            if timestep_cond.is_some() {
                return Ok(text_cond_residual.clone());
            }
            let push = (&text_cond_residual - &uncond_residual)?;
            Ok((&uncond_residual + (push * request.guidance_scale)?)?)
        })?;

    // The scheduler removes some of the predicted noise.
    let noise = scheduler.draws_noise(step).then(|| randn(generator, latents.dims(), models)).transpose()?;
    let timestep = timestep(t, models)?;
    let model_output = &guided_noise_residual;
    let input = StepInput { index: step, model_output, sample: latents, noise: noise.as_ref() };
    let mut computed = None;
    let prev_sample =
        watch(probe, &lines::SCHEDULER_STEP, &[&guided_noise_residual, &timestep, latents], |_| {
            let step = scheduler.step(input, history)?;
            Ok(computed.insert(step).prev_sample.clone())
        })?;
    // If the probe supplied the latents, the step's other values are still needed.
    let step = computed.map_or_else(|| scheduler.step(input, history), Ok)?;
    let step = Step { prev_sample, ..step };
    Ok(Denoised { uncond_residual, text_cond_residual, guided_noise_residual, step })
}

/// Latents (1, 4, h, w) → an image of eight times their height and width with values from 0 to 1: (1, 3, H, W).
///
/// # Errors
/// When the device fails.
pub fn vae_decode(models: &Models, latents: &Tensor, probe: &mut dyn Probe) -> Result<Tensor, Error> {
    let scaling_factor = models.vae.config().scaling_factor;

    let z = watch(probe, &lines::SCALE, &[latents], |_| Ok((latents / scaling_factor)?))?;

    let decoded = watch(probe, &lines::DECODE, &[&z], |probe| {
        let decoded = models.vae.decode(&z.to_dtype(models.dtype)?, probe)?;
        Ok(decoded.to_dtype(DType::F32)?)
    })?;

    let image =
        watch(probe, &lines::DENORMALIZE, &[&decoded], |_| Ok(((&decoded / 2.)? + 0.5)?.clamp(0., 1.)?))?;
    Ok(image)
}

/// The guidance scale as an input of a latent consistency model's UNet (Luo et al., 2023, section 4.1), whose
/// w = `guidance_scale` − 1: (1, `time_cond_proj_dim`). `None` for any other model.
///
/// # Errors
/// When the device fails.
pub fn timestep_cond(models: &Models, guidance_scale: f64) -> candle_core::Result<Option<Tensor>> {
    let Some(embedding_dim) = models.unet.config().time_cond_proj_dim else { return Ok(None) };
    let emb = get_guidance_scale_embedding(guidance_scale - 1., embedding_dim, &models.device)?;
    Ok(Some(emb.to_dtype(models.dtype)?))
}

/// A timestep as a tensor: a whole number as `i64`, another as `f32`.
fn timestep(t: f64, models: &Models) -> candle_core::Result<Tensor> {
    if t.fract() == 0. {
        Tensor::new(t as i64, &models.device)
    } else {
        Tensor::new(t as f32, &models.device)
    }
}

/// Standard normal noise of `shape` on the models' device, drawn in `f32` on the CPU as in diffusers' tutorials.
fn randn(generator: &mut Generator, shape: &[usize], models: &Models) -> candle_core::Result<Tensor> {
    Tensor::from_vec(generator.randn(shape.iter().product()), shape, &models.device)
}
