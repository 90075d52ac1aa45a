//! One safetensors file.

use super::error::{Result, WeightsError};
use super::reading::{self, Source, Stored};
use super::view::{StoredNames, View, Viewed};
use crate::nn::error::abridged;
use crate::nn::links;
use safetensors::tensor::{Metadata, TensorInfo};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use tr::tr;

/// Where a file's bytes are.
#[derive(Debug)]
enum Bytes {
    Embedded(&'static [u8]),
    OnDisk(File),
}

/// An open safetensors file whose header has been checked.
#[derive(Debug)]
pub struct WeightsFile {
    name: String,
    bytes: Bytes,
    /// Where the tensors' data begin.
    data_start: u64,
    header: Metadata,
    /// The tensors under other keys, if the file is read through a view.
    view: Option<View>,
}

/// The limit of the safetensors library; real headers are far smaller.
const MAX_HEADER: u64 = 100_000_000;

impl WeightsFile {
    /// A file embedded in the program.
    ///
    /// # Errors
    /// [`WeightsError::Corrupt`].
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self> {
        let header = check_header(name, bytes.len() as u64, bytes)?;
        let (data_start, header) = header;
        Ok(Self { name: name.into(), bytes: Bytes::Embedded(bytes), data_start, header, view: None })
    }

    /// Opens the file at `path` and checks its header.
    ///
    /// # Errors
    /// [`WeightsError::Unreadable`] and [`WeightsError::Corrupt`].
    pub fn open(path: &std::path::Path) -> Result<Self> {
        let name = path.display().to_string();
        let unreadable =
            |e: io::Error| WeightsError::Unreadable { file: name.clone(), reason: links::found(path, &e) };
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            let reason = if metadata.is_dir() { "a folder" } else { "not a regular file" };
            return Err(WeightsError::Unreadable { file: name, reason: reason.into() });
        }
        let mut file = File::open(path).map_err(unreadable)?;
        let (data_start, header) = check_header(&name, metadata.len(), &mut file)?;
        Ok(Self { name, bytes: Bytes::OnDisk(file), data_start, header, view: None })
    }

    /// The same file with the tensors `viewed` under their new keys, and no others. Those that it lacks are left out; `names` gives
    /// the stored keys for messages.
    #[must_use]
    pub fn viewed(self, viewed: impl IntoIterator<Item = Viewed>, names: Arc<dyn StoredNames>) -> Self {
        let view = View::new(viewed, |key| self.header.info(key), names);
        Self { view: Some(view), ..self }
    }

    /// The file's own key for the tensor `key`, for messages.
    pub fn stored_key(&self, key: &str) -> String {
        self.view.as_ref().map_or_else(|| key.into(), |view| view.names.stored(key))
    }

    /// Whether its tensors have other keys than in the file.
    pub fn is_view(&self) -> bool {
        self.view.is_some()
    }

    /// The entry `key` of the header's `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// The file's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every tensor's key, stored dtype and shape, in the file's order.
    pub fn tensors(&self) -> impl Iterator<Item = (String, &TensorInfo)> {
        let keys = if self.is_view() { vec![] } else { self.header.offset_keys() };
        let stored = keys.into_iter().filter_map(|key| self.header.info(&key).map(|info| (key, info)));
        let viewed = self.view.iter().flat_map(|view| &view.tensors);
        stored.chain(viewed.map(|(key, info)| (key.clone(), info)))
    }

    /// The header's entry for the tensor `key`.
    pub fn info(&self, key: &str) -> Option<&TensorInfo> {
        match &self.view {
            Some(view) => view.info(key),
            None => self.header.info(key),
        }
    }

    /// The numbers `range` of the tensor `key`, counted in row-major order, as `f32`. Integers and truth values are converted; NaN
    /// and infinity are kept.
    ///
    /// # Errors
    /// [`WeightsError::NoTensor`] without such a tensor, [`WeightsError::Dtype`] for complex and other types, and
    /// [`WeightsError::Unreadable`].
    pub fn values(&self, key: &str, range: Range<usize>) -> Result<Vec<f32>> {
        let Some(info) = self.info(key) else {
            return Err(WeightsError::NoTensor { file: self.name.clone(), key: self.stored_key(key) });
        };
        let count = info.shape.iter().product::<usize>();
        let range = range.start.min(count)..range.end.min(count);
        let start = info.data_offsets.0 as u64;
        let unreadable =
            |e: io::Error| WeightsError::Unreadable { file: self.name.clone(), reason: e.to_string() };
        if let Some(stored) = Stored::of(info.dtype) {
            let at = start + (range.start * stored.width()) as u64;
            return Ok(reading::read::<f32>(self, stored, at, range.len()).map_err(unreadable)?.numbers);
        }
        let Some(width) = reading::integer_width(info.dtype) else {
            let (file, key) = (self.name.clone(), self.stored_key(key));
            return Err(WeightsError::Dtype { file, key, found: info.dtype });
        };
        let mut bytes = vec![0; range.len() * width];
        self.read_at(&mut bytes, start + (range.start * width) as u64).map_err(unreadable)?;
        Ok(reading::integers(info.dtype, &bytes))
    }

