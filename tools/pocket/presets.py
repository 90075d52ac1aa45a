"""What is trained on what, for how long."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    styles: tuple = ("flat",)
    listed: bool = True  # only the things of objects.txt, not all of emojibase's groups 3 to 7
    things: int = 1000  # at most so many of them
    # autoencoder
    vae_channels: tuple = (24, 48, 96, 128)
    vae_steps: int = 8000
    vae_batch: int = 16
    vae_crop: int = 64
    vae_rate: float = 1.5e-3
    vae_kl: float = 1e-4
    vae_bf16: bool = True  # a third faster on a CPU that has it too
    vae_decoder_only: bool = False  # with --init-vae: latents stay what they are
    # pictures for the denoiser: every thing once on every named background, full size, and this many free scenes
    scenes: int = 0
    pairs: float = 0.0  # share of the free scenes with two objects
    # text encoder
    text_width: int = 128
    text_layers: int = 3
    text_heads: int = 4
    text_steps: int = 2000
    text_batch: int = 48
    text_rate: float = 2e-3
    # denoiser; `attention`: which levels, from 16×16 pixels down, look at the text
    channels: tuple = (64, 128, 160)
    attention: tuple = (False, True, True)
    steps: int = 4500
    batch: int = 16
    rate: float = 1e-3
    text_share: float = 0.0  # the text encoder's rate is this share of the denoiser's; 0: it has learned enough alone
    average: float = 0.998
    teach: float = 0.3  # weight of what the painter teaches the denoiser
    min_snr: float = 5.0
    settle_steps: int = 1200  # learning to look at the picture where little noise is left
    settle_rate: float = 6e-4
    strangers: float = 0.35  # share of pictures in that which are of drawings without a name
    bf16: bool = False
    prompts: int = 200  # of the evaluation


PRESETS = {
    # The whole chain in a minute or two, to see that it works; the model is useless.
    "smoke": Preset(things=6, scenes=20, pairs=0.5, vae_steps=20, vae_batch=4, text_steps=20, text_batch=8, steps=20, batch=8, settle_steps=10, prompts=4),
    # One style and things of plain shape: what two cores can do in two or three hours.
    "cpu": Preset(),
    # One data-centre GPU for half an hour.
    "gpu": Preset(
        styles=("noto", "flat", "glossy"), listed=False, vae_steps=12000, vae_batch=128, vae_rate=1.5e-3,
        scenes=100_000, pairs=0.5, text_steps=8000, text_batch=512, steps=18000, batch=512, text_share=0.2,
        attention=(True, True, False), channels=(64, 128, 192), average=0.9995, bf16=True),
}
