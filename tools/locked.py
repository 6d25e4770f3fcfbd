"""The pins of a requirements lock."""

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker

_INCLUDED = re.compile(r"-r (?P<name>[a-z]+\.txt)")
_PIN = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ;]+)"
    r"(?: ; (?P<marker>.+?))?(?P<hashes>(?: +--hash=sha256:[0-9a-f]{64})+)"
)
# The platform of the image, as a constant, so that every machine reads a lock in the same way.
_IMAGE = {
    "implementation_name": "cpython",
    "implementation_version": "3.11.2",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": "3.11.2",
    "python_version": "3.11",
    "sys_platform": "linux",
}


@dataclass(frozen=True)
class Pin:
    """One version of one package, and the digests of its files."""

    name: str
    version: str
    hashes: tuple[str, ...]
    marker: str | None = None


def in_image(marker: Marker | str | None, extra: str = "") -> bool:
    """Return whether a marker is true in the image."""
    if marker is None:
        return True
    return Marker(str(marker)).evaluate({**_IMAGE, "extra": extra})


def pins(lock: Path) -> tuple[Pin, ...]:
    """Return the pins of a lock in order, after those of the lock that it extends.

    Raises ValueError if there are none, or one has no hashes.
    """
    text = lock.read_text("utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return _read([line for line in lines if line and not line.startswith("#")], lock)


def _read(lines: list[str], lock: Path) -> tuple[Pin, ...]:
    if not lines:
        raise ValueError(f"{lock} pins nothing: restore it, or run `make locks`")
    found: list[Pin] = []
    for line in lines:
        included = _INCLUDED.fullmatch(line)
        if included is not None:
            found += pins(lock.with_name(included["name"]))
            continue
        read = _PIN.fullmatch(line)
        if read is None:
            raise ValueError(f"{lock}: `{line[:60]}` is no pin with its hashes")
        hashes = tuple(re.findall("sha256:([0-9a-f]{64})", read["hashes"]))
        found.append(Pin(read["name"], read["version"], hashes, read["marker"]))
    return tuple(found)
