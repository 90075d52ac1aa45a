//! `open`: a recorded run from the command line, with traces too large for the memory.

use crate::support::program::{command, diffuscope};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

/// Writes a safetensors file of zeros that takes no room on the disk.
fn sparse(file: &Path, tensors: &[(&str, &[usize])]) {
    let mut end = 0;
    let mut entries = vec![];
    for (name, shape) in tensors {
        let begin = end;
        end += 4 * shape.iter().product::<usize>();
        entries.push(format!(
            "\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{begin},{end}]}}"
        ));
    }
    let mut header = format!("{{{}}}", entries.join(","));
    header += &" ".repeat((8 - header.len() % 8) % 8);
    let mut written = File::create(file).unwrap();
    written.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    written.write_all(header.as_bytes()).unwrap();
    written.set_len((8 + header.len() + end) as u64).unwrap();
}

/// A trace of 50 steps at 512×512 pixels whose VAE made a gigabyte.
fn large_trace(folder: &Path) {
    let latents: &[usize] = &[1, 4, 64, 64];
    let mut stages = vec![];
    let mut add = |name: &str, tensors: &[(String, &[usize])], calls: &str| {
        let named: Vec<_> = tensors.iter().map(|(key, shape)| (key.as_str(), *shape)).collect();
        sparse(&folder.join(format!("{name}.safetensors")), &named);
        stages.push(format!("{{\"name\":\"{name}\",\"file\":\"{name}.safetensors\",\"calls\":[{calls}]}}"));
    };
    add("get_latent", &[("get_latent/latents".into(), latents)], "");
    for step in 0..50 {
        let name = format!("denoise.{step:03}");
        let tensor = |tensor: &str| (format!("{name}/{tensor}"), latents);
        let tensors =
            ["uncond_residual", "text_cond_residual", "guided_noise_residual", "latents"].map(tensor);
        add(&name, &tensors, "");
    }
    let path = "vae.decoder.up_blocks.3.resnets.2";
    let whole: &[usize] = &[1, 256, 1024, 1024];
    let image: &[usize] = &[1, 3, 512, 512];
    let tensors = [("vae_decode/image".into(), image), (format!("vae_decode/{path}#0/out"), whole)];
    add("vae_decode", &tensors, &format!("{{\"path\":\"{path}\"}}"));
    let settings = "{\"num_inference_steps\":50,\"height\":512,\"width\":512,\"prompt\":\"a\"}";
    let scheduler = "{\"class\":\"DDIMScheduler\"}";
    let manifest = format!(
        "{{\"format\":\"diffuscope trace\",\"version\":1,\"complete\":true,\"settings\":{settings},\"scheduler\":{scheduler},\
         \"vae\":{{\"scaling_factor\":0.18215}},\"stages\":[{}]}}",
        stages.join(",")
    );
    fs::write(folder.join("trace.json"), manifest).unwrap();
}

/// The most memory that a process has had, in bytes.
#[cfg(target_os = "linux")]
fn most_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

#[test]
#[cfg(target_os = "linux")]
fn a_gigabyte_is_looked_at_in_300_megabytes() {
    let folder = tempfile::tempdir().unwrap();
    large_trace(folder.path());
    let path = folder.path().to_str().unwrap();
    let mut command = command(&["open", path, "--batch", "-x", "-", "--json"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut lines = BufReader::new(output).lines();
    for (line, expected) in [
        ("goto denoise 30", "\"position\":\"denoise 30\""),
        ("continue", "\"position\":\"complete\""),
        ("info modules", "\"shape\":[1,256,1024,1024]"),
        ("show features vae.decoder.up_blocks.3.resnets.2 norm", "averaged over 4×4"),
        ("step", "\"position\":\"complete\""),
    ] {
        if line == "step" {
            // From before the stage on: the call is too large to be played, and passed over.
            writeln!(input, "goto vae_decode").unwrap();
            lines.next().unwrap().unwrap();
            writeln!(input, "next").unwrap();
        } else {
            writeln!(input, "{line}").unwrap();
        }
        let answer = lines.next().unwrap().unwrap();
        assert!(answer.contains(expected), "{line}: {answer}");
    }
    let most = most_memory(child.id());
    drop(input);
    assert!(child.wait().unwrap().success());
    assert!(most < 300 << 20, "{} MiB", most >> 20);
}

#[test]
fn what_cannot_be_opened_is_refused_and_what_is_wrong_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let write = |name: &str, json: &str| {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("trace.json"), json).unwrap();
        at(name)
    };
    let begin = "{\"format\":\"diffuscope trace\",\"version\":1";
    let steps =
        write("steps", &format!("{begin},\"settings\":{{\"num_inference_steps\":0.5}},\"stages\":[]}}"));
    let eta = "\"scheduler\":{\"class\":\"DDIMScheduler\",\"config\":{\"beta_start\":\"low\"}}";
    let scheduler = write("scheduler", &format!("{begin},{eta},\"stages\":[]}}"));
    let ran = diffuscope(&["open", &at("none"), "--batch", "-x", "-"], "info tensors\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.lines().count() == 1 && ran.stderr.contains("expected a trace"), "{}", ran.stderr);
    // A wrong setting is no reason to show nothing.
    for (trace, parts) in
        [(steps, ["settings", "num_inference_steps"]), (scheduler, ["scheduler.config", "beta_start"])]
    {
        let ran = diffuscope(&["open", &trace, "--batch", "-x", "-"], "info tensors\n");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let warned = ran.stderr.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(warned && ran.stderr.lines().all(|line| !line.starts_with("error")), "{}", ran.stderr);
    }
    // A trace without stages has a start, and nothing after it.
    let empty = write("empty", &format!("{begin},\"stages\":[]}}"));
    let ran = diffuscope(&["open", &empty, "--batch", "-x", "-"], "info tensors\nnext\n");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("the trace ends before encode_prompt"), "{}", ran.stderr);
}
