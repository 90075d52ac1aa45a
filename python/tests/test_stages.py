"""The tensors of each stage, and what `trace.json` says about the run."""
import importlib.util
import json

import diffuscope_trace
import numpy as np
import pytest
import torch
from conftest import Read, call, diffusers

NO_NOISE = [
    "DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler", "LMSDiscreteScheduler",
    "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler",
    "KDPM2DiscreteScheduler", "DDIMParallelScheduler",
]
NOISE = [
    ("DDIMScheduler", {}, {"eta": 0.7}),
    ("DDPMScheduler", {}, {}),
    ("DDPMParallelScheduler", {}, {}),
    ("EulerAncestralDiscreteScheduler", {}, {}),
    ("KDPM2AncestralDiscreteScheduler", {}, {}),
    ("LCMScheduler", {}, {}),
    ("TCDScheduler", {}, {"eta": 0.3}),
    ("SASolverScheduler", {}, {}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, {}),
    ("DPMSolverSinglestepScheduler", {"algorithm_type": "sde-dpmsolver++"}, {}),
]


def denoise(read):
    return [name for name in read.stages if name.startswith("denoise")]


def test_a_run_has_its_stages_and_their_tensors(pipe, path):
    plain = call(pipe)
    with diffuscope_trace.record(pipe, path) as recorder:
        image = call(pipe)
    assert np.array_equal(plain, image)
    assert recorder.path == path and recorder.stopped is None
    read = Read(path)
    assert read.trace["complete"] is True and "stopped" not in read.trace
    assert list(read.stages) == ["encode_prompt", "get_latent", "denoise.000", "denoise.001", "denoise.002", "vae_decode"]
    assert read["encode_prompt/input_ids"].shape == (1, 77)
    assert not torch.equal(read["encode_prompt/input_ids"], read["encode_prompt/negative_input_ids"])
    assert read["encode_prompt/prompt_embeds"].shape == read["encode_prompt/negative_prompt_embeds"].shape == (1, 77, 32)

    generator = torch.Generator().manual_seed(3)
    assert torch.equal(read["get_latent/generator_state"], generator.get_state())
    assert torch.equal(read["get_latent/noise"], torch.randn((1, 4, 8, 8), generator=generator))
    assert torch.equal(read["get_latent/latents"], read["get_latent/noise"])

    for step in range(3):
        stage = f"denoise.{step:03}"
        assert read.stages[stage]["rows"] == ["uncond", "text"]
        assert read.stages[stage]["timestep"] == read.trace["scheduler"]["timesteps"][step]
        uncond, text = read[f"{stage}/uncond_residual"], read[f"{stage}/text_cond_residual"]
        assert torch.equal(read[f"{stage}/guided_noise_residual"], uncond + 7.5 * (text - uncond))
        assert f"{stage}/variance_noise" not in read
        assert read[f"{stage}/pred_original_sample"].shape == read[f"{stage}/latents"].shape == (1, 4, 8, 8)
    assert np.array_equal(read["vae_decode/image"].permute(0, 2, 3, 1).numpy(), image)
    assert all(not stage.get("calls") for stage in read.stages.values())


def test_trace_json_says_what_was_run(pipe, path):
    with diffuscope_trace.record(pipe, str(path)):
        call(pipe, negative_prompt="blue", guidance_scale=3, steps=2)
    trace = Read(path).trace
    assert trace["format"] == "diffuscope trace" and trace["version"] == 1
    assert trace["settings"] == {
        "prompt": "red apple", "negative_prompt": "blue", "height": 64, "width": 64, "num_inference_steps": 2,
        "guidance_scale": 3, "eta": 0.0, "seed": 3,
    }
    assert trace["producer"]["name"] == "diffuscope-trace"
    assert trace["producer"]["torch"] == torch.__version__ and trace["producer"]["diffusers"] == diffusers.__version__
    assert (trace["device"], trace["dtype"], trace["layout"]) == ("cpu", "float32", "NCHW")
    assert trace["scheduler"]["class"] == "DDIMScheduler"
    assert trace["scheduler"]["config"]["beta_end"] == 0.012 and trace["scheduler"]["config"]["clip_sample_range"] == 1.0
    assert trace["vae"] == {"scaling_factor": 0.18215}


def test_defaults_are_filled_in(make, path):
    pipe = make("odd", scheduler="DPMSolverMultistepScheduler")
    with diffuscope_trace.record(pipe, path):
        pipe("red apple", num_inference_steps=1, output_type="latent")
    read = Read(path)
    assert read.trace["settings"]["guidance_scale"] == 7.5 and read.trace["settings"]["negative_prompt"] == ""
    # 8 is the UNet's sample_size; the miniature's VAE has four levels.
    assert read.trace["settings"]["height"] == read.trace["settings"]["width"] == 64
    assert read.trace["scheduler"]["config"]["lambda_min_clipped"] == "-Infinity"
    assert "vae_decode" not in read.stages and read.trace["complete"] is True


