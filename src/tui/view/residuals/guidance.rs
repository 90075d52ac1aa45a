//! The numbers of guidance, and their meaning in words.

use crate::debugger::record::RecordView;
use crate::debugger::text::percent;
use crate::tensor::compare::{along_and_across, cosine};
use crate::tensor::{PlainTensor, Summary};
use crate::tui::widget::plot::short;
use tr::tr;

/// The effect of guidance in a step (Ho and Salimans, 2022): guided = uncond + scale · push, with push = text − uncond. In a latent
/// consistency model the scale is an input of the UNet, and guided = text.
#[derive(Debug, Clone, PartialEq)]
pub struct Guidance {
    scale: f64,
    is_scale_input: bool,
    uncond: f64,
    text: f64,
    push: f64,
    guided: f64,
    /// Cosine of uncond and text.
    cosine: f64,
    /// Cosine of uncond and guided.
    turned: f64,
    /// The push's components along uncond and orthogonal to it.
    parts: (f64, f64),
    /// The norm of each of the push's channels.
    channels: Vec<f64>,
}

impl Guidance {
    /// The numbers of a step; `None` for another stage.
    pub fn of(record: &RecordView) -> Option<Self> {
        let values = |name| record.tensor(name).map(|tensor| &tensor.values);
        let (uncond, text) = (values("uncond_residual")?, values("text_cond_residual")?);
        let guided = values("guided_noise_residual")?;
        let guidance = Self::between(uncond, text, guided, record.guidance_scale);
        Some(Self { is_scale_input: record.is_scale_input, ..guidance })
    }

    fn between(uncond: &PlainTensor, text: &PlainTensor, guided: &PlainTensor, scale: f64) -> Self {
        let norm = |values: &[f32]| Summary::of_values(values).l2;
        let push: Vec<f32> = text.data().iter().zip(uncond.data()).map(|(t, u)| t - u).collect();
        let channels = match uncond.shape() {
            [_, channels, ..] if *channels > 0 => push.chunks(push.len() / channels).map(norm).collect(),
            _ => vec![],
        };
        Self {
            scale,
            is_scale_input: false,
            uncond: norm(uncond.data()),
            text: norm(text.data()),
            push: norm(&push),
            guided: norm(guided.data()),
            cosine: cosine(uncond.data(), text.data()),
            turned: cosine(uncond.data(), guided.data()),
            parts: along_and_across(&push, uncond.data()),
            channels,
        }
    }

    /// Each number by name, with its relation to the others.
    pub fn rows(&self) -> Vec<(String, String, String)> {
        let row = |name: &str, value: f64, more: String| (name.to_string(), short(value), more);
        let of = |part: f64, whole: f64| percent(part / whole);
        let (along, across) = self.parts;
        let scaled = |part: f64| match self.is_scale_input || self.scale.is_nan() {
            true => String::new(),
            false => format!("× {} = {}", self.scale, short(self.scale * part)),
        };
        let mut rows = vec![
            row("‖uncond‖", self.uncond, String::new()),
            row("‖text‖", self.text, format!("cos {}, {}", short(self.cosine), degrees(self.cosine))),
            row("‖text − uncond‖", self.push, tr!("{} of ‖uncond‖", of(self.push, self.uncond))),
            row("  along uncond", along, scaled(along)),
            row("  across it", across, scaled(across)),
        ];
        if !self.channels.is_empty() {
            let channels: Vec<String> = self.channels.iter().map(|norm| format!("{norm:.2}")).collect();
            rows.push((tr!("  by channel"), String::new(), channels.join("  ")));
        }
        let of_uncond = short(self.guided / self.uncond);
        let led = tr!("{of_uncond} × ‖uncond‖, turned by {}", degrees(self.turned), of_uncond);
        rows.push(row("‖guided‖", self.guided, led));
        rows
    }

