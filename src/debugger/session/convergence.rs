//! `convergence`: how the error of a scheduler falls with the number of steps, and the order that follows from it.
//!
//! A method of order p has an error proportional to N^−p. That is visible only if all else is equal: one grid of sigmas (Karras et al.'s),
//! the exact timestep of each, one start, no guidance, no noise, and the end at the grid's last sigma, before the step to 0.

use super::{Session, SessionError, SessionHost};
use crate::debugger::outcome::{Outcome, Shown};
use crate::nn::Unwatched;
use crate::pipeline::loras::Adapted;
use crate::pipeline::stages::{self, Run};
use crate::pipeline::{self, Models, Request, RequestError};
use crate::scheduler::class::{SHORT_NAMES, has_order};
use crate::scheduler::{
    Class, History, SchedulerChoice, SchedulerConfig, StepInput, TimestepSpacing, scheduler,
};
use candle_core::{DType, Tensor};
use serde_json::json;
use tr::tr;

/// The numbers of steps, about a factor of √2 apart.
const STEPS: [usize; 5] = [10, 14, 20, 28, 40];
/// The reference: this method in this many steps.
const REFERENCE: (&str, usize) = ("dpm++2m", 400);
/// The methods without names.
const USUAL: [&str; 3] = ["euler", "heun", "dpm++2m"];
/// The rows of the chart, and the columns between two numbers of steps.
const ROWS: usize = 11;
const COLUMNS: usize = 11;

/// The line log error = a − slope · log N through the errors, and the least and the greatest slope between neighbours.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fit {
    slope: f64,
    range: [f64; 2],
}

impl Session {
    /// The error of each method at several numbers of steps, the fitted slope and its range, and a chart with both axes
    /// logarithmic.
    pub(super) fn convergence(
        &self,
        names: &[String],
        host: &mut dyn SessionHost,
    ) -> Result<Outcome, SessionError> {
        let here = self.here();
        let (request, models) = (here.request(), &**self.backend.models()?);
        let usual = USUAL.map(String::from);
        let names = if names.is_empty() { &usual[..] } else { names };
        let methods = names.iter().map(|name| Ok((name.as_str(), on_karras(&request.scheduler, name)?)));
        let methods = methods.collect::<Result<Vec<_>, SessionError>>()?;
        let reference = on_karras(&request.scheduler, REFERENCE.0)?;

        let run = Run { models, request, scheduler: here.scheduler() };
        let mut unwatched = Unwatched;
        let mut adapted = Adapted::new(models, request, &mut unwatched);
        let embeds = stages::encode_prompt(run, &mut adapted)?.prompt_embeds;
        let noise = stages::get_latent(
            Run { request: &Request { init_image: None, ..request.clone() }, ..run },
            &mut Unwatched,
        )?
        .noise;
        let start = Start { models, request, embeds, noise };
        let exact = start.end(&reference, REFERENCE.1, host)?;
        let mut errors = vec![];
        for (_, config) in &methods {
            let of_steps = STEPS.iter().map(|steps| {
                let end = start.end(config, *steps, host)?;
                distance(&end, &exact)
            });
            errors.push(of_steps.collect::<Result<Vec<f64>, SessionError>>()?);
        }
        let fits: Vec<Fit> = errors.iter().map(|errors| fit(errors)).collect();
        let names: Vec<&str> = methods.iter().map(|(name, _)| *name).collect();
        let value = names.iter().zip(&errors).zip(&fits).map(|((name, errors), fit)| {
            json!({"name": name, "steps": STEPS, "errors": errors, "slope": fit.slope, "range": fit.range})
        });
        let value = json!({"reference": REFERENCE, "methods": value.collect::<Vec<_>>()});
        Ok(Outcome::lines(lines(&names, &errors, &fits)).showing(Shown::Value(value)))
    }
}

