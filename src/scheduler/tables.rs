//! Betas and alphas of the training timesteps, and the timesteps of a run.

use super::config::{BetaSchedule, DdimConfig, TimestepSpacing};
use std::f64::consts::PI;

/// ᾱ of every training timestep: the cumulative product of 1 − beta.
///
/// As in torch, betas and 1 − beta are `f32`; the product is accumulated in `f64` and each entry rounded.
pub fn alphas_cumprod(config: &DdimConfig) -> Vec<f32> {
    cumprod(betas(config).iter().map(|beta| 1. - beta))
}

/// Beta of every training timestep: the share of the variance that it replaces by noise.
pub fn betas(config: &DdimConfig) -> Vec<f32> {
    let betas = match &config.trained_betas {
        Some(betas) => betas.clone(),
        None => scheduled_betas(config),
    };
    if config.rescale_betas_zero_snr { rescale_zero_terminal_snr(&betas) } else { betas }
}

fn scheduled_betas(config: &DdimConfig) -> Vec<f32> {
    let (start, end, n) = (config.beta_start, config.beta_end, config.num_train_timesteps);
    match config.beta_schedule {
        BetaSchedule::Linear => linspace(start as f32, end as f32, n),
        BetaSchedule::ScaledLinear => {
            linspace(start.sqrt() as f32, end.sqrt() as f32, n).into_iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredcosCapV2 => {
            let alpha_bar = |t: f64| ((t + 0.008) / 1.008 * PI / 2.).cos().powi(2);
            let at = |i: usize| alpha_bar(i as f64 / n as f64);
            (0..n).map(|i| (1. - at(i + 1) / at(i)).min(0.999) as f32).collect()
        }
    }
}

/// `torch.linspace(start, end, n, dtype=torch.float32)`: from both ends towards the middle.
fn linspace(start: f32, end: f32, n: usize) -> Vec<f32> {
    if n == 1 {
        return vec![start];
    }
    let step = (end - start) / (n - 1) as f32;
    let at = |i: usize| {
        if i < n / 2 { step.mul_add(i as f32, start) } else { (-step).mul_add((n - 1 - i) as f32, end) }
    };
    (0..n).map(at).collect()
}

/// `torch.cumprod` of `f32`.
fn cumprod(factors: impl Iterator<Item = f32>) -> Vec<f32> {
    factors
        .scan(1f64, |product, factor| {
            *product *= f64::from(factor);
            Some(*product as f32)
        })
        .collect()
}

/// Betas → betas whose √ᾱ is shifted and scaled so that the last is 0 and the first is unchanged (Lin et al., 2024,
/// algorithm 1; diffusers `rescale_zero_terminal_snr`).
fn rescale_zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = cumprod(betas.iter().map(|beta| 1. - beta)).into_iter().map(f32::sqrt).collect();
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else { return vec![] };
    let bars: Vec<f32> =
        roots.iter().map(|root| ((root - last) * (first / (first - last))).powi(2)).collect();
    let alphas = std::iter::once(bars[0]).chain(bars.windows(2).map(|pair| pair[1] / pair[0]));
    alphas.map(|alpha| 1. - alpha).collect()
}

/// Why a number of steps is impossible.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpacingError {
    /// No steps, or more than there are training timesteps.
    #[error(
        "num_inference_steps is {found}; expected 1 to {most}, the timesteps that the model was trained on"
    )]
    Count {
        /// The number asked for.
        found: usize,
        /// `num_train_timesteps`.
        most: usize,
    },
    /// A timestep has no beta.
    #[error(
        "{spacing} spacing with {steps} steps visits timestep {timestep}, and the last that has a beta is {last}; expected fewer \
         steps, or a beta for every timestep in `trained_betas`"
    )]
    OutOfRange {
        /// The spacing.
        spacing: &'static str,
        /// The number of steps asked for.
        steps: usize,
        /// The timestep.
        timestep: usize,
        /// The last timestep.
        last: usize,
    },
    /// Rounding gives a different number of timesteps.
    #[error("{spacing} spacing with {steps} steps rounds to {found} timesteps; take one step more or fewer")]
    Rounding {
        /// The spacing.
        spacing: &'static str,
        /// The number of steps asked for.
        steps: usize,
        /// The number of timesteps.
        found: usize,
    },
}

/// The timesteps of a run of `steps`, from noise to image (diffusers `DDIMScheduler.set_timesteps`).
///
/// # Errors
/// [`SpacingError`] if diffusers would fail or run a different number of steps.
pub fn timesteps(config: &DdimConfig, steps: usize) -> Result<Vec<usize>, SpacingError> {
    let train = config.num_train_timesteps;
    if steps == 0 || steps > train {
        return Err(SpacingError::Count { found: steps, most: train });
    }
    let spacing = config.timestep_spacing.name();
    let timesteps: Vec<usize> = match config.timestep_spacing {
        TimestepSpacing::Leading => {
            let ratio = train / steps;
            (0..steps).rev().map(|i| i * ratio + config.steps_offset).collect()
        }
        TimestepSpacing::Trailing => {
            // numpy's arange steps by the difference of its first two values.
            let (start, ratio) = (train as f64, train as f64 / steps as f64);
            let (delta, count) = ((start - ratio) - start, (start / ratio).ceil() as usize);
            (0..count)
                .map(|i| (start + i as f64 * delta).round_ties_even() as usize)
                .map(|t| t.saturating_sub(1))
                .collect()
        }
        TimestepSpacing::Linspace => {
            let step = (train - 1) as f64 / (steps.max(2) - 1) as f64;
            (0..steps).rev().map(|i| (i as f64 * step).round_ties_even() as usize).collect()
        }
    };
    if timesteps.len() != steps {
        return Err(SpacingError::Rounding { spacing, steps, found: timesteps.len() });
    }
    let last = config.num_betas() - 1;
    match timesteps.iter().find(|&&t| t > last) {
        Some(&timestep) => Err(SpacingError::OutOfRange { spacing, steps, timestep, last }),
        None => Ok(timesteps),
    }
}
