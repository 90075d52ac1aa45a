//! The text chunks of a PNG file, read within limits: `tEXt` (Latin-1), `zTXt` (the same, compressed) and `iTXt` (UTF-8, compressed or
//! not). The crate png reads the chunks; pixels are skipped.

use crate::nn::error::abridged;
use image::ImageFormat;
use png::{Decoded, DecodingError, StreamingDecoder};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tr::tr;

/// The largest file, in bytes.
const MOST_BYTES: u64 = 64 << 20;
/// The longest text, in bytes: as a chunk, and uncompressed.
const MOST_TEXT: usize = 4 << 20;
/// The chunks that hold text.
const KINDS: [[u8; 4]; 3] = [*b"tEXt", *b"zTXt", *b"iTXt"];

/// The text chunks of a file. Texts are uncompressed when they are asked for.
#[derive(Debug)]
pub struct TextChunks {
    info: png::Info<'static>,
    /// The kinds of text chunks that cannot be read.
    broken: Vec<String>,
}

/// Why a file's text cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The file cannot be opened or read.
    #[error("{}", tr!("{0}; expected a readable PNG", .0))]
    Unreadable(String),
    /// It is something else.
    #[error("{}", tr!("{0}; expected a PNG, whose text chunks hold the settings of its run", .0))]
    NotPng(String),
    /// It ends too early.
    #[error("{}", tr!("broken: the file is truncated; expected a whole PNG"))]
    Truncated,
    /// It is broken.
    #[error("{}", tr!("broken: {0}; expected a PNG", .0))]
    Broken(String),
    /// It is too large.
    #[error("{}", tr!("a larger file; expected at most {} MB", MOST_BYTES >> 20))]
    Huge,
    /// A text chunk is too large.
    #[error("{}", tr!(
        "a text chunk {kind} of {size} bytes; expected at most {} MB",
        MOST_TEXT >> 20, kind = .kind, size = .size
    ))]
    HugeChunk {
        /// `tEXt`, `zTXt` or `iTXt`.
        kind: String,
        /// Its size.
        size: u32,
    },
    /// A text chunk cannot be uncompressed, or is too large then.
    #[error("{}", tr!(
        "the text chunk `{keyword}`: {found}; expected at most {} MB of text",
        MOST_TEXT >> 20, keyword = .keyword, found = .found
    ))]
    Text {
        /// Its keyword.
        keyword: String,
        /// What is wrong with it.
        found: String,
    },
}

/// The bytes of a file, of at most 64 MB.
///
/// # Errors
/// When it is no regular file, cannot be read or is too large.
pub fn bytes_of(file: &Path) -> Result<Vec<u8>, ChunkError> {
    let system = |e: std::io::Error| ChunkError::Unreadable(e.to_string());
    // Opening or reading a pipe may block for ever.
    if !file.metadata().map_err(system)?.is_file() {
        let found = if file.is_dir() { tr!("a folder") } else { tr!("not a regular file") };
        return Err(ChunkError::NotPng(found));
    }
    let mut bytes = vec![];
    File::open(file).map_err(system)?.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(system)?;
    if bytes.len() as u64 > MOST_BYTES { Err(ChunkError::Huge) } else { Ok(bytes) }
}

/// What a file that is no PNG is.
fn other_format(bytes: &[u8]) -> String {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => tr!("a JPEG picture"),
        Ok(ImageFormat::WebP) => tr!("a WebP picture"),
        Ok(ImageFormat::Gif) => tr!("a GIF picture"),
        _ if bytes.is_empty() => tr!("an empty file"),
        _ => tr!("not a PNG"),
    }
}

impl TextChunks {
    /// Reads a whole PNG file up to its end, as chunks may stand after the pixels.
    ///
    /// # Errors
    /// [`ChunkError`].
    pub fn read(bytes: &[u8]) -> Result<Self, ChunkError> {
        const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
        if !bytes.starts_with(SIGNATURE) {
            let is_start = !bytes.is_empty() && SIGNATURE.starts_with(bytes);
            return Err(if is_start {
                ChunkError::Truncated
            } else {
                ChunkError::NotPng(other_format(bytes))
            });
        }
        let (mut decoder, mut rest, mut broken) = (StreamingDecoder::new(), bytes, vec![]);
        loop {
            let (consumed, decoded) = decoder.update(rest, None).map_err(|e| match e {
                DecodingError::IoError(_) => ChunkError::Truncated,
                e => ChunkError::Broken(abridged(e.to_string().trim_end_matches('.'))),
            })?;
            rest = &rest[consumed..];
            match decoded {
                Decoded::ChunkBegin(size, kind)
                    if KINDS.contains(&kind.0) && size as usize > MOST_TEXT + 1024 =>
                {
                    let kind = String::from_utf8_lossy(&kind.0).into_owned();
                    return Err(ChunkError::HugeChunk { kind, size });
                }
                Decoded::BadAncillaryChunk(kind) if KINDS.contains(&kind.0) => {
                    broken.push(String::from_utf8_lossy(&kind.0).into_owned());
                }
                Decoded::ChunkComplete(kind) if kind == png::chunk::IEND => break,
                Decoded::Nothing if rest.is_empty() => return Err(ChunkError::Truncated),
                _ => {}
            }
        }
        let info = decoder.info().cloned().ok_or(ChunkError::Truncated)?;
        Ok(Self { info, broken })
    }

    /// The text of the first chunk with that keyword.
    ///
    /// # Errors
    /// When it cannot be uncompressed, is too large, or is not UTF-8.
    pub fn get(&self, keyword: &str) -> Result<Option<String>, ChunkError> {
        let wrong = |e: DecodingError| ChunkError::Text {
            keyword: keyword.into(),
            found: abridged(e.to_string().trim_end_matches('.')),
        };
        let plain = self.info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == keyword);
        if let Some(chunk) = plain {
            return Ok(Some(chunk.text.clone()));
        }
        if let Some(chunk) = self.info.compressed_latin1_text.iter().find(|chunk| chunk.keyword == keyword) {
            let mut chunk = chunk.clone();
            chunk.decompress_text_with_limit(MOST_TEXT).map_err(wrong)?;
            return chunk.get_text().map(Some).map_err(wrong);
        }
        let Some(chunk) = self.info.utf8_text.iter().find(|chunk| chunk.keyword == keyword) else {
            return Ok(None);
        };
        let mut chunk = chunk.clone();
        chunk.decompress_text_with_limit(MOST_TEXT).map_err(wrong)?;
        chunk.get_text().map(Some).map_err(wrong)
    }

    /// The keywords of all chunks.
    pub fn keywords(&self) -> Vec<&str> {
        let plain = self.info.uncompressed_latin1_text.iter().map(|chunk| &chunk.keyword);
        let compressed = self.info.compressed_latin1_text.iter().map(|chunk| &chunk.keyword);
        let international = self.info.utf8_text.iter().map(|chunk| &chunk.keyword);
        plain.chain(compressed).chain(international).map(String::as_str).collect()
    }

    /// The kinds of chunks with text that cannot be read: without a keyword, with a wrong checksum, or not in UTF-8.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }
}
