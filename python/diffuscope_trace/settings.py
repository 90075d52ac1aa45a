"""The settings of a run, the scheduler, and the versions of libraries, for `trace.json`."""
from __future__ import annotations

import inspect
import platform
import sys
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

import torch

from .evidence import plain
from .version import __version__


def bound_arguments(call: Callable[..., Any], pipe: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Dict[str, Any]:
    """The arguments of `pipe(...)` by name, with diffusers' defaults."""
    bound = inspect.signature(call).bind(pipe, *args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def settings(arguments: Mapping[str, Any], seed: Optional[int]) -> Dict[str, Any]:
    """The settings under diffusers' names. Height and width follow from the latents, see `size`."""
    found: Dict[str, Any] = {}
    if arguments.get("prompt") is not None:
        found["prompt"] = _text(arguments["prompt"])
    if arguments.get("negative_prompt_embeds") is None:
        found["negative_prompt"] = _text(arguments.get("negative_prompt") or "")
    for name in ("height", "width", "num_inference_steps", "guidance_scale", "eta", "strength"):
        if arguments.get(name) is not None:
            found[name] = plain(arguments[name])
    if seed is not None:
        found["seed"] = seed
    # What changes the numbers is noted; defaults are not.
    for name in ("guidance_rescale", "clip_skip", "timesteps", "sigmas", "cross_attention_kwargs"):
        if arguments.get(name):
            found[name] = plain(arguments[name])
    return found


def _text(prompt: Any) -> Any:
    return prompt[0] if isinstance(prompt, (list, tuple)) else prompt


def size(pipe: Any, latents: torch.Tensor) -> Dict[str, int]:
    """The picture's height and width."""
    factor = int(pipe.vae_scale_factor)
    return {"height": latents.shape[-2] * factor, "width": latents.shape[-1] * factor}


def generator_of(arguments: Mapping[str, Any], device: torch.device) -> Optional[torch.Generator]:
    """The generator that the run draws from: the caller's, or torch's own of the device."""
    generator: Any = arguments.get("generator")
    if isinstance(generator, (list, tuple)):
        generator = generator[0]
    if generator is not None:
        return generator if isinstance(generator, torch.Generator) else None
    if device.type == "cpu":
        return torch.default_generator
    if device.type == "cuda":
        torch.cuda.init()
        return torch.cuda.default_generators[device.index if device.index is not None else torch.cuda.current_device()]
    if device.type == "mps":
        return torch.mps._get_default_mps_generator()
    return None


def seed_of(generator: Optional[torch.Generator], arguments: Mapping[str, Any]) -> Optional[int]:
    """The seed of the caller's generator. torch's own generator may have drawn before: then its seed would mislead."""
    if generator is None:
        return None
    seed = int(generator.initial_seed())
    if arguments.get("generator") is None:
        fresh = torch.Generator(generator.device).manual_seed(seed)
        if not torch.equal(fresh.get_state(), generator.get_state()):
            return None
    return seed


def producer() -> Dict[str, str]:
    """Who wrote the trace, and the versions of the libraries that are loaded."""
    found = {"name": "diffuscope-trace", "version": __version__, "python": platform.python_version()}
    for library in ("torch", "diffusers", "transformers", "accelerate", "safetensors"):
        version = getattr(sys.modules.get(library), "__version__", None)
        if version is not None:
            found[library] = str(version)
    return found


def scheduler_entry(scheduler: Any) -> Dict[str, Any]:
    """The class, and the configuration with every argument."""
    config = {key: plain(value) for key, value in scheduler.config.items() if key != "_use_default_values"}
    return {"class": type(scheduler).__name__, "config": config}


def number(timestep: Any) -> Union[int, float]:
    """A timestep as a number: whole where the scheduler's are whole."""
    value: Union[int, float] = timestep.item() if hasattr(timestep, "item") else timestep
    return value


def numbers(timesteps: Any) -> List[Union[int, float]]:
    """Timesteps as numbers."""
    return [number(timestep) for timestep in timesteps]
