"""The questions about private mode, asked of the stub as the platform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from stub_backend import StubOptions, site
from stub_backend.stub import Stub
from tests.rigs.live import private_facts as facts
from tests.rigs.live.command import parse
from tests.rigs.live.fixtures import FAKE, Deviating, leaks
from tests.rigs.live.key import Key
from tests.rigs.live.private_run import COMPLETE, INCOMPLETE, REPORT, PrivateRun
from tests.rigs.live.reply import Reply
from tests.rigs.live.request import Host
from tests.unit.attestation import world

DATA = Path(__file__).parents[2] / "data" / "private"
reactor: Any = installed


def platform() -> Stub:
    """Return a stub whose instances have genuine evidence of a synthetic world."""
    options = StubOptions(
        models=3, require_auth=True, token_delay=0.0, time_scale=0.01, attestation_kit=str(DATA)
    )
    return site(reactor, options)


class RunTests(TestCase):
    """A whole run over sockets."""

    def setUp(self) -> None:
        """Prepare the folder of the captures, and the roots of the world."""
        self.logs = Path(self.mktemp()).absolute()
        self.logs.mkdir()
        self.roots = self.logs / "roots.pem"
        self.roots.write_bytes(world.roots_pem())
        self.said: list[str] = []

    async def played(self, resource: Any) -> tuple[int, dict[str, str]]:
        """Run against a resource; return the exit status, and what was found by row."""
        from twisted.web.server import Site

        port = reactor.listenTCP(0, Site(resource), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        base = f"http://127.0.0.1:{port.getHost().port}"
        bases: dict[Host, str] = {host: base for host in Host if host is not Host.ROUTER}
        run = PrivateRun(
            reactor,
            bases,
            Key(FAKE),
            self.said.append,
            pace=0,
            seconds=60,
            logs=self.logs,
            roots=self.roots,
        )
        status = await run.run()
        self.assertEqual(leaks("\n".join(self.said).encode()), [])
        report = (self.logs / REPORT).read_text()
        self.assertEqual(leaks(report.encode()), [])
        rows = [line[2:].split(": ", 2) for line in report.splitlines() if line.startswith("* ")]
        self.assertEqual([row for row, *_ in rows], list(facts.QUESTIONS))
        return status, {row: said for row, _, said in rows}

    def test_settled(self) -> Deferred[None]:
        """Each question that small calls can settle has its facts; the prompt is sealed."""
        return Deferred.fromCoroutine(self._settled())

    async def _settled(self) -> None:
        stub = platform()
        asked = Deviating(lambda _request: None, stub)
        status, found = await self.played(asked)
        self.assertEqual(status, COMPLETE, self.said)
        self.assertIn("5 instances with 10 nonces, used for 55 s", found["PRIV-1"])
        self.assertRegex(found["PRIV-2"], r"\Afirst: \d\.\d s; again: \d\.\d s\Z")
        self.assertEqual(found["PRIV-3"], "signature: there; attested_body: there")
        self.assertRegex(found["PRIV-4"], r"\Aevaluation \d+; test-roots, UpToDate\Z")
        self.assertRegex(found["PRIV-5"], r"in the list of \d+ rows\Z")
        self.assertIn("its end is sealed", found["PRIV-6"])
        self.assertIn("not asked", found["PRIV-7"])
        self.assertRegex(found["PRIV-11"], r"\A\d of 5 instances")
        self.assertIn("text completions: answered", found["PRIV-12"])
        self.assertIn("tee_type", found["PRIV-13"])
        self.assertLessEqual(len(asked.asked), facts.CALLS)
        self.assertNotIn("/v1/chat/completions", " ".join(asked.asked))

    def test_limited(self) -> Deferred[None]:
        """Where discovery is limited, nothing is sealed, and the known text is recognized."""
        return Deferred.fromCoroutine(self._limited())

    async def _limited(self) -> None:
        def answer(request: Any) -> bytes | None:
            if not request.uri.startswith(b"/e2e/instances/"):
                return None
            request.setResponseCode(429)
            request.setHeader("content-type", "application/json")
            return b'{"detail":"Rate limit exceeded. Try again later."}'

        asked = Deviating(answer, platform())
        status, found = await self.played(asked)
        self.assertEqual(status, COMPLETE, self.said)
        self.assertIn("status 429 with the known text", found["PRIV-1"])
        self.assertEqual(found["PRIV-6"], "still open")
        self.assertEqual(len(asked.asked), 4)

    def test_edge(self) -> Deferred[None]:
        """An error page of the edge ends the run at once."""
        return Deferred.fromCoroutine(self._edge())

    async def _edge(self) -> None:
        def answer(request: Any) -> bytes | None:
            if request.uri.startswith(b"/v1/models"):
                return None
            request.setResponseCode(429)
            request.setHeader("content-type", "text/html")
            return b"<html>429</html>"

        asked = Deviating(answer, platform())
        status, _ = await self.played(asked)
        self.assertEqual(status, INCOMPLETE)
        self.assertEqual(len(asked.asked), 2)


class FactsTests(SynchronousTestCase):
    """Facts of answers that the stub does not give."""

    def test_words(self) -> None:
        """No text of the platform is repeated."""
        for body in (b"[]", b"\xff", b'{"tee_type": "secret words", "signature": 4}'):
            reply = Reply(200, (), body, "whole")
            said = " ".join((facts.tee_type(reply), *facts.envelope(reply)))
            self.assertNotIn("secret", said)
            self.assertIn("signature: not there", said)
        self.assertEqual(
            facts.tee_type(Reply(200, (), b'{"tee_type": "SEV-SNP"}', "whole")),
            "tee_type is sev-snp",
        )


class CommandTests(SynchronousTestCase):
    """The options."""

    def test_private(self) -> None:
        """Intel's service is asked only then, without a platform of one's own."""
        options, _ = parse(("--private",))
        self.assertTrue(options.private)
        self.assertTrue(options.bases[Host.INTEL].startswith("https://"))
        options, _ = parse(())
        self.assertNotIn(Host.INTEL, options.bases)
        local = "http://127.0.0.1:9"
        options, _ = parse(("--private", "--base-url", local, "--test-roots", "roots.pem"))
        self.assertEqual(set(options.bases.values()), {local})
