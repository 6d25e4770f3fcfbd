"""Fetch a model's attestation evidence and report its state.

Without --verify it does not verify evidence: the best state that it reports is "unverified". With
--json that output is one object: "model", "chute_id", "state", "reason", "instances", "failed",
"gpus", "certificate_bound", "nonces_bound", "checked" and "not_checked" (texts).

With --verify it asks with CHUTES_API_KEY for up to five instances, verifies the evidence of each
one's encryption key, and prints the verdicts: "model", "time", "roots", "instances", "checked" and
"not_shown" with --json. That needs the extra "private". --offline verifies what --save kept.

Exit status: 0 if there is evidence, 1 if there is none or it is invalid, 2 if the request failed;
with --verify 0 if all listed instances are verified, 1 if one is refused or none is listed, 2 if
the answers could not be obtained.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import DecodeError, Struct
from msgspec.json import Decoder
from twisted.web.iweb import IAgent

from autopilot.attestation.collateral import INTEL
from autopilot.attestation.evidence_parser import (
    MAX_BYTES,
    TIMEOUT_SECONDS,
    evidence_url,
    read_answer,
    read_failure,
)
from autopilot.attestation.evidence_state import NO_TEE, EvidenceState, Finding, Reason
from autopilot.cli.console import CommandError, Console, add_output_arguments, console_of
from autopilot.cli.platform import (
    add_env_file_argument,
    catalog_entry,
    platform_settings,
    verified_agent,
)
from autopilot.http.fetch import Fetcher
from autopilot.http.fetch_error import NETWORK, TIMEOUT, FetchError
from autopilot.routing.catalog import Model
from autopilot.routing.suggest import printable

NAME = "evidence"
HELP = "show whether a model's TEE provides attestation evidence, and what was checked of it"

EXAMPLES = """\
  autopilot evidence org/model-TEE
  autopilot evidence org/model-TEE --json | jq .state
  autopilot evidence org/model-TEE --e2e-instances instances.json
  autopilot evidence org/model-TEE --verify --save answers --pin pinned.json
  autopilot evidence org/model-TEE --offline answers --at 2026-11-30T12:00:00Z
