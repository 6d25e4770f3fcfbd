"""What a run left behind: git must not see it, and `make clean` must find it.

`python -m tests.hygiene.left` is the last step of CI. Exit status: 0, or 1 with the paths.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.hygiene.scan import ROOT

# A person's own, which no run makes and none removes.
_KEPT = (".env",)


def untracked(root: Path) -> list[str]:
    """What is neither tracked nor ignored, and what is tracked and not as it was."""
    return [line[3:] for line in _status(root) if not line.startswith("!!")]


def ignored(root: Path) -> list[str]:
    """What git ignores; a folder that is ignored as such ends with a slash."""
    paths = (line[3:] for line in _status(root, "--ignored=matching") if line.startswith("!!"))
    return [path for path in paths if path not in _KEPT]


def uncleaned(root: Path, paths: list[str]) -> list[str]:
    """Which of these paths `make clean` would leave, tried on a clone with the same in it."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", str(root), str(clone)], check=True)
        for path in paths:
            made = clone / path / "left" if path.endswith("/") else clone / path
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch()
        subprocess.run(["make", "--quiet", "clean", "VENV=.venv"], cwd=clone, check=True)
        return ignored(clone)


def _status(root: Path, *options: str) -> list[str]:
    done = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all", *options],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


def main(root: Path = ROOT) -> int:
    """Look, and tell."""
    seen, hidden = untracked(root), ignored(root)
    left = uncleaned(root, hidden)
    for path in seen:
        print(f"{path}: left behind, and .gitignore does not know it", file=sys.stderr)
    for path in left:
        print(f"{path}: left behind, and make clean does not remove it", file=sys.stderr)
    if not seen and not left:
        print(f"nothing was left behind but {len(hidden)} ignored paths, which make clean removes")
    return 1 if seen or left else 0


if __name__ == "__main__":
    sys.exit(main())
