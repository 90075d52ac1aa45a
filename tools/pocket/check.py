#!/usr/bin/env python3
"""Whether the diffusers and transformers that are installed load the bundled model whole and compute what
tests/fixtures/pocket.safetensors has (made with the versions of tools/fixtures/requirements.txt):

    python tools/pocket/check.py [FOLDER]

Run it with transformers 4 and with transformers 5: they name the text encoder's tensors differently, and transformers 4
only logs a warning about tensors that it does not find. Exits with 1 where something differs.
"""
import logging
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import diffusers
import torch
import transformers
from diffusers import StableDiffusionPipeline
from safetensors import safe_open

ROOT = pathlib.Path(__file__).resolve().parents[2]
LATENTS, PIXELS = 1e-5, 1  # relative L2 after the last step; 255ths


class Warnings(logging.Handler):
    """What transformers logs while it loads."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def relative(ours, theirs):
    return ((ours.double() - theirs.double()).norm() / theirs.double().norm()).item()


@torch.no_grad()
def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "models" / "pocket"
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, diffusers {diffusers.__version__}")
    diffusers.utils.logging.disable_progress_bar()
    heard = Warnings()
    logging.getLogger("transformers").addHandler(heard)
    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    missing = [line for line in heard.lines if "newly initialized" in line or "MISSING" in line]

    with safe_open(ROOT / "tests" / "fixtures" / "pocket.safetensors", "pt") as file:
        known = {name: file.get_tensor(f"run/{name}") for name in ("prompt_embeds", "denoise.019/latents", "image")}
        said = {key.removeprefix("run/"): value for key, value in file.metadata().items()}
    settings = dict(
        prompt=said["prompt"], negative_prompt=said["negative_prompt"], height=int(said["height"]),
        width=int(said["width"]), num_inference_steps=int(said["num_inference_steps"]), eta=float(said["eta"]),
        guidance_scale=float(said["guidance_scale"]))
    seeded = lambda: torch.Generator("cpu").manual_seed(int(said["seed"]))

    ids = pipe.tokenizer(said["prompt"], padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    embeds = relative(pipe.text_encoder(ids.input_ids)[0], known["prompt_embeds"])
    latents = pipe(**settings, generator=seeded(), output_type="latent").images
    image = pipe(**settings, generator=seeded(), output_type="pt").images
    pixels = ((image * 255).round() - (known["image"] * 255).round()).abs().max().item()
    latents = relative(latents, known["denoise.019/latents"])
    print(f"text encoder's tensors left random: {'some: ' + missing[0][:100] if missing else 'none'}")
    print(f"relative L2: embeddings {embeds:.1e}, latents after the last step {latents:.1e}; pixels {pixels:.0f} of 255")
    sys.exit(bool(missing) or embeds > 6e-6 or latents > LATENTS or pixels > PIXELS)


if __name__ == "__main__":
    main()
