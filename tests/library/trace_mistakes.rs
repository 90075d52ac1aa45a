//! Every mistake that `diff` knows, made in a run of a miniature and recorded: it is found as the reason.

use crate::support::checkpoint::{Checkpoint, checkpoint};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::softmax;
use diffuscope::checkpoint::layout::Precision;
use diffuscope::nn::load_report::Norm;
use diffuscope::nn::{Path, Probe, Result};
use diffuscope::pipeline::{Fault, InitImage, Models, Request, Snapshot, advance};
use diffuscope::trace::diff::causes::names;
use diffuscope::trace::diff::{Comparison, Kind, judge};
use diffuscope::trace::{Recording, Trace, TraceWriter, What};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::sync::LazyLock;

/// A miniature whose files stay, so that weights can be read again.
static MINIATURE: LazyLock<(Checkpoint, Models)> = LazyLock::new(|| {
    let checkpoint = checkpoint("sd2");
    let models = Models::load(checkpoint.source(), Device::Cpu, DType::F32).unwrap();
    (checkpoint, models)
});

fn models() -> &'static Models {
    &MINIATURE.1
}

/// Where and how a mistake is made.
enum Plant {
    /// The module at the path has another output.
    Module(&'static str, fn(&Seen) -> Tensor),
    /// The module at the path is given another first input.
    Wiring(&'static str, fn(&Seen) -> Tensor),
    /// A fault of the pipeline.
    Fault(&'static str),
    /// The trace says that another guidance scale ran.
    Scale(f64),
}
use Plant::{Module, Wiring};

/// What a mistake is made of.
struct Seen<'a> {
    models: &'a Models,
    /// The module's inputs.
    inputs: &'a [Tensor],
    /// The inputs of the containers around it, the outermost first.
    containers: &'a [Vec<Tensor>],
    /// The last output of each module.
    outputs: &'a HashMap<String, Tensor>,
    timestep: f64,
}

impl Seen<'_> {
    fn input(&self) -> &Tensor {
        &self.inputs[0]
    }

    fn output(&self, path: &str) -> &Tensor {
        &self.outputs[path]
    }

    /// The input of the module around it.
    fn of_container(&self) -> &Tensor {
        &self.containers.last().unwrap()[0]
    }

    /// A self-attention of the projections in `at`.
    fn attend(&self, [query, key, value]: [&str; 3], heads: usize, scale: f64) -> Tensor {
        let split = |path: &str| {
            let x = self.output(path);
            let (batch, n, c) = x.dims3().unwrap();
            x.reshape((batch, n, heads, c / heads)).unwrap().transpose(1, 2).unwrap().contiguous().unwrap()
        };
        let (query, key, value) = (split(query), split(key), split(value));
        let scores = (query.matmul(&key.t().unwrap().contiguous().unwrap()).unwrap() * scale).unwrap();
        let mixed = softmax(&scores, D::Minus1).unwrap().matmul(&value).unwrap();
        mixed.transpose(1, 2).unwrap().flatten_from(2).unwrap()
    }
}

/// A parameter of a layer.
fn parameter(models: &Models, path: &str, name: &str) -> Option<Tensor> {
    let is_it = |p: &&diffuscope::nn::load_report::Parameter| p.module.as_str() == path && p.name == name;
    let known = models.parameters.iter().find(is_it)?;
    let files = models.source.weights(path.split('.').next()?, Precision::Full).unwrap();
    let values = files.find(&known.key)?.0.values(&known.key, 0..usize::MAX).unwrap();
    Some(Tensor::from_vec(values, known.shape.as_slice(), &Device::Cpu).unwrap())
}

fn weight(seen: &Seen, path: &str) -> Tensor {
    parameter(seen.models, path, "weight").unwrap()
}

/// A normalization with constants of its own.
fn normalized(models: &Models, path: &str, x: &Tensor, norm: Norm) -> candle_core::Result<Tensor> {
    let (weight, bias) =
        (parameter(models, path, "weight").unwrap(), parameter(models, path, "bias").unwrap());
    let (flat, eps, shape) = match norm {
        Norm::Group { groups, eps } => {
            let (batch, channels) = (x.dim(0)?, x.dim(1)?);
            (x.reshape((batch, groups, ()))?, eps, vec![1, channels, 1, 1])
        }
        Norm::Layer { eps } => (x.clone(), eps, vec![1, 1, x.dim(D::Minus1)?]),
    };
    let flat = flat.to_dtype(DType::F64)?;
    let centred = flat.broadcast_sub(&flat.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    let y = centred.broadcast_div(&deviation)?.reshape(x.shape())?.to_dtype(DType::F32)?;
    y.broadcast_mul(&weight.reshape(shape.as_slice())?)?.broadcast_add(&bias.reshape(shape.as_slice())?)
}

/// The output of the layer at `path` on `x`; of a convolution whose output has `size` pixels a row.
fn layer(models: &Models, path: &str, x: &Tensor, size: usize) -> candle_core::Result<Tensor> {
    if let Some(&norm) = models.norms.get(&Path::new(path)) {
        return normalized(models, path, x, norm);
    }
    let weight = parameter(models, path, "weight").unwrap();
    let bias = parameter(models, path, "bias");
    let (y, shape) = match weight.rank() {
        4 => {
            let width = x.dim(D::Minus1)?;
            let stride = if width >= 2 * size { 2 } else { 1 };
            let padding = if width % 2 == 1 && stride == 2 { 0 } else { weight.dim(2)? / 2 };
            (x.conv2d(&weight, padding, stride, 1, 1)?, [1, weight.dim(0)?, 1, 1].to_vec())
        }
        _ => (
            x.broadcast_matmul(&weight.t()?.contiguous()?)?,
            [vec![1; x.rank() - 1], vec![weight.dim(0)?]].concat(),
        ),
    };
    bias.map_or(Ok(y.clone()), |bias| y.broadcast_add(&bias.reshape(shape.as_slice())?))
}

/// The time embedding: cosines first.
fn time_proj(t: f64, channels: usize, shift: f64) -> Tensor {
    let half = channels / 2;
    let angle = |i: usize| t * (-(1e4f64.ln()) * i as f64 / (half as f64 - shift)).exp();
    let values = (0..half).map(|i| angle(i).cos() as f32).chain((0..half).map(|i| angle(i).sin() as f32));
    Tensor::from_iter(values, &Device::Cpu).unwrap().reshape((1, channels)).unwrap()
}

fn both_rows(row: Tensor) -> Tensor {
    Tensor::cat(&[&row, &row], 0).unwrap()
}

macro_rules! resnet {
    ($part:literal) => {
        concat!("unet.down_blocks.1.resnets.1", $part)
    };
}
macro_rules! block {
    ($part:literal) => {
        concat!("unet.down_blocks.1.attentions.0.transformer_blocks.0", $part)
    };
}
macro_rules! clip {
    ($part:literal) => {
        concat!("text_encoder.encoder.layers.1", $part)
    };
}
const SELF_ATTENTION: [&str; 3] = [block!(".attn1.to_q"), block!(".attn1.to_k"), block!(".attn1.to_v")];
const CLIP_ATTENTION: [&str; 3] =
    [clip!(".self_attn.q_proj"), clip!(".self_attn.k_proj"), clip!(".self_attn.v_proj")];

/// The mistakes: the name of the hypothesis, a part of what it says, and the run.
const MISTAKES: &[(&str, &str, Plant)] = &[
    (
        "epsilon",
        "3.0e-4",
        Module(resnet!(".norm1"), |seen| {
            normalized(seen.models, resnet!(".norm1"), seen.input(), Norm::Group { groups: 8, eps: 3e-4 })
                .unwrap()
        }),
    ),
    (
        "epsilon",
        "1.0e-3",
        Module(block!(".norm3"), |seen| {
            normalized(seen.models, block!(".norm3"), seen.input(), Norm::Layer { eps: 1e-3 }).unwrap()
        }),
    ),
    (
        "groups",
        "16",
        Module(resnet!(".norm2"), |seen| {
            normalized(seen.models, resnet!(".norm2"), seen.input(), Norm::Group { groups: 16, eps: 1e-5 })
                .unwrap()
        }),
    ),
    ("activation", "relu", Module(resnet!(".nonlinearity"), |seen| seen.input().relu().unwrap())),
    ("activation", "tanh gelu", Module(clip!(".mlp.activation_fn"), |seen| seen.input().gelu().unwrap())),
    (
        "geglu_halves",
        "",
        Module(block!(".ff.net.0"), |seen| {
            let halves = seen.output(block!(".ff.net.0.proj")).chunk(2, D::Minus1).unwrap();
            (halves[1].contiguous().unwrap() * halves[0].contiguous().unwrap().gelu_erf().unwrap()).unwrap()
        }),
    ),
    (
        "geglu_activation",
        "silu",
        Module(block!(".ff.net.0"), |seen| {
            let halves = seen.output(block!(".ff.net.0.proj")).chunk(2, D::Minus1).unwrap();
            (halves[0].contiguous().unwrap() * halves[1].contiguous().unwrap().silu().unwrap()).unwrap()
        }),
    ),
    (
        "bias_missing",
        "",
        Module(resnet!(".conv1"), |seen| {
            let weight = weight(seen, resnet!(".conv1"));
            seen.input().conv2d(&weight, 1, 1, 1, 1).unwrap()
        }),
    ),
    (
        "weight_transposed",
        "outputs and inputs",
        Module(block!(".attn1.to_q"), |seen| {
            seen.input().broadcast_matmul(&weight(seen, block!(".attn1.to_q"))).unwrap()
        }),
    ),
    (
        "weight_transposed",
        "height and width",
        Module(resnet!(".conv2"), |seen| {
            let weight = weight(seen, resnet!(".conv2")).transpose(2, 3).unwrap().contiguous().unwrap();
            let bias =
                parameter(seen.models, resnet!(".conv2"), "bias").unwrap().reshape((1, 64, 1, 1)).unwrap();
            seen.input().conv2d(&weight, 1, 1, 1, 1).unwrap().broadcast_add(&bias).unwrap()
        }),
    ),
    (
        "weight_rounded",
        "bfloat16",
        Module(block!(".attn2.to_v"), |seen| {
            let weight = weight(seen, block!(".attn2.to_v")).to_dtype(DType::BF16).unwrap();
            let weight = weight.to_dtype(DType::F32).unwrap().t().unwrap().contiguous().unwrap();
            seen.input().broadcast_matmul(&weight).unwrap()
        }),
    ),
    ("residual_missing", "", Module(resnet!(""), |seen| seen.output(resnet!(".conv2")).clone())),
    ("residual_missing", "", Module(block!(""), |seen| seen.output(block!(".ff")).clone())),
    (
        "time_frequencies",
        "flip_sin_to_cos",
        Module("unet.time_proj", |seen| {
            let right = time_proj(seen.timestep, 32, 0.);
            let halves = right.chunk(2, 1).unwrap();
            both_rows(Tensor::cat(&[&halves[1], &halves[0]], 1).unwrap())
        }),
    ),
    (
        "time_frequencies",
        "freq_shift is 1",
        Module("unet.time_proj", |seen| both_rows(time_proj(seen.timestep, 32, 1.))),
    ),
    (
        "time_frequencies",
        "the timestep is 2 and not 1",
        Module("unet.time_proj", |seen| both_rows(time_proj(seen.timestep + 1., 32, 0.))),
    ),
    (
        "activation_before",
        "relu",
        Wiring(resnet!(".conv1"), |seen| seen.output(resnet!(".norm1")).relu().unwrap()),
    ),
    ("activation_before", "none", Wiring("unet.conv_out", |seen| seen.output("unet.conv_norm_out").clone())),
    (
        "activation_before",
        "gelu",
        Wiring("unet.time_embedding.linear_2", |seen| {
            seen.output("unet.time_embedding.linear_1").gelu_erf().unwrap()
        }),
    ),
    (
        "attention_scale",
        "1, which is none",
        Wiring(block!(".attn1.to_out.0"), |seen| seen.attend(SELF_ATTENTION, 4, 1.)),
    ),
    (
        "attention_scale",
        "1 / √heads",
        Wiring(block!(".attn1.to_out.0"), |seen| seen.attend(SELF_ATTENTION, 4, 0.5)),
    ),
    (
        "attention_heads",
        "16, the size of a head, and not 4",
        Wiring(block!(".attn1.to_out.0"), |seen| seen.attend(SELF_ATTENTION, 16, 0.5)),
    ),
    (
        "attention_mask",
        "",
        Wiring(clip!(".self_attn.out_proj"), |seen| seen.attend(CLIP_ATTENTION, 4, 8f64.sqrt().recip())),
    ),
    ("residual_not_added", "", Wiring(block!(".norm2"), |seen| seen.output(block!(".attn1")).clone())),
    (
        "residual_not_added",
        "",
        Wiring(clip!(".layer_norm2"), |seen| seen.output(clip!(".self_attn")).clone()),
    ),
    ("time_not_added", "", Wiring(resnet!(".norm2"), |seen| seen.output(resnet!(".conv1")).clone())),
    (
        "skip_order",
        "comes first",
        Wiring("unet.up_blocks.1.resnets.0.norm1", |seen| {
            let halves = seen.input().chunk(2, 1).unwrap();
            Tensor::cat(&[&halves[1], &halves[0]], 1).unwrap()
        }),
    ),
    (
        "upsampling",
        "bilinear",
        Wiring("unet.up_blocks.2.upsamplers.0.conv", |seen| {
            seen.of_container().contiguous().unwrap().upsample_bilinear2d(8, 8, false).unwrap()
        }),
    ),
    (
        "upsampling",
        "aligned corners",
        Wiring("vae.decoder.up_blocks.0.upsamplers.0.conv", |seen| {
            seen.of_container().contiguous().unwrap().upsample_bilinear2d(16, 16, true).unwrap()
        }),
    ),
    (
        "padding",
        "left and top",
        Wiring("vae.encoder.down_blocks.0.downsamplers.0.conv", |seen| {
            let x = seen.of_container().pad_with_zeros(3, 1, 0).unwrap();
            x.pad_with_zeros(2, 1, 0).unwrap()
        }),
    ),
    (
        "padding",
        "right and bottom",
        Wiring("unet.down_blocks.0.downsamplers.0.conv", |seen| {
            let x = seen.of_container().pad_with_zeros(3, 0, 1).unwrap();
            x.pad_with_zeros(2, 0, 1).unwrap()
        }),
    ),
    ("scaling_factor", "none", Wiring("vae.post_quant_conv", |seen| (seen.input() * 0.18215).unwrap())),
    (
        "scaling_factor",
        "0.13025 and not 0.18215",
        Wiring("vae.post_quant_conv", |seen| (seen.input() * (0.18215 / 0.13025)).unwrap()),
    ),
    ("rows_swapped", "", Plant::Fault("swapped_residuals")),
    ("guidance_scale", "8.5 and not 7.5", Plant::Scale(8.5)),
];

/// Records a run, with a mistake in it.
struct Planted<'a> {
    recording: Recording<'a>,
    plant: &'a Plant,
    /// Whether inputs are recorded.
    with_inputs: bool,
    timestep: f64,
    open: Vec<Vec<Tensor>>,
    outputs: HashMap<String, Tensor>,
    /// The input that a container gave by mistake.
    mistaken: Option<Tensor>,
}

impl Planted<'_> {
    fn seen<'s>(&'s self, inputs: &'s [Tensor]) -> Seen<'s> {
        let (containers, outputs) = (&self.open, &self.outputs);
        Seen { models: models(), inputs, containers, outputs, timestep: self.timestep }
    }
}

