"""Tests of ``autopilot evidence --verify``, with a platform of the synthetic world."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, cast

from autopilot.cli import evidence
from autopilot.measurement import parse_pinned
from tests.unit.attestation import world
from tests.unit.attestation.platform import INSTANCES, MODEL, Answer, Platform
from tests.unit.cli.asked import CommandTestCase

KEY = "cpk_canary.of.the.key"
A, B = INSTANCES["A"], INSTANCES["B"]
LIMITED: Answer = 429, b'{"detail":"Rate limit exceeded. Try again later. canary"}', {}


class VerifyTestCase(CommandTestCase):
    """A platform of the world on this machine, with a key, at the world's time."""

    def setUp(self) -> None:
        """Join the platform."""
        super().setUp()
        self.platform = Platform()
        self.join(self.platform)
        self.environ |= {"CHUTES_API_KEY": KEY, "API_BASE_URL": "http://127.0.0.1:9"}
        self.environ["MODELS_URL"] = "http://127.0.0.1:9/v1/models"
        self.patch(time, "time", lambda: float(world.NOW))
        Path("roots.pem").write_bytes(world.roots_pem())

    def arguments(self, *more: str) -> tuple[str, ...]:
        """Return the arguments of a verification."""
        return ("evidence", MODEL, "--test-roots", "roots.pem", *more)

    def verified(self, *more: str) -> tuple[int, str]:
        """Verify with the platform; return the exit status and the output."""
        return self.ask(*self.arguments("--verify", *more))

    def found(self, *more: str) -> Any:
        """Verify with the platform, and return the object of ``--json``."""
        return json.loads(self.verified("--json", *more)[1])


class VerdictTests(VerifyTestCase):
    """The verdict on each instance, and the words for it."""

    def test_all_verified(self) -> None:
        """The status is 0 if every listed instance is verified; the table has what was found."""
        status, said = self.verified()
        self.assertEqual(status, 0)
        first, head, *rows = said.splitlines()
        self.assertEqual(first, f"{MODEL}: 2 of 2 instances test-roots at 2026-06-01T00:00Z")
        self.assertRegex(head, "instance +verdict +TCB +measurement +GPUs +until")
        row = r"0a000000 +test-roots +UpToDate +9\.1\.0 2xsynthetic +2 +2026-07-01T00:00Z"
        self.assertRegex(rows[0], row)
        self.assertNotIn("attested", said)
        for words in ("not shown  the model and its code", "holds the key", "their own list"):
            self.assertIn(words.replace("their", "they are its"), said.replace("\n", " "))

    def test_refused(self) -> None:
        """An instance with a forged answer is refused with its reason, and the status is 1."""

        def forged(name: str, nonce: str) -> tuple[int, bytes, dict[str, str]]:
            return self.platform.genuine(name, nonce if name == "A" else "5a" * 32)

        self.platform.evidence = forged
        status, said = self.verified()
        self.assertEqual(status, 1)
        self.assertIn("1 of 2 instances", said)
        self.assertRegex(said, "0b000000 +refused: binding_key")

    def test_json(self) -> None:
        """The object has all instances, with their full ids."""
        self.platform.answers[f"/instances/{B}/evidence"] = LIMITED
        found = self.found()
        self.assertEqual((found["model"], found["time"]), (MODEL, world.NOW))
        self.assertEqual(found["roots"], "test-roots")
        self.assertEqual(
            found["instances"],
            [
                {
                    "instance": A,
                    "verdict": "test-roots",
                    "reason": None,
                    "tcb": "UpToDate",
                    "advisories": [],
                    "measurement": "9.1.0 2xsynthetic",
                    "gpus": 2,
                    "until": 1782864000,
                },
                {
                    "instance": B,
                    "verdict": "unanswered",
                    "reason": "status 429 (rate-limited)",
                },
            ],
        )
        self.assertEqual(len(found["checked"]), 5)

    def test_real_roots(self) -> None:
        """Without the test's roots the world is refused, and nothing was checked with success."""
        status, said = self.ask("evidence", MODEL, "--verify")
        self.assertEqual(status, 1)
        self.assertIn(f"{MODEL}: 0 of 2 instances attested", said)
        self.assertNotIn("  checked", said)

    def test_clock(self) -> None:
        """A clock that is wrong by a month looks like data that is not valid: a line says so."""
        self.patch(time, "time", lambda: world.NOW + 31 * 86400.0)
        status, said = self.verified()
        self.assertEqual(status, 1)
        self.assertIn("refused: collateral", said)
        self.assertIn("a wrong clock has the same effect", said)

    def test_unanswered(self) -> None:
        """An instance that does not answer is not refused: the status is 2."""
        self.platform.answers[f"/instances/{A}/evidence"] = LIMITED
        status, said = self.verified()
        self.assertEqual(status, 2)
        self.assertRegex(said, r"0a000000 +no answer: status 429 \(rate-limited\)")

    def test_none_listed(self) -> None:
        """A model without instances has none that is verified."""
        self.platform.names = ()
        self.platform.answers[f"/e2e/instances/{world.world()['chute_id']}"] = (
            200,
            b'{"instances":[]}',
            {},
        )
        status, said = self.verified()
        self.assertEqual(status, 1)
        self.assertIn("0 of 0 instances", said)

    def test_bad_key(self) -> None:
        """A key to which nothing can be sealed is refused, and no evidence is asked for."""
        discovery = self.platform.discovery()
        discovery["instances"][0]["e2e_pubkey"] = "AAAA"
        path = f"/e2e/instances/{world.world()['chute_id']}"
        self.platform.answers[path] = 200, json.dumps(discovery).encode(), {}
        self.assertRegex(self.verified()[1], "0a000000 +refused: key_malformed")
        self.assertNotIn(f"/instances/{A}/evidence", self.platform.log)

    def test_garbage(self) -> None:
        """Answers that are no evidence are refused."""
        for body in (b"", b"{}", b'{"quote":"AAAA","certificate":""}'):
            self.platform.answers[f"/instances/{A}/evidence"] = 200, body, {}
            self.assertRegex(self.verified()[1], "0a000000 +refused: quote_malformed")


