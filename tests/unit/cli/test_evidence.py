"""Tests of ``autopilot evidence`` with every evidence scenario of the stub."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli import evidence, platform
from autopilot.cli.console import CommandError
from stub_backend import EVIDENCE_SCENARIOS, StubOptions
from stub_backend.evidence_bodies import instance_ids
from stub_backend.population import chute_uuid
from stub_backend.sealed.seals import e2e_pubkey
from tests.rigs.smoke.client import fetch_json
from tests.rigs.smoke.processes import StubProcess
from tests.unit.cli.asked import CommandTestCase
from tests.unit.cli.commands import Done, run, start

STATES = {"no-tee", "evidence-unavailable", "evidence-present-unverified"}
# One of each kind; what every other row comes to is tested where answers are read.
SHOWN = {
    "evidence-ok": (0, "evidence-present-unverified"),
    "evidence-partial": (0, "evidence-present-unverified"),
    "evidence-no-certificate": (0, "evidence-present-unverified"),
    "evidence-all-failed": (1, "evidence-unavailable (all-instances-failed)"),
    "evidence-other-key": (1, "evidence-unavailable (binding-mismatch)"),
    "evidence-sgx-quote": (1, "evidence-unavailable (malformed-quote)"),
    "evidence-400-outdated": (1, "evidence-unavailable (runtime-too-old)"),
    "evidence-429": (1, "evidence-unavailable (rate-limited)"),
    "evidence-500-text": (1, "evidence-unavailable (platform-error)"),
    "evidence-garbage": (1, "evidence-unavailable (unreadable-answer)"),
    "ok": (1, "no-tee"),
}


class EvidenceTestCase(CommandTestCase):
    """Runs the sub-command against a stub in memory."""

    options = StubOptions(models=0, other_chutes=0, private_chutes=0, evidence_models=True)

    def begun(self, *arguments: str) -> tuple[Deferred[int], io.StringIO]:
        """Start the sub-command for one model."""
        return super().begun("evidence", *arguments)

    def asked(self) -> list[str]:
        """Return the paths of the stub's requests for evidence."""
        return [each.path for each in self.stub.log if "/evidence" in each.path]


class ResultTests(EvidenceTestCase):
    """The output for each response."""

    def test_words(self) -> None:
        """The first line is the state, which determines the exit status."""
        for name, (status, state) in SHOWN.items():
            got, said = self.ask(f"stub/{name}")
            self.assertEqual((got, said.splitlines()[0]), (status, f"stub/{name}: {state}"))
            self.assertNotIn("verified", said.replace("unverified", ""))

    def test_checks(self) -> None:
        """The output separates passed from omitted checks, and has neither without evidence."""
        _, said = self.ask("stub/evidence-partial")
        self.assertRegex(said, r"instances +2 answered, 1 failed, evidence of 16 GPUs")
        checked, _, not_checked = said.partition("not checked")
        self.assertIn("complete TDX quote", checked)
        self.assertIn("TLS certificate", checked)
        for text in ("signatures", "measurements", "GPUs' evidence", "which instance", "nonce in"):
            self.assertIn(text, not_checked)
        _, said = self.ask("stub/evidence-no-certificate")
        self.assertIn("TLS certificates", said.partition("not checked")[2])
        self.assertNotIn("checked", self.ask("stub/evidence-429")[1])

    def test_json(self) -> None:
        """`--json` prints one object with the same facts."""
        for name in ("evidence-ok", "evidence-other-key", "ok"):
            got = self.ask_json(f"stub/{name}")
            self.assertIn(got["state"], STATES)
            reason = f" ({got['reason']})" if got["reason"] else ""
            self.assertEqual(f"{got['state']}{reason}", SHOWN[name][1])
            self.assertEqual(got["model"], f"stub/{name}")
        got = self.ask_json("stub/evidence-ok")
        self.assertEqual((got["instances"], got["failed"], got["gpus"]), (3, 0, 24))
        self.assertEqual((got["certificate_bound"], got["nonces_bound"]), (True, 0))

    def test_nonce(self) -> None:
        """Each request has a fresh nonce, checked for instances with a known public key."""
        chute = chute_uuid("stub/evidence-ok")
        first, second, _third = instance_ids(chute, 3)
        listed = [{"instance_id": each, "e2e_pubkey": e2e_pubkey(each)} for each in (first, second)]
        listing = self.folder / "instances.json"
        listing.write_text(json.dumps({"instances": listed, "nonce_expires_in": 60}))
        by_id = self.ask_json(chute, "--e2e-instances", "instances.json")
        self.assertEqual((by_id["model"], by_id["nonces_bound"]), ("stub/evidence-ok", 2))
        self.assertIn("the nonce is in 2 of 3 quotes", by_id["checked"])
        listed[0]["e2e_pubkey"] = e2e_pubkey(second)
        listing.write_text(json.dumps({"instances": listed}))
        wrong = self.ask_json(chute, "--e2e-instances", "instances.json")
        self.assertEqual(wrong["reason"], "nonce-mismatch")
        nonces = [path.partition("?nonce=")[2] for path in self.asked()]
        self.assertEqual(len(set(nonces)), 2)
        for nonce in nonces:
            self.assertRegex(nonce, r"\A[0-9a-f]{64}\Z")
            self.assertNotIn(nonce, str(by_id) + str(wrong))

    def test_no_tee_asks_nothing(self) -> None:
        """No evidence is requested for an unknown model, or one without a TEE."""
        self.ask("stub/ok")
        self.refused("stub/nobody")
        self.assertEqual(self.asked(), [])

    def test_no_credentials(self) -> None:
        """No request contains the key of the environment."""
        self.environ["CHUTES_API_KEY"] = "fixture-key"
        self.ask("stub/evidence-ok")
        self.assertEqual(len(self.stub.log), 2)
        for request in self.stub.log:
            names = {name.lower() for name, _ in request.headers}
            self.assertEqual(names, {"accept", "accept-encoding", "connection", "host"})
            self.assertNotIn("fixture-key", str(request))


