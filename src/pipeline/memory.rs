//! Whether a run fits the machine, told before anything is allocated.

use super::{Error, Models, Request, Stage};
use crate::checkpoint;
use crate::checkpoint::LoadError;

use crate::checkpoint::ModelSource;

use crate::checkpoint::inventory::inventory;

use crate::checkpoint::layout::Precision;

use crate::nn::error::abridged;
use crate::nn::gpu::Trouble;
use crate::nn::{self, WeightsError, device};
use candle_core::{DType, Device};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

pub use crate::tensor::bytes::said;

/// Bytes of main memory that can be had without swapping; `None` where the system does not say.
pub fn available() -> Option<u64> {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    let free = system.available_memory();
    // Inside a container the limit of its control group counts, not the machine's memory. Files that are kept in memory, such
    // as a checkpoint that was just read, count as used there, and give way: only what programs hold does not.
    let limit = system.cgroup_limits().map(|limits| limits.total_memory.saturating_sub(limits.rss));
    (free > 0).then(|| limit.map_or(free, |limit| free.min(limit)))
}

/// About how many bytes the largest moment of a run takes beside the weights: a whole attention in the UNet, or a
/// convolution at full size in the VAE.
pub fn needed_by_run(models: &Models, height: usize, width: usize) -> u128 {
    const F32: u128 = 4;
    // Whoever asks for a width of 2^64 gets an answer, too.
    let pixels = (height as u128).saturating_mul(width as u128);
    let scale = models.vae.config().scale_factor() as u128;
    let latents = pixels / (scale * scale);
    let square = |n: u128| n.saturating_mul(n);

    let level_needs = models.unet.config().blocks.iter().enumerate().map(|(i, level)| {
        // Two rows; scores and probabilities of every pixel to every other; and the feed-forward's gate.
        let tokens = latents >> (2 * i).min(100);
        let attends = level.down_attends || level.up_attends;
        let scores = if attends { square(tokens).saturating_mul(2 * level.heads as u128) } else { 0 };
        scores.saturating_add(tokens.saturating_mul(9 * level.channels as u128)).saturating_mul(2 * F32)
    });
    let vae = models.vae.config();
    // In the decoder a level of full size takes over the channels of the one below; a resnet there holds some dozen copies.
    let widest = vae.block_out_channels.iter().take(2).max().copied().unwrap_or(1) as u128;
    let attention = if vae.mid_block_add_attention { square(latents).saturating_mul(2) } else { 0 };
    let decode = pixels.saturating_mul(12 * widest).saturating_add(attention).saturating_mul(F32);
    level_needs.chain([decode]).max().unwrap_or(0)
}

/// About how many bytes are kept of what a run does after its first `done` stages when all is recorded: seven tensors of the
/// latents' size a step, the two more that are shown with them, and the picture; each as it was made, and as an interface
/// has it.
pub fn needed_by_records(models: &Models, request: &Request, done: usize) -> u128 {
    const F32: u128 = 4;
    const TENSORS: u128 = 7 + 2;
    let pixels = (request.height as u128).saturating_mul(request.width as u128);
    let scale = models.vae.config().scale_factor() as u128;
    let latents = (pixels / (scale * scale)).saturating_mul(models.unet.config().in_channels as u128);
    let steps = (request.steps().len() + 2).saturating_sub(done.max(2)) as u128;
    let tensors = latents.saturating_mul(1 + TENSORS * steps);
    tensors.saturating_add(pixels.saturating_mul(3)).saturating_mul(2 * F32)
}

/// A stage that a GPU has no memory left for.
#[derive(Debug, thiserror::Error)]
#[error(
    "{stage}: {device} has no memory left for {width}×{height} pixels in {dtype} ({said}); what ran before is kept; expected {advice}"
)]
pub struct NoRoom {
    /// The stage.
    pub stage: String,
    /// The device.
    pub device: String,
    /// The width asked for.
    pub width: usize,
    /// The height asked for.
    pub height: usize,
    /// What the models compute in.
    pub dtype: &'static str,
    /// What the driver said.
    pub said: String,
    /// What would fit.
    pub advice: String,
}

/// A stage's error; where it is that the GPU's memory did not last, with what would fit.
pub(super) fn explained(error: Error, stage: Stage, models: &Models, request: &Request) -> Error {
    let Error::Forward(nn::Error::OutOfMemory(driver_said)) = error else { return error };
    let Request { height, width, .. } = *request;
    let smaller = smaller(models, height, width).map(|(height, width)| {
        let needed = needed_by_run(models, height, width) * models.dtype.size_in_bytes() as u128 / 4;
        format!(
            "a smaller picture, such as {}, which takes about {} beside the weights",
            flags((height, width)),
            said(needed)
        )
    });
    let half = (models.dtype == DType::F32).then(|| "--dtype f16, which takes half".to_string());
    let ways: Vec<_> = smaller.into_iter().chain(half).chain(["--device cpu".into()]).collect();
    Error::OutOfMemory(Box::new(NoRoom {
        stage: stage.to_string(),
        device: device::name(&models.device),
        width,
        height,
        dtype: models.dtype.as_str(),
        said: driver_said,
        advice: ways.join(", or "),
    }))
}

/// The largest picture of the same form that takes at most half as much: how much there is, a driver that has run out of it
/// does not say.
fn smaller(models: &Models, height: usize, width: usize) -> Option<(usize, usize)> {
    let levels = models.unet.config().blocks.len().min(8) as u32;
    let multiple = models.vae.config().scale_factor() << levels.saturating_sub(1);
    largest(models, (height, width), multiple, needed_by_run(models, height, width) / 2)
}

