"""The command line of `python -m stub_backend`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from stub_backend.evidence_scenarios import EVIDENCE_SCENARIOS, EvidenceScenario
from stub_backend.options import StubOptions
from stub_backend.scenario import Scenario
from stub_backend.scenarios import SCENARIOS
from stub_backend.sealed.scenarios import SEALED_SCENARIOS, SealedScenario
from stub_backend.sealed.world import World

_DEFAULTS = StubOptions()


def scenario_list() -> str:
    """Return the tables of scenarios as text, with a line for each model name."""
    behaviours = _table("models whose name selects a behaviour:", SCENARIOS.values())
    evidence = "models whose name selects the response for their evidence (--evidence-models):"
    sealed = "models whose name selects the conduct of encrypted calls (--sealed-models):"
    tables = (
        behaviours,
        _table(evidence, EVIDENCE_SCENARIOS.values()),
        _table(sealed, SEALED_SCENARIOS.values()),
    )
    return "\n\n".join(tables)


def _table(title: str, rows: Iterable[Scenario | EvidenceScenario | SealedScenario]) -> str:
    listed = list(rows)
    width = max(len(each.model) for each in listed)
    return "\n".join((title, *(f"  {each.model:<{width}}  {each.summary}" for each in listed)))


def parse(arguments: Sequence[str]) -> StubOptions:
    """Parse a command line; exits with a message if it is invalid."""
    given = _parser().parse_args(arguments)
    return StubOptions(
        listen=given.listen,
        seed=given.seed,
        models=given.models,
        other_chutes=given.other_chutes,
        private_chutes=given.private_chutes,
        scenario_models=given.scenario_models,
        scenario_tee=given.scenario_tee,
        evidence_models=given.evidence_models,
        sealed_models=given.sealed_models,
        attestation_kit=given.attestation_kit,
        tokens=given.tokens,
        prose=given.prose,
        token_delay=given.token_delay_ms / 1000,
        first_token_delay=given.first_token_delay_ms / 1000,
        prefixes=given.prefixes,
        prefill_delay=given.prefill_ms / 1000,
        delay=given.delay_ms / 1000,
        time_scale=given.time_scale,
        huge_bytes=given.huge_bytes,
        keep_alive=given.keep_alive_ms / 1000,
        require_auth=given.require_auth,
        edge_rate=given.edge_rate,
        measured_ago=None if given.measured_ago_ms is None else given.measured_ago_ms / 1000,
    )


def host_and_port(listen: str) -> tuple[str, int]:
    """Split `host:port`. Raises ValueError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not 0 <= int(port) <= 65_535:
        raise ValueError(f"not host:port: {listen}")
    return host.strip("[]"), int(port)


def _address(text: str) -> str:
    host_and_port(text)
    return text


def _kit(folder: str) -> str:
    try:
        World.read(Path(folder))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"no attestation kit: {error}") from None
    return folder


def _at_least(least: int) -> type[int]:
    class Bounded(int):
        def __new__(cls, text: str) -> Bounded:
            value = super().__new__(cls, text)
            if value < least:
                raise ValueError(text)
            return value

    Bounded.__name__ = f"integer of at least {least}"
    return Bounded


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stub_backend",
        description="A stub of the Chutes.ai platform, for demos and tests without a network.",
        epilog=scenario_list(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--listen",
        type=_address,
        default=_DEFAULTS.listen,
        help="host:port; port 0 is any free one",
    )
    add("--seed", type=int, default=_DEFAULTS.seed, help="seed of the generated population")
    _add_population(parser)
    _add_speed(parser)
    add("--require-auth", action="store_true", help="respond 401 to calls without a key")
    add(
        "--edge-rate",
        type=_at_least(0),
        default=_DEFAULTS.edge_rate,
        help="calls a minute with one key beyond which the edge bans it; 0: any number",
    )
    return parser


def _add_population(parser: argparse.ArgumentParser) -> None:
    count = _at_least(0)
    add = parser.add_argument
    add("--models", type=count, default=_DEFAULTS.models, help="chat models in the catalog")
    add("--other-chutes", type=count, default=_DEFAULTS.other_chutes, help="other public chutes")
    add(
        "--measured-ago-ms",
        type=_not_negative,
        help="age of the utilization at its first fetch; without it, one fixed time",
    )
    add("--private-chutes", type=count, default=_DEFAULTS.private_chutes, help="private chutes")
    add(
        "--scenario-models",
        action=argparse.BooleanOptionalAction,
        default=_DEFAULTS.scenario_models,
        help="list the models below in the feeds, ranked last",
    )
    add(
        "--scenario-tee",
        action=argparse.BooleanOptionalAction,
        default=_DEFAULTS.scenario_tee,
        help="these models run in a TEE",
    )
    add(
        "--evidence-models",
        action=argparse.BooleanOptionalAction,
        default=_DEFAULTS.evidence_models,
        help="also list the evidence models, which run in a TEE",
    )
    add(
        "--sealed-models",
        action=argparse.BooleanOptionalAction,
        default=_DEFAULTS.sealed_models,
        help="also list the models of encrypted calls, which run in a TEE",
    )
    add(
        "--attestation-kit",
        type=_kit,
        metavar="FOLDER",
        help="sign evidence with the keys in this folder: tests/data/private of the checkout",
    )


def _add_speed(parser: argparse.ArgumentParser) -> None:
    times = (
        ("--token-delay-ms", _DEFAULTS.token_delay, "delay between two tokens"),
        ("--first-token-delay-ms", _DEFAULTS.first_token_delay, "delay before the first token"),
        ("--prefill-ms", _DEFAULTS.prefill_delay, "more of it for each prompt token not cached"),
        ("--delay-ms", _DEFAULTS.delay, "delay of the slow-head scenario"),
        ("--keep-alive-ms", _DEFAULTS.keep_alive, "time until an idle connection is closed"),
    )
    for name, seconds, meaning in times:
        parser.add_argument(name, type=_not_negative, default=seconds * 1000, help=meaning)
    add = parser.add_argument
    add("--tokens", type=_at_least(2), default=_DEFAULTS.tokens, help="tokens in a usual response")
    add(
        "--prefixes",
        type=_at_least(0),
        default=_DEFAULTS.prefixes,
        help="prompts in each model's prefix cache, whose hits are in the usage",
    )
    add("--prose", action="store_true", help="answer in sentences for people")
    add(
        "--huge-bytes",
        type=_at_least(1),
        default=_DEFAULTS.huge_bytes,
        help="size of a huge response",
    )
    add(
        "--time-scale",
        type=_not_negative,
        default=_DEFAULTS.time_scale,
        help="factor for the durations of scenarios, such as 0.01 for quick tests",
    )
