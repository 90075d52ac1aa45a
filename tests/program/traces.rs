//! `run --record`, `diff`, `save trace`: exit codes, output, files.

use crate::support::program::{batch, diffuscope, said};
use serde_json::Value;

fn record(path: &str, more: &[&str]) {
    let args = ["run", "--steps", "2", "--width", "64", "--height", "64", "--record", path];
    let ran = diffuscope(&[&args[..], more].concat(), "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let (stages, calls) =
        (ran.stderr.contains("note: 5 stages and "), ran.stderr.contains("calls of modules"));
    assert!(
        stages && calls && ran.stderr.contains(path) && ran.stderr.lines().count() == 1,
        "{}",
        ran.stderr
    );
}

#[test]
fn a_recorded_run_is_compared_by_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (right, other) = (at("right.trace"), at("other.trace"));
    record(&right, &["--modules", "unet.*.attn2,vae.decoder", "--record-steps", "1"]);
    record(&other, &["--guidance-scale", "3"]);

    let same = diffuscope(&["diff", &right, "--json"], "");
    assert_eq!(same.code, Some(0), "{}", same.stdout);
    let last: Value = serde_json::from_str(same.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["first"], &last["modules"]), (&Value::Null, &Value::Array(vec![])));
    assert!(same.stdout.contains("nothing differs"), "{}", same.stdout);

    let differs = diffuscope(&["diff", &other, &right, "--json"], "");
    assert_eq!((differs.code, differs.stderr.as_str()), (Some(1), ""));
    assert!(differs.stdout.contains("guidance_scale is 3.0, and 7.5"), "{}", differs.stdout);
    let last: Value = serde_json::from_str(differs.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["first"]["path"], "guided_noise_residual");
    assert_eq!(last["first"]["kind"], "module");
    assert_eq!(diffuscope(&["diff", &other, &right, "--tolerance", "1e3"], "").code, Some(0));
}

#[test]
fn a_run_that_ended_early_differs_in_nothing_up_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.trace");
    let path = path.to_str().unwrap();
    record(path, &[]);
    let file = format!("{path}/trace.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    manifest["complete"] = false.into();
    manifest["stages"].as_array_mut().unwrap().pop();
    std::fs::write(file, manifest.to_string()).unwrap();
    let ran = diffuscope(&["diff", path, "--json"], "");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("note: ") && lines[0].contains("ends after denoise 1"), "{lines:?}");
    assert!(lines[1].contains("nothing differs up to denoise 1, where the record ends"), "{lines:?}");
    let last: Value = serde_json::from_str(lines[2]).unwrap();
    assert_eq!(last["until"], "denoise.001");
}

#[test]
fn what_cannot_be_compared_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    for (args, parts) in [
        (vec!["diff", "no.trace"], &["no.trace", "run --record"][..]),
        (vec!["diff", empty], &["trace.json"]),
        (vec!["diff", empty, "--tolerance", "nan"], &["tolerance is NaN"]),
        (vec!["diff", empty, "--tolerance=-1"], &["tolerance is -1"]),
    ] {
        let ran = diffuscope(&args, "");
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{args:?}: {}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "{args:?}: {}", ran.stderr);
        }
    }
    for args in [&["diff"][..], &["diff", "a", "b", "--model", "pocket"], &["run", "--modules", "all"]] {
        let ran = diffuscope(args, "");
        assert_eq!(ran.code, Some(2), "{args:?}");
        assert!(ran.stderr.contains("Usage"), "{args:?}: {}", ran.stderr);
    }
    std::fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    for (args, part) in [
        (&["run", "--record", empty][..], "other files"),
        (&["run", "--record", "x.trace", "--modules", "a b"], "a b"),
        (&["run", "--record", "x.trace", "--record-steps", "2-1"], "2-1"),
    ] {
        let ran = diffuscope(args, "");
        assert!(
            ran.code.is_some_and(|code| code > 0) && ran.stderr.contains(part),
            "{args:?}: {}",
            ran.stderr
        );
    }
    assert_eq!(std::fs::read_dir(empty).unwrap().count(), 1, "something was written");
}

#[test]
fn a_session_saves_a_trace_and_compares_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.trace");
    let commands = format!(
        "until denoise 1\nsave trace {0}\nset guidance_scale 2\nnext\ndiff {0} main\ndiff {0}\n",
        path.to_str().unwrap()
    );
    let outcomes = batch(&["--steps", "2", "--width", "64", "--height", "64"], &commands);
    assert!(said(&outcomes[1], 0).contains("3 stages saved to"), "{}", outcomes[1]);
    assert!(said(&outcomes[4], 0).contains("0 beyond"), "{}", outcomes[4]);
    let compared = said(&outcomes[5], 1);
    assert!(compared.contains("against pocket: nothing differs up to denoise 0"), "{}", outcomes[5]);
    assert!(outcomes[5]["value"]["first"].is_null(), "{}", outcomes[5]);
}
