"""A stub and a router for SDKs, in private mode as well."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stub_backend.demo.private import KIT, write_roots
from tests.rigs.smoke.processes import twistd_command

INVOKE = "/e2e/invoke"
PRIVATE_STUB = ("--scenario-tee", f"--attestation-kit={KIT}")
# Long enough that a router which bridges silence each second has written a comment.
SLOW_STUB = ("--delay-ms", "1400")
_START = (
    "from autopilot.attestation import nonce_pool; nonce_pool.DISCOVERIES = 1000;"
    " import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
)
PRIVATE_COMMANDS = {"private": (sys.executable, "-c", _START, *twistd_command()[1:])}
"""The budget of discoveries is by the minute: with it a fast machine would fail where a slow one
passes."""


def private_settings(folder: Path, base: str) -> dict[str, str]:
    """Return the settings of a router that encrypts each request; the stub is at `base`.

    Tests share one key, so that nothing may depend on former requests.
    """
    return {
        "PRIVATE": "always",
        "PRIVATE_COLLATERAL_URL": base,
        "PRIVATE_TEST_ROOTS": str(write_roots(folder)),
        "LIST_RETRY_MS": "0",
        "STICKY_TTL_SECS": "0",
    }


def private_calls(calls: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the paths of the calls by the key that the tests of private mode share."""
    return [
        each["path"]
        for each in calls
        if any(value.startswith("Bearer cpk_private-") for _name, value in each["headers"])
    ]
