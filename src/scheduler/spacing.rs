//! The timesteps that a run visits: `timestep_spacing` in diffusers' `set_timesteps`.

use super::class::Class;
use super::config::{SchedulerConfig, TimestepSpacing};
use super::schedule_error::SpacingError;

/// The timesteps of a run of `steps`, from noise to image, before a grid of sigmas or a class's own repeats. All are whole numbers
/// but those of linspace spacing in the classes that work in sigma.
///
/// # Errors
/// [`SpacingError`] if there are no steps, or too many for the class.
pub fn timesteps(config: &SchedulerConfig, steps: usize) -> Result<Vec<f64>, SpacingError> {
    let train = config.num_train_timesteps;
    if config.class == Class::Lcm && steps > config.original_inference_steps {
        return Err(SpacingError::Distillation { found: steps, most: config.original_inference_steps });
    }
    if steps == 0 || (is_limited(config.class) && steps > train) {
        return Err(SpacingError::Count { found: steps, most: train });
    }
    Ok(match config.class {
        Class::Lcm => of_distillation(config, steps),
        Class::DpmSolverMultistep | Class::UniPcMultistep => of_solvers(config, steps),
        class if class.works_in_sigma() => spaced(config, steps, |t| f64::from(t as f32)),
        _ => spaced(config, steps, f64::round_ties_even),
    })
}

/// Whether diffusers refuses more steps than there are timesteps.
fn is_limited(class: Class) -> bool {
    matches!(class, Class::Ddim | Class::Ddpm)
}

fn spaced(config: &SchedulerConfig, steps: usize, round: fn(f64) -> f64) -> Vec<f64> {
    let train = config.num_train_timesteps;
    match config.timestep_spacing {
        TimestepSpacing::Leading => {
            let ratio = train / steps;
            (0..steps).rev().map(|i| (i * ratio + config.steps_offset) as f64).collect()
        }
        TimestepSpacing::Trailing => trailing(train, train, steps),
        TimestepSpacing::Linspace => {
            linspace(0., (train - 1) as f64, steps).into_iter().rev().map(round).collect()
        }
    }
}

/// DPM-Solver and UniPC divide by one step more, and leave out the last timestep.
fn of_solvers(config: &SchedulerConfig, steps: usize) -> Vec<f64> {
    let train = config.num_train_timesteps;
    let last = train - clipped(config);
    let mut timesteps: Vec<f64> = match config.timestep_spacing {
        TimestepSpacing::Leading => {
            let ratio = last / steps.saturating_add(1);
            (0..=steps).rev().map(|i| (i * ratio + config.steps_offset) as f64).collect()
        }
        TimestepSpacing::Trailing => return trailing(last, train, steps),
        TimestepSpacing::Linspace => {
            let all = linspace(0., last as f64 - 1., steps.saturating_add(1));
            all.into_iter().rev().map(f64::round_ties_even).collect()
        }
    };
    timesteps.pop();
    timesteps
}

/// The training timesteps at which λ = log(α / σ) is below `lambda_min_clipped`.
fn clipped(config: &SchedulerConfig) -> usize {
    if config.lambda_min_clipped == f64::NEG_INFINITY {
        return 0;
    }
    let lambda = |sigma: f32| -f64::from(sigma).ln();
    let sigmas = super::betas::sigmas(config);
    let below = sigmas.iter().rev().take_while(|sigma| lambda(**sigma) < config.lambda_min_clipped).count();
    below.min(config.num_train_timesteps - 1)
}

/// From `last` down, `train` / `steps` apart.
fn trailing(last: usize, train: usize, steps: usize) -> Vec<f64> {
    // numpy's arange steps by the difference of its first two values.
    let (start, ratio) = (last as f64, train as f64 / steps as f64);
    let (delta, count) = ((start - ratio) - start, (start / ratio).ceil() as usize);
    (0..count).map(|i| (start + i as f64 * delta).round_ties_even() - 1.).collect()
}

/// `steps` of the timesteps that LCM's distillation used, evenly from the first (Luo et al., 2023, section 4.3).
fn of_distillation(config: &SchedulerConfig, steps: usize) -> Vec<f64> {
    let original = config.original_inference_steps;
    let k = config.num_train_timesteps / original;
    let stride = original as f64 / steps as f64;
    (0..steps).map(|i| original - (i as f64 * stride) as usize).map(|place| (place * k) as f64 - 1.).collect()
}

/// `numpy.linspace`: `n` numbers, both ends among them.
pub(super) fn linspace(start: f64, end: f64, n: usize) -> Vec<f64> {
    let step = (end - start) / (n.max(2) - 1) as f64;
    let mut all: Vec<f64> = (0..n).map(|i| i as f64 * step + start).collect();
    if let ([_, .., last], true) = (all.as_mut_slice(), n > 1) {
        *last = end;
    }
    all
}

/// Refuses timesteps that diffusers would run and cannot mean.
///
/// # Errors
/// [`SpacingError`].
pub fn check(config: &SchedulerConfig, steps: usize, timesteps: &[f64]) -> Result<(), SpacingError> {
    let spacing = config.timestep_spacing.name();
    let expected = config.class.num_calls(config, steps);
    if timesteps.len() != expected {
        return Err(SpacingError::Rounding { spacing, steps, found: timesteps.len(), expected });
    }
    if let ([first, .., last], true) = (timesteps, steps > 1)
        && first == last
    {
        return Err(SpacingError::Repeats { spacing, steps, timestep: *first });
    }
    let last = config.num_betas() - 1;
    match timesteps.iter().find(|t| **t > last as f64) {
        Some(timestep) => Err(SpacingError::OutOfRange { spacing, steps, timestep: *timestep, last }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visited(class: Class, change: fn(&mut SchedulerConfig), steps: usize) -> Vec<f64> {
        let mut config = SchedulerConfig::defaults(class);
        change(&mut config);
        timesteps(&config, steps).unwrap()
    }

    /// As diffusers 0.42.1 has them.
    #[test]
    fn spacings_are_the_classs_own() {
        let leading = |config: &mut SchedulerConfig| {
            (config.timestep_spacing, config.steps_offset) = (TimestepSpacing::Leading, 1);
        };
        let euler = visited(Class::EulerDiscrete, leading, 20);
        assert_eq!((euler[0], euler[19], euler.len()), (951., 1., 20));
        let dpm = visited(Class::DpmSolverMultistep, leading, 20);
        assert_eq!((dpm[0], dpm[19], dpm.len()), (941., 48., 20));
        for class in [Class::EulerDiscrete, Class::HeunDiscrete, Class::LmsDiscrete] {
            assert_eq!(visited(class, |_| (), 1), [0.]);
        }
        for class in [Class::DpmSolverMultistep, Class::UniPcMultistep] {
            assert_eq!(visited(class, |_| (), 1), [999.]);
        }
        assert_eq!(visited(Class::Lcm, |_| (), 4), [999., 759., 499., 259.]);
    }

    #[test]
    fn lcm_and_ddim_refuse_more_steps_than_there_are_timesteps() {
        let most = |class| match timesteps(&SchedulerConfig::defaults(class), 1001) {
            Err(SpacingError::Count { most, .. }) => Some(most),
            _ => None,
        };
        assert_eq!(most(Class::Ddim), Some(1000));
        let lcm = timesteps(&SchedulerConfig::defaults(Class::Lcm), 51);
        assert_eq!(lcm, Err(SpacingError::Distillation { found: 51, most: 50 }));
        assert_eq!(most(Class::EulerDiscrete), None);
    }
}