    /// The size of its tensors in bytes.
    pub fn data_len(&self) -> u64 {
        self.view.as_ref().map_or(self.header.data_len() as u64, View::data_len)
    }
}

impl Source for WeightsFile {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let at = self.data_start + at;
        match &self.bytes {
            Bytes::Embedded(all) => {
                let from = usize::try_from(at).ok().and_then(|at| all.get(at..at.checked_add(bytes.len())?));
                bytes.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            Bytes::OnDisk(file) => read_exact_at(file, bytes, at),
        }
    }
}

/// Reads at a position, independent of other threads.
#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// Reads at a position, independent of other threads.
#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        match file.seek_read(bytes, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                bytes = &mut bytes[read..];
                at += read as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The kind of a file that is not safetensors, by its first bytes.
fn other_kind(start: &[u8; 8]) -> Option<&'static str> {
    let lower = start.to_ascii_lowercase();
    match &lower[..] {
        b"version " => Some("a git LFS pointer instead of the file: `git lfs pull` fetches it"),
        b"<!doctyp" => Some("a web page"),
        [b'p', b'k', 3, 4, ..] => Some("a zip file, as PyTorch's pickles are"),
        [b'g', b'g', b'u', b'f', ..] => Some("a GGUF file"),
        _ if lower.starts_with(b"<html") => Some("a web page"),
        _ => None,
    }
}

/// Reads and checks the header of a file of `len` bytes; returns the start of the data too. Every offset lies inside the file,
/// in order, without gap or overlap, and every length matches its shape and dtype.
fn check_header(name: &str, len: u64, mut bytes: impl Read) -> Result<(u64, Metadata)> {
    let corrupt = |reason: String| WeightsError::Corrupt { file: name.into(), reason };
    let unreadable =
        |e: std::io::Error| WeightsError::Unreadable { file: name.into(), reason: e.to_string() };
    if len < 8 {
        return Err(corrupt(tr!("it holds {len} bytes, fewer than the 8 of a header's length", len)));
    }
    let mut size = [0; 8];
    bytes.read_exact(&mut size).map_err(unreadable)?;
    if let Some(what) = other_kind(&size) {
        return Err(corrupt(tr!("it is {what}", what)));
    }
    let is_pickle = matches!(size, [0x80, 2..=5, ..]);
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER || size > len - 8 {
        // A header of 640 bytes begins like a pickle too, so only a length that cannot be is one.
        if is_pickle {
            return Err(corrupt(tr!("it is a Python pickle, which is never read")));
        }
        return Err(corrupt(tr!("its header claims {size} bytes and the file has {len}", size, len)));
    }
    let mut header = vec![0; size as usize];
    bytes.read_exact(&mut header).map_err(unreadable)?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|e| corrupt(tr!("its header: {}", abridged(&e.to_string()))))?;
    let expected = 8 + size + header.data_len() as u64;
    if expected != len {
        return Err(corrupt(tr!(
            "its header describes {expected} bytes and the file has {len}",
            expected,
            len
        )));
    }
    Ok((8 + size, header))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file_of(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    }

    fn check(bytes: &[u8]) -> Result<(u64, Metadata)> {
        check_header("m.safetensors", bytes.len() as u64, bytes)
    }

    #[test]
    fn a_header_must_fit_its_file() {
        let error = |bytes: &[u8]| check(bytes).unwrap_err().to_string();
        assert!(error(b"abc").contains("3 bytes, fewer than the 8"));
        for (start, what) in [
            (&b"version https://git-lfs.github.com/spec/v1"[..], "it is a git LFS pointer"),
            (b"<!DOCTYPE html>", "it is a web page"),
            (b"<html><body>", "it is a web page"),
            (b"PK\x03\x04\0\0\x08\x08", "it is a zip file"),
            (b"GGUF\x03\0\0\0", "it is a GGUF file"),
            (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "it is a Python pickle"),
            (b"\x80\x04\x95\x10\0\0\0\0\0\0\0", "it is a Python pickle"),
        ] {
            assert!(error(start).contains(what), "{}", error(start));
        }
        assert!(error(&(1u64 << 60).to_le_bytes()).contains("claims 1152921504606846976 bytes"));
        let two = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
        assert!(error(&file_of(two, 12)).contains("offset"), "{}", error(&file_of(two, 12)));
        let huge =
            r#"{"a":{"dtype":"F32","shape":[144115188075855872],"data_offsets":[0,576460752303423488]}}"#;
        assert!(error(&file_of(huge, 8)).contains("describes"), "{}", error(&file_of(huge, 8)));
        let more =
            r#"{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4611686018427387904]}}"#;
        assert!(error(&file_of(more, 8)).contains("overflow"), "{}", error(&file_of(more, 8)));
        let one = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        assert!(error(&file_of(one, 7)).contains("describes"));
        assert!(check(&file_of(one, 8)).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = check(&bytes);
        }

        #[test]
        fn no_header_makes_it_panic(header in r#"\{("a":\{("dtype":"F(16|32)",?)?("shape":\[[0-9,]{0,24}\],?)?("data_offsets":\[[0-9]{1,20},[0-9]{1,20}\])?\})?\}"#, data in 0usize..32) {
            let _ = check(&file_of(&header, data));
        }
    }
}
