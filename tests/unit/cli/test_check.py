"""Tests of ``autopilot check``: its results for settings, feeds, key and a running router."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from OpenSSL import SSL
from twisted.internet.defer import fail
from twisted.internet.error import ConnectionLost, ConnectionRefusedError, DNSLookupError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from autopilot.cli import check, check_feeds
from autopilot.cli.check_feeds import newest
from autopilot.cli.remedies import CA_FILE
from autopilot.http.connect_proxy import ProxyError
from autopilot.routing.steps import result_of
from autopilot.settings import DECLARED, HIDDEN, Settings
from autopilot.wiring.parts import Parts
from tests.unit.cli.asked import ALIAS, CommandTestCase
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body

KEY = "cpk_fixture.fixture.fixture"
REVOKED = "cpk_fixture.fixture.revoked"


class CheckTestCase(CommandTestCase):
    """Runs one group of checks at a time."""

    def checked(self, *arguments: str) -> tuple[int, list[list[str]]]:
        """Return the exit status, and each result's state, check, subject and detail."""
        status, said = self.ask("check", *arguments, "--json")
        got = json.loads(said)
        self.assertEqual(set(got), {"ok", "checks", "settings"})
        self.assertEqual(got["ok"], status == 0)
        fields = ("state", "check", "subject", "detail")
        for each in got["checks"]:
            self.assertEqual(set(each), {*fields, "remedy"})
            self.assertNotIn("\n", each["detail"] + each["remedy"])
            # The line of a setting says itself what would be right.
            if each["state"] == "fail" and each["check"] != "config":
                self.assertRegex(each["remedy"], r"\A[A-Z`].+\.\Z", each)
        return status, [[each[field] for field in fields] for each in got["checks"]]


