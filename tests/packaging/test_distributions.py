"""What the wheel and the sdist hold."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

from autopilot import __version__

ROOT = Path(__file__).resolve().parent.parent.parent


def build(target: str, folder: Path) -> Path:
    """Build a distribution without a network, and give its path."""
    command = (sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder))
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.iterdir()
    return path


@pytest.mark.slow
def test_wheel(tmp_path: Path) -> None:
    """The wheel holds the package and the dropin, and makes no package of ``twisted``."""
    path = build("wheel", tmp_path)
    assert path.name == f"chutes_autopilot-{__version__}-py3-none-any.whl"
    names = set(ZipFile(path).namelist())
    assert {
        "autopilot/tap.py",
        "autopilot/py.typed",
        "twisted/plugins/autopilot_plugin.py",
    } <= names
    info = f"chutes_autopilot-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"autopilot", "twisted", info}
    assert {name for name in names if name.startswith("twisted/")} == {
        "twisted/plugins/autopilot_plugin.py"
    }
    sources = {str(each.relative_to(ROOT)) for each in ROOT.glob("autopilot/**/*.py")}
    assert sources <= names
    assert f"{info}/licenses/LICENSE" in names


@pytest.mark.slow
def test_sdist(tmp_path: Path) -> None:
    """The sdist holds what is needed to build the wheel and to run the tests."""
    path = build("sdist", tmp_path)
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "Makefile", "requirements-dev.lock"} <= names
    assert {"autopilot/tap.py", "tests/conftest.py", "twisted/plugins/autopilot_plugin.py"} <= names
    assert not {name for name in names if name.endswith(("dropin.cache", ".pyc"))}
