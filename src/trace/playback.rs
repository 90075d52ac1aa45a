//! A recorded stage, played into a probe: what was recorded is entered and left in the order in which it ran, so that whatever
//! watches a stage watches a recorded one too. Lines and modules that are not recorded are passed over.

use super::on_disk::OnDisk;
use super::run::on_host;
use super::{RecordedCall, TraceStage};
use crate::model::classes;
use crate::nn::attention::{ATTENTION_PROBS, attention_probs};
use crate::nn::{Error, Path, Probe, Result};
use crate::pipeline::{Snapshot, Stage, StageRecord, lines};
use candle_core::{DType, Device, Tensor};

/// The most numbers of a tensor that is played. Larger ones would fill the memory: calls with one are passed over.
pub const MOST: usize = 24 << 20;

/// A recorded stage that can be played.
pub struct Playback<'a> {
    /// The stage.
    pub stage: &'a TraceStage,
    /// The run before it.
    pub before: &'a Snapshot,
    /// What it made.
    pub made: &'a StageRecord,
    /// The VAE's, if it is recorded.
    pub scaling_factor: Option<f64>,
    /// The heads of the attention at a path, if they are recorded.
    pub heads: &'a dyn Fn(&str) -> Option<usize>,
}

/// The beginning or the end of a recorded call, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Enter(usize),
    Exit(usize),
}

impl Playback<'_> {
    /// Plays the stage into `probe`.
    ///
    /// # Errors
    /// The probe's, and when a file cannot be read.
    pub fn play(&self, probe: &mut dyn Probe) -> Result<()> {
        let before = |name: &str| self.before.tensor(name).map(|(_, tensor)| tensor.clone());
        let made = |name: &str| self.made.tensor(name).cloned();
        let both = |uncond: Option<Tensor>, text: Option<Tensor>| -> Result<Option<Tensor>> {
            Ok(match (uncond, text) {
                (Some(uncond), Some(text)) => Some(Tensor::cat(&[uncond, text], 0)?),
                (uncond, text) => text.or(uncond),
            })
        };
        match self.stage.stage {
            Stage::EncodePrompt => {
                let ids = both(made("negative_input_ids"), made("input_ids"))?;
                let embeds = both(made("negative_prompt_embeds"), made("prompt_embeds"))?;
                self.line(&lines::TOKENIZE, vec![], ids.clone(), probe)?;
                self.line_of_modules(&lines::TEXT_ENCODER, vec![ids], embeds, probe)
            }
            Stage::GetLatent => {
                let (image, latents) = (made("init_image"), made("init_latents"));
                self.line_of_modules(&lines::ENCODE, vec![image], latents, probe)?;
                self.line(&lines::RANDN, vec![], made("noise").or_else(|| made("latents")), probe)
            }
            Stage::Denoise { .. } => {
                let (uncond, text) = (made("uncond_residual"), made("text_cond_residual"));
                let guided = made("guided_noise_residual");
                let sample = self.input_of_unet("sample")?;
                let embeds = both(before("negative_prompt_embeds"), before("prompt_embeds"))?;
                let residual = both(uncond.clone(), text.clone())?;
                self.line_of_modules(&lines::UNET, vec![sample, embeds], residual, probe)?;
                self.line(&lines::GUIDANCE, vec![uncond, text], guided.clone(), probe)?;
                let timestep =
                    self.stage.timestep.map(|t| Tensor::new(t as f32, &Device::Cpu)).transpose()?;
                let inputs = vec![guided, timestep, before("latents")];
                self.line(&lines::SCHEDULER_STEP, inputs, made("latents"), probe)
            }
            Stage::VaeDecode => {
                let latents = before("latents");
                let z = match (&latents, self.scaling_factor) {
                    (Some(latents), Some(factor)) => Some((latents.to_dtype(DType::F32)? / factor)?),
                    _ => None,
                };
                self.line(&lines::SCALE, vec![latents], z.clone(), probe)?;
                let decoder = self.stage.calls.iter().find(|call| call.path == "vae.decoder");
                let decoded = decoder.map(|call| self.output(call)).transpose()?.flatten();
                self.line_of_modules(&lines::DECODE, vec![z], decoded.clone(), probe)?;
                self.line(&lines::DENORMALIZE, vec![decoded], made("image"), probe)
            }
        }
    }

    /// A line without modules.
    fn line(
        &self,
        path: &Path,
        inputs: Vec<Option<Tensor>>,
        output: Option<Tensor>,
        probe: &mut dyn Probe,
    ) -> Result<()> {
        if let Some(output) = output.filter(|_| probe.wants(path)) {
            let inputs: Vec<Tensor> = inputs.into_iter().map_while(|input| input).collect();
            probe.enter(path, &inputs.iter().collect::<Vec<_>>())?;
            probe.exit(path, output)?;
        }
        Ok(())
    }

    /// The line in which modules run.
    fn line_of_modules(
        &self,
        path: &Path,
        inputs: Vec<Option<Tensor>>,
        output: Option<Tensor>,
        probe: &mut dyn Probe,
    ) -> Result<()> {
        let output = output.filter(|_| probe.wants(path));
        if output.is_some() {
            let inputs: Vec<Tensor> = inputs.into_iter().map_while(|input| input).collect();
            probe.enter(path, &inputs.iter().collect::<Vec<_>>())?;
        }
        self.modules(probe)?;
        output.map_or(Ok(()), |output| probe.exit(path, output).map(drop))
    }

    fn modules(&self, probe: &mut dyn Probe) -> Result<()> {
        let calls = &self.stage.calls;
        let mut open = vec![false; calls.len()];
        for event in order(calls) {
            match event {
                Event::Enter(at) => {
                    let (call, path) = (&calls[at], Path::new(&calls[at].path));
                    if !self.can_be_played(call) || !probe.wants(&path) {
                        continue;
                    }
                    let names = classes::inputs(&call.path, call.inputs.len());
                    let mut inputs = vec![];
                    for name in names.iter().take_while(|name| call.inputs.iter().any(|known| known == *name))
                    {
                        inputs.extend(self.input(call, name)?);
                    }
                    probe.enter(&path, &inputs.iter().collect::<Vec<_>>())?;
                    open[at] = true;
                }
                Event::Exit(at) => {
                    if std::mem::take(&mut open[at])
                        && let Some(output) = self.output(&calls[at])?
                    {
                        probe.exit(&Path::new(&calls[at].path), output)?;
                    }
                    self.probabilities(&calls[at], probe)?;
                }
            }
        }
        Ok(())
    }

    /// The probabilities of an attention of the UNet whose keys are done, from its recorded queries and keys.
    fn probabilities(&self, key: &RecordedCall, probe: &mut dyn Probe) -> Result<()> {
        let attention = key.path.strip_suffix(".to_k").filter(|path| path.starts_with("unet."));
        let Some(attention) = attention else { return Ok(()) };
        let path = Path::new(attention).join(ATTENTION_PROBS);
        if !probe.wants(&path) {
            return Ok(());
        }
        let query = [attention, ".to_q"].concat();
        let query = self.stage.calls.iter().find(|call| call.path == query && call.call == key.call);
        let (Some(query), Some(heads)) = (query, (self.heads)(attention)) else { return Ok(()) };
        let dims = |call| Some(self.stage.output_on_disk(call)?.shape);
        let (Some(q), Some(k)) = (dims(query), dims(key)) else { return Ok(()) };
        let count = match (&q[..], &k[..]) {
            (&[rows, pixels, width], &[of, tokens, of_key]) if rows == of && width == of_key => {
                let is_divided = heads > 0 && width % heads == 0;
                is_divided.then(|| rows.saturating_mul(heads).saturating_mul(pixels).saturating_mul(tokens))
            }
            _ => None,
        };
        if count.is_none_or(|count| count > MOST) {
            return Ok(());
        }
        if let (Some(query), Some(key)) = (self.output(query)?, self.output(key)?) {
            let (query, key) = (query.to_dtype(DType::F32)?, key.to_dtype(DType::F32)?);
            probe.enter(&path, &[&query, &key])?;
            probe.exit(&path, attention_probs(&query, &key, None, heads)?)?;
        }
        Ok(())
    }

    /// Whether a call has an output, and neither that nor an input is too large.
    fn can_be_played(&self, call: &RecordedCall) -> bool {
        let fits = |tensor: Option<OnDisk<'_>>| tensor.is_some_and(|tensor| tensor.count <= MOST);
        fits(self.stage.output_on_disk(call))
            && call.inputs.iter().all(|name| fits(self.stage.input_on_disk(call, name)))
    }

    fn input_of_unet(&self, name: &str) -> Result<Option<Tensor>> {
        let call = self.stage.calls.iter().find(|call| call.path == "unet");
        call.map_or(Ok(None), |call| self.input(call, name))
    }

    fn input(&self, call: &RecordedCall, name: &str) -> Result<Option<Tensor>> {
        let read = self.stage.input(call, name).map_err(|e| Error::Input(e.to_string()))?;
        Ok(read.map(|plain| on_host(&plain)).transpose()?)
    }

    fn output(&self, call: &RecordedCall) -> Result<Option<Tensor>> {
        if self.stage.output_on_disk(call).is_none_or(|output| output.count > MOST) {
            return Ok(None);
        }
        let read = self.stage.output(call).map_err(|e| Error::Input(e.to_string()))?;
        Ok(read.map(|plain| on_host(&plain)).transpose()?)
    }
}

