//! What a LoRA does in a stage: the stage with and without it, side by side.

use super::InspectError;
use super::attention::picture;
use crate::debugger::backend::Backend;
use crate::debugger::replay;
use crate::debugger::source::module::is_piece;
use crate::model::anatomy::is_within;
use crate::nn::{self, Path, Probe};
use crate::picture::Picture;
use crate::pipeline;
use crate::pipeline::ablation::EffectMap;
use crate::pipeline::attention::Size;
use crate::pipeline::models::runs_in;
use crate::pipeline::{Request, Snapshot, Stage, loras};
use crate::tensor::PlainTensor;
use crate::tensor::compare::relative_difference;
use candle_core::Tensor;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tr::tr;

/// What LoRAs do in a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraRun {
    /// The stage.
    pub stage: Stage,
    /// The LoRAs, each with its scale.
    pub loras: Vec<(String, f64)>,
    /// The tensors of a step that change.
    pub changes: Vec<TensorChange>,
    /// The modules that change, in the order in which they finish.
    pub modules: Vec<ModuleChange>,
    /// `pred_original_sample` of a step with and without them.
    pub pictures: Option<[Picture; 2]>,
}

/// How other a tensor is with the LoRAs.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorChange {
    /// The tensor.
    pub name: &'static str,
    /// ‖with − without‖ / ‖without‖.
    pub relative: f64,
    /// The norm of the difference at each pixel.
    pub map: EffectMap,
}

/// How other a module is with the LoRAs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleChange {
    /// Its path.
    pub path: String,
    /// ‖ΔW‖ / ‖W‖ with the scales; `None` if its own weight stays.
    pub weight: Option<f64>,
    /// ‖with − without‖ / ‖without‖ of its output.
    pub output: f64,
}

/// The tensors of a step that are compared.
const CHANGED: [&str; 5] =
    ["uncond_residual", "text_cond_residual", "guided_noise_residual", "pred_original_sample", "latents"];

impl LoraRun {
    /// The module of that path.
    pub fn module(&self, path: &str) -> Option<&ModuleChange> {
        self.modules.iter().find(|module| module.path == path)
    }

    /// The largest ‖ΔW‖ / ‖W‖ of the module of that path and those below it; 0 if none changes.
    pub fn weight_below(&self, path: &str) -> f64 {
        let below = self.modules.iter().filter(|module| is_within(&module.path, path));
        below.filter_map(|module| module.weight).fold(0., f64::max)
    }

    /// Height and width of the latents.
    pub fn size(&self) -> Option<Size> {
        self.changes.first().map(|change| change.map.size)
    }

    pub(super) fn bytes(&self) -> usize {
        let maps: usize = self.changes.iter().map(|change| 4 * change.map.values.len()).sum();
        let pictures = self.pictures.iter().flatten().map(|picture| picture.image.as_raw().len());
        maps + pictures.sum::<usize>() + self.modules.len() * 128
    }
}