/// A method with Karras sigmas over the whole schedule.
fn on_karras(choice: &SchedulerChoice, name: &str) -> Result<SchedulerConfig, SessionError> {
    let named = choice.named(name).map_err(SessionError::Refused)?;
    let config = named.config().clone();
    let expected = || {
        let known = SHORT_NAMES.iter().filter(|short| has_order(short)).map(|short| short.name);
        known.collect::<Vec<_>>().join(", ")
    };
    if config.value("use_karras_sigmas").is_none() {
        return Err(SessionError::Refused(tr!(
            "{name} has no Karras sigmas; expected some of {}",
            expected(),
            name
        )));
    }
    if config.algorithm_type.is_stochastic() {
        return Err(SessionError::Refused(tr!("{name} draws noise; expected some of {}", expected(), name)));
    }
    let grid = SchedulerConfig {
        use_exponential_sigmas: false,
        use_beta_sigmas: false,
        use_lu_lambdas: false,
        timestep_spacing: TimestepSpacing::Linspace,
        ..config
    };
    grid.with("use_karras_sigmas", "true").map_err(SessionError::Refused)
}

/// What all runs begin with.
struct Start<'a> {
    models: &'a Models,
    request: &'a Request,
    embeds: Tensor,
    noise: Tensor,
}

impl Start<'_> {
    /// x₀ + σ · ε at the last sigma of the grid, after `steps` − 1 steps.
    fn end(
        &self,
        config: &SchedulerConfig,
        steps: usize,
        host: &mut dyn SessionHost,
    ) -> Result<Tensor, SessionError> {
        let made = scheduler(config, steps, 0.).map_err(RequestError::from)?;
        // DPM-Solver and UniPC round the timesteps of this grid, which would hide the order; Euler's are exact.
        let euler = SchedulerConfig { class: Class::EulerDiscrete, ..config.clone() };
        let exact = scheduler(&euler, steps, 0.).map_err(RequestError::from)?;
        let is_scaled = matches!(config.class, Class::DpmSolverMultistep | Class::UniPcMultistep);
        let total = |sigma: f32| f64::from((sigma * sigma + 1.).sqrt());

        let mut sample = match is_scaled {
            true => self.noise.clone(),
            false => (&self.noise * total(made.sigmas()[0]))?,
        };
        let timestep_cond = stages::timestep_cond(self.models, self.request.guidance_scale)?;
        let mut history = History::default();
        let last = made.timesteps().len() - 1;
        for index in 0..last {
            let t = if is_scaled { exact.timesteps()[index] } else { made.timesteps()[index] };
            let input = made.scale_model_input(&sample, index)?.to_dtype(self.models.dtype)?;
            let unet = &self.models.unet;
            let mut adapted = Adapted::new(self.models, self.request, host);
            let output = unet.forward(&input, t, &self.embeds, timestep_cond.as_ref(), &mut adapted);
            let model_output = output.map_err(pipeline::Error::from)?.to_dtype(DType::F32)?;
            let input = StepInput { index, model_output: &model_output, sample: &sample, noise: None };
            let step = made.step(input, &history)?;
            (sample, history) = (step.prev_sample, step.history);
        }
        Ok(if is_scaled { (sample * total(made.sigmas()[last]))? } else { sample })
    }
}

/// ‖a − b‖ / ‖b‖.
fn distance(a: &Tensor, b: &Tensor) -> Result<f64, SessionError> {
    let norm = |tensor: Tensor| -> candle_core::Result<f64> {
        tensor.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>().map(f64::sqrt)
    };
    Ok(norm((a - b)?)? / norm(b.clone())?)
}

/// Least squares of the logarithms.
fn fit(errors: &[f64]) -> Fit {
    let points: Vec<[f64; 2]> =
        STEPS.iter().zip(errors).map(|(steps, error)| [(*steps as f64).ln(), -error.ln()]).collect();
    let count = points.len() as f64;
    let mean = |axis: usize| points.iter().map(|point| point[axis]).sum::<f64>() / count;
    let (x, y) = (mean(0), mean(1));
    let covariance: f64 = points.iter().map(|point| (point[0] - x) * (point[1] - y)).sum();
    let variance: f64 = points.iter().map(|point| (point[0] - x).powi(2)).sum();
    let slopes = points.windows(2).map(|pair| (pair[1][1] - pair[0][1]) / (pair[1][0] - pair[0][0]));
    let range = [slopes.clone().fold(f64::INFINITY, f64::min), slopes.fold(f64::NEG_INFINITY, f64::max)];
    Fit { slope: covariance / variance, range }
}