class ConfigTests(CheckTestCase):
    """The check of the settings, which lists their sources and hides secrets."""

    def test_good(self) -> None:
        """Valid settings are listed by source, with secrets hidden."""
        self.environ["LISTEN_ADDR"] = "127.0.0.1:1"
        self.environ["STICKY_HASH_KEY"] = "fixture-secret"
        Path(".env").write_text("COOLDOWN_MS=5\nLISTEN_ADDR=nonsense\nSOMETHING_ELSE=1\n")
        status, said = self.ask("check", "--only", "config")
        self.assertEqual(
            said,
            f"ok    config   {len(DECLARED)} settings are valid, 3 of them set; by environment:"
            " LISTEN_ADDR, STICKY_HASH_KEY; by .env: COOLDOWN_MS\n",
        )
        self.assertEqual(status, 0)
        whole = self.ask("check", "--only", "config", "--json")[1]
        self.assertNotIn("fixture-secret", whole)
        settings = {each["name"]: each for each in json.loads(whole)["settings"]}
        self.assertEqual(len(settings), len(DECLARED))
        self.assertEqual(
            settings["STICKY_HASH_KEY"],
            {"name": "STICKY_HASH_KEY", "value": HIDDEN, "origin": "environment"},
        )
        self.assertEqual(settings["COOLDOWN_MS"]["value"], "5")
        self.assertEqual(settings["MAX_ATTEMPTS"]["origin"], "default")

    def test_bad(self) -> None:
        """Each invalid setting has a result; checks that do not need it run anyway."""
        self.environ.update(LISTEN_ADDR="x", COMMIT="y")
        status, found = self.checked("--only", "config", "--only", "feeds")
        self.assertEqual(status, 1)
        self.assertEqual([each[:2] for each in found[:2]], [["fail", "config"]] * 2)
        self.assertTrue(found[0][3].startswith("LISTEN_ADDR: "))
        self.assertTrue(found[1][3].startswith("COMMIT: "))
        self.assertEqual([each[1] for each in found[2:]], ["feed", "feed"])

    def test_useless(self) -> None:
        """With an invalid URL, no check uses the network."""
        self.environ["MODELS_URL"] = "https://me:fixture-secret@x/"
        status, found = self.checked()
        self.assertEqual((status, [each[0] for each in found]), (1, ["fail", "skip"]))
        self.assertNotIn("fixture-secret", str(found))
        self.assertEqual(len(self.stub.log), 0)

    def test_useless_for_one_group(self) -> None:
        """The settings that keep a check from running are failures, whichever group is named."""
        self.environ.update(UPSTREAM_CA_FILE="/nonexistent")
        for group in ("network", "feeds", "key"):
            status, found = self.checked("--only", group)
            self.assertEqual((status, [each[0] for each in found]), (1, ["fail", "skip"]))
            self.assertTrue(found[0][3].startswith("UPSTREAM_CA_FILE: "))
        Path(".env").write_text("LISTEN_ADR=127.0.0.1:1\n")
        self.assertEqual(len(self.checked("--only", "network")[1]), 2)

    def test_authorities(self) -> None:
        """Below a bad UPSTREAM_CA_FILE is what to do; another setting's line says it itself."""
        Path("empty.pem").write_text("nothing")
        for name in ("/nonexistent", "empty.pem"):
            self.environ.update(UPSTREAM_CA_FILE=name, COMMIT="x")
            found = self.ask_json("check", "--only", "config")["checks"]
            remedies = {each["detail"].partition(":")[0]: each["remedy"] for each in found[:2]}
            self.assertEqual(remedies, {"UPSTREAM_CA_FILE": CA_FILE, "COMMIT": ""})

    def test_defeated(self) -> None:
        """Valid settings that leave no room for a second attempt are a warning."""
        self.environ["TOTAL_DEADLINE_MS"] = "10000"
        self.environ["UPSTREAM_UNARY_TIMEOUT_MS"] = "9999"
        status, found = self.checked("--only", "config")
        self.assertEqual((status, [each[0] for each in found]), (0, ["ok", "warn"]))
        self.assertIn("FAILOVER_AFTER_MS=12000 leaves no room", found[1][3])

    def test_misspelt(self) -> None:
        """A misspelt name in the file is a warning, not a failure."""
        Path(".env").write_text("LISTEN_ADR=127.0.0.1:1\nPATH_TO=x\n")
        status, found = self.checked("--only", "config")
        self.assertEqual(status, 0)
        self.assertEqual(
            found[1],
            ["warn", "config", ".env", "LISTEN_ADR is not a setting; did you mean LISTEN_ADDR?"],
        )
        self.assertEqual(len(found), 2)

    def test_named_file(self) -> None:
        """`--env-file` is read instead of .env, and has to exist."""
        Path(".env").write_text("LISTEN_ADDR=nonsense\n")
        Path("named.env").write_text("COOLDOWN_MS=5\nLISTEN_ADR=127.0.0.1:1\n")
        status, found = self.checked("--only", "config", "--env-file", "named.env")
        self.assertEqual((status, [each[0] for each in found]), (0, ["ok", "warn"]))
        self.assertIn("COOLDOWN_MS", found[0][3])
        self.assertEqual(found[1][2], "named.env")
        self.assertEqual(
            self.refused("check", "--env-file", "nope"), "--env-file: 'nope' does not exist"
        )
        self.assertEqual(self.refused("check", "--env-file", "."), "--env-file: '.' is a directory")

    def test_named_file_elsewhere(self) -> None:
        """The other commands that use the platform's settings take the file too."""
        for command in (("rank",), ("explain", ALIAS), ("evidence", "stub/ok")):
            said = self.refused(*command, "--env-file", "nope")
            self.assertEqual(said, "--env-file: 'nope' does not exist")
        Path("named.env").write_text("MODELS_URL=nonsense\n")
        self.assertIn("MODELS_URL: ", self.refused("rank", "--env-file=named.env"))

    def test_unreadable_file(self) -> None:
        """An unreadable .env file is invalid input."""
        Path(".env").write_bytes(b"A=\xff\n")
        self.assertEqual(self.refused("check"), ".env cannot be read")


