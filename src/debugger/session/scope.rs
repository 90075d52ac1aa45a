//! The names of expressions, resolved: the run here, its other states, other timelines, and the text encoder.

mod state;

use crate::debugger::backend::Backend;
use crate::debugger::expr::names::Resolver;
use crate::debugger::expr::value::{Function, TensorValue, mistake, number};
use crate::debugger::language::place::{Place, parse_place};
use crate::debugger::replay::outputs;
use crate::debugger::replay::outputs::Outputs;
use crate::debugger::stepping::{HookPhase, PausedStage};
use crate::debugger::timeline::tree::{Branch, TimelineTree};
use crate::nn::{Path, Unwatched};
use crate::pipeline::request::Texts;
use crate::pipeline::stages;
use crate::pipeline::stages::Run;
use crate::pipeline::{Request, Snapshot, Stage, lines};
use crate::scheduler::betas;
use crate::tensor::PlainTensor;
use candle_core::Tensor;
use cel::ExecutionError;
use cel::common::types::{CelDouble, CelInt, CelString};
use cel::common::value::{CowVal, Val};
use state::{is_module, lookup, named};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use tr::tr;

pub(in crate::debugger) use state::tensors;

/// Texts whose embeddings are kept.
const MOST_TEXTS: usize = 64;

/// Where an expression is evaluated: a snapshot, and what is around it.
#[derive(Debug)]
pub struct Scope<'a> {
    here: Cow<'a, Snapshot>,
    timelines: &'a TimelineTree,
    backend: &'a Arc<Backend>,
    texts: &'a Arc<EmbeddingCache>,
    outputs: &'a Arc<Outputs>,
    paused: Option<PausedAt>,
}

/// The module or line at which a stage is paused, and the outputs of modules that are known so far.
#[derive(Debug, Clone)]
struct PausedAt {
    stage: Stage,
    path: String,
    moment: HookPhase,
    /// The run before the stage.
    before: Arc<Snapshot>,
    outputs: Vec<(Path, Tensor)>,
}

/// Embeddings of texts that were asked for, by what they depend on: (1, 77·n, C) each.
#[derive(Debug, Default)]
pub struct EmbeddingCache(Mutex<HashMap<Texts, PlainTensor>>);

impl Deref for Scope<'_> {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.here
    }
}

impl<'a> Scope<'a> {
    /// The cursor of the current timeline; inside a stage, with what that made so far.
    pub(in crate::debugger) fn new(
        timelines: &'a TimelineTree,
        inside: Option<&PausedStage>,
        backend: &'a Arc<Backend>,
        texts: &'a Arc<EmbeddingCache>,
        outputs: &'a Arc<Outputs>,
    ) -> Self {
        let here = timelines.current().timeline.here();
        let here = match inside {
            Some(inside) => Cow::Owned(here.with_partial(inside.stage, inside.values())),
            None => Cow::Borrowed(here),
        };
        let paused = inside.map(|inside| PausedAt {
            stage: inside.stage,
            path: inside.path().into(),
            moment: inside.moment,
            before: Arc::clone(inside.before()),
            outputs: inside.outputs(),
        });
        Self { here, timelines, backend, texts, outputs, paused }
    }

    /// The same with another state instead of the cursor's.
    pub(in crate::debugger) fn with_here(self, here: Snapshot) -> Self {
        Self { here: Cow::Owned(here), ..self }
    }

    /// What modules made in stages that are recorded.
    fn modules(&self) -> Modules {
        Modules { backend: Arc::clone(self.backend), outputs: Arc::clone(self.outputs) }
    }

    /// `alpha_bar(t)`: ᾱ of a timestep that the model was trained on.
    fn alpha_bar(&self) -> Function {
        let scheduler = Arc::clone(self.here.shared_scheduler());
        Function::new("alpha_bar", move |timestep| {
            let all = betas::alphas_cumprod(scheduler.config());
            let last = all.len() - 1;
            match number(timestep).filter(|t| (0. ..=last as f64).contains(t)) {
                Some(t) => Ok(Box::new(CelDouble::from(betas::alpha_bar_at(&all, t)))),
                None => Err(mistake(&tr!("alpha_bar wants a timestep from 0 to {last}", last))),
            }
        })
    }

