//! A scheduler's step: in the symbols of its paper, in diffusers' names, and in numbers.
//!
//! The step brings its formulas along; this file knows no scheduler.

use crate::debugger::record::{RecordView, TensorView};
use crate::debugger::view::ScheduleView;
use crate::pipeline::Stage;
use crate::scheduler::{Class, Formula, Number, StepFormulas};
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widget::plot::short;
use ratatui::text::{Line, Span};
use tr::tr;

/// The lines of a formula.
const OF_A_FORMULA: usize = 3;

/// The same lines with an empty one before each formula, which begin after `head` lines.
pub fn spaced(mut lines: Vec<Line<'static>>, head: usize) -> Vec<Line<'static>> {
    let formulas = lines.split_off(head.min(lines.len()));
    for formula in formulas.chunks(OF_A_FORMULA) {
        lines.push(Line::default());
        lines.extend_from_slice(formula);
    }
    lines
}

/// An element of the latents, by its index in row-major order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Element(usize);

/// The sigma of a step's input and that of its timestep, where they differ by more than a hundredth.
fn differing_levels(
    step: &StepFormulas,
    before: Option<&StepFormulas>,
    schedule: &ScheduleView,
) -> Option<(f32, f32)> {
    let sigma_at = |timestep: f64| {
        let alpha = schedule.alphas_cumprod.get(timestep.round().max(0.) as usize).copied()?;
        Some(((1. - alpha) / alpha).sqrt())
    };
    let sample = match (schedule.class, before) {
        // Their steps end T / N timesteps on, which need not be the next that the run visits: PNDM from the middle, DDIM in linspace.
        (Some(Class::Pndm | Class::Ddim), Some(before)) if before.prev_timestep >= 0. => {
            sigma_at(before.prev_timestep)?
        }
        _ => {
            let place = schedule.timesteps.len() + step.index;
            schedule.sigmas.get(place.checked_sub(schedule.calls)?).copied()?
        }
    };
    let told = sigma_at(step.timestep)?;
    ((sample - told).abs() > told / 100. && step.timestep.fract() == 0.).then_some((sample, told))
}

/// A step with its tensors.
pub struct Step<'a> {
    /// The stage.
    pub stage: Stage,
    /// Its numbers and formulas.
    pub step: &'a StepFormulas,
    /// The sigma that the scheduler takes the sample to have, and that of the timestep that the UNet gets, if they differ.
    differing_levels: Option<(f32, f32)>,
    record: &'a RecordView,
    /// The latents at its start.
    sample: &'a TensorView,
}

impl<'a> Step<'a> {
    /// The shown step; after `vae_decode`, the last one.
    pub fn of(state: &'a State) -> Option<Self> {
        let (record, before) = state.step()?;
        let sample = before.tensor("latents")?;
        let (step, schedule) = (record.step.as_deref()?, &state.view.as_ref()?.schedule);
        let differing_levels = differing_levels(step, before.step.as_deref(), schedule);
        Some(Self { stage: record.stage, step, differing_levels, record, sample })
    }

    /// The empty lines that [`spaced`] adds.
    pub fn gaps(&self) -> u16 {
        self.step.formulas.len() as u16
    }

    /// The number of elements in a row of the latents.
    pub fn width(&self) -> usize {
        self.sample.values.shape().last().copied().unwrap_or(1)
    }

    /// The element `by` positions further, with wrap-around.
    pub fn moved(&self, element: Element, by: isize) -> Element {
        let count = self.sample.values.data().len().max(1);
        Element((element.0 % count + count).saturating_add_signed(by % count as isize) % count)
    }

    fn value(&self, name: &str, element: Element) -> f64 {
        let tensor = if name == "sample" { Some(self.sample) } else { self.record.tensor(name) };
        let values = tensor.map_or(&[][..], |tensor| tensor.values.data());
        values.get(element.0 % values.len().max(1)).map_or(f64::NAN, |value| f64::from(*value))
    }

    /// `[0, c, y, x]`.
    fn place(&self, element: Element) -> String {
        let shape = self.sample.values.shape();
        let mut rest = element.0 % self.sample.values.data().len().max(1);
        let mut place: Vec<String> = shape
            .iter()
            .rev()
            .map(|size| {
                let index = rest % size.max(&1);
                rest /= size.max(&1);
                index.to_string()
            })
            .collect();
        place.reverse();
        format!("[{}]", place.join(", "))
    }

