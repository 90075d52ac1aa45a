//! Textual inversion (Gal et al., 2022): a safetensors file with the vectors of a new word.
//!
//! diffusers reads a file of one tensor, whose key is the word; AUTOMATIC1111 writes the same under the key `emb_params`. Whether a
//! checkpoint can have the word is for the tokenizer to say.

use super::LoadError;
use super::single::kind::refused_by_name;
use crate::nn::error::abridged;
use crate::nn::weights::WeightsFile;
use std::path::Path;
use tr::tr;

/// The vectors of a word. All numbers are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The file, for messages.
    pub file: String,
    /// The key of its tensor.
    pub key: String,
    /// The word, which a prompt contains.
    pub token: String,
    /// One vector or more, all of the same width.
    pub vectors: Vec<Vec<f32>>,
}

// No number is NaN.
impl Eq for Embedding {}

/// The most vectors of a word: a prompt has no room for more.
const MOST_VECTORS: usize = 75;
/// The largest width of a vector that is read at all.
const MOST_WIDTH: usize = 1 << 16;

impl Embedding {
    /// Parses `--embedding`: FILE or FILE:TOKEN. Without TOKEN the word is the tensor's key.
    ///
    /// # Errors
    /// When there is no such file, or it is not one word's vectors.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let (path, token) = split(text);
        if token.is_some_and(str::is_empty) {
            return Err(wrong(path, tr!("no token follows the colon"), tr!("FILE, or FILE:TOKEN")));
        }
        if let Some(refused) = refused_by_name(Path::new(path)) {
            return Err(refused);
        }
        Self::read(&WeightsFile::open(Path::new(path))?, token)
    }

    fn read(file: &WeightsFile, token: Option<&str>) -> Result<Self, LoadError> {
        let expected =
            tr!("one tensor, whose key is the token of a textual inversion of Stable Diffusion 1 or 2");
        let tensors: Vec<_> = file.tensors().collect();
        let keys = || tensors.iter().map(|(key, _)| key.as_str());
        let [(key, info)] = &tensors[..] else {
            let found = match keys().next() {
                None => tr!("there is no tensor in it"),
                Some(_) if ["clip_l", "clip_g"].iter().all(|key| keys().any(|other| other == *key)) => {
                    tr!("`clip_l` and `clip_g` are a textual inversion of Stable Diffusion XL")
                }
                Some(first) => match keys().find(|key| is_of_lora(key)) {
                    Some(key) => tr!("`{}` is a tensor of a LoRA", abridged(key)),
                    None => {
                        tr!("there are {} tensors in it, the first is `{}`", tensors.len(), abridged(first))
                    }
                },
            };
            return Err(wrong(file.name(), found, expected));
        };
        if is_of_lora(key) {
            return Err(wrong(file.name(), tr!("`{}` is a tensor of a LoRA", abridged(key)), expected));
        }
        let of_tensor = |found: String, expected: String| {
            wrong(file.name(), format!("`{}` {found}", abridged(key)), expected)
        };
        let (count, width) = match info.shape[..] {
            [width] => (1, width),
            [count, width] => (count, width),
            _ => {
                let found = tr!("has the shape {shape}", shape = format!("{:?}", info.shape));
                return Err(of_tensor(found, tr!("a vector, or a row for each of several")));
            }
        };
        if !(1..=MOST_VECTORS).contains(&count) || !(1..=MOST_WIDTH).contains(&width) {
            let found = tr!("has the shape {shape}", shape = format!("{:?}", info.shape));
            return Err(of_tensor(
                found,
                tr!("1 to {MOST_VECTORS} vectors of at most {MOST_WIDTH} numbers", MOST_VECTORS, MOST_WIDTH),
            ));
        }
        let numbers = file.values(key, 0..count * width)?;
        if let Some(place) = numbers.iter().position(|number| !number.is_finite()) {
            let (number, vector) = (numbers[place], place / width);
            let found = tr!("has {number} in vector {vector}", number, vector);
            return Err(of_tensor(found, tr!("finite numbers")));
        }
        let token = token.unwrap_or(key).to_string();
        if token.is_empty() || token.contains('\0') {
            let found = tr!("`{}` is no token that a prompt can contain", abridged(&token));
            return Err(wrong(file.name(), found, tr!("another: FILE:TOKEN")));
        }
        let vectors = numbers.chunks(width).map(<[f32]>::to_vec).collect();
        Ok(Self { file: file.name().into(), key: key.clone(), token, vectors })
    }

    /// The width of a vector.
    pub fn width(&self) -> usize {
        self.vectors.first().map_or(0, Vec::len)
    }

    /// The names of the vectors, as diffusers gives them: `<x>`, `<x>_1`, `<x>_2`, …
    pub fn names(&self) -> Vec<String> {
        let further = (1..self.vectors.len()).map(|i| format!("{}_{i}", self.token));
        std::iter::once(self.token.clone()).chain(further).collect()
    }

    /// Checks that the vectors fit a text encoder.
    ///
    /// # Errors
    /// When its embeddings have another width.
    pub fn check_width(&self, width: usize) -> Result<(), LoadError> {
        if self.width() == width {
            return Ok(());
        }
        let of = match self.width() {
            768 => tr!(" (Stable Diffusion 1)"),
            1024 => tr!(" (Stable Diffusion 2)"),
            1280 => tr!(" (the second text encoder of Stable Diffusion XL)"),
            _ => String::new(),
        };
        Err(wrong(
            &self.file,
            tr!("the vectors of `{}` have width {}{of}", abridged(&self.key), self.width(), of),
            tr!("{width}, the width of the text encoder's", width),
        ))
    }
}

fn wrong(file: &str, found: String, expected: String) -> LoadError {
    LoadError::File { path: file.into(), found, expected }
}

/// Whether a key is of a LoRA. diffusers takes a lone one for a word.
fn is_of_lora(key: &str) -> bool {
    key.starts_with("lora_")
        || [".lora_", "lora_up.", "lora_down.", ".lora."].iter().any(|part| key.contains(part))
}

/// The file and the token. A path may contain colons, and so may a token: the shortest path that exists is the file.
fn split(text: &str) -> (&str, Option<&str>) {
    let colons = text.match_indices(':').map(|(place, _)| (&text[..place], Some(&text[place + 1..])));
    let exists = |(path, _): &(&str, Option<&str>)| !path.is_empty() && Path::new(path).is_file();
    let all: Vec<_> = colons.collect();
    match all.iter().find(|split| exists(split)) {
        Some(split) => *split,
        _ if Path::new(text).exists() => (text, None),
        // No file: a drive's letter is no path without what follows it.
        _ => match all.iter().find(|(path, _)| path.len() > 1) {
            Some(split) => *split,
            None => (text, None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_shortest_path_that_exists_is_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        for name in ["a", "b:c"] {
            fs::write(path(name), "").unwrap();
        }
        let (a, b) = (path("a"), path("b:c"));
        for (text, expected) in [
            (a.clone(), (a.as_str(), None)),
            (format!("{a}:<x>"), (a.as_str(), Some("<x>"))),
            (format!("{a}:<x:y>"), (a.as_str(), Some("<x:y>"))),
            (format!("{a}:"), (a.as_str(), Some(""))),
            (b.clone(), (b.as_str(), None)),
            (format!("{b}:c"), (b.as_str(), Some("c"))),
            ("missing:<x>".into(), ("missing", Some("<x>"))),
            ("missing".into(), ("missing", None)),
            (":".into(), (":", None)),
            (String::new(), ("", None)),
        ] {
            assert_eq!(split(&text), expected, "{text}");
        }
    }
}
