//! An estimate of a run's time: one step at the model's native size is timed and scaled by the UNet's multiplications.

use super::{Error, Models, Request, stages};
use crate::model::unet::UNetConfig;
use crate::nn::Unwatched;
use candle_core::{DType, Tensor};
use std::time::{Duration, Instant};
use tr::tr;

/// A side longer than this many times the native one gives a warning.
const FACTOR: usize = 2;
/// Tokens of a prompt.
const TOKENS: usize = 77;

/// A warning with the estimated time if a side of the image is more than twice the native one. It runs one step at the native
/// size.
///
/// # Errors
/// When the device fails.
pub fn warning(models: &Models, request: &Request) -> Result<Option<String>, Error> {
    let (height, width) = models.native_size();
    if request.height <= FACTOR * height && request.width <= FACTOR * width {
        return Ok(None);
    }
    let steps = request.steps().len();
    if steps == 0 {
        return Ok(None);
    }
    let a_step = timed_step(models, height, width)?;
    let arithmetic = |height, width| multiplications(models.unet.config(), latents(models, height, width));
    let times = arithmetic(request.height, request.width) / arithmetic(height, width);
    let all = a_step.mul_f64(times * steps as f64);
    let (counted, they) = match steps {
        1 => (tr!("1 step takes"), "it takes"),
        _ => (tr!("{steps} steps take", steps), "they take"),
    };
    Ok(Some(tr!(
        "{}×{} is more than twice the model's own {width}×{height}: {counted} about {}, {times} times what {they} at \
         {width}×{height} (measured: {} a step); --width and --height choose another size",
        request.width,
        request.height,
        human(all),
        human(a_step),
        width,
        height,
        counted,
        times = format_args!("{:.0}", times),
        they
    )))
}

/// Pixels of the latents of a picture.
fn latents(models: &Models, height: usize, width: usize) -> f64 {
    let scale = models.vae.config().scale_factor();
    (height / scale) as f64 * (width / scale) as f64
}

/// One UNet pass over both rows, at this height and width in pixels.
fn timed_step(models: &Models, height: usize, width: usize) -> Result<Duration, Error> {
    let config = models.unet.config();
    let scale = models.vae.config().scale_factor();
    let embeds = config.blocks.first().map_or(1, |level| level.cross_attention_dim);
    let step = |height: usize, width: usize| -> Result<Duration, Error> {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, models.dtype, &models.device);
        let sample = zeros(&[2, config.in_channels, height, width])?;
        let prompts = zeros(&[2, TOKENS, embeds])?;
        let start = Instant::now();
        let timestep_cond = stages::timestep_cond(models, 1.)?;
        let residual = models.unet.forward(&sample, 0., &prompts, timestep_cond.as_ref(), &mut Unwatched)?;
        // Reading a number waits for the GPU.
        residual.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?;
        Ok(start.elapsed())
    };
    // A warm-up pass.
    let least = 1 << config.blocks.len().saturating_sub(1).min(8);
    step(least, least)?;
    step(height / scale, width / scale)
}

/// Multiplications of a UNet pass over `latents` latent pixels, without those independent of the size. Convolutions and
/// projections grow with the pixels, self-attention with their square.
fn multiplications(config: &UNetConfig, latents: f64) -> f64 {
    let levels = config.blocks.iter().enumerate().map(|(level, block)| {
        let n = latents / 4f64.powi(level as i32);
        let c = block.channels as f64;
        // Two convolutions of 3×3.
        let resnet = 18. * c * c;
        // `proj_in` and `proj_out`. Per transformer block: six projections of pixels, a feed-forward of 12 c², and scores and
        // weighted sums of both attentions.
        let block_of_transformer = 18. * c * c + 2. * c * (n + TOKENS as f64);
        let transformer = 2. * c * c + block.transformer_layers as f64 * block_of_transformer;
        let (down, up) = (block.layers, block.layers + 1);
        let attended = down * usize::from(block.down_attends) + up * usize::from(block.up_attends);
        n * ((down + up) as f64 * resnet + attended as f64 * transformer)
    });
    levels.sum()
}

/// A duration in seconds, minutes or hours.
fn human(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 10. => format!("{seconds:.1} s"),
        seconds if seconds < 100. => format!("{seconds:.0} s"),
        seconds if seconds < 6000. => format!("{:.0} min", seconds / 60.),
        seconds => format!("{:.0} h", seconds / 3600.),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::ModelSource;
    use candle_core::Device;

    #[test]
    fn work_grows_with_the_pixels_and_attention_with_their_square() {
        let configs = crate::pipeline::models::Configs::load(&ModelSource::Bundled).unwrap();
        let of = |latents: f64| multiplications(&configs.unet, latents);
        let (small, large) = (of(512.) / of(256.), of(1e8) / of(5e7));
        assert!(small > 2. && small < 2.5, "{small}");
        assert!(large > 3.5 && large < 4.001, "{large}");
    }

    #[test]
    fn only_much_larger_sizes_give_a_warning() {
        let models = Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap();
        let of = |height, width| {
            let request = Request { height, width, num_inference_steps: 3, ..Request::default() };
            warning(&models, &request).unwrap()
        };
        assert_eq!((of(128, 128), of(256, 256), of(8, 256)), (None, None, None));
        let warning_text = of(264, 128).unwrap();
        assert!(
            warning_text
                .starts_with("128×264 is more than twice the model's own 128×128: 3 steps take about "),
            "{warning_text}"
        );
        let of = |num_inference_steps, strength| {
            let init_image = crate::pipeline::InitImage::open("sample:apple").ok();
            let request = Request {
                height: 264,
                width: 128,
                num_inference_steps,
                init_image,
                strength,
                ..Request::default()
            };
            warning(&models, &request).unwrap()
        };
        assert_eq!(of(3, 0.), None);
        let warning_text = of(3, 0.4).unwrap();
        assert!(
            warning_text.contains(": 1 step takes about ") && warning_text.contains("times what it takes"),
            "{warning_text}"
        );
    }

    #[test]
    fn durations_have_the_right_unit() {
        for (seconds, expected) in [(0.26, "0.3 s"), (42.4, "42 s"), (600., "10 min"), (7300., "2 h")] {
            assert_eq!(human(Duration::from_secs_f64(seconds)), expected);
        }
    }
}
