//! Traces: written, read again, damaged, and compared.

use crate::models::{BUNDLED, SD2};
use crate::support::checkpoint::checkpoint;
use candle_core::{DType, Device};
use diffuscope::nn::pattern::Pattern;
use diffuscope::pipeline::{Fault, Intervention, Models, Request, Snapshot, Stage, advance};
use diffuscope::tensor::PlainTensor;
use diffuscope::tensor::compare::relative_difference;
use diffuscope::trace::diff::{Comparison, Kind, judge, pair};
use diffuscope::trace::reader::GENERATOR_STATE;
use diffuscope::trace::{Recording, Steps, Trace, TraceError, TraceWriter, What};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

pub fn request() -> Request {
    Request { width: 16, height: 16, num_inference_steps: 3, ..Request::for_models(&SD2, "a red cat") }
}

/// Records a run of the miniature.
pub fn record(folder: &Path, what: &What, request: Request) -> Snapshot {
    record_of(&SD2, folder, what, Snapshot::start(request, &SD2).unwrap())
}

pub fn record_of(models: &Models, folder: &Path, what: &What, mut snapshot: Snapshot) -> Snapshot {
    let mut trace = TraceWriter::begin(folder, &snapshot, models).unwrap();
    while let Some(stage) = snapshot.position() {
        let mut recording = Recording::new(stage, what);
        snapshot = advance(&snapshot, models, &mut recording).unwrap();
        trace.stage(snapshot.last().unwrap(), recording.into_recorded()).unwrap();
    }
    snapshot
}

fn judged(folder: &Path) -> Comparison {
    judge::judge(&Trace::open(folder).unwrap(), &SD2, None).unwrap()
}

