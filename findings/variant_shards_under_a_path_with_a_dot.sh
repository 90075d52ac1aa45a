#!/usr/bin/env bash
# Shards of a variant that diffusers 0.30 saved load in diffusers 0.42.1 from `model/unet`, but not from `sd-v1.5/unet`:
# `_fetch_index_file_legacy` builds the name of the index by splitting the whole path at its dots, so that a dot in a folder's name
# puts the variant in the wrong place. Many models have a dot in their name.
#
# Output seen with diffusers 0.42.1, torch 2.15.0 and safetensors 0.8.0:
#
#   model/unet: loads
#   sd-v1.5/unet: OSError: Error no file named diffusion_pytorch_model.fp16.bin found in directory sd-v1.5/unet.
#
# Exits with 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet \
    diffusers==0.42.1 torch==2.15.0 safetensors==0.8.0 "huggingface_hub==2.4.0" "transformers==5.24.0"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
import pathlib
import sys

import diffusers
from diffusers import UNet2DConditionModel

diffusers.logging.set_verbosity(diffusers.logging.CRITICAL)
unet = UNet2DConditionModel(
    sample_size=8, block_out_channels=(8,), down_block_types=("CrossAttnDownBlock2D",),
    up_block_types=("CrossAttnUpBlock2D",), cross_attention_dim=8, attention_head_dim=2, norm_num_groups=2,
    layers_per_block=1)


def as_0_30(name):
    """`….fp16-00001-of-00002.safetensors`, as it was called then."""
    return name.replace(".fp16-", "-").replace(".safetensors", ".fp16.safetensors")


loads = {}
for root in ("model", "sd-v1.5"):
    folder = pathlib.Path(root) / "unet"
    unet.save_pretrained(folder, variant="fp16", max_shard_size="20KB")
    [index] = folder.glob("*.index.fp16.json")
    written = json.loads(index.read_text())
    written["weight_map"] = {key: as_0_30(name) for key, name in written["weight_map"].items()}
    for shard in list(folder.glob("*.safetensors")):
        shard.rename(folder / as_0_30(shard.name))
    index.unlink()
    (folder / "diffusion_pytorch_model.safetensors.fp16.index.json").write_text(json.dumps(written))
    try:
        UNet2DConditionModel.from_pretrained(folder, variant="fp16")
        said = "loads"
    except OSError as error:
        said = f"OSError: {' '.join(str(error).split())}"
    loads[root] = said == "loads"
    print(f"{folder}: {said}")
sys.exit(loads != {"model": True, "sd-v1.5": False})
PYTHON
