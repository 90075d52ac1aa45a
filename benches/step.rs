//! How long one part of a checkpoint takes: `cargo bench --bench step -- --model DIR --part unet --size 512 --repeat 5`.
//!
//! Prints one JSON line, as the other side of `tools/bench/compare.py` does. `RAYON_NUM_THREADS` says on how many threads.
//! `--widen` turns weights of 16 bits to the run's dtype when they are loaded, and not where they are used.
//! With `--layers` it prints what each kind of layer takes instead, without what it is made of.

use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::ModelSource;
use diffuscope::nn::device::{DTypeChoice, DeviceChoice};
use diffuscope::nn::{ComputePool, Path, Probe, Unwatched};
use diffuscope::pipeline::{Models, stages};
use diffuscope::tensor::Generator;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

type Anyhow<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Anyhow<()> {
    let args: Vec<String> = std::env::args().collect();
    let flag = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let repeat: usize = flag("--repeat").map_or(Ok(5), |n| n.parse())?;
    let part = flag("--part").map_or("unet", String::as_str);
    let device = flag("--device").map_or(Ok(DeviceChoice::Cpu), |device| device.parse())?.open()?;
    let dtype: DTypeChoice = flag("--dtype").map_or(Ok(DTypeChoice::Auto), |dtype| dtype.parse())?;

    let pool = ComputePool::enter();
    let source = ModelSource::parse(flag("--model").map_or("pocket", String::as_str))?;
    let dtype = source.dtype(dtype, &device)?;
    let start = Instant::now();
    let is_widened = args.iter().any(|arg| arg == "--widen");
    let load = if is_widened { Models::load_widened } else { Models::load };
    let models = load(source, device.clone(), dtype)?;
    let (load_s, loaded_rss_mb) = (start.elapsed().as_secs_f64(), peak_rss_mb());
    let size: usize = flag("--size").map_or(Ok(models.native_size().0), |n| n.parse())?;
    let latents = size / models.vae.config().scale_factor();
    let mut generator = Generator::manual_seed(0);
    let mut randn = |shape: &[usize]| -> Anyhow<Tensor> {
        let numbers = generator.randn(shape.iter().product());
        Ok(Tensor::from_vec(numbers, shape, &device)?.to_dtype(models.dtype)?)
    };
    let width = models.unet.config().blocks[0].cross_attention_dim;
    let (pair, embeds) = (randn(&[2, 4, latents, latents])?, randn(&[2, 77, width])?);
    let one = randn(&[1, 4, latents, latents])?;
    // The last number is asked for, so that a GPU is waited for.
    let run = |probe: &mut dyn Probe| -> Anyhow<f32> {
        let out = match part {
            "unet" => {
                let timestep_cond = stages::timestep_cond(&models, 7.5)?;
                models.unet.forward(&pair, 981., &embeds, timestep_cond.as_ref(), probe)?
            }
            "vae" => models.vae.decode(&one, probe)?,
            _ => return Err(format!("--part {part}: expected unet or vae").into()),
        };
        Ok(out.flatten_all()?.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.get(0)?.to_scalar()?)
    };
    let first = run(&mut Unwatched)?;
    if args.iter().any(|arg| arg == "--layers") {
        let mut layers = Layers::default();
        for _ in 0..repeat {
            run(&mut layers)?;
        }
        layers.print(repeat);
        return Ok(());
    }
    let mut samples = Vec::with_capacity(repeat);
    for _ in 0..repeat {
        let start = Instant::now();
        run(&mut Unwatched)?;
        samples.push(start.elapsed().as_secs_f64());
    }
    let mut sorted = samples.clone();
    sorted.sort_by(f64::total_cmp);
    println!(
        "{}",
        serde_json::json!({
            "peer": concat!("diffuscope ", env!("CARGO_PKG_VERSION")),
            "part": part,
            "dtype": models.dtype.as_str(),
            "device": diffuscope::nn::device::name(&device),
            "size": size,
            "threads": pool.threads(),
            "is_widened": is_widened,
            "load_s": load_s,
            "loaded_rss_mb": loaded_rss_mb,
            "first_number": first,
            "median_s": sorted[sorted.len() / 2],
            "samples_s": samples,
            "peak_rss_mb": peak_rss_mb(),
        })
    );
    Ok(())
}

/// What each kind of layer takes, without what it is made of.
#[derive(Default)]
struct Layers {
    /// When each piece that runs began, and what its own pieces took.
    open: Vec<(Instant, Duration)>,
    kinds: BTreeMap<String, (usize, Duration)>,
}

impl Probe for Layers {
    /// Not what would keep layers from being computed as one.
    fn wants(&self, path: &Path) -> bool {
        let name = path.as_str().rsplit('.').next().unwrap_or_default();
        !name.starts_with("norm")
            && !matches!(name, "conv_norm_out" | "attention_probs" | "nonlinearity" | "conv_act")
    }

    fn enter(&mut self, _: &Path, _: &[&Tensor]) -> diffuscope::nn::Result<()> {
        self.open.push((Instant::now(), Duration::ZERO));
        Ok(())
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> diffuscope::nn::Result<Tensor> {
        if let Some((start, inside)) = self.open.pop() {
            let took = start.elapsed();
            if let Some((_, outer)) = self.open.last_mut() {
                *outer += took;
            }
            // Numbers apart: `resnets.0.conv1` is a `resnets.conv1`; with the size of what comes out.
            let names = path.as_str().split('.').filter(|name| name.parse::<usize>().is_err());
            let names: Vec<&str> = names.collect();
            let kind = names[names.len().saturating_sub(2)..].join(".");
            let (count, total) = self.kinds.entry(format!("{kind} {:?}", output.dims())).or_default();
            *count += 1;
            *total += took - inside;
        }
        Ok(output)
    }
}

impl Layers {
    fn print(&self, repeat: usize) {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(_, (_, took))| std::cmp::Reverse(*took));
        let all: Duration = kinds.iter().map(|(_, (_, took))| *took).sum();
        for (kind, (count, took)) in kinds {
            let share = took.as_secs_f64() / all.as_secs_f64();
            let each = took.as_secs_f64() * 1e3 / repeat as f64;
            println!("{:5.1} % {each:9.3} ms in {:3}: {kind}", share * 100., count / repeat);
        }
    }
}

/// As the system counts it; 0 where there is no such file.
fn peak_rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb: Option<u64> = line.and_then(|line| line.split_whitespace().next()).and_then(|n| n.parse().ok());
    kb.unwrap_or(0) / 1024
}
