"""Identity of the interpreter that runs the measured router."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

IMAGE: Final = Path("/usr/bin/python3.11")
"""Debian's interpreter, which the image contains."""

COMPARABLE: Final = "CPython 3.11"
"""Calls differ between versions and implementations."""

_DESCRIBE: Final = """
import json, platform, sys
try:
    system = platform.freedesktop_os_release()
except OSError:
    system = {}
release = f"{system.get('NAME', platform.system())} {system.get('VERSION_ID', '')}".strip()
own = sys.base_prefix == "/usr"
print(json.dumps({
    "version": f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]}",
    "build": f"{sys.version}, {'of' if own else 'on'} {release}, {platform.machine()}",
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Implementation and version of an interpreter, and the text that identifies its build."""

    version: str
    build: str

    @property
    def comparable(self) -> bool:
        """Whether its calls can be compared with the file."""
        return self.version == COMPARABLE


def describe(python: str) -> Interpreter:
    """Ask an interpreter for its identity."""
    done = subprocess.run((python, "-c", _DESCRIBE), capture_output=True, text=True, check=True)
    return Interpreter(**json.loads(done.stdout))


def found(name: str) -> str:
    """Return the absolute path of an interpreter. Raises `ValueError`."""
    path = shutil.which(name)
    if path is None:
        raise ValueError(name)
    return str(Path(path).absolute())


def default() -> str:
    """Return the image's interpreter where it is installed, and else the one that runs this."""
    return str(IMAGE) if IMAGE.exists() else sys.executable
