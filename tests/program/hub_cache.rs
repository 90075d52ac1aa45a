//! The cache in the layouts of huggingface_hub 2.4: what is verified, repaired, removed and counted, and what never is. By the real
//! binary; the layouts are those that `tools/hub/check.py` saw (docs/hub.md).
#![cfg(unix)]

use crate::hub_layouts::{self as cache, Layout, MARKER, everything, fill, manifest, shared, shelf, spoil};
use crate::hub_server::{COMMIT, Hub, NAME, Reply, Request, TWIN, digest, files_of, is_large};
use crate::support::checkpoint::checkpoint;
use crate::support::program::{self, Ran};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use tempfile::TempDir;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const SMALL: &str = "tokenizer/tokenizer_config.json";

static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let mut files = files_of(checkpoint("odd").path());
    files.remove("weights.json");
    files
});

struct Setup {
    home: TempDir,
    hub: Hub,
}

/// A cache with these repositories, and a hub that has both.
fn setup(repositories: &[&str], layout: Layout) -> Setup {
    changed(repositories, layout, |_, reply| reply)
}

/// The same, of whose hub each answer goes through `change`.
fn changed(
    repositories: &[&str],
    layout: Layout,
    change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> Setup {
    let setup = Setup { home: tempfile::tempdir().unwrap(), hub: Hub::start(FILES.clone(), change) };
    fs::create_dir(setup.cache()).unwrap();
    repositories.iter().for_each(|repository| fill(&setup.cache(), repository, &FILES, layout));
    setup
}

impl Setup {
    fn cache(&self) -> PathBuf {
        self.home.path().join("hub")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program::command(args);
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy().to_lowercase();
            if ["hf_", "huggingface_", "transformers_"].iter().any(|start| shown.starts_with(start)) {
                command.env_remove(name);
            }
        }
        command.env("HF_ENDPOINT", self.hub.endpoint()).env("HF_HOME", self.home.path());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        program::run(self.command(args), "")
    }

    fn offline(&self, args: &[&str]) -> Ran {
        let mut command = self.command(args);
        command.env("HF_HUB_OFFLINE", "1");
        program::run(command, "")
    }

    fn listed(&self) -> Value {
        let ran = self.offline(&["model", "list", "--json"]);
        worked(&ran);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    fn file(&self, repository: &str, file: &str) -> PathBuf {
        shelf(&self.cache(), repository).join("snapshots").join(COMMIT).join(file)
    }

    fn blob(&self, repository: &str, file: &str) -> PathBuf {
        shelf(&self.cache(), repository).join("blobs").join(digest(file, &FILES[file]))
    }

    /// The repositories in the manifest of the file's content.
    fn references(&self, file: &str) -> String {
        fs::read_to_string(manifest(&self.cache(), &FILES[file])).unwrap()
    }

    /// The line that a repository has in that manifest.
    fn line(&self, repository: &str, file: &str) -> String {
        let blob = self.blob(repository, file);
        format!("{}\n", blob.strip_prefix(self.cache()).unwrap().display())
    }

    #[track_caller]
    fn is_right(&self, repository: &str) {
        let ran = self.offline(&["model", "verify", repository]);
        worked(&ran);
        assert_eq!(ran.stdout.lines().count(), FILES.len(), "{}", ran.stdout);
        assert!(ran.stdout.lines().all(|line| line.starts_with("right ")), "{}", ran.stdout);
    }
}

#[track_caller]
fn worked(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

/// It failed; the last line says all of `said`.
#[track_caller]
fn refused(ran: &Ran, said: &[&str]) {
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let last = ran.stderr.lines().last().unwrap();
    assert!(last.starts_with("error: "), "{}", ran.stderr);
    said.iter().for_each(|words| assert!(last.contains(words), "`{words}` is not in: {last}"));
}

fn size(is_counted: impl Fn(&str) -> bool) -> u64 {
    FILES.iter().filter(|(file, _)| is_counted(file)).map(|(_, content)| content.len() as u64).sum()
}

fn is_plain(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

// Files that repositories share.

#[test]
fn shared_files_run_and_are_right_and_a_repair_leaves_them() {
    let setup = setup(&[NAME, TWIN], Layout::Shared);
    let before = everything(&setup.cache());
    let picture = setup.home.path().join("a.png");
    worked(&setup.offline(&["run", "--model", NAME, "--steps", "1", "-o", picture.to_str().unwrap()]));
    setup.is_right(NAME);
    for ran in [setup.offline(&["model", "verify", NAME, "--repair"]), setup.run(&["model", "pull", NAME])] {
        worked(&ran);
    }
    assert!(everything(&setup.cache()) == before);
    assert_eq!(FILES.keys().map(|file| setup.hub.gets(file)).sum::<usize>(), 0);
}

#[test]
fn a_bad_shared_file_is_repaired_in_one_repository_and_then_in_the_other() {
    let setup = setup(&[NAME, TWIN], Layout::Shared);
    let store = shared(&setup.cache(), &FILES[UNET]);
    spoil(&store);
    let before = everything(&setup.cache());
    let ran = setup.offline(&["model", "verify", NAME]);
    refused(&ran, &["you/mini: 1 file is wrong or gone", "--repair"]);
    assert!(ran.stdout.contains(&format!("wrong    {UNET}: its hash is ")), "{}", ran.stdout);
    refused(
        &setup.offline(&["model", "verify", NAME, "--repair"]),
        &["HF_HUB_OFFLINE", "nothing was changed"],
    );
    assert!(everything(&setup.cache()) == before);

    let ran = setup.run(&["model", "verify", NAME, "--repair"]);
    worked(&ran);
    assert!(ran.stderr.contains("you/twin has the same bad file"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`diffuscope model verify you/twin --repair`"), "{}", ran.stderr);
    assert!(is_plain(&setup.blob(NAME, UNET)) && store.exists());
    assert_eq!(setup.references(UNET), setup.line(TWIN, UNET));
    setup.is_right(NAME);
    refused(&setup.offline(&["model", "verify", TWIN]), &["you/twin: 1 file"]);

    // The last to let go of it takes the bad bytes along.
    let ran = setup.run(&["model", "verify", TWIN, "--repair"]);
    worked(&ran);
    assert!(ran.stdout.contains("of the shared store freed"), "{}", ran.stdout);
    assert!(!store.exists() && !manifest(&setup.cache(), &FILES[UNET]).exists());
    setup.is_right(NAME);
    setup.is_right(TWIN);
}

#[test]
fn a_repair_that_cannot_be_made_changes_nothing() {
    let setup = changed(&[NAME, TWIN], Layout::Shared, |request, reply| {
        if request.gets(UNET) { Reply { body: vec![1; reply.body.len()], ..reply } } else { reply }
    });
    spoil(&shared(&setup.cache(), &FILES[UNET]));
    let before = everything(&setup.cache());
    refused(&setup.run(&["model", "verify", NAME, "--repair"]), &[UNET, "has the hash"]);
    let mut after = everything(&setup.cache());
    after.retain(|path, _| !path.starts_with(setup.cache().join(".locks")));
    assert!(after == before);
}

#[test]
fn what_became_right_during_a_repair_is_left() {
    let blob = LazyLock::new(|| std::sync::Mutex::new(PathBuf::new()));
    let blob: &'static _ = Box::leak(Box::new(blob));
    let setup = changed(&[NAME], Layout::Links, |request, reply| {
        if request.gets(UNET) {
            // Another program repairs it meanwhile.
            fs::write(&*blob.lock().unwrap(), &FILES[UNET]).unwrap();
        }
        reply
    });
    spoil(&setup.blob(NAME, UNET));
    *blob.lock().unwrap() = setup.blob(NAME, UNET);
    let inode = fs::metadata(setup.blob(NAME, UNET)).unwrap().ino();
    worked(&setup.run(&["model", "verify", NAME, "--repair"]));
    assert_eq!(fs::metadata(setup.blob(NAME, UNET)).unwrap().ino(), inode);
    setup.is_right(NAME);
}

#[test]
fn either_of_two_repositories_can_be_removed() {
    for (first, second) in [(NAME, TWIN), (TWIN, NAME)] {
        let setup = setup(&[NAME, TWIN], Layout::Shared);
        let small = size(|file| !is_large(file));
        for model in setup.listed()["models"].as_array().unwrap() {
            assert_eq!(model["bytes"], size(|_| true));
            assert_eq!(model["removable"], small);
        }
        // Each shared file once.
        assert_eq!(setup.listed()["bytes"], size(|_| true) + small);
        let doctor = setup.offline(&["doctor", "--json"]);
        assert!(doctor.stdout.contains(&format!("{}", size(|_| true) + small)), "{}", doctor.stdout);

        let ran = setup.offline(&["model", "remove", first, "--yes"]);
        worked(&ran);
        assert!(ran.stderr.contains(&format!("used by {second} too")), "{}", ran.stderr);
        let freed = |bytes: u64| format!("{:.1} kB freed", bytes as f64 / 1000.);
        assert!(ran.stdout.contains(&freed(small)) || ran.stdout.contains("MB freed"), "{}", ran.stdout);
        assert_eq!(setup.references(UNET), setup.line(second, UNET));
        setup.is_right(second);

        let listed = setup.listed();
        assert_eq!(listed["models"][0]["removable"], size(|_| true));
        worked(&setup.offline(&["model", "remove", second, "--yes"]));
        let left: Vec<_> = everything(&setup.cache().join("blobs")).into_keys().collect();
        let left: Vec<_> =
            left.iter().filter(|path| path.extension().is_none_or(|end| end != "lock")).collect();
        assert_eq!(left, [&setup.cache().join(MARKER)]);
    }
}

/// What is said of a store whose metadata cannot be trusted.
#[test]
fn without_a_marker_or_a_manifest_the_shared_file_stays() {
    let content = &FILES[UNET];
    type Spoil = fn(&Path, &[u8]);
    let cases: [(&str, Spoil); 6] = [
        ("the marker .huggingface-shared-blobs is missing", |cache, _| {
            fs::remove_file(cache.join(MARKER)).unwrap()
        }),
        ("the marker .huggingface-shared-blobs says \"2\\n\"", |cache, _| {
            fs::write(cache.join(MARKER), "2\n").unwrap()
        }),
        ("its manifest (.refs) is missing", |cache, content| {
            fs::remove_file(manifest(cache, content)).unwrap()
        }),
        ("its manifest (.refs) cannot be read", |cache, content| {
            fs::write(manifest(cache, content), [0xff, b'\n']).unwrap();
        }),
        ("its manifest (.refs) is no regular file", |cache, content| {
            let manifest = manifest(cache, content);
            fs::remove_file(&manifest).unwrap();
            symlink("elsewhere", manifest).unwrap();
        }),
        ("its lock cannot be taken", |cache, content| {
            let lock = shared(cache, content).with_extension("lock");
            fs::remove_file(&lock).unwrap();
            symlink("elsewhere", lock).unwrap();
        }),
    ];
    for (why, change) in cases {
        let setup = setup(&[NAME], Layout::Shared);
        let store = shared(&setup.cache(), content);
        change(&setup.cache(), content);
        let ran = setup.offline(&["model", "remove", NAME, "--yes"]);
        worked(&ran);
        assert!(store.exists(), "{why}");
        assert!(
            ran.stderr.contains(store.to_str().unwrap()) && ran.stderr.contains(why),
            "{why}: {}",
            ran.stderr
        );

        let setup = self::setup(&[NAME], Layout::Shared);
        let store = shared(&setup.cache(), content);
        spoil(&store);
        change(&setup.cache(), content);
        let ran = setup.run(&["model", "verify", NAME, "--repair"]);
        worked(&ran);
        assert!(store.exists() && is_plain(&setup.blob(NAME, UNET)), "{why}");
        assert!(ran.stderr.contains("was left: ") && ran.stderr.contains(why), "{why}: {}", ran.stderr);
        setup.is_right(NAME);
    }
}

#[test]
fn a_link_that_the_manifest_does_not_name_keeps_its_file() {
    let setup = setup(&[NAME, TWIN], Layout::Shared);
    fs::write(manifest(&setup.cache(), &FILES[UNET]), setup.line(NAME, UNET)).unwrap();
    worked(&setup.offline(&["model", "remove", NAME, "--yes"]));
    assert_eq!(setup.references(UNET), setup.line(TWIN, UNET));
    setup.is_right(TWIN);
}

#[test]
fn a_manifest_that_leads_elsewhere_counts_for_nothing() {
    let setup = setup(&[NAME], Layout::Shared);
    let lines =
        format!("/etc/passwd\n../../x\nmodels--a--b/blobs/c\nmodels--a--b\n\n{}", setup.line(NAME, UNET));
    fs::write(manifest(&setup.cache(), &FILES[UNET]), lines).unwrap();
    worked(&setup.offline(&["model", "remove", NAME, "--yes"]));
    assert!(!shared(&setup.cache(), &FILES[UNET]).exists());
}

#[test]
fn a_removal_waits_for_the_lock_of_the_store() {
    let setup = setup(&[NAME], Layout::Shared);
    let store = shared(&setup.cache(), &FILES[UNET]);
    let held = fs::File::options().write(true).open(store.with_extension("lock")).unwrap();
    held.lock().unwrap();
    std::thread::scope(|scope| {
        let removal = scope.spawn(|| setup.offline(&["model", "remove", NAME, "--yes"]));
        while shelf(&setup.cache(), NAME).exists() {
            std::thread::yield_now();
        }
        // Python adds a reference before it lets go of the lock.
        fill(&setup.cache(), TWIN, &FILES, Layout::Shared);
        held.unlock().unwrap();
        worked(&removal.join().unwrap());
    });
    assert_eq!(setup.references(UNET), setup.line(TWIN, UNET));
}

#[test]
fn what_an_earlier_removal_left_in_the_store_is_listed() {
    let setup = setup(&[NAME], Layout::Shared);
    fs::remove_dir_all(shelf(&setup.cache(), NAME)).unwrap();
    assert_eq!(setup.listed()["unreferenced"], size(is_large));
    let ran = setup.offline(&["model", "list"]);
    assert!(ran.stdout.contains("used by no repository: `hf cache prune`"), "{}", ran.stdout);
}

// Caches without links.

#[test]
fn a_cache_without_links_is_counted_and_removed() {
    let setup = setup(&[NAME], Layout::Plain);
    let model = &setup.listed()["models"][0];
    assert_eq!((&model["bytes"], &model["removable"]), (&size(|_| true).into(), &size(|_| true).into()));
    let ran = setup.offline(&["model", "remove", NAME, "--yes"]);
    worked(&ran);
    assert!(!ran.stdout.contains(" 0 B freed"), "{}", ran.stdout);
    assert!(!shelf(&setup.cache(), NAME).exists());
}

#[test]
fn a_file_without_a_hash_for_a_name_is_compared_with_the_listing() {
    let setup = setup(&[NAME], Layout::Plain);
    let ran = setup.offline(&["model", "verify", NAME]);
    refused(&ran, &["could not be compared with a hash", "`diffuscope model verify you/mini`"]);
    assert!(ran.stdout.lines().all(|line| line.starts_with("unknown ") && !line.contains("HF_HUB")));
    assert_eq!(ran.stderr.matches("HF_HUB_OFFLINE").count(), 1, "{}", ran.stderr);
    let nobody = |args: &[&str]| {
        let mut command = setup.command(args);
        command.env("HF_ENDPOINT", "http://127.0.0.1:9");
        program::run(command, "")
    };
    let ran = nobody(&["model", "verify", NAME]);
    refused(&ran, &["could not be compared with a hash"]);
    assert_eq!(ran.stderr.matches("cannot be reached").count(), 1, "{}", ran.stderr);

    worked(&setup.run(&["model", "verify", NAME]));
    assert_eq!(setup.hub.seen().len(), 1);
    spoil(&setup.file(NAME, UNET));
    let own = setup.file(NAME, "unet/mine.json");
    fs::write(&own, "{}").unwrap();
    let ran = setup.run(&["model", "verify", NAME, "--repair"]);
    refused(&ran, &["1 file could not be compared"]);
    for said in [
        "wrong    unet/diffusion",
        "unknown  unet/mine.json: the hub lists no such file",
        "repaired unet/diffusion",
    ] {
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
    }
    assert!(own.exists() && is_plain(&setup.file(NAME, UNET)));
    fs::remove_file(own).unwrap();
    worked(&setup.run(&["model", "verify", NAME]));
}

#[test]
fn a_cache_without_links_is_not_fetched_again() {
    let setup = setup(&[NAME], Layout::Plain);
    let before = everything(&setup.cache());
    worked(&setup.run(&["model", "pull", NAME]));
    worked(&setup.offline(&["run", "--model", NAME, "--steps", "1"]));
    assert!(everything(&setup.cache()) == before);
    assert_eq!(FILES.keys().map(|file| setup.hub.gets(file)).sum::<usize>(), 0);
}

#[test]
fn a_pull_makes_a_cache_without_links_where_there_are_to_be_none() {
    let setup = setup(&[], Layout::Plain);
    for _ in 0..2 {
        let mut command = setup.command(&["model", "pull", NAME]);
        command.env("HF_HUB_DISABLE_SYMLINKS", "1");
        worked(&program::run(command, ""));
        assert!(FILES.keys().all(|file| is_plain(&setup.file(NAME, file)) && setup.hub.gets(file) == 1));
    }
    assert_eq!(setup.listed()["models"][0]["bytes"], size(|_| true));
    worked(&setup.run(&["model", "verify", NAME]));
}

// Links that lead to nothing.

#[test]
fn a_link_to_nothing_is_named_and_repaired() {
    for (layout, file) in [
        (Layout::Links, UNET),
        (Layout::Shared, UNET),
        (Layout::Links, SMALL),
        (Layout::Links, "model_index.json"),
    ] {
        let setup = setup(&[NAME], layout);
        let gone = setup.file(NAME, file).canonicalize().unwrap();
        fs::remove_file(&gone).unwrap();
        let gone = gone.file_name().unwrap().to_str().unwrap();
        let said = [
            &format!("you/mini: {file} is a link to "),
            gone,
            "where there is no file",
            "unset HF_HUB_OFFLINE",
        ];
        refused(&setup.offline(&["run", "--model", NAME]), &said);
        refused(&setup.offline(&["model", "info", NAME]), &said);
        let ran = setup.offline(&["model", "list"]);
        assert!(ran.stdout.contains(&format!("{file} is a link to ")), "{}", ran.stdout);
        let ran = setup.offline(&["model", "verify", NAME]);
        refused(&ran, &["1 file is wrong or gone"]);
        assert!(ran.stdout.contains(&format!("gone     {file}: a link to ")), "{}", ran.stdout);
        let before = everything(&setup.cache());
        refused(&setup.offline(&["model", "verify", NAME, "--repair"]), &["nothing was changed"]);
        assert!(everything(&setup.cache()) == before);
        worked(&setup.run(&["model", "verify", NAME, "--repair"]));
        assert!(is_plain(&setup.blob(NAME, file)));
        setup.is_right(NAME);
    }
}

#[test]
fn a_folder_or_a_circle_in_the_place_of_a_blob_is_no_file() {
    for is_circle in [false, true] {
        let setup = setup(&[NAME], Layout::Links);
        let blob = setup.blob(NAME, SMALL);
        fs::remove_file(&blob).unwrap();
        if is_circle {
            symlink(&blob, &blob).unwrap()
        } else {
            fs::create_dir(&blob).unwrap()
        }
        refused(&setup.offline(&["run", "--model", NAME]), &[SMALL, "where there is no file"]);
        let ran = setup.offline(&["model", "verify", NAME]);
        refused(&ran, &["1 file is wrong or gone"]);
        assert!(ran.stdout.contains(&format!("gone     {SMALL}: ")), "{}", ran.stdout);
    }
}

#[test]
fn a_run_says_what_it_fetches_again() {
    let setup = setup(&[NAME], Layout::Shared);
    fs::remove_file(shared(&setup.cache(), &FILES[UNET])).unwrap();
    let ran = setup.run(&["run", "--model", NAME, "--steps", "1"]);
    worked(&ran);
    assert!(ran.stderr.contains(&format!("warning: you/mini: {UNET} is a link to ")), "{}", ran.stderr);
    assert_eq!(setup.hub.gets(UNET), 1);
    setup.is_right(NAME);
}

#[test]
fn a_link_to_nothing_in_a_folder_is_no_absent_file() {
    let model = checkpoint("odd");
    for file in [SMALL, UNET] {
        let path = model.path().join(file);
        let content = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        symlink("../gone/for/good", &path).unwrap();
        let ran =
            program::diffuscope(&["run", "--model", model.path().to_str().unwrap(), "--steps", "1"], "");
        refused(&ran, &[file, "a link to ", "gone/for/good, where there is no file"]);
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
    }
}

#[test]
fn what_is_elsewhere_stays() {
    // People move a blob to another disk, and leave a link.
    let setup = setup(&[NAME], Layout::Links);
    let moved = setup.home.path().join("other-disk");
    fs::rename(setup.blob(NAME, UNET), &moved).unwrap();
    symlink(&moved, setup.blob(NAME, UNET)).unwrap();
    setup.is_right(NAME);
    assert_eq!(setup.listed()["models"][0]["removable"], size(|file| file != UNET));
    let ran = setup.offline(&["model", "remove", NAME, "--yes"]);
    worked(&ran);
    assert!(moved.exists() && ran.stderr.contains("other-disk was left"), "{}", ran.stderr);

    // Or the whole folder.
    let setup = self::setup(&[NAME], Layout::Links);
    let (folder, moved) = (shelf(&setup.cache(), NAME), setup.home.path().join("other-disk"));
    fs::rename(&folder, &moved).unwrap();
    symlink(&moved, &folder).unwrap();
    setup.is_right(NAME);
    let ran = setup.offline(&["model", "remove", NAME, "--yes"]);
    worked(&ran);
    assert!(
        ran.stdout.contains(" 0 B freed") && ran.stderr.contains("other-disk was left"),
        "{}",
        ran.stderr
    );
    assert!(moved.join("refs/main").exists());
}

/// A bad file of a disk elsewhere is not written to: its link is replaced.
#[test]
fn a_repair_replaces_a_link_and_not_what_it_leads_to() {
    let setup = setup(&[NAME], Layout::Links);
    let moved = setup.home.path().join("other-disk");
    fs::rename(setup.blob(NAME, UNET), &moved).unwrap();
    symlink(&moved, setup.blob(NAME, UNET)).unwrap();
    spoil(&moved);
    let before = fs::read(&moved).unwrap();
    worked(&setup.run(&["model", "verify", NAME, "--repair"]));
    assert!(is_plain(&setup.blob(NAME, UNET)) && fs::read(&moved).unwrap() == before);
    setup.is_right(NAME);
}

#[test]
fn two_files_with_one_content_are_counted_and_fetched_once() {
    const TWICE: &str = "unet/diffusion_pytorch_model.non_ema.safetensors";
    let mut files = FILES.clone();
    files.insert(TWICE.into(), FILES[UNET].clone());
    let setup =
        Setup { home: tempfile::tempdir().unwrap(), hub: Hub::start(files.clone(), |_, reply| reply) };
    fill(&setup.cache(), NAME, &files, Layout::Links);
    assert_eq!(setup.listed()["models"][0]["bytes"], size(|_| true));
    spoil(&setup.blob(NAME, UNET));
    let ran = setup.run(&["model", "verify", NAME, "--repair"]);
    worked(&ran);
    assert_eq!(ran.stdout.matches("repaired ").count(), 2, "{}", ran.stdout);
    assert_eq!(setup.hub.gets(UNET) + setup.hub.gets(TWICE), 1);
    worked(&setup.offline(&["model", "verify", NAME]));
}

#[test]
fn a_part_of_a_model_is_not_right() {
    let setup = setup(&[NAME], Layout::Links);
    fs::remove_file(setup.file(NAME, "vae/config.json")).unwrap();
    let ran = setup.offline(&["model", "verify", NAME]);
    refused(&ran, &["only a part of it is in"]);
    assert!(ran.stdout.contains(&format!("right    {UNET}")), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("missing  vae/config.json\n"), "{}", ran.stdout);
    fs::remove_file(setup.file(NAME, UNET)).unwrap();
    let ran = setup.offline(&["model", "verify", NAME]);
    assert!(ran.stdout.ends_with(&format!("missing  vae/config.json\nmissing  {UNET}\n")), "{}", ran.stdout);
}

#[test]
fn the_layouts_are_what_they_say() {
    let setup = setup(&[NAME], Layout::Shared);
    let blob = fs::read_link(setup.file(NAME, UNET)).unwrap();
    assert!(blob.starts_with("../../../blobs"), "{}", blob.display());
    let (link, hash) =
        (fs::read_link(setup.blob(NAME, UNET)).unwrap(), crate::hub_server::xet_hash(&FILES[UNET]));
    assert_eq!(link, Path::new("../../blobs").join(&hash[..2]).join(&hash));
    assert!(cache::shared(&setup.cache(), &FILES[UNET]).exists());
}

/// A snapshot of `TWIN` that links straight to the store keeps the file, in a removal and in a repair.
#[test]
fn a_snapshot_link_into_the_store_keeps_its_file() {
    for is_repair in [false, true] {
        let setup = setup(&[NAME], Layout::Shared);
        let store = shared(&setup.cache(), &FILES[UNET]);
        fill(&setup.cache(), TWIN, &FILES, Layout::Plain);
        let link = setup.file(TWIN, UNET);
        fs::remove_file(&link).unwrap();
        symlink(&store, &link).unwrap();
        let ran = if is_repair {
            spoil(&store);
            setup.run(&["model", "verify", NAME, "--repair"])
        } else {
            setup.offline(&["model", "remove", NAME, "--yes"])
        };
        worked(&ran);
        assert!(store.exists() && ran.stderr.contains("you/twin"), "{}", ran.stderr);
    }
}

#[test]
fn a_folder_that_cannot_be_read_is_named() {
    let of_model = |file: &str| format!("hub/models--you--mini{file}");
    for folder in ["hub".to_string(), of_model(""), of_model("/blobs"), of_model("/snapshots")] {
        let setup = setup(&[NAME], Layout::Links);
        let path = setup.home.path().join(folder);
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, "").unwrap();
        let said = [path.to_str().unwrap(), "Not a directory"];
        for args in [["verify", NAME].as_slice(), &["remove", NAME, "--yes"], &["info", NAME]] {
            refused(&setup.offline(&[&["model"], args].concat()), &said);
        }
        refused(&setup.run(&["run", "--model", NAME]), &said);
        let ran = setup.offline(&["model", "list"]);
        assert!(said.iter().all(|words| ran.stderr.contains(words)), "{}", ran.stderr);
    }
}

/// A folder that this user may not read, in a snapshot. Root may read any, so the program then runs as another user.
#[test]
fn a_folder_of_a_snapshot_that_cannot_be_read_is_named() {
    let setup = setup(&[NAME], Layout::Links);
    let folder = setup.file(NAME, "unet");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(setup.home.path(), 0o755);
    mode(&folder, 0o000);
    let is_root = fs::read_dir(&folder).is_ok();
    let offline = |args: &[&str]| {
        let command = setup.command(args);
        let mut other = Command::new(if is_root { "setpriv" } else { "env" });
        if is_root {
            other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        other.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => other.env(name, value),
                None => other.env_remove(name),
            };
        }
        other.env("HF_HUB_OFFLINE", "1");
        program::run(other, "")
    };
    let said = [folder.to_str().unwrap(), "Permission denied"];
    for args in [["verify", NAME].as_slice(), &["remove", NAME, "--yes"], &["info", NAME]] {
        refused(&offline(&[&["model"], args].concat()), &said);
    }
    refused(&offline(&["run", "--model", NAME]), &said);
    let ran = offline(&["model", "list"]);
    assert!(said.iter().all(|words| ran.stderr.contains(words)), "{}", ran.stderr);
    mode(&folder, 0o755);
    setup.is_right(NAME);
}

/// Of two unused files one has no manifest: Python removes the other.
#[test]
fn what_python_would_remove_is_said_where_it_helps() {
    let setup = setup(&[NAME], Layout::Shared);
    fs::remove_dir_all(shelf(&setup.cache(), NAME)).unwrap();
    fs::remove_file(manifest(&setup.cache(), &FILES[UNET])).unwrap();
    let ran = setup.offline(&["model", "list"]);
    for said in ["`hf cache prune` removes ", ", and leaves these files", "its manifest (.refs) is missing"] {
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
    }
    fill(&setup.cache(), TWIN, &FILES, Layout::Plain);
    let ran = setup.offline(&["model", "remove", TWIN, "--yes"]);
    worked(&ran);
    assert!(
        ran.stderr.contains("are used by no repository: `hf cache prune` removes them"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_marker_with_another_line_end_is_right() {
    for marker in ["1\r\n", "1\r"] {
        let setup = setup(&[NAME], Layout::Shared);
        fs::write(setup.cache().join(MARKER), marker).unwrap();
        worked(&setup.offline(&["model", "remove", NAME, "--yes"]));
        assert!(!shared(&setup.cache(), &FILES[UNET]).exists());
    }
}

#[test]
fn unused_shared_files_without_a_manifest_or_a_marker_are_listed() {
    for path in [manifest(Path::new(""), &FILES[UNET]), PathBuf::from(MARKER)] {
        let setup = setup(&[NAME], Layout::Shared);
        fs::remove_dir_all(shelf(&setup.cache(), NAME)).unwrap();
        fs::remove_file(setup.cache().join(path)).unwrap();
        let listed = setup.listed();
        assert_eq!(
            (&listed["unreferenced"], &listed["bytes"]),
            (&size(is_large).into(), &size(is_large).into())
        );
        let ran = setup.offline(&["model", "list"]);
        let store = shared(&setup.cache(), &FILES[UNET]);
        for said in ["by hand", store.to_str().unwrap(), "is missing"] {
            assert!(ran.stdout.contains(said), "{}", ran.stdout);
        }
    }
}

#[test]
fn a_revision_that_names_no_commit_is_no_part() {
    for text in [None, Some(""), Some("0123456789012345678901234567890123456789")] {
        let setup = setup(&[NAME], Layout::Links);
        let main = shelf(&setup.cache(), NAME).join("refs/main");
        match text {
            None => fs::remove_file(main).unwrap(),
            Some(text) => fs::write(main, text).unwrap(),
        }
        let there = format!("{NAME}@{COMMIT} is there");
        for args in [["model", "verify", NAME], ["run", "--model", NAME]] {
            refused(&setup.offline(&args), &["`main` names no commit", &there]);
        }
    }
}

#[test]
fn a_repair_fetches_a_missing_file() {
    for layout in [Layout::Links, Layout::Plain] {
        let setup = setup(&[NAME], layout);
        fs::remove_file(setup.file(NAME, "unet/config.json")).unwrap();
        let ran = setup.run(&["model", "verify", NAME, "--repair"]);
        worked(&ran);
        assert!(ran.stdout.contains("repaired unet/config.json"), "{}", ran.stdout);
        worked(&setup.run(&["model", "verify", NAME]));
    }
}

#[test]
fn a_link_to_nothing_is_said_once_offline() {
    let setup = setup(&[NAME], Layout::Links);
    fs::remove_file(setup.blob(NAME, UNET)).unwrap();
    let ran = setup.offline(&["run", "--model", NAME]);
    assert_eq!(ran.stderr.matches("is a link to").count(), 1, "{}", ran.stderr);
}
