"""The client of the store with a real server: TLS, users, and each way in which a server fails."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from autopilot import Settings
from autopilot.cli.check_store import check_store
from autopilot.routing.key_policy import KeyRules
from autopilot.state.budgets import KeyBudgets
from autopilot.state.edge_account import EdgeConfig
from autopilot.state.edge_shares import SharingGovernor
from autopilot.state.key_ledger import KeyLedger
from autopilot.state.sharing.edge_sharing import EdgeSharing
from autopilot.state.sharing.key_totals import KeyTotals
from autopilot.state.sharing.keys_in_progress import KeysInProgress
from autopilot.state.sharing.store import Store
from autopilot.state.sharing.store_fault import StoreRefused, StoreUnavailable
from autopilot.upstream.endpoints import trust_root
from autopilot.wiring.store import store_of
from tests.rigs.replicas.programs import StoreProcess
from tests.rigs.smoke.client import HOST

reactor: Any = _reactor
_PATIENCE = 30.0
# The rights that docs/shared-state.md grants.
_PAGE = Path(__file__).parents[3] / "docs" / "shared-state.md"


class RealStoreTestCase(TestCase):
    """A server as a process, and stores that connect to it."""

    def setUp(self) -> None:
        """Name a folder."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def server(self, *options: str, tls: bool = False) -> StoreProcess:
        """Start a server."""
        server = StoreProcess(self.folder, *options, tls=tls)
        server.start()
        self.addCleanup(server.kill)
        return server

    def store(self, url: str, ca_file: Path | None = None) -> Store:
        """Connect."""
        settings = Settings(state_url=url, sticky_hash_key=b"k" * 32)
        store = store_of(settings, reactor, reactor, trust_root(ca_file))
        self.messages: list[bytes] = []
        store.subscribe(store.key(b"news"), self.messages.append)
        store.start()

        def stop() -> Deferred[None]:
            store.stop()
            return deferLater(reactor, 0.01)  # connections are lost in a later turn

        self.addCleanup(stop)
        return store

    async def check(self, url: str) -> tuple[str, str]:
        """Return the state and the remedy of what `autopilot check` says."""
        settings = Settings(state_url=url, sticky_hash_key=b"k" * 32)
        (result,) = await check_store(reactor, settings, _PATIENCE)
        return result.state, result.remedy

    async def until(self, what: str, holds: Callable[[], bool]) -> float:
        """Wait until a condition holds, and return the seconds that it took."""
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > _PATIENCE:
                self.fail(f"not within {_PATIENCE:g} s: {what}")
            await deferLater(reactor, 0.02)
        return time.monotonic() - began

    async def until_state(self, store: Store, state: str, fault: str = "") -> float:
        """Wait for a state."""
        return await self.until(
            f"{state} {fault}",
            lambda: (store.status().state, store.status().fault) == (state, fault),
        )