fn lines(names: &[&str], errors: &[Vec<f64>], fits: &[Fit]) -> Vec<String> {
    let (method, steps) = REFERENCE;
    let mut lines = vec![tr!(
        "relative error of the latents at the last sigma, against {method} in {steps} steps; Karras sigmas, no guidance",
        method,
        steps
    )];
    let row = |head: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>22}")).collect();
        format!("{head:>7}{cells}")
    };
    let mark = |index: usize| char::from(b'a' + (index % 26) as u8);
    let heads = names.iter().enumerate().map(|(index, name)| format!("{} {name}", mark(index)));
    lines.push(row("N", heads.collect()));
    for (place, steps) in STEPS.iter().enumerate() {
        lines.push(row(
            &steps.to_string(),
            errors.iter().map(|errors| format!("{:.2e}", errors[place])).collect(),
        ));
    }
    let slopes =
        fits.iter().map(|fit| format!("{:.2} ({:.2} to {:.2})", fit.slope, fit.range[0], fit.range[1]));
    lines.push(row(&tr!("order"), slopes.collect()));
    lines.extend(chart(errors, mark));
    lines.push(tr!(
        "The order is the slope of the line through all numbers of steps, with the range between neighbours. At the defaults, spacing, \
         the last step to 0 and guidance hide it. Heun calls the UNet twice a step."
    ));
    lines
}

/// Both axes logarithmic: a letter a method, `*` where two meet.
fn chart(errors: &[Vec<f64>], mark: impl Fn(usize) -> char) -> Vec<String> {
    let all = errors.iter().flatten().copied().filter(|error| *error > 0. && error.is_finite());
    let (low, high) = all.fold((f64::INFINITY, 0f64), |(low, high), error| (low.min(error), high.max(error)));
    if low >= high {
        return vec![];
    }
    let mut grid = vec![vec![' '; COLUMNS * (STEPS.len() - 1) + 1]; ROWS];
    for (index, errors) in errors.iter().enumerate() {
        for (place, error) in errors.iter().enumerate().filter(|(_, error)| **error > 0. && error.is_finite())
        {
            let share = (high.ln() - error.ln()) / (high.ln() - low.ln());
            let cell = &mut grid[(share * (ROWS - 1) as f64).round() as usize][place * COLUMNS];
            *cell = if *cell == ' ' { mark(index) } else { '*' };
        }
    }
    let row = |(index, row): (usize, Vec<char>)| {
        let label = match index {
            0 => format!("{high:.0e}"),
            index if index + 1 == ROWS => format!("{low:.0e}"),
            _ => String::new(),
        };
        format!("{label:>7} │{}", row.into_iter().collect::<String>()).trim_end().to_string()
    };
    let mut lines: Vec<String> = grid.into_iter().enumerate().map(row).collect();
    lines.push(format!("{:>7} └{}", "", "─".repeat(COLUMNS * (STEPS.len() - 1) + 1)));
    let steps: String = STEPS.iter().map(|steps| format!("{steps:<COLUMNS$}")).collect();
    lines.push(format!("{:>7}  {}", "", steps.trim_end()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_power_is_its_exponent() {
        for order in [1., 2., 3.] {
            let errors: Vec<f64> = STEPS.iter().map(|steps| 5. / (*steps as f64).powf(order)).collect();
            let fit = fit(&errors);
            assert!((fit.slope - order).abs() < 1e-9 && (fit.range[1] - order).abs() < 1e-9, "{fit:?}");
        }
    }

    #[test]
    fn a_chart_has_a_letter_for_each_error() {
        let chart = chart(&[vec![1e-1, 5e-2, 2e-2, 1e-2, 5e-3], vec![1e-1, 1e-2, 1e-3, 1e-4, 1e-5]], |i| {
            ['a', 'b'][i]
        });
        let text = chart.join("\n");
        assert_eq!(
            (text.matches('a').count(), text.matches('b').count(), text.matches('*').count()),
            (4, 4, 1),
            "{text}"
        );
        assert!(text.starts_with("   1e-1 │*") && text.ends_with("40"), "{text}");
    }
}
