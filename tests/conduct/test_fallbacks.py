"""Another service as the last resort, in a whole router: when it is called, and what it sees."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings.files.fallbacks import FallbackEntry, FallbacksFile
from tests.conduct.other_service import HOST, MODEL, WORDS, Account, other_site
from tests.conduct.seen import Seen
from tests.conduct.served import Served, question

_KEY, _CLIENT = "sk-other-canary", "cpk_client-canary"
_NAME = f"@other/{MODEL}"
_ALIAS = "chutesai/AutoPilot"
_ONE, _TWO = "stub/503-cold", "stub/ok"
_BACKEND = "x-chutes-autopilot-backend"


class FallbackTests(SynchronousTestCase):
    """One router, one service; the platform's models are made to fail."""

    def setUp(self) -> None:
        """Start both."""
        self.account = Account(_KEY)
        self.observer = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)
        self.served = self.start()

    def start(self, key: str = _KEY, **settings: Any) -> Served:
        """Return a router whose last resort is the service."""
        other = FallbackEntry("other", f"http://{HOST}/api/v1", key, (MODEL,), MODEL)
        served = Served(
            admin_listen_addr="-", fallbacks_file=FallbacksFile("other", (other,)), **settings
        )
        served.network.others[HOST] = other_site(self.account)
        return served

    def ask(self, model: str, *fields: bytes) -> Seen:
        """Request a stream with the client's key."""
        return self.served.post(question(model), *fields, key=_CLIENT)

    def exhaust(self) -> None:
        """Let every model of the platform fail."""
        for chute in self.served.stub.population.everyone():
            self.served.stub.script(chute.name, (), "503-cold")

    def test_last_resort(self) -> None:
        """The alias and lists are answered, in the client's dialect, and told by whom."""
        self.exhaust()
        for model in (_ALIAS, f"{_ONE},{_TWO}"):
            seen = self.ask(model)
            self.assertEqual((seen.status, seen.text), (200, "".join(f"{w} " for w in WORDS)))
            self.assertEqual(seen.headers[_BACKEND], "other")
            self.assertEqual(seen.headers["x-chutes-autopilot-selected"], _NAME)
            self.assertNotIn("x-ratelimit-remaining-requests", seen.headers)
        self.assertEqual(
            [each.path for each in self.account.calls], [b"/api/v1/chat/completions"] * 2
        )
        self.assertEqual({each.backend for each in self.served.records}, {"other"})
        self.assertEqual(self.served.left_behind(), [])

    def test_plain(self) -> None:
        """A plain answer passes byte for byte, and its usage counts without a cost."""
        body = json.dumps({"model": _NAME, "messages": []}).encode()
        seen = self.served.post(body, key=_CLIENT)
        self.assertEqual((seen.status, seen.headers[_BACKEND]), (200, "other"))
        record = self.served.records[-1]
        assert record.usage is not None
        self.assertEqual((record.usage.completion, record.cost_picodollars), (3, None))
        self.assertEqual(json.loads(self.account.calls[0].body), {"model": MODEL, "messages": []})

    def test_confidential(self) -> None:
        """A request for confidential models gets the platform's 503, and no call goes elsewhere."""
        self.exhaust()
        for model in (_ALIAS, f"{_ALIAS}:latency"):
            self.assertEqual(self.ask(model, b"X-TEE-Only: true").status, 503)
        self.assertEqual(self.ask(_NAME, b"X-TEE-Only: true").status, 400)
        self.assertEqual(self.served.left_behind(), [])
        self.served = self.start(require_tee=True)
        self.exhaust()
        self.assertEqual(self.ask(_ALIAS).status, 503)
        self.assertEqual(self.account.calls, [])
        self.assertGreater(len(self.served.stub.calls()), 1)

    def test_direct(self) -> None:
        """A direct name of the platform's fails as it does without the service."""
        self.assertEqual(self.ask(_ONE).status, 503)
        self.assertEqual(self.account.calls, [])

    def test_canaries(self) -> None:
        """Neither key is where it must not be, whatever the service answers."""
        self.exhaust()
        received = [self.ask(_ALIAS), self.ask(_NAME)]
        self.account.overloaded = True
        received += [self.ask(_ALIAS), self.ask(_NAME)]
        self.account.key = "another"
        received += [self.ask(_ALIAS), self.ask(_NAME)]
        self.assertEqual([each.status for each in received], [200, 200, 503, 503, 401, 401])
        there = [repr((each.fields, each.body)) for each in self.account.calls]
        here = [repr((each.headers, each.body)) for each in self.served.stub.calls()]
        self.assertGreaterEqual(len(there), 6)
        for each in there:
            self.assertNotIn("client-canary", each)
            self.assertEqual(each.count("other-canary"), 1)
        self.assertGreater(len(here), 3)
        for each in here:
            self.assertNotIn("other-canary", each)
            self.assertEqual(each.count("client-canary"), 1)
        pages = [self.served.get(path).body for path in ("/status", "/status.json", "/metrics")]
        said = [repr(each) + (formatEvent(each) or "") for each in self.observer]
        for text in (*map(repr, pages), *map(repr, received), *said, repr(self.served.records)):
            self.assertNotIn("canary", text)
        self.assertIn(_NAME, pages[2].decode())
        self.assertEqual(self.served.left_behind(), [])
