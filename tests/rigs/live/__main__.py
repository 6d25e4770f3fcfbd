"""`python -m tests.rigs.live`: runs the live check, or prints its plan if there is no key."""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.rigs.live.command import parse
from tests.rigs.live.key import VARIABLE, Key, NotAKeyError, take_key
from tests.rigs.live.private_facts import private_plan
from tests.rigs.live.report import plan

if TYPE_CHECKING:
    from tests.rigs.live.run import Options


def main(arguments: list[str]) -> int:
    """Run the check or print the plan; return the exit status."""
    options, dry_run = parse(arguments)
    try:
        key = take_key(os.environ)
    except NotAKeyError as problem:
        print(problem, file=sys.stderr)
        return 2
    if key is not None and not dry_run:
        return _play(options, key)
    print(private_plan(options.pace) if options.private else plan(options.checks, options.pace))
    if key is None:
        print(f"{VARIABLE} is not set: nothing was sent")
    return 0


def _play(options: Options, key: Key) -> int:
    """Run the check.

    Twisted is imported only here, because the plan needs no reactor.
    """
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    from tests.rigs.live.private_run import PrivateRun
    from tests.rigs.live.run import LiveRun

    status = 1

    async def live(reactor: Any) -> None:
        nonlocal status
        if options.private:
            status = await PrivateRun(
                reactor,
                options.bases,
                key,
                _say,
                pace=options.pace,
                seconds=options.seconds,
                logs=options.logs,
                roots=options.roots,
            ).run()
        else:
            status = await LiveRun(reactor, options, key, _say).run()

    def main_function(reactor: Any) -> Deferred[None]:
        coroutine: Coroutine[Any, Any, None] = live(reactor)
        return Deferred.fromCoroutine(coroutine)

    with suppress(SystemExit):
        react(main_function)
    return status


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
