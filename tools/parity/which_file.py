#!/usr/bin/env python3
"""Asks diffusers and transformers which file of a component's folder they read, for every set of files that can lie there.

    python tools/parity/which_file.py [--write]

Each file is given a number of its own, so that the loaded model tells which one was read. Prints one line a folder and the
table of docs/files.md; with --write, also tests/fixtures/which_file.json, to which tests/program/files.rs holds this program.
Needs the packages of tools/fixtures/requirements.txt and some 20 seconds.
"""
import argparse
import contextlib
import io
import itertools
import json
import pathlib
import shutil
import tempfile
import warnings

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "which_file.json"
TOKENIZER = ROOT / "models" / "pocket" / "tokenizer"
COMPONENTS = ["text_encoder", "unet", "vae"]
CLASSES = {"text_encoder": CLIPTextModel, "unet": UNet2DConditionModel, "vae": AutoencoderKL}


def model(component):
    """The smallest model of its class."""
    if component == "text_encoder":
        return CLIPTextModel(CLIPTextConfig(
            vocab_size=49408, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1,
            projection_dim=4, bos_token_id=49406, eos_token_id=49407, pad_token_id=1))
    if component == "unet":
        return UNet2DConditionModel(
            sample_size=8, block_out_channels=(4,), down_block_types=("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",), cross_attention_dim=4, attention_head_dim=1, norm_num_groups=2,
            layers_per_block=1)
    return AutoencoderKL(block_out_channels=(4,), norm_num_groups=2, layers_per_block=1)


def mark(component, model):
    """The parameter that says which file was read."""
    return model.final_layer_norm.bias if component == "text_encoder" else (
        model.conv_in.bias if component == "unet" else model.encoder.conv_in.bias)


def heads(component, variant):
    """The forms that weights have, each with the file by which it is found."""
    stem = "model" if component == "text_encoder" else "diffusion_pytorch_model"
    pickle = "pytorch_model" if component == "text_encoder" else stem
    infix = f".{variant}" if variant else ""
    forms = {
        "whole": f"{stem}{infix}.safetensors",
        "shards": f"{stem}.safetensors.index{infix}.json",
        "pickle": f"{pickle}{infix}.bin",
    }
    if variant:
        forms["shards 0.30"] = f"{stem}.safetensors{infix}.index.json"
    return forms


class Library:
    """Files of every form, each with its own number."""

    def __init__(self, folder):
        self.folder = folder
        self.numbers = {}
        self.files = {}

    def add(self, component, variant, form, head):
        number = len(self.numbers) + 1.0
        self.numbers[number] = f"{component}/{head}"
        made = model(component)
        with torch.no_grad():
            mark(component, made).fill_(number)
        place = self.folder / f"{int(number)}"
        size = "4KB" if "shards" in form else "1GB"
        made.save_pretrained(place, variant=variant, max_shard_size=size)
        (place / "config.json").unlink()
        if form == "pickle":
            [file] = place.iterdir()
            torch.save(made.state_dict(), place / head)
            file.unlink()
        if form == "shards 0.30":
            self.rename(place, head, variant)
        assert (place / head).exists(), (form, list(place.iterdir()))
        self.files[component, head] = sorted(place.iterdir())

    @staticmethod
    def rename(place, head, variant):
        """To the names that diffusers 0.30 gave: …-00001-of-00002.fp16.safetensors."""
        [index] = place.glob("*.json")
        written = json.loads(index.read_text())
        new = lambda name: name.replace(f".{variant}-", "-").replace(".safetensors", f".{variant}.safetensors")
        written["weight_map"] = {key: new(name) for key, name in written["weight_map"].items()}
        for shard in list(place.glob("*.safetensors")):
            shard.rename(place / new(shard.name))
        index.unlink()
        (place / head).write_text(json.dumps(written))

    def lay(self, component, heads, folder):
        """The files of these forms, in `folder`."""
        for head in heads:
            for file in self.files[component, head]:
                shutil.copy(file, folder / file.name)


@contextlib.contextmanager
def quiet():
    diffusers.logging.set_verbosity(diffusers.logging.CRITICAL)
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def ask(library, component, variant, heads, config):
    """The file that `from_pretrained(variant=…)` reads of a component's folder; None where it raises."""
    with tempfile.TemporaryDirectory(prefix="which") as folder:
        folder = pathlib.Path(folder)
        (folder / "config.json").write_text(config)
        library.lay(component, heads, folder)
        try:
            with quiet():
                loaded = CLASSES[component].from_pretrained(folder, variant=variant)
        except (OSError, ValueError):
            return None
        return library.numbers[mark(component, loaded)[0].item()].split("/")[1]


