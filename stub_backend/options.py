"""The stub's options. Durations are in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StubOptions:
    """Size, speed and strictness of the stub.

    `time_scale` multiplies the durations of scenarios ("after 20 s"), but not the token and
    first-token delays. Each model's prefix cache holds `prefixes` prompts; `prefill_delay` delays
    the first token by as much for each token of the prompt that is not cached. `keep_alive` is how
    long an idle connection stays open. With `prose`, answers are sentences for people instead of a
    number of `tokens` for tests. `attestation_kit` is a folder with keys, by which instances get
    genuine evidence of a synthetic world. With `scenario_tee`, the scenario models run in a TEE.
    `edge_rate` is how many calls a minute the edge lets pass for each key; 0 is any number.
    """

    listen: str = "127.0.0.1:9100"
    seed: int = 1
    models: int = 60
    other_chutes: int = 35
    private_chutes: int = 440
    scenario_models: bool = True
    scenario_tee: bool = False
    evidence_models: bool = False
    sealed_models: bool = False
    attestation_kit: str | None = None
    tokens: int = 24
    prose: bool = False
    token_delay: float = 0.005
    first_token_delay: float = 0.0
    prefixes: int = 0
    prefill_delay: float = 0.0
    delay: float = 5.0
    time_scale: float = 1.0
    huge_bytes: int = 50_000_000
    keep_alive: float = 60.0
    require_auth: bool = False
    edge_rate: int = 0
    measured_ago: float | None = None
