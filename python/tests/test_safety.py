"""What is refused, what is replaced, when a recording stops, and that the pipeline is left as it was."""
import json
import shutil
import subprocess
import sys
import textwrap

import diffuscope_trace
import diffuscope_trace.store as store
import numpy as np
import pytest
import torch
from conftest import ROOT, Read, call, diffusers
from diffuscope_trace import RecordingStopped, TraceError

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs",
         "_forward_hooks_always_called")


def state(pipe):
    """What recording could have changed."""
    models = [pipe.text_encoder, pipe.unet, pipe.vae]
    modules = [module for model in models for module in model.modules()]
    return (
        type(pipe), vars(type(pipe)).get("__call__"), set(vars(pipe)), set(vars(pipe.scheduler)),
        [set(vars(module)) for module in modules],
        [[dict(getattr(module, name)) for name in HOOKS] for module in modules],
        [vars(owner).get(name) for owner in (pipe, pipe.scheduler, pipe.vae) for name in ("step", "decode", "encode_prompt")],
    )


def test_the_pipeline_is_left_as_it_was(pipe, path):
    call(pipe)  # a first call makes attributes of its own
    before = state(pipe)
    with diffuscope_trace.record(pipe, path, modules="all", steps=[0]):
        call(pipe)
    assert state(pipe) == before
    own = pipe.vae.decode
    vars(pipe.vae)["decode"] = lambda *args, **kwargs: own(*args, **kwargs)
    before = state(pipe)
    with diffuscope_trace.record(pipe, path):
        call(pipe)
    assert state(pipe) == before and "decode" in vars(pipe.vae)


def test_an_exception_leaves_the_finished_stages_and_the_pipeline(pipe, path):
    def callback(pipe, step, timestep, tensors):
        if step == 1:
            raise KeyboardInterrupt("enough")
        return {}

    call(pipe)
    before = state(pipe)
    with pytest.raises(KeyboardInterrupt):
        with diffuscope_trace.record(pipe, path, modules="all") as recorder:
            call(pipe, callback_on_step_end=callback)
    assert state(pipe) == before
    read = Read(path)
    assert list(read.stages) == ["encode_prompt", "get_latent", "denoise.000", "denoise.001"]
    assert read.trace["stopped"] == recorder.stopped == "KeyboardInterrupt: enough" and "complete" not in read.trace
    assert np.isfinite(call(pipe)).all()


def test_an_exception_in_a_module(pipe, path):
    def fail(module, args):
        raise ValueError("broken")

    handle = pipe.unet.mid_block.register_forward_pre_hook(fail) if pipe.unet.mid_block else \
        pipe.unet.up_blocks[0].register_forward_pre_hook(fail)
    before = state(pipe)
    with pytest.raises(ValueError, match="broken"):
        with diffuscope_trace.record(pipe, path, modules="all"):
            call(pipe)
    after = state(pipe)
    assert after[5] == before[5] and after[1] is before[1]
    handle.remove()
    assert Read(path).trace["stopped"] == "ValueError: broken"


