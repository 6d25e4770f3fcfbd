"""The entry point of `python -m benchmarks`; see `--help`."""

import sys

from benchmarks.command import main

if __name__ == "__main__":
    sys.exit(main())
