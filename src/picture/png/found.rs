//! The settings that a picture holds: what was found in its text chunks, and what could not be taken.
//!
//! [`Found::read`] looks into this program's chunk first, then into A1111's `parameters`, then into ComfyUI's graph, `prompt`.

use super::chunks::{ChunkError, TextChunks};
use super::record::{self, RunRecord};
use super::{comfy, parameters};
use crate::checkpoint::lora::{name_of, scale_of};
use crate::nn::error::abridged;
use crate::pipeline::loras::LoraScale;
use crate::pipeline::{Request, Setting};
use crate::scheduler::ShortName;
use crate::scheduler::schedule_type::{Sampler, ScheduleType};
use tr::tr;

/// The most lines about what was not taken.
const MOST_LINES: usize = 40;

/// Where settings were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This program's chunk.
    Own,
    /// The chunk `parameters` that this program wrote.
    OwnParameters,
    /// The chunk `parameters` of A1111's web interface, or of a program that writes the same.
    A1111,
    /// ComfyUI's graph.
    ComfyUi,
}

impl Source {
    /// What it is called in messages.
    pub fn name(self) -> String {
        match self {
            Self::Own => tr!("the chunk `diffuscope`"),
            Self::OwnParameters => tr!("the chunk `parameters`"),
            Self::A1111 => tr!("AUTOMATIC1111's parameters"),
            Self::ComfyUi => tr!("ComfyUI's graph"),
        }
    }

    /// The syntax of its prompts, by the name of the setting's value; `None` where the settings say it themselves.
    pub fn prompt_syntax(self) -> Option<&'static str> {
        match self {
            Self::Own | Self::OwnParameters => None,
            Self::A1111 => Some("a1111"),
            Self::ComfyUi => Some("comfy"),
        }
    }
}

/// The model of a picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedModel {
    /// Its name; a file's name has its ending, and may have a folder.
    pub name: String,
    /// The first ten hexadecimal digits of its file's SHA-256, as A1111 writes them.
    pub hash: String,
}

/// What a picture holds.
#[derive(Debug)]
pub struct Found {
    /// Where it was found.
    pub source: Source,
    /// The model that made the picture, if it is named.
    pub model: Option<NamedModel>,
    /// What was not taken, a line each: what it is, and why.
    pub left: Vec<String>,
    /// The LoRAs that the picture names, with their scales.
    pub loras: Vec<LoraScale>,
    /// The settings that were taken.
    taken: Vec<Setting>,
    /// Their values; the others are not meant.
    values: Request,
}

/// Why settings cannot be taken from a picture.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// The file or its chunks cannot be read.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// This program's chunk is wrong.
    #[error(transparent)]
    Record(#[from] record::RecordError),
    /// There are none.
    #[error("{}", tr!(
        "no settings{found}; expected a text chunk `diffuscope`, `parameters` (AUTOMATIC1111) or `prompt` (ComfyUI)", found = .0
    ))]
    None(String),
    /// A value that the setting cannot have.
    #[error("{}", tr!(
        "{source_name}: `{part}`: {why}; `--{flag}` sets it instead",
        source_name = .source_name, part = .part, why = .why, flag = .flag
    ))]
    Value {
        /// Where it was found.
        source_name: String,
        /// The key, or the node and its input.
        part: String,
        /// What is wrong with it, and what would be right.
        why: String,
        /// The flag that sets it.
        flag: String,
    },
    /// A graph that is none.
    #[error("{0}")]
    Graph(String),
}

