"""Behaviour of this platform, as a client receives it through the router."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from stub_backend.auth import signature
from tests.conduct.asking import ALIAS, body, code, detail
from tests.conduct.seen import CUT, WHOLE, Seen
from tests.conduct.served import QUESTION, Served, direct


class CredentialTests(SynchronousTestCase):
    """The platform checks credentials; the router relays them and the responses."""

    def setUp(self) -> None:
        """Start a platform that requires keys."""
        self.served = Served(tokens=4, require_auth=True)

    def ask(self, key: str, model: str = f"{ALIAS}", *fields: bytes) -> Seen:
        """Make one call with a key."""
        return self.served.post(body(model, stream=True), *fields, key=key)

    def test_family(self) -> None:
        """Each refusal is relayed unchanged after one attempt, without failover."""
        for key, status, said in (
            ("nonsense", 401, "Invalid token."),
            ("eyJh.fixture.fixture", 401, "Token expired."),
            ("cpk_short", 401, "Missing or invalid authorization header(s)"),
            ("cpk_a.b.revoked", 401, "Invalid token or user not found"),
            ("cak_noscope", 403, "Token does not have permission for this resource"),
        ):
            seen = self.ask(key)
            self.assertEqual((seen.status, detail(seen)), (status, said), key)
            self.assertNotIn("www-authenticate", seen.headers)
            self.assertEqual(self.served.records[-1].attempts, 1, key)
        self.assertEqual(self.ask("cpk_a.b.c").status, 200)

    def test_api_key_header_is_not_turned_into_another(self) -> None:
        """`X-API-Key` is forwarded as it is; the platform responds that it means nothing."""
        seen = self.ask("", ALIAS, b"X-API-Key: cpk_a.b.c")
        self.assertEqual(detail(seen), "Authentication required.")
        self.assertEqual(self.served.stub.calls()[-1].header("x-api-key"), "cpk_a.b.c")

    def test_required(self) -> None:
        """If a key is required, a call without one is not forwarded."""
        served = Served(tokens=4, require_auth=True, require_key="on")
        seen = served.post(body("stub/ok", stream=True), b"X-API-Key: cpk_a.b.c", key="")
        self.assertEqual((seen.status, code(seen)), (401, "missing_key"))
        self.assertEqual(seen.headers["www-authenticate"], "Bearer")
        self.assertEqual(served.stub.calls(), [])
        self.assertEqual(served.post(body("stub/ok"), key="cpk_a.b.c").status, 200)

    def test_signed_bodies(self) -> None:
        """A signature covers the body: a named model's stays; a change would be a 400."""
        for request, status in (
            (body("stub/ok", stream=True), 200),
            (b'{"stream_options":null, "model":"stub/ok" ,"messages":[]}', 200),
            (body(ALIAS, stream=True), 400),
            (body("stub/ok,stub/503-cold"), 400),
            (body("STUB/ok"), 400),
        ):
            before = len(self.served.stub.calls())
            signed = signature("fixture", "1", request).encode()
            fields = (b"X-Chutes-Hotkey: fixture", b"X-Chutes-Nonce: 1")
            seen = self.served.post(request, *fields, b"X-Chutes-Signature: " + signed)
            self.assertEqual(seen.status, status, request)
            if status == 400:
                self.assertEqual(code(seen), "signed_request")
                self.assertEqual(len(self.served.stub.calls()), before)


