//! LoRA (Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1): a module computes
//! W · x + scale · (α / r) · B · A · x instead of W · x. W stays as it is, so that runs of any scale share it.

use crate::checkpoint::LoadError;
use crate::checkpoint::lora::diffusers::{self, Difference};
use crate::checkpoint::lora::names::{Blocks, Names};
use crate::checkpoint::lora::{LoraFile, Stored, Update};
use crate::nn::error::abridged_key;
use crate::nn::layers::{Conv2d, Linear};
use crate::nn::load_report::Parameter;
use crate::nn::weights::WeightsFile;
use crate::nn::{Path, Result, Weights, WeightsError};
use crate::phrase::{Phrase, phrase};
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::Conv2dConfig;
use serde::Serialize;
use std::collections::HashMap;
use tr::tr;

/// A LoRA on a model.
#[derive(Debug)]
pub struct Lora {
    /// What settings call it.
    pub name: String,
    /// Its file.
    pub file: String,
    /// The scale that it has from the start.
    pub scale: f64,
    /// Whether a flag says that scale.
    pub has_scale: bool,
    /// What it does by its weights.
    pub coverage: Coverage,
    layers: HashMap<Path, LoraLayer>,
}

/// What a LoRA does by its weights, at scale 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coverage {
    /// Who wrote its keys.
    pub layout: String,
    /// The number of its tensors.
    pub keys: usize,
    /// The tensors that do nothing here.
    pub left_over: Vec<LeftOver>,
    /// The modules that it changes, in the order in which the model has them.
    pub modules: Vec<Touched>,
}

/// A tensor that does nothing here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOver {
    /// Its key.
    pub key: String,
    /// The reason.
    pub why: String,
}

/// A module that a LoRA changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Touched {
    /// Its path.
    pub path: String,
    /// r.
    pub rank: usize,
    /// α.
    pub alpha: f64,
    /// The Frobenius norm ‖ΔW‖ at scale 1.
    pub change: f64,
    /// The Frobenius norm ‖W‖.
    pub weight: f64,
}

impl Coverage {
    /// What it covers, a line each: the keys, the modules, and by how much their weights change at scale 1.
    pub fn lines(&self) -> Vec<String> {
        let Self { layout, keys, left_over, modules } = self;
        let matched = keys - left_over.len();
        let mut lines = vec![tr!(
            "{layout} keys: {matched} of {keys} belong to modules of the model",
            layout,
            matched,
            keys
        )];
        let of = |component: &str| {
            let start = format!("{component}.");
            modules.iter().filter(|touched| touched.path.starts_with(&start)).count()
        };
        let ratios = || modules.iter().filter(|touched| touched.change > 0.);
        let most = ratios().max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        let least = ratios().min_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        lines.push(match (most, least) {
            (Some(most), Some(least)) => {
                let shown = |touched: &Touched| format!("{:.2} %", 100. * touched.ratio());
                let (unet, text_encoder) = (of("unet"), of("text_encoder"));
                match modules.len() {
                    1 => tr!("it changes {}: ‖ΔW‖/‖W‖ {}", most.path, shown(most)),
                    _ => tr!(
                        "it changes {unet} modules of the UNet and {text_encoder} of the text encoder: ‖ΔW‖/‖W‖ {} to {}, most in {}",
                        shown(least),
                        shown(most),
                        most.path,
                        unet,
                        text_encoder
                    ),
                }
            }
            _ if modules.is_empty() => tr!("it changes nothing: no key names a module of this model"),
            _ => tr!("it changes nothing: alpha / rank · B · A is zero in every module"),
        });
        lines
    }

    /// Whether no weight changes.
    pub fn is_nothing(&self) -> bool {
        self.modules.iter().all(|touched| touched.change == 0.)
    }
}

impl Touched {
    /// ‖ΔW‖ / ‖W‖.
    pub fn ratio(&self) -> f64 {
        self.change / self.weight
    }
}

/// A and B of a module.
#[derive(Debug)]
pub struct LoraLayer {
    down: Matrix,
    up: Matrix,
    /// α / r.
    factor: f64,
}

