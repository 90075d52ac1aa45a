"""The folder that diffusers and diffuscope read: parts in f16, previews' factors, contact sheet, README."""
import json
import shutil

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

import autoencoder
import captions
import steps
import words

LIMIT_FILE, LIMIT_FOLDER = 20e6, 40e6  # bytes


@torch.no_grad()
def rgb_factors(vae, drawings, device, seed):
    """Least squares: latents as the UNet sees them → RGB 0 to 1 of the 8×8 pixels they stand for. With r2, the share of
    the variance that this explains."""
    generator = steps.randomness(seed, "factors")
    chosen = torch.randint(len(drawings), (256,), generator=generator)
    background = captions.colour_table()[torch.randint(12, (256,), generator=generator)]
    pictures = autoencoder.compose(torch.from_numpy(drawings.rgba[chosen]), background).to(device)
    latents = autoencoder.encode(vae, pictures).float().cpu().permute(0, 2, 3, 1).reshape(-1, 4).double()
    colours = torch.nn.functional.avg_pool2d((pictures.cpu() + 1) / 2, 8).permute(0, 2, 3, 1).reshape(-1, 3).double()
    known = torch.cat([latents, torch.ones(len(latents), 1)], 1)
    solution = torch.linalg.lstsq(known, colours).solution
    rest = (known @ solution - colours).square().sum()
    r2 = 1 - rest / (colours - colours.mean(0)).square().sum()
    rounded = [[round(value, 5) for value in row] for row in solution.tolist()]
    return {"factors": rounded[:4], "bias": rounded[4], "r2": round(r2.item(), 4)}


def write(folder, vae, encoder, unet, scheduler, vocabulary, preset, tokenizer_folder, factors):
    """Everything but README and contact sheet. The folder is written anew."""
    if folder.exists():
        shutil.rmtree(folder)
    pipe = StableDiffusionPipeline(
        vae=vae.cpu(), text_encoder=words.full_encoder(encoder.cpu(), preset, vocabulary), tokenizer=vocabulary.tokenizer,
        unet=unet.cpu(), scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.to(torch.float16).save_pretrained(folder)
    name_for_both_generations(folder / "text_encoder" / "model.safetensors")
    shutil.rmtree(folder / "tokenizer")  # transformers writes one 3.6 MB file more than anybody needs
    shutil.copytree(tokenizer_folder, folder / "tokenizer")
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)  # as every other file
    # Where a part was loaded from is nobody's business; and with "float16" there transformers, unlike diffusers, would
    # load f16 and the pipeline not run unless told a type.
    change(folder / "vae" / "config.json", lambda config: config.pop("_name_or_path", None))
    change(folder / "text_encoder" / "config.json", lambda config: config.update(dtype="float32"))
    (folder / "latent_rgb_factors.json").write_text(json.dumps(factors, indent=1) + "\n", encoding="utf-8")
    check_size(folder)


def name_for_both_generations(path):
    """transformers 5 leaves `text_model.` off the keys of a `CLIPTextModel`, and reads them with it too. transformers 4 reads
    them with it alone: without, it leaves the text encoder random and only logs that."""
    tensors = load_file(path)
    save_file({f"text_model.{key.removeprefix('text_model.')}": tensor for key, tensor in tensors.items()}, path,
              {"format": "pt"})


def change(path, what):
    config = json.loads(path.read_text(encoding="utf-8"))
    what(config)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def check_size(folder):
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    large = [f"{path.relative_to(folder)} has {size / 1e6:.1f} MB" for path, size in sizes.items() if size > LIMIT_FILE]
    if large or sum(sizes.values()) > LIMIT_FOLDER:
        raise SystemExit(f"too large: {', '.join(large) or 'the folder'}; {sum(sizes.values()) / 1e6:.1f} MB in all")
    return sum(sizes.values())


def to_image(picture, side):
    array = (picture.permute(1, 2, 0) * 255).round().byte().numpy()
    return Image.fromarray(array).resize((side, side), Image.LANCZOS)


