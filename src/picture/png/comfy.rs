//! The chunk `prompt` of ComfyUI: a graph of nodes as JSON, from which the settings of a plain text-to-image run are taken.
//!
//! An object has the nodes by their ids, each with its `class_type` and its `inputs`. An input is a value, or a link: the id of
//! another node and the number of its output. The walk starts at the node that saves a picture, and follows the links to the sampler,
//! and from there to the prompts, the size and the model. A node of another class is noted by its id and class; the walk passes
//! through it where it has an input of the same kind.
//!
//! Source: <https://github.com/comfyanonymous/ComfyUI>, `nodes.py` and `comfy/samplers.py`.

use super::found::{Found, FoundError, NamedModel, Reading, Source};
use crate::nn::ConfigFile;
use crate::nn::error::abridged;
use crate::scheduler::schedule_type::{Sampler, ScheduleType};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use tr::tr;

/// The chunk's keyword.
pub const KEYWORD: &str = "prompt";

/// The classes of the nodes that are understood.
const KNOWN: &[&str] = &[
    "CheckpointLoaderSimple",
    "CLIPSetLastLayer",
    "CLIPTextEncode",
    "EmptyLatentImage",
    "KSampler",
    "KSamplerAdvanced",
    "LoraLoader",
    "LoraLoaderModelOnly",
    "PreviewImage",
    "SaveImage",
    "VAEDecode",
    "VAELoader",
];
/// Where a picture comes from, nearest first.
const PICTURES: &[&str] = &["images", "image", "samples", "latent_image", "pixels", "latent", "latents"];

/// The settings in a graph, some of which may be given otherwise.
///
/// # Errors
/// When the text is no graph, a link leads nowhere or in a circle, or a value is none that its setting can have.
pub fn found(text: &str, given: &dyn Fn(&str) -> bool) -> Result<Found, FoundError> {
    let graph = Graph::parse(text)?;
    let mut reading = Reading::new(Source::ComfyUi, given);
    for (id, node) in &graph.nodes {
        if !KNOWN.contains(&node.class_type.as_str()) {
            reading.leave(&graph.name(id), &tr!("this node is not understood"));
        }
    }
    let sampler = graph.first_sampler(&mut reading)?;
    graph.prompts(sampler, &mut reading)?;
    graph.sampling(sampler, &mut reading)?;
    graph.size(sampler, &mut reading)?;
    graph.models(sampler, &mut reading)?;
    reading.finish()
}

/// The nodes by their ids.
#[derive(Debug)]
struct Graph {
    nodes: BTreeMap<Id, Node>,
}

/// A node's id: numbers in their order, then other texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Id(u64, String);

impl Id {
    fn new(text: &str) -> Self {
        Self(text.parse().unwrap_or(u64::MAX), text.into())
    }
}

#[derive(Debug, Deserialize)]
struct Node {
    class_type: String,
    #[serde(default)]
    inputs: Map<String, Value>,
}

/// What an input is.
enum Input<'g> {
    Absent,
    Link(&'g Id),
    Value(String),
}

impl Node {
    fn is_sampler(&self) -> bool {
        matches!(self.class_type.as_str(), "KSampler" | "KSamplerAdvanced")
    }
}

impl Graph {
    fn parse(text: &str) -> Result<Self, FoundError> {
        let wrong = |e: crate::nn::ConfigError| FoundError::Graph(e.to_string());
        let file = ConfigFile::parse(Source::ComfyUi.name(), text.as_bytes()).map_err(wrong)?;
        let nodes = file.all::<Node>(tr!("a node with a class_type and inputs")).map_err(wrong)?;
        Ok(Self { nodes: nodes.into_iter().map(|(id, node)| (Id::new(&id), node)).collect() })
    }

    fn class(&self, id: &Id) -> &str {
        self.nodes.get(id).map_or("", |node| &node.class_type)
    }

    /// A node in messages: `node 3 (KSampler)`.
    fn name(&self, id: &Id) -> String {
        let (id, class) = (abridged(&id.1), abridged(self.class(id)));
        tr!("node {id} ({class})", id, class)
    }

