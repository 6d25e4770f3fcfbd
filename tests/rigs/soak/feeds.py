"""The two feeds, which respond, fail, hang, send garbage, and recover."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Final

from tests.rigs.soak.acts import JSON, Act, Ending, Part
from tests.rigs.soak.requests import MODELS
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body

CATALOG: Final = "/v1/models"
UTILIZATION: Final = "/chutes/utilization"
_LONG: Final = 10_000_000
_MOODS: Final = {
    "good": 60,
    "status": 10,
    "nonsense": 8,
    "garbage": 5,
    "partly": 5,
    "hangs": 5,
    "cut": 4,
    "reset": 3,
}


class Feeds:
    """Responses of both feeds; each fetch has a random mode until `calm` is set."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(f"feeds/{seed}")
        self.calm = True
        self.moods: Counter[str] = Counter()

    def answer(self, path: str) -> Act:
        """Return the act for one fetch."""
        mood = "good" if self.calm else self._rng.choices([*_MOODS], [*_MOODS.values()])[0]
        self.moods[mood] += 1
        body = self._body(path, mood)
        status = 500 if mood == "status" else 200
        wire = (
            f"HTTP/1.1 {status} Soak\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        ending = Ending.KEEP
        if mood in ("hangs", "cut", "reset"):
            wire = wire[: self._rng.randrange(len(wire))]
            ending = {"hangs": Ending.HANG, "cut": Ending.CLOSE}.get(mood, Ending.RESET)
        elif mood == "garbage":
            wire, ending = b"\x00\xff" * 50, Ending.CLOSE
        return Act(f"feed {mood}", (Part(wire),) if wire else (), ending=ending)

    def _body(self, path: str, mood: str) -> bytes:
        if mood == "nonsense":
            return self._rng.choice((b"", b"[", b"null", b'{"data":7}', b'"soak"', b"[[[[[[[[[["))
        catalog = path.startswith(CATALOG)
        if mood == "partly":
            items = json.loads(self._usual(catalog=catalog))
            (items["data"] if catalog else items).insert(0, {"name": 5})
            return json.dumps(items).encode()
        return self._usual(catalog=catalog)

    def _usual(self, *, catalog: bool) -> bytes:
        names = self._rng.sample(MODELS, len(MODELS))
        if catalog:
            # No request of the soak test exceeds the context length.
            return catalog_body(*(entry(name, context_length=_LONG) for name in names))
        busy = self._rng.random
        return utilization_body(
            *(record(name, utilization_5m=busy(), utilization_current=busy()) for name in names)
        )
