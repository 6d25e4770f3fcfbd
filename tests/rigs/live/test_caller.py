"""Calls: where they are sent, and how an endless response is ended."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.server import Request

from tests.rigs.live import caller
from tests.rigs.live.admission import Unlimited
from tests.rigs.live.caller import BadBaseError, Caller, NoAnswerError
from tests.rigs.live.fixtures import FAKE, Deviating, reactor, said
from tests.rigs.live.key import Key
from tests.rigs.live.request import Auth, Host, LiveRequest, tiny


class CallerTests(TestCase):
    """A caller and a platform."""

    timeout = 30

    def setUp(self) -> None:
        """Start the platform."""
        self.heads: list[dict[str, str]] = []
        self.platform = Deviating(self.answer)
        port = reactor.listenTCP(0, self.platform.stub.site, interface="127.0.0.1")
        self.platform.stub.site.resource = self.platform
        self.addCleanup(port.stopListening)
        bases = {Host.LLM: f"http://127.0.0.1:{port.getHost().port}"}
        self.caller = Caller(reactor, bases, Key(FAKE), Unlimited())

    def answer(self, request: Request) -> bytes | None:
        """Record the head, and respond like the stub."""
        fields = request.requestHeaders.getAllRawHeaders()
        self.heads.append({name.decode().lower(): b",".join(v).decode() for name, v in fields})
        return said(request, 200, "application/json", b"{}") if request.path == b"/ok" else None

    async def test_credentials(self) -> None:
        """The key is in the one right header, and only if the check requires it."""
        for auth in Auth:
            await self.caller.send(LiveRequest(method="GET", path="/ok", auth=auth))
        keyed = [[n for n, value in head.items() if FAKE in value] for head in self.heads]
        expected = {Auth.KEY: ["authorization"], Auth.OTHER_SCHEME: ["authorization"],
                    Auth.API_KEY: ["x-api-key"]}  # fmt: skip
        self.assertEqual(keyed, [expected.get(auth, []) for auth in Auth])
        self.assertNotIn("authorization", self.heads[list(Auth).index(Auth.NONE)])

    async def test_encoding(self) -> None:
        """Compression is requested only by the checks about it."""
        await self.caller.send(LiveRequest(method="GET", path="/ok"))
        await self.caller.send(LiveRequest(method="GET", path="/ok", compressed=True))
        self.assertEqual([each["accept-encoding"] for each in self.heads], ["identity", "gzip"])

    async def test_silence(self) -> None:
        """A head that never arrives is no reply; a body that stalls is aborted by the caller."""
        silent = LiveRequest(body=tiny("stub/hang-head"))
        with self.assertRaises(NoAnswerError):
            await self.caller.send(silent, 0.2)
        stalled = await self.caller.send(
            LiveRequest(body=tiny("stub/hang-first-byte", stream=True)), 0.2
        )
        self.assertEqual((stalled.status, stalled.end), (200, "timed out"))
        await self.all_left()

    async def test_endless(self) -> None:
        """A body that is too long is not read to its end."""
        self.patch(caller, "LARGEST", 100_000)
        reply = await self.caller.send(LiveRequest(body=tiny("stub/huge")))
        self.assertEqual(reply.end, "too long")
        self.assertLessEqual(len(reply.body), 100_000)
        await self.all_left()

    async def test_cut(self) -> None:
        """A truncated body is recognized."""
        reply = await self.caller.send(LiveRequest(body=tiny("stub/drop-mid-stream", stream=True)))
        self.assertEqual((reply.status, reply.end), (200, "cut"))

    async def test_no_one_there(self) -> None:
        """A refused connection is reported by the type of its failure, without an address."""
        unreachable = Caller(reactor, {Host.LLM: "http://127.0.0.1:1"}, Key(FAKE), Unlimited())
        with self.assertRaises(NoAnswerError) as caught:
            await unreachable.send(LiveRequest())
        self.assertEqual(str(caught.exception), "ConnectionRefusedError")

    def test_only_safe_hosts(self) -> None:
        """A caller refuses hosts to which the key would be sent unencrypted."""
        bases = {Host.LLM: "http://platform.example"}
        self.assertRaises(BadBaseError, Caller, reactor, bases, Key(FAKE), Unlimited())
        self.assertRaises(BadBaseError, self.caller.add, Host.API, bases[Host.LLM])

    async def all_left(self) -> None:
        """Wait until the caller has closed every connection to the platform."""
        while self.platform.stub.connections["open"]:
            pause: Deferred[None] = deferLater(reactor, 0.01)
            await pause