    /// `lora(name)`: the scale of a LoRA of the run.
    fn lora(&self) -> Function {
        let loras = self.here.request().loras.clone();
        Function::new("lora", move |name| {
            let name = name.downcast_ref::<CelString<'_>>().map(|name| name.inner().to_string());
            match loras.iter().find(|lora| Some(&lora.name) == name.as_ref()) {
                Some(lora) => Ok(Box::new(CelDouble::from(lora.scale))),
                None if loras.is_empty() => {
                    Err(mistake(&tr!("lora: the run has no LoRA; `--lora FILE` adds one")))
                }
                None => {
                    let known = loras.iter().map(|lora| format!("\"{}\"", lora.name)).collect::<Vec<_>>();
                    Err(mistake(&tr!("lora wants a LoRA of the run: {}", known.join(", "))))
                }
            }
        })
    }

    /// `embed(text)`: what the text encoder makes of it, as a prompt.
    fn embed(&self) -> Function {
        let (backend, texts) = (Arc::clone(self.backend), Arc::clone(self.texts));
        let (scheduler, request) = (Arc::clone(self.here.shared_scheduler()), self.here.request().clone());
        Function::new("embed", move |text| {
            let Some(text) = text.downcast_ref::<CelString<'_>>().map(|text| text.inner().to_string()) else {
                return Err(mistake("embed wants a text in quotes: embed(\"a cat\")"));
            };
            let mut known = texts.0.lock().unwrap_or_else(PoisonError::into_inner);
            let request = Request { prompt: text, ..request.clone() };
            let asked = request.texts();
            if let Some(embeds) = known.get(&asked) {
                return Ok(Box::new(TensorValue::new(embeds.clone())));
            }
            // The stage itself: the same numbers as those of a run with that prompt.
            let models = backend.models().map_err(|e| mistake(&e.to_string()))?;
            let run = Run { models, request: &request, scheduler: &*scheduler };
            let encoded = stages::encode_prompt(run, &mut Unwatched).map_err(|e| mistake(&e.to_string()))?;
            if let [Some(cut), _] = &encoded.cut {
                return Err(mistake(&tr!(
                    "embed: the text is longer than 77 tokens; \"{cut}\" would be cut off",
                    cut
                )));
            }
            let embeds = PlainTensor::of(&encoded.prompt_embeds).map_err(|e| mistake(&e.to_string()))?;
            if known.len() >= MOST_TEXTS {
                known.clear();
            }
            known.insert(asked, embeds.clone());
            Ok(Box::new(TensorValue::new(embeds)))
        })
    }

    /// `t(path)`: what a module made, in the stage that is stepped through or in the last one in which it ran.
    fn t(&self) -> Function {
        let modules = self.modules();
        let paused = self.paused.clone();
        let timeline = &self.timelines.current().timeline;
        let runs = timeline.snapshots()[..=timeline.cursor()].to_vec();
        Function::new("t", move |path| {
            let Some(path) = path.downcast_ref::<CelString<'_>>().map(|path| path.inner().to_string()) else {
                return Err(mistake("t wants the path of a module in quotes: t(\"unet.mid_block\")"));
            };
            let mut known = paused.iter().flat_map(|paused| &paused.outputs);
            if let Some((_, output)) = known.find(|(known, _)| known.as_str() == path) {
                let output = PlainTensor::of(output).map_err(|e| mistake(&e.to_string()))?;
                return Ok(Box::new(TensorValue::new(output)));
            }
            modules.known(&path)?;
            // Of a stage that waits what ran in it already; else of the last one in which the module ran.
            match paused.as_ref().filter(|paused| lines::running(paused.stage, &path).is_some()) {
                Some(paused) => {
                    let until = Some((paused.path.as_str(), paused.moment));
                    modules.output_after(&paused.before, &path, until)
                }
                None => modules.newest(&runs, &path),
            }
        })
    }

    /// `of(timeline, tensor)`: as it is there at its cursor; `of(timeline, stage, tensor)`: as it was after that stage. Of a
    /// module, what it made.
    fn of(&self) -> Function {
        let modules = self.modules();
        let of = |branch: &Branch| (branch.name.clone(), states("of", branch, &modules));
        let timelines: Vec<(String, Function)> = self.timelines.list().iter().map(of).collect();
        Function::new("of", move |name| {
            let name = name.downcast_ref::<CelString<'_>>().map(|name| name.inner().to_string());
            match timelines.iter().find(|(known, _)| Some(known) == name.as_ref()) {
                Some((_, states)) => Ok(Box::new(states.clone())),
                None => {
                    let known = timelines.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>();
                    Err(mistake(&tr!("of wants a timeline: {}", known.join(", "))))
                }
            }
        })
    }
}

