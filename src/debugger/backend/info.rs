//! What is known of the models of a session besides their weights.

use crate::checkpoint::ModelSource;
use crate::model::anatomy::{Module, anatomy};
use crate::model::classes::CLASSES;
use crate::model::{ClipTokenizer, LatentRgbFactors};
use crate::nn::load_report::Parameter;
use crate::nn::{Path, device};
use crate::pipeline::{Models, Preset, Stage};
use crate::scheduler::SchedulerConfig;
use crate::trace::{RecordedRun, Trace};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tr::tr;

/// CLIP's `vocab_size`.
const VOCAB_SIZE: usize = 49_408;

/// What is known of the models of a session besides their weights: of loaded ones all, of a recorded run what its trace says.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// Where they came from: `pocket`, a folder, or a trace.
    pub name: String,
    /// The same for files that are shared: without the path.
    pub file_name: String,
    /// `cpu`, `cuda:0`, `metal`.
    pub device: String,
    /// The dtype that they compute in.
    pub dtype: &'static str,
    /// The scheduler of the checkpoint, or of the recorded run.
    pub scheduler: SchedulerConfig,
    /// The class of a scheduler in whose place DDIM stands.
    pub stands_in_for: Option<String>,
    /// Recommended settings, if they differ from diffusers' defaults.
    pub preset: Option<Preset>,
    /// Warnings.
    pub notes: Vec<String>,
    /// Remarks that are not warnings.
    pub remarks: Vec<String>,
    /// The paths of all modules, each before its submodules. Of a recorded run, those that the trace knows.
    pub modules: Vec<Path>,
    /// The modules as a tree.
    pub anatomy: Arc<[Module]>,
    /// All parameters; none of a recorded run.
    pub parameters: Vec<Parameter>,
    /// Ids ↔ text; `None` if a recorded run has ids of a tokenizer that the program does not have.
    pub tokenizer: Option<Arc<ClipTokenizer>>,
    /// Latents → colours.
    pub latent_rgb_factors: Option<LatentRgbFactors>,
    /// Pixels per latent in each direction.
    pub vae_scale_factor: usize,
    /// Whether the guidance scale is an input of the UNet, as in a latent consistency model.
    pub takes_guidance_scale: bool,
    /// Whether the run was recorded, and there are no weights.
    pub is_recorded: bool,
    /// The heads of the UNet's attentions, by path.
    heads: HashMap<String, usize>,
}

impl From<&Models> for ModelInfo {
    fn from(models: &Models) -> Self {
        let heads = |path: &Path| Some((path.to_string(), models.heads_at(path.as_str())?));
        let attentions = models.modules.iter().filter(|path| is_attention(path.as_str()));
        Self {
            name: models.source.to_string(),
            file_name: models.source.name(),
            device: device::name(&models.device),
            dtype: models.dtype.as_str(),
            scheduler: models.scheduler.config().clone(),
            stands_in_for: models.stands_in_for.clone(),
            preset: models.preset,
            notes: models.notes.clone(),
            remarks: models.remarks.clone(),
            heads: attentions.filter_map(heads).collect(),
            modules: models.modules.clone(),
            anatomy: Arc::clone(&models.anatomy),
            parameters: models.parameters.clone(),
            tokenizer: Some(Arc::clone(&models.tokenizer)),
            latent_rgb_factors: models.latent_rgb_factors.clone(),
            vae_scale_factor: models.vae.config().scale_factor(),
            takes_guidance_scale: models.unet.config().time_cond_proj_dim.is_some(),
            is_recorded: false,
        }
    }
}

impl ModelInfo {
    /// What the trace of a run says.
    pub(super) fn of_trace(trace: &Trace, run: &RecordedRun) -> Self {
        let manifest = trace.manifest();
        let mut notes = run.notes.clone();
        let tokenizer = tokenizer(run);
        let modules = modules(trace);
        if tokenizer.is_none() && trace.stage(Stage::EncodePrompt).is_some() {
            notes.push(tr!(
                "the recorded ids are not those of CLIP's tokenizer for the prompt: words are not shown"
            ));
        }
        let heads = manifest.modules.iter().filter_map(|(path, entry)| {
            let heads = entry.attributes.get("heads")?.as_u64()?;
            Some((path.clone(), usize::try_from(heads).ok()?))
        });
        let of_unet = manifest.modules.get("unet").map(|unet| &unet.attributes);
        let time_cond_proj_dim = of_unet.and_then(|unet| unet.get("time_cond_proj_dim"));
        let scheduler = run.snapshots.first().map(|first| first.request().scheduler.config().clone());
        Self {
            name: trace.name().into(),
            file_name: manifest.model.clone().unwrap_or_else(|| tr!("a recorded run")),
            device: manifest.device.clone().unwrap_or_else(|| tr!("recorded")),
            dtype: short_name(manifest.dtype.as_deref()),
            scheduler: scheduler
                .unwrap_or_else(|| crate::scheduler::SchedulerChoice::default().config().clone()),
            stands_in_for: run.stands_in_for.clone(),
            preset: None,
            notes,
            remarks: remarks(trace),
            anatomy: tree(&modules, trace),
            modules,
            parameters: vec![],
            tokenizer,
            latent_rgb_factors: latent_rgb_factors(trace, run),
            vae_scale_factor: scale_factor(run).unwrap_or(8),
            takes_guidance_scale: time_cond_proj_dim.is_some_and(serde_json::Value::is_u64),
            is_recorded: true,
            heads: heads.collect(),
        }
    }

