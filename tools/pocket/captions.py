"""What is said about a picture: objects, styles, backgrounds, and which pairs are kept out of training."""
import hashlib
import pathlib

import torch

COLOURS = {
    "white": (255, 255, 255), "black": (20, 20, 20), "red": (220, 50, 47), "orange": (245, 140, 30),
    "yellow": (250, 215, 60), "green": (60, 170, 75), "blue": (50, 110, 220), "purple": (130, 70, 190),
    "pink": (245, 150, 185), "brown": (130, 85, 50), "gray": (150, 150, 150), "cyan": (90, 205, 220),
}
NAMES = list(COLOURS)


def colour_table():
    """(12, 3), 0 to 1, in the order of `NAMES`."""
    return torch.tensor(list(COLOURS.values())) / 255


def fraction(*what):
    """A number in [0, 1) that follows from its arguments, the same everywhere and always."""
    digest = hashlib.sha256("\0".join(what).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def held_out(label, colour):
    """One (object, background) pair in twenty is never trained on, to see whether the model composes. Not on white: the
    figure for objects asks for that."""
    return colour != "white" and fraction("held-out pair", label, colour) < 0.05


def listed_objects():
    """The labels of objects.txt: things with a plain shape and a name of few words, for training without a GPU."""
    lines = pathlib.Path(__file__).with_name("objects.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line]


def article(words):
    return "an" if words[0].lower() in "aeiou" else "a"


def choose(options, generator):
    return options[int(torch.randint(len(options), (1,), generator=generator))]


def chance(probability, generator):
    return float(torch.rand(1, generator=generator)) < probability


def background_words(colour, generator):
    return choose([f"on a {colour} background"] * 3 + [f"on {colour}", f"{colour} background"], generator)


def object_words(row, generator, keywords=0.15):
    """The label; now and then another keyword of the drawing before it."""
    label = row["label"]
    if row["tags"] and chance(keywords, generator):
        return f"{choose(row['tags'], generator)} {label}"
    return label


def style_words(row, styles, words, generator):
    """The style is named only where there are several to choose from."""
    if styles > 1 and chance(0.6, generator):
        return choose([f"{row['style']} {words}", f"a {row['style']} drawing of {words}", f"{words}, {row['style']} style"],
                      generator)
    return choose([words] * 3 + [f"{article(words)} {words}", f"a drawing of {words}"], generator)


def caption(row, colour, styles, generator, empty, silent):
    """One picture of one object, full size. `empty`: how often nothing is said; `silent`: how often the background is not,
    three times as often where it is white."""
    if chance(empty, generator):
        return ""
    words = style_words(row, styles, object_words(row, generator), generator)
    if chance(3 * silent if colour == "white" else silent, generator):
        return words
    return f"{words} {background_words(colour, generator)}"


def free_caption(rows, scene, styles, generator, empty, silent):
    """A smaller object somewhere, or two. Where things are is nearly always said: else there is nothing to learn."""
    if chance(empty, generator):
        return ""
    labels = [object_words(row, generator, keywords=0.05) for row in rows]
    if len(rows) == 2:
        where = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
        first, second = (f"{article(label)} {label}" for label in labels)
        words = f"{first} {where[scene['place'][0]]} {second}"
        if chance(0.15, generator):
            words = f"{first} and {second}"
    else:
        size = "small" if scene["size"] == 0.5 else "medium"
        words = f"a {size} {labels[0]}" if chance(0.85, generator) else labels[0]
        if scene["place"]:
            side = {"left": "on the left", "right": "on the right", "above": "at the top", "below": "at the bottom"}
            words = f"{words} {side[scene['place'][0]]}"
    if styles > 1 and chance(0.5, generator):
        words = f"{words}, {rows[0]['style']} style"
    if chance(3 * silent if scene["colour"] == "white" else silent, generator):
        return words
    return f"{words} {background_words(scene['colour'], generator)}"
