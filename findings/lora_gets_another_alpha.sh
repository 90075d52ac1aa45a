#!/usr/bin/env bash
# A LoRA in kohya's layout has an alpha for each module, and B · A is multiplied by alpha / rank. Where the alphas of a file differ, the
# loader of diffusers gives the attention projections of the UNet the most common alpha of the file instead of their own. It turns the
# alphas into patterns for peft, whose names are those of attention processors, and no module has such a name. A convolution of the same
# file gets its own alpha. No error is raised.
#
# Output seen with diffusers 0.42.1 and peft 0.21.2, all modules of rank 2:
#
#   down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q: alpha 2.0, factor 0.5, alpha / rank is 1.0
#   down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k: alpha 1.0, factor 0.5, alpha / rank is 0.5
#   down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q: alpha 1.0, factor 0.5, alpha / rank is 0.5
#   down_blocks.0.downsamplers.0.conv: alpha 4.0, factor 2.0, alpha / rank is 2.0
#
# Exits with 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet diffusers==0.42.1 peft==0.21.2 torch==2.15.0 numpy==2.4.6 "transformers==5.24.0"
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import sys

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin

RANK = 2
ATTENTIONS = "down_blocks.0.attentions.0.transformer_blocks.0"
ALPHAS = {
    f"{ATTENTIONS}.attn1.to_q": 2.0,
    f"{ATTENTIONS}.attn1.to_k": 1.0,
    f"{ATTENTIONS}.attn2.to_q": 1.0,
    "down_blocks.0.downsamplers.0.conv": 4.0,
}
unet = UNet2DConditionModel(
    block_out_channels=(32, 32), layers_per_block=1, cross_attention_dim=16, attention_head_dim=4, norm_num_groups=8,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
)
file = {}
for path, alpha in ALPHAS.items():
    outputs, inputs, *kernel = unet.get_submodule(path).weight.shape
    name = "lora_unet_" + path.replace(".", "_")
    file[f"{name}.lora_down.weight"] = torch.ones(RANK, inputs, *kernel)
    file[f"{name}.lora_up.weight"] = torch.ones(outputs, RANK, *(1 for _ in kernel))
    file[f"{name}.alpha"] = torch.tensor(alpha)
state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(file, unet_config=unet.config)
StableDiffusionLoraLoaderMixin.load_lora_into_unet(state, alphas, unet, adapter_name="file")
said = []
for path, alpha in ALPHAS.items():
    factor = unet.get_submodule(path).scaling["file"]
    said.append(f"{path}: alpha {alpha}, factor {factor}, alpha / rank is {alpha / RANK}")
print("\n".join(said))
sys.exit([line.split("factor ")[1] for line in said] != [
    "0.5, alpha / rank is 1.0", "0.5, alpha / rank is 0.5", "0.5, alpha / rank is 0.5", "2.0, alpha / rank is 2.0",
])
PYTHON
