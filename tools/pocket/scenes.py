"""The pictures that the denoiser learns from, as latents: what is on each, and its encoding."""
import numpy as np
import torch
from PIL import Image

import autoencoder
import captions
import steps
from data import SIZE, OBJECT_GROUPS

SIDES = [("left", "right"), ("right", "left"), ("above", "below"), ("below", "above")]
PLACES = {"left": (0, 0.5), "right": (1, 0.5), "above": (0.5, 0), "below": (0.5, 1)}

PART = 128  # scenes encoded at a time


def kept(preset):
    """Which drawings the model is to know, as a function of their row."""
    listed = set(captions.listed_objects()[:preset.things])
    return lambda row: (row["group"] in OBJECT_GROUPS and row["style"] in preset.styles
                        and (not preset.listed or row["label"] in listed))


def every_pair(drawings):
    """Each drawing, full size, on each named background that is not held out."""
    return [{"drawings": [i], "colour": colour, "size": 1.0, "place": None}
            for i, row in enumerate(drawings.table) for colour in captions.NAMES
            if not captions.held_out(row["label"], colour)]


def free(drawings, count, pairs, seed):
    """One object, smaller and somewhere, or two beside or above each other."""
    scenes = []
    while len(scenes) < count:
        generator = steps.randomness(seed, "scene", len(scenes))
        while True:  # until nothing about it is held out
            colour = captions.choose(captions.NAMES + ["white"] * 4, generator)
            first, second = torch.randint(len(drawings), (2,), generator=generator).tolist()
            if captions.chance(pairs, generator):
                style = drawings.table[first]["style"]
                if drawings.table[second]["style"] != style or first == second:
                    continue
                scene = {"drawings": [first, second], "colour": colour, "size": 0.5,
                         "place": captions.choose(SIDES, generator)}
            else:
                place = captions.choose([None, "left", "right", "above", "below"], generator)
                scene = {"drawings": [first], "colour": colour, "size": captions.choose([0.5, 0.75], generator),
                         "place": place and (place,)}
            if not any(captions.held_out(drawings.table[i]["label"], colour) for i in scene["drawings"]):
                break
        scenes.append(scene)
    return scenes


def draw(scene, drawings):
    """A scene → uint8 RGBA (128, 128, 4), background not yet put behind it."""
    if scene["size"] == 1.0:
        return drawings.rgba[scene["drawings"][0]]
    canvas = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    side = round(SIZE * scene["size"])
    for drawing, place in zip(scene["drawings"], scene["place"] or [None]):
        x, y = PLACES.get(place, (0.5, 0.5))
        small = Image.fromarray(drawings.rgba[drawing]).resize((side, side), Image.LANCZOS, reducing_gap=3)
        canvas.alpha_composite(small, (round(x * (SIZE - side)), round(y * (SIZE - side))))
    return np.asarray(canvas)


def words(scene, drawings, styles, generator, empty=0.1, silent=0.15):
    """A caption for a scene, another one each time."""
    rows = [drawings.table[i] for i in scene["drawings"]]
    if scene["size"] == 1.0:
        return captions.caption(rows[0], scene["colour"], styles, generator, empty, silent)
    return captions.free_caption(rows, scene, styles, generator, empty, silent)


def all_scenes(preset, drawings, seed):
    return every_pair(drawings) + free(drawings, preset.scenes, preset.pairs, seed)


def strangers(drawings, seed):
    """Each drawing once, full size, on a background by chance."""
    generator = steps.randomness(seed, "strangers")
    return [{"drawings": [i], "colour": captions.choose(captions.NAMES, generator), "size": 1.0, "place": None}
            for i in range(len(drawings))]


class Parts(torch.utils.data.Dataset):
    """Number → the pictures of that many scenes (`PART`): RGBA and background."""

    def __init__(self, scenes, drawings):
        self.scenes, self.drawings = scenes, drawings
        self.colours = dict(zip(captions.NAMES, captions.colour_table()))

    def __len__(self):
        return -(-len(self.scenes) // PART)

    def __getitem__(self, number):
        chosen = self.scenes[number * PART:(number + 1) * PART]
        rgba = np.stack([draw(scene, self.drawings) for scene in chosen])
        return torch.from_numpy(rgba), torch.stack([self.colours[scene["colour"]] for scene in chosen])


@torch.no_grad()
def encode(vae, scenes, drawings, folder, device, clock):
    """Latents of all scenes, f16, (n, 4, 16, 16); kept in `folder`/latents.pt."""
    path = folder / "latents.pt"
    latents = [torch.load(path, weights_only=True)] if path.exists() else []
    have = sum(map(len, latents))
    if have == len(scenes):
        return latents[0]
    for rgba, background in steps.ahead(Parts(scenes, drawings), have // PART, device):
        latents.append(autoencoder.encode(vae, autoencoder.compose(rgba, background)).half().cpu())
        have += len(rgba)
        if clock.over() or have == len(scenes):
            torch.save(torch.cat(latents), path)
            print(f"encode: {have} of {len(scenes)} scenes", flush=True)
        if clock.over():
            raise steps.OutOfTime(f"encode: {have} of {len(scenes)} scenes")
    return torch.cat(latents)