class TroubleTests(EvidenceTestCase):
    """Invalid input and network errors."""

    def test_unknown_model(self) -> None:
        """An unknown name gives a printable error with a suggestion."""
        said = self.refused("stub/evidence-okay")
        self.assertIn("'stub/evidence-okay' (did you mean 'stub/evidence-ok'", said)
        for name in ("\x1b[31m\nred", "", "x" * 100_000, "\udcff"):
            said = self.refused(name)
            self.assertTrue(said.startswith("Unknown model: '"), said)
            self.assertTrue(said.isprintable() and len(said) < 300, said)

    def test_bad_settings(self) -> None:
        """An invalid URL is an error, an unrelated invalid setting is not."""
        for name, option in (("API_BASE_URL", "--api-base-url"), ("MODELS_URL", "--models-url")):
            self.environ[name] = "ftp://x"
            self.assertTrue(self.refused("stub/ok").startswith(f"{name}: "))
            said = self.refused("stub/ok", option, "https://me:secret@x/")
            self.assertTrue(said.startswith(f"{name}: "))
            self.assertNotIn("secret", said)
            del self.environ[name]
        self.environ["LISTEN_ADDR"] = "nonsense"
        self.assertEqual(self.ask("stub/ok")[0], 1)

    def test_where_settings_come_from(self) -> None:
        """An option wins over the environment, and that over the .env file."""
        env_file = self.folder / ".env"
        env_file.write_text("API_BASE_URL=ftp://file\nLISTEN_ADDR=nonsense\n")
        self.assertIn("ftp://file", self.refused("stub/evidence-ok"))
        self.environ["API_BASE_URL"] = "ftp://environment"
        self.assertIn("ftp://environment", self.refused("stub/evidence-ok"))
        self.assertEqual(self.ask("stub/evidence-ok", "--api-base-url", "http://x.test")[0], 0)
        self.assertIn(("host", "x.test"), [(n.lower(), v) for n, v in self.stub.log[-1].headers])
        env_file.write_bytes(b"A=\xff\n")
        self.assertEqual(self.refused("stub/evidence-ok"), ".env cannot be read")

    def test_authorities(self) -> None:
        """A file without certificate authorities is an error."""
        self.patch(evidence, "verified_agent", platform.verified_agent)
        (self.folder / "empty.pem").touch()
        for name in ("empty.pem", "nowhere.pem"):
            self.environ["UPSTREAM_CA_FILE"] = name
            self.assertIn("UPSTREAM_CA_FILE: ", self.refused("stub/ok"))

    def test_keys(self) -> None:
        """An invalid file of keys is an error."""
        (self.folder / "keys").write_text('{"instances":[{"instance_id":"secret"}]}')
        said = self.refused("stub/ok", "--e2e-instances", "keys")
        self.assertEqual(said, "--e2e-instances: not a response of /e2e/instances")
        said = self.refused("stub/ok", "--e2e-instances", "nowhere")
        self.assertEqual(said, "--e2e-instances: No such file or directory")

    def test_trouble_on_the_way(self) -> None:
        """A broken catalog, a cut response and a missing one are errors."""
        said = self.refused("stub/evidence-cut")
        self.assertEqual(said, "the evidence could not be fetched: response truncated")
        ended, _ = self.begun("stub/evidence-hang")
        self.assertNoResult(ended)
        self.clock.advance(239)
        self.assertNoResult(ended)
        self.clock.advance(1)
        self.assertIn("240 s", str(self.failureResultOf(ended, CommandError).value))
        for mode, said in (("500", "status 500"), ("garbage", "not JSON"), ("html", "status 502")):
            self.stub.feeds.behave(models=mode)
            wanted = f"the catalog could not be fetched: {said}"
            self.assertEqual(self.refused("stub/ok"), wanted)


