//! The whole pipeline: text to embeddings, a seed to noise, noise to a picture's latents, latents to a picture.
//!
//! The names are those of the article that this program grew from, and of diffusers' `StableDiffusionPipeline`.

use super::{Error, Models, Request, lines};
use crate::model::tokenizer::Encoded;
use crate::nn::{Probe, watch};
use crate::scheduler::{DdimScheduler, DdimStep};
use crate::tensor::Generator;
use candle_core::{DType, Tensor};

/// What every stage has to do with: the models, the settings, and the scheduler made for them.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The models.
    pub models: &'a Models,
    /// The settings.
    pub request: &'a Request,
    /// The scheduler of these settings.
    pub scheduler: &'a DdimScheduler,
}

/// The whole run: the prompts → a picture, values 0 to 1: (1, 3, H, W). `advance` runs the same stages one at a time and makes the
/// same picture, to the bit.
///
/// # Errors
/// A stage's, or the probe's.
pub fn text_to_image(run: Run<'_>, probe: &mut dyn Probe) -> Result<Tensor, Error> {
    let prompt = encode_prompt(run, probe)?;
    let FirstLatents { mut latents, mut generator, .. } = get_latent(run, probe)?;
    let embeds = (&prompt.negative_prompt_embeds, &prompt.prompt_embeds);
    for step in run.request.steps() {
        let denoised = denoise(run, step, &latents, embeds, &mut generator, probe)?;
        latents = denoised.step.prev_sample;
    }
    vae_decode(run.models, &latents, probe)
}

/// What `encode_prompt` makes.
pub struct EncodedPrompt {
    /// Ids of the prompt: (1, 77).
    pub input_ids: Tensor,
    /// Ids of the negative prompt: (1, 77).
    pub negative_input_ids: Tensor,
    /// Embeddings of the prompt: (1, 77, C).
    pub prompt_embeds: Tensor,
    /// Embeddings of the negative prompt: (1, 77, C).
    pub negative_prompt_embeds: Tensor,
    /// What did not fit of the prompt, and of the negative prompt.
    pub cut: [Option<String>; 2],
    /// What the tokenizer says of the concepts in the prompt, and in the negative prompt.
    pub warnings: [Vec<String>; 2],
}

/// The prompt and the negative prompt → embeddings that the UNet attends to.
///
/// # Errors
/// When a prompt cannot be tokenized, or the probe's.
pub fn encode_prompt(run: Run<'_>, probe: &mut dyn Probe) -> Result<EncodedPrompt, Error> {
    let Run { models, request, .. } = run;
    let negative = models.tokenizer.encode(&request.negative_prompt)?;
    let prompt = models.tokenizer.encode(&request.prompt)?;
    let rows = |of: fn(&Encoded) -> &[u32]| {
        let row = |encoded| Tensor::from_iter(of(encoded).iter().map(|&id| i64::from(id)), &models.device);
        Tensor::stack(&[row(&negative)?, row(&prompt)?], 0)
    };

    let input_ids = watch(probe, &lines::TOKENIZE, &[], |_| Ok(rows(|encoded| &encoded.input_ids)?))?;

    let attention_mask = rows(|encoded| &encoded.attention_mask)?;
    let embeds = watch(probe, &lines::TEXT_ENCODER, &[&input_ids], |probe| {
        models.text_encoder.forward(&input_ids, &attention_mask, probe)
    })?;

    Ok(EncodedPrompt {
        negative_input_ids: input_ids.narrow(0, 0, 1)?,
        input_ids: input_ids.narrow(0, 1, 1)?,
        negative_prompt_embeds: embeds.narrow(0, 0, 1)?,
        prompt_embeds: embeds.narrow(0, 1, 1)?,
        cut: [prompt.cut, negative.cut],
        warnings: [prompt.warnings, negative.warnings],
    })
}

/// What `get_latent` makes.
pub struct FirstLatents {
    /// The picture to start from, values 0 to 1, where there is one: (1, 3, H, W).
    pub init_image: Option<Tensor>,
    /// Its latents: (1, 4, h, w).
    pub init_latents: Option<Tensor>,
    /// What the seed gives: (1, 4, h, w).
    pub noise: Tensor,
    /// What the first step begins with: (1, 4, h, w).
    pub latents: Tensor,
    /// The generator, which goes on from there.
    pub generator: Generator,
}

