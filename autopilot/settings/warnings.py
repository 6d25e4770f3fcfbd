"""Valid settings that together defeat a purpose of the router, for the log and the checks."""

from __future__ import annotations

from collections.abc import Iterator

from autopilot.settings.schema import Settings


def settings_warnings(settings: Settings) -> tuple[str, ...]:
    """Return one line for each, with the settings' names and values."""
    return tuple(_no_second_attempt(settings))


def _no_second_attempt(settings: Settings) -> Iterator[str]:
    """Yield where a model that does not respond uses up the time or the attempts of its request."""
    if settings.max_attempts == 1:
        yield "MAX_ATTEMPTS=1 leaves no room for a second attempt; raise it to at least 2"
        return
    waits = (
        ("an unreachable model", ("UPSTREAM_CONNECT_TIMEOUT_MS",)),
        (
            "a model that is silent in a stream",
            ("FAILOVER_AFTER_MS", "UPSTREAM_HEADER_TIMEOUT_MS"),
        ),
        (
            "a model that is silent in a plain request",
            ("PLAIN_FAILOVER_AFTER_MS", "UPSTREAM_UNARY_TIMEOUT_MS"),
        ),
    )
    total = settings.total_deadline_ms
    for whom, names in waits:
        # Each of the names ends an attempt, so the shortest counts.
        wait, name = min((getattr(settings, name.lower()), name) for name in names)
        if wait >= total:
            yield (
                f"{name}={wait} leaves no room for a second attempt after {whom}, as"
                f" TOTAL_DEADLINE_MS={total} is not longer; lower {name} or raise TOTAL_DEADLINE_MS"
            )