class FeedTests(CheckTestCase):
    """The check of the feeds: sizes, unreadable records, and the age of the measurements."""

    def feeds(self, models: bytes | None = None, load: bytes | None = None) -> list[list[str]]:
        """Check feeds with these bodies, and return the results."""
        bodies: Any = self.stub.feeds._bodies
        if models is not None:
            bodies["models"] = models
        if load is not None:
            bodies["utilization"] = load
        return self.checked("--only", "feeds")[1]

    def test_good(self) -> None:
        """Two valid feeds pass."""
        loads = utilization_body(record(), record("acme/x"))
        found = self.feeds(catalog_body(entry()), loads)
        self.assertEqual(found[0][0], "ok")
        self.assertRegex(found[0][3], r"\A1 models in \d KiB, 1 in a TEE\Z")
        self.assertRegex(found[1][3], r"\A2 records in 1 KiB, 1 models eligible, measured")

    def test_age(self) -> None:
        """Old measurements are a warning."""
        stamp = "2026-02-18T05:48:08.568123"
        measured = newest(utilization_body(record(timestamp="2020-01-01T00:00:00"), record()))
        assert measured is not None
        self.assertAlmostEqual(measured, 1771393688.568123)
        loads = utilization_body(record(timestamp=stamp))
        for age, state, text in ((120.0, "ok", "2 min ago"), (3e5, "warn", "83 h ago: the ")):
            self.patch(check_feeds, "rank", lambda loads, catalog: loads)
            verdict = check_feeds._utilization(loads, True, None, measured + age)
            self.assertEqual(verdict.state, state)
            self.assertIn(f"measured {text}", verdict.detail)
        for bad in (7, "x", None, ..., "9999999-01-01T00:00:00"):
            self.assertIsNone(newest(utilization_body(record(timestamp=bad))))
        self.assertIsNone(newest(b"{"))

    def test_doubts_and_failures(self) -> None:
        """Unreadable records are a warning; a feed without eligible models is a failure."""
        good = [entry(), entry("b")]
        found = self.feeds(catalog_body(*good, {"id": 7}), utilization_body(record(), record("b")))
        self.assertEqual(found[0][0], "warn")
        self.assertIn("2 models, 1 unreadable in", found[0][3])
        found = self.feeds(catalog_body(), b"[]")
        self.assertEqual([each[0] for each in found], ["fail", "fail"])
        self.stub.feeds.behave(models="500", utilization="garbage")
        status, found = self.checked("--only", "feeds")
        self.assertEqual(status, 1)
        self.assertEqual([each[3] for each in found], ["status 500", "not JSON"])

    def test_time(self) -> None:
        """A feed that does not arrive fails after the check's own timeout."""
        self.stub.feeds.behave(models="hang")
        ended, _ = self.begun("check", "--only", "feeds", "--timeout", "2.5")
        self.assertNoResult(ended)
        self.clock.advance(2.5)
        self.assertEqual(self.successResultOf(ended), 1)


class KeyTests(CheckTestCase):
    """The check of the key, which never shows it."""

    def key(self, key: str, **variables: str) -> list[str]:
        """Return the state and detail for a key."""
        self.environ.update({"CHUTES_API_KEY": key, **variables})
        _, whole = self.ask("check", "--only", "key", "--json")
        words = self.ask("check", "--only", "key")[1]
        for part in key.split("."):
            self.assertNotIn(part or "nothing", whole + words)
        ((state, _, _, detail),) = self.checked("--only", "key")[1]
        return [state, detail]

    def test_answers(self) -> None:
        """An accepted key passes, a rejected one fails."""
        self.assertEqual(self.key(KEY), ["ok", "the platform accepts it"])
        self.assertEqual(self.stub.log[-1].path, "/users/me")
        self.assertEqual(self.key(REVOKED), ["fail", "the platform rejects it (status 401)"])

    def test_statuses(self) -> None:
        """Each status of the platform has its own detail and remedy."""
        self.environ["CHUTES_API_KEY"] = KEY
        seen = set()
        for status, state, detail, remedy in (
            (401, "fail", "the platform rejects it", "Set CHUTES_API_KEY to the whole key"),
            (402, "fail", "its account has no balance", "Add to the balance"),
            (403, "fail", "does not let it read its account", "autopilot try"),
            (404, "fail", "answered with status 404", "host and path in API_BASE_URL"),
            (302, "fail", "answered with status 302", "set API_BASE_URL to where it leads"),
            (429, "warn", "rate-limits requests", "in a minute"),
            (503, "fail", "answered with status 503", "The platform has a fault"),
        ):
            users, me = Resource(), _Answers(status)
            users.putChild(b"me", me)
            root = Resource()
            root.putChild(b"users", users)
            self.join(root)
            (found,) = self.ask_json("check", "--only", "key")["checks"]
            self.assertEqual(found["state"], state)
            self.assertIn(detail, found["detail"])
            self.assertIn(f"status {status}", found["detail"])
            self.assertIn(remedy, found["remedy"])
            seen.add((found["detail"], found["remedy"]))
            shown = self.ask("check", "--only", "key")[1].splitlines()
            self.assertEqual(shown[1], f"{'':15}{found['remedy']}")
        self.assertEqual(len(seen), 7)

    def test_not_asked(self) -> None:
        """A missing or malformed key, or an unencrypted URL, sends no request."""
        self.assertEqual(self.key("")[0], "skip")
        self.assertEqual(self.key("fixture fixture")[0], "fail")
        self.assertEqual(self.key("fixture\x1bé")[0], "fail")
        state, detail = self.key(KEY, API_BASE_URL="http://api.test")
        self.assertEqual((state, detail), ("skip", "not sent, because API_BASE_URL is not https"))
        self.assertEqual(len(self.stub.log), 0)
        self.assertEqual(self.key(KEY, API_BASE_URL="http://127.0.0.1:1")[0], "ok")
        self.assertEqual(self.key(KEY, API_BASE_URL="http://localhost:1")[0], "ok")


