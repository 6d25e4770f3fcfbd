"""Two workers with keys, and a stub whose instances a synthetic world vouches for.

Clients have a key of the operator's own; the router sends private and other requests with the one
key of its pool, or with that of another service, which is the stub as well.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Mapping
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from prometheus_client.parser import text_string_to_metric_families

from tests.process.processes import until
from tests.process.serving import ServedTestCase
from tests.rigs.smoke.client import Exchange, fetch_json, get, post_head
from tests.unit.attestation import world
from tests.unit.attestation.sealed import FOLDER

REQUESTS = 8
_LOOKS = 6
KEY, SPENDER = "ap-canary.of.a.client", "ap-canary.of.another"
POOL, OTHER = "cpk_canary.of.pool", "canary.of.the.other.service"
PRIVATE, ELSEWHERE = "chutesai/AutoPilot-Private", "@other/stub/ok"


class PrivateTests(ServedTestCase):
    """A parent that alone discovers and verifies, and workers that seal."""

    stub_options: ClassVar = ("--models", "4", "--attestation-kit", str(FOLDER))
    folder: ClassVar[Path]

    @classmethod
    def settings(cls, folder: Path, base: str) -> Mapping[str, Mapping[str, str]]:
        """Trust the roots of the world, and let the stub serve Intel's data."""
        cls.folder = folder
        roots, keys, other = folder / "roots.pem", folder / "keys.toml", folder / "other.toml"
        roots.write_bytes(world.roots_pem())
        entries = (
            f'[keys.{name}]\nsha256 = "{sha256(key.encode()).hexdigest()}"\n'
            for name, key in (("alice", KEY), ("spender", SPENDER))
        )
        keys.write_text("".join(entries))
        other.write_text(
            f'[fallbacks.other]\nbase_url = "{base}"\nkey_file = "other.key"\n'
            'models = ["stub/ok"]\n'
        )
        cls.write(POOL, OTHER)
        own = {
            "PRIVATE": "ask",
            "WORKERS": "2",
            "PRIVATE_TEST_ROOTS": str(roots),
            "PRIVATE_COLLATERAL_URL": base,
            "EVIDENCE_REFRESH_MS": "0",
            "KEYS_FILE": str(keys),
            "CHUTES_API_KEYS_FILE": str(folder / "pool.toml"),
            "FALLBACKS_FILE": str(other),
        }
        return {"router": own}

    @classmethod
    def write(cls, pool: str, other: str) -> None:
        """Write the keys with which the router sends requests."""
        (cls.folder / "pool.toml").write_text(f'[keys]\none = "{pool}"\n')
        (cls.folder / "other.key").write_text(other)

    def ask(self, model: str = PRIVATE, key: str = KEY, **members: Any) -> Exchange:
        """Send a request on a connection of its own; of such the workers take turns."""
        messages = [{"role": "user", "content": "x"}]
        body = json.dumps({"model": model, "messages": messages, **members}).encode()
        fields = [("Content-Length", str(len(body))), ("Authorization", f"Bearer {key}")]
        head = post_head("/v1/chat/completions", fields)
        return Exchange(self.served["router"].port, head + body)

    def answered(self, asked: Iterable[Exchange]) -> None:
        """Wait until all of these requests have been answered whole."""
        for each in [exchange.finish() for exchange in asked]:
            self.assertEqual((each.status, each.clean), (200, True), each.body)

    def received(self) -> list[dict[str, Any]]:
        """Return all requests that the stub has received, none of them with a client's key."""
        log: list[dict[str, Any]] = fetch_json(self.stub.port, "/stub/log")["requests"]
        for key in (KEY, SPENDER):
            self.assertNotIn(key, json.dumps(log))
        return log

    def test_one_budget(self) -> None:
        """Workers share one discovery, its verdicts and its nonces, of which none is used twice."""
        asked = [self.ask() for _ in range(REQUESTS)]
        for each in [exchange.finish() for exchange in asked]:
            self.assertEqual(each.status, 200, each.body)
            self.assertRegex(each.header("x-chutes-autopilot-private") or "", "^test-roots;age=")
        log = self.received()
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
        # The pool's key goes where a key is needed, and nothing else does.
        for path, received in zip(paths, log, strict=True):
            needs = path.startswith("/e2e/") or path.endswith("/evidence")
            self.assertEqual(_keys(received), {f"Bearer {POOL}"} if needs else set(), path)
        self.assert_shown(KEY, POOL, OTHER, *nonces)

    def test_sums(self) -> None:
        """What a key has spent by all workers is what the stub has told them."""
        model = self.served["router"].ranking()[0]
        kinds: tuple[dict[str, Any], ...]
        kinds = {"stream": True}, {}, {"stream": True, "stream_options": {"include_usage": True}}
        self.answered(
            self.ask(each, SPENDER, **kinds[number % 3])
            for number, each in enumerate((model, PRIVATE) * REQUESTS)
        )
        ledger = fetch_json(self.stub.port, "/stub/ledger").values()
        self.assertEqual(sum(each["requests"] for each in ledger), 2 * REQUESTS)
        tokens = sum(each["prompt_tokens"] + each["completion_tokens"] for each in ledger)
        dollars = sum(Decimal(each["cost_dollars"]) for each in ledger)
        self.assertGreater(tokens, 0)
        self.assertGreater(dollars, 0)
        spent = tokens, float(dollars)
        # The workers take turns at answering, and each learns within a second what others counted.
        until(lambda: {self.used() for _ in range(_LOOKS)} == {spent})
        self.received()

    def test_reload(self) -> None:
        """After SIGHUP new keys go up, to platform and other service, and the old ones nowhere."""
        model = self.served["router"].ranking()[0]
        new = "cpk_canary.of.anewpool", "canary.of.the.other.service.anew"
        self.assertEqual(self.sent((model, ELSEWHERE, PRIVATE)), {POOL, OTHER})
        try:
            self.write(*new)
            self.served["router"].signal(signal.SIGHUP)
            # Each worker applies it by itself.
            until(lambda: self.sent([model, ELSEWHERE] * 4) == set(new))
            self.assertEqual(self.sent([model, ELSEWHERE, PRIVATE] * 4), set(new))
            self.assert_shown(KEY, POOL, OTHER, *new)
        finally:
            self.write(POOL, OTHER)
            self.served["router"].signal(signal.SIGHUP)
            until(lambda: self.sent([model, ELSEWHERE] * 4) == {POOL, OTHER})

    def test_rests(self) -> None:
        """A refusal of the pool's key to one worker is known to both."""
        model = self.served["router"].ranking()[0]
        self.stub.script(model, ["402-no-quota"])
        reply = self.ask(model).finish()
        self.assertEqual((reply.status, reply.code), (502, "account_refused"))
        until(lambda: self.resting() == {"0", "1"})

    def resting(self) -> set[str]:
        """Return the numbers of the workers for which the key rests."""
        page = get(self.served["router"].port, "/metrics").finish().body.decode()
        return {
            each.labels["worker"]
            for family in text_string_to_metric_families(page)
            for each in family.samples
            if each.name == "chutes_autopilot_pool_key_resting"
        }

    def sent(self, models: Iterable[str]) -> set[str]:
        """Return the keys that went up for requests of these models."""
        self.stub.reset()
        self.answered(self.ask(model) for model in models)
        found = set[str]().union(*map(_keys, self.received()))
        return {each.removeprefix("Bearer ") for each in found}

    def used(self) -> tuple[int, float]:
        """Return the tokens and dollars that one client's key has used, as the page has them."""
        own = fetch_json(self.served["router"].port, "/status.json")["keys"]["own"]
        spent = next(each for each in own if each["name"] == "spender")
        return spent["tokens_today"]["used"], spent["dollars_this_month"]["used"]

    def assert_shown(self, *secrets: str) -> None:
        """Assert that neither the pages nor the log have a secret."""
        router = self.served["router"]
        page = fetch_json(router.port, "/status.json")
        shown = json.dumps(page) + router.output().decode()
        self.assertEqual(page["private"]["roots"], "test-roots")
        for secret in secrets:
            self.assertNotIn(secret, shown)


def _keys(received: Mapping[str, Any]) -> set[str]:
    """Return the values of all fields of a request in which a key may be."""
    named = ("authorization", "x-api-key", "api-key")
    return {value for name, value in received["headers"] if name.lower() in named}
