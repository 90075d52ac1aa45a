"""What the model can do, as figures. The measures were fixed before the first training and shall stay: figures in READMEs
compare only while they do.

Object: of the generated picture, and of every rendered drawing on white, the background (the median of the border) is
taken away, what is left is put on white and reduced to 32×32 RGB and coverage. The nearest drawing, by Euclidean distance
among all drawings of all three styles and all groups, is a drawing of the object asked for (any style): top 1. One of the
nearest five drawings is: top 5.
Background: the median colour of the border is nearer to the named colour than to the eleven others, in RGB.
Autoencoder: PSNR of whole 128 px drawings which it was not trained on, each on a random named background, the mean over
drawings; in dB, of colours from 0 to 1."""
import statistics
import time

import torch
from torch.nn import functional as F

import autoencoder
import captions
import data
import steps

STEPS, GUIDANCE, BATCH = 30, 7.5, 25


def border_colour(pictures):
    """(n, 3, 128, 128) → (n, 3): the median of the two outermost rows and columns."""
    edge = torch.cat([pictures[:, :, :2].flatten(2), pictures[:, :, -2:].flatten(2),
                      pictures[:, :, 2:-2, :2].flatten(2), pictures[:, :, 2:-2, -2:].flatten(2)], -1)
    return edge.median(-1).values


def features(pictures):
    """Pictures, 0 to 1 → (n, 4·32·32): the object on white, and where it is."""
    background = border_colour(pictures)[:, :, None, None]
    apart = (pictures - background).abs().amax(1, keepdim=True)
    coverage = ((apart - 0.06) / 0.12).clamp(0, 1)
    alone = pictures * coverage + (1 - coverage)
    return F.adaptive_avg_pool2d(torch.cat([alone, coverage], 1), 32).flatten(1)


class Gallery:
    """All drawings on white."""

    def __init__(self, drawings):
        self.labels = [row["label"] for row in drawings.table]
        white = torch.ones(1, 3)
        self.features = torch.cat([
            features((autoencoder.compose(torch.from_numpy(drawings.rgba[i:i + 64]), white) + 1) / 2)
            for i in range(0, len(drawings), 64)])

    def nearest(self, pictures, count=5):
        """For each picture the labels of the nearest drawings, nearest first."""
        order = torch.cdist(features(pictures), self.features).topk(count, largest=False).indices
        return [[self.labels[i] for i in row] for row in order.tolist()]

    def score(self, pictures, labels):
        nearest = self.nearest(pictures)
        return {"pictures": len(labels),
                "top1": share(label == row[0] for label, row in zip(labels, nearest)),
                "top5": share(label in row for label, row in zip(labels, nearest))}


def share(truths):
    truths = list(truths)
    return round(sum(truths) / max(1, len(truths)), 4)


def background_share(pictures, colours):
    distance = torch.cdist(border_colour(pictures), captions.colour_table())
    return share(captions.NAMES[i] == colour for i, colour in zip(distance.argmin(1).tolist(), colours))


def generate(pipe, prompts, guidance=GUIDANCE, seed=0):
    """(n, 3, 128, 128), 0 to 1. Prompt number i has its own seed, `seed` + i, whatever the batch."""
    parts = []
    for i in range(0, len(prompts), BATCH):
        generators = [torch.Generator().manual_seed(seed + k) for k in range(i, min(i + BATCH, len(prompts)))]
        pictures = pipe(prompts[i:i + BATCH], num_inference_steps=STEPS, guidance_scale=guidance, height=128, width=128,
                        generator=generators, output_type="pt").images
        parts.append(pictures.float().cpu())
        print(f"evaluate: {min(i + BATCH, len(prompts))} of {len(prompts)} prompts at {guidance}", flush=True)
    return torch.cat(parts)


def known_labels(drawings):
    return sorted({row["label"] for row in drawings.table})


def shuffled(items, seed, what):
    order = torch.randperm(len(items), generator=steps.randomness(seed, what)).tolist()
    return [items[i] for i in order]


@torch.no_grad()
def psnr(vae, drawings, device, seed=0):
    """Mean PSNR over the drawings held out from the autoencoder, and how many these are."""
    chosen = [i for i, row in enumerate(drawings.table) if autoencoder.held_out(row)]
    generator = steps.randomness(seed, "psnr")
    colours = captions.colour_table()[torch.randint(12, (len(chosen),), generator=generator)]
    values = []
    for part in torch.arange(len(chosen)).split(32):
        rgba = torch.from_numpy(drawings.rgba[[chosen[i] for i in part]])
        pictures = autoencoder.compose(rgba, colours[part]).to(device)
        output = autoencoder.decode(vae, autoencoder.encode(vae, pictures))
        values.append(-10 * (output - (pictures + 1) / 2).square().mean((1, 2, 3)).log10().cpu())
    return round(torch.cat(values).mean().item(), 2), len(chosen)