/// A matrix of a LoRA: a linear layer, or a convolution for the module that is one.
#[derive(Debug)]
enum Matrix {
    Linear(Linear),
    Conv2d(Conv2d),
}

impl Matrix {
    fn weight(&self) -> &Tensor {
        match self {
            Self::Linear(linear) => linear.weight(),
            Self::Conv2d(conv) => conv.weight(),
        }
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Linear(linear) => linear.forward(x),
            Self::Conv2d(conv) => conv.forward(x),
        }
    }
}

impl LoraLayer {
    /// ‖Σ scale · (α / r) · B · A‖ of several LoRAs of a module, without the products.
    ///
    /// # Errors
    /// When the device fails, or the layers are of different modules.
    pub fn norm_together(layers: &[(&Self, f64)]) -> Result<f64> {
        // Side by side they are one of a larger rank.
        let mut sides = (vec![], vec![]);
        for (layer, scale) in layers {
            sides.0.push((matrix(layer.up.weight())? * (layer.factor * scale))?);
            sides.1.push(matrix(layer.down.weight())?);
        }
        Ok(norm_of_product(&Tensor::cat(&sides.0, 1)?, &Tensor::cat(&sides.1, 0)?)?)
    }

    /// (α / r) · B · A · x: what a scale of 1 adds to the module's output.
    ///
    /// # Errors
    /// When the shape of `x` does not fit the module.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok((self.up.forward(&self.down.forward(x)?)? * self.factor)?)
    }
}

/// The model to which a LoRA is added.
pub struct Base<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// The parameters of all modules.
    pub parameters: &'a [Parameter],
    /// The strides and paddings of its convolutions.
    pub convs: &'a HashMap<Path, Conv2dConfig>,
    /// The blocks of its UNet, if all levels have as many resnets.
    pub blocks: Option<&'a Blocks>,
    /// The weights of its components.
    pub weights: [&'a Weights; 2],
    /// The device of computation.
    pub device: &'a Device,
    /// The dtype of computation.
    pub dtype: DType,
}

const NO_MODULE: Phrase = phrase("the model has no such module");
const NO_KEY: Phrase = phrase("the key has no form that a LoRA's keys have");

impl Lora {
    /// Reads the tensors of `file` for the modules of `base`.
    ///
    /// # Errors
    /// When a tensor does not fit its module, cannot be read, or has values that are not finite.
    pub fn load(file: &LoraFile, base: &Base<'_>) -> std::result::Result<Self, LoadError> {
        let is_weight = |parameter: &&Parameter| {
            parameter.name == "weight"
                && matches!(parameter.shape.len(), 2 | 4)
                && !parameter.module.as_str().ends_with("_embedding")
        };
        let all: Vec<&Parameter> = base.parameters.iter().filter(is_weight).collect();
        let names = Names::new(all.iter().map(|parameter| parameter.module.as_str()), base.blocks);
        let tensors = WeightsFile::open(std::path::Path::new(&file.file))?;
        let tensors = Weights::new(tensors, "", base.dtype, base.device);
        let left = |key: &str, why: Phrase| LeftOver { key: key.into(), why: why.to_string() };
        let mut left_over: Vec<_> = file.left_over.iter().map(|key| left(key, NO_KEY)).collect();
        let mut layers = HashMap::new();
        let mut touched = vec![];
        for update in &file.updates {
            let path = names.find(update.component, &update.module);
            let place =
                path.and_then(|path| all.iter().position(|parameter| parameter.module.as_str() == path));
            let Some(place) = place else {
                left_over.extend(update.keys().map(|key| left(key, NO_MODULE)));
                continue;
            };
            let module = all[place];
            let Read { layer, change } = base.read(file, update, module, &tensors)?;
            if layers.insert(module.module.clone(), layer).is_some() {
                let found =
                    tr!("`{}` is a second change of {}", abridged_key(&update.down.key), module.module);
                return Err(wrong(file, found, tr!("one for each module")));
            }
            let path = module.module.to_string();
            let weight = base.norm(module)?;
            touched.push((place, Touched { path, rank: update.rank, alpha: update.alpha, change, weight }));
        }
        touched.sort_by_key(|(place, _)| *place);
        let layouts: Vec<String> = file.layouts.iter().map(|layout| layout.name().to_string()).collect();
        let coverage = Coverage {
            layout: layouts.join(", "),
            keys: file.tensors(),
            left_over,
            modules: touched.into_iter().map(|(_, touched)| touched).collect(),
        };
        let LoraFile { name, file, scale, has_scale, .. } = file.clone();
        Ok(Self { name, file, scale, has_scale, coverage, layers })
    }

