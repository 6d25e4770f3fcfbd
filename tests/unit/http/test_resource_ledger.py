"""Tests of what the ledger admits, refuses and releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from math import inf

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.resource_ledger import (
    OVERLOADED,
    RESERVED_BYTES,
    TOO_MANY_CONNECTIONS,
    Admission,
    Charge,
    ResourceLedger,
    ResourceLimits,
)
from autopilot.routing.identity import Trust

A, B = "192.0.2.1", "192.0.2.2"
PROXY = "10.0.0.1"
TRUST = Trust(True, (ip_network("10.0.0.0/8"),))
LONG = RESERVED_BYTES + 1


class LimitsTests(SynchronousTestCase):
    """The limits of all, and of one address."""

    def test_share(self) -> None:
        """An address has the share of each limit, rounded down."""
        limits = ResourceLimits.shared(11, 999, 1024, 0.8, 100)
        self.assertEqual((limits.requests, limits.body_bytes), (11, 999))
        shares = limits.client_requests, limits.client_bytes, limits.client_descriptors
        self.assertEqual(shares, (8, 799, 819))

    def test_no_share(self) -> None:
        """A share of 1 limits no address, and there may be any number of descriptors."""
        limits = ResourceLimits.shared(10, 1000, 1024, 1.0, 100)
        shares = limits.client_requests, limits.client_bytes, limits.client_descriptors
        self.assertEqual(shares, (inf, inf, inf))
        self.assertEqual(ResourceLimits.shared(10, 1, inf, 0.5, 1).client_descriptors, inf)

    def test_one_request(self) -> None:
        """However small the share is, one request with the longest body is within it."""
        limits = ResourceLimits.shared(10, 1000, 10, 0.0, 900)
        shares = limits.client_requests, limits.client_bytes, limits.client_descriptors
        self.assertEqual(shares, (1, 900, 2))

    def test_share_of_everything(self) -> None:
        """An address that may have everything has no limit of its own, so that a 503 says why."""
        limits = ResourceLimits.shared(1, 1000, 2, 0.5, 1000)
        shares = limits.client_requests, limits.client_bytes, limits.client_descriptors
        self.assertEqual(shares, (inf, inf, inf))


class LedgerTestCase(SynchronousTestCase):
    """A ledger; after each test everything must have been released."""

    def ledger(self, trust: Trust | None = None, **limits: float) -> ResourceLedger:
        """Create a ledger with these limits."""
        self.made = ResourceLedger(ResourceLimits(**limits), trust)
        self.charges: list[Charge] = []
        self.admissions: list[Admission] = []
        return self.made

    def connect(self, peer: str = A) -> Admission:
        """Open a connection."""
        self.admissions.append(Admission(self.made, peer))
        return self.admissions[-1]

    def admit(
        self, admission: Admission, length: int = 0, *forwarded: bytes
    ) -> Charge | str | None:
        """Return the charge of a request, or the code of its refusal."""
        named: Mapping[bytes, Sequence[bytes]] = (
            {b"x-forwarded-for": forwarded} if forwarded else {}
        )
        error = admission.admit(named, length)
        charge, admission.charge = admission.charge, None
        if error is not None:
            self.assertIsNone(charge)
            return error.code
        assert charge is not None
        self.charges.append(charge)
        return charge

    def tearDown(self) -> None:
        """Release every charge and connection; then the ledger is empty."""
        for charge in self.charges:
            charge.release()
            charge.release()  # without effect
        for admission in self.admissions:
            admission.close()
            admission.close()
        self.assertEqual((self.made.requests, self.made.held_bytes), (0, 0))
        self.assertEqual(self.made.clients, {})


class RequestTests(LedgerTestCase):
    """Places for requests."""

    def test_all(self) -> None:
        """One request more than there may be gets a 503, until another has ended."""
        self.ledger(requests=2)
        first, second = self.connect(A), self.connect(B)
        charge = self.admit(first)
        self.admit(second)
        self.assertEqual(self.admit(second), "overloaded")
        assert isinstance(charge, Charge)
        charge.release()
        self.assertIsInstance(self.admit(second), Charge)
        self.assertEqual(self.admit(second), "overloaded")

    def test_share(self) -> None:
        """One request more than its address may have gets a 429; another address has its own."""
        self.ledger(requests=10, client_requests=2)
        for peer in (A, B):
            connections = [self.connect(peer) for _ in range(3)]
            got = [self.admit(each) for each in connections]
            self.assertEqual(got[2], "too_many_connections")
            self.assertEqual(len([each for each in got if isinstance(each, Charge)]), 2)

    def test_share_comes_first(self) -> None:
        """A client that has its share gets a 429 also while the router is at its limit."""
        self.ledger(requests=2, client_requests=1)
        self.admit(self.connect(A))
        self.admit(self.connect(B))
        self.assertEqual(self.admit(self.connect(A)), "too_many_connections")
        self.assertEqual(self.admit(self.connect("192.0.2.3")), "overloaded")

    def test_errors(self) -> None:
        """Both errors say when to try again."""
        self.ledger()
        for error, status in ((OVERLOADED, 503), (TOO_MANY_CONNECTIONS, 429)):
            self.assertEqual((error.status, error.retry_after), (status, 1))


class UnsentTests(LedgerTestCase):
    """Bytes of responses that a client does not take."""

    def test_counted(self) -> None:
        """They are charged to all and to their address, until the client takes them."""
        self.ledger(body_bytes=1000, client_bytes=600)
        slow = self.connect(A)
        slow.hold_unsent(400)
        slow.hold_unsent(500)
        self.assertEqual((self.made.held_bytes, self.made.clients[A].held_bytes), (500, 500))
        self.assertEqual(self.admit(slow, 101), "too_many_connections")
        self.assertIsInstance(self.admit(self.connect(B), 400), Charge)
        self.assertEqual(self.admit(self.connect(B), 101), "overloaded")
        slow.hold_unsent(0)
        self.assertIsInstance(self.admit(slow, 600), Charge)

    def test_never_refused(self) -> None:
        """They exist, whatever the limits are."""
        self.ledger(body_bytes=10, client_bytes=5)
        slow = self.connect(A)
        slow.hold_unsent(11)
        self.assertEqual(self.made.held_bytes, 11)
        self.assertEqual(self.admit(self.connect(B)), "overloaded")

    def test_closed(self) -> None:
        """The end of a connection releases them."""
        self.ledger()
        slow, other = self.connect(A), self.connect(A)
        slow.hold_unsent(7)
        other.hold_unsent(3)
        slow.close()
        self.assertEqual((self.made.held_bytes, self.made.clients[A].held_bytes), (3, 3))

    def test_trusted_proxy(self) -> None:
        """Those of a trusted proxy are charged to all alone."""
        self.ledger(TRUST)
        proxy = self.connect(PROXY)
        proxy.hold_unsent(7)
        self.assertEqual((self.made.held_bytes, self.made.clients), (7, {}))


class AddressTests(LedgerTestCase):
    """Whose requests are counted together."""

    def same(self, first: str, second: str) -> bool:
        """Return whether two peers have one share."""
        self.ledger(client_requests=1)
        self.admit(self.connect(first))
        refused = self.admit(self.connect(second)) == "too_many_connections"
        self.tearDown()
        return refused

    def test_addresses(self) -> None:
        """IPv6 addresses of one /64 are one client, and IPv4 in IPv6 is IPv4."""
        for first, second, same in (
            (A, A, True),
            (A, B, False),
            ("2001:db8::1", "2001:db8::ffff:1:2", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("fe80::1%eth0", "fe80::2%eth0", True),
            (f"::ffff:{A}", A, True),
            ("::1", "127.0.0.1", False),
        ):
            self.assertEqual(self.same(first, second), same, (first, second))

    def test_without_address(self) -> None:
        """A peer without an address, as on a Unix socket, has no share."""
        for peer in ("", "no address", ":", "::g"):
            self.ledger(client_requests=1, client_descriptors=1)
            connections = [self.connect(peer), self.connect(peer)]
            for each in connections:
                self.assertFalse(each.excess)
                self.assertIsInstance(self.admit(each), Charge)
            self.assertEqual(self.made.clients, {})
            self.tearDown()

    def test_trusted_proxy(self) -> None:
        """The requests on a trusted proxy's connection are those of the clients behind it."""
        self.ledger(TRUST, client_requests=1, client_descriptors=2)
        connections = [self.connect(PROXY) for _ in range(9)]
        self.assertFalse(any(each.excess for each in connections))
        self.assertEqual(self.made.clients, {})
        self.assertIsInstance(self.admit(connections[0], 0, A.encode()), Charge)
        for value in (A.encode(), b"192.0.2.9, " + A.encode(), A.encode() + b", 10.1.2.3"):
            self.assertEqual(self.admit(connections[1], 0, value), "too_many_connections", value)
        self.assertIsInstance(self.admit(connections[2], 0, B.encode()), Charge)
        self.assertEqual(set(self.made.clients), {A, B})

    def test_proxy_itself(self) -> None:
        """Requests of which a trusted proxy names no other client have no share."""
        self.ledger(TRUST, client_requests=1)
        connection = self.connect(PROXY)
        for forwarded in ((), (b"10.2.2.2",), (b"nonsense",)):
            for _ in range(2):
                self.assertIsInstance(self.admit(connection, 0, *forwarded), Charge)

    def test_untrusted_proxy(self) -> None:
        """Any other peer is the client, whatever it writes."""
        self.ledger(TRUST, client_requests=1)
        connection = self.connect(A)
        self.admit(connection, 0, B.encode())
        self.assertEqual(self.admit(connection, 0, b"192.0.2.9"), "too_many_connections")

    def test_refused_address(self) -> None:
        """A refused request leaves no entry of its address."""
        self.ledger(TRUST, requests=0)
        connection = self.connect(PROXY)
        self.assertEqual(self.admit(connection, 0, A.encode()), "overloaded")
        self.assertEqual(self.made.clients, {})

    def test_reload(self) -> None:
        """New limits and proxies hold for later requests; what was charged is released."""
        ledger = self.ledger(client_requests=1)
        connection = self.connect(PROXY)
        self.admit(connection)
        ledger.configure(ResourceLimits(client_requests=2), TRUST)
        self.assertIsInstance(self.admit(connection), Charge)
        self.assertIsInstance(self.admit(self.connect(PROXY), 0, A.encode()), Charge)
        self.assertEqual(self.admit(connection), "too_many_connections")


