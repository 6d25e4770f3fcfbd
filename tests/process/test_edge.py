"""Keys at the platform's limit, over real sockets: a stub whose edge bans, and two routers."""

from __future__ import annotations

import json
import time
from typing import Any, ClassVar

from tests.process.processes import until
from tests.process.serving import ServedTestCase
from tests.rigs.smoke.client import Exchange, Reply, fetch_json, post_head

RATE = 6
REQUESTS = 12


class EdgeTests(ServedTestCase):
    """One router is a single process, the other has workers."""

    routers: ClassVar = {
        name: {"EDGE_RATE": str(RATE), "PACE_MS": "0", "EVIDENCE_REFRESH_MS": "0", **own}
        for name, own in (("single", {}), ("workers", {"WORKERS": "2"}))
    }
    stub_options: ClassVar = ("--models", "4")

    def setUp(self) -> None:
        """Let the edge count once the routers have their feeds."""
        super().setUp()
        fetch_json(self.stub.port, "/stub/edge", {"rate": RATE})
        self.model = self.served["single"].ranking()[0]

    def ask(self, port: int, key: str) -> Reply:
        """Send a request on a connection of its own."""
        messages = [{"role": "user", "content": "x"}]
        body = json.dumps({"model": self.model, "messages": messages}).encode()
        fields = [
            ("Content-Length", str(len(body))),
            ("Content-Type", "application/json"),
            ("Authorization", f"Bearer {key}"),
        ]
        return Exchange(port, post_head("/v1/chat/completions", fields) + body).finish()

    def counted(self, key: str) -> dict[str, Any]:
        """Return what the edge has counted of a key."""
        (found,) = [each for each in fetch_json(self.stub.port, "/stub/edge") if each["key"] == key]
        return dict(found)

    def banned_keys(self, port: int) -> int:
        """Return how many keys a router's page shows as banned."""
        return int(fetch_json(port, "/status.json")["edge"]["banned_keys"])

    def test_key(self) -> None:
        """Through a router a key is never banned; beside it, the same requests get it banned."""
        for name, router in self.served.items():
            key, began = f"cpk_{name}.a.b", time.monotonic()
            replies = [self.ask(router.port, key) for _ in range(REQUESTS)]
            passed = time.monotonic() - began
            refused = [each for each in replies if each.status != 200]
            for each in refused:
                self.assertEqual((each.status, each.code), (429, "edge_limited"))
                self.assertGreaterEqual(int(each.header("retry-after") or ""), 1)
            counted = self.counted(key)
            self.assertGreater(counted["calls"], 0)
            self.assertEqual((counted["bans"], counted["refused"]), (0, 0))
            self.assertEqual(counted["calls"], REQUESTS - len(refused))
            self.assertLessEqual(counted["calls"], RATE + 1 + passed * RATE / 60)
        for _ in range(REQUESTS):
            self.ask(self.stub.port, "cpk_direct.a.b")
        self.assertEqual(self.counted("cpk_direct.a.b")["bans"], 1)

    def test_ban(self) -> None:
        """After the edge's page a router sends nothing with that key, and says until when."""
        for name, router in self.served.items():
            key = f"cpk_banned-{name}.a.b"
            for _ in range(REQUESTS):
                self.ask(self.stub.port, key)
            self.assertEqual(self.ask(router.port, key).status, 429)
            calls = self.counted(key)["calls"]
            for _ in range(4):
                reply = self.ask(router.port, key)
                self.assertEqual((reply.status, reply.code), (429, "edge_limited"))
                self.assertIn(int(reply.header("retry-after") or ""), range(1, 61))
            self.assertEqual((calls, self.counted(key)["calls"]), (REQUESTS + 1, calls))
            # A page is kept for a second.
            until(lambda port=router.port: self.banned_keys(port) == 1)  # type: ignore[misc]
