//! Every tensor of a run as a safetensors file, to compare with other pipelines; and writing and reading files safely.

use super::snapshot::tensor_names;
use super::{Request, Setting, Snapshot, Stage};
use crate::nn::error::without_backtrace;
use crate::nn::text;
use candle_core::{DType, Tensor};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use tr::tr;

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system refused.
    #[error("{}", tr!(
        "{path}: cannot be written: {reason}; expected a file in a folder that can be written to",
        path = .path, reason = .reason
    ))]
    File {
        /// The file.
        path: String,
        /// The system's message.
        reason: String,
    },
    /// A tensor could not be copied from its device.
    #[error("{name}: {source}")]
    Tensor {
        /// The tensor.
        name: String,
        /// candle's error.
        source: candle_core::Error,
    },
    /// The file's format refused.
    #[error("{path}: {reason}")]
    Format {
        /// The file.
        path: String,
        /// The library's message.
        reason: String,
    },
}

/// The sort key of a dump's keys: by stage, then in the order of the run, then by name. Keys without a stage come last.
pub fn place(key: &str) -> impl Ord + use<'_> {
    let (stage, name) = key.split_once('/').map_or((None, key), |(stage, name)| (Stage::of_key(stage), name));
    let index = tensor_names().position(|known| known == name).unwrap_or(usize::MAX);
    (stage.is_none(), stage, index, key)
}

/// Writes every tensor of `snapshot` under `STAGE/NAME`, with the settings and edits in the metadata.
///
/// # Errors
/// [`WriteError`].
pub fn write(snapshot: &Snapshot, model: &str, path: &Path) -> Result<(), WriteError> {
    let named = snapshot.records().iter().flat_map(|record| {
        let key = record.stage.key();
        record.tensors.iter().map(move |(name, tensor)| (format!("{key}/{name}"), tensor))
    });
    let mut metadata = metadata(snapshot.request(), model);
    if !snapshot.edits().is_empty() {
        metadata.insert("edits".into(), snapshot.edits().join("\n"));
    }
    write_tensors(named.collect(), Some(metadata), path)
}

/// Writes one tensor under `name`.
///
/// # Errors
/// [`WriteError`].
pub fn write_one(name: &str, tensor: &Tensor, path: &Path) -> Result<(), WriteError> {
    write_tensors(vec![(name.into(), tensor)], None, path)
}

fn write_tensors(
    tensors: Vec<(String, &Tensor)>,
    metadata: Option<HashMap<String, String>>,
    path: &Path,
) -> Result<(), WriteError> {
    let format = |reason: String| WriteError::Format { path: path.display().to_string(), reason };
    let copied: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, tensor)| match bytes(tensor) {
            Ok((dtype, bytes)) => Ok((name, dtype, tensor.dims().to_vec(), bytes)),
            Err(e) => Err(WriteError::Tensor { name, source: without_backtrace(e) }),
        })
        .collect::<Result<_, _>>()?;
    let views: Vec<(&str, TensorView<'_>)> = copied
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect::<Result<_, safetensors::SafeTensorError>>()
        .map_err(|e| format(e.to_string()))?;
    let file = safetensors::serialize(views, metadata).map_err(|e| format(e.to_string()))?;
    write_beside(path, &file)
}

