"""Changes to a pipeline that are undone, also after an exception."""
from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Tuple

Run = Callable[[Callable[..., Any], Tuple[Any, ...], Dict[str, Any]], Any]

_MISSING = object()


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Puts `make(the method)` into the instance's `__dict__` in the place of a method of the same name, for a while.

    It goes around `__setattr__`, which pipelines and modules have of their own.
    """
    attributes = owner.__dict__
    before = attributes.get(name, _MISSING)
    method = getattr(owner, name)
    attributes[name] = functools.wraps(method)(make(method))
    try:
        yield
    finally:
        if before is _MISSING:
            attributes.pop(name, None)
        else:
            attributes[name] = before


class CallPatches:
    """Catches `pipe(...)` for chosen pipelines.

    Python looks `__call__` up in the class and not in the instance. So the class gets another `__call__` while at least one
    of its instances is recorded; it passes every other instance on.
    """

    def __init__(self) -> None:
        self._originals: Dict[type, Any] = {}
        self._runs: Dict[int, Tuple[Any, Run]] = {}

    def add(self, pipe: Any, run: Run) -> bool:
        """`run(original, args, kwargs)` answers `pipe(*args, **kwargs)` from now on. False if another one does already."""
        if id(pipe) in self._runs:
            return False
        cls = type(pipe)
        if not self._of_class(cls):
            self._patch(cls)
        self._runs[id(pipe)] = (pipe, run)
        return True

    def remove(self, pipe: Any) -> None:
        """Undoes `add`."""
        del self._runs[id(pipe)]
        cls = type(pipe)
        if not self._of_class(cls):
            original = self._originals.pop(cls)
            if original is _MISSING:
                del cls.__call__
            else:
                setattr(cls, "__call__", original)

    def original(self, cls: type) -> Any:
        """The class's `__call__` as it is without this."""
        for parent in cls.__mro__:
            found = self._originals.get(parent, vars(parent).get("__call__", _MISSING))
            if found is not _MISSING:
                return found
        return None

    def _of_class(self, cls: type) -> List[Any]:
        return [pipe for pipe, _ in self._runs.values() if type(pipe) is cls]

    def _patch(self, cls: type) -> None:
        runs = self._runs
        original = getattr(cls, "__call__")
        self._originals[cls] = cls.__dict__.get("__call__", _MISSING)

        @functools.wraps(original)
        def dispatch(self: Any, *args: Any, **kwargs: Any) -> Any:
            if id(self) not in runs:
                return original(self, *args, **kwargs)
            _, run = runs[id(self)]
            return run(original, args, kwargs)

        setattr(cls, "__call__", dispatch)


call_patches = CallPatches()