class SecrecyTests(VerifyTestCase):
    """What is sent where, and what is printed."""

    def test_key(self) -> None:
        """The key is sent with discovery and evidence, and to nothing else, Intel least of all."""
        self.verified()
        with_key = {
            path
            for path, key in zip(self.platform.log, self.platform.keys, strict=True)
            if key == f"Bearer {KEY}"
        }
        chute = world.world()["chute_id"]
        evidence_paths = {f"/instances/{each}/evidence" for each in (A, B)}
        self.assertEqual(with_key, {f"/e2e/instances/{chute}", *evidence_paths})
        intel = [path for path in self.platform.log if "certification" in path]
        self.assertEqual(len(intel), 4)

    def test_printed(self) -> None:
        """Neither the key nor a text of the platform is printed."""
        self.platform.answers[f"/instances/{A}/evidence"] = LIMITED
        for more in ((), ("--json",)):
            said = self.verified(*more)[1]
            for text in ("canary", KEY, world.key()):
                self.assertNotIn(text, said)


class TroubleTests(VerifyTestCase):
    """Runs that end without a verdict."""

    def test_keys(self) -> None:
        """A missing or impossible key, or one that would travel in clear, ends the command."""
        self.environ["API_BASE_URL"] = "http://platform.test"
        self.assertIn("not https", self.refused("evidence", MODEL, "--verify"))
        self.environ["CHUTES_API_KEY"] = "a b"
        self.assertIn("not a valid key", self.refused("evidence", MODEL, "--verify"))
        del self.environ["CHUTES_API_KEY"]
        self.assertIn("set CHUTES_API_KEY", self.refused("evidence", MODEL, "--verify"))

    def test_answers(self) -> None:
        """Discovery, measurements and collateral are needed."""
        chute = world.world()["chute_id"]
        for path, answer, words in (
            (f"/e2e/instances/{chute}", (401, b"canary", {}), "refuses the API key"),
            (f"/e2e/instances/{chute}", LIMITED, "the instances could not be fetched: status 429"),
            (f"/e2e/instances/{chute}", (200, b"[]", {}), "could not be read: not a list"),
            ("/servers/tee/measurements", (500, b"", {}), "the measurements could not be fetched"),
            ("/servers/tee/measurements", (200, b"[]", {}), "no row can be read"),
            ("/sgx/certification/v4/rootcacrl", (404, b"", {}), "Intel's collateral could not be"),
        ):
            self.platform.answers = {path: answer}
            self.assertIn(words, self.refused(*self.arguments("--verify")))

    def test_options(self) -> None:
        """Options that do not fit together, or files that cannot be read, are errors."""
        Path("one.pem").write_bytes(world.roots_pem()[:900])
        for arguments, words in (
            (("--at", "1"), "--at needs --offline"),
            (("--verify", "--at", "1"), "--at needs --offline"),
            (("--save", "x"), "--save needs --verify"),
            (("--pin", "x"), "--pin needs --verify or --offline"),
            (("--measurements", "x"), "--measurements needs"),
            (("--test-roots", "x"), "--test-roots needs"),
            (("--verify", "--pin", "x", "--measurements", "y"), "--pin adds published rows"),
            (("--verify", "--test-roots", "absent"), "--test-roots: No such file"),
            (("--verify", "--test-roots", "one.pem"), "--test-roots: not two certificates"),
            (("--verify", "--measurements", "absent"), "absent: No such file"),
            (("--offline", "absent"), "measurements.json: No such file"),
        ):
            self.assertIn(words, self.refused("evidence", MODEL, *arguments))
        self.environ["API_BASE_URL"] = "https://platform.test"
        self.assertIn("on this machine", self.refused(*self.arguments("--verify")))

    def test_times(self) -> None:
        """A time is in ISO 8601, in UTC unless it says otherwise, or in Unix seconds."""
        for text, moment in (
            ("1780272000", 1780272000),
            ("2026-06-01", 1780272000),
            ("2026-06-01T00:00:00Z", 1780272000),
            ("2026-06-01T02:00:00+02:00", 1780272000),
        ):
            self.assertEqual(evidence._moment(text), moment)
        for text in ("yesterday", "", "²", "99999999999999999"):
            with self.assertRaises(ValueError, msg=text):
                evidence._moment(text)

    def test_no_tee(self) -> None:
        """A model without a TEE is not asked about."""
        model = {"id": MODEL, "chute_id": "c", "confidential_compute": False}
        body = json.dumps({"object": "list", "data": [model]}).encode()
        self.platform.answers["/v1/models"] = 200, body, {}
        status, said = self.verified()
        self.assertEqual((status, said), (1, f"{MODEL}: no-tee\n"))

    def test_without_packages(self) -> None:
        """Without the extra's packages the error names it."""
        self.verified()
        name, modules = "autopilot.cli.evidence_private", cast("dict[str, Any]", sys.modules)
        self.addCleanup(modules.__setitem__, name, modules[name])
        modules[name] = None
        said = self.refused(*self.arguments("--verify"))
        self.assertIn("pip install 'chutes-autopilot[private]'", said)


