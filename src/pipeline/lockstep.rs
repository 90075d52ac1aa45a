//! Several runs in lockstep: what they have in common is computed once, and the rest of a step goes through the UNet in batches.

use super::loras::{Adapted, applied};
use super::request::Texts;
use super::snapshot::advance;
use super::{Error, Fault, Models, Request, Snapshot, Stage, lines, memory, stages};
use crate::nn::{Path, Probe, Result};
use candle_core::{DType, Device, Tensor, TensorId};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tr::tr;

/// Runs several snapshots in lockstep, and counts the UNet rows that sharing saves.
#[derive(Debug, Clone)]
pub struct Lockstep {
    rows_at_once: usize,
    rows: Rows,
    /// The embeddings of the prompts, by what they depend on and fault.
    embeddings: HashMap<(Texts, Option<Fault>), Tensor>,
    embeds: Interner,
}

/// UNet rows. A run has two per step: one without the prompt, one with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rows {
    /// The rows that the UNet computed.
    pub computed: usize,
    /// The rows that the same runs would have computed separately.
    pub apart: usize,
}

impl Rows {
    fn add(&mut self, computed: usize, apart: usize) {
        self.computed += computed;
        self.apart += apart;
    }
}

/// A row of the UNet's input.
struct Row {
    timestep: f64,
    latents: Tensor,
    embeds: Tensor,
    /// The guidance scale, if the UNet takes it.
    timestep_cond: Option<Tensor>,
    /// The run's settings. Rows of one batch have the same LoRAs.
    request: Request,
}

/// The UNet's batch size. The rule is fixed, so that results do not depend on the speed of the machine: batches of small rows use
/// all cores of a CPU, batches of large ones only take memory, and a GPU takes larger batches. `benches/comparison.rs` measures
/// it; `docs/benchmarks.md` has the measurements for the rule for CPUs.
pub fn rows_at_once(device: &Device, height: usize, width: usize) -> usize {
    let pixels = height * width;
    match (device.is_cpu(), pixels) {
        (true, 0..=256) => 8,
        (true, 257..=1024) => 4,
        (true, _) => 1,
        (false, 0..=4096) => 16,
        (false, 0..=9216) => 8,
        (false, _) => 4,
    }
}

/// Whether interventions apply to the next stage.
fn has_interventions(snapshot: &Snapshot) -> bool {
    snapshot.interventions().next().is_some()
}

impl Lockstep {
    /// For runs on `models` with latents of this height and width. `rows` is the UNet's batch size, by default that of
    /// [`rows_at_once`].
    pub fn new(models: &Models, latents: (usize, usize), rows: Option<usize>) -> Self {
        let rule = || rows_at_once(&models.device, latents.0, latents.1);
        Self {
            rows_at_once: rows.unwrap_or_else(rule).max(1),
            rows: Rows::default(),
            embeddings: HashMap::new(),
            embeds: Interner::default(),
        }
    }

    /// The count of UNet rows.
    pub fn rows(&self) -> Rows {
        self.rows
    }

    /// The UNet's largest batch size.
    pub fn rows_at_once(&self) -> usize {
        self.rows_at_once
    }

    /// Runs one stage of each snapshot and returns the next snapshots in the same order. They equal those of [`advance`] up to
    /// rounding, which depends on the batch.
    ///
    /// # Errors
    /// As [`advance`]; then no run has advanced.
    pub fn advance(
        &mut self,
        snapshots: &[&Snapshot],
        models: &Models,
        probe: &mut dyn Probe,
    ) -> std::result::Result<Vec<Snapshot>, Error> {
        let mut encoded = Vec::with_capacity(snapshots.len());
        for snapshot in snapshots {
            encoded.push(match has_interventions(snapshot) {
                true => snapshot.encoded(models, probe)?,
                false => self.sharing_embeddings(snapshot, probe, |probe| snapshot.encoded(models, probe))?,
            });
        }
        let (residuals, took) = self.residuals(&encoded, models, probe).map_err(|error| {
            // All runs have the same size.
            let first = encoded.first().and_then(|first| Some((first.position()?, first.request())));
            match first {
                Some((stage, request)) => memory::explained(error, stage, models, request),
                None => error,
            }
        })?;
        // By latents and fault.
        let mut images: HashMap<(Vec<u32>, Option<Fault>), Tensor> = HashMap::new();
        let mut init_latents: Vec<(&Request, Tensor)> = vec![];
        let mut next = Vec::with_capacity(encoded.len());
        for (snapshot, residual) in encoded.iter().zip(residuals) {
            next.push(match snapshot.position() {
                // Changed outputs are not shared.
                Some(stage) if has_interventions(snapshot) => {
                    if matches!(stage, Stage::Denoise { .. }) {
                        self.rows.add(2, 2);
                    }
                    advance(snapshot, models, probe)?
                }
                Some(Stage::EncodePrompt) => {
                    self.sharing_embeddings(snapshot, probe, |probe| advance(snapshot, models, probe))?
                }
                Some(Stage::Denoise { .. }) => {
                    let is_known = residual.is_some();
                    let mut sharing = Sharing { probe, line: &lines::UNET, known: residual, computed: None };
                    let mut next = advance(snapshot, models, &mut sharing)?;
                    if is_known {
                        next.add_time(took);
                    } else {
                        self.rows.add(2, 2);
                    }
                    next
                }
                Some(Stage::VaeDecode) => {
                    let latents = (bits(tensor(snapshot, "latents")?)?, snapshot.request().fault);
                    let known = images.get(&latents).cloned();
                    let mut sharing = Sharing { probe, line: &lines::DECODE, known, computed: None };
                    let next = advance(snapshot, models, &mut sharing)?;
                    images.extend(sharing.computed.map(|image| (latents, image)));
                    next
                }
                Some(Stage::GetLatent) => {
                    let request = snapshot.request();
                    let known = init_latents.iter().find(|(known, _)| has_same_latents(known, request));
                    let known = known.map(|(_, latents)| latents.clone());
                    let mut sharing = Sharing { probe, line: &lines::ENCODE, known, computed: None };
                    let next = advance(snapshot, models, &mut sharing)?;
                    init_latents.extend(sharing.computed.map(|latents| (request, latents)));
                    next
                }
                None => advance(snapshot, models, probe)?,
            });
        }
        Ok(next)
    }