class HeaderTests(SynchronousTestCase):
    """Request headers that affect the platform."""

    def setUp(self) -> None:
        """Start one router."""
        self.served = Served(tokens=4)

    def test_trace(self) -> None:
        """A client that requests a trace receives an answer that its SDK understands."""
        seen = self.served.post(body("stub/ok", stream=True), b"X-Chutes-Trace: true")
        self.assertEqual((seen.end, seen.tokens), (WHOLE, 4))
        self.assertIsNone(self.served.stub.calls()[-1].header("x-chutes-trace"))

    def test_thinking(self) -> None:
        """The header for reasoning is forwarded."""
        seen = self.served.post(body("stub/ok", stream=True), b"X-Enable-Thinking: true")
        self.assertIn(b"thought6", seen.body)

    def test_host(self) -> None:
        """The platform identifies its host by name, so it receives its own, not the router's."""
        self.served.ask("stub/ok")
        self.assertEqual(self.served.stub.calls()[-1].header("host"), "192.0.2.1")

    def test_tee(self) -> None:
        """The router skips the first model of a list that the platform would refuse."""
        tee = next(each.name for each in self.served.stub.population.chat if each.tee)
        only = b"X-TEE-Only: true"
        self.assertEqual(code(self.served.post(body("stub/ok"), only)), "tee_required")
        seen = self.served.post(body(f"stub/ok,{tee}", stream=True), only)
        self.assertEqual((seen.status, seen.models), (200, {tee}))
        seen = self.served.post(body(ALIAS, stream=True), only)
        self.assertIn(next(iter(seen.models)), {e.name for e in self._tee_models()})

    def _tee_models(self) -> list[Any]:
        return [each for each in self.served.stub.population.chat if each.tee]

    def test_success_headers(self) -> None:
        """The client receives them with answers only, including a limit that is not a number."""
        seen = self.served.ask("stub/unlimited")
        self.assertEqual(seen.headers["x-chutes-rl-user"], "inf")
        self.assertIn("x-chutes-invocationid", seen.headers)
        self.assertNotIn("x-chutes-quota-total", seen.headers)
        for model in ("stub/429-account", "stub/503-cold", "stub/402-quota"):
            names = self.served.ask(model).headers
            self.assertEqual([n for n in names if n.startswith("x-chutes-i")], [], model)

    def test_edge_limit(self) -> None:
        """A limit of the edge is relayed with a field that stops SDKs from retrying."""
        limited = self.served.ask("stub/429-edge-html,stub/ok").headers
        self.assertEqual(limited["x-should-retry"], "false")
        self.assertNotIn("retry-after", limited)
        self.assertNotIn("x-should-retry", self.served.ask("stub/429-account,stub/ok").headers)


class BodyTests(SynchronousTestCase):
    """Bodies that the platform handles badly."""

    def setUp(self) -> None:
        """Start one router."""
        self.served = Served(tokens=4)

    def test_disarmed(self) -> None:
        """Members that are valid but that the platform rejects are removed."""
        for members in (
            {"stream": None},
            {"stream": True, "stream_options": None},
            {"stream": None, "stream_options": None},
        ):
            self.assertEqual(self.served.post(body("stub/ok", **members)).status, 200, members)

    def test_refused_here(self) -> None:
        """An invalid request gets an error of the router, without an upstream call."""
        for request, expected in (
            (b'{"messages":[]}', "missing_model"),
            (body(None), "missing_model"),
            (body(7), "invalid_model"),
            (b"[]", "invalid_body"),
            (b"{", "invalid_json"),
        ):
            seen = self.served.post(request)
            self.assertEqual((seen.status, code(seen)), (400, expected))
        self.assertEqual(self.served.stub.calls(), [])

    def test_left_alone(self) -> None:
        """A request that only its client can correct is forwarded, and the response relayed."""
        seen = self.served.post(body("stub/ok", stream="true"))
        self.assertEqual((seen.status, detail(seen)), (404, "No matching cord found!"))

    def test_same_bytes(self) -> None:
        """Equal requests are equal upstream: the platform recognizes repetitions by them."""
        for key in ("fixture", "fixture", "another"):
            self.served.post(body("stub/ok,stub/ok-vllm", stream=True, seed=1), key=key)
        self.assertEqual(len({call.body_sha256 for call in self.served.stub.calls()}), 1)