/// Runs the stage that follows `before` with and without the LoRA `name`, or all of the run, on two threads that go from module to
/// module together, so that no more than two outputs are held. `decodes`: pictures of a step, decoded by the VAE or estimated.
///
/// # Errors
/// [`InspectError`]; when none of these LoRAs is on.
pub fn change(
    backend: &Backend,
    before: &Snapshot,
    name: Option<&str>,
    decodes: bool,
    host: &mut dyn Probe,
) -> Result<LoraRun, InspectError> {
    let models = backend.models()?;
    let stage = before.position().ok_or(pipeline::Error::Complete)?;
    let with = backend.encoded(before, host)?;
    let request = with.request();
    let on = on(request, name)?;
    let mut base = request.clone();
    for lora in base.loras.iter_mut().filter(|lora| on.iter().any(|(name, _)| *name == lora.name)) {
        lora.scale = 0.;
    }
    let without = with.with_request(base, models).map_err(pipeline::Error::from)?;
    let without = backend.encoded(&without, host)?;

    let (sender, receiver) = sync_channel(0);
    let mut comparing = Comparing { stage, request, receiver, modules: vec![] };
    let (was, is) = std::thread::scope(|scope| {
        let other = std::thread::Builder::new().name("without the LoRA".into());
        let run = || backend.advance(&without, &mut Sending { stage, request, sender });
        let Ok(other) = other.spawn_scoped(scope, run) else {
            return Err(InspectError::Refused(tr!("no second thread can be started")));
        };
        let is = replay::run(backend, &with, &mut comparing, host);
        // Where it ended early, the other thread waits for it no longer.
        drop(std::mem::replace(&mut comparing.receiver, sync_channel(0).1));
        let was = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // An error here is the reason for one there.
        match (was, is) {
            (Ok(was), Ok(is)) => Ok((was, is)),
            (_, Err(error)) if !matches!(error, pipeline::Error::Forward(nn::Error::Input(_))) => {
                Err(error.into())
            }
            (Err(error), _) | (_, Err(error)) => Err(error.into()),
        }
    })?;

    let mut changes = vec![];
    for name in CHANGED {
        let (Some((_, was)), Some((_, is))) = (was.tensor(name), is.tensor(name)) else { continue };
        if !matches!(stage, Stage::Denoise { .. }) {
            continue;
        }
        let (was, is) = (PlainTensor::of(was)?, PlainTensor::of(is)?);
        let Some(map) = EffectMap::between(&was, &is) else { continue };
        changes.push(TensorChange { name, relative: relative_difference(is.data(), was.data()), map });
    }
    let mut modules = comparing.modules;
    for module in &mut modules {
        let change = loras::weight_change(models, &on, &Path::new(&module.path));
        module.weight = change.map_err(pipeline::Error::from)?;
    }
    let mut pictures = vec![];
    if matches!(stage, Stage::Denoise { .. }) {
        for run in [&is, &was] {
            if let Some((_, sample)) = run.tensor("pred_original_sample") {
                pictures.push(picture(backend, sample, decodes, host)?);
            }
        }
    }
    Ok(LoraRun { stage, loras: on, changes, modules, pictures: pictures.try_into().ok() })
}

/// The LoRAs that are asked for, with their scales.
fn on(request: &Request, name: Option<&str>) -> Result<Vec<(String, f64)>, InspectError> {
    let refused = |found: String| Err(InspectError::Refused(found));
    let known: Vec<&str> = request.loras.iter().map(|lora| lora.name.as_str()).collect();
    if known.is_empty() {
        return refused(tr!("the run has no LoRA; expected one: `--lora FILE`"));
    }
    if let Some(name) = name.filter(|name| !known.contains(name)) {
        return refused(tr!("the run has no LoRA `{name}`; expected one of {}", known.join(", "), name));
    }
    let is_asked = |lora: &&loras::LoraScale| name.is_none_or(|name| name == lora.name);
    let asked = request.loras.iter().filter(is_asked).filter(|lora| lora.scale != 0.);
    let on: Vec<(String, f64)> = asked.map(|lora| (lora.name.clone(), lora.scale)).collect();
    if on.is_empty() {
        let name = name.unwrap_or(known[0]);
        return refused(tr!(
            "the scale is 0, so that nothing changes; expected another: `set lora {name} 1`",
            name
        ));
    }
    Ok(on)
}

/// The run without the LoRA: sends each module's output to the one with it.
struct Sending<'a> {
    stage: Stage,
    request: &'a Request,
    sender: SyncSender<(Path, Tensor)>,
}

impl Probe for Sending<'_> {
    fn wants(&self, path: &Path) -> bool {
        is_piece(path.as_str()) && runs_in(self.stage, self.request, path.as_str())
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> nn::Result<Tensor> {
        // The other run ended early.
        let ended = |_| nn::Error::Interrupted(path.clone());
        self.sender.send((path.clone(), output.clone())).map_err(ended)?;
        Ok(output)
    }
}

/// The run with the LoRA: compares each module's output with that of the one without.
struct Comparing<'a> {
    stage: Stage,
    request: &'a Request,
    receiver: Receiver<(Path, Tensor)>,
    modules: Vec<ModuleChange>,
}

impl Probe for Comparing<'_> {
    fn wants(&self, path: &Path) -> bool {
        is_piece(path.as_str()) && runs_in(self.stage, self.request, path.as_str())
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> nn::Result<Tensor> {
        let ended = || nn::Error::Input(tr!("the run without the LoRA ended before {path}", path));
        let (other, without) = self.receiver.recv().map_err(|_| ended())?;
        if other != *path {
            return Err(ended());
        }
        let (with, without) = (PlainTensor::of(&output)?, PlainTensor::of(&without)?);
        let change = relative_difference(with.data(), without.data());
        let module = ModuleChange { path: path.to_string(), weight: None, output: change };
        match self.modules.iter_mut().find(|known| known.path == module.path) {
            Some(known) => *known = module,
            None => self.modules.push(module),
        }
        Ok(output)
    }
}
