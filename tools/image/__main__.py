"""`make image-check`: builds the image of this commit twice, and compares the two file by file.

The builds are independent: each has its own copy of the commit, storage and base image, and another
environment (umask, time zone, language, folder), which must not affect the image.
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
class Environment:
    """The environment of a builder."""

    folder: str
    umask: int
    timezone: str
    language: str


WAYS = (
    Environment("one", 0o022, "UTC", "C.UTF-8"),
    Environment("another/one", 0o077, "Asia/Kathmandu", "C"),
)


def main() -> int:
    """Build, compare and report; return 1 if the images differ, 2 if one was not built."""
    if _git("status", "--porcelain"):
        print("what is not committed is not part of what is compared", flush=True)
    with tempfile.TemporaryDirectory(prefix="image-check-") as work:
        try:
            one, other = (
                _built(Path(work, environment.folder), environment) for environment in WAYS
            )
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


def _built(work: Path, environment: Environment) -> Image:
    """Return the image that is built in this environment."""
    source = work / "source"
    os.umask(environment.umask)
    source.mkdir(parents=True)
    tree = subprocess.Popen(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE)
    # As root, tar would otherwise restore the permissions and hide the umask.
    subprocess.run(
        ["tar", "-x", "--no-same-permissions"], cwd=source, stdin=tree.stdout, check=True
    )
    made = {
        "FORMAT": "oci",  # Docker's configuration contains the name of a container of the build.
        "LANG": environment.language,
        "PYTHON": sys.executable,
        "REVISION": _git("rev-parse", "HEAD"),
        "SOURCE_DATE_EPOCH": _git("log", "-1", "--format=%ct"),
        "TZ": environment.timezone,
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
