//! The hot layers on the CPU, each in sizes of Stable Diffusion 2 at 512 px and of the bundled model: `cargo bench --bench layers`.
//!
//! What stands behind `--` picks some, as Criterion's benches do: `cargo bench --bench layers -- conv3x3`.

use candle_core::{DType, Device, Tensor};
use candle_nn::Conv2dConfig;
use criterion::{BenchmarkId, Criterion, Throughput};
use diffuscope::nn::activation::{self, Activation};
use diffuscope::nn::attention::scaled_dot_product_attention;
use diffuscope::nn::layers::{self, Conv2d, Leaf};
use diffuscope::nn::weights::WeightsFile;
use diffuscope::nn::{ComputePool, Path, Unwatched, Weights, WeightsError};
use diffuscope::tensor::Generator;
use std::time::Duration;

fn main() {
    let _pool = ComputePool::enter();
    let criterion =
        Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500)).without_plots();
    let mut criterion = criterion.measurement_time(Duration::from_secs(2)).configure_from_args();
    convolutions(&mut criterion);
    linear(&mut criterion);
    attention(&mut criterion);
    norms(&mut criterion);
    activations(&mut criterion);
    criterion.final_summary();
}

fn randn(shape: &[usize]) -> Tensor {
    let numbers = Generator::manual_seed(0).randn(shape.iter().product());
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

/// A layer's weight and bias, where layers are loaded from.
fn weights(weight: &[usize]) -> Weights {
    let bias = randn(&[weight[0]]);
    let bytes = safetensors::serialize([("weight", randn(weight)), ("bias", bias)], None).unwrap();
    let file = WeightsFile::embedded("layer.safetensors", bytes.leak()).unwrap();
    Weights::new(file, "layer", DType::F32, &Device::Cpu)
}

/// Loads a convolution of so many channels in and out.
type Load<'a> = &'a dyn Fn(&Weights, usize, usize) -> Result<Leaf<Conv2d>, WeightsError>;

fn convolutions(criterion: &mut Criterion) {
    let mut of = |name: &str, side: usize, sizes: &[[usize; 4]], load: Load| {
        let mut group = criterion.benchmark_group(name);
        for &[batch, inputs, outputs, pixels] in sizes {
            let (x, weights) =
                (randn(&[batch, inputs, pixels, pixels]), weights(&[outputs, inputs, side, side]));
            let conv = load(&weights, inputs, outputs).unwrap();
            let out = conv.forward(&x, &mut Unwatched).unwrap().elem_count();
            group.throughput(Throughput::Elements((out * inputs * side * side) as u64));
            group.bench_function(format!("{batch}x{inputs}x{pixels}x{pixels} to {outputs}"), |b| {
                b.iter(|| conv.forward(&x, &mut Unwatched).unwrap());
            });
        }
        group.finish();
    };
    let (unet, vae) = ([2, 320, 320, 64], [1, 256, 256, 256]);
    let pocket = [[2, 64, 64, 16], [2, 256, 128, 8], [2, 320, 160, 4]];
    of(
        "conv3x3",
        3,
        &[&[unet, [2, 640, 640, 32], [2, 1280, 1280, 8], vae], &pocket[..]].concat(),
        &|w, i, o| layers::conv3x3(w, i, o),
    );
    of("conv1x1", 1, &[[2, 960, 320, 64], [2, 192, 64, 16]], &|w, i, o| layers::conv1x1(w, i, o));
    of("conv3x3 by two", 3, &[[2, 320, 320, 64], [2, 64, 64, 16]], &|w, i, o| {
        layers::conv2d(w, i, o, 3, Conv2dConfig { stride: 2, padding: 1, ..Default::default() })
    });
}

fn linear(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("linear");
    for [rows, inputs, outputs] in
        [[8192, 320, 2560], [2048, 2560, 640], [512, 1280, 1280], [154, 1024, 320], [128, 128, 1024]]
    {
        let (x, weights) = (randn(&[rows, inputs]), weights(&[outputs, inputs]));
        let linear = layers::linear(&weights, inputs, outputs).unwrap();
        group.throughput(Throughput::Elements((rows * inputs * outputs) as u64));
        group.bench_function(format!("{rows}x{inputs} to {outputs}"), |b| {
            b.iter(|| linear.forward(&x, &mut Unwatched).unwrap());
        });
    }
    group.finish();
}

fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    for [batch, n, m, heads, width] in
        [[2, 4096, 4096, 5, 64], [2, 4096, 77, 5, 64], [1, 4096, 4096, 1, 512], [2, 64, 77, 4, 32]]
    {
        let (q, k, v) = (
            randn(&[batch, n, heads * width]),
            randn(&[batch, m, heads * width]),
            randn(&[batch, m, heads * width]),
        );
        group.throughput(Throughput::Elements((2 * batch * n * m * heads * width) as u64));
        group.bench_function(format!("{batch}x{n} to {m}, {heads} heads of {width}"), |b| {
            b.iter(|| scaled_dot_product_attention(&q, &k, &v, None, heads).unwrap());
        });
    }
    group.finish();
}

fn norms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("norm");
    let silu = Leaf::new(Path::new("silu"), Activation::Silu);
    for [batch, channels, pixels] in [[2, 320, 64], [1, 128, 512], [2, 64, 16]] {
        let x = randn(&[batch, channels, pixels, pixels]);
        let norm = layers::group_norm(&weights(&[channels]), 32, channels, 1e-5).unwrap();
        group.throughput(Throughput::Elements(x.elem_count() as u64));
        group.bench_function(format!("group norm and silu, {batch}x{channels}x{pixels}x{pixels}"), |b| {
            b.iter(|| norm.forward_then(&silu, &x, &mut Unwatched).unwrap());
        });
    }
    let (x, norm) = (randn(&[2, 4096, 320]), layers::layer_norm(&weights(&[320]), 320, 1e-5).unwrap());
    group.throughput(Throughput::Elements(x.elem_count() as u64));
    group.bench_function("layer norm, 2x4096x320", |b| b.iter(|| norm.forward(&x, &mut Unwatched).unwrap()));
    group.finish();
}

fn activations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("activation");
    let x = randn(&[2, 4096, 2560]);
    group.throughput(Throughput::Elements(x.elem_count() as u64));
    for (name, run) in [("geglu", activation::geglu as fn(&Tensor) -> _), ("silu", activation::silu)] {
        group.bench_function(BenchmarkId::new(name, "2x4096x2560"), |b| b.iter(|| run(&x).unwrap()));
    }
    group.finish();
}