class ProcessTests(SynchronousTestCase):
    """The exit of real processes."""

    def setUp(self) -> None:
        """Create an empty directory."""
        self.folder = self.mktemp()
        os.makedirs(self.folder)

    def stub(self) -> StubProcess:
        """Start the platform as a process."""
        options = ("--models=0", "--other-chutes=0", "--private-chutes=0", "--evidence-models")
        stub = StubProcess("stub", Path(self.folder).absolute(), options)
        stub.start()
        self.addCleanup(stub.kill)
        return stub

    def test_statuses(self) -> None:
        """The status is 0 with evidence, 1 without, 2 for an error, and 130 for an interrupt."""
        stub = self.stub()
        base = f"http://127.0.0.1:{stub.port}"
        urls = {"API_BASE_URL": base, "MODELS_URL": f"{base}/v1/models"}
        # A slow machine must not end the hanging one before the others are done.
        urls["CONTROL_PLANE_TIMEOUT_MS"] = "600000"
        names = ("evidence-ok", "evidence-502", "ok", "evidence-cut", "nobody", "evidence-hang")
        running = {name: start(self.folder, "evidence", f"stub/{name}", **urls) for name in names}
        hanging = running.pop("evidence-hang")
        done = {name: Done(process) for name, process in running.items()}
        statuses = [each.status for each in done.values()]
        self.assertEqual(statuses, [0, 1, 1, 2, 2])
        for each in done.values():
            self.assertEqual(each.complaint == "", each.status < 2)
            self.assertEqual(each.output == "", each.status == 2)
            self.assertRegex(each.complaint, r"\A(autopilot: [^\n]+\n)?\Z")
        chute = chute_uuid("stub/evidence-hang")
        while not any(chute in path for path in paths(stub)):
            self.assertIsNone(hanging.poll())
        hanging.send_signal(signal.SIGINT)
        interrupted = Done(hanging)
        self.assertEqual((interrupted.status, interrupted.output), (130, ""))
        self.assertEqual(interrupted.complaint, "")

    def test_nobody_there(self) -> None:
        """An unreachable platform gives one line without an address."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
            done = run(self.folder, "evidence", "m", MODELS_URL=url)
        self.assertEqual((done.status, done.output), (2, ""))
        wanted = "autopilot: the catalog could not be fetched: connection refused\n"
        self.assertEqual(done.complaint, wanted)


class TableTests(SynchronousTestCase):
    """The table of scenarios in this module."""

    def test_rows(self) -> None:
        """Its rows are those of the stub's table."""
        names = {name.removeprefix("evidence-") for name in SHOWN if name != "ok"}
        self.assertTrue(names <= set(EVIDENCE_SCENARIOS))


def paths(stub: StubProcess) -> list[str]:
    """Return the paths that a stub process received."""
    return [each["path"] for each in fetch_json(stub.port, "/stub/log")["requests"]]
