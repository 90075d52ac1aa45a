//! PNG files with the settings of their run in two text chunks.
//!
//! - [`record`]: this program's chunk, JSON that reads back exactly.
//! - [`parameters`]: AUTOMATIC1111's chunk, which many tools read; `keys`: its keys and the settings, in one table.
//! - [`comfy`]: ComfyUI's graph, which is read only.
//! - [`chunks`]: the text chunks of a file. [`found`]: the settings in them, and what cannot be taken.

pub mod chunks;
pub mod comfy;
pub mod found;
mod keys;
pub mod parameters;
pub mod record;

use crate::pipeline::Snapshot;
use image::RgbImage;
use png::{BitDepth, ColorType, Encoder, EncodingError};
use record::RunRecord;

/// Text chunks of a PNG: keyword and text.
pub type TextChunks = Vec<(&'static str, String)>;

/// The bytes of a PNG file with these text chunks.
///
/// # Errors
/// When the encoder fails.
pub fn encode(image: &RgbImage, texts: &[(&'static str, String)]) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = vec![];
    let mut encoder = Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    for (keyword, text) in texts {
        // A plain text chunk holds Latin-1; other text needs an international chunk, as in Pillow.
        if text.chars().all(|c| u32::from(c) < 256 && c != '\0') {
            encoder.add_text_chunk((*keyword).into(), text.clone())?;
        } else {
            encoder.add_itxt_chunk((*keyword).into(), text.clone())?;
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(image.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

/// The text chunks of an image of `run` on the named model, and a warning if the chunk `parameters` cannot represent the prompts.
/// `picture` says what the image shows if it is not the run's final image.
pub fn texts(run: &Snapshot, model: &str, picture: Option<&str>) -> (TextChunks, Option<String>) {
    let record = RunRecord::new(run.request(), run.edits(), model, picture);
    let parameters = parameters::written(&record);
    let warning = parameters::misread(&record, &parameters);
    (vec![(parameters::KEYWORD, parameters), (record::KEYWORD, record.to_json())], warning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_any_language_round_trips() {
        for text in ["red apple", "café", "赤いりんご 🍎"] {
            let bytes = encode(&RgbImage::new(2, 1), &[("parameters", text.into())]).unwrap();
            let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
            let info = reader.info();
            let plain = info.uncompressed_latin1_text.iter().map(|chunk| chunk.text.clone());
            let international = info.utf8_text.iter().map(|chunk| chunk.get_text().unwrap());
            assert_eq!(plain.chain(international).collect::<Vec<_>>(), [text]);
        }
    }
}
