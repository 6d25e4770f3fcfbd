"""The stub, with the platform's own package as the instances' side of encrypted calls.

`E2EE_PYTHON` names the interpreter of the package; arguments are those of the stub. The gateway's
side, such as nonces, evidence and errors, remains the stub's own.
"""

from __future__ import annotations

import json
import os
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from unittest.mock import patch

from stub_backend.__main__ import main
from stub_backend.sealed import seals
from tests.sdk.e2ee.package import Package


class Instances:
    """The keys of all instances, each made by the package when it is first needed."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._keys: dict[tuple[str, int], list[str]] = {}

    def _key(self, instance: str, generation: int = 0) -> list[str]:
        named = instance, generation
        if named not in self._keys:
            self._keys[named] = self._package("keys")
        return self._keys[named]

    def public_key(self, instance: str, generation: int = 0) -> str:
        """Return an instance's public key."""
        return self._key(instance, generation)[0]

    def private_key(self, instance: str, generation: int = 0) -> str:
        """Return an instance's private key."""
        return self._key(instance, generation)[1]

    def open_request(self, blob: bytes, key: str) -> seals.Opened:
        """Open a request. Raises UnopenedError."""
        read = self._package("open_request", _text(blob), key)
        if read is None:
            raise seals.UnopenedError
        body = json.loads(read)
        return seals.Opened(body, body.pop("e2e_response_pk"))

    def seal_reply(self, body: bytes, to: str) -> bytes:
        """Seal a plain reply."""
        return b64decode(self._package("reply", to, body.decode()))

    def stream(self, to: str) -> Stream:
        """Begin a stream."""
        return Stream(self._package, to)


class Stream(seals.StreamSealer):
    """A stream, whose pieces the package seals."""

    def __init__(self, package: Package, to: str) -> None:
        self._package = package
        ciphertext, self._key = package("begin_stream", to)
        self.ciphertext = b64decode(ciphertext)

    def sealed(self, piece: bytes) -> bytes:
        """Return a nonce and a sealed piece."""
        return b64decode(self._package("piece", self._key, _text(piece)))


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


def run(arguments: list[str]) -> int:
    """Run the stub until a signal arrives, and return its exit status."""
    package = Package(Path(os.environ["E2EE_PYTHON"]))
    instances = Instances(package)
    replaced = {
        "stub_backend.attestation.e2e_pubkey": instances.public_key,
        "stub_backend.e2e.e2e_pubkey": instances.public_key,
        "stub_backend.e2e.instance_key": instances.private_key,
        "stub_backend.e2e.open_request": instances.open_request,
        "stub_backend.sealed.replies.seal_reply": instances.seal_reply,
        "stub_backend.sealed.replies.StreamSealer": instances.stream,
    }
    for name, value in replaced.items():
        patch(name, value).start()
    try:
        return main(arguments)
    finally:
        package.close()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