/// A seed → noise of an eighth of the picture's height and width: (1, 4, h, w). With a picture to start from, that picture's
/// latents, as noisy as the first step takes them to be (diffusers' `StableDiffusionImg2ImgPipeline`).
///
/// # Errors
/// The device's, or the probe's.
pub fn get_latent(run: Run<'_>, probe: &mut dyn Probe) -> Result<FirstLatents, Error> {
    let Run { models, request, scheduler } = run;
    let mut generator = Generator::manual_seed(request.seed.folded());
    let (channels, scale) = (models.vae.config().latent_channels, models.vae.config().scale_factor());
    let shape = [1, channels, request.height / scale, request.width / scale];

    // Image to image: the encoder gives a distribution of latents, from which the generator's first numbers draw.
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
            let t = scheduler.timesteps()[t_start];
            let timestep = Tensor::new(t as i64, &models.device)?;
            watch(probe, &lines::ADD_NOISE, &[init_latents, &noise, &timestep], |_| {
                Ok(scheduler.add_noise(init_latents, &noise, t)?)
            })?
        }
        // No step is left that would take noise away: none is added.
        (Some(init_latents), None) => init_latents.clone(),
    };
    Ok(FirstLatents { init_image, init_latents, noise, latents, generator })
}

/// What one step of `denoise` makes: (1, 4, h, w) each.
pub struct Denoised {
    /// What the UNet predicts without the prompt: noise, or under v-prediction v.
    pub uncond_residual: Tensor,
    /// What it predicts with the prompt.
    pub text_cond_residual: Tensor,
    /// Both together.
    pub guided_noise_residual: Tensor,
    /// The scheduler's step, with its intermediates; `prev_sample` are the new latents.
    pub step: DdimStep,
}

/// One step from noise to picture: latents → less noisy latents.
///
/// # Errors
/// The device's, or the probe's.
pub fn denoise(
    run: Run<'_>,
    step: usize,
    latents: &Tensor,
    (negative_prompt_embeds, prompt_embeds): (&Tensor, &Tensor),
    generator: &mut Generator,
    probe: &mut dyn Probe,
) -> Result<Denoised, Error> {
    let Run { models, request, scheduler } = run;
    let t = scheduler.timesteps()[step];

    // The UNet predicts twice in one batch: without the prompt and with it.
    let latent_model_input = Tensor::cat(&[latents, latents], 0)?.to_dtype(models.dtype)?;
    let prompt_embeds = Tensor::cat(&[negative_prompt_embeds, prompt_embeds], 0)?;
    let residual = watch(probe, &lines::UNET, &[&latent_model_input, &prompt_embeds], |probe| {
        let residual = models.unet.forward(&latent_model_input, t, &prompt_embeds, probe)?;
        Ok(residual.to_dtype(DType::F32)?)
    })?;
    let (uncond_residual, text_cond_residual) = (residual.narrow(0, 0, 1)?, residual.narrow(0, 1, 1)?);

    // Classifier-free guidance (Ho and Salimans, 2022, equation 6); the paper's weight is w = guidance_scale − 1.
    let guided_noise_residual =
        watch(probe, &lines::GUIDANCE, &[&uncond_residual, &text_cond_residual], |_| {
            let push = (&text_cond_residual - &uncond_residual)?;
            Ok((&uncond_residual + (push * request.guidance_scale)?)?)
        })?;

    // The scheduler takes some of the predicted noise away.
    let noise = (request.eta > 0.).then(|| randn(generator, latents.dims(), models)).transpose()?;
    let timestep = Tensor::new(t as i64, &models.device)?;
    let mut ddim = None;
    let prev_sample =
        watch(probe, &lines::SCHEDULER_STEP, &[&guided_noise_residual, &timestep, latents], |_| {
            let step = scheduler.step(&guided_noise_residual, t, latents, noise.as_ref())?;
            Ok(ddim.insert(step).prev_sample.clone())
        })?;
    let step = match ddim {
        Some(step) => DdimStep { prev_sample, ..step },
        None => return Err(crate::nn::Error::Input("the scheduler step did not run".into()).into()),
    };
    Ok(Denoised { uncond_residual, text_cond_residual, guided_noise_residual, step })
}

/// Latents → a picture of eight times their height and width, values 0 to 1: (1, 3, H, W).
///
/// # Errors
/// The device's, or the probe's.
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

/// Noise of `shape` on the models' device. Drawn in `f32` on the CPU, as diffusers' tutorials do.
fn randn(generator: &mut Generator, shape: &[usize], models: &Models) -> candle_core::Result<Tensor> {
    Tensor::from_vec(generator.randn(shape.iter().product()), shape, &models.device)
}
