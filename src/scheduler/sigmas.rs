//! The noise levels of a run in the schedulers that work in sigma: those of its timesteps, or a grid of their own.

use super::betas;
use super::class::Class;
use super::config::{
    BetaSchedule, FinalSigmasType, InterpolationType, PredictionType, SchedulerConfig, TimestepType,
};
use super::schedule_error::SpacingError;
use super::spacing::{self, linspace};

/// Timesteps, and the sigma at each: √((1 − ᾱ) / ᾱ). One sigma more follows, that of the result.
#[derive(Debug, Clone)]
pub struct SigmaSchedule {
    /// What the model is given, from noise to image.
    pub timesteps: Vec<f64>,
    /// The sigmas.
    pub sigmas: Vec<f32>,
}

impl SigmaSchedule {
    /// The schedule of a run of `steps` (diffusers `set_timesteps`).
    ///
    /// # Errors
    /// [`SpacingError`] if diffusers would fail, or its numbers would mean nothing.
    pub fn new(config: &SchedulerConfig, steps: usize) -> Result<Self, SpacingError> {
        let training = betas::sigmas(config);
        let log_sigmas: Vec<f32> = training.iter().map(|sigma| f64::from(*sigma).ln() as f32).collect();
        let mut timesteps = spacing::timesteps(config, steps)?;
        let is_solver = matches!(config.class, Class::DpmSolverMultistep | Class::UniPcMultistep);

        let mut sigmas: Vec<f64> = match config.interpolation_type {
            InterpolationType::Linear => timesteps.iter().map(|t| interpolated(*t, &training)).collect(),
            InterpolationType::LogLinear => {
                let (first, last) = (log_sigmas.last().copied(), log_sigmas.first().copied());
                let logs = betas::linspace(first.unwrap_or(0.), last.unwrap_or(0.), steps + 1);
                logs.into_iter().map(|log| f64::from(log.exp())).collect()
            }
        };
        if config.has_sigma_grid() {
            // DPM-Solver and UniPC span the whole schedule, the others the run's timesteps.
            let ends = if is_solver {
                (
                    training.first().map(|sigma| f64::from(*sigma)),
                    training.last().map(|sigma| f64::from(*sigma)),
                )
            } else {
                (sigmas.last().copied(), sigmas.first().copied())
            };
            let sigma_min = config.sigma_min.or(ends.0).unwrap_or(0.);
            let sigma_max = config.sigma_max.or(ends.1).unwrap_or(0.);
            sigmas = if config.use_lu_lambdas {
                // In the table's `f32`, as the timesteps are rounded afterwards.
                let [max, min] =
                    [log_sigmas.last(), log_sigmas.first()].map(|log| log.map_or(0., |log| f64::from(*log)));
                linspace(0., 1., steps).into_iter().map(|ramp| (max + ramp * (min - max)).exp()).collect()
            } else {
                grid(config, sigma_min, sigma_max, steps)
            };
            timesteps = sigmas.iter().map(|sigma| sigma_to_t(*sigma, &log_sigmas)).collect();
            if is_solver {
                // A model's timestep is a whole number there: rounded or cut off.
                let is_rounded = match config.class {
                    Class::UniPcMultistep => config.use_karras_sigmas,
                    _ => {
                        (config.use_karras_sigmas || config.use_lu_lambdas)
                            && config.beta_schedule != BetaSchedule::SquaredcosCapV2
                    }
                };
                let whole = if is_rounded { f64::round_ties_even } else { f64::trunc };
                timesteps = timesteps.into_iter().map(whole).collect();
            }
        }
        let last = match config.final_sigmas_type {
            FinalSigmasType::Zero => 0.,
            // UniPC repeats the last sigma of a grid.
            FinalSigmasType::SigmaMin if config.class == Class::UniPcMultistep && config.has_sigma_grid() => {
                sigmas.last().copied().unwrap_or(0.)
            }
            FinalSigmasType::SigmaMin => training.first().map_or(0., |sigma| f64::from(*sigma)),
        };
        sigmas.push(last);
        let sigmas: Vec<f32> = sigmas.into_iter().map(|sigma| sigma as f32).collect();

        if let Some(pair) = sigmas.windows(2).find(|pair| pair[1] > pair[0]) {
            return Err(SpacingError::Rising { from: pair[0], to: pair[1] });
        }

        let is_continuous = config.timestep_type == TimestepType::Continuous
            && config.prediction_type == PredictionType::VPrediction;
        if is_continuous {
            timesteps = sigmas.iter().take(steps).map(|sigma| f64::from(0.25 * sigma.ln())).collect();
        }
        Ok(Self { timesteps: timesteps.into_iter().map(|t| f64::from(t as f32)).collect(), sigmas })
    }

