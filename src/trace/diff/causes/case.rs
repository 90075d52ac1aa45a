//! A difference to explain.

use super::evidence::ModuleEvidence;
use super::layers::{self, Layer};
use crate::nn::Result;
use crate::pipeline::Models;
use crate::tensor::PlainTensor;
use crate::tensor::compare::relative_difference;
use crate::trace::TraceStage;
use candle_core::{DType, Device, Tensor};

/// What was recorded of the module.
#[derive(Debug, Clone)]
pub enum Observed {
    /// Its output.
    Output(PlainTensor),
    /// The input that its container gave it.
    Input(PlainTensor),
}

/// A difference to explain. All tensors are `f32` on the CPU.
#[derive(Debug)]
pub struct Case<'a> {
    /// The models.
    pub models: &'a Models,
    /// The recorded stage.
    pub stage: &'a TraceStage,
    /// The path of the module whose output or input differs.
    pub path: String,
    /// Its inputs here.
    pub inputs: Vec<Tensor>,
    /// The inputs of the containers around it here, the outermost first, each with its path.
    pub containers: Vec<(String, Vec<Tensor>)>,
    /// The skip connections of the UNet so far, by the module that made each.
    pub skips: Vec<(String, Tensor)>,
    /// What the trace says of the module besides its tensors.
    pub evidence: ModuleEvidence,
    /// What was recorded.
    pub observed: Observed,
    /// The relative difference.
    pub without: f64,
    /// The largest difference that rounding explains.
    pub tolerance: f64,
}

impl<'a> Case<'a> {
    /// The relative difference of a predicted tensor; `None` if its shape is another one, or it is NaN.
    pub(super) fn fits(&self, predicted: &Tensor) -> Result<Option<f64>> {
        let expected = self.recorded();
        let predicted = PlainTensor::of(predicted)?;
        let same = predicted.shape() == expected.shape();
        Ok(same.then(|| relative_difference(predicted.data(), expected.data())).filter(|fits| !fits.is_nan()))
    }

    /// What was recorded.
    pub(super) fn recorded(&self) -> &PlainTensor {
        let (Observed::Output(recorded) | Observed::Input(recorded)) = &self.observed;
        recorded
    }

    /// Whether the output differs, and not an input.
    pub(super) fn is_output(&self) -> bool {
        matches!(self.observed, Observed::Output(_))
    }

    /// The last name of the path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }

    /// The module's own layer, if it has weights.
    pub(super) fn layer(&self) -> Result<Option<Layer>> {
        Layer::load(self.models, &self.path)
    }

    /// What an input that a mistake predicts means for what was recorded: itself, or the module's output on it.
    pub(super) fn seen(&self, input: Tensor) -> Result<Option<Tensor>> {
        match self.observed {
            Observed::Input(_) => Ok(Some(input)),
            Observed::Output(_)
                if self.path.contains(".resnets.") && self.name().parse::<usize>().is_ok() =>
            {
                Ok(layers::resnet(self.models, &self.path, &input, self.inputs.get(1))?)
            }
            Observed::Output(_) => {
                let Some(layer) = self.layer()? else { return Ok(None) };
                let stride = self.stride();
                Ok(layer.forward(&input, stride).ok())
            }
        }
    }

    /// The stride of a convolution, from the sizes of its input here and its recorded output.
    pub(super) fn stride(&self) -> usize {
        match (&self.observed, self.inputs.first()) {
            (Observed::Output(expected), Some(input)) => layers::stride(input, expected.shape()),
            _ => 1,
        }
    }

    /// The recorded output of the first call of another module in this pass.
    pub(super) fn output_of(&self, path: &str) -> Result<Option<Tensor>> {
        let Some(call) = self.stage.calls.iter().find(|call| call.path == path) else { return Ok(None) };
        let read = self.stage.output(call).map_err(|e| crate::nn::Error::Input(e.to_string()))?;
        Ok(read.map(|plain| plain.to_device(&Device::Cpu, DType::F32)).transpose()?)
    }

    /// The container of the module, if it is one of the pass.
    pub(super) fn container(&self) -> Option<&(String, Vec<Tensor>)> {
        self.containers.last()
    }
}