impl Found {
    /// Reads the settings of a PNG file. Those that are `given` otherwise, by name, are not read.
    ///
    /// # Errors
    /// [`FoundError`].
    pub fn read(bytes: &[u8], given: &dyn Fn(&str) -> bool) -> Result<Self, FoundError> {
        let chunks = TextChunks::read(bytes)?;
        if let Some(text) = chunks.get(record::KEYWORD)? {
            let record = RunRecord::parse(&text)?;
            let mut reading = Reading::new(Source::Own, given);
            record.found(&mut reading);
            return reading.finish();
        }
        let text = chunks.get(parameters::KEYWORD)?;
        if let Some(text) = text.as_ref().filter(|text| !text.trim().is_empty()) {
            return parameters::found(text, given);
        }
        let graph = chunks.get(comfy::KEYWORD)?;
        if let Some(graph) = graph.as_ref().filter(|graph| !graph.trim().is_empty()) {
            return comfy::found(graph, given);
        }
        let empty = [(&text, parameters::KEYWORD), (&graph, comfy::KEYWORD)];
        let empty = empty.into_iter().find(|(text, _)| text.is_some());
        let found = match (empty, chunks.keywords()) {
            (Some((_, keyword)), _) => tr!(": its text chunk `{keyword}` is empty", keyword),
            (None, _) if !chunks.broken().is_empty() => {
                tr!(": a text chunk ({}) is broken", chunks.broken()[0])
            }
            (None, keywords) if keywords.is_empty() => tr!(": it has no text chunk"),
            (None, keywords) => tr!(": its text chunks are {}", abridged(&keywords.join(", "))),
        };
        Err(FoundError::None(found))
    }

    /// The names of the settings that were taken, as short texts about a run list them.
    pub fn taken(&self) -> Vec<&str> {
        let says = |setting: &Setting| self.has(setting.name()) && setting.is_in_short_texts(&self.values);
        Setting::all().filter(says).map(|setting| setting.entry().name).collect()
    }

    /// Whether a setting was taken.
    pub fn has(&self, name: &str) -> bool {
        self.taken.iter().any(|setting| setting.name() == name)
    }

    /// The settings' values; those that were not taken are not meant.
    pub fn values(&self) -> &Request {
        &self.values
    }

    /// Gives a request what was taken. The arguments of the scheduler come from this program's chunk whole if the model is the
    /// `same`; else the checkpoint's own files say what the picture's name of the scheduler does not.
    ///
    /// # Errors
    /// When the checkpoint's files do not allow a value.
    pub fn apply(&self, same: bool, request: &mut Request) -> Result<(), String> {
        for setting in &self.taken {
            if setting.name() == "scheduler" && self.source == Source::Own && same {
                let config = self.values.scheduler.config().clone();
                request.scheduler = request.scheduler.with_config(config);
                continue;
            }
            setting.copy(&self.values, request)?;
        }
        Ok(())
    }
}

/// Settings in the making.
pub(super) struct Reading<'g> {
    pub(super) source: Source,
    given: &'g dyn Fn(&str) -> bool,
    pub(super) values: Request,
    taken: Vec<Setting>,
    left: Vec<String>,
    pub(super) loras: Vec<LoraScale>,
    /// How many lines there are beyond the most.
    more: usize,
    pub(super) model: Option<NamedModel>,
}

impl<'g> Reading<'g> {
    pub(super) fn new(source: Source, given: &'g dyn Fn(&str) -> bool) -> Self {
        Self {
            source,
            given,
            values: Request::default(),
            taken: vec![],
            left: vec![],
            loras: vec![],
            more: 0,
            model: None,
        }
    }

    /// Whether a setting is given otherwise. A scheduler brings its arguments.
    pub(super) fn is_given(&self, name: &str) -> bool {
        (self.given)(name.split('.').next().unwrap_or(name))
    }

    /// Whether a setting was taken.
    pub(super) fn has(&self, name: &str) -> bool {
        self.taken.iter().any(|setting| setting.name() == name)
    }

    /// Marks a setting as taken whose value is there already.
    pub(super) fn mark(&mut self, setting: Setting) {
        if !self.has(setting.name()) {
            self.taken.push(setting);
        }
    }

    /// Takes a setting from its text, unless it is given otherwise. `part` is what it is called in the picture.
    pub(super) fn take(&mut self, name: &str, part: &str, text: &str) -> Result<(), FoundError> {
        let Some(setting) = Setting::find(name).filter(|_| !self.is_given(name)) else { return Ok(()) };
        setting.parse_into(text, &mut self.values).map_err(|e| self.wrong(name, part, &e.to_string()))?;
        self.mark(setting);
        Ok(())
    }

