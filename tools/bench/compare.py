#!/usr/bin/env python3
"""Times diffuscope and diffusers side by side on the CPU, and reports ratios.

    cargo build --release --bins --benches
    python tools/bench/compare.py [--model FOLDER] [--only NAME,…] [--write]

Both sides take turns (A B A B …), each warmed up, and a ratio is of what was measured one after the other. Without FOLDER, a
large checkpoint in the diffusers layout (`python tools/parity/random_checkpoint.py sd2 FOLDER` makes one of Stable Diffusion
2's size), only the bundled model is measured. With --write the tables go into docs/benchmarks.md; those of parts that --only
left out stay as they are. Wants a quiet machine, the packages of tools/fixtures/requirements.txt, 8 GB of memory for the large
model, and valgrind for `instructions`. Everything takes about half an hour on two cores.
"""
import argparse
import glob
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
PROGRAM = ROOT / "target" / "release" / "diffuscope"
POCKET = ROOT / "models" / "pocket"
PEER = pathlib.Path(__file__).with_name("peer.py")


def bench(name):
    """The newest build of a bench."""
    found = [file for file in glob.glob(str(ROOT / f"target/release/deps/{name}-*")) if not file.endswith(".d")]
    if not found:
        sys.exit(f"no bench {name}: run cargo build --release --bins --benches first")
    return max(found, key=os.path.getmtime)


def told(command, **environment):
    """What a command prints as JSON, with its wall time and its own peak memory."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=errors, text=True,
                                   env=os.environ | {key: str(value) for key, value in environment.items()})
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        if status != 0:
            errors.seek(0)
            sys.exit(f"{command[0]} failed: {errors.read().strip()[-500:]}")
    lines = [line for line in out.splitlines() if line.startswith("{")]
    return (json.loads(lines[-1]) if lines else {}) | {"wall_s": wall, "rss_mb": usage.ru_maxrss // 1024}


def ours(model, part, size, repeat, *more, **environment):
    return told([bench("step"), "--model", model, "--part", part, "--size", size, "--repeat", repeat, *more], **environment)


def theirs(folder, part, *more, **environment):
    return told([sys.executable, PEER, folder, part, *more], **environment)


def spread(samples, unit="s", digits=2):
    scale = 1e3 if unit == "ms" else 1
    low, middle, high = (scale * f(samples) for f in (min, statistics.median, max))
    return f"{middle:.{digits}f} {unit} ({low:.{digits}f} to {high:.{digits}f})"


def turns(rounds, a, b, samples=lambda told: told["samples_s"]):
    """Both in turn: all samples of each, the ratio of each round's medians, and what was told last."""
    pairs = [(a(), b()) for _ in range(rounds)]
    ratios = sorted(statistics.median(samples(x)) / statistics.median(samples(y)) for x, y in pairs)
    flat = lambda side: [sample for pair in pairs for sample in samples(pair[side])]
    return flat(0), flat(1), ratios, pairs[-1]


def of(ratios):
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def row(*cells):
    return "| " + " | ".join(cells) + " |"


HEAD = [row("", "diffuscope", "diffusers", "ratio", "at most"), "|---|---|---|---|---|"]


def pocket(_):
    wall = lambda told: [told["wall_s"]]
    with tempfile.TemporaryDirectory() as folder:
        mine = lambda: told([PROGRAM, "run", "--steps", 50, "-o", f"{folder}/a.png"])
        peer = lambda: theirs(POCKET, "run", "--steps", 50, "--out", f"{folder}/b.png")
        mine(), peer()
        whole = turns(5, mine, peer, wall)
    steps = turns(5, lambda: told([bench("stepping"), "step", "--steps", 50]), lambda: theirs(POCKET, "step"))
    return HEAD + [
        row("whole run of 50 steps, process start to PNG, 5 runs", spread(whole[0]), spread(whole[1]), of(whole[2]), "0.3"),
        row("one guided step inside the debugger, everything recorded, 5 × 50", spread(steps[0], "ms", 1),
            spread(steps[1], "ms", 1), of(steps[2]), "0.7"),
    ]


def instructions(_):
    """Instructions of ten steps: what a run of twelve takes more than one of two. Takes ten minutes."""
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        for how in ("run", "step"):
            for steps in (2, 12):
                command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", bench("stepping"), how, "--steps",
                           str(steps)]
                process = subprocess.run(command, capture_output=True, text=True, check=True,
                                         env=os.environ | {"RAYON_NUM_THREADS": "1"})
                counts[how, steps] = int(re.search(r"refs: +([\d,]+)", process.stderr)[1].replace(",", ""))
    run, step = (counts[how, 12] - counts[how, 2] for how in ("run", "step"))
    return [row("ten steps, instructions", "alone", "inside the debugger", "ratio", "at most"), "|---|---|---|---|---|",
            row("the bundled model", f"{run / 1e6:.0f} M", f"{step / 1e6:.0f} M", f"{step / run:.3f}", "1.03")]


