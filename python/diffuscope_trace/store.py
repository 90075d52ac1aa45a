"""The folder of a trace: what may be replaced, whole files only, and how much room there is."""
from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Union

import torch
from safetensors.torch import save_file

from .errors import Full, TraceError

FORMAT = "diffuscope trace"
VERSION = 1

# What stays free on the disk.
RESERVE = 256 * 10**6

_OWN_FILE = re.compile(r"(encode_prompt|get_latent|denoise\.\d+|vae_decode)\.safetensors(\.tmp)?|trace\.json\.tmp")

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def parse_size(limit: Union[str, int, None]) -> Optional[int]:
    """`"20GB"`, `"500 MiB"`, or a number of bytes."""
    if limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit > 0):
        return limit
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", limit) if isinstance(limit, str) else None
    if match is None or match[2].upper() not in _UNITS or float(match[1]) == 0:
        raise TraceError(f'limit is a size such as "20GB" or "500MB", a number of bytes, or None, and not {limit!r}')
    return int(float(match[1]) * _UNITS[match[2].upper()])


def human(size: float) -> str:
    """A size for a person."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} bytes"


class Store:
    """The folder. Nothing changes on the disk before `begin`."""

    def __init__(self, path: Union[str, "os.PathLike[str]"], limit: Union[str, int, None]) -> None:
        self.path = Path(path)
        self.limit = parse_size(limit)
        self.bytes = 0
        self._sizes: Dict[str, int] = {}
        self.check()

    def check(self) -> None:
        """Refuses to replace anything but a trace or an empty folder."""
        if self.path.is_dir():
            if any(self.path.iterdir()) and not self._is_trace():
                raise TraceError(f"{self.path} is a folder with other files in it, and no trace: give another name, or delete it")
        elif self.path.exists() or self.path.is_symlink():
            raise TraceError(f"{self.path} is a file: a trace is a folder, give another name")

    def _is_trace(self) -> bool:
        try:
            trace = json.loads((self.path / "trace.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(trace, dict) and trace.get("format") == FORMAT

    def begin(self) -> None:
        """Makes the folder. An old trace goes, `trace.json` first, so that it never names files of another run."""
        self.check()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "trace.json").unlink(missing_ok=True)
            for file in self.path.iterdir():
                if _OWN_FILE.fullmatch(file.name):
                    file.unlink()
        except OSError as error:
            raise TraceError(f"no trace can be written to {self.path}: {error}") from error

    def check_room(self, size: int) -> None:
        """Raises `Full` if a stage of this many bytes does not fit, neither the limit nor the disk."""
        if self.limit is not None and self.bytes + size > self.limit:
            raise Full(f"the trace would become larger than the limit of {human(self.limit)}")
        if size + RESERVE > self.free():
            raise Full(f"the disk has only {human(self.free())} free")

    def free(self) -> int:
        """The free bytes of the disk."""
        return shutil.disk_usage(self.path).free

    def write_tensors(self, file: str, tensors: Mapping[str, torch.Tensor]) -> int:
        """Writes a stage's file beside its place and renames it. Returns its size."""
        temporary = self.path / f"{file}.tmp"
        try:
            save_file(dict(tensors), temporary)
            # safetensors writes files for their owner only.
            shutil.copymode(self.path / "trace.json", temporary)
            os.replace(temporary, self.path / file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        size = (self.path / file).stat().st_size
        self.bytes += size - self._sizes.get(file, 0)
        self._sizes[file] = size
        return size

    def write_trace(self, trace: Mapping[str, Any]) -> None:
        """Writes `trace.json` beside its place and renames it."""
        temporary = self.path / "trace.json.tmp"
        text = json.dumps(trace, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, self.path / "trace.json")
