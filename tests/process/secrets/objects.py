"""Inspection of the router's objects: those in use, and those still reachable afterwards."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from types import BuiltinMethodType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from msgspec import Raw, Struct

from tests.process.secrets.canaries import Canary

_OURS = "autopilot."
_FOREIGN = ("tests.", "unittest.", "hypothesis.", "_pytest.")
_LEAVES = (type, ModuleType, FrameType, str, bytes, int, float, type(None))


def is_ours(value: object) -> bool:
    """Return whether the object's class belongs to the project."""
    return str(type(value).__module__).startswith(_OURS)


class Watch:
    """Inspects each object of the project that one of its functions holds when it returns.

    ``shown`` maps classes to the secret texts of their objects; ``seen`` has all classes.
    """

    def __init__(self, canaries: tuple[Canary, ...], hashes: tuple[bytes, ...] = ()) -> None:
        forms = (form for each in hashes for form in (repr(each)[2:-1], each.hex()))
        self._wanted = (*(each.core for each in canaries), *forms)
        self.shown: dict[str, str] = {}
        self.seen: set[str] = set()

    def __enter__(self) -> Watch:
        sys.setprofile(self._notice)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _notice(self, frame: FrameType, event: str, returned: Any) -> None:
        if event == "return" and str(frame.f_globals.get("__name__")).startswith(_OURS):
            for value in (*frame.f_locals.values(), returned):
                self.look(value)

    def look(self, value: object) -> None:
        """Inspect an object, or the items of a plain container."""
        if is_ours(value):
            self._read(value)
        elif type(value) in (list, tuple, set, frozenset):
            for item in value:  # type: ignore[attr-defined]
                if is_ours(item):
                    self._read(item)
        elif type(value) is dict:
            for item in value.values():
                if is_ours(item):
                    self._read(item)

    def _read(self, value: object) -> None:
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        self.seen.add(name)
        try:
            text = f"{value!r} {value!s}"
        except AttributeError:  # the object is under construction
            return
        if any(each in text for each in self._wanted):
            self.shown[name] = text[:300]


def reachable(*roots: object) -> Iterator[object]:
    """Yield every object that is reachable within the router, including the values of modules.

    Objects of tests are skipped, or a test would find what it holds itself.
    """
    met: dict[int, object] = {}
    todo = list(roots)
    while todo:
        each = todo.pop()
        if id(each) in met or str(type(each).__module__).startswith(_FOREIGN):
            continue
        met[id(each)] = each
        yield each
        todo += _within(each)


def modules() -> list[Mapping[str, object]]:
    """Return the namespaces of the project's modules."""
    return [vars(module) for name, module in sys.modules.items() if name.startswith(_OURS)]


def _within(value: object) -> list[Any]:
    """Return what an object refers to.

    Classes, modules and global namespaces are not followed.
    """
    if isinstance(value, _LEAVES):
        return []
    if isinstance(value, FunctionType):
        return [*(value.__closure__ or ()), *(value.__defaults__ or ())]
    if isinstance(value, MethodType | BuiltinMethodType):
        return [value.__self__]
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, Struct):  # Most structs are not tracked by the garbage collector.
        return [getattr(value, name) for name in value.__struct_fields__]
    return gc.get_referents(value)


def texts(*roots: object) -> Iterator[bytes]:
    """Yield every text and byte string that is reachable."""
    for each in reachable(*roots):
        if isinstance(each, str):
            yield each.encode("utf-8", "surrogatepass")
        elif isinstance(each, bytes | bytearray | memoryview | Raw):
            yield bytes(each)
