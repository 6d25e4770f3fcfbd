"""Show the models behind the alias, best first, with the terms of each score.

score = free instances + bonus for instances that may start - penalty for rate-limited requests;
"busy" is the share of slots in use, "429" the share of rate-limited requests, "inst" the number of
active instances. Without --router the ranking is computed here from both feeds; with it, it is the
one that this router uses now.

With --json the output is one object: "ranking" (best first, each with the terms of its score and
its catalog entry's limits), "not_eligible" (name and reason: private, no_instances,
not_in_catalog, no_catalog or superseded), "not_in_utilization" (names), "catalog" and "utilization"
(the number of records read, and of those rejected as unreadable). With --router it is "ranking",
"cooling" (names) and "not_ranked" (names in the router's catalog).

Exit status: 0, 1 if no model is eligible, 2 if the feeds or the router could not be read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from autopilot.cli.console import CommandError, Console, add_output_arguments, console_of
from autopilot.cli.platform import add_env_file_argument, platform_settings, verified_agent
from autopilot.cli.platform_feeds import (
    FeedData,
    SavedFiles,
    add_feed_arguments,
    feed_options,
    load_feeds,
)
from autopilot.cli.router import PlanInputs, Router, router_url
from autopilot.cli.terminal import TextColumn
from autopilot.routing.catalog import Catalog
from autopilot.routing.ranking import Exclusion, Ranked
from autopilot.routing.suggest import printable

NAME = "rank"
HELP = "show which model the alias chooses now, and why: the ranking with each score's terms"
EXAMPLES = """\
  autopilot rank                      fetch both feeds and show the ranking
  autopilot rank --top 5 --all        the best five, and the name of every model left out
  autopilot rank --router http://127.0.0.1:8081   the ranking of this running router
  autopilot rank --json | jq -r '.ranking[0].name'
  curl -s $MODELS_URL | autopilot rank --models - --utilization saved.json
"""

_REASONS: Final = {
    Exclusion.PRIVATE: "private chutes",
    Exclusion.NO_INSTANCES: "no active instance",
    Exclusion.NOT_IN_CATALOG: "not in the catalog",
    Exclusion.NO_CATALOG: "no catalog, and the name does not end in -TEE",
    Exclusion.SUPERSEDED: "superseded by another record of the same model",
}
_NAMED: Final = 4
COLUMNS: Final = (
    TextColumn("#", right=True),
    TextColumn("model", shrinks=True),
    TextColumn("score", right=True),
    TextColumn("free", right=True),
    TextColumn("bonus", right=True),
    TextColumn("penalty", right=True),
    TextColumn("busy", right=True),
    TextColumn("429", right=True),
    TextColumn("inst", right=True),
    TextColumn("TEE"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--top", metavar="N", type=_positive, help="show only the first N models [all]"
    )
    parser.add_argument("--all", action="store_true", help="name every model that is left out")
    parser.add_argument(
        "--router",
        metavar="URL",
        help="show the ranking of the running router with this address of /status"
        " (ADMIN_LISTEN_ADDR)",
    )
    add_feed_arguments(parser)
    add_env_file_argument(parser)
    add_output_arguments(parser)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("not a whole number of at least 1")
    return int(text)


async def run(reactor: Any, given: argparse.Namespace) -> int:
    """Print the ranking and return the exit status. Raises `CommandError`."""
    if given.router is not None:
        return await _of_router(reactor, given)
    saved = SavedFiles(given, "models", "utilization")
    console = console_of(given)
    settings = platform_settings(feed_options(given), "UTILIZATION_URL", path=given.env_file)
    known = await load_feeds(verified_agent(reactor, settings), reactor, settings, saved, console)
    if given.json:
        console.say_json(in_json(known, given.top))
    else:
        show(console, known, given.top, every_name=given.all)
    return 0 if known.ranking else 1


async def _of_router(reactor: Any, given: argparse.Namespace) -> int:
    """Print the ranking of a running router and return the exit status. Raises `CommandError`."""
    url = router_url(given.router)
    if given.models or given.utilization or given.utilization_url:
        raise CommandError("--router excludes --models, --utilization and --utilization-url")
    console = console_of(given)
    settings = platform_settings({"MODELS_URL": given.models_url}, path=given.env_file)
    agent = verified_agent(reactor, settings)
    console.progress("fetching the router's state …")
    timeout = settings.control_plane_timeout_ms / 1000
    seen = await Router(agent, reactor, url, timeout).plan_inputs(settings.models_url)
    if given.json:
        console.say_json(router_in_json(seen, given.top))
    else:
        show_router(console, seen, given.top, every_name=given.all)
    return 0 if seen.snapshot.ranking else 1


def router_in_json(seen: PlanInputs, top: int | None) -> dict[str, object]:
    """Return a router's ranking as the JSON object of ``--json``."""
    return {
        "ranking": _ranking_in_json(seen.snapshot.ranking[:top], _catalog(seen)),
        "cooling": sorted(seen.state.cooling),
        "not_ranked": _not_ranked(seen),
    }