/// The largest picture of the same form, its height and width multiples of `multiple`, that takes at most `most` bytes and is smaller.
pub(super) fn largest(
    models: &Models,
    (height, width): (usize, usize),
    multiple: usize,
    most: u128,
) -> Option<(usize, usize)> {
    let parts = height.max(width) / multiple;
    let scaled = |side: usize, part: usize| {
        let pixels = side as u128 * part as u128 / parts as u128;
        (pixels as usize / multiple).max(1) * multiple
    };
    let needed = |part: usize| needed_by_run(models, scaled(height, part), scaled(width, part));
    // More parts need more: the last that fits is found by halving, of a width without bounds too.
    let (mut fits, mut too_many) = (0, parts);
    while fits + 1 < too_many {
        let middle = fits + (too_many - fits) / 2;
        if needed(middle) <= most {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    (fits > 0).then(|| (scaled(height, fits), scaled(width, fits)))
}

/// A height and width as the flags that ask for them.
pub(super) fn flags((height, width): (usize, usize)) -> String {
    format!("--width {width} --height {height}")
}

/// An error of loading; where it is that the GPU's memory did not last, with what would fit.
pub(super) fn explained_loading(
    error: LoadError,
    source: &ModelSource,
    device: &Device,
    dtype: DType,
) -> LoadError {
    let LoadError::Weights(WeightsError::Device { source: why, .. }) = &error else { return error };
    let driver_said = abridged(&why.to_string());
    if Trouble::told_by(&driver_said) != Some(Trouble::OutOfMemory) {
        return error;
    }
    let parameters: Option<u64> = inventory(source, Precision::of(dtype))
        .ok()
        .map(|all| all.iter().map(|component| component.parameters).sum());
    let bytes = |size: usize| parameters.map_or("memory".into(), |n| said(u128::from(n) * size as u128));
    let half = (dtype == DType::F32)
        .then(|| format!("--dtype f16, which needs {}", bytes(DType::F16.size_in_bytes())));
    let ways: Vec<_> = half.into_iter().chain(["a smaller model".into(), "--device cpu".into()]).collect();
    LoadError::DeviceMemory(Box::new(checkpoint::NoRoom {
        model: source.to_string(),
        dtype: dtype.as_str(),
        needed: bytes(dtype.size_in_bytes()),
        device: device::name(device),
        said: driver_said,
        advice: ways.join(", or "),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_ROOM: &str = r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#;

    #[cfg(feature = "bundled")]
    #[test]
    fn a_gpu_without_room_is_told_what_would_fit() {
        let models = Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap();
        let request = Request { height: 768, width: 1024, ..Request::for_models(&models, "a cat") };
        let error = || Error::from(candle_core::Error::Msg(NO_ROOM.into()).bt());
        let stage = Stage::Denoise { step: 3 };
        let told = explained(error(), stage, &models, &request).to_string();
        for words in
            ["denoise 3: cpu has no memory left for 1024×768 pixels in f32", "--dtype f16", "is kept"]
        {
            assert!(told.contains(words), "{told}");
        }
        let (height, width) = smaller(&models, 768, 1024).unwrap();
        assert!(told.contains(&format!("such as --width {width} --height {height}")), "{told}");
        assert!(needed_by_run(&models, height, width) * 2 <= needed_by_run(&models, 768, 1024));
        assert_eq!((height % 32, width % 32), (0, 0), "{width}×{height}");
        assert_eq!(smaller(&models, 8, 8), None);
        let other = explained(Error::Complete, stage, &models, &request);
        assert!(matches!(other, Error::Complete));
    }

    #[cfg(feature = "bundled")]
    #[test]
    fn the_largest_size_that_fits_has_the_same_shape() {
        let models = Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap();
        let most = needed_by_run(&models, 512, 768);
        assert_eq!(largest(&models, (2048, 3072), 8, most), Some((512, 768)));
        let (height, width) = largest(&models, (3000, 4000), 8, most).unwrap();
        assert!(needed_by_run(&models, height, width) <= most, "{width}×{height}");
        assert!((width * 3).abs_diff(height * 4) <= 3 * 8 + 4 * 8, "{width}×{height}");
        assert!(needed_by_run(&models, height + 16, width + 16) > most, "{width}×{height}");
        assert_eq!(largest(&models, (2048, 2048), 8, 10), None);
        // Sizes that no number of bytes holds.
        let endless = usize::MAX / 8 * 8;
        assert_eq!(needed_by_run(&models, endless, endless), u128::MAX);
        for size in [(8, endless), (endless, endless), (endless, 512)] {
            let (height, width) = largest(&models, size, 8, most).unwrap();
            assert!(needed_by_run(&models, height, width) <= most, "{width}×{height}");
        }
    }

    #[cfg(feature = "bundled")]
    #[test]
    fn weights_without_room_say_what_would_fit() {
        let failed = |said: &str| {
            let source = Box::new(candle_core::Error::Msg(said.into()));
            let error = WeightsError::Device { file: "f".into(), key: "k".into(), source };
            explained_loading(error.into(), &ModelSource::Bundled, &Device::Cpu, DType::F32)
        };
        let told = failed(NO_ROOM).to_string();
        assert!(told.starts_with("pocket: the weights need "), "{told}");
        assert!(told.contains("--dtype f16, which needs ") && told.contains("--device cpu"), "{told}");
        assert!(matches!(failed("shape mismatch"), LoadError::Weights(WeightsError::Device { .. })));
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
