"""The command line: `python -m tests.rigs.live`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from autopilot.attestation.collateral import INTEL
from autopilot.settings import Settings
from tests.rigs.live.admission import HARD_CAP, PACE, RUN_SECONDS
from tests.rigs.live.caller import checked_base, is_local
from tests.rigs.live.request import Host
from tests.rigs.live.run import Options
from tests.rigs.live.table import chosen

ROOT = Path(__file__).resolve().parents[3]


def parse(arguments: Sequence[str]) -> tuple[Options, bool]:
    """Return the options, and whether to print the plan only; exit on an invalid command line."""
    parser = _parser()
    given = parser.parse_args(arguments)
    bases = _bases(given)
    if given.pace < PACE and not all(map(is_local, bases.values())):
        parser.error(f"argument --pace: {PACE:g} at least, but on this machine")
    try:
        checks = chosen(given.only)
    except ValueError as problem:
        parser.error(f"argument --only: {problem}")
    if given.private:
        bases[Host.INTEL] = given.collateral_url or given.base_url or INTEL
    if given.test_roots is not None and not all(map(is_local, bases.values())):
        parser.error("argument --test-roots: only for a platform on this machine")
    options = Options(
        checks=checks,
        bases=bases,
        private=given.private,
        roots=given.test_roots,
        calls=given.calls,
        pace=given.pace,
        seconds=RUN_SECONDS,
        logs=given.logs,
    )
    return options, given.dry_run


def _bases(given: argparse.Namespace) -> dict[Host, str]:
    """Return the base URLs.

    A given one replaces all of them, so that a key is never sent to two platforms.
    """
    usual = Settings()
    return {
        Host.LLM: given.base_url or usual.backend_base_url,
        Host.API: given.api_url or given.base_url or usual.api_base_url,
        Host.MESSAGES: given.messages_url or given.base_url or usual.messages_base_url,
        Host.RESPONSES: given.responses_url or given.base_url or usual.responses_base_url,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.rigs.live",
        description="Compare the platform with the stand-in: a few dozen slow, tiny calls.",
        epilog="The key is read from CHUTES_API_KEY and nowhere else.",
    )
    add = parser.add_argument
    add(
        "--only",
        action="append",
        default=[],
        metavar="ID",
        help="run this check, or those of this row; repeatable",
    )
    add("--private", action="store_true", help="settle what is open about private mode instead")
    add("--test-roots", type=Path, default=None, help="with --private: PEM file of two roots")
    add("--dry-run", action="store_true", help="print the plan and exit")
    add("--calls", type=_calls, default=HARD_CAP, help=f"at most; never more than {HARD_CAP}")
    add("--pace", type=_seconds, default=PACE, help="seconds between two calls")
    for name, what in (
        ("base", "chat and text completions, and, unless given, for all others"),
        ("api", "evidence and the utilization feed"),
        ("messages", "/v1/messages"),
        ("responses", "/v1/responses"),
        ("collateral", "Intel's data"),
    ):
        add(f"--{name}-url", type=checked_base, default=None, help=f"the host of {what}")
    add("--logs", type=Path, default=ROOT / "logs" / "live", help="where the captures go")
    return parser


def _calls(text: str) -> int:
    value = int(text)
    if not 1 <= value <= HARD_CAP:
        raise argparse.ArgumentTypeError(f"1 to {HARD_CAP}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 60:
        raise argparse.ArgumentTypeError("0 to 60")
    return value
