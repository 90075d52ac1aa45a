"""Copies of tensors, and the tensors in the arguments and results of modules."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, List, Optional, Tuple

import torch

# The dtypes of the format. Flags are stored as bytes.
STORED = {torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.uint8}


def copy(tensor: torch.Tensor) -> Optional[torch.Tensor]:
    """A contiguous copy in the memory of the CPU. None for what the format does not hold, and for what has no values."""
    if tensor.layout is not torch.strided or tensor.device.type == "meta" or tensor.is_quantized:
        return None
    tensor = tensor.detach()
    if tensor.dtype is torch.bool:
        tensor = tensor.to(torch.uint8)
    if tensor.dtype not in STORED:
        return None
    if tensor.device.type == "cpu":
        return tensor.clone(memory_format=torch.contiguous_format)
    return tensor.to("cpu", copy=True).contiguous()


def flat_bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The bytes of a contiguous tensor."""
    return tensor.reshape(-1).view(torch.uint8)


def _words(tensor: torch.Tensor) -> torch.Tensor:
    """The bytes, eight at a time where they divide: torch is quicker with them."""
    flat = flat_bytes(tensor)
    return flat.view(torch.int64) if flat.numel() % 8 == 0 else flat


def fingerprint(tensor: torch.Tensor) -> Tuple[torch.dtype, Tuple[int, ...], int]:
    """Equal for identical tensors, and cheap: the sum of the bytes as integers."""
    return tensor.dtype, tuple(tensor.shape), int(_words(tensor).sum())


def identical(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit by bit, so NaN is identical to NaN and 0 is not identical to -0."""
    return bool(torch.equal(_words(a), _words(b)))


def leaves(value: Any) -> List[Any]:
    """The elements of a tuple, a list or an output object of diffusers or transformers, also of those inside of it."""
    if isinstance(value, Mapping):
        return [leaf for element in value.values() for leaf in leaves(element)]
    if isinstance(value, (tuple, list)):
        return [leaf for element in value for leaf in leaves(element)]
    return [value]


def named_tensors(name: str, value: Any) -> List[Tuple[str, torch.Tensor]]:
    """`NAME` for a tensor; `NAME.0` and so on for a tuple of them."""
    if isinstance(value, torch.Tensor):
        return [(name, value)]
    if isinstance(value, (tuple, list)):
        found = [(f"{name}.{i}", leaf) for i, leaf in enumerate(leaves(value))]
        return [(key, leaf) for key, leaf in found if isinstance(leaf, torch.Tensor)]
    return []


def output_tensors(value: Any) -> List[Tuple[str, torch.Tensor]]:
    """`out` for a single tensor, with or without a tuple around it; `out.0` and so on for several."""
    found = [(i, leaf) for i, leaf in enumerate(leaves(value)) if isinstance(leaf, torch.Tensor)]
    if len(found) == 1:
        return [("out", found[0][1])]
    return [(f"out.{i}", leaf) for i, leaf in found]


def first_tensor(value: Any) -> Optional[torch.Tensor]:
    """The first tensor of a result."""
    return next((leaf for leaf in leaves(value) if isinstance(leaf, torch.Tensor)), None)
