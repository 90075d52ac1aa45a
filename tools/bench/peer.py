#!/usr/bin/env python3
"""The diffusers side of compare.py: times one part of a checkpoint on the CPU, and prints one JSON line.

    python tools/bench/peer.py FOLDER unet|vae|step|run [--dtype float32] [--size PX] [--steps 50] [--repeat 5] [--out FILE.png]

unet: one pass of a batch of two; vae: one decode; both once before they are timed. step: every guided step of one run, by
diffusers' own callback; load: loading alone. run: loading, one run and a picture, not warmed up.
"""
import argparse
import json
import resource
import statistics
import time

started = time.perf_counter()
import diffusers  # noqa: E402
import torch  # noqa: E402
from diffusers import DDIMScheduler, StableDiffusionPipeline  # noqa: E402

PROMPT = "red apple on a blue background"


def load(folder, dtype):
    options = dict(torch_dtype=getattr(torch, dtype), safety_checker=None, requires_safety_checker=False)
    try:
        pipe = StableDiffusionPipeline.from_pretrained(folder, variant="fp16", **options)
    except (OSError, ValueError):
        pipe = StableDiffusionPipeline.from_pretrained(folder, **options)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def timed(once, repeat):
    once()
    samples = []
    for _ in range(repeat):
        start = time.perf_counter()
        once()
        samples.append(time.perf_counter() - start)
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("part", choices=["unet", "vae", "step", "run", "load"])
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--size", type=int)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    start = time.perf_counter()
    pipe = load(args.folder, args.dtype)
    load_s = time.perf_counter() - start
    factor = pipe.vae_scale_factor
    size = args.size or pipe.unet.config.sample_size * factor
    side, dtype = size // factor, pipe.unet.dtype
    run = dict(prompt=PROMPT, num_inference_steps=args.steps, guidance_scale=7.5, height=size, width=size,
               generator=torch.Generator("cpu").manual_seed(0))
    if args.part == "unet":
        x, text = (torch.randn(shape, dtype=dtype) for shape in
                   [(2, 4, side, side), (2, 77, pipe.unet.config.cross_attention_dim)])
        samples = timed(lambda: pipe.unet(x, 981, encoder_hidden_states=text).sample, args.repeat)
    elif args.part == "vae":
        x = torch.randn(1, 4, side, side, dtype=dtype)
        samples = timed(lambda: pipe.vae.decode(x).sample, args.repeat)
    elif args.part == "load":
        samples = [load_s]
    elif args.part == "step":
        ends = []
        def ended(pipe, step, timestep, kwargs):
            ends.append(time.perf_counter())
            return kwargs
        pipe(**run, callback_on_step_end=ended)
        samples = [b - a for a, b in zip(ends, ends[1:])]
    else:
        image = pipe(**run).images[0]
        if args.out:
            image.save(args.out)
        samples = [time.perf_counter() - started]
    print(json.dumps(dict(
        peer=f"diffusers {diffusers.__version__}, torch {torch.__version__}", threads=torch.get_num_threads(),
        median_s=statistics.median(samples), samples_s=samples, load_s=load_s,
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)))


if __name__ == "__main__":
    main()
