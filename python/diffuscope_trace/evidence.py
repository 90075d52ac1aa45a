"""What `trace.json` says about modules besides their tensors: class, numbers and flags, digests of weights."""
from __future__ import annotations

import ctypes
import hashlib
import math
from collections.abc import Mapping
from typing import Any, Dict, Optional

import torch

from .tensors import flat_bytes


def plain(value: Any) -> Any:
    """The value as JSON has it; None for what JSON has no form for. diffusers writes -Infinity, which is not JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(element) for element in value]
    if isinstance(value, Mapping):
        return {str(key): plain(element) for key, element in value.items()}
    if hasattr(value, "tolist"):  # arrays and numbers of numpy
        return plain(value.tolist())
    return None


def evidence(module: torch.nn.Module, is_root: bool) -> Dict[str, Any]:
    """The entry of a module. A whole model's attributes are its configuration."""
    entry: Dict[str, Any] = {"class": type(module).__name__, "attributes": _attributes(module)}
    if is_root:
        entry["attributes"].update(_numbers_flags_texts(_config(module)))
    weights = {name: digest for name in module._parameters if (digest := weight_digest(module, name)) is not None}
    if weights:
        entry["weights"] = weights
    return entry


def _config(module: torch.nn.Module) -> Mapping[str, Any]:
    config: Any = getattr(module, "config", None)
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    return config if isinstance(config, Mapping) else {}


def _attributes(module: torch.nn.Module) -> Dict[str, Any]:
    attributes = _numbers_flags_texts(vars(module))
    attributes.pop("training", None)
    processor = vars(module).get("processor")
    if processor is not None:
        attributes["processor"] = type(processor).__name__
    return attributes


def _numbers_flags_texts(values: Mapping[str, Any]) -> Dict[str, Any]:
    def is_plain(value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            return 0 < len(value) <= 16 and all(is_plain(element) for element in value)
        return isinstance(value, (bool, int, float, str))

    return {name: plain(value) for name, value in values.items() if not name.startswith("_") and is_plain(value)}


def weight_digest(module: torch.nn.Module, name: str) -> Optional[str]:
    """`sha256:…` of a parameter's bytes, row by row. None if its values are nowhere to be found."""
    weight: Any = module._parameters[name]
    if weight is not None and weight.device.type == "meta":
        weight = _offloaded(module, name)
    if not isinstance(weight, torch.Tensor) or weight.layout is not torch.strided or weight.device.type == "meta":
        return None
    flat = flat_bytes(weight.detach().to("cpu").contiguous())
    # A view of the memory: numpy is not needed, nor is a copy.
    memory = (ctypes.c_char * flat.numel()).from_address(flat.data_ptr()) if flat.numel() else b""
    return "sha256:" + hashlib.sha256(memory).hexdigest()


def _offloaded(module: torch.nn.Module, name: str) -> Optional[torch.Tensor]:
    """accelerate keeps the values of an offloaded module in a map of its hook."""
    weights = getattr(getattr(module, "_hf_hook", None), "weights_map", None)
    try:
        value = None if weights is None else weights[name]
    except KeyError:
        return None
    return value if isinstance(value, torch.Tensor) else None
