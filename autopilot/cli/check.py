"""Check what a router needs: one verdict a line, and what to do where it is bad.

config: every setting is good; the ones that are set are named with where they come from. dns, tcp,
tls: each server of the settings is found, reached and trusted. feed: both feeds can be read, and
how old their numbers are. key: the platform takes CHUTES_API_KEY, if that is set; it is sent to the
API_BASE_URL only, and never shown. router: a running one (--router) is healthy and ready.

With --json the output is one object: "ok", "checks" (each with check, subject, state: ok, warn,
fail or skip, and detail) and "settings" (each with name, value, origin; secrets hidden).

Exit status: 0 if nothing failed, 1 if something did, 2 for bad input.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, Final

from twisted.web.iweb import IAgent

from autopilot.cli.check_config import Configuration, configuration
from autopilot.cli.check_feeds import check_feeds
from autopilot.cli.check_key import check_key
from autopilot.cli.check_network import check_network
from autopilot.cli.check_router import check_router
from autopilot.cli.console import Console, add_output_arguments, console_of
from autopilot.cli.error import CommandError
from autopilot.cli.platform import verified_agent
from autopilot.cli.router import router_url
from autopilot.cli.verdict import State, Verdict
from autopilot.routing.suggest import printable
from autopilot.settings import Settings

NAME = "check"
HELP = "whether settings, names, certificates, feeds and key are good; non-zero if one is not"
EXAMPLES = """\
  autopilot check                                   everything but a running router
  autopilot check --router http://127.0.0.1:8080    that too
  autopilot check --only config                     the settings, without the network
  autopilot check --json | jq -r '.checks[] | select(.state == "fail")'
"""

GROUPS: Final = ("config", "network", "feeds", "key", "router")
_LOOKS: Final = {
    State.OK: "good",
    State.WARN: "doubt",
    State.FAIL: "bad",
    State.SKIP: "faint",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--only", action="append", choices=GROUPS, help="check only this; repeatable"
    )
    parser.add_argument("--router", metavar="URL", help="check this running router, too")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=10.0,
        help="how long each single check may take [10]",
    )
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
    """Check, and print each verdict as soon as it is there; the exit status."""
    url = None if given.router is None else router_url(given.router)
    groups = given.only or GROUPS
    if "router" in groups and given.only and url is None:
        raise CommandError("--only router needs --router URL")
    console = console_of(given)
    found = configuration(os.environ)
    verdicts: list[Verdict] = []
    async for verdict in _checks(reactor, given.timeout, groups, found, url, console):
        verdicts.append(verdict)
        if not given.json:
            _say(console, verdict)
    good = all(each.state is not State.FAIL for each in verdicts)
    if given.json:
        console.say_json(in_json(good, verdicts, found))
    return 0 if good else 1


async def _checks(
    reactor: Any,
    timeout: float,
    groups: Collection[str],
    found: Configuration,
    router: str | None,
    console: Console,
) -> AsyncIterator[Verdict]:
    """All verdicts, in an order in which the first bad one is the likeliest cause of the others."""
    if "config" in groups:
        for verdict in found.verdicts:
            yield verdict
    if found.settings is None:
        yield Verdict("config", "", State.SKIP, "nothing else can be checked before this is good")
        return
    try:
        agent = verified_agent(reactor, found.settings)
    except CommandError as error:
        yield Verdict("config", "", State.FAIL, str(error))
        return
    if "network" in groups:
        network = check_network(reactor, found.settings, timeout, time.time, console.progress)
        async for verdict in network:
            yield verdict
    asking = _Asking(agent, reactor, found.settings, timeout, router)
    for group, what, ask in asking.questions:
        if group in groups and not (group == "router" and router is None):
            console.progress(what)
            for verdict in await ask():
                yield verdict


class _Asking:
    """The checks that ask over HTTP."""

    def __init__(
        self, agent: IAgent, reactor: Any, settings: Settings, timeout: float, router: str | None
    ) -> None:
        self._asked = agent, reactor
        self._settings = settings
        self._timeout = timeout
        self._router = router
        self.questions = (
            ("feeds", "fetching the feeds …", self._feeds),
            ("key", "asking whose key it is …", self._key),
            ("router", "asking the router …", self._running),
        )

    async def _feeds(self) -> Sequence[Verdict]:
        return await check_feeds(*self._asked, self._settings, self._timeout, time.time)

    async def _key(self) -> Sequence[Verdict]:
        key = os.environ.get("CHUTES_API_KEY", "")
        return [await check_key(*self._asked, self._settings.api_base_url, key, self._timeout)]

    async def _running(self) -> Sequence[Verdict]:
        assert self._router is not None
        return await check_router(*self._asked, self._router, self._timeout)


def _say(console: Console, verdict: Verdict) -> None:
    state = console.painted(f"{verdict.state:<4}", _LOOKS[verdict.state])
    subject = f"{printable(verdict.subject)}: " if verdict.subject else ""
    console.say(f"{state}  {verdict.check:<6}  {subject}{printable(verdict.detail)}")


def in_json(good: bool, verdicts: list[Verdict], found: Configuration) -> dict[str, object]:
    """The result for programs."""
    return {
        "ok": good,
        "checks": [
            {
                "check": each.check,
                "subject": each.subject,
                "state": each.state,
                "detail": each.detail,
            }
            for each in verdicts
        ],
        "settings": [
            {"name": name, "value": value, "origin": origin}
            for name, value, origin in found.effective
        ],
    }
