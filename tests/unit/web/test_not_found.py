"""Tests of the 404: the path that is meant, and the port that has it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot.http.error_bodies import NOT_FOUND
from autopilot.web.not_found import (
    BASE_URL,
    NO_EMBEDDINGS,
    ON_ADMIN_PORT,
    ON_API_PORT,
    not_found,
)
from tests.unit.web.browsers import SiteTestCase, request

CHAT = "/v1/chat/completions may be meant. The base URL of OpenAI's SDKs ends in /v1."
MESSAGES = "/v1/messages may be meant. The base URL of Anthropic's SDKs ends before /v1."
NEAR = {
    b"/chat/completions": CHAT,
    b"/v1/v1/chat/completions": CHAT,
    b"/v1/chat/completions/": CHAT,
    b"//v1/chat/completions": CHAT,
    b"/v1//chat//completions": CHAT,
    b"/api/v1/chat/completions": CHAT,
    b"/openai/v1/chat/completions": CHAT,
    b"/openai/deployments/some-name/chat/completions": CHAT,
    b"/V1/Chat/Completions": CHAT,
    b"/v1/v1/messages": MESSAGES,
    b"/messages": MESSAGES,
    b"/anthropic/v1/messages": MESSAGES,
    b"/v1/messages/": MESSAGES,
    b"/messages/count_tokens": MESSAGES.replace("messages", "messages/count_tokens"),
    b"/responses": CHAT.replace("chat/completions", "responses"),
    b"/v1/v1/models/org/name": CHAT.replace("chat/completions", "models"),
    b"/v1/chat/completion": CHAT,
    b"/v1/chat/completionss": CHAT,
    b"/chat/completion": CHAT,
    b"/v1/chat": CHAT,
    b"/api/chat": CHAT,
    b"/v1/completion": CHAT.replace("chat/completions", "completions"),
    b"/v1/response": CHAT.replace("chat/completions", "responses"),
    b"/v1/model": CHAT.replace("chat/completions", "models"),
    b"/v1/message": MESSAGES,
    b"/healthz/": "/healthz may be meant.",
    b"/v1/metrics": "/metrics may be meant.",
}
FAR = (
    b"/",
    b"/v1/files",
    b"/v1/moderations",
    b"/v1/messages/batches",
    b"/v1/\xff",
    b"/completions/x",
    b"/" * 300,
)
BASES = (b"/v1", b"/v1/", b"/openai/v1", b"/v1/v1", b"/api/v1/")
EMBEDDINGS = (b"/v1/embeddings", b"/embeddings", b"/v1/embeddings/", b"/openai/v1/embeddings")


class NotFoundTests(SynchronousTestCase):
    """The error as a value."""

    def test_near(self) -> None:
        """The message names the path, and what a base URL ends in."""
        for path, expected in NEAR.items():
            error = not_found(path)
            self.assertEqual((error.status, error.code), (404, "not_found"))
            self.assertEqual(error.message, f"No resource exists at this path; {expected}", path)

    def test_far(self) -> None:
        """Any other path gets the usual error, which repeats nothing of it."""
        for path in (*FAR, b"/v1/v1/" + b"chat/completions" * 20):
            self.assertIs(not_found(path), NOT_FOUND, path)

    def test_bases(self) -> None:
        """The address that SDKs append their paths to says what it is."""
        for path in BASES:
            self.assertIs(not_found(path), BASE_URL, path)
            self.assertIs(not_found(path, clients=False), ON_API_PORT, path)
        self.assertIs(not_found(b"/api"), NOT_FOUND)

    def test_embeddings(self) -> None:
        """An endpoint that the router lacks is no wrong path, whatever the base URL."""
        for path in EMBEDDINGS:
            for clients in (True, False):
                self.assertIs(not_found(path, clients=clients), NO_EMBEDDINGS, path)

    def test_other_port(self) -> None:
        """On the operators' port, the error of a path of the API names the setting."""
        for path in (b"/v1/chat/completions", b"/messages"):
            self.assertIs(not_found(path, clients=False), ON_API_PORT)
        self.assertIs(not_found(b"/x", clients=False), NOT_FOUND)


class TreeTests(SiteTestCase):
    """The error as a response."""

    def test_near(self) -> None:
        """Every such path has the message, in the shape of the API that it belongs to."""
        for path, expected in NEAR.items():
            browser = self.browser()
            browser.sends(request(path, body=b"{}"))
            got = browser.response
            self.assertEqual(got.status, 404)
            self.assertIn(expected, got.json["error"]["message"], path)
            self.assertEqual("type" in got.json, path.startswith(b"/v1/messages"), path)

    def test_told(self) -> None:
        """Base URLs and embeddings get their own message, for either method."""
        for paths, expected in ((BASES, BASE_URL), (EMBEDDINGS, NO_EMBEDDINGS)):
            for path in paths:
                for method in (b"GET", b"POST"):
                    browser = self.browser()
                    browser.sends(request(path, method=method))
                    got = browser.response
                    self.assertEqual(got.error, (404, "invalid_request_error", "not_found"))
                    self.assertEqual(got.json["error"]["message"], expected.message)

    def test_below_messages(self) -> None:
        """Everything below /v1/messages is in Anthropic's shape, other paths are not."""
        for path, anthropic in (
            (b"/v1/messages/batches", True),
            (b"/v1/messages/batches/x/results", True),
            (b"/v1/messages/%ff", True),
            (b"/v1/messagesx", False),
            (b"/v1/files", False),
        ):
            for method in (b"GET", b"POST", b"DELETE"):
                browser = self.browser()
                browser.sends(request(path, method=method))
                got = browser.response
                self.assertEqual(got.status, 404)
                self.assertEqual(got.json.get("type"), "error" if anthropic else None, path)
        for path in (b"/v1/messages", b"/v1/messages/count_tokens"):
            got = self.get(path)
            self.assertEqual((got.status, got.json["type"]), (405, "error"))
            self.assertEqual(got.json["error"]["type"], "invalid_request_error")

    def test_rejected_heads(self) -> None:
        """A head that is refused below /v1/messages gets that shape too."""
        browser = self.browser()
        browser.sends(request(b"/v1/messages/batches", b"Host: again"))
        got = browser.response
        self.assertEqual((got.status, got.json["type"]), (400, "error"))

    def test_ports(self) -> None:
        """A path that another port has says which setting names that port."""
        for clients, paths, expected in (
            (True, (b"/metrics", b"/status", b"/status.json", b"/status/events"), ON_ADMIN_PORT),
            (False, (b"/v1/models", b"/v1/models/x", b"/v1/chat/completions"), ON_API_PORT),
        ):
            self.site = self.make_site(self.tree(clients=clients, operators=not clients))
            for path in paths:
                got = self.get(path)
                self.assertEqual(got.error, (404, "invalid_request_error", "not_found"))
                self.assertEqual(got.json["error"]["message"], expected.message)


class TwistedChannelTests(TreeTests):
    """Twisted's own channel, which answers a malformed head by itself."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)

    def test_rejected_heads(self) -> None:
        """See `TreeTests`: here the site decides."""