class RouterTests(CheckTestCase):
    """The check of a running router, with its real pages."""

    URL = ("--only", "router", "--router", "http://router.test")

    def setUp(self) -> None:
        """Start a router that has not fetched its feeds."""
        super().setUp()
        self.parts = Parts(Settings(), MemoryReactorClock())
        self.join(self.parts.tree())

    def test_ready(self) -> None:
        """The router is healthy from the start, and ready after its first fetch."""
        status, found = self.checked(*self.URL)
        self.assertEqual(status, 1)
        self.assertEqual(found[0], ["ok", "router", "/healthz", "the process serves"])
        self.assertEqual(found[1][0], "fail")
        self.assertTrue(found[1][3].startswith("not ready: missing_allowlist: The model catalog"))
        result_of(self.parts.control.read("catalog", catalog_body(entry())))
        result_of(self.parts.control.read("utilization", utilization_body(record())))
        status, found = self.checked(*self.URL)
        self.assertEqual((status, found[1][0]), (0, "ok"))
        self.assertEqual(
            found[1][3],
            "ready: 1 candidates; catalog fresh, 0 s old; utilization fresh, 0 s old",
        )

    def test_no_router(self) -> None:
        """Another kind of server at the address fails the check."""
        self.join(self.stub.resource)
        status, found = self.checked(*self.URL)
        self.assertEqual(status, 1)
        self.assertEqual(found[0][3], "status 404")
        remedies = {each["remedy"] for each in self.ask_json("check", *self.URL)["checks"]}
        self.assertEqual(
            remedies, {"Another program answers there: give --router the address of a router."}
        )

    def test_stopping(self) -> None:
        """A router that drains is not one whose feeds are missing."""
        unready = self.ask_json("check", *self.URL)["checks"][1]["remedy"]
        self.assertIn("a feed is missing or too old", unready)
        self.parts.draining = True
        draining = self.ask_json("check", *self.URL)["checks"][1]["remedy"]
        self.assertIn("about to stop", draining)

    def test_not_reached(self) -> None:
        """What keeps a request from the router has its own remedy."""
        for error, remedy in (
            (ConnectionRefusedError(), "Start the router"),
            (DNSLookupError(), "Correct the host name in --router"),
            (SSL.Error(), "Name the authority of its certificate"),
            (ConnectionLost(), "or the router speaks TLS"),
            (ProxyError("the proxy refused the connection"), "--only network"),
        ):
            agent = Mock(request=Mock(side_effect=lambda *_, error=error, **__: fail(error)))
            self.patch(check, "verified_agent", lambda *_, agent=agent: agent)
            for each in self.ask_json("check", *self.URL)["checks"]:
                self.assertIn(remedy, each["remedy"])

    def test_without_one(self) -> None:
        """The URL is required with `--only router`, and must be valid."""
        self.assertIn("--router URL", self.refused("check", "--only", "router"))
        self.assertIn("--router: ", self.refused("check", "--router", "x"))


class _Answers(Resource):
    """A resource that answers with a status alone."""

    isLeaf = True

    def __init__(self, status: int) -> None:
        super().__init__()
        self._status = status

    def render_GET(self, request: Any) -> bytes:
        """See `Resource`."""
        request.setResponseCode(self._status)
        return b""


class AllTests(SynchronousTestCase):
    """The help of the groups."""

    def test_groups(self) -> None:
        """The help describes each group."""
        from autopilot.cli import check

        for group in ("config", "feed", "key", "router", "dns"):
            self.assertIn(group, check.__doc__ or "")
