"""Runs an image's root filesystem with runc, with fewer rights than any engine gives."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PROC = {"destination": "/proc", "type": "proc", "source": "proc"}
_DEV = {
    "destination": "/dev",
    "type": "tmpfs",
    "source": "tmpfs",
    "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
}


def bundle(folder: Path, root: Path, image: Mapping[str, Any], **variables: str) -> None:
    """Return the configuration for runc: the image's command and user, and only ``/dev`` writable.

    The container shares the network of this machine, so that it can connect to the stub.
    """
    user, _, group = image["User"].partition(":")
    process = {
        "terminal": False,
        "user": {"uid": int(user), "gid": int(group)},
        "args": image["Entrypoint"],
        "env": [*image["Env"], *(f"{name}={value}" for name, value in variables.items())],
        "cwd": image["WorkingDir"],
        "capabilities": {each: [] for each in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    }
    config = {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": str(root), "readonly": True},
        "mounts": [_PROC, _DEV],
        "linux": {
            "namespaces": [{"type": each} for each in ("pid", "ipc", "uts", "mount")],
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
        },
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))


def run_command(folder: Path, name: str) -> tuple[str, ...]:
    """Return the command that runs a bundle; it forwards signals and returns the exit status."""
    return (*_runc(folder), "run", "--bundle", str(folder), name)


def inside(folder: Path, name: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the container, as its user."""
    return subprocess.run(
        [*_runc(folder), "exec", name, *command], capture_output=True, text=True, check=False
    )


def _runc(folder: Path) -> tuple[str, ...]:
    return ("runc", "--root", str(folder / "state"))
