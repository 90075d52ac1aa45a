//! The statistic of each module that is shown as heat.

use crate::debugger::inspect::{LoraRun, ModuleRun, ModulesRun};
use crate::picture::{residual, scale};
use crate::tui::widget::plot::short;
use ratatui::style::Color;

/// A statistic of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Statistic {
    /// The standard deviation of its output.
    #[default]
    Std,
    /// The mean.
    Mean,
    /// The largest magnitude.
    Largest,
    /// The number of NaN and infinite values.
    NotFinite,
    /// The time that it took, including its submodules.
    Time,
    /// ‖ΔW‖ / ‖W‖ of the run's LoRAs; of a module with others below it, the largest of those.
    LoraWeight,
    /// How other its output is with the run's LoRAs: ‖with − without‖ / ‖without‖.
    LoraOutput,
}

impl Statistic {
    const ALL: [Self; 7] = [
        Self::Std,
        Self::Mean,
        Self::Largest,
        Self::NotFinite,
        Self::Time,
        Self::LoraWeight,
        Self::LoraOutput,
    ];

    /// The statistic after this one; those of LoRAs only if the run has any.
    pub fn next(self, has_loras: bool) -> Self {
        let next = Self::ALL[(self as usize + 1) % Self::ALL.len()];
        if next.is_of_loras() && !has_loras { Self::default() } else { next }
    }

    /// Whether it takes a run without the LoRAs to know it.
    pub fn is_of_loras(self) -> bool {
        matches!(self, Self::LoraWeight | Self::LoraOutput)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Std => "std",
            Self::Mean => "mean",
            Self::Largest => "|max|",
            Self::NotFinite => "NaN, Inf",
            Self::Time => "time",
            Self::LoraWeight => "ΔW/W",
            Self::LoraOutput => "LoRA Δ",
        }
    }

    pub fn of(self, module: &ModuleRun, loras: Option<&LoraRun>) -> f64 {
        let s = &module.summary;
        let change = || loras?.module(&module.path);
        match self {
            Self::Std => s.std,
            Self::Mean => s.mean,
            Self::Largest => s.min.abs().max(s.max.abs()),
            Self::NotFinite => (s.nan + s.inf) as f64,
            Self::Time => module.took.map_or(f64::NAN, |took| took.as_secs_f64()),
            Self::LoraWeight => loras.map_or(0., |run| run.weight_below(&module.path)),
            Self::LoraOutput => change().map_or(0., |change| change.output),
        }
    }

    pub fn formatted(self, module: &ModuleRun, loras: Option<&LoraRun>) -> String {
        let value = self.of(module, loras);
        match self {
            Self::LoraWeight | Self::LoraOutput if loras.is_none() || value == 0. => String::new(),
            Self::LoraWeight | Self::LoraOutput => format!("{:.3} %", 100. * value),
            Self::Time => module.took.map_or(String::new(), |took| time(took.as_secs_f64())),
            Self::NotFinite => format!("{value}"),
            _ => short(value),
        }
    }

    /// The colour of a module relative to the others of its stage: diverging around 0 for the mean; otherwise from low
    /// to high
    /// on a logarithmic scale; green for NaN and infinity.
    pub fn colour(self, module: &ModuleRun, loras: Option<&LoraRun>, heat: &Heat) -> Color {
        let value = self.of(module, loras);
        let colour = match self {
            Self::Mean => residual::colour(value as f32, heat.most as f32),
            Self::NotFinite if value > 0. => scale::NOT_FINITE,
            Self::NotFinite => scale::sequential(0.),
            _ if !value.is_finite() => scale::NOT_FINITE,
            _ if value <= 0. || heat.most <= heat.least => scale::sequential(0.),
            _ => scale::sequential(((value / heat.least).ln() / (heat.most / heat.least).ln()) as f32),
        };
        let [r, g, b] = colour.0;
        Color::Rgb(r, g, b)
    }
}

/// The range of the stage's modules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heat {
    least: f64,
    most: f64,
}

impl Heat {
    pub fn of(statistic: Statistic, run: &ModulesRun, loras: Option<&LoraRun>) -> Self {
        let values = run.modules.iter().map(|module| statistic.of(module, loras).abs());
        let values = values.filter(|value| value.is_finite() && *value > 0.);
        let (least, most) =
            values.fold((f64::INFINITY, 0f64), |(least, most), v| (least.min(v), most.max(v)));
        // For times, only the largest matter.
        let least = if statistic == Statistic::Time { least.max(most / 1e3) } else { least };
        Self { least, most }
    }

    /// The ends of the scale.
    pub fn ends(self) -> (f64, f64) {
        (self.least, self.most)
    }
}

/// A time in at most seven characters.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 0.1 => format!("{:.1} ms", s * 1e3),
        s if s < 1. => format!("{:.0} ms", s * 1e3),
        s if s < 100. => format!("{s:.1} s"),
        s => format!("{s:.0} s"),
    }
}

/// A count in at most six characters.
pub fn count(count: u64) -> String {
    match count {
        0 => "–".into(),
        n if n < 1000 => n.to_string(),
        n if n < 999_950 => format!("{:.1}K", n as f64 / 1e3),
        n if n < 999_950_000 => format!("{:.1}M", n as f64 / 1e6),
        n => format!("{:.2}B", n as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_are_short() {
        assert_eq!(
            [1e-5, 0.0123, 0.5, 12.34, 250.].map(time),
            ["10 µs", "12.3 ms", "500 ms", "12.3 s", "250 s"]
        );
        assert_eq!(
            [0, 999, 1000, 999_999, 865_910_724, 2_500_000_000].map(count),
            ["–", "999", "1.0K", "1.0M", "865.9M", "2.50B"]
        );
    }
}
