"""The autoencoder: 128×128 RGB to 4×16×16 latents and back. It is convolutional, so it learns on crops."""
import torch
from diffusers import AutoencoderKL

import captions
import steps
from data import SIZE


def build(preset):
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, sample_size=128,
        block_out_channels=preset.vae_channels, layers_per_block=1, norm_num_groups=8,
        down_block_types=["DownEncoderBlock2D"] * len(preset.vae_channels),
        up_block_types=["UpDecoderBlock2D"] * len(preset.vae_channels),
    )


def compose(rgba, background):
    """Drawings on backgrounds. `rgba`: uint8 (n, height, width, 4); `background`: (n, 3), 0 to 1 → (n, 3, height, width),
    -1 to 1."""
    rgba = rgba.permute(0, 3, 1, 2).float() / 255
    alpha = rgba[:, 3:]
    return (rgba[:, :3] * alpha + background[:, :, None, None] * (1 - alpha)) * 2 - 1


def held_out(row):
    """One drawing in twenty is never shown to the autoencoder: all styles of such a thing together."""
    return captions.fraction("held-out drawing", row["code"]) < 0.05


def slopes(picture):
    return picture.diff(dim=-1), picture.diff(dim=-2)


def difference(output, target):
    """L1 for crispness, squares for large errors, and L1 of slopes, which keeps edges where L1 alone would blur them."""
    loss = (output - target).abs().mean() + 6 * (output - target).square().mean()
    for ours, theirs in zip(slopes(output), slopes(target)):
        loss = loss + 0.5 * (ours - theirs).abs().mean()
    return loss


class Crops(torch.utils.data.Dataset):
    """Number → what that step crops: which drawings, corners, backgrounds, mirrored or not, and noise."""

    def __init__(self, drawings, preset, seed):
        self.drawings, self.preset, self.seed = drawings, preset, seed

    def __len__(self):
        return self.preset.vae_steps

    def __getitem__(self, number):
        generator = steps.randomness(self.seed, "autoencoder", number)
        batch, crop = self.preset.vae_batch, self.preset.vae_crop
        chosen = torch.randint(self.drawings, (batch,), generator=generator)
        corners = torch.randint((SIZE - crop) // 8 + 1, (batch, 2), generator=generator) * 8
        background = random_backgrounds(captions.colour_table(), batch, generator)
        mirrored = torch.rand(batch, generator=generator) < 0.5
        noise = torch.randn(batch, 4, crop // 8, crop // 8, generator=generator)
        return chosen, corners, background, mirrored, noise


def train(preset, drawings, folder, device, seed, clock, start_from=None):
    """On the drawings that are not held out; gives the average of the weights."""
    torch.manual_seed(seed)
    vae = load(start_from, device) if start_from else build(preset)
    vae = vae.to(device, memory_format=torch.channels_last).train()
    if preset.vae_decoder_only:
        for part in (vae.encoder, vae.quant_conv):
            part.requires_grad_(False)
    parameters = [parameter for parameter in vae.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=preset.vae_rate, weight_decay=1e-4, betas=(0.9, 0.98), fused=True)
    average = steps.Average([vae], 0.998)
    shown = [i for i, row in enumerate(drawings.table) if not held_out(row)]
    rgba = torch.from_numpy(drawings.rgba)[shown].to(device)
    reach = torch.arange(preset.vae_crop, device=device)

    def step(number, batch):
        chosen, corners, background, mirrored, noise = batch
        for group in optimizer.param_groups:
            group["lr"] = steps.learning_rate(number, preset.vae_steps, preset.vae_rate)
        rows, columns = corners[:, 0, None] + reach, corners[:, 1, None] + reach
        pieces = rgba[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        pictures = compose(pieces, background)
        pictures = torch.where(mirrored[:, None, None, None], pictures.flip(-1), pictures)
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=preset.vae_bf16):
            posterior = vae.encode(pictures).latent_dist
            output = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        loss = difference(output.float(), pictures) + preset.vae_kl * kl
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update()
        return loss

    steps.train("autoencoder", folder, preset.vae_steps, step,
                {"vae": vae, "optimizer": optimizer, "average": average}, clock,
                Crops(len(shown), preset, seed), device)
    average.swap()
    return vae.eval().requires_grad_(True)


def load(folder, device):
    return AutoencoderKL.from_pretrained(folder).float().to(device, memory_format=torch.channels_last).eval()


def random_backgrounds(colours, count, generator):
    """Named colours, a quarter white, and a quarter any colour at all."""
    named = colours[torch.randint(len(colours), (count,), generator=generator)]
    any_colour = torch.rand(count, 3, generator=generator)
    kind = torch.rand(count, 1, generator=generator)
    return torch.where(kind < 0.25, torch.ones(3), torch.where(kind < 0.5, any_colour, named))


@torch.no_grad()
def encode(vae, pictures, batch=32):
    """Pictures (-1 to 1) → latents as the UNet sees them: means times the scaling factor."""
    parts = [vae.encode(part.contiguous(memory_format=torch.channels_last)).latent_dist.mean
             for part in pictures.split(batch)]
    return torch.cat(parts) * vae.config.scaling_factor


@torch.no_grad()
def decode(vae, latents, batch=32):
    """Latents → pictures, 0 to 1."""
    parts = [vae.decode(part / vae.config.scaling_factor).sample for part in latents.split(batch)]
    return (torch.cat(parts) / 2 + 0.5).clamp(0, 1).contiguous()


@torch.no_grad()
def set_scaling_factor(vae, drawings, device, seed):
    """So that latents have a standard deviation of one, over drawings on named backgrounds."""
    generator = steps.randomness(seed, "scaling factor")
    chosen = torch.randint(len(drawings), (min(256, 4 * len(drawings)),), generator=generator)
    background = random_backgrounds(captions.colour_table(), len(chosen), generator).to(device)
    pictures = compose(torch.from_numpy(drawings.rgba)[chosen].to(device), background)
    vae.register_to_config(scaling_factor=1.0)
    vae.register_to_config(scaling_factor=1 / encode(vae, pictures).std().item())
