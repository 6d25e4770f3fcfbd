"""`make image-check`: builds the image of this commit twice, and compares the two file by file.

Neither build knows anything of the other: each has its own copy of the commit, its own storage, its
own base, and its own ways (umask, time zone, language, folder), which must not show in the image.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.image import differences
from tools.image.archives import Image, read

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Ways:
    """What a builder's machine is like."""

    folder: str
    umask: int
    timezone: str
    language: str


WAYS = (
    Ways("one", 0o022, "UTC", "C.UTF-8"),
    Ways("another/one", 0o077, "Asia/Kathmandu", "C"),
)


def main() -> int:
    """Build, compare, tell; 1 when there is a difference, 2 when there is no image to compare."""
    if _git("status", "--porcelain"):
        print("what is not committed is not part of what is compared", flush=True)
    with tempfile.TemporaryDirectory(prefix="image-check-") as work:
        try:
            one, other = (_built(Path(work, ways.folder), ways) for ways in WAYS)
        except subprocess.CalledProcessError as error:
            print(f"image-check: the build ended with status {error.returncode}", file=sys.stderr)
            return 2
    difference = differences.first(one, other)
    if difference is not None:
        print(f"image-check: the two builds differ. {difference}", file=sys.stderr)
        return 1
    count = sum(len(layer.entries) for layer in one.layers)
    print(f"two builds, one image: {len(one.layers)} layers, {count} entries")
    print("\n".join(layer.digest for layer in one.layers))
    return 0


def _built(work: Path, ways: Ways) -> Image:
    """The image that these ways give."""
    source = work / "source"
    os.umask(ways.umask)
    source.mkdir(parents=True)
    tree = subprocess.Popen(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE)
    # Without --no-same-permissions the umask would not count: this is root.
    subprocess.run(
        ["tar", "-x", "--no-same-permissions"], cwd=source, stdin=tree.stdout, check=True
    )
    made = {
        "FORMAT": "oci",  # Docker's carries the name of a container that was there for the build
        "LANG": ways.language,
        "PYTHON": sys.executable,
        "REVISION": _git("rev-parse", "HEAD"),
        "SOURCE_DATE_EPOCH": _git("log", "-1", "--format=%ct"),
        "TZ": ways.timezone,
        "WORK": str(work / "made"),
    }
    subprocess.run(["sh", "deploy/image/build.sh"], cwd=source, env=os.environ | made, check=True)
    (archive,) = (work / "made").glob("chutes-autopilot-*.tar")
    return read(archive)


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
