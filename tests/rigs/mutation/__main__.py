"""``python -m tests.rigs.mutation``: runs mutmut on a copy of the pure code, checks survivors."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.rigs.mutation.survivors import (
    Judgement,
    Mutant,
    by_module,
    judge,
    listed,
    results,
    shown,
    survived,
)

_ROOT: Final = Path(__file__).resolve().parents[3]
_WORK: Final = _ROOT / "logs" / "mutation"
_ATTESTATION: Final = (
    "evidence_state",
    "gpu_report",
    "instances",
    "measurements",
    "nonce_pool",
    "quote",
    "quote_verification",
    "sealed_stream",
    "sealing",
    "verification",
)
_MUTATED: Final = (
    *(f"autopilot/attestation/{each}.py" for each in _ATTESTATION),
    "autopilot/routing/*.py",
)
_COPIED: Final = (
    "autopilot",
    "tests/__init__.py",
    "tests/data",
    "tests/unit",
    "tests/properties",
)
_TESTED_BY: Final = (
    *(f"tests/unit/attestation/test_{each}.py" for each in _ATTESTATION),
    # Some ways to the same result differ by their costs.
    *(f"tests/unit/attestation/test_{each}_cost.py" for each in ("sealing", "verification")),
    "tests/unit/routing",
    *(
        f"tests/properties/test_{each}_properties.py"
        for each in ("identity", "pattern", "plan", "ranking", "routes", "selector")
    ),
    # The sources that mutmut writes import mutmut, which this test would reject.
    "--ignore=tests/unit/routing/test_purity.py",
)
_SETTINGS: Final = """\
[project]
name = "mutated"
version = "0"

[tool.mutmut]
source_paths = {sources}
also_copy = ["autopilot", "tests", "conftest.py"]
pytest_add_cli_args_test_selection = {tests}

[tool.pytest.ini_options]
addopts = ["-p", "no:cacheprovider"]
"""
# Few examples, the same for each mutant: they kill nearly as many, and there are two thousand runs.
# A counterexample is only counted, so that none is made smaller.
_EXAMPLES: Final = 40
_PROFILE: Final = f"""\
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutation", max_examples={_EXAMPLES}, derandomize=True, deadline=None, database=None,
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
)
settings.load_profile("mutation")
"""


# Each of the runs would look for the plugins among all installed packages; the tests need none.
_ENVIRONMENT: Final = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def main() -> int:
    """Run mutmut; return 0 if enough mutants are killed and the survivors are known, else 1.

    Without mutmut, return 2. If the time runs out, judge what was run, and return 1.
    """
    parser = argparse.ArgumentParser(prog="tests.rigs.mutation", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="at most [%(default)s]")
    parser.add_argument("modules", nargs="*", help="modules to mutate, plan for example; else all")
    given = parser.parse_args()
    sources = _sources()
    if unknown := set(given.modules) - sources.keys():
        parser.error(f"no such module: {', '.join(unknown)}; there are {', '.join(sources)}")
    if find_spec("mutmut") is None:
        print("mutmut is not installed here: run this as `make mutation`", file=sys.stderr)
        return 2
    _prepare([sources[each] for each in given.modules or sources])
    started = time.monotonic()
    if not _run(given.minutes * 60):
        return 1
    statuses = results(_mutmut("results", "--all", "true").stdout)
    found, left = _judge(statuses, given.modules), list(statuses.values()).count(None)
    _report(statuses, found, time.monotonic() - started)
    if left:
        print(f"{left} mutants not run within {given.minutes:g} minutes", file=sys.stderr)
    return 0 if found.good and not left else 1


def _sources() -> dict[str, str]:
    """Return the paths of the modules that can be mutated, by their names."""
    found = sorted(path for pattern in _MUTATED for path in _ROOT.glob(pattern))
    return {each.stem: str(each.relative_to(_ROOT)) for each in found if each.stem != "__init__"}


def _prepare(sources: list[str]) -> None:
    """Copy the code, of which ``sources`` are mutated, and the tests that must kill the mutants."""
    shutil.rmtree(_WORK, ignore_errors=True)
    for each in _COPIED:
        source, target = _ROOT / each, _WORK / each
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    for test in (_WORK / "tests").rglob("*.py"):
        # A number of its own would win over that of the profile.
        text = test.read_text()
        test.write_text(re.sub("max_examples=[0-9]+", f"max_examples={_EXAMPLES}", text))
    (_WORK / "pyproject.toml").write_text(_SETTINGS.format(sources=sources, tests=list(_TESTED_BY)))
    (_WORK / "conftest.py").write_text(_PROFILE)


def _run(seconds: float) -> bool:
    """Run the mutants; return whether mutmut could begin."""
    running = subprocess.Popen(
        _command("run"), cwd=_WORK, env=_environment(), start_new_session=True
    )
    try:
        return running.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        return True  # mutmut keeps each result when it has it
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)  # its workers are in its group
            running.wait()


def _mutmut(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(*arguments),
        cwd=_WORK,
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )


def _command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "mutmut", *arguments)


def _environment() -> dict[str, str]:
    return {**os.environ, **_ENVIRONMENT}


def _judge(statuses: dict[str, str | None], modules: list[str]) -> Judgement:
    """Compare the survivors with those of ``survivors.md`` that are in ``modules``."""
    known = listed(Path(__file__).with_name("survivors.md").read_text())
    expected = [each for each in known if not modules or each.module in modules]
    run = [each for each in statuses.values() if each is not None]
    return judge(len(run), map(_shown, survived(statuses)), expected)


def _shown(name: str) -> Mutant:
    return shown(name, _mutmut("show", name).stdout)


def _report(statuses: dict[str, str | None], found: Judgement, seconds: float) -> None:
    for module, killed, run, left in by_module(statuses):
        print(f"{module:20} {killed:4} of {run:4}" + (f", {left} not run" if left else ""))
    share = found.killed / found.total if found.total else 0.0
    print(f"{found.killed} of {found.total} mutants noticed: {share:.1%}, in {seconds:.0f} s")
    for title, mutants in (
        ("not noticed, and not in survivors.md", found.unknown),
        ("in survivors.md, and noticed or gone", [] if None in statuses.values() else found.gone),
    ):
        for mutant in mutants:
            print(f"{title}: {mutant.function}: {mutant.change}")


if __name__ == "__main__":
    sys.exit(main())