class OfflineTests(VerifyTestCase):
    """Answers that were kept."""

    def offline(self, *more: str) -> tuple[int, str]:
        """Verify the answers that are kept."""
        self.join(None)
        return self.ask(*self.arguments("--offline", "kept", *more))

    def test_again(self) -> None:
        """The same answers give the same verdicts, and other ones at other times."""
        _, said = self.verified("--save", "kept")
        self.assertEqual(self.offline("--at", str(world.NOW)), (0, said))
        for at, status in (("2026-06-30T23:59:59Z", 0), ("2026-07-01", 1), ("2026-05-01", 1)):
            self.assertEqual(self.offline("--at", at)[0], status, at)
        self.assertEqual(self.offline()[0], 0)

    def test_kept(self) -> None:
        """Neither nonces of discovery nor the API key are kept."""
        self.verified("--save", "kept")
        files = sorted(each.name for each in Path("kept").iterdir())
        evidence_names = [f"evidence-{each}.json" for each in (A, B)]
        collateral = "collateral-B0C06F000000-platform.json"
        self.assertEqual(
            files, [collateral, *evidence_names, "instances.json", "measurements.json"]
        )
        for each in Path("kept").iterdir():
            for text in (KEY, "nonce-A-0"):
                self.assertNotIn(text, each.read_text())

    def test_missing(self) -> None:
        """What was not kept is not verified."""
        self.verified("--save", "kept")
        (Path("kept") / f"evidence-{A}.json").unlink()
        status, said = self.offline()
        self.assertEqual(status, 2)
        self.assertRegex(said, "0a000000 +no answer: no answer was saved")
        (Path("kept") / "collateral-B0C06F000000-platform.json").unlink()
        status, said = self.offline()
        self.assertEqual(status, 1)
        self.assertRegex(said, "0b000000 +refused: collateral")

    def test_changed(self) -> None:
        """Files of another form end the command, and changed evidence is refused."""
        self.verified("--save", "kept")
        path = Path("kept") / f"evidence-{A}.json"
        kept = json.loads(path.read_text())
        path.write_text(json.dumps({**kept, "nonce": "5a" * 32}))
        self.assertRegex(self.offline()[1], "0a000000 +refused: binding_key")
        path.write_text("[]")
        offline = self.arguments("--offline", "kept")
        self.assertIn("not a nonce with its answer", self.refused(*offline))
        (Path("kept") / "instances.json").write_text("[]")
        self.assertEqual(self.refused(*offline), "instances.json: not a list of instances")