    /// The layer of the module at `path`.
    pub fn layer(&self, path: &Path) -> Option<&LoraLayer> {
        self.layers.get(path)
    }

    /// What it covers, for a reader who loads it.
    pub fn remarks(&self) -> Vec<String> {
        let mut lines = self.coverage.lines();
        if self.coverage.is_nothing() {
            // That is a warning.
            lines.pop();
        }
        lines.into_iter().map(|line| format!("{}: {line}", self.file)).collect()
    }

    /// Warnings: that it changes nothing, what is left over, and what diffusers does otherwise with the file.
    pub fn notes(&self, file: &LoraFile) -> Vec<String> {
        const NAMED: usize = 5;
        let Self { file: path, name, coverage, .. } = self;
        let mut notes = vec![];
        if coverage.is_nothing() {
            let why = coverage.lines().pop().unwrap_or_default();
            return vec![format!("{path}: {why}")];
        }
        let left: Vec<String> = coverage.left_over.iter().map(|left| abridged_key(&left.key)).collect();
        if let [named @ .., last] = &left[..left.len().min(NAMED)] {
            let mut named: Vec<&str> = named.iter().chain([last]).map(String::as_str).collect();
            let more = tr!("{} more", left.len() - named.len());
            if left.len() > NAMED {
                named.push(&more);
            }
            notes.push(tr!(
                "{path}: {} of its {} tensors do nothing here: {}; `info lora {name}` names each",
                left.len(),
                coverage.keys,
                named.join(", "),
                path,
                name
            ));
        }
        let differences = diffusers::differences(file);
        let dropped = differences.iter().filter(|(_, difference)| *difference == Difference::Dropped).count();
        if dropped > 0 {
            notes.push(tr!(
                "{path}: diffusers 0.42.1 leaves out {dropped} modules of the text encoder's attention without a word, as the file changes \
                 no out_proj; here they are changed (docs/lora.md)",
                path,
                dropped
            ));
        }
        let scaled = differences.len() - dropped;
        if scaled > 0 {
            notes.push(tr!(
                "{path}: its alphas differ; diffusers 0.42.1 multiplies the change of {scaled} modules by another factor than alpha / rank; \
                 here each has its own (docs/lora.md)",
                path,
                scaled
            ));
        }
        notes
    }

    /// What it does to the module at `path` by its weights.
    pub fn touched(&self, path: &Path) -> Option<&Touched> {
        self.coverage.modules.iter().find(|touched| touched.path == path.as_str())
    }

    /// Whether it changes a module of `component`: `unet` or `text_encoder`.
    pub fn is_in(&self, component: &str) -> bool {
        self.coverage.modules.iter().any(|touched| touched.path.split('.').next() == Some(component))
    }
}

/// A module's matrices.
struct Read {
    layer: LoraLayer,
    change: f64,
}