def ask_pipeline(library, variant, heads, pipeline):
    """What `StableDiffusionPipeline.from_pretrained(variant=…)` reads, component by component."""
    with tempfile.TemporaryDirectory(prefix="which") as folder:
        folder = pathlib.Path(folder) / "pipeline"
        shutil.copytree(pipeline, folder)
        for component in COMPONENTS:
            library.lay(component, heads[component], folder / component)
        try:
            with quiet():
                loaded = StableDiffusionPipeline.from_pretrained(folder, variant=variant)
        except (OSError, ValueError):
            return None
        numbers = [mark(component, getattr(loaded, component))[0].item() for component in COMPONENTS]
        return dict(zip(COMPONENTS, (library.numbers[number].split("/")[1] for number in numbers)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write tests/fixtures/which_file.json")
    args = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="which") as folder:
        folder = pathlib.Path(folder)
        library = Library(folder / "forms")
        for component, variant in itertools.product(COMPONENTS, [None, "fp16"]):
            for form, head in heads(component, variant).items():
                library.add(component, variant, form, head)
        pipeline = folder / "pipeline"
        StableDiffusionPipeline(
            vae=model("vae"), text_encoder=model("text_encoder"), unet=model("unet"), scheduler=DDIMScheduler(),
            tokenizer=CLIPTokenizer(str(TOKENIZER / "vocab.json"), str(TOKENIZER / "merges.txt")), safety_checker=None,
            feature_extractor=None, requires_safety_checker=False).save_pretrained(pipeline)
        configs = {component: (pipeline / component / "config.json").read_text() for component in COMPONENTS}
        for component in COMPONENTS:
            for file in (pipeline / component).glob("*.safetensors"):
                file.unlink()

        cases = []
        for component, variant in itertools.product(COMPONENTS, [None, "fp16"]):
            forms = list(heads(component, variant).values())
            for count in range(1, len(forms) + 1):
                for laid in itertools.combinations(forms, count):
                    read = ask(library, component, variant, laid, configs[component])
                    cases.append({"component": component, "variant": variant, "files": list(laid), "reads": read})
                    print(f"{component:13} {variant or '':5} {' + '.join(laid)}  ->  {read}", flush=True)

        # A whole pipeline, in which components differ in the variants that they have.
        one = lambda component, variant, *names: [heads(component, variant)[name] for name in names]
        mixed = {
            "fp16 of the UNet alone": {
                "text_encoder": one("text_encoder", None, "whole"), "vae": one("vae", None, "whole"),
                "unet": one("unet", None, "whole") + one("unet", "fp16", "whole")},
            "fp16 of no component": {component: one(component, None, "whole") for component in COMPONENTS},
            "only fp16": {component: one(component, "fp16", "whole") for component in COMPONENTS},
            "fp16 of the UNet as a pickle": {
                "text_encoder": one("text_encoder", None, "whole"), "vae": one("vae", None, "whole"),
                "unet": one("unet", None, "whole") + one("unet", "fp16", "pickle")},
            "plain UNet as a pickle beside fp16": {
                "text_encoder": one("text_encoder", None, "whole"), "vae": one("vae", None, "whole"),
                "unet": one("unet", None, "pickle") + one("unet", "fp16", "whole")},
        }
        pipelines = []
        for (what, laid), variant in itertools.product(mixed.items(), [None, "fp16"]):
            read = ask_pipeline(library, variant, laid, pipeline)
            pipelines.append({"what": what, "variant": variant, "files": laid, "reads": read})
            print(f"{what}, variant {variant}  ->  {read}", flush=True)

    versions = {"diffusers": diffusers.__version__, "transformers": transformers.__version__}
    print(f"\ndiffusers {versions['diffusers']}, transformers {versions['transformers']}\n")
    print("| component | variant | read in this order |\n|---|---|---|")
    for component, variant in itertools.product(COMPONENTS, [None, "fp16"]):
        left, order = set(heads(component, variant).values()), []
        # The order is what is read of all that there is, then of the rest.
        while left:
            [read] = [case["reads"] for case in cases if case["component"] == component
                      and case["variant"] == variant and set(case["files"]) == left]
            if read is None:
                break
            order.append(read)
            left.remove(read)
        never = f"; never `{'`, `'.join(sorted(left))}`" if left else ""
        print(f"| {component} | {variant or 'none'} | `{'`, `'.join(order)}`{never} |")
    if args.write:
        rows = lambda name, items: f' "{name}": [\n  ' + ",\n  ".join(json.dumps(item) for item in items) + "\n ]"
        FIXTURE.write_text("{\n " + f'"versions": {json.dumps(versions)},\n'
                           + rows("cases", cases) + ",\n" + rows("pipelines", pipelines) + "\n}\n")


if __name__ == "__main__":
    main()
