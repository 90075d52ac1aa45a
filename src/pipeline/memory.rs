//! Whether a run fits the memory, checked before anything is allocated.

use super::{Error, Models, Request, Stage};
use crate::checkpoint;
use crate::checkpoint::LoadError;
use crate::checkpoint::ModelSource;
use crate::checkpoint::inventory::inventory;
use crate::checkpoint::layout::Precision;
use crate::nn::error::abridged;
use crate::nn::gpu::GpuFailure;
use crate::nn::{self, WeightsError, device};
use crate::scheduler::Class;
use candle_core::{DType, Device};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use tr::tr;

pub use crate::tensor::bytes::human;

/// Bytes of main memory available without swapping; `None` if the system does not report it.
pub fn available() -> Option<u64> {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    let free = system.available_memory();
    // In a container, the limit of its control group applies. Its usage includes the page cache, such as a checkpoint that was
    // just read, which can be evicted: only resident memory of programs counts.
    let limit = system.cgroup_limits().map(|limits| limits.total_memory.saturating_sub(limits.rss));
    (free > 0).then(|| limit.map_or(free, |limit| free.min(limit)))
}

/// An estimate of a run's peak memory in bytes, without the weights: an attention in the UNet, or a full-size convolution in the
/// VAE.
pub fn needed_by_run(models: &Models, height: usize, width: usize) -> u128 {
    const F32: u128 = 4;
    // Saturating: a width of 2^64 must not overflow.
    let pixels = (height as u128).saturating_mul(width as u128);
    let scale = models.vae.config().scale_factor() as u128;
    let latents = pixels / (scale * scale);
    let square = |n: u128| n.saturating_mul(n);

    let level_needs = models.unet.config().blocks.iter().enumerate().map(|(i, level)| {
        // Two rows; scores and probabilities of all pairs of pixels; the feed-forward's gate.
        let tokens = latents >> (2 * i).min(100);
        let attends = level.down_attends || level.up_attends;
        let scores = if attends { square(tokens).saturating_mul(2 * level.heads as u128) } else { 0 };
        scores.saturating_add(tokens.saturating_mul(9 * level.channels as u128)).saturating_mul(2 * F32)
    });
    let vae = models.vae.config();
    // The decoder's full-size level starts with the channels of the level below; a resnet there holds about a dozen copies.
    let widest = vae.block_out_channels.iter().take(2).max().copied().unwrap_or(1) as u128;
    let attention = if vae.mid_block_add_attention { square(latents).saturating_mul(2) } else { 0 };
    let decode = pixels.saturating_mul(12 * widest).saturating_add(attention).saturating_mul(F32);
    level_needs.chain([decode]).max().unwrap_or(0)
}

/// An estimate of the bytes that recording takes for the stages of a run after its first `done`: per step, the scheduler's tensors of
/// the latents' size and two that are shown with them, and the image; each once on the device and once for the interface.
pub fn needed_by_records(models: &Models, request: &Request, done: usize) -> u128 {
    const F32: u128 = 4;
    let of_step = match request.scheduler.config().class {
        Class::Ddim | Class::Ddpm | Class::EulerDiscrete | Class::EulerAncestralDiscrete | Class::Lcm => 7,
        // With what a multistep method remembers.
        _ => 16,
    };
    let tensors_of_step = of_step + 2;
    let pixels = (request.height as u128).saturating_mul(request.width as u128);
    let scale = models.vae.config().scale_factor() as u128;
    let latents = (pixels / (scale * scale)).saturating_mul(models.unet.config().in_channels as u128);
    let steps = (request.steps().len() + 2).saturating_sub(done.max(2)) as u128;
    let tensors = latents.saturating_mul(1 + tensors_of_step * steps);
    tensors.saturating_add(pixels.saturating_mul(3)).saturating_mul(2 * F32)
}

/// A GPU that ran out of memory in a stage.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}", tr!(
        "{stage}: {device} has no memory left for {width}×{height} pixels in {dtype} ({message}); earlier stages are kept; expected {advice}",
        stage = .stage, device = .device, width = .width, height = .height, dtype = .dtype, message = .message, advice = .advice
    ))]
pub struct NoRoom {
    /// The stage.
    pub stage: String,
    /// The device.
    pub device: String,
    /// The requested width.
    pub width: usize,
    /// The requested height.
    pub height: usize,
    /// The dtype of computation.
    pub dtype: &'static str,
    /// The driver's message.
    pub message: String,
    /// What would fit.
    pub advice: String,
}

