//! How far rounding alone takes two right runs apart. `docs/diff.md` has the measurements.
//!
//! Differences are relative: ‖a − b‖ / ‖b‖.

use candle_core::DType;

/// A module on the same inputs, in `f32`. The largest difference seen between right programs is 7.9e-7.
const SAME_INPUT: f64 = 2e-6;
/// The same for a container some of whose submodules are not recorded, and for a step of a scheduler.
const CHAINED_WITHIN: f64 = 6e-6;
/// The time embedding per unit of its timestep: an angle of t radians has an error of t · 6e-8.
const TIME_PROJ: f64 = 2e-8;
/// Any module of two runs, in the first step and in later ones.
const TWO_RUNS: [f64; 2] = [1.2e-5, 3e-5];
/// The image of two runs.
const IMAGE: f64 = 3e-5;

/// The unit roundoff that counts for values of type `dtype`; `None` for `f32`, which has tolerances of its own.
fn eps(dtype: DType) -> Option<f64> {
    match dtype {
        DType::F16 => Some(9.8e-4),
        DType::BF16 => Some(7.8e-3),
        _ => None,
    }
}

/// The lower precision of two types.
pub fn lower(a: DType, b: DType) -> DType {
    match (eps(a), eps(b)) {
        (Some(of_a), Some(of_b)) if of_b > of_a => b,
        (None, Some(_)) => b,
        _ => a,
    }
}

/// The output of the module at `path` on the same inputs. `chained`: submodules computed without recorded values.
pub fn isolated(path: &str, dtype: DType, timestep: Option<f64>, chained: bool) -> f64 {
    if let Some(eps) = eps(dtype) {
        return if chained { 3. * eps } else { eps };
    }
    let base = if chained { CHAINED_WITHIN } else { SAME_INPUT };
    match timestep {
        Some(t) if path.ends_with("time_proj") => base.max(TIME_PROJ * t.abs()),
        _ => base,
    }
}

/// The guided residual from residuals that agree to `base`, by their norms (Ho and Salimans' equation amplifies errors).
pub fn guided(base: f64, scale: f64, [uncond, text, guided]: [f64; 3]) -> f64 {
    let carried = scale.abs() * text + (1. - scale).abs() * uncond;
    if guided > 0. { (base * carried / guided).max(base) } else { base }
}

/// A step of a scheduler on the same inputs. Schedules agree to 2e-6, and small sigmas amplify that.
pub fn scheduler_step(dtype: DType) -> f64 {
    eps(dtype).unwrap_or(1e-5)
}

/// A tensor or a module of two runs. `step` counts the recorded steps from 0, of `steps`.
pub fn of_two_runs(name: &str, dtype: DType, step: usize, steps: usize, guidance_scale: f64) -> f64 {
    let scale = guidance_scale.abs();
    let is_latents = matches!(name, "latents" | "pred_original_sample");
    match eps(dtype) {
        Some(eps) if is_latents => ((1. + scale) / 2. * eps).max(eps),
        Some(eps) if step == 0 => 3. * eps,
        Some(eps) => 12. * eps,
        None if name == "latents" => {
            let done = (step + 1) as f64 / steps.max(step + 1) as f64;
            (1e-6 * (2. + scale) * done.sqrt()).max(5e-7)
        }
        None if name == "image" => IMAGE,
        None => TWO_RUNS[usize::from(step > 0)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_runs_are_within_and_small_bugs_beyond() {
        // Measured between torch, ONNX Runtime, OpenVINO and this program on one model.
        assert!(7.9e-7 < isolated("unet.conv_in", DType::F32, None, false));
        assert!(6.5e-6 > isolated("unet.conv_in", DType::F32, None, false));
        assert!(7.2e-9 * 999. < isolated("unet.time_proj", DType::F32, Some(999.), false));
        for (scale, seen) in [(0., 4.5e-7), (7.5, 1.6e-6), (30., 5e-6)] {
            assert!(seen < of_two_runs("latents", DType::F32, 19, 20, scale), "{scale}");
        }
        assert!(2.9e-6 < of_two_runs("unet.mid_block", DType::F32, 0, 20, 7.5));
        assert!(1.5e-5 > of_two_runs("unet.mid_block", DType::F32, 0, 20, 7.5));
    }

    #[test]
    fn guidance_amplifies() {
        assert_eq!(guided(1e-6, 1., [1., 1., 1.]), 1e-6);
        assert!(guided(1e-6, 7.5, [1., 1., 1.]) > 1.3e-5);
        assert_eq!(guided(1e-6, 7.5, [1., 1., 0.]), 1e-6);
    }

    #[test]
    fn the_lower_precision_counts() {
        assert_eq!(lower(DType::F32, DType::BF16), DType::BF16);
        assert_eq!(lower(DType::BF16, DType::F16), DType::BF16);
        assert_eq!(lower(DType::F16, DType::F32), DType::F16);
    }
}