    /// Runs `run` with the known embeddings of the snapshot's prompts, or stores those that it computes.
    fn sharing_embeddings(
        &mut self,
        snapshot: &Snapshot,
        probe: &mut dyn Probe,
        run: impl FnOnce(&mut dyn Probe) -> std::result::Result<Snapshot, Error>,
    ) -> std::result::Result<Snapshot, Error> {
        let request = snapshot.request();
        let prompts = (request.texts(), request.fault);
        let known = self.embeddings.get(&prompts).cloned();
        let mut sharing = Sharing { probe, line: &lines::TEXT_ENCODER, known, computed: None };
        let next = run(&mut sharing)?;
        self.embeddings.extend(sharing.computed.map(|embeds| (prompts, embeds)));
        Ok(next)
    }

    /// The UNet's prediction for each snapshot before a step: (2, 4, h, w), without the prompt and with it; and the time per
    /// snapshot. `None` for a snapshot that needs its own UNet pass.
    fn residuals(
        &mut self,
        snapshots: &[Snapshot],
        models: &Models,
        probe: &mut dyn Probe,
    ) -> std::result::Result<(Vec<Option<Tensor>>, Duration), Error> {
        let start = Instant::now();
        let mut latents_seen = Interner::default();
        let (mut rows, mut known) = (vec![], HashMap::new());
        let mut rows_of_runs = vec![];
        for snapshot in snapshots {
            let Some(Stage::Denoise { step }) = snapshot.position() else {
                rows_of_runs.push(None);
                continue;
            };
            // A wrong timestep or an intervention needs the run's own UNet pass.
            if snapshot.request().fault == Some(Fault::WrongTimestep) || has_interventions(snapshot) {
                rows_of_runs.push(None);
                continue;
            }
            let timestep = snapshot.scheduler().timesteps()[step];
            let latents = snapshot.scheduler().scale_model_input(tensor(snapshot, "latents")?, step)?;
            let latents_id = latents_seen.intern(&latents)?;
            // Where the guidance scale is an input of the UNet, only runs of the same scale have rows in common.
            let request = snapshot.request();
            let scale = request.guidance_scale;
            let timestep_cond = stages::timestep_cond(models, scale)?;
            let scale_taken = timestep_cond.as_ref().map(|_| scale.to_bits());
            let mut two = [0; 2];
            for (place, name) in two.iter_mut().zip(["negative_prompt_embeds", "prompt_embeds"]) {
                let embeds = tensor(snapshot, name)?;
                let embeds_id = self.embeds.intern(embeds)?;
                let key = (timestep.to_bits(), latents_id, embeds_id, scale_taken, applied(request));
                *place = *known.entry(key).or_insert_with(|| {
                    let (latents, embeds) = (latents.clone(), embeds.clone());
                    let (timestep_cond, request) = (timestep_cond.clone(), request.clone());
                    rows.push(Row { timestep, latents, embeds, timestep_cond, request });
                    rows.len() - 1
                });
            }
            rows_of_runs.push(Some(two));
        }
        let predicted = self.predict(&rows, models, probe)?;
        let runs = rows_of_runs.iter().flatten().count();
        self.rows.add(rows.len(), 2 * runs);
        let of = |two: Option<[usize; 2]>| {
            two.map(|two| Tensor::cat(&two.map(|row| &predicted[row]), 0)).transpose()
        };
        let residuals = rows_of_runs.into_iter().map(of).collect::<candle_core::Result<_>>()?;
        Ok((residuals, start.elapsed() / runs.max(1) as u32))
    }

