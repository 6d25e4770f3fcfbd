"""Files that a run left behind: git must ignore them, and `make clean` must remove them.

`python -m tools.hygiene.left` is the last step of CI. Exit status: 0, or 1 with the paths.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tools.hygiene.scan import ROOT, is_repository

# Files of a developer, which no run creates or removes.
_KEPT = (".env",)


def untracked(root: Path) -> list[str]:
    """Return the paths that are neither tracked nor ignored, and those tracked and modified."""
    return [line[3:] for line in _status(root) if not line.startswith("!!")]


def ignored(root: Path) -> list[str]:
    """Return the ignored paths; a folder that is ignored as such ends with a slash."""
    paths = (line[3:] for line in _status(root, "--ignored=matching") if line.startswith("!!"))
    return [path for path in paths if path not in _KEPT]


def uncleaned(root: Path, paths: list[str]) -> list[str]:
    """Return those paths that `make clean` leaves behind in a copy of the repository."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        _copy(root, copy)
        for path in paths:
            made = copy / path / "left" if path.endswith("/") else copy / path
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch()
        subprocess.run(["make", "--quiet", "clean", "VENV=.venv"], cwd=copy, check=True)
        return ignored(copy)


def _copy(root: Path, copy: Path) -> None:
    """Write the last commit to a repository of its own; git refuses to clone another user's."""
    tree = subprocess.run(["git", "archive", "HEAD"], cwd=root, check=True, capture_output=True)
    subprocess.run(["tar", "-x"], cwd=copy, input=tree.stdout, check=True)
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    subprocess.run(["git", "add", "--all", "--force"], cwd=copy, check=True)


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
    """Check and report; return the exit status."""
    if not is_repository(root):
        print("no git repository: there is no record of what was here before")
        return 0
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
