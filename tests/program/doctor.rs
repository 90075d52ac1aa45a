//! `diffuscope doctor` by the real binary: what it finds, and what it never says.

use crate::support::program::{Ran, command, diffuscope, run};
use serde_json::Value;

#[test]
fn all_that_a_report_needs_is_told() {
    let Ran { code, stdout, stderr } = diffuscope(&["doctor"], "");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for words in [
        "Versions\n  diffuscope       0.",
        "\nDevices\n  built for",
        "--device auto",
        "--dtype auto",
        "\nProcessor\n  threads",
        "memory free",
        "\nTerminal\n  size             standard input or output is not a terminal",
        "\nHub\n  cache",
        "certificates",
        "\nFiles\n  settings",
    ] {
        assert!(stdout.contains(words), "`{words}` is not in:\n{stdout}");
    }
}

/// The same for programs; a token is known of, and not told.
#[test]
fn a_program_reads_it_and_no_secret_is_in_it() {
    let cache = tempfile::tempdir().unwrap();
    for args in [&["doctor"][..], &["doctor", "--json"]] {
        let mut asked = command(args);
        asked.env("HF_TOKEN", "hf_very_secret").env("HF_HUB_CACHE", cache.path());
        asked.env("HF_ENDPOINT", "https://me:hidden@hub.example").env("TERM_PROGRAM", "a\x1b[31mb");
        let Ran { code, stdout, .. } = run(asked, "");
        assert_eq!(code, Some(0));
        for secret in ["very_secret", "hidden", "\x1b"] {
            assert!(!stdout.contains(secret), "{stdout}");
        }
        if args.len() == 2 {
            let told: Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!(told["hub"]["token"], "HF_TOKEN");
            assert_eq!(told["hub"]["cache"], cache.path().to_str().unwrap());
            assert_eq!(told["hub"]["models"]["count"], 0);
            assert_eq!(told["terminal"]["size"], Value::Null);
            assert!(told["processor"]["threads"].as_u64().unwrap() > 0);
        }
    }
}

/// The driver is asked by its own tool, here one that plays it.
#[cfg(unix)]
#[test]
fn gpus_are_listed_as_the_driver_has_them() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let with_tool = |script: &str| {
        let tool = folder.path().join("nvidia-smi");
        std::fs::write(&tool, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut asked = command(&["doctor", "--json"]);
        asked.env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()));
        let ran = run(asked, "");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        serde_json::from_str::<Value>(&ran.stdout).unwrap()["devices"].clone()
    };
    let told = with_tool(
        "case \"$1\" in --query*) echo '0, NVIDIA A100, 40960, 40000, 550.54.15, 8.0';\
         echo '1, NVIDIA A100, 40960, 9, 550.54.15, 8.0';; *) echo '| CUDA Version: 12.4 |';; esac",
    );
    assert_eq!(told["NVIDIA_driver"], "550.54.15");
    assert_eq!(told["CUDA"], "12.4");
    assert_eq!(told["GPUs"][1]["device"], "cuda:1");
    assert_eq!(told["GPUs"][1]["free"], 9 << 20);
    let none = with_tool("echo 'NVIDIA-SMI has failed'; exit 9");
    assert_eq!(none["GPUs"], Value::Array(vec![]));
}