"""

_NEVER_CHECKED = (
    "the quotes' signatures, and the processor vendor's collateral for them",
    "the measurements of the software in the instances",
    "the GPUs' evidence, and the nonce in it",
    "which instance serves a request: the evidence does not identify it",
)
_MOST_DIGITS = 12
_NOT_QUOTES = (
    Reason.MALFORMED,
    Reason.MALFORMED_QUOTE,
    Reason.DEBUG,
    Reason.TD_ATTRIBUTES,
)


class _Listed(Struct):
    instance_id: str
    e2e_pubkey: str


class _Listing(Struct):
    instances: list[_Listed]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL", help="name or chute id, as in the catalog")
    parser.add_argument("--api-base-url", metavar="URL", help="the platform's API [API_BASE_URL]")
    parser.add_argument("--models-url", metavar="URL", help="the catalog [MODELS_URL]")
    parser.add_argument(
        "--e2e-instances",
        metavar="FILE",
        type=Path,
        help="a saved response of GET /e2e/instances/{chute_id} (which needs an API key); with the"
        " public keys in it the nonce can be checked",
    )
    _add_verifying_arguments(parser)
    add_env_file_argument(parser)
    add_output_arguments(parser)


def _add_verifying_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("verification, with the extra 'private'")
    source = group.add_mutually_exclusive_group()
    source.add_argument(
        "--verify", action="store_true", help="verify the evidence of each listed instance's key"
    )
    source.add_argument(
        "--offline", metavar="DIR", type=Path, help="verify the answers that --save kept in DIR"
    )
    group.add_argument(
        "--at",
        metavar="TIME",
        type=_moment,
        help="with --offline: the time of the verification, in ISO 8601 or Unix seconds [now]",
    )
    group.add_argument("--save", metavar="DIR", type=Path, help="with --verify: keep the answers")
    group.add_argument(
        "--pin",
        metavar="FILE",
        type=Path,
        help="add the published rows of measurements that verified quotes have to FILE",
    )
    group.add_argument(
        "--measurements",
        metavar="FILE",
        type=Path,
        help="accept the rows of this pin file instead of the platform's list",
    )
    group.add_argument(
        "--collateral-url",
        metavar="URL",
        default=INTEL,
        help="Intel's service, or a cache of it [%(default)s]",
    )
    group.add_argument(
        "--test-roots",
        metavar="FILE",
        type=Path,
        help="two certificates (PEM) in place of Intel's and NVIDIA's roots, for tests with a"
        " platform on this machine or --offline; no output then says 'attested'",
    )


def _moment(text: str) -> int:
    """Parse a time. Raises ValueError."""
    if text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS:
        return int(text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


async def run(reactor: Any, given: argparse.Namespace) -> int:
    """Print the state of the evidence and return the exit status. Raises `CommandError`."""
    _check_combination(given)
    if given.offline is not None:
        return await _verification()(None, given, console_of(given))
    options = {"API_BASE_URL": given.api_base_url, "MODELS_URL": given.models_url}
    settings = platform_settings(options, path=given.env_file)
    keys = {} if given.e2e_instances is None else _keys(given.e2e_instances)
    agent, console = verified_agent(reactor, settings), console_of(given)
    console.progress("fetching the catalog …")
    model = await catalog_entry(agent, reactor, settings, given.model)
    if given.verify and model.tee is True:
        return await _verification()((agent, reactor, settings, model), given, console)
    console.progress(f"fetching the evidence of {model.name} …")
    finding = await ask(agent, reactor, settings.api_base_url, model, keys)
    if given.json:
        console.say_json(in_json(model, finding))
    else:
        show(console, model, finding)
    return 0 if finding.state is EvidenceState.PRESENT else 1


def _check_combination(given: argparse.Namespace) -> None:
    verifies = given.verify or given.offline is not None
    for name, allowed, needs in (
        ("at", given.offline is not None, "--offline"),
        ("save", given.verify, "--verify"),
        ("pin", verifies, "--verify or --offline"),
        ("measurements", verifies, "--verify or --offline"),
        ("test_roots", verifies, "--verify or --offline"),
    ):
        if getattr(given, name) is not None and not allowed:
            raise CommandError(f"--{name.replace('_', '-')} needs {needs}")
    if given.pin is not None and given.measurements is not None:
        raise CommandError("--pin adds published rows, and --measurements replaces them")


def _verification() -> Callable[..., Coroutine[Any, Any, int]]:
    """Return what verifies and prints. Raises `CommandError` without its packages."""
    try:
        from autopilot.cli.evidence_private import run
    except ImportError:
        raise CommandError(
            "--verify and --offline need packages that are not installed; run pip install"
            " 'chutes-autopilot[private]'"
        ) from None
    return run


def _keys(path: Path) -> Mapping[str, str]:
    """Return the public keys by instance id. Raises `CommandError`."""
    try:
        listing = Decoder(_Listing).decode(path.read_bytes())
    except OSError as error:
        raise CommandError(f"--e2e-instances: {error.strerror or 'cannot be read'}") from None
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise CommandError("--e2e-instances: not a response of /e2e/instances") from None
    return {each.instance_id: each.e2e_pubkey for each in listing.instances}


async def ask(
    agent: IAgent, reactor: Any, base: str, model: Model, keys: Mapping[str, str]
) -> Finding:
    """Fetch a model's evidence with a fresh nonce and return what it shows.

    Raises `CommandError` if the request fails before the platform answers.
    """
    if model.tee is not True:
        return NO_TEE
    nonce = secrets.token_hex(32)
    fetcher = Fetcher(agent, reactor, TIMEOUT_SECONDS, MAX_BYTES)
    try:
        answer = await fetcher.ask(evidence_url(base, model, nonce))
    except FetchError as error:
        if error.outcome in (NETWORK, TIMEOUT):
            raise CommandError(f"the evidence could not be fetched: {error}") from None
        return read_failure(error)
    return read_answer(answer, nonce, keys=keys)


def in_json(model: Model, finding: Finding) -> dict[str, object]:
    """Return the result as the JSON object of ``--json``."""
    return {
        "model": model.name,
        "chute_id": model.chute_id,
        "state": finding.state,
        "reason": finding.reason,
        "instances": finding.instances,
        "failed": finding.failed,
        "gpus": finding.gpus,
        "certificate_bound": finding.certificate_bound,
        "nonces_bound": finding.nonces_bound,
        "checked": list(_checked(finding)),
        "not_checked": list(_not_checked(finding)),
    }


def show(console: Console, model: Model, finding: Finding) -> None:
    """Print the result as text: the state first, then its details."""
    look = "good" if finding.state is EvidenceState.PRESENT else "bad"
    lines = [f"{printable(model.name)}: {console.painted(str(finding), look)}"]
    if finding.instances or finding.failed:
        lines.append(
            f"  instances    {finding.instances} answered, {finding.failed} failed,"
            f" evidence of {finding.gpus} GPUs"
        )
    for title, checks in (("checked", _checked(finding)), ("not checked", _not_checked(finding))):
        for place, check in enumerate(checks):
            lines.append(f"  {title if not place else '':<13}{check}")
    console.say(*lines)


def _checked(finding: Finding) -> Iterator[str]:
    """Yield the checks that passed."""
    if not finding.instances or finding.reason in _NOT_QUOTES:
        return
    yield "each quote is a complete TDX quote, version 4, with the platform's attributes"
    if finding.certificate_bound:
        yield "each TLS certificate has the public key that its quote names"
    if finding.nonces_bound:
        yield f"the nonce is in {finding.nonces_bound} of {finding.instances} quotes"


def _not_checked(finding: Finding) -> Iterator[str]:
    """Yield what this command never checks, and what it could not check this time."""
    if not finding.instances:
        return
    yield from _NEVER_CHECKED
    if finding.certificate_bound is None:
        yield "TLS certificates: not every instance sent a readable one"
    if finding.nonces_bound < finding.instances:
        yield "the nonce in the quotes of instances whose e2e public key is unknown"