class ErrorShapeTests(SynchronousTestCase):
    """What SDKs read of the platform's errors, byte for byte (`ERROR_SHAPE`)."""

    kinds = (
        ("401", "authentication_error", "authentication_error"),
        ("402-quota", "invalid_request_error", "billing_error"),
        ("404-chute", "invalid_request_error", "not_found_error"),
        ("422-list", "invalid_request_error", "invalid_request_error"),
        ("429-account", "rate_limit_error", "rate_limit_error"),
        ("500-exhausted", "server_error", "api_error"),
        ("503-engine", "server_error", "overloaded_error"),
        ("503-cold", "server_error", "overloaded_error"),
    )

    def test_every_api(self) -> None:
        """Each API has its own types; streamed or plain, whatever `COMMIT` says, it is the same."""
        served = Served(tokens=4)
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"):
            for name, kind, anthropic in self.kinds:
                wanted = (anthropic if path == "/v1/messages" else kind).encode()
                for stream in (False, True):
                    for commit in (b"byte", b"content", b"complete"):
                        asked = body(f"stub/{name}", stream=stream, prompt=QUESTION)
                        seen = served.post(asked, b"X-Autopilot-Commit: " + commit, path=path)
                        said = direct(served.calls(f"stub/{name}")[-1])
                        where = f"{path} {name} {stream} {commit!r}"
                        self.assertEqual(seen.body, _with_error(said.body, wanted), where)
                        self.assertEqual((seen.status, seen.end), (said.status, WHOLE), where)
                        self.assertEqual(seen.headers["content-length"], str(len(seen.body)))

    def test_last_of_a_list(self) -> None:
        """The last candidate's error has it as well."""
        served = Served(tokens=4)
        seen = served.ask("stub/502-html,stub/503-cold")
        said = direct(served.calls("stub/503-cold")[-1])
        self.assertEqual(seen.body, _with_error(said.body, b"server_error"))

    def test_upstream(self) -> None:
        """With `upstream` every error comes as it was said."""
        served = Served(tokens=4, error_shape="upstream")
        for name, _, _ in self.kinds:
            seen, said = served.ask(f"stub/{name}"), direct(served.calls(f"stub/{name}")[-1])
            self.assertEqual((seen.status, seen.body), (said.status, said.body), name)


def _with_error(said: bytes, kind: bytes) -> bytes:
    """An error of the platform with the member that it lacks."""
    told = json.loads(said)["detail"]
    if isinstance(told, list):
        told = told[0]["msg"]
    words = json.dumps(told["message"] if isinstance(told, dict) else told).encode()
    member = b'"error":{"type":"%b","message":%b,"param":null,"code":null}' % (kind, words)
    return said[:-1] + b"," + member + b"}"


class StrictGuardTests(SynchronousTestCase):
    """`SSE_GUARD=strict`: a second generation is not passed."""

    def test_spliced(self) -> None:
        """The second generation is recognized by its id, or by its role under the same id."""
        served = Served(sse_guard="strict")
        for name in ("spliced", "spliced-role"):
            seen = served.ask(f"stub/{name}")
            self.assertEqual((seen.status, seen.end), (200, CUT), name)
            self.assertEqual(seen.body.count(b'"role":"assistant"'), 1, name)


class DialectTests(SynchronousTestCase):
    """The other endpoints, each with the platform's responses."""

    def test_paths(self) -> None:
        """An answer of each API is relayed unchanged."""
        served = Served(tokens=4)
        for path, last in (
            ("/v1/completions", b"[DONE]"),
            ("/v1/messages", b"message_stop"),
            ("/v1/responses", b"response.completed"),
        ):
            said = body("stub/503-cold,stub/ok", stream=True, input=QUESTION, prompt=QUESTION)
            seen = served.post(said, path=path)
            self.assertEqual((seen.status, served.stub.calls()[-1].path), (200, path))
            self.assertIn(last, seen.body[-2000:], path)

    def test_count_tokens(self) -> None:
        """Tokens are counted by the first model of a list, which alone is tried."""
        served, path = Served(tokens=4), "/v1/messages/count_tokens"
        seen = served.post(body("stub/ok,stub/503-cold", messages=[]), path=path)
        self.assertEqual(list(json.loads(seen.body)), ["input_tokens"])
        self.assertEqual(served.stub.calls()[-1].path, path)
        seen = served.post(body("stub/503-cold,stub/ok", messages=[]), path=path)
        self.assertEqual(seen.status, 503)
        models = [call.model for call in served.stub.calls()]
        self.assertEqual(models, ["stub/ok", "stub/503-cold"])

    def test_not_served(self) -> None:
        """The router does not serve the endpoints of the platform's other hosts."""
        served = Served(tokens=4)
        for path in ("/v1/embeddings", "/tokenize", "/e2e/invoke", "/v1/messages/batches"):
            self.assertEqual(code(served.post(body("stub/ok"), path=path)), "not_found", path)
        self.assertEqual(served.stub.calls(), [])
