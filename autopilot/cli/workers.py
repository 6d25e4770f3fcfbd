"""Restart the workers of a router that runs on this machine.

A new process is started for each worker, one after the other; the old one ends after its last
response. No request is refused or cut. The router is found by its operators' port, and its parent
process gets SIGUSR2, so run this as the router's user or as root, in the same container if it is in
one. Settings that need a restart, and a new version, take effect only with a restart of the whole
router.

Exit status: 0 if the restart has begun, 1 if the router has no workers, 2 invalid input or no
router to ask.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.web.iweb import IAgent

from autopilot.cli.console import CommandError, Console
from autopilot.cli.platform import add_env_file_argument, platform_settings, verified_agent
from autopilot.cli.router import router_url
from autopilot.http.fetch import Fetcher
from autopilot.http.fetch_error import FetchError

NAME: Final = "workers"
HELP: Final = "restart the workers of a router, one after the other"
EXAMPLES: Final = """\
  autopilot workers restart
  autopilot workers restart --router http://127.0.0.1:9081
"""

NO_WORKERS: Final = 1
"""The exit status if the router is a single process."""

_DEFAULT: Final = "http://127.0.0.1:8081"
_TIMEOUT: Final = 10.0
_MODULE: Final = b"autopilot.service.worker"
_ELSEWHERE: Final = (
    "the router's workers are not processes of this machine; run the command where the router runs,"
    " in the same container if it is in one"
)


class _Process(msgspec.Struct):
    """A worker's process."""

    pid: int


class _Workers(msgspec.Struct):
    """The workers of a router."""

    processes: list[_Process]


class _Status(msgspec.Struct):
    """What is read of /status.json."""

    workers: _Workers | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=("restart",), help="what to do")
    parser.add_argument(
        "--router",
        metavar="URL",
        default=_DEFAULT,
        help=f"the address of the router's /status page [{_DEFAULT}]",
    )
    add_env_file_argument(parser)


async def run(reactor: Any, given: argparse.Namespace) -> int:
    """Restart, and return the exit status. Raises `CommandError`."""
    settings = platform_settings({}, path=given.env_file)
    agent = verified_agent(reactor, settings)
    workers = (await _status(agent, reactor, router_url(given.router))).workers
    console = Console()
    if workers is None:
        console.say("The router is a single process, without workers; WORKERS sets their number.")
        return NO_WORKERS
    if not workers.processes:
        raise CommandError("none of the router's workers runs; look at its log")
    parent = parent_of([each.pid for each in workers.processes])
    try:
        os.kill(parent, signal.SIGUSR2)
    except PermissionError:
        raise CommandError(
            f"this user may not send a signal to process {parent}; run the command as the router's"
            " user or as root"
        ) from None
    except ProcessLookupError:
        raise CommandError(_ELSEWHERE) from None
    console.say(
        f"The workers are restarted one after the other by process {parent}; its log and /status"
        " show when each new one serves."
    )
    return 0


async def _status(agent: IAgent, reactor: Any, base: str) -> _Status:
    fetcher = Fetcher(agent, reactor, _TIMEOUT)
    try:
        body = await fetcher.get(f"{base}/status.json")
    except FetchError as error:
        raise CommandError(
            f"the router's /status.json could not be read: {error}; --router takes the address"
            " of its /status page (ADMIN_LISTEN_ADDR)"
        ) from None
    try:
        return msgspec.json.decode(body, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise CommandError("the router's /status.json is not what a router sends") from None


def parent_of(workers: list[int], processes: Path = Path("/proc")) -> int:
    """Return the parent of the first worker that runs here. Raises `CommandError`.

    A number may belong to another process, if the router runs on another machine or in another
    container: nothing but a worker's parent must get the signal.
    """
    for worker in workers:
        try:
            command = (processes / str(worker) / "cmdline").read_bytes().split(b"\0")
            stat = (processes / str(worker) / "stat").read_text("utf-8", "replace")
        except OSError:
            continue
        if _MODULE in command:
            # Behind the program's name, which may hold spaces and brackets: state and parent.
            parent = int(stat.rpartition(")")[2].split()[1])
            if parent > 1:
                return parent
    raise CommandError(_ELSEWHERE)
