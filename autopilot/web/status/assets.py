"""The page's script, style sheet and icon; the query of their URLs is a hash of their content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.web.http import CACHED

if TYPE_CHECKING:
    from twisted.web.server import Request

_TYPES = {
    "page.css": b"text/css; charset=utf-8",
    "page.js": b"text/javascript; charset=utf-8",
    "icon.svg": b"image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file; ``version`` changes with its content."""

    content_type: bytes
    body: bytes
    version: str

    def render(self, request: Request) -> bytes:
        """Respond with the file, or 304 if the client has it.

        A request for the current version may be cached for a year; any other is revalidated.
        """
        wanted = request.args.get(b"v", []) if request.args else []
        current = wanted == [self.version.encode("ascii")]
        keep = b"public, max-age=31536000, immutable" if current else b"no-cache"
        request.setHeader(b"Cache-Control", keep)
        request.setHeader(b"Content-Type", self.content_type)
        if request.setETag(f'"{self.version}"'.encode("ascii")) is CACHED:
            return b""
        request.setHeader(b"Content-Length", b"%d" % len(self.body))
        return self.body


def load_assets() -> Mapping[str, Asset]:
    """Load all assets, keyed by file name."""
    folder = Path(__file__).parent
    bodies = {name: (folder / name).read_bytes() for name in _TYPES}
    return {
        name: Asset(_TYPES[name], body, sha256(body).hexdigest()[:16])
        for name, body in bodies.items()
    }
