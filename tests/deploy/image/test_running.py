"""The built image at run time: no root, nothing writable, no capability, no compiler.

``make image-test`` builds it and sets ``AUTOPILOT_IMAGE``; without that these tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.smoke.client import Exchange, get, post_head, refused
from tests.rigs.smoke.processes import RouterProcess, StubProcess
from tests.rigs.smoke.stage import CHAT, completion
from tests.rigs.smoke.waiting import until
from tools.image import container
from tools.image.archives import configuration, layer_sizes, unpack

_MOST_BYTES = 60_000_000
# The library that verifies quotes is larger than the router; its size is beyond our control.
_VERIFIES, _MOST_BYTES_OF_IT = "dcap_qvl", 8_000_000
_ENDED_BY_SIGTERM = 128 + signal.SIGTERM
_QUICK = {
    "MODELS_REFRESH_MS": "200",
    "UTILIZATION_REFRESH_MS": "200",
    "CONTROL_PLANE_TIMEOUT_MS": "400",
    "READYZ_MAX_SNAPSHOT_AGE_MS": "1500",
}


class ContainedRouter(RouterProcess):
    """A router in a root filesystem, run by runc."""

    def __init__(
        self, folder: Path, root: Path, image: dict[str, Any], stub_port: int, **settings: str
    ) -> None:
        super().__init__("router", folder, stub_port, settings)
        self._bundle = folder / "bundle"
        self._id = f"autopilot-{os.getpid()}-{self.port}"
        container.bundle(self._bundle, root, image, **self._settings)
        self._command = container.run_command(self._bundle, self._id)
        self._health = image["Healthcheck"]["Test"][1:]

    def inside(self, *command: str) -> tuple[int, str]:
        """Run a command in the container; return its status and output."""
        done = container.inside(self._bundle, self._id, *command)
        return done.returncode, done.stdout + done.stderr

    def healthy(self) -> bool:
        """Return the result of the image's own health check."""
        return self.inside(*self._health)[0] == 0

    def close(self) -> None:
        """Kill the processes in the container: runc forwards SIGTERM, but not SIGKILL."""
        if self.status is None:
            self.inside("python", "-c", "import os, signal; os.kill(-1, signal.SIGKILL)")
            self.wait()


