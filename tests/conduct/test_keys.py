"""Tests that a key pays what the platform reported, and that no key goes where it must not."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings.files.keys import KeyEntry, KeysFile
from autopilot.settings.files.platform_keys import PlatformKeyEntry, PlatformKeysFile
from tests.conduct.served import Served
from tests.conduct.traffic import TOKENS, Call, traffic

_SEED, _CALLS = 25, 150
_OWN = {"alice": "ap-own-canary-a", "bob": "ap-own-canary-b"}
_POOL = {"one": "cpk_pool-canary-1", "two": "cpk_pool-canary-2"}
_PICODOLLARS = 10**12


def entry(name: str, most: int = 10**9) -> KeyEntry:
    """Return the entry of a key that may use so many tokens a day."""
    return KeyEntry(name, sha256(_OWN[name].encode()).hexdigest(), tokens_per_day=most)


def router(*entries: KeyEntry) -> Served:
    """Return a router with these keys and a pool, whose feeds are fetched once."""
    pool = tuple(PlatformKeyEntry(name, key) for name, key in _POOL.items())
    return Served(
        tokens=TOKENS,
        admin_listen_addr="-",
        utilization_refresh_ms=3_600_000,
        models_refresh_ms=3_600_000,
        keys_file=KeysFile("keys", entries),
        chutes_api_keys_file=PlatformKeysFile("pool", pool),
    )


class KeyTests(SynchronousTestCase):
    """Random calls of two clients, with breaks, failovers and clients that leave."""

    def make(self, served: Served, call: Call, name: str) -> bytes:
        """Make a call with a key; return what the client received."""
        if call.leaves is not None:
            return served.leave(
                call.leaves, call.body, *call.fields, key=_OWN[name], path=call.path
            )
        seen = served.post(call.body, *call.fields, key=_OWN[name], path=call.path)
        return repr(seen).encode()

    def platform(self, served: Served) -> tuple[int, Decimal]:
        """Return the tokens and dollars in the stub's ledger."""
        ledger = served.stub.ledger
        told = [each.told for each in ledger.accounts.values()]
        tokens = sum(each.prompt + each.completion for each in told)
        return tokens, sum((ledger.cost(model) for model in ledger.accounts), Decimal(0))

    def test_sums_and_canaries(self) -> None:
        """The accounts of the keys are the platform's ledger; each key stays on its side."""
        served = router(entry("alice"), entry("bob"))
        received = []
        paid = {"alice": (0, Decimal(0)), "bob": (0, Decimal(0))}
        for number, call in enumerate(traffic(_SEED, _CALLS)):
            name = ("alice", "bob")[number % 3 == 0]
            before = self.platform(served)
            received.append(self.make(served, call, name))
            after = self.platform(served)
            tokens, dollars = paid[name]
            paid[name] = tokens + after[0] - before[0], dollars + after[1] - before[1]
        spent = served.service._parts.keys.budgets.spent()
        for name, (tokens, dollars) in paid.items():
            self.assertGreater(tokens, 1000)
            self.assertEqual(spent[name].tokens_today, tokens)
            self.assertEqual(spent[name].picodollars_this_month, dollars * _PICODOLLARS)
        sent = [repr(each.headers) + repr(each.body) for each in served.stub.calls()]
        self.assertGreater(len(sent), _CALLS)
        for each in sent:
            self.assertNotIn("own-canary", each)
            self.assertEqual(each.count("pool-canary"), 1)
        used = {each.header("authorization") for each in served.stub.calls()}
        self.assertEqual(used, {f"Bearer {key}" for key in _POOL.values()})
        pages = [served.get(path).body for path in ("/status", "/status.json", "/metrics")]
        for part in (*received, *pages, repr(served.records).encode()):
            self.assertNotIn(b"canary", part)
        self.assertEqual({each.key for each in served.records}, {"alice", "bob"})
        self.assertEqual(served.left_behind(), [])

    def test_exhausted(self) -> None:
        """A key whose budget is spent costs nothing any more; another one goes on."""
        served = router(entry("alice", 60), entry("bob"))
        calls = [each for each in traffic(_SEED, 60) if each.leaves is None]
        received = [self.make(served, call, "alice") for call in calls]
        self.assertIn(b"key_budget_exhausted", received[-1])
        before = len(served.stub.calls()), self.platform(served)
        self.make(served, calls[0], "alice")
        self.assertEqual((len(served.stub.calls()), self.platform(served)), before)
        # Never more than one request beyond its budget, as they came one after the other.
        dearest = max(
            (each.usage.prompt or 0) + (each.usage.completion or 0)
            for each in served.records
            if each.usage is not None
        )
        spent = served.service._parts.keys.budgets.spent()["alice"].tokens_today
        self.assertLess(spent, 60 + 3 * dearest)
        self.make(served, calls[0], "bob")
        self.assertGreater(len(served.stub.calls()), before[0])
        self.assertEqual(served.left_behind(), [])