def test_without_guidance_there_is_one_row(pipe, path):
    with diffuscope_trace.record(pipe, path):
        call(pipe, guidance_scale=1.0)
    read = Read(path)
    assert read.stages["denoise.000"]["rows"] == ["text"]
    assert "denoise.000/uncond_residual" not in read and "encode_prompt/negative_input_ids" not in read
    # The same tensor under two names is stored once.
    assert read.stages["denoise.000"]["same"] == {"denoise.000/guided_noise_residual": "denoise.000/text_cond_residual"}


def test_a_guidance_embedding_leaves_one_row(make, path):
    pipe = make("lcm", scheduler="LCMScheduler")
    with diffuscope_trace.record(pipe, path):
        call(pipe, guidance_scale=8.0)
    assert Read(path).stages["denoise.000"]["rows"] == ["text"]


def test_the_seed_of_torchs_own_generator_counts_only_if_it_has_not_drawn(pipe, path):
    torch.manual_seed(11)
    state = torch.get_rng_state()
    with diffuscope_trace.record(pipe, path):
        call(pipe, generator=None)
    read = Read(path)
    assert read.trace["settings"]["seed"] == 11 and torch.equal(read["get_latent/generator_state"], state)
    with diffuscope_trace.record(pipe, path):
        call(pipe, generator=None)
    assert "seed" not in Read(path).trace["settings"]


def test_latents_and_embeddings_that_were_given(pipe, path):
    embeds, negative, latents = torch.randn(1, 77, 32), torch.randn(1, 77, 32), torch.randn(1, 4, 8, 8)
    with diffuscope_trace.record(pipe, path):
        call(pipe, None, prompt_embeds=embeds, negative_prompt_embeds=negative, latents=latents)
    read = Read(path)
    assert torch.equal(read["encode_prompt/prompt_embeds"], embeds) and "encode_prompt/input_ids" not in read
    assert torch.equal(read["get_latent/latents"], latents) and "get_latent/noise" not in read
    assert "prompt" not in read.trace["settings"]
    with diffuscope_trace.record(pipe, path, modules=["text_encoder"]):
        call(pipe, None, prompt_embeds=embeds)
    read = Read(path)
    assert "encode_prompt/negative_input_ids" in read and "encode_prompt/input_ids" not in read
    assert [c["rows"] for c in read.stages["encode_prompt"]["calls"]] == [["uncond"]]


@pytest.mark.parametrize("scheduler", NO_NOISE)
def test_schedulers_that_draw_nothing(make, path, scheduler):
    pipe = make(scheduler=scheduler)
    plain = call(pipe, steps=4)
    with diffuscope_trace.record(pipe, path):
        assert np.array_equal(call(pipe, steps=4), plain)
    read = Read(path)
    assert read.trace["complete"] is True and read.trace["scheduler"]["class"] == scheduler
    assert len(denoise(read)) == len(read.trace["scheduler"]["timesteps"]) == len(pipe.scheduler.timesteps)
    for name, timestep in zip(denoise(read), read.trace["scheduler"]["timesteps"]):
        assert read.stages[name]["timestep"] == timestep
        if scheduler == "DPMSolverMultistepScheduler":
            assert f"{name}/pred_original_sample" in read


@pytest.mark.parametrize("scheduler, config, changes", NOISE, ids=[f"{s}{c or ''}" for s, c, _ in NOISE])
def test_schedulers_that_draw(make, path, scheduler, config, changes):
    pipe = make(scheduler=scheduler, **config)
    plain = call(pipe, steps=4, **changes)
    with diffuscope_trace.record(pipe, path):
        assert np.array_equal(call(pipe, steps=4, **changes), plain)
    read = Read(path)
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(torch.randn((1, 4, 8, 8), generator=generator), read["get_latent/noise"])
    noises = [read[f"{name}/variance_noise"] for name in denoise(read) if f"{name}/variance_noise" in read]
    assert len(noises) >= 2
    for noise in noises:
        assert torch.equal(noise, torch.randn((1, 4, 8, 8), generator=generator))


@pytest.mark.skipif(importlib.util.find_spec("torchsde") is None, reason="torchsde is not installed")
def test_a_brownian_tree(make, path):
    pipe = make(scheduler="DPMSolverSDEScheduler", noise_sampler_seed=5)
    tree = __import__("sys").modules[type(pipe.scheduler).__module__].BrownianTreeNoiseSampler
    before = tree.__call__
    plain = call(pipe, steps=3)
    with diffuscope_trace.record(pipe, path):
        assert np.array_equal(call(pipe, steps=3), plain)
    assert tree.__call__ is before
    read = Read(path)
    sampler = None
    for i, name in enumerate(denoise(read)[:-1]):
        assert read[f"{name}/variance_noise"].shape == (1, 4, 8, 8)
        assert 0.5 < read[f"{name}/variance_noise"].std() < 1.5
    assert f"{denoise(read)[-1]}/variance_noise" not in read