/// The calls, which are in the order of completion, as they began and ended. A call that does not say when it began is taken to
/// begin with the first of the calls below its path.
fn order(calls: &[RecordedCall]) -> Vec<Event> {
    let mut events = Vec::with_capacity(2 * calls.len());
    let mut waiting: Vec<(usize, usize)> =
        match calls.iter().map(|call| call.entered).collect::<Option<Vec<_>>>() {
            Some(entered) => entered.into_iter().zip(0..).collect(),
            None => {
                let is_within = |path: &str, module: &str| {
                    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                let first = |at: usize| {
                    let below = calls[..at].iter().rev().take_while(|call| {
                        call.path != calls[at].path && is_within(&call.path, &calls[at].path)
                    });
                    at - below.count()
                };
                (0..calls.len()).map(|at| (first(at), at)).collect()
            }
        };
    // Of those that begin together, the one that ends last is around the others. The next to begin is at the end of the list.
    waiting.sort_by_key(|(entered, at)| (*entered, std::cmp::Reverse(*at)));
    waiting.reverse();
    let mut begun = vec![false; calls.len()];
    for at in 0..calls.len() {
        while !begun[at] {
            let Some((_, next)) = waiting.pop() else { break };
            begun[next] = true;
            events.push(Event::Enter(next));
        }
        events.push(Event::Exit(at));
    }
    events
}
