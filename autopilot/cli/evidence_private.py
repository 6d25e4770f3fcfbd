"""``autopilot evidence --verify``: its options, and what it prints of each instance's verdict.

The extra ``private`` has to be installed; its packages are imported with the verification.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.web.iweb import IAgent

from autopilot.attestation.measurements import pin_file
from autopilot.attestation.verdict import Refusal
from autopilot.attestation.verification import Policy, roots_of
from autopilot.cli.check_key import is_loopback, may_receive_key
from autopilot.cli.console import CommandError, Console
from autopilot.cli.evidence_saved import SavedAnswers
from autopilot.cli.evidence_verify import (
    OfflineSource,
    Result,
    Source,
    published,
    verify_all,
)
from autopilot.cli.terminal import TextColumn
from autopilot.http.fetch import FetchedResponse, Fetcher
from autopilot.measurement import Measurement, MeasurementsError, parse_pinned
from autopilot.routing.catalog import Model
from autopilot.routing.suggest import printable
from autopilot.settings import Settings
from autopilot.upstream.pool import Origin

TIMEOUT_SECONDS: Final = 60.0
MAX_BYTES: Final = 8 * 1024 * 1024
GENUINE: Final = "attested"
"""The word for a verified key whose evidence chains to the roots of Intel and NVIDIA."""
TEST_ROOTS: Final = "test-roots"

_COLUMNS: Final = (
    TextColumn("instance"),
    TextColumn("verdict"),
    TextColumn("TCB"),
    TextColumn("measurement", shrinks=True),
    TextColumn("GPUs", right=True),
    TextColumn("until"),
)
_CHECKED: Final = (
    "each quote's signature and its platform's state, by Intel's certificates and revocation lists",
    "that each quote was made for the nonce that was sent, and the key that discovery lists",
    "all attributes, and all registers against one row of the measurements",
    "the virtual machine's signature over its quote and its list of GPUs",
    "each GPU's report: chain, nonce, signature and firmware id",
)
_NOT_SHOWN: Final = (
    "the model and its code: the registers cover firmware, kernel and base system",
    "that no other software in the virtual machine holds the key, or can have a quote made",
    "the firmware measurements of the GPUs, which were not compared",
    "instances that discovery did not list: it lists at most five at random",
)
_NOT_INDEPENDENT: Final = (
    "measurements that are independent of the platform: they are its own list; see --pin"
)


async def run(
    online: tuple[IAgent, Any, Settings, Model] | None, given: argparse.Namespace, console: Console
) -> int:
    """Verify and print; return 0 if all are verified, 1 if not, and 2 if some did not answer.

    ``online`` is what reaches the platform, and None with ``--offline``. Raises `CommandError`.
    """
    roots = None if given.test_roots is None else _roots(given.test_roots)
    try:
        pinned = None if given.measurements is None else _pinned(given.measurements)
        pins = _pinned(given.pin) if given.pin is not None and given.pin.exists() else ()
    except MeasurementsError as error:
        console.say(*error.lines)
        return 1
    source = _source(online, given)
    rows = pinned or published(await source.measurements())
    policy = (
        Policy(rows) if roots is None else Policy(rows, intel_root=roots[0], nvidia_root=roots[1])
    )
    now = int(time.time()) if given.at is None else given.at
    results = await verify_all(source, policy, now, console.progress)
    word = GENUINE if roots is None else TEST_ROOTS
    if given.json:
        console.say_json(_in_json(given.model, now, word, results, pinned is None))
    else:
        _show(console, given.model, now, word, results, pinned is None)
    if given.pin is not None:
        _write_pins(given.pin, pins, results)
    return _status(results)


def _source(
    online: tuple[IAgent, Any, Settings, Model] | None, given: argparse.Namespace
) -> Source | OfflineSource:
    if online is None:
        return OfflineSource(SavedAnswers(given.offline))
    agent, reactor, settings, model = online
    key = os.environ.get("CHUTES_API_KEY", "").strip()
    if not key:
        raise CommandError("--verify discovers instances with an API key: set CHUTES_API_KEY")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise CommandError("CHUTES_API_KEY is not a valid key")
    if not may_receive_key(settings.api_base_url):
        raise CommandError("the API key is not sent, because API_BASE_URL is not https")
    if given.test_roots is not None and not is_loopback(Origin.of(settings.api_base_url).host):
        raise CommandError("--test-roots is for a platform on this machine, or --offline")
    if model.chute_id is None:
        raise CommandError("the catalog has no chute id for this model")
    fetcher = Fetcher(agent, reactor, TIMEOUT_SECONDS, MAX_BYTES)

    def ask(url: str, authorization: str | None) -> Deferred[FetchedResponse]:
        return fetcher.ask(url, authorization)

    saved = None if given.save is None else SavedAnswers(given.save)
    intel = given.collateral_url.rstrip("/")
    return Source(ask, settings.api_base_url, intel, f"Bearer {key}", model.chute_id, saved)


def _roots(path: Path) -> tuple[bytes, bytes]:
    """Return the DER of the root of quotes, and the hash of that of GPUs, from a PEM file."""
    try:
        return roots_of(path.read_bytes())
    except OSError as error:
        raise CommandError(f"--test-roots: {error.strerror or 'cannot be read'}") from None
    except ValueError:
        raise CommandError("--test-roots: not two certificates, of quotes and of GPUs") from None


def _pinned(path: Path) -> tuple[Measurement, ...]:
    """Read a pin file. Raises `CommandError`, or `MeasurementsError` with a line for each fault."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path.name}: {error.strerror or 'cannot be read'}") from None
    try:
        return parse_pinned(body)
    except MeasurementsError as error:
        raise MeasurementsError(*(f"{path.name}: {line}" for line in error.lines)) from None