/// A stage's error, with what would fit if the GPU ran out of memory.
pub(super) fn explained(error: Error, stage: Stage, models: &Models, request: &Request) -> Error {
    let Error::Forward(nn::Error::OutOfMemory(message)) = error else { return error };
    let Request { height, width, .. } = *request;
    let smaller = smaller(models, height, width).map(|(height, width)| {
        let needed = needed_by_run(models, height, width) * models.dtype.size_in_bytes() as u128 / 4;
        tr!(
            "a smaller image, such as {}, which takes about {} besides the weights",
            flags((height, width)),
            human(needed)
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
        message,
        advice: ways.join(", or "),
    }))
}

/// The largest image of the same shape that takes at most half as much. The driver does not report how much would fit.
fn smaller(models: &Models, height: usize, width: usize) -> Option<(usize, usize)> {
    let levels = models.unet.config().blocks.len().min(8) as u32;
    let multiple = models.vae.config().scale_factor() << levels.saturating_sub(1);
    largest(models, (height, width), multiple, needed_by_run(models, height, width) / 2)
}

/// The largest smaller image of the same shape that takes at most `most` bytes, with sides that are multiples of `multiple`.
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
    // Memory grows with the parts, so bisection finds the last size that fits.
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

/// A height and width as command line flags.
pub(super) fn flags((height, width): (usize, usize)) -> String {
    format!("--width {width} --height {height}")
}

/// An error of loading, with what would fit if the GPU ran out of memory.
pub(super) fn explained_loading(
    error: LoadError,
    source: &ModelSource,
    device: &Device,
    dtype: DType,
) -> LoadError {
    let LoadError::Weights(WeightsError::Device { source: why, .. }) = &error else { return error };
    let message = abridged(&why.to_string());
    if GpuFailure::from_message(&message) != Some(GpuFailure::OutOfMemory) {
        return error;
    }
    let parameters: Option<u64> = inventory(source, Precision::of(dtype))
        .ok()
        .map(|all| all.iter().map(|component| component.parameters).sum());
    let bytes = |size: usize| parameters.map_or("memory".into(), |n| human(u128::from(n) * size as u128));
    let half =
        (dtype == DType::F32).then(|| tr!("--dtype f16, which needs {}", bytes(DType::F16.size_in_bytes())));
    let ways: Vec<_> = half.into_iter().chain([tr!("a smaller model"), "--device cpu".into()]).collect();
    LoadError::DeviceMemory(Box::new(checkpoint::NoRoom {
        model: source.to_string(),
        dtype: dtype.as_str(),
        needed: bytes(dtype.size_in_bytes()),
        device: device::name(device),
        message,
        advice: ways.join(", or "),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT_OF_MEMORY: &str = r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#;

    #[cfg(feature = "bundled")]
    #[test]
    fn running_out_of_gpu_memory_says_what_would_fit() {
        let models = Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap();
        let request = Request { height: 768, width: 1024, ..Request::for_models(&models, "a cat") };
        let error = || Error::from(candle_core::Error::Msg(OUT_OF_MEMORY.into()).bt());
        let stage = Stage::Denoise { step: 3 };
        let explained_error = explained(error(), stage, &models, &request).to_string();
        for words in
            ["denoise 3: cpu has no memory left for 1024×768 pixels in f32", "--dtype f16", "are kept"]
        {
            assert!(explained_error.contains(words), "{explained_error}");
        }
        let (height, width) = smaller(&models, 768, 1024).unwrap();
        let size = format!("such as --width {width} --height {height}");
        assert!(explained_error.contains(&size), "{explained_error}");
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
        // Sizes whose bytes overflow.
        let endless = usize::MAX / 8 * 8;
        assert_eq!(needed_by_run(&models, endless, endless), u128::MAX);
        for size in [(8, endless), (endless, endless), (endless, 512)] {
            let (height, width) = largest(&models, size, 8, most).unwrap();
            assert!(needed_by_run(&models, height, width) <= most, "{width}×{height}");
        }
    }

    #[cfg(feature = "bundled")]
    #[test]
    fn loading_out_of_gpu_memory_says_what_would_fit() {
        let failed = |message: &str| {
            let source = Box::new(candle_core::Error::Msg(message.into()));
            let error = WeightsError::Device { file: "f".into(), key: "k".into(), source };
            explained_loading(error.into(), &ModelSource::Bundled, &Device::Cpu, DType::F32)
        };
        let error = failed(OUT_OF_MEMORY).to_string();
        assert!(error.starts_with("pocket: the weights need "), "{error}");
        assert!(error.contains("--dtype f16, which needs ") && error.contains("--device cpu"), "{error}");
        assert!(matches!(failed("shape mismatch"), LoadError::Weights(WeightsError::Device { .. })));
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