    /// The largest sigma.
    pub fn max(&self) -> f32 {
        self.sigmas.iter().copied().fold(0., f32::max)
    }
}

fn grid(config: &SchedulerConfig, sigma_min: f64, sigma_max: f64, steps: usize) -> Vec<f64> {
    if config.use_karras_sigmas {
        karras(sigma_min, sigma_max, steps)
    } else if config.use_beta_sigmas {
        beta(sigma_min, sigma_max, steps)
    } else {
        exponential(sigma_min, sigma_max, steps)
    }
}

/// Karras et al., 2022, equation 5, with ρ = 7: σ_i = (σ_max^(1/ρ) + i / (N − 1) · (σ_min^(1/ρ) − σ_max^(1/ρ)))^ρ.
pub fn karras(sigma_min: f64, sigma_max: f64, steps: usize) -> Vec<f64> {
    const RHO: f64 = 7.;
    let [min, max] = [sigma_min, sigma_max].map(|sigma| sigma.powf(1. / RHO));
    linspace(0., 1., steps).into_iter().map(|ramp| (max + ramp * (min - max)).powf(RHO)).collect()
}

/// Equally spaced logarithms.
pub fn exponential(sigma_min: f64, sigma_max: f64, steps: usize) -> Vec<f64> {
    linspace(sigma_max.ln(), sigma_min.ln(), steps).into_iter().map(f64::exp).collect()
}

/// Quantiles of the beta distribution with α = β = 0.6 (Lee et al., 2024, section 4.2): dense at both ends.
pub fn beta(sigma_min: f64, sigma_max: f64, steps: usize) -> Vec<f64> {
    let quantiles = linspace(0., 1., steps).into_iter().map(|ramp| quantile(1. - ramp));
    quantiles.map(|quantile| sigma_min + quantile * (sigma_max - sigma_min)).collect()
}

/// The p-quantile of the beta distribution with α = β = 0.6.
fn quantile(p: f64) -> f64 {
    const SHAPE: f64 = 0.6;
    if p <= 0. || p >= 1. {
        return p.clamp(0., 1.);
    }
    // The distribution is symmetric, and the lower half keeps more digits.
    if p > 0.5 {
        return 1. - quantile(1. - p);
    }
    let mut x = puruspe::invbetai(p, SHAPE, SHAPE);
    // Newton's method, for the last digits.
    for _ in 0..3 {
        let density = (x * (1. - x)).powf(SHAPE - 1.) / puruspe::beta(SHAPE, SHAPE);
        let next = x - (puruspe::betai(SHAPE, SHAPE, x) - p) / density;
        x = if next > 0. && next < 1. { next } else { x };
    }
    x
}

/// `numpy.interp` over training timesteps: the sigma at a timestep that may have a fraction.
fn interpolated(t: f64, sigmas: &[f32]) -> f64 {
    let last = sigmas.len().saturating_sub(1);
    let at = |i: usize| sigmas.get(i.min(last)).map_or(0., |sigma| f64::from(*sigma));
    let below = t.max(0.).floor() as usize;
    let slope = at(below + 1) - at(below);
    if below >= last { at(last) } else { slope * (t.max(0.) - below as f64) + at(below) }
}

/// The timestep at which the schedule has that sigma, between training timesteps by log σ (diffusers `_sigma_to_t`).
fn sigma_to_t(sigma: f64, log_sigmas: &[f32]) -> f64 {
    let log_sigma = sigma.max(1e-10).ln();
    let at = |i: usize| f64::from(log_sigmas[i]);
    if log_sigmas.len() < 2 {
        return 0.;
    }
    let below = log_sigmas.iter().rposition(|log| log_sigma >= f64::from(*log)).unwrap_or(0);
    let below = below.min(log_sigmas.len() - 2);
    let (low, high) = (at(below), at(below + 1));
    let w = ((low - log_sigma) / (low - high)).clamp(0., 1.);
    (1. - w) * below as f64 + w * (below + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.beta.ppf(p, 0.6, 0.6)`, scipy 1.17.1.
    #[test]
    fn quantiles_of_the_beta_distribution() {
        for (p, expected) in BETA_PPF {
            let found = quantile(*p);
            assert!((found / expected - 1.).abs() < 1e-10, "{p}: {found}, expected {expected}");
        }
    }

    const BETA_PPF: &[(f64, f64)] = &[
        (0.001, 1.855873851745199e-05),
        (0.01, 0.0008612388215429059),
        (0.1111111111111111, 0.04709181754904242),
        (0.25, 0.17568037865269498),
        (0.5, 0.5),
        (0.75, 0.824319621347305),
        (0.9, 0.9604155944112192),
        (0.999, 0.9999814412614826),
    ];
}
