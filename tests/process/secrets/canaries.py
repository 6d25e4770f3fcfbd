"""Canaries: invented secrets, and their detection in any form.

A leaked secret is often truncated, quoted, encoded or hashed. Each canary has a core of letters
that occurs in no other word, number or digest. The scanner finds any fifteen of these letters in a
row, also in the usual encodings, and the usual digests of the whole.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from autopilot.routing.identity import Hasher

_LETTERS = "ghjkmnpqrstvwxyz"  # none of them is a hexadecimal digit
_CORE = 24
_WINDOW = 8
_DIGEST = 8  # the number of leading bytes by which a digest is recognized
_random = random.SystemRandom()


@dataclass(frozen=True)
class Canary:
    """One secret; ``core`` is its distinctive part."""

    kind: str
    text: str
    core: str


def canary(kind: str, dress: str = "canary-{}") -> Canary:
    """Return a new, visibly fake secret; ``dress`` is the text around its core."""
    core = "".join(_random.choice(_LETTERS) for _ in range(_CORE))
    return Canary(kind, dress.format(f"{kind}-{core}"), core)


def loopback(kind: str) -> Canary:
    """Return a loopback address that no other test uses."""
    text = f"127.{_random.randint(64, 250)}.{_random.randint(64, 250)}.{_random.randint(64, 250)}"
    return Canary(kind, text, text)


def encodings(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield the text in the usual encodings, other than its own."""
    data = text.encode()
    yield "hex", data.hex().encode()
    yield "percent", "".join(f"%{byte:02x}" for byte in data).encode()
    yield "escapes", "".join(f"\\x{byte:02x}" for byte in data).encode()
    yield "unicode escapes", "".join(f"\\u{byte:04x}" for byte in data).encode()
    yield "numbers", ", ".join(str(byte) for byte in data).encode()
    yield "reversed", data[::-1]
    yield "utf-16", text.encode("utf-16-le")


def base64_forms(text: str) -> Iterator[bytes]:
    """Yield the part of the Base64 encoding that does not depend on the bytes before and after."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text.encode())
        yield encoded[4 if before else 0 : len(encoded) // 4 * 4 - 4]


def digests(text: str, hash_keys: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the usual digests of ``text``, and the router's keyed ones."""
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
    """Searches for canaries in all their forms."""

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
        """Return the canaries in ``output``, with their form and context."""
        hits = [
            f"{what}: {text[max(0, at - 60) : at + 60]!r}"
            for needles, text in ((self._in_any_case, output.lower()), (self._exact, output))
            for what, at in needles.found(text)
        ]
        return sorted(set(hits))


class Needles:
    """Searches for many texts of at least eight bytes at once; each has a meaning."""

    def __init__(self) -> None:
        self._by_start: defaultdict[int, dict[bytes, str]] = defaultdict(dict)

    def __setitem__(self, needle: bytes, meaning: str) -> None:
        (start,) = memoryview(needle[:8]).cast("Q")
        self._by_start[start][needle] = meaning

    def found(self, text: bytes) -> Iterator[tuple[str, int]]:
        """Yield the meaning and position of each text that occurs."""
        for start in self._by_start.keys() & _eights(text):
            for needle, meaning in self._by_start[start].items():
                if needle in text:
                    yield meaning, text.find(needle)


def _eights(text: bytes) -> set[int]:
    """Return all sequences of eight bytes, as numbers.

    One set intersection is faster than thousands of searches.
    """
    eights: set[int] = set()
    for start in range(8):
        end = start + max(0, len(text) - start) // 8 * 8
        eights.update(memoryview(text)[start:end].cast("Q"))
    return eights


def _windows(core: str) -> Iterator[str]:
    """Yield substrings such that every long enough part contains one.

    An address counts only as a whole.
    """
    if not core.isalpha():
        yield core
        return
    for start in range(0, len(core), _WINDOW):
        yield core[start : start + _WINDOW]
