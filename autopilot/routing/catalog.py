"""The model catalog as values: what is known about each model, and how to find it.

How the feed spells these facts is known only to the code that parses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Model:
    """One catalog entry. None means that the feed does not say, never "no".

    ``context_length`` and ``max_output_length`` are counted in tokens; ``raw`` is the entry's own
    JSON text.
    """

    name: str
    chute_id: str | None = None
    tee: bool | None = None
    context_length: int | None = None
    max_output_length: int | None = None
    input_modalities: frozenset[str] | None = None
    features: frozenset[str] | None = None
    raw: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Catalog:
    """All models, in the feed's order, and the names by ``chute_id``. Never changed once made."""

    models: Mapping[str, Model]
    by_chute: Mapping[str, str]

    @classmethod
    def of(cls, models: Iterable[Model]) -> Catalog:
        """Index ``models``; of two entries with one name or one ``chute_id`` the first counts."""
        by_name: dict[str, Model] = {}
        by_chute: dict[str, str] = {}
        for model in models:
            if by_name.setdefault(model.name, model) is model and model.chute_id is not None:
                by_chute.setdefault(model.chute_id, model.name)
        return cls(models=MappingProxyType(by_name), by_chute=MappingProxyType(by_chute))

    def __len__(self) -> int:
        """How many models there are."""
        return len(self.models)

    def __contains__(self, name: object) -> bool:
        """Whether a model of exactly this name is listed."""
        return name in self.models


EMPTY = Catalog.of(())
"""Of no model anything is known."""