    /// The error of a value that its setting cannot have.
    pub(super) fn wrong(&self, name: &str, part: &str, why: &str) -> FoundError {
        let flag = Setting::find(name).and_then(|setting| setting.entry().flags.first().copied());
        FoundError::Value {
            source_name: self.source.name(),
            part: part.into(),
            why: why.into(),
            flag: flag.unwrap_or("scheduler").into(),
        }
    }

    /// Notes what was not taken, and why.
    pub(super) fn leave(&mut self, what: &str, why: &str) {
        match self.left.len() < MOST_LINES {
            true => {
                let why: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                self.left.push(format!("{}: {why}", abridged(what)));
            }
            false => self.more += 1,
        }
    }

    /// Takes a size, unless the VAE cannot make it.
    pub(super) fn size(&mut self, part: &str, [width, height]: [&str; 2]) -> Result<(), FoundError> {
        let text = format!("{width}x{height}");
        let is_multiple = |side: &str| side.parse::<usize>().map_or(true, |side| side % 8 == 0);
        if is_multiple(width) && is_multiple(height) {
            self.take("width", part, width)?;
            return self.take("height", part, height);
        }
        if !(self.is_given("width") && self.is_given("height")) {
            self.leave(
                &format!("{part} {text}"),
                &tr!("expected multiples of 8; --width and --height set it"),
            );
        }
        Ok(())
    }

    /// Takes a sampler with its schedule type.
    pub(super) fn sampler(
        &mut self,
        sampler: &Sampler,
        part: [&str; 2],
        schedule: Option<&ScheduleType>,
    ) -> Result<(), FoundError> {
        self.take("scheduler", part[0], sampler.short.name)?;
        if let Some((argument, value)) = sampler.argument {
            self.take(&format!("scheduler.{argument}"), part[0], value)?;
        }
        match schedule {
            Some(schedule) if !schedule.is_of(sampler.short.class) => {
                let (class, argument) = (sampler.short.class.name(), schedule.argument);
                self.leave(part[1], &tr!("{class} has no `{argument}`", class, argument));
            }
            Some(schedule) => {
                self.take(&format!("scheduler.{}", schedule.argument), part[1], schedule.value)?;
            }
            None => {}
        }
        Ok(())
    }

    /// Notes a sampler or a schedule type that is not here.
    pub(super) fn no_sampler(&mut self, what: &str) {
        if !self.is_given("scheduler") {
            self.leave(what, &tr!("there is no such scheduler here; --scheduler chooses another one"));
        }
    }

    /// Notes that there the noise of the steps is drawn otherwise.
    pub(super) fn noise_of_steps(&mut self, short: &ShortName) {
        if !self.is_given("scheduler") {
            let name = short.name;
            self.leave(
                &tr!("the noise of the steps"),
                &tr!("{name} draws it otherwise there, so the same seed gives another picture", name),
            );
        }
    }

    /// Takes a LoRA, whose scale may follow from the prompt.
    pub(super) fn lora(&mut self, name: &str, scale: &str) {
        let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
        let name = name_of(file.strip_suffix(".safetensors").unwrap_or(file));
        let scale = if scale.is_empty() { Some(1.) } else { scale_of(scale) };
        match scale {
            Some(scale) if self.loras.iter().all(|known| known.name != name) => {
                self.loras.push(LoraScale::recorded(&name, scale));
            }
            Some(_) => {}
            None => self.leave(&format!("LoRA {name}"), &tr!("its scale is no number")),
        }
    }

    pub(super) fn finish(mut self) -> Result<Found, FoundError> {
        // A prompt that is given otherwise is not in the picture's syntax.
        if let Some(syntax) =
            self.source.prompt_syntax().filter(|_| self.has("prompt") || self.has("negative_prompt"))
        {
            self.take("prompt_syntax", "prompt", syntax)?;
        }
        let Self { source, values, taken, mut left, loras, more, model, .. } = self;
        if more > 0 {
            left.push(tr!("and {more} more", more));
        }
        Ok(Found { source, model, left, loras, taken, values })
    }
}

#[cfg(test)]
mod tests;
