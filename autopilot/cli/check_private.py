"""The check of private mode: its packages, Intel's data, the clock, and the measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec
from twisted.web.iweb import IAgent

from autopilot.attestation.collateral import MAX_BYTES, Platform, collateral_urls
from autopilot.attestation.measurements import parse_published
from autopilot.cli import remedies
from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.http.fetch import FetchedResponse, Fetcher
from autopilot.http.fetch_error import FetchError
from autopilot.measurement import MeasurementsError
from autopilot.settings import Settings

_CHECK: Final = "private"
_SKEW: Final = 300.0
"""Seconds by which clocks may differ: data of Intel's is valid for weeks."""

_DAY: Final = 86_400
_SOON: Final = 2 * _DAY
_EXTRA: Final = "Run pip install 'chutes-autopilot[private]'."
_CLOCK: Final = (
    "Set this machine's clock: by a wrong one Intel's data looks out of date, and every key is"
    " refused."
)
_ANY: Final = Platform("", "")  # the identity is the same for all


class _Identity(msgspec.Struct):
    issueDate: datetime  # noqa: N815 - Intel's name
    nextUpdate: datetime  # noqa: N815 - Intel's name


class _Enclave(msgspec.Struct):
    enclaveIdentity: _Identity  # noqa: N815 - Intel's name


_enclave = msgspec.json.Decoder(_Enclave)


async def check_private(
    agent: IAgent, reactor: Any, settings: Settings, timeout: float, now: Callable[[], float]
) -> Sequence[CheckResult]:
    """Check what private mode needs; ``now`` returns wall-clock time. Nothing if it is off."""
    if settings.private == "off":
        return ()
    fetcher = Fetcher(agent, reactor, timeout, MAX_BYTES)
    found = [_packages()]
    url = collateral_urls(settings.private_collateral_url, _ANY).qe_identity
    try:
        answer = await fetcher.ask(url)
    except FetchError as error:
        found.append(_failed("Intel's data", error, "PRIVATE_COLLATERAL_URL"))
    else:
        found += [*_clock(answer, now()), _collateral(answer, now())]
    found.append(await _measurements(fetcher, settings))
    if settings.private_test_roots is not None:
        detail = "PRIVATE_TEST_ROOTS is set: nothing is attested, and every answer says test-roots"
        found.append(CheckResult(_CHECK, "roots", CheckState.WARN, detail))
    return found


def _packages() -> CheckResult:
    """Use each package once: an old `cryptography` has the names, and fails when they are used."""
    subject = "packages"
    try:
        from autopilot.attestation import quote_verification, sealing
    except ImportError:
        return CheckResult(_CHECK, subject, CheckState.FAIL, "not installed", _EXTRA)
    del quote_verification
    try:
        sealing.ResponseKey()
    except Exception:  # noqa: BLE001  whatever its error is, it cannot be used
        detail = "cryptography has no ML-KEM here"
        return CheckResult(_CHECK, subject, CheckState.FAIL, detail, _EXTRA)
    detail = ", ".join(f"{name} {_version(name)}" for name in ("cryptography", "dcap-qvl"))
    return CheckResult(_CHECK, subject, CheckState.OK, detail)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "of unknown version"


def _clock(answer: FetchedResponse, now: float) -> Iterator[CheckResult]:
    """Compare this machine's clock with the server's, if it states its time."""
    try:
        stated = parsedate_to_datetime(_stated(answer))
    except ValueError:
        return
    ahead = now - stated.replace(tzinfo=stated.tzinfo or UTC).timestamp()
    if abs(ahead) <= _SKEW:
        detail = "within five minutes of the server of Intel's data"
        yield CheckResult(_CHECK, "clock", CheckState.OK, detail)
        return
    detail = f"{_span(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the server's"
    yield CheckResult(_CHECK, "clock", CheckState.FAIL, detail, _CLOCK)


def _stated(answer: FetchedResponse) -> str:
    return str(answer.headers.getRawHeaders("date", [""])[0])


def _collateral(answer: FetchedResponse, now: float) -> CheckResult:
    subject, source = "Intel's data", "PRIVATE_COLLATERAL_URL"
    if answer.status != 200:
        detail = f"status {answer.status}"
        remedy = remedies.of_status(answer.status, source)
        return CheckResult(_CHECK, subject, CheckState.FAIL, detail, remedy)
    try:
        dates = _enclave.decode(answer.body).enclaveIdentity
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        remedy = f"Check {source}: Intel's service, or a cache of it (PCCS), has to answer there."
        return CheckResult(_CHECK, subject, CheckState.FAIL, "not the expected JSON", remedy)
    issued, ends = (_seconds(each) for each in (dates.issueDate, dates.nextUpdate))
    if now < issued:
        detail = f"issued {_span(issued - now)} in the future, by this machine's clock"
        return CheckResult(_CHECK, subject, CheckState.FAIL, detail, _CLOCK)
    if now >= ends:
        detail = f"ended {_span(now - ends)} ago, by this machine's clock"
        remedy = f"{_CLOCK} If it is right, {source} serves old data: give Intel's own service."
        return CheckResult(_CHECK, subject, CheckState.FAIL, detail, remedy)
    state = CheckState.WARN if ends - now < _SOON else CheckState.OK
    return CheckResult(_CHECK, subject, state, f"can be fetched, and is valid {_span(ends - now)}")


async def _measurements(fetcher: Fetcher, settings: Settings) -> CheckResult:
    """Fetch the platform's list, with which an operator's own rows are compared."""
    subject, pins = "measurements", settings.private_measurements
    pinned = None if isinstance(pins, str) else {(each.mrtd, *each.rtmrs) for each in pins.rows}
    try:
        answer = await fetcher.ask(f"{settings.api_base_url}/servers/tee/measurements")
        if answer.status != 200:
            raise MeasurementsError(f"status {answer.status}")
        rows = parse_published(answer.body)
    except (FetchError, MeasurementsError) as error:
        if pinned is not None:
            detail = f"{len(pinned)} rows pinned; not compared with the platform's list: {error}"
            return CheckResult(_CHECK, subject, CheckState.WARN, detail)
        if isinstance(error, FetchError):
            return _failed(subject, error, "API_BASE_URL")
        remedy = "Check that API_BASE_URL is the platform's; or pin rows with PRIVATE_MEASUREMENTS."
        return CheckResult(_CHECK, subject, CheckState.FAIL, str(error), remedy)
    if pinned is None:
        detail = f"{len(rows)} rows published by the platform"
        return CheckResult(_CHECK, subject, CheckState.OK, detail)
    both = pinned & {(each.mrtd, *each.rtmrs) for each in rows}
    detail = f"{len(pinned)} rows pinned, {len(both)} of them still published"
    state = CheckState.OK if both else CheckState.WARN
    return CheckResult(_CHECK, subject, state, detail)


def _failed(subject: str, error: FetchError, source: str) -> CheckResult:
    return CheckResult(
        _CHECK, subject, CheckState.FAIL, str(error), remedies.of_fetch(error, source)
    )


def _seconds(moment: datetime) -> float:
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _span(seconds: float) -> str:
    """Return a time of days, hours or minutes."""
    for size, name in ((_DAY, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {name}"
    return f"{seconds:.0f} s"
