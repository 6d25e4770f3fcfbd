"""`python -m tests.rigs.replicas`: three routers as one, whatever happens to their store."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import SkipTest

from tests.rigs.replicas.run import Options, campaign

_USUAL = Options(conversations=200, turns=20, pause=1.0, outage=4.0)


def main(given: Sequence[str] | None = None) -> int:
    """Run; return 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.rigs.replicas", description=__doc__)
    parser.add_argument("--conversations", type=int, default=_USUAL.conversations)
    parser.add_argument("--turns", type=int, default=_USUAL.turns)
    parser.add_argument("--pause", type=float, default=_USUAL.pause, help="seconds between turns")
    parser.add_argument("--outage", type=float, default=_USUAL.outage, help="seconds without store")
    parser.add_argument("--workers", type=int, default=1, help="of each router")
    parser.add_argument("--seed", type=int, default=1)
    options = Options(**vars(parser.parse_args(given)))
    with tempfile.TemporaryDirectory(prefix="autopilot-replicas-") as folder:
        try:
            phases, found = asyncio.run(campaign(Path(folder), options))
        except SkipTest as why:
            print(why)
            return 0
    for phase in phases:
        print(phase)
    for each in found:
        print(f"VIOLATION {each}")
    print("Three routers were one." if not found else f"{len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
