//! DDIM's step: in the symbols of the paper, in diffusers' names, and in numbers.
//!
//! Song et al., 2021, equations 12 and 16. The paper's α is diffusers' `alpha_prod` and Ho et al.'s ᾱ; this view writes
//! ᾱ.

use crate::debugger::record::{RecordView, TensorView};
use crate::pipeline::Stage;
use crate::scheduler::ddim::Coefficients;
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widget::plot::short;
use ratatui::text::{Line, Span};
use tr::tr;

/// The lines before the formulas, and the lines of each.
const COEFFICIENTS: usize = 4;
const OF_A_FORMULA: usize = 3;
/// The empty lines that [`spaced`] adds.
pub const GAPS: u16 = 4;

/// The same lines with an empty one before each formula.
pub fn spaced(mut lines: Vec<Line<'static>>) -> Vec<Line<'static>> {
    let formulas = lines.split_off(COEFFICIENTS.min(lines.len()));
    for formula in formulas.chunks(OF_A_FORMULA) {
        lines.push(Line::default());
        lines.extend_from_slice(formula);
    }
    lines
}

/// An element of the latents, by its index in row-major order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Element(usize);

/// A step with its tensors.
pub struct Step<'a> {
    /// The stage.
    pub stage: Stage,
    /// Its numbers.
    pub c: Coefficients,
    record: &'a RecordView,
    /// The latents at its start.
    sample: &'a TensorView,
}

impl<'a> Step<'a> {
    /// The shown step; after `vae_decode`, the last one.
    pub fn of(state: &'a State) -> Option<Self> {
        let (record, before) = state.step()?;
        let sample = before.tensor("latents")?;
        Some(Self { stage: record.stage, c: record.coefficients?, record, sample })
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

    /// The formulas with the numbers of `element`: coefficients, then three lines per formula.
    pub fn lines(&self, element: Element, theme: &Theme, width: u16) -> Vec<Line<'static>> {
        let (c, prediction) = (&self.c, self.record.prediction_type);
        let [alpha, beta] = [c.alpha_prod_t, c.beta_prod_t].map(|x| f64::from(x).sqrt());
        let alpha_prev = f64::from(c.alpha_prod_t_prev).sqrt();
        let sigma = f64::from(c.std_dev_t);
        let direction = (1. - f64::from(c.alpha_prod_t_prev) - sigma * sigma).max(0.).sqrt();
        let at = |name: &str| self.value(name, element);
        let (x, out) = (at("sample"), at("guided_noise_residual"));
        let (x0, eps) = (at("pred_original_sample"), at("pred_epsilon"));
        let towards = at("pred_sample_direction");

        let mut lines = vec![
            coefficient(
                "ᾱ_t",
                "alpha_prod_t",
                c.alpha_prod_t,
                format!("√ᾱ_t = {alpha:.4}  √(1−ᾱ_t) = {beta:.4}"),
                (theme, width),
            ),
            coefficient(
                "ᾱ_prev",
                "alpha_prod_t_prev",
                c.alpha_prod_t_prev,
                format!("√ = {alpha_prev:.4}"),
                (theme, width),
            ),
            coefficient(
                "σ_t",
                "std_dev_t",
                c.std_dev_t,
                tr!("eta · √variance (16); 0 is DDIM"),
                (theme, width),
            ),
            Line::from(vec![
                Span::styled("numbers are of the element ", theme.faint),
                Span::raw(self.place(element)),
                Span::styled("  h l [ ] select another", theme.faint),
            ]),
        ];
        let n = number;
        let (symbols, names, numbers) = match prediction {
            "epsilon" => (
                "x̂₀ = (x_t − √(1−ᾱ_t) · ε) / √ᾱ_t",
                "pred_original_sample = (sample − √beta_prod_t · model_output) / √alpha_prod_t",
                format!("({} − {beta:.4} · {}) / {alpha:.4}", n(x), n(out)),
            ),
            "sample" => ("x̂₀ = what the UNet predicts", "pred_original_sample = model_output", n(out)),
            _ => (
                "x̂₀ = √ᾱ_t · x_t − √(1−ᾱ_t) · v",
                "pred_original_sample = √alpha_prod_t · sample − √beta_prod_t · model_output",
                format!("{alpha:.4} · {} − {beta:.4} · {}", n(x), n(out)),
            ),
        };
        let plain = match prediction {
            "epsilon" => (x - beta * out) / alpha,
            "sample" => out,
            _ => alpha * x - beta * out,
        };
        // Thresholding and clipping come after the formula.
        let is_bounded = self.record.is_bounded && (plain - x0).abs() > 1e-3 * (1. + x0.abs());
        let result = if is_bounded { tr!("{}  then bounded to {}", n(plain), n(x0)) } else { n(x0) };
        lines.extend(self.formula(symbols, names, numbers, result, "pred_original_sample", (theme, width)));

        let (symbols, names, numbers) = match prediction {
            "epsilon" => ("ε̂ = what the UNet predicts", "pred_epsilon = model_output", n(out)),
            "sample" => (
                "ε̂ = (x_t − √ᾱ_t · x̂₀) / √(1−ᾱ_t)",
                "pred_epsilon = (sample − √alpha_prod_t · model_output) / √beta_prod_t",
                format!("({} − {alpha:.4} · {}) / {beta:.4}", n(x), n(out)),
            ),
            _ => (
                "ε̂ = √ᾱ_t · v + √(1−ᾱ_t) · x_t",
                "pred_epsilon = √alpha_prod_t · model_output + √beta_prod_t · sample",
                format!("{alpha:.4} · {} + {beta:.4} · {}", n(out), n(x)),
            ),
        };
        lines.extend(self.formula(symbols, names, numbers, n(eps), "pred_epsilon", (theme, width)));
        lines.extend(self.formula(
            "direction to x_t = √(1 − ᾱ_prev − σ_t²) · ε̂",
            "pred_sample_direction = √(1 − alpha_prod_t_prev − std_dev_t²) · pred_epsilon",
            format!("{direction:.4} · {}", n(eps)),
            n(towards),
            "pred_sample_direction",
            (theme, width),
        ));
        let (noise, noise_name) =
            if sigma == 0. { ("", "") } else { (" + σ_t · z", " + std_dev_t · noise") };
        let plain = alpha_prev * x0 + towards;
        let is_edited = self.record.edited.contains(&"latents");
        let drawn = match (sigma == 0., is_edited) {
            (true, _) => String::new(),
            (false, false) => format!(" + {}", n(at("latents") - plain)),
            // The noise cannot be recovered after an edit.
            (false, true) => " + σ_t · z".into(),
        };
        let result = match (is_edited, sigma == 0.) {
            (false, _) => n(at("latents")),
            (true, true) => tr!("{}  then changed by hand to {}", n(plain), n(at("latents"))),
            (true, false) => tr!("…  then changed by hand to {}", n(at("latents"))),
        };
        lines.extend(self.formula(
            &format!("x_prev = √ᾱ_prev · x̂₀ + direction{noise}"),
            &format!(
                "prev_sample = √alpha_prod_t_prev · pred_original_sample + pred_sample_direction{noise_name}"
            ),
            format!("{alpha_prev:.4} · {} + {}{drawn}", n(x0), n(towards)),
            result,
            "latents",
            (theme, width),
        ));
        lines
    }

