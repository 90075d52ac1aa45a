"""Pipelines to record: the bundled model, and a miniature with random weights."""
import copy
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"  # everything is local

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

import pytest
import torch
from safetensors.torch import load_file

torch.set_num_threads(1)  # the tensors are small

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

POCKET = ROOT / "models" / "pocket"


@pytest.fixture(scope="session")
def make():
    """A function for miniature pipelines, of the configurations in tests/fixtures."""
    tokenizer = transformers.CLIPTokenizer.from_pretrained(POCKET / "tokenizer")
    models = {}

    def build(name):
        def config(component):
            found = json.loads((ROOT / "tests" / "fixtures" / name / component / "config.json").read_text())
            return {key: value for key, value in found.items() if key not in ("torch_dtype", "_name_or_path")}

        torch.manual_seed(0)
        return {
            "vae": diffusers.AutoencoderKL.from_config(config("vae")).eval(),
            "text_encoder": transformers.CLIPTextModel(transformers.CLIPTextConfig.from_dict(config("text_encoder"))).eval(),
            "unet": diffusers.UNet2DConditionModel.from_config(config("unet")).eval(),
        }

    def make(name="tiny", cls="StableDiffusionPipeline", scheduler="DDIMScheduler", **changes):
        if name not in models:
            models[name] = build(name)
        scheduler_class = getattr(diffusers, scheduler)
        beta = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        if scheduler == "PNDMScheduler":
            changes = {"skip_prk_steps": True, **changes}
        pipe = getattr(diffusers, cls)(
            **copy.deepcopy(models[name]),
            tokenizer=tokenizer,
            scheduler=scheduler_class(**beta, **changes),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return make


@pytest.fixture
def pipe(make):
    return make()


@pytest.fixture(scope="session")
def pocket():
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(POCKET, local_files_only=True, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.trace"


def call(pipe, prompt="red apple", seed=3, steps=3, **changes):
    """A short run; 64 × 64 pixels."""
    arguments = dict(num_inference_steps=steps, generator=torch.Generator().manual_seed(seed), output_type="np")
    if "Img2Img" not in type(pipe).__name__:
        arguments.update(height=64, width=64)
    return pipe(prompt, **{**arguments, **changes}).images


class Read:
    """A trace as a reader sees it: `trace`, and the tensors of all stages, those behind `same` included."""

    def __init__(self, path):
        self.trace = json.loads((path / "trace.json").read_text(encoding="utf-8"))
        self.stages = {stage["name"]: stage for stage in self.trace["stages"]}
        self.tensors = {}
        self.stored = {}
        for stage in self.trace["stages"]:
            tensors = load_file(path / stage["file"])
            self.stored.update(tensors)
            self.tensors.update(tensors)
            for key, other in stage.get("same", {}).items():
                assert key not in tensors
                self.tensors[key] = tensors[other]
        assert all(key.split("/")[0] in self.stages for key in self.tensors)

    def __getitem__(self, key):
        return self.tensors[key]

    def __contains__(self, key):
        return key in self.tensors