    fn input(&self, id: &Id, name: &str) -> Result<Input<'_>, FoundError> {
        let Some(value) = self.nodes.get(id).and_then(|node| node.inputs.get(name)) else {
            return Ok(Input::Absent);
        };
        let target = match value {
            Value::Array(link) if link.len() == 2 => match &link[0] {
                Value::String(target) => target.clone(),
                other => other.to_string(),
            },
            Value::String(text) => return Ok(Input::Value(text.clone())),
            other => return Ok(Input::Value(other.to_string())),
        };
        let known = self.nodes.get_key_value(&Id::new(&target));
        let (known, _) = known.ok_or_else(|| {
            let (graph, node, target) = (Source::ComfyUi.name(), self.name(id), abridged(&target));
            FoundError::Graph(tr!(
                "{graph}: `{name}` of {node} is a link to node {target}; expected one of the graph's nodes",
                graph,
                name,
                node,
                target
            ))
        })?;
        Ok(Input::Link(known))
    }

    /// Follows links over inputs of these names, from a node on, up to a node that `ends` the walk. Each node on the way is shown to
    /// `pass`. `None` where the links end before.
    fn walk<'g>(
        &'g self,
        from: &'g Id,
        names: &[&str],
        ends: &dyn Fn(&Node) -> bool,
        pass: &mut dyn FnMut(&'g Id),
    ) -> Result<Option<&'g Id>, FoundError> {
        let (mut at, mut seen) = (from, BTreeSet::from([from]));
        loop {
            let mut next = None;
            for name in names {
                if let Input::Link(target) = self.input(at, name)? {
                    next = Some(target);
                    break;
                }
            }
            let Some(target) = next else { return Ok(None) };
            if !seen.insert(target) {
                let (graph, node) = (Source::ComfyUi.name(), self.name(target));
                let message =
                    tr!("{graph}: {node} is linked to itself; expected a graph without cycles", graph, node);
                return Err(FoundError::Graph(message));
            }
            if self.nodes.get(target).is_some_and(ends) {
                return Ok(Some(target));
            }
            pass(target);
            at = target;
        }
    }

    /// The sampler that starts from noise alone: of several in a row, the first one.
    fn first_sampler(&self, reading: &mut Reading<'_>) -> Result<&Id, FoundError> {
        let is_output = |node: &Node| matches!(node.class_type.as_str(), "SaveImage" | "PreviewImage");
        let mut last = None;
        for (id, _) in self.nodes.iter().filter(|(_, node)| is_output(node)) {
            last = self.walk(id, PICTURES, &Node::is_sampler, &mut |_| ())?;
            if last.is_some() {
                break;
            }
        }
        let any = || self.nodes.iter().find(|(_, node)| node.is_sampler()).map(|(id, _)| id);
        let Some(mut sampler) = last.or_else(any) else {
            let strange = self.nodes.iter().filter(|(_, node)| !KNOWN.contains(&node.class_type.as_str()));
            let strange: Vec<String> = strange.take(8).map(|(id, _)| self.name(id)).collect();
            let (graph, strange) = (Source::ComfyUi.name(), strange.join(", "));
            let message = match strange.is_empty() {
                true => tr!("{graph}: no sampler; expected a node KSampler or KSamplerAdvanced", graph),
                false => tr!(
                    "{graph}: no sampler; expected a node KSampler or KSamplerAdvanced; not understood: {strange}",
                    graph,
                    strange
                ),
            };
            return Err(FoundError::Graph(message));
        };
        let mut seen = BTreeSet::from([sampler]);
        while let Some(earlier) = self.walk(sampler, PICTURES, &Node::is_sampler, &mut |_| ())? {
            if !seen.insert(earlier) {
                let (graph, node) = (Source::ComfyUi.name(), self.name(earlier));
                let message =
                    tr!("{graph}: {node} is linked to itself; expected a graph without cycles", graph, node);
                return Err(FoundError::Graph(message));
            }
            reading.leave(&self.name(sampler), &tr!("there is no second pass here"));
            sampler = earlier;
        }
        for (id, _) in self.nodes.iter().filter(|(id, node)| node.is_sampler() && !seen.contains(id)) {
            let first = self.name(sampler);
            reading.leave(&self.name(id), &tr!("the settings are those of {first}", first));
        }
        Ok(sampler)
    }

    /// Takes a setting from an input of a node.
    fn take(&self, id: &Id, input: &str, name: &str, reading: &mut Reading<'_>) -> Result<(), FoundError> {
        if let Some(text) = self.text(id, input, name, reading)? {
            reading.take(name, &self.part(id, input), &text)?;
        }
        Ok(())
    }

    /// The value of an input; one that another node computes is noted.
    fn text(
        &self,
        id: &Id,
        input: &str,
        name: &str,
        reading: &mut Reading<'_>,
    ) -> Result<Option<String>, FoundError> {
        match self.input(id, input)? {
            Input::Value(text) => return Ok(Some(text)),
            Input::Link(from) if !reading.is_given(name) => {
                let from = self.name(from);
                reading.leave(&self.part(id, input), &tr!("{from} computes it", from));
            }
            Input::Link(_) | Input::Absent => {}
        }
        Ok(None)
    }

    /// An input in messages: `node 3 (KSampler) seed`.
    fn part(&self, id: &Id, input: &str) -> String {
        format!("{} {input}", self.name(id))
    }

    fn prompts(&self, sampler: &Id, reading: &mut Reading<'_>) -> Result<(), FoundError> {
        let is_text = |node: &Node| node.class_type == "CLIPTextEncode";
        for (name, input) in [("prompt", "positive"), ("negative_prompt", "negative")] {
            match self.walk(sampler, &[input, "conditioning"], &is_text, &mut |_| ())? {
                Some(text) => {
                    self.take(text, "text", name, reading)?;
                    self.layers(text, input, reading)?;
                }
                None if !reading.is_given(name) => {
                    reading.leave(&self.part(sampler, input), &tr!("no node CLIPTextEncode leads to it"));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The layer of CLIP whose output is used, counted from the end: −1 is the last, `clip_skip` 0.
    fn layers(&self, text: &Id, input: &str, reading: &mut Reading<'_>) -> Result<(), FoundError> {
        let is_layer = |node: &Node| node.class_type == "CLIPSetLastLayer";
        let Some(id) = self.walk(text, &["clip"], &is_layer, &mut |_| ())? else { return Ok(()) };
        if input == "negative" || reading.is_given("clip_skip") {
            return Ok(());
        }
        let (name, part) = ("stop_at_clip_layer", self.part(id, "stop_at_clip_layer"));
        let Some(layer) = self.text(id, name, "clip_skip", reading)? else { return Ok(()) };
        match layer.parse::<i64>() {
            Ok(last) if last < 0 => reading.take("clip_skip", &part, &(-(last + 1)).to_string()),
            _ => {
                let found = abridged(&layer);
                let why = tr!("cannot be `{found}`; expected a layer from the end, -1 for the last", found);
                Err(reading.wrong("clip_skip", &part, &why))
            }
        }
    }

    fn sampling(&self, id: &Id, reading: &mut Reading<'_>) -> Result<(), FoundError> {
        let is_advanced = self.class(id) == "KSamplerAdvanced";
        self.take(id, "steps", "num_inference_steps", reading)?;
        self.take(id, "cfg", "guidance_scale", reading)?;
        self.take(id, if is_advanced { "noise_seed" } else { "seed" }, "seed", reading)?;
        let schedule_name = self.text(id, "scheduler", "scheduler", reading)?;
        let schedule = schedule_name.as_deref().and_then(ScheduleType::of_comfy);
        let sampler_name = self.text(id, "sampler_name", "scheduler", reading)?;
        let sampler = sampler_name.as_deref().and_then(Sampler::of_comfy);
        for (input, name, is_known) in [
            ("scheduler", &schedule_name, schedule.is_some()),
            ("sampler_name", &sampler_name, sampler.is_some()),
        ] {
            if let (Some(name), false) = (name, is_known) {
                reading.no_sampler(&format!("{} {name}", self.part(id, input)));
            }
        }
        if let Some(sampler) = sampler {
            let parts = [self.part(id, "sampler_name"), self.part(id, "scheduler")];
            reading.sampler(&sampler, [&parts[0], &parts[1]], schedule)?;
            if sampler.short.draws_noise() {
                reading.noise_of_steps(sampler.short);
            }
        }
        self.unusual(id, is_advanced, reading)
    }

    /// Inputs of a sampler that a plain run has at their defaults.
    fn unusual(&self, id: &Id, is_advanced: bool, reading: &mut Reading<'_>) -> Result<(), FoundError> {
        let steps = reading.values.num_inference_steps as f64;
        let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
        let is_usual = |input: &str, text: &str| match input {
            "denoise" => number(text) == 1.,
            "add_noise" => text == "enable",
            "start_at_step" => number(text) == 0.,
            "end_at_step" => number(text) >= steps,
            _ => text == "disable",
        };
        for input in ["denoise", "add_noise", "start_at_step", "end_at_step", "return_with_leftover_noise"] {
            if is_advanced != (input == "denoise")
                && let Input::Value(text) = self.input(id, input)?
                && !is_usual(input, &text)
            {
                let why = tr!("a run from noise has all of its steps here");
                reading.leave(&format!("{} {text}", self.part(id, input)), &why);
            }
        }
        Ok(())
    }

    fn size(&self, sampler: &Id, reading: &mut Reading<'_>) -> Result<(), FoundError> {
        let is_empty = |node: &Node| node.class_type == "EmptyLatentImage";
        let Some(id) = self.walk(sampler, PICTURES, &is_empty, &mut |_| ())? else {
            reading.leave(&self.part(sampler, "latent_image"), &tr!("no node EmptyLatentImage leads to it"));
            return Ok(());
        };
        let width = self.text(id, "width", "width", reading)?;
        let height = self.text(id, "height", "height", reading)?;
        match (width, height) {
            (Some(width), Some(height)) => reading.size(&self.part(id, "size"), [&width, &height])?,
            (width, height) => {
                for (name, text) in [("width", width), ("height", height)] {
                    text.map_or(Ok(()), |text| reading.take(name, &self.part(id, name), &text))?;
                }
            }
        }
        if let Input::Value(pictures) = self.input(id, "batch_size")?
            && pictures != "1"
        {
            let why = tr!("the noise here is that of the first picture");
            reading.leave(&format!("{} {pictures}", self.part(id, "batch_size")), &why);
        }
        Ok(())
    }

    /// The checkpoint, LoRAs and another VAE.
    fn models(&self, sampler: &Id, reading: &mut Reading<'_>) -> Result<(), FoundError> {
        let is_checkpoint = |node: &Node| node.class_type == "CheckpointLoaderSimple";
        if let Some(id) = self.walk(sampler, &["model"], &is_checkpoint, &mut |_| ())?
            && let Input::Value(name) = self.input(id, "ckpt_name")?
        {
            reading.model = Some(NamedModel { name, hash: String::new() });
        }
        for (id, node) in &self.nodes {
            match node.class_type.as_str() {
                "LoraLoader" | "LoraLoaderModelOnly" => {
                    if let Input::Value(name) = self.input(id, "lora_name")? {
                        let weight = match self.input(id, "strength_model")? {
                            Input::Value(weight) => weight,
                            _ => String::new(),
                        };
                        reading.lora(&name, &weight);
                        if let Ok(Input::Value(clip)) = self.input(id, "strength_clip")
                            && clip != weight
                        {
                            let what = tr!("LoRA {name}: strength_clip {clip}", name, clip);
                            reading.leave(
                                &what,
                                &tr!("here a LoRA has one scale, for the UNet and the text encoder"),
                            );
                        }
                    }
                }
                "VAELoader" => {
                    if let Input::Value(name) = self.input(id, "vae_name")? {
                        let why = tr!("its file is not in the picture; --vae FILE reads it");
                        reading.leave(&format!("VAE {name}"), &why);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