class PinTests(VerifyTestCase):
    """Rows of measurements that were published and seen."""

    def test_written(self) -> None:
        """A pin file has the rows of verified quotes, and with it they are verified again."""
        self.assertEqual(self.verified("--pin", "pins.json")[0], 0)
        (row,) = parse_pinned(Path("pins.json").read_bytes())
        self.assertEqual(row.label, "9.1.0 2xsynthetic")
        status, said = self.verified("--measurements", "pins.json")
        self.assertEqual(status, 0)
        self.assertNotIn("independent of the platform", said)
        asked = self.platform.log.count("/servers/tee/measurements")
        self.assertEqual(asked, 1)
        self.assertEqual([each.name for each in Path().glob(".pins*")], [])

    def test_added(self) -> None:
        """Rows are added to those of the file, once each."""
        listed = json.loads(self.platform.measurements)
        Path("pins.json").write_text(json.dumps(listed[1:]))
        for _ in range(2):
            self.verified("--pin", "pins.json")
        self.assertEqual(len(parse_pinned(Path("pins.json").read_bytes())), 2)

    def test_nothing_seen(self) -> None:
        """Without a verified quote no file is written."""
        self.platform.answers[f"/instances/{A}/evidence"] = LIMITED
        self.platform.names = ("A",)
        self.verified("--pin", "pins.json")
        self.assertFalse(Path("pins.json").exists())

    def test_faults(self) -> None:
        """Each fault of a file has a line; the status is 1, and the file stays as it is."""
        text = json.dumps([{}, 1])
        Path("pins.json").write_text(text)
        expected = (
            "pins.json: row 1: runtime_rtmrs is not an object\npins.json: row 2: not an object\n"
        )
        for option in ("--pin", "--measurements"):
            self.assertEqual(self.verified(option, "pins.json"), (1, expected))
        self.assertEqual(Path("pins.json").read_text(), text)
        self.assertNotIn("/servers/tee/measurements", self.platform.log)

    def test_not_pinned(self) -> None:
        """A row that is published but not pinned is refused."""
        listed = json.loads(self.platform.measurements)
        Path("pins.json").write_text(json.dumps(listed[1:]))
        said = self.verified("--measurements", "pins.json")[1]
        self.assertRegex(said, "0a000000 +refused: measurement_unknown")
