#!/usr/bin/env bash
# The attribute `scale` of diffusers' Attention has no effect. Its default processor, AttnProcessor2_0, gives the queries to torch's
# scaled_dot_product_attention, which takes 1/sqrt(d) from their shape. The older AttnProcessor, which people set to look at
# attention maps, reads `scale`. So a model that was made with another scale, or whose `scale` is changed, computes two different
# things under its two processors, and a change of `scale` alone changes nothing and says nothing.
#
# Output seen with diffusers 0.42.1 and torch 2.15.0:
#
#   scale 1/sqrt(d): the processors agree
#   scale 1: AttnProcessor2_0 ignores it, AttnProcessor follows it
#
# Exits with 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet diffusers==0.42.1 torch==2.15.0 numpy==2.4.6 "transformers==5.24.0"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0

torch.manual_seed(0)
attention = Attention(query_dim=32, heads=4, dim_head=8)
hidden_states = torch.randn(1, 16, 32)


def outputs(scale):
    attention.scale = scale
    made = []
    for processor in (AttnProcessor2_0(), AttnProcessor()):
        attention.set_processor(processor)
        with torch.no_grad():
            made.append(attention(hidden_states))
    return made


usual = outputs(8**-0.5)
other = outputs(1.0)
said = []
if torch.allclose(*usual, atol=1e-6):
    said.append("scale 1/sqrt(d): the processors agree")
if torch.equal(other[0], usual[0]) and not torch.allclose(other[1], usual[1], atol=1e-2):
    said.append("scale 1: AttnProcessor2_0 ignores it, AttnProcessor follows it")
print("\n".join(said))
sys.exit(len(said) != 2)
PYTHON
