//! `diffuscope compare`: contact sheets, animations, figures, as a user makes them.

use crate::support::program::{self, diffuscope};
use image::RgbImage;
use serde_json::Value;
use std::path::Path;

/// Small and quick.
const FLAGS: [&str; 6] = ["--steps", "4", "--width", "64", "--height", "64"];

fn compare(axes: &[&str], more: &[&str]) -> program::Ran {
    let ran = diffuscope(&[&["compare"], axes, &FLAGS[..], more].concat(), "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran
}

fn picture(file: &Path) -> RgbImage {
    image::open(file).unwrap().into_rgb8()
}

/// Whether `tile` is somewhere on `sheet`, every byte within the rounding of a batch.
fn holds(sheet: &RgbImage, tile: &RgbImage) -> bool {
    let (w, h) = tile.dimensions();
    let near = |a: &image::Rgb<u8>, b: &image::Rgb<u8>| a.0.iter().zip(b.0).all(|(a, b)| a.abs_diff(b) <= 1);
    let is_at =
        |x: u32, y: u32| tile.enumerate_pixels().all(|(dx, dy, p)| near(p, sheet.get_pixel(x + dx, y + dy)));
    (0..=sheet.height() - h).any(|y| (0..=sheet.width() - w).any(|x| is_at(x, y)))
}

#[test]
fn every_tile_is_the_picture_that_run_gives() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let sheet = file("sheet.png");
    compare(&["guidance_scale", "1,7.5", "by", "seed", "3,4"], &["-o", sheet.to_str().unwrap()]);
    let sheet = picture(&sheet);
    for (scale, seed) in [("1", "3"), ("7.5", "3"), ("1", "4"), ("7.5", "4")] {
        let alone = file("alone.png");
        let flags = ["run", "--guidance-scale", scale, "--seed", seed, "-o", alone.to_str().unwrap()];
        assert_eq!(diffuscope(&[&flags[..], &FLAGS].concat(), "").code, Some(0));
        assert!(holds(&sheet, &picture(&alone)), "scale {scale}, seed {seed}");
    }
}

#[test]
fn a_row_for_every_nth_step_and_an_animation() {
    let folder = tempfile::tempdir().unwrap();
    let (sheet, gif) = (folder.path().join("s.png"), folder.path().join("s.gif"));
    let files = ["-o", sheet.to_str().unwrap(), "--gif", gif.to_str().unwrap(), "--every", "2"];
    compare(&["prompt", "a cat", "りんご"], &files);
    // after denoise 1, and the picture, which is what the last step leads to; each 64 high with its caption
    assert!(picture(&sheet).height() > 2 * 64);
    let decoder =
        image::codecs::gif::GifDecoder::new(std::io::BufReader::new(std::fs::File::open(gif).unwrap()));
    let frames = image::AnimationDecoder::into_frames(decoder.unwrap()).collect_frames().unwrap();
    assert_eq!(frames.len(), 2);
    assert_ne!(frames[0].buffer(), frames[1].buffer());
}

#[test]
fn an_animation_has_the_rows_of_the_sheet() {
    let folder = tempfile::tempdir().unwrap();
    let gif = folder.path().join("wide.gif");
    let scales = "1,2,3,4,5,6,7,8,9";
    let axes = ["compare", "guidance_scale", scales, "by", "seed", "1,2"];
    let flags = ["--steps", "1", "--width", "64", "--height", "64", "--gif", gif.to_str().unwrap()];
    let ran = diffuscope(&[&axes[..], &flags].concat(), "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // nine in a row, and not eight
    assert!(image::image_dimensions(gif).unwrap().0 >= 9 * 64);
}

#[test]
fn figures_of_every_step() {
    let ran = compare(&["num_inference_steps", "2,4"], &["--json", "--batch-rows", "1"]);
    let figures: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(figures["axes"][0], "num_inference_steps");
    let variants = figures["variants"].as_array().unwrap();
    let stages = |index: usize| {
        let steps = variants[index]["steps"].as_array().unwrap();
        steps.iter().map(|step| step["stage"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(stages(0), ["get_latent", "denoise.000", "denoise.001", "vae_decode"]);
    assert_eq!(stages(1).len(), 6);
    assert_eq!(variants[0]["steps"][1]["difference"], 0., "the first is what the others are told from");
    assert!(variants[1]["steps"][5]["difference"].as_f64().unwrap() > 0.);
    assert!(variants[1]["steps"][1]["text_norm"].as_f64().unwrap() > 1.);
    assert_eq!(figures["rows"]["computed"], 12);
    assert_eq!(figures["rows"]["at_once"], 1);
}

#[test]
fn sixty_four_variants() {
    let ran = diffuscope(
        &["compare", "seed", "1-64", "--steps", "1", "--width", "64", "--height", "64", "--json"],
        "",
    );
    let figures: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(figures["variants"].as_array().unwrap().len(), 64);
}

#[test]
fn what_cannot_be_compared_is_told_before_anything_runs() {
    for (args, expected) in [
        (&["compare", "sampler", "ddim"][..], "`sampler` cannot be compared: expected one of prompt"),
        (&["compare", "guidance_scale", "1,high"], "guidance_scale cannot be `high`"),
        (&["compare", "seed", "1-65"], "at most 64"),
        (&["compare", "word", "pear:", "plum"], "the prompt has no word `pear`"),
        (&["compare", "seed", "1,2", "-o", "sheet.jpg"], "expected a file that ends in .png"),
        (&["compare", "seed", "1,2", "-o", "no/such/folder/sheet.png"], "cannot be written"),
        (&["compare", "seed", "1,2", "--gif", "sheet.png"], "expected a file that ends in .gif"),
        (&["compare", "width", "64,65"], "width is 65; expected a multiple of 8"),
    ] {
        let ran = diffuscope(args, "");
        assert_eq!(ran.code, Some(1), "{args:?}: {}", ran.stderr);
        assert!(
            ran.stderr.starts_with("error: ") && ran.stderr.contains(expected),
            "{args:?}: {}",
            ran.stderr
        );
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
    for args in [
        &["compare"][..],
        &["compare", "seed", "1", "--every", "0"],
        &["compare", "seed", "1", "--batch-rows", "0"],
    ] {
        assert_eq!(diffuscope(args, "").code, Some(2), "{args:?}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_is_there() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let folder = tempfile::tempdir().unwrap();
    let sheet = folder.path().join("sheet.png");
    let mut child = Command::new(env!("CARGO_BIN_EXE_diffuscope"))
        .args(["compare", "seed", "1-6", "--steps", "900", "-o", sheet.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It has begun once the file has been found to be writable; a run of 900 steps is then far from its end.
    std::thread::sleep(Duration::from_secs(3));
    let stop = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(stop.success());
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(120), "it goes on after Ctrl-C");
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted before denoise"), "{said}");
    assert!(picture(&sheet).width() > 6 * 128);
}
