"""Tests of ``autopilot try``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import trustme
from klein import Klein
from OpenSSL import SSL
from service_identity import VerificationError
from treq.client import HTTPClient
from treq.testing import _SynchronousProducer
from twisted.internet.defer import fail
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.python.failure import Failure
from twisted.web.client import RequestTransmissionFailed, ResponseNeverReceived
from twisted.web.iweb import IAgent, IRequest

from autopilot.cli import prompt
from autopilot.http import key_gate
from autopilot.routing.router_error import RouterError
from autopilot.settings import Settings
from autopilot.web.not_found import ON_API_PORT
from tests.unit.cli.asked import CommandTestCase

_HEAD = {
    "content-type": "text/event-stream",
    "x-request-id": "r1",
    "x-chutes-autopilot-selected": "acme/one",
    "x-chutes-autopilot-attempts": "2",
}


_ROUTER_CLIENT = prompt.router_client


def client(agent: IAgent) -> HTTPClient:
    """Return a client that writes a request's body at once, not by the global reactor."""
    return HTTPClient(agent, data_to_body_producer=_SynchronousProducer)


def said(text: str) -> bytes:
    """Return an event with text."""
    return b"data: %b\n\n" % json.dumps({"choices": [{"delta": {"content": text}}]}).encode()


class PromptTests(CommandTestCase):
    """The answer to a prompt, whole and broken."""

    def setUp(self) -> None:
        """Answer with what a test sets."""
        super().setUp()
        self.pieces: list[bytes] = [said("He"), said("llo\n"), b"data: [DONE]\n\n"]
        self.status, self.head = 200, dict(_HEAD)
        self.asked: list[tuple[Any, Any]] = []
        self.hosts: list[Any] = []
        app = Klein()

        @app.route("/v1/chat/completions", methods=["POST"])
        def answer(request: IRequest) -> bytes:
            assert request.content is not None
            key = request.getHeader("authorization")
            self.asked.append((json.loads(request.content.read()), key))
            self.hosts.append(request.getHeader("host"))
            request.setResponseCode(self.status)
            for name, value in self.head.items():
                request.setHeader(name, value)
            for piece in self.pieces:
                request.write(piece)
            return b""

        self.join(app.resource())
        self.patch(prompt, "router_client", lambda _reactor, _file: client(self.agent))

    def test_answer(self) -> None:
        """The text, then who answered; the alias is asked unless another model is named."""
        status, output = self.ask("try", "Hi")
        self.assertEqual(status, 0)
        self.assertEqual(
            output,
            "Hello\n\nacme/one, 2 attempts; first token after 0.0 s; whole in 0.0 s; request r1\n",
        )
        body, key = self.asked[0]
        self.assertEqual((body["model"], body["stream"], key), ("chutesai/AutoPilot", True, None))
        self.assertEqual(body["messages"], [{"role": "user", "content": "Hi"}])

    def test_key(self) -> None:
        """The key of the environment is sent; one that cannot be is a mistake."""
        self.environ["CHUTES_API_KEY"] = " k1\n"
        self.ask("try", "Hi", "--model", "a,b")
        self.assertEqual((self.asked[0][0]["model"], self.asked[0][1]), ("a,b", "Bearer k1"))
        self.environ["CHUTES_API_KEY"] = "k\x00"
        self.assertIn("CHUTES_API_KEY", self.refused("try", "Hi"))

    def test_json(self) -> None:
        """All facts as one object."""
        facts = self.ask_json("try", "Hi")
        self.assertEqual(
            facts,
            {
                "text": "Hello\n",
                "status": 200,
                "model": "acme/one",
                "attempts": 2,
                "tried": None,
                "first_token_seconds": 0.0,
                "seconds": 0.0,
                "request_id": "r1",
                "error": None,
            },
        )

    def test_direct(self) -> None:
        """A direct name has neither header: it is the model, and one attempt is all there is."""
        self.head = {"content-type": "text/event-stream", "x-request-id": "r1"}
        status, output = self.ask("try", "Hi", "--model", "acme/two")
        self.assertEqual(status, 0)
        self.assertIn("\nacme/two, 1 attempt; first token after 0.0 s", output)
        facts = self.ask_json("try", "Hi", "--model", "acme/two")
        self.assertEqual((facts["model"], facts["attempts"]), ("acme/two", 1))
        self.status = 503
        facts = self.ask_json("try", "Hi", "--model", "acme/two")
        self.assertEqual((facts["model"], facts["attempts"]), (None, None))

    def test_error(self) -> None:
        """An error is shown with its code, and the status is 1."""
        self.status, self.head = (
            503,
            {"x-request-id": "r2", "x-chutes-autopilot-tried": "a=status_503"},
        )
        self.pieces = [b'{"error":{"message":"No one.","type":"t","code":"no_candidates"}}']
        status, output = self.ask("try", "Hi")
        self.assertEqual(status, 1)
        self.assertEqual(
            output,
            "error: no_candidates: No one.\n"
            "status 503; tried a=status_503; whole in 0.0 s; request r2\n",
        )

    def test_key_missing(self) -> None:
        """Without a key, and with one that the platform rejects, a line names the variable."""
        for refusal in (
            key_gate.MISSING_KEY,
            RouterError(403, "forbidden", "This key is not valid."),
        ):
            self.status, self.head = refusal.status, {"x-request-id": "r3"}
            error = {"message": refusal.message, "type": "t", "code": refusal.code}
            self.pieces = [json.dumps({"error": error}).encode()]
            status, output = self.ask("try", "Hi")
            self.assertEqual(status, 1)
            self.assertEqual(
                output,
                f"error: {refusal.code}: {refusal.message}\n"
                "the key is the one in CHUTES_API_KEY; set it to a Chutes key that works\n"
                f"status {refusal.status}; whole in 0.0 s; request r3\n",
            )

    def test_operators_port(self) -> None:
        """The port of the operators' pages says where the API is; nothing else is asked of it."""
        self.status, self.head = ON_API_PORT.status, {"x-request-id": "r4"}
        error = {"message": ON_API_PORT.message, "type": "t", "code": ON_API_PORT.code}
        self.pieces = [json.dumps({"error": error}).encode()]
        status, output = self.ask("try", "Hi", "--router", "http://127.0.0.1:8081")
        self.assertEqual(status, 1)
        self.assertIn("the API is at LISTEN_ADDR.", output)
        self.assertEqual(len(self.asked), 1)

    def test_elsewhere(self) -> None:
        """A router on another host or port; what an SDK calls its base URL is the same address."""
        for url in ("http://router.example:9000", "http://router.example:9000/v1"):
            self.assertEqual(self.ask("try", "Hi", "--router", url)[0], 0)
        self.assertEqual(self.hosts, ["router.example:9000"] * 2)

    def test_no_router_but_a_server(self) -> None:
        """Another server's answer is an error in one line, whatever it contains."""
        for status in (200, 404, 501):
            self.status, self.head = status, {"content-type": "text/html"}
            self.pieces = [b"<html>"]
            self.assertEqual(
                self.refused("try", "Hi", "--router", "http://127.0.0.1:8000"),
                f"http://127.0.0.1:8000 is no router: status {status} without x-request-id;"
                " --router takes the address of the API, LISTEN_ADDR of the router",
            )

    def test_broken(self) -> None:
        """An answer without its end, and one with an error in the stream, are no success."""
        self.pieces = [said("He"), b"data: broken\n\n"]
        status, output = self.ask("try", "Hi")
        self.assertEqual((status, output.splitlines()[:2]), (1, ["He", "the answer broke off"]))
        self.pieces = [said("He"), b'data: {"error":{"message":"m","type":"t"}}\n\n']
        status, output = self.ask("try", "Hi")
        self.assertEqual((status, output.splitlines()[:2]), (1, ["He", "error: t: m"]))

    def test_escapes(self) -> None:
        """Escape sequences of an answer do not reach the terminal."""
        self.pieces = [said("\x1b[31mred"), b"data: [DONE]\n\n"]
        self.assertNotIn("\x1b", self.ask("try", "Hi")[1])

    def failing(self, error: Exception) -> str:
        """Return the error line for a request that fails with ``error``."""
        agent = Mock(request=Mock(side_effect=lambda *_: fail(error)))
        self.patch(prompt, "router_client", lambda _reactor, _file: client(agent))
        return self.refused("try", "Hi", "--router", "https://router.example")

    def test_certificate(self) -> None:
        """A certificate that is not trusted, or has another name, is named; no other TLS fault."""
        untrusted = SSL.Error([("SSL routines", "", "certificate verify failed")])
        for reason in (untrusted, VerificationError(errors=[])):
            for kind in (RequestTransmissionFailed, ResponseNeverReceived):
                said = self.failing(kind([Failure(ZeroDivisionError()), Failure(reason)]))
                self.assertIn("the certificate of https://router.example is not trusted", said)
                self.assertIn("UPSTREAM_CA_FILE", said)
        plain = SSL.Error([("SSL routines", "", "wrong version number")])
        said = self.failing(ResponseNeverReceived([Failure(plain)]))
        self.assertIn("check https or http, and the port", said)

    def test_authorities(self) -> None:
        """The router is verified against UPSTREAM_CA_FILE, of the environment or of a file."""
        self.patch(prompt, "router_client", _ROUTER_CLIENT)
        self.environ["UPSTREAM_CA_FILE"] = "/nonexistent"
        self.assertIn("UPSTREAM_CA_FILE: '/nonexistent' is not a file", self.refused("try", "Hi"))
        del self.environ["UPSTREAM_CA_FILE"]
        Path("ca.pem").write_text("no certificate")
        Path("named.env").write_text("UPSTREAM_CA_FILE=ca.pem\n")
        self.assertIn("UPSTREAM_CA_FILE: ", self.refused("try", "Hi", "--env-file=named.env"))
        trustme.CA().cert_pem.write_to_path("ca.pem")
        seen: list[str | None] = []

        def agent(_reactor: Any, settings: Settings) -> IAgent:
            seen.append(settings.upstream_ca_file)
            return self.agent

        self.patch(prompt, "verified_agent", agent)
        self.assertIsInstance(_ROUTER_CLIENT(None, "named.env"), HTTPClient)
        self.assertEqual(seen, ["ca.pem"])

    def test_no_router(self) -> None:
        """Without a router the error says how to start one."""
        for error, words in (
            (
                ConnectionRefusedError(),
                "no router listens at http://127.0.0.1:8080; `autopilot run`",
            ),
            (DNSLookupError(), "the name in http://127.0.0.1:8080 has no address; --router takes"),
            (
                RequestTransmissionFailed([Failure(ZeroDivisionError("secret"))]),
                "the connection to http://127.0.0.1:8080 ended without a response; check https",
            ),
            (
                ZeroDivisionError("secret"),
                "the router did not respond: ZeroDivisionError; --router",
            ),
        ):
            agent = Mock(request=Mock(side_effect=lambda *_, e=error: fail(e)))
            self.patch(prompt, "router_client", lambda _reactor, _file, agent=agent: client(agent))
            self.assertIn(words, self.refused("try", "Hi"))
        self.assertIn("--router", self.refused("try", "Hi", "--router", "nonsense"))
