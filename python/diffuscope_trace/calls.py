"""Records the calls of modules with forward hooks."""
from __future__ import annotations

import fnmatch
import inspect
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import torch

from .errors import TraceError
from .stage import Rows, Stage
from .tensors import named_tensors, output_tensors

COMPONENTS = ("text_encoder", "unet", "vae")

Modules = Union[str, Sequence[str]]


def check_modules(modules: Modules) -> None:
    """Refuses what `modules` cannot be."""
    if isinstance(modules, str):
        if modules not in ("stages", "all"):
            raise TraceError(f'modules is "stages", "all", or a list of patterns such as ["unet.*.attn2"], and not {modules!r}')
    elif not all(isinstance(pattern, str) for pattern in modules):
        raise TraceError(f"modules has to be a list of patterns, and not {modules!r}")


def all_modules(pipe: Any) -> Iterator[Tuple[str, torch.nn.Module]]:
    """Every module of the pipeline with its path. A module that is in several places has the first one's path."""
    for component in COMPONENTS:
        model = getattr(pipe, component, None)
        if isinstance(model, torch.nn.Module):
            for path, module in model.named_modules():
                yield (f"{component}.{path}" if path else component), module


def choose(pipe: Any, modules: Modules) -> Dict[str, torch.nn.Module]:
    """The modules to record, by path. `*` in a pattern stands for any text, also for several parts of a path."""
    if modules == "stages":
        return {}
    found = dict(all_modules(pipe))
    if modules == "all":
        return found
    chosen = set()
    for pattern in modules:
        matching = [path for path in found if _matches(path, pattern)]
        if not matching:
            raise TraceError(f"no module's path matches {pattern!r}")
        chosen.update(matching)
    return {path: module for path, module in found.items() if path in chosen}


def _matches(path: str, pattern: str) -> bool:
    # transformers 4 has a text_model in its paths, transformers 5 has none: a pattern means both.
    names = (path, path.replace("text_encoder.text_model.", "text_encoder."))
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def argument_tensors(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> List[Tuple[str, torch.Tensor]]:
    """The tensors among the arguments of a call, named after the parameters of the class's `forward`.

    The class's and not the instance's: accelerate and others put functions with other parameters there.
    """
    signature = inspect.signature(type(module).forward)
    try:
        bound = dict(signature.bind(module, *args, **kwargs).arguments)
    except TypeError:
        bound = dict(zip(signature.parameters, (module, *args)), **kwargs)
    names = list(signature.parameters)
    bound.pop(names[0], None)
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            bound.update(bound.pop(name, None) or {})
    return [found for name, value in bound.items() for found in named_tensors(name, value)]


@dataclass
class _Frame:
    module: torch.nn.Module
    stage: Stage
    call: int
    entered: int


class Calls:
    """Hooks on the chosen modules, which write into the stage that is open."""

    def __init__(self, stage: Callable[[], Optional[Stage]], rows: Callable[[], Rows], guard: Callable[[], Any]) -> None:
        self._stage = stage
        self._rows = rows
        self._guard = guard
        self._frames: List[_Frame] = []

    def register(self, path: str, module: torch.nn.Module) -> List[Any]:
        """Puts hooks on a module, and returns their handles."""

        def before(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
            stage = self._stage()
            if stage is None:
                return
            with self._guard():
                call, entered = stage.enter(path)
                self._frames.append(_Frame(module, stage, call, entered))
                for name, tensor in argument_tensors(module, args, kwargs):
                    stage.put(f"{path}#{call}/in.{name}", tensor)

        def after(module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            frame = self._pop(module)
            if frame is None or frame.stage is not self._stage():
                return
            with self._guard():
                for name, tensor in output_tensors(output):
                    frame.stage.put(f"{path}#{frame.call}/{name}", tensor)
                frame.stage.complete(path, frame.call, frame.entered, self._rows())

        return [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after, with_kwargs=True),
        ]

    def _pop(self, module: torch.nn.Module) -> Optional[_Frame]:
        """The frame of this call. Those above it are of calls that ended in an exception that somebody caught."""
        for i in reversed(range(len(self._frames))):
            if self._frames[i].module is module:
                frame = self._frames[i]
                del self._frames[i:]
                return frame
        return None