impl Base<'_> {
    fn read(
        &self,
        file: &LoraFile,
        update: &Update,
        module: &Parameter,
        tensors: &Weights,
    ) -> std::result::Result<Read, LoadError> {
        let misfit = |tensor: &Stored, expected: &[usize]| {
            let model = model_of_width(&tensor.shape).map_or(String::new(), |model| format!(" ({model})"));
            let found = tr!(
                "`{}` has the shape {shape}{model}",
                abridged_key(&tensor.key),
                shape = format!("{:?}", tensor.shape),
                model
            );
            let expected =
                tr!("{expected}, for {} of {}", module.module, self.name, expected = format!("{expected:?}"));
            wrong(file, found, expected)
        };
        let r = update.rank;
        let (outputs, inputs) = (module.shape[0], module.shape[1]);
        let kernel = &module.shape[2..];
        // A 1×1 convolution and a linear layer are the same; files have either.
        let is_one = |sides: &[usize]| sides.iter().all(|&side| side == 1);
        let down: Vec<usize> = [&[r, inputs], kernel].concat();
        let up: Vec<usize> = [outputs, r].into_iter().chain(kernel.iter().map(|_| 1)).collect();
        let is_down = update.down.shape[..2] == down[..2]
            && (update.down.shape[2..] == *kernel || is_one(&update.down.shape[2..]) && is_one(kernel));
        if !is_down {
            return Err(misfit(&update.down, &down));
        }
        if update.up.shape[0] != outputs {
            return Err(misfit(&update.up, &up));
        }
        let read = |stored: &Stored, shape: &[usize]| -> std::result::Result<Tensor, LoadError> {
            let tensor = tensors.get_narrow(&stored.shape, &stored.key)?;
            Ok(tensor.reshape(shape).map_err(|e| failed(file, &stored.key, e))?)
        };
        let (a, b) = (read(&update.down, &down)?, read(&update.up, &up)?);
        let change = norm_of_product(&b, &a).map_err(|e| failed(file, &update.down.key, e))?;
        let (down, up) = if kernel.is_empty() {
            (Matrix::Linear(Linear::new(a, None)), Matrix::Linear(Linear::new(b, None)))
        } else {
            let config = self.convs.get(&module.module).copied().unwrap_or_default();
            let one = Conv2dConfig::default();
            (Matrix::Conv2d(Conv2d::new(a, None, config)), Matrix::Conv2d(Conv2d::new(b, None, one)))
        };
        let layer = LoraLayer { down, up, factor: update.factor };
        Ok(Read { layer, change: change * update.factor.abs() })
    }

    /// ‖W‖ of a module.
    fn norm(&self, module: &Parameter) -> std::result::Result<f64, LoadError> {
        let component = module.module.as_str().split('.').next().unwrap_or_default();
        let weights = self.weights.iter().find(|weights| weights.component() == component);
        let Some((file, _)) = weights.and_then(|weights| weights.files().find(&module.key)) else {
            return Ok(f64::NAN);
        };
        let values = file.values(&module.key, 0..usize::MAX)?;
        Ok(values.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt())
    }
}

/// A weight (outputs, inputs, …) as a matrix of `f32` on the CPU.
fn matrix(weight: &Tensor) -> candle_core::Result<Tensor> {
    weight.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_from(1)
}

/// ‖B · A‖, without the product: the sum of (BᵀB) ∘ (AAᵀ).
fn norm_of_product(b: &Tensor, a: &Tensor) -> candle_core::Result<f64> {
    // Both with a largest element of 1, so that no square leaves the range of f32.
    let largest = |m: &Tensor| m.abs()?.max_all()?.to_scalar::<f32>().map(f64::from);
    let (b, a) = (matrix(b)?, matrix(a)?);
    let scale = (largest(&b)?, largest(&a)?);
    if scale.0 == 0. || scale.1 == 0. {
        return Ok(0.);
    }
    let (b, a) = ((b / scale.0)?, (a / scale.1)?);
    let of_b = b.t()?.contiguous()?.matmul(&b)?.flatten_all()?.to_vec1::<f32>()?;
    let of_a = a.matmul(&a.t()?.contiguous()?)?.flatten_all()?.to_vec1::<f32>()?;
    let sum: f64 = of_b.iter().zip(of_a).map(|(&b, a)| f64::from(b) * f64::from(a)).sum();
    Ok(sum.max(0.).sqrt() * scale.0 * scale.1)
}

/// The models whose text embeddings have the width of a tensor's inputs.
fn model_of_width(shape: &[usize]) -> Option<&'static str> {
    match shape {
        [_, 768, ..] => Some("Stable Diffusion 1"),
        [_, 1024, ..] => Some("Stable Diffusion 2"),
        [_, 2048, ..] => Some("Stable Diffusion XL"),
        _ => None,
    }
}

fn wrong(file: &LoraFile, found: String, expected: String) -> LoadError {
    LoadError::File { path: file.file.clone(), found, expected }
}

fn failed(file: &LoraFile, key: &str, e: candle_core::Error) -> WeightsError {
    WeightsError::Device { file: file.file.clone(), key: key.into(), source: e.into() }
}
