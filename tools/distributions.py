"""Builds wheel and sdist from a commit, reproducibly.

The input is the commit: uncommitted files are not included, and the times in the archives are the
commit's.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class NoCommitError(Exception):
    """Git does not know the commit, or this is not a git repository."""


def git(*arguments: str, root: Path = ROOT) -> bytes:
    """Run git; raise NoCommitError, with git's reason in one line, if it fails."""
    try:
        asked = subprocess.run(("git", *arguments), cwd=root, capture_output=True, check=True)
    except FileNotFoundError:
        raise NoCommitError("git is needed") from None
    except subprocess.CalledProcessError as failed:
        said = failed.stderr.decode(errors="replace").strip().splitlines()
        raise NoCommitError(said[0] if said else "git failed") from None
    return asked.stdout


def export(commit: str, folder: Path, root: Path) -> int:
    """Write the files of a commit to a folder; return the commit's time."""
    with tarfile.open(
        fileobj=io.BytesIO(git("archive", "--format=tar", commit, root=root))
    ) as files:
        files.extractall(folder, filter="data")
    return int(git("log", "-1", "--format=%ct", commit, root=root))


def build(source: Path, folder: Path, epoch: int, environment: Mapping[str, str]) -> list[Path]:
    """Build the sdist and the wheel from a folder of sources, without a network."""
    given = {**os.environ, **environment, "SOURCE_DATE_EPOCH": str(epoch)}
    for target in ("sdist", "wheel"):
        command = (sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder))
        subprocess.run(command, cwd=source, env=given, check=True, stdout=subprocess.DEVNULL)
    return sorted(folder.glob("chutes_autopilot-*"))


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Build a commit into the given folder; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the two files go")
    parser.add_argument("--commit", default="HEAD", help="what to build; the last one unless said")
    asked = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as source:
            epoch = export(asked.commit, Path(source), root)
            made = build(Path(source), asked.folder.resolve(), epoch, {})
        changed = git("status", "--porcelain", root=root).decode().splitlines()
    except NoCommitError as why:
        print(f"nothing was built: {why}", file=sys.stderr)
        return 1
    for each in made:
        print(each)
    if changed:
        print(f"not in what was built: {len(changed)} uncommitted changes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