class FaultTests(RealStoreTestCase):
    """One server without TLS that fails in one way after another."""

    async def test_everything_that_a_server_does(self) -> None:
        """Each fault is named; messages arrive whenever they can; and all is well afterwards."""
        server = self.server()
        store = self.store(server.url)
        await self.until_state(store, "ok")
        self.assertEqual(await self.check(server.url), ("ok", ""))
        self.assertLess(abs(store.now() - time.time()), 1)
        await self._refused_write(server, store)
        await self._pause(server, store)
        await self._script(server, store)
        server.kill()
        await self.until("down", lambda: store.status().state == "down")
        with self.assertRaises(StoreUnavailable):
            await store.command(b"GET", b"a")
        await self.until_state(store, "down", "unreached")
        state, remedy = await self.check(server.url)
        self.assertEqual(state, "fail")
        self.assertIn("STATE_URL", remedy)
        server.start()
        await self.until_state(store, "ok")
        self.assertEqual(await store.command(b"SET", b"a", b"b"), b"OK")
        self.assertEqual(await store.command(b"GET", b"a"), b"b")

    async def _refused_write(self, server: StoreProcess, store: Store) -> None:
        """Fill the server, and make it a replica: what is published arrives in both cases."""
        server.fill()
        with self.assertRaises(StoreRefused):
            await store.command(b"SET", b"a", b"b")
        self.assertEqual(store.status().fault, "full")
        await store.command(b"PUBLISH", store.key(b"news"), b"full")
        await self.until("a message", lambda: self.messages == [b"full"])
        server.empty()
        await self.until_state(store, "ok")
        server.follow()
        with self.assertRaises(StoreRefused):
            await store.command(b"SET", b"a", b"b")
        self.assertEqual(store.status().fault, "read_only")
        await self.until("commands again", lambda: store.available)
        await store.command(b"PUBLISH", store.key(b"news"), b"replica")
        await self.until("a message", lambda: self.messages == [b"full", b"replica"])
        server.lead()
        await self.until_state(store, "ok")

    async def _pause(self, server: StoreProcess, store: Store) -> None:
        """Pause the server, which answers no connection meanwhile, not even a new one."""
        server.pause(6)
        with self.assertRaises(StoreUnavailable):
            await store.command(b"SET", b"a", b"b")
        await self.until_state(store, "down", "slow")
        await self.until_state(store, "ok")

    async def _script(self, server: StoreProcess, store: Store) -> None:
        """Let a script keep the server busy, and kill it."""
        server.tell("CONFIG", "SET", "busy-reply-threshold", "100")
        with socket.create_connection((HOST, server.port)) as client:
            client.sendall(b"EVAL 'while true do end' 0\r\n")
            await self.until("busy", lambda: b"BUSY" in server.tell("PING"))
            with self.assertRaises(StoreRefused):
                await store.command(b"SET", b"a", b"b")
            await self.until_state(store, "degraded", "busy")
            server.tell("SCRIPT", "KILL")
            await self.until_state(store, "ok")


