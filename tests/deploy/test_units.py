"""The systemd units: valid, hardened, sufficient, and consistent with the code."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp
from unittest import SkipTest

import trustme
from dotenv import dotenv_values
from twisted.trial.unittest import SynchronousTestCase

from autopilot.process.rlimits import MAX_DESCRIPTORS
from autopilot.process.systemd.sockets import ADMIN
from autopilot.settings import Settings, load_settings, split_address
from autopilot.settings.schema import MOST_WORKERS
from autopilot.web.listener import BACKLOG
from tests.deploy.manifests import memory, memory_needed, tasks_needed
from tests.deploy.sandbox import allowed
from tests.deploy.units import UNITS, names, unit
from tests.process.faults.cases import GOOD, FaultTestCase
from tests.process.faults.upstreams import ONE, Script, Upstream, says
from tests.process.processes import Router, until
from tests.unit.web.browsers import request

SERVICE = "chutes-autopilot.service"
_FILE = "/etc/chutes-autopilot/env"
_PROGRAM = re.compile(r"^(Exec\w+=)/\S+", re.M)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return the output of systemd-analyze for the units."""
    program = shutil.which("systemd-analyze")
    if program is None:
        raise SkipTest("systemd-analyze is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True)


class CorrectTests(SynchronousTestCase):
    """Checks by systemd itself."""

    def verified(self, spoil: str = "") -> str:
        """Return the complaints about all units, with their programs present."""
        folder = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        copies = []
        for name in names():
            text = _PROGRAM.sub(rf"\g<1>{sys.executable}", (UNITS / name).read_text())
            copies.append(folder / name)
            copies[-1].write_text(text.replace("[Service]", f"[Service]\n{spoil}"))
        checked = analyze("verify", "--man=no", "--recursive-errors=one", *map(str, copies))
        return checked.stderr + ("" if checked.returncode == 0 else "failed")

    def test_verify(self) -> None:
        """systemd knows every key and value."""
        self.assertEqual(self.verified(), "")

    def test_verify_complains(self) -> None:
        """systemd would report an unknown key."""
        self.assertIn("NoNewPrivilege", self.verified("NoNewPrivilege=yes"))

    def test_exposure(self) -> None:
        """The exposure is at most 1.5 of 10 points, which the network access requires."""
        checked = analyze("security", "--offline=true", "--threshold=15", str(UNITS / SERVICE))
        self.assertEqual(checked.returncode, 0, checked.stdout[-200:])


class InStepTests(SynchronousTestCase):
    """Facts of the code that the units repeat."""

    def test_command(self) -> None:
        """The command is the README's: in the foreground, with our reactor and plugin."""
        (command,) = unit(SERVICE)["ExecStart"]
        _, _, arguments = command.partition(" ")
        whole = f"--nodaemon --pidfile= --reactor=autopilot autopilot --env-file={_FILE}"
        self.assertEqual(arguments, whole)
        plugin = (UNITS.parents[1] / "twisted/plugins/autopilot_plugin.py").read_text()
        self.assertIn('Reactor(\n    "autopilot"', plugin)

    def test_reload(self) -> None:
        """The router reads the file that is installed, and nothing else holds settings.

        Variables that systemd reads are the environment of the process: SIGHUP cannot change them,
        and they would win over the file.
        """
        of = unit(SERVICE)
        self.assertEqual(of["ExecReload"], ["/bin/kill -HUP $MAINPID"])
        self.assertEqual({"Environment", "EnvironmentFile"} & set(of), set())
        text = (UNITS / SERVICE).read_text()
        made = re.search(r"groupadd --system (\S+)", text)
        installed = re.search(r"install -D -m 640 -g (\S+) (\S+) (\S+)\n", text)
        assert made is not None
        assert installed is not None
        (group,) = of["SupplementaryGroups"]
        self.assertEqual((made[1], *installed.groups()), (group, group, ".env.example", _FILE))
        self.assertTrue((UNITS.parents[1] / ".env.example").exists())

    def test_sockets(self) -> None:
        """Port, queue length and socket names are those of the router."""
        first = unit("chutes-autopilot.socket")
        admin = unit("chutes-autopilot-admin.socket")
        (listened,) = first["ListenStream"]
        self.assertEqual(split_address(listened)[1], split_address(Settings().listen_addr)[1])
        self.assertEqual(first["Backlog"], [str(BACKLOG)])
        self.assertNotEqual(first["FileDescriptorName"], [ADMIN])
        self.assertEqual(admin["FileDescriptorName"], [ADMIN])
        self.assertEqual(admin["Service"], [SERVICE])
        self.assertEqual(admin["ListenStream"], [Settings().admin_listen_addr])

    def test_times(self) -> None:
        """The stop timeout covers the default settings."""
        settings = Settings()
        (limit,) = unit(SERVICE)["TimeoutStopSec"]
        drain = (settings.drain_delay_ms + settings.drain_timeout_ms) / 1000
        self.assertGreater(int(limit.removesuffix("s")), drain + 5)

    def test_workers(self) -> None:
        """The step at the top uses all cores, for which memory and tasks suffice at most."""
        text = (UNITS / SERVICE).read_text()
        (step,) = re.findall(r"^#   sed -i '([^']+)' (\S+)", text, re.M)
        self.assertEqual(step[1], _FILE)
        example = UNITS.parents[1] / ".env.example"
        installed = subprocess.run(
            ["sed", step[0], example], check=True, capture_output=True, text=True
        ).stdout
        given = dotenv_values(stream=StringIO(installed), interpolate=False)
        settings = load_settings({}, {}, given)
        self.assertEqual((given, settings.workers), ({"WORKERS": "auto"}, "auto"))
        of = unit(SERVICE)
        (most,), (tasks,) = of["MemoryMax"], of["TasksMax"]
        needed = memory_needed(MOST_WORKERS, settings.max_buffered_bytes)
        self.assertGreater(memory(most), needed)
        self.assertGreater(int(tasks), tasks_needed(MOST_WORKERS))

    def test_stop(self) -> None:
        """Only the parent gets SIGTERM, and a worker that the kernel killed ends no other."""
        of = unit(SERVICE)
        self.assertEqual((of["KillMode"], of["OOMPolicy"]), (["mixed"], ["continue"]))

    def test_limits(self) -> None:
        """The descriptors suffice for all admitted requests, with two for each."""
        (limit,) = unit(SERVICE)["LimitNOFILE"]
        self.assertGreater(int(limit), 2 * Settings().max_concurrent_requests)
        self.assertLessEqual(int(limit), MAX_DESCRIPTORS)


class LivableTests(FaultTestCase):
    """The router works within the unit's restrictions, over TLS, up to its exit."""

    def sandboxed(self, **changes: object) -> None:
        """Start a router with a TLS platform, restricted as by systemd."""
        if shutil.which("systemd-analyze") is None:
            raise SkipTest("systemd-analyze, which knows the sets of system calls, is missing")
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        self.upstream = _TLSUpstream(context, one=says(GOOD))
        self.addCleanup(self.upstream.close)
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        forbidden = {
            "calls": sorted(allowed(unit(SERVICE)["SystemCallFilter"])),
            "no_new_code": unit(SERVICE).get("MemoryDenyWriteExecute") == ["yes"],
        }
        self.router = _Sandboxed(folder, self.upstream.port, {**forbidden, **changes})
        self.addCleanup(self.router.close)

    def test_serves(self) -> None:
        """Feeds, a stream, two workers and the drain need no forbidden system call."""
        self.sandboxed()
        self.port = self.router.port()
        until(lambda: self.exchange(request(b"/readyz", method=b"GET")).status == 200)
        self.assertTrue(self.ask(ONE).whole)
        parent = self.router.process.pid
        workers = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        self.assertEqual(len(workers), 2)
        for pid in (parent, *workers):
            status = Path(f"/proc/{pid}/status").read_text()
            self.assertRegex(status, r"Seccomp:\s2\n")
        self.router.signals(signal.SIGTERM)
        self.assertEqual(self.router.ends(), -signal.SIGTERM)
        self.assertNotIn("Traceback", self.router.log)

    def test_would_show(self) -> None:
        """With too few permissions the router fails to start, so the sandbox is effective."""
        calls = allowed(unit(SERVICE)["SystemCallFilter"]) - {"epoll_create1", "epoll_create"}
        self.sandboxed(calls=sorted(calls))
        self.assertNotEqual(self.router.ends(), 0)


class _TLSUpstream(Upstream):
    """An upstream behind TLS."""

    def __init__(self, context: ssl.SSLContext, **scripts: Script) -> None:
        self._context = context
        super().__init__(**scripts)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            super()._serve(self._context.wrap_socket(connection, server_side=True))


class _Sandboxed(Router):
    """A router behind the filter, with the unit's options."""

    options = ("--reactor=autopilot",)

    def __init__(self, folder: Path, port: int, forbidden: dict[str, object]) -> None:
        sandbox = str(Path(__file__).with_name("sandbox.py"))
        self.launcher = (sys.executable, sandbox, json.dumps(forbidden))
        base = f"https://localhost:{port}"
        super().__init__(
            str(folder / "run"),
            port,
            BACKEND_BASE_URL=base,
            MODELS_URL=f"{base}/v1/models",
            UTILIZATION_URL=f"{base}/chutes/utilization",
            API_BASE_URL=base,
            UPSTREAM_CA_FILE=str(folder / "ca.pem"),
            WORKERS="2",
        )
