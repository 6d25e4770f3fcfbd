"""Say what the router would do with a request: which candidates, in which order, what is left out.

The request is the one in --body, or a plain one; MODEL_SELECTOR takes the place of its model. It is
read and planned by the router's own code, from the feeds (fetched, or saved files) or from what a
running router knows (--router), and by the settings of this environment. What a router remembers
of a single client it tells nobody: with stickiness that client's last model may come first.

With --json the output is one object: "outcome" (candidates or refused), "mode", "order", "needs",
"tee_only", "candidates" (name, tried, and what is known: score, cooling, first_content_seconds,
tokens_per_second), "dropped" (name, cause: unknown, not_confidential or lacks; and the needs),
"limits" (max_attempts, commit, failover_policy, failover_after_ms), "error" (status, code and
message, or null), "not_eligible" (reasons and counts).

Exit status: 0 with candidates, 1 if the request would be refused, 2 if it could not be found out.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from autopilot.cli.console import Console, add_output_arguments, console_of
from autopilot.cli.error import CommandError
from autopilot.cli.explain_data import explain, in_json
from autopilot.cli.explain_text import show
from autopilot.cli.platform import platform_settings, verified_agent
from autopilot.cli.platform_feeds import Saved, add_feed_arguments, feed_options, know
from autopilot.cli.router import Known, Router, router_url
from autopilot.http.fields import Named, by_name
from autopilot.request.parse import read
from autopilot.routing.plan import Plan, RoutingState
from autopilot.settings import Settings

NAME = "explain"
HELP = "what the router would do with a request: candidates, order, and what is left out and why"
EXAMPLES = """\
  autopilot explain chutesai/AutoPilot
  autopilot explain org/model-a,org/model-b:latency --router http://127.0.0.1:8080
  autopilot explain chutesai/AutoPilot --body request.json --header 'X-TEE-Only: true'
  autopilot explain chutesai/AutoPilot --models models.json --utilization load.json --json
"""

_SETTINGS: Final = (
    "UTILIZATION_URL",
    "ALIASES",
    "UNKNOWN_MODELS",
    "MAX_MODEL_LIST_ITEMS",
    "REQUIRE_TEE",
    "FAILOVER_POLICY",
    "FAILOVER_AFTER_MS",
    "COMMIT",
    "COMMIT_MAX_BYTES",
    "MAX_ATTEMPTS",
    "MAX_REQUEST_BYTES",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "selector",
        metavar="MODEL_SELECTOR",
        nargs="?",
        help="what a client would write in 'model' [that of the body]",
    )
    parser.add_argument("--body", metavar="FILE", help="the request's JSON body; - is the input")
    parser.add_argument(
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="a header field of the request: X-TEE-Only and X-Autopilot-Commit matter; repeatable",
    )
    parser.add_argument("--all", action="store_true", help="show candidates never reached, too")
    parser.add_argument("--router", metavar="URL", help="ask this running router what it knows")
    add_feed_arguments(parser)
    add_output_arguments(parser)


async def run(reactor: Any, given: argparse.Namespace) -> int:
    """Plan the request, and print what came of it; the exit status. Raises `CommandError`."""
    from autopilot.wiring.mapping import admission  # late, because it takes its time

    saved = Saved(given, "body", "models", "utilization")
    named = _fields(given.header)
    settings = platform_settings(feed_options(given), *_SETTINGS)
    admitted = admission(settings)
    reading = read(named, _body(saved["body"], given.selector), admitted)
    console = console_of(given)
    known, not_eligible = await _known(reactor, given, settings, saved, console)
    explained = explain(reading, known, not_eligible, settings, admitted.rules)
    if given.json:
        console.say_json(in_json(explained))
    else:
        show(console, explained, every_candidate=given.all)
    return 0 if isinstance(explained.outcome, Plan) else 1


def _fields(headers: Sequence[str]) -> Named:
    """The header fields. Raises `CommandError`."""
    fields = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise CommandError("--header: write it as 'Name: value'")
        try:
            fields.append((name.strip().encode("ascii"), value.strip().encode("latin-1")))
        except UnicodeEncodeError:
            raise CommandError("--header: no header field can hold these characters") from None
    return by_name(fields)


def _body(body: bytes | None, selector: str | None) -> bytes:
    """The body of the request. Raises `CommandError`."""
    if selector is None:
        if body is None:
            raise CommandError("name a MODEL_SELECTOR, or give a request with --body")
        return body
    try:
        selector.encode()
    except UnicodeEncodeError:
        raise CommandError("MODEL_SELECTOR is not valid Unicode text") from None
    if body is None:
        return msgspec.json.encode({"model": selector})
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body  # the router will say what is wrong with it
    return msgspec.json.encode({**members, "model": selector})


async def _known(
    reactor: Any, given: argparse.Namespace, settings: Settings, saved: Saved, console: Console
) -> tuple[Known, Mapping[str, int]]:
    """What there is to decide by, and how many records of the feeds are not eligible."""
    url = None if given.router is None else router_url(given.router)
    if url is not None and (given.models or given.utilization):
        raise CommandError("--router and saved feeds exclude each other")
    agent = verified_agent(reactor, settings)
    if url is not None:
        console.progress("asking the router …")
        timeout = settings.control_plane_timeout_ms / 1000
        known = await Router(agent, reactor, url, timeout).known(settings.models_url)
        return known, {}
    feeds = await know(agent, reactor, settings, saved, console)
    counts = Counter(each.reason.value for each in feeds.excluded)
    return Known(feeds.snapshot, RoutingState()), counts
