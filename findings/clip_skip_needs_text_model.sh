#!/usr/bin/env bash
# `clip_skip` of StableDiffusionPipeline fails with transformers 5. The pipeline applies the last normalization as
# `text_encoder.text_model.final_layer_norm`, and transformers 5 has no `text_model` in CLIPTextModel. diffusers 0.42.1 allows that
# transformers, and the same call without `clip_skip` works.
#
# Output seen with diffusers 0.42.1 and transformers 5.24.0:
#
#   without clip_skip: (1, 77, 32)
#   clip_skip 1: AttributeError, 'CLIPTextModel' object has no attribute 'text_model'
#
# Exits with 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet diffusers==0.42.1 torch==2.15.0 numpy==2.4.6 "transformers==5.24.0"
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import sys
from types import SimpleNamespace

import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel

config = CLIPTextConfig(vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4)
text_encoder = CLIPTextModel(config).eval()


class Tokenizer:
    model_max_length = 77

    def __call__(self, text, **_):
        ids = torch.zeros(1, 77, dtype=torch.long)
        return SimpleNamespace(input_ids=ids, attention_mask=torch.ones_like(ids))

    def batch_decode(self, ids):
        return [""]


pipe = SimpleNamespace(
    text_encoder=text_encoder, tokenizer=Tokenizer(), unet=None,
    maybe_convert_prompt=None,
)
said = []
for clip_skip in (None, 1):
    name = "without clip_skip" if clip_skip is None else f"clip_skip {clip_skip}"
    try:
        with torch.no_grad():
            embeds, _ = StableDiffusionPipeline.encode_prompt(
                pipe, "a cat", "cpu", 1, do_classifier_free_guidance=False, clip_skip=clip_skip
            )
        said.append(f"{name}: {tuple(embeds.shape)}")
    except AttributeError as error:
        said.append(f"{name}: AttributeError, {error}")
print("\n".join(said))
sys.exit(said != [
    "without clip_skip: (1, 77, 32)",
    "clip_skip 1: AttributeError, 'CLIPTextModel' object has no attribute 'text_model'",
])
PYTHON
