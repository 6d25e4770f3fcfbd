"""Selects a model for each role. Names are never in the code; they come from the catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN_MODEL = "autopilot-live/no-such-model"
OTHER_UNKNOWN_MODEL = "autopilot-live/no-such-model-either"
NO_CHUTE = "00000000-0000-5000-8000-000000000000"


class NoSuchModelError(Exception):
    """The catalog has no model for a role; the text names the role."""


@dataclass(frozen=True, slots=True)
class Model:
    """A catalog entry, with its record in the utilization feed."""

    name: str
    chute_id: str
    engine: str
    tee: bool
    price: float = 0.0
    busy: float = 1.0
    instances: int = 0
    root: str = ""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The models of one side, those most likely to respond first.

    `alone`: the only model, which takes every role.
    """

    models: tuple[Model, ...]
    nonce: str = "0" * 64
    alone: bool = False

    def usual(self) -> Model:
        """The default model."""
        return self._first("any model", lambda _: True)

    def second(self) -> Model:
        """Return a model other than the default."""
        if len(self.models) < 2:
            raise NoSuchModelError("the catalog has no second model")
        return self.models[1]

    def by(self, engine: str) -> Model:
        """Return a model that runs on this engine."""
        return self._first(f"a model on {engine}", lambda each: each.engine == engine)

    def tee(self) -> Model:
        """Return a model in a TEE."""
        return self._first("a TEE model", lambda each: each.tee)

    def not_tee(self) -> Model:
        """Return a model that is not in a TEE."""
        return self._first("a model that is not TEE", lambda each: not each.tee)

    def as_every_role(self, model: Model) -> ModelChoice:
        """Return a choice in which one model takes every role."""
        return ModelChoice((model, model), self.nonce, alone=True)

    def named(self, name: str) -> Model:
        """Return the model with this name."""
        return self._first("a model of that name", lambda each: each.name == name)

    def _first(self, part: str, fits: Callable[[Model], bool]) -> Model:
        found = next((each for each in self.models if self.alone or fits(each)), None)
        if found is None:
            raise NoSuchModelError(f"the catalog has no {part.removeprefix('a ')}")
        return found


def choose_models(catalog: Any, utilization: Any, nonce: str) -> ModelChoice:
    """Return the choice of a catalog.

    Models with free slots come first, and cheap ones before expensive ones.
    """
    loads = {each["chute_id"]: each for each in _objects(utilization) if "chute_id" in each}
    entries = catalog.get("data") if isinstance(catalog, dict) else None
    models = [_model(each, loads) for each in _objects(entries) if isinstance(each.get("id"), str)]
    ranked = sorted(models, key=lambda each: (_unlikely(each), each.price, each.busy, each.name))
    return ModelChoice(tuple(ranked), nonce)


def _unlikely(model: Model) -> int:
    """Return 0 for a model that will probably respond, up to 2 for one that will probably not."""
    if model.instances == 0:
        return 2
    return int(model.busy > 0.8)


def _model(entry: Mapping[str, Any], loads: Mapping[Any, Mapping[str, Any]]) -> Model:
    load = loads.get(entry.get("chute_id"), {})
    pricing = entry.get("pricing")
    price = pricing.get("completion") if isinstance(pricing, dict) else None
    return Model(
        name=entry["id"],
        chute_id=str(entry.get("chute_id", NO_CHUTE)),
        engine=str(entry.get("owned_by", "")),
        tee=entry.get("confidential_compute") is True,
        price=_number(price, 1e9),
        busy=max(_number(load.get("utilization_current"), 1.0),
                 _number(load.get("rate_limit_ratio_5m"), 0.0)),
        instances=int(_number(load.get("active_instance_count"), 0.0)),
        root=str(entry.get("root", entry["id"])),
    )  # fmt: skip


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default


def _objects(values: Any) -> Iterable[Mapping[str, Any]]:
    return (each for each in values if isinstance(each, dict)) if isinstance(values, list) else ()