def test_image_to_image(make, path):
    pipe = make(cls="StableDiffusionImg2ImgPipeline")
    image = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    plain = call(pipe, image=image, strength=0.5, steps=4)
    with diffuscope_trace.record(pipe, path, modules=["vae.encoder", "vae.decoder"]):
        assert np.array_equal(call(pipe, image=image, strength=0.5, steps=4), plain)
    read = Read(path)
    assert list(read.stages) == ["encode_prompt", "get_latent", "denoise.002", "denoise.003", "vae_decode"]
    assert len(read.trace["scheduler"]["timesteps"]) == 2
    assert read.trace["settings"]["strength"] == 0.5 and read.trace["settings"]["height"] == 64
    assert torch.allclose(read["get_latent/init_image"], image, atol=1e-6)
    timestep = torch.tensor([read.stages["denoise.002"]["timestep"]])
    noised = pipe.scheduler.add_noise(read["get_latent/init_latents"], read["get_latent/noise"], timestep)
    assert torch.equal(noised, read["get_latent/latents"])
    # The encoder and the decoder are calls of different stages.
    assert [c["path"] for c in read.stages["get_latent"]["calls"]] == ["vae.encoder"]
    assert [c["path"] for c in read.stages["vae_decode"]["calls"]] == ["vae.decoder"]


def test_image_to_image_with_a_scheduler_of_two_calls_a_step(make, path):
    pipe = make(cls="StableDiffusionImg2ImgPipeline", scheduler="HeunDiscreteScheduler")
    with diffuscope_trace.record(pipe, path):
        call(pipe, image=torch.rand((1, 3, 64, 64)), strength=0.5, steps=4)
    read = Read(path)
    assert denoise(read) == ["denoise.004", "denoise.005", "denoise.006"]
    assert len(pipe.scheduler.timesteps) == 7


def test_chosen_steps(pipe, path):
    def with_modules(read):
        return [name for name in denoise(read) if read.stages[name].get("calls")]

    with diffuscope_trace.record(pipe, path, modules=["unet.conv_in"], steps=[0, 2]):
        call(pipe)
    read = Read(path)
    # The tensors of every step are recorded: a scheduler with a history needs them.
    assert denoise(read) == ["denoise.000", "denoise.001", "denoise.002"] and read.trace["complete"] is True
    assert with_modules(read) == ["denoise.000", "denoise.002"]
    with pytest.warns(diffuscope_trace.RecordingStopped, match="no step 7"):
        with diffuscope_trace.record(pipe, path, modules=["unet.conv_in"], steps=[1, 7]):
            call(pipe)
    assert with_modules(Read(path)) == ["denoise.001"]


def test_callbacks_that_run_models_are_no_stages(pipe, path):
    def callback(pipe, step, timestep, tensors):
        pipe.vae.decode(tensors["latents"])
        pipe.unet(tensors["latents"], timestep, encoder_hidden_states=torch.zeros(1, 77, 32))
        return {}

    plain = call(pipe)
    with diffuscope_trace.record(pipe, path, modules=["unet.conv_in"]):
        image = call(pipe, callback_on_step_end=callback)
    assert np.array_equal(image, plain)
    read = Read(path)
    assert len(denoise(read)) == 3 and list(read.stages)[-1] == "vae_decode"
    assert [read.stages[name]["rows"] for name in denoise(read)] == [["uncond", "text"]] * 3
    assert all(len(read.stages[name]["calls"]) == 1 for name in denoise(read))
    assert np.array_equal(read["vae_decode/image"].permute(0, 2, 3, 1).numpy(), image)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_dtypes(make, path, dtype):
    pipe = make().to(dtype)
    with diffuscope_trace.record(pipe, path, modules=["unet.conv_in"]):
        call(pipe, steps=1)
    read = Read(path)
    assert read.trace["dtype"] == str(dtype)[6:]
    assert read["denoise.000/latents"].dtype == read["denoise.000/unet.conv_in#0/out"].dtype == dtype


def test_the_bundled_model(pocket, path):
    plain = call(pocket, steps=2, height=128, width=128)
    with diffuscope_trace.record(pocket, path, modules="all"):
        assert np.array_equal(call(pocket, steps=2, height=128, width=128), plain)
    read = Read(path)
    assert len(read.stages["denoise.000"]["calls"]) > 300
    assert json.dumps(read.trace["scheduler"]["timesteps"]) == "[501, 1]"


@pytest.mark.parametrize("way", ["lambda", "subclass"])
def test_a_step_that_was_wrapped_without_its_parameters(pipe, path, way):
    original = pipe.scheduler.step
    if way == "lambda":
        pipe.scheduler.step = lambda *args, **kwargs: original(*args, **kwargs)
    else:
        base = type(pipe.scheduler)

        class Mine(base):
            def step(self, *args, **kwargs):
                return super().step(*args, **kwargs)

        pipe.scheduler = Mine.from_config(pipe.scheduler.config)
    with diffuscope_trace.record(pipe, path):
        call(pipe)
    read = Read(path)
    for stage in denoise(read):
        for name in ["guided_noise_residual", "pred_original_sample", "latents"]:
            assert f"{stage}/{name}" in read.tensors, f"{stage}/{name}"
    assert "get_latent/latents" in read.tensors
