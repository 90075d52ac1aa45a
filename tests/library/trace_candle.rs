//! The recipe of docs/trace.md for candle: layers that write their outputs under their paths, in a trace that `diff` judges.

use crate::support::checkpoint::checkpoint;
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear, VarBuilder};
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::{Models, Request, Snapshot, advance};
use diffuscope::trace::diff::judge;
use diffuscope::trace::{Recorded, Trace, TraceWriter};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// What a stage records.
#[derive(Default)]
struct Stored {
    tensors: HashMap<String, Tensor>,
    calls: Vec<Value>,
}

/// A layer that stores its output.
struct Traced<M> {
    path: String,
    layer: M,
    stored: Rc<RefCell<Stored>>,
}

impl<M: Module> Module for Traced<M> {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let output = self.layer.forward(x)?;
        let mut stored = self.stored.borrow_mut();
        let call = stored.calls.iter().filter(|call| call["path"] == self.path).count();
        stored.calls.push(json!({"path": self.path, "call": call}));
        stored.tensors.insert(format!("denoise.000/{}#{call}/out", self.path), output.clone());
        Ok(output)
    }
}

/// A module with submodules.
struct TimeEmbedding {
    linear_1: Traced<Linear>,
    linear_2: Traced<Linear>,
}

impl Module for TimeEmbedding {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.linear_2.forward(&self.linear_1.forward(x)?.silu()?)
    }
}

/// The first modules of a UNet, as a program with candle writes them.
struct Beginning {
    conv_in: Traced<Conv2d>,
    time_embedding: Traced<TimeEmbedding>,
}

fn traced<M>(vb: &VarBuilder, layer: M, stored: &Rc<RefCell<Stored>>) -> Traced<M> {
    // The files of a checkpoint have no name of the component.
    Traced { path: format!("unet.{}", vb.prefix()), layer, stored: Rc::clone(stored) }
}

impl Beginning {
    fn load(vb: &VarBuilder, stored: &Rc<RefCell<Stored>>) -> candle_core::Result<Self> {
        let (conv_in, time_embedding) = (vb.pp("conv_in"), vb.pp("time_embedding"));
        let (linear_1, linear_2) = (time_embedding.pp("linear_1"), time_embedding.pp("linear_2"));
        let padded = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
        let embedding = TimeEmbedding {
            linear_1: traced(&linear_1, candle_nn::linear(32, 128, linear_1.clone())?, stored),
            linear_2: traced(&linear_2, candle_nn::linear(128, 128, linear_2.clone())?, stored),
        };
        Ok(Self {
            conv_in: traced(&conv_in, candle_nn::conv2d(4, 32, 3, padded, conv_in.clone())?, stored),
            time_embedding: traced(&time_embedding, embedding, stored),
        })
    }

    fn forward(&self, latents: &Tensor, timestep: f32) -> candle_core::Result<()> {
        let angles: Vec<f32> = (0..16).map(|i| timestep * (-(1e4f32.ln()) * i as f32 / 16.).exp()).collect();
        let cos = angles.iter().map(|angle| angle.cos());
        let row: Vec<f32> = cos.chain(angles.iter().map(|angle| angle.sin())).collect();
        let embedded = Tensor::from_vec([&row[..], &row].concat(), (2, 32), &Device::Cpu)?;
        self.time_embedding.forward(&embedded)?;
        self.conv_in.forward(&Tensor::cat(&[latents, latents], 0)?)?;
        Ok(())
    }
}

#[test]
fn layers_of_candle_are_recorded_and_judged() {
    let checkpoint = checkpoint("sd2");
    let models = Models::load(checkpoint.source(), Device::Cpu, DType::F32).unwrap();
    let native = Request::for_models(&models, "a red cat");
    let request = Request { width: 64, height: 64, num_inference_steps: 1, ..native };
    let start = Snapshot::start(request, &models).unwrap();
    let timestep = start.scheduler().timesteps()[0];
    let file = checkpoint.path().join("unet/diffusion_pytorch_model.safetensors");
    let vb = VarBuilder::from_buffered_safetensors(std::fs::read(file).unwrap(), DType::F32, &Device::Cpu);
    let stored = Rc::new(RefCell::new(Stored::default()));
    let unet = Beginning::load(&vb.unwrap(), &stored).unwrap();

    let trace = |change: &dyn Fn(&mut Stored)| {
        // The stages before denoising, with settings and scheduler.
        let folder = tempfile::tempdir().unwrap();
        let mut trace = TraceWriter::begin(folder.path(), &start, &models).unwrap();
        let mut run = start.clone();
        for _ in 0..2 {
            run = advance(&run, &models, &mut Unwatched).unwrap();
            trace.stage(run.last().unwrap(), Recorded::default()).unwrap();
        }
        let latents = run.records()[1].tensors.iter().find(|(name, _)| *name == "latents").unwrap().1.clone();
        *stored.borrow_mut() = Stored::default();
        unet.forward(&latents, timestep as f32).unwrap();
        let mut stored = stored.take();
        change(&mut stored);
        candle_core::safetensors::save(&stored.tensors, folder.path().join("step.safetensors")).unwrap();
        let file = folder.path().join("trace.json");
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        manifest["stages"].as_array_mut().unwrap().push(json!({
            "name": "denoise.000", "file": "step.safetensors", "timestep": timestep,
            "rows": ["uncond", "text"], "calls": stored.calls,
        }));
        std::fs::write(file, manifest.to_string()).unwrap();
        judge::judge(&Trace::open(folder.path()).unwrap(), &models, None).unwrap()
    };
    let right = trace(&|_| ());
    let rows = |path: &str| right.rows.iter().filter(|row| row.path == path).count();
    for path in ["unet.conv_in", "unet.time_embedding.linear_1", "unet.time_embedding.linear_2"] {
        assert_eq!(rows(path), 1, "{path}: {:?}", right.notes);
    }
    assert_eq!(right.first(), None);
    let wrong = trace(&|stored| {
        let output = stored.tensors.get_mut("denoise.000/unet.conv_in#0/out").unwrap();
        *output = (&*output * 1.001).unwrap();
    });
    let first = wrong.first().unwrap();
    assert_eq!((first.path.as_str(), first.isolated), ("unet.conv_in", true));
    // The port has no module for the sinusoids.
    let is_isolated = |path: &str| right.rows.iter().find(|row| row.path == path).map(|row| row.isolated);
    assert_eq!(is_isolated("unet.time_embedding.linear_1"), Some(false));
}
