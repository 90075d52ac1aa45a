//! The noise of every training timestep: betas, ᾱ and sigmas.

use super::config::{BetaSchedule, SchedulerConfig};
use std::f64::consts::PI;

/// ᾱ of every training timestep: the cumulative product of 1 − beta.
///
/// As in torch, betas and 1 − beta are `f32`; the product is accumulated in `f64` and each entry rounded.
pub fn alphas_cumprod(config: &SchedulerConfig) -> Vec<f32> {
    cumprod(betas(config).iter().map(|beta| 1. - beta))
}

/// Beta of every training timestep: the share of the variance that it replaces by noise.
pub fn betas(config: &SchedulerConfig) -> Vec<f32> {
    let betas = match &config.trained_betas {
        Some(betas) => betas.clone(),
        None => scheduled_betas(config),
    };
    if config.rescale_betas_zero_snr { rescale_zero_terminal_snr(&betas) } else { betas }
}

/// Sigma of every training timestep, √((1 − ᾱ) / ᾱ): the noise beside a signal of its full size (Karras et al., 2022).
///
/// Under zero terminal SNR the last ᾱ is 2⁻²⁴ in place of 0, so that sigma is 4096 and not infinite, as in diffusers.
pub fn sigmas(config: &SchedulerConfig) -> Vec<f32> {
    let mut alphas = alphas_cumprod(config);
    if let (true, Some(last)) = (config.rescale_betas_zero_snr, alphas.last_mut()) {
        *last = 2f32.powi(-24);
    }
    alphas.into_iter().map(|alpha| ((1. - alpha) / alpha).sqrt()).collect()
}

/// ᾱ at a timestep that may have a fraction: σ between training timesteps is linear, as in diffusers' schedulers that work in sigma.
pub fn alpha_bar_at(alphas_cumprod: &[f32], timestep: f64) -> f64 {
    let at = |t: f64| alphas_cumprod.get(t as usize).map_or(f64::NAN, |alpha| f64::from(*alpha));
    let (below, rest) = (timestep.floor(), timestep.fract());
    if rest == 0. {
        return at(below);
    }
    let sigma = |alpha: f64| ((1. - alpha) / alpha).sqrt();
    let between = sigma(at(below)) * (1. - rest) + sigma(at(below + 1.)) * rest;
    1. / (between * between + 1.)
}

fn scheduled_betas(config: &SchedulerConfig) -> Vec<f32> {
    let (start, end, n) = (config.beta_start, config.beta_end, config.num_train_timesteps);
    match config.beta_schedule {
        BetaSchedule::Linear => linspace(start as f32, end as f32, n),
        BetaSchedule::ScaledLinear => {
            linspace(start.sqrt() as f32, end.sqrt() as f32, n).into_iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredcosCapV2 => {
            betas_for_alpha_bar(n, |t| ((t + 0.008) / 1.008 * PI / 2.).cos().powi(2))
        }
        BetaSchedule::Exp => betas_for_alpha_bar(n, |t| (-12. * t).exp()),
        BetaSchedule::Laplace => betas_for_alpha_bar(n, |t| {
            let half = 0.5 - t;
            let log_snr = -0.5 * 1f64.copysign(half) * (1. - 2. * half.abs() + 1e-6).ln();
            let snr = log_snr.exp();
            (snr / (1. + snr)).sqrt()
        }),
        BetaSchedule::Sigmoid => {
            let sigmoid = |x: f32| 1. / (1. + (-x).exp());
            let (range, start) = ((end - start) as f32, start as f32);
            linspace(-6., 6., n).into_iter().map(|x| sigmoid(x) * range + start).collect()
        }
    }
}

/// Betas whose ᾱ at training timestep i is `alpha_bar(i / n)` (diffusers `betas_for_alpha_bar`).
fn betas_for_alpha_bar(n: usize, alpha_bar: impl Fn(f64) -> f64) -> Vec<f32> {
    let at = |i: usize| alpha_bar(i as f64 / n as f64);
    (0..n).map(|i| (1. - at(i + 1) / at(i)).min(0.999) as f32).collect()
}

/// `torch.linspace(start, end, n, dtype=torch.float32)`: from both ends towards the middle.
pub(super) fn linspace(start: f32, end: f32, n: usize) -> Vec<f32> {
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
