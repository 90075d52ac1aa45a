#!/usr/bin/env bash
# LMSDiscreteScheduler that begins in the middle of its schedule, as every image-to-image pipeline lets it, overshoots its first
# steps. It takes the order of a step from its place in the schedule, so that the first step computes the four coefficients of
# order 4, and then has one derivative to use with the first of them. If the model predicts the same noise at every step, any
# consistent method moves from sigma to sigma' exactly; LMS moves 1.56 times as far. From the start of the schedule it is exact.
#
# Output seen with diffusers 0.42.1 and torch 2.15.0:
#
#   begin at 0: the first steps go 1.00 1.00 1.00 1.00 of the way
#   begin at 4: the first steps go 1.56 0.77 1.04 1.00 of the way
#
# Exits with 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet diffusers==0.42.1 torch==2.15.0 numpy==2.4.6 scipy==1.17.1 "transformers==5.24.0"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers import LMSDiscreteScheduler

noise = torch.ones(1, 4, 8, 8)
said = []
for begin in (0, 4):
    scheduler = LMSDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler.set_timesteps(10)
    scheduler.set_begin_index(begin)
    sample = torch.zeros(1, 4, 8, 8)
    ways = []
    for index in range(begin, begin + 4):
        timestep = scheduler.timesteps[index]
        scheduler.scale_model_input(sample, timestep)
        after = scheduler.step(noise, timestep, sample).prev_sample
        exact = scheduler.sigmas[index + 1] - scheduler.sigmas[index]
        ways.append(((after - sample).mean() / exact).item())
        sample = after
    said.append(f"begin at {begin}: the first steps go {' '.join(f'{way:.2f}' for way in ways)} of the way")
    print(said[-1])
sys.exit(said != [
    "begin at 0: the first steps go 1.00 1.00 1.00 1.00 of the way",
    "begin at 4: the first steps go 1.56 0.77 1.04 1.00 of the way",
])
PYTHON
