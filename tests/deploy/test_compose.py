"""The compose file: valid, hardened, and in step with the code."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path
from shutil import which
from typing import Any
from unittest import SkipTest
from urllib.parse import urlsplit

from dotenv import dotenv_values
from twisted.trial.unittest import SynchronousTestCase

from autopilot import __version__
from autopilot.settings import Settings, load_settings, split_address
from autopilot.settings.schema import MOST_WORKERS
from stub_backend.command import host_and_port, parse
from tests.deploy.manager import free_port
from tests.deploy.manifests import (
    COMPOSE,
    SETTINGS,
    by_default,
    compose,
    dockerfile,
    memory,
    memory_needed,
    mistakes_in,
    seconds,
    tasks_needed,
)
from tests.process.processes import PATIENCE, ROOT, received, until

_ROUTERS = ("router", "demo")
_STOPPING = 5.0
"""Seconds that a stop takes besides the drain."""


class ComposeTestCase(SynchronousTestCase):
    """The file, read."""

    def setUp(self) -> None:
        """Read it."""
        self.manifests = compose()
        self.file = self.manifests[COMPOSE.name]
        self.services: dict[str, Any] = self.file["services"]

    def settings(self, name: str) -> Settings:
        """The settings that a router's environment gives; an unknown variable fails."""
        given = {key: by_default(text) for key, text in self.services[name]["environment"].items()}
        in_file = dotenv_values(SETTINGS, interpolate=False) if name == "router" else {}
        known = set(Settings.__dataclass_fields__)
        self.assertLessEqual({key.lower() for key in (*given, *in_file)}, known)
        self.assertEqual(given.keys() & in_file.keys(), set())  # the environment would win
        return load_settings({}, given, in_file)


class SchemaTests(SynchronousTestCase):
    """What the Compose Specification says."""

    def test_valid(self) -> None:
        """Nothing is wrong with the file."""
        self.assertEqual(compose().problems, {COMPOSE.name: []})

    def test_would_show(self) -> None:
        """A key or a value that it does not know would be."""
        copies = mistakes_in(COMPOSE)
        self.assertEqual(len(copies), 2)
        for problems in copies:
            self.assertNotEqual(problems, [])


class HardenedTests(ComposeTestCase):
    """What every container may not do, and what is reachable from where."""

    def test_every_service(self) -> None:
        """Nothing to write to, no capabilities, no new ones, limits, bounded logs, restarts."""
        for name, service in self.services.items():
            self.assertIs(service["read_only"], True, name)
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertEqual(service["security_opt"], ["no-new-privileges:true"], name)
            self.assertEqual(set(service["deploy"]["resources"]["limits"]), {"memory", "pids"})
            self.assertLessEqual({"max-size", "max-file"}, set(service["logging"]["options"]))
            self.assertEqual(service["restart"], "unless-stopped", name)
            self.assertNotIn("privileged", service)

    def test_capabilities(self) -> None:
        """Only Caddy has one: to listen on the web's ports."""
        having = {
            name: each["cap_add"] for name, each in self.services.items() if "cap_add" in each
        }
        self.assertEqual(having, {"caddy": ["NET_BIND_SERVICE"]})

    def test_reachable(self) -> None:
        """Unless told otherwise only from this machine; the router itself never from outside."""
        for name, service in self.services.items():
            for port in service.get("ports", ()):
                self.assertTrue(by_default(port).startswith("127.0.0.1:"), port)
                if name != "caddy":
                    self.assertTrue(port.startswith("127.0.0.1:"), port)
        inside = self.file["networks"]["inside"]
        self.assertIs(inside["internal"], True)
        among = [name for name, each in self.services.items() if "inside" in each["networks"]]
        self.assertEqual(among, ["router", "caddy"])


