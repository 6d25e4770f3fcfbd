"""Tests of the check of private mode, against a stub that has a synthetic world's keys."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from unittest.mock import patch

import trustme
from cryptography.exceptions import UnsupportedAlgorithm
from msgspec.json import Decoder

from autopilot.attestation import sealing
from autopilot.cli import check_private
from stub_backend import StubOptions
from tests.unit.cli.test_check import CheckTestCase

PRIVATE = Path(__file__).parents[2] / "data" / "private"
NOW = 1_780_272_000.0
DAY = 86_400.0


class CheckPrivateTests(CheckTestCase):
    """One result for each thing that private mode needs."""

    options = StubOptions(models=2, scenario_models=False, attestation_kit=str(PRIVATE))

    def setUp(self) -> None:
        """Turn private mode on, at the time of the synthetic world."""
        super().setUp()
        self.environ["PRIVATE"] = "ask"
        self.at(NOW)

    def at(self, now: float, server: float | None = None) -> None:
        """Let this machine's clock, and that of the server, show these times."""
        self.patch(time, "time", lambda: now)
        moment = datetime.fromtimestamp(now if server is None else server, UTC)
        stated = format_datetime(moment, usegmt=True)
        self.patch(check_private, "_stated", lambda _answer: stated)

    def found(self) -> dict[str, tuple[str, str]]:
        """Return the state and the detail of each subject."""
        _, found = self.checked("--only", "private")
        return {subject: (state, detail) for state, check, subject, detail in found}

    def test_off(self) -> None:
        """Nothing is checked where private mode is off."""
        del self.environ["PRIVATE"]
        self.assertEqual(self.found(), {})

    def test_good(self) -> None:
        """Packages, data, clock and measurements are fine."""
        found = self.found()
        self.assertEqual({state for state, _ in found.values()}, {"ok"}, found)
        self.assertRegex(found["packages"][1], r"\Acryptography \d.*, dcap-qvl \d")
        self.assertRegex(found["Intel's data"][1], r"\Acan be fetched, and is valid \d+ days\Z")
        self.assertRegex(found["measurements"][1], r"\A\d+ rows published by the platform\Z")
        self.assertIn("clock", found)

    def test_clock(self) -> None:
        """A clock that is wrong by a day is named as such, whichever way."""
        for wrong, words in ((DAY * 3, "3 days ahead of"), (-DAY * 3, "3 days behind")):
            self.at(NOW + wrong, NOW)
            self.assertEqual(self.found()["clock"], ("fail", f"{words} the server's"))
        self.at(NOW + 299, NOW)
        self.assertEqual(self.found()["clock"][0], "ok")

    def test_out_of_date(self) -> None:
        """Data that is not valid by this machine's clock may be the clock's fault."""
        for now, words in ((0.0, "in the future"), (NOW * 2, "ago")):
            self.at(now)
            state, detail = self.found()["Intel's data"]
            self.assertEqual(state, "fail")
            self.assertTrue(detail.endswith(f"{words}, by this machine's clock"), detail)

    def test_no_data(self) -> None:
        """What cannot be fetched is a failure; so is what is no data of Intel's."""
        self.environ["PRIVATE_COLLATERAL_URL"] = "http://127.0.0.1:9/nothing"
        found = self.found()
        self.assertEqual(found["Intel's data"], ("fail", "status 404"))
        with patch.object(check_private, "_enclave", Decoder(int)):
            del self.environ["PRIVATE_COLLATERAL_URL"]
            self.assertEqual(self.found()["Intel's data"], ("fail", "not the expected JSON"))

    def test_packages(self) -> None:
        """Missing packages, and one that is too old, are named with what to install."""
        with patch.dict(sys.modules, {"dcap_qvl": None}):
            for name in [each for each in sys.modules if each.endswith("quote_verification")]:
                self.patch_out(name)
            self.assertEqual(self.found()["packages"], ("fail", "not installed"))
        with patch.object(sealing, "ResponseKey", side_effect=UnsupportedAlgorithm("")):
            found = self.found()["packages"]
        self.assertEqual(found, ("fail", "cryptography has no ML-KEM here"))

    def patch_out(self, name: str) -> None:
        """Forget an imported module for the rest of the test."""
        module = sys.modules.pop(name)
        package, _, last = name.rpartition(".")
        self.addCleanup(setattr, sys.modules[package], last, module)
        delattr(sys.modules[package], last)
        self.addCleanup(sys.modules.__setitem__, name, module)

    def test_pins(self) -> None:
        """Pinned rows are compared with the published ones; none in common is a warning."""
        rows = json.loads((PRIVATE / "measurements_seen.json").read_text())
        Path("pins.json").write_text(json.dumps(rows[:3]))
        self.environ["PRIVATE_MEASUREMENTS"] = "pins.json"
        state, detail = self.found()["measurements"]
        self.assertRegex(detail, r"\A3 rows pinned, \d of them still published\Z")
        self.assertEqual(state, "warn" if " 0 of" in detail else "ok")
        self.stub.attestation.behave(measurements=False)
        state, detail = self.found()["measurements"]
        self.assertEqual(state, "warn")
        self.assertIn("3 rows pinned; not compared", detail)

    def test_no_measurements(self) -> None:
        """Without the platform's list nothing can be verified, unless rows are pinned."""
        self.stub.attestation.behave(measurements=False)
        self.assertEqual(self.found()["measurements"][0], "fail")

    def test_test_roots(self) -> None:
        """Other roots are a warning: nothing is attested with them."""
        self.assertNotIn("roots", self.found())
        pems = [trustme.CA().cert_pem.bytes().decode() for _ in range(2)]
        Path("roots.pem").write_text("".join(pems))
        self.environ.update(PRIVATE_TEST_ROOTS="roots.pem", API_BASE_URL="http://127.0.0.1:9")
        state, detail = self.found()["roots"]
        self.assertEqual(state, "warn")
        self.assertIn("nothing is attested", detail)
