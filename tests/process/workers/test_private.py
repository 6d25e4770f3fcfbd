"""Private requests of two workers, with a stub whose instances a synthetic world vouches for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tests.process.serving import ServedTestCase
from tests.rigs.smoke.client import Exchange, fetch_json, post_head
from tests.unit.attestation import world
from tests.unit.attestation.sealed import FOLDER

REQUESTS = 8
KEY = "cpk_canary.of.workers"


class PrivateTests(ServedTestCase):
    """A parent that alone discovers and verifies, and workers that seal."""

    stub_options: ClassVar = ("--models", "4", "--attestation-kit", str(FOLDER))

    @classmethod
    def settings(cls, folder: Path, base: str) -> Mapping[str, Mapping[str, str]]:
        """Trust the roots of the world, and let the stub serve Intel's data."""
        roots = folder / "roots.pem"
        roots.write_bytes(world.roots_pem())
        own = {
            "PRIVATE": "always",
            "WORKERS": "2",
            "PRIVATE_TEST_ROOTS": str(roots),
            "PRIVATE_COLLATERAL_URL": base,
            "EVIDENCE_REFRESH_MS": "0",
        }
        return {"router": own}

    def ask(self) -> Exchange:
        """Send a request on a connection of its own; of such the workers take turns."""
        messages = [{"role": "user", "content": "x"}]
        body = json.dumps({"model": "chutesai/AutoPilot-Private", "messages": messages}).encode()
        fields = [("Content-Length", str(len(body))), ("Authorization", f"Bearer {KEY}")]
        head = post_head("/v1/chat/completions", fields)
        return Exchange(self.served["router"].port, head + body)

    def test_one_budget(self) -> None:
        """Workers share one discovery, its verdicts and its nonces, of which none is used twice."""
        asked = [self.ask() for _ in range(REQUESTS)]
        for each in [exchange.finish() for exchange in asked]:
            self.assertEqual(each.status, 200, each.body)
            self.assertRegex(each.header("x-chutes-autopilot-private") or "", "^test-roots;age=")
        log: list[dict[str, Any]] = fetch_json(self.stub.port, "/stub/log")["requests"]
        paths = [each["path"].partition("?")[0] for each in log]
        self.assertEqual(sum(each.startswith("/e2e/instances/") for each in paths), 1)
        evidence = [each for each in paths if each.endswith("/evidence")]
        self.assertEqual(len(evidence), len(set(evidence)))
        sealed = [each["headers"] for each in log if each["path"] == "/e2e/invoke"]
        nonces = {
            value for fields in sealed for name, value in fields if name.lower() == "x-e2e-nonce"
        }
        self.assertEqual((len(sealed), len(nonces)), (REQUESTS, REQUESTS))
        self.assertNotIn("/v1/chat/completions", paths)
        self.assert_shown(nonces)

    def assert_shown(self, nonces: set[str]) -> None:
        """Assert that neither the pages nor the log have a secret."""
        router = self.served["router"]
        page = fetch_json(router.port, "/status.json")
        shown = json.dumps(page) + router.output().decode()
        self.assertEqual(page["private"]["roots"], "test-roots")
        for secret in (KEY, *nonces):
            self.assertNotIn(secret, shown)