#[test]
fn a_run_is_read_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let run = record(folder.path(), &What::All, request());
    let trace = Trace::open(folder.path()).unwrap();
    assert!(trace.manifest().complete);
    assert_eq!(trace.manifest().settings["prompt"], "a red cat");
    assert_eq!(trace.stages().len(), run.records().len());
    for record in run.records() {
        for (name, tensor) in &record.tensors {
            let read = trace.tensor(record.stage, name).unwrap().unwrap();
            let expected = PlainTensor::of(tensor).unwrap();
            assert_eq!((read.shape(), read.data()), (expected.shape(), expected.data()), "{name}");
            let mut pieces = vec![];
            let on_disk = trace.stage(record.stage).unwrap().on_disk(name).unwrap();
            let mut add = |_, piece: &[f32]| {
                pieces.extend_from_slice(piece);
                ControlFlow::Continue(())
            };
            on_disk.pieces(&mut add).unwrap();
            assert_eq!(pieces, expected.data());
        }
    }
    let denoise = trace.stage(Stage::Denoise { step: 0 }).unwrap();
    let unet = SD2.modules.iter().filter(|path| path.as_str().starts_with("unet."));
    for path in unet {
        assert!(denoise.calls.iter().any(|call| call.path == path.as_str() && call.has_output), "{path}");
    }
    let twice = denoise.calls.iter().filter(|call| call.path == "unet.down_blocks.0.resnets.0.nonlinearity");
    assert_eq!(twice.map(|call| call.call).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_right_run_does_not_differ() {
    for scheduler in ["own", "ddim", "euler", "heun", "dpm++2m-sde-karras", "lcm"] {
        let folder = tempfile::tempdir().unwrap();
        let mut with = request();
        with.scheduler = SD2.scheduler.named(scheduler).unwrap();
        record(folder.path(), &What::All, with);
        let comparison = judged(folder.path());
        assert!(comparison.first().is_none(), "{scheduler}: {:?}", comparison.first());
        assert!(comparison.notes.is_empty(), "{scheduler}: {:?}", comparison.notes);
        let steps = comparison.rows.iter().filter(|row| row.path == "denoise.scheduler_step");
        assert!(steps.count() >= 3, "{scheduler}");
    }
}

#[test]
fn a_wrong_run_is_wrong_where_the_mistake_is() {
    for (fault, path, cause) in [
        ("swapped_residuals", "denoise.unet", Some("rows_swapped")),
        ("no_scaling_factor", "vae.post_quant_conv", Some("scaling_factor")),
        ("no_denormalize", "vae_decode.denormalize", None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let fault: Fault = Fault::parse(fault).unwrap();
        record(folder.path(), &What::All, Request { fault: Some(fault), ..request() });
        let comparison = judged(folder.path());
        let first = comparison.first().unwrap();
        assert_eq!(first.path, path, "{first:?}");
        assert!(first.isolated);
        assert_eq!(comparison.causes.found.first().map(|cause| cause.name), cause);
    }
}

#[test]
fn a_module_after_one_that_is_not_recorded_is_not_wrong_by_itself() {
    let path = "unet.down_blocks.1.resnets.0.conv1";
    let isolated = |patterns: &str| {
        let folder = tempfile::tempdir().unwrap();
        record(folder.path(), &patterns.parse().unwrap(), request());
        let comparison = judged(folder.path());
        assert_eq!(comparison.first(), None);
        comparison.rows.iter().find(|row| row.path == path).map(|row| row.isolated)
    };
    assert_eq!(isolated("all"), Some(true));
    assert_eq!(isolated(path), Some(false));
    assert_eq!(isolated("unet.*"), Some(true));
    // Blocks, and what runs before the convolution in its own; the activation is not recorded.
    let before = "unet.time_*,unet.conv_in,unet.down_blocks.0,unet.down_blocks.1.resnets.0.norm1";
    assert_eq!(isolated(&format!("{before},{path}")), Some(true));
}

#[test]
fn a_changed_module_is_the_first_and_the_next_ones_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = "unet.mid_block.resnets.0.conv1";
    let module = Pattern::parse(path).unwrap();
    let change = Intervention {
        text: "halved".into(),
        only: Some(Stage::Denoise { step: 1 }),
        is_at: Arc::new(move |path| module.matches(path.as_str())),
        change: Arc::new(|_, output| Ok((output * 0.5)?)),
    };
    let native = Request::for_models(&BUNDLED, "red apple");
    let request = Request { width: 64, height: 64, num_inference_steps: 2, ..native };
    let run = Snapshot::start(request, &BUNDLED).unwrap().with_intervention(change);
    record_of(&BUNDLED, folder.path(), &What::All, run);
    let comparison = judge::judge(&Trace::open(folder.path()).unwrap(), &BUNDLED, None).unwrap();
    let first = comparison.first().unwrap();
    assert_eq!((first.stage, first.path.as_str()), (Stage::Denoise { step: 1 }, path));
    assert_eq!(comparison.beyond(), 1, "an early mistake does not colour what follows");
    assert!(comparison.causes.found.is_empty());
    assert!(comparison.causes.tried.contains(&"bias_missing"));
}

/// Pipelines of diffusers with one mistake each, recorded by `tools/fixtures/traces.py`: the trace, the miniature, the module that
/// is wrong, and the reason.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("vae_norm_eps", "tiny", "vae.decoder.mid_block.resnets.0.norm1", "epsilon"),
    (
        "tanh_gelu",
        "tiny",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.ff.net.0",
        "geglu_activation",
    ),
    ("quick_gelu", "odd", "text_encoder.encoder.layers.0.mlp.activation_fn", "activation"),
    (
        "attention_scale",
        "tiny",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1",
        "attention_scale",
    ),
    ("geglu_halves", "tiny", "unet.down_blocks.1.attentions.0.transformer_blocks.0.ff.net.0", "geglu_halves"),
    ("flip_sin_to_cos", "tiny", "unet.time_proj", "time_frequencies"),
    ("freq_shift", "tiny", "unet.time_proj", "time_frequencies"),
    ("timestep_off_by_one", "tiny", "unet.time_proj", "time_frequencies"),
    ("skip_order", "tiny", "unet.up_blocks.0", "skip_order"),
    ("bilinear", "tiny", "unet.up_blocks.1.upsamplers.0", "upsampling"),
    ("padding_side", "tiny", "vae.encoder.down_blocks.1.downsamplers.0", "padding"),
    (
        "transposed",
        "tiny",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "weight_transposed",
    ),
    ("no_residual", "tiny", "unet.down_blocks.0.resnets.0", "residual_missing"),
    ("no_bias", "tiny", "unet.down_blocks.1.resnets.0.conv1", "bias_missing"),
    (
        "bfloat16_weights",
        "tiny",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v",
        "weight_rounded",
    ),
    ("scaling_factor", "tiny", "vae.post_quant_conv", "scaling_factor"),
];

