"""The environment of a run: what explains its figures, without identifying the machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.servers import LITELLM_BIN

_VERSION = re.compile(r"\d+(?:\.\d+)+")


def describe() -> dict[str, str]:
    """Return the machine and the versions for the report."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "CPU": f"{_cpu()}, {len(os.sched_getaffinity(0))} cores",
        "kernel": platform.release().split("-")[0],
        "Python": f"{platform.python_version()}{_build()}",
        "Twisted": version("twisted"),
        "nginx": _said("nginx", "-v"),
        "Caddy": _said("caddy", "version"),
        "LiteLLM": _said(str(LITELLM_BIN / "python"), "-c", _LITELLM),
    }


_LITELLM = "from importlib.metadata import version; print(version('litellm'))"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _build() -> str:
    """Return how the interpreter was built: a profile-guided build is at least 10 % faster."""
    flags = str(sysconfig.get_config_var("CONFIG_ARGS"))
    if "--enable-optimizations" in flags or sys.prefix == "/usr" or sys.base_prefix == "/usr":
        return " (profile-guided build)"
    return " (plain build)"


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "not here"
    found = _VERSION.search(done.stdout + done.stderr)
    return found.group() if found else "not here"
