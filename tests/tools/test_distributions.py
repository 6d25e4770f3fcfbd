"""What wheel and sdist hold, and that the same sources give the same bytes."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
import tomllib
import unittest
from collections.abc import Mapping
from email import message_from_bytes
from pathlib import Path
from types import MappingProxyType
from unittest.mock import patch
from zipfile import ZipFile

from twisted.trial.unittest import SynchronousTestCase

from autopilot import __version__
from tests.tools.kit_keys import carriers
from tools.distributions import ROOT, NoCommitError, build, git, main

_EPOCH = 1_700_000_000
_SDIST = f"chutes_autopilot-{__version__}.tar.gz"
_WHEEL = f"chutes_autopilot-{__version__}-py3-none-any.whl"
# Left behind by runs of the program, its tests and its tools.
_STRAY = (
    ".coverage",
    ".env",
    ".mypy_cache/3.11/cache.json",
    "_trial_temp/test.log",
    "autopilot/.env",
    "autopilot/__pycache__/tap.cpython-311.pyc",
    "build/image/base.tar",
    "deploy/twistd.pid",
    "dist/chutes_autopilot-0.0.1.tar.gz",
    "htmlcov/index.html",
    "logs/live/report.json",
    "logs/smoke/report.json",
    "tests/__pycache__/conftest.cpython-311.pyc",
    "tests/.venv/bin/twine",
    "twistd.log",
    "twisted/plugins/dropin.cache",
)
_ENVIRONMENTS: tuple[dict[str, str], ...] = (
    {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    {"TZ": "Pacific/Apia", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "HOME": "/nowhere"},
)


class DistributionsTestCase(SynchronousTestCase):
    """Builds from copies of this checkout."""

    def setUp(self) -> None:
        """Find the sources; an unpacked sdist has no list of them."""
        try:
            listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        except NoCommitError as why:
            raise unittest.SkipTest(f"no list of the sources: {why}") from None
        names = listed.decode().split("\0")
        self.sources = {name for name in names if name and (ROOT / name).is_file()}

    def copy(self, name: str) -> Path:
        """Copy the sources, and nothing else, into a new folder."""
        copied = Path(self.mktemp()).resolve() / name
        for each in self.sources:
            (copied / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / each, copied / each)
        return copied

    def built(
        self,
        copied: Path,
        epoch: int = _EPOCH,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[str, bytes]:
        """Build both beside a copy."""
        made = build(copied, copied.parent / "built", epoch, environment)
        return {each.name: each.read_bytes() for each in made}


class ReproducibleTests(DistributionsTestCase):
    """The same sources, under circumstances that differ."""

    def test_the_same_bytes(self) -> None:
        """Folder, umask, ages, time zone, locale and stray files leave no trace."""
        here, there = _ENVIRONMENTS
        first = self.built(self.copy("here"), environment=here)
        before = os.umask(0o077)
        try:
            copied = self.copy("quite/elsewhere")
            for each in _STRAY:
                (copied / each).parent.mkdir(parents=True, exist_ok=True)
                (copied / each).write_text("stray")
            for path in copied.rglob("*"):
                os.utime(path, (_EPOCH * 2, _EPOCH * 2))
            second = self.built(copied, environment=there)
        finally:
            os.umask(before)
        self.assertEqual(sorted(first), [_WHEEL, _SDIST])
        self.assertEqual(sorted(second), [_WHEEL, _SDIST])
        for name, content in first.items():
            self.assertTrue(content == second[name], f"{name} differs between two builds")

    def test_the_time_is_the_one_given(self) -> None:
        """A wheel of another commit's time has other bytes: the time is not simply left out."""
        copied = self.copy("here")
        first, later = self.built(copied), self.built(copied, _EPOCH + 86400)
        for name, content in first.items():
            self.assertFalse(content == later[name], f"{name} does not carry the commit's time")


