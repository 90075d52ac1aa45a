"""Calls of modules: inputs, outputs, order, numbers, and evidence."""
import hashlib
import inspect

import diffuscope_trace
import pytest
import torch
from conftest import Read, call


@pytest.fixture(scope="module")
def everything(make, tmp_path_factory):
    """A run with every module, and its pipeline."""
    pipe = make("sd1")
    path = tmp_path_factory.mktemp("everything") / "run.trace"
    with diffuscope_trace.record(pipe, path, modules="all"):
        call(pipe, steps=2)
    return pipe, Read(path)


def modules_of(pipe):
    return {
        f"{component}.{path}" if path else component: module
        for component in ("text_encoder", "unet", "vae")
        for path, module in getattr(pipe, component).named_modules()
    }


def test_every_call_has_its_tensors(everything):
    _, read = everything
    for stage in read.trace["stages"]:
        for entry in stage.get("calls", []):
            key = f"{stage['name']}/{entry['path']}#{entry['call']}"
            assert f"{key}/out" in read or f"{key}/out.0" in read


def test_a_module_with_its_recorded_inputs_gives_its_recorded_output(everything):
    # So the inputs are what the module got, not what became of them, and `same` refers to the right tensors.
    pipe, read = everything
    modules = modules_of(pipe)
    checked = set()
    for name in ("encode_prompt", "denoise.001", "vae_decode"):
        for entry in read.stages[name]["calls"]:
            key = f"{name}/{entry['path']}#{entry['call']}"
            inputs = {k[len(key) + 4 :]: v.clone() for k, v in read.tensors.items() if k.startswith(f"{key}/in.")}
            module = modules[entry["path"]]
            parameters = dict(list(inspect.signature(type(module).forward).parameters.items())[1:])
            whole = not list(module.children()) or type(module).__name__ in ("ResnetBlock2D", "FeedForward", "Attention")
            if not whole or not inputs or not set(inputs) <= set(parameters) or f"{key}/out" not in read:
                continue
            # What is not in the trace was None.
            needed = {name: None for name, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
            with torch.no_grad():
                output = module(**{**needed, **inputs})
            # The layout of the memory can change the last bits.
            assert torch.allclose(output, read[f"{key}/out"], atol=1e-6, rtol=1e-5), key
            checked.add(type(module).__name__)
    assert {"Conv2d", "Linear", "GroupNorm", "ResnetBlock2D", "Attention"} <= checked


def test_calls_are_numbered_and_in_the_order_of_completion(everything):
    _, read = everything
    for stage in read.trace["stages"]:
        calls = stage.get("calls", [])
        assert sorted(entry["entered"] for entry in calls) == list(range(len(calls)))
        numbers = {}
        for entry in calls:
            assert entry["call"] == numbers.get(entry["path"], 0)
            numbers[entry["path"]] = entry["call"] + 1
        ended = {(entry["path"], entry["call"]): i for i, entry in enumerate(calls)}
        for entry in calls:
            parent = (entry["path"].rpartition(".")[0], entry["call"])
            if parent in ended and stage["name"].startswith("denoise"):
                assert ended[(entry["path"], entry["call"])] < ended[parent]
    last = read.stages["denoise.000"]["calls"][-1]
    assert last["path"] == "unet" and last["entered"] == 0


def test_the_text_encoder_runs_for_the_prompt_and_then_for_the_negative_prompt(everything):
    _, read = everything
    calls = [entry for entry in read.stages["encode_prompt"]["calls"] if entry["path"] == "text_encoder"]
    assert [(entry["call"], entry["rows"]) for entry in calls] == [(0, ["text"]), (1, ["uncond"])]
    assert torch.equal(read["encode_prompt/text_encoder#1/in.input_ids"], read["encode_prompt/negative_input_ids"])
    assert torch.equal(read["encode_prompt/text_encoder#1/out.0"], read["encode_prompt/negative_prompt_embeds"])


def test_inputs_have_the_names_of_the_parameters_and_tuples_their_elements(everything):
    _, read = everything
    assert "denoise.000/unet.down_blocks.0.resnets.1#0/in.input_tensor" in read
    assert "denoise.000/unet.up_blocks.0#0/in.res_hidden_states_tuple.2" in read
    assert "denoise.000/unet#0/in.encoder_hidden_states" in read
    assert "denoise.000/unet.down_blocks.0#0/out.1" in read and "denoise.000/unet.mid_block#0/out" in read
    assert torch.equal(read["denoise.000/unet#0/out"][:1], read["denoise.000/uncond_residual"])


def test_a_tensor_of_several_calls_is_stored_once(everything):
    _, read = everything
    same = read.stages["denoise.000"]["same"]
    key = "denoise.000/unet.down_blocks.0.resnets.0#0/in.input_tensor"
    assert same[key] == "denoise.000/unet.conv_in#0/out"
    bytes_of = lambda tensors: sum(t.numel() * t.element_size() for t in tensors.values())
    assert bytes_of(read.stored) < 0.6 * bytes_of(read.tensors)


class Doubled(torch.nn.Module):
    def forward(self, numbers):
        return numbers.mul_(2)


def test_inputs_are_as_they_were_before_the_module_changed_them(pipe, path):
    pipe.unet.conv_act = Doubled()
    with diffuscope_trace.record(pipe, path, modules=["unet.conv_norm_out", "unet.conv_act"]):
        call(pipe, steps=1)
    read = Read(path)
    before, after = read["denoise.000/unet.conv_norm_out#0/out"], read["denoise.000/unet.conv_act#0/out"]
    assert torch.equal(read["denoise.000/unet.conv_act#0/in.numbers"], before)
    assert torch.equal(after, before * 2)


def test_names_come_from_the_class_if_the_instance_has_another_forward(pipe, path):
    module = pipe.unet.conv_in
    original = module.forward
    module.forward = lambda *args, **kwargs: original(*args, **kwargs)
    with diffuscope_trace.record(pipe, path, modules=["unet.conv_in"]):
        call(pipe, steps=1)
    assert "denoise.000/unet.conv_in#0/in.input" in Read(path)


def test_patterns(pipe, path):
    with diffuscope_trace.record(pipe, path, modules=["unet.*.attn2", "text_encoder.encoder.layers.0.mlp"], steps=[0]):
        call(pipe)
    read = Read(path)
    paths = [entry["path"] for entry in read.stages["denoise.000"]["calls"]]
    assert paths and all(path.endswith(".attn2") for path in paths)
    assert len(read.stages["encode_prompt"]["calls"]) == 2
    assert set(read.trace["modules"]) == set(paths) | {read.stages["encode_prompt"]["calls"][0]["path"]}


def test_a_layer_that_runs_after_the_text_encoder(make, path):
    pipe = make("sd1")
    if not hasattr(pipe.text_encoder, "text_model"):
        pytest.skip("this diffusers cannot skip layers of this transformers' text encoder")
    with diffuscope_trace.record(pipe, path, modules=["text_encoder.*final_layer_norm"]):
        call(pipe, steps=1, clip_skip=1)
    read = Read(path)
    assert [entry["rows"] for entry in read.stages["encode_prompt"]["calls"]] == [["text"], ["text"], ["uncond"]]
    assert read.trace["settings"]["clip_skip"] == 1


def test_evidence(everything):
    pipe, read = everything
    modules = read.trace["modules"]
    norm = modules["unet.conv_norm_out"]
    assert norm["class"] == "GroupNorm" and norm["attributes"]["eps"] == 1e-5 and norm["attributes"]["num_groups"] == 8
    weight = pipe.unet.conv_norm_out.weight.detach().numpy()
    assert norm["weights"]["weight"] == "sha256:" + hashlib.sha256(weight.tobytes()).hexdigest()
    assert set(norm["weights"]) == {"weight", "bias"}
    attention = modules["unet.mid_block.attentions.0.transformer_blocks.0.attn2"]["attributes"]
    assert attention["heads"] == 4 and attention["scale"] == 0.25 and attention["processor"] == "AttnProcessor2_0"
    conv = modules["unet.conv_in"]["attributes"]
    assert conv["kernel_size"] == [3, 3] and conv["stride"] == [1, 1] and conv["padding"] == [1, 1]
    assert modules["unet.time_proj"]["attributes"]["flip_sin_to_cos"] is True
    assert modules["unet.mid_block.attentions.0.transformer_blocks.0.ff.net.0"]["class"] == "GEGLU"
    assert modules["unet"]["attributes"]["layers_per_block"] == 2 and "weights" not in modules["unet"]
    assert modules["vae"]["attributes"]["scaling_factor"] == 0.18215


def test_attention_slicing(pipe, path):
    pipe.enable_attention_slicing(1)
    with diffuscope_trace.record(pipe, path, modules=["unet.*.attn1"]):
        call(pipe, steps=1)
    read = Read(path)
    assert {m["attributes"]["processor"] for m in read.trace["modules"].values()} == {"SlicedAttnProcessor"}
