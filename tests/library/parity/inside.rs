//! Inside of the models against diffusers' and transformers' forward hooks: every module's output, and every layer's and
//! head's attention. `tools/fixtures/inside.py` says what is stored of each.

use crate::fixture::Fixture;
use crate::support::checkpoint::checkpoint;
use crate::support::formula;
use candle_core::{DType, Device, Tensor};
use diffuscope::checkpoint::ModelSource;
use diffuscope::nn::attention::ATTENTION_PROBS;
use diffuscope::nn::{Path, Recorder};
use diffuscope::pipeline::Models;
use std::collections::BTreeSet;

/// No number of a digest is further off than this, relative to the largest magnitude in the tensor; no probability is
/// at all.
const BOUND: f64 = 1e-4;

/// How many values a digest has, before its four sums.
const SAMPLES: usize = 32;

#[test]
fn pocket() {
    let name = if cfg!(feature = "bundled") {
        "pocket"
    } else {
        concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket")
    };
    agree("pocket", ModelSource::parse(name).unwrap());
}

/// Stable Diffusion 1: four heads everywhere, quick_gelu, convolutional projections.
#[test]
fn sd1() {
    agree("sd1", checkpoint("sd1").source());
}

/// No middle block, two transformer layers, latents of odd size, a VAE without quantisation convolutions.
#[test]
fn odd() {
    agree("odd", checkpoint("odd").source());
}

/// Runs every model on the inputs that diffusers had, and compares everything inside.
fn agree(name: &str, source: ModelSource) {
    let models = Models::load(source, Device::Cpu, DType::F32).unwrap();
    let (given, theirs) = (Fixture::open(name), Fixture::open(&format!("inside_{name}")));
    let mut comparison = Comparison { theirs, weights: vec![], most: 0. };
    let mut seen = BTreeSet::new();

    for part in ["text_encoder", "unet", "vae.decode", "vae.encode"] {
        let mut recorder = Recorder::new(|_: &Path| true);
        let input = |key: &str| given.tensor(&format!("{part}/{key}"));
        match part {
            "text_encoder" => {
                let input_ids = given.ids("text_encoder/input_ids");
                models.text_encoder.forward(&input_ids, None, &[], &mut recorder).unwrap();
            }
            "unet" => {
                let timestep = given.i64("unet/timestep")[0] as f64;
                let (sample, context) = (input("sample"), input("encoder_hidden_states"));
                models.unet.forward(sample, timestep, context, None, &mut recorder).unwrap();
            }
            "vae.decode" => {
                models.vae.decode(input("latents"), &mut recorder).unwrap();
            }
            _ => {
                models.vae.encode(input("image"), &mut recorder).unwrap();
            }
        }
        seen.extend(recorder.seen.iter().map(|(path, _)| path.to_string()));
        let is_attention = |path: &Path| path.as_str().ends_with(ATTENTION_PROBS);
        let (attentions, modules): (Vec<_>, Vec<_>) =
            recorder.seen.into_iter().partition(|(path, _)| is_attention(path));
        comparison.modules(part, &modules);
        comparison.attentions(part, &attentions);
    }
    println!("{name}: at most {:.1e} off", comparison.most);

    // What was loaded is what runs, no more and no less.
    let loaded: Vec<String> = models.modules.iter().map(Path::to_string).collect();
    let ran: BTreeSet<String> = seen.into_iter().filter(|path| !path.ends_with(ATTENTION_PROBS)).collect();
    assert_eq!(
        loaded.iter().cloned().collect::<BTreeSet<_>>(),
        ran,
        "modules that were loaded, and that ran"
    );
    assert_eq!(loaded.len(), ran.len(), "modules that were noted twice when they were loaded");
}

struct Comparison {
    theirs: Fixture,
    /// `uniform("inside")`, as many as were needed so far.
    weights: Vec<f64>,
    /// The largest difference so far, as [`BOUND`] counts it.
    most: f64,
}

impl Comparison {
    /// Compares the outputs of a pass, in the order in which modules were done, with those for which hooks fired.
    fn modules(&mut self, part: &str, ours: &[(Path, Tensor)]) {
        let lines = |key: &str| -> Vec<String> {
            self.theirs.setting(&format!("{part}/{key}")).lines().map(str::to_string).collect()
        };
        let theirs: Vec<(String, String)> = lines("modules").into_iter().zip(lines("shapes")).collect();
        let digests: Vec<Vec<f32>> = self.theirs.tensor(&format!("{part}/digests")).to_vec2().unwrap();
        assert_eq!(theirs.len(), digests.len());
        // Dropout is the identity outside of training, and is no piece here: the one difference between the lists.
        let theirs: Vec<_> =
            theirs.into_iter().zip(digests).filter(|((path, _), _)| !is_dropout(path)).collect();

        let paths = |list: &[String]| list.join("\n");
        let our_paths: Vec<String> = ours.iter().map(|(path, _)| path.to_string()).collect();
        let their_paths: Vec<String> = theirs.iter().map(|((path, _), _)| path.clone()).collect();
        let (us, them): (BTreeSet<_>, BTreeSet<_>) =
            (our_paths.iter().collect(), their_paths.iter().collect());
        assert_eq!(us.difference(&them).collect::<Vec<_>>(), Vec::<&&String>::new(), "{part}: ours alone");
        assert_eq!(them.difference(&us).collect::<Vec<_>>(), Vec::<&&String>::new(), "{part}: theirs alone");
        // The order too, and how often each runs.
        assert!(paths(&our_paths) == paths(&their_paths), "{part}: {our_paths:#?}\ntheirs: {their_paths:#?}");

        for ((path, output), ((_, shape), digest)) in ours.iter().zip(&theirs) {
            assert_eq!(&said(output.dims()), shape, "{path}");
            let values = output.flatten_all().unwrap().to_vec1().unwrap();
            let magnitude = f64::from(digest[SAMPLES + 2]);
            self.digest(&values, digest, magnitude, path.as_str());
        }
    }