def large(args):
    rows, model = list(HEAD), args.model
    for part, name in (("unet", "guided UNet step"), ("vae", "VAE decode")):
        mine, peer, ratios, last = turns(3, lambda: ours(model, part, 512, 2),
                                         lambda: theirs(model, part, "--size", 512, "--repeat", 2))
        rows.append(row(f"{name}, 3 × 2 runs", spread(mine), spread(peer), of(ratios), "1.0, aim 0.8"))
        half = theirs(model, part, "--size", 512, "--repeat", 3, "--dtype", "bfloat16")["samples_s"]
        ratio = statistics.median(mine) / statistics.median(half)
        rows.append(row(f"{name}, diffusers in bf16, 3 runs", "f32, as above", spread(half), f"{ratio:.2f}", ""))
    return rows


def memory(args):
    rows, model = list(HEAD), args.model
    with tempfile.TemporaryDirectory() as folder:
        mine = told([PROGRAM, "run", "--model", model, "--steps", 2, "--width", 512, "--height", 512, "--prompt", "red apple", "-o", f"{folder}/a.png"])
    peer = theirs(model, "run", "--steps", 2, "--size", 512)
    a, b = mine["rss_mb"], peer["rss_mb"]
    rows.append(row("peak memory of a full run (2 steps), f16 files computed in f32", f"{a} MiB", f"{b} MiB", f"{a / b:.2f}", "0.8"))
    loads = turns(3, lambda: ours(model, "unet", 64, 1), lambda: theirs(model, "load"), lambda told: [told["load_s"]])
    rows.append(row("loading, files in the system's cache, 3 times", spread(loads[0]), spread(loads[1]), of(loads[2]), "1"))
    return rows


def narrow(args):
    kept, widened, ratios, last = turns(3, lambda: ours(args.model, "unet", 512, 2),
                                        lambda: ours(args.model, "unet", 512, 2, "--widen"))
    a, b = (side["loaded_rss_mb"] for side in last)
    return [row("guided UNet step", "f16 files kept in 16 bits", "widened when loaded", "ratio", "at most"), "|---|---|---|---|---|",
            row("time, 3 × 2 runs", spread(kept), spread(widened), of(ratios), "1.05"),
            row("peak memory of loading the whole model", f"{a} MiB", f"{b} MiB", f"{a / b:.2f}", "")]


def scaling(args):
    rows = [row("guided UNet step, 2 runs", "1 thread", "2 threads", "times as fast"), "|---|---|---|---|"]
    for size in (256, 512, 768):
        one, two = (ours(args.model, "unet", size, 2, RAYON_NUM_THREADS=threads)["median_s"] for threads in (1, 2))
        rows.append(row(f"{size} px", f"{one:.2f} s", f"{two:.2f} s", f"{one / two:.2f}"))
    return rows


PARTS = {
    "pocket": (pocket, "### The bundled model, f32"),
    "instructions": (instructions, "### What recording costs"),
    "large": (large, "### A model of Stable Diffusion 2's size, 512 px, f32"),
    "memory": (memory, "### Its memory and its loading"),
    "narrow": (narrow, "### Weights of 16 bits, computed in f32"),
    "scaling": (scaling, "### How it scales"),
}
OF_MODEL = ("large", "memory", "narrow", "scaling")


def machine():
    names = [line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")] if pathlib.Path("/proc/cpuinfo").exists() else []
    import diffusers
    import torch
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores; diffusers {diffusers.__version__}, torch {torch.__version__}"


def write(name, text):
    begin, end = f"<!-- compare.py {name} begins -->", f"<!-- compare.py {name} ends -->"
    page = PAGE.read_text()
    before, rest = page.split(begin)
    PAGE.write_text(before + begin + "\n" + text + "\n" + end + rest.split(end)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a large checkpoint's folder")
    parser.add_argument("--only", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    args = parser.parse_args()
    wanted = args.only.split(",") if args.only else [name for name in PARTS if args.model or name not in OF_MODEL]
    for name in wanted:
        if name not in PARTS:
            parser.error(f"no part {name}: expected some of {', '.join(PARTS)}")
        if name in OF_MODEL and not args.model:
            parser.error(f"{name} wants --model FOLDER")
    for name in wanted:
        measure, title = PARTS[name]
        text = "\n".join([title, "", *measure(args), "", f"On {machine()}."])
        print(text, flush=True)
        if args.write:
            write(name, text)


if __name__ == "__main__":
    main()
