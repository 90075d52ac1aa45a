#!/usr/bin/env bash
# diffusers 0.42.1 renames the old names of a VAE's attention (query, key, value, proj_attn) in a single weights file, but not in
# shards: the same tensors in two files with an index load with an attention of random weights. Only the log mentions it.
#
# The reason is in ModelMixin.from_pretrained: `_fix_state_dict_keys_on_load` is called only if `not is_sharded`.
#
# Output seen with diffusers 0.42.1, torch 2.15.0 and safetensors 0.8.0:
#
#   one file:  to_q is the file's query: True
#   two files: to_q is the file's query: False
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
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

diffusers.logging.set_verbosity(diffusers.logging.CRITICAL)
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
STEM = "diffusion_pytorch_model"


def old(key):
    if "attentions" in key:
        for new_name, old_name in OLD.items():
            key = key.replace(f".{new_name}.", f".{old_name}.")
    return key


torch.manual_seed(0)
vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=2, layers_per_block=1)
weights = {old(key): tensor for key, tensor in vae.state_dict().items()}
for folder in ("one", "two"):
    pathlib.Path(folder).mkdir()
    vae.save_config(folder)
save_file(weights, f"one/{STEM}.safetensors")
keys, index = sorted(weights), {}
for number in (0, 1):
    name = f"{STEM}-0000{number + 1}-of-00002.safetensors"
    part = {key: weights[key] for key in keys[number::2]}
    save_file(part, f"two/{name}")
    index |= dict.fromkeys(part, name)
with open(f"two/{STEM}.safetensors.index.json", "w") as file:
    json.dump({"metadata": {"total_size": 0}, "weight_map": index}, file)

query = weights["encoder.mid_block.attentions.0.query.weight"]
same = {}
for folder in ("one", "two"):
    loaded = AutoencoderKL.from_pretrained(folder)
    same[folder] = torch.equal(loaded.encoder.mid_block.attentions[0].to_q.weight, query)
print("one file:  to_q is the file's query:", same["one"])
print("two files: to_q is the file's query:", same["two"])
sys.exit(same != {"one": True, "two": False})
PYTHON