class DescriptorTests(LedgerTestCase):
    """Connections, and the upstream connections of requests."""

    def test_connections(self) -> None:
        """Above its share of descriptors an address gets no request admitted on new connections."""
        self.ledger(client_descriptors=3)
        connections = [self.connect() for _ in range(4)]
        self.assertEqual([each.excess for each in connections], [False, False, False, True])
        self.assertEqual(self.admit(connections[3]), "too_many_connections")
        self.assertFalse(self.connect(B).excess)
        connections.pop().close()
        connections.pop().close()
        self.assertFalse(self.connect().excess)

    def test_requests(self) -> None:
        """An unfinished request takes another descriptor, on its connection to the upstream."""
        self.ledger(client_descriptors=3)
        first, second = self.connect(), self.connect()
        self.assertIsInstance(self.admit(first), Charge)
        self.assertEqual(self.admit(second), "too_many_connections")
        self.assertTrue(self.connect().excess)


class ByteTests(LedgerTestCase):
    """Bytes of bodies and answers."""

    def test_short_body(self) -> None:
        """A short body is charged as soon as it is declared."""
        ledger = self.ledger(body_bytes=100)
        self.admit(self.connect(), 60)
        self.assertEqual(ledger.held_bytes, 60)
        self.assertEqual(self.admit(self.connect(B), 41), "overloaded")
        self.assertIsInstance(self.admit(self.connect(B), 40), Charge)

    def test_long_body(self) -> None:
        """A long body is refused when it is declared if it does not fit, else charged later."""
        ledger = self.ledger(body_bytes=LONG)
        connection = self.connect()
        self.assertEqual(self.admit(connection, LONG + 1), "overloaded")
        self.assertIsNone(connection.admit({}, LONG))
        self.assertEqual(ledger.held_bytes, 0)
        for read in (10, 10, LONG):
            self.assertIsNone(connection.grow(read))
            self.assertEqual(ledger.held_bytes, read)
        self.assertIs(connection.grow(LONG + 1), OVERLOADED)
        self.assertEqual(ledger.held_bytes, LONG)
        connection.drop()
        self.assertEqual((ledger.held_bytes, ledger.requests), (0, 0))

    def test_share(self) -> None:
        """An address may hold its share; what arrives above it is refused."""
        self.ledger(body_bytes=100, client_bytes=80)
        first, second = self.connect(), self.connect()
        self.admit(first, 50)
        self.assertEqual(self.admit(second, 31), "too_many_connections")
        self.assertIsNone(second.admit({}, 0))
        self.assertIsNone(second.grow(30))
        self.assertIs(second.grow(31), TOO_MANY_CONNECTIONS)
        second.drop()
        self.assertIsInstance(self.admit(self.connect(B), 50), Charge)

    def test_held_answer(self) -> None:
        """What is held stays held above the limit; new requests are refused."""
        ledger = self.ledger(body_bytes=100)
        charge = self.admit(self.connect(), 50)
        assert isinstance(charge, Charge)
        charge.hold(1000)
        self.assertEqual((ledger.held_bytes, charge.held_bytes), (1050, 1050))
        self.assertEqual(self.admit(self.connect(B), 1), "overloaded")
        charge.hold(-1000)
        self.assertIsInstance(self.admit(self.connect(B), 50), Charge)

    def test_no_place(self) -> None:
        """The body of a request that takes no place is charged, too."""
        ledger = self.ledger(body_bytes=100)
        for peer in (A, ""):
            connection = self.connect(peer)
            self.assertIsNone(connection.grow(100))
            self.assertEqual((ledger.held_bytes, ledger.requests), (100, 0))
            self.assertIs(connection.grow(101), OVERLOADED)
            connection.close()
        self.assertEqual(ledger.held_bytes, 0)

    def test_connection_ends(self) -> None:
        """The end of a connection releases the request that was arriving, and no other."""
        ledger = self.ledger()
        connection = self.connect()
        self.admit(connection, 7)
        connection.admit({}, 5)
        connection.close()
        self.assertEqual((ledger.held_bytes, ledger.requests), (7, 1))
        self.assertEqual(set(ledger.clients), {A})

    def test_secrecy(self) -> None:
        """No representation shows an address."""
        self.ledger()
        charge = self.admit(self.connect())
        for each in (charge, self.made, *self.made.clients.values()):
            self.assertNotIn(A, repr(each))