impl Resolver for Scope<'_> {
    /// What a name means: a function that depends on the run, or a value of the state at the cursor.
    fn resolve(&self, name: &str) -> Option<Box<dyn Val>> {
        let function = match name {
            "at" => states("at", self.timelines.current(), &self.modules()),
            "of" => self.of(),
            "embed" => self.embed(),
            "alpha_bar" => self.alpha_bar(),
            "lora" => self.lora(),
            "t" => self.t(),
            "path" => {
                let path = self.paused.as_ref()?.path.clone();
                return Some(CowVal::owned(CelString::from(path)).into_owned());
            }
            _ => return named(&self.here, name),
        };
        Some(Box::new(function))
    }

    fn tensors(&self) -> Vec<&'static str> {
        tensors(&self.here)
    }
}

/// What modules made in stages that are recorded.
#[derive(Clone)]
struct Modules {
    backend: Arc<Backend>,
    outputs: Arc<Outputs>,
}

impl Modules {
    /// Refuses a path that no module has.
    fn known(&self, path: &str) -> Result<(), ExecutionError> {
        match outputs::has(self.backend.info(), |known| known == path) {
            true => Ok(()),
            false => Err(mistake(&outputs::unknown(self.backend.info(), path))),
        }
    }

    /// What the module at `path` made in the last stage among `runs` in which it ran.
    fn newest(&self, runs: &[Arc<Snapshot>], path: &str) -> Result<Box<dyn Val>, ExecutionError> {
        match outputs::before_it(runs, path) {
            Some(before) => self.output_after(&before, path, None),
            None => {
                let stage = outputs::stage_of(path);
                Err(mistake(&tr!(
                    "{path} runs in {stage}, which is not recorded yet; run it first",
                    path,
                    stage
                )))
            }
        }
    }

    /// The output of the module at `path` in the stage after `before`, or in it up to the module or line `until`.
    fn output_after(
        &self,
        before: &Arc<Snapshot>,
        path: &str,
        until: Option<(&str, HookPhase)>,
    ) -> Result<Box<dyn Val>, ExecutionError> {
        let output = self.outputs.of(&self.backend, before, path, until).map_err(|e| mistake(&e))?;
        Ok(Box::new(TensorValue::new(output)))
    }
}

/// The states of a timeline: by a step or a stage, the one after it; by the name of a tensor or a module, that at the cursor.
fn states(function: &'static str, branch: &Branch, modules: &Modules) -> Function {
    let (snapshots, cursor) = (branch.timeline.snapshots().to_vec(), branch.timeline.cursor());
    let modules = modules.clone();
    Function::new(function, move |asked| {
        let here = &snapshots[cursor];
        let text = asked.downcast_ref::<CelString<'_>>().map(|text| text.inner().to_string());
        let stage = match (&text, asked.downcast_ref::<CelInt>()) {
            (_, Some(step)) => match usize::try_from(*step.inner()) {
                Ok(step) => Stage::Denoise { step },
                Err(_) => {
                    return Err(mistake(&tr!(
                        "{function} wants a step, 0 or more; found {}",
                        step.inner(),
                        function
                    )));
                }
            },
            (Some(text), None) => match parse_place(text) {
                Ok(Place::Stage(stage)) => stage,
                _ if function == "of" && is_module(text) => {
                    modules.known(text)?;
                    return modules.newest(&snapshots[..=cursor], text);
                }
                _ if function == "of" => return lookup(here, text),
                _ => {
                    let message = tr!(
                        "{function} wants a step, such as 3, or a stage, such as \"get_latent\"; found \"{text}\"",
                        function,
                        text
                    );
                    return Err(mistake(&message));
                }
            },
            _ => {
                return Err(mistake(&tr!(
                    "{function} wants a step, such as 3, or a stage in quotes",
                    function
                )));
            }
        };
        let steps = here.request().steps();
        let has = match stage {
            Stage::Denoise { step } => steps.contains(&step),
            _ => true,
        };
        let place = stage.index(&steps);
        match snapshots.get(place + 1).filter(|_| has) {
            Some(state) => {
                let (before, state) = (Arc::clone(&snapshots[place]), Arc::clone(state));
                let modules = modules.clone();
                Ok(Box::new(Function::new(function, move |name| {
                    match name.downcast_ref::<CelString<'_>>().map(|name| name.inner()) {
                        Some(path) if is_module(path) => {
                            modules.known(path)?;
                            modules.output_after(&before, path, None)
                        }
                        Some(name) => lookup(&state, name),
                        None => {
                            Err(mistake(&tr!("{function} wants the name of a tensor in quotes", function)))
                        }
                    }
                })))
            }
            None if has => Err(mistake(&tr!("{stage} is not recorded; run it first", stage))),
            None => Err(mistake(&tr!(
                "{stage} is not in this run; its steps are {} to {}",
                steps.start,
                steps.end.saturating_sub(1),
                stage
            ))),
        }
    })
}
