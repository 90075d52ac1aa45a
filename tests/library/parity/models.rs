//! The models against diffusers' and transformers' own outputs: seven checkpoints, each through the real loader.

use crate::differences::Differences;
use crate::fixture::Fixture;
use crate::support::checkpoint::checkpoint;
use crate::support::formula;
use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::ModelSource;
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::Models;

/// Two implementations of one model in f32, on one CPU or another, are no further apart than this.
const BOUND: f64 = 1e-4;

#[test]
fn pocket() {
    // Without the feature `bundled` the same files are read as a folder.
    let name = if cfg!(feature = "bundled") {
        "pocket"
    } else {
        concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket")
    };
    agree("pocket", ModelSource::parse(name).unwrap());
}

/// One number of heads, convolutional projections, quick_gelu, the VAE's attention under its old names.
#[test]
fn sd1() {
    agree("sd1", checkpoint("sd1").source());
}

/// A list of heads, linear projections, gelu, transformers 4's prefix.
#[test]
fn sd2() {
    agree("sd2", checkpoint("sd2").source());
}

/// What the formats allow and the others do not do; latents of odd size.
#[test]
fn odd() {
    agree("odd", checkpoint("odd").source());
}

/// Whatever is a default left out; transformers 4's prefix, `position_ids`, and the VAE's attention under its old names.
#[test]
fn old() {
    agree("old", checkpoint("old").source());
}

/// Three levels that all attend, one layer, no middle.
#[test]
fn tiny() {
    agree("tiny", checkpoint("tiny").source());
}

/// Every key of the class, most of them null.
#[test]
fn turbo() {
    agree("turbo", checkpoint("turbo").source());
}

/// Feeds the fixture's inputs to each model of `source` and compares what comes out.
fn agree(name: &str, source: ModelSource) {
    let models = Models::load(source, Device::Cpu, DType::F32).unwrap();
    let fixture = Fixture::open(name);
    let mut differences = Differences::default();

    let input_ids = fixture.ids("text_encoder/input_ids");
    let output = models.text_encoder.forward(&input_ids, None, &[], &mut Unwatched).unwrap();
    differences.note(&output, fixture.tensor("text_encoder/output"), &format!("{name} text encoder"));

    for set in ["unet", "unet.1"].iter().filter(|set| fixture.has(&format!("{set}/sample"))) {
        let input = |key| fixture.tensor(&format!("{set}/{key}"));
        let timestep = fixture.i64(&format!("{set}/timestep"))[0] as f64;
        let (sample, context) = (input("sample"), input("encoder_hidden_states"));
        let timestep_cond = fixture.has(&format!("{set}/timestep_cond")).then(|| input("timestep_cond"));
        let output = models.unet.forward(sample, timestep, context, timestep_cond, &mut Unwatched).unwrap();
        differences.note(&output, input("output"), &format!("{name} {set} at timestep {timestep}"));
    }

    let picture = models.vae.decode(fixture.tensor("vae.decode/latents"), &mut Unwatched).unwrap();
    differences.note(&picture, fixture.tensor("vae.decode/output"), &format!("{name} vae decode"));
    let latents = models.vae.encode(fixture.tensor("vae.encode/image"), &mut Unwatched).unwrap();
    differences.note(&latents.mean, fixture.tensor("vae.encode/mean"), &format!("{name} vae encode, mean"));
    differences.note(
        &latents.logvar,
        fixture.tensor("vae.encode/logvar"),
        &format!("{name} vae encode, logvar"),
    );

    differences.assert_within(BOUND);
}

/// The table of tools/fixtures/README.md: without these bits no miniature above could agree.
#[test]
fn formula_weights_are_those_of_the_readme() {
    type Row<'a> = (&'a str, &'a str, &'a [usize], u64, [u32; 3], u32);
    let conv_in = [0x3d92d968, 0xbc311463, 0x3e75413a];
    let bias = [0xbcf4f420, 0xbcaf8c33, 0xba81dd9a];
    let embedding = [0xbe0f3530, 0xbee05b66, 0xbd89ec98];
    let norm = [0x3f835e84, 0x3f66e268, 0x3f86ae93];
    let token_embedding = "embeddings.token_embedding.weight";
    let table: [Row; 4] = [
        ("unet", "conv_in.weight", &[32, 4, 3, 3], 0xb4a5_ca5c_0d15_0196, conv_in, 0xbd350340),
        ("unet", "conv_in.bias", &[32], 0x2805_9a22_3471_df43, bias, 0x3ca4c163),
        ("text_encoder", token_embedding, &[49408, 32], 0x5a22_aca3_95d0_1199, embedding, 0x3e50a43c),
        ("vae", "encoder.conv_norm_out.weight", &[32], 0x8a35_d006_689d_ad5e, norm, 0x3f83fed9),
    ];
    for (component, key, shape, hash, first, last) in table {
        let name = format!("{component}/{key}");
        assert_eq!(formula::fnv1a(name.bytes()), hash, "{name}");
        let bits = bits_of(&formula::weight(component, key, shape));
        assert_eq!((&bits[..3], bits.last()), (&first[..], Some(&last)), "{name}");
    }
    let ids = formula::weight("text_encoder", "embeddings.position_ids", &[1, 77]);
    assert_eq!(ids.to_vec2::<i64>().unwrap()[0][..3], [0, 1, 2]);
}

fn bits_of(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}
