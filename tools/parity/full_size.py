#!/usr/bin/env python3
"""Whether diffuscope computes what diffusers does on models of full size: SD 1.5 and SD 2 with random weights.

    cargo build --release
    python tools/parity/full_size.py FOLDER [sd15|sd2 ...] [--steps 2] [--size 256] [--write]

FOLDER is for what is made on the way: 3 GB a checkpoint, which stays there and is taken again. Both read the same f16 files
and compute in f32 on the CPU, from the same seed and so the same latents. Prints a table of how far apart every tensor of the
run is, and with --write puts it into docs/parity.md. Needs the packages of tools/fixtures/requirements.txt, 9 GB of memory,
and some minutes. Exits with 1 where anything is further apart than it may be.
"""
import argparse
import multiprocessing
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "fixtures"))
DIFFUSCOPE = ROOT / "target" / "release" / "diffuscope"
PAGE = ROOT / "docs" / "parity.md"
BEGIN, END = "<!-- full_size.py begins -->", "<!-- full_size.py ends -->"

NAMES = {"sd15": "SD 1.5", "sd2": "SD 2"}
PROMPT, NEGATIVE_PROMPT, SEED = "painting depicting the sea, sunrise, ship", "people, text", 42
# What tests/library/parity/run.rs asks of a whole run.
BOUND = 1e-3


def make(kind, checkpoint):
    import random_checkpoint

    random_checkpoint.write(kind, checkpoint)


def diffusers_run(checkpoint, settings, out):
    """Every tensor of diffusers' run, in the file `out`, under the names that `diffuscope run --dump` has."""
    import torch
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import save_file

    from runs import explicit_run

    pipe = StableDiffusionPipeline.from_pretrained(
        checkpoint, variant="fp16", dtype=torch.float32, safety_checker=None, requires_safety_checker=False)
    stages = {"prompt_embeds": "encode_prompt", "negative_prompt_embeds": "encode_prompt", "latents": "get_latent",
              "image": "vae_decode"}
    tensors = {}

    def put(key, tensor):
        if key != "timesteps":
            tensors[f"{stages[key]}/{key}" if key in stages else key] = tensor.contiguous().clone()

    with torch.no_grad():
        explicit_run(pipe, settings, put)
    save_file(tensors, out)


def diffuscope_run(checkpoint, settings, out):
    subprocess.run([
        DIFFUSCOPE, "run", "--model", checkpoint, "--device", "cpu", "--dtype", "f32", "--dump", out,
        "-o", f"{out}.png", "--prompt", settings["prompt"], "--negative-prompt", settings["negative_prompt"],
        "--steps", str(settings["num_inference_steps"]), "--seed", str(settings["seed"]),
        "--guidance-scale", str(settings["guidance_scale"]), "--eta", str(settings["eta"]),
        "--width", str(settings["width"]), "--height", str(settings["height"])], check=True)


def alone(function, *args):
    """In a process of its own: what it took of memory is given back."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=args)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{function.__name__}{args}: exit code {process.exitcode}")


def differences(theirs, ours):
    """Of each of their tensors: its name, max |a - b|, and ‖a - b‖ / ‖b‖ as the tests have it."""
    from safetensors.torch import load_file

    theirs, ours = load_file(theirs), load_file(ours)
    for name, expected in theirs.items():
        found = ours[name]
        assert found.shape == expected.shape, f"{name}: {tuple(found.shape)}, expected {tuple(expected.shape)}"
        difference = found.double() - expected.double()
        yield name, difference.abs().max().item(), (difference.norm() / expected.double().norm()).item()


def in_order(row):
    stage, name = row[1].split("/")
    return ["encode_prompt", "get_latent", "denoise", "vae_decode"].index(stage.split(".")[0]), stage, name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("kinds", nargs="*", metavar="sd15|sd2", default=[])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    kinds = args.kinds or list(NAMES)
    if unknown := set(kinds) - set(NAMES):
        parser.error(f"{', '.join(unknown)}: expected {' or '.join(NAMES)}")
    if not DIFFUSCOPE.exists():
        parser.error(f"{DIFFUSCOPE}: no such file; `cargo build --release` makes it")
    settings = dict(prompt=PROMPT, negative_prompt=NEGATIVE_PROMPT, seed=SEED, guidance_scale=7.5, eta=0.0,
                    num_inference_steps=args.steps, width=args.size, height=args.size)
    rows = []
    for kind in kinds:
        checkpoint = args.folder / kind
        if not (checkpoint / "model_index.json").exists():
            alone(make, kind, checkpoint)
        theirs, ours = (args.folder / f"{kind}.{whose}.safetensors" for whose in ("diffusers", "diffuscope"))
        alone(diffusers_run, checkpoint, settings, theirs)
        diffuscope_run(checkpoint, settings, ours)
        rows += sorted(((NAMES[kind], *row) for row in differences(theirs, ours)), key=in_order)
    table = "\n".join([
        *versions(args), "", "| model | tensor | max. difference | relative |", "|---|---|---|---|",
        *(f"| {kind} | `{name}` | {absolute:.1e} | {relative:.1e} |" for kind, name, absolute, relative in rows)])
    print(table)
    if args.write:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}")
    if wrong := [row for row in rows if not row[3] <= BOUND]:
        sys.exit(f"further apart than {BOUND}: {', '.join(f'{row[0]} {row[1]}' for row in wrong)}")


def versions(args):
    import diffusers
    import torch
    import transformers

    ours = subprocess.run([DIFFUSCOPE, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    yield (f"{ours}; diffusers {diffusers.__version__}, transformers {transformers.__version__}, torch "
           f"{torch.__version__}; {platform.machine()}. {args.steps} steps at {args.size} px, guidance scale 7.5, seed {SEED}.")


if __name__ == "__main__":
    main()
