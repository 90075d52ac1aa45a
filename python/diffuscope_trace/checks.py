"""What is not recorded, refused by name before anything is written."""
from __future__ import annotations

from typing import Any, Mapping, Sequence

from .calls import all_modules
from .errors import TraceError
from .patches import call_patches

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")


def recorded_class(pipe: Any) -> str:
    """Which of the two pipelines this is. Refuses every other one."""
    cls = type(pipe)
    if getattr(pipe, "controlnet", None) is not None:
        raise TraceError(f"{cls.__name__} has a ControlNet, which a trace has no place for")
    base = next((base for base in cls.__mro__ if base.__name__ in PIPELINES and base.__module__.startswith("diffusers.")), None)
    if base is None:
        raise TraceError(f"{cls.__name__} cannot be recorded, only {' and '.join(PIPELINES)}")
    if call_patches.original(cls) is not call_patches.original(base):
        raise TraceError(f"{cls.__name__} has a __call__ of its own: only that of {base.__name__} can be recorded")
    return base.__name__


def check_pipe(pipe: Any) -> None:
    """Refuses pipelines whose modules do not run as modules."""
    for component in ("text_encoder", "unet", "vae"):
        model = getattr(pipe, component, None)
        if model is not None and _is_compiled(model):
            raise TraceError(f"{component} is compiled by torch.compile, which leaves out hooks: record it without")
    for path, module in all_modules(pipe):
        if _is_compiled(module):
            raise TraceError(f"{path} is compiled by torch.compile, which leaves out hooks: record it without")
        processor = type(vars(module).get("processor")).__name__
        if getattr(module, "fused_projections", False) is True or processor.startswith("Fused"):
            raise TraceError(f"{path} has fused QKV projections: call pipe.unfuse_qkv_projections() first")
        if "IPAdapter" in processor or "IPAdapter" in type(module).__name__:
            raise TraceError(f"{path} belongs to an IP-Adapter, which a trace has no place for: call pipe.unload_ip_adapter() first")


def _is_compiled(module: Any) -> bool:
    if type(module).__name__ == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None:
        return True
    return any(hasattr(vars(module).get(name), "_torchdynamo_orig_callable") for name in ("forward", "decode", "encode"))


def check_call(arguments: Mapping[str, Any]) -> None:
    """Refuses calls of more than one picture, and those with other models."""
    for name in ("prompt", "negative_prompt", "generator", "image"):
        value = arguments.get(name)
        if isinstance(value, (list, tuple)) and len(value) != 1:
            raise TraceError(f"{name} is a list of {len(value)}: a trace has one picture")
    for name in ("prompt_embeds", "negative_prompt_embeds", "latents", "image"):
        shape: Sequence[int] = getattr(arguments.get(name), "shape", ())
        if len(shape) == (3 if name.endswith("embeds") else 4) and shape[0] != 1:
            raise TraceError(f"{name} is a batch of {shape[0]}: a trace has one picture")
    if (arguments.get("num_images_per_prompt") or 1) != 1:
        raise TraceError(f"num_images_per_prompt is {arguments['num_images_per_prompt']}: a trace has one picture")
    for name in ("ip_adapter_image", "ip_adapter_image_embeds"):
        if arguments.get(name) is not None:
            raise TraceError(f"{name} is for an IP-Adapter, which a trace has no place for")
