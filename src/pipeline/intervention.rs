//! What a module makes, changed by hand: a probe around the stage, as a fault is. No model knows of it.

use super::Stage;
use crate::nn::{Path, Probe, Result};
use candle_core::Tensor;
use std::fmt;
use std::sync::Arc;

/// Tells a piece by its path.
pub type IsAt = Arc<dyn Fn(&Path) -> bool + Send + Sync>;
/// What becomes of the output of the piece at a path.
pub type Change = Arc<dyn Fn(&Path, Tensor) -> Result<Tensor> + Send + Sync>;

/// Something done to what modules make, whenever they run from there on.
#[derive(Clone)]
pub struct Intervention {
    /// What was done, as it was typed: `t("unet.mid_block") *= 0`.
    pub text: Arc<str>,
    /// The one stage in which it is done; `None` for every stage from there on.
    pub only: Option<Stage>,
    /// Whether it is done to the piece at a path.
    pub is_at: IsAt,
    /// What becomes of the output: shape and dtype must stay.
    pub change: Change,
}

impl fmt::Debug for Intervention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meddling").field("text", &self.text).field("only", &self.only).finish_non_exhaustive()
    }
}

impl Intervention {
    /// Whether it is done in `stage`.
    pub fn is_in(&self, stage: Stage) -> bool {
        self.only.is_none_or(|only| only == stage)
    }
}

/// A probe that meddles with a stage, and shows another what came of it.
pub(super) struct Intervening<'a> {
    /// All that is done in this stage, the first first.
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
    fn what_watches_sees_what_became_of_the_output() {
        let halving = Intervention {
            text: "t(\"b\") *= 0.5".into(),
            only: Some(Stage::Denoise { step: 2 }),
            is_at: Arc::new(|path| path.as_str() == "b"),
            change: Arc::new(|_, output| Ok((output * 0.5)?)),
        };
        assert!(halving.is_in(Stage::Denoise { step: 2 }) && !halving.is_in(Stage::Denoise { step: 3 }));
        let mut recorder = Recorder::new(|_: &Path| true);
        let mut meddled = Intervening { interventions: vec![&halving], probe: &mut recorder };
        for path in ["a", "b"] {
            watch(&mut meddled, &Path::new(path), &[], |_| Ok(Tensor::new(4f32, &Device::Cpu)?)).unwrap();
        }
        let seen = recorder.seen.iter().map(|(path, out)| (path.as_str(), out.to_scalar::<f32>().unwrap()));
        assert_eq!(seen.collect::<Vec<_>>(), [("a", 4.), ("b", 2.)]);
    }
}
