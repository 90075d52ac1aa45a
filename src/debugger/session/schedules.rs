//! `info scheduler`, and `info schedules`: several schedulers side by side.

use super::{Session, SessionError};
use crate::debugger::outcome::{Outcome, Shown};
use crate::nn::error::abridged;
use crate::pipeline::RequestError;
use crate::scheduler::step::timestep_text;
use crate::scheduler::{Class, SchedulerConfig, scheduler};
use serde_json::json;
use tr::tr;

impl Session {
    /// The scheduler of the run: whose place it has, what it is set to, and the timesteps that it visits.
    pub(super) fn info_scheduler(&self) -> Outcome {
        let here = self.here();
        let (scheduler, models) = (here.scheduler(), self.backend.info());
        let config = scheduler.config();
        let steps = here.request().steps();
        let timesteps = &scheduler.timesteps()[steps.clone()];
        let (choice, name) = (&here.request().scheduler, config.class.name());
        // A class without a short name has one name.
        let shown = if choice.name() == name { name.into() } else { format!("{} ({name})", choice.name()) };
        let whose = match &models.stands_in_for {
            Some(class) if models.is_recorded => {
                tr!("{}: timesteps as they were recorded, without sigmas and formulas", abridged(class))
            }
            Some(class) if choice.is_own_class() => {
                tr!("DDIM, which stands in for the checkpoint's {}", abridged(class))
            }
            _ if choice.is_own() => tr!("{shown}, the checkpoint's own", shown),
            _ if choice.is_own_class() => tr!(
                "{shown}, the checkpoint's own class with other arguments; `set scheduler own` returns to its own",
                shown
            ),
            _ => {
                tr!("{shown} instead of the checkpoint's own; `set scheduler own` returns to that", shown)
            }
        };
        let sigma = |call: usize| number(f64::from(scheduler.sigmas()[call]));
        let listed: Vec<_> = timesteps.iter().map(|t| timestep_text(*t)).collect();
        let spacing = config.timestep_spacing.name();
        let mut messages = vec![
            whose,
            tr!("{} timesteps, {spacing}: {}", timesteps.len(), listed.join(" "), spacing),
            tr!("prediction_type = {}", config.prediction_type.name()),
            tr!("sigma from {first} to {last}", first = sigma(steps.start), last = sigma(steps.end)),
        ];
        messages.extend(calls_of_a_step(config, here.request().num_inference_steps));
        messages.extend(
            choice
                .changed()
                .into_iter()
                .map(|argument| format!("scheduler.{argument} = {}", choice.argument(argument))),
        );
        let takes_scale = models.takes_guidance_scale;
        messages.extend(takes_scale.then(|| tr!("guidance_scale is an input of the UNet, not a factor")));
        messages.extend(models.preset.map(|preset| preset.to_string()));
        let value = json!({
            "class": name,
            "name": choice.name(),
            "stands_in_for": models.stands_in_for,
            "arguments": choice,
            "timesteps": timesteps,
            "sigmas": &scheduler.sigmas()[steps.start..],
            "init_noise_sigma": scheduler.init_noise_sigma(),
            "preset": models.preset.map(|preset| preset.name),
        });
        Outcome::lines(messages).showing(Shown::Value(value))
    }

    /// The schedules of several schedulers with the run's number of steps: the timestep, sigma and signal-to-noise ratio of each
    /// call of the UNet.
    pub(super) fn info_schedules(&self, names: &[String]) -> Result<Outcome, SessionError> {
        let here = self.here();
        let (request, own) = (here.request(), vec![here.request().scheduler.name()]);
        let names = if names.is_empty() { &own } else { names };
        let mut columns = vec![];
        let mut values = vec![];
        for name in names {
            let choice = match *name == request.scheduler.name() {
                true => request.scheduler.clone(),
                false => request.scheduler.named(name).map_err(SessionError::Refused)?,
            };
            let made = scheduler(choice.config(), request.num_inference_steps, 0.);
            let made = made.map_err(RequestError::from)?;
            let rows = made.timesteps().iter().zip(made.sigmas()).map(|(t, sigma)| {
                let sigma = f64::from(*sigma);
                format!("{:>8}{:>8}{:>8}", timestep_text(*t), number(sigma), number(1. / (sigma * sigma)))
            });
            let last = made.sigmas().last().map_or(0., |sigma| f64::from(*sigma));
            let result = format!("{:>8}{:>8}{:>8}", tr!("result"), number(last), "");
            let head = format!("{:>8}{:>8}{:>8}", "t", "σ", "1/σ²");
            let title = format!("{:>24}", crate::debugger::text::abridged(name));
            columns.push([vec![title, head], rows.collect(), vec![result]].concat());
            values.push(json!({
                "name": name,
                "class": choice.config().class.name(),
                "timesteps": made.timesteps(),
                "sigmas": made.sigmas(),
                "init_noise_sigma": made.init_noise_sigma(),
            }));
        }
        let height = columns.iter().map(Vec::len).max().unwrap_or(0);
        let row = |row: usize| {
            let call = match row {
                1 => "denoise".to_string(),
                row if row >= 2 && row + 1 < height => (row - 2).to_string(),
                _ => String::new(),
            };
            let cells = columns.iter().map(|column| match column.get(row) {
                Some(cell) => cell.clone(),
                None => " ".repeat(24),
            });
            format!("{call:>7}{}", cells.collect::<String>()).trim_end().to_string()
        };
        let lines = (0..height).map(row).collect();
        Ok(Outcome::lines(lines).showing(Shown::Value(json!(values))))
    }
}

/// A number in at most seven columns.
fn number(value: f64) -> String {
    match value {
        value if !value.is_finite() => "∞".into(),
        0. => "0".into(),
        value if value.abs() >= 1000. || value.abs() < 0.001 => format!("{value:.1e}"),
        value if value.abs() >= 100. => format!("{value:.2}"),
        value => format!("{value:.4}"),
    }
}

/// Which calls of `denoise` belong together, in schedulers with more calls than steps.
fn calls_of_a_step(config: &SchedulerConfig, steps: usize) -> Option<String> {
    let calls = config.class.num_calls(config, steps);
    let why = match config.class {
        Class::HeunDiscrete => tr!("two for each step but the last"),
        Class::Pndm if config.skip_prk_steps => tr!("denoise 0 and 1 are both calls of the first step"),
        Class::Pndm => tr!("denoise 0 to 11 are three Runge-Kutta steps of four calls each"),
        _ => return None,
    };
    (calls != steps).then(|| tr!("{steps} steps are {calls} calls of the UNet: {why}", steps, calls, why))
}
