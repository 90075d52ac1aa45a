#!/usr/bin/env python3
"""Times diffuscope and diffusers side by side on the bundled model, and reports the ratio.

    cargo build --release && python tools/bench/compare.py [--runs 5] [--steps 50]

Whole runs, from process start to PNG, alternating, after one of each to warm the caches. Wants a quiet machine, and the
packages of tools/fixtures/requirements.txt.
"""
import argparse, pathlib, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT = "red apple on a blue background"
DIFFUSERS = """
import sys, torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(sys.argv[1], torch_dtype=torch.float32)
pipe.set_progress_bar_config(disable=True)
image = pipe(sys.argv[2], num_inference_steps=int(sys.argv[3]), guidance_scale=7.5, height=128, width=128,
             generator=torch.Generator("cpu").manual_seed(0)).images[0]
image.save(sys.argv[4])
"""


def timed(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ours = [str(ROOT / "target/release/diffuscope"), "run", "--steps", str(args.steps), "-o", f"{folder}/a.png"]
        theirs = [sys.executable, "-c", DIFFUSERS, str(ROOT / "models/pocket"), PROMPT, str(args.steps), f"{folder}/b.png"]
        timed(ours), timed(theirs)
        samples = [(timed(ours), timed(theirs)) for _ in range(args.runs)]
    ratios = sorted(a / b for a, b in samples)
    for name, column in zip(("diffuscope", "diffusers"), zip(*samples)):
        print(f"{name:10}  median {statistics.median(column):6.2f} s   from {min(column):.2f} to {max(column):.2f}")
    print(f"ratio       median {statistics.median(ratios):6.2f}     from {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
