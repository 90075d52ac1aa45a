"""A stage in the making: its tensors and the calls of modules."""
from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import torch

from .tensors import copy, fingerprint, identical

Rows = Optional[List[str]]


class Stage:
    """The tensors of one stage, each stored once, and the calls of modules in the order of completion."""

    def __init__(
        self,
        name: str,
        check_room: Callable[[int], None],
        rows: Rows = None,
        timestep: Optional[Union[int, float]] = None,
    ) -> None:
        self.name = name
        self.rows = rows
        self.timestep = timestep
        self.tensors: Dict[str, torch.Tensor] = {}
        self.same: Dict[str, str] = {}
        self.calls: List[Dict[str, Any]] = []
        self.bytes = 0
        self._check_room = check_room
        self._keys: Dict[Any, List[str]] = {}
        self._calls_of: Dict[str, int] = {}
        self._entered = 0

    def put(self, name: str, tensor: Optional[torch.Tensor]) -> None:
        """Stores a copy under `STAGE/NAME`, or refers to a stored tensor with the same values.

        Values are compared and not addresses: memory is reused, and modules change tensors in place.
        """
        copied = None if tensor is None else copy(tensor)
        if copied is None:
            return
        key = f"{self.name}/{name}"
        keys = self._keys.setdefault(fingerprint(copied), [])
        for stored in keys:
            if identical(self.tensors[stored], copied):
                self.same[key] = stored
                return
        size = copied.numel() * copied.element_size()
        self._check_room(self.bytes + size)
        self.bytes += size
        keys.append(key)
        self.tensors[key] = copied

    def enter(self, path: str) -> Tuple[int, int]:
        """Numbers a call that begins: among those of its path, and among all."""
        call = self._calls_of.get(path, 0)
        self._calls_of[path] = call + 1
        entered = self._entered
        self._entered += 1
        return call, entered

    def complete(self, path: str, call: int, entered: int, rows: Rows) -> None:
        """Notes a call that has ended."""
        entry: Dict[str, Any] = {"path": path, "call": call, "entered": entered}
        if rows is not None and rows != self.rows:
            entry["rows"] = rows
        self.calls.append(entry)

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.safetensors"

    def entry(self) -> Dict[str, Any]:
        """Its entry in `trace.json`."""
        entry: Dict[str, Any] = {"name": self.name, "file": self.file}
        if self.timestep is not None:
            entry["timestep"] = self.timestep
        if self.rows is not None:
            entry["rows"] = self.rows
        if self.calls:
            entry["calls"] = self.calls
        if self.same:
            entry["same"] = self.same
        return entry