class ContentTests(DistributionsTestCase):
    """The lists of files."""

    def setUp(self) -> None:
        """Build once."""
        super().setUp()
        copied = self.copy("here")
        self.built(copied)
        self.folder = copied.parent / "built"

    def test_wheel(self) -> None:
        """The package, the demo in it, and the dropin; no other package."""
        info = f"chutes_autopilot-{__version__}.dist-info"
        with ZipFile(self.folder / _WHEEL) as archive:
            names = archive.namelist()
            about = message_from_bytes(archive.read(f"{info}/METADATA"))
        files = {name for name in names if not name.startswith(f"{info}/")}
        package = {name for name in self.sources if name.startswith("autopilot/")}
        stub = {name for name in self.sources if name.startswith("stub_backend/")}
        self.assertIn("stub_backend/demo/tour.py", stub)
        demo = {f"autopilot/_demo/{name}" for name in stub}
        self.assertEqual(files, package | demo | {"twisted/plugins/autopilot_plugin.py"})
        self.assertIn(f"{info}/licenses/LICENSE", names)
        self.assertIn("autopilot/py.typed", names)
        self.assertEqual(about["Version"], __version__)
        self.assertIn("private", about.get_all("Provides-Extra"))

    def test_keys_of_attestation(self) -> None:
        """No file of the wheel holds a key that makes the stub's evidence."""
        with ZipFile(self.folder / _WHEEL) as archive:
            held = {name: archive.read(name) for name in archive.namelist()}
        self.assertEqual(carriers(held), [])
        with tarfile.open(self.folder / _SDIST) as archive:
            (kit,) = (each for each in archive.getmembers() if each.name.endswith("_kit.json"))
            content = archive.extractfile(kit)
            assert content is not None
            # The tests' data, which an sdist has, shows that keys would be noticed.
            self.assertEqual(carriers({"kit": content.read()}), ["kit"])

    def test_sdist(self) -> None:
        """What is needed to build, to test and to ship; nothing that is not a source."""
        with tarfile.open(self.folder / _SDIST) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        self.assertEqual(names - self.sources, {"PKG-INFO"})
        wanted = {
            ".ci/run",
            ".dockerignore",
            "CHANGELOG.md",
            "Dockerfile",
            "LICENSE",
            "Makefile",
            "deploy/image/build.sh",
            "locks/build.txt",
            "locks/development.txt",
            "locks/digests.json",
            "locks/runtime.txt",
            "pyproject.toml",
            "tests/conftest.py",
        }
        wanted |= {name for name in self.sources if name.startswith(("autopilot/", "tests/"))}
        self.assertEqual(wanted - names, set())

    def test_the_version_stands_in_one_place(self) -> None:
        """pyproject.toml leaves it to the package; what else names it has a test that says so."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        self.assertNotIn("version", project)
        self.assertEqual(project["dynamic"], ["version"])


class CommandTests(SynchronousTestCase):
    """What `make dist` runs, in a repository of its own."""

    def setUp(self) -> None:
        """Have sources, and no repository yet."""
        self.root = Path(self.mktemp()).resolve()
        self.root.mkdir(parents=True)
        (self.root / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            '[project]\nname = "chutes-autopilot"\nversion = "9"\n'
            '[tool.hatch.build]\ninclude = ["*.txt"]\n'
        )
        (self.root / "committed.txt").write_text("committed\n")
        alone = {"GIT_CEILING_DIRECTORIES": str(self.root.parent), "GIT_CONFIG_GLOBAL": os.devnull}
        when = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"@{_EPOCH} +0000")
        changed = patch.dict(os.environ, {**alone, **when})
        changed.start()
        self.addCleanup(changed.stop)

    def run_main(self) -> tuple[int, str]:
        """Run it, and give its status and what it said of problems."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            return main([str(self.root.parent / "out")], self.root), said.getvalue()

    def test_what_was_committed(self) -> None:
        """It is built as of its time; what was not committed is left out, and that is said."""
        who = ("-c", "user.name=a", "-c", "user.email=a@a.invalid")
        for arguments in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "one")):
            git(*arguments, root=self.root)
        (self.root / "later.txt").write_text("later\n")
        status, said = self.run_main()
        self.assertEqual((status, said), (0, "not in what was built: 1 uncommitted changes\n"))
        with tarfile.open(self.root.parent / "out/chutes_autopilot-9.tar.gz") as archive:
            held = {each.name.partition("/")[2]: each.mtime for each in archive}
        self.assertEqual(held["committed.txt"], _EPOCH)
        self.assertNotIn("later.txt", held)

    def test_without_a_commit(self) -> None:
        """A line says why there is nothing."""
        status, said = self.run_main()
        self.assertEqual(status, 1)
        self.assertRegex(said, r"\Anothing was built: .*not a git repository.*\n\Z")
        self.patch(os, "environ", {**os.environ, "PATH": ""})
        self.assertEqual(self.run_main(), (1, "nothing was built: git is needed\n"))
