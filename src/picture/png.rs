//! PNG files, with the settings that made the picture inside.

use crate::pipeline::{Request, Snapshot};
use image::RgbImage;
use png::{BitDepth, ColorType, Encoder, EncodingError};
use std::sync::Arc;

/// The bytes of a PNG file; `parameters` goes into a text chunk of that name, which other tools read.
///
/// # Errors
/// The encoder's.
pub fn encode(image: &RgbImage, parameters: Option<&str>) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = vec![];
    let mut encoder = Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    if let Some(text) = parameters {
        // A plain text chunk holds Latin-1; anything else has an international one, as Pillow has it.
        if text.chars().all(|c| u32::from(c) < 256 && c != '\0') {
            encoder.add_text_chunk("parameters".into(), text.into())?;
        } else {
            encoder.add_itxt_chunk("parameters".into(), text.into())?;
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(image.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

/// The settings of a run, and what was done to it, in the form that AUTOMATIC1111's web interface writes and many tools
/// read.
pub fn parameters(run: &Snapshot, model: &str) -> String {
    written(run.request(), run.edits(), model)
}

fn written(request: &Request, edits: &[Arc<str>], model: &str) -> String {
    let Request {
        prompt,
        negative_prompt,
        height,
        width,
        num_inference_steps,
        guidance_scale,
        seed,
        eta,
        init_image,
        strength,
        fault,
    } = request;
    let negative = if negative_prompt.is_empty() {
        String::new()
    } else {
        format!("Negative prompt: {negative_prompt}\n")
    };
    let eta = if *eta == 0. { String::new() } else { format!(", Eta: {eta}") };
    let init_image = init_image.as_ref().map_or(String::new(), |image| {
        format!(", Denoising strength: {strength}, Init image: {}", quoted(image.name()))
    });
    let fault = fault.map_or(String::new(), |fault| format!(", Fault: {fault}"));
    let edits = match edits.join("; ") {
        none if none.is_empty() => none,
        edits => format!(", Edits: {}", quoted(&edits)),
    };
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "{prompt}\n{negative}Steps: {num_inference_steps}, Sampler: DDIM, CFG scale: {guidance_scale}, Seed: {seed}, \
         Size: {width}x{height}, Model: {model}{eta}{init_image}{fault}{edits}, Version: diffuscope {version}"
    )
}

/// A value in quotes where it holds what parts values: as the web interface has it.
fn quoted(value: &str) -> String {
    let plain = !value.contains([',', ':', '"', '\\']) && !value.chars().any(char::is_control);
    if plain { value.into() } else { serde_json::Value::from(value).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Fault, InitImage};

    fn request(prompt: &str) -> Request {
        Request {
            prompt: prompt.into(),
            negative_prompt: "blurry".into(),
            height: 64,
            width: 128,
            num_inference_steps: 20,
            guidance_scale: 7.5,
            seed: -1,
            ..Request::default()
        }
    }

    #[test]
    fn parameters_in_the_form_that_others_read() {
        let text = written(&request("red apple"), &[], "pocket");
        let (settings, version) = text.split_once(", Version: ").unwrap();
        assert_eq!(
            settings,
            "red apple\nNegative prompt: blurry\nSteps: 20, Sampler: DDIM, CFG scale: 7.5, Seed: -1, Size: 128x64, Model: pocket"
        );
        assert!(version.starts_with("diffuscope "));
        let mut request = request("red apple");
        request.init_image = Some(InitImage::open("sample:apple").unwrap());
        let text = written(&request, &[], "pocket");
        assert!(text.contains(", Denoising strength: 0.8, Init image: \"sample:apple\", Version"), "{text}");
    }

    #[test]
    fn what_was_done_to_the_run_is_told() {
        let mut request = request("red apple");
        request.fault = Fault::parse("nan_in latents").ok();
        let edits = ["latents[0,1] *= 2", "prompt_embeds = 0"].map(Arc::from);
        let text = written(&request, &edits, "pocket");
        let told = ", Fault: nan_in latents, Edits: \"latents[0,1] *= 2; prompt_embeds = 0\", Version";
        assert!(text.contains(told), "{text}");
    }

    #[test]
    fn text_of_any_language_comes_back() {
        for prompt in ["red apple", "赤いりんご 🍎"] {
            let text = written(&request(prompt), &[], "pocket");
            let bytes = encode(&RgbImage::new(2, 1), Some(&text)).unwrap();
            let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
            let info = reader.info();
            let plain = info.uncompressed_latin1_text.iter().map(|chunk| chunk.text.clone());
            let international = info.utf8_text.iter().map(|chunk| chunk.get_text().unwrap());
            assert_eq!(plain.chain(international).collect::<Vec<_>>(), [text]);
        }
    }
}