    /// The largest number of heads of an attention of the UNet.
    pub fn unet_heads(&self) -> Option<usize> {
        self.heads.values().copied().max()
    }

    /// The heads of the attention of the UNet at `path`.
    pub fn heads_at(&self, path: &str) -> Option<usize> {
        self.heads.get(path).copied()
    }
}

fn is_attention(path: &str) -> bool {
    path.starts_with("unet.") && matches!(path.rsplit('.').next(), Some("attn1" | "attn2"))
}

/// The program's name of one of torch's dtypes.
fn short_name(dtype: Option<&str>) -> &'static str {
    match dtype {
        Some("float16") => "f16",
        Some("bfloat16") => "bf16",
        Some("float32") => "f32",
        _ => "",
    }
}

/// Who recorded the run, and what of the modules.
fn remarks(trace: &Trace) -> Vec<String> {
    let manifest = trace.manifest();
    let text = |key: &str| manifest.producer.get(key).and_then(|value| value.as_str()).unwrap_or_default();
    let producer = [text("name"), text("version")].join(" ");
    let model = manifest.model.clone().unwrap_or_else(|| tr!("a model without a name"));
    let calls: usize = trace.stages().iter().map(|stage| stage.calls.len()).sum();
    let inside = match calls {
        0 => tr!("no modules"),
        calls => tr!("{calls} calls of modules", calls),
    };
    vec![tr!(
        "a recorded run of {model}, by {producer}: {} stages, {inside}",
        trace.stages().len(),
        model,
        producer = producer.trim(),
        inside
    )]
}

/// CLIP's tokenizer, if it makes the recorded ids of the recorded prompts.
fn tokenizer(run: &RecordedRun) -> Option<Arc<ClipTokenizer>> {
    let tokenizer = ClipTokenizer::load(&ModelSource::Bundled, VOCAB_SIZE).ok()?;
    let at = run.snapshots.get(1)?;
    let request = at.request();
    let (_, ids) = at.tensor("input_ids")?;
    let ids = crate::tensor::PlainTensor::of(ids).ok()?;
    let made =
        request.prompt_syntax.tokenize([&request.negative_prompt, &request.prompt], &tokenizer).ok()?;
    let [_, made] = made.of_both;
    // Padding differs between versions of Stable Diffusion.
    let known = made.input_ids.iter().zip(ids.data()).zip(&made.attention_mask);
    let is_same = known.filter(|(_, mask)| **mask == 1).all(|((made, id), _)| *made == *id as u32);
    is_same.then(|| Arc::new(tokenizer))
}

/// Every module that the trace knows, each before its submodules.
fn modules(trace: &Trace) -> Vec<Path> {
    let mut known = HashSet::new();
    let mut modules = vec![];
    let mut add = |path: &str| {
        let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let (module, rest) = path.split_at(end);
            // A list of modules is none itself.
            let is_list =
                rest.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            // The VAE never runs as a whole.
            if !is_list && module != "vae" && known.insert(module.to_string()) {
                modules.push(Path::new(module));
            }
        }
    };
    for stage in trace.stages() {
        let mut calls: Vec<_> = stage.calls.iter().collect();
        calls.sort_by_key(|call| call.entered);
        calls.into_iter().for_each(|call| add(&call.path));
    }
    trace.manifest().modules.keys().for_each(|path| add(path));
    modules
}

/// The tree of modules, with the classes that the trace says where a path alone does not tell.
fn tree(modules: &[Path], trace: &Trace) -> Arc<[Module]> {
    let mut tree = anatomy(modules, &[]);
    let mut channels = HashMap::new();
    for stage in trace.stages() {
        for call in &stage.calls {
            let shape = stage.output_on_disk(call).map_or(vec![], |output| output.shape);
            match shape[..] {
                [_, channel, _, _] | [_, _, channel] => {
                    channels.insert(call.path.as_str(), channel);
                }
                _ => {}
            }
        }
    }
    for module in &mut tree {
        module.outputs = channels.get(module.path.as_str()).copied();
    }
    for module in tree.iter_mut().filter(|module| module.class.is_empty()) {
        let class = trace.manifest().modules.get(&module.path).and_then(|entry| entry.class.as_deref());
        let known = CLASSES.iter().map(|known| known.name).find(|known| Some(*known) == class);
        module.class = known.unwrap_or_default();
    }
    tree.into()
}

/// Those of Stable Diffusion, if the VAE's scaling factor and the number of channels are its own, and those of the bundled model, if the
/// trace is of that.
fn latent_rgb_factors(trace: &Trace, run: &RecordedRun) -> Option<LatentRgbFactors> {
    let channels = channels(run)?;
    let manifest = trace.manifest();
    if manifest.model.as_deref() == Some(crate::checkpoint::source::POCKET) {
        return LatentRgbFactors::load(&ModelSource::Bundled, channels).ok().flatten();
    }
    LatentRgbFactors::published_for(channels, manifest.vae.as_ref()?.scaling_factor)
}

fn channels(run: &RecordedRun) -> Option<usize> {
    let (_, latents) = run.snapshots.iter().rev().find_map(|at| at.tensor("latents"))?;
    latents.dims().get(1).copied()
}

/// Pixels per latent, from the image or the settings.
fn scale_factor(run: &RecordedRun) -> Option<usize> {
    let last = run.snapshots.last()?;
    let (_, latents) = last.tensor("latents")?;
    let height = last.tensor("image").and_then(|(_, image)| image.dims().get(2).copied());
    let height = height.unwrap_or(last.request().height);
    let factor = height / latents.dims().get(2).copied().filter(|height| *height > 0)?;
    (factor > 0).then_some(factor)
}
