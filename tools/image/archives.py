"""Images in archives: a configuration, and layers of entries."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Entry:
    """A path in a layer. ``content`` is the SHA-256 of a file's bytes."""

    path: str
    kind: str
    mode: str
    owner: str
    modified: int
    link: str
    content: str


@dataclass(frozen=True, slots=True)
class Layer:
    """The entries of a layer in order; ``digest`` is the SHA-256 of the whole layer."""

    digest: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """The configuration and the layers of an image."""

    config: dict[str, Any]
    layers: tuple[Layer, ...]


def read(archive: Path) -> Image:
    """Return the image in an archive of Docker's format or OCI's."""
    with tarfile.open(archive) as outer:
        config, names = _contents(outer)
        return Image(config, tuple(_layer(outer, name) for name in names))


def configuration(archive: Path) -> dict[str, Any]:
    """Return the configuration only; ``config`` has user, command and health check."""
    with tarfile.open(archive) as outer:
        return _contents(outer)[0]


def layer_sizes(archive: Path) -> list[int]:
    """Return the uncompressed sizes of the layers, the lowest first."""
    with tarfile.open(archive) as outer:
        return [_size(outer, name) for name in _contents(outer)[1]]


def unpack(archive: Path, folder: Path) -> None:
    """Create the image's root filesystem, as root, in an empty folder."""
    with tarfile.open(archive) as outer:
        for name in _contents(outer)[1]:
            with _uncompressed(outer, name) as layer, tarfile.open(fileobj=layer) as inner:
                _lay(inner, folder)


def _lay(layer: tarfile.TarFile, folder: Path) -> None:
    """Apply one layer; an entry that starts with ``.wh.`` deletes a file."""
    for member in layer:
        path = Path(member.name)
        if path.name.startswith(".wh."):
            gone = folder / path.parent / path.name.removeprefix(".wh.")
            _remove(gone)
        else:
            if not member.isdir():
                _remove(folder / path)
            layer.extract(member, folder, numeric_owner=True, filter="fully_trusted")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for each in path.iterdir():
            _remove(each)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _contents(outer: tarfile.TarFile) -> tuple[dict[str, Any], list[str]]:
    """Return the configuration, and the names of the layers, the lowest first."""
    if "index.json" not in outer.getnames():
        (manifest,) = _json(outer, "manifest.json")
        return _json(outer, manifest["Config"]), list(manifest["Layers"])
    (described,) = _json(outer, "index.json")["manifests"]
    manifest = _json(outer, _blob(described))
    return _json(outer, _blob(manifest["config"])), [_blob(each) for each in manifest["layers"]]


def _blob(described: dict[str, str]) -> str:
    return "blobs/" + described["digest"].replace(":", "/")


def _json(outer: tarfile.TarFile, name: str) -> Any:
    with _member(outer, name) as file:
        return json.load(file)


@contextmanager
def _member(outer: tarfile.TarFile, name: str) -> Iterator[IO[bytes]]:
    file = outer.extractfile(name)
    assert file is not None, f"{name} is no file"
    with file:
        yield file


@contextmanager
def _uncompressed(outer: tarfile.TarFile, name: str) -> Iterator[IO[bytes]]:
    """Return a layer as an uncompressed tar; OCI's may be compressed."""
    with _member(outer, name) as file:
        compressed = file.read(2) == _GZIP
        file.seek(0)
        if compressed:
            with gzip.open(file) as plain:
                yield cast("IO[bytes]", plain)
        else:
            yield file


def _layer(outer: tarfile.TarFile, name: str) -> Layer:
    with _uncompressed(outer, name) as file:
        with tarfile.open(fileobj=file) as inner:
            entries = tuple(_entry(inner, member) for member in inner)
        file.seek(0)
        return Layer(_digest(file), entries)


def _size(outer: tarfile.TarFile, name: str) -> int:
    with _uncompressed(outer, name) as file:
        return file.seek(0, os.SEEK_END)


def _entry(layer: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    file = layer.extractfile(member) if member.isreg() else None
    return Entry(
        path=member.name,
        kind=_KINDS.get(member.type, "something else"),
        mode=f"{member.mode:04o}",
        owner=f"{member.uid}:{member.gid}",
        modified=int(member.mtime),
        link=member.linkname,
        content="" if file is None else _digest(file),
    )


_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "symbolic link",
    tarfile.LNKTYPE: "hard link",
}


def _digest(file: IO[bytes]) -> str:
    sha256 = hashlib.sha256()
    while piece := file.read(_PIECE):
        sha256.update(piece)
    return sha256.hexdigest()