    /// The UNet's output for every row, in batches of the same timestep, size, number of tokens and LoRAs: (1, 4, h, w) each, in
    /// `f32`.
    fn predict(&self, rows: &[Row], models: &Models, probe: &mut dyn Probe) -> Result<Vec<Tensor>> {
        let mut groups: Vec<Vec<usize>> = vec![];
        for (index, row) in rows.iter().enumerate() {
            let alike = |group: &&mut Vec<usize>| {
                let first = &rows[group[0]];
                first.timestep == row.timestep
                    && first.latents.dims() == row.latents.dims()
                    && applied(&first.request) == applied(&row.request)
                    && first.embeds.dims() == row.embeds.dims()
                    && group.len() < self.rows_at_once
            };
            match groups.iter_mut().find(alike) {
                Some(group) => group.push(index),
                None => groups.push(vec![index]),
            }
        }
        let mut predicted: Vec<Option<Tensor>> = vec![None; rows.len()];
        for group in groups {
            let of = |part: fn(&Row) -> &Tensor| {
                Tensor::cat(&group.iter().map(|row| part(&rows[*row])).collect::<Vec<_>>(), 0)
            };
            let latent_model_input = of(|row| &row.latents)?.to_dtype(models.dtype)?;
            let embeds = of(|row| &row.embeds)?;
            let timestep = rows[group[0]].timestep;
            // Every row has one, or none has.
            let conds: Option<Vec<&Tensor>> =
                group.iter().map(|row| rows[*row].timestep_cond.as_ref()).collect();
            let timestep_cond = conds.map(|conds| Tensor::cat(&conds, 0)).transpose()?;
            let (unet, probe) = (&models.unet, &mut Adapted::new(models, &rows[group[0]].request, probe));
            let residual =
                unet.forward(&latent_model_input, timestep, &embeds, timestep_cond.as_ref(), probe)?;
            let residual = residual.to_dtype(DType::F32)?;
            for (place, row) in group.into_iter().enumerate() {
                predicted[row] = Some(residual.narrow(0, place, 1)?);
            }
        }
        // Every row is in one group.
        Ok(predicted.into_iter().flatten().collect())
    }
}

/// Whether both runs have the same start image, encoded with the same random numbers.
fn has_same_latents(a: &Request, b: &Request) -> bool {
    let of = |request: &Request| (request.seed, request.height, request.width, request.fault);
    of(a) == of(b) && a.init_image == b.init_image
}

fn tensor<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Tensor> {
    let missing = || crate::nn::Error::Input(tr!("{name} does not exist yet", name));
    snapshot.tensor(name).map(|(_, tensor)| tensor).ok_or_else(missing)
}

/// The bits of a tensor's values, in row-major order.
fn bits(tensor: &Tensor) -> candle_core::Result<Vec<u32>> {
    let values: Vec<f32> = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    Ok(values.into_iter().map(f32::to_bits).collect())
}

/// Numbers tensors, equal numbers for equal values.
#[derive(Debug, Clone, Default)]
struct Interner {
    by_id: HashMap<TensorId, usize>,
    by_bits: HashMap<Vec<u32>, usize>,
}

impl Interner {
    fn intern(&mut self, tensor: &Tensor) -> candle_core::Result<usize> {
        if let Some(known) = self.by_id.get(&tensor.id()) {
            return Ok(*known);
        }
        let new = self.by_bits.len();
        let number = *self.by_bits.entry(bits(tensor)?).or_insert(new);
        self.by_id.insert(tensor.id(), number);
        Ok(number)
    }
}

/// A probe that supplies the known output of one line or stores a computed one, and passes everything else to another probe.
struct Sharing<'a> {
    probe: &'a mut dyn Probe,
    line: &'a Path,
    known: Option<Tensor>,
    computed: Option<Tensor>,
}

impl Probe for Sharing<'_> {
    fn wants(&self, path: &Path) -> bool {
        path == self.line || self.probe.wants(path)
    }

    fn enter(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<()> {
        if self.probe.wants(path) { self.probe.enter(path, inputs) } else { Ok(()) }
    }

    fn intercept(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<Option<Tensor>> {
        if path == self.line && self.known.is_some() {
            return Ok(self.known.clone());
        }
        if self.probe.wants(path) { self.probe.intercept(path, inputs) } else { Ok(None) }
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        let output = if self.probe.wants(path) { self.probe.exit(path, output)? } else { output };
        if path == self.line {
            self.computed = Some(output.clone());
        }
        Ok(output)
    }
}
