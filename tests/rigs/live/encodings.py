"""Encodings of a secret, which the tests of the gate and of redaction hide in responses."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable

from tests.rigs.live.fixtures import FAKE, PARTS

ACCOUNT = PARTS[1]

# The encodings of a text; a platform or its edge might well use the first ones.
ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "swapped case": str.swapcase,
    "reversed": lambda text: text[::-1],
    "percent": lambda text: "".join(f"%{ord(each):02X}" for each in text),
    "quoted": lambda text: urllib.parse.quote(text, safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 behind one": lambda text: base64.b64encode(b"x" + text.encode()).decode(),
    "base64 behind two": lambda text: base64.b64encode(b"id" + text.encode() + b"!").decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(b"\xff" + text.encode()).decode(),
    "base64 of reversed": lambda text: base64.b64encode(text[::-1].encode()).decode(),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "base32 behind one": lambda text: base64.b32encode(b"x" + text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "hex, spaced": lambda text: text.encode().hex(" "),
    "hex, upper": lambda text: text.encode().hex(":").upper(),
    "decimal": lambda text: ", ".join(str(ord(each)) for each in text),
    "octal": lambda text: " ".join(f"{ord(each):o}" for each in text),
    "binary": lambda text: " ".join(f"{ord(each):08b}" for each in text),
    "JSON escapes": lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
    "Python escapes": lambda text: "".join(f"\\x{ord(each):02x}" for each in text),
    "entities": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "spaced": " ".join,
    "dashed": lambda text: "-".join(text[at : at + 4] for at in range(0, len(text), 4)),
    "lines": lambda text: "\n".join(text[at : at + 5] for at in range(0, len(text), 5)),
    "JSON of lines": lambda text: json.dumps(
        "\n".join(text[at : at + 5] for at in range(0, 40, 5))
    ),
    "nulls between": "\0".join,
}
SECRETS = (FAKE, *PARTS)


def encoded_fragments(data: bytes, length: int = 12) -> list[str]:
    """Return the fragments of secrets in `data`, each with its encoding."""
    text = data.decode("utf-8", "replace")
    return [
        f"{secret[at : at + length]} {way}"
        for secret in PARTS
        for at in range(0, len(secret) - length + 1, 4)
        for way, write in ENCODINGS.items()
        if write(secret[at : at + length]) in text
    ]