def contact_sheet(path, kept, columns=12, side=96, objects=60, others=12):
    """Objects at guidance 7.5, the first row of them again at 1, pairs of object and colour seen and held out, two
    objects: in the order of the evaluation, none picked by hand."""
    rows = [("objects on white, guidance 7.5", *kept["objects"], objects),
            ("the first of them again, guidance 1", *kept["objects_at_1"], others),
            ("object and background, seen in training", *kept["seen_pairs"], others),
            ("object and background, never seen together", *kept["held_out_pairs"], 2 * others)]
    if "two" in kept:
        rows.append(("two objects", *kept["two"], 2 * others))
    line, title = 14, 20
    height = sum(title + -(-min(count, len(names)) // columns) * (side + line) for _, names, _, count in rows)
    sheet = Image.new("RGB", (columns * side, height), "white")
    pen, y = ImageDraw.Draw(sheet), 0
    for heading, names, pictures, count in rows:
        pen.text((2, y + 4), heading, fill="black")
        y += title
        for i, (name, picture) in enumerate(zip(names[:count], pictures)):
            x = i % columns * side
            sheet.paste(to_image(picture, side), (x, y))
            pen.text((x + 2, y + side), shorten(name), fill=(90, 90, 90), font_size=9)
            if i % columns == columns - 1 or i == min(count, len(names)) - 1:
                y += side + line
    sheet.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def shorten(name):
    name = name.replace(" on a ", ", ").replace(" background", "")
    return name if len(name) <= 19 else name[:18] + "…"


def percent(value):
    return f"{100 * value:.1f} %"


def readme(folder, figures, preset, counts, training):
    """`counts`: drawings and things known, and the things' names; `training`: one line a stage."""
    def row(name, figure):
        return f"| {name} | {percent(figure['top1'])} | {percent(figure['top5'])} | {figure['pictures']} |"

    factors = json.loads((folder / "latent_rgb_factors.json").read_text())
    megabytes = check_size(folder) / 1e6
    seen, held = figures["seen_pairs"], figures["held_out_pairs"]
    lines = [
        "# pocket: the bundled model", "",
        "A latent diffusion model of emoji with the parts of Stable Diffusion 2, in diffusers' folder layout. Made by",
        "[tools/pocket](../../tools/pocket/README.md); pictures are 128×128 px, latents 4×16×16.", "",
        "| part | what |", "|---|---|",
        f"| `text_encoder` | `CLIPTextModel`, {preset.text_layers} layers, width {preset.text_width}, {preset.text_heads} "
        "heads, exact gelu, CLIP's 49,408 tokens; tokens that no caption had share one embedding |",
        f"| `unet` | `UNet2DConditionModel`, channels {'-'.join(map(str, preset.channels))}, one layer a block, "
        f"cross-attention on levels {', '.join(str(16 >> i) + '×' + str(16 >> i) for i, on in enumerate(preset.attention) if on)} and in the middle |",
        f"| `vae` | `AutoencoderKL`, channels {'-'.join(map(str, preset.vae_channels))}, one layer a block, 4 latent channels, scale 8 |",
        "| `scheduler` | `DDIMScheduler`, v-prediction, scaled_linear 0.00085 to 0.012, offset 1, leading |",
        "| `tokenizer` | CLIP's `vocab.json` and `merges.txt`, pad `<|endoftext|>` |",
        f"| `latent_rgb_factors.json` | latents as the UNet sees them → RGB 0 to 1, least squares; explains {percent(factors['r2'])} of the variance |",
        "", "transformers 4 and 5 both load it: the text encoder's keys have the prefix `text_model.`, which version 4 needs and "
        "version 5 reads too ([measured](../../tools/pocket/README.md#both-generations-of-transformers)).",
        "", f"The folder has {megabytes:.1f} MB. It knows {counts['things']} things ({counts['drawings']} drawings, "
        f"style {', '.join(preset.styles)}) on twelve backgrounds: {', '.join(captions.NAMES)}. Ask as the captions did: "
        "`NAME on a COLOUR background`.", "",
        "<details><summary>The things that it knows</summary>", "", ", ".join(counts["names"]), "", "</details>", "",
        "## What it can do", "",
        "Measured by `tools/pocket/evaluate.py`, which says how; 30 DDIM steps, guidance 7.5 where nothing else is said.", "",
        "| is the nearest of all drawings the object asked for? | nearest | of nearest five | pictures |", "|---|---|---|---|",
        row("`LABEL on a white background`", figures["object_at_7.5"]),
        row("the same at guidance 1", figures["object_at_1"]),
        row("objects on a coloured background", seen),
        row("on a background never seen with that object", held),
    ]
    if "two_objects" in figures:
        lines += [row("two objects, the first one", figures["two_objects"]["first"]),
                  row("two objects, the second one", figures["two_objects"]["second"])]
    lines += [
        row("the drawings through the autoencoder (no denoiser could do better)", figures["through_autoencoder"]),
        row("the drawings themselves (checks the measure)", figures["drawings_themselves"]), "",
        f"- Background colour as asked for: {percent(figures['white_at_7.5'])} on white, {percent(seen['background'])} "
        f"of seen pairs, {percent(held['background'])} of pairs never seen.",
        f"- Autoencoder: {figures['psnr']['dB']} dB on {figures['psnr']['held_out_drawings']} {' and '.join(preset.styles)} drawings held out from its training.",
        f"- A guided step takes {figures['guided_step_seconds']} s in diffusers (f32, {training['device']}).", "",
        "![contact sheet](contact.png)", "", "Pictures in the order of the evaluation, none picked.", "",
        "## How it was made", "", *[f"- {line}" for line in training["lines"]], "",
        "## Licences", "",
        "Weights were trained on drawings of Noto Emoji (Google, Apache-2.0) and Fluent Emoji (Microsoft, MIT), names and",
        "keywords from emojibase-data (MIT). `vocab.json` and `merges.txt` are built from the byte-pair merges published with",
        "OpenAI's CLIP (MIT).",
    ]
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