#[test]
fn mistakes_in_pipelines_of_diffusers_are_found_with_their_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/traces");
    let mut miniatures = BTreeMap::new();
    let mut wrong = vec![];
    let right = [("right_img2img", "tiny", "", ""), ("right_text_encoder", "odd", "", "")];
    for (name, miniature, path, cause) in MISTAKES.iter().copied().chain(right) {
        let (_, models) = miniatures.entry(miniature).or_insert_with(|| {
            let checkpoint = checkpoint(miniature);
            let models = Models::load(checkpoint.source(), Device::Cpu, DType::F32).unwrap();
            (checkpoint, models)
        });
        let trace = Trace::open(&folder.join(format!("{name}.trace"))).unwrap();
        let comparison = judge::judge(&trace, models, None).unwrap();
        let first = comparison.first().map_or("", |row| row.path.as_str());
        let found = comparison.causes.found.first().map_or("", |cause| cause.name);
        if (first, found) != (path, cause) {
            wrong.push(format!(
                "{name}: {first} for {found:?}, {:?}, tried {:?}, nearest {:?}",
                comparison.first(),
                comparison.causes.tried,
                comparison.causes.nearest
            ));
        }
        // What the trace says of a module besides its tensors.
        let (evidence, tried) = (comparison.causes.evidence.join("; "), &comparison.causes.tried);
        let is_tried = |mistake: &str| tried.contains(&mistake);
        match name {
            "vae_norm_eps" => {
                assert!(evidence.contains("its eps is 0.001 in the trace, and 0.000001 here"), "{evidence}");
                assert!(!is_tried("weight_rounded") && !is_tried("bias_missing"), "{tried:?}");
            }
            "no_bias" => assert!(evidence.contains("it has no bias in the trace"), "{evidence}"),
            "transposed" | "bfloat16_weights" => assert!(is_tried("weight_rounded"), "{tried:?}"),
            _ => {}
        }
        if path.is_empty() {
            assert!(
                comparison.rows.len() > 10,
                "{name}: {} rows, {:?}",
                comparison.rows.len(),
                comparison.notes
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs of diffusers without a mistake, recorded by `tools/fixtures/traces.py`: the miniature and the dtype.
const RIGHT: &[(&str, &str)] = &[
    ("sd1", "float32"),
    ("sd1", "float16"),
    ("sd2", "float32"),
    ("sd2", "bfloat16"),
    ("tiny", "float32"),
    ("tiny", "float16"),
    ("turbo", "float32"),
    ("turbo", "bfloat16"),
];

#[test]
fn right_runs_of_diffusers_do_not_differ() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/traces");
    let mut wrong = vec![];
    for (miniature, dtype) in RIGHT {
        let trace = Trace::open(&folder.join(format!("right_{miniature}_{dtype}.trace"))).unwrap();
        assert_eq!(trace.manifest().dtype.as_deref(), Some(*dtype));
        let checkpoint = checkpoint(miniature);
        let models = Models::load(checkpoint.source(), Device::Cpu, DType::F32).unwrap();
        let comparison = judge::judge(&trace, &models, None).unwrap();
        let of = |prefix: &str| comparison.rows.iter().filter(|row| row.path.starts_with(prefix)).count();
        assert!(of("unet.") >= 30 && of("vae.") >= 10 && of("text_encoder.") >= 1, "{miniature} {dtype}");
        assert!(of("denoise.scheduler_step") >= 2, "{miniature} {dtype}: {:?}", comparison.notes);
        assert_eq!(comparison.notes, [""; 0], "{miniature} {dtype}");
        if let Some(first) = comparison.first() {
            wrong.push(format!("{miniature} {dtype}: {} differ, the first: {first:?}", comparison.beyond()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn two_traces_differ_from_their_first_different_setting_on() {
    let [a, b] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    record(a.path(), &What::All, request());
    record(b.path(), &What::Stages, Request { guidance_scale: 7., ..request() });
    let open = |folder: &tempfile::TempDir| Trace::open(folder.path()).unwrap();
    let same = pair::compare(&open(&a), &open(&a), None).unwrap();
    assert_eq!(same.first(), None);
    let other = pair::compare(&open(&b), &open(&a), None).unwrap();
    assert_eq!(other.first().unwrap().path, "guided_noise_residual");
    assert_eq!(other.first().unwrap().kind, Kind::Module);
    assert!(
        other.notes.iter().any(|note| note.contains("guidance_scale is 7.0, and 7.5")),
        "{:?}",
        other.notes
    );
}

/// Changes the index of a trace.
fn edit(folder: &Path, change: impl Fn(&mut Value)) {
    let file = folder.join("trace.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(file, manifest.to_string()).unwrap();
}

#[test]
fn the_state_of_the_generator_is_recorded_and_compared() {
    let [a, b] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let seeded = |seed: i64| Request { seed: seed.into(), ..request() };
    record(a.path(), &What::Stages, seeded(5));
    record(b.path(), &What::Stages, seeded(6));
    let open = |folder: &Path| Trace::open(folder).unwrap();
    let state = |trace: &Trace| trace.tensor(Stage::GetLatent, GENERATOR_STATE).unwrap().unwrap();
    // diffusers' run with the same seed.
    let theirs = open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/traces/no_bias.trace"));
    assert_eq!(state(&open(a.path())).data(), state(&theirs).data());
    assert_eq!(state(&theirs).data().len(), 5056);
    assert!(!open(a.path()).stage(Stage::GetLatent).unwrap().names().contains(&GENERATOR_STATE.into()));

    let notes = |a: &Path, b: &Path| pair::compare(&open(a), &open(b), None).unwrap().notes;
    let seeds = notes(a.path(), b.path());
    assert!(seeds.iter().any(|note| note.contains("seed is 5, and 6")), "{seeds:?}");
    assert!(!seeds.iter().any(|note| note.contains("states")), "{seeds:?}");
    edit(b.path(), |manifest| manifest["settings"]["seed"] = json!(5));
    assert_eq!(
        notes(a.path(), b.path()),
        [
            "the seed is 5 in both, and the generators' states before the first draw differ: one had drawn before"
        ]
    );
}

#[test]
fn a_run_that_ended_early_is_compared_up_to_its_end() {
    let [whole, short] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in [&whole, &short] {
        record(folder.path(), &What::All, request());
    }
    edit(short.path(), |manifest| {
        manifest["complete"] = json!(false);
        manifest["stopped"] = json!("KeyboardInterrupt");
        manifest["stages"].as_array_mut().unwrap().truncate(3);
    });
    let [whole, short] = [&whole, &short].map(|folder| Trace::open(folder.path()).unwrap());
    let end = Some(Stage::Denoise { step: 0 });
    let note = |comparison: &Comparison| comparison.notes.first().cloned().unwrap_or_default();
    for comparison in [
        pair::compare(&short, &whole, None).unwrap(),
        pair::compare(&whole, &short, None).unwrap(),
        judge::judge(&short, &SD2, None).unwrap(),
    ] {
        assert_eq!((comparison.until, comparison.first()), (end, None));
        assert!(
            note(&comparison).ends_with("ends after denoise 0: KeyboardInterrupt"),
            "{:?}",
            comparison.notes
        );
    }
    assert_eq!(judge::judge(&whole, &SD2, None).unwrap().until, None);
}

#[test]
fn only_a_trace_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    record(&at("run.trace"), &What::All, request());
    fs::write(at("run.trace/notes.txt"), "mine").unwrap();
    let short = Request { num_inference_steps: 1, ..request() };
    record(&at("run.trace"), &What::Stages, short);
    assert!(!at("run.trace/denoise.002.safetensors").exists(), "a stage of the old trace is left");
    assert_eq!(fs::read_to_string(at("run.trace/notes.txt")).unwrap(), "mine");
    assert_eq!(Trace::open(&at("run.trace")).unwrap().stages().len(), 4);

    fs::create_dir(at("photos")).unwrap();
    fs::write(at("photos/cat.png"), "a cat").unwrap();
    fs::write(at("file"), "a file").unwrap();
    for (name, found) in [("photos", "a folder with other files"), ("file", "it is a file")] {
        let error = TraceWriter::check(&at(name)).unwrap_err().to_string();
        assert!(error.contains(found), "{error}");
    }
    fs::write(at("photos/trace.json"), "{}").unwrap();
    assert!(TraceWriter::check(&at("photos")).is_err(), "another program's trace.json");
}

#[test]
#[cfg(unix)]
fn who_may_read_the_index_may_read_the_tensors() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &What::Stages, request());
    let mode = |name: &str| folder.path().join(name).metadata().unwrap().permissions().mode();
    assert_eq!(mode("vae_decode.safetensors"), mode("trace.json"));
}

#[test]
fn steps_are_numbers_and_ranges() {
    let include = |text: &str, step| text.parse::<Steps>().unwrap().include(Stage::Denoise { step });
    assert!(include("all", 7) && include("0,5,10-12", 11) && include("3", 3));
    assert!(!include("0,5,10-12", 9) && !include("3", 4));
    for wrong in ["", "x", "5-3", "1,", "-1", "99999999999999999999"] {
        assert!(wrong.parse::<Steps>().is_err(), "{wrong}");
    }
}

/// A trace of one step and one module, made by hand.
struct ByHand {
    manifest: Value,
    files: BTreeMap<&'static str, Vec<u8>>,
}

fn file(tensors: &[(&str, &str, &[usize], usize)]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), vec![]);
    for (key, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend((0..*bytes).map(|i| (i % 7) as u8));
        header.insert(
            (*key).into(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    of_parts(&Value::Object(header).to_string(), &data)
}

fn of_parts(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

const DENOISE: &str = "denoise.000.safetensors";

impl ByHand {
    fn new() -> Self {
        let manifest = json!({
            "format": "diffuscope trace",
            "version": 1,
            "layout": "NCHW",
            "settings": {"prompt": "a red cat", "num_inference_steps": 3, "height": 16, "width": 16},
            "stages": [
                {"name": "get_latent", "file": "get_latent.safetensors"},
                {
                    "name": "denoise.000", "file": DENOISE, "timestep": 999, "rows": ["uncond", "text"],
                    "calls": [{"path": "unet.conv_in", "call": 0}],
                    "same": {"denoise.000/unet.conv_in#0/in.input": "denoise.000/latents"},
                },
            ],
        });
        let latents = ("get_latent/latents", "F32", &[1, 4, 2, 2][..], 64);
        let step = [
            ("denoise.000/latents", "F32", &[1, 4, 2, 2][..], 64),
            ("denoise.000/unet.conv_in#0/out", "F32", &[2, 32, 2, 2], 1024),
        ];
        let files = [("get_latent.safetensors", file(&[latents])), (DENOISE, file(&step))];
        Self { manifest, files: files.into() }
    }

    /// Opens it, and reads and judges everything in it.
    fn open(&self) -> Result<(), String> {
        self.open_text(&self.manifest.to_string())
    }

    fn open_text(&self, manifest: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("trace.json"), manifest).unwrap();
        for (name, bytes) in &self.files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        look_at(folder.path())
    }
}

fn look_at(folder: &Path) -> Result<(), String> {
    let trace = Trace::open(folder).map_err(|e| e.to_string())?;
    for stage in trace.stages() {
        for name in stage.names() {
            stage.tensor(&name).map_err(|e| e.to_string())?;
        }
        for call in &stage.calls {
            stage.output(call).map_err(|e| e.to_string())?;
        }
    }
    judge::judge(&trace, &SD2, None).map(drop).map_err(|e| e.to_string())
}

/// The manifest with the value at `pointer` replaced.
fn with(pointer: &str, value: Value) -> ByHand {
    let mut trace = ByHand::new();
    *trace.manifest.pointer_mut(pointer).unwrap() = value;
    trace
}

fn without(pointer: &str, key: &str) -> ByHand {
    let mut trace = ByHand::new();
    trace.manifest.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key);
    trace
}

fn with_file(name: &'static str, bytes: Vec<u8>) -> ByHand {
    let mut trace = ByHand::new();
    trace.files.insert(name, bytes);
    trace
}

#[test]
fn damaged_traces_are_refused_with_file_and_key() {
    let stage = "/stages/1";
    let at = |key: &str| format!("{stage}/{key}");
    let whole = ByHand::new().files[DENOISE].clone();
    let tensor = |dtype: &str, shape: &str, end: usize| {
        format!(
            "{{\"denoise.000/latents\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}}}"
        )
    };
    let overlapping = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}";
    let huge = tensor("F32", "[2684354560]", 10_737_418_240);
    let kinds: Vec<(&str, ByHand, &[&str])> = vec![
        ("no format", without("", "format"), &["trace.json", "`format`", "absent"]),
        ("another format", with("/format", json!("nnsight")), &["`format`", "\"nnsight\""]),
        ("no version", without("", "version"), &["`version`", "absent"]),
        ("a later version", with("/version", json!(2)), &["`version`", "2", "1"]),
        ("a version in words", with("/version", json!("one")), &["`version`"]),
        ("no stages", without("", "stages"), &["stages"]),
        ("stages that are no list", with("/stages", json!({})), &["stages"]),
        ("a stage without a name", without(stage, "name"), &["stages[1]"]),
        ("an unknown stage", with(&at("name"), json!("dream")), &["stages[1].name", "\"dream\""]),
        (
            "a stage in another form",
            with(&at("name"), json!("denoise.0")),
            &["stages[1].name", "denoise.000"],
        ),
        ("a negative step", with(&at("name"), json!("denoise.-01")), &["stages[1].name"]),
        ("a stage twice", with("/stages/0/name", json!("denoise.000")), &["stages[1].name", "once"]),
        (
            "stages in another order",
            with("/stages/0/name", json!("vae_decode")),
            &["stages[1].name", "order"],
        ),
        ("a stage without a file", without(stage, "file"), &["stages[1]"]),
        ("a file that is missing", with(&at("file"), json!("no.safetensors")), &["no.safetensors"]),
        (
            "a file in a folder above",
            with(&at("file"), json!("../x.safetensors")),
            &["stages[1].file", "../x"],
        ),
        ("a file by its path", with(&at("file"), json!("/etc/passwd")), &["stages[1].file"]),
        ("a file with a drive", with(&at("file"), json!("C:x")), &["stages[1].file"]),
        ("a file in a folder", with(&at("file"), json!("a\\b")), &["stages[1].file"]),
        ("no name", with(&at("file"), json!("")), &["stages[1].file"]),
        ("the folder itself", with(&at("file"), json!(".")), &["stages[1].file"]),
        ("the index as a file", with(&at("file"), json!("trace.json")), &["stages[1].file"]),
        ("one file for two stages", with(&at("file"), json!("get_latent.safetensors")), &["stages[1].file"]),
        ("three rows", with(&at("rows"), json!(["text", "text", "text"])), &["stages[1].rows"]),
        ("an unknown row", with(&at("rows"), json!(["style"])), &["stages[1].rows"]),
        ("a timestep in words", with(&at("timestep"), json!("late")), &["stages[1].timestep"]),
        ("a call without a path", with(&at("calls"), json!([{"call": 0}])), &["stages[1].calls[0]"]),
        ("an empty path", with(&at("calls"), json!([{"path": ""}])), &["stages[1].calls[0].path"]),
        (
            "a path with a key's signs",
            with(&at("calls"), json!([{"path": "a/b#0"}])),
            &["stages[1].calls[0].path"],
        ),
        (
            "a call twice",
            with(&at("calls"), json!([{"path": "a"}, {"path": "a"}])),
            &["stages[1].calls[1]", "once"],
        ),
        (
            "a negative call",
            with(&at("calls"), json!([{"path": "a", "call": -1}])),
            &["stages[1].calls[0].call"],
        ),
        ("a reference to nothing", with(&at("same"), json!({"a": "b"})), &["stages[1].same", "a -> b"]),
        (
            "a tensor that is stored and referred to",
            with(&at("same"), json!({"denoise.000/latents": "denoise.000/latents"})),
            &["stages[1].same"],
        ),
        ("an unknown layout", with("/layout", json!("CHWN")), &["layout"]),
        (
            "settings that are no settings",
            with("/settings", json!({"num_inference_steps": "many"})),
            &["settings"],
        ),
        ("a file cut short", with_file(DENOISE, whole[..whole.len() - 9].to_vec()), &[DENOISE]),
        ("a header cut short", with_file(DENOISE, whole[..40].to_vec()), &[DENOISE, "header"]),
        ("an empty file", with_file(DENOISE, vec![]), &[DENOISE, "0 bytes"]),
        ("a zip file", with_file(DENOISE, b"PK\x03\x04 and more".to_vec()), &[DENOISE, "zip"]),
        ("more bytes than described", with_file(DENOISE, [&whole[..], &[0]].concat()), &[DENOISE]),
        ("overlapping tensors", with_file(DENOISE, of_parts(overlapping, &[0; 12])), &[DENOISE]),
        ("10 GB in 64 bytes", with_file(DENOISE, of_parts(&huge, &[0; 64])), &[DENOISE, "describes"]),
        (
            "a shape that is no product",
            with_file(DENOISE, of_parts(&tensor("F32", "[3]", 64), &[0; 64])),
            &[DENOISE],
        ),
        (
            "a shape that overflows",
            with_file(DENOISE, of_parts(&tensor("F32", "[18446744073709551615,2]", 64), &[0; 64])),
            &[DENOISE],
        ),
        ("an unknown dtype", with_file(DENOISE, of_parts(&tensor("F7", "[16]", 64), &[0; 64])), &[DENOISE]),
    ];
    assert!(kinds.len() >= 40, "{}", kinds.len());
    for (kind, trace, parts) in kinds {
        let error = trace.open().err().unwrap_or_else(|| panic!("{kind}: it opens"));
        for part in parts {
            assert!(error.contains(part), "{kind}: `{part}` is not in: {error}");
        }
        assert!(!error.contains('\n'), "{kind}: {error}");
    }
    for (kind, text) in
        [("empty", ""), ("half of it", "{\"format\":"), ("not UTF-8 at all", "\u{fffd}"), ("a list", "[]")]
    {
        let error = ByHand::new().open_text(text).err().unwrap_or_else(|| panic!("{kind}: it opens"));
        assert!(error.contains("trace.json"), "{kind}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_path_buf(), folder.path().join("none"), std::env::current_exe().unwrap()] {
        assert!(matches!(Trace::open(&path), Err(TraceError::Unreadable { .. })), "{}", path.display());
    }
}

#[test]
fn numbers_that_are_not_finite_differ() {
    let folder = tempfile::tempdir().unwrap();
    let trace = ByHand::new();
    let nan: Vec<u8> = f32::NAN.to_le_bytes().repeat(16);
    let header = "{\"get_latent/latents\":{\"dtype\":\"F32\",\"shape\":[1,4,2,2],\"data_offsets\":[0,64]}}";
    fs::write(folder.path().join("trace.json"), trace.manifest.to_string()).unwrap();
    fs::write(folder.path().join("get_latent.safetensors"), of_parts(header, &nan)).unwrap();
    fs::write(folder.path().join(DENOISE), &trace.files[DENOISE]).unwrap();
    let open = Trace::open(folder.path()).unwrap();
    let comparison = pair::compare(&open, &open, None).unwrap();
    let first = comparison.first().unwrap();
    assert_eq!((first.stage, first.path.as_str()), (Stage::GetLatent, "latents"));
    assert_eq!(first.json()["relative"], Value::Null);
}

#[test]
fn a_trace_in_another_order_of_dimensions_and_another_dtype() {
    let folder = tempfile::tempdir().unwrap();
    let header = "{\"get_latent/latents\":{\"dtype\":\"F16\",\"shape\":[1,2,1,3],\"data_offsets\":[0,12]}}";
    let values: Vec<u8> = (0..6).flat_map(|n| half::f16::from_f32(n as f32).to_le_bytes()).collect();
    fs::write(folder.path().join("a.safetensors"), of_parts(header, &values)).unwrap();
    let manifest = json!({
        "format": "diffuscope trace", "version": 1, "layout": "NHWC", "unknown": {"kept": "out"},
        "stages": [{"name": "get_latent", "file": "a.safetensors"}],
    });
    fs::write(folder.path().join("trace.json"), manifest.to_string()).unwrap();
    let trace = Trace::open(folder.path()).unwrap();
    let latents = trace.tensor(Stage::GetLatent, "latents").unwrap().unwrap();
    assert_eq!((latents.shape(), latents.data()), (&[1, 3, 2, 1][..], &[0., 3., 1., 4., 2., 5.][..]));
}

/// One tensor of 1 GB, most of it a hole in the file.
#[test]
#[cfg(unix)]
fn a_large_tensor_is_read_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let count = 1usize << 28;
    let header = format!(
        "{{\"vae_decode/image\":{{\"dtype\":\"F32\",\"shape\":[{count}],\"data_offsets\":[0,{}]}}}}",
        4 * count
    );
    let path = folder.path().join("vae.safetensors");
    fs::write(&path, of_parts(&header, &1f32.to_le_bytes())).unwrap();
    let open = fs::File::options().write(true).open(&path).unwrap();
    open.set_len((8 + header.len() + 4 * count) as u64).unwrap();
    let manifest = json!({
        "format": "diffuscope trace", "version": 1,
        "stages": [{"name": "vae_decode", "file": "vae.safetensors"}],
    });
    fs::write(folder.path().join("trace.json"), manifest.to_string()).unwrap();
    let trace = Trace::open(folder.path()).unwrap();
    let (mut sum, mut read, mut largest) = (0., 0, 0);
    let image = trace.stages()[0].on_disk("image").unwrap();
    image
        .pieces(|_, piece| {
            sum += piece.iter().sum::<f32>();
            read += piece.len();
            largest = largest.max(piece.len());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((sum, read), (1., count));
    assert!(largest <= 1 << 20, "{largest}");
}

/// A trace of one tensor of four dimensions, in either order.
fn of_image(folder: &Path, layout: &str, [n, c, h, w]: [usize; 4], value: impl Fn(usize) -> f32) {
    // The number of each value in the order batch, channels, height, width.
    let first = |n: usize, y: usize, x: usize, channel: usize| ((n * c + channel) * h + y) * w + x;
    let last = (0..n).flat_map(|n| {
        (0..h * w).flat_map(move |pixel| (0..c).map(move |channel| first(n, pixel / w, pixel % w, channel)))
    });
    let (shape, order): (_, Vec<usize>) = match layout {
        "NHWC" => ([n, h, w, c], last.collect()),
        _ => ([n, c, h, w], (0..n * c * h * w).collect()),
    };
    let data: Vec<u8> = order.into_iter().flat_map(|at| value(at).to_le_bytes()).collect();
    let header =
        json!({"vae_decode/image": {"dtype": "F32", "shape": shape, "data_offsets": [0, data.len()]}});
    fs::write(folder.join("a.safetensors"), of_parts(&header.to_string(), &data)).unwrap();
    let manifest = json!({
        "format": "diffuscope trace", "version": 1, "layout": layout, "complete": true,
        "stages": [{"name": "vae_decode", "file": "a.safetensors"}],
    });
    fs::write(folder.join("trace.json"), manifest.to_string()).unwrap();
}

/// 0 numbers, whose shape says 2^40 pictures, or 2^40 channels.
#[test]
fn an_empty_tensor_is_read_at_once_whatever_its_shape() {
    for shape in [[1 << 40, 1, 0, 1], [0, 1 << 40, 1, 1 << 40], [1, 1 << 40, 1 << 40, 0]] {
        let [a, b] = ["NHWC", "NCHW"].map(|layout| {
            let folder = tempfile::tempdir().unwrap();
            let [n, c, h, w]: [usize; 4] = shape;
            let stored = if layout == "NHWC" { [n, h, w, c] } else { shape };
            let header =
                json!({"vae_decode/image": {"dtype": "F32", "shape": stored, "data_offsets": [0, 0]}});
            fs::write(folder.path().join("a.safetensors"), of_parts(&header.to_string(), &[])).unwrap();
            let manifest = json!({
                "format": "diffuscope trace", "version": 1, "layout": layout,
                "stages": [{"name": "vae_decode", "file": "a.safetensors"}],
            });
            fs::write(folder.path().join("trace.json"), manifest.to_string()).unwrap();
            folder
        });
        // What refuses such a header refuses both.
        let (Ok(a), Ok(b)) = (Trace::open(a.path()), Trace::open(b.path())) else { continue };
        for trace in [&a, &b] {
            assert_eq!(trace.tensor(Stage::VaeDecode, "image").unwrap().unwrap().data().len(), 0);
        }
        assert_eq!(pair::compare(&a, &b, None).unwrap().rows[0].relative, Some(0.));
    }
}

#[test]
fn two_traces_are_compared_in_pieces_whatever_their_order_of_dimensions() {
    // More than one piece, and no whole number of pieces.
    let shape = [2, 3, 601, 577];
    let value = |at: usize| (at % 1013) as f32;
    let off = move |at: usize| value(at) + if at.is_multiple_of(3) { 0.5 } else { 0. };
    let count: usize = shape.iter().product();
    let expected = {
        let (a, b): (Vec<f32>, Vec<f32>) = (0..count).map(|at| (off(at), value(at))).unzip();
        relative_difference(&a, &b)
    };
    for (ours, theirs) in [("NCHW", "NCHW"), ("NHWC", "NHWC"), ("NCHW", "NHWC"), ("NHWC", "NCHW")] {
        let [a, b, c] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        of_image(a.path(), ours, shape, off);
        of_image(b.path(), theirs, shape, value);
        of_image(c.path(), ours, shape, value);
        let [a, b, c] = [a, b, c].map(|folder| Trace::open(folder.path()).unwrap());
        let found = pair::compare(&a, &b, None).unwrap().rows[0].relative.unwrap();
        assert!((found / expected - 1.).abs() < 1e-12, "{ours} {theirs}: {found} {expected}");
        assert_eq!(pair::compare(&c, &b, None).unwrap().rows[0].relative, Some(0.));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_manifest_panics(at in 0usize..600, bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
        let trace = ByHand::new();
        let mut text = trace.manifest.to_string().into_bytes();
        let at = at.min(text.len());
        text.splice(at..(at + bytes.len()).min(text.len()), bytes);
        let _ = trace.open_text(&String::from_utf8_lossy(&text));
    }
}
