//! Interventions: changes of module outputs, made by a probe around the stage.

use super::Stage;
use crate::nn::{Path, Probe, Result};
use candle_core::Tensor;
use std::fmt;
use std::sync::Arc;

/// Whether an intervention applies to the module at a path.
pub type IsAt = Arc<dyn Fn(&Path) -> bool + Send + Sync>;
/// Maps the output of the module at a path to another.
pub type Change = Arc<dyn Fn(&Path, Tensor) -> Result<Tensor> + Send + Sync>;

/// A change of module outputs, from one stage on.
#[derive(Clone)]
pub struct Intervention {
    /// The edit as typed: `t("unet.mid_block") *= 0`.
    pub text: Arc<str>,
    /// The only stage to which it applies; `None` for every later stage.
    pub only: Option<Stage>,
    /// Whether it applies to the module at a path.
    pub is_at: IsAt,
    /// The new output, of the same shape and dtype.
    pub change: Change,
}

impl fmt::Debug for Intervention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intervention")
            .field("text", &self.text)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

impl Intervention {
    /// Whether it applies in `stage`.
    pub fn is_in(&self, stage: Stage) -> bool {
        self.only.is_none_or(|only| only == stage)
    }
}

/// A probe that applies interventions and passes the results to another probe.
pub(super) struct Intervening<'a> {
    /// The interventions of this stage, in order.
    pub interventions: Vec<&'a Intervention>,
    pub probe: &'a mut dyn Probe,
}

impl Probe for Intervening<'_> {
    fn wants(&self, path: &Path) -> bool {
        self.interventions.iter().any(|intervention| (intervention.is_at)(path)) || self.probe.wants(path)
    }

    fn enter(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<()> {
        if self.probe.wants(path) { self.probe.enter(path, inputs) } else { Ok(()) }
    }

    fn intercept(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<Option<Tensor>> {
        if self.probe.wants(path) { self.probe.intercept(path, inputs) } else { Ok(None) }
    }

    fn exit(&mut self, path: &Path, mut output: Tensor) -> Result<Tensor> {
        for intervention in self.interventions.iter().filter(|intervention| (intervention.is_at)(path)) {
            output = (intervention.change)(path, output)?;
        }
        if self.probe.wants(path) { self.probe.exit(path, output) } else { Ok(output) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Recorder, watch};
    use candle_core::Device;

    #[test]
    fn the_other_probe_sees_the_changed_output() {
        let halving = Intervention {
            text: "t(\"b\") *= 0.5".into(),
            only: Some(Stage::Denoise { step: 2 }),
            is_at: Arc::new(|path| path.as_str() == "b"),
            change: Arc::new(|_, output| Ok((output * 0.5)?)),
        };
        assert!(halving.is_in(Stage::Denoise { step: 2 }) && !halving.is_in(Stage::Denoise { step: 3 }));
        let mut recorder = Recorder::new(|_: &Path| true);
        let mut probe = Intervening { interventions: vec![&halving], probe: &mut recorder };
        for path in ["a", "b"] {
            watch(&mut probe, &Path::new(path), &[], |_| Ok(Tensor::new(4f32, &Device::Cpu)?)).unwrap();
        }
        let seen = recorder.seen.iter().map(|(path, out)| (path.as_str(), out.to_scalar::<f32>().unwrap()));
        assert_eq!(seen.collect::<Vec<_>>(), [("a", 4.), ("b", 2.)]);
    }
}
