"""``python -m tools.docs FOLDER``: checks the links of the built site; exits with 1 on an error."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.docs.site import problems


def main(folder: Path) -> int:
    """Print the errors; return the exit status."""
    pages = len(list(folder.rglob("*.html")))
    found = list(problems(folder))
    print(*found, sep="\n", end="\n" if found else "")
    print(f"documentation: {pages} pages, {len(found)} bad links")
    return 1 if found or not pages else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