/// A tensor's bytes: integers as int64, others as `f32`.
fn bytes(tensor: &Tensor) -> candle_core::Result<(Dtype, Vec<u8>)> {
    let flat = tensor.flatten_all()?;
    if tensor.dtype().is_int() {
        let values: Vec<i64> = flat.to_dtype(DType::I64)?.to_vec1()?;
        Ok((Dtype::I64, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
    } else {
        let values: Vec<f32> = flat.to_dtype(DType::F32)?.to_vec1()?;
        Ok((Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
    }
}

/// The settings, the scheduler, the model and the program's version.
fn metadata(request: &Request, model: &str) -> HashMap<String, String> {
    let settings = Setting::of(request).into_iter().filter(|setting| setting.applies(request));
    let settings = settings.map(|setting| (setting.to_string(), setting.get(request).without_folder()));
    let run_on = [
        ("scheduler_config", serde_json::Value::Object(request.scheduler.config().json()).to_string()),
        ("model", model.into()),
        ("diffuscope", env!("CARGO_PKG_VERSION").into()),
    ];
    settings.chain(run_on.map(|(key, value)| (key.to_string(), value))).collect()
}

/// Writes a file beside `path` and renames it, so that readers see the old file or the whole new one. A link stays and its target
/// is replaced; a device or a pipe, such as `/dev/null`, is written directly.
///
/// # Errors
/// [`WriteError::File`].
pub fn write_beside(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let failed =
        |e: std::io::Error| WriteError::File { path: path.display().to_string(), reason: e.to_string() };
    if is_stream(path) {
        let file = std::fs::File::options().write(true).open(path);
        return file.and_then(|mut file| file.write_all(bytes)).map_err(failed);
    }
    let target = std::fs::canonicalize(path);
    let path = target.as_deref().unwrap_or(path);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = Path::new(&beside);
    let mut file = std::fs::File::create(beside).map_err(failed)?;
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(beside, path));
    written.map_err(|e| {
        // The first error is the one to report.
        let _ = std::fs::remove_file(beside);
        failed(e)
    })
}

/// Whether `path` is neither a file nor a folder, such as a device or a pipe.
fn is_stream(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Checks before a run that a file can be written at `path`.
///
/// # Errors
/// [`WriteError::File`].
pub fn check_writable(path: &Path) -> Result<(), WriteError> {
    let failed = |reason: String| WriteError::File { path: path.display().to_string(), reason };
    if path.is_dir() {
        return Err(failed(tr!("it is a folder")));
    }
    // A hyphen is no name that anyone means.
    if path.as_os_str() == "-" {
        return Err(failed(tr!(
            "expected a file: there is no output to stdout (`./-` is a file of that name)"
        )));
    }
    if is_stream(path) {
        return Ok(());
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    std::fs::File::create(&beside).map_err(|e| failed(e.to_string()))?;
    std::fs::remove_file(&beside).map_err(|e| failed(e.to_string()))
}

/// The largest text file, in bytes: far above any written by hand.
const MAX_TEXT: u64 = 4 << 20;

/// Reads a text file of limited size, without its byte order mark. The limit also stops at endless devices.
///
/// # Errors
/// When the file cannot be read, is too large, or is not UTF-8.
pub fn read_text(file: &Path) -> io::Result<String> {
    let mut text = vec![];
    File::open(file)?.take(MAX_TEXT + 1).read_to_end(&mut text)?;
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    if text.len() as u64 > MAX_TEXT {
        return Err(wrong(tr!("it has more than {MAX_TEXT} bytes", MAX_TEXT)));
    }
    text::utf8(&text).map(String::from).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_in_the_order_of_the_run() {
        let in_order = [
            "encode_prompt/prompt_embeds",
            "get_latent/init_latents",
            "get_latent/noise",
            "get_latent/latents",
            "denoise.002/uncond_residual",
            "denoise.002/pred_original_sample",
            "denoise.002/latents",
            "denoise.002/another",
            "denoise.010/latents",
            "denoise.999/latents",
            "denoise.1000/latents",
            "vae_decode/image",
            "another/latents",
            "aaa",
        ];
        let mut keys = in_order;
        keys.sort();
        assert_ne!(keys, in_order);
        keys.sort_by(|a, b| place(a).cmp(&place(b)));
        assert_eq!(keys, in_order);
    }

    #[test]
    #[cfg(unix)]
    fn links_and_pipes_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, pipe] = ["file", "link", "pipe"].map(|name| folder.path().join(name));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_beside(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"new");

        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        check_writable(&pipe).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read(pipe).unwrap()
        });
        write_beside(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(is_stream(&pipe));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing is left beside them");
    }
}