class RunningTests(SynchronousTestCase):
    """One root filesystem for all tests; each test runs its own container."""

    archive: ClassVar[Path]
    root: ClassVar[Path]
    image: ClassVar[dict[str, Any]]

    @classmethod
    def setUpClass(cls) -> None:
        """Unpack the image."""
        archive = os.environ.get("AUTOPILOT_IMAGE")
        if not archive:
            raise SkipTest("there is no image to run: make image-test builds one")
        if shutil.which("runc") is None or os.getuid() != 0:
            raise SkipTest("running an image without Docker requires runc and root")
        cls.archive = Path(archive).absolute()
        cls.image = configuration(cls.archive)["config"]
        cls.root = Path(tempfile.mkdtemp(prefix="image-"))
        cls.addClassCleanup(shutil.rmtree, cls.root)
        cls.root.chmod(0o755)
        unpack(cls.archive, cls.root)

    def setUp(self) -> None:
        """Start the stub backend."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.stub = StubProcess("stub", self.folder, ())
        self.stub.start()
        self.addCleanup(self.stub.kill)

    def router(self, *, user: str = "", **settings: str) -> ContainedRouter:
        """Return a running container, as the image's user or another."""
        image = self.image | ({"User": user} if user else {})
        made = ContainedRouter(self.folder, self.root, image, self.stub.port, **settings)
        self.addCleanup(made.close)
        made.start()
        return made

    def test_rights(self) -> None:
        """The process has no root rights, cannot obtain any, and cannot write files."""
        router = self.router()
        status, text = router.inside("cat", "/proc/1/status")
        self.assertEqual(status, 0, text)
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        self.assertEqual(fields["Name"], "tini")
        self.assertEqual(fields["Uid"].split(), ["10001"] * 4)
        self.assertEqual(fields["Gid"].split(), ["10001"] * 4)
        self.assertEqual(int(fields["CapEff"], 16) | int(fields["CapPrm"], 16), 0)
        self.assertEqual(int(fields["CapBnd"], 16), 0)
        self.assertEqual(fields["NoNewPrivs"], "1")
        for path in ("/tmp/a", "/run/autopilot/a", "/opt/autopilot/a"):
            status, text = router.inside("sh", "-c", f"echo >{path}")
            self.assertNotEqual(status, 0)
            self.assertIn("Read-only file system", text)
        status, text = router.inside("cat", self.image["Labels"]["chutes-autopilot.sbom"])
        self.assertEqual(status, 0, text)
        router.wait_ready()
        self.assertTrue(router.healthy())

    def test_interpreter(self) -> None:
        """The image's Python, which is older than the tests' one, reads events as that does."""
        program = (
            "from autopilot.relay.sse import Events; events = Events(99);"
            "print([len(list(events.feed(bytes([byte])))) for byte in b'data: a\\n\\nid: 1\\n\\n'])"
        )
        status, text = self.router().inside("python", "-c", program)
        self.assertEqual((status, text.strip()), (0, str([0] * 8 + [1] + [0] * 7)))

    def test_health(self) -> None:
        """The image's health check follows the feeds."""
        router = self.router(**_QUICK)
        until("the container is healthy", router.healthy)
        self.assertEqual(get(router.port, "/readyz").finish().status, 200)
        self.stub.feeds(models="500", utilization="500")
        until("the container is unhealthy", lambda: not router.healthy())
        self.assertEqual(get(router.port, "/readyz").finish().status, 503)

    def test_drain(self) -> None:
        """On SIGTERM the container exits after the open stream is complete."""
        router = self.router(DRAIN_TIMEOUT_MS="20000")
        router.wait_ready()
        body = completion("stub/slow", stream=True)
        head = post_head(CHAT, [("Content-Length", str(len(body)))])
        stream = Exchange(router.port, head + body)
        stream.read_until(b"Served by")
        router.signal(signal.SIGTERM)
        until("the port is closed", lambda: refused(router.port))
        self.assertIsNone(router.status)
        reply = stream.finish()
        self.assertTrue(reply.clean)
        self.assertTrue(reply.body.endswith(b"data: [DONE]\n\n"))
        self.assertEqual(router.wait(), _ENDED_BY_SIGTERM)
        self.assertNotIn(b"Traceback", router.output())

    def test_any_user(self) -> None:
        """A platform may choose a user that the image does not know."""
        router = self.router(user="234567:0")
        router.wait_ready()
        self.assertTrue(router.healthy())

    def test_bad_setting(self) -> None:
        """An invalid setting is named on one line, and the container exits."""
        router = ContainedRouter(
            self.folder, self.root, self.image, self.stub.port, MAX_ATTEMPTS="none"
        )
        router.start(wait=False)
        self.assertEqual(router.wait(), 1)
        last = router.output().splitlines()[-1]
        self.assertTrue(last.startswith(b"autopilot: MAX_ATTEMPTS: "), last)
        self.assertNotIn(b"Traceback", router.output())

    def test_nothing_to_build_with(self) -> None:
        """There is no pip and no compiler, and the router added no set-user-ID file."""
        for name in ("pip", "pip3", "gcc", "cc", "make", "curl"):
            for place in ("opt/autopilot/bin", "usr/bin", "bin"):
                self.assertFalse((self.root / place / name).exists(), f"{place}/{name}")
        self.assertEqual(list(self.root.glob("opt/**/pip")), [])
        self.assertEqual(list(self.root.glob("usr/lib/python3*/ensurepip")), [])
        owned = [each for each in (self.root / "opt").rglob("*") if not each.is_symlink()]
        self.assertEqual([each for each in owned if each.stat().st_uid or _writable(each)], [])

    def test_labels(self) -> None:
        """The configuration has labels, ports and the stop signal."""
        labels = self.image["Labels"]
        self.assertEqual(labels["org.opencontainers.image.title"], "chutes-autopilot")
        self.assertNotIn("unknown", labels.values())
        listed = json.loads((self.root / labels["chutes-autopilot.sbom"][1:]).read_text())
        self.assertIn("twisted", {each["name"] for each in listed["components"]})
        self.assertEqual(list(self.image["ExposedPorts"]), ["8080/tcp", "8081/tcp"])
        self.assertEqual(self.image["StopSignal"], "SIGTERM")

    def test_licences(self) -> None:
        """Every Debian package has its copyright file, or a link to another package's."""
        for name in ("python3.11-minimal", "libssl3", "tini", "libexpat1"):
            found = list(self.root.glob(f"usr/share/doc/{name}/copyright"))
            self.assertEqual(len(found), 1, name)

    def test_size(self) -> None:
        """The layers above the base are small, and so is the library that verifies quotes."""
        base, *ours = layer_sizes(self.archive)
        library = sum(
            each.stat().st_size
            for folder in (self.root / "opt").glob(f"**/site-packages/{_VERIFIES}*")
            for each in folder.rglob("*")
            if each.is_file()
        )
        self.assertGreater(library, 0)
        self.assertLessEqual(library, _MOST_BYTES_OF_IT)
        self.assertLessEqual(sum(ours) - library, _MOST_BYTES, f"over a base of {base} bytes")

    def test_private_mode(self) -> None:
        """The image's Python has what private mode needs."""
        program = (
            "from autopilot.attestation import sealed_stream, verification;"
            "from autopilot.attestation.sealing import ResponseKey;"
            "print(len(ResponseKey().text))"
        )
        status, text = self.router().inside("python", "-c", program)
        self.assertEqual((status, text.strip()), (0, "1580"))


def _writable(path: Path) -> bool:
    """Return whether users other than the owner may write to the file."""
    return bool(path.stat().st_mode & 0o022)