    /// Their meaning.
    pub fn words(&self, prediction: &str) -> String {
        let Self { scale, uncond, push, guided, .. } = *self;
        if ![uncond, push, guided].iter().all(|norm| norm.is_finite()) {
            return tr!("A residual contains NaN or infinity: its norm is undefined.");
        }
        if uncond == 0. {
            return tr!("The unconditional residual is zero: there is no norm to compare with.");
        }
        if push == 0. {
            return "Both residuals are the same: the prompt changes nothing, so guidance has no effect."
                .into();
        }
        let what = match prediction {
            "v_prediction" => "the predicted v",
            "sample" => "the predicted picture",
            _ => "the predicted noise",
        };
        let moved = tr!("The prompt moved {what} by {} of its length", percent(push / uncond), what);
        let led = tr!(
            "the guided residual is {} × as long as the unconditional one and turned by {}",
            format_args!("{:.2}", guided / uncond),
            degrees(self.turned)
        );
        match scale {
            _ if self.is_scale_input => tr!(
                "{moved}; the UNet took the scale {scale} as an input, so the text residual alone is applied.",
                moved,
                scale
            ),
            // A recorded step.
            _ if scale.is_nan() => {
                tr!("{moved}; {led}, and no multiple of that was applied alone.", moved, led)
            }
            0. => tr!("{moved}; at scale 0 none of it is applied: the unconditional residual alone.", moved),
            1. => tr!("{moved}; at scale 1 just that is applied: the text residual alone.", moved),
            _ if scale < 0. => {
                tr!("{moved}; {scale} × that was applied, away from the prompt: {led}.", moved, scale, led)
            }
            _ => tr!("{moved}; {scale} × that was applied: {led}.", moved, scale, led),
        }
    }
}

fn degrees(cosine: f64) -> String {
    match cosine.clamp(-1., 1.).acos().to_degrees() {
        angle if angle.is_nan() => "NaN".into(),
        angle if angle < 10. => format!("{angle:.1}°"),
        angle => format!("{angle:.0}°"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guidance(uncond: [f32; 2], text: [f32; 2], scale: f64) -> Guidance {
        let tensor = |values: [f32; 2]| PlainTensor::from_values(&[1, 2, 1, 1], values.into()).unwrap();
        let guided = [0, 1].map(|i| uncond[i] + scale as f32 * (text[i] - uncond[i]));
        Guidance::between(&tensor(uncond), &tensor(text), &tensor(guided), scale)
    }

    #[test]
    fn the_push_in_words() {
        // From (10, 0) by (0, 1), ten times: (10, 10).
        let g = guidance([10., 0.], [10., 1.], 10.);
        assert_eq!(g.parts, (0., 1.));
        assert_eq!(g.channels, [0., 1.]);
        assert_eq!(
            g.words("epsilon"),
            "The prompt moved the predicted noise by 10 % of its length; 10 × that was applied: the guided residual is \
             1.41 × as long as the unconditional one and turned by 45°."
        );
    }

    #[test]
    fn scales_that_mean_something_of_their_own() {
        assert!(guidance([1., 0.], [1., 1.], 0.).words("").ends_with("the unconditional residual alone."));
        assert!(guidance([1., 0.], [1., 1.], 1.).words("v_prediction").contains("v by 100 %"));
        assert!(guidance([1., 0.], [1., 1.], 1.).words("").ends_with("the text residual alone."));
        assert!(guidance([1., 0.], [1., 1.], -2.).words("").contains("away from the prompt"));
    }

    #[test]
    fn a_scale_that_the_unet_takes() {
        let g = Guidance { is_scale_input: true, ..guidance([1., 0.], [1., 1.], 1.) };
        let words = Guidance { scale: 8., ..g.clone() }.words("epsilon");
        assert!(words.ends_with("took the scale 8 as an input, so the text residual alone is applied."));
        assert!(!g.rows().iter().any(|(_, _, more)| more.starts_with('×')));
    }

    #[test]
    fn where_there_is_no_length() {
        assert!(guidance([0., 0.], [1., 1.], 7.5).words("").contains("is zero"));
        assert!(guidance([1., 1.], [1., 1.], 7.5).words("").contains("the same"));
        let broken = PlainTensor::from_values(&[1, 1, 1, 1], vec![f32::NAN]).unwrap();
        let g = Guidance::between(&broken, &broken, &broken, 7.5);
        assert!(g.words("").contains("NaN"));
        assert!(g.rows().iter().any(|(_, value, _)| value == "NaN"));
    }
}
