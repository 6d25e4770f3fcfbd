"""Whether an image can be built and run here without Docker.

`python -m tools.image.able` exits with 0 if it can, and with 1 and a message if it cannot.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.image import container

TOOLS = ("buildah", "mmdebstrap", "runc")
_PROGRAM = "/bin/true"
_LEAST = {
    "User": "65534:65534",
    "Entrypoint": [_PROGRAM],
    "Env": ["PATH=/bin"],
    "WorkingDir": "/",
}


def obstacle() -> str | None:
    """Return what prevents it, or None."""
    if os.getuid() != 0:
        return "that takes root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"that takes {', '.join(missing)}"
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if done.returncode:
        return "this system does not allow private mounts, which buildah needs"
    with tempfile.TemporaryDirectory() as folder:
        root, bundle = Path(folder, "root"), Path(folder, "bundle")
        _smallest(root)
        container.bundle(bundle, root, _LEAST)
        command = container.run_command(bundle, f"able-{os.getpid()}")
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        return f"runc cannot run anything here: {ran.stderr.strip()[-200:]}"
    return None


def _smallest(root: Path) -> None:
    """Create a root filesystem with one program and its libraries."""
    loads = subprocess.run(["ldd", _PROGRAM], capture_output=True, text=True, check=False).stdout
    for path in {_PROGRAM, *re.findall(r"(/\S+) \(", loads)}:
        copy = root / path[1:]
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for folder in ("proc", "dev"):
        (root / folder).mkdir(exist_ok=True)
    Path(root.parent).chmod(0o755)


def main() -> int:
    """Print the obstacle, if any; return the exit status."""
    reason = obstacle()
    if reason is not None:
        print(f"the image is neither built nor run here: {reason}")
    return 0 if reason is None else 1


if __name__ == "__main__":
    sys.exit(main())
