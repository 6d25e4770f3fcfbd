"""Show what the router would do with a request: its candidates, their order and the exclusions.

The request is the one in --body, or a minimal one; MODEL_SELECTOR replaces its model. The router's
own code parses and plans it, with the settings of this environment and either the feeds (fetched or
saved) or the state of a running router (--router). A router does not publish what it remembers of a
conversation: --remembered gives the model that it had, and shows whether it stays.

With --json the output is one object: "outcome" (candidates or refused), "mode", "order", "alias_by"
(ALIASES or UNKNOWN_MODELS, if that leaves the name to the router's choice), "route" (name and
filters, or null), "private" (header, model or setting, by which it is in private mode, or null),
"needs", "tee_only", "conversation" (told_by; with --remembered affinity and
affinity_why, as in records; null for a direct name), "candidates" (name, why, tried, and if known:
score, cooling, first_content_seconds, tokens_per_second), "dropped" (name, cause: unknown,
not_confidential, lacks or filtered; and the needs, or the filters of a route),
"limits" (max_attempts, commit, failover_policy, failover_after_ms, plain_failover_after_ms),
"error" (status, code and message, or null), "not_eligible" (reasons and counts).

Exit status: 0 with candidates, 1 if the request would be refused, 2 if the inputs could not be
read.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from autopilot.cli.console import CommandError, Console, add_output_arguments, console_of
from autopilot.cli.explain_data import explain, in_json
from autopilot.cli.explain_text import show
from autopilot.cli.platform import add_env_file_argument, platform_settings, verified_agent
from autopilot.cli.platform_feeds import SavedFiles, add_feed_arguments, feed_options, load_feeds
from autopilot.cli.router import PlanInputs, Router, router_url
from autopilot.http.headers import Named, by_name
from autopilot.request.parse import parse_request
from autopilot.routing.catalog import EMPTY
from autopilot.routing.names import catalog_name
from autopilot.routing.plan import Plan
from autopilot.routing.routing_state import RoutingState
from autopilot.settings import Settings

NAME = "explain"
HELP = "show the candidates of a request, their order, and which models are left out and why"
EXAMPLES = """\
  autopilot explain chutesai/AutoPilot
  autopilot explain org/model-a,org/model-b:latency --router http://127.0.0.1:8081
  autopilot explain chutesai/AutoPilot --body request.json --header 'X-TEE-Only: true'
  autopilot explain chutesai/AutoPilot --models models.json --utilization load.json --json
"""

_SETTINGS: Final = (
    "UTILIZATION_URL",
    "ALIASES",
    "UNKNOWN_MODELS",
    "ROUTES_FILE",
    "FALLBACKS_FILE",
    "MAX_MODEL_LIST_ITEMS",
    "REQUIRE_TEE",
    "PRIVATE",
    "PRIVATE_MAX_INSTANCES",
    "FAILOVER_POLICY",
    "FAILOVER_AFTER_MS",
    "PLAIN_FAILOVER_AFTER_MS",
    "COMMIT",
    "COMMIT_MAX_BYTES",
    "MAX_ATTEMPTS",
    "MAX_REQUEST_BYTES",
    "STICKY_TTL_SECS",
    "STICKY_SCOPE",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "selector",
        metavar="MODEL_SELECTOR",
        nargs="?",
        help="the value of the request's 'model' [that of the body]",
    )
    parser.add_argument(
        "--body", metavar="FILE", help="the request's JSON body; - is standard input"
    )
    parser.add_argument(
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="a header field of the request: X-TEE-Only, X-Autopilot-Private, X-Autopilot-Commit,"
        " X-Autopilot-Affinity and those that name a session matter; repeatable",
    )
    parser.add_argument(
        "--remembered", metavar="MODEL", help="the model that answered this conversation before"
    )
    parser.add_argument(
        "--all", action="store_true", help="also show the candidates beyond MAX_ATTEMPTS"
    )
    parser.add_argument(
        "--router",
        metavar="URL",
        help="use the state of the running router with this address of /status (ADMIN_LISTEN_ADDR)",
    )
    add_feed_arguments(parser)
    add_env_file_argument(parser)
    add_output_arguments(parser)


async def run(reactor: Any, given: argparse.Namespace) -> int:
    """Plan the request, print the plan, and return the exit status. Raises `CommandError`."""
    # Importing the relay takes long enough to notice, so other sub-commands do without it.
    from autopilot.wiring.mapping import relay

    saved = SavedFiles(given, "body", "models", "utilization")
    named = _fields(given.header)
    settings = platform_settings(feed_options(given), *_SETTINGS, path=given.env_file)
    config = relay(settings)
    request = parse_request(named, _body(saved["body"], given.selector), config.parsing)
    console = console_of(given)
    inputs, not_eligible = await _inputs(reactor, given, settings, saved, console)
    if given.remembered is not None:
        inputs = _with_remembered(inputs, given.remembered)
    explained = explain(request, named, inputs, not_eligible, settings, config)
    if given.json:
        console.say_json(in_json(explained))
    else:
        show(console, explained, every_candidate=given.all)
    return 0 if isinstance(explained.outcome, Plan) else 1


def _fields(headers: Sequence[str]) -> Named:
    """Parse the ``--header`` arguments. Raises `CommandError`."""
    fields = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise CommandError("--header: write it as 'Name: value'")
        try:
            fields.append((name.strip().encode("ascii"), value.strip().encode("latin-1")))
        except UnicodeEncodeError:
            raise CommandError(
                "--header: contains characters that a header field cannot hold"
            ) from None
    return by_name(fields)


def _body(body: bytes | None, selector: str | None) -> bytes:
    """Return the body of the request. Raises `CommandError`."""
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
        return body  # the router's parser reports what is wrong with it
    return msgspec.json.encode({**members, "model": selector})


def _with_remembered(inputs: PlanInputs, model: str) -> PlanInputs:
    """Return the inputs of a conversation that ``model`` answered before."""
    name = catalog_name(model, inputs.snapshot.catalog or EMPTY)
    return replace(inputs, state=msgspec.structs.replace(inputs.state, remembered=name))


async def _inputs(
    reactor: Any, given: argparse.Namespace, settings: Settings, saved: SavedFiles, console: Console
) -> tuple[PlanInputs, Mapping[str, int]]:
    """Return the inputs of the plan, and the number of ineligible records by reason."""
    url = None if given.router is None else router_url(given.router)
    if url is not None and (given.models or given.utilization):
        raise CommandError("--router excludes --models and --utilization")
    agent = verified_agent(reactor, settings)
    if url is not None:
        console.progress("fetching the router's state …")
        timeout = settings.control_plane_timeout_ms / 1000
        inputs = await Router(agent, reactor, url, timeout).plan_inputs(settings.models_url)
        return inputs, {}
    feeds = await load_feeds(agent, reactor, settings, saved, console)
    counts = Counter(each.reason.value for each in feeds.excluded)
    return PlanInputs(feeds.snapshot, RoutingState()), counts