def test_a_crash_leaves_the_finished_stages(path):
    script = f"""
        import os, sys
        sys.path[:0] = [{str(ROOT / "python")!r}]
        import diffusers, torch, diffuscope_trace
        pipe = diffusers.StableDiffusionPipeline.from_pretrained({str(ROOT / "models" / "pocket")!r}, local_files_only=True, safety_checker=None)
        with diffuscope_trace.record(pipe, {str(path)!r}):
            pipe("red apple", num_inference_steps=3, callback_on_step_end=lambda pipe, step, t, x: os._exit(9) if step else x)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True)
    assert result.returncode == 9
    read = Read(path)
    assert list(read.stages) == ["encode_prompt", "get_latent", "denoise.000", "denoise.001"]
    assert "complete" not in read.trace


def test_an_old_trace_is_replaced(pipe, path):
    with diffuscope_trace.record(pipe, path):
        call(pipe, steps=3)
    (path / "denoise.009.safetensors.tmp").write_bytes(b"of a crash")
    (path / "notes.txt").write_text("mine")
    with diffuscope_trace.record(pipe, path):
        call(pipe, steps=1)
    assert sorted(file.name for file in path.iterdir()) == [
        "denoise.000.safetensors", "encode_prompt.safetensors", "get_latent.safetensors", "notes.txt", "trace.json",
        "vae_decode.safetensors",
    ]
    assert list(Read(path).stages) == ["encode_prompt", "get_latent", "denoise.000", "vae_decode"]


def test_nothing_else_is_replaced(pipe, path):
    path.mkdir()
    with diffuscope_trace.record(pipe, path):  # an empty folder is fine
        call(pipe, steps=1)
    other = path.parent / "other"
    other.mkdir()
    (other / "trace.json").write_text(json.dumps({"format": "something else"}))
    with pytest.raises(TraceError, match="no trace"):
        diffuscope_trace.record(pipe, other)
    file = path.parent / "file"
    file.write_text("mine")
    with pytest.raises(TraceError, match="is a file"):
        diffuscope_trace.record(pipe, str(file))
    with pytest.raises(TraceError, match="no trace can be written"):
        with diffuscope_trace.record(pipe, file / "run.trace"):
            call(pipe)


def test_files_are_as_readable_as_others(pipe, path):
    with diffuscope_trace.record(pipe, path):
        call(pipe, steps=1)
    assert len({file.stat().st_mode for file in path.iterdir()}) == 1


def test_the_limit_stops_the_recording_and_not_the_run(pipe, path):
    plain = call(pipe)
    with diffuscope_trace.record(pipe, path, modules="all"):
        call(pipe)
    sizes = {file.name: file.stat().st_size for file in path.iterdir()}
    limit = sizes["encode_prompt.safetensors"] + sizes["get_latent.safetensors"] + int(1.5 * sizes["denoise.000.safetensors"])
    with pytest.warns(RecordingStopped) as warned:
        with diffuscope_trace.record(pipe, path, modules="all", limit=limit) as recorder:
            assert np.array_equal(call(pipe), plain)
    messages = [str(warning.message) for warning in warned]
    assert any("the trace would take about" in message for message in messages)  # after the first step
    assert any("stopped in denoise.001" in message for message in messages)
    read = Read(path)
    assert list(read.stages) == ["encode_prompt", "get_latent", "denoise.000"]
    assert read.trace["stopped"] == recorder.stopped and "limit" in recorder.stopped and "complete" not in read.trace
    assert sum(file.stat().st_size for file in path.glob("*.safetensors")) <= limit


def test_a_full_disk_stops_the_recording_and_not_the_run(pipe, path, monkeypatch):
    plain = call(pipe)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: usage._replace(free=store.RESERVE + 30_000))
    with pytest.warns(RecordingStopped, match="the disk has only"):
        with diffuscope_trace.record(pipe, path):
            assert np.array_equal(call(pipe), plain)
    assert "disk" in Read(path).trace["stopped"]
    monkeypatch.undo()

    original = store.save_file

    def full(tensors, file):
        if "denoise.001" in str(file):
            file.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        original(tensors, file)

    monkeypatch.setattr(store, "save_file", full)
    with pytest.warns(RecordingStopped, match="No space left"):
        with diffuscope_trace.record(pipe, path):
            assert np.array_equal(call(pipe), plain)
    assert list(Read(path).stages) == ["encode_prompt", "get_latent", "denoise.000"]
    assert not list(path.glob("*.tmp"))


@pytest.mark.parametrize("limit, size", [("20GB", 20 * 10**9), ("1.5 MiB", 3 * 2**19), ("7", 7), (5, 5), (None, None)])
def test_sizes(limit, size):
    assert store.parse_size(limit) == size


@pytest.mark.parametrize("wrong", [
    {"limit": "much"}, {"limit": 0}, {"limit": "0GB"}, {"modules": "some"}, {"modules": [1]}, {"steps": "first"},
    {"steps": [-1]}, {"steps": [0.5]},
])
def test_wrong_arguments(pipe, path, wrong):
    with pytest.raises(TraceError, match=next(iter(wrong))):
        diffuscope_trace.record(pipe, path, **wrong)


@pytest.mark.parametrize("arguments, message", [
    ({"prompt": ["a", "b"]}, "prompt is a list of 2"),
    ({"num_images_per_prompt": 2}, "num_images_per_prompt is 2"),
    ({"prompt": None, "prompt_embeds": torch.zeros(2, 77, 32)}, "prompt_embeds is a batch of 2"),
    ({"latents": torch.zeros(2, 4, 8, 8)}, "latents is a batch of 2"),
    ({"ip_adapter_image": object()}, "IP-Adapter"),
])
def test_calls_that_are_refused(pipe, path, arguments, message):
    before = state(pipe)
    with pytest.raises(TraceError, match=message):
        with diffuscope_trace.record(pipe, path):
            call(pipe, **arguments)
    assert not path.exists() and state(pipe) == before


def test_a_second_call_is_refused(pipe, path):
    with pytest.raises(TraceError, match="one run"):
        with diffuscope_trace.record(pipe, path):
            call(pipe, steps=1)
            call(pipe, steps=1)
    assert Read(path).trace["complete"] is True


def test_no_call_writes_nothing(pipe, path):
    with pytest.warns(RecordingStopped, match="not called"):
        with diffuscope_trace.record(pipe, path):
            pass
    assert not path.exists()


def test_a_pattern_without_modules_is_refused(pipe, path):
    with pytest.raises(TraceError, match="'unet.nothing'"):
        with diffuscope_trace.record(pipe, path, modules=["unet.nothing"]):
            call(pipe)
    assert not path.exists()


def test_compiled_modules_are_refused(make, path):
    whole, inner, function, in_place = make(), make(), make(), make()
    whole.unet = torch.compile(whole.unet)
    inner.unet.down_blocks[0] = torch.compile(inner.unet.down_blocks[0])
    function.vae.decode = torch.compile(function.vae.decode)
    in_place.text_encoder.compile()
    for pipe in (whole, inner, function, in_place):
        with pytest.raises(TraceError, match="torch.compile"):
            with diffuscope_trace.record(pipe, path):
                call(pipe)
    assert not path.exists()


def test_fused_projections_are_refused(pipe, path):
    pipe.fuse_qkv_projections()
    with pytest.raises(TraceError, match="unfuse_qkv_projections"):
        with diffuscope_trace.record(pipe, path):
            call(pipe)
    assert not path.exists()


def test_ip_adapters_are_refused(pipe, path):
    attention = next(module for name, module in pipe.unet.named_modules() if name.endswith("attn2"))
    from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
    attention.set_processor(IPAdapterAttnProcessor2_0(32, 32))
    with pytest.raises(TraceError, match="IP-Adapter"):
        with diffuscope_trace.record(pipe, path):
            call(pipe)
    assert not path.exists()


def test_other_pipelines_are_refused(pipe, path):
    with pytest.raises(TraceError, match="StableDiffusionInpaintPipeline cannot be recorded"):
        diffuscope_trace.record(diffusers.StableDiffusionInpaintPipeline(**pipe.components, requires_safety_checker=False), path)
    controlled = object.__new__(diffusers.StableDiffusionControlNetPipeline)
    vars(controlled)["controlnet"] = object()
    with pytest.raises(TraceError, match="ControlNet"):
        diffuscope_trace.record(controlled, path)
    with pytest.raises(TraceError, match="str cannot be recorded"):
        diffuscope_trace.record("pipe", path)


class Renamed(diffusers.StableDiffusionPipeline):
    """A subclass that runs like its parent."""


class Other(diffusers.StableDiffusionPipeline):
    """A subclass that does not."""

    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs)


def test_subclasses(pipe, path):
    other = Other(**pipe.components, requires_safety_checker=False)
    with pytest.raises(TraceError, match="Other has a __call__ of its own"):
        diffuscope_trace.record(other, path)
    renamed = Renamed(**pipe.components, requires_safety_checker=False)
    renamed.set_progress_bar_config(disable=True)
    with diffuscope_trace.record(renamed, path):
        call(renamed, steps=1)
    assert Read(path).trace["complete"] is True and "__call__" not in vars(Renamed)


def test_two_pipelines_at_once(make, path):
    one, two, three = make(), make(), make()
    original = vars(type(one))["__call__"]
    first = diffuscope_trace.record(one, path)
    second = diffuscope_trace.record(two, path.parent / "second.trace")
    first.__enter__()
    second.__enter__()
    with pytest.raises(TraceError, match="already"):
        diffuscope_trace.record(one, path).__enter__()
    call(three, steps=1)  # is not recorded
    call(two, steps=1)
    call(one, steps=2)
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert vars(type(one))["__call__"] is original
    assert len(Read(path).stages) == 5 and len(Read(path.parent / "second.trace").stages) == 4


@pytest.mark.parametrize("way", ["whole", "by layer"])
def test_offload(make, path, way):
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
    plain_pipe = make()
    plain = call(plain_pipe, steps=2)
    with diffuscope_trace.record(plain_pipe, path.parent / "plain.trace", modules=["unet*"], steps=[1]):
        call(plain_pipe, steps=2)
    pipe = make()
    for model in (pipe.text_encoder, pipe.unet, pipe.vae):
        if way == "whole":
            accelerate.cpu_offload_with_hook(model, execution_device="cpu")
        else:
            accelerate.cpu_offload(model, execution_device="cpu", offload_buffers=True)
    before = state(pipe)
    with diffuscope_trace.record(pipe, path, modules=["unet*"], steps=[1]):
        assert np.array_equal(call(pipe, steps=2), plain)
    assert state(pipe)[4:] == before[4:]
    read, other = Read(path), Read(path.parent / "plain.trace")
    assert set(read.tensors) == set(other.tensors)
    assert all(torch.equal(read[key], other[key]) for key in other.tensors)
    digests = lambda read: {name: entry.get("weights") for name, entry in read.trace["modules"].items()}
    assert digests(read) == digests(other)


def test_inference_mode(pipe, path):
    with torch.inference_mode(), diffuscope_trace.record(pipe, path, modules="all", steps=[0]):
        call(pipe, steps=1)
    assert Read(path).trace["complete"] is True


def test_the_package_is_typed():
    assert (ROOT / "python" / "diffuscope_trace" / "py.typed").exists()