class InStepTests(ComposeTestCase):
    """Facts of the code that the file repeats."""

    def test_times_to_stop(self) -> None:
        """Containers are given longer than the drain takes."""
        for name, behind in (("router", "router"), ("demo", "demo"), ("caddy", "router")):
            settings = self.settings(behind)
            drain = (settings.drain_delay_ms + settings.drain_timeout_ms) / 1000
            grace = seconds(self.services[name]["stop_grace_period"])
            self.assertGreater(grace, drain + _STOPPING)

    def test_ports(self) -> None:
        """Published are the operators' port and Caddy's; Caddy goes where the router listens."""
        settings = self.settings("router")
        _, admin = split_address(settings.admin_listen_addr)
        (published,) = self.services["router"]["ports"]
        self.assertEqual(by_default(published), f"127.0.0.1:{admin}:{admin}")
        _, port = split_address(settings.listen_addr)
        caddy = self.services["caddy"]
        self.assertEqual(caddy["environment"]["AUTOPILOT_ROUTER"], f"router:{port}")
        (demo,) = self.services["demo"]["ports"]
        self.assertTrue(demo.endswith(f":{split_address(self.settings('demo').listen_addr)[1]}"))

    def test_reload(self) -> None:
        """The router reads the file of settings in a directory that is mounted."""
        router = self.services["router"]
        (option,) = router["command"]
        ((source, target, mode),) = (each.split(":") for each in router["volumes"])
        self.assertEqual(option, f"--env-file={target}/{SETTINGS.name}")
        self.assertEqual((ROOT / source, mode), (SETTINGS.parent, "ro"))

    def test_proxy(self) -> None:
        """The router believes the addresses that come from the network Caddy is in."""
        settings = self.settings("router")
        (subnet,) = self.file["networks"]["inside"]["ipam"]["config"]
        self.assertIs(settings.trust_proxy_headers, True)
        self.assertEqual([*map(str, settings.trusted_proxy_cidrs)], [by_default(subnet["subnet"])])
        self.assertEqual(
            self.services["router"]["environment"]["TRUSTED_PROXY_CIDRS"], subnet["subnet"]
        )

    def test_caddyfile(self) -> None:
        """The file is where Caddy gets it from, and its variables are set."""
        (mounted,) = (each for each in self.services["caddy"]["volumes"] if "Caddyfile" in each)
        source, target, mode = mounted.split(":")
        self.assertEqual((target, mode), ("/etc/caddy/Caddyfile", "ro"))
        asked = set(re.findall(r"\{\$(\w+)", (ROOT / source).read_text()))
        self.assertEqual(asked, set(self.services["caddy"]["environment"]))

    def test_demo(self) -> None:
        """The demo's router has the stand-in for everything; both are in that profile only."""
        stand_in = self.services["platform"]
        options = parse(stand_in["command"])
        host, port = host_and_port(options.listen)
        self.assertEqual(host, "0.0.0.0")
        settings, usual = self.settings("demo"), Settings()
        for field in Settings.__dataclass_fields__:
            if field.endswith("_url") and getattr(usual, field):
                path = getattr(usual, field).split("/", 3)[3:]
                there = "/".join((f"http://platform:{port}", *path))
                self.assertEqual(getattr(settings, field), there)
        in_profiles = {name for name, each in self.services.items() if "profiles" in each}
        self.assertEqual(in_profiles, {"demo", "platform", "valkey"})
        self.assertEqual(stand_in["networks"], self.services["demo"]["networks"])

    def test_workers(self) -> None:
        """A worker for each core, for which memory and tasks suffice at most."""
        settings = self.settings("router")
        self.assertEqual(settings.workers, "auto")
        limits = self.services["router"]["deploy"]["resources"]["limits"]
        needed = memory_needed(MOST_WORKERS, settings.max_buffered_bytes)
        self.assertGreater(memory(limits["memory"]), needed)
        self.assertGreater(limits["pids"], tasks_needed(MOST_WORKERS))

    def test_versions(self) -> None:
        """The images are those of this version."""
        for name in (*_ROUTERS, "platform"):
            image = by_default(self.services[name]["image"])
            self.assertEqual(image.partition(":")[2], __version__)