    /// The numbers of the step, then its formulas with the numbers of `element`: three lines per formula.
    pub fn lines(&self, element: Element, theme: &Theme, width: u16) -> Vec<Line<'static>> {
        let mut lines = self.head(element, theme, width);
        for formula in &self.step.formulas {
            lines.extend(self.formula(formula, element, (theme, width)));
        }
        lines
    }

    /// The lines before the formulas.
    pub fn head(&self, element: Element, theme: &Theme, width: u16) -> Vec<Line<'static>> {
        let columns = usize::from(width);
        let mut lines = vec![];
        let mut rest = Line::default();
        // A remark names the order.
        for number in self.step.numbers.iter().filter(|number| number.name != "order") {
            match explained(number) {
                Some(more) => lines.push(coefficient(number, &more, (theme, width))),
                // Numbers that say all share lines.
                None => {
                    let room = columns.saturating_sub(rest.width() + 2);
                    let name = if number.name == number.symbol { "" } else { number.name };
                    let part = format!("{} {name} {}", number.symbol, short(number.value));
                    if rest.width() > 0 && text::width(&part) > room {
                        lines.push(std::mem::take(&mut rest));
                    }
                    rest.push_span(if rest.width() > 0 { "  " } else { "" });
                    rest.push_span(Span::styled(format!("{} ", number.symbol), theme.strong));
                    if !name.is_empty() {
                        rest.push_span(Span::styled(format!("{name} "), theme.tensor));
                    }
                    rest.push_span(short(number.value));
                }
            }
        }
        if rest.width() > 0 {
            lines.push(rest);
        }
        let remarks = text::wrapped(&self.step.remarks.join("; "), columns);
        lines.extend(remarks.into_iter().filter(|remark| !remark.is_empty()).map(Line::raw));
        if let Some((sample, told)) = self.differing_levels {
            let note = tr!(
                "the sample's σ is {}; the UNet gets a timestep whose σ is {}",
                short(f64::from(sample)),
                short(f64::from(told))
            );
            lines.push(Line::styled(text::shortened(&note, columns), theme.warning));
        }
        lines.push(Line::from(vec![
            Span::styled("numbers are of the element ", theme.faint),
            Span::raw(self.place(element)),
            Span::styled("  h l [ ] select another", theme.faint),
        ]));
        lines
    }

    /// A formula in symbols, in names, and in numbers with its result.
    fn formula(
        &self,
        formula: &Formula,
        element: Element,
        (theme, width): (&Theme, u16),
    ) -> [Line<'static>; 3] {
        let (result, numbers) = (self.tensor_of(formula.result), self.numbers(formula, element));
        let plain = self.plain(formula, element);
        let value = self.value(result, element);
        let is_edited = self.record.edited.contains(&result);
        // Thresholding and clipping come after the formula.
        let is_bounded = formula.is_bounded && (plain - value).abs() > 1e-3 * (1. + value.abs());
        let shown = match (is_edited, is_bounded) {
            (true, _) => tr!("{}  then changed by hand to {}", number(plain), number(value)),
            (false, true) => tr!("{}  then bounded to {}", number(plain), number(value)),
            (false, false) => number(value),
        };
        let mut comes_to =
            Line::from(vec![Span::raw(format!("  {numbers} = ")), Span::styled(shown, theme.here)]);
        // A number that is cut off would read as another number.
        if let Some(s) = self.record.tensor(result).map(|tensor| tensor.row.summary) {
            let [mean, std] = [s.mean, s.std].map(short);
            let all = [tr!("   all: mean {mean}, std {std}", mean, std), format!("   all: {mean} ± {std}")];
            let room = usize::from(width).saturating_sub(comes_to.width());
            if let Some(statistics) = all.into_iter().find(|all| text::width(all) <= room) {
                comes_to.push_span(Span::styled(statistics, theme.faint));
            }
        }
        [
            Line::styled(formula.symbols, theme.strong),
            Line::styled(format!("  {} = {}", formula.result, formula.names), theme.tensor),
            comes_to,
        ]
    }

    /// The right side in numbers: `(0.5120 − 0.9987 · 1.0321) / 0.0510`.
    fn numbers(&self, formula: &Formula, element: Element) -> String {
        let mut text = String::new();
        for (index, (factor, name)) in formula.terms.iter().enumerate() {
            let sign = match (index, *factor < 0.) {
                (0, false) => "",
                (0, true) => "−",
                (_, false) => " + ",
                (_, true) => " − ",
            };
            let value = number(self.value(self.tensor_of(name), element));
            text += &match factor.abs() {
                1. => format!("{sign}{value}"),
                factor => format!("{sign}{} · {value}", decimals(factor)),
            };
        }
        match (formula.divisor == 1., formula.terms.len()) {
            (true, _) => text,
            (false, 1) => format!("{text} / {}", decimals(formula.divisor)),
            (false, _) => format!("({text}) / {}", decimals(formula.divisor)),
        }
    }

    /// What the formula gives before bounds and edits.
    fn plain(&self, formula: &Formula, element: Element) -> f64 {
        let term = |(factor, name): &(f64, &'static str)| factor * self.value(self.tensor_of(name), element);
        formula.terms.iter().map(term).sum::<f64>() / formula.divisor
    }

    /// The recorded tensor of a name in a formula.
    fn tensor_of(&self, name: &'static str) -> &'static str {
        match name {
            "model_output" => "guided_noise_residual",
            "prev_sample" => "latents",
            name => name,
        }
    }
}

/// A factor with four decimals, or more digits where it is small.
fn decimals(factor: f64) -> String {
    if factor >= 0.01 { format!("{factor:.4}") } else { format!("{factor:.3e}") }
}

/// What a number means beside itself. Of ᾱ, σ as well: the noise beside a signal of its full size.
fn explained(number: &Number) -> Option<String> {
    let value = number.value;
    Some(match number.name {
        "alpha_prod" | "alpha_prod_t" | "alpha_prod_t_prev" => {
            let sigma = ((1. - value) / value).max(0.).sqrt();
            format!(
                "√ = {:.4}  √(1−ᾱ) = {:.4}  σ = {}",
                value.sqrt(),
                (1. - value).max(0.).sqrt(),
                short(sigma)
            )
        }
        "sigma" | "sigma_next" => format!("ᾱ = 1 / (σ² + 1) = {:.4}", 1. / (value * value + 1.)),
        _ => return None,
    })
}

/// A number under the paper's symbol and diffusers' name.
fn coefficient(number: &Number, more: &str, (theme, width): (&Theme, u16)) -> Line<'static> {
    let more = text::shortened(more, usize::from(width).saturating_sub(BEFORE));
    Line::from(vec![
        Span::styled(format!("{:<8}", number.symbol), theme.strong),
        Span::styled(format!("{:<18}", number.name), theme.tensor),
        Span::raw(format!("{:>9}   ", short(number.value))),
        Span::styled(more, theme.faint),
    ])
}

/// The columns of a coefficient's names and number.
const BEFORE: usize = 38;

/// A number in a formula; a negative one in parentheses.
fn number(v: f64) -> String {
    if v < 0. { format!("(−{:.4})", -v) } else { format!("{v:.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::{SchedulerConfig, betas};

    /// PNDM that begins in the middle takes its second call for the repeat of the first, and from the third on its sample lags by a step.
    #[test]
    fn a_sample_at_another_noise_level_is_noticed() {
        let config = SchedulerConfig::defaults(Class::Pndm);
        let schedule = ScheduleView {
            alphas_cumprod: betas::alphas_cumprod(&config),
            class: Some(Class::Pndm),
            ..ScheduleView::default()
        };
        let step = |index: usize, timestep: f64, prev_timestep: f64| StepFormulas {
            index,
            timestep,
            prev_timestep,
            source: "",
            numbers: vec![],
            formulas: vec![],
            remarks: vec![],
        };
        let second = step(1, 551., 551.);
        let (sample, told) = differing_levels(&step(2, 501., 451.), Some(&second), &schedule).unwrap();
        assert!(sample > told, "{sample} {told}");
        assert_eq!(differing_levels(&step(2, 551., 501.), Some(&second), &schedule), None);
    }
}
