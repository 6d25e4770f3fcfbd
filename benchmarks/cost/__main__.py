"""`python -m benchmarks.cost`: see `--help`."""

import sys

from benchmarks.cost.command import main

if __name__ == "__main__":
    sys.exit(main())