def _write_pins(path: Path, before: Iterable[Measurement], results: Iterable[Result]) -> None:
    """Add the rows that verified quotes have to a pin file, or to none if there are none."""
    seen = [each.verified.measurement for each in results if each.verified is not None]
    if not seen:
        return
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(pin_file([*before, *seen]))
        os.replace(file.name, path)
    except OSError as error:
        raise CommandError(f"--pin: {error.strerror or 'cannot be written'}") from None


def _status(results: Sequence[Result]) -> int:
    if not results or any(each.refused for each in results):
        return 1
    return 2 if any(each.unanswered for each in results) else 0


def _in_json(
    model: str, now: int, word: str, results: Sequence[Result], theirs: bool
) -> dict[str, object]:
    return {
        "model": model,
        "time": now,
        "roots": "vendors" if word == GENUINE else word,
        "instances": [_row(each, word) for each in results],
        "checked": list(_checked(results)),
        "not_shown": list(_not_shown(theirs)),
    }


def _row(result: Result, word: str) -> dict[str, object]:
    found = result.verified
    if found is None:
        verdict = "refused" if result.refused else "unanswered"
        return {
            "instance": result.instance_id,
            "verdict": verdict,
            "reason": result.refused or result.unanswered,
        }
    return {
        "instance": result.instance_id,
        "verdict": word,
        "reason": None,
        "tcb": found.tcb,
        "advisories": list(found.advisories),
        "measurement": found.measurement.label,
        "gpus": found.gpus,
        "until": found.expires,
    }


def _show(
    console: Console, model: str, now: int, word: str, results: Sequence[Result], theirs: bool
) -> None:
    count = sum(each.verified is not None for each in results)
    console.say(f"{printable(model)}: {count} of {len(results)} instances {word} at {_time(now)}")
    if results:
        console.say_table(_COLUMNS, [_cells(each, word) for each in results])
    lines = []
    groups = ("checked", _checked(results)), ("not shown", _not_shown(theirs))
    for title, entries in groups:
        for place, entry in enumerate(entries):
            lines.append(f"  {title if not place else '':<11}{entry}")
    console.say(*lines)
    if any(each.refused == Refusal.COLLATERAL for each in results):
        console.say(
            "  Intel's data was not valid at that time: a wrong clock has the same effect, so"
            " compare the time above with the right one."
        )


def _cells(result: Result, word: str) -> tuple[str, ...]:
    name, found = result.instance_id[:8], result.verified
    if found is None:
        verdict = (
            f"refused: {result.refused}" if result.refused else f"no answer: {result.unanswered}"
        )
        return name, verdict, "", "", "", ""
    until = _time(found.expires)
    return name, word, found.tcb, found.measurement.label, str(found.gpus), until


def _checked(results: Sequence[Result]) -> Iterator[str]:
    if any(each.verified for each in results):
        yield from _CHECKED


def _not_shown(theirs: bool) -> Iterator[str]:
    yield from _NOT_SHOWN
    if theirs:
        yield _NOT_INDEPENDENT


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")