impl Probe for Planted<'_> {
    fn wants(&self, path: &Path) -> bool {
        self.recording.wants(path)
    }

    fn enter(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<()> {
        let mut inputs: Vec<Tensor> = inputs.iter().map(|input| (*input).clone()).collect();
        if let Wiring(_, mistake) = self.plant.at(path) {
            inputs[0] = mistake(&self.seen(&inputs));
            self.mistaken = Some(inputs[0].clone());
        }
        let recorded = if self.with_inputs { inputs.iter().collect() } else { vec![] };
        self.recording.enter(path, &recorded)?;
        self.open.push(inputs);
        Ok(())
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        let inputs = self.open.pop().unwrap();
        let output = match (self.plant.at(path), self.mistaken.take()) {
            (Module(_, mistake), _) => mistake(&self.seen(&inputs)),
            (Wiring(..), Some(input)) => {
                layer(models(), path.as_str(), &input, output.dim(D::Minus1)?).unwrap()
            }
            _ => output,
        };
        self.outputs.insert(path.to_string(), output.clone());
        self.recording.exit(path, output)
    }
}

impl Plant {
    /// The mistake, if it is made at `path`.
    fn at(&self, path: &Path) -> &Self {
        match self {
            Module(at, _) | Wiring(at, _) if *at != path.as_str() => &Self::Fault(""),
            _ => self,
        }
    }

