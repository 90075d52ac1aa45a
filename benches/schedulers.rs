//! What a scheduler's own arithmetic takes beside the UNet: `cargo bench --bench schedulers`.
//!
//! For each short name one JSON line: the median time of its steps in a run of 20 steps, and its share of a call of the bundled
//! UNet with both rows, both measured here.

use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::ModelSource;
use diffuscope::nn::{ComputePool, Unwatched};
use diffuscope::pipeline::Models;
use diffuscope::scheduler::class::SHORT_NAMES;
use diffuscope::scheduler::{History, StepInput, scheduler};
use diffuscope::tensor::Generator;
use std::time::Instant;

type Anyhow<T> = Result<T, Box<dyn std::error::Error>>;

const STEPS: usize = 20;
const REPEAT: usize = 5;

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn main() -> Anyhow<()> {
    let _pool = ComputePool::enter();
    let models = Models::load(ModelSource::parse("pocket")?, Device::Cpu, DType::F32)?;
    let side = models.native_size().0 / models.vae.config().scale_factor();
    let width = models.unet.config().blocks[0].cross_attention_dim;
    let mut generator = Generator::manual_seed(0);
    let mut randn = |shape: &[usize]| -> Anyhow<Tensor> {
        Ok(Tensor::from_vec(generator.randn(shape.iter().product()), shape, &Device::Cpu)?)
    };
    let (pair, embeds) = (randn(&[2, 4, side, side])?, randn(&[2, 77, width])?);
    let (output, noise, first) =
        (randn(&[1, 4, side, side])?, randn(&[1, 4, side, side])?, randn(&[1, 4, side, side])?);
    models.unet.forward(&pair, 500., &embeds, None, &mut Unwatched)?;
    let unet = (0..4 * REPEAT).map(|_| -> Anyhow<f64> {
        let start = Instant::now();
        models.unet.forward(&pair, 500., &embeds, None, &mut Unwatched)?;
        Ok(start.elapsed().as_secs_f64())
    });
    let unet = median(unet.collect::<Anyhow<_>>()?);
    for short in SHORT_NAMES {
        let choice = models.scheduler.named(short.name)?;
        let made = scheduler(choice.config(), STEPS, 0.)?;
        let mut samples = vec![];
        for _ in 0..REPEAT {
            let (mut sample, mut history) = (first.clone(), History::default());
            for index in 0..made.timesteps().len() {
                let start = Instant::now();
                let input = made.scale_model_input(&sample, index)?;
                let noise = made.draws_noise(index).then_some(&noise);
                let input = StepInput { index, model_output: &output, sample: &input, noise };
                let step = made.step(input, &history)?;
                samples.push(start.elapsed().as_secs_f64());
                (sample, history) = (step.prev_sample, step.history);
            }
        }
        let step = median(samples);
        let line = serde_json::json!({
            "scheduler": short.name,
            "step_us": step * 1e6,
            "unet_ms": unet * 1e3,
            "share_percent": 100. * step / unet,
        });
        println!("{line}");
    }
    Ok(())
}
