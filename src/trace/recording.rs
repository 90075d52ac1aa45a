//! The probe that records modules for a trace.

use super::manifest::Call;
use crate::model::classes;
use crate::nn::attention::ATTENTION_PROBS;
use crate::nn::pattern::{Pattern, PatternError};
use crate::nn::{Error, Path, Probe, Result};
use crate::pipeline::{Stage, lines};
use candle_core::{Device, Tensor, TensorId};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::str::FromStr;
use tr::tr;

/// Which modules are recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum What {
    /// None: the stages' own tensors.
    #[default]
    Stages,
    /// Every module.
    All,
    /// Those that match a pattern.
    Matching(Vec<Pattern>),
}

impl FromStr for What {
    type Err = PatternError;

    /// `stages`, `all`, or patterns with commas between them.
    fn from_str(text: &str) -> std::result::Result<Self, PatternError> {
        match text {
            "stages" => Ok(Self::Stages),
            "all" => Ok(Self::All),
            _ => {
                text.split(',').map(Pattern::parse).collect::<std::result::Result<_, _>>().map(Self::Matching)
            }
        }
    }
}

impl What {
    /// Whether the module at `path` is recorded.
    pub fn includes(&self, path: &str) -> bool {
        match self {
            Self::Stages => false,
            Self::All => true,
            Self::Matching(patterns) => patterns.iter().any(|pattern| pattern.matches(path)),
        }
    }
}

/// The calls of modules in a stage.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The calls, in the order of completion.
    pub calls: Vec<Call>,
    /// Their tensors by key, each once.
    pub tensors: Vec<(String, Tensor)>,
    /// Keys of tensors that are stored under another key.
    pub same: BTreeMap<String, String>,
}

/// Records the calls of modules in one stage.
#[derive(Debug)]
pub struct Recording<'a> {
    stage: String,
    what: &'a What,
    recorded: Recorded,
    /// The calls of each path so far.
    counts: HashMap<Path, usize>,
    entered: usize,
    /// Calls that have begun and not ended, the innermost last.
    open: Vec<Call>,
    /// The keys of tensors by their identity. Identities are never used twice.
    stored: HashMap<TensorId, String>,
}

impl<'a> Recording<'a> {
    /// A recording of `what` in `stage`.
    pub fn new(stage: Stage, what: &'a What) -> Self {
        Self {
            stage: stage.key(),
            what,
            recorded: Recorded::default(),
            counts: HashMap::new(),
            entered: 0,
            open: vec![],
            stored: HashMap::new(),
        }
    }

    /// What was recorded.
    pub fn into_recorded(self) -> Recorded {
        self.recorded
    }

    /// Stores a tensor under `key`, or refers to the one that has it already.
    fn store(&mut self, key: String, tensor: &Tensor) -> Result<()> {
        match self.stored.get(&tensor.id()) {
            Some(known) => {
                self.recorded.same.insert(key, known.clone());
            }
            None => {
                self.stored.insert(tensor.id(), key.clone());
                // A GPU's memory is for the run.
                let tensor = match tensor.device() {
                    Device::Cpu => tensor.clone(),
                    _ => tensor.to_device(&Device::Cpu)?,
                };
                self.recorded.tensors.push((key, tensor));
            }
        }
        Ok(())
    }
}

impl Probe for Recording<'_> {
    fn wants(&self, path: &Path) -> bool {
        let path = path.as_str();
        self.what.includes(path) && !lines::ALL.contains(&path) && !path.ends_with(ATTENTION_PROBS)
    }

    fn enter(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<()> {
        let count = self.counts.entry(path.clone()).or_default();
        let call = Call { path: path.to_string(), call: *count, entered: Some(self.entered), rows: vec![] };
        *count += 1;
        self.entered += 1;
        let prefix = call.prefix(&self.stage);
        for (name, input) in classes::inputs(path.as_str(), inputs.len()).iter().zip(inputs) {
            self.store(format!("{prefix}in.{name}"), input)?;
        }
        self.open.push(call);
        Ok(())
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        let call = self.open.pop().filter(|call| call.path == path.as_str());
        let call = call.ok_or_else(|| Error::Input(tr!("{path} ended before it began", path)))?;
        self.store(format!("{}out", call.prefix(&self.stage)), &output)?;
        self.recorded.calls.push(call);
        Ok(output)
    }
}

/// The steps whose modules are recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Steps {
    /// Every one.
    #[default]
    All,
    /// These.
    Some(Vec<Range<usize>>),
}

impl FromStr for Steps {
    type Err = String;

    /// `all`, or numbers and ranges with commas between them: `0,5,10-12`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let wrong = || tr!("`{text}`: expected all, or steps such as 0,5,10-12", text);
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: usize = first.trim().parse().ok()?;
            let end = last.trim().parse::<usize>().ok()?.checked_add(1)?;
            (first < end).then_some(first..end)
        };
        text.split(',').map(range).collect::<Option<_>>().map(Self::Some).ok_or_else(wrong)
    }
}

impl Steps {
    /// Whether the modules of `stage` are recorded. Stages without steps always are.
    pub fn include(&self, stage: Stage) -> bool {
        match (self, stage) {
            (Self::Some(ranges), Stage::Denoise { step }) => ranges.iter().any(|range| range.contains(&step)),
            _ => true,
        }
    }
}
