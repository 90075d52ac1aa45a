#!/usr/bin/env python3
"""The bundled model from nothing:

    python tools/pocket/make.py --preset gpu --device cuda --out models/pocket

fetches, renders, trains, evaluates and writes. Stopped anywhere, or by `--minutes`, the same command goes on where it was.

    python tools/pocket/make.py fetch                # only what needs the internet
    python tools/pocket/make.py pack drawings.tar    # for a machine without: under 50 MB
    python tools/pocket/make.py unpack drawings.tar  # there
    python tools/pocket/make.py evaluate DIR         # another model's figures and contact sheet, by the same measure
"""
import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import sys

sys.dont_write_bytecode = True
os.environ["HF_HUB_OFFLINE"] = "1"  # everything is local, and shall stay so
ROOT = pathlib.Path(__file__).resolve().parents[2]

import data
from presets import PRESETS


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="all", choices=["all", "fetch", "pack", "unpack", "evaluate"])
    parser.add_argument("path", nargs="?", type=pathlib.Path, help="of pack, unpack and evaluate")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another value in the preset")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 leaves it to torch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="stop after so many, to be continued (exit code 3)")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "target" / "pocket", help="drawings and checkpoints")
    parser.add_argument("--out", type=pathlib.Path, help="where the model goes; WORK/PRESET/model without")
    parser.add_argument("--tokenizer", type=pathlib.Path, default=ROOT / "models" / "pocket" / "tokenizer")
    parser.add_argument("--init-vae", type=pathlib.Path, help="an autoencoder to start from")
    return parser.parse_args()


def chosen_preset(args):
    preset = PRESETS[args.preset]
    kinds = {field.name: field.type for field in dataclasses.fields(preset)}
    for setting in args.set:
        name, _, value = setting.partition("=")
        if name not in kinds:
            sys.exit(f"--set {name}: there are {', '.join(kinds)}")
        old = getattr(preset, name)
        new = type(old)(json.loads(value)) if isinstance(old, (bool, tuple)) else type(old)(value)
        preset = dataclasses.replace(preset, **{name: new})
    return preset


def fetch(args):
    if not data.ready(args.work / "data"):
        data.render(data.fetch(args.work / "npm"), args.work / "data")


def all_of_it(args, preset):
    import torch

    import autoencoder
    import denoiser
    import evaluate
    import export
    import scenes as pictures
    import steps
    import words

    clock = steps.Clock(args.minutes)
    folder = args.work / args.preset
    folder.mkdir(parents=True, exist_ok=True)
    fetch(args)
    everything = data.Drawings(args.work / "data")
    drawings = data.subset(everything, pictures.kept(preset))
    print(f"{len(everything)} drawings, {len(drawings)} of them to be known", flush=True)

    if (folder / "vae").exists():
        vae = autoencoder.load(folder / "vae", args.device)
    else:
        styled = data.subset(everything, lambda row: row["style"] in preset.styles)
        vae = autoencoder.train(preset, styled, folder, args.device, args.seed, clock, args.init_vae)
        if not preset.vae_decoder_only:
            autoencoder.set_scaling_factor(vae, drawings, args.device, args.seed)
        vae.save_pretrained(folder / "vae.tmp")
        (folder / "vae.tmp").rename(folder / "vae")

    scenes = pictures.all_scenes(preset, drawings, args.seed)
    latents = pictures.encode(vae, scenes, drawings, folder, args.device, clock)
    vocabulary = words.Vocabulary(args.tokenizer, drawings.table)
    material = scenes, latents.to(args.device), drawings, vocabulary
    torch.manual_seed(args.seed)
    encoder = words.build_encoder(preset, len(vocabulary)).to(args.device)
    unet = denoiser.build_unet(preset)
    painter = denoiser.pretrain_text(encoder, material, preset, folder, args.device, args.seed, clock)
    denoiser.train(encoder, unet, painter, material, preset, folder, args.device, args.seed, clock)
    if preset.settle_steps:
        known = {row["code"] for row in drawings.table}
        others = data.subset(everything, lambda row: row["style"] in preset.styles and row["code"] not in known)
        (folder / "strangers").mkdir(exist_ok=True)
        strangers = pictures.encode(vae, pictures.strangers(others, args.seed), others, folder / "strangers", args.device, clock)
        denoiser.settle(encoder, unet, material, strangers, preset, folder, args.device, args.seed, clock)

    model = folder / "model"
    factors = export.rgb_factors(vae, drawings, args.device, args.seed)
    export.write(model, vae, encoder, unet, denoiser.build_scheduler(), vocabulary, preset, args.tokenizer, factors)
    figures = judge(args, preset, model, everything, drawings, model)
    names = evaluate.known_labels(drawings)
    export.readme(model, figures, preset, {"things": len(names), "drawings": len(drawings), "names": names},
                  training_lines(args, preset, folder))
    print(f"{export.check_size(model) / 1e6:.1f} MB in {model}")
    if args.out:
        shutil.copytree(model, args.out, dirs_exist_ok=True)


def judge(args, preset, model, everything, drawings, out):
    """Figures of the model in `model`, loaded as anybody would; contact sheet and figures.json into `out`."""
    import torch
    from diffusers import StableDiffusionPipeline

    import evaluate
    import export

    pipe = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32).to(args.device)
    figures, kept = evaluate.evaluate(pipe, drawings, everything, preset.prompts, preset.pairs > 0, args.device)
    out.mkdir(parents=True, exist_ok=True)
    export.contact_sheet(out / "contact.png", kept)
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))
    return figures


def training_lines(args, preset, folder):
    """What the README says of the training: the last line of each stage's log, and the command."""
    lines = [f"`{' '.join(['tools/pocket/make.py', *public(sys.argv[1:])])}`"]
    if args.init_vae:
        lines.append("autoencoder: not from nothing, see the command")
    for name in ("autoencoder", "text", "denoiser", "settle"):
        log = folder / f"{name}.log"
        if log.exists():
            lines.append(log.read_text(encoding="utf-8").splitlines()[-1])
    import torch
    device = torch.cuda.get_device_name() if args.device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return {"lines": lines, "device": device}


def public(words):
    """Arguments without this machine's folders."""
    kept, skip = [], False
    for word in words:
        if not skip and word not in ("--work", "--out", "--minutes", "--threads"):
            kept.append(word)
        skip = not skip and word in ("--work", "--out", "--minutes", "--threads")
    return kept


def main():
    args = arguments()
    if args.what in ("pack", "unpack", "evaluate") and args.path is None:
        sys.exit(f"{args.what}: which path?")
    if args.what == "fetch":
        return fetch(args)
    if args.what == "pack":
        fetch(args)
        return data.pack(args.work / "data", args.path)
    if args.what == "unpack":
        return data.unpack(args.path, args.work / "data")

    import diffusers
    import torch
    import transformers

    for library in (transformers, diffusers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision("high")  # of matter on a GPU only
    preset = chosen_preset(args)
    if args.what == "evaluate":
        import scenes as pictures
        everything = data.Drawings(args.work / "data")
        judge(args, preset, args.path, everything, data.subset(everything, pictures.kept(preset)),
              args.out or args.work / "evaluation")
        return
    import steps
    try:
        all_of_it(args, preset)
    except steps.OutOfTime as so_far:
        print(f"out of time, {so_far}; run the same command again")
        sys.exit(3)


if __name__ == "__main__":
    main()