    /// The path of the module; empty for a line.
    fn path(&self) -> &'static str {
        match self {
            Module(path, _) | Wiring(path, _) => path,
            _ => "",
        }
    }
}

/// A recorded run with that mistake, judged.
fn judged(plant: &Plant, with_inputs: bool) -> Comparison {
    let folder = tempfile::tempdir().unwrap();
    let native = Request::for_models(models(), "a red cat");
    let mut request = Request { width: 64, height: 64, num_inference_steps: 1, ..native };
    match plant {
        Plant::Fault(name) => request.fault = Some(Fault::parse(name).unwrap()),
        Plant::Scale(scale) => request.guidance_scale = *scale,
        _ if plant.path().contains(".encoder.down_blocks.") => {
            request.init_image = Some(InitImage::open("sample:apple").unwrap());
            request.strength = 1.;
        }
        _ => {}
    }
    let mut snapshot = Snapshot::start(request, models()).unwrap();
    let timestep = snapshot.scheduler().timesteps()[0];
    let mut trace = TraceWriter::begin(folder.path(), &snapshot, models()).unwrap();
    while let Some(stage) = snapshot.position() {
        let recording = Recording::new(stage, &What::All);
        let mut probe = Planted {
            recording,
            plant,
            with_inputs,
            timestep,
            open: vec![],
            outputs: HashMap::new(),
            mistaken: None,
        };
        snapshot = advance(&snapshot, models(), &mut probe).unwrap();
        trace.stage(snapshot.last().unwrap(), probe.recording.into_recorded()).unwrap();
    }
    if let Plant::Scale(_) = plant {
        let file = folder.path().join("trace.json");
        let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        manifest["settings"]["guidance_scale"] = json!(7.5);
        fs::write(file, manifest.to_string()).unwrap();
    }
    judge::judge(&Trace::open(folder.path()).unwrap(), models(), None).unwrap()
}

#[test]
fn each_known_mistake_is_found_where_it_is_made() {
    let mut wrong = vec![];
    for (name, says, plant) in MISTAKES {
        for with_inputs in [false, true] {
            let comparison = judged(plant, with_inputs);
            let first = comparison.first();
            let found = comparison.causes.found.first();
            let is_there = first.is_some_and(|first| {
                let path = plant.path();
                let of_child = matches!(&first.kind, Kind::Wiring { child, .. } if path.starts_with(child));
                path.is_empty() || first.path == path || of_child
            });
            let is_found = found.is_some_and(|cause| cause.name == *name && cause.says.contains(says));
            if !is_there || !is_found {
                wrong.push(format!(
                    "{name} {says} (inputs: {with_inputs}): {found:?} at {first:?}; tried {:?}, nearest {:?}",
                    comparison.causes.tried, comparison.causes.nearest
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_known_mistake_has_a_run() {
    let made: BTreeSet<&str> = MISTAKES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(made, names().collect());
}
