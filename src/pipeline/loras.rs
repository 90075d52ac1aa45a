//! The LoRAs of a run: a probe around the stage, which adds what each of them adds to a module's output.

use super::{Models, Request};
use crate::model::Lora;
use crate::model::lora::LoraLayer;
use crate::nn::{Path, Probe, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A LoRA of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraScale {
    /// The LoRA's name.
    pub name: String,
    /// Its scale (diffusers: the weight of `set_adapters`): 0 is the base model.
    pub scale: f64,
    /// Whether it changes the text encoder, so that another scale means other embeddings. The models say so.
    #[serde(skip)]
    pub is_in_text_encoder: bool,
}

/// The LoRAs that change the text encoder, each with its scale's bits: what embeddings depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct InTextEncoder(Vec<(String, u64)>);

impl InTextEncoder {
    /// Those of a request. A scale of 0 is none.
    pub(super) fn of(request: &Request) -> Self {
        let changing = request.loras.iter().filter(|lora| lora.is_in_text_encoder && lora.scale != 0.);
        Self(changing.map(|lora| (lora.name.clone(), lora.scale.to_bits())).collect())
    }
}

/// The names and scales' bits of the LoRAs that are not off.
pub(super) fn applied(request: &Request) -> Vec<(String, u64)> {
    let on = request.loras.iter().filter(|lora| lora.scale != 0.);
    on.map(|lora| (lora.name.clone(), lora.scale.to_bits())).collect()
}

/// The LoRAs of `models` in a request: those that it names with its scales, the others with their own.
pub(super) fn completed(request: &mut Request, models: &Models) {
    let mut loras: Vec<LoraScale> = models.loras.iter().map(|lora| LoraScale::of(lora)).collect();
    for asked in std::mem::take(&mut request.loras) {
        match loras.iter_mut().find(|lora| lora.name == asked.name) {
            Some(lora) => lora.scale = asked.scale,
            // `Request::check` refuses it.
            None => loras.push(asked),
        }
    }
    request.loras = loras;
}

impl LoraScale {
    /// A LoRA of a run that was recorded, whose file may not be loaded.
    pub fn recorded(name: &str, scale: f64) -> Self {
        Self { name: name.into(), scale, is_in_text_encoder: false }
    }

    /// A LoRA with the scale that it has from the start.
    pub fn of(lora: &Lora) -> Self {
        let is_in_text_encoder = lora.is_in("text_encoder");
        Self { name: lora.name.clone(), scale: lora.scale, is_in_text_encoder }
    }
}

/// ‖ΔW‖ / ‖W‖ of the module at `path` with these LoRAs, each with its scale, together; `None` if none of them changes it.
///
/// # Errors
/// When the device fails.
pub fn weight_change(models: &Models, on: &[(String, f64)], path: &Path) -> Result<Option<f64>> {
    let of = |(name, scale): &(String, f64)| {
        let lora = models.loras.iter().find(|lora| lora.name == *name)?;
        Some((lora.layer(path)?, *scale, lora.touched(path)?.weight))
    };
    let changes: Vec<_> = on.iter().filter_map(of).collect();
    let Some((_, _, weight)) = changes.first() else { return Ok(None) };
    let layers: Vec<_> = changes.iter().map(|(layer, scale, _)| (*layer, *scale)).collect();
    Ok(Some(LoraLayer::norm_together(&layers)? / weight))
}

/// A probe that adds scale · (α / r) · B · A · x to the outputs of the modules that a run's LoRAs change, and passes the sums to
/// another probe. A LoRA of scale 0 is left out, so that the base model runs as it is.
pub struct Adapted<'a> {
    loras: Vec<(&'a Arc<Lora>, f64)>,
    /// The input of the module that runs. Such modules have none below them.
    input: Option<Tensor>,
    probe: &'a mut dyn Probe,
}

impl<'a> Adapted<'a> {
    /// With the LoRAs that `request` has of `models`.
    pub fn new(models: &'a Models, request: &Request, probe: &'a mut dyn Probe) -> Self {
        let of = |asked: &LoraScale| models.loras.iter().find(|lora| lora.name == asked.name);
        let on = request.loras.iter().filter(|lora| lora.scale != 0.);
        let loras = on.filter_map(|asked| Some((of(asked)?, asked.scale))).collect();
        Self { loras, input: None, probe }
    }

    fn changes(&self, path: &Path) -> bool {
        self.loras.iter().any(|(lora, _)| lora.layer(path).is_some())
    }
}

impl Probe for Adapted<'_> {
    fn wants(&self, path: &Path) -> bool {
        self.changes(path) || self.probe.wants(path)
    }

    fn enter(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<()> {
        self.input = None;
        if self.probe.wants(path) { self.probe.enter(path, inputs) } else { Ok(()) }
    }

    fn intercept(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<Option<Tensor>> {
        let supplied = if self.probe.wants(path) { self.probe.intercept(path, inputs)? } else { None };
        // An output that is supplied has what LoRAs add.
        if supplied.is_none() && self.changes(path) {
            self.input = inputs.first().map(|&input| input.clone());
        }
        Ok(supplied)
    }

    fn exit(&mut self, path: &Path, mut output: Tensor) -> Result<Tensor> {
        if let Some(input) = self.input.take() {
            for (lora, scale) in &self.loras {
                if let Some(layer) = lora.layer(path) {
                    output = (output + (layer.forward(&input)? * *scale)?)?;
                }
            }
        }
        if self.probe.wants(path) { self.probe.exit(path, output) } else { Ok(output) }
    }
}
