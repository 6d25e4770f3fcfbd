"""The entry point of ``python -m autopilot``, which does the same as ``autopilot``."""

from __future__ import annotations

import sys

from autopilot.cli import main

if __name__ == "__main__":
    sys.exit(main())