class IntroductionTests(RealStoreTestCase):
    """Users, passwords and databases."""

    async def test_a_wrong_password_and_the_right_one(self) -> None:
        """A refusal is named; an existing user with the documented rights does everything."""
        server = self.server("--requirepass", "hunter2")
        for credentials in ("", ":hunter3@", "nobody:hunter2@"):
            store = self.store(server.url.replace("//", f"//{credentials}"))
            await self.until_state(store, "down", "credentials")
        right = self.store(server.url.replace("//", "//:hunter2@") + "/2")
        await self.until_state(right, "ok")
        wrong = self.store(server.url.replace("//", "//:hunter2@") + "/99")
        await self.until_state(wrong, "down", "database")
        await right.command(*(word.encode() for word in _documented_user()))
        user = self.store(server.url.replace("//", "//router:password@"))
        await self.until_state(user, "ok")
        with self.assertRaises(StoreRefused) as refused:
            await user.command(b"GET", b"another:key")
        self.assertEqual(refused.exception.code, "NOPERM")
        for command in (b"HSET h f v", b"HLEN h", b"HSCAN h 0 COUNT 9", b"PEXPIRE h 1000"):
            name, key, *rest = command.split()
            await user.command(name, user.key(key), *rest)
        await self._shares(server, user)
        await self._budgets(server, user)

    async def _shares(self, server: StoreProcess, user: Store) -> None:
        """Let two routers use one key of the platform: together they have one limit."""
        other = self.store(server.url.replace("//", "//router:password@"))
        await self.until_state(other, "ok")
        key, sent = b"k" * 16, 0
        governors: list[SharingGovernor] = []
        for store in (user, other):
            governor = SharingGovernor(reactor, EdgeConfig())
            sharing = EdgeSharing(reactor, store, governor)
            sharing.start()
            self.addCleanup(governor.close)
            self.addCleanup(sharing.stop)
            governor.draw(key)
            governors.append(governor)
        await self.until("shares", lambda: [each.has(key) for each in governors] == [0.5, 0.5])
        began = time.monotonic()
        for governor in governors:
            sent += sum(governor.draw(key) for _ in range(100))
        self.assertTrue(58 <= sent <= 61 + time.monotonic() - began, sent)
        one, two = governors
        one.page(one.permit(key, lambda: None), 300.0)
        await self.until("the ban", lambda: two.banned_for(key) > 250.0)

    async def _budgets(self, server: StoreProcess, user: Store) -> None:
        """Let two routers have one key: its budget and its requests at a time are one."""
        rules = KeyRules("k", concurrent_requests=2, tokens_per_day=9)
        other = self.store(server.url.replace("//", "//router:password@"))
        await self.until_state(other, "ok")
        one, two = self._budget(user), self._budget(other)
        one.begin(rules)
        two.begin(rules)
        await self.until(
            "both requests", lambda: one.in_progress() == two.in_progress() == {"k": 2}
        )
        refusal = one.refusal(rules)
        self.assertEqual(refusal and refusal.code, "key_rate_limited")
        one.spend("k", 9, 0)
        one.end("k")
        await self.until("the end", lambda: two.in_progress() == {"k": 1})
        refusal = two.refusal(rules)
        self.assertEqual(refusal and refusal.code, "key_budget_exhausted")
        third = self._budget(other)
        await self.until("the sums", lambda: third.refusal(rules) is not None)

    def _budget(self, store: Store) -> KeyBudgets:
        """Return the accounts of a router."""
        budgets = KeyBudgets(reactor.seconds, time.time)
        ledger = KeyLedger(reactor, budgets)
        totals = KeyTotals(reactor, store, ledger, time.time)
        ledger.keep_in(totals)
        shared = KeysInProgress(reactor, store, ledger, budgets.in_progress)
        for each in (totals, shared):
            each.start()
            self.addCleanup(each.stop)
        self.addCleanup(ledger.flush)
        return budgets


def _documented_user() -> list[str]:
    """Return the command of the page about shared state."""
    text = _PAGE.read_text("utf-8")
    start = text.index("ACL SETUSER")
    return text[start : text.index("```", start)].split()


class TLSTests(RealStoreTestCase):
    """A server that speaks TLS, with an authority of the test's own."""

    async def test_verified_by_chain_and_name(self) -> None:
        """The right authority and name work; another authority, another name or no TLS fail."""
        authority, other = trustme.CA(), trustme.CA()
        ca_file, other_file = self.folder / "ca.pem", self.folder / "other.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        other.cert_pem.write_to_path(str(other_file))
        leaf = authority.issue_cert("localhost")
        cert, key = self.folder / "cert.pem", self.folder / "key.pem"
        leaf.cert_chain_pems[0].write_to_path(str(cert))
        leaf.private_key_pem.write_to_path(str(key))
        files = ("--tls-cert-file", str(cert), "--tls-key-file", str(key))
        server = self.server(
            *files, "--tls-ca-cert-file", str(ca_file), "--tls-auth-clients", "no", tls=True
        )
        good = self.store(f"rediss://localhost:{server.port}", ca_file)
        await self.until_state(good, "ok")
        self.assertEqual(await good.command(b"SET", b"a", b"x" * 300_000), b"OK")
        self.assertEqual(await good.command(b"GET", b"a"), b"x" * 300_000)
        for url, trusted in (
            (f"rediss://localhost:{server.port}", other_file),
            (f"rediss://127.0.0.1:{server.port}", ca_file),
        ):
            store = self.store(url, trusted)
            await self.until_state(store, "down", "tls")
        plain = self.store(f"redis://localhost:{server.port}")
        await self.until("down", lambda: plain.status().fault in ("closed", "protocol", "slow"))
        self.assertEqual(good.status().state, "ok")
