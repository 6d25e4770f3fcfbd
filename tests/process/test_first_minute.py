"""The transcripts of docs/first-minute.md: each command, run as a new user runs it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import DECLARED
from stub_backend.demo.processes import HOST, ending, stub
from tools.docs.blocks import ROOT, blocks_of
from tools.locked import pins

_PAGE = ROOT / "docs" / "first-minute.md"
_CHECKOUT = ("LICENSE", "Makefile", "README.md", "pyproject.toml")
_FOLDERS = ("autopilot", "locks", "stub_backend", "tests/data/private", "tools", "twisted")
_PATIENCE = 300.0
_GAP = "…"
_LISTENING = re.compile(r" on http://\S+:(\d+) \(API\)")
# What differs between two runs, or with a change of the lock or of the stub's models.
_VARIES = (
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)?(?= (?:%|(?:ms|s|MB|models|more|packages)\b))"), "N"),
    (re.compile(r"\b(127\.0\.0\.1|0\.0\.0\.0):\d+"), "ADDRESS"),
    (re.compile(r"(?<=chutes-autopilot )\d\S+"), "VERSION"),
    # What differs between two encryptions.
    (re.compile(r"(?m)^> [0-9a-f]{2}( [0-9a-f]{2})+(?= …)"), "> BYTES"),
    (re.compile(r"(?<=^< data: )\S+(?=…$)", re.MULTILINE), "EVENT"),
    (re.compile(r"(?<=instance )[0-9a-f]{8}(?=:)"), "INSTANCE"),
    (re.compile(r"(?<=refused )\d+"), "N"),
    (re.compile(r"\b[\d,]+(?= (?:bytes|more bytes|more such lines)\b)"), "N"),
    (re.compile(r"\b(cryptography|dcap-qvl) \d[\w.]+"), r"\1 N"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the page, and the lines that the page shows below it."""

    command: str
    shown: str


def steps() -> Iterator[Step]:
    """Yield the commands of the page in order."""
    for block in blocks_of(_PAGE, "console"):
        for each in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = each.partition("\n")
            yield Step(command, shown)


def masked(text: str) -> str:
    """Return a text without what differs between two runs."""
    for pattern, name in _VARIES:
        text = pattern.sub(name, text)
    return text.strip()


def fits(shown: str, printed: str) -> bool:
    """Return whether a page shows what was printed; a line "…" stands for any lines."""
    lines = masked(shown).split("\n")
    pattern = "".join(".*" if each == _GAP else re.escape(f"{each}\n") for each in lines)
    return re.fullmatch(pattern, f"{masked(printed)}\n", re.DOTALL) is not None


class FitTests(SynchronousTestCase):
    """The comparison, which must not accept everything."""

    def test_fits(self) -> None:
        """Times and addresses may differ, words may not, and lines only where the page has "…"."""
        self.assertTrue(fits("after 12 ms at 127.0.0.1:1\n", "after 7.5 ms at 127.0.0.1:80\n"))
        self.assertFalse(fits("after 12 ms", "before 12 ms"))
        self.assertFalse(fits("one\n", "one\ntwo\n"))
        self.assertTrue(fits("one\n…\n", "one\ntwo\nthree\n"))
        self.assertFalse(fits("…\ntwo\n", "one\ntwo\nthree\n"))


