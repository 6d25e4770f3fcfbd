"""Canaries: made-up secrets, and how one is recognised in whatever shape it comes out.

What leaks is seldom the secret as it was: it is cut, quoted, encoded, or hashed. Each canary has a
core of letters that occur in no other word, number or digest; any fifteen of them in a row are
found, in the usual encodings too, and so are the usual digests of the whole.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from autopilot.routing.identity import Hasher

_LETTERS = "ghjkmnpqrstvwxyz"  # none of them is a digit of a hexadecimal number
_CORE = 24
_WINDOW = 8
_DIGEST = 8  # bytes of its beginning by which a digest is known
_random = random.SystemRandom()


@dataclass(frozen=True)
class Canary:
    """One secret; ``core`` is the part of it that makes it unmistakable."""

    kind: str
    text: str
    core: str


def canary(kind: str, dress: str = "canary-{}") -> Canary:
    """A new secret that looks as fake as it is; ``dress`` says what stands around its core."""
    core = "".join(_random.choice(_LETTERS) for _ in range(_CORE))
    return Canary(kind, dress.format(f"{kind}-{core}"), core)


def loopback(kind: str) -> Canary:
    """An address of this machine that nobody else uses."""
    text = f"127.{_random.randint(64, 250)}.{_random.randint(64, 250)}.{_random.randint(64, 250)}"
    return Canary(kind, text, text)


def encodings(text: str) -> Iterator[tuple[str, bytes]]:
    """A text in its usual disguises, none of which is the text itself."""
    data = text.encode()
    yield "hex", data.hex().encode()
    yield "percent", "".join(f"%{byte:02x}" for byte in data).encode()
    yield "escapes", "".join(f"\\x{byte:02x}" for byte in data).encode()
    yield "unicode escapes", "".join(f"\\u{byte:04x}" for byte in data).encode()
    yield "numbers", ", ".join(str(byte) for byte in data).encode()
    yield "reversed", data[::-1]
    yield "utf-16", text.encode("utf-16-le")


def base64_forms(text: str) -> Iterator[bytes]:
    """What is the same in every Base64 of something that holds ``text``, wherever it begins."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text.encode())
        yield encoded[4 if before else 0 : len(encoded) // 4 * 4 - 4]


def digests(text: str, hash_keys: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """The usual digests of ``text``, and those that the router itself makes under these keys."""
    data = text.encode()
    for name in ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s", "sha3_256"):
        yield name, hashlib.new(name, data, usedforsecurity=False).digest()
    yield "blake2b-16", hashlib.blake2b(data, digest_size=16).digest()
    yield "blake2b-32", hashlib.blake2b(data, digest_size=32).digest()
    for key in hash_keys:
        hasher = Hasher(key)
        yield "keyed hash", hasher.token(text)
        yield "keyed hash", hasher.api_key(text)
        yield "keyed hash", hasher.address(text)


class Scanner:
    """Looks for some canaries in all their shapes."""

    def __init__(self, canaries: Iterable[Canary], hash_keys: Iterable[bytes] = ()) -> None:
        keys = tuple(hash_keys)
        self._in_any_case = Needles()
        self._exact = Needles()
        for each in canaries:
            self._watch(each)
            for whole in (each.text, f"Bearer {each.text}", each.core):
                for name, digest in digests(whole, keys):
                    self._watch_digest(f"{each.kind}, its {name}", digest)

    def _watch(self, each: Canary) -> None:
        for piece in _windows(each.core):
            self._in_any_case[piece.lower().encode()] = each.kind
            for name, form in encodings(piece):
                self._in_any_case[form.lower()] = f"{each.kind} as {name}"
        for form in base64_forms(each.core):
            for start in range(0, len(form) - 11, 4):
                self._exact[form[start : start + 12]] = f"{each.kind} as base64"

    def _watch_digest(self, what: str, digest: bytes) -> None:
        start = digest[:_DIGEST]
        self._in_any_case[start.hex().encode()] = f"{what} in hex"
        self._exact[start] = f"{what} as bytes"
        self._exact[repr(start)[2:-1].encode()] = f"{what} as repr"
        for form in (base64.b64encode(digest), base64.urlsafe_b64encode(digest)):
            self._exact[form[:12]] = f"{what} in base64"

    def found(self, output: bytes) -> list[str]:
        """Which canaries stand in ``output`` and how, each with its surroundings."""
        hits = [
            f"{what}: {text[max(0, at - 60) : at + 60]!r}"
            for needles, text in ((self._in_any_case, output.lower()), (self._exact, output))
            for what, at in needles.found(text)
        ]
        return sorted(set(hits))


class Needles:
    """Many texts of at least eight bytes, looked for all at once; each has a meaning."""

    def __init__(self) -> None:
        self._by_start: defaultdict[int, dict[bytes, str]] = defaultdict(dict)

    def __setitem__(self, needle: bytes, meaning: str) -> None:
        (start,) = memoryview(needle[:8]).cast("Q")
        self._by_start[start][needle] = meaning

    def found(self, text: bytes) -> Iterator[tuple[str, int]]:
        """The meaning and the place of each that is in there."""
        for start in self._by_start.keys() & _eights(text):
            for needle, meaning in self._by_start[start].items():
                if needle in text:
                    yield meaning, text.find(needle)


def _eights(text: bytes) -> set[int]:
    """Any eight bytes in a row, as numbers: a look at these is quicker than thousands at all."""
    eights: set[int] = set()
    for start in range(8):
        end = start + max(0, len(text) - start) // 8 * 8
        eights.update(memoryview(text)[start:end].cast("Q"))
    return eights


def _windows(core: str) -> Iterator[str]:
    """Pieces one of which is in every long enough part; an address makes sense only whole."""
    if not core.isalpha():
        yield core
        return
    for start in range(0, len(core), _WINDOW):
        yield core[start : start + _WINDOW]
