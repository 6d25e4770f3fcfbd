"""The feeds for the router, of the platform's size: 540 records, 63 models."""

from __future__ import annotations

from stub_backend.feed_bodies import catalog, utilization
from stub_backend.population import Chute, Load, Population, chute_uuid, populate

MODELS = ("bench/one", "bench/two", "bench/three")
CATALOG_PATH = "/v1/models"
UTILIZATION_PATH = "/chutes/utilization"

_SEED = 1
_CHAT = 60
_OTHERS = 300
_PRIVATE = 178
_LENGTH = 1_048_576
_LOAD = Load(40, 0.1, 0.1, 0.1, 0.1, requests1h=100.0, target=40)


def feeds() -> dict[str, bytes]:
    """Return both bodies by path."""
    population = benchmark_population()
    return {CATALOG_PATH: catalog(population), UTILIZATION_PATH: utilization(population)}


def benchmark_population() -> Population:
    """Return the population of both."""
    return populate(_SEED, _CHAT, _OTHERS, _PRIVATE, map(_model, MODELS))


def _model(name: str) -> Chute:
    """Return a model that meets the needs of every request."""
    return Chute(
        name,
        chute_uuid(name),
        engine="vllm",
        tee=True,
        context_length=_LENGTH,
        engine_length=_LENGTH,
        features=("json_mode", "structured_outputs", "tools", "reasoning"),
        load=_LOAD,
    )
