"""Check everything that a router needs, one result a line; below a failure, what to do.

config: every setting is valid, and no base URL leads to the router itself; lists the settings that
are set, and their sources. dns, tcp, tls: each configured server resolves, accepts connections and
has a trusted certificate. store: the store of STATE_URL, if it is set, accepts connections, the
password and a write. feed: both feeds can be read; shows the age of their numbers. key: the
platform accepts CHUTES_API_KEY, if it is set; the key is sent to API_BASE_URL only, and never
shown. private: unless PRIVATE is off, its packages are there, Intel's data and the measurements can
be fetched, and the clock is right. router: the router at --router is healthy and ready.

With --json the output is one object: "ok", "checks" (each with check, subject, state: ok, warn,
fail or skip, detail and remedy) and "settings" (each with name, value, origin; secrets hidden).

Exit status: 0 if no check failed, 1 if one did, 2 for invalid input.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, Final

from twisted.web.iweb import IAgent

from autopilot.cli import remedies
from autopilot.cli.check_config import Configuration, configuration
from autopilot.cli.check_feeds import check_feeds
from autopilot.cli.check_key import check_key
from autopilot.cli.check_network import check_network
from autopilot.cli.check_private import check_private
from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.cli.check_router import check_router
from autopilot.cli.check_store import check_store
from autopilot.cli.console import CommandError, Console, add_output_arguments, console_of
from autopilot.cli.platform import add_env_file_argument, verified_agent
from autopilot.cli.router import router_url
from autopilot.routing.suggest import printable
from autopilot.settings import Settings

NAME = "check"
HELP = "check settings, host names, certificates, feeds and the API key"
EXAMPLES = """\
  autopilot check                                         everything except a running router
  autopilot check --router http://127.0.0.1:8080          everything and this router
  autopilot check --only config                           only the settings; uses no network
  autopilot check --env-file /etc/chutes-autopilot/env    with the file of the service
  autopilot check --json | jq -r '.checks[] | select(.state == "fail")'
"""

GROUPS: Final = ("config", "network", "store", "feeds", "key", "private", "router")
_LOOKS: Final = {
    CheckState.OK: "good",
    CheckState.WARN: "doubt",
    CheckState.FAIL: "bad",
    CheckState.SKIP: "faint",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--only", action="append", choices=GROUPS, help="check only this group; repeatable"
    )
    parser.add_argument("--router", metavar="URL", help="also check this running router")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=10.0,
        help="time limit of each single check [10]",
    )
    add_env_file_argument(parser)
    add_output_arguments(parser)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("not a number of seconds from 0 to 3600")
    return seconds


async def run(reactor: Any, given: argparse.Namespace) -> int:
    """Run the checks, print each result as it arrives, and return the exit status."""
    url = None if given.router is None else router_url(given.router)
    groups = given.only or GROUPS
    if "router" in groups and given.only and url is None:
        raise CommandError("--only router needs --router URL")
    console = console_of(given)
    found = configuration(os.environ, given.env_file)
    results: list[CheckResult] = []
    async for result in _checks(reactor, given.timeout, groups, found, url, console):
        results.append(result)
        if not given.json:
            _say(console, result)
    good = all(each.state is not CheckState.FAIL for each in results)
    if given.json:
        console.say_json(in_json(good, results, found))
    return 0 if good else 1


async def _checks(
    reactor: Any,
    timeout: float,
    groups: Collection[str],
    found: Configuration,
    router: str | None,
    console: Console,
) -> AsyncIterator[CheckResult]:
    """Yield all results, causes before effects: the first failure likely explains the others."""
    for result in found.results:
        # What keeps the other checks from running is shown, whichever were asked for.
        if "config" in groups or (found.settings is None and result.state is CheckState.FAIL):
            yield result
    if found.settings is None:
        yield CheckResult("config", "", CheckState.SKIP, "the other checks need valid settings")
        return
    try:
        agent = verified_agent(reactor, found.settings)
    except CommandError as error:
        yield CheckResult("config", "", CheckState.FAIL, str(error), remedies.CA_FILE)
        return
    if "network" in groups:
        network = check_network(reactor, found.settings, timeout, time.time, console.progress)
        async for result in network:
            yield result
    checks = _LaterChecks(agent, reactor, found.settings, timeout, router)
    for group, step, check in checks.by_group:
        if group in groups and not (group == "router" and router is None):
            console.progress(step)
            for result in await check():
                yield result


class _LaterChecks:
    """The checks that use what the earlier ones tried: the store's, and those over HTTP."""

    def __init__(
        self, agent: IAgent, reactor: Any, settings: Settings, timeout: float, router: str | None
    ) -> None:
        self._client = agent, reactor
        self._settings = settings
        self._timeout = timeout
        self._router = router
        self.by_group = (
            ("store", "connecting to the store …", self._store),
            ("feeds", "fetching the feeds …", self._feeds),
            ("key", "checking the API key …", self._key),
            ("private", "checking private mode …", self._private),
            ("router", "checking the router …", self._running),
        )

    async def _store(self) -> Sequence[CheckResult]:
        _, reactor = self._client
        return await check_store(reactor, self._settings, self._timeout)

    async def _feeds(self) -> Sequence[CheckResult]:
        return await check_feeds(*self._client, self._settings, self._timeout, time.time)

    async def _key(self) -> Sequence[CheckResult]:
        key = os.environ.get("CHUTES_API_KEY", "")
        return [await check_key(*self._client, self._settings.api_base_url, key, self._timeout)]

    async def _private(self) -> Sequence[CheckResult]:
        return await check_private(*self._client, self._settings, self._timeout, time.time)

    async def _running(self) -> Sequence[CheckResult]:
        assert self._router is not None
        return await check_router(*self._client, self._router, self._timeout)


def _say(console: Console, result: CheckResult) -> None:
    state = console.painted(f"{result.state:<4}", _LOOKS[result.state])
    subject = f"{printable(result.subject)}: " if result.subject else ""
    console.say(f"{state}  {result.check:<7}  {subject}{printable(result.detail)}")
    if result.remedy:
        console.say(f"{'':15}{printable(result.remedy)}")


def in_json(good: bool, results: list[CheckResult], found: Configuration) -> dict[str, object]:
    """Return the result as the JSON object of ``--json``."""
    return {
        "ok": good,
        "checks": [
            {
                "check": each.check,
                "subject": each.subject,
                "state": each.state,
                "detail": each.detail,
                "remedy": each.remedy,
            }
            for each in results
        ],
        "settings": [
            {"name": each.name, "value": each.value, "origin": each.origin}
            for each in found.effective
        ],
    }
