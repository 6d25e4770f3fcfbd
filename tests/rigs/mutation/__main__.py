"""``python -m tests.rigs.mutation``: runs mutmut on a copy of the pure code, checks survivors."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.rigs.mutation.survivors import Judgement, Mutant, judge, listed, shown

_ROOT: Final = Path(__file__).resolve().parents[3]
_WORK: Final = _ROOT / "logs" / "mutation"
_TESTED_BY: Final = (
    "tests/__init__.py",
    "tests/unit/__init__.py",
    "tests/unit/attestation/__init__.py",
    "tests/unit/attestation/quotes.py",
    "tests/unit/attestation/test_evidence_state.py",
    "tests/unit/attestation/test_quote.py",
    "tests/unit/routing",
    "tests/properties/__init__.py",
    *(
        f"tests/properties/test_{each}_properties.py"
        for each in ("identity", "plan", "ranking", "selector")
    ),
)
# The sources that mutmut writes import mutmut, which the purity test would reject.
_SETTINGS: Final = """\
[project]
name = "mutated"
version = "0"

[tool.mutmut]
source_paths = [
    "autopilot/attestation/evidence_state.py",
    "autopilot/attestation/quote.py",
    "autopilot/routing/",
]
also_copy = ["autopilot", "tests", "conftest.py"]
pytest_add_cli_args_test_selection = ["tests", "--ignore=tests/unit/routing/test_purity.py"]

[tool.pytest.ini_options]
addopts = ["-p", "no:cacheprovider"]
"""
# Few examples, the same for each mutant: they kill nearly as many, and there are over a thousand
# runs.
_PROFILE: Final = """\
from hypothesis import HealthCheck, settings

settings.register_profile(
    "mutation", max_examples=40, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("mutation")
"""


def main() -> int:
    """Run mutmut; return 0 if enough mutants are killed and the survivors are known, else 1.

    Without mutmut, return 2.
    """
    parser = argparse.ArgumentParser(prog="tests.rigs.mutation", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="at most [%(default)s]")
    given = parser.parse_args()
    if find_spec("mutmut") is None:
        print("mutmut is not installed here: run this as `make mutation`", file=sys.stderr)
        return 2
    _prepare()
    started = time.monotonic()
    try:
        done = _mutmut("run", seconds=given.minutes * 60)
    except subprocess.TimeoutExpired:
        print(f"not done after {given.minutes:g} minutes", file=sys.stderr)
        return 1
    if done.returncode:
        return 1
    found = _judge()
    _report(found, time.monotonic() - started)
    return 0 if found.good else 1


def _prepare() -> None:
    """Copy the mutated code and the tests that must kill the mutants."""
    shutil.rmtree(_WORK, ignore_errors=True)
    shutil.copytree(_ROOT / "autopilot", _WORK / "autopilot")
    for each in _TESTED_BY:
        source, target = _ROOT / each, _WORK / each
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    (_WORK / "pyproject.toml").write_text(_SETTINGS)
    (_WORK / "conftest.py").write_text(_PROFILE)


def _mutmut(
    *arguments: str, quiet: bool = False, seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "mutmut", *arguments)
    output = subprocess.PIPE if quiet else None
    return subprocess.run(
        command, cwd=_WORK, stdout=output, text=True, timeout=seconds, check=False
    )


def _judge() -> Judgement:
    _mutmut("export-cicd-stats", quiet=True)
    stats = json.loads((_WORK / "mutants" / "mutmut-cicd-stats.json").read_text())
    lines = _mutmut("results", quiet=True).stdout.splitlines()
    names = [line.partition(":")[0].strip() for line in lines if not line.endswith(": killed")]
    known = listed(Path(__file__).with_name("survivors.md").read_text())
    return judge(stats["total"], map(_shown, filter(None, names)), known)


def _shown(name: str) -> Mutant:
    return shown(name, _mutmut("show", name, quiet=True).stdout)


def _report(found: Judgement, seconds: float) -> None:
    share = found.killed / found.total if found.total else 0.0
    print(f"{found.killed} of {found.total} mutants noticed: {share:.1%}, in {seconds:.0f} s")
    for title, mutants in (
        ("not noticed, and not in survivors.md", found.unknown),
        ("in survivors.md, and noticed or gone", found.gone),
    ):
        for mutant in mutants:
            print(f"{title}: {mutant.function}: {mutant.change}")


if __name__ == "__main__":
    sys.exit(main())
