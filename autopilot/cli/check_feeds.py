"""The check of both feeds: they can be read, what they contain, how old their numbers are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from twisted.internet.defer import DeferredList
from twisted.web.iweb import IAgent

from autopilot.cli import remedies
from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.feeds.parsers import parse_catalog, parse_utilization
from autopilot.http.fetch import Fetcher
from autopilot.http.fetch_error import FetchError
from autopilot.routing.catalog import Catalog
from autopilot.routing.ranking import rank
from autopilot.settings import Settings

_CHECK: Final = "feed"
_OLD: Final = 2 * 3600
"""Seconds. The platform measures every half hour, and less often when it is busy."""


class _Stamped(msgspec.Struct):
    timestamp: msgspec.Raw = msgspec.Raw()


_records = msgspec.json.Decoder(list[_Stamped])
_moment = msgspec.json.Decoder(datetime)


async def check_feeds(
    agent: IAgent,
    reactor: Any,
    settings: Settings,
    timeout: float,
    now: Callable[[], float],
) -> Sequence[CheckResult]:
    """Fetch both feeds once; ``now`` returns wall-clock time."""
    fetcher = Fetcher(agent, reactor, timeout)
    began = reactor.seconds()
    (models_came, models), (loads_came, loads) = await DeferredList(
        [fetcher.get(settings.models_url), fetcher.get(settings.utilization_url)],
        consumeErrors=True,
    )
    seconds = reactor.seconds() - began
    slow = seconds * 1000 > settings.control_plane_timeout_ms
    catalog, first = _catalog(models, models_came)
    second = _utilization(loads, loads_came, catalog, now())
    if slow:
        detail = f"both took {seconds:.1f} s, more than CONTROL_PLANE_TIMEOUT_MS allows"
        return first, second, CheckResult(_CHECK, "", CheckState.WARN, detail)
    return first, second


def _catalog(result: Any, came: bool) -> tuple[Catalog | None, CheckResult]:
    subject = "catalog"
    try:
        if not came:
            result.raiseException()
        parsed = parse_catalog(result)
    except FetchError as error:
        return None, _failed(subject, error, "MODELS_URL")
    catalog = Catalog.of(parsed.models)
    sizes = _sizes(len(result), len(catalog), "models", parsed.rejected)
    if not catalog:
        return catalog, CheckResult(
            _CHECK,
            subject,
            CheckState.FAIL,
            f"{sizes}: no model can be served",
            "Check MODELS_URL; if it is right, wait until the platform lists models again.",
        )
    tees = sum(model.tee is True for model in catalog.models.values())
    state = CheckState.WARN if parsed.rejected else CheckState.OK
    return catalog, CheckResult(_CHECK, subject, state, f"{sizes}, {tees} in a TEE")


def _utilization(result: Any, came: bool, catalog: Catalog | None, now: float) -> CheckResult:
    subject = "utilization"
    try:
        if not came:
            result.raiseException()
        parsed = parse_utilization(result)
    except FetchError as error:
        return _failed(subject, error, "UTILIZATION_URL")
    candidates = len(rank(parsed.loads, catalog))
    sizes = _sizes(len(result), len(parsed.loads), "records", parsed.rejected)
    detail = f"{sizes}, {candidates} models eligible"
    if not candidates:
        remedy = (
            "Check that MODELS_URL and UTILIZATION_URL are of one platform; `autopilot rank` says"
            " why each model is left out."
        )
        return CheckResult(_CHECK, subject, CheckState.FAIL, detail, remedy)
    measured = newest(result)
    state = CheckState.WARN if parsed.rejected else CheckState.OK
    if measured is not None:
        age = max(0.0, now - measured)
        detail += f", measured {_ago(age)} ago"
        if age > _OLD:
            state = CheckState.WARN
            detail += ": the platform has published nothing newer, so the ranking is outdated"
    return CheckResult(_CHECK, subject, state, detail)


def _failed(subject: str, error: FetchError, source: str) -> CheckResult:
    remedy = remedies.of_fetch(error, source)
    return CheckResult(_CHECK, subject, CheckState.FAIL, str(error), remedy)


def _ago(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 600 else f"{minutes // 60} h"


def _sizes(size: int, count: int, what: str, rejected: int) -> str:
    unreadable = f", {rejected} unreadable" if rejected else ""
    return f"{count} {what}{unreadable} in {size / 1024:.0f} KiB"


def newest(body: bytes) -> float | None:
    """Return the time of a utilization feed's newest measurement, or None if no record has one."""
    try:
        records = _records.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    found: float | None = None
    for record in records:
        try:
            moment = _moment.decode(record.timestamp)
        except msgspec.DecodeError:
            continue
        if moment.tzinfo is None:  # the platform writes UTC without an offset
            moment = moment.replace(tzinfo=UTC)
        found = max(found or 0.0, moment.timestamp())
    return found
