"""The noise that a scheduler or a pipeline draws."""
from __future__ import annotations

import functools
import sys
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from torch.overrides import TorchFunctionMode

_DRAWS = (torch.randn, torch.randn_like, torch.normal)


class Draws(TorchFunctionMode):
    """While it lasts, keeps copies of the normal noise that this thread draws, whoever calls torch."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: List[torch.Tensor] = []
        self.sampled: List[torch.Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Tuple[Any, ...] = (), kwargs: Optional[Dict[str, Any]] = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _DRAWS and isinstance(result, torch.Tensor):
            self.drawn.append(result.detach().clone())
        return result

    def first(self, shape: Sequence[int]) -> Optional[torch.Tensor]:
        """The first noise of this shape. What a noise sampler made of its draws comes before the draws."""
        for noise in (*self.sampled, *self.drawn):
            if tuple(noise.shape) == tuple(shape):
                return noise
        return None


@contextmanager
def draws(scheduler: Any = None) -> Iterator[Draws]:
    """Keeps what is drawn. A Brownian tree draws a lot and interpolates: of a scheduler with one, it keeps the result."""
    kept = Draws()
    trees = _brownian_trees(scheduler)
    originals = [tree.__call__ for tree in trees]
    for tree, original in zip(trees, originals):
        setattr(tree, "__call__", _kept(original, kept))
    try:
        with kept:
            yield kept
    finally:
        for tree, original in zip(trees, originals):
            setattr(tree, "__call__", original)


def _kept(original: Callable[..., Any], kept: Draws) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        noise = original(*args, **kwargs)
        kept.sampled.append(noise.detach().clone())
        return noise

    return call


def _brownian_trees(scheduler: Any) -> List[Any]:
    modules = {sys.modules.get(cls.__module__) for cls in type(scheduler).__mro__}
    found = {getattr(module, "BrownianTreeNoiseSampler", None) for module in modules}
    return [tree for tree in found if tree is not None]