class TranscriptTests(SynchronousTestCase):
    """The page's commands, in a copy of the checkout and a home directory of their own."""

    def setUp(self) -> None:
        """Copy what a clone has; keep the machine's index and cache of packages."""
        self.root = Path(self.mktemp()).resolve()
        self.checkout = self.root / "checkout"
        self.checkout.mkdir(parents=True)
        for name in _CHECKOUT:
            shutil.copyfile(ROOT / name, self.checkout / name)
        for name in _FOLDERS:
            ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
            shutil.copytree(ROOT / name, self.checkout / name, ignore=ignored)
        # uv is the only program of the development environment.
        programs = self.root / "bin"
        programs.mkdir()
        (programs / "uv").symlink_to(Path(sys.executable).parent / "uv")
        self.environment = self._environment(programs)

    def _environment(self, programs: Path) -> dict[str, str]:
        ours = {setting.name for setting in DECLARED} | {"VIRTUAL_ENV", "PYTHONPATH"}
        kept = {
            name: text
            for name, text in os.environ.items()
            if name not in ours and "MAKE" not in name
        }
        home, old = self.root / "home", Path.home()
        home.mkdir()
        path = os.pathsep.join((str(home / ".local" / "bin"), str(programs), os.environ["PATH"]))
        return {
            "XDG_CONFIG_HOME": str(old / ".config"),
            "UV_CACHE_DIR": str(old / ".cache" / "uv"),
            **kept,
            "HOME": str(home),
            "PATH": path,
            "PYTHON": sys.executable,
            "UV_PYTHON": sys.executable,
            # New releases of dependencies are not the subject.
            "UV_CONSTRAINT": str(ROOT / "locks" / "runtime.txt"),
            "UV_BUILD_CONSTRAINT": str(ROOT / "locks" / "build.txt"),
        }

    def ran(self, command: str) -> str:
        """Return what a command prints."""
        done = subprocess.run(
            ("sh", "-c", command),
            cwd=self.checkout,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def compare(self, step: Step, printed: str) -> None:
        """Fail unless the page shows what a command printed."""
        self.assertTrue(
            fits(step.shown, printed),
            f"$ {step.command}\n{printed}\nbut the page has:\n{step.shown}",
        )

    def test_page(self) -> None:
        """The demo installs the runtime's lock alone; the installed router runs and answers."""
        demo, private, install, run, prompt = steps()
        self.assertEqual(
            [each.command for each in (demo, private, install, run, prompt)],
            [
                "make demo",
                "make demo ARGS=--private",
                "uv tool install .",
                "autopilot run",
                "autopilot try Hello",
            ],
        )
        self.compare(demo, self.ran(demo.command))
        self.check_installed("runtime")
        self.compare(private, self.ran(private.command))
        self.check_installed("private")
        self.compare(install, self.ran(install.command))
        platform = stub(self.root)
        with ending(platform):
            platform.start()
            base = f"http://{HOST}:{platform.port}"
            router = self.started(run.command, base)
            port = self.port(router)
            answer = self.ran(f"{prompt.command} --router http://{HOST}:{port}")
            router.send_signal(signal.SIGINT)
            router.wait(_PATIENCE)
        self.compare(prompt, answer)
        self.compare(run, (self.root / "run.log").read_text())

    def check_installed(self, lock: str) -> None:
        """Fail unless the demo's environment has the packages of this lock and no more."""
        found = (self.checkout / ".venv-run").glob("lib/python3*/site-packages/*.dist-info")
        names = {re.sub("[_.]", "-", each.stem.rpartition("-")[0].lower()) for each in found}
        self.assertEqual(names, {each.name for each in pins(ROOT / "locks" / f"{lock}.txt")})

    def started(self, command: str, base: str) -> subprocess.Popen[bytes]:
        """Start the router on any free ports, with the stub as its platform."""
        urls = ("BACKEND_BASE_URL", "MESSAGES_BASE_URL", "RESPONSES_BASE_URL", "API_BASE_URL")
        settings = {
            **dict.fromkeys(urls, base),
            "MODELS_URL": f"{base}/v1/models",
            "UTILIZATION_URL": f"{base}/chutes/utilization",
            "LISTEN_ADDR": f"{HOST}:0",
            "ADMIN_LISTEN_ADDR": f"{HOST}:0",
        }
        with (self.root / "run.log").open("wb") as log:
            router = subprocess.Popen(
                command.split(),
                cwd=self.root,
                env={**self.environment, **settings},
                stdout=log,
                stderr=log,
            )
        self.addCleanup(router.wait)
        self.addCleanup(router.kill)
        return router

    def port(self, router: subprocess.Popen[bytes]) -> int:
        """Return the router's port, as soon as it is ready."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and router.poll() is None:
            log = (self.root / "run.log").read_text()
            if "Ready: " in log and (found := _LISTENING.search(log)):
                return int(found[1])
            time.sleep(0.05)
        raise AssertionError((self.root / "run.log").read_text())
