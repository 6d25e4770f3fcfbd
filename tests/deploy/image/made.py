"""Image archives for tests."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SOME_TIME = 1_700_000_000


def file(path: str, content: bytes = b"", **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    """Return a member of a layer; attributes as of ``TarInfo``."""
    member = tarfile.TarInfo(path)
    member.size, member.mtime, member.mode = len(content), SOME_TIME, 0o644
    for name, value in attributes.items():
        setattr(member, name, value)
    return member, content


def layer(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return a layer of these members."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def docker(path: Path, layers: Iterable[bytes], **config: Any) -> Path:
    """Return an archive in the format of ``docker save``."""
    named = {f"{number}.tar": each for number, each in enumerate(layers)}
    manifest = [{"Config": "config.json", "Layers": list(named)}]
    return _archive(path, named, manifest=manifest, config=config)


def oci(path: Path, layers: Iterable[bytes], **config: Any) -> Path:
    """Return an archive in the OCI layout; the digests are names only."""
    named = {f"blobs/sha256/{number}": each for number, each in enumerate(layers)}
    blobs = {
        "blobs/sha256/manifest": {
            "config": {"digest": "sha256:config"},
            "layers": [{"digest": f"sha256:{number}"} for number in range(len(named))],
        },
        "blobs/sha256/config": config,
    }
    named.update({name: json.dumps(each).encode() for name, each in blobs.items()})
    return _archive(path, named, index={"manifests": [{"digest": "sha256:manifest"}]})


def _archive(path: Path, files: dict[str, bytes], **values: Any) -> Path:
    files = files | {f"{name}.json": json.dumps(value).encode() for name, value in values.items()}
    path.write_bytes(layer(*(file(name, content) for name, content in files.items())))
    return path
