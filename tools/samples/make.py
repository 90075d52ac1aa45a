#!/usr/bin/env python3
"""Makes lessons/samples/*.png again, from the repository root:

    python tools/samples/make.py FOLDER

FOLDER holds drawings.bin and drawings.json, which tools/pocket/make.py fetches and renders. Needs numpy and Pillow.
"""
import pathlib
import sys

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "pocket"))
sys.dont_write_bytecode = True

from data import SIZE, Drawings  # noqa: E402

# name: style, emojibase's label, colour of the ground as tools/pocket/captions.py names it, share of the side that it takes
SAMPLES = {
    "apple": ("flat", "red apple", (50, 110, 220), 0.80),  # blue
    "cat": ("flat", "cat face", (60, 170, 75), 0.85),  # green
    "house": ("flat", "house", (250, 215, 60), 0.85),  # yellow
    "pizza": ("flat", "pizza", (90, 205, 220), 0.85),  # cyan
}


def sample(drawings, style, label, ground, share):
    rows = [i for i, row in enumerate(drawings.table) if (row["style"], row["label"]) == (style, label)]
    if len(rows) != 1:
        sys.exit(f"{style} {label}: {len(rows)} drawings; expected one")
    side = round(SIZE * share)
    drawing = Image.fromarray(drawings.rgba[rows[0]]).resize((side, side), Image.LANCZOS)
    picture = Image.new("RGBA", (SIZE, SIZE), (*ground, 255))
    place = (SIZE - side) // 2
    picture.alpha_composite(drawing, (place, place))
    return picture.convert("RGB")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    drawings = Drawings(pathlib.Path(sys.argv[1]))
    for name, wanted in SAMPLES.items():
        file = ROOT / "lessons" / "samples" / f"{name}.png"
        sample(drawings, *wanted).save(file, optimize=True)
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