def _not_ranked(seen: PlanInputs) -> Sequence[str]:
    """Return the models of the catalog without a place; a router does not publish the reason."""
    ranked = {each.name for each in seen.snapshot.ranking}
    return [name for name in _catalog(seen).models if name not in ranked]


def _catalog(seen: PlanInputs) -> Catalog:
    return seen.snapshot.catalog or Catalog.of(())


def show_router(console: Console, seen: PlanInputs, top: int | None, *, every_name: bool) -> None:
    """Print a router's ranking as text."""
    _show_ranking(console, seen.snapshot.ranking, _catalog(seen), top)
    for what, names in (
        ("Cooling down, tried last", sorted(seen.state.cooling)),
        ("Not ranked", _not_ranked(seen)),
    ):
        if names:
            console.say(f"{what}: {len(names)}: {_listed(names, every_name)}")


def in_json(known: FeedData, top: int | None) -> dict[str, object]:
    """Return the result as the JSON object of ``--json``."""
    return {
        "ranking": _ranking_in_json(known.ranking[:top], known.catalog),
        "not_eligible": [{"name": each.name, "reason": each.reason} for each in known.excluded],
        "not_in_utilization": list(known.without_utilization),
        "catalog": {"models": len(known.catalog), "rejected": known.catalog_rejected},
        "utilization": {"records": len(known.loads), "rejected": known.utilization_rejected},
    }


def _ranking_in_json(ranking: Sequence[Ranked], catalog: Catalog) -> Sequence[object]:
    return [
        {"rank": place, **asdict(each), **_of_catalog(each.name, catalog)}
        for place, each in enumerate(ranking, 1)
    ]


def _of_catalog(name: str, catalog: Catalog) -> dict[str, object]:
    model = catalog.models.get(name)
    return {
        "confidential_compute": model and model.tee,
        "context_length": model and model.context_length,
        "max_output_length": model and model.max_output_length,
    }


def show(console: Console, known: FeedData, top: int | None, *, every_name: bool) -> None:
    """Print the result as text."""
    _show_ranking(console, known.ranking, known.catalog, top)
    for line in _left_out(known, every_name):
        console.say(line)
    for what, rejected in (
        ("catalog", known.catalog_rejected),
        ("utilization feed", known.utilization_rejected),
    ):
        if rejected:
            note = f"{rejected} unreadable records of the {what} were skipped."
            console.say(console.painted(note, "doubt"))


def _show_ranking(
    console: Console, ranking: Sequence[Ranked], catalog: Catalog, top: int | None
) -> None:
    if ranking:
        rows = (score_row(place, each, catalog) for place, each in enumerate(ranking[:top], 1))
        console.say_table(COLUMNS, rows)
    else:
        console.say(console.painted("No model can be chosen.", "bad"))
    hidden = len(ranking) - len(ranking[:top])
    if hidden:
        console.say(console.painted(f"and {hidden} more", "faint"))


def score_row(place: int, ranked: Ranked, catalog: Catalog) -> Sequence[str]:
    """Return one row of the ranking's table."""
    model = catalog.models.get(ranked.name)
    tee = None if model is None else model.tee
    return (
        str(place),
        ranked.name,
        f"{ranked.score:.2f}",
        f"{ranked.free:.2f}",
        f"{ranked.bonus:.2f}",
        f"{ranked.penalty:.2f}",
        f"{ranked.util:.0%}",
        f"{ranked.rate_limit:.0%}",
        str(ranked.active_instance_count),
        "?" if tee is None else ("yes" if tee else "no"),
    )


def _left_out(known: FeedData, every_name: bool) -> Iterator[str]:
    """Yield a line for each reason why models are not ranked.

    Private chutes are only counted: the feed replaces their names by a placeholder.
    """
    by_reason: dict[str, list[str]] = {}
    for each in known.excluded:
        by_reason.setdefault(_REASONS[each.reason], []).append(each.name)
    by_reason["not in the utilization feed"] = list(known.without_utilization)
    total = sum(map(len, by_reason.values()))
    if total:
        yield f"Not eligible: {total}"
    for reason, names in by_reason.items():
        if not names:
            continue
        line = f"  {len(names):>4}  {reason}"
        if reason != _REASONS[Exclusion.PRIVATE]:
            line += f": {_listed(names, every_name)}"
        yield line


def _listed(names: Sequence[str], every_name: bool) -> str:
    """Return the names, or the first few of them."""
    named = names if every_name else names[:_NAMED]
    more = ", …" if len(named) < len(names) else ""
    return f"{', '.join(map(printable, named))}{more}"