@torch.no_grad()
def step_seconds(pipe, repeat=15):
    """One guided step: the UNet on two latents. The median."""
    unet = pipe.unet
    latents = torch.randn(2, 4, 16, 16, device=unet.device, dtype=unet.dtype)
    tokens = torch.randn(2, 77, unet.config.cross_attention_dim, device=unet.device, dtype=unet.dtype)
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        unet(latents, 500, tokens).sample.cpu()
        times.append(time.perf_counter() - start)
    return round(statistics.median(times), 4)


@torch.no_grad()
def through_autoencoder(vae, drawings, labels, device):
    """The drawings asked for, encoded and decoded: what the object figure would be for a perfect denoiser."""
    rows = {row["label"]: i for i, row in enumerate(drawings.table)}
    rgba = torch.from_numpy(drawings.rgba[[rows[label] for label in labels]])
    pictures = autoencoder.compose(rgba, torch.ones(1, 3))
    return torch.cat([autoencoder.decode(vae, autoencoder.encode(vae, part.to(device))).cpu() for part in pictures.split(32)])


def halves(pictures, places):
    """The half-size square where an object was asked to be, enlarged to the whole."""
    corner = {"left": (32, 0), "right": (32, 64), "above": (0, 32), "below": (64, 32)}
    return torch.cat([F.interpolate(picture[None, :, y:y + 64, x:x + 64], size=128, mode="bilinear")
                      for picture, (y, x) in zip(pictures, (corner[place] for place in places))])


def evaluate(pipe, known, everything, prompts=200, pairs=False, device="cpu", seed=0):
    """`known`: the drawings that the model learned; `everything`: all rendered. Returns (figures, pictures by name)."""
    pipe.set_progress_bar_config(disable=True)
    gallery = Gallery(everything)
    labels = shuffled(known_labels(known), seed, "objects")[:prompts]
    sentences = [f"{label} on a white background" for label in labels]
    figures, kept = {}, {}

    value, count = psnr(pipe.vae, same_styles(everything, known), device)
    figures["psnr"] = {"dB": value, "held_out_drawings": count}
    figures["drawings_themselves"] = gallery.score(through_white(known, labels), labels)
    figures["through_autoencoder"] = gallery.score(through_autoencoder(pipe.vae, known, labels, device), labels)

    pictures = generate(pipe, sentences)
    kept["objects"] = (labels, pictures)
    figures["object_at_7.5"] = gallery.score(pictures, labels)
    figures["white_at_7.5"] = background_share(pictures, ["white"] * len(labels))
    pictures = generate(pipe, sentences, guidance=1.0)
    kept["objects_at_1"] = (labels, pictures)
    figures["object_at_1"] = gallery.score(pictures, labels)

    every = [(label, colour) for label in known_labels(known) for colour in captions.NAMES]
    for name, chosen in (("seen_pairs", [pair for pair in every if not captions.held_out(*pair)]),
                         ("held_out_pairs", [pair for pair in every if captions.held_out(*pair)])):
        chosen = shuffled(chosen, seed, name)[:max(4, prompts // 2)]
        sentences = [f"{label} on a {colour} background" for label, colour in chosen]
        pictures = generate(pipe, sentences, seed=1000)
        kept[name] = (sentences, pictures)
        figures[name] = {"background": background_share(pictures, [colour for _, colour in chosen]),
                         **gallery.score(pictures, [label for label, _ in chosen])}
    if pairs:
        generator = steps.randomness(seed, "two objects")
        names, other = known_labels(known), {"left": "right", "above": "below"}
        asked = []
        for _ in range(max(4, prompts // 4)):
            first, second = (names[i] for i in torch.randint(len(names), (2,), generator=generator))
            asked.append((first, second, captions.choose(list(other), generator)))
        sentences = [f"{captions.article(a)} {a} {'to the left of' if place == 'left' else 'above'} "
                     f"{captions.article(b)} {b} on a white background" for a, b, place in asked]
        pictures = generate(pipe, sentences, seed=2000)
        kept["two"] = (sentences, pictures)
        figures["two_objects"] = {
            "first": gallery.score(halves(pictures, [place for _, _, place in asked]), [a for a, _, _ in asked]),
            "second": gallery.score(halves(pictures, [other[place] for _, _, place in asked]), [b for _, b, _ in asked])}
    figures["guided_step_seconds"] = step_seconds(pipe)
    return figures, kept


def through_white(drawings, labels):
    rows = {row["label"]: i for i, row in enumerate(drawings.table)}
    rgba = torch.from_numpy(drawings.rgba[[rows[label] for label in labels]])
    return (autoencoder.compose(rgba, torch.ones(1, 3)) + 1) / 2


def same_styles(everything, known):
    """All rendered drawings of the styles that the model learned."""
    styles = {row["style"] for row in known.table}
    return data.subset(everything, lambda row: row["style"] in styles)
