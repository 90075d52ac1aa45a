//! PNG files, with the settings that made the picture inside, in two forms.
//!
//! - [`record`]: our own, JSON that reads back exactly.
//! - [`parameters`]: AUTOMATIC1111's, which many tools read.

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
/// The encoder's.
pub fn encode(image: &RgbImage, texts: &[(&'static str, String)]) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = vec![];
    let mut encoder = Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    for (keyword, text) in texts {
        // A plain text chunk holds Latin-1; anything else has an international one, as Pillow has it.
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

/// The text chunks of a picture of `run` on the model of that name. `picture` says what it shows, where that is not the run's image.
/// With them a warning, where the chunk `parameters` cannot say what the run's prompts are.
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
    fn text_of_any_language_comes_back() {
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