    /// Compares the probabilities of a pass, of every attention, row of the batch and head.
    fn attentions(&mut self, part: &str, ours: &[(Path, Tensor)]) {
        let hooks = self.theirs.setting(&format!("{part}/modules"));
        let is_attention =
            |path: &&str| ["attn1", "attn2", "self_attn"].iter().any(|name| path.ends_with(name));
        let in_vae = |path: &&str| part.starts_with("vae") && path.ends_with("attentions.0");
        let theirs: Vec<String> =
            hooks.lines().filter(|path| is_attention(path) || in_vae(path)).map(str::to_string).collect();
        let attention =
            |path: &Path| path.as_str().strip_suffix(&format!(".{ATTENTION_PROBS}")).unwrap().to_string();
        assert_eq!(ours.iter().map(|(path, _)| attention(path)).collect::<Vec<_>>(), theirs, "{part}");

        for ((path, probs), attention) in ours.iter().zip(&theirs) {
            let key = format!("{part}/{attention}");
            assert_eq!(said(probs.dims()), self.theirs.setting(&format!("{key}/shape")), "{path}");
            let digests: Vec<Vec<Vec<f32>>> = self.theirs.tensor(&format!("{key}/probs")).to_vec3().unwrap();
            for (row, heads) in digests.iter().enumerate() {
                for (head, digest) in heads.iter().enumerate() {
                    let values = probs.get(row).unwrap().get(head).unwrap();
                    let values: Vec<f32> = values.flatten_all().unwrap().to_vec1().unwrap();
                    self.digest(&values, digest, 1., &format!("{path}, row {row}, head {head}"));
                }
            }
            if attention.ends_with("attn2") {
                let ours: Vec<f32> = probs.mean(2).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                let theirs = self.theirs.f32(&format!("{key}/tokens"));
                assert_eq!(ours.len(), theirs.len(), "{path}");
                for (token, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                    self.number(f64::from(*ours), f64::from(*theirs), 1., &format!("{path}, token {token}"));
                }
            }
        }
    }

    /// Compares `values` with what is stored of theirs.
    fn digest(&mut self, values: &[f32], digest: &[f32], magnitude: f64, what: &str) {
        assert_eq!(digest.len(), SAMPLES + 4);
        let count = values.len();
        for (i, theirs) in digest[..SAMPLES].iter().enumerate() {
            let place = i * (count - 1) / (SAMPLES - 1);
            self.number(
                f64::from(values[place]),
                f64::from(*theirs),
                magnitude,
                &format!("{what}, value {place}"),
            );
        }
        if self.weights.len() < count {
            self.weights = formula::uniform("inside").take(count).map(f64::from).collect();
        }
        let of = |sum: f64| sum / count as f64;
        let wide = || values.iter().map(|&v| f64::from(v));
        let mean = of(wide().sum());
        let std = of(wide().map(|v| (v - mean).powi(2)).sum()).sqrt();
        let largest = wide().map(f64::abs).fold(0., f64::max);
        let weighted = of(wide().zip(&self.weights).map(|(v, weight)| v * weight).sum());
        let sums = [("mean", mean), ("std", std), ("largest", largest), ("weighted", weighted)];
        for ((name, ours), theirs) in sums.iter().zip(&digest[SAMPLES..]) {
            self.number(*ours, f64::from(*theirs), magnitude, &format!("{what}, {name}"));
        }
    }

    fn number(&mut self, ours: f64, theirs: f64, magnitude: f64, what: &str) {
        let off = (ours - theirs).abs() / magnitude;
        assert!(
            off <= BOUND,
            "{what}: {ours} here, {theirs} there: {off:.1e} off, expected at most {BOUND:.0e}"
        );
        self.most = self.most.max(off);
    }
}

/// Whether diffusers has a dropout by this name: in resnets, behind an attention, in the middle of a feed-forward.
fn is_dropout(path: &str) -> bool {
    [".dropout", ".to_out.1", ".ff.net.1"].iter().any(|name| path.ends_with(name))
}

/// `2x64x16x16`.
fn said(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}
