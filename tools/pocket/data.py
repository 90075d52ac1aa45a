"""The drawings: fetched from npm, rendered to RGBA, kept as lossless WebP in one file that a machine without internet can
be given. Everything after this module reads `drawings.bin` and `drawings.json` and nothing else."""
import base64
import copy
import hashlib
import io
import json
import tarfile
import urllib.request

import numpy as np
from PIL import Image

SIZE = 128  # pixels, each side
REGISTRY = "https://registry.npmjs.org"

# name, version, what the registry's own `dist.integrity` says of the tarball
PACKAGES = [
    ("@iconify-json/noto", "1.2.9",
     "sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw=="),
    ("@iconify-json/fluent-emoji-flat", "1.2.6",
     "sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw=="),
    ("@iconify-json/fluent-emoji", "1.2.7",
     "sha512-D8G6bKAyIsyxP1rzZtIWr/gg/fO4Rg1+DyCWlfqKK4h8W+4Em/Y0P6QYgJUQTlUcagzJvSyg+9OBv4hz4Hc/QA=="),
    ("emojibase-data", "17.0.0",
     "sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA=="),
]
STYLES = {"noto": "@iconify-json/noto", "flat": "@iconify-json/fluent-emoji-flat", "glossy": "@iconify-json/fluent-emoji"}
GROUPS = (0, 1, 3, 4, 5, 6, 7, 8)  # emojibase's, without components and flags; pictures are asked for of 3 to 7 only
OBJECT_GROUPS = (3, 4, 5, 6, 7)  # animals and nature, food, travel, activities, objects


def fetch(folder):
    """The npm packages, each into `folder`/NAME.tgz, checked against the integrity above. Returns name → path."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, version, integrity in PACKAGES:
        short = name.split("/")[-1]
        path = folder / f"{short}-{version}.tgz"
        if not path.exists():
            print(f"fetch {name} {version}", flush=True)
            with urllib.request.urlopen(f"{REGISTRY}/{name}/-/{short}-{version}.tgz") as answer:
                path.write_bytes(answer.read())
        found = "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
        if found != integrity:
            path.unlink()
            raise SystemExit(f"{name} {version}: integrity is {found}, expected {integrity}; the file was removed")
        paths[name] = path
    return paths


def read_json(tarball, inside):
    with tarfile.open(tarball) as tar:
        return json.load(tar.extractfile(f"package/{inside}"))


def emoji(tarball):
    """emojibase's entries of `GROUPS`: dicts with code (lower case, without variation selectors), label, tags, group.
    Skin tones are inside an entry there, so they are left out by not being looked for."""
    entries = []
    for entry in read_json(tarball, "en/data.json"):
        if entry.get("group") in GROUPS:
            entries.append({"code": plain_code(entry["hexcode"]), "label": entry["label"].replace("’", "'"),
                            "tags": [tag.replace("’", "'") for tag in entry.get("tags", [])], "group": entry["group"]})
    return entries


def plain_code(code):
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def render(fetched, folder):
    """Every drawing of the three styles that has an entry in emojibase → `folder`/drawings.bin and drawings.json."""
    import resvg_py

    entries = emoji(fetched["emojibase-data"])
    names_by_code = {plain_code(code): name for code, name in
                     read_json(fetched[STYLES["flat"]], "chars.json").items()}
    table, offset = [], 0
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "drawings.bin.tmp", "wb") as file:
        for style, package in STYLES.items():
            icons = read_json(fetched[package], "icons.json")
            # glossy has no code points, but the names of flat
            names = names_by_code if style == "glossy" else {
                plain_code(code): name for code, name in read_json(fetched[package], "chars.json").items()}
            before = len(table)
            for entry in entries:
                icon = icons["icons"].get(names.get(entry["code"], ""))
                if icon is None:
                    continue
                box = [icon.get(key, icons.get(key, default)) for key, default in
                       (("left", 0), ("top", 0), ("width", 16), ("height", 16))]
                svg = (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                       f'viewBox="{" ".join(map(str, box))}" width="{SIZE}" height="{SIZE}">{icon["body"]}</svg>')
                png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE))
                webp = io.BytesIO()
                picture = Image.open(io.BytesIO(png)).convert("RGBA")
                assert picture.size == (SIZE, SIZE), picture.size
                picture.save(webp, "WEBP", lossless=True, quality=60, method=3)  # hidden colours are not kept: smaller
                file.write(webp.getvalue())
                table.append({**entry, "style": style, "offset": offset, "bytes": len(webp.getvalue())})
                offset += len(webp.getvalue())
            print(f"render {style}: {len(table) - before}", flush=True)
    (folder / "drawings.bin.tmp").rename(folder / "drawings.bin")
    (folder / "drawings.json").write_text(json.dumps(table, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def ready(folder):
    return (folder / "drawings.json").exists()


class Drawings:
    """`table`: one dict a drawing (code, label, tags, group, style). `rgba`: uint8, (drawings, 128, 128, 4)."""

    def __init__(self, folder):
        self.table = json.loads((folder / "drawings.json").read_text(encoding="utf-8"))
        data = (folder / "drawings.bin").read_bytes()
        self.rgba = np.empty((len(self.table), SIZE, SIZE, 4), np.uint8)
        for i, row in enumerate(self.table):
            picture = Image.open(io.BytesIO(data[row["offset"]:row["offset"] + row["bytes"]]))
            self.rgba[i] = np.asarray(picture.convert("RGBA"))

    def __len__(self):
        return len(self.table)


def subset(drawings, keep):
    """Those whose row `keep` wants."""
    chosen = [i for i, row in enumerate(drawings.table) if keep(row)]
    part = copy.copy(drawings)
    part.table, part.rgba = [drawings.table[i] for i in chosen], drawings.rgba[chosen]
    return part


def pack(folder, archive):
    with tarfile.open(archive, "w") as tar:  # WebP does not compress further
        for name in ("drawings.bin", "drawings.json"):
            tar.add(folder / name, arcname=name)
    size = archive.stat().st_size / 1e6
    print(f"{archive}: {size:.1f} MB")
    if size > 50:
        raise SystemExit("more than 50 MB")


def unpack(archive, folder):
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
