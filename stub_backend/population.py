"""The platform's chutes, from which both feeds are generated and which `model` may name.

Everything is derived from the seed. The names are invented; the proportions and the unusual entries
are the platform's.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ORGANISATIONS = (
    "northwind-ai",
    "larkspur",
    "basalt-labs",
    "tidepool",
    "ferrous",
    "juniper-research",
    "quillon",
    "ostrava-ml",
    "peregrine",
)
FAMILIES = ("Heron", "Marlin", "Ibis", "Otter", "Lynx", "Kestrel", "Bison", "Tern", "Gecko", "Moth")
SIZES = ("3B", "8B", "14B", "27B", "32B", "70B", "120B-A12B", "235B-A22B", "480B-A35B")
OTHER_KINDS = ("painter", "embedder", "speech", "reranker", "video", "music", "agent")
PRIVATE = "[private chute]"


@dataclass(frozen=True, slots=True)
class Load:
    """A chute's load; None where the feed has null.

    `active` instances serve, `starting` ones do not yet; `target` is the wanted number.
    """

    active: int = 1
    current: float | None = 0.0
    minutes5: float | None = 0.0
    minutes15: float | None = 0.0
    hour: float | None = 0.0
    limited5: float | None = 0.0
    limited15: float | None = 0.0
    limited1h: float | None = 0.0
    requests1h: float = 0.0
    target: int = 1
    action: str = "no_action"
    multiplier: float | None = 1.0
    starting: int = 0


@dataclass(frozen=True, slots=True)
class Chute:
    """One chute. `engine` is None if it is not a chat model."""

    name: str
    chute_id: str
    engine: str | None = None
    tee: bool = False
    external: bool = False
    described: bool = True
    scenario: str | None = None
    evidence: str | None = None
    sealed: str | None = None
    context_length: int = 131_072
    engine_length: int = 131_072
    features: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ("text",)
    load: Load = Load()


# Ranks below every other chute: one instance, fully used, rate-limiting nearly every request.
SCENARIO_LOAD = Load(1, 1.0, 1.0, 1.0, 1.0, 0.95, 0.95, 0.95, 0.0, 1)

# Of a model whose instances are listed one by one: more than discovery lists at once.
INSTANCES = 14


def chute_uuid(name: str) -> str:
    """Return the chute id of a name."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"stub.invalid/{name}"))


class Population:
    """All chutes by kind: chat models, other public chutes, private ones."""

    def __init__(
        self, chat: Iterable[Chute], others: Iterable[Chute], private: Iterable[Chute]
    ) -> None:
        self.chat = tuple(chat)
        self.others = tuple(others)
        self.private = tuple(private)
        self._by_name: Mapping[str, Chute] = {each.name: each for each in self.chat}
        self._by_id: Mapping[str, Chute] = {each.chute_id: each for each in self.chat}
        self._unlisted: dict[str, Chute] = {}

    def add_unlisted(self, name: str, engine: str = "sglang") -> None:
        """Add a chat model that neither feed lists, like a private chute with a public name."""
        self._unlisted[name] = Chute(name, chute_uuid(name), engine=engine)

    def find(self, name: str) -> Chute | None:
        """Return the chat model of this name or chute id."""
        return self._by_name.get(name) or self._by_id.get(name) or self._unlisted.get(name)

    def everyone(self) -> tuple[Chute, ...]:
        """Return all chutes of the utilization feed, which omits those on external backends."""
        hosted = tuple(each for each in self.chat if not each.external)
        return hosted + self.others + self.private


def populate(
    seed: int, models: int, others: int, private: int, scenarios: Iterable[Chute] = ()
) -> Population:
    """Return the population of a seed, followed by the models that select scenarios."""
    chance = random.Random(seed)
    chat = [_chat_model(chance, index, models) for index in range(models)]
    return Population(
        [*chat, *scenarios],
        [_other(chance, index) for index in range(others)],
        [_private(chance, index) for index in range(private)],
    )


def _chat_model(chance: random.Random, index: int, models: int) -> Chute:
    """Return a chat model: a third are TEE, three fifths run vLLM, a tenth have no description."""
    tee = index % 3 == 0
    external = models >= 20 and index == models - 1
    name = _model_name(index) + ("-TEE" if tee else "")
    length = chance.choice((16_384, 32_768, 40_960, 131_072, 202_752, 262_144))
    return Chute(
        name=name,
        chute_id=chute_uuid(name),
        engine="vllm" if index % 5 < 3 else "sglang",
        tee=tee and not external,
        external=external,
        described=index % 10 != 7 and not external,
        context_length=length,
        engine_length=1_048_576 if index % 15 == 4 else length,
        features=_features(index),
        modalities=("text", "image") if index % 4 == 1 else ("text",),
        load=_odd_load(index) or _busy(chance, chance.randint(1, 40)),
    )


def _model_name(index: int) -> str:
    family = FAMILIES[index % len(FAMILIES)]
    size = SIZES[index * 7 % len(SIZES)]
    plain = f"{family}-{index // len(FAMILIES) + 1}.{index % 4}-{size}"
    if index == 13:  # a few ids have no organisation
        return plain
    return f"{ORGANISATIONS[index * 5 % len(ORGANISATIONS)]}/{plain}"


def _features(index: int) -> tuple[str, ...]:
    structured = "structured_output" if index % 30 == 11 else "structured_outputs"
    features = ["json_mode", structured]
    features += ["tools"] if index % 4 else []
    features += ["reasoning"] if index % 2 else []
    return tuple(features)


def _odd_load(index: int) -> Load | None:
    """Return the unusual loads: null columns, and a utilization above one."""
    if index == 6:
        return Load(2, None, None, None, None, None, None, None, 12.5, 2)
    if index == 8:
        return Load(3, 1.25, 1.0833333333333333, 0.9, 0.7, 0.02, 0.01, 0.0, 890.4, 3)
    return None


def _busy(chance: random.Random, active: int) -> Load:
    idle = chance.random() < 0.25
    current = 0.0 if idle else round(chance.uniform(0.01, 0.84), 6)

    def near() -> float:
        return round(min(0.88, max(0.0, current * chance.uniform(0.8, 1.2))), 6)

    limited = 0.0 if chance.random() < 0.8 else round(chance.uniform(0.0, 0.05), 6)
    grows = chance.random() < 0.2
    return Load(
        active,
        current,
        near(),
        near(),
        near(),
        limited,
        limited / 2,
        limited / 4,
        round(active * chance.uniform(10, 900), 4),
        active + chance.randint(1, 5) if grows else active,
        "scale_up_candidate" if grows else "no_action",
        round(chance.uniform(0.5, 2.0), 4),
        starting=1 if grows and chance.random() < 0.3 else 0,
    )


def _other(chance: random.Random, index: int) -> Chute:
    kind = OTHER_KINDS[index % len(OTHER_KINDS)]
    name = f"{ORGANISATIONS[index % len(ORGANISATIONS)]}/{kind}-{index + 1}"
    return Chute(name, chute_uuid(name), load=_busy(chance, chance.randint(0, 6)))


def _private(chance: random.Random, index: int) -> Chute:
    load = _busy(chance, 0 if index % 6 else chance.randint(1, 3))
    if index == 17:
        load = Load(0, 0.0, 0.0, 0.0, 0.0, action="filtered", multiplier=None, target=0)
    return Chute(PRIVATE, chute_uuid(f"private-{index}"), load=load)
