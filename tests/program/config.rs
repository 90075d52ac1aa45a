//! `config`, `completions`, `man`, and how the program ends.

use crate::support::program::{Ran, batch, command, diffuscope, run};
use std::fs;
use std::path::Path;
use std::process::Stdio;

fn config(home: &Path, args: &[&str]) -> Ran {
    let mut command = command(&[&["config"], args].concat());
    command.env("XDG_CONFIG_HOME", home).env_remove("VISUAL").env_remove("EDITOR");
    run(command, "")
}

#[test]
fn a_settings_file_is_made_and_changed_and_the_old_one_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("diffuscope/config.toml");
    let ran = config(home.path(), &["init"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let ran = config(home.path(), &["init"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("there is one already"), "{}", ran.stderr);
    for (key, value) in [("theme", "dark"), ("mouse", "false"), ("keys.ctrl-n", "next 5")] {
        let ran = config(home.path(), &["set", key, value]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    }
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("# auto, dark, light") && text.contains("theme = \"dark\""),
        "comments stay: {text}"
    );
    let shown = config(home.path(), &["show"]).stdout;
    assert!(shown.contains("theme = \"dark\"") && shown.contains("ctrl-n = \"next 5\""), "{shown}");
    assert!(
        !fs::read_to_string(home.path().join("diffuscope/config.toml.bak")).unwrap().contains("\nctrl-n")
    );
    for (key, value, said) in [
        ("theme", "darkish", "darkish"),
        ("colour", "16", "colour"),
        ("keys.ctrl-n", "nonsense", "nonsense"),
        ("keys.", "next", "keys."),
    ] {
        let ran = config(home.path(), &["set", key, value]);
        assert!(ran.code == Some(1) && ran.stderr.contains(said), "{key}: {}", ran.stderr);
        assert_eq!(fs::read_to_string(&file).unwrap(), text, "{key}: nothing is changed");
    }
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 2, "nothing is left behind");
}

/// The shell empties the file before the program starts.
#[test]
#[cfg(unix)]
fn settings_are_not_printed_into_themselves() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("diffuscope/config.toml");
    assert_eq!(config(home.path(), &["set", "theme", "dark"]).code, Some(0));
    assert_eq!(config(home.path(), &["set", "theme", "light"]).code, Some(0));
    let mut command = command(&["config", "show"]);
    command
        .env("XDG_CONFIG_HOME", home.path())
        .stdout(fs::File::create(&file).unwrap())
        .stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("the settings file itself") && said.contains("config.toml.bak"), "{said}");
    assert!(fs::read_to_string(file.with_extension("toml.bak")).unwrap().contains("theme = \"dark\""));
}

#[test]
#[cfg(unix)]
fn an_editor_changes_a_copy() {
    let home = tempfile::tempdir().unwrap();
    let ran = config(home.path(), &["edit"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("neither VISUAL nor EDITOR"), "{}", ran.stderr);
    let edited = |script: &str| {
        let file = home.path().join("editor");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        let editor = format!("sh {}", file.display());
        let mut command = command(&["config", "edit"]);
        command.env("XDG_CONFIG_HOME", home.path()).env("VISUAL", editor);
        run(command, "")
    };
    let ran = edited("sed -i 's/^theme.*/theme = \"light\"/' \"$1\"");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let theme = || config(home.path(), &["show"]).stdout.lines().next().map(String::from);
    assert_eq!(theme().unwrap(), "theme = \"light\"");
    for script in ["echo 'theme = 3' > \"$1\"", "exit 4"] {
        let ran = edited(script);
        assert!(ran.code == Some(1) && ran.stderr.contains("is unchanged"), "{}", ran.stderr);
        assert_eq!(theme().unwrap(), "theme = \"light\"");
    }
}

#[test]
fn every_shell_has_completions_and_every_subcommand_a_page() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = diffuscope(&["completions", shell], "");
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        assert!(ran.stdout.contains("prompt-syntax"), "{shell}");
    }
    let page = diffuscope(&["man"], "").stdout;
    assert!(page.contains(".TH diffuscope 1") && page.contains("guidance"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let ran = diffuscope(&["man", "--output-dir", folder.path().to_str().unwrap()], "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for page in ["diffuscope.1", "diffuscope-run.1", "diffuscope-model-info.1"] {
        assert!(folder.path().join(page).exists(), "{page}");
    }
    let ran = diffuscope(&["man", "--output-dir", "/nonexistent"], "");
    assert!(ran.code == Some(1) && ran.stderr.contains("/nonexistent: not a folder"), "{}", ran.stderr);
}

/// A run whose numbers are not finite writes its picture, says where they began, and ends with 3.
#[test]
fn a_run_that_is_not_finite_ends_with_3() {
    // A LoRA whose numbers overflow.
    let mut file = crate::support::single::Single::empty();
    const MODULE: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0";
    file.put(&format!("{MODULE}.lora_down.weight"), &[1, 160], 1e30);
    file.put(&format!("{MODULE}.lora_up.weight"), &[160, 1], 1e30);
    let lora = file.write();
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    let args = ["run", "--steps", "3", "--width", "64", "--height", "64", "--lora", lora.to_str().unwrap()];
    let ran = diffuscope(&[&args[..], &["-o", picture.to_str().unwrap()]].concat(), "");
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(picture.exists());
    assert!(ran.stderr.contains("values that are NaN or infinite, the first of this run"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the first were in uncond_residual after denoise 0"), "{}", ran.stderr);
    // The same in the debugger, with a fault.
    let lines = batch(
        &["--steps", "2", "--width", "64", "--height", "64"],
        "set fault nan_in latents\nnext 2\nset fault off\ncontinue",
    );
    let warned = |at: usize| lines[at]["warnings"].to_string();
    assert!(warned(1).contains("latents has 1 of 256 values"), "{}", warned(1));
    assert!(warned(3).contains("the first were in latents after get_latent"), "{}", warned(3));
}