class StoreTests(ComposeTestCase):
    """The store of the profile."""

    def test_reachable(self) -> None:
        """Only the router is in its network, which leads nowhere else."""
        self.assertIs(self.file["networks"]["state"]["internal"], True)
        among = [name for name, each in self.services.items() if "state" in each["networks"]]
        self.assertEqual(among, ["router", "valkey"])
        self.assertEqual(self.services["valkey"]["profiles"], ["valkey"])
        self.assertNotIn("ports", self.services["valkey"])

    def test_url(self) -> None:
        """The URL that the page and the file name is the service's, and a router accepts it."""
        for text in (COMPOSE.read_text(), (ROOT / "docs" / "deploy.md").read_text()):
            (url,) = set(re.findall(r"STATE_URL=(redis://valkey:\d+)", text))
            given = load_settings({}, {"STATE_URL": url, "STICKY_HASH_KEY": "a secret text"}, {})
            self.assertIsNotNone(given.state_url)
            self.assertEqual((urlsplit(url).hostname, urlsplit(url).port), ("valkey", 6379))

    def test_options(self) -> None:
        """A real server starts with the options, writes no file, and refuses nothing yet."""
        program = which("valkey-server") or which("redis-server")
        if program is None:
            raise SkipTest("redis-server is not installed; `make system` installs it")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        name, *options = self.services["valkey"]["command"]
        self.assertEqual(name, "valkey-server")
        port = free_port()
        server = subprocess.Popen(
            (program, *options, "--port", str(port)), cwd=folder, stdout=subprocess.DEVNULL
        )
        self.addCleanup(server.wait, PATIENCE)
        self.addCleanup(server.terminate)
        until(lambda: self._told(port, b"PING") == b"+PONG\r\n")
        self.assertEqual(self._told(port, b"SET a b"), b"+OK\r\n")
        limit = self.services["valkey"]["deploy"]["resources"]["limits"]["memory"]
        used = memory(options[options.index("--maxmemory") + 1].removesuffix("b").upper())
        self.assertLess(used, memory(limit))
        server.terminate()
        server.wait(PATIENCE)
        self.assertEqual(list(folder.iterdir()), [])

    def _told(self, port: int, command: bytes) -> bytes:
        """Return the server's answer; nothing before it listens."""
        try:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                client.sendall(command + b"\r\n")
                return received(client, b"\r\n")
        except ConnectionRefusedError:
            return b""


class ImageTests(ComposeTestCase):
    """What the compose file and the Dockerfile have to agree on."""

    def test_target(self) -> None:
        """The stand-in's stage is there."""
        target = self.services["platform"]["build"]["target"]
        self.assertRegex(dockerfile(), rf"(?im)^FROM .+ AS {target}$")

    def test_ports(self) -> None:
        """The image listens on the operators' port of the compose file, and exposes both ports."""
        admin = self.settings("router").admin_listen_addr
        self.assertIn(f"ADMIN_LISTEN_ADDR={admin}\n", dockerfile())
        ports = " ".join(each.rpartition(":")[2] for each in (Settings().listen_addr, admin))
        self.assertIn(f"\nEXPOSE {ports}\n", dockerfile())

    def test_health(self) -> None:
        """The check is the image's own, the router's with the file of its settings."""
        kind, *command, file = self.services["router"]["healthcheck"]["test"]
        self.assertEqual(kind, "CMD")
        self.assertEqual([file], self.services["router"]["command"])
        self.assertEqual(self.services["demo"]["healthcheck"]["test"], [kind, *command])
        self.assertIn("interval", self.services["router"]["healthcheck"])
        written = ", ".join(f'"{word}"' for word in command)
        self.assertIn(f"[{written}]", dockerfile())