    /// A formula in symbols, in names, and in numbers with its result.
    fn formula(
        &self,
        symbols: &str,
        names: &str,
        numbers: String,
        result: String,
        tensor: &str,
        (theme, width): (&Theme, u16),
    ) -> [Line<'static>; 3] {
        let mut comes_to =
            Line::from(vec![Span::raw(format!("  {numbers} = ")), Span::styled(result, theme.here)]);
        // A number that is cut off would read as another number.
        if let Some(s) = self.record.tensor(tensor).map(|tensor| tensor.row.summary) {
            let [mean, std] = [s.mean, s.std].map(short);
            let all = [tr!("   all: mean {mean}, std {std}", mean, std), format!("   all: {mean} ± {std}")];
            let room = usize::from(width).saturating_sub(comes_to.width());
            if let Some(statistics) = all.into_iter().find(|all| text::width(all) <= room) {
                comes_to.push_span(Span::styled(statistics, theme.faint));
            }
        }
        [
            Line::styled(symbols.to_string(), theme.strong),
            Line::styled(format!("  {names}"), theme.tensor),
            comes_to,
        ]
    }
}

fn coefficient(
    symbol: &str,
    name: &str,
    value: f32,
    more: String,
    (theme, width): (&Theme, u16),
) -> Line<'static> {
    let more = text::shortened(&more, usize::from(width).saturating_sub(BEFORE));
    Line::from(vec![
        Span::styled(format!("{symbol:<7}"), theme.strong),
        Span::styled(format!("{name:<18}"), theme.tensor),
        Span::raw(format!("{:>9}   ", short(f64::from(value)))),
        Span::styled(more, theme.faint),
    ])
}

/// The columns of a coefficient's names and number.
const BEFORE: usize = 37;

/// A number in a formula; a negative one in parentheses.
fn number(v: f64) -> String {
    if v < 0. { format!("(−{:.4})", -v) } else { format!("{v:.4}") }
}
