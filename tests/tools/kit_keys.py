"""The private keys of the kit with which the stub signs evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from tools.locks import ROOT

_KIT = ROOT / "tests" / "data" / "private" / "evidence_kit.json"
_NAMES = frozenset({"attestation_key_scalar_hex", "leaf_scalar_hex", "rsa_p_hex", "rsa_q_hex"})


def carriers(files: Mapping[str, bytes]) -> list[str]:
    """Return the names of the files that hold one of the keys, as text or as bytes."""
    keys = list(_keys(json.loads(_KIT.read_text("utf-8"))))
    assert len(keys) > len(_NAMES), "the kit has other names for its keys"
    wanted = [form for each in keys for form in (each.encode(), bytes.fromhex(each))]
    return [name for name, content in files.items() if any(each in content for each in wanted)]


def _keys(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name in _NAMES:
                yield str(value)
            else:
                yield from _keys(value)
    elif isinstance(part, list):
        for each in part:
            yield from _keys(each)
