//! Whether a run fits the machine, told before anything is allocated.

use super::{Models, Request};
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
    let pixels = height as u128 * width as u128;
    let scale = models.vae.config().scale_factor() as u128;
    let latents = pixels / (scale * scale);

    let level_needs = models.unet.config().blocks.iter().enumerate().map(|(i, level)| {
        // Two rows; scores and probabilities of every pixel to every other; and the feed-forward's gate.
        let tokens = latents >> (2 * i).min(100);
        let attends = level.down_attends || level.up_attends;
        let scores = if attends { 2 * level.heads as u128 * tokens * tokens } else { 0 };
        2 * F32 * (scores + 9 * tokens * level.channels as u128)
    });
    let vae = models.vae.config();
    // In the decoder a level of full size takes over the channels of the one below; a resnet there holds some dozen copies.
    let widest = vae.block_out_channels.iter().take(2).max().copied().unwrap_or(1) as u128;
    let decode =
        F32 * (12 * widest * pixels + if vae.mid_block_add_attention { 2 * latents * latents } else { 0 });
    level_needs.chain([decode]).max().unwrap_or(0)
}

/// About how many bytes are kept of what a run does after its first `done` stages when all is recorded: seven tensors of the
/// latents' size a step, the two more that are shown with them, and the picture; each as it was made, and as an interface
/// has it.
pub fn needed_by_records(models: &Models, request: &Request, done: usize) -> u128 {
    const F32: u128 = 4;
    const TENSORS: u128 = 7 + 2;
    let pixels = request.height as u128 * request.width as u128;
    let scale = models.vae.config().scale_factor() as u128;
    let latents = models.unet.config().in_channels as u128 * pixels / (scale * scale);
    let steps = (request.steps().len() + 2).saturating_sub(done.max(2)) as u128;
    2 * F32 * (latents * (1 + TENSORS * steps) + 3 * pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory() {
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
