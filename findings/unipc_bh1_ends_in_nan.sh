#!/usr/bin/env bash
# UniPCMultistepScheduler with `solver_type` "bh1", one of its two documented values, and defaults otherwise: the last step gives NaN
# everywhere, and the pipeline a black picture. With bh1 B(h) is h, which is infinite at the last step because the last sigma is 0
# (`final_sigmas_type` "zero", the default); the update has order 1 there, and multiplies it by 0. "bh2" has finite numbers.
#
# Output seen with diffusers 0.42.1 and torch 2.15.0:
#
#   bh1: NaN after steps [5] of 0 to 5
#   bh2: NaN after steps [] of 0 to 5
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
from diffusers import UniPCMultistepScheduler

STEPS = 6
seen = {}
for solver_type in ("bh1", "bh2"):
    scheduler = UniPCMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", solver_type=solver_type)
    scheduler.set_timesteps(STEPS)
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 4, 8, 8, generator=generator)
    nan = []
    for index, timestep in enumerate(scheduler.timesteps):
        prediction = torch.randn(1, 4, 8, 8, generator=generator)
        sample = scheduler.step(prediction, timestep, sample).prev_sample
        if sample.isnan().all():
            nan.append(index)
    print(f"{solver_type}: NaN after steps {nan} of 0 to {STEPS - 1}")
    seen[solver_type] = nan
sys.exit(seen != {"bh1": [5], "bh2": []})
PYTHON
